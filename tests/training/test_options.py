"""Options of fit that are wrong are named."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fitting import TRAINERS, network, parameters, same
from problems import blobs

from gamlp_admm.errors import InputError


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"iterations": 0}, "iterations must be a positive integer, not 0"),
        ({"iterations": 2.5}, "iterations must be a positive integer"),
        ({"evaluate_every": 0}, "evaluate_every must be a positive integer"),
        ({"evaluate_every": "often"}, "unknown evaluate_every 'often': allowed: auto, a positive integer"),
        ({"patience": -1}, "patience must be a positive integer"),
        ({"checkpoint_every": 0}, "checkpoint_every must be a positive integer"),
        ({"select": "first"}, "select 'first': allowed: best, last"),
        ({"resume": True}, "resume, overwrite and checkpoint_every need checkpoint_dir"),
        ({"checkpoint_every": 2}, "resume, overwrite and checkpoint_every need checkpoint_dir"),
        ({"overwrite": True}, "resume, overwrite and checkpoint_every need checkpoint_dir"),
        ({"resume": True, "overwrite": True, "checkpoint_dir": "none"}, "resume and overwrite exclude each other"),
        ({"grow": (2, 4)}, "grow"),
        ({"gather": "some"}, "gather 'some': allowed: all, first, none"),
        ({"node_shards": 2}, "node_shards needs a process_group"),
        ({"node_weight": torch.ones(3)}, "node_weight"),
    ],
)
def test_bad_options(options: dict[str, Any], names: str) -> None:
    model = network()
    before = parameters(model)
    with pytest.raises(InputError, match=names) as error:
        TRAINERS["pdadmm-g"].fit(model, blobs(), **options)
    assert "\n" not in str(error.value)
    assert same(parameters(model), before)
