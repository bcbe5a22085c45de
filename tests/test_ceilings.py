"""What one iteration may cost at most, in counts, which no machine's speed changes: it must not become more.

After an improvement lower the ceilings: ``python tests/test_ceilings.py`` prints the table as it is now, for the place
of :data:`CEILINGS`. Raise one only with the reason in the commit. Calls are counted with the torch of constraints.txt.
"""

from __future__ import annotations

from typing import Any

import pytest

from gamlp_admm.bench.counts import Counts
from gamlp_admm.bench.speed_cases import Case, Source
from gamlp_admm.bench.timing import count

SHALLOW, DEEP = Case(2, 32, rows=64), Case(10, 32, rows=64)
LARGE = Case(4, 64, rows=4096)  # whose element-wise work is done slice by slice
SQUARED = {"loss": "squared_error"}  # whose prox takes one step on any machine

RUNS: dict[str, tuple[str, Case, dict[str, Any]]] = {
    "pdadmm-g, 2 layers": ("pdadmm-g", SHALLOW, SQUARED),
    "pdadmm-g, 10 layers": ("pdadmm-g", DEEP, SQUARED),
    "pdadmm-g, 10 layers, cross-entropy": ("pdadmm-g", DEEP, {}),
    "pdadmm-g, 10 layers, int2-delta": ("pdadmm-g", DEEP, {**SQUARED, "codec": "int2-delta"}),
    "pdadmm-g, large": ("pdadmm-g", LARGE, SQUARED),
    "pdadmm-g:linesearch, large": ("pdadmm-g:linesearch", LARGE, SQUARED),
    "pdadmm-g:exact, 10 layers": ("pdadmm-g:exact", DEEP, SQUARED),
    "pdadmm-g:backtracking, 10 layers": ("pdadmm-g:backtracking", DEEP, SQUARED),
    "pdadmm-g-q, 10 layers": ("pdadmm-g-q", DEEP, SQUARED),
    "dladmm, 2 layers": ("dladmm", SHALLOW, SQUARED),
    "dladmm, large": ("dladmm", LARGE, SQUARED),
    "mdlam, 2 layers": ("mdlam", SHALLOW, SQUARED),
    "mdlam, large": ("mdlam", LARGE, SQUARED),
    "adam, 10 layers": ("adam", DEEP, {}),
    "badm, 10 layers": ("badm", DEEP, {}),
    "sisa, 10 layers": ("sisa", DEEP, {}),
}

CEILINGS = {
    "pdadmm-g, 2 layers": (7, 491, 101, 128),
    "pdadmm-g, 10 layers": (39, 4685, 201, 854),
    "pdadmm-g, 10 layers, cross-entropy": (39, 4685, 362, 854),
    "pdadmm-g, 10 layers, int2-delta": (39, 4685, 309, 1006),
    "pdadmm-g, large": (15, 357040, 503, 26884),
    "pdadmm-g:linesearch, large": (14, 356515, 533, 26836),
    "pdadmm-g:exact, 10 layers": (66, 7589, 386, 854),
    "pdadmm-g:backtracking, 10 layers": (38, 4620, 259, 842),
    "pdadmm-g-q, 10 layers": (48, 5775, 320, 854),
    "dladmm, 2 layers": (20, 1548, 215, 137),
    "dladmm, large": (48, 1118994, 1012, 26167),
    "mdlam, 2 layers": (8, 532, 132, 133),
    "mdlam, large": (18, 361562, 634, 24182),
    "adam, 10 layers": (29, 3530, 378, 218),
    "badm, 10 layers": (29, 3530, 361, 180),
    "sisa, 10 layers": (29, 3530, 641, 218),
}
"""Products, their operations in thousands, operator calls, and KiB of tensors, by run."""

NEWTON = 40
"""Operator calls more that cross-entropy may take: another step of Newton's method, as rounding has it."""


def cost(run: str) -> tuple[int, int, int, int]:
    method, case, settings = RUNS[run]
    counts: Counts = count(method, case, Source.of(case), **settings)
    return counts.products, counts.operations // 1000, counts.calls, -(-counts.peak // 1024)


@pytest.mark.parametrize("run", RUNS)
def test_an_iteration_costs_no_more(run: str) -> None:
    names = ("products", "thousand operations", "operator calls", "KiB of tensors")
    found, ceilings = cost(run), list(CEILINGS[run])
    if RUNS[run][2] == {} and RUNS[run][0].startswith("pdadmm"):
        ceilings[2] += NEWTON
    above = [f"{n} {name}, {c} allowed" for name, n, c in zip(names, found, ceilings, strict=True) if n > c]
    assert not above, f"{run}: {'; '.join(above)}"


if __name__ == "__main__":
    print("CEILINGS = {", *(f'    "{run}": {cost(run)},' for run in RUNS), "}", sep="\n")
