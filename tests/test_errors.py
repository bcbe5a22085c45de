from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from gamlp_admm import GAMLP
from gamlp_admm.errors import InputError, positive_integer


@pytest.mark.parametrize("value", [1, 2**70, np.int64(3), np.uint8(4)])
def test_whole_numbers_are_python_s_afterwards(value: Any) -> None:
    number = positive_integer("layers", value)
    assert number == value
    assert type(number) is int


@pytest.mark.parametrize("value", [0, -1, True, 1.0, np.float32(2), np.int64(0), "1", None])
def test_others_are_named(value: Any) -> None:
    message = re.escape(f"layers must be a positive integer, not {value!r}")
    with pytest.raises(InputError, match=f"^{message}$"):
        positive_integer("layers", value)


def test_sizes_of_a_network_may_be_numpy_s(tmp_path: Any) -> None:
    sizes = np.array([3, 8, 2, 4])
    model = GAMLP(*sizes)
    assert {type(size) for size in model.config.values()} == {int, str, bool}
    model.save(tmp_path / "model")  # with the sizes as JSON
    assert GAMLP.load(tmp_path / "model")[0].config == model.config
