"""What is known of a data set before it is loaded: the contents of its TOML file."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gamlp_admm.errors import unknown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class RawFiles:
    """Where a data set's raw files lie and where they come from.

    Attributes:
        folder: Folder that holds them, relative to the data root.
        files: The files that must be there, relative to ``folder``.
        urls: One URL a file, in the same order; or the URL of one zip archive whose top folder holds them
            all.
        hashes: The checksum of what each URL gives, as ``sha256:…`` or ``md5:…``; empty where it is not known.
    """

    folder: str
    files: tuple[str, ...]
    urls: tuple[str, ...]
    hashes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Published:
    """A test accuracy that others reported.

    Attributes:
        method: Name of the method.
        accuracy: Test accuracy, a fraction in [0, 1].
        source: Where it was published.
        neurons: Neurons of a hidden layer, where the source varies them.
        split: The split that it is of: ``"usual"``, or shares drawn at random.
    """

    method: str
    accuracy: float
    source: str
    neurons: int | None = None
    split: str = "usual"


@dataclass(frozen=True)
class DatasetInfo:
    """Description of one data set.

    Attributes:
        name: Name that :func:`gamlp_admm.datasets.load_dataset` takes.
        title: What the data are, in a few words.
        kind: ``"graph"``, or ``"plain"`` when there are no edges.
        loader: Name of the function that reads it.
        split: Name of the rule that makes its default split.
        licence: Licence of the data.
        origin: Who published the data.
        url: Where to read about it.
        nodes: Number of nodes (samples).
        edges: Number of entries of ``edge_index``: an undirected edge counts twice.
        features: Number of features a node.
        classes: Number of classes.
        train: Number of training nodes in the default split.
        val: Number of validation nodes in the default split.
        test: Number of test nodes in the default split.
        download_bytes: Approximate size of the download in bytes; 0 when nothing is downloaded.
        raw: The raw files; None when the data come with an installed library.
        recipe: Tuned settings of ``train``, by option name.
        published: Accuracies to compare with.
    """

    name: str
    title: str
    kind: str
    loader: str
    split: str
    licence: str
    origin: str
    url: str
    nodes: int
    edges: int
    features: int
    classes: int
    train: int
    val: int
    test: int
    download_bytes: int
    raw: RawFiles | None = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    published: tuple[Published, ...] = ()


def catalogue_folder(package: Path = PACKAGE) -> Path:
    """Return the folder of the TOML files: inside an installed package, else in the checkout around it."""
    shipped = package / "_datasets"
    return shipped if shipped.is_dir() else package.parent / "datasets"


def in_checkout(package: Path = PACKAGE) -> bool:
    """Tell whether the package runs from a source checkout rather than from an installed wheel."""
    return not (package / "_datasets").is_dir() and (package.parent / "pyproject.toml").is_file()


def dataset_names() -> list[str]:
    """Return the names of the data sets that have a description, sorted.

    Example:
        >>> from gamlp_admm.datasets import dataset_names
        >>> {"cora", "digits-knn", "karate"} <= {*dataset_names()}
        True
    """
    return sorted(path.stem for path in catalogue_folder().glob("*.toml"))


def dataset_info(name: str) -> DatasetInfo:
    """Read the description of a data set.

    Args:
        name: One of :func:`dataset_names`.

    Returns:
        The description.

    Raises:
        InputError: If there is no data set of this name.

    Example:
        >>> from gamlp_admm.datasets import dataset_info
        >>> info = dataset_info("cora")  # nothing is loaded
        >>> info.nodes, info.classes, info.licence != ""
        (2708, 7, True)
    """
    names = dataset_names()
    if name not in names:
        raise unknown("data set", name, [*names, "pyg:<ClassName>:<name>"])
    return read_info(catalogue_folder() / f"{name}.toml")


def read_info(path: Path) -> DatasetInfo:
    """Read one description from a TOML file; the data set is named after the file."""
    with path.open("rb") as file:
        table = tomllib.load(file)
    if raw := table.pop("raw", None):
        files, urls, hashes = (tuple(raw.get(name, ())) for name in ("files", "urls", "hashes"))
        table["raw"] = RawFiles(raw["folder"], files, urls, hashes)
    table["published"] = tuple(Published(**row) for row in table.pop("published", []))
    return DatasetInfo(name=path.stem, **table)
