"""Diffusion schemes: repeat the product with Ã, one state after the other.

Every scheme starts from the features H and yields a sequence of states ``[N, F]`` without end, state 0 being H itself.
A state holds until the next one is asked for, which may be written over it: whoever wants to keep it copies it. So two
or three tensors ``[N, F]`` are there, whatever the number of steps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from itertools import count, cycle

from torch import Tensor

from gamlp_admm.propagation.features import blank
from gamlp_admm.propagation.product import Multiplier, product


def powers(matrix: Multiplier, features: Tensor) -> Iterator[Tensor]:
    """Yield ``Ã^k H`` for k = 0, 1, ….

    Args:
        matrix: ``[N, N]``, Ã.
        features: ``[N, F]``, H; not modified.

    Source:
        GA-MLP, arXiv 2010.15116; SIGN, arXiv 2004.11198; SGC, arXiv 1902.07153.

    Example:
        >>> import scipy.sparse as sparse, torch
        >>> from gamlp_admm.propagation import powers, to_torch
        >>> swap, x = to_torch(sparse.csr_array([[0.0, 1.0], [1.0, 0.0]]), torch.float32), torch.randn(2, 3)
        >>> states = powers(swap, x)
        >>> [torch.equal(next(states), each) for each in (x, x.flip(0), x)]
        [True, True, True]
    """
    state, places = features, _places(features)
    del features  # which is not needed after the first step
    for place in places:
        yield state
        state = product(matrix, state, place)


def pagerank(matrix: Multiplier, features: Tensor, *, alpha: float) -> Iterator[Tensor]:
    """Yield the states of personalised PageRank, ``Z_0 = H``, ``Z_{k+1} = (1 - α) Ã Z_k + α H``.

    The limit is ``α (I - (1 - α) Ã)^-1 H``; each step shrinks the distance to it by ``1 - α``.

    Args:
        matrix: ``[N, N]``, Ã.
        features: ``[N, F]``, H; not modified.
        alpha: α, the teleport probability, in (0, 1].

    Source:
        APPNP, arXiv 1810.05997, equation 4.

    Example:
        >>> from itertools import islice
        >>> import scipy.sparse as sparse, torch
        >>> from gamlp_admm.propagation import pagerank, to_torch
        >>> swap, x = to_torch(sparse.csr_array([[0.0, 1.0], [1.0, 0.0]]), torch.float32), torch.randn(2, 3)
        >>> *_, last = islice(pagerank(swap, x, alpha=0.5), 2)
        >>> torch.allclose(last, (x + x.flip(0)) / 2)
        True
    """
    state = features
    for place in _places(features):
        yield state
        state = product(matrix, state, place, restart=features, alpha=alpha)


def heat(matrix: Multiplier, features: Tensor, *, t: float) -> Iterator[Tensor]:
    """Yield the partial sums of the heat kernel, ``exp(-t (I - Ã)) H = Σ_j exp(-t) t^j / j! Ã^j H``.

    State k > 0 is the sum over j = 0…k; state 0 is H.

    Args:
        matrix: ``[N, N]``, Ã.
        features: ``[N, F]``, H; not modified.
        t: The diffusion time, positive.

    Source:
        GDC, arXiv 1911.05485, equation 1 with the heat kernel's coefficients.

    Example:
        >>> from itertools import islice
        >>> import scipy.sparse as sparse, torch
        >>> from gamlp_admm.propagation import heat, to_torch
        >>> same, x = to_torch(sparse.eye_array(2, format="csr"), torch.float64), torch.randn(2, 3, dtype=torch.float64)
        >>> *_, last = islice(heat(same, x, t=3.0), 40)  # exp(-t (I - I)) = I
        >>> torch.allclose(last, x)
        True
    """
    yield features
    coefficient = math.exp(-t)
    total, term = features * coefficient, features
    for step, place in zip(count(1), _places(features), strict=False):
        term = product(matrix, term, place)
        coefficient *= t / step
        yield total.add_(term, alpha=coefficient)


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
    from scipy.special import pdtrc  # here, because it takes longer to import than all of propagation

    return float(pdtrc(steps, t))


def _places(like: Tensor) -> Iterator[Tensor]:
    """Yield two tensors to write states to, in turn; made when they are first needed."""
    make = partial(blank, like.shape, like.dtype, like.device)
    del like
    made = [make()]
    yield made[0]
    made.append(make())
    yield made[1]
    yield from cycle(made)
