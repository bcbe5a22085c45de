"""Random calls of ``fit``: no exception but ours, and a model that is finite and worth what the result says.

``python tests/stress/fits.py --calls 5000 --first 0`` makes so many, each with a seed of its own, and prints a table;
``--only SEED`` makes one again. What is drawn is extreme on purpose.
"""

from __future__ import annotations

import argparse
import collections
import random
import sys
import traceback
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.sparse
import torch
from torch import Tensor

from gamlp_admm import GAMLP
from gamlp_admm.algorithms import trainer
from gamlp_admm.errors import InputError
from gamlp_admm.nn.losses import risk

ALGORITHMS = ("pdadmm-g", "pdadmm-g", "pdadmm-g-q", "dladmm", "mdlam", "ridge", "adam", "sgd", "badm", "sisa")
LOSSES = ("cross_entropy", "cross_entropy", "squared_error", "binary_cross_entropy", "squared_hinge")
ACTIVATIONS = ("relu", "relu", "leaky_relu", "hardtanh", "tanh", "sigmoid", "gelu", "silu")
SPLITS = ("train", "val", "test")


def penalty(draw: random.Random) -> float:
    """Return a penalty, now and then an extreme one."""
    return 10 ** draw.uniform(-3, 1) if draw.random() < 0.8 else draw.choice((1e-40, 1e-20, 1e-11, 1e11, 1e20, 1e300))


def settings(draw: random.Random, algorithm: str) -> dict[str, Any]:
    """Return settings of an algorithm."""
    made: dict[str, Any] = {"loss": draw.choice(LOSSES)}
    if draw.random() < 0.3:
        made["class_weight"] = "balanced"
    if draw.random() < 0.3:
        made["scale"] = draw.choice(("auto", "unit", "columns", "none"))
    if algorithm == "ridge":
        return made | ({"mu": penalty(draw)} if draw.random() < 0.5 else {})
    if algorithm in ("adam", "sgd", "badm", "sisa"):
        return made | ({"batch_size": draw.randint(1, 40)} if draw.random() < 0.3 else {})
    for name in ("rho", "nu", "mu") if algorithm != "mdlam" else ("rho", "mu"):
        if draw.random() < 0.4:
            made[name] = penalty(draw)
    if draw.random() < 0.5 and algorithm != "pdadmm-g-q":
        made["solver"] = draw.choice(("auto", "exact", "linesearch", "backtracking"))
    if draw.random() < 0.2:
        made["schedule"] = draw.choice(("every:2:10:1e9", "stall:1:3:1e6"))
    if algorithm == "pdadmm-g" and draw.random() < 0.3:
        made["codec"] = draw.choice(("int8", "int2-delta", "fp16", "bf16"))
    if algorithm in ("pdadmm-g", "dladmm") and draw.random() < 0.15:
        made["batch_size"] = draw.randint(1, 60)
    if draw.random() < 0.1:
        made["anderson"] = draw.randint(1, 4)
    return made


def features(draw: random.Random, rows: int, columns: int, noise: np.random.Generator) -> np.ndarray[Any, Any]:
    """Return features that are ordinary, or huge, tiny, far off, of different units, constant, sparse or repeated."""
    x = noise.normal(size=(rows, columns))
    for kind in draw.sample(("huge", "tiny", "far", "units", "constant", "words", "repeated", "one huge"), 2):
        if draw.random() < 0.6:
            continue
        if kind == "huge":
            x *= 10.0 ** draw.choice((3, 15, 19, 30, 37))
        elif kind == "tiny":
            x *= 10.0 ** -draw.choice((3, 15, 23, 30, 40))
        elif kind == "far":
            x += 10.0 ** draw.uniform(0, 8)
        elif kind == "units":
            x *= 10.0 ** noise.uniform(-8, 8, columns)
        elif kind == "constant":
            x[:, noise.random(columns) < 0.5] = draw.choice((0.0, 1.0, -1e6))
        elif kind == "words":
            x = (noise.random((rows, columns)) < 0.05).astype(float)
        elif kind == "repeated":
            x[:] = x[0]
        else:
            x[:, 0] *= 10.0 ** draw.choice((2, 6, 12))
    return x


def dressed(draw: random.Random, x: np.ndarray[Any, Any]) -> Any:
    """Return features as a tensor of some dtype, an array, or sparse."""
    kind = draw.choice(("float32",) * 4 + ("float64", "float16", "array", "coo", "csr", "scipy"))
    with np.errstate(over="ignore"):
        if kind == "array":
            return x
        if kind == "scipy":
            return scipy.sparse.csr_matrix(x)
        tensor = torch.from_numpy(x).to(getattr(torch, kind, torch.float32))
    return {"coo": tensor.to_sparse, "csr": tensor.to_sparse_csr}.get(kind, lambda: tensor)()


