"""One call of fit, in one process: iterations, evaluations and checkpoints, stage of growth after stage of growth."""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from gamlp_admm.codecs.choosing import Traffic
from gamlp_admm.errors import Diverged, InputError
from gamlp_admm.nn.gamlp import GAMLP
from gamlp_admm.nn.losses import Risk
from gamlp_admm.nn.network import Weights, finite
from gamlp_admm.parallel.balance import layer_costs
from gamlp_admm.parallel.team import Pair, Team
from gamlp_admm.training.budget import ByteBudget
from gamlp_admm.training.checkpoint import Checkpoint
from gamlp_admm.training.coordinates import Coordinates
from gamlp_admm.training.evaluation import Evaluator, weights_travel
from gamlp_admm.training.gathering import gather
from gamlp_admm.training.growth import grown_from, kept, passing, shapes
from gamlp_admm.training.interval import interval
from gamlp_admm.training.metrics import metric_of, warn_of_undefined
from gamlp_admm.training.options import FitOptions
from gamlp_admm.training.result import Progress, Result
from gamlp_admm.training.rows import NodeData
from gamlp_admm.training.schedules import Record
from gamlp_admm.training.selection import Selection
from gamlp_admm.training.session import Algorithm, Stage

LOST: tuple[type[Exception], ...] = (getattr(torch.linalg, "LinAlgError"), OverflowError, ZeroDivisionError)  # noqa: B009
"""What arithmetic raises where numbers have outgrown their dtype."""


@dataclass
class Position:
    """How far a run is.

    Attributes:
        stage: Number of the stage of growth, from 0.
        iteration: Iterations so far, over all stages.
        stage_start: Of them, those before this stage.
        seconds: Time in iterations.
        bytes_before: What stages before this one sent.
    """

    stage: int = 0
    iteration: int = 0
    stage_start: int = 0
    seconds: float = 0.0
    bytes_before: int = 0


