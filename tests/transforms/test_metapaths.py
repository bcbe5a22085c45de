"""AugmentFeatures along metapaths: against products of dense matrices; what it keeps, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch_geometric.transforms as T
from torch import Tensor
from torch_geometric.data import Data, HeteroData

from gamlp_admm import GAMLP, PdADMMG
from gamlp_admm.errors import InputError
from gamlp_admm.propagation.store import caching
from gamlp_admm.transforms import AugmentFeatures, fit_features
from gamlp_admm.transforms.metapaths import Relations

CITES, WRITES, TOPIC = ("paper", "cites", "paper"), ("author", "writes", "paper"), ("paper", "has", "topic")
WRITTEN = ("paper", "rev_writes", "author")
COUNTS = {"paper": 12, "author": 7, "topic": 4}


def graph(seed: int = 0, authors: bool = True) -> HeteroData:
    """Return papers that cite papers, written by authors and about topics, which have no features."""
    generator = torch.Generator().manual_seed(seed)
    data = HeteroData()
    data["paper"].x = torch.randn(12, 3, dtype=torch.float64, generator=generator)
    data["paper"].y = torch.arange(12) % 3
    for part, rows in (("train", slice(6)), ("val", slice(6, 9)), ("test", slice(9, 12))):
        data["paper"][f"{part}_mask"] = torch.zeros(12, dtype=torch.bool)
        data["paper"][f"{part}_mask"][rows] = True
    data["author"].num_nodes, data["topic"].num_nodes = 7, 4
    if authors:
        data["author"].x = torch.randn(7, 3, dtype=torch.float64, generator=generator)
    for source, name, target in (CITES, WRITES, TOPIC):
        ends = [torch.randint(COUNTS[kind], (15,), generator=generator) for kind in (source, target)]
        data[source, name, target].edge_index = torch.stack(ends)
    return data


def dense(data: HeteroData, edge_type: tuple[str, str, str]) -> Tensor:
    """Return the number of edges of a relation, [targets, sources]."""
    source, _, target = edge_type
    A = torch.zeros(COUNTS[target], COUNTS[source], dtype=torch.float64)
    index, weight = data[edge_type].edge_index, data[edge_type].get("edge_weight")
    weight = torch.ones(index.shape[1], dtype=torch.float64) if weight is None else weight
    return A.index_put_((index[1], index[0]), weight, accumulate=True)


def means(A: Tensor) -> Tensor:
    total = A.sum(1, keepdim=True)
    return A / torch.where(total == 0, 1, total)


def close(found: Data, *blocks: Tensor) -> None:
    torch.testing.assert_close(found.x, torch.cat(blocks, 1))
    assert found.feature_blocks == tuple(block.shape[1] for block in blocks)


@pytest.mark.parametrize("seed", range(4))
def test_chains_are_products_of_means(seed: int) -> None:
    data = graph(seed)
    x, C, W = data["paper"].x, means(dense(data, CITES)), means(dense(data, WRITES))
    P = W @ means(dense(data, WRITES).T)
    found = AugmentFeatures(2, metapaths=[CITES, [WRITTEN, WRITES], [WRITTEN, WRITES, CITES]])(data)
    close(found, x, C @ x, C @ C @ x, P @ x, P @ P @ x, C @ P @ x, C @ P @ C @ P @ x)
    close(AugmentFeatures((0, 3), metapaths=[[CITES]])(data), x, C @ C @ C @ x)
    # What begins at another type is applied once, to its features.
    close(
        AugmentFeatures((2, 3), metapaths=[[WRITES], [WRITES, CITES]])(data),
        W @ data["author"].x,
        C @ W @ data["author"].x,
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("authors", [True, False])
def test_sets_are_means_over_all_neighbours(seed: int, authors: bool) -> None:
    data = graph(seed, authors)
    places = {"author": slice(0, 7), "paper": slice(7, 19), "topic": slice(19, 23)}
    A = torch.zeros(23, 23, dtype=torch.float64)
    for source, name, target in (CITES, WRITES, TOPIC):
        A[places[target], places[source]] += dense(data, (source, name, target))
        A[places[source], places[target]] += dense(data, (source, name, target)).T
    x = torch.zeros(23, 3, dtype=torch.float64)
    for kind in ("author", "paper") if authors else ("paper",):
        x[places[kind]] = data[kind].x
    states = [x]
    for _ in range(3):
        states.append(means(A) @ states[-1])
    found = AugmentFeatures((0, 1, 3), metapaths=[{CITES, WRITES, TOPIC}])(data)
    close(found, *(states[k][places["paper"]] for k in (0, 1, 3)))


@pytest.mark.parametrize("keep", ["none", "all"])
def test_kept_along_metapaths(keep: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAMLP_ADMM_CACHE", str(tmp_path))
    paths = [[CITES], [WRITES], {CITES, WRITES}, [WRITTEN, WRITES]]
    transform = AugmentFeatures(2, metapaths=paths, node_type="paper", rows="labelled")
    wanted = transform(graph())
    with caching(keep) as first:
        made = transform(graph())
    monkeypatch.setattr(Relations, "states", Relations.states if keep == "none" else None)
    with caching(keep) as second:
        found = transform(graph())
    for data in (made, found):
        close(data, *wanted.x.split(list(wanted.feature_blocks), 1))
        assert data.x.equal(wanted.x)
        assert data.n_id.equal(wanted.n_id)
    told = ((0, 1), (0, 1)) if keep == "none" else ((0, 1), (1, 0))
    assert ((first.found, first.made), (second.found, second.made)) == told


def test_whatever_decides_features_along_metapaths_decides_their_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAMLP_ADMM_CACHE", str(tmp_path))
    features, edges, weights, nodes = (graph() for _ in range(4))
    features["author"].x[0, 0] += 1
    edges[CITES].edge_index[0, 0] = (edges[CITES].edge_index[0, 0] + 1) % 12
    weights[WRITES].edge_weight = torch.arange(1.0, 16)
    nodes["paper"].y = nodes["paper"].y.flip(0)  # decides nothing
    usual: dict[str, Any] = {"hops": 1, "metapaths": [{CITES, WRITES}]}
    others = [{"hops": 2}, {"metapaths": [[CITES]]}, {"normalize_features": True}, {"dtype": torch.float32}]
    with caching("all") as cache:
        for data in (graph(), features, edges, weights):
            AugmentFeatures(**usual)(data)
        for other in others:
            AugmentFeatures(**usual | other)(graph())
        assert (len({*cache.keys}), cache.found) == (8, 0)
        AugmentFeatures(**usual)(nodes)
        assert cache.found == 1
        with pytest.raises(InputError, match="the graph has no edge type"):
            AugmentFeatures(1, metapaths=[[("paper", "no", "paper")]])(graph())


def test_reverses_are_those_of_pyg() -> None:
    data = graph()
    both = T.ToUndirected(merge=False)(graph())
    paths: list[Any] = [[WRITTEN, WRITES], [("paper", "rev_cites", "paper")], [TOPIC, ("topic", "rev_has", "paper")]]
    assert torch.equal(AugmentFeatures(2, metapaths=paths)(data).x, AugmentFeatures(2, metapaths=paths)(both).x)


def test_weights_of_edges() -> None:
    data = graph()
    data[CITES].edge_weight = torch.rand(15, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    close(AugmentFeatures((1,), metapaths=[CITES])(data), means(dense(data, CITES)) @ data["paper"].x)
    data[CITES].strength = data[CITES].edge_weight
    del data[CITES].edge_weight
    weighted = AugmentFeatures((1,), metapaths=[CITES], weight_attr="strength")(data)
    data[CITES].edge_weight = data[CITES].strength
    close(weighted, means(dense(data, CITES)) @ data["paper"].x)


def test_what_is_kept_and_training() -> None:
    data = graph()
    before = data.to_dict()
    transform = AugmentFeatures(1, metapaths=[CITES, [WRITTEN, WRITES]], keep_original=True, dtype=torch.float32)
    found = transform(data)
    assert type(found) is Data
    assert found.x.dtype == torch.float32
    assert found.x.shape == (12, 9)
    for name in ("y", "train_mask", "val_mask", "test_mask"):
        assert torch.equal(found[name], data["paper"][name])
    assert torch.equal(found.x_original, data["paper"].x)
    assert str(data.to_dict()) == str(before)
    assert repr(transform).startswith(
        "AugmentFeatures(hops=1, operator='sym', keep_original=True, dtype=torch.float32, meta"
    )
    result = PdADMMG().fit(GAMLP(9, 8, 3, num_layers=2), found, iterations=3, seed=0)
    assert result.history[-1]["train_accuracy"] > 0
    _, same = fit_features(transform, data)
    assert torch.equal(same.x, found.x)
    with pytest.raises(InputError, match="a model's file cannot keep metapaths"):
        transform.recipe()
    rows = AugmentFeatures(0, metapaths=[CITES], normalize_features=True)(data).x
    torch.testing.assert_close(rows.abs().sum(1), torch.ones(12, dtype=torch.float64))


def test_type_of_the_nodes() -> None:
    data = graph()
    close(
        AugmentFeatures(1, metapaths=[WRITTEN], node_type="author")(data),
        data["author"].x,
        means(dense(data, WRITES).T) @ data["paper"].x,
    )
    close(AugmentFeatures(1, metapaths=[TOPIC], node_type="topic")(data), means(dense(data, TOPIC)) @ data["paper"].x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, r"needs metapaths, .*node types are paper, author, topic; its edge types \('paper', 'cites', 'paper'\), "),
        ({"metapaths": [[WRITES, TOPIC]]}, "does not lead to paper"),
        (
            {"metapaths": [[("author", "write", "paper")]]},
            r"no edge type \('author', 'write', 'paper'\); its node types",
        ),
        ({"metapaths": [CITES], "node_type": "papers"}, "unknown node type 'papers': did you mean 'paper'"),
        (
            {"metapaths": [[("topic", "rev_has", "paper")]]},
            "topic has no x, where metapath .* begins; paper, author have",
        ),
        ({"metapaths": [{TOPIC}], "node_type": "author"}, "does not lead to author"),
        ({"metapaths": [TOPIC], "node_type": "topic", "hops": 0}, "topic has no x, so that there is no state 0"),
    ],
)
def test_what_a_graph_does_not_have(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        AugmentFeatures(**options)(graph())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metapaths": []}, "metapaths is .*: allowed: a list of metapaths"),
        ({"metapaths": [[]]}, "metapath .*: allowed: a list of metapaths"),
        ({"metapaths": CITES}, "metapaths is .*: allowed: a list of metapaths"),
        ({"metapaths": [[("paper", "paper")]]}, "metapath .*: allowed: a list of metapaths"),
        (
            {"metapaths": [[WRITES, WRITTEN, CITES]]},
            "paper-rev_writes-author ends where paper-cites-paper does not begin",
        ),
        ({"metapaths": [CITES], "operator": "ppr"}, "operator and direction do not apply to metapaths"),
        ({"node_type": "paper"}, "node_type is for a HeteroData"),
    ],
)
def test_options_that_are_not_allowed(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        AugmentFeatures(**options)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks", "ignore:Sparse CSR tensor support")  # of PyG's
def test_transposed_matrices_are_edges() -> None:
    data = T.RemoveDuplicatedEdges()(graph())  # of which ToSparseTensor keeps one
    stored = T.ToSparseTensor()(data)
    paths: list[Any] = [CITES, [WRITTEN, WRITES], {TOPIC, WRITES}]
    torch.testing.assert_close(
        AugmentFeatures(2, metapaths=paths)(stored).x, AugmentFeatures(2, metapaths=paths)(data).x
    )
    del data[WRITES].edge_index
    with pytest.raises(InputError, match="has neither edge_index nor adj_t"):
        AugmentFeatures(metapaths=[WRITES])(data)


def test_graphs_that_are_not_allowed() -> None:
    data = graph()
    del data["topic"].num_nodes
    with pytest.raises(InputError, match="number of topic nodes is not known"):
        AugmentFeatures(metapaths=[{TOPIC}])(data)
    data = graph()
    data[WRITES].edge_index[0, 3] = 7
    with pytest.raises(InputError, match=r"edge_index\[0, 3\] is 7: a graph of 7 nodes allows 0 to 6"):
        AugmentFeatures(metapaths=[WRITES])(data)
    data["author"].y = torch.zeros(7)
    with pytest.raises(InputError, match=r"not one node type has y \(paper, author\)"):
        AugmentFeatures(metapaths=[CITES])(data)
    data = graph()
    data["author"].x = torch.randn(7, 2)
    with pytest.raises(InputError, match=r"need one number of features \(author 2, paper 3\)"):
        AugmentFeatures(metapaths=[{WRITES}])(data)
    with pytest.raises(InputError, match="metapaths are for a HeteroData"):
        AugmentFeatures(metapaths=[CITES])(Data(x=torch.ones(2, 1), edge_index=torch.tensor([[0], [1]])))
