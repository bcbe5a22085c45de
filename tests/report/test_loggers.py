"""Loggers: what TensorBoard reads back, what W&B and MLflow are told, and that none of them costs a run."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from gamlp_admm.cli import running
from gamlp_admm.errors import InputError, InputWarning
from gamlp_admm.experiment import Experiment, run
from gamlp_admm.report.loggers import LOGGERS, Logging, check_logger

KARATE = Experiment(dataset="karate", operator="sym", hops=2, hidden=8, iterations=4)


def logged(name, folder=None, experiment=KARATE, **changes):
    used = experiment.resolve().changed(changes)
    with Logging(name, used.values(), folder) as log:
        done = run(used, [log])
        log.finish(done.report)
    return done.report


# TensorBoard


def read(folder):
    """Return what TensorBoard's own reader finds in a run's folder: scalars by tag and step; hyperparameters."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    events = EventAccumulator(str(folder))
    events.Reload()
    scalars = {tag: {e.step: e.value for e in events.Scalars(tag)} for tag in events.Tags()["scalars"]}
    parts = events.PluginTagToContent(metadata.PLUGIN_NAME)
    given = HParamsPluginData.FromString(parts[metadata.SESSION_START_INFO_TAG]).session_start_info.hparams
    config = {name: getattr(value, value.WhichOneof("kind")) for name, value in given.items()}
    return scalars, config, metadata.SESSION_END_INFO_TAG in parts


@pytest.fixture
def tensorboard():
    pytest.importorskip("tensorboard")


@pytest.mark.usefixtures("tensorboard")
def test_tensorboard_reads_what_the_history_has(tmp_path):
    report = logged("tensorboard", tmp_path)
    scalars, config, ended = read(tmp_path)
    assert len(report["history"]) == 5
    for name in report["history"][0].keys() - {"iteration"}:
        expected = {record["iteration"]: pytest.approx(record[name], rel=1e-6) for record in report["history"]}
        assert scalars[name] == expected, name
    assert scalars["best/val_accuracy"] == {4: pytest.approx(report["best"]["val_accuracy"])}
    assert scalars["bytes_sent_total"] == {4: report["bytes_sent_total"]}
    assert (config["nu"], config["hidden"], config["algorithm"]) == (0.01, 8, "pdadmm-g")
    assert ended


@pytest.mark.usefixtures("tensorboard")
def test_what_goes_on_takes_the_place_of_later_iterations_and_what_replaces_of_all(tmp_path):
    checkpoint = str(tmp_path / "kept")
    logged("tensorboard", tmp_path / "log", checkpoint=checkpoint)
    logged("tensorboard", tmp_path / "log", checkpoint=checkpoint, resume=True, iterations=6)
    scalars, _, _ = read(tmp_path / "log")
    assert list(scalars["objective"]) == [0, 1, 2, 3, 4, 5, 6]
    report = logged("tensorboard", tmp_path / "log", checkpoint=checkpoint, overwrite=True, iterations=2, nu=0.1)
    scalars, config, _ = read(tmp_path / "log")
    assert list(scalars["objective"]) == [0, 1, 2]
    assert scalars["objective"][2] == pytest.approx(report["history"][-1]["objective"])
    assert config["nu"] == 0.1


@pytest.mark.usefixtures("tensorboard")
def test_a_folder_below_runs_where_none_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    logged("tensorboard")
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("karate-pdadmm-g-fp32-seed-0-")


# W&B and MLflow: modules with the functions' real signatures (wandb 0.31, mlflow 3.17), which were tried by hand


class FakeWandb(ModuleType):
    def __init__(self) -> None:
        super().__init__("wandb")
        self.inits: list[dict[str, Any]] = []
        self.logs: list[tuple[int | None, dict[str, Any]]] = []
        self.summary: dict[str, Any] = {}
        self.exits: list[int | None] = []

    def init(self, entity=None, project=None, dir=None, id=None, name=None, notes=None, tags=None, config=None):
        self.inits.append({"project": project, "dir": dir, "name": name, "config": config})
        return SimpleNamespace(log=self._log, finish=self._finish, summary=self.summary)

    def _log(self, data: dict[str, Any], step: int | None = None, commit: bool | None = None) -> None:
        self.logs.append((step, data))

    def _finish(self, exit_code: int | None = None) -> None:
        self.exits.append(exit_code)


