"""Spans of compute, sending and waiting: their sums, and a Chrome trace that Perfetto and chrome://tracing open."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gamlp_admm.errors import InputError
from gamlp_admm.system.files import write_text


class Trace:
    """Collects the spans of one process."""

    def __init__(self, record: bool = False) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._within = 0.0  # of the span that is open: the time of spans within it
        self._events: list[tuple[str, str, float, float]] | None = [] if record else None

    @contextmanager
    def span(self, name: str, category: str) -> Iterator[None]:
        """Time what the ``with`` block does.

        Args:
            name: What it is, e.g. ``"update p"``.
            category: ``compute``, ``send``, ``receive`` or ``wait``.
        """
        outer, self._within = self._within, 0.0
        begin = time.perf_counter()
        try:
            yield
        finally:
            length = time.perf_counter() - begin
            self._seconds["wait" if category == "wait" else name] += length - self._within
            self._within = outer + length
            if self._events is not None:
                self._events.append((name, category, begin, length))

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
