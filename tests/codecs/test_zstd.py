"""Compressed payloads."""

from __future__ import annotations

import sys

import pytest
import torch
from coders import made
from problems import randn

from gamlp_admm.errors import InputError


def test_codes_of_few_values_are_packed_closer_and_no_payload_grows_by_more_than_a_byte() -> None:
    x, before = randn(300, 100, dtype=torch.float32) ** 3, torch.zeros(300, 100)
    for name, share in (("int2-delta", 0.75), ("ternary:2-delta", 0.55), ("int1-delta", 1.0), ("fp32", 1.0)):
        plain, packed = made(name), made(f"zstd:{name}")
        assert torch.equal(packed.project(x, before), plain.project(x, before))
        assert len(packed.encode(x, before)) <= share * plain.size(x.shape) + 1


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(InputError, match=r"pip install 'gamlp-admm\[compress\]'"):
        made("zstd:int4")
