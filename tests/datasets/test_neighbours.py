"""Graphs of nearest neighbours: what brute force finds, ties included; and kept, found again, mended."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from raw_files import make_mnist
from safetensors.torch import load_file, save_file
from threadpoolctl import threadpool_limits
from torch_geometric.utils import contains_self_loops, is_undirected

from gamlp_admm.datasets import dataset_info, neighbours
from gamlp_admm.datasets.loading import read_data, split_data
from gamlp_admm.datasets.neighbours import kept_neighbour_graph, nearest, neighbour_graph
from gamlp_admm.errors import InputWarning


def brute_force(pixels, count):
    """Return the nearest others [N, count] by a sort of all distances; float64 has these integers exactly."""
    x = pixels.astype(np.float64)
    squares = (x**2).sum(axis=1)
    distances = squares[:, None] + squares - 2 * x @ x.T
    np.fill_diagonal(distances, np.inf)
    return np.argsort(distances, axis=1, kind="stable")[:, : min(count, len(x) - 1)]


def brute_force_edges(pixels, count):
    pairs = {(i, j) for i, row in enumerate(brute_force(pixels, count).tolist()) for j in row}
    return torch.tensor(sorted(pairs | {(j, i) for i, j in pairs})).T.contiguous()


def images(kind):
    """Return made-up images [N, P]."""
    rng = np.random.default_rng(0)
    if kind == "noise":
        return rng.integers(256, size=(300, 784), dtype=np.uint8)
    if kind == "ties":  # 64 different images, each a few times
        return rng.integers(2, size=(400, 6), dtype=np.uint8)
    if kind == "equal":
        return np.full((50, 9), 201, np.uint8)
    if kind == "two":
        return np.array([[0, 255], [255, 0]], np.uint8)
    centres = rng.integers(256, size=(12, 144))  # bright and far apart, beside what is within a cluster
    nodes = {"clusters": 700, "many": 2600}[kind]
    noise = rng.integers(-3, 4, size=(nodes, 144)) * (rng.random((nodes, 144)) < 0.1)
    return np.clip(centres[rng.integers(12, size=nodes)] + noise, 0, 255).astype(np.uint8)


KINDS = ["noise", "ties", "equal", "two", "clusters", "many"]


@pytest.mark.parametrize("components", [neighbours.COMPONENTS, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_nearest_are_those_of_brute_force(kind, components, monkeypatch):
    monkeypatch.setattr(neighbours, "COMPONENTS", components)
    pixels = images(kind)
    for count in (1, 10):
        assert np.array_equal(nearest(pixels, count), brute_force(pixels, count))


def test_all_others_are_the_most_neighbours_there_are():
    pixels = images("equal")
    assert np.array_equal(nearest(pixels, 1000), brute_force(pixels, 49))


@pytest.mark.parametrize("rows", [1, 7, 4096])
def test_nearest_do_not_depend_on_the_size_of_blocks(rows):
    for kind in ("ties", "clusters"):
        assert np.array_equal(nearest(images(kind), 10, rows), nearest(images(kind), 10))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_nearest_do_not_depend_on_the_number_of_threads(threads):
    with threadpool_limits(threads):
        for kind in ("ties", "clusters"):
            assert np.array_equal(nearest(images(kind), 10), brute_force(images(kind), 10))


def test_most_pairs_are_left_out_by_their_bound(monkeypatch):
    compared = 0

    def counted(pixels, one, other):
        nonlocal compared
        compared += len(one)
        return distances(pixels, one, other)

    distances = neighbours._distances
    monkeypatch.setattr(neighbours, "_distances", counted)
    pixels = images("many")
    nearest(pixels, 10)
    assert compared < 0.1 * len(pixels) ** 2


@pytest.mark.parametrize("kind", ["ties", "clusters", "two"])
def test_graph_joins_if_either_is_near_the_other(kind):
    edge_index = neighbour_graph(images(kind), 10)
    assert edge_index.dtype == torch.long
    assert torch.equal(edge_index, brute_force_edges(images(kind), 10))
    assert is_undirected(edge_index)
    assert not contains_self_loops(edge_index)


# as a data set


@pytest.fixture
def joined(root):
    """Return a description of made-up images in the folder of MNIST, joined, and their edges."""
    info, x, _ = make_mnist(root / "mnist/raw")
    edges = brute_force_edges(x.reshape(len(x), -1), 10)
    counts = {key: getattr(info, key) for key in ("nodes", "features", "train", "val", "test")}
    return dataclasses.replace(dataset_info("mnist-knn"), **counts, edges=edges.shape[1]), edges


def test_images_are_those_of_the_plain_data_set(joined, root):
    info, edges = joined
    data = split_data(read_data(info, root), info, None, None)
    plain, *_ = make_mnist(root / "mnist/raw")
    other = split_data(read_data(plain, root), plain, None, None)
    assert torch.equal(data.edge_index, edges)
    for key in ("x", "y", "train_mask", "val_mask", "test_mask"):
        assert torch.equal(data[key], other[key])


def test_pixels_are_had_back_from_features():
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(((pixels.float() / 255) * 255).round().byte(), pixels)


def never(*_):
    pytest.fail("the graph was built and not read")


def test_graph_is_built_once(joined, root, own_cache, monkeypatch):
    info, edges = joined
    read_data(info, root)
    assert [path.suffix for path in (own_cache / "neighbours").iterdir()] == [".safetensors"]
    monkeypatch.setattr(neighbours, "neighbour_graph", never)
    assert torch.equal(read_data(info, root).edge_index, edges)


def test_other_images_have_another_graph(own_cache):
    pixels = images("ties")
    for other, count in ((pixels, 10), (pixels, 9), (1 - pixels, 10), (pixels.reshape(-1, 3), 10)):
        assert torch.equal(kept_neighbour_graph(other, count), neighbour_graph(other, count))
    assert len(list((own_cache / "neighbours").iterdir())) == 4


@pytest.mark.parametrize("damage", ["truncated", "empty", "page", "one bit", "no checksum", "other tensor"])
def test_a_damaged_graph_is_built_again(joined, root, own_cache, damage, monkeypatch):
    info, edges = joined
    read_data(info, root)
    (path,) = (own_cache / "neighbours").iterdir()
    whole = path.read_bytes()
    if damage == "no checksum":
        save_file({"edge_index": edges}, path)
    elif damage == "other tensor":
        save_file({"edges": edges}, path)
    else:
        flipped = whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:]
        path.write_bytes({"truncated": whole[:-9], "empty": b"", "page": b"<html>", "one bit": flipped}[damage])
    assert torch.equal(read_data(info, root).edge_index, edges)
    assert torch.equal(load_file(path)["edge_index"], edges)
    monkeypatch.setattr(neighbours, "neighbour_graph", never)
    assert torch.equal(read_data(info, root).edge_index, edges)


def test_several_may_build_at_once(joined, root, own_cache):
    info, edges = joined
    with ThreadPoolExecutor(4) as pool:
        for data in pool.map(lambda _: read_data(info, root), range(8)):
            assert torch.equal(data.edge_index, edges)
    assert [path.suffix for path in (own_cache / "neighbours").iterdir()] == [".safetensors"]


def test_root_may_be_read_only(joined, root):
    info, edges = joined
    for folder in (root / "mnist/raw", root / "mnist", root):
        folder.chmod(0o555)
    before = {path: path.stat().st_mtime_ns for path in [root, *root.rglob("*")]}
    try:
        assert torch.equal(read_data(info, root).edge_index, edges)
        assert {path: path.stat().st_mtime_ns for path in [root, *root.rglob("*")]} == before
    finally:
        for folder in (root, root / "mnist", root / "mnist/raw"):
            folder.chmod(0o755)


def test_a_cache_that_cannot_be_written_is_said_once_a_load(joined, root, own_cache):
    info, edges = joined
    own_cache.write_text("a file, so that no folder can be made here")
    with pytest.warns(InputWarning, match="graph of nearest neighbours cannot be kept and is built") as caught:
        assert torch.equal(read_data(info, root).edge_index, edges)
    assert len(caught) == 1
