"""Features of few nodes beside features of all nodes, in time and memory.

    python examples/benchmarks/few-rows/main.py            # five minutes on one core
    python examples/benchmarks/few-rows/main.py --quick    # a small graph; writes nothing

Then results.json and the table of the page are renewed.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from gamlp_admm.bench.augment_order import GRAPHS, WAYS, made_graph, markdown, measure, run

sys.path.insert(0, str(Path(__file__).parents[1]))
from pages import Pages, Results, arguments, stamp, versions

HERE = Path(__file__).parent


def tables(results: Results) -> dict[str, str]:
    """Return the tables of the page, by the names of their places."""
    if not results:
        return {}
    conditions = f"`{results['command']}`; {results['date']}; 1 thread; {versions(results)}."
    return {"table": markdown(results["measured"]), "environment": conditions}


PAGES = Pages(HERE, tables, others=(), indent=1)


def main() -> None:
    """Measure and write."""
    given = arguments(__doc__).parse_args()
    if given.quick:
        data = made_graph(nodes=2000, edges=8000, words=500, numbers=20_000, labelled=100)
        with tempfile.TemporaryDirectory() as folder:
            print(markdown([asdict(measure(data, "made", way, Path(folder))) for way in WAYS]))
        return
    if given.tables:
        PAGES.renew(PAGES.read())
        return
    command = "python examples/benchmarks/few-rows/main.py"
    PAGES.renew(PAGES.save({"command": command, **stamp(), "measured": run(GRAPHS)}))


if __name__ == "__main__":
    main()
