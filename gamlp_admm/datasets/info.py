"""What is known of a data set before it is loaded: the contents of its TOML file."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gamlp_admm.errors import InputError, unknown

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
    """

    folder: str
    files: tuple[str, ...]
    urls: tuple[str, ...]


@dataclass(frozen=True)
class Published:
    """A test accuracy that others reported on the data set's usual split.

    Attributes:
        method: Name of the method.
        accuracy: Test accuracy, a fraction in [0, 1].
        source: Where it was published.
        neurons: Neurons of a hidden layer, where the source varies them.
    """

    method: str
    accuracy: float
    source: str
    neurons: int | None = None


@dataclass(frozen=True)
class DatasetInfo:
    """Description of one data set.

    Attributes:
        name: Name that :func:`gamlp_admm.datasets.load_dataset` takes.
        title: What the data are, in a few words.
        task: Always ``"node-classification"``.
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
    task: str
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
    """Return the names of the data sets that have a description, sorted."""
    return sorted(path.stem for path in catalogue_folder().glob("*.toml"))


def dataset_info(name: str) -> DatasetInfo:
    """Read the description of a data set.

    Args:
        name: One of :func:`dataset_names`.

    Returns:
        The description.

    Raises:
        InputError: If there is no data set of this name.
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
        table["raw"] = RawFiles(raw["folder"], tuple(raw["files"]), tuple(raw["urls"]))
    table["published"] = tuple(Published(**row) for row in table.pop("published", []))
    return DatasetInfo(name=path.stem, **table)


def read_recipe(path: str | Path, allowed: Collection[str] | None = None) -> dict[str, Any]:
    """Read the table ``[recipe]`` of a TOML file: settings by option name, as :attr:`DatasetInfo.recipe`.

    Args:
        path: The file; a data set's description is one.
        allowed: Names that it may hold; any if ``None``.

    Raises:
        InputError: The file cannot be read, has no such table, or the table holds what is not allowed.
    """
    try:
        recipe = tomllib.loads(Path(path).read_text(encoding="utf-8")).get("recipe")
    except OSError as error:
        raise InputError(f"recipe {path} cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise InputError(f"recipe {path} is not TOML: {error}") from None
    if not isinstance(recipe, dict):
        raise InputError(f"recipe {path} has no table [recipe]")
    for name, value in recipe.items():
        if allowed is not None and name not in allowed:
            raise unknown(f"option in recipe {path}:", name, sorted(allowed))
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(each, bool | int | float | str) for each in values):
            raise InputError(
                f"recipe {path}: {name} is {value}; allowed: a number, a text, true, false or a list of them"
            )
    return recipe


def recipe_text(recipe: Mapping[str, Any], comment: str) -> str:
    """Return the table ``[recipe]`` as TOML, with a comment below its head."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in recipe.items()]  # in these types TOML is JSON
    return "\n".join(["[recipe]", f"# {' '.join(comment.split())}", *lines, ""])


def with_recipe(text: str, recipe: Mapping[str, Any], comment: str) -> str:
    """Return a TOML text with another table ``[recipe]``; the rest of it stays as it is, byte for byte.

    Raises:
        InputError: The text is laid out in a way that this does not understand.
    """
    lines = text.splitlines(keepends=True)
    heads = [i for i, line in enumerate(lines) if line.startswith("[")]
    start = next((i for i in heads if re.match(r"\[\s*recipe\s*\]", lines[i])), len(lines))
    end = next((i for i in heads if i > start), len(lines))
    while end > start + 1 and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
        end -= 1  # what stands above the next table belongs to it
    newline = "\r\n" if "\r\n" in text else "\n"
    table = recipe_text(recipe, comment).replace("\n", newline)
    if text and start == len(lines):
        table = newline * (1 if text.endswith("\n") else 2) + table
    result = "".join([*lines[:start], table, *lines[end:]])
    wanted = json.loads(json.dumps(dict(recipe)))  # TOML has no tuples either
    if tomllib.loads(result) != {**tomllib.loads(text), "recipe": wanted}:
        raise InputError("the table [recipe] cannot be replaced in this file; write it to a file of its own")
    return result
