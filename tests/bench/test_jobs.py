"""The plan of a benchmark: its jobs, their files, and what is wrong in one."""

from __future__ import annotations

from typing import Any

import pytest

from gamlp_admm.bench import accuracy
from gamlp_admm.bench.accuracy import METHODS, plan
from gamlp_admm.bench.jobs import Job
from gamlp_admm.bench.many_labels import ManyLabels
from gamlp_admm.bench.ogb import Leaderboard
from gamlp_admm.errors import InputError


def test_plan_goes_data_set_by_data_set() -> None:
    assert plan(["cora", "karate"], ["gcn", "adam"], [3, 1]) == [
        Job(dataset, method, seed) for dataset in ("cora", "karate") for method in ("gcn", "adam") for seed in (3, 1)
    ]


def test_random_splits_are_for_drawn_splits_only() -> None:
    def split_seeds(splits: str) -> list[tuple[str, int | None]]:
        return [(job.dataset, job.split_seed) for job in plan(["cora", "coauthor-cs"], ["sgc"], [0, 7], splits)]

    usual, drawn = [("coauthor-cs", None)] * 2, [("coauthor-cs", 0), ("coauthor-cs", 7)]
    cora = [("cora", None)] * 2
    assert split_seeds("usual") == cora + usual
    assert split_seeds("random") == cora + drawn
    assert split_seeds("both") == cora + usual + drawn


def test_default_data_sets_have_published_figures() -> None:
    assert accuracy.default_datasets()[:3] == ["cora", "citeseer", "amazon-photo"]
    assert {"flickr", "ogbn-arxiv", "coauthor-physics"} < {*accuracy.default_datasets()}
    assert "mnist" not in accuracy.default_datasets()  # no graph


def test_tables_evaluate_each_iteration() -> None:
    job = Job("cora", "pdadmm-g", 0)
    for each in (accuracy.Accuracy(), ManyLabels(), Leaderboard()):
        experiment = each.experiment(job, None)
        assert experiment is not None
        assert experiment.evaluate_every == 1
        assert each.describe(job, 0)["config"]["experiment"]["evaluate_every"] == 1  # as in files of before


def test_files_of_jobs_are_apart() -> None:
    jobs = plan(["cora", "coauthor-cs"], [*METHODS], [0, 1], "both")
    assert len({job.file_name for job in jobs}) == len(jobs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((["coraa"],), "did you mean 'cora'"),
        ((["mnist"],), "unknown graph data set 'mnist'"),
        ((["cora"], ["sigm"]), "did you mean 'sign'"),
        ((["cora"], ["gcn"], [1, 1]), "seeds '1,1': allowed: different ones"),
        ((["cora", "cora"],), "different ones"),
        ((["cora"], ["gcn"], [0], "some"), "allowed: usual, random, both"),
    ],
)
def test_wrong_plans(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan(*arguments)
