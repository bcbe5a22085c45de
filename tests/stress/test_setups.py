"""The short form of ``setups.py``: one set-up of each kind."""

from __future__ import annotations

import random

import pytest
from stress.setups import KINDS, drawn


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "one never comes"])
def test_a_random_set_up_ends_in_the_bits_of_one_process_or_in_one_line(kind, tmp_path):
    assert drawn(random.Random(kind), tmp_path, [kind]).run()
