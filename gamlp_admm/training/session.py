"""What an algorithm implements: a session works on this process's layers of a network of fixed depth."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from gamlp_admm.nn.activations import Activation
from gamlp_admm.nn.losses import Risk
from gamlp_admm.nn.network import Network, Weights
from gamlp_admm.parallel.team import Team
from gamlp_admm.training.features import Features
from gamlp_admm.training.rows import NodeData
from gamlp_admm.training.schedules import Schedule


@dataclass(frozen=True)
class Task:
    """What a session starts from, in one process.

    Attributes:
        data: This process's rows.
        features: Features of the rows, where the first layer is owned.
        weights: (W, b) of the layers owned, the network's first in the coordinates of ``features``.
        shapes: Shape of W of every layer of the network, the first in the coordinates of the features.
        risk: The risk.
        network: The network, but for its weights.
        num_train: Training rows over all shards.
        team: The processes, and the layers of each.
    """

    data: NodeData
    features: Features | None
    weights: Weights
    shapes: list[tuple[int, int]]
    risk: Risk
    network: Network
    num_train: int
    team: Team


class Session(ABC):
    """One algorithm at work on this process's layers of a network of fixed depth.

    Attributes:
        bytes_sent: Payload that crossed boundaries between layers so far, as if each layer were a process.
    """

    bytes_sent: int

    @abstractmethod
    def iterate(self, iteration: int, scale: float) -> None:
        """Run one iteration.

        Args:
            iteration: Its number, from 1, over all stages of growth.
            scale: Factor of ρ and ν to their start values.
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
        """Return the state: what :meth:`restore` needs to go on with the same bits."""

    @abstractmethod
    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over a state that :meth:`tensors` returned."""


class Algorithm(Protocol):
    """What a run needs of a trainer."""

    @property
    def algorithm(self) -> str:
        """Its name."""

    @property
    def compressible(self) -> bool:
        """Whether its iterates are those of compressed features."""

    @property
    def scale(self) -> str:
        """``unit`` where features have units of their own (:mod:`gamlp_admm.training.units`), or ``none``."""

    def settings(self) -> dict[str, str]:
        """Return its settings by name, as text: what a checkpoint must agree on."""

    def start(self, task: Task) -> Session:
        """Begin a stage."""

    def converges(self, f: Activation) -> bool | None:
        """Whether the penalties satisfy the algorithm's convergence theorem; ``None`` where it has none."""

    def penalty_schedule(self) -> Schedule:
        """Return how ρ and ν change from iteration to iteration."""
