"""The notation of what is searched, and which options it may name."""

from __future__ import annotations

from gamlp_admm.experiment.options import declared
from gamlp_admm.tuning import Space
from gamlp_admm.tuning.notation import searchable


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


def test_what_says_what_is_trained_and_where_is_not_searched() -> None:
    assert {*declared()} - {*searchable()} == {
        *("dataset", "root", "split", "split_seed", "algorithm", "recipe", "seed", "device", "dtype", "threads"),
        *("auto", "metric", "memory", "scratch", "cache", "matmul", "bytes", "link"),
        *("checkpoint", "checkpoint_every", "resume", "overwrite"),
        *("data", "label", "features", "id", "weight", "split_index"),
        *("processes", "node_shards", "balance", "timeout", "trace"),
    }
