"""An iteration of every solver beside Adam, GCN and the papers' recipe: time, product rate, memory, counts, growth.

python examples/benchmarks/speed/main.py                # all parts, some ten minutes on an idle machine
python examples/benchmarks/speed/main.py --parts large  # some of them
python examples/benchmarks/speed/main.py --quick        # the karate club and small networks, prints only
"""

from __future__ import annotations

import sys
from pathlib import Path

from gamlp_admm.bench.speed import report
from gamlp_admm.bench.speed_cases import DEFAULTS, QUICK, SpeedPlan
from gamlp_admm.report import plot_speed, speed_markdown

sys.path.insert(0, str(Path(__file__).parents[1]))
from pages import Pages, Results, arguments, stamp, versions

HERE = Path(__file__).parent


def tables(results: Results) -> dict[str, str]:
    """Return the contents of the pages."""
    made = {part: speed_markdown(results[part]) for part in DEFAULTS if part in results}
    if "environment" in results:
        made["conditions"] = f"`{results['command']}`; {results['date']}; 1 thread; {versions(results)}."
    return made


PAGES = Pages(HERE, tables, others=("docs/speed.md",))


def main() -> None:
    """Measure, and renew the pages."""
    options = arguments(__doc__, DEFAULTS).parse_args()
    if options.quick:
        print(speed_markdown(report(SpeedPlan(QUICK, quick=True))))
        return
    results = PAGES.read()
    for part in () if options.tables else options.parts:
        made = report(SpeedPlan((part,)), done=lambda what: print(what, file=sys.stderr, flush=True))
        found = {part: {key: made[key] for key in ("rows", "growth", "slopes")}}
        results = PAGES.save({**found, "command": "python examples/benchmarks/speed/main.py", **stamp()})
    if "growth" in results:
        plot_speed(results["growth"], HERE / "growth.png")
    PAGES.renew(results)


if __name__ == "__main__":
    main()
