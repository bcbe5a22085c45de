"""Units of features: what the columns' sizes are, when they differ, and runs that depend on no column's unit."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from problems import F64, labels, randn
from sklearn.datasets import load_wine
from torch import Tensor

from gamlp_admm import GAMLP, Result
from gamlp_admm.algorithms import trainer
from gamlp_admm.datasets import load_dataset
from gamlp_admm.errors import InputError
from gamlp_admm.training.units import Sizes

WILD = 10.0 ** torch.linspace(-6, 6, 8, dtype=F64)


def whole(x: Tensor) -> Tensor:
    return x


def words(rows: int = 200, columns: int = 300) -> Tensor:
    # Frequencies like those of words: the k-th is there in one row of k.
    return (torch.rand(rows, columns, generator=torch.Generator().manual_seed(0)) < 1 / torch.arange(1, 301)).to(F64)


def blobs() -> SimpleNamespace:
    y, split = labels(90, 3), torch.arange(90) % 3
    x = randn(90, 8, seed=1) + 1.5 * randn(3, 8, seed=2)[y]
    masks = {f"{name}_mask": split == i for i, name in enumerate(("train", "val", "test"))}
    return SimpleNamespace(x=x, y=y, **masks)


def fit(algorithm: str, x: Tensor, init: str = "kaiming", **settings: object) -> tuple[GAMLP, Result]:
    data = blobs()
    data.x = x
    model = GAMLP(x.shape[1], 6, 3, 2, init=init).to(x.dtype)
    return model, trainer(algorithm, **settings).fit(model, data, 8, seed=0)


# --- when columns differ ----------------------------------------------------------------------------------------


def test_the_size_of_a_normal_column_is_its_deviation_and_of_a_rare_word_that_of_a_frequent_one() -> None:
    sizes = Sizes.of(
        torch.cat([5 * randn(20_000, 1) + 3, (torch.rand(20_000, 2) < torch.tensor([0.02, 0.001]))], 1), whole
    )
    assert float(sizes.size[0]) == pytest.approx(5, rel=0.05)
    assert float(sizes.size[1]) == pytest.approx(float(sizes.size[2]), rel=0.05)


@pytest.mark.parametrize(
    ("x", "differ"),
    [
        (randn(50, 8), False),
        (randn(50, 8) * WILD, True),
        (randn(50, 8) * 1e9 + 1e12, False),  # one unit, however large, and however far from 0
        (torch.cat([randn(50, 7), 1e-3 * randn(50, 1)], 1), True),
        (torch.cat([randn(50, 7), torch.full((50, 1), 1e9, dtype=F64)], 1), False),  # a constant has no unit
        (torch.cat([randn(50, 7), 0.1 + torch.zeros(50, 1, dtype=F64)], 1), False),
        (words(), False),
        (words() * torch.linspace(0.5, 2, 300, dtype=F64), False),
        (torch.cat([words(), 1e4 * randn(200, 2)], 1), True),
        (torch.zeros(5, 3, dtype=F64), False),
        (randn(1, 3), False),
    ],
)
def test_which_columns_differ(x: Tensor, differ: bool) -> None:
    assert Sizes.of(x, whole).differ is differ
    assert Sizes.of(x, whole, torch.full((len(x),), 2.0, dtype=F64)).differ is differ  # rows twice


@pytest.mark.parametrize("options", [{}, {"split": "60/20/20"}])
def test_digits_are_of_one_unit(options: dict[str, str]) -> None:
    data = load_dataset("digits", **options).data
    assert not Sizes.of(data.x[data.train_mask], whole).differ


@pytest.mark.parametrize("rows_of_one", [True, False])
def test_units_are_powers_of_two_and_shards_agree(rows_of_one: bool) -> None:
    x = randn(40, 8) * WILD + WILD
    units = Sizes.of(x, whole).units(rows_of_one)
    mantissa, _ = torch.frexp(units.length)
    assert bool((mantissa == 0.5).all())
    measured = (x - units.origin) / units.length
    wanted = 1.0 if rows_of_one else 8.0
    assert wanted / 2 < float(measured.square().sum(1).mean()) < 2 * wanted
    W, b = randn(5, 8, seed=1), randn(5, seed=2)
    assert torch.equal(units.leave(*units.enter(W, b))[0], W)
    parts = [x[:15], x[15:]]
    for own in (x[:15], x[15:]):
        made = Sizes.of(own, _adding(parts, x)).units(rows_of_one)
        assert torch.equal(made.length, units.length)


def _adding(parts: list[Tensor], x: Tensor) -> Callable[[Tensor], Tensor]:
    # What shards sum in turn: rows, values, squares, fourth powers.
    mean = x.mean(0)
    centred = [part - mean for part in parts]
    sums = iter(
        [
            torch.tensor([float(len(x))], dtype=F64),
            torch.stack([part.sum(0) for part in parts]).sum(0),
            torch.stack([part.square().sum(0) for part in centred]).sum(0),
            torch.stack([part.pow(4).sum(0) for part in centred]).sum(0),
        ]
    )
    return lambda _: next(sums)


# --- runs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("init", ["kaiming", "ridge"])
@pytest.mark.parametrize("algorithm", ["pdadmm-g", "dladmm", "mdlam"])
def test_runs_depend_on_no_column_s_unit(algorithm: str, init: str) -> None:
    # Powers of two change no bit but where columns begin to differ.
    x = blobs().x
    results = [fit(algorithm, x * 2.0 ** torch.tensor(powers, dtype=F64), init)[1] for powers in POWERS]
    losses = [[r["train_loss"] for r in result.history] for result in results]
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)
    assert all("each column" in str(result.units) for result in results)


POWERS = ([-20, 3, 0, 15, 1, -7, 9, 30], [11, 0, -20, 2, 2, 25, -3, 0])


@pytest.mark.parametrize("algorithm", ["pdadmm-g", "dladmm", "mdlam"])
def test_without_differing_columns_nothing_changes(algorithm: str) -> None:
    model, result = fit(algorithm, blobs().x)
    plain, before = fit(algorithm, blobs().x, scale="unit" if algorithm == "pdadmm-g" else "none")
    assert [r["train_loss"] for r in result.history] == [r["train_loss"] for r in before.history]
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), plain.parameters(), strict=True))


@pytest.mark.parametrize("algorithm", ["pdadmm-g", "dladmm", "mdlam"])
def test_wine_as_it_comes(algorithm: str) -> None:
    # Thirteen columns from hue to proline, whose deviations differ by 2,500.
    x, y = (torch.from_numpy(t) for t in load_wine(return_X_y=True))
    split = torch.arange(len(y)) % 3
    masks = {f"{name}_mask": split == i for i, name in enumerate(("train", "val", "test"))}
    model = GAMLP(13, 32, 3, 2, init="kaiming").double()
    result = trainer(algorithm).fit(model, SimpleNamespace(x=x, y=y, **masks), 60, seed=0)
    assert result.best["test_accuracy"] > 0.93


@pytest.mark.parametrize("algorithm", ["pdadmm-g", "dladmm", "mdlam", "ridge"])
def test_any_size_of_float32_is_measured(algorithm: str) -> None:
    outcomes = []
    for factor in (1.0, 2.0**40, 2.0**80, 2.0**-80):
        layers = 1 if algorithm == "ridge" else 2
        data, model = blobs(), GAMLP(8, 6, 3, layers, init="kaiming")
        data.x = data.x.float() * factor
        result = trainer(algorithm).fit(model, data, 8, seed=0)
        assert all(bool(torch.isfinite(p).all()) for p in model.parameters())
        outcomes.append(result.best["test_accuracy"])
    assert outcomes[1:] == pytest.approx(outcomes[1:2] * 3, abs=0.04)
    assert outcomes[0] == pytest.approx(outcomes[1], abs=0.2)


def test_what_has_no_reciprocal_is_refused() -> None:
    with pytest.raises(InputError, match="no reciprocal"):
        fit("pdadmm-g", blobs().x.float() * 1e-36)
    with pytest.raises(InputError, match=r"column \d are too large or too small"):
        fit("pdadmm-g", blobs().x * 1e200)
