"""What is finished of features that are being made, so that a run that was killed goes on.

::

    lock                             held by the run that writes
    journal.json                     what is made, and what of it is finished; until all is
    columns-00000000-00000128        every kept state of these columns of the features, [S, R, 128]; until all is there
    graph/                           the matrix Ã, where it is large; until all columns are there
    parts/                           of several operators the directory of each; until all are put side by side
    x.safetensors                    put together from them, row by row

Columns count once the journal has them, with their checksum: what a kill leaves beside it is removed and made again.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gamlp_admm.errors import InputError
from gamlp_admm.propagation.store.stored import ABOUT, FEATURES, NODES, is_store, read_about
from gamlp_admm.system.files import write_text

FORMAT = 1
JOURNAL, GRAPH, PARTS = "journal.json", "graph", "parts"
OURS = re.compile(r"columns-(\d{8,})-(\d{8,})|[0-9a-f]{16}\.part")

REMEDY = "another directory, or overwrite (--overwrite), which replaces them"


@dataclass
class Journal:
    """The journal of a directory.

    Attributes:
        folder: The directory.
        making: What is made, JSON values by name; those of ``data`` are digests.
        columns: Checksums of the files of finished columns, by the first and the one after the last.
        rows: Rows of the features that are put together.
    """

    folder: Path
    making: Mapping[str, Any]
    columns: dict[tuple[int, int], str] = field(default_factory=dict)
    rows: int = 0

    def save(self) -> None:
        """Write it, whole or not at all."""
        columns = [[*ends, checksum] for ends, checksum in sorted(self.columns.items())]
        told = {"format": FORMAT, "making": self.making, "columns": columns, "rows": self.rows}
        write_text(self.folder / JOURNAL, json.dumps(told, indent=1) + "\n")

    def file(self, low: int, high: int) -> Path:
        """Return the file of some columns."""
        return self.folder / f"columns-{low:08}-{high:08}"

    def left(self, columns: int) -> Iterator[tuple[int, int]]:
        """Yield the ranges of columns that are not finished."""
        low = 0
        for first, end in [*sorted(self.columns), (columns, columns)]:
            if low < first:
                yield low, first
            low = end

    def sweep(self) -> None:
        """Remove what interrupted writes have left."""
        shutil.rmtree(self.folder / GRAPH, ignore_errors=True)
        kept = {self.file(*ends) for ends in self.columns}
        for path in self.folder.iterdir():
            if OURS.fullmatch(path.name) and path not in kept:
                path.unlink()


def opened(folder: Path, making: Mapping[str, Any], overwrite: bool) -> Journal | None:
    """Return what is finished of features in a directory that this process has locked; ``None`` where they all are.

    Args:
        folder: The directory.
        making: What is to be made.
        overwrite: Whether it takes the place of other features, and of finished ones.

    Raises:
        InputError: Others are there.
    """
    making = json.loads(json.dumps(making))
    found = read(folder)
    begun = found is not None and (found.columns or found.rows or (folder / PARTS).exists())
    if found is not None and not begun and found.making != making:
        found = None  # nothing is lost
    complete = is_store(folder)
    if overwrite and (complete or found is None or found.making != making):
        vacate(folder)
        found = None
    elif complete:
        check_same(folder, read_about(folder).get("made_of", {}), making)
        return None
    elif found is not None:
        check_same(folder, found.making, making)
    elif left := [name for name in (FEATURES, NODES) if (folder / name).exists()]:
        raise InputError(f"{folder} holds {left[0]}, and nothing says of what it is; allowed: {REMEDY}")
    if found is None:
        found = Journal(folder, making)
        found.save()
    found.sweep()
    return found


def check_same(folder: Path, before: Mapping[str, Any], making: Mapping[str, Any]) -> None:
    """Check that features in a directory are those that are to be made.

    Raises:
        InputError: They are others; the message says which.
    """
    data = making["data"], before.get("data", {})
    if differ := [name for name in {**data[0], **data[1]} if data[0].get(name) != data[1].get(name)]:
        raise InputError(f"{folder} has features of other data: {', '.join(differ)} differ; allowed: {REMEDY}")
    for name in {**making, **before}:
        if making.get(name) != before.get(name):
            owner = f"{folder} has features made with {name}={before.get(name)}"
            raise InputError(f"{owner}, not {making.get(name)}; allowed: {REMEDY}")


def read(folder: Path) -> Journal | None:
    """Return the journal of a directory, ``None`` where there is none.

    Raises:
        InputError: It is damaged.
    """
    try:
        told = json.loads((folder / JOURNAL).read_text(encoding="utf-8"))
        if told["format"] != FORMAT:
            raise ValueError
        columns = {(int(low), int(high)): str(checksum) for low, high, checksum in told["columns"]}
        return Journal(folder, told["making"], columns, int(told["rows"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{folder / JOURNAL} cannot be read, or is damaged: remove it to start anew") from None


def vacate(folder: Path) -> None:
    """Remove the features of a directory, finished or not; readers that have them open keep them."""
    for name in (ABOUT, FEATURES, NODES):
        (folder / name).unlink(missing_ok=True)
    clear(folder)


def clear(folder: Path) -> None:
    """Remove what is there only until the features are; last the journal, which says that there is something."""
    for name in (GRAPH, PARTS):
        shutil.rmtree(folder / name, ignore_errors=True)
    for path in folder.iterdir():
        if OURS.fullmatch(path.name):
            path.unlink()
    (folder / JOURNAL).unlink(missing_ok=True)


def is_tidy(folder: Path) -> bool:
    """Tell whether features are complete, and nothing else of their making is left."""
    lock = folder / "lock"
    return is_store(folder) and not (folder / JOURNAL).exists() and not (lock.exists() and lock.stat().st_size)
