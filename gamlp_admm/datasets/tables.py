"""Tables of nodes and of edges, ``.csv`` or ``.parquet``, read into tensors and names.

Names of nodes and classes are read as they are written: ``007`` stays ``007``. An undirected edge may be there once.
"""

from __future__ import annotations

import csv
import fnmatch
import re
import warnings
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import Data

from gamlp_admm.errors import InputError, InputWarning, unknown

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
"""What a column of splits may say."""

USUAL = {
    "label": ("label", "y", "class", "target"),
    "id": ("id", "node", "node_id"),
    "split": ("split",),
    "weight": ("weight",),
}
"""Names that columns have where none are given, in any case of letters."""

ENDS = (("source", "target"), ("src", "dst"), ("from", "to"), ("u", "v"))

MISSING = ("", "nan", "NaN", "NA", "<NA>", "N/A", "n/a", "#N/A", "None", "null", "NULL")
"""What a cell says that says nothing; of names of nodes only nothing does."""

WHOLE = re.compile(r"(-?(?:0|[1-9]\d{0,17}))(?:\.0+)?")
"""A whole number below 10^18, also as a column of floats writes it."""


@dataclass(frozen=True)
class Columns:
    """Which columns of tables, or attributes of other graphs, mean what; ``None`` for the usual names.

    Attributes:
        label: Class of a node.
        features: Names or patterns of the features, separated by commas, ``age,f*``; or a list of names. Default: all
            other columns of numbers.
        id: Name of a node, which edges refer to; without one, edges refer to its number, from 0.
        weight: Weight of an edge.
        split: ``train``, ``val`` or ``test``; empty for nodes of no split.
        optional: Whether label and split may be missing, as of a graph that is there to be predicted.
    """

    label: str | None = None
    features: str | Sequence[str] | None = None
    id: str | None = None
    weight: str | None = None
    split: str | None = None
    optional: bool = False

    def among(self, names: Collection[str]) -> Columns:
        """Return these columns, empty the names of those that are not among ``names`` and need not be."""
        if not self.optional:
            return self
        label, split = ("" if name not in (None, *names) else name for name in (self.label, self.split))
        return replace(self, label=label, split=split)


def from_tables(folder: Path, columns: Columns) -> Data:
    """Read ``nodes`` and ``edges`` tables.

    Args:
        folder: Has them.
        columns: Which columns mean what.

    Returns:
        What is there, under the names of PyG; ``y`` as texts, ``node_ids`` the names of the nodes, ``feature_names``
        the columns of ``x``.

    Raises:
        InputError: A table or a column is missing, or holds what it cannot.
    """
    path, header = _find(folder, "nodes")
    columns = columns.among(header)
    label, name, split = (_column(header, what, getattr(columns, what)) for what in ("label", "id", "split"))
    nodes = _read(path, header, {label, name, split} - {None})
    if not len(nodes):
        raise InputError(f"data {path}: has no nodes")
    found: dict[str, Any] = {"num_nodes": len(nodes)}
    if features := _features(path, nodes, columns.features, {label, name, split}):
        _warn_of_ids(path, nodes, features, name)
        found["x"] = torch.tensor(nodes[features].to_numpy(np.float32, na_value=np.nan))
        found["feature_names"] = features
    if label is not None:
        found["y"] = _labels(path, label, _texts(nodes[label]))
    if name is not None:
        found["node_ids"] = _ids(path, name, _texts(nodes[name]))
    if split is not None:
        found |= _masks(path, split, _texts(nodes[split]), bool(columns.split))
    return Data(**found, **_edges(folder, found.get("node_ids"), len(nodes), columns.weight))


def _find(folder: Path, name: str) -> tuple[Path, list[str]]:
    """Return the path of a table and the names of its columns."""
    for suffix in (".csv", ".parquet"):
        path = folder / f"{name}{suffix}"
        if path.exists():
            break
    else:
        raise InputError(f"data {folder}: has no {name}.csv and no {name}.parquet")
    header = _header(path) if suffix == ".csv" else [str(column) for column in _read(path, [], ()).columns]
    if twice := sorted({column for column in header if header.count(column) > 1}):
        raise InputError(f"data {path}: the column {twice[0]!r} is there twice")
    return path, header


