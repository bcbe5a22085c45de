"""Every option of a training run, and what stands for those that are not given: recipes and defaults."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from gamlp_admm.algorithms import Anderson, taken_by, trainer
from gamlp_admm.algorithms.backprop import OPTIMIZERS
from gamlp_admm.datasets import dataset_info, read_recipe
from gamlp_admm.errors import InputError, unknown
from gamlp_admm.experiment.features import AUGMENTATION, resolved, transform
from gamlp_admm.nn.activations import ACTIVATIONS
from gamlp_admm.nn.gamlp import INITS
from gamlp_admm.nn.losses import RISKS
from gamlp_admm.training.trainer import Trainer, depths

DTYPES = {"float32": torch.float32, "float64": torch.float64}
DEVICES = ("cpu", "cuda")
CLASS_WEIGHTS = ("none", "balanced")
DEFAULTS: dict[str, Any] = {
    "operator": "sym",
    "normalize_features": False,
    "component_power": 0.0,
    "unit_rows": False,
    "label_operator": "none",
    "correct_and_smooth": False,
    "layers": 2,
    "hidden": 100,
    "activation": "relu",
    "init": "kaiming",
    "residual": False,
    "iterations": 100,
    "grow": "auto",
    "patience": 0,
    "evaluate_every": 1,
    "loss": "cross_entropy",
    "class_weight": "none",
}
"""Options that neither the user nor the recipe sets; the trainer has the defaults of its own settings."""

SETTINGS = (
    *("loss", "class_weight", "scale", "rho", "nu", "mu", "decay_to", "solver", "schedule", "tau"),
    *("codec", "quantize"),
    *("regularizer", "epsilon", "epsilon_decay", "epsilon_min", "nesterov", "anderson"),
    *("lr", "weight_decay", "sigma", "batch_size", "sub_batches"),
)
"""Options that are arguments of the trainer."""

MODEL_RECIPE = {*AUGMENTATION, "layers", "hidden", "residual"}
"""What any algorithm takes from a data set's recipe."""

RECIPE = {
    *MODEL_RECIPE,
    *DEFAULTS,
    *("scale", "rho", "nu", "mu", "decay_to", "solver", "schedule", "tau"),
} - {"evaluate_every"}
"""What a data set's recipe may set; pdADMM, pdADMM-G and pdADMM-G-Q take all of it."""

PDADMM = ("pdadmm-g", "pdadmm-g-q", "pdadmm")
"""The algorithms that recipes are tuned for."""

