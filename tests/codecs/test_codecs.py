"""Codecs: the laws that all of them keep, the bytes they write, the grids, and the plans."""

from __future__ import annotations

import math
import subprocess
import sys
from itertools import pairwise, product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from problems import randn

from gamlp_admm.codecs import CODECS, Codec, Delta, FittedGrid, ListedGrid, Scaled, UniformGrid, codec
from gamlp_admm.codecs.packing import pack, packed_width, unpack
from gamlp_admm.codecs.plan import Codecs, Plan, rules
from gamlp_admm.errors import InputError

NAMES = [
    *("full", "fp64", "fp32", "fp16", "bf16", "int8", "int4", "int2", "int4:16", "int2:7", "int8:1"),
    *("int8-delta", "int4-delta", "int2-delta", "int4:16-delta"),
    *("grid:paper", "grid:released", "grid:0:4:256", "grid:-3:3:65536", "grid:-1:1:2", "grid:0:1:16", "grid:0:1:300"),
    *("grid:-2;0;0.25;0.5;1;3", "grid:0;1", "grid:-1;0;1;2;3"),
]
SHAPES = [(6, 8), (5, 7), (1, 1), (3, 2, 10), (2, 300, 33), (4, 100), (0, 5), (3, 0), (2, 0, 4)]
DTYPES = [torch.float32, torch.float64]
LOSSLESS = {"full", "fp64"}


def made(name: str) -> Codec:
    result = codec(name)
    assert isinstance(result, Codec)
    return result


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
    assert payload.shape == (each.size(shape, dtype),)
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
    if isinstance(each, Delta):
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


# --- how far off --------------------------------------------------------------------------------------------


def scales(x: torch.Tensor, bits: int) -> torch.Tensor:
    return x.abs().amax(-1, keepdim=True) / (2 ** (bits - 1) - 1)


@given(
    st.sampled_from([8, 4]),
    st.integers(-30, 30),
    st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=40),
)
def test_integers_are_off_by_half_a_scale(bits: int, exponent: int, entries: list[float]) -> None:
    x = torch.tensor([entries]) * 2.0**exponent
    s = scales(x, bits).clamp(min=torch.finfo(torch.bfloat16).tiny)
    assert bool(((made(f"int{bits}").project(x) - x).abs() <= 0.502 * s).all())  # the scale itself is rounded to bf16


@given(st.sampled_from(["int8", "int4", "int2", "int2:3"]), st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=30))
def test_no_entry_goes_farther_from_its_place_than_zero(name: str, entries: list[float]) -> None:
    # So a coded difference always brings p̂ nearer to p, whatever was sent before.
    x = torch.tensor([entries], dtype=torch.float64)
    off = (made(name).project(x) - x).abs()
    assert bool((off <= x.abs() * (1 + 1e-9) + torch.finfo(torch.bfloat16).tiny).all())


def test_two_bits_keep_ternary_numbers() -> None:
    x = torch.tensor([[0.5, 0, -0.5, 0.5, 0, 0, 0], [0, 0, 0, 0, 0, 0, -3.0]])
    assert torch.equal(made("int2").project(x), x)


def test_two_bits_are_near_the_best_for_normal_numbers() -> None:
    # The best three-level quantiser of a normal variable leaves 0.190 of its variance (Max, 1960).
    x = randn(200, 1000)
    assert float((made("int2").project(x) - x).square().mean()) < 0.193


@pytest.mark.parametrize(("name", "unit"), [("fp16", 2.0**-11), ("bf16", 2.0**-8)])
def test_formats_round(name: str, unit: float) -> None:
    x = randn(20, 20)
    assert bool(((made(name).project(x) - x).abs() <= unit * x.abs()).all())


