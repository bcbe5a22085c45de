"""The PyTorch Geometric transform that strengthens or weakens the principal components of the features."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch_geometric.data import Data

from gamlp_admm.errors import InputError, number, positive_integer
from gamlp_admm.propagation import constructor_call, dense_features
from gamlp_admm.transforms.feature_transform import FeatureTransform

_OVERSAMPLING = 10
_BUDGET = 2**25  # numbers of the rows in work: 128 MiB in float32


class ScaleComponents(FeatureTransform):
    r"""Scale each principal component of ``data.x`` by a power of its singular value.

    With X the features ``[N, F]`` less their mean over all nodes, and :math:`X = U Σ V^T`, the output is

    .. math:: X V \, (Σ/σ_1)^{power} \, V^T,

    that is X times a power of its covariance: the columns stay those of the features, whatever the signs and the order
    of the components. Propagation filters the spectrum of the graph, this the spectrum of the features. Weight decay
    holds back directions with small components more than others; the exponent says how much more:

    - **power > 0** trusts the directions in which nodes differ most. Power 1 propagates the rows over the similarities
      of features, :math:`(X X^T)^{1/2} X / σ_1`. It is of use where few labels meet many, sparse words.
    - **power < 0** trusts small differences; with -1, whitening, all that are kept count alike.
    - **power = 0** leaves the spectrum as it is.

    No labels are read. All nodes count alike, as in propagation, those without a label included. Mean and components
    are those of the graph at hand, or after :meth:`fit` those of the graph there.

    Args:
        power: Exponent of the singular values.
        components: Components that are kept, if ``power`` is not 0; the others become 0. With at least ``min(N, F)``
            none is lost.
        unit_rows: First divide each centred row by its norm, so that the direction of a row counts and not its length;
            rows equal to the mean stay 0.

    Raises:
        InputError: An option is not allowed.

    Source:
        Randomised subspace iteration: Halko et al., arXiv 0909.4061, algorithm 5.1. Spectra of kernels that are shaped
        by unlabelled points: Chapelle et al., Cluster Kernels for Semi-Supervised Learning, NeurIPS 2002.

    Example:
        >>> import torch_geometric.transforms as T
        >>> from gamlp_admm import AugmentFeatures, load_dataset
        >>> from gamlp_admm.transforms import ScaleComponents
        >>> graph = load_dataset("karate").data
        >>> data = T.Compose([AugmentFeatures(10, "ppr"), ScaleComponents(0.5, unit_rows=True)])(graph)
        >>> data.x.shape == graph.x.shape
        True
    """

    def __init__(self, power: float = 0.0, components: int = 256, unit_rows: bool = False) -> None:
        if not math.isfinite(number("power", power)):
            raise InputError(f"power is {power}: it must be finite")
        self.power = power
        self.components = positive_integer("components", components)
        self.unit_rows = unit_rows

    def forward(self, data: Data) -> Data:
        """Scale the components; calling the transform itself works on a shallow copy.

        Args:
            data: A graph with ``x`` ``[N, F]``, dense or sparse.

        Returns:
            ``data``, whose ``x`` is a new dense tensor of the same shape, on the device of the old one.

        Raises:
            InputError: The features are missing or not allowed.
        """
        return super().forward(data)

    def columns(self, num_features: int) -> int:
        return num_features

    def fitted_shapes(self, num_features: int) -> dict[str, tuple[int | None, ...]]:
        scaling = {"components": (num_features, None), "factors": (None,)} if self.power else {}
        return {"centre": (num_features,), **scaling}

    def _transform(self, data: Data) -> dict[str, Tensor]:
        features, dtype = dense_features(getattr(data, "x", None))
        found = {name: tensor.to(features) for name, tensor in (self.fitted or {}).items()}
        if self.fitted is None:
            found["centre"] = features.mean(0)
        x = features - found["centre"]
        if self.unit_rows:
            norm = x.norm(dim=1, keepdim=True)
            x.div_(torch.where(norm > 0, norm, 1))
        if self.power and x.numel():
            if self.fitted is None:
                found["components"], found["factors"] = self._components(x)
            V, factors = found["components"], found["factors"]
            # In place, a part of the rows at a time: two matrices [N, F] are there, not three.
            for rows in torch.split(x, max(1, _BUDGET // x.shape[1])):
                rows.copy_((rows @ V * factors) @ V.T)
        data.x = x.to(dtype)
        return found

    def _components(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the right singular vectors that are kept ``[F, K]``, and their factors ``[K]``."""
        K = min(self.components, *x.shape)
        with torch.random.fork_rng([x.device] if x.is_cuda else []):
            torch.manual_seed(0)
            _, sigma, V = torch.svd_lowrank(x, min(K + _OVERSAMPLING, *x.shape), niter=3)
        sigma, V = sigma[:K], V[:, :K].contiguous()  # as a file has it: bits depend on the layout
        tiny = torch.finfo(x.dtype).eps * max(x.shape) * sigma[0]
        return V, torch.where(sigma > tiny, (sigma / sigma[0]) ** self.power, 0)

    def __repr__(self) -> str:
        return constructor_call(self)