class Loop:
    """One call of fit, in one process.

    Args:
        trainer: The algorithm.
        model: The network, which receives the selected weights at the end.
        nodes: This process's rows; their features are measured in the run's units, in place.
        the_risk: The risk.
        options: What is asked for.
        team: The processes, and the layers of each.
        like: Gives dtype and device.
        checkpoint: Where the run is kept, or ``None``.
    """

    def __init__(
        self,
        trainer: Algorithm,
        model: GAMLP,
        nodes: NodeData,
        the_risk: Risk,
        options: FitOptions,
        team: Team,
        like: Tensor,
        checkpoint: Checkpoint | None = None,
    ) -> None:
        self.trainer, self.model, self.nodes, self.risk = trainer, model, nodes, the_risk
        self.options, self.team, self.like, self.checkpoint = options, team, like, checkpoint
        self.metric = metric_of(options.metric, nodes.kind)
        self.evaluator = Evaluator(nodes, the_risk, model.network, self.metric, team)
        self.schedule = trainer.penalty_schedule()
        self.result = Result(metric=self.metric.name)
        by_iteration = options.evaluate_every == "auto"
        self.selection = Selection(self.result, options.select, options.patience, self.metric, by_iteration)
        rows_of = {shard: counts for shard, *counts in team.collect((team.shard, nodes.num_train, len(nodes.y)))}
        self.num_train, self.num_rows = map(sum, zip(*rows_of.values(), strict=True))
        first_row = sum(rows_of[shard][0] for shard in range(team.shard))
        self.rows = range(first_row, first_row + nodes.num_train)
        self.traffic = self._traffic([rows for _, (rows, _) in sorted(rows_of.items())])
        self.trainer = trainer = self._with_codec(trainer)
        self.budget = ByteBudget(None if self.result.codec is None else self.result.codec["budget"], team)
        if not model.network.residual:  # of which the theorems say nothing
            self.result.converges, self.result.theorem = trainer.converges(model.f), trainer.theorem(model.f)
        # Shards would each have a basis of their own, so features are compressed only where one process has all rows.
        compressible = trainer.compressible and team.num_shards == 1
        self.coordinates = self._coordinates(compressible)
        self.position, self.kept = Position(), -1  # iterations of the newest checkpoint
        self.fresh = False  # from a checkpoint, which does not know the iterate before its own
        self.split: defaultdict[str, float] = defaultdict(float)  # the seconds of iterations, by name of span
        self.wire_before: Counter[int] = Counter()
        self.evaluation_bytes = 0  # but those of the channel
        self._plan()
        self.opened, begin = False, _now(like)
        first = self._first_weights()
        middle = _now(like)
        self._start(self.coordinates.enter(first, measured=options.seed is not None))
        # The start from the data is evaluated as it is; what the iterations need beside it is their time.
        self.opening_seconds = middle - begin if self.opened else 0.0
        self.position.seconds = self.split["start"] = _now(like) - begin - self.opening_seconds

    @property
    def depth(self) -> int:
        """Depth of the network in this stage."""
        return self.options.stages[self.position.stage]

    def _traffic(self, rows: list[int]) -> Traffic:
        config, options = self.model.config, self.options
        widths = [[n for n, _ in shapes(config, depth)[:-1]] for depth in options.stages]
        return Traffic(rows, [(options.iterations, each) for each in widths], self.like.dtype)

    def _with_codec(self, trainer: Algorithm) -> Algorithm:
        # Chosen once a run, in one process: it may depend on measured times.
        saved = None if self.checkpoint is None else self.checkpoint.saved
        if saved is not None:
            chosen = saved.get("codec")
        else:
            chosen = self.team.of_first(lambda: trainer.choose_codec(self.traffic, self.like))
        self.result.codec = None if chosen is None else {**chosen, "ended": None}
        return trainer if chosen is None else trainer.with_codec(chosen["chosen"])

    def _coordinates(self, compressible: bool) -> Coordinates:
        # Of features of which all processes learn that they cannot be measured.
        nodes, trainer, team, problem = self.nodes, self.trainer, self.team, None
        try:
            made = Coordinates(nodes, trainer.scale, trainer.unit_rows, compressible, team.row_sum)
        except InputError as error:
            problem = str(error)
        if (problem := team.from_first(problem)) is not None:
            raise InputError(problem)
        self.result.units = team.from_first(made.words)
        return made

    def _plan(self) -> None:
        # Divides the layers of this stage among the processes, and says how often it is evaluated.
        self.shapes = shapes(self.model.config, self.depth)
        (n_out, n_in), *rest = self.shapes
        solved = [(n_out, self.coordinates.width(n_in)), *rest]
        self.team.plan(layer_costs(solved, self.num_train // self.team.num_shards))
        self.every = self._interval(solved)

    def _interval(self, solved: list[tuple[int, int]]) -> int:
        options = self.options
        if isinstance(options.evaluate_every, int):
            return options.evaluate_every
        if self.trainer.reads_records:
            return 1
        rows, ranked = (self.num_train, self.num_rows), self.metric.figure is not None
        return interval(solved, *rows, options.iterations, options.patience, ranked)

    def _first_weights(self) -> Weights:
        # Of the layers owned: made from the data, or drawn, or the model's; the first for features in their units.
        options, team, model, like = self.options, self.team, self.model, self.like
        if model.config["init"] == "ridge" and options.seed is not None and not options.resume:
            weights = self._opening(options.seed)
            if weights is not None:
                self.opened = True
                return weights
        layers = [kept(model.num_layers, self.depth)[l] for l in team.layers]
        measured = self.trainer.unit_rows if self.trainer.scale == "auto" else self.trainer.scale != "none"
        drawn = model.initial_weights(layers, options.seed, unit_rows=measured)
        return [(W.to(like), b.to(like)) for W, b in drawn]

    def _opening(self, seed: int) -> Weights | None:
        team, last, made = self.team, self.depth - 1, None
        if self.nodes.x is not None:
            made = self.trainer.opening(self._stage([]), seed)
        told = None if made is None else (tuple(t.cpu() for t in made.weights[last]), made.about)
        shared = team.from_first(told)
        if shared is None:
            return None
        (W, b), self.result.start = shared

        def pair(layer: int) -> Pair:
            if layer == last:
                return W.to(self.like), b.to(self.like)
            return passing(self.model.network, self.shapes[layer], self.like) if made is None else made.weights[layer]

        return [pair(layer) for layer in team.layers]

    def _start(self, weights: Weights) -> None:
        self.selection.finite = weights
        self.channel = self.team.channel()
        self.session = self.trainer.start(self._stage(weights))
        self.result.solver = self.team.from_first(self.session.solver)

    def _stage(self, weights: Weights) -> Stage:
        return Stage(
            data=self.nodes,
            features=self.coordinates.features,
            weights=weights,
            shapes=self.shapes,
            risk=self.risk,
            network=self.model.network,
            num_train=self.num_train,
            team=self.team,
            iterations=self.options.iterations,
        )

    def run(self) -> Result:
        """Train, and give the model the selected weights whatever happens.

        Raises:
            Diverged: The iterates are no longer finite.
            FloatingPointError: The same, where the model could not be given the best weights.
        """
        if self.checkpoint is not None and self.checkpoint.saved is not None:
            self._resume(self.checkpoint)
        broken: Exception | None = None
        alone = True  # of how it ends, other processes know nothing
        try:
            self._train()
            alone = False
        except FloatingPointError as error:  # which all processes see alike
            broken, alone = error, False
        except LOST as error:
            broken, alone = error, self.team.size > 1
        finally:
            newest = self.session.weights()
            if broken is not None or not finite(newest):
                newest = self.selection.finite
            weights = self.coordinates.leave(self.selection.chosen(newest))
            held = gather(self.model, weights, self.depth, self.team, self.options.gather, self.like, alone)
        lost = "the trained weights are no longer finite numbers" if broken is None else str(broken).partition("\n")[0]
        if not held:
            raise FloatingPointError(f"{lost}; the model is left as it was") from broken
        if alone:
            raise FloatingPointError(f"{lost}; this process's layers have the best weights so far") from broken
        self.result.processes = self.team.collect(self._summary())
        if broken is not None:
            self.result.stopped, self.result.diverged = self.position.iteration, lost
            raise Diverged(f"{lost}; the model has the best weights so far", self.result) from broken
        return self.result

    def _train(self) -> None:
        options, position = self.options, self.position
        stopped = self._asked_to_stop()
        if self.opened and not self.result.records:
            later, self.position.seconds = self.position.seconds, self.opening_seconds
            self._evaluate()
            self.position.seconds += later
            stopped = self._called_back()
        while not stopped:
            if self._stage_is_over():
                if self._evaluated():
                    if position.stage + 1 == len(options.stages):
                        break
                    self._grow()
                else:  # resumed between evaluations, with fewer iterations or less patience
                    self._evaluate()
                    stopped = self._called_back()
                continue
            if self._bytes_are_spent():
                if position.iteration and not self._evaluated():
                    self._evaluate()
                    self._called_back()
                break
            self._iterate()
            within = position.iteration - position.stage_start
            if within % self.every == 0 or within == options.iterations:
                self._evaluate()
                stopped = self._called_back()
            else:
                stopped = self._asked_to_stop()
            if options.checkpoint_every and position.iteration % options.checkpoint_every == 0:
                self._save()
        if stopped and not (self.depth == options.stages[-1] and self._stage_is_over()):
            self.result.stopped = position.iteration
        self._save()

    def _stage_is_over(self) -> bool:
        within = self.position.iteration - self.position.stage_start
        return within >= self.options.iterations or self.selection.exhausted

    def _evaluated(self) -> bool:
        records = self.result.records[-1:]
        return bool(records) and records[0]["iteration"] == self.position.iteration

    def _bytes_are_spent(self) -> bool:
        position, chosen = self.position, self.result.codec
        if chosen is None or chosen["budget"] is None:
            return False
        most = self.trainer.most_bytes(self.traffic, position.iteration + 1, position.stage)
        if not self.budget.spent(most, self.session.bytes_sent, position.bytes_before):
            return False
        self.result.codec = {**chosen, "ended": position.iteration}
        return True

    def _iterate(self) -> None:
        position = self.position
        factor = self.schedule(self.selection.records, position.iteration - position.stage_start)
        self.team.trace.take()  # what was not of an iteration
        begin = time.perf_counter()
        self.session.iterate(position.iteration + 1, factor)
        self.fresh = False
        position.seconds += time.perf_counter() - begin
        for name, seconds in self.team.trace.take().items():
            self.split[name] += seconds
        position.iteration += 1

    def _catch_up(self) -> None:
        # What a GPU has yet to compute of the iterations is their time. Between two of them it is not waited for.
        begin = time.perf_counter()
        self.position.seconds += _now(self.like) - begin

    def _evaluate(self) -> None:
        self._catch_up()
        weights = self.session.weights()
        record = self._record(weights)
        if not (math.isfinite(record["train_loss"]) and math.isfinite(record["objective"])):
            raise FloatingPointError(f"iteration {record['iteration']}: the objective is no longer finite")
        if not self.result.records and self.team.rank == 0:
            warn_of_undefined(self.metric, record)
        self.selection.note(record, weights, final=self.depth == self.options.stages[-1])

    def _record(self, weights: Weights) -> Record:
        # What all processes measure, in one sum over them.
        team = self.team
        with team.trace.span("evaluate", "compute"):
            own = self.session.layer_terms()
            z = self._outputs(weights)
        terms = own.new_zeros(len(own), self.depth)
        terms[:, list(team.layers)] = own
        sent = own.new_tensor([self.session.bytes_sent])
        totals = team.total(torch.cat([terms.flatten(), sent, self.evaluator.sums(z).to(own)]))
        layers, (sent,), sums = torch.split(totals, [terms.numel(), 1, len(totals) - terms.numel() - 1])
        objective, *residuals = layers.reshape(terms.shape).sum(1).tolist()
        return {
            "iteration": self.position.iteration,
            "layers": self.depth,
            "objective": objective,
            "primal_residual": residuals[0] if residuals else None,
            "dual_residual": math.sqrt(residuals[1]) if len(residuals) > 1 and not self.fresh else None,
            **self.evaluator.measures(sums),
            "seconds": team.maximum(self.position.seconds),
            "bytes_sent": self.position.bytes_before + int(sent),
        }

    def _outputs(self, weights: Weights) -> Tensor | None:
        # Of the rows of all splits, in one of the processes.
        team, features = self.team, self.coordinates.features
        if not weights_travel(self.shapes, team.parts, self.num_rows, team.num_shards):
            return self.evaluator.outputs(weights, team.layers, features, self.channel, team.owns_last)
        whole = team.whole(weights, self.shapes)
        if whole is None:
            self.evaluation_bytes += sum(t.nbytes for pair in weights for t in pair)
            return None
        return self.evaluator.outputs(whole, range(self.depth), features, self.channel, last=True)

    def _called_back(self) -> bool:
        # Whether any process's callbacks want to stop.
        progress = Progress(
            self.result.records[-1],
            self.options.iterations * len(self.options.stages),
            self.team.parts,
            lambda: self.coordinates.leave(self.session.weights()),
            self.metric.name,
            self.result.codec,
        )
        answers = [callback(progress) for callback in self.options.callbacks]
        return self.team.maximum(float(True in answers)) > 0

    def _asked_to_stop(self) -> bool:
        # The same without a record. Processes ask each other about once a second, all after the same iteration.
        asked = [ask() for callback in self.options.callbacks if (ask := getattr(callback, "asked", None))]
        if self.team.size > 1:
            done, history = self.position.iteration, self.result.records
            pace = history[-1]["seconds"] / max(history[-1]["iteration"], 1) if history else 1.0
            if done % max(1, int(1.0 / max(pace, 1e-6))):
                return False
        return self.team.maximum(float(True in asked)) > 0

    def _grow(self) -> None:
        before, parts, weights = self.depth, self.team.parts, self.session.weights()
        self.wire_before.update(self.session.wire_bytes())
        self.evaluation_bytes += sum(self.channel.wire_bytes.values())
        self.position.stage += 1
        self.position.stage_start = self.position.iteration
        self.position.bytes_before = self.result.records[-1]["bytes_sent"]
        self.selection.new_stage()
        self._plan()

        def new(layer: int) -> Pair:
            return passing(self.model.network, self.shapes[layer], self.like)

        self._start(self.team.move(weights, parts, grown_from(self.depth, before), new))

    def _summary(self) -> Record:
        layers = self.team.layers
        return {
            "rank": self.team.rank,
            "layers": [layers[0] + 1, layers[-1] + 1] if layers else None,
            "seconds": self.position.seconds,
            "wait_seconds": self.split["wait"],
            "split": dict(self.split),
            "wire_bytes": dict(self.wire_before + Counter(self.session.wire_bytes())),
            "evaluation_bytes": self.evaluation_bytes + sum(self.channel.wire_bytes.values()),
        }

    def _save(self) -> None:
        if self.checkpoint is None or self.kept == self.position.iteration:
            return
        self.kept = self.position.iteration
        self._catch_up()
        team, features, session = self.team, self.coordinates.features, self.session
        tensors = dict(session.tensors())
        if features is not None:
            tensors |= {f"{FEATURES}{name}": t for name, t in features.state().items()}
        for l, (W, b) in zip(team.layers, self.selection.best or [], strict=False):
            tensors |= {f"{l}.best.W": W, f"{l}.best.b": b}
        seconds, sent = zip(*team.collect((self.position.seconds, session.bytes_sent)), strict=True)
        about = {
            "position": {**asdict(self.position), "seconds": max(seconds)},
            "bytes_sent": sum(sent),
            "codec": self.result.codec,
            "compressed": OUTSIDE in tensors,
        }
        self.checkpoint.write(tensors, about, self.result)

    def _resume(self, checkpoint: Checkpoint) -> None:
        saved, coordinates = checkpoint.saved, self.coordinates
        assert saved is not None
        self.position, self.fresh = Position(**saved["position"]), True
        self.kept = self.position.iteration
        coordinates.compressible &= saved["compressed"]
        self._plan()
        checkpoint.recall(self.result)
        self.selection.recall(self.position.stage_start)
        with checkpoint.state(self.rows, self.like.device) as state:
            if self.nodes.x is not None:
                coordinates.fix(state[OUTSIDE] if saved["compressed"] else self.nodes.x[:0], unit=True)
            shapes = [self.shapes[l] for l in self.team.layers]
            if coordinates.features is not None:
                shapes[0] = (shapes[0][0], coordinates.features.train.shape[1])
            self._start([(self.like.new_zeros(shape), self.like.new_zeros(shape[0])) for shape in shapes])
            self.session.restore(state)
            if self.result.best and self.depth == self.options.stages[-1]:
                self.selection.best = [(state[f"{l}.best.W"], state[f"{l}.best.b"]) for l in self.team.layers]
        self.session.bytes_sent = saved["bytes_sent"] if self.team.rank == 0 else 0
        self.selection.finite = self.session.weights()


FEATURES = "all.features."
OUTSIDE = f"{FEATURES}outside"
"""Names of what the features' coordinates need beside the weights."""


def _now(like: Tensor) -> float:
    if like.is_cuda:
        torch.cuda.synchronize(like.device)
    return time.perf_counter()
