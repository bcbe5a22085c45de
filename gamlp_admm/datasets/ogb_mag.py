"""ogbn-mag, read from OGB's raw files: papers and their citations alone, or the whole heterogeneous graph."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor
from torch_geometric.data import Data, HeteroData

from gamlp_admm.datasets.info import DatasetInfo, dataset_info, dataset_names
from gamlp_admm.datasets.ogb import PARTS, csv_lines, kept, masks, read_csv
from gamlp_admm.datasets.raw import default_root, ensure_raw, reading
from gamlp_admm.datasets.readers import reader
from gamlp_admm.errors import InputError, unknown

PAPER = "paper"
BETWEEN = "___"
"""Stands in the name of a relation's folder between source, relation and target."""


@reader("ogb-mag")
def read_ogb_mag(paths: list[Path]) -> Data:
    """Read the papers of ogbn-mag and who cites whom, directed as OGB stores it.

    Args:
        paths: ``raw/relations/<source>___<relation>___<target>/edge.csv.gz`` and, in ``raw`` and ``split/time``, the
            files ``node-feat``, ``node-label``, ``train``, ``valid`` and ``test`` in folders ``paper``.

    Returns:
        Data with ``x`` [N, F], ``edge_index`` [2, E], ``y`` [N] and three masks [N] of OGB's split.

    Raises:
        InputError: If a raw file cannot be read.
    """

    def make() -> dict[str, Tensor]:
        return {**_papers(paths), "edge_index": _edges(_relations(paths)[PAPER, "cites", PAPER])}

    return Data(**kept(paths, make))


def load_hetero(name: str, root: str | Path | None = None) -> HeteroData:
    """Load a heterogeneous data set, downloading it first if its raw files are absent.

    :class:`gamlp_admm.transforms.AugmentFeatures` with ``metapaths`` makes of it the features of its papers.

    Args:
        name: ``"ogbn-mag"``.
        root: Data root, as of :func:`gamlp_admm.datasets.load_dataset`.

    Returns:
        The graph, with node and edge types named as in :class:`torch_geometric.datasets.OGB_MAG`; papers have ``x``
        [N, F], ``y`` [N] and three masks [N], other types only ``num_nodes``.

    Raises:
        InputError: If there is no such data set, its raw files are absent and cannot be downloaded, or one is damaged.

    Example:
        >>> from gamlp_admm.datasets import load_hetero
        >>> load_hetero("cora")  # which has one type of nodes
        Traceback (most recent call last):
        gamlp_admm.errors.InputError: unknown heterogeneous data set 'cora': allowed: ogbn-mag
    """
    hetero = [info.name for info in map(dataset_info, dataset_names()) if info.loader == "ogb-mag"]
    if name not in hetero:
        raise unknown("heterogeneous data set", name, hetero)
    info = dataset_info(name)
    return read_hetero(info, default_root() if root is None else Path(root).expanduser())


def read_hetero(info: DatasetInfo, root: Path) -> HeteroData:
    """Read a described heterogeneous data set; see :func:`load_hetero`."""
    paths = ensure_raw(info, root)
    relations = _relations(paths)

    def make() -> dict[str, Tensor]:
        edges = {BETWEEN.join(relation): _edges(path) for relation, path in relations.items()}
        return {**_papers(paths), **edges}

    tensors = kept(paths, make, "-hetero")
    data = HeteroData()
    for relation in relations:
        data[relation].edge_index = tensors.pop(BETWEEN.join(relation))
    for kind, count in _counts(paths).items():
        data[kind].num_nodes = count
    data[PAPER].update(tensors)
    try:
        data.validate()
    except ValueError as error:
        raise InputError(f"{info.name}: {error}") from error
    return data


def _relations(paths: list[Path]) -> Mapping[tuple[str, str, str], Path]:
    found = {}
    for path in paths:
        if path.name == "edge.csv.gz":
            source, relation, target = path.parent.name.split(BETWEEN)
            found[source, relation, target] = path
    return found


def _edges(path: Path) -> Tensor:
    return read_csv(path, np.int64).T.contiguous()


def _papers(paths: list[Path]) -> dict[str, Tensor]:
    files = {path.name.removesuffix(".csv.gz"): path for path in paths if path.parent.name == PAPER}
    x = read_csv(files["node-feat"], np.float32)
    y = read_csv(files["node-label"], np.int64).flatten()
    return {"x": x, "y": y, **masks({name: files[name] for name in PARTS.values()}, len(x))}


def _counts(paths: list[Path]) -> dict[str, int]:
    """Return the number of nodes of each type: a table of one row, with a head."""
    path = next(path for path in paths if path.name == "num-node-dict.csv.gz")
    with reading(path):
        head, row = (line.strip().split(",") for line in csv_lines(path))
        return {kind: int(count) for kind, count in zip(head, row, strict=True)}
