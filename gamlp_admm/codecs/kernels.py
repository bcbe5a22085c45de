"""Coding in one pass over the entries, for :mod:`gamlp_admm.codecs.native`; compiled, not run as it stands.

Rows are ``[N, n]``. Each kernel rounds where the torch operators that it stands for round. Constants are float32 and
int32, because Python's own numbers would make float64 of everything.
"""

from __future__ import annotations

import numpy as np

from gamlp_admm.system.compiled import Flags, Float, Floats, Ints, Size, at, fma
from gamlp_admm.system.sums import row_norm, row_sum

ZERO, ONE = np.float32(0), np.float32(1)
TWO, FOUR, SIXTEEN, SIXTY_FOUR = np.float32(2), np.float32(4), np.float32(16), np.float32(64)
SMALLEST, LARGEST = np.float32(2**-126), np.float32((2 - 2**-7) * 2.0**127)  # of bfloat16
LOWEST, ABOVE_HALF = np.int32(4 * (127 - 44)), np.float32(0.5 + 2**-20)  # of gamlp_admm.codecs.signs
SIZE, ROUNDING, UPPER = np.int32(0x7FFFFFFF), np.int32(0x7FFF), np.int32(-0x10000)


# --- whole numbers in bytes ---------------------------------------------------------------------------------------


