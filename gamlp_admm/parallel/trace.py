"""Spans of compute, sending and waiting, as a Chrome trace that Perfetto and chrome://tracing open."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gamlp_admm.errors import InputError
from gamlp_admm.system.files import write_text


class Trace:
    """Collects the spans of one process.

    Attributes:
        wait: Seconds spent waiting for neighbours so far.
    """

    def __init__(self, record: bool = False) -> None:
        self.wait = 0.0
        self._events: list[tuple[str, str, float, float]] | None = [] if record else None

    @contextmanager
    def span(self, name: str, category: str) -> Iterator[None]:
        """Time what the ``with`` block does.

        Args:
            name: What it is, e.g. ``"update p"``.
            category: ``compute``, ``send``, ``receive`` or ``wait``.
        """
        begin = time.perf_counter()
        try:
            yield
        finally:
            end = time.perf_counter()
            if category == "wait":
                self.wait += end - begin
            if self._events is not None:
                self._events.append((name, category, begin, end - begin))

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
