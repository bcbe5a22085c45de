"""Whose a checkpoint's directory is."""

import dataclasses
import json
import os

import pytest

from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment, run
from gamlp_admm.experiment.claim import check
from gamlp_admm.system import durable
from gamlp_admm.training.checkpoint import held

KARATE = Experiment(dataset="karate", operator="sym", hops=2, hidden=8, layers=3, iterations=6, nu=0.1)


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"operator": "row"}, {"nu": 0.2}, {"split_seed": 7}, {"split": "60/20/20"}]
)
@pytest.mark.parametrize("resume", [True, False])
def test_a_checkpoint_belongs_to_one_experiment(tmp_path, change, resume):
    base = dataclasses.replace(KARATE, checkpoint=str(tmp_path))
    run(base)
    (name,) = change
    with pytest.raises(InputError, match=rf"belongs to a run with (rho|{name})="):
        run(dataclasses.replace(base, **change, resume=resume))


@pytest.mark.parametrize("damaged", ["", '{\n "dataset": "kar', "[1]", "3"])
def test_a_damaged_note_of_a_checkpoint_is_named(tmp_path, damaged):
    base = dataclasses.replace(KARATE, checkpoint=str(tmp_path))
    run(base)
    note = tmp_path / "experiment.json"
    whole = note.read_text()
    note.write_text(damaged)
    with pytest.raises(InputError, match=rf"^{note}, .*, cannot be read \(.*\); remove it") as error:
        run(dataclasses.replace(base, iterations=9, resume=True))
    assert "\n" not in str(error.value)
    note.unlink()
    run(dataclasses.replace(base, iterations=9, resume=True))
    assert json.loads(note.read_text()) == json.loads(whole)


def test_a_finished_run_can_be_continued(tmp_path):
    base = dataclasses.replace(KARATE, checkpoint=str(tmp_path))
    run(base)
    longer = run(dataclasses.replace(base, iterations=9, resume=True)).report
    assert longer["last"]["iteration"] == 9


def test_a_run_is_replaced_when_that_is_asked_for(tmp_path):
    base = dataclasses.replace(KARATE, checkpoint=str(tmp_path))
    run(base)
    with pytest.raises(InputError, match=r"has a run of 6 iterations: resume \(--resume\) goes on from it, overwrite"):
        run(dataclasses.replace(base, iterations=1))
    run(dataclasses.replace(base, iterations=1, seed=3, overwrite=True))
    assert json.loads((tmp_path / "experiment.json").read_text())["seed"] == 3
    longer = run(dataclasses.replace(base, iterations=2, seed=3, resume=True)).report
    assert [record["iteration"] for record in longer["history"]] == [0, 1, 2]


def test_a_damaged_note_without_a_checkpoint_is_replaced(tmp_path):
    (tmp_path / "experiment.json").write_text("")
    run(dataclasses.replace(KARATE, checkpoint=str(tmp_path)))
    assert json.loads((tmp_path / "experiment.json").read_text())["hidden"] == 8


def test_an_option_that_a_note_does_not_have_had_its_default(tmp_path):
    base = dataclasses.replace(KARATE, checkpoint=str(tmp_path))
    run(base)
    note = tmp_path / "experiment.json"
    kept = json.loads(note.read_text())
    for name in ("batch_size", "residual"):
        del kept[name]
    note.write_text(json.dumps(kept))
    for changes in ({"batch_size": 10}, {"residual": True}):
        (name,) = changes
        with pytest.raises(InputError, match=f"belongs to a run with {name}="):
            run(dataclasses.replace(base, **changes, resume=True))
    run(dataclasses.replace(base, iterations=7, resume=True))
    assert json.loads(note.read_text())["batch_size"] is None


def test_another_run_is_named_before_data_are_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(durable, "LAST_MOMENTS", 0.1)
    used = dataclasses.replace(KARATE, checkpoint=str(tmp_path)).resolve()
    with held(tmp_path), pytest.raises(InputError, match=f"{tmp_path} is in use by process {os.getpid()} on "):
        check(used)
    check(used)
    absent = dataclasses.replace(used, checkpoint=str(tmp_path / "absent"), resume=True)
    for refuse in (check, run):
        with pytest.raises(InputError, match=f"no checkpoint to resume from: {tmp_path}/absent has none"):
            refuse(absent)
    assert not (tmp_path / "absent").exists()
