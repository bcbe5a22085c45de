"""Every option of a training run, declared once: a field of :class:`Options` and the :class:`Option` beside it.

The field's type says what values it has when it is used, the option says the rest. Made from them: the command line
with its help and completion, :class:`~gamlp_admm.experiment.Experiment`, files of options, the ``config`` of reports,
what a recipe may set, what identifies a checkpoint, and what ``tune`` may search. Nothing here imports torch, so that
help is quick.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any, TypeAlias, TypeVar, get_type_hints

from gamlp_admm.errors import InputError, unknown
from gamlp_admm.experiment.declaration import (
    ADMM,
    ANY,
    ASIDE,
    CONSENSUS,
    DATA,
    FEATURES,
    FIXED,
    GIVEN,
    GRADIENTS,
    MDLAM,
    NETWORK,
    OUTPUT,
    OWN,
    PDADMM,
    PDADMM_G_Q,
    PROCESSES,
    SAME,
    SWEEPS,
    TRAINING,
    TUNED,
    Declared,
    Option,
    kinds_of,
    option,
    setting,
)

MOST_LAYERS = 10_000
"""More take minutes to make, and a number may come from a file that is wrong."""

IN_MEMORY = "<memory>"
"""What the option ``data`` says of a graph that lies in no file."""

OF_GRAPHS = ("label", "features", "id", "weight", "split", "split_seed", "split_index")
"""Options that say how a graph of one's own is read."""

Hops: TypeAlias = int | tuple[int, ...]
Self = TypeVar("Self", bound="Options")


