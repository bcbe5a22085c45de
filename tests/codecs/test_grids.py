"""Grids: the nearest points, those of the papers, and those fitted to what is seen."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from coders import NAMES, made
from hypothesis import given
from hypothesis import strategies as st
from problems import randn

from gamlp_admm.codecs import FittedGrid, ListedGrid, UniformGrid, codec


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("grid")])
def test_grids_project_to_a_nearest_point(name: str) -> None:
    grid = made(name)
    x = torch.cat([2 * randn(300, seed=11), torch.linspace(-30, 30, 300, dtype=torch.float64)])[None]
    points = torch.empty(1, grid.points, dtype=x.dtype)
    grid.at(torch.arange(grid.points, dtype=torch.int32)[None], points)
    nearest = (x[..., None] - points[0, :300]).abs().amin(-1) if grid.points <= 300 else None
    off = (grid.project(x) - x).abs()
    if nearest is not None:
        torch.testing.assert_close(off, nearest, rtol=0, atol=1e-12)
    else:
        inside = (x >= points.min()) & (x <= points.max())
        assert float(off[inside].max()) <= 0.5 * float(points[0, 1] - points[0, 0]) * (1 + 1e-9)
    assert torch.equal(grid.project(points), points)


def test_grid_points_of_the_papers() -> None:
    assert codec("grid:paper") == UniformGrid(-1.0, 20.0, 22)
    assert codec("grid:released") == UniformGrid(-1.0, 2.0, 1000)
    assert codec([0.0, 0.5, 4.0]) == codec(torch.tensor([0.0, 0.5, 4.0])) == ListedGrid([0.0, 0.5, 4.0])


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.sampled_from([2, 4, 16, 22, 256, 1000, 65536]))
def test_fitted_grids_reach_far_enough_in_exact_steps(below: float, above: float, count: int) -> None:
    grid = FittedGrid(count).between(below, above)
    assert grid.points == count
    reach = [max(2 * side, 1) if side else 0 for side in (below, above)]
    slack = grid.step * (1 + 1e-9)
    assert grid.low <= -reach[0] + slack
    assert grid.high >= reach[1] - slack
    assert grid.low <= 0 <= grid.high
    assert grid.high - grid.low <= 1.25 * (sum(reach) + 2) + 3 * slack
    mantissa = math.frexp(grid.step)[0] * 16
    assert mantissa == round(mantissa)


def test_projection_needs_memory_for_entries_only() -> None:
    # 10⁷ entries and 1,000 points: a table of both would take 40 GB; entries alone take 40 MB a copy.
    code = (
        "import resource, torch\n"
        "from gamlp_admm.codecs import codec\n"
        "torch.set_num_threads(1)\n"
        "x = torch.empty(1000, 10000).uniform_(-1, 2)\n"
        "grids = [codec('grid:-1:2:1000'), codec([i / 333 - 1 for i in range(1000)])]\n"
        "for grid in grids: grid.project(x[:10])\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for grid in grids:\n"
        "    assert float((grid.project(x) - x).abs().max()) < 0.0016\n"
        "    grid.decode(grid.encode(x), x)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True)
    assert int(done.stdout) < 300_000  # kB
