"""Features of several operators side by side, and their notation: ``ppr/10/0.2+heat/10/3/normalized``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch_geometric.data import Data

from gamlp_admm.errors import InputError, several, unknown
from gamlp_admm.propagation import MOST_STEPS, OPERATORS, StoredFeatures
from gamlp_admm.transforms.augment_features import AugmentFeatures
from gamlp_admm.transforms.feature_transform import FeatureTransform
from gamlp_admm.transforms.out_of_core import Storing
from gamlp_admm.transforms.several_out_of_core import store_several

NOTATION = "sym/HOPS, row/HOPS, ppr/HOPS/ALPHA or heat/HOPS/T; HOPS as 4, 0-4 or 0+2+4; then /normalized or nothing"


class CombineFeatures(FeatureTransform):
    """Replace ``data.x`` by what several transforms make of it, side by side and on an equal footing.

    Each block of columns is divided by the spread of its rows, the root of their mean squared distance from their mean,
    so that no operator outweighs another because its features are larger; after :meth:`fit` by that of the graph there.

    Args:
        parts: The transforms, at least one.

    Example:
        >>> from gamlp_admm import AugmentFeatures, load_dataset
        >>> from gamlp_admm.transforms import CombineFeatures
        >>> graph = load_dataset("karate").data
        >>> transform = CombineFeatures([AugmentFeatures(10, "ppr"), AugmentFeatures((1, 2), "row")])
        >>> transform(graph).x.shape == (34, 3 * graph.num_features)
        True
        >>> CombineFeatures.parse("ppr/10+row/1-2")
        CombineFeatures([AugmentFeatures(hops=10, operator='ppr'), AugmentFeatures(hops=(1, 2), operator='row')])
    """

    def __init__(self, parts: Sequence[AugmentFeatures]) -> None:
        for part in (parts := several("parts", parts, "AugmentFeatures")):
            if not isinstance(part, AugmentFeatures):
                raise InputError(f"parts must be AugmentFeatures, not {part!r}; a text is for CombineFeatures.parse")
        if not parts:
            raise InputError("CombineFeatures needs at least one transform")
        self.parts = tuple(parts)

    @classmethod
    def parse(cls, text: str, dtype: torch.dtype | None = None) -> CombineFeatures:
        """Return the combination that a text stands for: parts joined by ``+``, each as :func:`parse_features` has it.

        Raises:
            InputError: A part is not allowed.
        """
        return cls([parse_features(part, dtype) for part in re.split(r"\+(?=[a-z])", str(text))])

    def forward(self, data: Data) -> Data:
        """Combine; calling the transform itself works on a shallow copy.

        Args:
            data: As for :class:`AugmentFeatures`.

        Returns:
            ``data``, whose ``x`` holds the blocks of the parts, in their order.
        """
        return super().forward(data)

    def store(self, data: Data, how: Storing) -> StoredFeatures:
        """Make the features into a directory, or what is missing of them; ``data`` is not modified.

        Each part is made there by itself, of all nodes, and goes when all are put side by side. Spreads are summed in
        float64, some rows at a time: but for the last bits they are those of :meth:`forward`.

        Args:
            data: A graph, as :class:`AugmentFeatures` takes it; its tensors may be memory-mapped.
            how: The directory, the cap of memory, and the rest.

        Raises:
            InputError: The graph is not allowed, the cap is too small, the directory has other features, or a part has
                rows or a directory of its own, or another type.
        """
        parts = [(part, part.dtype, part.normalize_features) for part in self.parts]
        if any(part.rows is not None or part.out is not None or part.metapaths for part in self.parts):
            raise InputError("rows, out and metapaths of a part do not apply to features in a directory")
        if len({dtype for _, dtype, _ in parts}) > 1:
            raise InputError(f"parts in a directory need one dtype, not {', '.join(str(part[1]) for part in parts)}")

        def recipe(spreads: Tensor) -> dict[str, Any] | None:
            if not all(isinstance(part.operator, str) for part in self.parts):
                return None
            told = {"transform": type(self).__name__, "parts": [part.recipe() for part in self.parts]}
            return {**told, "fitted": {"spread": spreads.tolist()}}

        return store_several(parts, data, how, recipe)

    def columns(self, num_features: int) -> int:
        return sum(part.columns(num_features) for part in self.parts)

    def fitted_shapes(self, num_features: int) -> dict[str, tuple[int | None, ...]]:
        return {"spread": (len(self.parts),)}

    def _transform(self, data: Data) -> dict[str, Tensor]:
        blocks, widths, spreads = [], [], []
        for i, part in enumerate(self.parts):
            made = part(data)
            x = made.x
            widths += made.feature_blocks
            known = None if self.fitted is None else self.fitted["spread"][i].to(x)
            spread = (x.var(0, correction=0).sum()).sqrt() if known is None else known
            spreads.append(spread)
            blocks.append(x.div_(torch.where(spread > 0, spread, 1)))
        data.x = torch.cat(blocks, 1) if len(blocks) > 1 else blocks[0]
        data.feature_blocks = tuple(widths)
        return {"spread": torch.stack([spread.to(data.x) for spread in spreads])}

    def _options(self) -> Iterator[tuple[str, Any]]:
        yield "parts", list(self.parts)

    def __repr__(self) -> str:
        return f"{type(self).__name__}([{', '.join(map(repr, self.parts))}])"


def parse_features(text: str, dtype: torch.dtype | None = None) -> AugmentFeatures:
    """Return the transform that a text such as ``ppr/10/0.05``, ``sym/0-4`` or ``row/1+2/normalized`` stands for.

    Args:
        text: The operator; its hops, if not the usual ones; α of ``ppr`` or t of ``heat``, if not the usual ones; and
            ``normalized`` if each node's features are first divided by their sum.
        dtype: As for :class:`AugmentFeatures`.

    Raises:
        InputError: The text does not have this form.
    """
    operator, *rest = text.split("/")
    if operator not in OPERATORS:
        raise unknown("operator", operator, OPERATORS)
    normalize = bool(rest) and rest[-1] == "normalized"
    if normalize:
        del rest[-1]
    parameter = OPERATORS[operator].parameter
    names = ["hops", parameter] if parameter else ["hops"]
    try:
        if len(rest) > len(names):
            raise ValueError
        values: list[Any] = [parse_hops(part) if i == 0 else float(part) for i, part in enumerate(rest)]
    except ValueError:
        raise InputError(f"operator {text}: allowed: {NOTATION}") from None
    options: dict[str, Any] = dict(zip(names, values, strict=False))
    return AugmentFeatures(operator=operator, **options, normalize_features=normalize, dtype=dtype)


def parse_hops(text: str) -> int | tuple[int, ...]:
    """Return the hops that ``4``, ``0-4`` or ``0+2+4`` stand for.

    Raises:
        ValueError: The text does not have this form.
    """
    if "-" in text:
        low, high = map(int, text.split("-", 1))
        if high - low > MOST_STEPS:
            raise ValueError
        return tuple(range(low, high + 1))
    return tuple(map(int, text.split("+"))) if "+" in text else int(text)
