"""Options of the network and of its training."""

from __future__ import annotations

from dataclasses import dataclass

from gamlp_admm.experiment.declaration import (
    ADMM,
    ANY,
    ASIDE,
    CONSENSUS,
    FIXED,
    GRADIENTS,
    MDLAM,
    NETWORK,
    PDADMM,
    PDADMM_G_Q,
    SWEEPS,
    TRAINING,
    TUNED,
    option,
    setting,
)

MOST_LAYERS = 10_000
"""More take minutes to make, and a number may come from a file that is wrong."""


@dataclass(frozen=True, kw_only=True, repr=False, init=False, eq=False)
class TrainingOptions:
    """Options of the network and its training."""

    # The network
    layers: int = option(
        "Linear layers.", NETWORK, 2, text="the last of --grow, recipe, else 2", least=1, most=MOST_LAYERS, recipe=ANY
    )
    hidden: int = option("Neurons of a hidden layer.", NETWORK, 100, least=1, recipe=ANY)
    activation: str = option(
        "relu, leaky_relu, hardtanh, tanh, sigmoid, gelu or silu.",
        NETWORK,
        "relu",
        names="nn:ACTIVATIONS",
        recipe=TUNED,
    )
    init: str = option(
        "Where training starts: ridge (a closed form that knows the labels), kaiming, normal or identity.",
        NETWORK,
        text="recipe, else ridge for ADMM, kaiming for others",
        names="nn:INITS",
        recipe=TUNED,
    )
    residual: bool = option(
        "Add the input of hidden layers between equal widths to their output.",
        NETWORK,
        False,
        recipe=ANY,
        off="--plain",
    )
    dtype: str = option("float32 or float64.", NETWORK, "float32", names=("float32", "float64"), tune=FIXED)

    # How it is trained
    algorithm: str = option(
        "Algorithm of training:", TRAINING, "pdadmm-g", listed=True, names="algorithms.registry:ALGORITHMS", tune=FIXED
    )
    iterations: int = option("Iterations of each growth stage.", TRAINING, 100, least=1, recipe=TUNED, free=True)
    grow: str | tuple[int, ...] = option(
        "Depths of growth stages, as 2,5,10; none; auto: from 5 layers on.",
        TRAINING,
        "auto",
        recipe=TUNED,
        metavar="DEPTHS",
    )
    patience: int = option(
        "Evaluations (with --evaluate-every auto, iterations) without a better validation that end a stage; 0: never.",
        TRAINING,
        text="recipe, else 10 where --auto chooses, else 0",
        least=0,
        recipe=TUNED,
        free=True,
    )
    auto: str = option(
        "Choose on validation what neither options nor a recipe say of features, units, width and patience: all, none.",
        TRAINING,
        "all",
        names=("all", "none"),
        tune=FIXED,
    )
    evaluate_every: int | str = option(
        "Iterations from one evaluation to the next; auto: so many that evaluating costs an eighth, but 7 a stage.",
        TRAINING,
        "auto",
        names=("auto",),
        least=1,
        free=True,
        metavar="K",
    )
    loss: str = option(
        "Risk of the last layer: cross_entropy, squared_error, binary_cross_entropy or squared_hinge.",
        TRAINING,
        text="recipe, else by the labels: cross_entropy; of several a node binary_cross_entropy; of real targets "
        "squared_error",
        names="nn:RISKS",
        recipe=TUNED,
    )
    metric: str = option(
        "What is best on validation: accuracy (of real targets R²), balanced_accuracy, f1_macro, roc_auc, "
        "average_precision, loss or r2.",
        TRAINING,
        "accuracy",
        names="training.metrics:METRICS",
        recipe=ANY,
        tune=FIXED,
    )
    class_weight: str = option(
        "Weight of the classes in the risk: none or balanced.",
        TRAINING,
        "none",
        names=("none", "balanced"),
        recipe=TUNED,
    )
    scale: str = setting(
        "Units of features in training: one (unit), one a column (columns), none, or by what they are (auto).",
        TRAINING,
        "auto; gradients: none",
        names=("auto", "unit", "columns", "none"),
        recipe=TUNED,
    )
    batch_size: int | None = setting(
        "Rows of a batch, for pdadmm, dladmm and gradients; an iteration is then a pass over all rows.",
        TRAINING,
        "recipe, else all rows",
        least=1,
        recipe=TUNED,
    )
    seed: int = option("Seed of the weights.", TRAINING, 0, least=0, tune=ASIDE)
    rho: float | None = setting(
        "Penalty ρ: of what has multipliers; of steps for badm, sisa.",
        ADMM,
        "--nu, else recipe, else the algorithm's",
        recipe=TUNED,
    )
    nu: float | None = setting(
        "Penalty ν of z = pW + b and q = f(z).", ADMM, "--rho, else recipe, else the algorithm's", recipe=TUNED
    )
    mu: float | None = setting(
        "Weight μ of the regulariser.",
        ADMM,
        "recipe, else the algorithm's; pdadmm: nu/10; ridge: as validates best",
        recipe=TUNED,
    )
    solver: str | None = setting(
        "How the quadratic blocks are solved: auto, linesearch, exact or backtracking.",
        ADMM,
        "auto: the first layer exactly where that pays; dladmm: exact",
        names="admm.blocks:RULES",
        recipe=TUNED,
    )
    tau: float | None = setting("First step denominator of backtracking.", ADMM, "20", recipe=TUNED)
    matmul: str | None = setting(
        "Products of steps: fp32; tf32 or bf16, less precise and faster, where the processor or GPU has them.",
        ADMM,
        "fp32",
        names="admm.matmul:MATMULS",
        tune=FIXED,
    )
    schedule: str | None = setting(
        "How ρ and ν change: constant, every:K:FACTOR:LIMIT or stall:K:FACTOR:LIMIT.",
        ADMM,
        "constant",
        names="training.schedules:SCHEDULES",
        open=True,
        recipe=TUNED,
    )
    anderson: int | None = setting("Anderson acceleration with memory M.", ADMM, "none", least=1, metavar="M")
    decay_to: str | None = setting(
        "What weight decay draws hidden layers to: identity or zero.",
        PDADMM,
        "identity",
        recipe=TUNED,
        names=("identity", "zero"),
    )
    codec: str | None = setting(
        "How p and q travel: fp16, int8, int4-delta, int2-delta, …, or rules; auto: chosen for --bytes and --link.",
        PDADMM,
        "fp32; pdadmm-g-q: grid:auto:256",
        names="codecs.choosing:codec_names",
        open=True,
    )
    bytes: int | str | None = setting(
        "With --codec auto: bytes that a run may send between layers, such as 50MB; it ends before it sends more.",
        PDADMM,
        "any number",
        least=1,
        tune=FIXED,
        metavar="SIZE",
    )
    link: str | None = setting(
        "With --codec auto: the rate between processes, such as 100Mbit.",
        PDADMM,
        "any rate",
        tune=FIXED,
        metavar="RATE",
    )
    staleness: int | None = setting(
        "1: layers go on with their neighbours' last p and q while new ones travel; 0: they wait for them.",
        PDADMM,
        "0",
        least=0,
        most=1,
        metavar="0|1",
    )
    quantize: str | None = setting("What lives on the grid: p, q or pq.", PDADMM_G_Q, "p", names=("p", "q", "pq"))
    regularizer: str | None = setting("Regulariser of the weights: l2 or l1.", SWEEPS, "l2", names=("l2", "l1"))
    epsilon: float | None = setting("How far inputs may be from outputs, at first.", MDLAM, "100")
    epsilon_decay: float | None = setting("Its factor from one iteration to the next.", MDLAM, "0.5")
    epsilon_min: float | None = setting("Its least value.", MDLAM, "0.001")
    nesterov: bool | None = setting("Extrapolate.", MDLAM, "nesterov", off="--no-nesterov")
    lr: float | None = setting("Learning rate; for badm and sisa a factor of the step.", GRADIENTS, "the optimiser's")
    weight_decay: float | None = setting("Weight decay.", GRADIENTS, "0")
    sigma: float | None = setting("Penalty σ: 1 / learning rate in the long run.", CONSENSUS, "1")
    sub_batches: int | None = setting("Parts of a batch to find consensus over.", CONSENSUS, "1", least=1)
