"""Anderson acceleration: exact on affine maps, safeguarded, the same in any split, resumable."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from problems import F64, blobs, randn
from torch import Tensor

from gamlp_admm import GAMLP, MDLAM, Anderson, Backprop, DlADMM, PdADMM, PdADMMG
from gamlp_admm.algorithms import trainer
from gamlp_admm.algorithms.anderson import AndersonSession
from gamlp_admm.errors import InputError
from gamlp_admm.parallel.team import Team

TRAINERS: dict[str, Any] = {
    "pdadmm": PdADMM(rho=1.0, nu=0.1, mu=0.01),
    "pdadmm exact": PdADMM(rho=1.0, nu=0.1, mu=0.01, solver="exact"),
    "dladmm": DlADMM(rho=1.1, nu=0.1, mu=0.01, solver="linesearch"),
    "mdlam": MDLAM(rho=0.1, mu=0.01, epsilon=0.05, epsilon_min=0.05),
}


class Affine:
    """A stand-in for a session: x ← A x + c, with the distance to the fixed point as objective."""

    problem = SimpleNamespace(weight=None)

    def __init__(self, A: Tensor, c: Tensor) -> None:
        self.A, self.c, self.state = A, c, torch.zeros_like(c)

    def variables(self) -> dict[tuple[int, str], Tensor]:
        return {(0, "z"): self.state[None]}

    def assign(self, variables: dict[tuple[int, str], Tensor]) -> None:
        self.state = variables[0, "z"][0]

    def iterate(self, iteration: int, factor: float) -> None:
        self.state = self.A @ self.state + self.c

    def layer_terms(self) -> Tensor:
        return (self.state - self.A @ self.state - self.c).square().sum()[None, None]


def accelerated(inner: Any, memory: int) -> AndersonSession:
    team = Team()
    team.plan([1.0])
    return AndersonSession(inner, memory, 1, team)


def test_an_affine_map_of_n_variables_is_solved_in_n_plus_two_iterations() -> None:
    n = 6
    A = randn(n, n, seed=1)
    A = 0.95 * (A + A.T) / torch.linalg.matrix_norm(A + A.T, 2)
    inner = Affine(A, randn(n, seed=2))
    session = accelerated(inner, n)
    for k in range(n + 2):
        session.iterate(k + 1, 1.0)
    solution = torch.linalg.solve(torch.eye(n, dtype=F64) - A, inner.c)
    assert (inner.state - solution).norm() < 1e-5 * solution.norm()
    plain = Affine(A, inner.c)
    for k in range(n + 2):
        plain.iterate(k + 1, 1.0)
    assert (plain.state - solution).norm() > 0.1 * solution.norm()


def test_a_step_that_raises_the_objective_is_taken_back() -> None:
    class Worse(Affine):
        def layer_terms(self) -> Tensor:
            return -super().layer_terms()  # the nearer the solution, the worse

    A = 0.9 * torch.eye(3, dtype=F64)
    inner = Worse(A, randn(3, seed=2))
    session, plain = accelerated(inner, 3), Affine(A, inner.c)
    for k in range(5):
        session.iterate(k + 1, 1.0)
        plain.iterate(k + 1, 1.0)
    assert session.accepted == 0
    assert session.refused > 0
    assert torch.equal(inner.state, plain.state)


def test_penalties_that_change_make_it_forget() -> None:
    session = accelerated(Affine(0.5 * torch.eye(2, dtype=F64), randn(2)), 3)
    for k, factor in enumerate([1.0, 1.0, 1.0, 2.0]):
        session.iterate(k + 1, factor)
    assert session.differences == []
    assert session.gram.shape == (0, 0)


def history(kind: Any, **options: Any) -> list[dict[str, Any]]:
    model = GAMLP(8, 6, 3, 3, init="kaiming").double()
    return kind.fit(model, blobs(), options.pop("iterations", 40), seed=0, **options).history  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", TRAINERS)
def test_it_accelerates(name: str) -> None:
    plain, fast = history(TRAINERS[name]), history(Anderson(TRAINERS[name], 5))
    objectives = [r["objective"] for r in fast]
    assert objectives[-1] < plain[-1]["objective"]
    assert all(b <= a + 1e-9 * abs(a) for a, b in pairwise(objectives[1:]))


@pytest.mark.parametrize("name", TRAINERS)
def test_variables_stay_consistent(name: str) -> None:
    from gamlp_admm.training.session import Session, Stage

    seen: list[AndersonSession] = []

    class Watched(Anderson):
        def start(self, stage: Stage) -> Session:  # type: ignore[override]
            seen.append(super().start(stage))
            return seen[-1]

    history(Watched(TRAINERS[name], 3), iterations=15)
    (session,) = seen
    assert session.accepted > 3
    state = session.inner.state
    for s in state:
        torch.testing.assert_close(s.M, s.p @ s.W.mT)
    for s, after in pairwise(state):
        assert s.p_next is not None
        assert after.q_prev is not None
        if name != "dladmm":  # whose inputs change again in the forward sweep
            assert torch.equal(s.p_next, after.p[:1])
        assert s.q is not None
        assert torch.equal(after.q_prev, s.q[-1:])
        if name in ("dladmm", "mdlam"):
            torch.testing.assert_close(s.q, torch.relu(s.z))
        else:
            assert s.u is not None
            assert after.u_prev is not None
            assert torch.equal(after.u_prev, s.u[-1:])


@pytest.mark.parametrize("name", TRAINERS)
def test_resumed_runs_have_the_same_bits(name: str, tmp_path: Any) -> None:
    kind = Anderson(TRAINERS[name], 3)
    whole = history(kind, iterations=12)
    history(kind, iterations=7, checkpoint_dir=tmp_path)
    resumed = history(kind, iterations=12, checkpoint_dir=tmp_path, resume=True)
    assert [r["objective"] for r in resumed] == [r["objective"] for r in whole]


def test_growth_starts_anew() -> None:
    kind = Anderson(PdADMMG(rho=1.0, nu=0.1), 3)
    model = GAMLP(8, 6, 3, 4, init="kaiming").double()
    result = kind.fit(model, blobs(), 10, seed=0, grow=(2, 4))
    assert [r["layers"] for r in result.history] == [2] * 10 + [4] * 10


def test_what_cannot_be_accelerated_is_refused() -> None:
    with pytest.raises(InputError, match="sent in full"):
        Anderson(PdADMMG(codec="int2-delta"))
    with pytest.raises(InputError, match="anderson must be a positive integer"):
        Anderson(DlADMM(), 0)
    with pytest.raises(InputError, match="accelerates ADMM trainers"):
        Anderson(Backprop())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="anderson does not apply to adam"):
        trainer("adam", anderson=3)


def test_by_name() -> None:
    kind = trainer("dladmm", anderson=4, rho=2.0, loss="squared_error")
    assert kind == Anderson(DlADMM(rho=2.0, loss="squared_error"), 4)
    assert (kind.algorithm, kind.loss) == ("dladmm", "squared_error")
