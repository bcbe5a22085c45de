"""What an algorithm implements: it starts sessions, which work on this process's layers of a network of fixed depth."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from gamlp_admm.codecs.choosing import Traffic
from gamlp_admm.nn.activations import Activation
from gamlp_admm.nn.losses import Risk
from gamlp_admm.nn.network import Network, Weights
from gamlp_admm.parallel.team import Team
from gamlp_admm.training.coordinates import Features
from gamlp_admm.training.rows import NodeData
from gamlp_admm.training.schedules import Schedule, constant


@dataclass(frozen=True)
class Stage:
    """A stage of growth as a session starts it, in one process.

    Attributes:
        data: This process's rows.
        features: Features of the rows, where the first layer is owned.
        weights: (W, b) of the layers owned, the network's first in the coordinates of ``features``.
        shapes: Shape of W of every layer of the network, the first in the coordinates of the features.
        risk: The risk.
        network: The network, but for its weights.
        num_train: Training rows over all shards.
        team: The processes, and the layers of each.
        iterations: Iterations of the stage, by which an algorithm tells what will pay.
    """

    data: NodeData
    features: Features | None
    weights: Weights
    shapes: list[tuple[int, int]]
    risk: Risk
    network: Network
    num_train: int
    team: Team
    iterations: int = 200


@dataclass(frozen=True)
class Opening:
    """Weights to start from that were made from the data, and how.

    Attributes:
        weights: (W, b) of every layer, the first for features in their units.
        about: What was chosen, and why; JSON values.
    """

    weights: Weights
    about: dict[str, Any]


class Session(ABC):
    """One algorithm at work on this process's layers of a network of fixed depth.

    Attributes:
        bytes_sent: Payload that crossed boundaries between layers so far, as if each layer were a process.
        solver: How the first layer's W is solved, and why, where it is owned and that was a choice.
    """

    bytes_sent: int
    solver: str | None = None

    @abstractmethod
    def iterate(self, iteration: int, factor: float) -> None:
        """Run one iteration.

        Args:
            iteration: Its number, from 1, over all stages of growth.
            factor: By how much ρ and ν exceed their start values.
        """

    @abstractmethod
    def weights(self) -> Weights:
        """Return (W, b) of each layer owned, the network's first in the coordinates of the features."""

    @abstractmethod
    def layer_terms(self) -> Tensor:
        """Return float64 terms of the current state by layer owned, ``[1 to 3, layers]``.

        The rows sum to the objective and, where the algorithm has them, to the primal residual and the squared dual
        residual.
        """

    def wire_bytes(self) -> dict[int, int]:
        """Return what this process sent to other processes in iterations so far, in bytes, by boundary."""
        return {}

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Return the state: what :meth:`restore` needs to go on with the same bits, in any number of processes.

        Names hold the layer's number, as ``3.W``, or begin with ``all.`` for what is the same in all processes; those
        that end in ``.rows`` have a row a training row of this shard (:mod:`gamlp_admm.training.checkpoint`).
        """

    @abstractmethod
    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the state that :meth:`tensors` returned in all processes, whichever layers each of them had."""


class Algorithm(ABC):
    """What the loop needs of an algorithm. What is so whatever its settings can be asked of the class.

    Attributes:
        scale: What features are measured in (:mod:`gamlp_admm.training.units`).
        unit_rows: Whether ``auto`` is one unit, by which rows have a mean square norm of 1, where columns do not
            differ; else features are taken as they are.
        distributable: Whether the layers may be owned by several processes.
        residual: Whether networks with residual connections can be trained.
        grows: Whether deep networks are grown unless something else is asked for.
        depth: Layers that a network must have, ``None`` for any number.
    """

    scale: str = "none"
    unit_rows: bool = False
    distributable: bool = False
    residual: bool = True
    grows: bool = False
    depth: int | None = None

    @property
    def reads_records(self) -> bool:
        """Whether records decide what comes, so that each iteration has one unless asked otherwise."""
        return False

    @property
    @abstractmethod
    def algorithm(self) -> str:
        """The algorithm's name on the command line."""

    @property
    def compressible(self) -> bool:
        """Whether its iterates are those of compressed features."""
        return False

    @abstractmethod
    def settings(self) -> dict[str, str]:
        """Return its settings by name, as text: what a checkpoint must agree on."""

    def assumed(self) -> dict[str, str]:
        """Return the settings of checkpoints that do not have them, because they were written before there were any."""
        return {}

    @abstractmethod
    def start(self, stage: Stage) -> Session:
        """Begin a stage of growth."""

    def choose_codec(self, traffic: Traffic, like: Tensor) -> dict[str, Any] | None:
        """Return which codecs a run will use, where that is chosen (:func:`gamlp_admm.codecs.choosing.choose`).

        It is called in the first process of a run, which is the same algorithm :meth:`with_codec` from then on.

        Args:
            traffic: What the run's layers have to tell each other.
            like: Gives the device.
        """
        return None

    def with_codec(self, spec: str) -> Algorithm:
        """Return the algorithm with the codecs that were chosen."""
        return self

    def most_bytes(self, traffic: Traffic, iteration: int, stage: int) -> int:
        """Return the most bytes that an iteration, from 1 over all stages, can send between layers."""
        return 0

    def opening(self, stage: Stage, seed: int) -> Opening | None:
        """Return weights that know the labels, for networks whose ``init`` is ``ridge``; ``None`` where it has none.

        It is called in all processes that own the first layer.

        Args:
            stage: The first stage, whose features are in their units, and which has no weights yet.
            seed: Draws what is drawn.
        """
        return None

    def converges(self, f: Activation) -> bool | None:
        """Whether the penalties satisfy the algorithm's convergence theorem; ``None`` where it has none."""
        return None

    def condition(self, holds: bool) -> str:
        """Return the condition of the theorem with the penalties in it, as it holds or does not."""
        return ""

    def theorem(self, f: Activation) -> str | None:
        """Return which side of its convergence theorem's condition a run is on, as a phrase, or ``None``."""
        holds = self.converges(f)
        return None if holds is None else f"{self.condition(holds)} convergence is {'' if holds else 'not '}guaranteed"

    def penalty_schedule(self) -> Schedule:
        """Return how ρ and ν change from iteration to iteration."""
        return constant
