"""What the transforms that make a model's features have in common: what is fitted to a graph, and what files keep."""

from __future__ import annotations

import copy
import inspect
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from gamlp_admm.errors import InputError

Self = TypeVar("Self", bound="FeatureTransform")


class FeatureTransform(BaseTransform):  # type: ignore[misc]
    """A transform with an attribute for each parameter of its constructor.

    Attributes:
        fitted: What :meth:`fit` found in a graph, by name, and is applied to all others; ``None`` where each graph is
            measured by itself.
    """

    fitted: Mapping[str, Tensor] | None = None

    def fit(self: Self, data: Data) -> tuple[Self, Data]:
        """Return a copy that keeps what it takes from a graph, and the graph transformed.

        That is a mean, components, the number of classes: of every other graph a model expects what it was trained on.
        :func:`~gamlp_admm.transforms.fit_features` does it for a chain.

        Args:
            data: A graph, as :meth:`forward` takes it.

        Raises:
            InputError: It is not allowed.
        """
        data, fitted = copy.copy(data), copy.copy(self)
        fitted.fitted = None
        fitted._keep(fitted._transform(data))
        return fitted, data

    def forward(self, data: Data) -> Data:
        """Transform ``data``, in place; calling the transform itself works on a shallow copy."""
        self._transform(data)
        return data

    @abstractmethod
    def _transform(self, data: Data) -> dict[str, Tensor]:
        """Transform in place; return what is taken from the graph, or was from that of :meth:`fit`."""

    def _keep(self, found: dict[str, Tensor]) -> None:
        """Note what was taken from a graph."""
        self.fitted = found or None

    @abstractmethod
    def columns(self, num_features: int) -> int:
        """Return how many columns are made of some."""

    def fitted_shapes(self, num_features: int) -> dict[str, tuple[int | None, ...]]:
        """Return what :attr:`fitted` must hold; ``None`` in a shape is any size that is not 0.

        Args:
            num_features: Columns of the features that come in.
        """
        return {}

    def recipe(self) -> dict[str, Any]:
        """Return what files keep, JSON values, tensors and further transforms; :func:`from_recipe` is the way back.

        Raises:
            InputError: There is something that they cannot keep, or that is not fitted yet.
        """
        if self.fitted is None and self.fitted_shapes(1):
            raise InputError(
                f"{type(self).__name__} is not fitted to a graph, which a model's file must keep: "
                "features, data = gamlp_admm.transforms.fit_features(features, graph)"
            )
        fitted = {} if self.fitted is None else {"fitted": dict(self.fitted)}
        return {"transform": type(self).__name__, **dict(self._options()), **fitted}

    def _options(self) -> Iterator[tuple[str, Any]]:
        for name in inspect.signature(type(self)).parameters:
            value = getattr(self, name)
            if name == "operator" and not isinstance(value, str):
                what = getattr(value, "__name__", type(value).__name__)
                raise InputError(
                    f"{type(self).__name__} has the operator {what}, which a file cannot keep; allowed: a name, "
                    "as sym, which gamlp_admm.propagation.register_operator gives to others, too"
                )
            yield name, str(value).removeprefix("torch.") if isinstance(value, torch.dtype) else value
