"""Start runs in random set-ups of processes: each ends in the bits of one process, or in one clear line.

    python tests/stress/setups.py [--setups 300] [--seed 0] [--seconds S] [--folder DIR]

A set-up has 2 to 4 processes, started by hand or by ``--processes``, and one thing that is not as it should be, or
nothing: an option that one of them has otherwise, or wrongly; one that never comes, dies or fails at a random moment;
a signal to stop for some of them, after which the run is gone on with. What is right: where training ends, weights and
history are those of one process; where not, nobody writes a traceback or more than one line, the processes that are
there say the same thing, and only where one died before it met the others did these wait for the timeout.
Exit status 1 where not.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")  # as the command line has it, before torch is imported
sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]

from commands import Ended, Ranks, ranks
from safetensors.torch import load_file

from gamlp_admm.training.loop import Loop

TRAIN = ["train", "--dataset", "karate", "--grow", "none", "--quiet", "--threads", "1", "--hidden", "8"]
OPTIONS: dict[str, list[str]] = {
    "--layers": ["4", "5", "6"],
    "--activation": ["relu", "tanh", "leaky_relu"],
    "--rho": ["0.01", "0.1", "1"],
    "--seed": ["0", "1", "2"],
    "--hops": ["1", "2", "3"],
    "--split": ["usual", "60/20/20", "40/30/30"],
    "--codec": ["fp32", "int8-delta", "fp16"],
    "--solver": ["auto", "linesearch", "backtracking"],
    "--dtype": ["float32", "float64"],
    "--algorithm": ["pdadmm-g", "dladmm"],
    "--iterations": ["200", "210", "220"],
    "--evaluate-every": ["1", "7", "auto"],
    "--timeout": ["20", "21"],
}
WRONG = [["--layers", "0"], ["--rho", "-1"], ["--no-such"], ["--operator", "sim"], ["--seed", "x"], ["--codec", "int9"]]
OWN = [["--trace", "."], ["--root", "."], ["--json", "own.json"], []]
KINDS = ["as it should be", "another option", "a wrong option", "one never comes", "one is killed", "one fails"]
KINDS += ["a signal to some"]
SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
PATIENCE = 90.0


class Wrong(Exception):
    """What must not happen."""


@dataclass
class Setup:
    """Processes of a run, and what is not as it should be.

    Attributes:
        kind: One of :data:`KINDS`.
        size: Number of processes.
        started: Whether ``--processes`` starts them.
        options: What all are asked for.
        odd: The process that is unlike the others.
        choose: Makes further choices.
        folder: A folder of its own.
    """

    kind: str
    size: int
    started: bool
    options: list[str]
    odd: int
    choose: random.Random
    folder: Path
    found: Counter[str] = field(default_factory=Counter)

    @property
    def common(self) -> list[str]:
        files = ["--json", self.folder / "report.json", "--save", self.folder / "model"]
        kept = ["--checkpoint", self.folder / "kept"] if self.kind == "a signal to some" else []
        return [*TRAIN, *self.options, *map(str, [*files, *kept])]

    def commands(self) -> list[list[str]]:
        if self.started:
            return [[*self.common, "--processes", str(self.size)]]
        commands = [list(self.common) for _ in range(self.size)]
        if self.kind == "as it should be":
            commands[self.odd] += self.choose.choice(OWN) if self.odd else []
        elif self.kind == "another option":
            name = self.choose.choice([name for name in OPTIONS if name in self.options])
            now = self.options[self.options.index(name) + 1]
            commands[self.odd] += [name, self.choose.choice([v for v in OPTIONS[name] if v != now])]
        elif self.kind == "a wrong option":
            commands[self.odd] += self.choose.choice(WRONG)
        return commands

    def run(self) -> str:
        """Run it; return how it ended."""
        before = functools.partial(fail_in, self.odd, self.choose.randrange(150)) if self.kind == "one fails" else None
        commands = self.commands()
        absent = {"WORLD_SIZE": str(self.size), **({"RANK": "1"} if self.odd == 0 else {})}
        if self.kind == "one never comes":
            commands = commands[1:]
            environments = [absent | {"RANK": str(r)} for r in range(self.size) if r != self.odd]
        else:
            environments = None
        with ranks(self.folder, *commands, before=before, environments=environments) as running:
            self._disturb(running)
            ended = running.ended(PATIENCE)
        return self.judged(ended)

    def _disturb(self, running: Ranks) -> None:
        if self.kind not in ("one is killed", "a signal to some"):
            return
        time.sleep(self.choose.uniform(0.1, 4.0 if self.started else 1.5))  # not before they hear it
        number = signal.SIGKILL if self.kind == "one is killed" else self.choose.choice(SIGNALS)
        if self.started:
            targets = workers(running.processes[0].pid) if number == signal.SIGKILL else [running.processes[0].pid]
            targets = self.choose.sample(targets, 1) if targets else []
        else:
            some = [self.odd] if number == signal.SIGKILL else range(self.choose.randint(1, self.size))
            targets = [running.processes[rank].pid for rank in some]
        for pid in targets:
            try:
                os.kill(pid, number)
            except ProcessLookupError:  # it has come to its end
                self.found["too late"] += 1

    def judged(self, ended: list[Ended]) -> str:
        """Check how the processes ended; return that in a few words."""
        alive = [each for each in ended if each.status != -signal.SIGKILL]
        said = [line for each in alive for line in each.lines]
        require(all(each.status != -99 for each in ended), "hangs", ended)
        require(all(len(each.lines) <= 1 for each in alive), "more than a line", ended)
        require(not any("Traceback" in line for line in said), "a traceback", ended)
        if ended[0].status == 0 and self.kind != "one never comes":
            allowed = self.kind in ("as it should be", "one is killed", "a signal to some")
            require(allowed, "trained all the same", ended)
            self._compare()
            return "the bits of one process"
        require(bool(said) and all(line.startswith("gamlp-admm: ") for line in said), "nothing clear", ended)
        late = any("did not come" in line or "found no first process" in line for line in said)
        require(not late or self.kind in ("one never comes", "one is killed", "a signal to some"), "waited", ended)
        if self.kind in ("another option", "a wrong option"):
            require({each.status for each in ended} == {2}, "not status 2", ended)
        if self.kind == "another option":
            require(len(said) == self.size and len(set(said)) == 1 and "differ in" in said[0], "not all say it", ended)
        if self.kind == "one fails":
            require({each.status for each in ended} == {1}, "not status 1", ended)
            require(set(said) == {f"gamlp-admm: rank {self.odd}: RuntimeError: no luck"}, "not the cause", ended)
        if self.kind == "a signal to some" and (self.folder / "kept").exists() and "at iteration" in said[0]:
            with ranks(self.folder, *([*command, "--resume"] for command in self.commands())) as running:
                again = running.ended(PATIENCE)
            require(all(each.status == 0 for each in again), "does not go on", again)
            self._compare()
            return "interrupted; then the bits of one process"
        if late:
            return "one line: after the timeout, who is missing"
        return "one line: " + {
            "another option": "what differs",
            "a wrong option": "what is wrong",
            "one fails": "its error",
            "one is killed": "which was lost",
            "a signal to some": "interrupted",
        }.get(self.kind, said[0])

    def _compare(self) -> None:
        alone = self.folder / "alone"
        alone.mkdir(exist_ok=True)
        files = ["--json", alone / "report.json", "--save", alone / "model"]
        with ranks(alone, [*TRAIN, *self.options, *files]) as running:
            require(running.ended(PATIENCE)[0].status == 0, "one process fails", [])
        here, there = (load_file(folder / "model") for folder in (self.folder, alone))
        require(here.keys() == there.keys() and all(here[n].equal(there[n]) for n in here), "other weights", [])
        here, there = (json.loads((folder / "report.json").read_text()) for folder in (self.folder, alone))
        for one, two in zip(here["history"], there["history"], strict=True):
            require({**one, "seconds": 0} == {**two, "seconds": 0}, f"another history: {one} {two}", [])


def require(condition: bool, what: str, ended: list[Ended]) -> None:
    """Raise :class:`Wrong` if a condition does not hold."""
    if not condition:
        raise Wrong(f"{what}: {ended}")


def fail_in(odd: int, iteration: int) -> None:
    """Let one process fail in an iteration."""
    iterate = Loop._iterate

    def failing(self: Any) -> None:
        iterate(self)
        if self.team.rank == odd and self.position.iteration > iteration:
            raise RuntimeError("no luck")

    Loop._iterate = failing  # type: ignore[method-assign]


def workers(parent: int) -> list[int]:
    """Return the processes that a process has started."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            if int(Path(f"/proc/{name}/stat").read_text().rsplit(")", 1)[1].split()[1]) == parent:
                found.append(int(name))
        except OSError:
            continue
    return found


