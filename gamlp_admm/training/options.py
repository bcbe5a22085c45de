"""What a call of ``fit`` asks of the loop."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from gamlp_admm.errors import InputError, file_name, positive_integer, random_seed, several, unknown
from gamlp_admm.training.gathering import GATHERS
from gamlp_admm.training.metrics import Figure, metric_of
from gamlp_admm.training.result import Callback


@dataclass(frozen=True)
class FitOptions:
    """Arguments of :meth:`gamlp_admm.training.trainer.Trainer.fit`, checked.

    Attributes:
        stages: Depth of each stage of growth.
        iterations: Iterations of each stage.
        seed: Draws the start weights; ``None`` for those of the model.
        patience: Evaluations without a better validation score that end a stage, or ``None``; iterations where
            ``evaluate_every`` is ``auto``.
        evaluate_every: Iterations from one record to the next, or ``auto``
            (:func:`gamlp_admm.training.interval.interval`).
        select: ``best`` or ``last``.
        callbacks: Called after each evaluated iteration.
        checkpoint_dir: Directory of the checkpoint, or the lock of it, or ``None``.
        checkpoint_every: Iterations from one checkpoint to the next; ``None``: at the end only.
        resume: Whether to go on from the checkpoint.
        overwrite: Whether to replace it.
        gather: Which processes' models receive all layers.
        metric: What selects: a name of :data:`gamlp_admm.training.metrics.METRICS`, or a function.

    Raises:
        InputError: An option is wrong.
    """

    stages: Sequence[int]
    iterations: int
    seed: int | None
    patience: int | None
    evaluate_every: int | str
    select: str
    callbacks: Sequence[Callback]
    checkpoint_dir: str | os.PathLike[str] | None
    checkpoint_every: int | None
    resume: bool
    overwrite: bool
    gather: str
    metric: str | Figure = "accuracy"

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", random_seed(self.seed))
        if isinstance(self.evaluate_every, str) and self.evaluate_every != "auto":
            raise unknown("evaluate_every", self.evaluate_every, ("auto", "a positive integer"))
        for name in ("iterations", "evaluate_every", "patience", "checkpoint_every"):
            value = getattr(self, name)
            if value != "auto" and (value is not None or name in ("iterations", "evaluate_every")):
                object.__setattr__(self, name, positive_integer(name, value))
        if not all(map(callable, several("callbacks", self.callbacks, "functions"))):
            raise InputError(f"callbacks must be functions, not {self.callbacks!r}")
        if self.checkpoint_dir is not None:
            file_name("checkpoint_dir", self.checkpoint_dir)
        if self.select not in ("best", "last"):
            raise InputError(f"select {self.select!r}: allowed: best, last")
        if (self.resume or self.overwrite or self.checkpoint_every) and self.checkpoint_dir is None:
            raise InputError("resume, overwrite and checkpoint_every need checkpoint_dir")
        if self.resume and self.overwrite:
            raise InputError("resume and overwrite exclude each other")
        if self.gather not in GATHERS:
            raise InputError(f"gather {self.gather!r}: allowed: {', '.join(GATHERS)}")
        metric_of(self.metric)