@dataclass(frozen=True, kw_only=True, repr=False)
class Options:
    """The options of a training run."""

    # What is trained on
    dataset: str = option(
        "Data set; `gamlp-admm datasets` lists them.",
        DATA,
        "digits-knn",
        tune=FIXED,
        open=True,
        names="datasets.info:dataset_names",
    )
    data: str | None = option(
        "A graph of one's own instead: a .pt or .npz file, a folder with nodes.csv and edges.csv, or stored features.",
        DATA,
        tune=ASIDE,
        free=True,
        metavar="PATH",
    )
    label: str | None = option(
        "Of --data: column of nodes (or attribute) that has the class.",
        DATA,
        text="label, y, class or target",
        tune=FIXED,
        metavar="NAME",
    )
    features: str | None = option(
        "Of --data: columns of features, age,f* (or attribute); or made of the graph: degree, identity, random:64.",
        DATA,
        text="all other columns of numbers",
        tune=FIXED,
        metavar="NAMES",
    )
    id: str | None = option(
        "Of --data: column of nodes that edges refer to.",
        DATA,
        text="id, node or node_id; else the number of the row, from 0",
        tune=FIXED,
        metavar="NAME",
    )
    weight: str | None = option(
        "Column of edges, or attribute of the data such as edge_attr, that has the weights of the edges.",
        DATA,
        text="weight, edge_weight, where there is one",
        tune=FIXED,
        former="weight_attr",
        metavar="NAME",
    )
    root: str | None = option(
        "Data root.",
        DATA,
        text="$GAMLP_ADMM_DATA, else a cache folder",
        tune=ASIDE,
        free=True,
        across=OWN,
        metavar="DIR",
    )
    recipe: str | None = option(
        "TOML file whose table [recipe] stands for the data set's own, as tune writes it.",
        DATA,
        text="the data set's",
        tune=FIXED,
        free=True,
        across=OWN,
        metavar="FILE",
    )
    split: str = option(
        "usual; at random: shares in per cent, 60/20/20, or training and validation nodes a class, per-class:20:30; "
        "of --data, only what comes with it: masks, column, or column:NAME.",
        DATA,
        "usual",
        names=("usual", "masks", "column"),
        open=True,
        tune=FIXED,
        metavar="A/B/C",
    )
    split_seed: int | None = option(
        "Seed of a random split.", DATA, text="the usual split; of shares 0", least=0, tune=FIXED
    )
    split_index: int | None = option(
        "Which of several splits that come with the data.", DATA, text="the first", least=0, tune=FIXED, metavar="K"
    )

    # What the network sees
    operator: str = option(
        "How features are propagated: sym, row, ppr, heat, …; none; or several: ppr/10/0.2+row/1-2.",
        FEATURES,
        "sym",
        names="propagation:OPERATORS",
        open=True,
        recipe=ANY,
    )
    hops: Hops | None = option(
        "Propagation steps, or a set to keep: 0,2,4; a recipe's are for its operator.",
        FEATURES,
        text="recipe, else 4; 10 for ppr, heat",
        recipe=ANY,
    )
    alpha: float | None = option("Teleport probability of ppr.", FEATURES, 0.1, recipe=ANY)
    t: float | None = option("Diffusion time of heat.", FEATURES, 3.0, recipe=ANY)
    normalize_features: bool | None = option(
        "Divide each node's features by their sum first.", FEATURES, False, recipe=ANY, off="--raw-features"
    )
    component_power: float = option(
        "Scale principal components by this power of their singular values.", FEATURES, 0.0, recipe=ANY
    )
    components: int | None = option("Components that are kept then.", FEATURES, 256, recipe=ANY)
    unit_rows: bool = option(
        "Centre the propagated features and divide rows by their norm.", FEATURES, False, recipe=ANY, off="--raw-rows"
    )
    label_operator: str = option(
        "Append training labels, propagated by an operator so that no node sees its own.",
        FEATURES,
        "none",
        names="propagation:OPERATORS",
        open=True,
        recipe=ANY,
    )
    label_hops: Hops | None = option(
        "Propagation steps of the labels, or a set to keep: 1,2.", FEATURES, text="4; 10 for ppr, heat", recipe=ANY
    )
    label_scale: float | None = option("Factor of the columns of labels.", FEATURES, 1.0, recipe=ANY)
    correct_and_smooth: bool = option(
        "Correct and smooth predictions over the graph, as validates best.",
        FEATURES,
        False,
        recipe=TUNED,
        off="--as-predicted",
    )

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
        "Evaluations without a better validation that end a stage; 0: never.",
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
    evaluate_every: int = option("Iterations from one evaluation to the next.", TRAINING, 1, least=1, metavar="K")
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
        "How p and q travel: fp16, int8, int4-delta, int2-delta, …, or rules.",
        PDADMM,
        "fp32; pdadmm-g-q: grid:auto:256",
        names="codecs:CODECS",
        open=True,
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

    # Where it runs
    processes: int = option(
        "Divide the layers among P processes.",
        PROCESSES,
        1,
        text="1, or torchrun's",
        least=1,
        tune=ASIDE,
        free=True,
        metavar="P",
    )
    node_shards: int = option(
        "Divide the rows too: P processes are parts x R.", PROCESSES, 1, least=1, tune=ASIDE, free=True, metavar="R"
    )
    balance: tuple[int, ...] | None = option(
        "Number of layers of each process's part.", PROCESSES, text="by cost", tune=ASIDE, free=True, metavar="A,B,…"
    )
    device: str = option(
        "cpu, cuda, or auto: CUDA where each process has a device of its own, else the CPU.",
        PROCESSES,
        "auto",
        names=("auto", "cpu", "cuda"),
        tune=ASIDE,
        free=True,
    )
    threads: int | None = option(
        "Threads on the CPU.", PROCESSES, text="torch's choice", least=1, most=1024, tune=ASIDE, free=True, across=OWN
    )
    memory: str | None = option(
        "Cap for the features of the rows; what is larger than a quarter of it lies in scratch files.",
        PROCESSES,
        text="none",
        tune=ASIDE,
        free=True,
        across=OWN,
        metavar="SIZE",
    )
    scratch: str | None = option(
        "Folder of scratch files.",
        PROCESSES,
        text="$TMPDIR, else that of stored features",
        tune=ASIDE,
        free=True,
        across=OWN,
        metavar="DIR",
    )
    timeout: float = option(
        "Longest wait for another process.", PROCESSES, 300.0, tune=ASIDE, free=True, metavar="SECONDS"
    )

    # What is kept of it
    checkpoint: str | None = option(
        "Write a checkpoint there at the end and when interrupted.",
        OUTPUT,
        tune=ASIDE,
        free=True,
        across=GIVEN,
        metavar="DIR",
    )
    checkpoint_every: int | None = option(
        "And every K iterations.", OUTPUT, least=1, tune=ASIDE, free=True, metavar="K"
    )
    resume: bool = option("Go on from the checkpoint.", OUTPUT, False, tune=ASIDE, free=True)
    overwrite: bool = option("Replace what an earlier run left.", OUTPUT, False, tune=ASIDE, free=True)
    cache: str = option(
        "Which propagated features are taken from the cache and kept there: auto (what takes work), all, none.",
        OUTPUT,
        "auto",
        names="propagation.store.cache:MODES",
        tune=ASIDE,
        free=True,
        across=OWN,
    )
    trace: str | None = option(
        "Write a Chrome trace of each process there.", OUTPUT, tune=ASIDE, free=True, across=OWN, metavar="DIR"
    )

    more: tuple[tuple[str, Any], ...] = field(default=(), repr=False)
    """Values of options that other packages declared (:func:`register_option`), by name."""

    def __repr__(self) -> str:
        usual = {f.name: (f.default, each.option.default) for f in fields(self) if (each := declared().get(f.name))}
        shown = {name: value for name, value in self.values().items() if value not in usual.get(name, (None,))}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    @classmethod
    def of(cls: type[Self], values: Mapping[str, Any]) -> Self:
        """Return options with these values, by name; ``None`` and what is missing is as if it were not given.

        Raises:
            InputError: There is no such option.
        """
        values = renamed(values)
        for name in values.keys() - declared().keys():
            raise unknown("option", name, declared())
        given = {name: value for name, value in values.items() if value is not None}
        own: dict[str, Any] = {name: given[name] for name in given.keys() - _REGISTERED.keys()}
        return cls(**own, more=tuple((name, given[name]) for name in _REGISTERED if name in given))

    def changed(self: Self, values: Mapping[str, Any]) -> Self:
        """Return options with other values of some, by name, those of other packages among them."""
        own = {name: value for name, value in values.items() if name not in _REGISTERED}
        more = {**dict(self.more), **{name: value for name, value in values.items() if name in _REGISTERED}}
        return replace(self, **own, more=tuple(more.items()))

    def values(self) -> dict[str, Any]:
        """Return the value of every option, by name."""
        return {name: getattr(self, name) for name in declared()}

    def common(self) -> dict[str, Any]:
        """Return what the processes of a run must have in common, by name."""
        across = {name: each.option.across for name, each in declared().items()}
        given = {name: "given" for name, value in self.values().items() if value is not None}
        same = {name: value for name, value in self.values().items() if across[name] == SAME}
        return same | {name: given.get(name) for name in across if across[name] == GIVEN}

    def __getattr__(self, name: str) -> Any:  # asked only where there is no field of this name
        if name not in _REGISTERED:
            raise AttributeError(f"there is no option {name!r}")
        return dict(self.more).get(name)


