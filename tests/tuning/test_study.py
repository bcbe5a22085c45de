"""The trials of a search: which are run, the finals, and what a storage keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from searches import KARATE, NU_AND_MU

from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment
from gamlp_admm.tuning import tune


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
    kept.write_text(kept.read_text().replace('"split":"usual",', ""))  # as before there was that option
    assert '"split"' not in kept.read_text()
    tune(KARATE, NU_AND_MU, 2, storage=kept, finalists=0)
    with pytest.raises(InputError, match="belongs to a search with split=usual, not 50/30/20"):
        tune(replace(KARATE, split="50/30/20"), NU_AND_MU, 4, storage=kept)
    (tmp_path / "other").write_text("something else\n")
    with pytest.raises(InputError, match="is not a file that tune has written"):
        tune(KARATE, NU_AND_MU, 2, storage=tmp_path / "other")
