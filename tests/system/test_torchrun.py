from __future__ import annotations

import pytest

from gamlp_admm.system import torchrun


@pytest.mark.parametrize(
    ("rank", "size", "place"),
    [
        ("1", "2", (1, 2)),
        ("0", "3", (0, 3)),
        ("0", "1", (0, 1)),
        (None, None, (0, 1)),
        (None, "2", (0, 1)),  # as some launchers and containers leave it
        ("1", None, (0, 1)),
        ("2", "2", (0, 1)),
        ("", "2", (0, 1)),
        ("0", "many", (0, 1)),
    ],
)
def test_a_place_needs_both_variables(
    rank: str | None, size: str | None, place: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("RANK", rank), ("WORLD_SIZE", size)):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert (torchrun.rank(), torchrun.world_size()) == place
    assert torchrun.is_worker() == (place[1] > 1)
