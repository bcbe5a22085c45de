"""What users meet in Python: names, signatures, help with examples that run, and what is printed."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

import gamlp_admm
from gamlp_admm import GAMLP, Anderson, DlADMM, PdADMMG, Result, load_dataset
from gamlp_admm.errors import InputError

MODULES = ["gamlp_admm", *(f"gamlp_admm.{name}" for name in gamlp_admm.MODULES)]
TRAINERS = ("PdADMM", "PdADMMG", "PdADMMGQ", "DlADMM", "MDLAM", "Ridge", "Backprop", "Anderson")


SHOWN_BY = {
    "algorithms.ADMMSession": "gamlp_admm.PdADMMG",
    "datasets.DatasetInfo": "gamlp_admm.datasets.dataset_info",
    "datasets.DatasetRow": "gamlp_admm.datasets.list_datasets",
    "datasets.LoadedDataset": "gamlp_admm.load_dataset",
    "datasets.Published": "gamlp_admm.datasets.dataset_info",
    "datasets.RawFiles": "gamlp_admm.datasets.dataset_info",
    "experiment.NodePrediction": "gamlp_admm.load_predictor",
    "experiment.Option": "gamlp_admm.experiment.register_option",
    "experiment.Prediction": "gamlp_admm.experiment.predict",
    "experiment.Predictor": "gamlp_admm.load_predictor",
    "experiment.Prepared": "gamlp_admm.experiment.prepare",
    "experiment.Resolved": "gamlp_admm.experiment.Experiment",
    "experiment.Run": "gamlp_admm.experiment.run",
    "tuning.Step": "gamlp_admm.tuning.tune",
    "tuning.Tuning": "gamlp_admm.tuning.tune",
}
"""What users are given and do not make, and what makes it, whose example shows it."""


def public(name: str) -> ModuleType:
    return import_module(name)


def things() -> Iterator[tuple[str, Any]]:
    """Yield the public classes and functions, by the name that users import them by."""
    seen = set()
    for module in map(public, MODULES):
        for name in module.__all__:
            thing = getattr(module, name)
            if (inspect.isclass(thing) or inspect.isfunction(thing)) and thing not in seen:
                seen.add(thing)
                yield f"{module.__name__}.{name}", thing


THINGS = dict(things())


@pytest.mark.parametrize("name", MODULES)
def test_dir_shows_the_public_names_alone(name: str) -> None:
    module = public(name)
    assert module.__all__ == sorted(module.__all__, key=lambda n: (not n.isupper(), not n[0].isupper(), n))
    if name != "gamlp_admm.errors":  # which knows nothing above it
        modules = gamlp_admm.MODULES if name == "gamlp_admm" else ()
        assert {n for n in dir(module) if not n.startswith("__")} == {*module.__all__, *modules}


def test_a_type_checker_sees_the_names_that_are_imported_late() -> None:
    lazy = [public(name) for name in MODULES if "if TYPE_CHECKING:" in inspect.getsource(public(name))]
    assert len(lazy) > 3
    for module in lazy:
        seen = {
            alias.asname or alias.name
            for node in ast.parse(inspect.getsource(module)).body
            for part in ([*node.body, node] if isinstance(node, ast.If) else [node])
            if isinstance(part, ast.ImportFrom)
            for alias in part.names
        }
        here = {name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}
        assert set(module.__all__) <= seen | here, module.__name__


@pytest.mark.parametrize("name", THINGS)
def test_signatures_are_typed(name: str) -> None:
    thing = THINGS[name]
    if inspect.isclass(thing) and issubclass(thing, Exception | Warning):
        return
    signature = inspect.signature(thing)
    assert not [p.name for p in signature.parameters.values() if p.annotation is p.empty]
    assert inspect.isclass(thing) or signature.return_annotation is not signature.empty


@pytest.mark.parametrize("name", TRAINERS)
def test_trainers_show_their_own_arguments(name: str) -> None:
    kind = getattr(gamlp_admm, name)
    parameters = inspect.signature(kind).parameters
    documented = re.findall(r"^    (\w+): ", inspect.getdoc(kind).split("Args:\n")[1].split("\n\n")[0], re.MULTILINE)  # type: ignore[union-attr]
    assert documented
    assert set(documented) <= set(parameters)
    assert set(parameters) - set(documented) <= {"scale"}  # Backprop's, which leaves features as they are
    assert list(parameters)[-2:] == ["loss", "class_weight"] or name in ("Anderson", "Backprop")
    for parameter in parameters.values():
        assert parameter.annotation is not parameter.empty
    made = kind(DlADMM()) if kind is Anderson else kind()
    assert set(parameters) | {"fit"} <= set(dir(made))
    assert not [each for each in dir(made) if each.startswith("_")]


def test_what_is_said_of_a_trainer_makes_it_again() -> None:
    assert repr(PdADMMG()) == "PdADMMG(rho=0.01, nu=0.01, mu=0.001)"
    for made in (PdADMMG(rho=0.5, codec="int2-delta"), Anderson(DlADMM(mu=0.2), memory=3)):
        assert eval(repr(made), vars(gamlp_admm) | {"Anderson": Anderson, "DlADMM": DlADMM, "PdADMMG": PdADMMG}) == made


def test_what_is_printed_is_short() -> None:
    loaded = load_dataset("karate")
    model = GAMLP(loaded.data.num_features, 8, 4, 2)
    result = PdADMMG().fit(model, loaded.data, iterations=2, seed=0)
    text = str(result)
    assert len(text.splitlines()) == 3
    assert f"test {result.best['test_accuracy']:.4f}" in text
    assert "would send" in text
    for thing in (result, loaded, model, Result()):
        assert "\n" not in repr(thing)
        assert len(repr(thing)) < 250


def test_importing_the_package_imports_little() -> None:
    slow = {"torch", "numpy", "torch_geometric", "typing", "collections", "re", "dataclasses", "contextlib"}
    code = f"import sys; left = {slow} - {{*sys.modules}}; import gamlp_admm; assert not left & {{*sys.modules}}"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent, timeout=60)


@pytest.mark.parametrize("name", [*MODULES, *THINGS])
def test_examples_run(name: str) -> None:
    thing = THINGS.get(name) or public(name)
    raised = inspect.isclass(thing) and issubclass(thing, Exception) and thing is not InputError
    if (inspect.isabstract(thing) or raised) and ">>>" not in str(thing.__doc__):
        pytest.skip("for whoever adds one, or is told of one")
    given = SHOWN_BY.get(name.removeprefix("gamlp_admm."))
    if given is not None:
        assert ">>>" in str(THINGS[given].__doc__)
        return
    module = inspect.getmodule(thing)
    found = doctest.DocTestParser().get_doctest(
        inspect.getdoc(thing) or "", {}, name, getattr(module, "__file__", None), 0
    )
    assert found.examples or inspect.ismodule(thing), f"{name} has no example"
    said: list[str] = []
    torch.manual_seed(0)
    doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS).run(found, out=said.append)
    assert not said, "".join(said)
