"""The search for good options: its notation, what it selects on, what it keeps, and the recipes that come out."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from math import log10
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gamlp_admm.cli import main
from gamlp_admm.datasets import dataset_info, info, load_dataset
from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment, run
from gamlp_admm.experiment import recipe as recipes
from gamlp_admm.experiment.options import declared, recipe_names
from gamlp_admm.experiment.recipe import read_recipe
from gamlp_admm.tuning import Space, Step, check_recipe, measuring, tune
from gamlp_admm.tuning.measuring import Measurer, resplit
from gamlp_admm.tuning.notation import searchable
from gamlp_admm.tuning.result import settings

KARATE = Experiment(dataset="karate", iterations=3, threads=1)
DIGITS = ["tune", "--dataset", "digits-knn", "--iterations", "5", "--threads", "1"]
NU_AND_MU = {"nu": "1e-4:1:log", "mu": "1e-4:1:log"}


class Secret(dict):  # type: ignore[type-arg]
    """Accuracies whose test accuracy nobody may read."""

    def __getitem__(self, name: str) -> Any:
        assert "test" not in name
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        assert "test" not in name
        return super().get(name, default)

    items = values = copy = None  # type: ignore[assignment]


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> list[Experiment]:
    """Replace training by a formula that is best at nu = 0.03 and mu = 0.003; return what was run."""
    runs: list[Experiment] = []

    def formula(experiment: Experiment, callbacks: Any, prepared: Any) -> SimpleNamespace:
        runs.append(experiment)
        used = experiment.resolve()
        if used.nu > 0.5:
            raise FloatingPointError("too much")
        score = 0.9 - 0.1 * abs(log10(used.nu / 0.03)) - 0.1 * abs(log10(used.mu / 0.003)) + 0.001 * used.seed
        accuracies = Secret(val_accuracy=score, test_accuracy=float("nan"))
        return SimpleNamespace(report=Secret(best=accuracies, last=accuracies))

    monkeypatch.setattr(measuring, "run", formula)
    return runs


def one_line(error: str) -> str:
    assert error.count("\n") == 1
    assert error.startswith("gamlp-admm: ")
    return error


# --- the notation -------------------------------------------------------------------------------------------


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


def test_values_have_the_types_of_their_options() -> None:
    space = Space.parse(
        ["layers=2,5", "grow=none,2+5", "normalize-features=true,false", "anderson=none,3", "hops=2,0-2", "mu=1e-3,1"]
    )
    values = {name: list(dimension.values.values()) for name, dimension in space.dimensions.items()}
    assert values == {
        "layers": [{"layers": 2}, {"layers": 5}],
        "grow": [{"grow": "none"}, {"grow": (2, 5)}],
        "normalize_features": [{"normalize_features": True}, {"normalize_features": False}],
        "anderson": [{"anderson": None}, {"anderson": 3}],
        "hops": [{"hops": 2}, {"hops": (0, 1, 2)}],
        "mu": [{"mu": 0.001}, {"mu": 1.0}],
    }


def test_numbers_are_rounded_and_rho_follows_nu() -> None:
    space = Space({"nu": "1e-4:1:log", "rho/nu": "0.1:10", "hidden": "16:512:log"})
    made = space.options({"nu": 0.0123456, "rho/nu": 2.5, "hidden": 123}, KARATE)
    assert made == {"nu": 0.012, "rho": 0.03, "hidden": 123}
    both = Space({"nu": "1e-4:1", "mu/nu": "0.1:1"}).options({"nu": 0.1, "mu/nu": 0.25}, KARATE)
    assert both == {"nu": 0.1, "mu": 0.025}
    alone = Space({"rho/nu": "0.1:10"}).options({"rho/nu": 0.333}, KARATE)
    assert replace(KARATE, **alone).resolve() == replace(KARATE.resolve(), rho=0.0033)


def test_what_says_what_is_trained_and_where_is_not_searched() -> None:
    assert {*declared()} - {*searchable()} == {
        *("dataset", "root", "split_seed", "algorithm", "recipe", "seed", "device", "dtype", "threads"),
        *("checkpoint", "checkpoint_every", "resume", "processes", "node_shards", "balance", "timeout", "trace"),
    }


@pytest.mark.parametrize(
    ("searched", "message"),
    [
        ("nus=1:2", "unknown option to search 'nus': did you mean 'nu'? allowed: features, rho/nu,"),
        ("seed=1,2", "unknown option to search 'seed'"),
        ("nu", "allowed: NAME=CHOICE"),
        ("nu=1:0.1", "LOW < HIGH"),
        ("nu=0:1:log", "0 < LOW for log"),
        ("nu=1:2:3", "allowed: LOW:HIGH or LOW:HIGH:log, numbers"),
        ("nu=1:nan", "allowed: LOW:HIGH"),
        ("hidden=16.5:20", "allowed: LOW:HIGH or LOW:HIGH:log, integers"),
        ("layers=2,five", "search layers: 'five' is not allowed; allowed: integers"),
        ("layers=2,", "search layers: '' is not allowed"),
        ("layers=0,2", "search layers=0: layers must be a positive integer"),
        ("nu=-1:1", "search nu=-1.0"),
        ("activation=relu,rule", "unknown activation 'rule': did you mean 'relu'?"),
        ("normalize-features=yes", "allowed: true, false"),
        ("features=ppp/10", "unknown operator 'ppp'"),
        ("features=sym/4/3", "allowed: sym/HOPS"),
        ("features=ppr/10/2", "search features=ppr/10/2: alpha"),
        ("features=sym/4-x", "operator sym/4-x: allowed: sym/HOPS"),
        ("operator=sym,ppr", "operator is both set and searched"),
    ],
)
def test_wrong_spaces_are_one_line(searched: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*DIGITS, "--operator", "sym", "--search", searched]) == 2
    assert message in one_line(capsys.readouterr().err)


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


# --- the search ---------------------------------------------------------------------------------------------


def test_it_finds_the_optimum_and_repeats(made_up: list[Experiment]) -> None:
    first = tune(KARATE, NU_AND_MU, 40)
    best = first.best
    assert 0.01 < best["nu"] < 0.09
    assert 0.001 < best["mu"] < 0.009
    assert first.trials[0]["standing"]
    assert first.trials[0]["options"]["nu"] == KARATE.resolve().nu
    assert first.winner is not None
    assert first.winner["val_accuracy"] > first.trials[0]["val_accuracy"] + 0.05
    assert {"complete", "failed"} <= {trial["state"] for trial in first.trials}
    assert all(trial["error"] == "too much" for trial in first.trials if trial["state"] == "failed")
    again, other = tune(KARATE, NU_AND_MU, 40), tune(KARATE, NU_AND_MU, 40, sampler_seed=1)
    assert [t["options"] for t in again.trials] == [t["options"] for t in first.trials]
    assert [t["options"] for t in other.trials] != [t["options"] for t in first.trials]


def test_finals(made_up: list[Experiment]) -> None:
    found = tune(KARATE, NU_AND_MU, 25, seeds=(0, 1), finalists=2, final_seeds=(1, 2, 3))
    final = [trial for trial in found.trials if trial["final_val_accuracy"] is not None]
    assert len(final) == 3  # the best two, and what stands
    assert found.trials[0] in final
    assert found.winner == max(final, key=lambda trial: trial["final_val_accuracy"])
    for trial in final:
        assert trial["final_val_accuracy"] == pytest.approx(trial["val_accuracy"] + 0.0015)
        assert trial["final_val_accuracy_std"] == pytest.approx(0.001)
    complete = sum(trial["state"] == "complete" for trial in found.trials)
    failed = len(found.trials) - complete
    assert len(made_up) == 2 * complete + failed + 2 * 3  # seed 1 of the finals is there


def test_what_stands_is_kept_if_nothing_is_better(made_up: list[Experiment]) -> None:
    experiment = replace(KARATE, nu=0.03)
    found = tune(experiment, {"mu": "0.1:1"}, 5, finalists=1)
    assert found.winner is not None
    assert found.winner["standing"]
    assert found.best["mu"] == experiment.resolve().mu


def test_what_follows_from_others_has_no_rounding_errors(made_up: list[Experiment]) -> None:
    found = tune(KARATE, {"nu": "0.42,0.07,0.29"}, 8, finalists=0)
    assert {len(str(trial["options"]["mu"])) for trial in found.trials} <= {4, 5}


def test_options_are_not_measured_twice(made_up: list[Experiment]) -> None:
    found = tune(KARATE, {"nu": "0.01,0.1", "mu": "0.01,0.1"}, 20, finalists=0)
    assert len(made_up) == 5  # what stands, and the four of the space
    assert [trial["state"] for trial in found.trials].count("repeated") == 15


def test_options_that_do_not_go_together_are_failed_trials(made_up: list[Experiment]) -> None:
    found = tune(KARATE, {"layers": "3,5", "grow": "none,2+3"}, 12, finalists=0)
    assert {trial["state"] for trial in found.trials} == {"complete", "failed", "repeated"}


def test_all_failed(made_up: list[Experiment]) -> None:
    with pytest.raises(RuntimeError, match="every trial failed; the first one: too much"):
        tune(replace(KARATE, nu=0.9), {"mu": "0.01:0.1"}, 3)


def test_a_callback_sees_and_ends_it(made_up: list[Experiment]) -> None:
    steps: list[Step] = []

    def watch(step: Step) -> bool:
        steps.append(step)
        return step.done == 3

    found = tune(KARATE, NU_AND_MU, 10, callbacks=[watch])
    assert [(step.phase, step.done, step.total) for step in steps] == [("search", i, 10) for i in (1, 2, 3)]
    assert len(found.trials) == 3
    assert not found.interrupted


def test_no_trial_begins_after_the_time_is_over(made_up: list[Experiment]) -> None:
    assert len(tune(KARATE, NU_AND_MU, 10, timeout=0.0).trials) == 1


# --- what it must not see -----------------------------------------------------------------------------------


def test_test_nodes_are_hidden_and_change_nothing() -> None:
    experiment = Experiment(iterations=10, threads=1)
    measure = Measurer()
    hidden = measure.prepared(experiment)
    assert not hidden.data.test_mask.any()
    report = run(experiment, (), hidden).report
    assert report["best"]["test_accuracy"] is None
    assert {record["test_accuracy"] for record in report["history"]} == {None}
    plain = run(experiment).report
    for key in ("iteration", "val_accuracy"):
        assert report["best"][key] == plain["best"][key]
    assert measure(experiment, [0]).best == [plain["best"]["val_accuracy"]]


def test_nothing_says_test_accuracy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*DIGITS, "--trials", "2", "--finalists", "0", "--json", "-"]) == 0
    shown = capsys.readouterr()
    assert "test" not in shown.out + shown.err


def test_features_are_kept_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    prepare = measuring.prepare

    def counted(experiment: Experiment) -> Any:
        made.append(experiment.hops)
        return prepare(experiment)

    monkeypatch.setattr(measuring, "prepare", counted)
    measure = Measurer(limit=2 * 34 * 34 * 4)  # karate's features with one hop
    for hops in (0, 0, 1, 0, 1, 3, 1):
        measure.prepared(replace(KARATE, operator="sym", hops=hops))
    assert made == [0, 1, 0, 1, 3, 1]


def test_data_without_validation_nodes() -> None:
    data = load_dataset("karate").data
    data.val_mask = torch.zeros_like(data.val_mask)
    with pytest.raises(InputError, match="no validation nodes"):
        tune(KARATE, NU_AND_MU, 3, data=data)


def test_a_graph_of_ones_own() -> None:
    data = load_dataset("karate").data
    found = tune(KARATE, {"features": "sym/1,ppr/5/0.2"}, 3, finalists=1, final_seeds=(0, 1), data=data)
    assert found.best["operator"] in ("sym", "ppr")
    assert "test_mask" in data
    assert data.test_mask.any()
    assert data.x.shape == (34, 34)


# --- what it keeps ------------------------------------------------------------------------------------------


def test_resuming_is_as_not_having_stopped(made_up: list[Experiment], tmp_path: Path) -> None:
    whole = tune(KARATE, NU_AND_MU, 12)
    count = len(made_up)
    made_up.clear()
    kept = tmp_path / "search.log"
    assert len(tune(KARATE, NU_AND_MU, 5, storage=kept, finalists=0).trials) == 5
    resumed = tune(KARATE, None, 12, storage=kept)
    assert [t["options"] for t in resumed.trials] == [t["options"] for t in whole.trials]
    assert resumed.best == whole.best
    assert len(made_up) == count
    assert tune(KARATE, NU_AND_MU, 12, storage=kept).best == whole.best
    assert len(made_up) == count  # everything was there


def test_a_storage_belongs_to_one_search(made_up: list[Experiment], tmp_path: Path) -> None:
    kept = tmp_path / "search.log"
    tune(KARATE, NU_AND_MU, 2, storage=kept, finalists=0)
    for other, space, seeds in (
        (replace(KARATE, hidden=7), NU_AND_MU, (0,)),
        (KARATE, {"nu": "1e-3:1:log"}, (0,)),
        (KARATE, NU_AND_MU, (1,)),
    ):
        with pytest.raises(InputError, match="belongs to a search with"):
            tune(other, space, 4, seeds, storage=kept)
    (tmp_path / "other").write_text("something else\n")
    with pytest.raises(InputError, match="is not a file that tune has written"):
        tune(KARATE, NU_AND_MU, 2, storage=tmp_path / "other")


def test_ctrl_c_keeps_what_is_done(
    made_up: list[Experiment], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    formula = measuring.run

    def interrupted(*args: Any) -> Any:
        if len(made_up) == 4:
            raise KeyboardInterrupt
        return formula(*args)

    monkeypatch.setattr(measuring, "run", interrupted)
    kept, recipe = tmp_path / "search.log", tmp_path / "recipe.toml"
    options = ["--dataset", "karate", "--search", "nu=1e-4:0.5:log", "--storage", str(kept), "--recipe", str(recipe)]
    assert main(["tune", *options, "--trials", "8", "--finalists", "2", "--quiet"]) == 1
    said = one_line(capsys.readouterr().err)
    assert re.search(
        rf"interrupted after [45] trials: --storage {re.escape(str(kept))} goes on", said
    )  # 5: one repeated
    best = max(made_up, key=lambda e: -abs(log10((e.nu or 0) / 0.03)))
    assert read_recipe(recipe)["nu"] == best.nu
    monkeypatch.setattr(measuring, "run", formula)
    found = tmp_path / "found.json"
    assert main(["tune", *options, "--trials", "8", "--finalists", "2", "--quiet", "--json", str(found)]) == 0
    trials = json.loads(found.read_text())["trials"]
    finalists = [trial for trial in trials if trial["final_val_accuracy"] is not None]
    assert len(trials) == 8
    assert len(finalists) in (2, 3)  # the two best, and the first
    assert len(made_up) == sum(trial["state"] == "complete" for trial in trials) + 4 * len(finalists)


@pytest.mark.usefixtures("hears_ctrl_c")
def test_processes_share_the_work_and_are_interrupted(tmp_path: Path) -> None:
    """Two processes end in order after Ctrl-C; what is there then is what one process finds."""
    options = ["--dataset", "karate", "--search", "nu=0.001,0.01,0.1", "--search", "mu=1e-4:1:log", "--trials", "9999"]
    files = ["--storage", "kept", "--json", "found.json", "--recipe", "recipe.toml", "--quiet"]
    command = [sys.executable, "-m", "gamlp_admm", "tune", *options, *files, "--jobs", "2"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env=dict(os.environ)) as running:
        kept, deadline = tmp_path / "kept", time.monotonic() + 60
        while running.poll() is None and time.monotonic() < deadline:
            if kept.exists() and kept.read_text().count('"row"') >= 4:
                break
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        _, error = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "interrupted after" in one_line(error)
    trials = json.loads((tmp_path / "found.json").read_text())["trials"]
    assert len(trials) >= 4
    assert read_recipe(tmp_path / "recipe.toml")["nu"] in (0.001, 0.01, 0.1)
    one = run(Experiment(dataset="karate", threads=1, **trials[2]["options"])).report["best"]["val_accuracy"]
    assert trials[2]["val_accuracy"] == one


# --- recipes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"operator": "ppr", "hops": 5, "alpha": 0.2},
        {"hops": (1, 2), "nu": 0.5, "rho": 0.25},
        {"layers": 10},
        {"layers": 10, "grow": "none"},
        {"grow": (2, 4)},
        {"solver": "backtracking", "tau": 10.0, "class_weight": "balanced", "activation": "tanh", "hidden": 20},
        {"normalize_features": True, "iterations": 7, "patience": 3, "schedule": "every:10:2:1"},
    ],
)
def test_a_recipe_gives_what_was_measured(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = Experiment(dataset="karate", **options).resolve()
    recipe = {name: value for name, value in settings(used).items() if name in recipe_names()}
    path = tmp_path / "recipe.toml"
    path.write_text(recipes.with_recipe("", recipe, "a comment\nof two lines"))
    read = read_recipe(path)
    assert read == recipe
    description = replace(dataset_info("karate"), recipe=read)
    monkeypatch.setattr("gamlp_admm.experiment.resolve.dataset_info", lambda _: description)
    assert Experiment(dataset="karate").resolve() == used


@pytest.mark.parametrize("name", ["cora", "digits-knn", "karate"])
def test_only_the_recipe_of_a_description_changes(name: str) -> None:
    path = info.catalogue_folder() / f"{name}.toml"
    text = path.read_bytes().decode()
    recipe = {"operator": "ppr", "hops": [1, 2], "nu": 1e-05, "normalize_features": True}
    made = recipes.with_recipe(text, recipe, "how")
    before, _, after = text.partition("[recipe]\n")
    _, blank, rest = after.partition("\n\n[[")
    head = '[recipe]\n# how\noperator = "ppr"\nhops = [1, 2]\nnu = 1e-05\nnormalize_features = true\n'
    assert made == before + head + (blank + rest)[1:]
    assert recipes.with_recipe(made, recipe, "how") == made
    windows = recipes.with_recipe(text.replace("\n", "\r\n"), recipe, "how")
    assert windows == made.replace("\n", "\r\n")


def test_a_description_without_a_recipe_or_with_an_odd_one() -> None:
    assert recipes.with_recipe("a = 1", {"nu": 1.0}, "c") == "a = 1\n\n[recipe]\n# c\nnu = 1.0\n"
    comment = '[recipe]\nnu = 1.0\n\n# of the next\n[next]\nb = "x"\n'
    assert recipes.with_recipe(comment, {}, "c") == '[recipe]\n# c\n\n# of the next\n[next]\nb = "x"\n'
    with pytest.raises(InputError, match="cannot be replaced"):
        recipes.with_recipe("recipe = {nu = 1.0}\n[other]\nc = 2\n".replace("recipe =", "[recipe.more]\nx ="), {}, "c")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x", "is not TOML"),
        ("nu = 1", "has no table"),
        ("recipe = 3", "has no table"),
        ("[recipe]\nnoo = 1", "unknown option in recipe .*noo"),
        ("[recipe]\nnu = {a = 1}", "nu must be a number, not"),
        ("[recipe]\nhops = [[1]]", "hops must be an integer or a list of integers, not"),
    ],
)
def test_wrong_recipes(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    with pytest.raises(InputError, match="cannot be read"):
        read_recipe(path)
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_recipe(path)


def test_what_no_recipe_holds() -> None:
    with pytest.raises(InputError, match="recipes are for pdadmm-g, "):
        check_recipe(Experiment(algorithm="adam"))
    with pytest.raises(InputError, match="cannot hold codec"):
        check_recipe(Experiment(codec="int4"))
    with pytest.raises(InputError, match="cannot hold anderson"):
        check_recipe(Experiment(), Space({"anderson": "none,3"}))
    check_recipe(Experiment(evaluate_every=5), Space({"nu": "1:2"}))


# --- the command --------------------------------------------------------------------------------------------


def test_command_writes_the_recipe_of_the_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copies = shutil.copytree(info.catalogue_folder(), tmp_path / "datasets")
    monkeypatch.setattr(info, "catalogue_folder", lambda: copies)
    described, recipe, report = copies / "digits-knn.toml", tmp_path / "recipe.toml", tmp_path / "found.json"
    before = described.read_text()
    options = ["--search", "features=sym/1-2,heat/5", "--search", "nu=1e-4:0.1:log", "--trials", "4"]
    finals = ["--finalists", "1", "--final-seeds", "0,1", "--json", str(report), "--recipe", str(recipe), "--write"]
    assert main([*DIGITS, *options, *finals]) == 0
    found = json.loads(report.read_text())
    assert len(found["trials"]) == 4
    assert found["best"]["iterations"] == 5
    written = read_recipe(recipe)
    assert written == found["best"] == dict(dataset_info("digits-knn").recipe)
    assert described.read_text().startswith(before[: before.index("[recipe]")])
    comment = recipe.read_text().splitlines()[1]
    assert comment.startswith("# gamlp-admm tune --search features=sym/1-2,heat/5 --search nu=1e-4:0.1:log --trials 4")
    assert str(tmp_path) not in comment
    shown = capsys.readouterr().out
    assert "0, as it stands" in shown
    command = next(line for line in shown.splitlines() if line.startswith("gamlp-admm train"))
    assert main([*command.split()[1:], "--quiet", "--json", str(report)]) == 0
    trained = json.loads(report.read_text())["config"]
    assert {name: trained[name] for name in written} == written


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--trials", "0"], "trials must be an integer of at least 1"),
        (["--jobs", "0"], "jobs must be"),
        (["--seeds", "0,0"], "seeds '0,0': allowed: different integers"),
        (["--final-seeds", "0,0"], "final_seeds '0,0'"),
        (["--recipe", "/nowhere/at/all.toml"], "recipe /nowhere/at/all.toml cannot be written"),
        (["--storage", "/nowhere/at/all"], "storage /nowhere/at/all cannot be written"),
        (["--recipe", "r.toml", "--codec", "int4"], "cannot hold codec"),
        (["--dataset", "pyg:Planetoid:Cora", "--write"], "no description in a checkout"),
        (["--dataset", "cora", "--root", "/nowhere"], "cora"),
        (["--processes", "2"], "No such option"),
    ],
)
def test_wrong_input_is_one_line(options: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*DIGITS, *options]) == 2
    assert message in one_line(capsys.readouterr().err)


def test_without_optuna(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main([*DIGITS, "--trials", "1"]) == 2
    assert one_line(capsys.readouterr().err) == "gamlp-admm: tune needs optuna: pip install 'gamlp-admm[tune]'\n"


# --- splits of their own ------------------------------------------------------------------------------------


def test_resplits_draw_from_training_and_validation_nodes() -> None:
    data = load_dataset("digits-knn").data
    pool = data.train_mask | data.val_mask
    drawn = [resplit(data, seed) for seed in (0, 0, 1)]
    for each in drawn:
        assert torch.equal(each.train_mask | each.val_mask, pool)
        assert not (each.train_mask & each.val_mask).any()
        before, after = (torch.bincount(data.y[mask]) for mask in (data.train_mask, each.train_mask))
        assert (after <= before).all()
        assert (2 * after <= torch.bincount(data.y[pool]) + 1).all()
    assert torch.equal(drawn[0].train_mask, drawn[1].train_mask)
    assert not torch.equal(drawn[0].train_mask, drawn[2].train_mask)


def test_each_seed_has_its_split_beside_the_usual_one(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def run(experiment: Experiment, callbacks: Any, prepared: Any) -> Any:
        seen.append((experiment.seed, prepared.data.train_mask.clone(), bool(prepared.data.test_mask.any())))
        accuracy = 0.5 + 0.25 * torch.equal(seen[-1][1], usual)
        return SimpleNamespace(report={"best": {"val_accuracy": accuracy}, "last": {"val_accuracy": accuracy / 2}})

    usual = load_dataset("karate").data.train_mask
    monkeypatch.setattr("gamlp_admm.tuning.measuring.run", run)
    result = tune(KARATE, {"nu": "0.1,0.2"}, 2, seeds=(0, 1), finalists=0, resplit=True)
    assert [seed for seed, *_ in seen] == [0, 0, 1, 1] * (len(seen) // 4)
    for i, (seed, train, _) in enumerate(seen):
        if i % 2 == 0:
            assert torch.equal(train, usual)
        else:
            assert not torch.equal(train, usual)
            assert all(torch.equal(train, other) == (seed == s) for s, other, _ in seen[1::2])
    assert not any(test for *_, test in seen)
    assert result.winner is not None
    assert (result.winner["val_accuracy"], result.winner["last_val_accuracy"]) == (0.625, 0.3125)


def test_resplits_refuse_labels_as_features() -> None:
    with pytest.raises(InputError, match="labels as features belong to the split"):
        tune(replace(KARATE, label_operator="sym"), {"nu": "0.1,0.2"}, 1, resplit=True)
