from __future__ import annotations

import pytest

from gamlp_admm.errors import InputError, InputWarning
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


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"RANK": "x", "WORLD_SIZE": "2"}, "RANK is 'x' in the environment; allowed: an integer from 0 to 1"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK is '2' in the environment"),
        ({"RANK": "0", "WORLD_SIZE": "many"}, "WORLD_SIZE is 'many' in the environment"),
        ({"RANK": "0", "WORLD_SIZE": "2"}, "MASTER_ADDR, the first one's, is not set"),
        ({"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "a"}, "MASTER_PORT is not set in the environment"),
        ({"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "70000"}, "MASTER_PORT is '70000'"),
        ({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "first"}, "LOCAL_RANK is 'first' in the environment"),
    ],
)
def test_variables_that_contradict_each_other_are_named(
    variables: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=says):
        torchrun.check()


@pytest.mark.parametrize("name", ["RANK", "WORLD_SIZE"])
def test_half_a_place_is_a_warning(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for each in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(each, raising=False)
    torchrun.warn_if_half_set()
    monkeypatch.setenv(name, "1")
    torchrun.check()
    with pytest.warns(InputWarning, match=f"{name} is set in the environment, but"):
        torchrun.warn_if_half_set()
