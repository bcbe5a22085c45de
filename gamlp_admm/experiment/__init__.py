"""One experiment from end to end: its options, a run, several seeds, several codecs, and predictions."""

from gamlp_admm.experiment.comparison import Comparison, compare
from gamlp_admm.experiment.options import Experiment
from gamlp_admm.experiment.prediction import Prediction, predict
from gamlp_admm.experiment.runner import (
    Prepared,
    Run,
    correct_and_smooth,
    environment,
    prepare,
    run,
    run_seeds,
    seeded,
    summarize,
    summary,
)

__all__ = [
    "Comparison",
    "Experiment",
    "Prediction",
    "Prepared",
    "Run",
    "compare",
    "correct_and_smooth",
    "environment",
    "predict",
    "prepare",
    "run",
    "run_seeds",
    "seeded",
    "summarize",
    "summary",
]
