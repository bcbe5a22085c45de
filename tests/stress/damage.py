"""Damage checkpoints, and go on: every damage must be named, and the generation before it give the bits of a whole run.

    python tests/stress/damage.py [--damages 200] [--seed 0] [--folder DIR]

Runs in 1, 2 and 4 processes are stopped at a random iteration. Of copies of their folders, one file of the newest
generation (tensors, manifest or history) has one bit flipped, is cut at a random length, or both generations are hit:
then there must be an error that names the files. Exit status 1 where not.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from stress.small_runs import TRAINERS, about, asked, ended, same, started, table, train

from gamlp_admm.errors import DamageWarning, InputError
from gamlp_admm.training import generations

PROCESSES = (1, 2, 4)
HOWS = ("bit flipped", "cut", "both generations")


def files(folder: Path, which: int) -> list[Path]:
    """Return the files of a generation, the newest at 0."""
    number = generations.numbers(folder)[which]
    history = generations.manifest_of(folder, number)["history"]["file"]
    return [*sorted(generations.folder_of(folder, number).iterdir()), folder / history]


def damage(path: Path, how: str, choose: random.Random) -> None:
    """Flip a bit of a file, or cut it."""
    content = bytearray(path.read_bytes())
    if how == "cut":
        content = content[: choose.randrange(len(content))]
    else:
        content[choose.randrange(len(content))] ^= 1 << choose.randrange(8)
    path.write_bytes(content)


def verdict(name: str, folder: Path, how: str, choose: random.Random, whole: dict[str, Any]) -> str:
    """Damage a copy of a run and go on from it; return ``right``, or what is wrong."""
    hit = [choose.choice(files(folder, which)) for which in ((0, 1) if how == HOWS[2] else (0,))]
    for path in hit:
        damage(path, choose.choice(HOWS[:2]) if how == HOWS[2] else how, choose)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            outcome = train(name, folder, resume=True)
        except InputError as error:
            named = all(str(path) in str(error) for path in hit)
            return "right" if how == HOWS[2] and named else f"refused: {error}"
    if how == HOWS[2]:
        return "not noticed"
    if not any(issubclass(each.category, DamageWarning) and str(hit[0]) in str(each.message) for each in said):
        return "not noticed"
    return "right" if same(outcome, whole) else "other bits"


def main() -> int:
    """Damage as often as is asked for, or until Ctrl-C."""
    options = asked(__doc__, "damages", 200)
    choose, counts, wrong = random.Random(options.seed), Counter[Any](), 0
    whole = {name: train(name, None) for name in TRAINERS}
    with tempfile.TemporaryDirectory(dir=options.folder) as temporary:
        runs = []
        for processes in PROCESSES:
            place = Path(temporary, str(processes))
            place.mkdir()
            name = choose.choice([*TRAINERS])
            ended(started(name, place / "run", place, processes, False, stop=choose.randrange(4, 16)), 300)
            runs.append((processes, name, place / "run"))
        with suppress(KeyboardInterrupt):
            while counts.total() < options.damages:
                processes, name, run = choose.choice(runs)
                how = choose.choices(HOWS, (5, 4, 1))[0]
                copy = Path(shutil.copytree(run, Path(temporary, "copy")))
                found = verdict(name, copy, how, choose, whole[name])
                counts[processes, how] += 1
                if found != "right":
                    print(f"wrong: {processes} processes, {how}: {found}", file=sys.stderr)
                    wrong += 1
                shutil.rmtree(copy)
    print(table([{"processes": p, **{how: counts[p, how] for how in HOWS}} for p in PROCESSES]))
    print(f"\n{counts.total()} damages, {wrong} wrong; {about()}")
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
