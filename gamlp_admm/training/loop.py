"""One call of fit, in one process: stages of growth, iterations, evaluation, selection and checkpoints."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gamlp_admm.errors import InputError
from gamlp_admm.nn.gamlp import GAMLP
from gamlp_admm.nn.losses import Risk
from gamlp_admm.nn.network import Weights
from gamlp_admm.parallel.balance import layer_costs
from gamlp_admm.parallel.team import Pair, Team
from gamlp_admm.training import checkpoint
from gamlp_admm.training.evaluation import Evaluator
from gamlp_admm.training.features import Features, compress, compressed_width
from gamlp_admm.training.result import Callback, Progress, Result
from gamlp_admm.training.rows import NodeData
from gamlp_admm.training.schedules import Record
from gamlp_admm.training.session import Algorithm, Stage
from gamlp_admm.training.units import Units


def grown_from(depth: int, before: int) -> list[int | None]:
    """Return, for each layer of a network grown from ``before`` to ``depth`` layers, which layer it was.

    New layers (``None``), which start as identities, go in before the last one.

    Source: greedy layerwise growth, TNNLS 2022, Section VI. With ReLU the function is unchanged by identity layers.
    """
    return [*range(before - 1), *[None] * (depth - before), before - 1]


class Run:
    """One call of fit, in one process.

    Args:
        trainer: The algorithm.
        model: The network, which receives the selected weights at the end.
        nodes: This process's rows; their features are measured in the run's units, in place.
        the_risk: The risk.
        stages: Depth of each stage of growth.
        iterations: Iterations of each stage.
        seed: Draws the start weights; ``None`` for those of the model.
        team: The processes, and the layers of each.
        like: Gives dtype and device.
    """

    def __init__(
        self,
        trainer: Algorithm,
        model: GAMLP,
        nodes: NodeData,
        the_risk: Risk,
        stages: list[int],
        iterations: int,
        seed: int | None,
        team: Team,
        like: Tensor,
    ) -> None:
        self.trainer, self.model, self.risk, self.nodes = trainer, model, the_risk, nodes
        self.team, self.like = team, like
        self.stages, self.iterations = stages, iterations
        self.evaluator = Evaluator(nodes, the_risk, model.network)
        self.schedule = trainer.penalty_schedule()
        self.result = Result(converges=None if model.network.residual else trainer.converges(model.f))
        self.num_train = sum(dict(team.collect((team.shard, nodes.num_train))).values())
        self.stage = self.iteration = self.stage_start = 0  # iteration counts over all stages
        self.seconds = self.wait_seconds = 0.0
        self.bytes_before = 0
        self.wire_before: Counter[int] = Counter()
        self.best: Weights | None = None
        self.finite: Weights = []  # the newest weights known to be finite
        self.session_failed = False
        self.features: Features | None = None
        self._plan(stages[0])
        sources = [*range(stages[0] - 1), model.num_layers - 1]
        weights = model.initial_weights([sources[l] for l in team.layers], seed, unit_rows=trainer.scale == "unit")
        weights = [(W.to(like), b.to(like)) for W, b in weights]
        self.units: Units | None = None
        if nodes.x is not None:
            W, b = weights[0]
            if trainer.scale == "unit":
                self.units = Units.of(nodes.x[: nodes.num_train], self.num_train, team.row_sum)
                self.units.measure_(nodes.x)
                if seed is None:
                    W, b = self.units.enter(W, b)
            self.features = self._features(W)
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
        stage = Stage(
            self.nodes,
            self.features,
            weights,
            self.shapes,
            self.risk,
            self.model.network,
            self.num_train,
            self.team,
        )
        self.session = self.trainer.start(stage)

    def _leave(self, weights: Weights) -> Weights:
        if self.features is None:
            return weights
        (W, b), *rest = weights
        W = self.features.leave(W)
        return [(W, b) if self.units is None else self.units.leave(W, b), *rest]

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
        factor = self.schedule(self._stage_records, self.iteration - self.stage_start)
        begin, waited = _now(self.like), self.team.trace.wait
        self.session.iterate(self.iteration + 1, factor)
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
            "dual_residual": math.sqrt(residuals[1]) if len(residuals) > 1 else None,
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
        self.wire_before.update(self.session.wire_bytes())
        weights = self.session.weights()
        depth = self.stages[self.stage]
        self._plan(depth)

        def identity(layer: int) -> Pair:
            return self._passing(*self.shapes[layer])

        self._start(self.team.move(weights, parts, grown_from(depth, before), identity))

    def _passing(self, n_out: int, n_in: int) -> Pair:
        # W and b of a layer that passes its input on: by itself, or by its residual connection.
        W = torch.zeros(n_out, n_in) if self.model.network.residual else torch.eye(n_out, n_in)
        return W.to(self.like), torch.zeros(n_out).to(self.like)

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
                pair = self._passing(n, n)
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
            "wire_bytes": dict(self.wire_before + Counter(self.session.wire_bytes())),
        }

    # --- checkpoints ---

    def _identity(self) -> dict[str, Any]:
        return {
            "algorithm": self.trainer.algorithm,
            **self.trainer.settings(),
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


def _now(like: Tensor) -> float:
    if like.is_cuda:
        torch.cuda.synchronize(like.device)
    return time.perf_counter()