def _packed(X: Floats, start: Size, codes: Flags, to: Size, bits: Size, low: Float, n: Size) -> None:
    # Bytes of the whole numbers X[start + j] − low, 0 ≤ j < n: sums of a few of them are exact in floating point.
    if bits == 16:
        for j in range(n):
            number = np.int32(X[start + j] - low)
            codes[to + 2 * j] = np.uint8(number & 255)
            codes[to + 2 * j + 1] = np.uint8(number >> 8 & 255)
    elif bits == 8:
        for j in range(n):
            codes[to + j] = np.uint8(np.int32(X[start + j] - low))
    elif bits == 4:
        for j in range(n // 2):
            i = start + 2 * j
            codes[to + j] = np.uint8(np.int32((X[i] - low) + SIXTEEN * (X[i + 1] - low)))
    else:
        for j in range(n // 4):
            i = start + 4 * j
            two = (X[i] - low) + FOUR * (X[i + 1] - low)
            codes[to + j] = np.uint8(np.int32(two + (SIXTEEN * (X[i + 2] - low) + SIXTY_FOUR * (X[i + 3] - low))))
    if bits < 8 and n % (8 // bits):
        byte = np.int32(0)
        whole = n - n % (8 // bits)
        for j in range(whole, n):
            byte |= np.int32(X[start + j] - low) << (j - whole) * bits
        codes[to + n // (8 // bits)] = np.uint8(byte)


def _unpacked(codes: Flags, start: Size, X: Floats, to: Size, bits: Size, low: Float, n: Size) -> None:
    # X[to + j] = low + number j of a row.
    if bits == 16:
        for j in range(n):
            number = np.int32(codes[start + 2 * j]) | np.int32(codes[start + 2 * j + 1]) << 8
            X[to + j] = np.float32(number) + low
    elif bits == 8:
        for j in range(n):
            X[to + j] = np.float32(np.int32(codes[start + j])) + low
    elif bits == 4:
        for j in range(n // 2):
            byte = np.int32(codes[start + j])
            X[to + 2 * j] = np.float32(byte & 15) + low
            X[to + 2 * j + 1] = np.float32(byte >> 4) + low
    else:
        for j in range(n // 4):
            byte = np.int32(codes[start + j])
            X[to + 4 * j] = np.float32(byte & 3) + low
            X[to + 4 * j + 1] = np.float32(byte >> 2 & 3) + low
            X[to + 4 * j + 2] = np.float32(byte >> 4 & 3) + low
            X[to + 4 * j + 3] = np.float32(byte >> 6) + low
    if bits < 8 and n % (8 // bits):
        whole = n - n % (8 // bits)
        byte = np.int32(codes[start + n // (8 // bits)])
        for j in range(whole, n):
            X[to + j] = np.float32(byte >> (j - whole) * bits & ((1 << bits) - 1)) + low


# --- gamlp_admm.codecs.integers -----------------------------------------------------------------------------------


def _bfloat16(values: Floats, bits: Ints, i: Size) -> None:
    # values[i], whose bits are bits[i], rounded to the nearest, of two to the even one; NaN stays NaN.
    if values[i] == values[i]:
        bits[i] = (bits[i] + ROUNDING + (bits[i] >> 16 & 1)) & UPPER


def _differences(x: Floats, base: Floats, out: Floats, start: Size, delta: Size, n: Size) -> None:
    if delta:
        for j in range(start, start + n):
            out[j] = x[j] - base[j]
    else:
        for j in range(start, start + n):
            out[j] = x[j]


def _largest(bits: Ints, start: Size, n: Size) -> Size:
    # The bits of the largest size of a row: floats from 0 are ordered as their bits are.
    most = np.int32(0)
    for j in range(start, start + n):
        most = max(most, bits[j] & SIZE)
    return most


def _rounded(X: Floats, start: Size, factor: Float, one: Size, n: Size) -> None:
    # To whole numbers, or to −1, 0 and 1.
    if one:
        for j in range(start, start + n):
            code = np.rint(X[j] * factor)
            code = -ONE if code < -ONE else code
            X[j] = ONE if code > ONE else code
    else:
        for j in range(start, start + n):
            X[j] = np.rint(X[j] * factor)


def _multiplied(X: Floats, base: Floats, start: Size, scale: Float, delta: Size, n: Size) -> None:
    # A product of a code and a scale is exact.
    if delta:
        for j in range(start, start + n):
            X[j] = fma(X[j], scale, base[j])
    else:
        for j in range(start, start + n):
            X[j] *= scale


def scaled(
    x: Floats,
    base: Floats,
    out: Floats,
    out_bits: Ints,
    scales: Floats,
    scale_bits: Ints,
    codes: Flags,
    room: Floats,
    width: Size,
    levels: Float,
    bits: Size,
    delta: Size,
    N: Size,
    n: Size,
) -> None:
    """Codes of x, or of x − base, and what they stand for."""
    for i in range(N):
        start = i * n
        _differences(x, base, out, start, delta, n)
        if bits > 2:
            scale_bits[i] = _largest(out_bits, start, n)
            s = scales[i] / levels
        else:
            for j in range(n):
                room[j] = abs(out[start + j])
            total = row_sum(room, 0, n, at(room, n))
            norm = row_norm(out, start, n)
            s = norm * norm / (SMALLEST if total < SMALLEST else total)
        s = SMALLEST if s < SMALLEST else s
        scales[i] = LARGEST if s > LARGEST else s
        _bfloat16(scales, scale_bits, i)
        _rounded(out, start, ONE / scales[i], bits == 2, n)
        if width:
            _packed(out, start, codes, i * width, bits, -levels - ONE, n)
        _multiplied(out, base, start, scales[i], delta, n)


def scaled_value(
    codes: Flags,
    scales: Floats,
    base: Floats,
    out: Floats,
    width: Size,
    levels: Float,
    bits: Size,
    delta: Size,
    N: Size,
    n: Size,
) -> None:
    """What codes stand for, or that and base."""
    for i in range(N):
        start, scale = i * n, scales[i]
        _unpacked(codes, i * width, out, start, bits, -levels - ONE, n)
        _multiplied(out, base, start, scale, delta, n)


# --- gamlp_admm.codecs.signs --------------------------------------------------------------------------------------


def signs(
    x: Floats,
    base: Floats,
    out: Floats,
    out_bits: Ints,
    scale: Floats,
    scale_bits: Ints,
    scales: Flags,
    codes: Flags,
    room: Floats,
    width: Size,
    dead: Float,
    delta: Size,
    N: Size,
    n: Size,
) -> None:
    """Codes of x, or of x − base, and what they stand for; there is room for one scale."""
    for i in range(N):
        start = i * n
        _differences(x, base, out, start, delta, n)
        for j in range(n):
            room[j] = abs(out[start + j])
        least = row_sum(room, 0, n, at(room, n)) / np.float32(n) * dead
        scale_bits[0] = _largest(out_bits, start, n)
        least = scale[0] if scale[0] < least else least
        least = SMALLEST if least < SMALLEST else least
        for j in range(n):
            room[j] = out[start + j]
        _rounded(out, start, ONE / least * ABOVE_HALF, 1, n)
        for j in range(n):
            room[j] *= out[start + j]
        count = np.int32(0)
        for j in range(start, start + n):
            count += np.int32(1) if out_bits[j] & SIZE else np.int32(0)
        scale[0] = row_sum(room, 0, n, at(room, n)) / np.float32(max(count, 1))
        _bfloat16(scale, scale_bits, 0)
        number = ((scale_bits[0] >> 16) + 16 >> 5) - LOWEST
        number = min(max(number, 0), 255)
        if width:
            scales[i] = np.uint8(number)
            _packed(out, start, codes, i * width, 2, -TWO, n)
        scale_bits[0] = np.int32(number + LOWEST << 21) if number else np.int32(0)
        _multiplied(out, base, start, scale[0], delta, n)


def eighths(scales: Flags, scale_bits: Ints, N: Size) -> None:
    """The scales that were sent in 8 bits."""
    for i in range(N):
        number = np.int32(scales[i])
        scale_bits[i] = np.int32(number + LOWEST << 21) if number else np.int32(0)


# --- gamlp_admm.codecs.changed ------------------------------------------------------------------------------------


def changed(x: Floats, held: Floats, sent: Flags, out: Floats, threshold: Float, N: Size, n: Size) -> None:
    """Whether ‖x − held‖ > threshold ‖x‖, of each row; out becomes what is held."""
    for i in range(N):
        start = i * n
        _differences(x, held, out, start, 1, n)
        sent[i] = np.uint8(not row_norm(out, start, n) <= row_norm(x, start, n) * threshold)
        for j in range(start, start + n):
            out[j] = held[j]


# --- gamlp_admm.codecs.grids --------------------------------------------------------------------------------------


def gridded(
    x: Floats,
    out: Floats,
    codes: Flags,
    width: Size,
    low: Float,
    step: Float,
    last: Float,
    bits: Size,
    N: Size,
    n: Size,
) -> None:
    """The nearest points of a uniform grid, and their numbers."""
    for i in range(N):
        start = i * n
        for j in range(start, start + n):
            number = np.rint((x[j] - low) / step)
            number = ZERO if number < ZERO else number
            out[j] = last if number > last else number
        if width:
            _packed(out, start, codes, i * width, bits, ZERO, n)
        for j in range(start, start + n):
            out[j] = out[j] * step + low


def gridded_value(
    codes: Flags, out: Floats, width: Size, low: Float, step: Float, bits: Size, N: Size, n: Size
) -> None:
    """The points with these numbers."""
    for i in range(N):
        start = i * n
        _unpacked(codes, i * width, out, start, bits, ZERO, n)
        for j in range(start, start + n):
            out[j] = out[j] * step + low
