"""The names of the data sets, and made-up raw files in the exact layout of the originals."""

import dataclasses
import gzip
import json
import pickle

import numpy as np
import scipy.sparse

from gamlp_admm.datasets import dataset_info

NAMES = [
    "amazon-computers",
    "amazon-photo",
    "citeseer",
    "coauthor-cs",
    "coauthor-physics",
    "cora",
    "digits",
    "digits-knn",
    "fashion-mnist",
    "flickr",
    "karate",
    "mnist",
    "mnist-knn",
    "ogbn-arxiv",
    "ogbn-mag",
    "ogbn-papers100M",
    "ogbn-products",
    "ogbn-proteins",
    "pubmed",
]


def write_csv(path, rows, fmt):
    path.parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as file:
        np.savetxt(file, np.asarray(rows), fmt=fmt, delimiter=",")


def make_arxiv(folder, nodes=60):
    """Write a small directed graph as OGB lays out ogbn-arxiv, and return its description and its arrays."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(nodes, 8)).round(6)
    edges = rng.integers(nodes, size=(200, 2))
    y = np.arange(nodes) % 4
    order = rng.permutation(nodes)
    write_csv(folder / "raw/node-feat.csv.gz", x, "%.6f")
    write_csv(folder / "raw/edge.csv.gz", edges, "%d")
    write_csv(folder / "raw/node-label.csv.gz", y, "%d")
    write_csv(folder / "raw/node_year.csv.gz", y + 2000, "%d")
    write_csv(folder / "raw/num-node-list.csv.gz", [nodes], "%d")
    write_csv(folder / "raw/num-edge-list.csv.gz", [len(edges)], "%d")
    for name, part in (("train", order[:30]), ("valid", order[30:40]), ("test", order[40:])):
        write_csv(folder / f"split/time/{name}.csv.gz", part, "%d")
    (folder / "mapping").mkdir()
    (folder / "RELEASE_v1.txt").touch()
    info = dataset_info("ogbn-arxiv")
    counts = {"nodes": nodes, "edges": 200, "features": 8, "classes": 4, "train": 30, "val": 10, "test": 20}
    return dataclasses.replace(info, **counts), x, edges, y, order


def make_flickr(folder):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    adjacency = scipy.sparse.random(40, 40, density=0.1, format="csr", random_state=0)
    adjacency = adjacency + adjacency.T
    csr = {key: getattr(adjacency, key) for key in ("data", "indices", "indptr", "shape")}
    np.savez(folder / "adj_full.npz", **csr)
    np.save(folder / "feats.npy", rng.normal(size=(40, 5)))
    (folder / "class_map.json").write_text(json.dumps({str(node): node % 7 for node in range(39, -1, -1)}))
    order = rng.permutation(40).tolist()
    (folder / "role.json").write_text(json.dumps({"tr": order[:20], "va": order[20:30], "te": order[30:]}))
    counts = {"nodes": 40, "edges": adjacency.nnz, "features": 5, "train": 20, "val": 10, "test": 10}
    return dataclasses.replace(dataset_info("flickr"), **counts)


def make_pubmed(folder):
    """Write a small graph in the eight Planetoid files: 15 training, 600 other and 1,000 test nodes."""
    folder.mkdir(parents=True)
    x = scipy.sparse.random(1615, 20, density=0.3, format="csr", random_state=0, dtype=np.float32)
    y = np.eye(3, dtype=np.int32)[np.arange(1615) % 3]
    graph = {node: [(node + 1) % 1615, (node - 1) % 1615] for node in range(1615)}
    parts = {"x": x[:15], "allx": x[:615], "tx": x[615:], "y": y[:15], "ally": y[:615], "ty": y[615:]}
    for name, part in {**parts, "graph": graph}.items():
        (folder / f"ind.pubmed.{name}").write_bytes(pickle.dumps(part))
    order = np.random.default_rng(0).permutation(np.arange(615, 1615))
    np.savetxt(folder / "ind.pubmed.test.index", order, fmt="%d")
    counts = {"nodes": 1615, "edges": 3230, "features": 20, "train": 15}
    return dataclasses.replace(dataset_info("pubmed"), **counts)


def write_idx(path, array):
    """Write bytes as an idx file: two zeros, type 8, the number of dimensions, their sizes, the elements."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">i4").tobytes()
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


def make_mnist(folder, train=36, test=10):
    """Write small images in the four idx files, and return their description, all pixels and all labels."""
    rng = np.random.default_rng(0)
    x = rng.integers(256, size=(train + test, 3, 2))
    y = np.arange(train + test)[::-1] % 10
    for part, rows in (("train", slice(train)), ("t10k", slice(train, None))):
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", x[rows])
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", y[rows])
    counts = {"nodes": train + test, "features": 6, "train": train - train // 12, "val": train // 12, "test": test}
    return dataclasses.replace(dataset_info("mnist"), **counts), x, y
