"""Changed copies of records are what dataclasses.replace gives."""

import dataclasses

import pytest

from gamlp_admm.system.records import replace


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: int = 2


def test_a_copy_has_the_changes_and_all_else() -> None:
    point = Point(1)
    changed = replace(point, y=3)
    assert changed == dataclasses.replace(point, y=3) == Point(1, 3)
    assert point == Point(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        changed.y = 4  # type: ignore[misc]


def test_a_field_that_is_not_there_is_an_error() -> None:
    with pytest.raises(TypeError, match="Point has no field z"):
        replace(Point(1), z=3)
