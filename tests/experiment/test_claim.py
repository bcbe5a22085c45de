"""Whose a checkpoint's directory is."""

import dataclasses
import json

import pytest

from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment, run

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
