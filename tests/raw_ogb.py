"""Made-up raw files in the exact layout of OGB's larger data sets."""

import dataclasses
import gzip

import numpy as np
from raw_files import write_csv

from gamlp_admm.datasets import dataset_info

PARTS = {"train": 30, "valid": 10, "test": 20}
SIZES = {"train": 30, "val": 10, "test": 20}
NODES = sum(PARTS.values())
RELATIONS = {
    ("author", "affiliated_with", "institution"): 15,
    ("author", "writes", "paper"): 90,
    ("paper", "cites", "paper"): 100,
    ("paper", "has_topic", "field_of_study"): 80,
}
KINDS = {"author": 25, "field_of_study": 7, "institution": 4, "paper": NODES}


def described(name, **counts):
    return dataclasses.replace(dataset_info(name), nodes=NODES, **SIZES, **counts)


def write_split(folder, rng):
    order = rng.permutation(NODES)
    for name, part in zip(PARTS, np.split(order, np.cumsum([*PARTS.values()])[:-1]), strict=True):
        write_csv(folder / f"{name}.csv.gz", part, "%d")


def features(rng, classes, columns=8):
    """Return labels, and features that tell them."""
    y = np.arange(NODES) % classes
    return y, (rng.normal(size=(NODES, columns)) + 2 * np.eye(classes, columns)[y]).round(6)


def write_graph(folder, kind, **tables):
    """Write ``edge``, ``node-feat`` and the like of a graph that is stored as OGB stores it."""
    for name, rows in tables.items():
        fmt = "%d" if np.asarray(rows).dtype.kind in "iu" else "%.6f"
        write_csv(folder / "raw" / f"{name.replace('__', '-')}.csv.gz", rows, fmt)
    write_csv(folder / "raw/num-node-list.csv.gz", [NODES], "%d")
    write_csv(folder / "raw/num-edge-list.csv.gz", [len(tables["edge"])], "%d")
    write_split(folder / "split" / kind, np.random.default_rng(1))
    (folder / "RELEASE_v1.txt").touch()


def make_products(folder):
    """Write a small undirected graph, each edge once."""
    rng = np.random.default_rng(0)
    y, x = features(rng, 4)
    write_graph(folder, "sales_ranking", edge=rng.integers(NODES, size=(150, 2)), node__feat=x, node__label=y)
    return described("ogbn-products", edges=300, features=8, classes=4)


def make_proteins(folder, species="species"):
    """Write a small graph with features of edges and 112 labels a node; node 0 has no edges."""
    rng = np.random.default_rng(0)
    y = rng.integers(2, size=(NODES, 112))
    x = rng.random((150, 8)).round(3)
    edges = rng.integers(1, NODES, size=(150, 2))
    kinds = {species: 3702 + np.arange(NODES) % 3}
    write_graph(folder, "species", edge=edges, edge__feat=x, node__label=y, **kinds)
    return described("ogbn-proteins", edges=300)


def make_mag(folder):
    """Write a small heterogeneous graph; returns its description as the graph of its papers."""
    rng = np.random.default_rng(0)
    y, x = features(rng, 5)
    for path, rows, fmt in (
        ("node-feat/paper/node-feat", x, "%.6f"),
        ("node-feat/paper/node_year", y + 2010, "%d"),
        ("node-label/paper/node-label", y, "%d"),
    ):
        write_csv(folder / f"raw/{path}.csv.gz", rows, fmt)
    for (source, relation, target), count in RELATIONS.items():
        place = folder / f"raw/relations/{source}___{relation}___{target}"
        ends = [rng.integers(KINDS[kind], size=count) for kind in (source, target)]
        write_csv(place / "edge.csv.gz", np.stack(ends, 1), "%d")
        write_csv(place / "edge_reltype.csv.gz", [0] * count, "%d")
        write_csv(place / "num-edge-list.csv.gz", [count], "%d")
    texts = {
        "raw/num-node-dict": [",".join(KINDS), ",".join(map(str, KINDS.values()))],
        "raw/triplet-type-list": map(",".join, RELATIONS),
        "raw/nodetype-has-label": [",".join(KINDS), "False,False,False,True"],
        "split/time/nodetype-has-split": [",".join(KINDS), "False,False,False,True"],
    }
    (folder / "split/time").mkdir(parents=True)
    for path, lines in texts.items():
        (folder / f"{path}.csv.gz").write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode()))
    write_split(folder / "split/time/paper", rng)
    (folder / "RELEASE_v2.txt").touch()
    return described("ogbn-mag", edges=100, features=8, classes=5)


def make_papers(folder, save=np.savez_compressed):
    """Write a small directed graph in two ``.npz`` files; the last five nodes have no label and are in no part."""
    rng = np.random.default_rng(0)
    y, x = features(rng, 4)
    (folder / "raw").mkdir(parents=True)
    save(
        folder / "raw/data.npz",
        edge_index=rng.integers(NODES + 5, size=(2, 200)),
        num_nodes_list=np.array([NODES + 5]),
        num_edges_list=np.array([200]),
        node_feat=np.concatenate([x, rng.normal(size=(5, 8))]).astype(np.float32),
        node_year=np.full((NODES + 5, 1), 2015),
    )
    labels = np.concatenate([y, [np.nan] * 5]).astype(np.float32)[:, None]
    save(folder / "raw/node-label.npz", node_label=labels)
    write_split(folder / "split/time", rng)
    return dataclasses.replace(described("ogbn-papers100M", edges=200, features=8, classes=4), nodes=NODES + 5)
