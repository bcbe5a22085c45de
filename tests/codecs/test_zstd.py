"""Compressed payloads."""

from __future__ import annotations

import sys

import pytest
import torch
from coders import made
from problems import randn

from gamlp_admm.errors import InputError


def test_codes_of_few_values_are_packed_closer_and_no_payload_grows() -> None:
    x, before = randn(300, 100, dtype=torch.float32) ** 3, torch.zeros(300, 100)
    for name, share in (("int2-delta", 0.75), ("ternary:2-delta", 0.55), ("int1-delta", 1.0), ("fp32", 1.0)):
        plain, packed = made(name), made(f"zstd:{name}")
        assert torch.equal(packed.project(x, before), plain.project(x, before))
        assert len(packed.encode(x, before)) <= share * plain.size(x.shape)


def test_where_the_plain_size_is_not_known_a_byte_says_whether_a_payload_is_compressed() -> None:
    plain, packed = made("changed:ternary:2-delta"), made("zstd:changed:ternary:2-delta")
    for rows, gains in ((300, True), (3, False)):
        x, before = randn(rows, 4 * rows, dtype=torch.float32), torch.zeros(rows, 4 * rows)
        payload = packed.encode(x, before)
        assert payload[-1] == gains
        assert len(payload) < packed.size(x.shape) if gains else payload[:-1].equal(plain.encode(x, before))
        assert torch.equal(packed.decode(payload, x, before), plain.project(x, before))


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(InputError, match=r"pip install 'gamlp-admm\[compress\]'"):
        made("zstd:int4")
