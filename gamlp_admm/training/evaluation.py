"""Loss and accuracy of the real forward pass: the honest curves, and what models are selected by."""

from __future__ import annotations

import torch
from torch import Tensor

from gamlp_admm.nn.losses import Risk
from gamlp_admm.nn.network import Network, Weights, linears
from gamlp_admm.parallel.channel import LocalChannel
from gamlp_admm.training.coordinates import Features
from gamlp_admm.training.rows import SPLITS, NodeData

CHUNK = 4096  # rows of one step of the forward pipeline; fixed, so that the bits do not depend on the processes


class Evaluator:
    """Evaluates weights on the rows of the three splits, in one forward pass through the processes' layers.

    Args:
        data: Features, targets and splits.
        risk: The risk.
        network: The network.
    """

    def __init__(self, data: NodeData, risk: Risk, network: Network) -> None:
        self.data, self.risk, self.network = data, risk, network

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
            return self.network.forward(x, [lambda _: features.products(W, low, high) + b, *own[1:]], 0, last)

        outputs = []
        expect(0)
        for chunk in range(len(bounds)):
            a = through(chunk)
            if last:
                outputs.append(a)
            else:
                channel.send("a", end, a[None])
        channel.finish()
        return torch.cat(outputs) if last else None

    def sums(self, z: Tensor | None) -> Tensor:
        """Return the sums that :meth:`measures` needs, which add up over processes; zeros where ``z`` is ``None``."""
        y = self.data.y
        if z is None:
            z, y = y[:0], y[:0]
            sizes, weight = [0] * len(SPLITS), None
        else:
            sizes, weight = list(self.data.sizes), self.data.weight
        parts = list(zip(torch.split(z, sizes), torch.split(y, sizes), strict=True))
        loss = self.risk.value(*parts[0], weight).double()
        rows = loss.new_tensor(sizes)
        by_class = self.data.val_weight
        weighted = [] if by_class is None else [self._weighted(parts[1], by_class)]
        return torch.cat([loss[None], rows, *weighted, *(self.risk.score_sums(*part) for part in parts)])

    def _weighted(self, part: tuple[Tensor, Tensor], by_class: Tensor) -> Tensor:
        z, y = part
        return self.risk.weighted_sums(z, y, by_class if len(z) else by_class[:0])

    def measures(self, sums: Tensor) -> dict[str, float | None]:
        """Return ``train_loss``, ``train_accuracy``, ``val_accuracy`` and ``test_accuracy``; the loss is weighted.

        Args:
            sums: What :meth:`sums` returned, added up over all processes.

        Returns:
            The measures; ``None`` for a split without rows. Where classes have weights, ``val_score`` too: the share of
            validation rows that are right, each counted as often as its class weighs.
        """
        loss, rows, rest = sums[0], sums[1 : 1 + len(SPLITS)], sums[1 + len(SPLITS) :]
        result: dict[str, float | None] = {"train_loss": float(loss / self.data.total_weight)}
        if self.data.val_weight is not None:
            (hits, weight), rest = rest[:2], rest[2:]
            result["val_score"] = float(hits / weight) if weight else None
        scores = rest.chunk(len(SPLITS))
        for split, count, score in zip(SPLITS, rows.tolist(), scores, strict=True):
            result[f"{split}_accuracy"] = self.risk.score(score) if count else None
        return result
