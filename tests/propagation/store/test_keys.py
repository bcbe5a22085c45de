"""Keys: the same for the same content, in every process; others for others; and what has none."""

from __future__ import annotations

import functools
import importlib
import os
import subprocess
import sys
import threading
import types
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.sparse import csgraph

from gamlp_admm.errors import ContentError
from gamlp_admm.propagation import OPERATORS, NamedOperator, sym, to_torch
from gamlp_admm.propagation.store import key_of

FACTOR = 2.0


def scaled(A: Any) -> Any:
    return FACTOR * A


def twice(A: Any, scale: float = 1.0, *, more: float = 0.0) -> Any:
    return scaled(scaled(A)) * scale + more


def closed_over(factor: Any) -> Callable[[Any], Any]:
    return lambda A: factor * A


@dataclass(frozen=True)
class Power:
    steps: int

    def __call__(self, A: Any) -> Any:
        return A**self.steps


class Weighted:
    def __init__(self, weight: torch.Tensor) -> None:
        self.weight = weight

    def __call__(self, A: Any) -> Any:
        return A * self.weight


@functools.lru_cache
def remembered(A: Any) -> Any:
    return A


def shifted(x: torch.Tensor) -> torch.Tensor:
    return torch.cat([x[-1:], x[:-1]])


COUNT = torch.arange(6.0)
DIFFERENT: dict[str, list[Any]] = {
    "numbers and texts": [1, 1.0, True, "1", b"1", None, (1,), [1], {1: 1}, {1}, 1j, -0.0, 0.0, float("nan")],
    "containers": [(1, (2,)), (1, 2), ((1, 2),), [1, 2], {1: 2}, {2: 1}, (), [], {}, OrderedDict({1: 2})],
    "tensors": [
        *(COUNT, COUNT.view(2, 3), COUNT.view(3, 2), COUNT.double(), COUNT.long(), shifted(COUNT), COUNT[:5]),
        *(COUNT.view(2, 3).T, COUNT.bfloat16(), torch.tensor(0.0), torch.tensor([0.0]), torch.empty(0, 3), COUNT > 1),
        *(
            torch.diag(COUNT).to_sparse(),
            to_torch(sparse.diags_array(np.arange(6.0), format="csr"), torch.float32),
            torch.diag(COUNT),
            COUNT * 1j,
        ),
    ],
    "arrays": [
        np.broadcast_to(1.0, 6),
        np.empty((0, 3)),
        np.float32(1),
        np.arange(6),
        np.arange(6.0),
        np.arange(6).reshape(2, 3),
        np.arange(6)[::-1],
        np.array(["a"]),
    ],
    "matrices": [
        *(sparse.eye_array(3, format=form) for form in ("csr", "csc", "coo", "dia", "lil")),
        *(sparse.csr_array((3, 3)), sparse.csr_matrix((3, 3)), 2 * sparse.eye_array(3, format="csr")),
    ],
    "functions": [
        *(lambda A: A @ A, lambda A: A + A, lambda A: A @ A @ A, lambda B: B @ B, lambda A, B=1: A @ A),
        *(lambda A: A * 2, lambda A: A * 3, lambda A: A * 2.0, lambda A: A in {1, 2}, lambda A: (lambda B: A + B)(1)),
        *(lambda A: (lambda B: A - B)(1), lambda A: scaled(A), lambda A: twice(A), lambda A: np.abs(A)),
        *(
            closed_over(1.0),
            closed_over(2.0),
            closed_over(COUNT),
            closed_over(COUNT + 1),
            closed_over(closed_over(1.0)),
        ),
        *(scaled, twice, functools.partial(twice, scale=2.0), functools.partial(twice, scale=3.0), remembered),
        *(Power(2), Power(3), Weighted(COUNT), Weighted(COUNT + 1), Power(2).__call__, Power, Weighted),
        *(sym, csgraph.laplacian, np.exp, np.log, torch.mm, torch.bmm, str.upper, "x".upper, "y".upper, len, abs),
        *(OPERATORS["sym"], OPERATORS["ppr"], NamedOperator(scaled), NamedOperator(twice)),
    ],
}


@pytest.mark.parametrize("values", DIFFERENT.values(), ids=DIFFERENT)
def test_other_content_has_another_key(values: list[Any]) -> None:
    assert len({key_of(value) for value in values}) == len(values)
    assert [key_of(value) for value in values] == [key_of(value) for value in values]


