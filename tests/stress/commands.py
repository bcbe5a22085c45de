"""Random command lines: options and values of every kind, and files that are damaged in random ways.

Each is run in this process and must end as the documentation says: with exit status 0, or 2 and one line on standard
error that names what is wrong; with no traceback, and no other status. ``python tests/stress/commands.py 500`` runs so
many and prints a table; ``pytest tests/stress`` a few.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from gamlp_admm.cli.main import main
from gamlp_admm.experiment.options import declared

BASE = ("--dataset", "karate", "--iterations", "2", "--hidden", "4", "--quiet")
ELSEWHERE = {"processes", "node_shards", "balance", "timeout", "trace", "dataset", "root", "recipe", "device"}
"""Options that start processes or are drawn below."""

NUMBERS = (
    "0",
    "1",
    "2",
    "3",
    "-1",
    "0.5",
    "1e-3",
    "1e300",
    "-1e300",
    "nan",
    "inf",
    "1e-320",
    "9" * 20,
    "0x3",
    "1_0",
    "١",
)
TEXTS = (
    "",
    " ",
    "none",
    "auto",
    "true",
    "no",
    "x",
    "x" * 300,
    "é",
    "a\nb",
    "\udc80",
    "../..",
    "sym/2",
    "60/20/20",
    "2,5",
    "1,",
)
FIT = {"int": ("1", "2", "3"), "float": ("1e-2", "0.1", "1"), "tuple": ("2", "1,2")}


@dataclass(frozen=True)
class Line:
    """A command line, and what about it is random."""

    kind: str
    words: tuple[str, ...]


def option(draw: random.Random) -> list[str]:
    """Return an option of ``train`` with a value, most of the time one that may fit."""
    each = draw.choice([each for name, each in declared().items() if name not in ELSEWHERE])
    name = "--" + each.name.replace("_", "-")
    if bool in each.kinds:
        return [draw.choice([name, each.option.off or name])]
    fitting = each.option.allowed() or [v for kind in each.kinds for v in FIT.get(kind.__name__, ("x",))]
    return [name, draw.choice(fitting) if draw.random() < 0.8 else draw.choice(NUMBERS + TEXTS)]


def options(draw: random.Random, folder: Path) -> Line:
    """Return a training with one to three random options."""
    words = [word for _ in range(draw.choice((1, 1, 1, 2, 2, 3))) for word in option(draw)]
    return Line("options", ("train", *BASE, *_placed(words, folder)))


def _placed(words: list[str], folder: Path) -> list[str]:
    """Return options whose folders are this test's own."""
    inside = {"--checkpoint", "--log-dir"}
    return [str(folder / f"w{i}") if i and words[i - 1] in inside else word for i, word in enumerate(words)]


def damaged(draw: random.Random, content: bytes) -> bytes:
    """Return a file's content with a random damage."""
    if not content:
        return b"\x00"
    place, some = draw.randrange(len(content)), bytes(draw.randrange(256) for _ in range(draw.randint(1, 9)))
    ways: list[Callable[[], bytes]] = [
        lambda: content[:place],
        lambda: content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :],
        lambda: content[:place] + some + content[place + len(some) :],
        lambda: content[:place] + content[place + 9 :],
        lambda: content + some,
        lambda: content.replace(*draw.choice(SWAPS)),
        lambda: b"\xef\xbb\xbf" + content,
        lambda: content.decode("utf-8", "replace").encode("utf-16"),
        lambda: some,
        lambda: b"",
        lambda: b"[" * 100_000,
    ]
    return draw.choice(ways)()


SWAPS = [
    (b"4", b"999999999"),
    (b"2", b"-2"),
    (b"0", b"1e9"),
    (b'"', b"'"),
    (b": ", b": null, "),
    (b"true", b'"no"'),
    (b"false", b"0"),
    (b"relu", b"sine"),
    (b"karate", b"pyg:Planetoid:Cora"),
    (b"\n", b"\r"),
    (b"{", b"["),
    (b"}", b"}}"),
    (b"1", b"[1]"),
    (b"hops", b"hop"),
    (b"0", b"NaN"),
]
FILES = ("model", "recipe.toml", "run.json", "options.toml", "space.toml", "search.log", "bench.json", "raw")


