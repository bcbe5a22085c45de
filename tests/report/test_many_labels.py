"""The table of the benchmark with many labels, on a terminal and in Markdown."""

from __future__ import annotations

from benches import many_labels

from gamlp_admm.report import many_labels_markdown, many_labels_table


def test_markdown() -> None:
    lines = many_labels_markdown(many_labels()).splitlines()
    assert lines[2:7] == [
        "| karate, 60/20/20 | pdADMM-G, here | **0.9200 ± 0.0000** | 2.00 |  | 3.00 | 5 |",
        "| coauthor-cs, 60/20/20 | pdADMM-G, here | 0.9200 ± 0.0000 | 2.00 | 1.00 | 3.00 | 5 |",
        "| coauthor-cs, 60/20/20 | Adam, here | **0.9300 ± 0.0000** | 20.0 | 20.0 | 30.0 | 5 |",
        "| coauthor-cs, 60/20/20 | NAGphormer, published | 0.9575 |  |  |  |  |",
        "| coauthor-cs, 60/20/20 | GCN, tuned, published | 0.9617 |  |  |  |  |",
    ]
    assert "- NAGphormer: NAGphormer, arXiv 2206.04910" in lines
    assert "Note: a note" in lines
    assert lines[-1] == "`c`, today; torch 9."


def test_table() -> None:
    report = many_labels()
    report["rows"][0]["memory_bytes"] = None
    report["rows"][0] |= {"seconds": 1234.5, "seconds_near": 0.00041}
    table = many_labels_table(report)
    assert [row.end_section for row in table.rows] == [True, False, False, False, False]
    assert next(iter(table.columns[2].cells)) == "[bold]0.9200 ± 0.0000[/bold]"
    assert next(iter(table.columns[3].cells)) == "< 0.001"
    assert next(iter(table.columns[5].cells)) == "1234"
    assert next(iter(table.columns[6].cells)) == "–"
