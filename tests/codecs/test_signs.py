"""Signs: what they leave of an error, and their scales of 8 bits."""

from __future__ import annotations

import pytest
import torch
from coders import made
from hypothesis import given
from hypothesis import strategies as st
from problems import randn

DEADS = ["int1", "ternary:0.5", "ternary:1.5", "ternary:4"]


@given(
    st.sampled_from(DEADS),
    st.integers(-30, 15),
    st.lists(st.floats(-1, 1), min_size=1, max_size=30).filter(lambda row: max(map(abs, row)) > 0.1),
)
def test_a_row_comes_nearer_whatever_it_is(name: str, exponent: int, entries: list[float]) -> None:
    # So differences vanish. The scale is the best for its codes, but for the 8 bits, which change it by an eighth.
    x = torch.tensor([entries], dtype=torch.float64) * 2.0**exponent
    coded = made(name).project(x)
    assert float((x - coded).norm()) < float(x.norm()) * (1 - 1e-3 / len(entries))


@pytest.mark.parametrize("name", DEADS)
def test_equal_sizes_are_all_sent(name: str) -> None:
    x = torch.tensor([[0.5, -0.5, -0.5, 0.5, 0.5]])
    assert torch.equal(made(name).project(x), x)
    assert torch.equal(made(name).project(torch.zeros(2, 9)), torch.zeros(2, 9))


def test_scales_have_eight_bits() -> None:
    sizes = 2.0 ** torch.linspace(-40, 19, 1000, dtype=torch.float64)[:, None]
    off = made("int1").project(sizes) / sizes - 1
    assert 0.05 < float(off.abs().max()) < 0.128
    assert made("int1").project(torch.full((1, 1), 2.0**-60)).item() == 0
    assert made("int1").project(torch.full((1, 1), 2.0**90)).item() > 2.0**19


def test_large_entries_alone_are_sent() -> None:
    x = randn(200, 1000)
    least = 1.5 * x.abs().mean(-1, keepdim=True)
    sent = made("ternary:1.5").project(x)
    clear = (x.abs() / least - 1).abs() > 1e-5
    assert torch.equal((sent != 0)[clear], (x.abs() >= least)[clear])
    assert torch.equal(torch.sign(sent), torch.sign(x) * (sent != 0))
