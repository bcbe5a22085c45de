"""Powers, PageRank and heat against their recursions and closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from small_graphs import Graph, dense, features, graphs, table
from torch import Tensor

from gamlp_admm import propagation

schemes = {
    "powers": propagation.powers,
    "pagerank": lambda *args: propagation.pagerank(*args, alpha=0.5),
    "heat": lambda *args: propagation.heat(*args, t=1.5),
}


def run(scheme: str, matrix: Tensor, H: Tensor, steps: tuple[int, ...]) -> dict[int, Tensor]:
    before = H.clone()
    states = schemes[scheme](propagation.to_torch(sparse.csr_array(matrix.numpy()), H.dtype), H)
    kept = {k: state.clone() for k, state in zip(range(steps[-1] + 1), states, strict=False) if k in steps}
    torch.testing.assert_close(H, before, rtol=0, atol=0)
    return kept


def reference_states(scheme: str, P: Tensor, H: Tensor, last: int) -> list[Tensor]:
    states, powers = [H], [H]
    for k in range(1, last + 1):
        powers.append(P @ powers[-1])
        if scheme == "pagerank":
            states.append(0.5 * P @ states[-1] + 0.5 * H)
        elif scheme == "heat":
            states.append(sum((math.exp(-1.5) * 1.5**j / math.factorial(j) * powers[j] for j in range(k + 1)), 0 * H))
        else:
            states.append(powers[-1])
    return states


@table
@given(graphs(), st.sampled_from(sorted(schemes)), st.sets(st.integers(0, 9), min_size=1))
def test_any_set_of_states(graph: Graph, scheme: str, chosen: set[int]) -> None:
    steps = tuple(sorted(chosen))
    P = dense(propagation.sym(propagation.adjacency(*graph)))
    H = features(graph[2])
    states = reference_states(scheme, P, H, steps[-1])
    for step, block in run(scheme, P, H, steps).items():
        torch.testing.assert_close(block, states[step], rtol=1e-10, atol=1e-12)


@table
@given(graphs())
def test_pagerank_and_heat_reach_their_closed_forms(graph: Graph) -> None:
    P = dense(propagation.row(propagation.adjacency(*graph)))
    H = features(graph[2])
    identity = torch.eye(len(P), dtype=P.dtype)
    limit = 0.5 * torch.linalg.solve(identity - 0.5 * P, H)
    torch.testing.assert_close(run("pagerank", P, H, (40,))[40], limit, rtol=1e-8, atol=1e-10)
    kernel = torch.linalg.matrix_exp(-1.5 * (identity - P))
    torch.testing.assert_close(run("heat", P, H, (30,))[30], kernel @ H, rtol=1e-10, atol=1e-12)


def test_heat_remainder_is_the_missing_part_of_the_series() -> None:
    terms = [math.exp(-3) * 3**j / math.factorial(j) for j in range(11)]
    assert propagation.heat_remainder(10, 3.0) == pytest.approx(1 - sum(terms), rel=1e-9)