def test_the_same_content_has_the_same_key_wherever_it_lies() -> None:
    wide = torch.randn(3000, 800)  # more than is looked at at a time
    assert key_of(wide.T) == key_of(wide.T.contiguous()) != key_of(wide)
    assert key_of(wide[:, ::2]) == key_of(wide[:, ::2].clone())
    assert key_of(wide.conj()) == key_of(wide.clone().requires_grad_())
    assert key_of(closed_over(1.0)) == key_of(closed_over(1.0))
    assert key_of({"a", "b", "c"}) == key_of({"c", "b", "a"})
    assert key_of(Weighted(wide)) == key_of(Weighted(wide.clone()))
    assert key_of([wide, wide]) == key_of([wide, wide.clone()])


def test_globals_count_as_far_as_they_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    before = key_of(scaled), key_of(twice), key_of(closed_over(1.0))
    monkeypatch.setitem(scaled.__globals__, "FACTOR", 3.0)
    assert key_of(scaled) != before[0]
    assert key_of(twice) != before[1]  # which calls it
    assert key_of(closed_over(1.0)) == before[2]  # which does not


def test_functions_that_call_each_other() -> None:
    space: dict[str, Any] = {"__name__": "own"}
    exec("def f(n): return g(n - 1) if n else 0\ndef g(n): return f(n - 1) if n else 1", space)
    other: dict[str, Any] = {"__name__": "own"}
    exec("def f(n): return g(n - 1) if n else 0\ndef g(n): return f(n - 1) if n else 2", other)
    assert key_of(space["f"]) == key_of(space["f"]) != key_of(other["f"])


def test_a_module_of_one_s_own_counts_by_the_functions_that_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def named(code: str) -> Any:
        own = types.ModuleType("own_helpers")
        exec(code, vars(own))
        space = {"__name__": "own", "helpers": own}
        exec("def f(A): return helpers.inner.g(A)" if "class" in code else "def f(A): return helpers.g(A)", space)
        return space["f"]

    first, second = named("def g(A): return A"), named("def g(A): return -A")
    assert key_of(first) != key_of(second)
    assert key_of(first) == key_of(named("def g(A): return A\ndef unused(): pass"))
    whole = types.FunctionType((lambda: helpers).__code__, {"helpers": types.ModuleType("own_helpers")})  # type: ignore[name-defined]  # noqa: F821
    with pytest.raises(ContentError, match=r"the module own_helpers is used as a whole; allowed: functions of it"):
        key_of(whole)


def imports_where_it_runs(A: Any) -> Any:
    import small_graphs  # of these tests

    return small_graphs.dense(A)


def imports_what_is_installed(A: Any) -> Any:
    from scipy.sparse import csgraph

    return csgraph.laplacian(A)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (threading.Lock(), "a lock cannot be told from another one"),
        ((i for i in range(3)), "cannot be told"),
        (closed_over(threading.Lock()), "a lock cannot be told"),
        (np.array([object()]), "a ndarray cannot be told"),
        (lambda A: input(A), "input gives a function what is no part of it"),
        (lambda A: eval(A), "eval gives a function"),
        (imports_where_it_runs, "imports_where_it_runs imports small_graphs where it runs.*allowed: to import it"),
        (functools.reduce(lambda inner, _: [inner], range(5000), 0), "nested too deeply"),  # type: ignore[arg-type]
    ],
)
def test_what_has_no_key(value: Any, message: str) -> None:
    with pytest.raises(ContentError, match=message):
        key_of(value)


def test_an_import_of_what_is_installed_is_known() -> None:
    assert key_of(imports_what_is_installed)


def test_a_version_stands_for_code() -> None:
    lock = threading.Lock()
    walk = NamedOperator(closed_over(lock), version="walk 1")
    assert key_of(walk.content) == key_of(NamedOperator(scaled, version="walk 1").content)
    assert key_of(walk.content) != key_of(NamedOperator(scaled, version="walk 2").content)
    with pytest.raises(ContentError, match="lock"):
        key_of(NamedOperator(closed_over(lock)).content)


@pytest.mark.slow
def test_keys_are_the_same_in_every_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Hashes of texts, on which the order of sets depends, differ; and the second process reads compiled code.
    (tmp_path / "own_operators.py").write_text(
        "import numpy as np\nWORDS = {'a', 'b', 'c', 'd'}\n"
        "class Op:\n    def __init__(self): self.words = WORDS\n    def __call__(self, A): return np.abs(A @ A)\n"
        "def f(A, words=frozenset('xyz')): return Op()(A) in WORDS or [B for B in A if B in {'q', 'r', 's'}]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    own = importlib.import_module("own_operators")
    code = (
        "import own_operators as own; from gamlp_admm.propagation.store import key_of; print(key_of(own.f, own.Op()))"
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    told = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        timeout=100,
        check=True,
    )
    assert told.stdout.decode().strip() == key_of(own.f, own.Op())
