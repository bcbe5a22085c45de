"""AugmentFeatures: what it computes, against PyG's own layers; what it leaves alone; what it refuses."""

from __future__ import annotations

import math
import pickle
import re
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
import torch_geometric.transforms as T
from scipy import sparse
from torch import Tensor
from torch_geometric import EdgeIndex
from torch_geometric.data import Data, HeteroData
from torch_geometric.nn import APPNP, SGConv

from gamlp_admm import propagation
from gamlp_admm.errors import InputError, InputWarning
from gamlp_admm.transforms import AugmentFeatures

TWO_HOPS = lambda A: A @ A  # noqa: E731
ALL: list[Any] = ["sym", "row", "ppr", "heat", TWO_HOPS]


def random_graph(nodes: int = 12, columns: int = 3, *, weighted: bool = True, undirected: bool = False) -> Data:
    generator = torch.Generator().manual_seed(nodes)
    index = torch.randint(nodes, (2, 3 * nodes), generator=generator)
    index = torch.unique(index[:, index[0] != index[1]], dim=1)
    if undirected:
        index = torch.unique(torch.cat([index, index.flip(0)], dim=1), dim=1)
    x = torch.randn(nodes, columns, dtype=torch.float64, generator=generator)
    data = Data(x=x, edge_index=index, y=torch.arange(nodes))
    if weighted:
        data.edge_weight = torch.rand(index.size(1), dtype=torch.float64, generator=generator)
    return data


def path() -> Data:
    """The path 0 - 1 and the isolated node 2."""
    x = torch.tensor([[2.0], [4.0], [6.0]], dtype=torch.float64)
    return Data(x=x, edge_index=torch.tensor([[0, 1], [1, 0]]))


def augment(data: Data, *args: Any, **options: Any) -> Tensor:
    x = AugmentFeatures(*args, **options)(data).x
    assert isinstance(x, Tensor)
    return x


def test_by_hand() -> None:
    two_hops = torch.tensor([[2, 3, 3], [4, 3, 3], [6, 6, 6]], dtype=torch.float64)
    torch.testing.assert_close(augment(path(), hops=2, operator="sym"), two_hops)
    assert augment(path(), hops=1, operator="row").tolist() == [[2, 3], [4, 3], [6, 6]]
    halved = augment(path(), hops=2, operator="ppr", alpha=0.5)
    torch.testing.assert_close(halved, torch.tensor([[2.5], [3.5], [6.0]], dtype=torch.float64))
    warm = augment(path(), hops=2, operator="heat", t=0.5)
    c = math.exp(-0.5)
    expected = torch.tensor([[2 + 3 / 2 + 3 / 8], [4 + 3 / 2 + 3 / 8], [6 + 6 / 2 + 6 / 8]], dtype=torch.float64)
    torch.testing.assert_close(warm, c * expected)


def test_default_is_four_hops_of_sym() -> None:
    data = random_graph()
    expected = augment(data, hops=4, operator="sym")
    assert expected.shape == (12, 15)
    assert torch.equal(augment(data), expected)
    assert torch.equal(expected[:, :3], data.x)


@pytest.mark.parametrize("operator", ["ppr", "heat"])
def test_diffusions_give_their_last_state_after_ten_steps(operator: str) -> None:
    data = random_graph()
    final = augment(data, operator=operator)
    assert final.shape == data.x.shape
    assert torch.equal(final, augment(data, 10, operator))
    both = augment(data, (0, 10), operator)
    torch.testing.assert_close(both, torch.cat([data.x, final], dim=1))


@pytest.mark.parametrize("hops", [(0, 2, 4), range(0, 5, 2), [0, 2, 4], np.array([0, 2, 4])])
@pytest.mark.parametrize("operator", ALL)
def test_chosen_hops_are_columns_of_all_hops(operator: Any, hops: Iterable[int]) -> None:
    data = random_graph()
    every = torch.split(augment(data, range(5), operator, t=0.5), 3, dim=1)
    chosen = augment(data, hops, operator, t=0.5)
    torch.testing.assert_close(chosen, torch.cat([every[0], every[2], every[4]], dim=1))