FREE = {
    "recipe",
    "root",
    "iterations",
    "patience",
    "device",
    "threads",
    "checkpoint",
    "checkpoint_every",
    "resume",
    "timeout",
    "trace",
}
"""Options that may change between the runs that share a checkpoint."""


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """Every option of one training run. ``None`` stands for the data set's recipe, else a default.

    Attributes:
        dataset: Name of a data set (:func:`gamlp_admm.datasets.load_dataset`).
        recipe: A TOML file whose table ``[recipe]`` stands for the data set's own.
        root: Data root.
        split_seed: Seed of a random split; ``None`` for the usual split.
        algorithm: One of :data:`gamlp_admm.algorithms.ALGORITHMS`.
        operator: ``sym``, ``row``, ``ppr``, ``heat``, or ``none`` for the features as they are; or several side by
            side, with hops and all, as ``ppr/10/0.2+row/1-2`` (:meth:`gamlp_admm.transforms.CombineFeatures.parse`).
        hops: Propagation steps: their number, or the set to keep. The recipe's are for the recipe's operator;
            another has its own default, 4 for ``sym`` and ``row``, 10 for ``ppr`` and ``heat``.
        alpha: Teleport probability of ``ppr``.
        t: Diffusion time of ``heat``.
        normalize_features: Whether each node's features are divided by their sum before propagation.
        component_power: Exponent of the singular values by which principal components of the features are scaled after
            propagation (:class:`gamlp_admm.transforms.ScaleComponents`); 0 leaves them as they are.
        components: How many of them are kept where ``component_power`` is not 0; 256 by default.
        unit_rows: Whether rows are centred and divided by their norm, before that.
        label_operator: ``sym``, ``row``, ``ppr`` or ``heat`` appends training labels, propagated so that no training
            node sees its own (:class:`gamlp_admm.transforms.AugmentLabels`); ``none`` does not.
        label_hops: Propagation steps of the labels: their number, or the set to keep.
        label_scale: Factor of the columns of labels.
        correct_and_smooth: Whether predictions are corrected and smoothed over the graph after training, in the way
            that is best on validation (:func:`gamlp_admm.transforms.correct_and_smooth.chosen`).
        layers: Linear layers; by default the last depth of ``grow``, where that is given.
        hidden: Neurons of each hidden layer.
        activation: Activation function.
        init: ``kaiming``, ``normal`` or ``identity``.
        residual: Whether hidden layers between equal widths add their input to their output.
        iterations: Iterations of each growth stage.
        grow: ``none``; the depths of the stages, as ``"2,5,10"`` or a sequence; or ``auto``: through the depths of
            :data:`gamlp_admm.training.trainer.GROWTH` for ADMM with 5 layers or more, else ``none``.
        patience: Evaluations without a better validation accuracy that end a stage; 0 for no such end.
        evaluate_every: Iterations from one history record to the next.
        loss: Risk of the last layer.
        class_weight: ``none`` or ``balanced``.
        scale: ``unit``: features are centred and measured in units of their own while training, so that penalties mean
            the same on all data; pdADMM's default. ``none``: they are taken as they are.
        rho: Penalty ρ. If only one of ρ and ν is given to pdADMM, the other equals it, as in the papers' accuracy runs.
            For ``badm`` and ``sisa`` the weight of their proximal terms.
        nu: Penalty ν.
        mu: Weight μ of the regulariser of the ADMM algorithms; for pdADMM ν/10 by default.
        decay_to: What pdADMM's weight decay draws hidden layers to: ``identity`` or ``zero``.
        regularizer: ``l2`` or ``l1``, of ``dladmm`` and ``mdlam``.
        solver: How their quadratic blocks are solved.
        schedule: How ρ and ν change.
        tau: First step denominator of ``backtracking``.
        codec: How p and q are sent from layer to layer: a name (:mod:`gamlp_admm.codecs`), such as ``int2-delta``, or
            rules as text (:mod:`gamlp_admm.codecs.plan`). In full by default; for ``pdadmm-g-q`` the grid.
        quantize: What lives on the grid of ``pdadmm-g-q``: ``p``, ``q`` or ``pq``.
        epsilon: ε of ``mdlam`` in the first iteration.
        epsilon_decay: Factor of ε from one iteration to the next.
        epsilon_min: Smallest ε.
        nesterov: Whether ``mdlam`` extrapolates.
        anderson: Memory of Anderson acceleration around an ADMM algorithm; ``None`` for none.
        lr: Learning rate of backpropagation; of ``badm`` and ``sisa`` a factor of the step.
        weight_decay: Weight decay of backpropagation, ``badm`` and ``sisa``.
        sigma: Penalty σ of ``badm`` and ``sisa``.
        batch_size: Rows of a batch, at most, of backpropagation, ``badm`` and ``sisa``; an iteration is then one epoch.
            ``None``: all rows are the batch.
        sub_batches: Parts of a batch that ``badm`` and ``sisa`` find consensus over.
        seed: Seed of the weights.
        device: ``cpu`` or ``cuda``.
        dtype: ``float32`` or ``float64``.
        threads: Threads on the CPU; ``None`` for torch's choice.
        checkpoint: Directory of the checkpoint.
        checkpoint_every: Iterations from one checkpoint to the next; ``None``: at the end only.
        resume: Whether to go on from the checkpoint.
        processes: Number P of processes that the layers are divided among.
        node_shards: Number R of parts of the rows; the processes form stages × R.
        balance: Number of layers of each stage, as ``"4,3,3"`` or a sequence; ``None`` divides by cost.
        timeout: Seconds after which a wait for another process gives up.
        trace: Directory for a Chrome trace of each process.
    """

    dataset: str = "digits-knn"
    recipe: str | None = None
    root: str | None = None
    split_seed: int | None = None
    algorithm: str = "pdadmm-g"
    operator: str | None = None
    hops: int | tuple[int, ...] | None = None
    alpha: float | None = None
    t: float | None = None
    normalize_features: bool | None = None
    component_power: float | None = None
    components: int | None = None
    unit_rows: bool | None = None
    label_operator: str | None = None
    label_hops: int | tuple[int, ...] | None = None
    label_scale: float | None = None
    correct_and_smooth: bool | None = None
    layers: int | None = None
    hidden: int | None = None
    activation: str | None = None
    init: str | None = None
    residual: bool | None = None
    iterations: int | None = None
    grow: str | tuple[int, ...] | None = None
    patience: int | None = None
    evaluate_every: int | None = None
    loss: str | None = None
    class_weight: str | None = None
    scale: str | None = None
    rho: float | None = None
    nu: float | None = None
    mu: float | None = None
    decay_to: str | None = None
    regularizer: str | None = None
    solver: str | None = None
    schedule: str | None = None
    tau: float | None = None
    codec: str | None = None
    quantize: str | None = None
    epsilon: float | None = None
    epsilon_decay: float | None = None
    epsilon_min: float | None = None
    nesterov: bool | None = None
    anderson: int | None = None
    lr: float | None = None
    weight_decay: float | None = None
    sigma: float | None = None
    batch_size: int | None = None
    sub_batches: int | None = None
    seed: int = 0
    device: str = "cpu"
    dtype: str = "float32"
    threads: int | None = None
    checkpoint: str | None = None
    checkpoint_every: int | None = None
    resume: bool = False
    processes: int = 1
    node_shards: int = 1
    balance: tuple[int, ...] | None = None
    timeout: float = 300.0
    trace: str | None = None

    def resolve(self) -> Experiment:
        """Return the experiment with every option as used; ``None`` remains where an option does not apply.

        Raises:
            InputError: An option is wrong or does not apply.
        """
        self._check()
        given = {f.name: v for f in fields(self) if (v := getattr(self, f.name)) is not None}
        values = {**DEFAULTS, **self._recipe(given), **given}
        grow = growth_depths(values["grow"])
        if "grow" in given and grow and "layers" not in given:
            values["layers"] = grow[-1]
        baseline = self.algorithm in OPTIMIZERS
        if values["grow"] == "auto" and not baseline:
            grow = tuple(depths("auto", values["layers"]))
        depths(grow, values["layers"])
        values |= {"grow": grow if len(grow) > 1 else "none", **resolved(values, given)}
        chosen = replace(self, **values)
        used = chosen.trainer()
        settings: dict[str, Any] = {name: getattr(used, name, None) for name in SETTINGS}
        if isinstance(used, Anderson):
            settings = {name: getattr(used.trainer, name, None) for name in SETTINGS} | {"anderson": used.memory}
        settings["class_weight"] = chosen.class_weight
        if baseline:
            defaults, taken = OPTIMIZERS[self.algorithm][1], taken_by(self.algorithm)
            settings = {name: value if name in taken else None for name, value in settings.items()}
            settings |= {name: value for name, value in defaults.items() if settings[name] is None}
        if settings["codec"] == "full":
            settings["codec"] = {"float32": "fp32", "float64": "fp64"}[self.dtype]
        return replace(chosen, **settings)

    def trainer(self) -> Trainer:
        """Return the trainer with this experiment's settings."""
        settings = {name: getattr(self, name) for name in SETTINGS}
        settings["class_weight"] = None if self.class_weight == "none" else self.class_weight
        return trainer(self.algorithm, **settings)

    def transform(self, num_classes: int | None = None) -> Callable[[Any], Any]:
        """Return the transform that makes the model's features.

        Args:
            num_classes: Classes of the data set; ``None`` for those that training nodes have.
        """
        return transform({name: getattr(self, name) for name in AUGMENTATION}, num_classes, DTYPES[self.dtype])

    def _check(self) -> None:
        counts = ("layers", "hidden", "iterations", "evaluate_every", "threads", "checkpoint_every")
        for name in (*counts, "processes", "node_shards"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} must be a positive integer, not {value}")
        for name in ("patience", "seed", "split_seed"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 2**63:
                raise InputError(f"{name} must be an integer from 0 to 2^63 - 1, not {value}")
        if self.processes > 1 and self.algorithm in OPTIMIZERS:
            raise InputError(f"processes {self.processes}: {self.algorithm} runs in one process")
        if self.processes % self.node_shards:
            raise InputError(
                f"node_shards {self.node_shards} does not divide the number of processes, {self.processes}"
            )
        if not self.timeout > 0:
            raise InputError(f"timeout must be a positive number of seconds, not {self.timeout}")
        names = {
            "device": DEVICES,
            "dtype": DTYPES,
            "init": INITS,
            "activation": ACTIVATIONS,
            "loss": RISKS,
            "class_weight": CLASS_WEIGHTS,
        }
        for name, allowed in names.items():
            value = getattr(self, name)
            if value is not None and value not in allowed:
                raise unknown(name.replace("_", " "), value, allowed)
        if self.device == "cuda" and not torch.cuda.is_available():
            raise InputError("device 'cuda': torch finds no CUDA device here; allowed: cpu")
        if (self.resume or self.checkpoint_every) and self.checkpoint is None:
            raise InputError("resume and checkpoint_every need checkpoint, a directory")

    def _recipe(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return what applies of the data set's recipe."""
        if self.recipe is not None:
            recipe = dict(read_recipe(self.recipe, RECIPE))
        else:
            recipe = {} if self.dataset.startswith("pyg:") else dict(dataset_info(self.dataset).recipe)
        allowed = RECIPE if self.algorithm in PDADMM else MODEL_RECIPE
        dropped: set[str] = set()
        if given.get("operator", recipe.get("operator")) != recipe.get("operator"):
            dropped |= {"hops", "alpha", "t"}
        if given.keys() & {"rho", "nu", "scale"}:
            dropped |= {"rho", "nu", "mu"}
        if "layers" in given:
            dropped |= {"grow"}
        kept = {name: value for name, value in recipe.items() if name in allowed - dropped}
        return {name: tuple(value) if isinstance(value, list) else value for name, value in kept.items()}


def growth_depths(grow: str | Sequence[int]) -> tuple[int, ...]:
    """Return the depths that ``grow`` lists; none for ``auto`` and ``none``."""
    if grow in ("auto", "none"):
        return ()
    try:
        return tuple(int(d) for d in (grow.split(",") if isinstance(grow, str) else grow))
    except ValueError:
        raise InputError(f"grow {grow!r}: allowed: auto, none, or rising depths such as 2,5,10") from None