def files(draw: random.Random, folder: Path, whole: Path) -> Line:
    """Return a command that reads a damaged file."""
    name = draw.choice(FILES)
    kinds = ("damaged", "damaged", "damaged", "damaged", "damaged", "folder", "absent", "pipe", "locked", "link")
    kind = draw.choice(kinds)
    if name == "bench.json":
        return Line("records", ("bench", "accuracy", *_bench(draw, folder, whole), "--quiet"))
    if name == "raw":
        return Line("raw files", ("train", "--dataset", "citeseer", *BASE[2:], "--root", _raw(draw, folder, whole)))
    path = folder / ("n" * 300 if kind == "absent" and draw.random() < 0.5 else name)
    if kind == "folder":
        path.mkdir()
    elif kind == "link":
        path.symlink_to(path)
    elif kind == "pipe" and name != "search.log":
        os.mkfifo(path)
        content = damaged(draw, (whole / name).read_bytes())
        threading.Thread(target=_write, args=(path, content), daemon=True).start()
    elif kind != "absent":
        path.write_bytes(damaged(draw, (whole / name).read_bytes()))
        path.chmod(0 if kind == "locked" else 0o644)
    word = str(path)
    search = ("tune", *BASE, "--search", "nu=0.01:1:log", "--finalists", "0", "--trials", "3")
    return {
        "model": Line("model", ("predict", word, "--root", str(folder), "--out", os.devnull)),
        "recipe.toml": Line("recipe", ("train", *BASE, "--recipe", word)),
        "run.json": Line("run.json", ("train", "--config", word, "--quiet")),
        "options.toml": Line("options file", ("train", "--config", word, "--quiet")),
        "space.toml": Line("space", (*search[:8], "--space", word, *search[-4:])),
        "search.log": Line("journal", (*search, "--storage", word)),
    }[name]


def _write(path: Path, content: bytes) -> None:
    with contextlib.suppress(OSError):  # whoever reads may leave before the end
        path.write_bytes(content)


def _bench(draw: random.Random, folder: Path, whole: Path) -> list[str]:
    for path in (whole / "bench").iterdir():
        (folder / path.name).write_bytes(damaged(draw, path.read_bytes()))
    return ["--datasets", "karate", "--methods", "ridge", "--seeds", "0", "--jobs", "1", "--out", str(folder)]


def _raw(draw: random.Random, folder: Path, whole: Path) -> str:
    shutil.copytree(whole / "root", folder / "root")
    path = draw.choice([path for path in (folder / "root").rglob("*") if path.is_file()])
    path.write_bytes(damaged(draw, path.read_bytes()))
    return str(folder / "root")


def outputs(draw: random.Random, folder: Path) -> Line:
    """Return a training whose results go to an odd place."""
    (folder / "folder").mkdir()
    (folder / "file").write_text("")
    (folder / "dangling").symlink_to("absent")
    (folder / "loop").symlink_to("loop")
    places = [
        "folder",
        "file",
        "file/below",
        "dangling",
        "loop",
        "absent/file",
        "n" * 300,
        "é\udc80",
        "new",
        ".",
        "a\nb",
    ]
    place = draw.choice([*map(str, (folder / name for name in places)), "/dev/null", "/dev/full", "/proc/1/x", ""])
    name = draw.choice(["--save", "--json", "--plot", "--log-dir", "--checkpoint"])
    return Line("outputs", ("train", *BASE, name, place))


def words(draw: random.Random, folder: Path) -> Line:
    """Return words that are hardly a command line."""
    known = ("train", "tune", "predict", "compare", "bench", "datasets", "--help", "-h", "--json", "--", "-", "--seeds")
    drawn = [draw.choice(known + TEXTS + NUMBERS) for _ in range(draw.randint(1, 4))]
    quick = () if {"predict", "datasets", "bench"} & {*drawn} else BASE
    short = ("--trials", "2", "--finalists", "0") if "tune" in drawn else ()
    return Line("words", (*drawn, *quick, *short))


TOML = {
    "recipe.toml": '[recipe]\nlayers = 2\nresidual = true\nhops = [0, 2]\nnu = 0.4\noperator = "sym"\n',
    "options.toml": 'dataset = "karate"\niterations = 2\nhidden = 4\nresidual = true\nseeds = [0, 1]\n',
    "space.toml": '[search]\nnu = "0.01:1:log"\nlayers = "2,3"\n',
}