def _header(path: Path) -> list[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next(filter(None, csv.reader(file, skipinitialspace=True)), None)
    except (ValueError, OSError, csv.Error) as error:
        raise InputError(f"data {path}: cannot be read ({error}); allowed: text in UTF-8") from error
    if header is None:
        raise InputError(f"data {path}: is empty; allowed: a line of names of columns, and a line a row")
    if len(header) == 1 and (other := re.search("[;\t|]", header[0])):
        raise InputError(f"data {path}: its columns are separated by {other[0]!r}; allowed: commas")
    return [column.strip() for column in header]


def _read(path: Path, header: Sequence[str], texts: Collection[str | None]) -> Any:
    """Return a table whose columns ``texts`` are as they are written."""
    import pandas as pd

    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(
                path,
                names=list(header),
                header=0,
                index_col=False,
                dtype=dict.fromkeys(texts, str),
                keep_default_na=False,
                na_values={column: MISSING for column in header if column not in texts},
                skipinitialspace=True,
                encoding="utf-8-sig",
                low_memory=False,
            )
    except ImportError as error:
        raise InputError(f"data {path}: pandas needs pyarrow to read it (pip install pyarrow)") from error
    except pd.errors.ParserWarning as error:
        raise InputError(f"data {path}: has rows of more cells than the {len(header)} columns") from error
    except Exception as error:  # readers raise almost anything on damaged files
        raise InputError(f"data {path}: cannot be read ({str(error).strip().splitlines()[0]})") from error


def _texts(column: Any) -> list[str]:
    """Return what cells say; nothing where they are missing, and whole numbers without a point."""
    if column.dtype == object or not np.issubdtype(getattr(column.dtype, "type", object), np.number):
        return ["" if missing else str(cell).strip() for cell, missing in zip(column, column.isna(), strict=True)]
    cells = zip(column, column.isna(), strict=True)
    return ["" if missing else str(int(cell)) if cell == cell // 1 else str(cell) for cell, missing in cells]


def _column(header: Sequence[str], what: str, given: str | None) -> str | None:
    if given == "":
        return None
    if given is not None and given not in header:
        raise unknown(f"column of {what}", given, header)
    return given or next((name for usual in USUAL[what] for name in header if name.lower() == usual), None)


def _features(path: Path, nodes: Any, given: str | Sequence[str] | None, taken: set[str | None]) -> list[str]:
    import pandas as pd

    numbers = [name for name in nodes.columns if pd.api.types.is_numeric_dtype(nodes[name])]
    if given is None:
        chosen = [name for name in numbers if name not in taken]
        for name in nodes.columns:
            if name not in taken and name not in numbers and (wrong := _wrong(nodes[name])):
                message = f"data {path}: the column {name!r} is no feature: {wrong!r} is no number"
                warnings.warn(message, InputWarning, stacklevel=6)
    else:
        chosen = _matching(list(nodes.columns), given, taken)
        for name in chosen:
            if name not in numbers:
                raise InputError(f"column {name!r} of nodes is not of numbers; allowed features: {', '.join(numbers)}")
    for name in chosen:
        if lost := int((~np.isfinite(nodes[name].to_numpy(np.float64, na_value=np.nan))).sum()):
            raise InputError(
                f"data {path}: the column {name!r} has {lost:,} cells without a finite number; fill them, or leave the "
                "column out of the features"
            )
    return chosen


def _wrong(column: Any) -> Any:
    """Return a cell that keeps a column, otherwise of numbers, from being one; ``None`` where others do, too."""
    import pandas as pd

    wrong = column[column.notna() & pd.to_numeric(column, errors="coerce").isna()]
    return wrong.iloc[0] if 2 * len(wrong) < len(column) and len(wrong) else None


def _matching(header: Sequence[str], given: str | Sequence[str], taken: set[str | None]) -> list[str]:
    if not isinstance(given, str):
        given = list(given)
        if lost := [name for name in given if name not in header]:
            raise unknown("column of features", lost[0], header)
        return given
    chosen: list[str] = []
    for pattern in map(str.strip, given.split(",")):
        matching = [pattern] if pattern in header else fnmatch.filter(header, pattern)
        if pattern in taken:
            raise InputError(f"the column {pattern!r} is the label, the id or the split, and cannot be a feature, too")
        if not matching:
            raise unknown("column of features", pattern, header)
        chosen += [name for name in matching if name not in chosen and name not in taken]
    return chosen


def _warn_of_ids(path: Path, nodes: Any, features: Sequence[str], name: str | None) -> None:
    for column in features if name is None else ():
        if column.lower().endswith("id") and nodes[column].is_unique and len(nodes) > 1:
            message = f"data {path}: the column {column!r} counts as a feature, and edges as numbers of rows; if it"
            warnings.warn(f"{message} names the nodes, say so by id ({column!r})", InputWarning, stacklevel=6)


def _labels(path: Path, name: str, texts: list[str]) -> list[str | None]:
    for word in {*MISSING} - {"", "nan", "NaN"}:
        if count := texts.count(word):
            message = f"data {path}: {count:,} nodes have the {name} {word!r}; their class counts as not known"
            warnings.warn(message, InputWarning, stacklevel=6)
    return [None if text in MISSING else text for text in texts]


def _ids(path: Path, name: str, texts: list[str]) -> list[str]:
    seen: set[str] = set()
    for row, text in enumerate(texts, 1):
        if not text:
            raise InputError(f"data {path}: the node in row {row} has no {name}")
        if text in seen:
            raise InputError(f"data {path}: the node {text!r} is there twice")
        seen.add(text)
    return texts


def _masks(path: Path, name: str, texts: Iterable[str], asked: bool) -> dict[str, Tensor]:
    texts = list(texts)
    parts = [SPLIT_WORDS.get(text.lower()) for text in texts]
    others = {text for text, part in zip(texts, parts, strict=True) if part is None and text not in MISSING}
    if asked and not any(parts):
        raise unknown(f"word in the column {name!r} of splits:", min(others, default=""), ("train", "val", "test"))
    if others:
        message = f"data {path}: nodes whose {name} is {min(others)!r} are in no split; allowed: train, val, test"
        warnings.warn(message, InputWarning, stacklevel=6)
    present = [part for part in ("train", "val", "test") if part in parts]
    return {f"{part}_mask": torch.tensor([each == part for each in parts]) for part in present}


def _edges(folder: Path, ids: list[str] | None, count: int, given: str | None) -> dict[str, Tensor]:
    import pandas as pd

    path, header = _find(folder, "edges")
    lower = {name.lower(): name for name in header}
    pair = next(([lower[end] for end in ends] for ends in ENDS if {*ends} <= {*lower}), header[:2])
    if len(pair) < 2:
        raise InputError(f"data {path}: edges need two columns, source and target")
    weight = _column(header, "weight", given)
    numbers = None if ids is None else [WHOLE.fullmatch(each) for each in ids]
    whole = range(count) if numbers is None else [int(found[1]) for found in numbers if found]
    numeric = len({*whole}) == count  # then there is no need of millions of texts
    edges = _read(path, header, () if numeric else pair)
    index, ends = pd.Index(whole if numeric else ids), []
    for column in pair:
        wanted = pd.to_numeric(edges[column], errors="coerce") if numeric else _texts(edges[column])
        ends.append(index.get_indexer(wanted))
        if (ends[-1] < 0).any():
            row = int((ends[-1] < 0).argmax())
            lost = _texts(edges[column].iloc[row : row + 1])[0]
            where = f"which is no node (row {row + 1})"
            if ids is None:
                where += f"; nodes are numbers from 0 to {count - 1}, unless id names the column that edges refer to"
            raise InputError(f"data {path}: an edge has the {column} {lost!r}, {where}")
    found = {"edge_index": torch.from_numpy(np.stack(ends).astype(np.int64))}
    if weight is not None:
        found["edge_weight"] = _weights(path, weight, edges[weight])
        return found
    more = [name for name in header if name not in pair and pd.api.types.is_numeric_dtype(edges[name])]
    if more := [name for name in more if not name.lower().endswith("id")]:
        message = (
            f"data {path}: the column {more[0]!r} is not used; if it has the weights of the edges, say so by weight"
        )
        warnings.warn(message, InputWarning, stacklevel=5)
    return found


def _weights(path: Path, name: str, column: Any) -> Tensor:
    import pandas as pd

    weights = pd.to_numeric(column, errors="coerce").to_numpy(np.float32, na_value=np.nan)
    if wrong := np.flatnonzero(~(np.isfinite(weights) & (weights >= 0))).tolist():
        cell = str(column.iloc[wrong[0]])
        raise InputError(
            f"data {path}: an edge (row {wrong[0] + 1}) has the {name} {cell!r}; allowed: numbers from 0 on"
        )
    return torch.tensor(weights)