def test_fp16_refuses_what_is_beyond_its_range() -> None:
    with pytest.raises(InputError, match="after coding"):
        made("fp16").encode(torch.tensor([[7e4]]))


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_differences_feed_errors_back(bits: int) -> None:
    # A field that comes to rest is known exactly in the end; without differences the error stays.
    coder, target = made(f"int{bits}-delta"), randn(30, 50, seed=9)
    known, rest = torch.zeros_like(target), []
    for _ in range(40):
        known = coder.project(target, known)
        rest.append(float((target - known).norm() / target.norm()))
    assert rest[-1] < 1e-4
    assert all(later <= earlier * (1 + 1e-9) for earlier, later in pairwise(rest))
    plain = made(f"int{bits}").project(target)
    assert float((target - plain).norm() / target.norm()) > 30 * rest[-1]


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


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 31])
def test_packing_loses_nothing(bits: int, n: int) -> None:
    codes = torch.randint(2**bits, (13, n), generator=torch.Generator().manual_seed(n), dtype=torch.uint8)
    packed = pack(codes, bits)
    assert packed.shape == (13, packed_width(n, bits))
    assert torch.equal(unpack(packed, n, bits), codes)


# --- grids --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("grid")])
def test_grids_project_to_a_nearest_point(name: str) -> None:
    grid = made(name)
    x = torch.cat([2 * randn(300, seed=11), torch.linspace(-30, 30, 300, dtype=torch.float64)])[None]
    points = torch.empty(1, grid.points, dtype=x.dtype)
    grid.at(torch.arange(grid.points, dtype=torch.int32)[None], points)
    nearest = (x[..., None] - points[0, :300]).abs().amin(-1) if grid.points <= 300 else None
    off = (grid.project(x) - x).abs()
    if nearest is not None:
        torch.testing.assert_close(off, nearest, rtol=0, atol=1e-12)
    else:
        inside = (x >= points.min()) & (x <= points.max())
        assert float(off[inside].max()) <= 0.5 * float(points[0, 1] - points[0, 0]) * (1 + 1e-9)
    assert torch.equal(grid.project(points), points)


def test_grid_points_of_the_papers() -> None:
    assert codec("grid:paper") == UniformGrid(-1.0, 20.0, 22)
    assert codec("grid:released") == UniformGrid(-1.0, 2.0, 1000)
    assert codec([0.0, 0.5, 4.0]) == codec(torch.tensor([0.0, 0.5, 4.0])) == ListedGrid([0.0, 0.5, 4.0])


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.sampled_from([2, 4, 16, 22, 256, 1000, 65536]))
def test_fitted_grids_reach_far_enough_in_exact_steps(below: float, above: float, count: int) -> None:
    grid = FittedGrid(count).between(below, above)
    assert grid.points == count
    reach = [max(2 * side, 1) if side else 0 for side in (below, above)]
    slack = grid.step * (1 + 1e-9)
    assert grid.low <= -reach[0] + slack
    assert grid.high >= reach[1] - slack
    assert grid.low <= 0 <= grid.high
    assert grid.high - grid.low <= 1.25 * (sum(reach) + 2) + 3 * slack
    mantissa = math.frexp(grid.step)[0] * 16
    assert mantissa == round(mantissa)