def originals(folder: Path) -> None:
    """Write whole files of every kind that is read."""
    folder.mkdir(parents=True)
    os.environ.setdefault("GAMLP_ADMM_CACHE", str(folder.parent / "cache"))
    (folder / "recipe.toml").write_text(
        '[recipe]\nlayers = 2\nresidual = true\nhops = [0, 2]\nnu = 0.4\noperator = "sym"\n'
    )
    (folder / "options.toml").write_text(
        'dataset = "karate"\niterations = 2\nhidden = 4\nresidual = true\nseeds = [0, 1]\n'
    )
    (folder / "space.toml").write_text('[search]\nnu = "0.01:1:log"\nlayers = "2,3"\n')
    out = str(folder / "run.json")
    run(Line("", ("train", *BASE, "--save", str(folder / "model"), "--json", out)))
    search = ("tune", *BASE, "--search", "nu=0.01:1:log", "--finalists", "0", "--trials", "2")
    run(Line("", (*search, "--storage", str(folder / "search.log"))))
    bench = ("--datasets", "karate", "--methods", "ridge", "--seeds", "0", "--jobs", "1", "--quiet")
    run(Line("", ("bench", "accuracy", *bench, "--out", str(folder / "bench"))))
    (folder / "root").mkdir()
    _citeseer(folder / "root/planetoid/CiteSeer/raw")


def _citeseer(folder: Path) -> None:
    """Write files that a data set of pickles has, though not its own: whole ones say that counts differ."""
    import pickle

    import numpy as np
    import scipy.sparse

    folder.mkdir(parents=True)
    x = scipy.sparse.random(30, 5, density=0.3, format="csr", random_state=0, dtype=np.float32)
    y = np.eye(3, dtype=np.int32)[np.arange(30) % 3]
    parts = {"x": x[:6], "allx": x[:20], "tx": x[20:], "y": y[:6], "ally": y[:20], "ty": y[20:]}
    for name, part in {**parts, "graph": {node: [(node + 1) % 30] for node in range(30)}}.items():
        (folder / f"ind.citeseer.{name}").write_bytes(pickle.dumps(part))
    np.savetxt(folder / "ind.citeseer.test.index", np.arange(20, 30), fmt="%d")


@dataclass(frozen=True)
class Ended:
    """How a command line ended: its status, what it wrote to standard error, and what is wrong with that."""

    status: object
    said: str
    wrong: str | None
    seconds: float


Report = Callable[[Line, Ended], object]


def run(line: Line) -> Ended:
    """Run a command line in this process."""
    out, err, start = io.StringIO(), io.StringIO(), time.perf_counter()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        try:
            status: object = main(line.words)
        except BaseException as error:  # a traceback, on a terminal
            status = repr(error)
    said = err.getvalue()
    lines = [text for text in said.splitlines() if not text.startswith("gamlp-admm: warning: ")]
    wrong = None
    if status not in (0, 2):
        wrong = f"ended with {status}"
    elif status == 2 and (len(lines) != 1 or not lines[0].startswith("gamlp-admm: ")):
        wrong = f"said {len(lines)} lines"
    elif "Traceback" in said:
        wrong = "printed a traceback"
    return Ended(status, said, wrong, time.perf_counter() - start)


def stress(
    count: int, seed: int = 0, report: Callable[[Line, Ended], None] = lambda *_: None
) -> Counter[tuple[str, str]]:
    """Run so many command lines, and count how they ended, by kind."""
    counts: Counter[tuple[str, str]] = Counter()
    with tempfile.TemporaryDirectory() as scratch, _inside(scratch):
        whole = Path(scratch) / "whole"
        originals(whole)
        for number in range(count):
            draw, folder = random.Random(f"{seed} {number}"), Path(scratch) / str(number)
            folder.mkdir()
            kind = draw.choices(("options", "files", "outputs", "words"), (4, 4, 1, 1))[0]
            make = {"options": options, "outputs": outputs, "words": words}.get(kind)
            line = make(draw, folder) if make else files(draw, folder, whole)
            ended = run(line)
            counts[line.kind, "wrong" if ended.wrong else str(ended.status)] += 1
            report(line, ended)
            shutil.rmtree(folder)
    return counts


@contextlib.contextmanager
def _inside(folder: str) -> Iterator[None]:
    """Work in a folder, for what is written without being told where."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _report(line: Line, ended: Ended) -> None:
    if ended.wrong or ended.seconds > 20:
        shown = [word if len(word) < 60 else word[:57] + "…" for word in line.words]
        print(json.dumps([line.kind, shown, ended.wrong, ended.said[-300:], round(ended.seconds, 1)]), flush=True)


if __name__ == "__main__":
    total = stress(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0, _report)
    print("| what is random | lines | status 0 | status 2 | other |\n|---|---:|---:|---:|---:|")
    for kind in sorted({kind for kind, _ in total}):
        row = [total[kind, status] for status in ("0", "2", "wrong")]
        print(f"| {kind} | {sum(row)} | {row[0]} | {row[1]} | {row[2]} |")
    sys.exit(any(status == "wrong" for _, status in total))
