"""A table of texts, as Markdown and on the screen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table


def line(cells: Sequence[str]) -> str:
    """Return a line of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


@dataclass(frozen=True)
class TextTable:
    """A table of texts.

    Attributes:
        heads: Headings.
        rows: Cells of each row.
        left: Columns of text, before those of numbers, which stand on the right.
        title: What it is, on the screen.
        wrap: Whether cells may take several lines there.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    left: int
    title: str | None = None
    wrap: bool = True

    def markdown(self) -> str:
        """Return it as Markdown, without an end of line after the last row."""
        rule = ["---"] * self.left + ["---:"] * (len(self.heads) - self.left)
        return "\n".join(map(line, [self.heads, rule, *self.rows]))

    def screen(self) -> Table:
        """Return it for the screen."""
        made = Table(title=self.title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
        for i, head in enumerate(self.heads):
            made.add_column(head, justify="left" if i < self.left else "right", no_wrap=not self.wrap)
        for row in self.rows:
            made.add_row(*row)
        return made
