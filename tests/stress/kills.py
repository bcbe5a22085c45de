"""Kill runs at random moments, go on with another number of processes, and compare the bits at the end.

    python tests/stress/kills.py [--kills 500] [--seed 0] [--folder DIR]

A chain is one run: it is started in 1, 2 or 4 processes, killed (SIGKILL) at a random moment, all its processes or one
of them, gone on with in another number, killed again, …, until it comes to its end: then its weights and its history
must have the bits of a run that nobody killed. After every kill the newest two generations must be whole, and none may
be lost. At the end nothing but two generations may be left. Exit status 1 where not.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

import torch
from stress.small_runs import TRAINERS, about, asked, ended, same, started, table, train

from gamlp_admm.training import generations

PROCESSES = (1, 2, 4)


class Wrong(Exception):
    """What must not happen."""


class Chain:
    """One run, killed again and again.

    Args:
        name: The trainer.
        place: A folder of its own.
        choose: Makes the choices.
    """

    def __init__(self, name: str, place: Path, choose: random.Random) -> None:
        self.name, self.place, self.choose = name, place, choose
        self.folder = place / "run"
        self.before: int | None = None
        self.newest = 0

    def step(self, counts: Counter[Any]) -> dict[str, Any] | None:
        """Go on until a random moment; return the outcome if the run comes to its end before it."""
        processes = self.choose.choice([p for p in PROCESSES if p != self.before])
        resume = self._newest() > 0
        shutil.rmtree(self.place / "now", ignore_errors=True)
        now = self.place / "now"
        now.mkdir()
        pids = started(self.name, self.folder, now, processes, resume)
        done = self._until_a_random_moment(pids)
        if len(done) == len(pids):
            return self._outcome(now)
        alone = processes > 1 and self.choose.random() < 0.5
        victims = [self.choose.choice(pids)] if alone else pids
        for pid in set(victims) - done.keys():
            os.kill(pid, signal.SIGKILL)
        left = [pid for pid in pids if pid not in done]
        heard = ended(left, self.choose.uniform(0, 2) if alone else 60.0)
        left = [pid for pid in left if pid not in heard]
        for pid in left:  # as the launcher does, if they have not heard of it yet
            os.kill(pid, signal.SIGKILL)
        if len(ended(left, 60.0)) < len(left):
            raise Wrong(f"{self.name}: processes {left} cannot be killed")
        self._raise_errors(now, heard=alone)
        counts[processes, "kills"] += 1
        counts[processes, "of one process"] += alone
        counts[processes, "on the way to a generation"] += self._unfinished()
        counts[processes, "after going on"] += resume
        self._check()
        self.before = processes
        return None

    def _until_a_random_moment(self, pids: list[int]) -> dict[int, int]:
        # A tenth of them on the way to the first generation, the others after some of them, within the next or later.
        if self.choose.random() < 0.1:
            return ended(pids, self.choose.uniform(0, 1))
        wanted, done = self._newest() + self.choose.randint(1, 6), dict[int, int]()
        begin, first = time.monotonic(), self._newest()
        while self._newest() < wanted and len(done) < len(pids):
            done |= ended([pid for pid in pids if pid not in done], 0.002)
        seconds = (time.monotonic() - begin) / (wanted - first)
        return done | ended([pid for pid in pids if pid not in done], self.choose.uniform(0, seconds))

    def _newest(self) -> int:
        return next(iter(generations.numbers(self.folder)), 0) if self.folder.exists() else 0

    def _raise_errors(self, now: Path, heard: bool = False) -> None:
        for path in now.glob("error-*"):
            if not (heard and "Gloo" in path.read_text()):  # whose peer was killed before they were connected
                raise Wrong(f"{self.name}: {path.read_text()}")

    def _outcome(self, now: Path) -> dict[str, Any]:
        self._raise_errors(now)
        if not (now / "outcome.pt").exists():
            raise Wrong(f"{self.name}: a run ended without an outcome")
        return dict(torch.load(now / "outcome.pt"))

    def _unfinished(self) -> bool:
        if not self.folder.exists():
            return False
        there = set(generations.numbers(self.folder))
        return any(
            path.suffix == ".part" or (path.is_dir() and int(path.name.split("-")[1]) not in there)
            for path in self.folder.iterdir()
        )

    def _check(self) -> None:
        numbers = generations.numbers(self.folder) if self.folder.exists() else []
        for number in numbers[:2]:
            generations.verified(self.folder, number)  # raises Damaged
        if (numbers or [0])[0] < self.newest or (self.newest > 1 and len(numbers) < 2):
            raise Wrong(f"{self.name}: generations {numbers} after {self.newest}")
        self.newest = (numbers or [0])[0]


def litter(folder: Path) -> list[str]:
    """Return what is in a folder beside two generations, their histories and the lock."""
    kept = {"lock", *(f"generation-{n:08}" for n in generations.numbers(folder)[:2])}
    return sorted({path.name for path in folder.iterdir() if not path.name.startswith("history-")} - kept)


def ending(chain: Chain, counts: Counter[Any], whole: dict[str, Any]) -> None:
    """Go on with a run until it comes to its end, and look at what it leaves."""
    while (outcome := chain.step(counts)) is None:
        pass
    if not same(outcome, whole):
        raise Wrong(f"{chain.name}: other bits")
    if found := litter(chain.folder):
        raise Wrong(f"{chain.name}: left {found}")
    if len(list(chain.folder.glob("history-*"))) > 2:
        raise Wrong(f"{chain.name}: histories are left")


def main() -> int:
    """Run chains until there were enough kills, or Ctrl-C."""
    options = asked(__doc__, "kills", 500)
    choose, counts, wrong = random.Random(options.seed), Counter[Any](), 0
    whole = {name: train(name, None) for name in TRAINERS}
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder, suppress(KeyboardInterrupt):
        while sum(counts[p, "kills"] for p in PROCESSES) < options.kills:
            name = choose.choice([*TRAINERS])
            place = Path(folder, f"chain-{counts['chains']}")
            place.mkdir()
            try:
                ending(Chain(name, place, choose), counts, whole[name])
            except (Wrong, generations.Damaged) as error:
                print(f"wrong: chain {counts['chains']}: {error}", file=sys.stderr)
                wrong += 1
            counts["chains"] += 1
            shutil.rmtree(place)
    names = ("kills", "of one process", "on the way to a generation", "after going on")
    print(table([{"processes": p, **{name: counts[p, name] for name in names}} for p in PROCESSES]))
    total = sum(counts[p, "kills"] for p in PROCESSES)
    print(f"\n{total} kills in {counts['chains']} chains, {wrong} wrong; {time.monotonic() - begin:.0f} s; {about()}")
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
