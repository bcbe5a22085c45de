"""What the benchmarks share: their results, the tables of their pages, and their command line.

A page has a table between ``<!-- BENCHMARK: PART -->`` and ``<!-- end -->``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gamlp_admm.experiment import environment

ROOT = Path(__file__).parents[2]

Results = dict[str, Any]


@dataclass(frozen=True)
class Pages:
    """The results of a benchmark, and the pages that show them.

    Args:
        folder: The benchmark's folder, with results.json and README.md; its name is that of the marks.
        tables: Makes, of the results, the contents of the pages by the names of their parts.
        others: Other pages, as seen from the repository's root.
        indent: How results.json is indented.
    """

    folder: Path
    tables: Callable[[Results], dict[str, str]]
    others: Sequence[str] = ("docs/results.md",)
    indent: int | None = None

    def fill(self, text: str, results: Results) -> str:
        """Return a page whose parts are those of the results; parts of which there are none stay as they are."""
        for part, content in self.tables(results).items():
            mark = f"<!-- {self.folder.name}: {part} -->\n"
            pattern = f"(?<={re.escape(mark)}).*?(?=<!-- end -->)"
            text = re.sub(pattern, lambda _, content=content: f"{content}\n", text, count=1, flags=re.DOTALL)
        return text

    def renew(self, results: Results) -> None:
        """Fill all pages."""
        for page in (self.folder / "README.md", *(ROOT / other for other in self.others)):
            before = page.read_text(encoding="utf-8")
            if (after := self.fill(before, results)) != before:
                page.write_text(after, encoding="utf-8")

    def read(self) -> Results:
        """Return results.json; of a benchmark that has not been run, nothing."""
        path = self.folder / "results.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def save(self, results: Results) -> Results:
        """Put results into results.json beside what else is there: parts may run side by side. Return all of it."""
        every = {**self.read(), **results}
        text = json.dumps(every, indent=self.indent) + "\n"
        (self.folder / "results.json").write_text(text, encoding="utf-8")
        return every


def arguments(description: str | None, parts: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return a parser of ``--quick``, ``--tables`` and, if there are parts, ``--parts``."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--quick", action="store_true", help="a small check; writes nothing")
    either.add_argument("--tables", action="store_true", help="only renew the pages from results.json")

    def some(text: str) -> list[str]:
        given = text.split(",")
        if wrong := set(given) - set(parts):
            raise argparse.ArgumentTypeError(f"{', '.join(sorted(wrong))}: allowed: {', '.join(parts)}")
        return given

    if parts:
        parser.add_argument("--parts", type=some, default=list(parts), help=f"of {','.join(parts)}; others are kept")
    return parser


def stamp() -> Results:
    """Return when and with what this is measured."""
    return {"environment": environment("cpu"), "date": datetime.date.today().isoformat()}


def versions(results: Results) -> str:
    """Return the versions with which was measured."""
    return ", ".join(f"{name} {number}" for name, number in results["environment"]["versions"].items())


def conditions(results: Results) -> str:
    """Return command, seeds, date and versions."""
    seeds = ", ".join(map(str, results["seeds"]))
    return f"`{results['command']}`, seeds {seeds}; {results['date']}; 1 thread; {versions(results)}."


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Return a Markdown table, whose columns after the first ``left`` are aligned right."""
    lines = [headings, ["---"] * left + ["---:"] * (len(headings) - left), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def percent(values: Sequence[float]) -> str:
    """Return mean and standard deviation in per cent."""
    return f"{100 * statistics.fmean(values):.1f} ± {100 * statistics.stdev(values):.1f}"
