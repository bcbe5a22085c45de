"""The laws that all codecs keep, their names, and the bytes they write."""

from __future__ import annotations

import math

import pytest
import torch
from coders import DTYPES, NAMES, made
from problems import randn

from gamlp_admm.codecs import CODECS, Codec, FittedGrid, codec
from gamlp_admm.errors import InputError

SHAPES = [(6, 8), (5, 7), (1, 1), (3, 2, 10), (2, 300, 33), (4, 100), (0, 5), (3, 0), (2, 0, 4)]


@pytest.fixture(params=NAMES)
def each(request: pytest.FixtureRequest) -> Codec:
    return made(request.param)


# --- laws ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_payload_has_the_size_announced_and_stands_for_the_projection(each: Codec, shape, dtype) -> None:
    x, before = randn(*shape, seed=1, dtype=dtype), randn(*shape, seed=2, dtype=dtype)
    x0, before0 = x.clone(), before.clone()
    payload = each.encode(x, before)
    assert payload.dtype == torch.uint8
    assert payload.dim() == 1
    assert len(payload) == each.size(shape, dtype) if each.fixed else len(payload) <= each.size(shape, dtype)
    decoded = each.decode(payload, x, before)
    assert decoded.dtype == dtype
    assert decoded.shape == x.shape
    assert torch.equal(decoded, each.project(x, before))
    sent, coded = each.transmit(x, before)
    assert torch.equal(sent, payload)
    assert torch.equal(coded, decoded)
    assert torch.equal(x, x0)
    assert torch.equal(before, before0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_projection_is_idempotent(each: Codec, dtype) -> None:
    if "-delta" in each.name or "changed" in each.name:
        pytest.skip("a difference is rounded when it is added")
    for seed, shape in enumerate(SHAPES):
        once = each.project(10.0 ** (seed - 4) * randn(*shape, seed=seed, dtype=dtype))
        assert torch.equal(each.project(once), once)


def test_rows_are_coded_independently(each: Codec) -> None:
    x, before = randn(40, 9, seed=3), randn(40, 9, seed=4)
    whole = each.project(x, before)
    alone = [each.project(x[i : i + 1], before[i : i + 1]) for i in range(40)]
    assert torch.equal(whole, torch.cat(alone))
    assert torch.equal(each.project(x.view(2, 20, 9), before.view(2, 20, 9)), whole.view(2, 20, 9))


def test_slices_do_not_show(each: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    x, before = randn(50, 12, seed=5), randn(50, 12, seed=6)
    payload, coded = each.transmit(x, before)
    monkeypatch.setattr("gamlp_admm.codecs.base.SLICE", 30)
    again, once_more = each.transmit(x, before)
    assert torch.equal(payload, again)
    assert torch.equal(coded, once_more)
    assert torch.equal(each.decode(payload, x, before), coded)


def test_views_and_outputs(each: Codec) -> None:
    x, before = randn(9, 20, seed=7)[:, ::2], randn(10, 9, seed=8).T
    wanted = each.project(x.contiguous(), before.contiguous())
    out = torch.empty(9, 10, dtype=x.dtype)
    assert torch.equal(each.project(x, before, out), wanted)
    assert torch.equal(out, wanted)
    assert torch.equal(each.decode(each.encode(x, before), x, before), wanted)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [(0, 0), (1, 6)])
def test_what_is_not_finite_is_refused(each: Codec, bad: float, place) -> None:
    x = randn(2, 7, dtype=torch.float32)
    x[place] = bad
    with pytest.raises(InputError, match="only finite numbers can be sent"):
        each.encode(x, torch.zeros_like(x))


def test_a_codec_is_found_by_its_name(each: Codec) -> None:
    again = codec(str(each))
    assert again == each
    assert hash(again) == hash(each)
    assert codec(each) is each


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", DTYPES)
def test_codecs_keep_their_laws_on_a_gpu(each: Codec, dtype: torch.dtype) -> None:
    x, before = randn(300, 33, seed=1, dtype=dtype), randn(300, 33, seed=2, dtype=dtype)
    payload = each.encode(x.cuda(), before.cuda())
    assert payload.is_cuda
    decoded = each.decode(payload, x.cuda(), before.cuda())
    assert torch.equal(decoded, each.project(x.cuda(), before.cuda()))
    torch.testing.assert_close(decoded.cpu(), each.project(x, before), rtol=1e-2, atol=1e-2)


# --- bytes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        # fp32 -1.0 = bf800000, little-endian
        ("fp32", "000080bf 00000000 0000c03f 00000040 00000000 000000c0"),
        ("bf16", "80bf 0000 c03f 0040 0000 00c0"),
        # bf16 scales 1.5/127 = 3c42, 2/127 = 3c81; codes + 128
        ("int8", "423c 813c 2c 80 ff ff 80 01"),
        # bf16 scales 1.5/7 = 3e5b, 2/7 = 3e92; codes + 8 in nibbles, lowest first: -5 0 | 7 .  7 0 | -7 .
        ("int4", "5b3e 923e 83 0f 8f 01"),
        # scales 3.25/2.5 = 1.3 = 3fa6, 8/4 = 2 = 4000; codes + 2 in pairs of bits: -1 0 1 and 1 0 -1
        ("int2", "a63f 0040 39 1b"),
        ("grid:-2:2:5", "21 04 24 00"),
        # points 0 1 2 (1.5 lies between points 2 and 3; the even one) and 3 1 0, in pairs of bits
        ("grid:-1:2:4", "24 07"),
    ],
)
def test_golden_bytes(name: str, wanted: str) -> None:
    x = torch.tensor([[-1.0, 0.0, 1.5], [2.0, 0.0, -2.0]])
    assert bytes(made(name).encode(x).tolist()).hex(" ").replace(" ", "") == wanted.replace(" ", "")


