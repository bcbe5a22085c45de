"""Calls that a new user gets wrong: one line says which argument it is, and what is allowed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch_geometric.data import Data, HeteroData

from gamlp_admm import (
    GAMLP,
    MDLAM,
    AugmentFeatures,
    Backprop,
    DlADMM,
    PdADMMG,
    PdADMMGQ,
    Ridge,
    load_dataset,
    load_graph,
)
from gamlp_admm.errors import InputError, file_name, flag, integer, number, several
from gamlp_admm.experiment import Experiment, compare, prepare, run
from gamlp_admm.optim import BADM, SISA
from gamlp_admm.transforms import AugmentLabels, CombineFeatures, CorrectAndSmooth, ScaleComponents

LOADED = load_dataset("karate")
KARATE: Data = LOADED.data
HETERO = HeteroData()
HETERO["a"].x = torch.ones(3, 2)


def model(**options: Any) -> GAMLP:
    return GAMLP(**({"in_channels": 34, "hidden_channels": 8, "out_channels": 4, "num_layers": 2} | options))


def data(**changed: Any) -> Data:
    return Data(**{name: value for name, value in (KARATE.to_dict() | changed).items() if value is not None})


def fit(*arguments: Any, **options: Any) -> object:
    return PdADMMG().fit(*(arguments or (model(), KARATE)), **({"iterations": 2} | options))


Calls = dict[str, list[Callable[[], object]]]

WRONG: Calls = {
    "the model": [lambda m=m: fit(m, KARATE) for m in (KARATE, GAMLP, torch.nn.Linear(34, 4))],
    "data is a": [lambda g=g: fit(model(), g) for g in (LOADED, "karate", KARATE.x, {}, (1, 2), HETERO)],
    "data.y": [lambda y=y: fit(model(), data(y=y)) for y in (KARATE.y.float(), ["a"] * 34, KARATE.y[:9])],
    "data.x": [
        lambda x=x: fit(model(), data(x=x))
        for x in (None, KARATE.x[0], KARATE.x[None], KARATE.x.tolist(), KARATE.x[:, :5], KARATE.x + 1j)
    ],
    "data.train_mask": [
        lambda mask=mask: fit(model(), data(train_mask=mask))
        for mask in (None, KARATE.train_mask.long(), [True] * 34, torch.tensor([0, 1]), KARATE.train_mask & False)
    ],
    "node_weight": [lambda w=w: fit(node_weight=w) for w in ([1.0] * 34, torch.ones(3), -torch.ones(34), "balanced")],
    "iterations": [lambda n=n: fit(iterations=n) for n in ("ten", 10.0, 0, None, [1])],
    "seed": [lambda: fit(seed="a"), lambda: fit(seed=-1), lambda: load_dataset("karate", split="60/20/20", seed="a")],  # type: ignore[arg-type]
    "grow": [lambda: fit(grow=2), lambda: fit(grow="2"), lambda: fit(grow=("a", "b")), lambda: fit(grow=(2, 3))],
    "callbacks": [lambda: fit(callbacks=print), lambda: fit(callbacks=[3])],
    "checkpoint_dir": [lambda: fit(checkpoint_dir=3)],
    "rho": [
        lambda kind=kind, rho=rho: kind(rho=rho)
        for kind in (PdADMMG, PdADMMGQ, DlADMM, MDLAM)
        for rho in ("0.1", [1, 2], -1, float("nan"), True)
    ] + [lambda: DlADMM(rho=None), lambda: Backprop("badm", rho="1")],  # type: ignore[arg-type]
    "mu": [lambda kind=kind: kind(mu="x") for kind in (PdADMMG, DlADMM, Ridge)],
    "tau": [lambda: PdADMMG(tau="x")],  # type: ignore[arg-type]
    "epsilon_decay": [lambda: MDLAM(epsilon_decay="x")],  # type: ignore[arg-type]
    "nesterov": [lambda: MDLAM(nesterov="no")],  # type: ignore[arg-type]
    "batch_size": [lambda n=n: PdADMMG(batch_size=n) for n in ("8", 8.5, 0)] + [lambda: Backprop(batch_size=2.5)],  # type: ignore[arg-type]
    "schedule": [lambda: PdADMMG(schedule=3), lambda: PdADMMG(schedule="every:x")],  # type: ignore[arg-type]
    "loss": [lambda: PdADMMG(loss="mse"), lambda: Backprop(loss=torch.nn.CrossEntropyLoss())],  # type: ignore[arg-type]
    "lr": [lambda: Backprop(lr="0.1"), lambda: BADM(model().parameters(), lr=-1)],  # type: ignore[arg-type]
    "sigma": [lambda: BADM(model().parameters(), sigma="x")],  # type: ignore[arg-type]
    "beta": [lambda: SISA(model().parameters(), beta="x"), lambda: SISA(model().parameters(), beta=2)],  # type: ignore[arg-type]
    "hidden_channels": [lambda n=n: model(hidden_channels=n) for n in ("8", 8.0, [8, 8], 0)],
    "residual": [lambda: model(residual="no")],
    "activation": [lambda: model(activation=torch.nn.ReLU()), lambda: model(activation=torch.relu)],
    "path": [lambda: model().save(3), lambda: GAMLP.load(None)],  # type: ignore[arg-type]
    "hops": [lambda: AugmentFeatures("4"), lambda: AugmentFeatures(2.0), lambda: AugmentFeatures(KARATE)],  # type: ignore[arg-type]
    "operator": [lambda: AugmentFeatures("sym", 4), lambda: AugmentFeatures(operator=torch.eye(34))],  # type: ignore[arg-type]
    "alpha": [lambda: AugmentFeatures(alpha="x"), lambda: CorrectAndSmooth(correction_alpha="x")],  # type: ignore[arg-type]
    "dtype": [lambda: AugmentFeatures(dtype="float32")],  # type: ignore[arg-type]
    "weight_attr": [lambda: AugmentFeatures(weight_attr=3), lambda: AugmentFeatures(weight_attr="w")(KARATE)],  # type: ignore[arg-type]
    "edge_index": [
        lambda e=e: AugmentFeatures()(data(edge_index=e))
        for e in (None, KARATE.edge_index.T, KARATE.edge_index.float(), KARATE.edge_index + 50, [[0], [1]])
    ],
    "folds": [lambda: AugmentLabels(folds="a"), lambda: AugmentLabels(folds=2.5)],  # type: ignore[arg-type]
    "parts": [lambda p=p: CombineFeatures(p) for p in (AugmentFeatures(), "ppr/10", ["ppr"], AugmentFeatures)],
    "power": [lambda: ScaleComponents("x")],  # type: ignore[arg-type]
    "x must be a real tensor": [lambda g=g: ScaleComponents()(g) for g in (KARATE.x, HETERO, data(x=None))],
    "layers": [lambda: CorrectAndSmooth(num_correction_layers=2.5)],  # type: ignore[arg-type]
    "probabilities": [lambda p=p: CorrectAndSmooth()(p, KARATE) for p in (KARATE.y, KARATE, torch.randn(34, 4))],
    "name": [lambda: load_dataset(3), lambda: load_dataset(KARATE)],  # type: ignore[arg-type]
    "root": [lambda: load_dataset("karate", 3)],  # type: ignore[arg-type]
    "split": [
        lambda: load_dataset("karate", split=(0.6, 0.2, 0.2)),  # type: ignore[arg-type]
        lambda: load_graph(KARATE, split={"train": "a"}),
        lambda: load_graph(KARATE, split={"tain": [1]}),
    ],
    "a graph is": [lambda: load_graph(3), lambda: load_graph(HETERO)],
    "the experiment is": [lambda f=f: f("karate") for f in (run, prepare, compare)],
    "codecs": [lambda: compare(Experiment(dataset="karate"), "fp32"), lambda: compare(Experiment(), [])],
    "seeds": [lambda: compare(Experiment(dataset="karate"), ["fp32"], 3)],  # type: ignore[arg-type]
}  # fmt: skip


@pytest.mark.parametrize(("named", "call"), [(named, call) for named, calls in WRONG.items() for call in calls])
def test_one_line_names_the_argument(named: str, call: Callable[[], object]) -> None:
    with pytest.raises(InputError) as told:
        call()
    text = str(told.value)
    assert named in text
    assert "\n" not in text
    assert len(text) < 250


@pytest.mark.parametrize("value", [1, 2.5, torch.tensor(2.5), torch.tensor(1).numpy()])
def test_a_number(value: Any) -> None:
    assert number("it", value) == float(value)


@pytest.mark.parametrize(
    ("check", "values"),
    [
        (number, ("1", b"1", True, None, [1], torch.ones(2), 1j)),
        (integer, ("1", True, None, 1.0, [1], torch.ones(2))),
        (flag, ("no", 0, None)),
        (lambda name, value: several(name, value, "things"), ("abc", b"abc", None, 3)),
        (file_name, (3, None, b"a", ["a"])),
    ],
)
def test_what_is_none(check: Callable[[str, Any], object], values: tuple[Any, ...]) -> None:
    for value in values:
        with pytest.raises(InputError, match="it must be"):
            check("it", value)
