"""Features made into a directory are those made in memory, to the bit, whatever the cap; and what does not apply."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from attributed import graph
from torch_geometric.data import Data

from gamlp_admm import AugmentFeatures
from gamlp_admm.errors import InputError
from gamlp_admm.propagation import FeaturesFirst, StoredFeatures, gather, order, selectors_first, sym
from gamlp_admm.propagation import features as columns
from gamlp_admm.propagation.store import matrix, plan, writing
from gamlp_admm.transforms import from_recipe
from gamlp_admm.transforms.out_of_core import Storing

OPTIONS: list[dict[str, Any]] = [
    {},
    {"hops": (0, 2), "operator": "row", "dtype": torch.bfloat16, "normalize_features": True},
    {"operator": "ppr", "alpha": 0.2, "direction": "along"},
    {"operator": "heat", "hops": 12, "dtype": torch.float64},
    {"operator": sym, "weight_attr": "cost"},
    {"hops": 1, "operator": torch.eye(40).to_sparse()},
]


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for the disk."""
    monkeypatch.setattr(writing, "sync", lambda path: None)


def wide() -> Data:
    data = graph()
    data.x = torch.randn(40, 37, generator=torch.Generator().manual_seed(1))
    return data


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "usual")
@pytest.mark.parametrize("gathered", [False, True])
def test_the_bits_are_those_in_memory(
    tmp_path: Path, options: dict[str, Any], gathered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if gathered:
        monkeypatch.setattr(gather, "LARGE", 0)
    data = wide()
    wanted = AugmentFeatures(**options)(data)
    one = 40 * 3 * 8  # bytes, at most, of a column in work
    for i, width in enumerate((1, 19)):
        cap = plan.SCRATCH + 17_000 + one * width
        plans: list[plan.MemoryPlan] = []
        how = Storing(tmp_path / str(i), cap, planned=plans.append)
        store = AugmentFeatures(**options).store(data, how)
        assert plans[0].width < 37 or i
        assert torch.equal(store.x, wanted.x)
        assert (tmp_path / str(i) / "x.safetensors").read_bytes() == (tmp_path / "0" / "x.safetensors").read_bytes()
    made = AugmentFeatures(**options, out=tmp_path / "0", memory="4GiB")(data)
    assert torch.equal(made.x, wanted.x)
    assert made.feature_blocks == wanted.feature_blocks
    assert made.y is data.y


def test_a_store_says_what_it_is(tmp_path: Path) -> None:
    data, rows = wide(), torch.tensor([7, 3, 39])
    transform = AugmentFeatures(2, "ppr", out=tmp_path / "all", rows=rows)
    transform.store(data, Storing(tmp_path / "some", rows=rows, about={"dataset": "toy"}))
    store, made = StoredFeatures.open(tmp_path / "some"), transform(data)
    assert torch.equal(store.x, AugmentFeatures(2, "ppr", rows=rows)(data).x)
    assert torch.equal(store.x, made.x)
    assert torch.equal(made.n_id, rows)
    assert torch.equal(made.y, data.y[rows])
    torch.testing.assert_close(store.x, AugmentFeatures(2, "ppr")(data).x[rows])
    assert torch.equal(store.nodes["n_id"], rows)
    assert torch.equal(store.nodes["train_mask"], data.train_mask[rows])
    assert (store.about["dataset"], store.about["feature_blocks"]) == ("toy", [37])
    again = from_recipe(store.about["recipe"], 37)(data)
    torch.testing.assert_close(again.x[rows], store.x)
    assert not {"out", "memory", "rows"} & store.about["recipe"].keys()
    mask = torch.zeros(40, dtype=torch.bool).index_fill_(0, torch.tensor([3, 7]), True)
    transform.store(data, Storing(tmp_path / "mask", rows=mask))
    assert StoredFeatures.open(tmp_path / "mask").nodes["n_id"].tolist() == [3, 7]


@pytest.mark.parametrize("operator", ["sym", "ppr"])
def test_sparse_features(tmp_path: Path, operator: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = wide()
    data.x = torch.where(torch.rand(40, 37, generator=torch.Generator().manual_seed(2)) < 0.03, data.x, 0)
    dense = AugmentFeatures(2, operator)(data).x
    few = torch.tensor([30, 1, 5])
    for given in (data.x, data.x.to_sparse(), data.x.to_sparse_csr()):
        for rows in (None, few):
            words = Data(x=given, edge_index=data.edge_index)
            found = []
            for cap in (plan.SCRATCH + 40_000, "1GiB"):
                path = tmp_path / f"{given.layout}-{rows is None}-{cap}"
                plans: list[plan.MemoryPlan] = []
                how = Storing(path, cap, rows=rows, planned=plans.append)
                found.append(AugmentFeatures(2, operator).store(words, how).x)
            torch.testing.assert_close(found[0], dense if rows is None else dense[rows])
            assert torch.equal(found[0], found[1])
    monkeypatch.setattr(order, "FILL", 0)
    monkeypatch.setattr(selectors_first, "ROWS", 2)
    plans.clear()
    words.x = data.x.to_sparse()
    how = Storing(tmp_path / "rows", rows=few, planned=plans.append)
    monkeypatch.setattr(FeaturesFirst, "cost", 1e9)
    torch.testing.assert_close(AugmentFeatures(2, operator).store(words, how).x, dense[few])
    assert str(plans[0]).startswith(
        "2 rows at a time: data 1MiB, graph 1MiB, selectors 1MiB, rows 1MiB, scratch 48MiB;"
    )
    with pytest.raises(InputError, match="memory 1MiB is too small: allowed: 49MiB or more"):
        AugmentFeatures(2, operator).store(words, Storing(tmp_path / "none", "1MiB", rows=few))


def test_memory_mapped_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "SMALL", 100)
    data = wide()
    wanted = AugmentFeatures(2, normalize_features=True)(data).x
    for dtype in (torch.float32, torch.bfloat16):
        path = tmp_path / str(dtype)
        matrix.create(path, (40, 37), dtype)
        matrix.write(path, 0, 0, data.x)
        mapped = Data(x=matrix.mapped(path), edge_index=data.edge_index)
        transform = AugmentFeatures(2, normalize_features=True, dtype=torch.float32)
        found = transform.store(mapped, Storing(tmp_path / f"made-{dtype}")).x
        in_memory = transform(Data(x=data.x.to(dtype), edge_index=data.edge_index)).x
        assert torch.equal(found, in_memory)
        assert torch.equal(found, wanted) == (dtype == torch.float32)


def test_what_does_not_apply(tmp_path: Path) -> None:
    data = wide()
    with pytest.raises(InputError, match="memory is for features that are made into a directory"):
        AugmentFeatures(memory="1GiB")
    with pytest.raises(InputError, match="memory must be a number of bytes"):
        AugmentFeatures(memory="1 gig", out=tmp_path)
    with pytest.raises(InputError, match="out must be a path"):
        AugmentFeatures(out=3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="out does not apply to metapaths"):
        AugmentFeatures(metapaths=[[("a", "to", "a")]], out=tmp_path)
    with pytest.raises(InputError, match=r"memory 1MiB is too small: allowed: 49MiB or more \(data 1MiB, graph 1MiB"):
        AugmentFeatures(out=tmp_path / "a", memory="1MiB")(data)
    for rows, said in (
        (torch.tensor([0, 40]), "rows has 40: a graph of 40 nodes allows 0 to 39"),
        (torch.tensor([0.5]), "rows is a tensor torch.float32"),
        (torch.ones(3, dtype=torch.bool), "rows is a mask of 3 nodes: the graph has 40"),
    ):
        with pytest.raises(InputError, match=said):
            AugmentFeatures().store(data, Storing(tmp_path / "b", rows=rows))
    assert AugmentFeatures(out=tmp_path / "a")(data).x.shape == (40, 5 * 37)  # what has made nothing stands in no way
    with pytest.raises(InputError, match="operator=sym, not row"):
        AugmentFeatures(operator="row", out=tmp_path / "a")(data)
    data.x = data.x + 1
    with pytest.raises(InputError, match="of other data: x differ"):
        AugmentFeatures(out=tmp_path / "a")(data)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu(tmp_path: Path) -> None:
    data = wide()
    wanted = AugmentFeatures(3)(data).x
    found = AugmentFeatures(3).store(data, Storing(tmp_path, "64MiB", device=torch.device("cuda")))
    assert found.x.is_cpu
    torch.testing.assert_close(found.x, wanted)