def call(seed: int) -> tuple[str, str]:
    """Make one call.

    Args:
        seed: Draws it.

    Returns:
        The algorithm, and what came of it: ``trained``, ``refused`` (an InputError) or ``diverged`` (a
        FloatingPointError).

    Raises:
        AssertionError: The model is not finite, or not worth what the result says.
    """
    draw, noise = random.Random(seed), np.random.default_rng(seed)
    algorithm = draw.choice(ALGORITHMS)
    rows, columns, classes = draw.choice((3, 12, 50)), draw.choice((1, 2, 7, 60)), draw.choice((1, 2, 3))
    depth = 1 if algorithm == "ridge" else draw.choice((1, 2, 2, 3, 5))
    x, y = dressed(draw, features(draw, rows, columns, noise)), torch.from_numpy(noise.integers(0, classes, rows))
    split = torch.from_numpy(noise.integers(0, 3 if draw.random() < 0.8 else 1, rows))
    split[0] = 0
    masks = {f"{name}_mask": split == i for i, name in enumerate(SPLITS)}
    data = SimpleNamespace(x=x, y=y, **masks)
    init, residual = draw.choice(("normal", "kaiming", "identity", "ridge")), draw.random() < 0.1
    model = GAMLP(columns, draw.randint(1, 8), classes, depth, draw.choice(ACTIVATIONS), init, residual)
    model.to(draw.choice((torch.float32,) * 4 + (torch.float64, torch.float16, torch.bfloat16)))
    model.reset_parameters(torch.Generator().manual_seed(seed))
    select = draw.choice(("best", "best", "last"))
    options: dict[str, Any] = {"seed": draw.choice((None, 0, np.int64(3))), "select": select}
    if draw.random() < 0.3:
        options["node_weight"] = torch.from_numpy(noise.choice([0.0, 1.0, 1e-8, 1e8], rows)).to(y.device)
    if draw.random() < 0.2:
        options["patience"] = 1
    if draw.random() < 0.2:
        options["callbacks"] = [lambda progress: progress.record["iteration"] >= 2]
    given = settings(draw, algorithm)
    outcome = "trained"
    try:
        result = trainer(algorithm, **given).fit(model, data, draw.randint(1, 6), **options)
    except InputError:
        outcome = "refused"
    except FloatingPointError:
        outcome = "diverged"
    assert finite(model), f"{outcome}: the model's numbers are not finite"
    if outcome != "trained":
        return algorithm, outcome
    if "node_weight" not in options:  # rows of weight 0 take no part
        compare(model, data, given["loss"], result.best if select == "best" else result.last)
    return algorithm, "trained"


def finite(model: GAMLP) -> bool:
    """Return whether all parameters are finite."""
    return all(bool(torch.isfinite(p).all()) for p in model.parameters())


@torch.no_grad()
def compare(model: GAMLP, data: Any, loss: str, told: dict[str, Any]) -> None:
    """Assert that a model is worth what a result says, by its own forward pass."""
    x = data.x
    x = torch.from_numpy(x.toarray() if scipy.sparse.issparse(x) else x) if not isinstance(x, Tensor) else x.to_dense()
    rows = torch.cat(_rows(data))
    like, the_risk = model.linears[0].weight, risk(loss)
    z = model(x[rows].to(like)).to(torch.float64 if like.dtype == torch.float64 else torch.float32)
    y = data.y[rows].reshape(len(rows), -1) if z.shape[1] == 1 and the_risk.matrix is not None else data.y[rows]
    target, the_risk = the_risk.target(y, z.shape[1], z.dtype), the_risk.scoring("classes" if y.ndim == 1 else "labels")
    ends = [len(part) for part in _rows(data)]
    for name, z_part, y_part in zip(SPLITS, z.split(ends), target.split(ends), strict=True):
        key = f"{name}_accuracy"
        if key in told:
            own = the_risk.score(the_risk.score_sums(z_part, y_part)) if len(z_part) else None
            same = told[key] == own or (own is not None and own != own and told[key] != told[key])
            assert same, f"{key} {told[key]}, by its own forward pass {own}"


def _rows(data: Any) -> list[Tensor]:
    return [getattr(data, f"{name}_mask").nonzero()[:, 0] for name in SPLITS]


def main() -> int:
    """Make many calls; print what came of them, by algorithm; return 1 if any was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--only", type=int)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    if given.only is not None:
        print(call(given.only))
        return 0
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    for seed in range(given.first, given.first + given.calls):
        try:
            counts[call(seed)] += 1
        except Exception as error:
            counts["wrong", type(error).__name__] += 1
            place = traceback.extract_tb(error.__traceback__)[-1]
            print(f"seed {seed}: {type(error).__name__}: {error} ({place.filename}:{place.lineno})", flush=True)
    outcomes = ("trained", "refused", "diverged")
    print("| algorithm | " + " | ".join(outcomes) + " |\n|---" + "|---:" * len(outcomes) + "|")
    for name in sorted({algorithm for algorithm, _ in counts} - {"wrong"}):
        print(f"| `{name}` | " + " | ".join(str(counts[name, outcome]) for outcome in outcomes) + " |")
    wrong = sum(count for (name, _), count in counts.items() if name == "wrong")
    print(f"{given.calls} calls, {wrong} wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