def test_projection_needs_memory_for_entries_only() -> None:
    # 10⁷ entries and 1,000 points: a table of both would take 40 GB; entries alone take 40 MB a copy.
    code = (
        "import resource, torch\n"
        "from gamlp_admm.codecs import codec\n"
        "torch.set_num_threads(1)\n"
        "x = torch.empty(1000, 10000).uniform_(-1, 2)\n"
        "grids = [codec('grid:-1:2:1000'), codec([i / 333 - 1 for i in range(1000)])]\n"
        "for grid in grids: grid.project(x[:10])\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for grid in grids:\n"
        "    assert float((grid.project(x) - x).abs().max()) < 0.0016\n"
        "    grid.decode(grid.encode(x), x)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=True)
    assert int(done.stdout) < 300_000  # kB


# --- names and plans ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("int4delta", "did you mean 'int4-delta'"),
        ("int3", "unknown codec 'int3'"),
        ("int4:0", "allowed: int4, int4:BLOCK"),
        (4, "unknown codec '4'"),
        ("fp32-delta", "unknown codec"),
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


def at(plan: Plan, field: str, boundary: int, iteration: int) -> str:
    return str(plan.choice(field, boundary, iteration))


def test_plans_choose_by_field_boundary_and_iteration() -> None:
    plan = Plan.of("int2-delta/from=50:int8-delta/q+at=1-2:fp16")
    assert at(plan, "p", 1, 1) == "int2-delta"
    assert at(plan, "p", 1, 49) == "int2-delta"
    assert at(plan, "p", 1, 50) == "int8-delta"
    assert {at(plan, "q", l, k) for l, k in product((1, 2), (1, 99))} == {"fp16"}
    assert at(plan, "q", 3, 7) == "int2-delta"
    assert not plan.gridded
    assert not plan.full
    assert [rule.start for rule in rules("int2/from=3:int4")] == [1, 3]
    assert at(Plan.of({"p": "int4", "q": "bf16"}), "q", 1, 1) == "bf16"
    assert at(Plan.of({"p": "int4"}), "q", 1, 1) == "full"
    assert at(Plan.of(lambda field, l, k: f"int{8 if k > l else 4}"), "q", 2, 3) == "int8"


def test_plans_know_what_lives_on_a_grid() -> None:
    assert Plan.of("grid:auto").gridded == ("p", "q")
    assert Plan.of("grid:auto", "p").gridded == ("p",)
    assert Plan.of("grid:auto", "p").full == ("q",)
    assert Plan.of("p:grid:0:4:16/p+from=10:grid:0:4:256/q:int8").gridded == ("p",)
    assert Plan.of("fp32").full == ("p", "q")
    for mixed in ("grid:auto/from=5:int8", "grid:auto/at=3:int8", "p:grid:paper/p+at=2-3:fp32"):
        with pytest.raises(InputError, match="lives on a grid everywhere and always, or nowhere"):
            Plan.of(mixed)


def test_a_function_chooses_no_grid() -> None:
    plan = Plan.of(lambda field, boundary, iteration: "grid:0:1:5")
    with pytest.raises(InputError, match="a function chooses no grid"):
        plan.choice("p", 1, 1)


@pytest.mark.parametrize("spec", ["int4/at=3-2:int8", "int4/at=0:int8"])
def test_wrong_boundaries_are_named(spec: str) -> None:
    with pytest.raises(InputError, match="boundaries from 1, the lower one first"):
        Plan.of(spec)


def test_differences_need_what_they_differ_from() -> None:
    with pytest.raises(InputError, match="int4-delta needs before"):
        made("int4-delta").encode(torch.ones(2, 3))


def test_plans_are_told_by_their_text() -> None:
    for spec in ("int4-delta", "int2/q:fp16"):
        assert str(Plan.of(spec)) == spec
    assert str(Plan.of({"p": "int4", "q": [0.0, 1.0]})) == "p:int4/q:grid:0;1"
    assert str(Plan.of(codec("grid:paper"))) == "grid:-1:20:22"
    with pytest.raises(InputError, match="unknown codec 'int5'"):
        Plan.of("int8/from=3:int5")


def test_stacks_are_sent_as_their_layers_are() -> None:
    codecs = Codecs(Plan.of("int4-delta/at=3:fp16"))
    x, before = randn(4, 6, 10, seed=1), randn(4, 6, 10, seed=2)
    sent, none = codecs.send("p", range(0, 4), x, before)
    assert none is None
    for s, name in enumerate(("int4-delta", "int4-delta", "fp16", "int4-delta")):
        assert torch.equal(sent[s], made(name).project(x[s], before[s]))
    again, payload = codecs.send("p", range(0, 4), x, before, leaving=0)
    assert torch.equal(again, sent)
    assert payload is not None
    assert torch.equal(made("int4-delta").decode(payload, x[0], before[0]), sent[0])
    assert codecs.size("p", range(0, 4), x) == 3 * made("int4").size((6, 10)) + 6 * 20
    assert Codecs().send("p", range(0, 4), x, before)[0] is x


def test_scaled_codecs_are_dataclasses() -> None:
    assert codec("int4:64-delta") == Delta(Scaled(4, 64))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", DTYPES)
def test_codecs_keep_their_laws_on_a_gpu(each: Codec, dtype: torch.dtype) -> None:
    x, before = randn(300, 33, seed=1, dtype=dtype), randn(300, 33, seed=2, dtype=dtype)
    payload = each.encode(x.cuda(), before.cuda())
    assert payload.is_cuda
    decoded = each.decode(payload, x.cuda(), before.cuda())
    assert torch.equal(decoded, each.project(x.cuda(), before.cuda()))
    torch.testing.assert_close(decoded.cpu(), each.project(x, before), rtol=1e-2, atol=1e-2)
