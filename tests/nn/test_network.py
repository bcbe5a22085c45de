"""The forward pass: written out, in parts, and started from pre-activations that were computed elsewhere."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from problems import forward, randn, random_weights

from gamlp_admm import GAMLP
from gamlp_admm.nn import Network, activation
from gamlp_admm.nn.network import linears

WIDTHS = [5, 5, 5, 6, 6, 3]


@pytest.mark.parametrize("f", ["relu", "tanh"])
def test_it_is_the_papers(f: str) -> None:
    x, weights = randn(7, 5), random_weights(WIDTHS)
    assert torch.allclose(Network(activation(f)).forward(x, linears(weights)), forward(x, weights, activation(f)))


def test_residual_connections_join_equal_widths_after_the_first_layer() -> None:
    x, weights = randn(7, 5), random_weights(WIDTHS)
    z = [lambda a, W=W, b=b: a @ W.T + b for W, b in weights]
    first = torch.relu(z[0](x))  # as wide as its input, which is the features
    second = torch.relu(z[1](first)) + first
    third = torch.relu(z[2](second))
    fourth = torch.relu(z[3](third)) + third
    network = Network(activation("relu"), residual=True)
    assert torch.allclose(network.forward(x, linears(weights)), z[4](fourth))


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("cut", range(1, 5))
def test_parts_of_the_layers_make_the_whole_to_the_bit(cut: int, residual: bool) -> None:
    x, layers, network = randn(7, 5), linears(random_weights(WIDTHS)), Network(activation("relu"), residual)
    a = network.forward(x, layers[:cut], 0, last=False)
    assert torch.equal(network.forward(a, layers[cut:], cut), network.forward(x, layers))


def test_the_model_is_the_same_function() -> None:
    model = GAMLP(5, 6, 3, 4, residual=True)
    x, weights = randn(7, 5, dtype=torch.float32), [(l.weight, l.bias) for l in model.linears]
    assert torch.equal(model(x), model.network.forward(x, linears(weights)))


def test_a_model_with_residual_connections_can_be_exported() -> None:
    model, x = GAMLP(5, 6, 3, 4, residual=True), randn(7, 5, dtype=torch.float32)
    exported: Any = torch.export.export(model, (x,))
    assert torch.equal(exported.module()(x), model(x))


def test_hooks_of_the_model_s_layers_are_called() -> None:
    model, seen = GAMLP(5, 6, 3, 4), []
    for layer in model.linears:
        layer.register_forward_hook(lambda *call: seen.append(call))
    model(randn(7, 5, dtype=torch.float32))
    assert len(seen) == 4
