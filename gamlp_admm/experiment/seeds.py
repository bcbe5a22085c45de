"""The same experiment from several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from gamlp_admm.errors import InputError, several
from gamlp_admm.experiment.claim import has_checkpoint
from gamlp_admm.experiment.options import Options, declared

O = TypeVar("O", bound=Options)


def checked_seeds(name: str, seeds: Sequence[int]) -> list[int]:
    """Return several seeds as ``int``.

    Args:
        name: What the seeds are for.
        seeds: The seeds.

    Raises:
        InputError: There is none, one is given twice, or one is no seed.
    """
    seeds = several(name, seeds, "integers")
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f"{name} {','.join(map(str, seeds))!r}: allowed: different integers, at least one")
    return [declared()["seed"].check(seed) for seed in seeds]


def seeded(experiment: O, seeds: Sequence[int]) -> list[O]:
    """Return the experiment from each seed; each has its own checkpoint, in ``seed-<seed>`` of the directory.

    To resume is to go on with the seeds that have a checkpoint and to start the others.

    Raises:
        InputError: As :func:`checked_seeds` says.

    Example:
        >>> from gamlp_admm.experiment import Experiment, seeded
        >>> [each.seed for each in seeded(Experiment(dataset="karate"), [3, 5])]
        [3, 5]
    """
    seeds = checked_seeds("seeds", seeds)
    if experiment.checkpoint is None:
        return [replace(experiment, seed=seed) for seed in seeds]
    folders = [Path(experiment.checkpoint) / f"seed-{seed}" for seed in seeds]
    present = [has_checkpoint(folder) for folder in folders]
    resume = [experiment.resume and (here or not any(present)) for here in present]
    return [
        replace(experiment, seed=seed, checkpoint=str(folder), resume=again)
        for seed, folder, again in zip(seeds, folders, resume, strict=True)
    ]
