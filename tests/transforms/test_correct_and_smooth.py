"""Correct and Smooth: what it promises, what PyG's own gives on edges, what it reads, what it refuses."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.nn import models
from torch_geometric.utils import stochastic_blockmodel_graph, to_undirected

from gamlp_admm.errors import InputError
from gamlp_admm.transforms.correct_and_smooth import GRID, CorrectAndSmooth, chosen

C = 3


def masks(data: Data, seed: int = 0) -> Data:
    generator = torch.Generator().manual_seed(seed)
    part = torch.randint(3, (len(data.y),), generator=generator)
    part[:3] = torch.arange(3)
    data.train_mask, data.val_mask, data.test_mask = part == 0, part == 1, part == 2
    return data


def random_problem(seed: int = 0, nodes: int = 20, *, weighted: bool = False) -> tuple[Tensor, Data]:
    """Probabilities, and a directed graph with self-loops, repeated edges and isolated nodes."""
    generator = torch.Generator().manual_seed(seed)
    data = Data(
        edge_index=torch.randint(nodes - 3, (2, 2 * nodes), generator=generator),
        y=torch.randint(C, (nodes,), generator=generator),
    )
    if weighted:
        data.edge_weight = torch.rand(2 * nodes, generator=generator)
    logits = torch.randn(nodes, C, dtype=torch.float64, generator=generator)
    return logits.softmax(1), masks(data, seed)


def communities(noise: float = 1.5) -> tuple[Tensor, Data]:
    """A stochastic block model of three communities, and predictions that are right a little more often than not."""
    torch.manual_seed(0)  # PyG draws the edges from the global generator
    index = stochastic_blockmodel_graph([100] * C, torch.full((C, C), 0.01) + 0.07 * torch.eye(C))
    y = torch.arange(C).repeat_interleave(100)
    generator = torch.Generator().manual_seed(1)
    logits = F.one_hot(y).double() + noise * torch.randn(len(y), C, dtype=torch.float64, generator=generator)
    return logits.softmax(1), masks(Data(edge_index=index, y=y))


def anything(seed: int) -> Tensor:
    return torch.randint(-(10**9), 10**9, (12,), generator=torch.Generator().manual_seed(seed))


def accuracy(probabilities: Tensor, data: Data, split: str) -> float:
    rows = data[f"{split}_mask"]
    return float((probabilities[rows].argmax(1) == data.y[rows]).double().mean())


def pyg(candidate: CorrectAndSmooth, probabilities: Tensor, data: Data) -> Tensor:
    """PyG's own, on an edge list with unit weights, with rows divided by their sums."""
    options = [candidate.num_correction_layers, candidate.correction_alpha, candidate.num_smoothing_layers]
    process = models.CorrectAndSmooth(*options, candidate.smoothing_alpha, candidate.autoscale, candidate.scale)
    index = to_undirected(data.edge_index)
    weight = torch.ones(index.size(1), dtype=torch.float64)
    degree = torch.zeros(len(data.y), dtype=torch.float64).index_add_(0, index[0], weight)
    weight = (degree[index[0]] * degree[index[1]]) ** -0.5
    args = (data.y[data.train_mask], data.train_mask, index, weight)
    result = process.smooth(process.correct(probabilities, *args), *args).clamp(min=0)
    return result / result.sum(1, keepdim=True)


@pytest.mark.parametrize(
    "candidate", [CorrectAndSmooth(), CorrectAndSmooth(7, 1.0, 3, 0.5, autoscale=False, scale=2.0)]
)
def test_equals_pyg_on_simple_graphs(candidate: CorrectAndSmooth) -> None:
    for seed in range(3):
        probabilities, data = random_problem(seed)
        data.edge_index = to_undirected(data.edge_index)  # without repeated edges, which add up
        torch.testing.assert_close(candidate(probabilities, data), pyg(candidate, probabilities, data))


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), weighted=st.booleans(), candidate=st.sampled_from(GRID))
def test_gives_probabilities(seed: int, weighted: bool, candidate: CorrectAndSmooth) -> None:
    probabilities, data = random_problem(seed, weighted=weighted)
    before = probabilities.clone()
    result = candidate(probabilities, data)
    assert result.shape == probabilities.shape
    assert (result >= 0).all()
    torch.testing.assert_close(result.sum(1), torch.ones(20, dtype=torch.float64))
    assert torch.equal(probabilities, before)


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), candidate=st.sampled_from([*GRID, CorrectAndSmooth(autoscale=False, scale=20.0)]))
def test_only_training_labels_are_read(seed: int, candidate: CorrectAndSmooth) -> None:
    probabilities, data = random_problem(seed, nodes=12)
    before = candidate(probabilities, data)
    data.y[~data.train_mask] = anything(seed)[~data.train_mask]
    assert torch.equal(candidate(probabilities, data), before)


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6))
def test_a_choice_reads_no_test_labels(seed: int) -> None:
    probabilities, data = random_problem(seed, nodes=12)
    before = chosen(probabilities, data, GRID[::4])
    data.y[data.test_mask] = anything(seed)[data.test_mask]
    after = chosen(probabilities, data, GRID[::4])
    assert (after.candidate, after.val_accuracy) == (before.candidate, before.val_accuracy)
    assert torch.equal(after.probabilities, before.probabilities)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.8, 1.0])
