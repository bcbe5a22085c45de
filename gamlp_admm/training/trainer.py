"""What all trainers share: ``fit``, from a model and a data set to trained weights and their history."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gamlp_admm.errors import Diverged, InputError, flag, number, unknown
from gamlp_admm.nn.gamlp import GAMLP
from gamlp_admm.nn.losses import Risk, risk
from gamlp_admm.parallel.agreement import agreed
from gamlp_admm.parallel.balance import explicit
from gamlp_admm.parallel.team import ProcessTeam, Team
from gamlp_admm.parallel.trace import Trace
from gamlp_admm.training.checkpoint import Checkpoint, opened
from gamlp_admm.training.coordinates import Coordinates
from gamlp_admm.training.description import description
from gamlp_admm.training.growth import depths, shapes
from gamlp_admm.training.identity import described, digests, identity_of
from gamlp_admm.training.loop import LOST, Loop
from gamlp_admm.training.metrics import Figure, metric_of
from gamlp_admm.training.models import confirm, trainable, trained_like, usual_device
from gamlp_admm.training.options import FitOptions
from gamlp_admm.training.result import Callback, Result
from gamlp_admm.training.room import Room
from gamlp_admm.training.rows import NodeData, node_data
from gamlp_admm.training.session import Algorithm, Opening, Stage
from gamlp_admm.training.sharing import distributed
from gamlp_admm.training.units import SCALES


class OwnFirst:
    """The signature of a trainer's class, which ``help`` shows: its own arguments first, then those of its bases."""

    def __get__(self, trainer: Trainer | None, kind: type[Trainer]) -> inspect.Signature:
        """Return the signature."""
        homes = [vars(each).get("__annotations__", {}) for each in kind.__mro__]

        def place(argument: inspect.Parameter) -> tuple[int, int, int]:
            home = next((i for i, names in enumerate(homes) if argument.name in names), len(homes))
            return argument.kind, home, [*homes[home]].index(argument.name)

        _, *arguments = inspect.signature(kind.__init__).parameters.values()
        return inspect.Signature(sorted(arguments, key=place))


