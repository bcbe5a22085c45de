"""The one declaration of the options, and what is made of it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gamlp_admm.algorithms import ALGORITHMS, registry
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment, Resolved, declaration, prepare, resolve, run
from gamlp_admm.experiment.declaration import ANY, FIXED, GROUPS, TUNED, kinds_of
from gamlp_admm.experiment.options import Options, declared, names_where, recipe_names
from gamlp_admm.transforms import AugmentFeatures

ADMM = {"pdadmm-g", "pdadmm-g-q", "pdadmm", "dladmm", "mdlam"}
PDADMM = {"pdadmm-g", "pdadmm-g-q", "pdadmm"}
GRADIENTS = {"adam", "sgd", "adagrad", "adadelta", "badm", "sisa"}
TAKERS = {
    declaration.PDADMM: PDADMM,
    declaration.PDADMM_G_Q: {"pdadmm-g-q"},
    declaration.SWEEPS: {"dladmm", "mdlam"},
    declaration.MDLAM: {"mdlam"},
    declaration.GRADIENTS: GRADIENTS,
    declaration.CONSENSUS: {"badm", "sisa"},
}


def test_declarations_need_no_torch() -> None:
    code = "import sys, gamlp_admm.experiment.options as o; o.declared(); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("name", declared())
def test_a_declaration_is_whole(name: str) -> None:
    each = declared()[name]
    assert each.option.group in GROUPS
    assert each.option.help.endswith((".", ":"))
    assert each.kinds <= {bool, int, float, str, tuple}
    assert each.option.tune in (declaration.SEARCHED, declaration.FIXED, declaration.ASIDE)
    if each.option.names:
        assert all(isinstance(allowed, str) for allowed in each.option.allowed())
    if each.option.default is not None:
        assert each.check(each.option.default) == each.option.default
    assert all(f"    {name}: {each.option.help}" in str(kind.__doc__) for kind in (Options, Experiment, Resolved))


def test_what_a_recipe_may_set() -> None:
    model = {
        *("operator", "hops", "alpha", "t", "normalize_features", "component_power", "components", "unit_rows"),
        *("label_operator", "label_hops", "label_scale", "layers", "hidden", "residual", "metric"),
    }
    assert recipe_names(ANY) == model
    assert recipe_names(TUNED) == {
        *("correct_and_smooth", "activation", "init", "iterations", "grow", "patience", "loss", "class_weight"),
        *("scale", "rho", "nu", "mu", "decay_to", "solver", "schedule", "tau", "batch_size"),
    }


def test_what_may_change_between_runs_that_share_a_checkpoint() -> None:
    assert {*names_where(free=True)} == {
        *("recipe", "data", "root", "iterations", "patience", "evaluate_every", "device", "threads"),
        *("checkpoint", "checkpoint_every", "resume", "overwrite", "timeout", "trace", "cache"),
        *("processes", "node_shards", "balance", "memory", "scratch"),
    }


def test_what_makes_another_search() -> None:
    assert {*names_where(tune=FIXED)} == {
        "dataset",
        "split",
        "split_seed",
        *("label", "features", "id", "weight", "split_index"),
        "algorithm",
        "recipe",
        "dtype",
        "auto",
        "metric",
        *("matmul", "bytes", "link"),
    }


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_settings_stand_where_who_takes_them_is_said(algorithm: str) -> None:
    taken = registry.taken_by(algorithm)
    for name in names_where(setting=True):
        group = declared()[name].option.group
        if group in TAKERS:
            assert (name in taken) == (algorithm in TAKERS[group]), name
        elif group == declaration.ADMM and name in taken:
            assert algorithm in ADMM or name == "rho" or (algorithm, name) == ("ridge", "mu")
    assert taken - {*names_where(setting=True)} <= {"loss", "class_weight"}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_used_settings_are_those_of_the_trainer(algorithm: str) -> None:
    used = Experiment(dataset="karate", algorithm=algorithm).resolve()
    for name in names_where(setting=True):
        if name in registry.taken_by(algorithm) and name not in ("anderson", "codec"):
            assert getattr(used, name) == getattr(used.trainer, name), name


@pytest.mark.parametrize(
    ("name", "value", "checked"),
    [
        ("layers", np.int64(3), 3),
        ("evaluate_every", "7", 7),  # of a command line
        ("evaluate_every", np.int64(7), 7),
        ("evaluate_every", "auto", "auto"),
        ("nu", 1, 1.0),
        ("nu", np.float32(0.5), 0.5),
        ("hops", [0, 2], (0, 2)),
        ("hops", range(2, 4), (2, 3)),
        ("hops", 3, 3),
        ("grow", [2, 5], (2, 5)),
        ("grow", "2,5", "2,5"),
        ("root", Path("a"), "a"),
        ("residual", True, True),
        ("operator", "ppr/10", "ppr/10"),
    ],
)
def test_values_in_the_type_of_an_option(name: str, value: Any, checked: Any) -> None:
    found = declared()[name].check(value)
    assert (found, type(found)) == (checked, type(checked))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("layers", "3", "layers must be an integer, not '3'"),
        ("layers", True, "layers must be an integer, not True"),
        ("layers", 2.0, "layers must be an integer, not 2.0"),
        ("layers", 0, "layers must be a positive integer, not 0"),
        ("nu", "0.1", "nu must be a number, not '0.1'"),
        ("residual", "no", "residual must be true or false, not 'no'"),
        ("residual", 1, "residual must be true or false, not 1"),
        ("hops", [0, "2"], "hops must be an integer or a list of integers"),
        ("hops", {"a": 1}, "hops must be an integer or a list of integers"),
        ("activation", "rleu", "unknown activation 'rleu': did you mean 'relu'"),
        ("seed", -1, "seed must be an integer from 0 to"),
        ("dataset", 3, "dataset must be a text, not 3"),
    ],
)
def test_values_of_another_type(name: str, value: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        declared()[name].check(value)
    assert str(caught.value).startswith(message)
    with pytest.raises(InputError, match=name.replace("_", " ")):
        Experiment(**{name: value}).resolve()


def test_unknown_options() -> None:
    with pytest.raises(InputError, match="unknown option 'layer': did you mean 'layers'"):
        Experiment.of({"layer": 3})
    with pytest.raises(AttributeError, match="layer"):
        _ = Experiment().layer


def test_kinds() -> None:
    assert kinds_of(int | tuple[int, ...] | None) == {int, tuple}
    assert kinds_of(float) == {float}


def test_a_run_resolves_once_and_makes_what_it_uses_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def counted(name: str, function: Any) -> Any:
        def count(*args: Any, **more: Any) -> Any:
            made.append(name)
            return function(*args, **more)

        return count

    monkeypatch.setattr(resolve, "_resolve", counted("resolve", resolve._resolve))
    monkeypatch.setattr(registry, "trainer", counted("trainer", registry.trainer))
    monkeypatch.setattr(AugmentFeatures, "__init__", counted("transform", AugmentFeatures.__init__))
    used = Experiment(dataset="karate", iterations=2).resolve()
    run(used, prepared=prepare(used))
    assert sorted(made) == ["resolve", "trainer", "transform"]