@pytest.mark.parametrize("weighted", [False, True])
def test_equals_appnp(weighted: bool) -> None:
    data = random_graph(weighted=weighted)
    layer = APPNP(K=10, alpha=0.1).eval()
    expected = layer(data.x, data.edge_index, data.edge_weight)
    torch.testing.assert_close(augment(data, operator="ppr", direction="along"), expected)


def test_equals_sgc() -> None:
    data = random_graph()
    layer = SGConv(3, 3, K=3, bias=False).double()
    torch.nn.init.eye_(layer.lin.weight)
    with torch.no_grad():
        expected = layer(data.x, data.edge_index, data.edge_weight)
    torch.testing.assert_close(augment(data, (3,), direction="along"), expected)


@pytest.mark.filterwarnings("ignore:Sparse")  # PyG's own sparse tensors
def test_equals_sign() -> None:
    data = random_graph(undirected=True, weighted=False)
    data.edge_weight = torch.ones(data.num_edges, dtype=torch.float64)
    signed = T.Compose([T.AddRemainingSelfLoops("edge_weight"), T.SIGN(3)])(data)
    expected = torch.cat([signed.x, signed.x1, signed.x2, signed.x3], dim=1)
    torch.testing.assert_close(augment(data, 3), expected)


def test_callable_and_matrix_equal_the_named_operator() -> None:
    data = random_graph()
    expected = augment(data, 2, "row")
    assert torch.equal(augment(data, 2, propagation.row), expected)
    matrix = propagation.row(propagation.adjacency(data.edge_index, data.edge_weight, 12))
    assert torch.equal(augment(Data(x=data.x), 2, matrix), expected)
    tensor = torch.from_numpy(matrix.toarray()).to_sparse()
    assert torch.equal(augment(Data(x=data.x), 2, tensor), expected)
    assert torch.equal(augment(data, 2, lambda A: torch.from_numpy(propagation.row(A).toarray()).to_sparse()), expected)


def test_callable_sees_the_directed_graph_without_added_self_loops() -> None:
    data = Data(x=torch.ones(2, 1), edge_index=torch.tensor([[0], [1]]))
    assert augment(data, 1, lambda A: A, direction="along").tolist() == [[1, 0], [1, 1]]
    assert augment(data, 1, lambda A: A, direction="against").tolist() == [[1, 1], [1, 0]]


@pytest.mark.parametrize("operator", ALL)
@pytest.mark.parametrize("direction", propagation.DIRECTIONS)
def test_relabelling_the_nodes_permutes_the_rows(operator: Any, direction: str) -> None:
    data = random_graph()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    new_label = torch.argsort(order)
    relabelled = Data(x=data.x[order], edge_index=new_label[data.edge_index], edge_weight=data.edge_weight)
    expected = augment(data, operator=operator, direction=direction)[order]
    torch.testing.assert_close(augment(relabelled, operator=operator, direction=direction), expected)


@pytest.mark.parametrize("operator", ALL)
@pytest.mark.parametrize(("nodes", "columns"), [(0, 3), (1, 3), (4, 3), (4, 0)])
def test_graphs_without_edges_or_features(operator: Any, nodes: int, columns: int) -> None:
    data = Data(x=torch.ones(nodes, columns), edge_index=torch.empty(2, 0, dtype=torch.int64))
    x = augment(data, (0, 1, 3), operator, t=0.5)
    assert x.shape == (nodes, 3 * columns)
    if operator in ("sym", "row", "ppr"):
        assert torch.equal(x, torch.ones_like(x))


def test_the_input_is_copied() -> None:
    data = random_graph()
    before = data.clone()
    augmented = AugmentFeatures(hops=(0,), normalize_features=True)(data)
    augmented.x.zero_()
    for key in ("x", "edge_index", "edge_weight", "y"):
        assert torch.equal(data[key], before[key])
    assert augmented.edge_index is data.edge_index
    assert "x_original" not in augmented
    same = AugmentFeatures(hops=0).forward(data)
    assert same is data


def test_original_features_on_request() -> None:
    data = random_graph()
    augmented = AugmentFeatures(normalize_features=True, keep_original=True)(data)
    assert augmented.x_original is data.x
    assert "x_original" not in data