@pytest.mark.parametrize("candidate_layers", [0, 50])
def test_a_constant_on_a_regular_graph_stays(alpha: float, candidate_layers: int) -> None:
    ring = torch.arange(10)
    index = torch.stack([ring, (ring + 1) % 10])
    data = masks(Data(edge_index=index, y=torch.full((10,), 1)))
    constant = F.one_hot(data.y, C).double()
    result = CorrectAndSmooth(candidate_layers, 0.8, 50, alpha)(constant, data)
    torch.testing.assert_close(result, constant)


def test_smoothing_alone_follows_its_definition() -> None:
    probabilities, data = random_problem(weighted=True)
    A = torch.zeros(20, 20, dtype=torch.float64)
    A.index_put_((data.edge_index[1], data.edge_index[0]), data.edge_weight.double(), accumulate=True)
    A = torch.maximum(A, A.T)
    root = A.sum(1).sqrt()
    S = (A / (root[:, None] * root)).nan_to_num()
    start = torch.where(data.train_mask[:, None], F.one_hot(data.y, C), probabilities)
    E = start
    for _ in range(4):
        E = 0.7 * S @ E + 0.3 * start
    expected = E / E.sum(1, keepdim=True)
    torch.testing.assert_close(CorrectAndSmooth(0, 0.5, 4, 0.7)(probabilities, data), expected)


def test_nothing_to_do_changes_nothing() -> None:
    probabilities, data = random_problem()
    torch.testing.assert_close(CorrectAndSmooth(0, num_smoothing_layers=0)(probabilities, data), probabilities)


def test_a_faultless_training_set_is_not_corrected() -> None:
    probabilities, data = random_problem()
    probabilities[data.train_mask] = F.one_hot(data.y[data.train_mask], C).double()
    corrected = CorrectAndSmooth(num_smoothing_layers=0)(probabilities, data)
    torch.testing.assert_close(corrected, probabilities)


def test_isolated_nodes_keep_their_class() -> None:
    probabilities, data = random_problem()
    for alpha in (0.5, 1.0):
        result = CorrectAndSmooth(50, 0.8, 50, alpha)(probabilities, data)
        torch.testing.assert_close(result[17:][~data.train_mask[17:]], probabilities[17:][~data.train_mask[17:]])


def test_directed_edges_are_made_undirected() -> None:
    probabilities, data = random_problem()
    data.edge_index = torch.unique(data.edge_index, dim=1)
    expected = CorrectAndSmooth()(probabilities, data)
    data.edge_index = data.edge_index.flip(0)
    torch.testing.assert_close(CorrectAndSmooth()(probabilities, data), expected)
    data.edge_index = to_undirected(data.edge_index)
    torch.testing.assert_close(CorrectAndSmooth()(probabilities, data), expected)


def test_training_nodes_without_a_label_do_not_train() -> None:
    probabilities, data = random_problem()
    first = int(data.train_mask.nonzero()[1])
    data.y[first] = -1
    unlabelled = CorrectAndSmooth()(probabilities, data)
    data.train_mask[first] = False
    assert torch.equal(CorrectAndSmooth()(probabilities, data), unlabelled)


def test_classes_in_a_column() -> None:
    probabilities, data = random_problem()
    expected = CorrectAndSmooth()(probabilities, data)
    data.y = data.y[:, None]
    assert torch.equal(CorrectAndSmooth()(probabilities, data), expected)


def test_accuracy_rises_on_a_block_model() -> None:
    probabilities, data = communities()
    best = chosen(probabilities, data)
    assert best.candidate in GRID
    assert best.val_accuracy == accuracy(best.probabilities, data, "val")
    assert best.val_accuracy > accuracy(probabilities, data, "val") + 0.1
    assert accuracy(best.probabilities, data, "test") > accuracy(probabilities, data, "test") + 0.1
    assert torch.equal(best.probabilities, best.candidate(probabilities, data))


