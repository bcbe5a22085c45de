"""One experiment from end to end: its options, a run, several seeds, several codecs, and predictions."""

from typing import TYPE_CHECKING

from gamlp_admm.system.lazy import exports

if TYPE_CHECKING:
    from gamlp_admm.experiment.comparison import Comparison, compare
    from gamlp_admm.experiment.declaration import Option
    from gamlp_admm.experiment.options import register_option
    from gamlp_admm.experiment.outcome import Run, best_run, environment, summarize, summary
    from gamlp_admm.experiment.prediction import Prediction, predict
    from gamlp_admm.experiment.predictor import NodePrediction, Predictor, load_predictor
    from gamlp_admm.experiment.resolve import Experiment, Resolved
    from gamlp_admm.experiment.runner import Prepared, correct_and_smooth, prepare, run
    from gamlp_admm.experiment.seeds import seeded

__all__ = [
    "Comparison",
    "Experiment",
    "NodePrediction",
    "Option",
    "Prediction",
    "Predictor",
    "Prepared",
    "Resolved",
    "Run",
    "best_run",
    "compare",
    "correct_and_smooth",
    "environment",
    "load_predictor",
    "predict",
    "prepare",
    "register_option",
    "run",
    "seeded",
    "summarize",
    "summary",
]

__getattr__, __dir__ = exports(
    __name__,
    {
        **dict.fromkeys(("Comparison", "compare"), f"{__name__}.comparison"),
        **dict.fromkeys(("Run", "best_run", "environment", "summarize", "summary"), f"{__name__}.outcome"),
        **dict.fromkeys(("Prediction", "predict"), f"{__name__}.prediction"),
        **dict.fromkeys(("NodePrediction", "Predictor", "load_predictor"), f"{__name__}.predictor"),
        **dict.fromkeys(("Experiment", "Resolved"), f"{__name__}.resolve"),
        **dict.fromkeys(("Prepared", "correct_and_smooth", "prepare", "run"), f"{__name__}.runner"),
        "Option": f"{__name__}.declaration",
        "register_option": f"{__name__}.options",
        "seeded": f"{__name__}.seeds",
    },
)