_REGISTERED: dict[str, Declared] = {}


def register_option(name: str, kind: Any, option: Option) -> None:
    """Declare an option from outside the package; it is then on the command line, in files, reports and recipes.

    Args:
        name: Its name in Python, with ``_`` between words.
        kind: The type of its values, as ``float`` or ``int | None``.
        option: The rest. With ``setting``, it is handed to the trainers that have a field of this name.

    Raises:
        InputError: There is such an option.

    Example:
        >>> from gamlp_admm.experiment import Option, register_option
        >>> register_option("layers", int, Option("Layers.", "Network"))
        Traceback (most recent call last):
        gamlp_admm.errors.InputError: option 'layers' is there already
    """
    if name in declared():
        raise InputError(f"option {name!r} is there already")
    _REGISTERED[name] = Declared(name, kinds_of(kind), option)


def declared() -> dict[str, Declared]:
    """Return every option by name, those of other packages last."""
    return {**_own(), **_REGISTERED}


@cache
def _own() -> dict[str, Declared]:
    hints = get_type_hints(Options)
    rows = {f.name: f.metadata["option"] for f in fields(Options) if "option" in f.metadata}
    return {name: Declared(name, kinds_of(hints[name]), row) for name, row in rows.items()}


def renamed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values of options by the names that these have now."""
    now = {each.option.former: name for name, each in declared().items() if each.option.former}
    return {now.get(name, name): value for name, value in values.items()}


def names_where(**attributes: Any) -> tuple[str, ...]:
    """Return the names of the options whose :class:`Option` has these attributes, as ``names_where(free=True)``."""
    return tuple(
        name
        for name, each in declared().items()
        if all(getattr(each.option, key) == value for key, value in attributes.items())
    )


def recipe_names(*takers: str) -> set[str]:
    """Return the names of the options that a recipe may set, of those whose taker is one of some."""
    return {name for taker in takers or (ANY, TUNED) for name in names_where(recipe=taker)}


def described(kind: type[Options]) -> None:
    """Let a class of options say in its docstring what each of them is."""
    attributes = "\n".join(f"    {name}: {each.option.help}" for name, each in declared().items())
    more = "    more: Values of options that other packages declared, by name."
    kind.__doc__ = f"{kind.__doc__}\n\nAttributes:\n{attributes}\n{more}\n"


described(Options)
