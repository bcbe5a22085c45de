"""Propagation beside torch.sparse, SciPy, PyG's EdgeIndex and T.SIGN, beside the gather bound, and its peak memory.

python examples/benchmarks/augment/main.py                  # all parts, about a quarter of an hour on an idle machine
python examples/benchmarks/augment/main.py --parts memory   # some of them
python examples/benchmarks/augment/main.py --quick          # a small graph, prints only

``products`` needs 16 GB of memory.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gamlp_admm.bench.augment import CSR, MEMORY, METHODS, SCIPY, SIGN, measure, peaks
from gamlp_admm.report import augment_markdown

sys.path.insert(0, str(Path(__file__).parents[1]))
from pages import Pages, Results, arguments, stamp, versions

PARTS: dict[str, list[tuple[str, int, int]]] = {
    "arxiv": [*(("arxiv", columns, 1) for columns in (16, 32, 64, 128, 256, 512)), ("arxiv", 128, 2)],
    "sizes": [(shape, columns, 1) for shape in ("1e5", "1e6", "1e7") for columns in (16, 128)],
    "products": [("products", columns, 1) for columns in (100, 16)],
    "memory": [],
}
"""Graphs, columns and threads that are measured."""


def tables(results: Results) -> dict[str, str]:
    """Return the contents of the pages."""
    made = {part: augment_markdown({"rows": results[part]}) for part in PARTS if part != "memory" and part in results}
    if "memory" in results:
        made["memory"] = augment_markdown({"rows": [], "memory": results["memory"]})
    if "environment" in results:
        made["conditions"] = f"`{results['command']}`, seed 0; {results['date']}; {versions(results)}."
    return made


PAGES = Pages(Path(__file__).parent, tables, others=("docs/augment-results.md",))


def main() -> None:
    """Measure, and renew the pages."""
    options = arguments(__doc__, tuple(PARTS)).parse_args()
    if options.quick:
        print(augment_markdown({"rows": [measure("1e5", 16, 1, METHODS, repeat=1)]}))
        return
    results = PAGES.read()

    def keep() -> None:
        results.update({"command": "python examples/benchmarks/augment/main.py", "size": MEMORY, **stamp()})
        PAGES.save(results)

    for part in () if options.tables else options.parts:
        if part == "memory":
            results["memory"] = peaks()
        else:
            methods, repeat = ((CSR, SCIPY, SIGN), 1) if part == "products" else (METHODS, 3)
            results[part] = []
            for shape, columns, threads in PARTS[part]:
                results[part].append(measure(shape, columns, threads, methods, repeat))
                print(results[part][-1], file=sys.stderr, flush=True)
                keep()
        keep()
    PAGES.renew(results)


if __name__ == "__main__":
    main()