class FakeMlflow(ModuleType):
    def __init__(self) -> None:
        super().__init__("mlflow")
        self.calls: list[tuple[Any, ...]] = []

    def start_run(self, run_id=None, experiment_id=None, run_name=None, nested=False):
        self.calls.append(("start", run_name))

    def log_params(self, params, synchronous=None, run_id=None):
        self.calls.append(("params", params))

    def log_metrics(self, metrics, step=None, synchronous=None, run_id=None, timestamp=None):
        self.calls.append(("metrics", step, metrics))

    def end_run(self, status="FINISHED"):
        self.calls.append(("end", status))


@pytest.fixture
def wandb(monkeypatch):
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return fake


@pytest.fixture
def mlflow(monkeypatch):
    fake = FakeMlflow()
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    return fake


def numbers(record):
    return {name: value for name, value in record.items() if value is not None and name != "iteration"}


def test_wandb_has_options_records_and_what_the_run_came_to(wandb, tmp_path):
    report = logged("wandb", tmp_path / "log")
    (made,) = wandb.inits
    assert (made["project"], made["dir"], made["name"]) == (
        *("gamlp-admm", tmp_path / "log"),
        "karate-pdadmm-g-fp32-seed-0",
    )
    assert made["dir"].is_dir()
    assert made["config"] == {name: value for name, value in KARATE.resolve().values().items() if value is not None}
    assert wandb.logs == [(record["iteration"], numbers(record)) for record in report["history"]]
    assert wandb.summary["best/test_accuracy"] == report["best"]["test_accuracy"]
    assert wandb.exits == [0]


def test_mlflow_has_options_records_and_what_the_run_came_to(mlflow):
    report = logged("mlflow")
    start, params, *metrics, end = mlflow.calls
    assert start == ("start", "karate-pdadmm-g-fp32-seed-0")
    assert params[1]["hops"] == 2
    assert metrics[:-1] == [("metrics", record["iteration"], numbers(record)) for record in report["history"]]
    assert metrics[-1][2]["seconds/train"] == report["seconds"]["train"]
    assert end == ("end", "FINISHED")


@pytest.mark.parametrize(("stop", "status"), [("callback", "KILLED"), ("error", "FAILED")])
def test_a_run_that_ends_early_is_not_finished(mlflow, stop, status):
    def ends(progress):
        if progress.record["iteration"] == 2:
            if stop == "error":
                raise MemoryError
            return True
        return None

    used = KARATE.resolve()
    with pytest.raises(MemoryError) if stop == "error" else pytest.MonkeyPatch.context():  # noqa: SIM117
        with Logging("mlflow", used.values()) as log:
            log.finish(run(used, [log, ends]).report)
    assert mlflow.calls[-1] == ("end", status)


# what goes wrong


@pytest.mark.parametrize("fails", ["init", "_log", "_finish"])
def test_a_logger_that_fails_does_not_lose_the_run(wandb, monkeypatch, fails):
    def fail(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setattr(wandb, fails, fail)
    used = KARATE.resolve()
    with pytest.warns(InputWarning, match=r"logger wandb failed, .* ConnectionError: no network") as warned:
        report = logged("wandb")
    assert len(warned) == 1  # then it is left alone
    assert report["best"] == run(used).report["best"]
    assert len(report["history"]) == 5
    assert wandb.exits == ([1] if fails == "_log" else [])  # closed all the same, so that another run can begin


@pytest.mark.parametrize("name", LOGGERS)
def test_a_package_that_is_absent(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError) as raised:
        check_logger(name)
    assert str(raised.value) == f"logger {name} needs {name}: pip install 'gamlp-admm[{name}]'"


def test_only_the_first_process_logs(monkeypatch, wandb):
    assert running.logs("wandb") is not None
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert running.logs("wandb") is None
