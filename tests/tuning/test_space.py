"""The space of a search: features and ratios, what contradicts, files, and the default."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from searches import KARATE

from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment
from gamlp_admm.tuning import Space


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("none", {"operator": "none"}),
        ("sym", {"operator": "sym", "hops": None}),
        ("sym/4", {"operator": "sym", "hops": 4}),
        ("row/1-2", {"operator": "row", "hops": (1, 2)}),
        ("sym/0+2+4", {"operator": "sym", "hops": (0, 2, 4)}),
        ("ppr/10", {"operator": "ppr", "hops": 10, "alpha": 0.1}),
        ("ppr/10/0.05", {"operator": "ppr", "hops": 10, "alpha": 0.05}),
        ("heat/10/5", {"operator": "heat", "hops": 10, "t": 5.0}),
    ],
)
def test_features(text: str, options: dict[str, Any]) -> None:
    space = Space({"features": f"{text},row/3"})
    made = space.options({"features": text}, KARATE)
    used = replace(KARATE, **made).resolve()
    assert {name: made[name] for name in options if options[name] is not None} == {
        name: value for name, value in options.items() if value is not None
    }
    assert space.chosen(used) == {"features": text}
    again = Space({"features": space.describe(used)["features"]})
    assert again.options(again.chosen(used) or {}, KARATE) == made


def test_numbers_are_rounded_and_rho_follows_nu() -> None:
    space = Space({"nu": "1e-4:1:log", "rho/nu": "0.1:10", "hidden": "16:512:log"})
    made = space.options({"nu": 0.0123456, "rho/nu": 2.5, "hidden": 123}, KARATE)
    assert made == {"nu": 0.012, "rho": 0.03, "hidden": 123}
    both = Space({"nu": "1e-4:1", "mu/nu": "0.1:1"}).options({"nu": 0.1, "mu/nu": 0.25}, KARATE)
    assert both == {"nu": 0.1, "mu": 0.025}
    alone = Space({"rho/nu": "0.1:10"}).options({"rho/nu": 0.333}, KARATE)
    assert replace(KARATE, **alone).resolve() == replace(KARATE.resolve(), rho=0.0033)


def test_options_that_contradict_each_other() -> None:
    with pytest.raises(InputError, match="features sets it"):
        Space({"features": "sym/2", "hops": "2,4"})
    with pytest.raises(InputError, match="rho/nu sets it"):
        Space({"rho/nu": "1:2", "rho": "1:2"})
    with pytest.raises(InputError, match="features is both set and searched"):
        Space({"features": "sym/2"}).check(replace(KARATE, hops=3))


def test_a_space_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text('[search]\nnu = "1e-4:1:log"\nlayers = "2,5"\n')
    assert Space.read(path).texts == {"nu": "1e-4:1:log", "layers": "2,5"}
    for text, message in (("[search]\nnu = 1", "needs a table"), ("x", "not TOML"), ("", "needs a table")):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            Space.read(path)
    with pytest.raises(InputError, match="cannot be read"):
        Space.read(tmp_path / "none.toml")


@pytest.mark.parametrize("algorithm", ["pdadmm-g", "pdadmm-g-q", "dladmm", "mdlam", "sisa", "adam"])
@pytest.mark.parametrize("dataset", ["cora", "digits"])
def test_default_space(dataset: str, algorithm: str) -> None:
    experiment = Experiment(dataset=dataset, algorithm=algorithm)
    space = Space.default(experiment)
    space.check(experiment)
    assert ("features" in space.texts) == (dataset == "cora")
    if algorithm == "pdadmm-g":
        assert {"layers", "nu", "mu/nu", "rho/nu"} <= space.texts.keys()
        assert space.chosen(experiment.resolve()) is not None
    fixed = replace(experiment, layers=4, operator="sym")
    assert not {"layers", "features"} & Space.default(fixed).texts.keys()
