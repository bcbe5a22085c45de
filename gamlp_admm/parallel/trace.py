"""Spans of compute, sending and waiting: their sums, and a Chrome trace that Perfetto and chrome://tracing open."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from contextlib import AbstractContextManager
from pathlib import Path

from gamlp_admm.errors import InputError
from gamlp_admm.system.files import write_text


class _Span:
    # A generator would cost more than a small update of a block.
    def __init__(self, trace: Trace, name: str, category: str) -> None:
        self.trace, self.name, self.category = trace, name, category

    def __enter__(self) -> None:
        self.outer, self.trace._within = self.trace._within, 0.0
        self.begin = time.perf_counter()

    def __exit__(self, *exception: object) -> None:
        trace, length = self.trace, time.perf_counter() - self.begin
        trace._seconds["wait" if self.category == "wait" else self.name] += length - trace._within
        trace._within = self.outer + length
        if trace._events is not None:
            trace._events.append((self.name, self.category, self.begin, length))


class Trace:
    """Collects the spans of one process."""

    def __init__(self, record: bool = False) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._within = 0.0  # of the span that is open: the time of spans within it
        self._events: list[tuple[str, str, float, float]] | None = [] if record else None

    def span(self, name: str, category: str) -> AbstractContextManager[None]:
        """Time what the ``with`` block does.

        Args:
            name: What it is, e.g. ``"update p"``.
            category: ``compute``, ``send``, ``receive`` or ``wait``.
        """
        return _Span(self, name, category)

    def take(self) -> dict[str, float]:
        """Return the seconds since the last call by name of span, each without the spans within it.

        All that waited is ``wait``.
        """
        taken, self._seconds = dict(self._seconds), defaultdict(float)
        return taken

    def save(self, directory: Path, rank: int, label: str) -> None:
        """Write ``rank-<rank>.json`` if spans were recorded.

        Args:
            directory: Made if absent.
            rank: This process.
            label: Its name in the timeline, e.g. ``"rank 0: layers 1–5"``.

        Raises:
            InputError: The directory cannot be written.
        """
        if self._events is None:
            return
        events: list[dict[str, object]] = [
            {"name": "process_name", "ph": "M", "pid": rank, "args": {"name": label}},
            *(
                {
                    "name": n,
                    "cat": c,
                    "ph": "X",
                    "pid": rank,
                    "tid": c,
                    "ts": begin * 1e6,
                    "dur": length * 1e6,
                }
                for n, c, begin, length in self._events
            ),
        ]
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"trace directory {directory} cannot be written ({error.strerror})") from None
        write_text(directory / f"rank-{rank}.json", json.dumps({"traceEvents": events}))
