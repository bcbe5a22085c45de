"""Codes of a few bits, packed into bytes."""

from __future__ import annotations

import pytest
import torch

from gamlp_admm.codecs.packing import pack, packed_width, unpack


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 31])
def test_packing_loses_nothing(bits: int, n: int) -> None:
    codes = torch.randint(2**bits, (13, n), generator=torch.Generator().manual_seed(n), dtype=torch.uint8)
    packed = pack(codes, bits)
    assert packed.shape == (13, packed_width(n, bits))
    assert torch.equal(unpack(packed, n, bits), codes)
