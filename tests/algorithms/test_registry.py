"""The registry: names without torch, what each algorithm takes, and defaults that are those of a trainer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import gamlp_admm.algorithms
from gamlp_admm import Backprop, PdADMM, PdADMMG
from gamlp_admm.algorithms import (
    ADMM,
    ALGORITHMS,
    defaults,
    is_admm,
    register_algorithm,
    taken_by,
    trainer,
    trainer_class,
)
from gamlp_admm.errors import InputError

NAMES = [
    "pdadmm-g",
    "pdadmm-g-q",
    "pdadmm",
    "dladmm",
    "mdlam",
    "ridge",
    "adam",
    "sgd",
    "adagrad",
    "adadelta",
    "badm",
    "sisa",
]
SHARED = {"loss", "class_weight", "scale"}


@pytest.fixture
def registry() -> Iterator[None]:
    before = dict(ALGORITHMS)
    yield
    ALGORITHMS.clear()
    ALGORITHMS.update(before)


def test_names_come_without_torch() -> None:
    code = (
        "import sys, gamlp_admm, gamlp_admm.algorithms.registry\n"
        "from gamlp_admm.algorithms import ALGORITHMS\n"
        "assert all(entry.title for entry in ALGORITHMS.values())\n"
        "assert 'torch' not in sys.modules\n"
        "assert {'PdADMMG', 'ALGORITHMS'} <= set(dir(gamlp_admm.algorithms))\n"
        "assert {'PdADMMG', 'load_dataset'} <= set(dir(gamlp_admm))\n"
        "assert 'torch' not in sys.modules\n"
        "from gamlp_admm.algorithms import PdADMMG, pdadmm\n"
        "assert PdADMMG is pdadmm.PdADMMG is gamlp_admm.PdADMMG\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_order_of_names() -> None:
    assert list(ALGORITHMS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_trainer_has_its_name(name: str) -> None:
    made = trainer(name)
    assert made.algorithm == name
    assert type(made) is trainer_class(name)
    assert is_admm(name) == isinstance(made, ADMM) == made.distributable == made.grows
    assert ALGORITHMS[name].preset == ({} if is_admm(name) or name == "ridge" else {"optimizer": name})


def test_by_name_or_by_class() -> None:
    assert trainer("pdadmm-g", rho=2.0, nu=None) == PdADMMG(rho=2.0)
    assert trainer("sgd", lr=0.5) == Backprop("sgd", lr=0.5)


def test_what_is_taken() -> None:
    gradients = {*SHARED, "lr", "weight_decay", "batch_size"}
    admm = {*SHARED, "rho", "mu", "solver", "tau", "matmul", "schedule", "anderson"}
    assert taken_by("adam") == taken_by("adadelta") == gradients
    assert taken_by("sisa") == {*gradients, "sigma", "rho", "sub_batches"}
    pdadmm = {*admm, "nu", "decay_to", "codec", "bytes", "link", "staleness", "batch_size"}
    assert taken_by("pdadmm") == taken_by("pdadmm-g") == pdadmm
    assert taken_by("pdadmm-g-q") == {*taken_by("pdadmm"), "quantize"} - {"batch_size"}
    assert taken_by("dladmm") == {*admm, "nu", "regularizer", "batch_size"}
    assert taken_by("mdlam") == {*admm, "regularizer", "epsilon", "epsilon_decay", "epsilon_min", "nesterov"}


GIVEN: list[dict[str, Any]] = [
    {},
    {"rho": 0.5},
    {"nu": 0.5},
    {"mu": 0.0, "nu": 2.0},
    {"rho": 1.0, "nu": None},
    {"lr": 0.1},
    {"sigma": 3.0, "sub_batches": 4},
    {"anderson": 3},
    {"loss": "squared_error", "scale": "unit"},
]


@pytest.mark.parametrize("given", GIVEN, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_the_fields_of_a_trainer(name: str, given: dict[str, Any]) -> None:
    if not {setting for setting, value in given.items() if value is not None} <= taken_by(name):
        with pytest.raises(InputError, match=rf"does not apply to {name}; it takes "):
            defaults(name, given)
        return
    used = defaults(name, given)
    assert used.keys() == taken_by(name)
    assert used.pop("anderson", None) == given.get("anderson")
    made = trainer(name, **{setting: value for setting, value in given.items() if setting != "anderson"})
    assert used == {setting: getattr(made, setting) for setting in used}


def test_unknown_names() -> None:
    for ask in (trainer, trainer_class, taken_by, defaults, is_admm):
        with pytest.raises(InputError, match="unknown algorithm 'pdadm': did you mean 'pdadmm'"):
            ask("pdadm")


@dataclass(frozen=True, kw_only=True)
class Own(PdADMM):
    """An algorithm from outside the package."""

    more: float = 1.0

    algorithm = "own"


@pytest.mark.parametrize("home", [Own, f"{__name__}:Own"])
def test_an_algorithm_from_outside(home: Any, registry: None) -> None:
    register_algorithm("own", home, "One of one's own", {"more": 2.0})
    assert list(ALGORITHMS) == [*NAMES, "own"]
    assert ALGORITHMS["own"].title == "One of one's own"
    assert trainer("own", nu=1.0) == Own(nu=1.0, more=2.0)
    assert taken_by("own") == taken_by("pdadmm")
    assert is_admm("own")
    with pytest.raises(InputError, match="more does not apply to own"):
        trainer("own", more=3.0)


def test_names_are_taken_once() -> None:
    with pytest.raises(InputError, match="algorithm 'adam' is there already"):
        register_algorithm("adam", Own)


def test_what_does_not_exist() -> None:
    with pytest.raises(AttributeError, match=r"module 'gamlp_admm.algorithms' has no attribute 'PdADMMH'"):
        gamlp_admm.algorithms.PdADMMH  # noqa: B018
