"""Float formats: how far off they are, and their range."""

from __future__ import annotations

import pytest
import torch
from coders import made
from problems import randn

from gamlp_admm.errors import InputError


@pytest.mark.parametrize(("name", "unit"), [("fp16", 2.0**-11), ("bf16", 2.0**-8)])
def test_formats_round(name: str, unit: float) -> None:
    x = randn(20, 20)
    assert bool(((made(name).project(x) - x).abs() <= unit * x.abs()).all())


def test_fp16_refuses_what_is_beyond_its_range() -> None:
    with pytest.raises(InputError, match="after coding"):
        made("fp16").encode(torch.tensor([[7e4]]))
