"""scikit-learn estimators over all trainers: rows of features in, classes or real targets out."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
from torch import Tensor

from gamlp_admm.algorithms.registry import trainer
from gamlp_admm.errors import InputError, positive_integer
from gamlp_admm.nn.gamlp import GAMLP
from gamlp_admm.system.lazy import shown

__all__ = ["ADMMClassifier", "ADMMRegressor"]

__dir__ = shown(__name__)

Array = NDArray[Any]
Self = TypeVar("Self", bound="_Estimator")

SUGGESTED: dict[str, dict[str, Any]] = {
    "dladmm": {"solver": "exact", "rho": 0.1, "nu": 1.0, "mu": 0.1},
    "pdadmm": {"solver": "exact"},
    "pdadmm-g": {"solver": "exact"},
    "mdlam": {"solver": "exact"},
    "ridge": {"mu": 1.0},
    "badm": {"lr": 0.3},
    "adam": {"lr": 1e-2},
}
"""Settings that suit standardised tables of some hundreds or thousands of rows, where they differ from a trainer's own.

``exact`` blocks cost little at such sizes and leave no step length to luck. ρ of dlADMM holds the last layer to its
multiplier: 0.1 scored slightly better, on eight data sets, than the ρ > 2H of its theorem, and never diverged there.
μ = 0.1 is a tenth of ν, so that decay bends a layer's least-squares fit but little. BADM's own step of 1 can diverge on
squared errors; Adam's of 0.001 needs more than 200 steps.
"""

ACCEPTED = {"accept_sparse": "csr", "dtype": (np.float64, np.float32), "order": "C", "force_writeable": True}
"""What scikit-learn makes of features: CSR or an array that torch can share, in their own precision."""


@dataclass(eq=False, repr=False, kw_only=True)
class _Estimator(BaseEstimator):  # type: ignore[misc]
    """What classifier and regressor share; :class:`ADMMClassifier` describes the parameters."""

    algorithm: str = "dladmm"
    hidden: int = 100
    layers: int = 2
    activation: str = "relu"
    init: str = "normal"
    iterations: int = 200
    rho: float | None = None
    nu: float | None = None
    mu: float | None = None
    solver: str | None = None
    schedule: Any = None
    early_stopping: bool = False
    validation_fraction: float = 0.1
    n_iter_no_change: int = 20
    random_state: Any = None
    settings: dict[str, Any] | None = None

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _settings(self) -> dict[str, Any]:
        # Those suggested for the algorithm, and over them those given.
        named = {name: getattr(self, name) for name in ("rho", "nu", "mu", "solver", "schedule")}
        named = {name: value for name, value in named.items() if value is not None}
        settings = {} if self.settings is None else self.settings
        if not isinstance(settings, dict):
            raise InputError(f"settings must be a dict of settings of {self.algorithm}, not {settings!r}")
        for name in settings:
            if name in (*named, "loss", "class_weight"):
                raise InputError(f"settings has {name!r}, which the estimator sets itself")
        return {**SUGGESTED.get(self.algorithm, {}), **named, **settings}

    def _training_rows(self, rows: int, classes: Array | None, random: Any) -> NDArray[np.bool_]:
        """Return which of the rows are trained on: all of them, unless some are held out for early stopping.

        Args:
            rows: Their number N.
            classes: The class of each, of which both parts are to have their share, ``[N]``; or ``None``.
            random: Draws the rows held out.

        Returns:
            A mask, ``[N]``.
        """
        mask = np.ones(rows, dtype=bool)
        if self.early_stopping:
            fraction = self.validation_fraction
            if not isinstance(fraction, Real) or not 0 < fraction < 1:
                raise InputError(f"validation_fraction must be a number between 0 and 1, not {fraction!r}")
            _, held_out = train_test_split(
                np.arange(rows), test_size=float(fraction), random_state=random, stratify=classes
            )
            mask[held_out] = False
        return mask

    def _train(
        self, X: Any, y: Array, weight: Array, mask: NDArray[np.bool_], outputs: int, loss: str, random: Any
    ) -> None:
        """Train a network and note what came of it.

        Args:
            X: Features, ``[N, F]``, dense or CSR.
            y: Classes ``[N]``, or targets ``[N, C]``.
            weight: Weight of each row, ``[N]``.
            mask: Which rows are trained on, ``[N]``.
            outputs: Columns C of what the network gives.
            loss: The risk.
            random: Draws the weights.
        """
        if not (weight >= 0).all() or not weight[mask].any():
            raise InputError("sample_weight times class_weight must be 0 or more, and not 0 in all rows trained on")
        x = _dense(X)
        made = trainer(self.algorithm, loss=loss, **self._settings())
        model = GAMLP(
            in_channels=x.shape[1],
            hidden_channels=positive_integer("hidden", self.hidden),
            out_channels=outputs,
            num_layers=made.depth or positive_integer("layers", self.layers),
            activation=self.activation,
            init=self.init,
        ).to(x.dtype)
        train = torch.from_numpy(mask)
        self.result_ = made.fit(
            model,
            SimpleNamespace(x=x, y=torch.from_numpy(y), train_mask=train, val_mask=~train),
            positive_integer("iterations", self.iterations),
            seed=int(random.randint(2**31 - 1)),  # nosec B311  # NumPy's, a seed to repeat, no secret
            patience=positive_integer("n_iter_no_change", self.n_iter_no_change) if self.early_stopping else None,
            node_weight=torch.from_numpy(weight),
            val_weight=None if (weight == 1).all() else torch.from_numpy(weight),
            evaluate_every=1,  # loss_curve_ has an entry an iteration
            select="best" if self.early_stopping else "last",
        )
        self.model_ = model
        self.history_ = self.result_.history
        self.loss_curve_ = [record["train_loss"] for record in self.history_]
        self.n_iter_ = self.history_[-1]["iteration"]
        scores = [record.get("val_score", record["val_accuracy"]) for record in self.history_]
        self.validation_scores_ = scores if self.early_stopping else None
        self.best_validation_score_ = self.result_.best.get("val_score", self.result_.best["val_accuracy"])

    def _outputs(self, X: Any) -> Tensor:
        # Of the network, [N, C].
        check_is_fitted(self)
        x = _dense(validate_data(self, X, reset=False, **ACCEPTED))
        with torch.inference_mode():
            outputs: Tensor = self.model_(x.to(self.model_.linears[0].weight.dtype))
        return outputs


@dataclass(eq=False, repr=False, kw_only=True)
class ADMMClassifier(ClassifierMixin, _Estimator):  # type: ignore[misc]
    """A multi-layer perceptron for classes, trained by any of the package's algorithms.

    Penalties expect features standardised (``make_pipeline(StandardScaler(), …)``). ADMM algorithms measure features
    themselves where they are of different units or far from usual sizes (:mod:`gamlp_admm.training.units`).
    Features of float32 are trained on in float32, which takes less time and half the memory, all others in float64.
    Sparse features are accepted and made dense.

    Args:
        algorithm: A name of :data:`gamlp_admm.algorithms.ALGORITHMS`.
        hidden: Neurons of each hidden layer.
        layers: Linear layers, the last one included: 1 is a linear model, 2 has one hidden layer; ``ridge`` has 1.
        activation: As :class:`gamlp_admm.nn.GAMLP` has it.
        init: As :class:`gamlp_admm.nn.GAMLP` has it. ``normal`` starts from a nearly constant function, whatever the
            unit of the features; ``kaiming`` bends more quickly, and more than little data warrant.
        iterations: Iterations at most; of ``early_stopping`` fewer.
        rho: Penalty ρ of the algorithm; as all of ``rho``, ``nu``, ``mu``, ``solver`` and ``schedule``, ``None`` is for
            what :data:`SUGGESTED` has, or else for the trainer's own default, and given to algorithms that take it.
        nu: Penalty ν.
        mu: Weight decay μ.
        solver: How quadratic blocks are solved.
        schedule: How penalties change.
        early_stopping: Hold out some rows, drawn class by class, stop when ``n_iter_no_change`` iterations have not
            raised the score on them, and keep the weights that had the best. In scores too a row counts as often as it
            weighs.
        validation_fraction: Share of the rows held out.
        n_iter_no_change: Patience of early stopping.
        random_state: Seed, ``RandomState`` or ``None``: draws the weights and the rows held out. The same seed gives
            the same bits on as many threads.
        settings: Further settings of the algorithm, such as ``{"lr": 0.1}`` or ``{"codec": "int8"}``.
        class_weight: ``None``; a dictionary from class to weight; or ``"balanced"`` for N/(C · count), a row counted as
            often as it weighs. Rows weigh their own weight times that of their class.

    Attributes:
        model_: The network, a plain :class:`gamlp_admm.nn.GAMLP`, which gives logits.
        classes_: The classes, sorted, ``[C]``.
        result_: The run's :class:`gamlp_admm.training.result.Result`; ``history_`` has its records.
        loss_curve_: Mean cross-entropy of the rows trained on after each iteration.
        validation_scores_: Accuracy on the rows held out after each iteration, or ``None``.
        best_validation_score_: The best of them, that of ``model_``, or ``None``.
        n_iter_: Iterations run.
        n_features_in_: Columns of the features.
        feature_names_in_: Their names, where they have any.

    Example:
        >>> from sklearn.datasets import make_blobs
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.preprocessing import StandardScaler
        >>> from gamlp_admm.estimators import ADMMClassifier
        >>> X, y = make_blobs(60, centers=3, cluster_std=0.5, random_state=0)
        >>> made = make_pipeline(StandardScaler(), ADMMClassifier(hidden=8, iterations=30, random_state=0)).fit(X, y)
        >>> made.predict_proba(X).shape, made.score(X, y) > 0.9
        ((60, 3), True)
    """

    class_weight: Any = None

    def fit(self: Self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train the network anew.

        Args:
            X: Features, ``[N, F]``.
            y: Classes, numbers or strings, ``[N]``.
            sample_weight: Weight of each row, ``[N]``, or ``None`` for ones. A row of weight 2 is that row twice, one
                of weight 0 is not there. All weights times k are a weight decay μ divided by k.

        Raises:
            InputError: A parameter is wrong, or does not apply to the algorithm.
            ValueError: The data are wrong.
            FloatingPointError: The iterates are no longer finite.
        """
        X, y = validate_data(self, X, y, **ACCEPTED)
        check_classification_targets(y)
        X, y, weight = _weighted(X, column_or_1d(y, warn=True), sample_weight)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if isinstance(self.class_weight, str) and self.class_weight == "balanced":
            counts = np.bincount(codes, weight)
            weight = weight * (counts.sum() / (len(counts) * counts))[codes]
        else:
            weight = weight * compute_sample_weight(self.class_weight, y)
        y = codes
        random = check_random_state(self.random_state)
        mask = self._training_rows(len(y), y, random)
        self._train(X, y, weight, mask, len(self.classes_), "cross_entropy", random)
        return self

    def predict(self, X: Any) -> Array:
        """Return the likeliest class of each row, ``[N]``, of features ``[N, F]``."""
        likeliest = self._outputs(X).argmax(-1).numpy()
        classes: Array = self.classes_[likeliest]
        return classes

    def decision_function(self, X: Any) -> Array:
        """Return logits, ``[N, C]``, of features ``[N, F]``; of two classes the second's log-odds, ``[N]``."""
        z = self._outputs(X)
        return (z[:, 1] - z[:, 0] if len(self.classes_) == 2 else z).numpy()

    def predict_proba(self, X: Any) -> Array:
        """Return class probabilities, ``[N, C]``, of features ``[N, F]``."""
        return torch.softmax(self._outputs(X), -1).numpy()

    def predict_log_proba(self, X: Any) -> Array:
        """Return logarithms of class probabilities, ``[N, C]``, of features ``[N, F]``."""
        return torch.log_softmax(self._outputs(X), -1).numpy()


