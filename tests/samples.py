"""Small runs that tests of several modules share."""

from __future__ import annotations

KARATE = ["train", "--dataset", "karate", "--hidden", "8", "--iterations", "5"]
