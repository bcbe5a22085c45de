"""Small runs that tests of several modules share."""

from __future__ import annotations

from gamlp_admm.experiment import Experiment

KARATE = ["train", "--dataset", "karate", "--hidden", "8", "--iterations", "5"]
GROWN = Experiment(dataset="karate", hops=2, operator="sym", hidden=8, layers=5, iterations=4, init="kaiming")