@dataclass(frozen=True, repr=False)
class Trainer(Algorithm):
    """What all trainers share. Subclasses say how a :class:`gamlp_admm.training.session.Session` starts.

    Attributes:
        loss: Risk of the last layer: ``cross_entropy``, ``squared_error``, ``binary_cross_entropy``,
            ``squared_hinge``.
        class_weight: Weight of each class's rows, ``[C]``, or ``"balanced"``, or ``None``.
        scale: What features are centred and measured in while training (:mod:`gamlp_admm.training.units`): ``unit``,
            one unit for all, so that penalties mean the same whatever the features' scale and number; ``columns``, one
            for each column; ``none``: they are taken as they are, as in the papers; ``auto``: a unit for each column
            where columns differ by orders of magnitude, else as :attr:`unit_rows` says. The trained model takes
            features as they are in any case.
    """

    loss: str = field(default="cross_entropy", kw_only=True)
    class_weight: Any = field(default=None, kw_only=True)
    scale: str = field(default="none", kw_only=True)

    __signature__ = OwnFirst()

    def __post_init__(self) -> None:
        for name, value in self.defaults(vars(self)).items():
            object.__setattr__(self, name, value)
        if self.scale not in SCALES:
            raise unknown("scale", self.scale, SCALES)
        risk(self.loss)
        for f in fields(self):
            if isinstance(f.default, bool):
                flag(f.name, getattr(self, f.name))
            elif isinstance(f.default, float):
                number(f.name, getattr(self, f.name))

    def __dir__(self) -> list[str]:
        return [*(f.name for f in fields(self)), "algorithm", "defaults", "fit", "foresee", "settings", "theorem"]

    def __repr__(self) -> str:
        # Arguments that are not the class's own defaults; of what follows from others, such as ρ, the value used.
        given = {name: (getattr(self, name), p.default) for name, p in self.__signature__.parameters.items()}
        shown = (
            f"{name}={x!r}" for name, (x, default) in given.items() if type(x) is not type(default) or x != default
        )
        return f"{type(self).__name__}({', '.join(shown)})"

    @classmethod
    def defaults(cls, given: Mapping[str, Any] = {}) -> dict[str, Any]:
        """Return every setting that is taken, as a trainer uses it.

        Args:
            given: Settings by name, on which those that are left out may depend.
        """
        return {f.name: given.get(f.name, f.default) for f in fields(cls) if f.init}

    def settings(self) -> dict[str, str]:
        """See :meth:`Algorithm.settings`."""
        return {f.name: described(getattr(self, f.name)) for f in fields(self)}

    def assumed(self) -> dict[str, str]:
        """See :meth:`Algorithm.assumed`: the defaults."""
        return {name: described(value) for name, value in self.defaults().items()}

    def fit(
        self,
        model: GAMLP,
        data: Any,
        iterations: int = 200,
        *,
        seed: int | None = None,
        grow: Sequence[int] | str | None = "auto",
        patience: int | None = None,
        evaluate_every: int | str = "auto",
        node_weight: Tensor | None = None,
        val_weight: Tensor | None = None,
        metric: str | Figure = "accuracy",
        select: str = "best",
        callbacks: Sequence[Callback] = (),
        checkpoint_dir: str | os.PathLike[str] | None = None,
        checkpoint_every: int | None = None,
        resume: bool = False,
        overwrite: bool = False,
        process_group: Any = None,
        node_shards: int = 1,
        balance: Sequence[int] | None = None,
        gather: str = "all",
        timeout: float = 300.0,
        trace_dir: str | Path | None = None,
        memory: int | str | None = None,
        scratch: str | os.PathLike[str] | None = None,
    ) -> Result:
        """Train ``model`` on ``data``; the trained weights are in the model afterwards.

        The same seed, data, options and thread count give the same bits. If training is interrupted or fails, the
        model still receives the weights selected so far, or keeps its own where none of them are finite. The
        accuracies of the weights returned are measured once more, by the model itself on the features as they are.

        Args:
            model: The network; its device and dtype are used, float32 in place of half precision. All its layers are
                trained: none may be frozen, parametrised or pruned.
            data: PyG ``Data`` or any object with ``x`` ``[N, F]``, ``y`` ``[N]`` (or ``[N, C]``), ``train_mask`` and,
                if there are any, ``val_mask`` and ``test_mask`` (bool ``[N]``): tensors, sparse ones too, or arrays.
            iterations: Iterations of each stage.
            seed: Draws the model's weights anew; ``None`` starts from the weights that the model has.
            grow: Depths of the stages of greedy growth, e.g. ``(2, 5, 10)``; ``None`` trains at full depth. ``"auto"``
                grows networks of 5 layers or more, trained by ADMM from weights drawn anew, through 2, 5, 10, 20, …,
                unless they start from the data (``init="ridge"``).
            patience: Ends a stage after so many evaluations without a better validation score; with
                ``evaluate_every="auto"``, after so many iterations.
            evaluate_every: Iterations from one history record to the next (the last of a stage always has one).
                ``"auto"``: as many as let evaluations cost an eighth of the run, but at least seven records a stage and
                three in ``patience``, and each in stages of fewer than 40 iterations, or where iterations depend on
                records (:func:`gamlp_admm.training.interval.interval`).
            node_weight: Weight of each node, ``[N]``: a training node of weight 2 counts as two, and one of weight 0 is
                left out.
            val_weight: How often each node counts, ``[N]``, in the validation accuracy (or R²) that selects; ``None``
                for the weight of its class. Other metrics are unweighted.
            metric: What is best on validation: ``accuracy`` (of real targets R²), ``balanced_accuracy``, ``f1_macro``,
                ``roc_auc``, ``average_precision``, ``loss`` or ``r2``; or a function of true classes ``[N]`` (several
                labels, or values, ``[N, C]``) and probabilities (values) ``[N, C]``, NumPy arrays, to a number of which
                more is better. The history has its figures (:mod:`gamlp_admm.training.metrics`).
            select: What the model receives: ``"best"`` on validation at the final depth, or ``"last"``.
            callbacks: Called after each evaluated iteration.
            checkpoint_dir: Directory of the run's checkpoint, written at the end and every ``checkpoint_every``; no
                other run may write there meanwhile.
            checkpoint_every: Iterations from one checkpoint to the next; ``None``: at the end only.
            resume: Go on from the checkpoint in ``checkpoint_dir``, to the same bits as an uninterrupted run, in any
                number of processes. Where its newest generation is damaged, from the one before, with a warning.
            overwrite: Replace the run that ``checkpoint_dir`` has, which otherwise is refused.
            process_group: A torch.distributed group whose processes all call ``fit`` with the same options, which they
                compare first; they divide the layers among them. ``data`` is read in its first process only, and may be
                ``None`` in the others.
            node_shards: Parts R of the rows; the processes form parts × R.
            balance: Number of layers of each part at full depth; ``None`` divides by cost.
            gather: Which processes' models receive all layers: ``"all"``, ``"first"`` or ``"none"``: every model
                receives the layers that its process owns.
            timeout: Seconds after which a wait for another process gives up.
            trace_dir: Directory for one Chrome trace a process.
            memory: Bytes, or a text such as ``"4GiB"``: matrices of features that are larger than a quarter of it lie
                in scratch files, which the operating system pages; bits do not depend on it. ``None``: all in memory.
            scratch: Where scratch files are; ``None`` for ``$TMPDIR``, else the folder of stored features, else that of
                the system's temporary files.

        Raises:
            InputError: The data or an option is wrong, or options differ between processes.
            Diverged: The iterates are no longer finite (a ``FloatingPointError``); the model has the best weights until
                then, and the error has the ``result``.
            NeighbourError: Another process failed, or did not answer within ``timeout``.
        """
        model = getattr(model, "_orig_mod", model)  # of torch.compile

        def asked() -> tuple[FitOptions, Room]:
            self._check(trainable(model), process_group)
            # A start from the data is whole at any depth.
            ready = seed is None or not self.grows or model.config["init"] == "ridge"
            made = FitOptions(
                depths(None if grow == "auto" and ready else grow, model.num_layers),
                iterations,
                seed,
                patience,
                evaluate_every,
                select,
                callbacks,
                checkpoint_dir,
                checkpoint_every,
                resume,
                overwrite,
                gather,
                metric,
            )
            return made, Room.of(memory, scratch, data)

        def said(made: tuple[FitOptions, Room]) -> dict[str, Any]:
            told = description(self, model, data, {"node_weight": node_weight, "val_weight": val_weight}, made[0])
            return told | {"node_shards": node_shards, "balance": balance, "timeout": timeout}

        options, room = agreed(asked, said, process_group, timeout)
        team = self._team(process_group, node_shards, balance, timeout, trace := Trace(record=trace_dir is not None))
        if balance is not None:
            explicit(balance, model.num_layers, team.num_parts)
        with usual_device():
            try:
                return self._fitted(model, data, (node_weight, self.class_weight, val_weight), options, team, room)
            finally:
                if trace_dir is not None:
                    trace.save(Path(trace_dir), team.rank, getattr(team, "name", "rank 0"))

    def _fitted(
        self, model: GAMLP, data: Any, weights: tuple[Any, Any, Any], options: FitOptions, team: Team, room: Room
    ) -> Result:
        the_risk, like, whole = risk(self.loss), trained_like(model, team.device), list[NodeData]()
        widths, about = (model.config["in_channels"], model.config["out_channels"]), dict[str, Any]()

        def chosen() -> NodeData:
            nodes = node_data(data, *widths, the_risk, like, *weights, read=False)
            metric_of(options.metric, nodes.kind)
            whole.append(nodes)
            if options.checkpoint_dir is not None:
                about.update(rows=list(nodes.sizes), data=digests(data, nodes))
            return nodes

        nodes = distributed(chosen, data, widths, like, team, room)
        the_risk = the_risk.scoring(nodes.kind)
        identity = identity_of(self, model, like, options, about)

        def confirmed(result: Result) -> Result:
            if options.gather != "none" or team.size == 1:
                metric = metric_of(options.metric, nodes.kind)
                told = team.of_first(lambda: confirm(model, data, whole[0], the_risk, result, options.select, metric))
                result.best, result.last = told
            return result

        try:
            with opened(options.checkpoint_dir, identity, team, options.resume, options.overwrite) as checkpoint:
                result = self._run(model, nodes, the_risk, options, team, like, checkpoint)
        except Diverged as error:
            confirmed(error.result)
            raise
        return confirmed(result)

    def _check(self, model: GAMLP, process_group: Any) -> None:
        if model.network.residual and not self.residual:
            raise InputError(f"{self.algorithm} does not train networks with residual connections")
        if process_group is not None and not self.distributable:
            raise InputError(f"{self.algorithm} runs in one process")

    def _run(
        self,
        model: GAMLP,
        nodes: NodeData,
        the_risk: Risk,
        options: FitOptions,
        team: Team,
        like: Tensor,
        checkpoint: Checkpoint | None,
    ) -> Result:
        try:
            loop = Loop(self, model, nodes, the_risk, options, team, like, checkpoint)
        except LOST as error:
            raise FloatingPointError(f"{str(error).splitlines()[0]}; the model is left as it was") from error
        return loop.run()

    def foresee(
        self,
        model: GAMLP,
        data: Any,
        seed: int,
        memory: int | str | None = None,
        scratch: str | os.PathLike[str] | None = None,
    ) -> Opening | None:
        """Return the start from the data that :meth:`fit` would make, and its validation score.

        Args:
            model: The network, whose weights are left as they are.
            data: As for :meth:`fit`.
            seed: As for :meth:`fit`.
            memory: As for :meth:`fit`.
            scratch: As for :meth:`fit`.

        Returns:
            The start; ``None`` where the algorithm has none.

        Raises:
            InputError: The data is wrong.
        """
        model, team = trainable(model), Team()
        the_risk, like = risk(self.loss), trained_like(model, team.device)
        widths = model.config["in_channels"], model.config["out_channels"]
        room = Room.of(memory, scratch, data)
        nodes = node_data(data, *widths, the_risk, like, None, self.class_weight, room=room)
        the_risk = the_risk.scoring(nodes.kind)
        Coordinates(nodes, self.scale, self.unit_rows, False, team.row_sum)  # measures the features
        sizes = shapes(model.config, model.num_layers)
        stage = Stage(nodes, None, [], sizes, the_risk, model.network, nodes.num_train, team)
        with torch.no_grad():
            return self.opening(stage, seed)

    def _team(
        self, process_group: Any, node_shards: int, balance: Sequence[int] | None, timeout: float, trace: Trace
    ) -> Team:
        if process_group is None:
            if node_shards != 1:
                raise InputError("node_shards needs a process_group")
            return Team(trace)
        return ProcessTeam(process_group, node_shards, balance, timeout, trace)
