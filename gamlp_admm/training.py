"""The fit loop that all trainers share: growth, schedules, evaluation, selection, checkpoints, history."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from gamlp_admm import checkpoint
from gamlp_admm.activations import Activation
from gamlp_admm.balance import explicit, layer_costs
from gamlp_admm.data import NodeData, node_data
from gamlp_admm.errors import InputError
from gamlp_admm.evaluation import Evaluator
from gamlp_admm.features import Features, compress, compressed_width
from gamlp_admm.losses import Risk, risk
from gamlp_admm.nn import GAMLP, Weights
from gamlp_admm.schedules import Record, Schedule, schedule
from gamlp_admm.team import ProcessTeam, Team
from gamlp_admm.trace import Trace


class Session(ABC):
    """One algorithm at work on this process's layers of a network of fixed depth.

    Attributes:
        bytes_sent: Payload that crossed boundaries between layers so far, as if each layer were a process.
    """

    bytes_sent: int

    @abstractmethod
    def iterate(self, scale: float) -> None:
        """Run one iteration with ρ and ν at ``scale`` times their start values."""

    @abstractmethod
    def weights(self) -> Weights:
        """Return (W, b) of each layer owned, the network's first in the coordinates of the features."""

    @abstractmethod
    def layer_terms(self) -> Tensor:
        """Return float64 terms of the current state by layer owned, ``[1 or 3, layers]``.

        The rows sum to the objective and, if there are three, to the primal residual and the squared dual residual.
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


@dataclass
class Result:
    """What a run gives beside the trained model.

    Attributes:
        history: One record an evaluated iteration, with the keys ``iteration`` (from 1, over all stages), ``layers``,
            ``objective``, ``primal_residual``, ``dual_residual``, ``train_loss``, ``train_accuracy``, ``val_accuracy``,
            ``test_accuracy``, ``seconds`` and ``bytes_sent`` (both since the start; seconds without evaluation).
        best: ``iteration``, ``val_accuracy`` and ``test_accuracy`` of the record with the highest validation accuracy
            at the final depth, the earlier on ties; the last record where there are no validation nodes or the final
            depth was not reached.
        last: ``iteration`` and accuracies of the last record.
        converges: Whether the penalties satisfy the algorithm's convergence theorem; ``None`` where it has none.
        processes: One summary a process: ``rank``, ``layers`` (first and last, from 1), ``seconds`` of training, of
            them ``wait_seconds`` for other processes, and ``wire_bytes``: what it sent to each neighbour, by boundary.
    """

    history: list[Record] = field(default_factory=list)
    best: Record = field(default_factory=dict)
    last: Record = field(default_factory=dict)
    converges: bool | None = None
    processes: list[Record] = field(default_factory=list)

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
        parts: The layers of each stage of processes, counted from 0.
        weights: Returns (W, b) of each layer of the network as it stands, of those that this process owns.
    """

    record: Record
    total_iterations: int
    parts: list[range]
    weights: Callable[[], Weights]


Callback = Callable[[Progress], object]
"""Called after each evaluated iteration; training stops if it returns ``True``."""


Pair = tuple[Tensor, Tensor]


