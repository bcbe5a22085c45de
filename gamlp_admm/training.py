"""The fit loop that all trainers share: growth, schedules, evaluation, selection, checkpoints, history."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from gamlp_admm import checkpoint
from gamlp_admm.activations import Activation
from gamlp_admm.data import NodeData, node_data
from gamlp_admm.errors import InputError
from gamlp_admm.evaluation import Evaluator
from gamlp_admm.features import Features, compress
from gamlp_admm.losses import Risk, risk
from gamlp_admm.nn import GAMLP, Weights
from gamlp_admm.schedules import Record, Schedule, schedule


class Session(ABC):
    """One algorithm at work on a network of fixed depth.

    Attributes:
        bytes_sent: Payload that crossed boundaries between layers so far, as if each layer were a process.
    """

    bytes_sent: int

    @abstractmethod
    def iterate(self, scale: float) -> None:
        """Run one iteration with ρ and ν at ``scale`` times their start values."""

    @abstractmethod
    def weights(self) -> Weights:
        """Return (W, b) of each layer, the first in the coordinates of the features."""

    @abstractmethod
    def measure(self) -> dict[str, float | None]:
        """Return ``objective``, ``primal_residual`` and ``dual_residual`` of the current state."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Return the state: what :meth:`restore` needs to go on with the same bits."""

    @abstractmethod
    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over a state that :meth:`tensors` returned."""


@dataclass
class Result:
    """What a run gives beside the trained model.

    Attributes:
        history: One record an evaluated iteration, with the keys ``iteration`` (from 1, over all stages), ``layers``,
            ``objective``, ``primal_residual``, ``dual_residual``, ``train_loss``, ``train_accuracy``, ``val_accuracy``,
            ``test_accuracy``, ``seconds`` and ``bytes_sent`` (both since the start; seconds without evaluation).
        best: ``iteration``, ``val_accuracy`` and ``test_accuracy`` of the record with the highest validation accuracy
            at the final depth, the earlier on ties; the last record where there are no validation nodes.
        last: ``iteration`` and accuracies of the last record.
        converges: Whether the penalties satisfy the algorithm's convergence theorem; ``None`` where it has none.
    """

    history: list[Record] = field(default_factory=list)
    best: Record = field(default_factory=dict)
    last: Record = field(default_factory=dict)
    converges: bool | None = None

    @property
    def seconds(self) -> float:
        """Training time without evaluation."""
        return float(self.history[-1]["seconds"]) if self.history else 0.0

    @property
    def bytes_sent_total(self) -> int:
        """Payload sent over all boundaries between layers, in bytes."""
        return int(self.history[-1]["bytes_sent"]) if self.history else 0


@dataclass(frozen=True)
class Progress:
    """What a callback sees after each evaluated iteration.

    Attributes:
        record: The newest history record.
        total_iterations: Iterations of the whole run.
        weights: Returns (W, b) of each layer of the network as it stands.
    """

    record: Record
    total_iterations: int
    weights: Callable[[], Weights]


Callback = Callable[[Progress], object]
"""Called after each evaluated iteration; training stops if it returns ``True``."""


def resize(weights: Weights, num_layers: int) -> Weights:
    """Return a network of ``num_layers`` layers: identity layers go in, or hidden layers out, before the last one.

    Source: greedy layerwise growth, TNNLS 2022, Section VI. With ReLU the function is unchanged by identity layers.
    """
    *body, last = weights
    body = body[: num_layers - 1]
    W, b = last
    n = W.shape[1]
    identity = (torch.eye(n, dtype=W.dtype, device=W.device), b.new_zeros(n))
    return [*body, *[identity] * (num_layers - 1 - len(body)), last]


def depths(grow: Sequence[int] | None, num_layers: int) -> list[int]:
    """Return the depth of each stage.

    Raises:
        InputError: ``grow`` does not rise from at least 2 to ``num_layers``.
    """
    if not grow:
        return [num_layers]
    stages = list(grow)
    if stages != sorted(set(stages)) or stages[0] < 2 or stages[-1] != num_layers:
        raise InputError(f"grow {stages} must rise from at least 2 layers to the model's {num_layers}")
    return stages


@dataclass(frozen=True)
class Trainer(ABC):
    """What all trainers share. Subclasses say how a :class:`Session` starts.

    Attributes:
        loss: Risk of the last layer: ``cross_entropy``, ``squared_error``, ``binary_cross_entropy``,
            ``squared_hinge``.
        class_weight: Weight of each class in the risk, ``[C]``, or ``"balanced"``, or ``None``.
    """

    loss: str = field(default="cross_entropy", kw_only=True)
    class_weight: Any = field(default=None, kw_only=True)

    algorithm: ClassVar[str]
    compressible: ClassVar[bool]
    """Whether the algorithm's iterates are those of compressed features."""

    @abstractmethod
    def start(self, data: NodeData, features: Features, weights: Weights, risk: Risk, f: Activation) -> Session:
        """Begin a stage from weights whose first layer is in the coordinates of ``features``."""

    def converges(self, f: Activation) -> bool | None:
        """Whether the penalties satisfy the algorithm's convergence theorem; ``None`` where it has none."""
        return None

    def penalty_schedule(self) -> Schedule:
        """Return how ρ and ν change from iteration to iteration."""
        return schedule("constant")

    def fit(
        self,
        model: GAMLP,
        data: Any,
        iterations: int = 200,
        *,
        seed: int | None = None,
        grow: Sequence[int] | None = None,
        patience: int | None = None,
        evaluate_every: int = 1,
        node_weight: Tensor | None = None,
        select: str = "best",
        callbacks: Sequence[Callback] = (),
        checkpoint_dir: str | Path | None = None,
        checkpoint_every: int | None = None,
        resume: bool = False,
    ) -> Result:
        """Train ``model`` on ``data``; the trained weights are in the model afterwards.

        The same seed, data, options and thread count give the same bits. If training is interrupted or fails, the
        model still receives the weights selected so far.

        Args:
            model: The network; its device and dtype are used.
            data: PyG ``Data`` or any object with ``x`` ``[N, F]``, ``y`` ``[N]`` (or ``[N, C]``), ``train_mask`` and,
                if there are any, ``val_mask`` and ``test_mask`` (bool ``[N]``).
            iterations: Iterations of each stage.
            seed: Draws the model's weights anew; ``None`` starts from the weights that the model has.
            grow: Depths of the stages of greedy growth, e.g. ``(2, 5, 10)``; ``None`` trains at full depth.
            patience: Ends a stage after so many evaluations without a better validation accuracy.
            evaluate_every: Iterations from one history record to the next (the last of a stage always has one).
            node_weight: Weight of each node in the risk, ``[N]``.
            select: What the model receives: ``"best"`` on validation at the final depth, or ``"last"``.
            callbacks: Called after each evaluated iteration.
            checkpoint_dir: Directory of the run's checkpoint, written at the end and every ``checkpoint_every``.
            checkpoint_every: Iterations from one checkpoint to the next; ``None``: at the end only.
            resume: Go on from the checkpoint in ``checkpoint_dir``, to the same bits as an uninterrupted run.

        Raises:
            InputError: The data or an option is wrong.
            FloatingPointError: The iterates are no longer finite.
        """
        _positive(iterations=iterations, evaluate_every=evaluate_every, patience=patience)
        _positive(checkpoint_every=checkpoint_every)
        if select not in ("best", "last"):
            raise InputError(f"select {select!r}: allowed: best, last")
        if (resume or checkpoint_every) and checkpoint_dir is None:
            raise InputError("resume and checkpoint_every need checkpoint_dir")
        stages = depths(grow, model.num_layers)
        the_risk = risk(self.loss)
        like = next(model.parameters())
        nodes = node_data(
            data,
            model.config["in_channels"],
            model.config["out_channels"],
            the_risk,
            like.detach(),
            node_weight,
            self.class_weight,
        )
        if seed is not None:
            model.reset_parameters(torch.Generator().manual_seed(seed))
        run = _Run(self, model, nodes, the_risk, stages, iterations)
        if resume:
            run.load(Path(str(checkpoint_dir)))
        try:
            run.train(patience, evaluate_every, callbacks, checkpoint_dir, checkpoint_every)
        finally:
            run.finish(select)
        return run.result


