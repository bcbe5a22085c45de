"""What ``gamlp-admm augment --list`` and ``--prune`` say and do of kept features."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from gamlp_admm.errors import byte_count
from gamlp_admm.system.words import size

if TYPE_CHECKING:
    from rich.table import Table

    from gamlp_admm.propagation.store import KeptFeatures

SHOWN = 12
"""Digits of a key that a table shows."""


def listed() -> str:
    """Print the features that are kept, the last used first; return a line that says where and how much."""
    from rich.console import Console

    from gamlp_admm.propagation.store import FeatureCache

    cache = FeatureCache.default()
    if entries := cache.entries():
        console = Console(highlight=False)
        if not console.is_terminal:
            console.width = 200
        console.print(_table(entries))
    total = size(sum(entry.size for entry in entries))
    return f"{len(entries)} kept in {cache.folder}, {total} of {size(cache.limit)}"


def pruned(limit: str) -> str:
    """Remove kept features, those first that were not used for longest; return a line that says what went.

    Args:
        limit: What may stay, such as ``"1GiB"``; ``"all"`` to remove all.

    Raises:
        InputError: It is neither.
    """
    most = 0 if limit == "all" else byte_count("prune", limit)
    from gamlp_admm.propagation.store import FeatureCache

    cache = FeatureCache.default()
    gone = cache.prune(most)
    left = sum(entry.size for entry in cache.entries())
    return f"{len(gone)} removed, {size(sum(entry.size for entry in gone))}; {size(left)} left in {cache.folder}"


def _table(entries: list[KeptFeatures]) -> Table:
    from rich.table import Table

    table = Table()
    for column in ("key", "data set", "transform", "shape", "type", "size", "last used"):
        table.add_column(column, justify="right" if column in ("shape", "size") else "left")
    for entry in entries:
        about = entry.about
        shape = " x ".join(f"{number:,}" for number in about.get("shape", ()))
        names = (str(about.get(name) or "-") for name in ("dataset", "transform"))
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.used))
        table.add_row(entry.key[:SHOWN], *names, shape, str(about.get("dtype", "-")), size(entry.size), used)
    return table
