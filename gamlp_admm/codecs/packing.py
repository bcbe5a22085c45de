"""Codes of 1, 2 and 4 bits in bytes: several neighbours of a row in one byte, the first in the lowest bits."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

# Bytes are handled as many at a time as share a packed byte, as one word (words are little-endian, as on every platform
# that torch supports). A product with a sum of powers of two shifts a word several times at once and adds up; where it
# is used here, the bits that matter never meet others, so nothing is carried.

_EIGHT = 0x8040201008040201 - (1 << 64)  # bit i of byte i


def packed_width(n: int, bits: int) -> int:
    """Return how many bytes a row of ``n`` codes of 1, 2, 4 or 8 bits takes."""
    return -(-n * bits // 8)


def pack(codes: Tensor, bits: int) -> Tensor:
    """Pack codes.

    Args:
        codes: ``[N, n]``, of one byte each, of which the lowest ``bits`` count.
        bits: 1, 2, 4 or 8.

    Returns:
        uint8 ``[N, packed_width(n, bits)]``; the last byte of a row is filled up with zeros.
    """
    codes = codes.view(torch.uint8)
    if bits == 8:
        return codes
    missing = -codes.shape[-1] % (8 // bits)
    codes = pad(codes, (0, missing)) if missing else codes.contiguous()
    if bits == 4:  # 0000bbbb0000aaaa: gather b and a in the upper byte
        return (codes.view(torch.int16) & 0x0F0F).mul_(0x0110).bitwise_right_shift_(8).to(torch.uint8)
    if bits == 1:  # 2^(7i) moves what is in byte 7 − i to a bit of the upper byte
        words = (codes.view(torch.int64) & 0x0101010101010101).mul_(0x0102040810204080)
        return words.bitwise_right_shift_(56).to(torch.uint8)
    return (codes.view(torch.int32) & 0x03030303).mul_(0x01041040).bitwise_right_shift_(24).to(torch.uint8)


def unpack(packed: Tensor, n: int, bits: int) -> Tensor:
    """Return the codes that :func:`pack` packed, uint8 ``[N, n]``, each below 2^bits."""
    if bits == 8:
        return packed
    if bits == 4:  # bbbbaaaa: once in each byte
        words = packed.to(torch.int16)
        words = (words | words << 4).bitwise_and_(0x0F0F)
    elif bits == 1:  # once in each byte, of which one bit counts
        words = packed.to(torch.int64).mul_(0x0101010101010101).bitwise_and_(_EIGHT)
        words = words.add_(0x7F7F7F7F7F7F7F7F).bitwise_right_shift_(7).bitwise_and_(0x0101010101010101)
    else:  # ddccbbaa: dd cc into the upper half, then every second pair into the byte above
        words = packed.to(torch.int32).mul_(0x1001).bitwise_and_(0x000F000F)
        words = words.mul_(0x41).bitwise_and_(0x03030303)
    return words.view(torch.uint8)[:, :n]
