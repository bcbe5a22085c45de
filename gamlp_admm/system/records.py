"""Records: frozen dataclasses, of which an inner loop makes changed copies."""

from __future__ import annotations

TYPE_CHECKING = False  # as in gamlp_admm/__init__.py
if TYPE_CHECKING:
    from typing import Any, TypeVar

    Record = TypeVar("Record")


def replace(record: Record, **changes: Any) -> Record:
    """Return a copy with some fields changed: :func:`dataclasses.replace`, several times faster.

    ``__init__`` and ``__post_init__`` do not run.

    Args:
        record: An instance of a dataclass, without slots.
        changes: Values by field.

    Raises:
        TypeError: There is no such field.
    """
    new: Record = object.__new__(type(record))
    fields: dict[str, Any] = new.__dict__
    fields.update(record.__dict__)
    known = len(fields)
    fields.update(changes)
    if len(fields) != known:
        raise TypeError(f"{type(record).__name__} has no field {', '.join(changes.keys() - record.__dict__.keys())}")
    return new
