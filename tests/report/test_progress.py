"""Progress on a terminal."""

import io

from rich.console import Console

from gamlp_admm import report as reports
from gamlp_admm.training.result import Progress


def test_progress_shows_the_newest_record(grown):
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with reports.LiveProgress(console, "karate, seed 0") as live:
        for record in grown["history"]:
            live(Progress(record, 8, [range(2)], list))
        live.live.refresh()
        shown = console.file.getvalue()
    assert "karate, seed 0" in shown
    assert "8/8" in shown
    assert "primal residual" in shown