def drawn(choose: random.Random, folder: Path, kinds: list[str] = KINDS) -> Setup:
    """Draw a set-up."""
    kind, size = choose.choice(kinds), choose.choice((2, 2, 3, 4))
    started = kind in ("as it should be", "one is killed", "a signal to some") and choose.random() < 0.25
    options = [word for name, values in OPTIONS.items() for word in (name, choose.choice(values))]
    if "dladmm" in options:
        at = options.index("--codec")
        del options[at : at + 2]
        options[options.index("--solver") + 1] = "linesearch"
    return Setup(kind, size, started, options, choose.randrange(size), choose, folder)


def main() -> int:
    """Try set-ups and print a table of how they ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--setups", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin none after that time")
    parser.add_argument("--folder", help="where runs are kept")
    asked = parser.parse_args()
    counts: Counter[tuple[str, str]] = Counter()
    wrong = 0
    begin, tried = time.monotonic(), 0
    for number in range(asked.setups):
        if time.monotonic() - begin > asked.seconds:
            break
        tried += 1
        choose = random.Random(f"{asked.seed} {number}")
        with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
            setup = drawn(choose, Path(folder))
            try:
                counts[setup.kind, setup.run()] += 1
            except Wrong as error:
                wrong += 1
                print(f"set-up {number}: {setup.kind}, {setup.size} processes, {setup.commands()}: {error}", flush=True)
    print("| what is not as it should be | how it ends | set-ups |\n|---|---|---|")
    for (kind, how), count in sorted(counts.items(), key=lambda item: (KINDS.index(item[0][0]), -item[1])):
        print(f"| {kind} | {how} | {count} |")
    print(f"\n{tried} set-ups, {wrong} wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