class _Run:
    """One call of fit."""

    def __init__(
        self, trainer: Trainer, model: GAMLP, nodes: NodeData, the_risk: Risk, stages: list[int], iterations: int
    ) -> None:
        self.trainer, self.model, self.nodes, self.risk = trainer, model, nodes, the_risk
        self.stages, self.iterations = stages, iterations
        self.evaluator = Evaluator(nodes, the_risk, model.f)
        self.schedule = trainer.penalty_schedule()
        self.result = Result(converges=trainer.converges(model.f))
        self.stage = self.iteration = self.stage_start = 0  # iteration counts over all stages
        self.seconds, self.bytes_before = 0.0, 0
        self.best: Weights | None = None
        weights = model.weights()
        self.features = self._features(weights[0][0])
        self._enter(resize(weights, stages[0]))

    def _features(self, W: Tensor) -> Features:
        x = self.evaluator.x
        train = x[: len(self.nodes.rows["train"])]
        return compress(train, x, W) if self.trainer.compressible else Features(train, x)

    def _enter(self, weights: Weights) -> None:
        (W, b), *rest = weights
        self._start([(self.features.enter(W), b), *rest])

    def _start(self, weights: Weights) -> None:
        self.session = self.trainer.start(self.nodes, self.features, weights, self.risk, self.model.f)

    def _leave(self, weights: Weights) -> Weights:
        (W, b), *rest = weights
        return [(self.features.leave(W), b), *rest]

    @property
    def _stage_records(self) -> list[Record]:
        return [r for r in self.result.history if r["iteration"] > self.stage_start]

    def train(
        self,
        patience: int | None,
        evaluate_every: int,
        callbacks: Sequence[Callback],
        checkpoint_dir: str | Path | None,
        checkpoint_every: int | None,
    ) -> None:
        stopped = False
        while not stopped:
            within = self.iteration - self.stage_start
            if within == self.iterations or self._exhausted(patience):
                if self.stage + 1 == len(self.stages):
                    break
                self._grow()
                continue
            self._iterate()
            if (within + 1) % evaluate_every == 0 or within + 1 == self.iterations:
                self._evaluate()
                progress = Progress(
                    self.result.history[-1],
                    self.iterations * len(self.stages),
                    lambda: self._leave(self.session.weights()),
                )
                stopped = any([callback(progress) is True for callback in callbacks])
            if checkpoint_dir and checkpoint_every and self.iteration % checkpoint_every == 0:
                self.save(Path(checkpoint_dir))
        if checkpoint_dir:
            self.save(Path(checkpoint_dir))

    def _iterate(self) -> None:
        scale = self.schedule(self._stage_records)
        begin = _now(self.nodes.x)
        self.session.iterate(scale)
        self.seconds += _now(self.nodes.x) - begin
        self.iteration += 1

    def _evaluate(self) -> None:
        weights = self.session.weights()
        record: Record = {
            "iteration": self.iteration,
            "layers": len(weights),
            **self.session.measure(),
            **self.evaluator(weights, self.features),
            "seconds": self.seconds,
            "bytes_sent": self.bytes_before + self.session.bytes_sent,
        }
        if not (math.isfinite(record["train_loss"]) and math.isfinite(record["objective"])):
            raise FloatingPointError(
                f"iteration {self.iteration}: the objective is no longer finite; the model keeps the best weights so far"
            )
        self.result.history.append(record)
        self.result.last = {k: record[k] for k in ("iteration", "train_accuracy", "val_accuracy", "test_accuracy")}
        score, best = record["val_accuracy"], self.result.best
        final = record["layers"] == self.stages[-1]
        if final and (score is None or not best or score > best["val_accuracy"]):
            self.result.best = {k: record[k] for k in ("iteration", "val_accuracy", "test_accuracy")}
            self.best = weights

    def _exhausted(self, patience: int | None) -> bool:
        scores = [r["val_accuracy"] for r in self._stage_records]
        if patience is None or len(scores) <= patience or scores[0] is None:
            return False
        return len(scores) - 1 - scores.index(max(scores)) >= patience

    def _grow(self) -> None:
        self.stage += 1
        self.stage_start = self.iteration
        self.bytes_before += self.session.bytes_sent
        self._start(resize(self.session.weights(), self.stages[self.stage]))

    def finish(self, select: str) -> None:
        """Give the model the selected weights."""
        chosen = self.best if select == "best" and self.best is not None else self.session.weights()
        self.model.set_weights(resize(self._leave(chosen), self.model.num_layers))

    # --- checkpoints ---

    def _identity(self) -> dict[str, Any]:
        settings = {k: str(v) for k, v in asdict(self.trainer).items()}
        data = {"x": list(self.evaluator.x.shape), "dtype": str(self.evaluator.x.dtype)}
        return {"algorithm": self.trainer.algorithm, **settings, **self.model.config, **data, "grow": self.stages}

    def save(self, directory: Path) -> None:
        tensors = {f"session.{k}": t for k, t in self.session.tensors().items()}
        tensors |= {f"features.{k}": t for k, t in self.features.state().items()}
        for l, (W, b) in enumerate(self.best or []):
            tensors |= {f"best.{l}.W": W, f"best.{l}.b": b}
        header = {
            "identity": self._identity(),
            "result": {"history": self.result.history, "best": self.result.best, "last": self.result.last},
            "position": [self.stage, self.iteration, self.stage_start, self.seconds, self.bytes_before],
            "bytes_sent": self.session.bytes_sent,
        }
        checkpoint.save(directory, tensors, header)

    def load(self, directory: Path) -> None:
        tensors, header = checkpoint.load(directory)
        for name, value in self._identity().items():
            saved = header["identity"].get(name)
            if saved != value:
                raise InputError(f"the checkpoint in {directory} was made with {name}={saved}, not {value}")
        result = header["result"]
        self.result.history, self.result.best, self.result.last = result["history"], result["best"], result["last"]
        self.stage, self.iteration, self.stage_start, self.seconds, self.bytes_before = header["position"]
        tensors = {name: t.to(self.nodes.x.device) for name, t in tensors.items()}
        if "features.outside" in tensors:
            self.features = self._features(tensors["features.outside"])
        count = sum(name.startswith("best.") for name in tensors) // 2
        self.best = [(tensors[f"best.{l}.W"], tensors[f"best.{l}.b"]) for l in range(count)] or None
        self._enter(resize(self.model.weights(), self.stages[self.stage]))
        self.session.restore({k.removeprefix("session."): t for k, t in tensors.items() if k.startswith("session.")})
        self.session.bytes_sent = header["bytes_sent"]


def _positive(**values: int | None) -> None:
    for name, value in values.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise InputError(f"{name} must be a positive integer, not {value!r}")


def _now(x: Tensor) -> float:
    if x.is_cuda:
        torch.cuda.synchronize(x.device)
    return time.perf_counter()