def test_golden_bytes_of_differences_and_long_numbers() -> None:
    x, before = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 4.0]])
    assert made("int8-delta").encode(x, before).tolist() == made("int8").encode(x - before).tolist()
    numbers = made("grid:0:65535:65536").encode(torch.tensor([[258.0, 65535.0]]))
    assert numbers.tolist() == [2, 1, 255, 255]


@pytest.mark.parametrize(
    ("name", "bytes_a_row"),
    [
        *(("fp32", 400), ("fp64", 800), ("fp16", 200), ("int8", 102), ("int4", 52), ("int2", 27), ("int2-delta", 27)),
        *(("int4:32", 58), ("grid:paper", 100), ("grid:0:1:16", 50), ("grid:0:1:4", 25), ("grid:0:1:257", 200)),
    ],
)
def test_sizes(name: str, bytes_a_row: int) -> None:
    assert made(name).size((7, 3, 100)) == 21 * bytes_a_row


# --- names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("int4delta", "did you mean 'int4-delta'"),
        ("int3", "unknown codec 'int3'"),
        ("int4:0", "allowed: int4, int4:BLOCK"),
        (4, "unknown codec '4'"),
        ("fp32-delta", "unknown codec"),
        ("int1:64", "allowed: int1, int1-delta"),
        ("ternary:-1", "a finite number from 0"),
        ("ternary:a", "allowed: ternary, ternary:DEAD"),
        ("changed:-1:int2", "a finite threshold from 0"),
        ("changed:0.1:1:int2", "a rate between 0 and 1"),
        ("changed:0.1:0.9:0.9:int2", "unknown codec '0.9:int2'"),
        ("changed:0.1x:int2", "allowed: changed:CODEC, changed:THRESHOLD:CODEC"),
        ("changed:int5", "unknown codec 'int5'"),
        ("changed:grid:auto", "changed takes no grid"),
        ("changed:zstd:changed:int4", "allowed: changed once"),
        ("zstd:grid:paper", "zstd takes no grid"),
        ("grid:1:0:5", "the lower one first"),
        ("grid:0:inf:5", "finite bounds"),
        ("grid:0:1:1", "2 to 65,536"),
        ("grid:0:1:65537", "2 to 65,536"),
        ("grid:0:1", "grid:LOW:HIGH:POINTS"),
        ("grid:a:b:c", "grid:LOW:HIGH:POINTS"),
        ("grid:auto:1", "2 to 65,536"),
        ("grid:1000000:1000001:65536", "too close to each other"),
        ("grid:0;0;1", "rising order"),
        ([0.0], "2 to 65,536"),
        ([0.0, math.nan], "finite numbers"),
    ],
)
def test_wrong_codecs_are_named(spec, message: str) -> None:
    with pytest.raises(InputError, match=message):
        codec(spec)


def test_every_listed_name_is_a_codec() -> None:
    for name in CODECS:
        assert isinstance(codec(name), Codec | FittedGrid)
