"""Features of several operators side by side, and their notation."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Data

from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment, prepare, run
from gamlp_admm.experiment.prediction import predict
from gamlp_admm.transforms import AugmentFeatures
from gamlp_admm.transforms.combine_features import CombineFeatures, parse_features


def graph(seed: int = 0) -> Data:
    generator = torch.Generator().manual_seed(seed)
    edges = torch.randint(0, 20, (2, 60), generator=generator)
    x = torch.rand(20, 5, generator=generator, dtype=torch.float64) + 1
    return Data(x=x, edge_index=edges)


def spread(x: torch.Tensor) -> float:
    return float((x - x.mean(0)).square().sum(1).mean().sqrt())


def test_blocks_stand_side_by_side_with_equal_spreads() -> None:
    data = graph()
    parts = [AugmentFeatures(10, "ppr", alpha=0.2), AugmentFeatures((1, 2), "row", normalize_features=True)]
    x = CombineFeatures(parts)(data).x
    blocks = x.split([5, 10], 1)
    for block, part in zip(blocks, parts, strict=True):
        alone = part(data).x
        assert torch.allclose(block, alone / spread(alone))
        assert spread(block) == pytest.approx(1.0)


def test_the_features_scale_does_not_matter() -> None:
    data, scaled = graph(), graph()
    scaled.x = scaled.x * 1e-4
    combined = CombineFeatures.parse("ppr/10+sym/0-2/normalized")
    assert torch.allclose(combined(data).x, combined(scaled).x)


def test_constant_features_stay_finite() -> None:
    data = graph()
    data.x = torch.ones(20, 5)
    assert torch.isfinite(CombineFeatures.parse("row/2")(data).x).all()


def test_the_data_are_left_as_they_were() -> None:
    data = graph()
    before = data.x.clone()
    CombineFeatures.parse("sym/0")(data)
    assert torch.equal(data.x, before)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("sym", {"operator": "sym"}),
        ("ppr/7", {"operator": "ppr", "hops": 7}),
        ("ppr/10/0.05", {"operator": "ppr", "hops": 10, "alpha": 0.05}),
        ("heat/10/2/normalized", {"operator": "heat", "hops": 10, "t": 2.0, "normalize_features": True}),
        ("row/normalized", {"operator": "row", "normalize_features": True}),
        ("sym/0-4", {"operator": "sym", "hops": (0, 1, 2, 3, 4)}),
        ("sym/0+2+4", {"operator": "sym", "hops": (0, 2, 4)}),
    ],
)
def test_notation(text: str, options: dict[str, object]) -> None:
    assert repr(parse_features(text)) == repr(AugmentFeatures(**options))  # type: ignore[arg-type]


def test_parts_are_joined_by_plus_signs() -> None:
    combined = CombineFeatures.parse("ppr/10/0.2+sym/0+2+4+heat")
    assert [part.operator for part in combined.parts] == ["ppr", "sym", "heat"]
    assert combined.parts[1].states == (0, 2, 4)
    assert repr(combined).startswith("CombineFeatures([AugmentFeatures(")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pprr/10", "unknown operator 'pprr': did you mean 'ppr'"),
        ("sym/2/0.1", "operator sym/2/0.1: allowed: sym/HOPS"),
        ("ppr/ten", "operator ppr/ten: allowed"),
        ("ppr/10/2", "alpha is 2.0"),
        ("ppr/10+", "operator ppr/10\\+: allowed"),
    ],
)
def test_wrong_notation(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        CombineFeatures.parse(text)


def test_no_parts() -> None:
    with pytest.raises(InputError, match="at least one"):
        CombineFeatures([])


def test_experiments_take_them(tmp_path) -> None:  # type: ignore[no-untyped-def]
    experiment = Experiment(dataset="karate", operator="ppr/10/0.2+row/1-2", hidden=8, iterations=5)
    assert prepare(experiment).data.x.shape == (34, 3 * 34)
    done = run(experiment)
    done.save(tmp_path / "model.safetensors")
    assert predict(tmp_path / "model.safetensors").accuracy["test"] == done.report["best"]["test_accuracy"]
    assert done.report["config"]["hops"] is None


@pytest.mark.parametrize("option", [{"hops": 3}, {"alpha": 0.2}, {"normalize_features": True}])
def test_what_the_notation_says_is_not_said_twice(option: dict[str, object]) -> None:
    with pytest.raises(InputError, match="does not apply to operator ppr/10, which says it itself"):
        Experiment(dataset="karate", operator="ppr/10", **option).resolve()  # type: ignore[arg-type]
