"""Diffusion schemes: repeat the product with Ã and write the states that are wanted.

Every scheme starts from the features H and makes a sequence of states ``[N, F]``, state 0 being H itself.
``blocks`` says which states to keep: it maps the number of steps to the tensor that receives the state,
usually a column block of one wide output. States between the kept ones need at most one more tensor
``[N, F]`` (the heat series: two), and none when every state is kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise

import torch
from scipy.special import pdtrc
from torch import Tensor

from gamlp_admm.propagation.product import product


def powers(matrix: Tensor, features: Tensor, blocks: Mapping[int, Tensor]) -> None:
    """Write ``Ã^k H`` into ``blocks[k]`` for every k in ``blocks``.

    Args:
        matrix: ``[N, N]`` CSR, Ã.
        features: ``[N, F]``, H; not modified.
        blocks: ``k -> [N, F]``, the tensors to write.

    Source:
        GA-MLP, arXiv 2010.15116; SIGN, arXiv 2004.11198; SGC, arXiv 1902.07153.

    Example:
        >>> import scipy.sparse as sparse, torch
        >>> from gamlp_admm.propagation import powers, to_torch
        >>> swap, x = to_torch(sparse.csr_array([[0.0, 1.0], [1.0, 0.0]]), torch.float32), torch.randn(2, 3)
        >>> blocks = {k: torch.empty_like(x) for k in (1, 2)}
        >>> powers(swap, x, blocks)
        >>> torch.equal(blocks[1], x.flip(0)), torch.equal(blocks[2], x)
        (True, True)
    """
    _write_start(features, blocks)
    state = features
    for place in _places(blocks):
        state = product(matrix, state, place)


def pagerank(matrix: Tensor, features: Tensor, blocks: Mapping[int, Tensor], *, alpha: float) -> None:
    """Write the states of personalised PageRank, ``Z_0 = H``, ``Z_{k+1} = (1 - α) Ã Z_k + α H``.

    The limit is ``α (I - (1 - α) Ã)^-1 H``; each step shrinks the distance to it by ``1 - α``.

    Args:
        matrix: ``[N, N]`` CSR, Ã.
        features: ``[N, F]``, H; not modified.
        blocks: ``k -> [N, F]``, the tensors to write.
        alpha: α, the teleport probability, in (0, 1].

    Source:
        APPNP, arXiv 1810.05997, equation 4.

    Example:
        >>> import scipy.sparse as sparse, torch
        >>> from gamlp_admm.propagation import pagerank, to_torch
        >>> swap, x = to_torch(sparse.csr_array([[0.0, 1.0], [1.0, 0.0]]), torch.float32), torch.randn(2, 3)
        >>> blocks = {1: torch.empty_like(x)}
        >>> pagerank(swap, x, blocks, alpha=0.5)
        >>> torch.allclose(blocks[1], (x + x.flip(0)) / 2)
        True
    """
    _write_start(features, blocks)
    state = features
    for place in _places(blocks):
        state = product(matrix, state, place, restart=features, alpha=alpha)


def heat(matrix: Tensor, features: Tensor, blocks: Mapping[int, Tensor], *, t: float) -> None:
    """Write the partial sums of the heat kernel, ``exp(-t (I - Ã)) H = Σ_j exp(-t) t^j / j! Ã^j H``.

    State k > 0 is the sum over j = 0…k; state 0 is H.

    Args:
        matrix: ``[N, N]`` CSR, Ã.
        features: ``[N, F]``, H; not modified.
        blocks: ``k -> [N, F]``, the tensors to write.
        t: The diffusion time, positive.

    Source:
        GDC, arXiv 1911.05485, equation 1 with the heat kernel's coefficients.

    Example:
        >>> import scipy.sparse as sparse, torch
        >>> from gamlp_admm.propagation import heat, to_torch
        >>> same, x = to_torch(sparse.eye_array(2, format="csr"), torch.float64), torch.randn(2, 3, dtype=torch.float64)
        >>> blocks = {40: torch.empty_like(x)}
        >>> heat(same, x, blocks, t=3.0)  # exp(-t (I - I)) = I
        >>> torch.allclose(blocks[40], x)
        True
    """
    _write_start(features, blocks)
    coefficient = math.exp(-t)
    term = features
    scratch = [torch.empty_like(features) for _ in range(min(max(blocks), 2))]
    for before, kept in _gaps(blocks):
        if before == 0:
            total = torch.mul(features, coefficient, out=blocks[kept])
        else:
            total = blocks[kept].copy_(blocks[before])
        for step in range(before + 1, kept + 1):
            term = product(matrix, term, scratch[(step - 1) % 2])
            coefficient *= t / step
            total.add_(term, alpha=coefficient)


def heat_remainder(steps: int, t: float) -> float:
    """Return the share of the heat kernel's coefficients that lies beyond ``steps``: P(Poisson(t) > steps).

    Args:
        steps: The last power of Ã in the sum.
        t: The diffusion time.

    Returns:
        A number in [0, 1]; the sum over j = 0…steps has 1 minus this of the whole.

    Example:
        >>> from gamlp_admm.propagation import heat_remainder
        >>> heat_remainder(40, t=3.0) < 1e-9 < heat_remainder(3, t=3.0)
        True
    """
    return float(pdtrc(steps, t))


def _write_start(features: Tensor, blocks: Mapping[int, Tensor]) -> None:
    if 0 in blocks:
        blocks[0].copy_(features)


def _gaps(blocks: Mapping[int, Tensor]) -> Iterator[tuple[int, int]]:
    """Yield ``(previous kept step or 0, next kept step)`` up to the last one."""
    return pairwise([0, *sorted(step for step in blocks if step > 0)])


def _places(blocks: Mapping[int, Tensor]) -> Iterator[Tensor]:
    """Yield the tensor for the state after 1, 2, … steps.

    States that are not kept alternate between the next kept block and one scratch tensor, such that the
    kept state ends in its block and no step overwrites the state that it reads.
    """
    scratch = None
    for before, kept in _gaps(blocks):
        for step in range(before + 1, kept + 1):
            if (kept - step) % 2 == 0:
                yield blocks[kept]
            else:
                if scratch is None:
                    scratch = torch.empty_like(blocks[kept])
                yield scratch
