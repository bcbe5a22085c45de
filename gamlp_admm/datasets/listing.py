"""What can be loaded, from where, how large it is and whether it is present."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gamlp_admm.datasets.info import dataset_info, dataset_names
from gamlp_admm.datasets.raw import default_root, is_present


@dataclass(frozen=True)
class DatasetRow:
    """One line of the table of data sets.

    Attributes:
        name: Name to load it by.
        kind: ``"graph"`` or ``"plain"``.
        nodes: Number of nodes (samples).
        edges: Number of directed edges.
        features: Number of features a node.
        classes: Number of classes.
        download_bytes: Approximate size of the download in bytes; 0 when nothing is downloaded.
        present: Whether it loads without a network.
        licence: Licence of the data.
        origin: Who published the data.
    """

    name: str
    kind: str
    nodes: int
    edges: int
    features: int
    classes: int
    download_bytes: int
    present: bool
    licence: str
    origin: str


def list_datasets(root: str | Path | None = None) -> list[DatasetRow]:
    """List the described data sets; nothing is downloaded.

    Args:
        root: Data root in which to look for raw files. Default: :func:`default_root`.

    Returns:
        One row a data set, sorted by name.

    Example:
        >>> from gamlp_admm.datasets import list_datasets
        >>> [row.present for row in list_datasets() if row.name == "karate"]  # it comes with PyG
        [True]
    """
    folder = default_root() if root is None else Path(root).expanduser()
    return [
        DatasetRow(
            info.name,
            info.kind,
            info.nodes,
            info.edges,
            info.features,
            info.classes,
            info.download_bytes,
            is_present(info, folder),
            info.licence,
            info.origin,
        )
        for info in map(dataset_info, dataset_names())
    ]
