"""Labels as numbers, and the names that the numbers stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gamlp_admm.datasets.classes import numbered
from gamlp_admm.errors import InputError, InputWarning

NAN = float("nan")


@pytest.mark.parametrize(
    ("y", "numbers", "names"),
    [
        (["b", "a", None, "", NAN, "b"], [1, 0, -1, -1, -1, 1], ["a", "b"]),
        ([10, 9, -1, None], [1, 0, -1, -1], ["9", "10"]),
        (["10.0", "9.0", "-1.0"], [1, 0, -1], ["9", "10"]),
        (["007", "7"], [0, 1], ["007", "7"]),
        (np.array(["b", "a"]), [1, 0], ["a", "b"]),
        (np.array([2, 0]), [2, 0], None),
        (torch.tensor([3, -1]), [3, -1], None),
    ],
)
def test_numbers_and_names(y: Any, numbers: list[int], names: list[str] | None) -> None:
    found, known = numbered(y)
    assert found.tolist() == numbers
    assert known == names


def test_fractions_are_no_classes() -> None:
    found, names = numbered(["0.5", None, "-2"])
    assert found.tolist()[::2] == [0.5, -2]
    assert found.isnan().tolist() == [False, True, False]
    assert names is None


def test_the_numbers_of_a_model_that_is_there() -> None:
    assert numbered(["b", None, "c"], ["c", "a", "b"])[0].tolist() == [2, -1, 0]
    with pytest.warns(InputWarning, match="1 classes of the graph, such as 'd', are none of the model's"):
        found, names = numbered(["b", "d"], ["a", "b"])
    assert (found.tolist(), names) == ([1, -1], ["a", "b"])
    assert numbered(["2", "0", ""], 3)[0].tolist() == [2, 0, -1]
    with pytest.warns(InputWarning, match="such as '3'"):
        assert numbered([3, 1], 3)[0].tolist() == [-1, 1]
    assert numbered([], ["a"])[0].tolist() == []


def test_a_class_for_each_node_is_none() -> None:
    with pytest.raises(InputError, match="a label of its own"):
        numbered([f"title {i}" for i in range(30)])