def test_the_best_of_equals_is_the_first() -> None:
    probabilities, data = communities()
    twice = (CorrectAndSmooth(), CorrectAndSmooth(scale=7.0))  # the scale does nothing where autoscale is on
    assert chosen(probabilities, data, twice).candidate is twice[0]
    assert chosen(probabilities, data, twice[::-1]).candidate is twice[1]


def test_none_is_chosen_where_nothing_is_better() -> None:
    _, data = communities()
    right = 0.9 * F.one_hot(data.y).double() + 0.1 / C
    best = chosen(right, data)
    assert best.candidate is None
    assert best.probabilities is right
    assert best.val_accuracy == 1.0


def test_none_is_chosen_where_all_else_is_worse() -> None:
    """Neighbours are always of different classes, so that what smoothing gathers is wrong."""
    probabilities, data = communities(noise=0.5)
    data.edge_index = torch.stack([torch.arange(300), (torch.arange(300) + 100) % 300])
    candidates = [CorrectAndSmooth(0, smoothing_alpha=alpha) for alpha in (0.8, 0.95)]
    before = accuracy(probabilities, data, "val")
    assert before < 1
    assert all(accuracy(c(probabilities, data), data, "val") < before for c in candidates)
    best = chosen(probabilities, data, candidates)
    assert (best.candidate, best.val_accuracy) == (None, before)
    assert torch.equal(chosen(probabilities, data, ()).probabilities, probabilities)


def test_the_grid() -> None:
    assert 12 <= len(GRID) <= 20
    assert len(set(GRID)) == len(GRID)
    assert any(candidate.num_correction_layers == 0 for candidate in GRID)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("candidate", GRID[::5])
def test_cuda(candidate: CorrectAndSmooth) -> None:
    probabilities, data = random_problem(weighted=True)
    result = candidate(probabilities.cuda(), data.clone().to("cuda"))
    assert result.is_cuda
    torch.testing.assert_close(result.cpu(), candidate(probabilities, data))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_correction_layers": -1}, "num_correction_layers is -1: it must be an integer, 0 or more"),
        ({"num_smoothing_layers": -1}, "num_smoothing_layers is -1: it must be an integer, 0 or more"),
        ({"correction_alpha": 1.1}, "correction_alpha is 1.1: it must be from 0 to 1"),
        ({"smoothing_alpha": math.nan}, "smoothing_alpha is nan: it must be from 0 to 1"),
        ({"scale": 0.0}, "scale is 0.0: it must be positive and finite"),
    ],
)
def test_wrong_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        CorrectAndSmooth(**options)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (torch.ones(20), "probabilities must be a floating-point tensor [nodes, classes], got [20]"),
        (torch.ones(20, C).long(), "probabilities must be a floating-point tensor"),
        ([[0.5, 0.5]], "probabilities must be a floating-point tensor [nodes, classes], got list"),
        (-torch.ones(20, C), "probabilities must be finite and not negative"),
        (torch.full((20, C), math.nan), "probabilities must be finite and not negative"),
        (torch.ones(19, C), "data.train_mask must be a bool tensor [19], a row of probabilities each"),
        (torch.ones(20, 1), "a node of data.train_mask has label 2: allowed: 0 to 0"),
        ({"y": None}, "data.y must hold one class for each of the 20 rows of probabilities, got NoneType"),
        ({"y": torch.zeros(20, 2).long()}, "data.y must hold one class for each of the 20 rows"),
        ({"y": torch.full((20,), -1)}, "data.train_mask selects no node with a label"),
        ({"train_mask": torch.ones(20)}, "data.train_mask must be a bool tensor [20]"),
        ({"val_mask": None}, "data.val_mask must be a bool tensor [20]"),
        ({"val_mask": torch.zeros(20, dtype=torch.bool)}, "data.val_mask selects no node with a label"),
        ({"edge_index": None}, "data.edge_index is missing"),
        ({"edge_index": torch.tensor([[0], [20]])}, "edge_index[1, 0] is 20: a graph of 20 nodes allows 0 to 19"),
        ({"edge_weight": torch.ones(2)}, "edge_weight must be a real tensor of shape [40]"),
    ],
)
def test_wrong_input(wrong: Any, message: str) -> None:
    probabilities, data = random_problem()
    if isinstance(wrong, dict):
        for name, value in wrong.items():
            data[name] = value
    else:
        probabilities = wrong
    with pytest.raises(InputError) as error:
        chosen(probabilities, data)
    assert str(error.value).startswith(message)
