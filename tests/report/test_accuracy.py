"""The benchmark's table on a terminal and in Markdown."""

from __future__ import annotations

from typing import Any

import pytest
from benches import summary

from gamlp_admm.report import accuracy_markdown, accuracy_table


@pytest.fixture
def report() -> dict[str, Any]:
    return summary()


def test_markdown(report: dict[str, Any]) -> None:
    lines = accuracy_markdown(report).splitlines()
    assert (
        lines[0] == "| test accuracy | cora, public split | coauthor-cs, papers' split | coauthor-cs, random splits |"
    )
    assert lines[2] == f"| pdADMM-G, here | {' | '.join(['**0.8500 ± 0.0707**'] * 3)} |"
    assert lines[3] == "| GCN, here | 0.7000 (1 of 2 seeds) | 0.7500 ± 0.0707 | 0.7500 ± 0.0707 |"
    assert "| APPNP, published | 0.833 |  |  |" in lines
    assert any(line.startswith("| pdADMM-G, 100 neurons, published | 0.784 | 0.9") for line in lines)
    assert "- APPNP: APPNP, arXiv 1810.05997 (approximate)" in lines
    assert "Note: a note" in lines
    assert lines[-1] == "`c`, today; torch 9."


def test_table(report: dict[str, Any]) -> None:
    table = accuracy_table(report)
    assert [str(column.header) for column in table.columns][1] == "cora\npublic split"
    assert next(iter(table.columns[1].cells)) == "[bold]0.8500 ± 0.0707[/bold]"
    assert [row.end_section for row in table.rows][:3] == [True, True, False]
