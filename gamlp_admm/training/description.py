"""What the processes that call ``fit`` together must have in common, as texts that they can compare."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gamlp_admm.nn.gamlp import GAMLP
from gamlp_admm.training.identity import described
from gamlp_admm.training.options import FitOptions
from gamlp_admm.training.rows import SPLITS
from gamlp_admm.training.session import Algorithm

WHOLE = 1 << 20
"""Bytes up to which a tensor's digest is of all of them, in order."""

SAMPLED = 256
"""Rows of a larger tensor that its digest has beside the sums of its columns."""


def description(
    trainer: Algorithm, model: GAMLP, data: Any, weights: Mapping[str, Tensor | None], options: FitOptions
) -> dict[str, Any]:
    """Return what a process was asked for, by name; of data, which not all need, what it has.

    Args:
        trainer: The algorithm.
        model: The network. Its weights count where training starts from them.
        data: As for :meth:`gamlp_admm.training.trainer.Trainer.fit`; ``None`` where the process has none.
        weights: Those of the nodes, by their names in ``fit``.
        options: The other arguments of ``fit``; its directory counts as there or not, and callbacks are its own.
    """
    weight = next(model.parameters())
    said: dict[str, Any] = {"algorithm": trainer.algorithm, **trainer.settings(), **model.config}
    said |= {name: quick_digest(value) for name, value in vars(trainer).items() if isinstance(value, Tensor)}
    said |= {"dtype": weight.dtype} | {name: value for name, value in vars(options).items() if name != "callbacks"}
    said["metric"] = described(options.metric)
    said["checkpoint_dir"] = "none" if options.checkpoint_dir is None else "given"
    if options.seed is None and not options.resume and not weight.is_meta:
        said["the model's weights"] = quick_digest(torch.cat([p.detach().flatten() for p in model.parameters()]))
    if data is not None:
        found = {name: getattr(data, name, None) for name in ("x", "y", *(f"{split}_mask" for split in SPLITS))}
        said |= {f"data.{name}": quick_digest(value) for name, value in found.items() if isinstance(value, Tensor)}
        said |= {name: "none" if value is None else quick_digest(value) for name, value in weights.items()}
    return said


def quick_digest(tensor: Tensor) -> str:
    """Return the shape of a tensor, and a few letters that as good as surely differ where its values do.

    Large ones are not hashed but summed as integers, column by column, which takes as long as reading them; with some
    of the rows, so that the order of rows is in it.
    """
    shape = "×".join(map(str, tensor.shape))
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
        return f"{shape} {tensor.layout}"
    rows = tensor.detach().contiguous().flatten(1) if tensor.ndim > 1 else tensor.detach().contiguous()[..., None]
    bits = rows.view(_INTEGERS[tensor.element_size()])
    if bits.nbytes <= WHOLE:
        parts = [bits]
    else:
        some = torch.linspace(0, len(bits) - 1, SAMPLED, device=bits.device).long()
        # A few rows at a time, of which torch makes copies in 64 bits.
        sums = (part.sum(0, dtype=torch.int64) for part in torch.split(bits, max(WHOLE // bits[0].nbytes, 1)))
        parts = [sum(sums, bits.new_zeros((), dtype=torch.int64)), bits[some]]
    found = hashlib.sha256()
    for part in parts:
        found.update(part.cpu().numpy().tobytes())
    return f"{shape} {tensor.dtype} {found.hexdigest()[:8]}".replace("torch.", "")


_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
