"""The end of a run: the model receives the trained weights, from whichever processes have them."""

from __future__ import annotations

from torch import Tensor

from gamlp_admm.nn.gamlp import GAMLP
from gamlp_admm.nn.network import Weights, finite
from gamlp_admm.parallel.team import Pair, Team
from gamlp_admm.training.growth import kept, passing, shapes

GATHERS = ("all", "first", "none")
"""Which processes' models receive all layers."""


def gather(model: GAMLP, weights: Weights, depth: int, team: Team, how: str, like: Tensor, alone: bool = False) -> bool:
    """Give a model the weights of a network of ``depth`` layers, and layers that pass their input on for the rest.

    Args:
        model: The model.
        weights: (W, b) of the layers that this process owns.
        depth: Depth of the trained network.
        team: The processes, and the layers of each.
        how: One of :data:`GATHERS`; with ``none`` every model receives the layers that its process owns.
        like: Gives dtype and device.
        alone: Whether other processes do not take part: each for itself then, as with ``none``.

    Returns:
        Whether the model has them. It is left as it was where some, in any process, are of another depth, as when a
        process is lost while the network grows, or are no finite numbers in the model's dtype.
    """
    trained = shapes(model.config, depth)
    fit = [W.shape for W, _ in weights] == [trained[layer] for layer in team.layers]
    held = fit and finite(weights, model.linears[0].weight.dtype)
    if not (held if alone else team.maximum(float(not held)) == 0):
        return False
    own = dict(zip(team.layers, weights, strict=True))
    sources = {layer: source for source, layer in enumerate(kept(model.num_layers, depth))}
    width = model.config["hidden_channels"]
    for layer in range(model.num_layers):
        pair: Pair | None
        if layer not in sources:
            pair = passing(model.network, (width, width), like)
        else:
            source = sources[layer]
            pair = own.get(source)
            if how != "none" and not alone:
                pair = _shared(team, source, pair, trained[source], like)
        if pair is not None and (how != "first" or alone or team.rank == 0):
            model.set_layer(layer, *pair)
    return True


def _shared(team: Team, layer: int, pair: Pair | None, shape: tuple[int, int], like: Tensor) -> Pair:
    # What the owner of a layer has, in every process.
    W, b = (like.new_empty(shape), like.new_empty(shape[0])) if pair is None else pair
    pair = (W.contiguous(), b.contiguous())
    team.share_layer(layer, pair)
    return pair
