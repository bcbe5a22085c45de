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


def test_what_codec_auto_chose_is_said_once_and_again_if_it_changes(grown):
    console = Console(file=io.StringIO(), width=120)
    line = reports.CodecLine(console)
    record = grown["history"][0]
    chosen = {"chosen": "lean", "why": "recommended, 2 MB expected", "ended": None, "budget": None}
    line(Progress(record, 8, [range(2)], list))
    assert console.file.getvalue() == ""
    for codec in (chosen, chosen, {**chosen, "chosen": "int2-delta"}):
        line(Progress(record, 8, [range(2)], list, codec=codec))
    assert console.file.getvalue().splitlines() == [
        "codec auto: lean (recommended, 2 MB expected)",
        "codec auto: int2-delta (recommended, 2 MB expected)",
    ]
