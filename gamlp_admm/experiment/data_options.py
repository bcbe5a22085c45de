"""What a run is about: options of the data, and of what the network sees of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from gamlp_admm.experiment.declaration import ANY, ASIDE, DATA, FEATURES, FIXED, OWN, TUNED, option

Hops: TypeAlias = int | tuple[int, ...]


@dataclass(frozen=True, kw_only=True, repr=False, init=False, eq=False)
class DataOptions:
    """Options of the data and their features."""

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