def grown_from(depth: int, before: int) -> list[int | None]:
    """Return, for each layer of a network grown from ``before`` to ``depth`` layers, which layer it was.

    New layers (``None``), which start as identities, go in before the last one.

    Source: greedy layerwise growth, TNNLS 2022, Section VI. With ReLU the function is unchanged by identity layers.
    """
    return [*range(before - 1), *[None] * (depth - before), before - 1]


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
class Task:
    """What a session starts from, in one process.

    Attributes:
        data: This process's rows.
        features: Features of the rows, where the first layer is owned.
        weights: (W, b) of the layers owned, the network's first in the coordinates of ``features``.
        shapes: Shape of W of every layer of the network, the first in the coordinates of the features.
        risk: The risk.
        f: The activation.
        num_train: Training rows over all shards.
        team: The processes, and the layers of each.
    """

    data: NodeData
    features: Features | None
    weights: Weights
    shapes: list[tuple[int, int]]
    risk: Risk
    f: Activation
    num_train: int
    team: Team


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
    distributable: ClassVar[bool]
    """Whether the layers may be owned by several processes."""

    @abstractmethod
    def start(self, task: Task) -> Session:
        """Begin a stage."""

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
        process_group: Any = None,
        node_shards: int = 1,
        balance: Sequence[int] | None = None,
        gather: str = "all",
        timeout: float = 300.0,
        trace_dir: str | Path | None = None,
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
            process_group: A torch.distributed group whose processes all call ``fit`` with the same options; they divide
                the layers among them. ``data`` is read in its first process only, and may be ``None`` in the others.
            node_shards: Parts R of the rows; the processes form stages × R.
            balance: Number of layers of each stage at full depth; ``None`` divides by cost.
            gather: Which processes' models receive all layers: ``"all"``, ``"first"`` or ``"none"``: every model
                receives the layers that its process owns.
            timeout: Seconds after which a wait for another process gives up.
            trace_dir: Directory for one Chrome trace a process.

        Raises:
            InputError: The data or an option is wrong.
            FloatingPointError: The iterates are no longer finite.
            NeighbourError: Another process failed, or did not answer within ``timeout``.
        """
        _positive(iterations=iterations, evaluate_every=evaluate_every, patience=patience)
        _positive(checkpoint_every=checkpoint_every)
        if select not in ("best", "last"):
            raise InputError(f"select {select!r}: allowed: best, last")
        if (resume or checkpoint_every) and checkpoint_dir is None:
            raise InputError("resume and checkpoint_every need checkpoint_dir")
        if gather not in ("all", "first", "none"):
            raise InputError(f"gather {gather!r}: allowed: all, first, none")
        stages = depths(grow, model.num_layers)
        trace = Trace(record=trace_dir is not None)
        if process_group is None:
            if node_shards != 1:
                raise InputError("node_shards needs a process_group")
            team = Team(trace)
        elif self.distributable:
            team = ProcessTeam(process_group, node_shards, balance, timeout, trace)
        else:
            raise InputError(f"{self.algorithm} runs in one process")
        if balance is not None:
            explicit(balance, model.num_layers, team.num_stages)
        the_risk = risk(self.loss)
        weight = next(model.parameters())
        like = torch.empty(0, dtype=weight.dtype, device="cpu" if weight.is_meta else weight.device)
        nodes = self._distributed_data(data, model, the_risk, like, node_weight, team)
        run = _Run(self, model, nodes, the_risk, stages, iterations, seed, team, like)
        if resume:
            run.load(Path(str(checkpoint_dir)))
        try:
            run.train(patience, evaluate_every, callbacks, checkpoint_dir, checkpoint_every)
        except FloatingPointError:  # which all processes see alike
            run.session_failed = True
            raise
        except BaseException:  # of which other processes know nothing
            gather = "none"
            raise
        finally:
            run.finish(select, gather)
            if trace_dir is not None:
                trace.save(Path(trace_dir), team.rank, getattr(team, "name", "rank 0"))
        run.result.processes = team.collect(run.summary())
        return run.result

    def _distributed_data(
        self, data: Any, model: GAMLP, the_risk: Risk, like: Tensor, node_weight: Tensor | None, team: Team
    ) -> NodeData:
        # The first process checks the data and hands out rows; all processes learn of an error.
        shards: list[NodeData] = []
        header: Any = None
        if team.rank == 0:
            try:
                nodes = node_data(
                    data,
                    model.config["in_channels"],
                    model.config["out_channels"],
                    the_risk,
                    like,
                    node_weight,
                    self.class_weight,
                )
                shards = nodes.shards(team.num_shards)
                header = [(shard.sizes, shard.weight is not None) for shard in shards]
            except InputError as error:
                header = str(error)
        header = team.from_first(header)
        if isinstance(header, str):
            raise InputError(header)
        sizes, weighted = header[team.shard]
        first = team.rank == 0

        def rows(name: str, shape: tuple[int, ...], everyone: bool) -> Tensor | None:
            return team.rows_from_first(
                [getattr(shard, name) for shard in shards] if first else None, shape, like, everyone
            )

        x = rows("x", (sum(sizes), model.config["in_channels"]), everyone=False)
        y = rows("y", (sum(sizes), model.config["out_channels"]), everyone=True)
        weight = rows("weight", (sizes[0],), everyone=True) if weighted else None
        assert y is not None
        return NodeData(x, y, tuple(sizes), weight)


class _Run:
    """One call of fit, in one process."""

    def __init__(
        self,
        trainer: Trainer,
        model: GAMLP,
        nodes: NodeData,
        the_risk: Risk,
        stages: list[int],
        iterations: int,
        seed: int | None,
        team: Team,
        like: Tensor,
    ) -> None:
        self.trainer, self.model, self.nodes, self.risk, self.team, self.like = (
            trainer, model, nodes, the_risk, team, like,
        )  # fmt: skip
        self.stages, self.iterations = stages, iterations
        self.evaluator = Evaluator(nodes, the_risk, model.f)
        self.schedule = trainer.penalty_schedule()
        self.result = Result(converges=trainer.converges(model.f))
        self.num_train = sum(dict(team.collect((team.shard, nodes.num_train))).values())
        self.stage = self.iteration = self.stage_start = 0  # iteration counts over all stages
        self.seconds = self.wait_seconds = 0.0
        self.bytes_before = 0
        self.best: Weights | None = None
        self.finite: Weights = []  # the newest weights known to be finite
        self.session_failed = False
        self.features: Features | None = None
        self._plan(stages[0])
        sources = [*range(stages[0] - 1), model.num_layers - 1]
        weights = model.initial_weights([sources[l] for l in team.layers], seed)
        weights = [(W.to(like), b.to(like)) for W, b in weights]
        if nodes.x is not None:
            self.features = self._features(weights[0][0])
            W, b = weights[0]
            weights[0] = (self.features.enter(W), b)
        self._start(weights)

    def _features(self, W: Tensor, unit: bool = False) -> Features:
        x = self.nodes.x
        assert x is not None
        train = x[: self.nodes.num_train]
        # Shards would each have a basis of their own, so features are compressed only where one process has all rows.
        compressible = self.trainer.compressible and self.team.num_shards == 1
        return compress(train, x, W, unit) if compressible else Features(train, x)

    def _plan(self, depth: int) -> None:
        config = self.model.config
        widths = [config["in_channels"], *[config["hidden_channels"]] * (depth - 1), config["out_channels"]]
        self.shapes = list(zip(widths[1:], widths[:-1], strict=True))
        rows = self.num_train // self.team.num_shards
        solved = list(self.shapes)
        if self.trainer.compressible and self.team.num_shards == 1:
            solved[0] = (widths[1], compressed_width(rows, widths[0]))
        self.team.plan(layer_costs(solved, rows))

    def _start(self, weights: Weights) -> None:
        self.finite = weights
        self.channel = self.team.channel()
        task = Task(
            self.nodes,
            self.features,
            weights,
            self.shapes,
            self.risk,
            self.model.f,
            self.num_train,
            self.team,
        )
        self.session = self.trainer.start(task)

    def _leave(self, weights: Weights) -> Weights:
        if self.features is None:
            return weights
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
            if within >= self.iterations or self._exhausted(patience):
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
                    self.team.parts,
                    lambda: self._leave(self.session.weights()),
                )
                answers = [callback(progress) for callback in callbacks]
                stopped = self.team.maximum(float(True in answers)) > 0
            if checkpoint_dir and checkpoint_every and self.iteration % checkpoint_every == 0:
                self.save(Path(checkpoint_dir))
        if checkpoint_dir:
            self.save(Path(checkpoint_dir))

    def _iterate(self) -> None:
        scale = self.schedule(self._stage_records, self.iteration - self.stage_start)
        begin, waited = _now(self.like), self.team.trace.wait
        self.session.iterate(scale)
        self.seconds += _now(self.like) - begin
        self.wait_seconds += self.team.trace.wait - waited
        self.iteration += 1

    def _evaluate(self) -> None:
        weights, depth = self.session.weights(), self.stages[self.stage]
        with self.team.trace.span("evaluate", "compute"):
            own = self.session.layer_terms()
            z = self.evaluator.outputs(weights, self.team.layers, self.features, self.channel, self.team.owns_last)
        terms = own.new_zeros(len(own), depth)
        terms[:, list(self.team.layers)] = own
        sent = own.new_tensor([self.session.bytes_sent])
        totals = self.team.total(torch.cat([terms.flatten(), sent, self.evaluator.sums(z).to(own)]))
        layers, (sent,), sums = torch.split(totals, [terms.numel(), 1, len(totals) - terms.numel() - 1])
        objective, *residuals = layers.reshape(terms.shape).sum(1).tolist()
        record: Record = {
            "iteration": self.iteration,
            "layers": depth,
            "objective": objective,
            "primal_residual": residuals[0] if residuals else None,
            "dual_residual": math.sqrt(residuals[1]) if residuals else None,
            **self.evaluator.measures(sums),
            "seconds": self.team.maximum(self.seconds),
            "bytes_sent": self.bytes_before + int(sent),
        }
        if not (math.isfinite(record["train_loss"]) and math.isfinite(record["objective"])):
            raise FloatingPointError(
                f"iteration {self.iteration}: the objective is no longer finite; the best weights are kept"
            )
        self.result.history.append(record)
        self.finite = weights
        self.result.last = {k: record[k] for k in ("iteration", "train_accuracy", "val_accuracy", "test_accuracy")}
        score, best = record["val_accuracy"], self.result.best
        final = depth == self.stages[-1]
        if final and (score is None or not best or score > best["val_accuracy"]):
            self.result.best = {k: record[k] for k in ("iteration", "val_accuracy", "test_accuracy")}
            self.best = weights

    def _exhausted(self, patience: int | None) -> bool:
        scores = [r["val_accuracy"] for r in self._stage_records]
        if patience is None or len(scores) <= patience or scores[0] is None:
            return False
        return len(scores) - 1 - scores.index(max(scores)) >= patience

    def _grow(self) -> None:
        before, parts = self.stages[self.stage], self.team.parts
        self.stage += 1
        self.stage_start = self.iteration
        self.bytes_before = self.result.history[-1]["bytes_sent"]
        weights = self.session.weights()
        depth = self.stages[self.stage]
        self._plan(depth)

        def identity(layer: int) -> Pair:
            n_out, n_in = self.shapes[layer]
            return torch.eye(n_out, n_in).to(self.like), torch.zeros(n_out).to(self.like)

        self._start(self.team.move(weights, parts, grown_from(depth, before), identity))

    def finish(self, select: str, gather: str) -> None:
        """Give the model the selected weights."""
        chosen = self.finite if self.session_failed else self.session.weights()
        if select == "best" and self.best is not None:
            chosen = self.best
        if not self.result.best and self.result.last:  # stopped before the final depth
            last = self.result.last
            self.result.best = {k: last[k] for k in ("iteration", "val_accuracy", "test_accuracy")}
        depth = self.stages[self.stage]
        targets = [i for i, l in enumerate(grown_from(self.model.num_layers, depth)) if l is not None]
        own = dict(zip(self.team.layers, self._leave(chosen), strict=True))
        for layer in range(self.model.num_layers):
            if layer in targets:
                source = targets.index(layer)
                pair = own.get(source)
                if gather != "none":
                    pair = self._shared(source, pair)
            else:
                n = self.model.config["hidden_channels"]
                pair = (torch.eye(n).to(self.like), torch.zeros(n).to(self.like))
            if pair is not None and (gather != "first" or self.team.rank == 0):
                self.model.set_layer(layer, *pair)

    def _shared(self, layer: int, pair: Pair | None) -> Pair:
        n_out, n_in = self.shapes[layer]
        if pair is None:
            pair = (self.like.new_empty(n_out, n_in), self.like.new_empty(n_out))
        pair = (pair[0].contiguous(), pair[1].contiguous())
        self.team.share_layer(layer, pair)
        return pair

    def summary(self) -> Record:
        """Return this process's entry of :attr:`Result.processes`."""
        layers = self.team.layers
        return {
            "rank": self.team.rank,
            "layers": [layers[0] + 1, layers[-1] + 1] if layers else None,
            "seconds": self.seconds,
            "wait_seconds": self.wait_seconds,
            "wire_bytes": self.session.wire_bytes(),
        }

    # --- checkpoints ---

    def _identity(self) -> dict[str, Any]:
        values = {k: getattr(self.trainer, k) for k in self.trainer.__dataclass_fields__}
        settings = {k: getattr(v, "__qualname__", str(v)) for k, v in values.items()}
        return {
            "algorithm": self.trainer.algorithm,
            **settings,
            **self.model.config,
            "rows": list(self.nodes.sizes),
            "dtype": str(self.like.dtype),
            "grow": self.stages,
            "processes": [self.team.rank, self.team.size, self.team.num_shards],
        }

    def save(self, directory: Path) -> None:
        tensors = {f"session.{k}": t for k, t in self.session.tensors().items()}
        if self.features is not None:
            tensors |= {f"features.{k}": t for k, t in self.features.state().items()}
        for l, (W, b) in enumerate(self.best or []):
            tensors |= {f"best.{l}.W": W, f"best.{l}.b": b}
        header = {
            "identity": self._identity(),
            "layers": list(self.team.layers),
            "result": {"history": self.result.history, "best": self.result.best, "last": self.result.last},
            "position": [self.stage, self.iteration, self.stage_start, self.seconds, self.bytes_before],
            "bytes_sent": self.session.bytes_sent,
        }
        checkpoint.save(directory, tensors, header, self.team.rank, self.team.size, self.team.barrier)

    def load(self, directory: Path) -> None:
        tensors, header = checkpoint.load(directory, self.team.rank, self.team.size)
        for name, value in self._identity().items():
            saved = header["identity"].get(name)
            if saved != value:
                raise InputError(f"the checkpoint in {directory} was made with {name}={saved}, not {value}")
        result = header["result"]
        self.result.history, self.result.best, self.result.last = (
            result["history"],
            result["best"],
            result["last"],
        )
        self.stage, self.iteration, self.stage_start, self.seconds, self.bytes_before = header["position"]
        tensors = {name: t.to(self.like.device) for name, t in tensors.items()}
        self._plan(self.stages[self.stage])
        if header["layers"] != list(self.team.layers):
            raise InputError(f"the checkpoint in {directory} was made with another balance of the layers")
        if "features.outside" in tensors:
            self.features = self._features(tensors["features.outside"], unit=True)
        count = sum(name.startswith("best.") for name in tensors) // 2
        self.best = [(tensors[f"best.{l}.W"], tensors[f"best.{l}.b"]) for l in range(count)] or None
        self._start([(torch.zeros(s).to(self.like), torch.zeros(s[0]).to(self.like)) for s in self._own_shapes()])
        self.session.restore({k.removeprefix("session."): t for k, t in tensors.items() if k.startswith("session.")})
        self.session.bytes_sent = header["bytes_sent"]
        self.finite = self.session.weights()

    def _own_shapes(self) -> list[tuple[int, int]]:
        shapes = [self.shapes[l] for l in self.team.layers]
        if self.features is not None:
            shapes[0] = (shapes[0][0], self.features.train.shape[1])
        return shapes


def _positive(**values: int | None) -> None:
    for name, value in values.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise InputError(f"{name} must be a positive integer, not {value!r}")


def _now(like: Tensor) -> float:
    if like.is_cuda:
        torch.cuda.synchronize(like.device)
    return time.perf_counter()
