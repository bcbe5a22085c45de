"""Loss, accuracy and metric of the real forward pass: the honest curves, and what models are selected by."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from gamlp_admm.nn.losses import Risk
from gamlp_admm.nn.network import Network, Weights, linears
from gamlp_admm.parallel.channel import LocalChannel
from gamlp_admm.parallel.team import Team
from gamlp_admm.training.coordinates import Features
from gamlp_admm.training.metrics import METRICS, Metric, figures
from gamlp_admm.training.rows import SPLITS, NodeData

CHUNK = 4096  # rows of one step of the forward pipeline; fixed, so that the bits do not depend on the processes


LIGHTER = 2
"""How many times fewer bytes weights must be than activations to be what travels: the process that has all of them does
all of the work, which the processes share where activations go through them."""


def weights_travel(shapes: Sequence[tuple[int, int]], parts: Sequence[range], rows: int, shards: int) -> bool:
    """Return whether, for an evaluation, weights go to the owner of the first layer, and not activations to the others.

    Args:
        shapes: Shape of W of every layer.
        parts: The layers of every part.
        rows: Rows to be evaluated, of all shards.
        shards: Number of parts of the rows.
    """
    _, *others = [part for part in parts if part]
    weights = sum(shapes[l][0] * (shapes[l][1] + 1) for part in others for l in part)
    activations = sum(rows * shapes[part[0]][1] for part in others)
    return 0 < LIGHTER * shards * weights <= activations


class Evaluator:
    """Evaluates weights on the rows of the three splits, in one forward pass through the processes' layers.

    Args:
        data: Features, targets and splits.
        risk: The risk.
        network: The network.
        metric: What is measured beside loss and accuracy.
        team: The processes.
    """

    def __init__(
        self,
        data: NodeData,
        risk: Risk,
        network: Network,
        metric: Metric = METRICS["accuracy"],
        team: Team | None = None,
    ) -> None:
        self.data, self.risk, self.network, self.metric, self.team = data, risk, network, metric, team or Team()

    def outputs(
        self, weights: Weights, layers: range, features: Features | None, channel: LocalChannel, last: bool
    ) -> Tensor | None:
        """Return the network's outputs on the rows of all splits, ``[N, C]``, where the last layer is owned.

        Activations go from process to process in chunks of rows, so that the processes work at the same time.

        Args:
            weights: (W, b) of the layers owned; the network's first in the coordinates of ``features``.
            layers: The layers owned.
            features: Features of the rows, where the first layer is owned.
            channel: Carries activations from layer to layer.
            last: Whether the network's last layer is owned.
        """
        if not layers:
            return None
        begin, end = layers[0] - 1, layers[-1]
        own, (W, b) = linears(weights), weights[0]
        bounds = [(i, min(i + CHUNK, len(self.data.y))) for i in range(0, len(self.data.y), CHUNK)]

        def expect(chunk: int) -> None:
            if features is None and chunk < len(bounds):
                rows = bounds[chunk][1] - bounds[chunk][0]
                like = self.data.y.new_empty(1).expand(1, rows, W.shape[1])
                channel.expect("a", begin, like)

        def through(chunk: int) -> Tensor:
            if features is None:
                a = channel.receive("a", begin)[0]
                expect(chunk + 1)
                return self.network.forward(a, own, layers[0], last)
            low, high = bounds[chunk]
            x = features.evaluated[low:high]
            return self.network.forward(x, [lambda _: features.products(W, low, high).add_(b), *own[1:]], 0, last)

        outputs = self.data.y.new_empty(len(self.data.y) if last else 0, len(weights[-1][1]))
        expect(0)
        for chunk in range(len(bounds)):
            a = through(chunk)
            if last:
                outputs[slice(*bounds[chunk])] = a
            else:
                channel.send("a", end, a[None])
        channel.finish()
        return outputs if last else None

    def sums(self, z: Tensor | None) -> Tensor:
        """Return the sums that :meth:`measures` needs, which add up over processes; zeros where ``z`` is ``None``."""
        beyond = [] if self.metric.summed else [figures(self.metric, z, self.data, self.risk, self.team)]
        y, scored = self.data.y, self.data.val_weight
        if z is None:
            z, y = y[:0], y[:0]
            sizes, weight = [0] * len(SPLITS), None
        else:
            sizes, weight = list(self.data.sizes), self.data.weight
        parts = list(zip(torch.split(z, sizes), torch.split(y, sizes), strict=True))
        loss = self.risk.value(*parts[0], weight).double()
        rows = loss.new_tensor(sizes)
        scores = [self.risk.score_sums(*part) for part in parts]
        if scored is not None:
            scores.append(self.risk.score_sums(*parts[1], scored[: len(parts[1][0])]))
        return torch.cat([loss[None], rows, *(each.to(loss.device) for each in beyond), *scores])

    def measures(self, sums: Tensor) -> dict[str, float | None]:
        """Return ``train_loss``, weighted, and ``train_accuracy``, ``val_accuracy``, ``test_accuracy`` or score.

        Args:
            sums: What :meth:`sums` returned, added up over all processes.

        Returns:
            The measures; ``None`` for a split without rows. Of real targets what is called accuracy is R², which is
            there by its own name, too. Where validation rows have weights, ``val_score`` is their accuracy (or R²),
            each counted as often as it weighs. Of another metric its figures.
        """
        count = len(SPLITS)
        loss, rows, rest = sums[0], sums[1 : 1 + count].tolist(), sums[1 + count :]
        result: dict[str, float | None] = {"train_loss": float(loss / self.data.total_weight)}
        beyond, rest = ([], rest) if self.metric.summed else (rest[:count].tolist(), rest[count:])
        scores = rest.chunk(count + (self.data.val_weight is not None))
        told = [self.risk.score(score) if score[1] else None for score in scores]
        if self.data.val_weight is not None:
            result["val_score"] = told[-1]
        for name in ("accuracy", *(("r2",) if self.data.kind == "values" else ())):
            result |= {f"{split}_{name}": value for split, value in zip(SPLITS, told, strict=False)}
        for split, value, n in zip(SPLITS, beyond, rows, strict=False):
            result[f"{split}_{self.metric.name}"] = value if n and math.isfinite(value) else None
        return result
