"""The same training under several codecs: the table, its bytes, and checkpoints."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from gamlp_admm.errors import InputError
from gamlp_admm.experiment import Experiment
from gamlp_admm.experiment import runner as experiments
from gamlp_admm.experiment.comparison import Comparison, compare, fp32_bytes, plan
from gamlp_admm.experiment.nearing import spent

SMALL = Experiment(dataset="karate", operator="sym", hops=1, hidden=16, layers=5, iterations=3, grow=(2, 5))


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return compare(SMALL, ("fp32", "int4", "int2-delta", "grid:auto:256"), (0, 1, 2))


def test_a_row_a_codec(table: pd.DataFrame) -> None:
    assert list(table.index) == ["fp32", "int4", "int2-delta", "grid:auto:256"]
    assert list(table["algorithm"]) == ["pdadmm-g"] * 3 + ["pdadmm-g-q"]
    assert (table["seeds"] == 3).all()
    entries = 4 * 16  # training nodes x neurons
    boundaries = 3 * (1 + 4)  # iterations x boundaries, of both stages
    assert table.loc["fp32", "bytes_total"] == boundaries * 2 * entries * 4
    assert table.loc["fp32", "bytes_per_iteration"] == 4 * 2 * entries * 4
    assert table.loc["int4", "bytes_total"] == boundaries * 2 * 4 * (8 + 2)
    assert table.loc["grid:auto:256", "bytes_total"] == boundaries * entries * (1 + 4)
    ratios = table["bytes_total"].iloc[0] / table["bytes_total"]
    pd.testing.assert_series_equal(table["times_fewer_than_fp32"], ratios, check_names=False)
    pd.testing.assert_series_equal(table["times_fewer_than_authors"], 1.5 * ratios, check_names=False)


def test_rows_are_of_the_runs(table: pd.DataFrame) -> None:
    run = experiments.run(Experiment(**{**vars(SMALL), "codec": "int4", "seed": 2})).report
    theirs = [report for report in table.attrs["report"]["runs"] if report["config"]["codec"] == "int4"]
    assert [report["seed"] for report in theirs] == [0, 1, 2]
    for key in ("best", "last", "bytes_sent_total", "num_nodes"):
        assert theirs[2][key] == run[key]
    reference = [report for report in table.attrs["report"]["runs"] if report["config"]["codec"] == "fp32"]
    for name, value in spent(theirs, reference).items():
        assert table.loc["int4", name] == pytest.approx(value if value is not None else float("nan"), nan_ok=True)
    assert table.loc["fp32", "seeds_at_99"] == 3
    means = [report["best"]["test_accuracy"] for report in theirs]
    assert table.loc["int4", "test_accuracy_mean"] == pytest.approx(sum(means) / 3)
    assert fp32_bytes(run) == table.loc["fp32", "bytes_total"]


def test_bytes_of_stages_of_different_length() -> None:
    stopped = Experiment(**{**vars(SMALL), "iterations": 40, "patience": 2, "evaluate_every": 2})
    report = experiments.run(stopped).report
    stages = {record["layers"]: record["iteration"] for record in report["history"]}
    assert stages[2] < 40
    assert fp32_bytes(report) == report["bytes_sent_total"]


def test_checkpoints_of_codecs_and_seeds_are_apart(tmp_path: Path) -> None:
    kept = Experiment(**{**vars(SMALL), "checkpoint": str(tmp_path)})
    codecs = ("int4:8-delta", "p:grid:auto:16/q:int8")
    first = compare(kept, codecs, (0, 1))
    assert len(list(tmp_path.glob("*/seed-*/experiment.json"))) == 4
    again = compare(Experiment(**{**vars(kept), "resume": True}), codecs, (0, 1))
    columns = [name for name in first.columns if not name.startswith("seconds")]
    pd.testing.assert_frame_equal(first[columns], again[columns])


@pytest.mark.parametrize(
    ("codecs", "message"),
    [
        ((), "different codecs, at least one"),
        (("int4", "int4"), "different codecs, at least one"),
        (("int4", "int7"), "unknown codec 'int7'"),
        (("grid:5:1:9",), "the lower one first"),
    ],
)
def test_wrong_codecs_are_named_before_anything_runs(codecs: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan(SMALL, codecs, (0,))


def test_a_grid_makes_pdadmm_g_q() -> None:
    g_q = Experiment(dataset="karate", algorithm="pdadmm-g-q", quantize="pq")
    made = [each.resolve() for _, each in plan(g_q, ("fp32", "grid:paper"), (0,))]
    assert [(e.algorithm, e.codec, e.quantize) for e in made] == [
        ("pdadmm-g", "fp32", None),
        ("pdadmm-g-q", "grid:paper", "pq"),
    ]
    (_, plain), *_ = plan(Experiment(dataset="karate", algorithm="pdadmm"), ("grid:paper",), (0,))
    assert plain.algorithm == "pdadmm"


def test_limits_are_for_auto_alone() -> None:
    limited = Experiment(**{**vars(SMALL), "bytes": "40kB", "link": "1Mbit"})
    runs = dict(plan(limited, ("fp32", "auto"), (0,)))
    assert (runs["fp32"].bytes, runs["auto"].bytes) == (None, "40kB")
    with pytest.raises(InputError, match="bytes is for codec auto, which is not among fp32,int4"):
        plan(limited, ("fp32", "int4"), (0,))


def test_comparison_of_nothing_has_no_rows() -> None:
    assert Comparison().rows() == []
