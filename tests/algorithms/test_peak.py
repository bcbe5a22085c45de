"""How much memory a run takes at most beyond its features, as a multiple of N·n·L·4 bytes: counted, not measured."""

from __future__ import annotations

import mmap
import weakref
from typing import Any

import pytest
import torch
from problems import blobs
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gamlp_admm import GAMLP
from gamlp_admm.admm import state
from gamlp_admm.algorithms.registry import trainer
from gamlp_admm.system.buffers import LARGE, BufferPool

N, WIDTH, LAYERS = 4112, 64, 10
UNIT = N * WIDTH * LAYERS * 4
FEATURES = 2 * UNIT // LAYERS  # of the training rows, and of all rows in the units of the run


class Peak(TorchDispatchMode):
    """Notes the most bytes that tensors made in it, and pools with what they keep, have at a time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = self.pooled = 0
        self.known: set[int] = set()
        make = BufferPool._new

        def new(pool: BufferPool, size: int) -> mmap.mmap:
            block = make(pool, size)
            self.pooled += size
            self.add(block, size)
            return block

        monkeypatch.setattr(BufferPool, "_new", new)

    def add(self, owner: Any, size: int) -> None:
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(owner, self.take, size)

    def take(self, size: int) -> None:
        self.now -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for storage in [t.untyped_storage() for t in tree_leaves(made) if isinstance(t, Tensor)]:
            if storage.resizable() and storage._cdata not in self.known:  # else it is a pool's, or was there before
                self.known.add(storage._cdata)
                weakref.finalize(storage, self.known.discard, storage._cdata)
                self.add(storage, storage.nbytes())
        return made


CASES: list[tuple[str, float, dict[str, Any]]] = [  # algorithm, multiple, settings of it, of the model or of fit
    ("pdadmm-g", 6.5, {}),
    ("pdadmm-g", 6.5, {"solver": "backtracking"}),
    ("pdadmm-g", 6.5, {"solver": "exact"}),
    ("pdadmm-g", 6.5, {"residual": True}),
    ("pdadmm-g", 8.0, {"codec": "int2-delta"}),
    ("pdadmm-g", 6.5, {"grow": [2, 5, LAYERS]}),
    ("pdadmm-g-q", 6.5, {}),
    ("dladmm", 6.5, {}),
    ("mdlam", 6.5, {}),
]


@pytest.mark.parametrize(("name", "most", "settings"), CASES, ids=lambda x: str(x).replace(" ", ""))
def test_peak(monkeypatch: pytest.MonkeyPatch, name: str, most: float, settings: dict[str, Any]) -> None:
    settings = dict(settings)
    monkeypatch.setattr(state, "STACKED", 0)  # as where layers are large
    data = blobs(n=N + 40, columns=WIDTH, dtype=torch.float32, train=N)
    model = GAMLP(WIDTH, WIDTH, 3, LAYERS, residual=settings.pop("residual", False))
    peak, grow = Peak(monkeypatch), settings.pop("grow", None)
    with peak:
        trainer(name, **settings).fit(model, data, 4 if name == "mdlam" else 2, seed=0, grow=grow)
    assert peak.pooled > LARGE
    assert peak.peak - FEATURES <= most * UNIT
    assert peak.now < UNIT / LAYERS  # nothing of it stays
