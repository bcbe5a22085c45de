"""Kernels in place of a codec's operators: the same bits, or none at all."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from gamlp_admm.bench.counts import Counts
from gamlp_admm.codecs import Codec, Delta, Scaled, UniformGrid, codec, native
from gamlp_admm.codecs.changed import changed
from gamlp_admm.errors import InputError, InputWarning
from gamlp_admm.system import compiled

pytestmark = pytest.mark.skipif(not compiled.available(), reason="needs numba")

TWINNED = [
    *("int8", "int4", "int2", "ternary", "ternary:0.5"),
    *("int8-delta", "int4-delta", "int2-delta", "ternary-delta"),
    *("grid:-0.1:2:3", "grid:-1:2:10", "grid:-1:2:100", "grid:-1:2:1000"),
]
LENGTHS = (1, 2, 3, 5, 7, 8, 9, 31, 32, 33, 100, 257, 500, 1030)


def coded(coder: Any, of: Any, x: Tensor, before: Tensor) -> list[Tensor]:
    """Return what a coder makes of rows: decoded, with and without codes, the codes, and the codes read."""
    parts = tuple(torch.empty(len(x), count, dtype=kind) for kind, count in of.parts(x.shape[-1], x.dtype))
    both, alone, read = (torch.empty_like(x) for _ in range(3))
    coder.code(x, before, parts, both)
    coder.code(x, before, None, alone)
    coder.value(parts, before, read)
    return [*map(native.bits_of, (both, alone, read)), *(part.view(torch.uint8) for part in parts)]


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("name", TWINNED)
def test_kernels_give_the_bits_of_the_operators(name: str, n: int) -> None:
    of: Any = codec(name)
    source = torch.Generator().manual_seed(n)
    x, change = torch.randn(2, 40, n, generator=source)
    x *= torch.randn(40, 1, generator=source).mul_(20).exp2_()
    x[:3] = torch.tensor([0.0, 1.0, -1e-42])[:, None]
    before = torch.where(change > 0, x, x + x.abs() * change)
    for one, other in zip(coded(of, of, x, before), coded(of.twin(), of, x, before), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("name", TWINNED)
def test_kernels_serve_where_they_agree(name: str) -> None:
    of: Any = codec(name)
    rows = torch.randn(4, 50)
    assert native.coder_of(of, rows, rows) == of.twin()
    assert native.coder_of(of, rows.double(), rows.double()) is of
    assert native.coder_of(of, rows, rows.double()) is of
    assert native.coder_of(of, rows[:, :0], rows[:, :0]) is of
    with Counts():  # what operators do is watched
        assert native.coder_of(of, rows, rows) is of


def test_codecs_without_kernels_serve_themselves() -> None:
    rows = torch.randn(4, 64)
    for name in ("fp16", "int4:64", "int4:64-delta", "int1", "int1-delta", "grid:0;1;4"):
        of: Any = codec(name)
        assert native.coder_of(of, rows, rows) is of


def test_large_rows_are_for_kernels_where_there_are_few_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = torch.zeros(native.MOST // 50 + 1, 50)
    for threads, served in ((1, True), (2, True), (3, False)):
        monkeypatch.setattr(native, "_threads", lambda threads=threads: threads)
        assert native.serves(rows, rows) is served
        assert native.serves(rows[1:], rows[1:])


def test_a_kernel_that_differs_does_not_serve() -> None:
    class Wrong(native.Integers):
        def value(self, parts: Any, before: Tensor, out: Tensor) -> None:
            super().value(parts, before, out)
            out[-1, -1] += out[-1, -1].abs().clamp(1e-3)

    of, rows = Scaled(4), torch.randn(4, 50)
    assert not native._agree(of, Wrong(4), 50)
    assert not native._agree(of, native.Integers(2), 50)
    assert native._agree(of, native.Integers(4), 50)
    assert not native._agree_on_changes(lambda x, held, least, out: changed(x, held, 2 * least, out), 50)
    assert native.changed_of(changed, rows, rows) is native.changed


def test_kernels_that_cannot_be_had_end_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> Any:
        raise ImportError("no compiler")

    x, before = torch.randn(2, 4, 50)
    expected = codec("int2-delta").project(x, before)  # type: ignore[union-attr]
    monkeypatch.setattr(native, "loaded", fails)
    for cached in (native._ready, native._agree, native._agree_on_changes):
        cached.cache_clear()
    try:
        with pytest.warns(InputWarning, match="kernels are not used: no compiler; operators give the same numbers"):
            found = codec("int2-delta").project(x, before)  # type: ignore[union-attr]
        assert torch.equal(found, expected)
        codec("lean").project(x, before)  # type: ignore[union-attr]  # said once
    finally:
        for cached in (native._ready, native._agree, native._agree_on_changes):
            cached.cache_clear()


@pytest.mark.parametrize("name", ["int2-delta", "ternary-delta", "changed:int8-delta", "lean", "grid:-1:2:100"])
def test_payloads_are_the_same_without_kernels(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    of = codec(name)
    assert isinstance(of, Codec)
    x, change = torch.randn(2, 300, 60)
    before = x.clone()
    before[::3] += change[::3]
    payload, out = of.transmit(x, before)
    read = of.decode(payload, x, before)
    monkeypatch.setattr(native, "serves", lambda *_: False)
    for one, other in zip((*of.transmit(x, before), of.decode(payload, x, before)), (payload, out, read), strict=True):
        assert torch.equal(one, other)


def test_the_default_dtype_does_not_matter() -> None:
    x, before = torch.randn(2, 30, 50)
    coders = [codec(name) for name in ("int4-delta", "ternary-delta", "changed:int8-delta", "grid:-1:2:100")]
    expected = [of.encode(x, before) for of in coders]  # type: ignore[union-attr]
    torch.set_default_dtype(torch.float64)
    try:
        found = [of.encode(x, before) for of in coders]  # type: ignore[union-attr]
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("before", [None, torch.zeros(3, 50)])
def test_differences_need_what_is_held(before: Tensor | None) -> None:
    of, x = Delta(Scaled(4)), torch.randn(4, 50)
    payload = of.encode(x, torch.zeros(4, 50))
    for call in (lambda: of.project(x, before), lambda: of.encode(x, before), lambda: of.decode(payload, x, before)):
        with pytest.raises(InputError, match="int4-delta needs before, what both ends hold already, of the shape of x"):
            call()


@pytest.mark.slow
def test_two_modules_are_compiled_beside_each_other(tmp_path: Any) -> None:
    from gamlp_admm.codecs import kernels
    from gamlp_admm.nn import kernels as updates

    assert {"scaled", "changed", "gridded"} <= compiled.load(kernels, tmp_path).keys()
    assert {"relu_z", "newton"} <= compiled.load(updates, tmp_path).keys()
    assert len(list(tmp_path.iterdir())) == 2
    out, x = torch.empty(1, 4), torch.tensor([[0.2, 0.4, 0.6, 3.0]])
    compiled.load(kernels, tmp_path)["gridded"](x.data_ptr(), out.data_ptr(), 0, 0, 0.0, 0.5, 2.0, 2, 1, 4)
    assert torch.equal(out, UniformGrid(0.0, 1.0, 3).project(x))
