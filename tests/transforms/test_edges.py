"""Where the transforms find the edges and their weights: edge_index, edge_weight, edge_attr, adj_t."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import torch_geometric.transforms as T
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.nn import models
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from gamlp_admm.errors import InputError, InputWarning
from gamlp_admm.transforms import AugmentFeatures, AugmentLabels, CombineFeatures, CorrectAndSmooth

N, E = 12, 40


def graph(seed: int = 0, **attributes: Any) -> Data:
    """Directed, with repeated edges and self-loops, and nodes 10 and 11 isolated."""
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(N - 2, (2, E), generator=generator)
    x = torch.randn(N, 3, dtype=torch.float64, generator=generator)
    y = torch.arange(N) % 3
    return Data(x=x, edge_index=index, y=y, train_mask=torch.arange(N) < 6, **attributes)


def weights(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + 1)
    drawn = torch.rand(E, dtype=torch.float64, generator=generator)
    return drawn * (torch.rand(E, generator=generator) < 0.8)


def transposed(data: Data, *args: Any, **options: Any) -> Data:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls these layouts beta, and their checks off
        moved: Data = T.ToSparseTensor(*args, **options)(data.clone())
    return moved


def smooth(data: Data) -> Tensor:
    return CorrectAndSmooth()(torch.eye(3, dtype=torch.float64)[data.y].roll(1, 0), data)


READERS: dict[str, Any] = {
    "features": lambda data: AugmentFeatures(2)(data).x,
    "labels": lambda data: AugmentLabels(2)(data).x,
    "combined": lambda data: CombineFeatures.parse("ppr/3+row/1")(data).x,
    "smoothed": smooth,
}


@pytest.mark.parametrize("seed", range(20))
def test_one_hop_equals_gcn_norm_on_weighted_multigraphs(seed: int) -> None:
    data = graph(seed, edge_weight=weights(seed))
    index, value = gcn_norm(data.edge_index, data.edge_weight, N)
    expected = torch.zeros(N, 3, dtype=torch.float64).index_add_(0, index[1], value[:, None] * data.x[index[0]])
    torch.testing.assert_close(AugmentFeatures((1,), direction="along")(data).x, expected)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_smoothing_equals_gcn_norm_without_added_loops(seed: int, weighted: bool) -> None:
    data = graph(seed)
    data.edge_index = torch.cat([data.edge_index, data.edge_index.flip(0)], 1)  # each self-loop twice
    weight = weights(seed).repeat(2) if weighted else torch.ones(2 * E, dtype=torch.float64)
    data.edge_weight = weight if weighted else None
    probabilities = torch.eye(3, dtype=torch.float64)[data.y].roll(1, 0)
    args = data.y[data.train_mask], data.train_mask, *gcn_norm(data.edge_index, weight, N, add_self_loops=False)
    process = models.CorrectAndSmooth(50, 0.9, 50, 0.8)
    expected = process.smooth(process.correct(probabilities, *args), *args).clamp(min=0)
    total = expected.sum(1, keepdim=True)
    expected = torch.where(total > 0, expected / total, probabilities)
    torch.testing.assert_close(CorrectAndSmooth()(probabilities, data), expected)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("shape", [(E,), (E, 1)])
def test_an_edge_attr_of_one_column_is_not_dropped_in_silence(reader: str, shape: tuple[int, ...]) -> None:
    data = graph(edge_attr=weights().reshape(shape))
    with pytest.warns(InputWarning, match=r"data\.edge_attr has one column, but is not used as weights") as caught:
        made = READERS[reader](data)
    assert {warning.filename for warning in caught} == {__file__}
    assert torch.equal(made, READERS[reader](graph()))


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "attributes",
    [
        {"edge_attr": torch.rand(E, 2)},
        {"edge_attr": torch.rand(E, 0)},
        {"edge_attr": "text"},
        {"edge_attr": weights(), "edge_weight": weights(3)},
        {},
    ],
    ids=["two columns", "no column", "no tensor", "beside edge_weight", "none"],
)
def test_what_holds_no_weights_is_left_alone(reader: str, attributes: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = READERS[reader](graph(**attributes))
    assert torch.equal(made, READERS[reader](graph(edge_weight=attributes.get("edge_weight"))))


@pytest.mark.parametrize("transform", [AugmentFeatures, AugmentLabels])
@pytest.mark.parametrize("shape", [(E,), (E, 1)])
def test_weight_attr_names_the_weights(transform: Any, shape: tuple[int, ...]) -> None:
    data, plain = graph(edge_attr=weights().reshape(shape)), graph(edge_weight=weights())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(transform(2, weight_attr="edge_attr")(data).x, transform(2)(plain).x)
        assert torch.equal(transform(2, weight_attr="edge_weight")(data).x, transform(2)(graph()).x)
    named = transform(2, weight_attr="edge_attr")
    assert repr(named) == f"{transform.__name__}(hops=2, operator='sym', weight_attr='edge_attr')"


@pytest.mark.parametrize(
    ("attribute", "message"),
    [
        (None, "data.edge_attr is missing, which weight_attr names"),
        (torch.rand(E, 2), r"data.edge_attr must be a tensor of shape \[40\] or \[40, 1\], .*, got \[40, 2\]"),
        (torch.rand(3), r"data.edge_attr must be a tensor of shape \[40\] or \[40, 1\], .*, got \[3\]"),
        ("text", r"data.edge_attr must be a tensor of shape .*, got str"),
    ],
)
def test_wrong_weight_attr(attribute: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        AugmentFeatures(2, weight_attr="edge_attr")(graph(edge_attr=attribute))


def test_where_no_edge_counts_there_is_no_warning() -> None:
    data = graph(edge_attr=weights())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert torch.equal(AugmentFeatures(0)(data).x, data.x)
        AugmentFeatures(1, torch.eye(N).to_sparse())(data)


@pytest.mark.parametrize("layout", [torch.sparse_csr, torch.sparse_coo])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reader", READERS)
def test_adj_t_is_read_as_edge_index(reader: str, weighted: bool, layout: torch.layout) -> None:
    data = graph()
    data.edge_index = torch.unique(data.edge_index, dim=1)
    if weighted:
        data.edge_weight = weights()[: data.num_edges]
    torch.testing.assert_close(READERS[reader](transposed(data, layout=layout)), READERS[reader](data))


def test_adj_t_takes_edge_attr_where_told_and_else_warns() -> None:
    data = graph(edge_attr=weights())
    data.edge_index = torch.unique(data.edge_index, dim=1)
    data.edge_attr = data.edge_attr[: data.num_edges]
    expected = AugmentFeatures(2, weight_attr="edge_attr")(data).x
    moved = transposed(data, "edge_attr", layout=torch.sparse_csr)
    torch.testing.assert_close(AugmentFeatures(2)(moved).x, expected)
    left = transposed(data, layout=torch.sparse_csr)
    with pytest.warns(InputWarning, match=r"data\.edge_attr has one column"):
        AugmentFeatures(2)(left)
    with pytest.raises(InputError, match=r"data.edge_index is missing, .* ToSparseTensor\(attr='edge_attr'\)"):
        AugmentFeatures(2, weight_attr="edge_attr")(left)


@pytest.mark.parametrize(
    ("adj_t", "message"),
    [
        (torch.eye(N), r"data.adj_t must be a sparse matrix \[nodes, nodes\], got torch.strided \[12, 12\]"),
        ([], r"data.adj_t must be a sparse matrix \[nodes, nodes\], got list"),
    ],
)
def test_wrong_adj_t(adj_t: Any, message: str) -> None:
    data = graph(adj_t=adj_t)
    data.edge_index = None
    with pytest.raises(InputError, match=f"^{message}$"):
        AugmentFeatures(2)(data)