def test_composes() -> None:
    data = random_graph(weighted=False)
    transform = T.Compose([T.ToUndirected(), AugmentFeatures(2, direction="along"), T.NormalizeFeatures()])
    assert torch.allclose(transform(data).x.sum(1), torch.ones(12, dtype=torch.float64))
    assert "AugmentFeatures(hops=2, operator='sym', direction='along')" in repr(transform)
    assert torch.equal(pickle.loads(pickle.dumps(AugmentFeatures(2)))(data).x, AugmentFeatures(2)(data).x)


def test_features_are_normalised_first() -> None:
    data = random_graph()
    data.x = torch.tensor([[1.0, 3.0], [0.0, 0.0], [-1.0, 1.0]]).repeat(4, 1)
    expected = torch.tensor([[0.25, 0.75], [0.0, 0.0], [-0.5, 0.5]]).repeat(4, 1)
    assert torch.equal(augment(data, 0, normalize_features=True), expected)
    counts = torch.randint(0, 4, (12, 3), generator=torch.Generator().manual_seed(0)).double()
    data.x = counts
    after = AugmentFeatures(2)(T.NormalizeFeatures()(data)).x
    torch.testing.assert_close(augment(data, 2, normalize_features=True), after)


@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csc])
def test_sparse_features(layout: torch.layout) -> None:
    data = random_graph()
    expected = augment(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls CSC beta
        data.x = data.x.to_sparse(layout=layout)
    assert torch.equal(augment(data), expected)


def test_strided_features_and_edge_index_subclass() -> None:
    data = random_graph()
    expected = augment(data)
    data.x = data.x.t().contiguous().t()
    data.edge_index = EdgeIndex(data.edge_index.contiguous(), sparse_size=(12, 12))
    assert torch.equal(augment(data), expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("operator", ALL)
def test_cuda(operator: Any) -> None:
    data = random_graph()
    x = augment(data.clone().to("cuda"), (0, 1, 3, 6), operator)
    assert x.is_cuda
    torch.testing.assert_close(x.cpu(), augment(data, (0, 1, 3, 6), operator))


def test_no_gradient_is_recorded() -> None:
    data = random_graph()
    data.x.requires_grad_()
    assert not augment(data).requires_grad


@pytest.mark.parametrize("operator", ALL)
@pytest.mark.parametrize(
    ("given_dtype", "asked", "expected"),
    [
        (torch.float32, None, torch.float32),
        (torch.float64, None, torch.float64),
        (torch.float64, torch.float32, torch.float32),
        (torch.float32, torch.float64, torch.float64),
        (torch.float16, None, torch.float16),
        (torch.bfloat16, torch.float32, torch.float32),
        (torch.int64, None, torch.float32),
        (torch.bool, torch.float64, torch.float64),
    ],
)
def test_dtypes(operator: Any, given_dtype: torch.dtype, asked: torch.dtype | None, expected: torch.dtype) -> None:
    data = random_graph(undirected=True)
    data.x = (data.x > 0).to(given_dtype)
    x = augment(data, operator=operator, dtype=asked)
    assert x.dtype == expected
    data.x = data.x.double()
    exact = augment(data, operator=operator)
    torch.testing.assert_close(x.double(), exact, rtol=max(4 * torch.finfo(expected).eps, 1e-6), atol=1e-5)


@pytest.mark.parametrize(
    "text",
    [
        "AugmentFeatures(hops=4, operator='sym')",
        "AugmentFeatures(hops=(0, 2, 4), operator='row', direction='along')",
        "AugmentFeatures(hops=10, operator='ppr', alpha=0.2, normalize_features=True, keep_original=True)",
        "AugmentFeatures(hops=20, operator='heat', t=5.0, dtype=torch.float64)",
    ],
)
def test_repr_is_the_constructor_call(text: str) -> None:
    assert repr(eval(text)) == text


def test_repr_of_defaults_and_of_given_operators() -> None:
    assert repr(AugmentFeatures()) == "AugmentFeatures(hops=4, operator='sym')"
    assert repr(AugmentFeatures(operator="ppr")) == "AugmentFeatures(hops=10, operator='ppr')"
    given = repr(AugmentFeatures(operator=propagation.row))
    assert re.fullmatch(r"AugmentFeatures\(hops=4, operator=row-[0-9a-f]{12}\)", given)
    given_matrix = sparse.csr_array((2, 2))
    given = repr(AugmentFeatures(1, given_matrix))
    assert re.fullmatch(r"AugmentFeatures\(hops=1, operator=csr_array-[0-9a-f]{12}\)", given)


def test_states() -> None:
    assert AugmentFeatures(2).states == (0, 1, 2)
    assert AugmentFeatures(2, "ppr").states == (2,)
    assert AugmentFeatures(range(2, 5), "ppr").states == (2, 3, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"operator": "symm"}, "unknown operator 'symm': did you mean 'sym'? allowed: sym, row, ppr, heat"),
        (
            {"operator": 3},
            "operator is a int: allowed: sym, row, ppr, heat, a callable, or a SciPy or torch sparse",
        ),
        ({"operator": torch.eye(3)}, "operator is a Tensor: allowed: sym"),
        ({"hops": -1}, "hops is -1: it must be a number of steps, 0 or more, or an increasing set"),
        ({"hops": (-1, 2)}, "hops is (-1, 2): it must be"),
        ({"hops": (4, 0)}, "hops is (4, 0): it must be"),
        ({"hops": (1, 1)}, "hops is (1, 1): it must be"),
        ({"hops": ()}, "hops is (): it must be"),
        ({"hops": "4"}, "hops is '4': it must be"),
        ({"hops": 2.5}, "hops is 2.5: it must be"),
        ({"alpha": 0.0}, "alpha is 0.0: it must be greater than 0 and at most 1"),
        ({"alpha": 1.5}, "alpha is 1.5: it must be"),
        ({"alpha": math.nan}, "alpha is nan: it must be"),
        ({"t": 0.0}, "t is 0.0: it must be positive and finite"),
        ({"t": math.inf}, "t is inf: it must be positive and finite"),
        ({"direction": "forward"}, "unknown direction 'forward': allowed: both, along, against"),
        ({"dtype": torch.int64}, "dtype is torch.int64: it must be a floating-point type"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        AugmentFeatures(**options)
    assert str(error.value).startswith(message)


def with_features(x: Any) -> Data:
    data = path()
    data.x = x
    return data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            Data(edge_index=torch.tensor([[0], [1]])),
            "data.x must be a real tensor of shape [nodes, features], got NoneType",
        ),
        (
            with_features(torch.ones(3)),
            "data.x must be a real tensor of shape [nodes, features], got torch.float32 [3]",
        ),
        (with_features(torch.ones(3, 1, dtype=torch.complex64)), "data.x must be a real tensor"),
        (
            Data(x=torch.ones(3, 1)),
            "data.edge_index is missing: propagation needs edges, or a matrix as operator",
        ),
        (HeteroData(), "a HeteroData needs metapaths, a list of metapaths"),
        (
            with_features(torch.tensor([[1.0, 1.0], [1.0, math.nan], [math.inf, 1.0]])),
            "data.x has 2 NaN or infinite values (as torch.float32), the first at row 1, column 1: features",
        ),
        (with_features(torch.ones(1, 1)), "edge_index[0, 1] is 1: a graph of 1 nodes allows 0 to 0"),
    ],
)
def test_wrong_data(data: Data, message: str) -> None:
    with pytest.raises(InputError) as error:
        AugmentFeatures()(data)
    assert str(error.value).startswith(message)


def test_wrong_given_operators() -> None:
    with pytest.raises(InputError, match=r"operator has shape \[2, 2\]: expected \[3, 3\]"):
        augment(path(), 1, sparse.csr_array((2, 2)))
    with pytest.raises(InputError, match="operator gave a ndarray: expected a torch or SciPy sparse matrix"):
        augment(path(), 1, lambda A: A.toarray())


def test_warns_when_the_heat_series_is_cut_short() -> None:
    with pytest.warns(InputWarning, match=r"heat with t=10.0 and 10 steps leaves out 42% of its series: 20 steps hold"):
        AugmentFeatures(operator="heat", t=10.0)
    AugmentFeatures(20, operator="heat", t=10.0)