@dataclass(eq=False, repr=False, kw_only=True)
class ADMMRegressor(RegressorMixin, _Estimator):  # type: ignore[misc]
    """A multi-layer perceptron for one or several real targets, trained by any of the package's algorithms.

    Parameters and attributes as :class:`ADMMClassifier`, without classes. Targets are centred and scaled for training,
    so that penalties mean the same whatever their unit; ``loss_curve_`` and the history are of the scaled targets. The
    last layer of ``model_`` is then scaled back. Scores on rows held out are R².

    Example:
        >>> import numpy as np
        >>> from gamlp_admm.estimators import ADMMRegressor
        >>> X = np.linspace(-1, 1, 40)[:, None]
        >>> model = ADMMRegressor(layers=1, iterations=20, random_state=0).fit(X, 3 * X[:, 0] + 1)
        >>> model.predict(X).shape, model.score(X, 3 * X[:, 0] + 1) > 0.9
        ((40,), True)
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self: Self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train the network anew.

        Args:
            X: Features, ``[N, F]``.
            y: Targets, ``[N]`` or ``[N, C]``.
            sample_weight: As for :meth:`ADMMClassifier.fit`.

        Raises:
            InputError: A parameter is wrong, or does not apply to the algorithm.
            ValueError: The data are wrong.
            FloatingPointError: The iterates are no longer finite.
        """
        X, y = validate_data(self, X, y, multi_output=True, y_numeric=True, **ACCEPTED)
        X, y, weight = _weighted(X, y.reshape(len(y), -1), sample_weight)
        random = check_random_state(self.random_state)
        mask = self._training_rows(len(y), None, random)
        scaler = StandardScaler().fit(y[mask], sample_weight=weight[mask])
        self._train(X, scaler.transform(y), weight, mask, y.shape[1], "squared_error", random)
        scale, mean = torch.from_numpy(scaler.scale_), torch.from_numpy(scaler.mean_)
        last = self.model_.linears[-1]
        self.model_.set_layer(self.model_.num_layers - 1, scale[:, None] * last.weight, scale * last.bias + mean)
        return self

    def predict(self, X: Any) -> Array:
        """Return predicted targets of features ``[N, F]``, ``[N]``, or ``[N, C]`` if there are several."""
        z = self._outputs(X)
        return (z[:, 0] if z.shape[1] == 1 else z).numpy()


def _weighted(X: Any, y: Array, sample_weight: Any) -> tuple[Any, Array, Array]:
    # Features, targets and weights of the rows whose weight is not 0.
    weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if weight.all():
        return X, y, weight
    rows = weight.nonzero()[0]
    if not len(rows):  # older releases of scikit-learn let this pass
        raise InputError("sample_weight must have at least one non-zero number")
    return X[rows], y[rows], weight[rows]


def _dense(X: Any) -> Tensor:
    return torch.from_numpy(X.toarray(order="C") if issparse(X) else X)
