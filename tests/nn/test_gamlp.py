"""GAMLP: a plain module, drawn deterministically, saved without pickle."""

from __future__ import annotations

import copy
import io
import json
import os
import pickle
import resource
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from problems import F64, forward, randn
from safetensors.torch import save_file
from torch import nn

from gamlp_admm import GAMLP
from gamlp_admm.errors import InputError
from gamlp_admm.nn.activations import ACTIVATIONS


@pytest.mark.parametrize("num_layers", [1, 2, 5])
def test_shapes(num_layers: int) -> None:
    model = GAMLP(7, 5, 3, num_layers)
    widths = [7, *[5] * (num_layers - 1), 3]
    shapes = [(o, i) for i, o in pairwise(widths)]
    assert [tuple(layer.weight.shape) for layer in model.linears] == shapes
    assert model.num_layers == num_layers
    assert model.num_parameters == sum(o * i + o for o, i in shapes)
    assert model(torch.zeros(4, 7)).shape == (4, 3)
    assert model(torch.zeros(0, 7)).shape == (0, 3)
    assert list(model.state_dict()) == [f"layers.{l}.{t}" for l in range(num_layers) for t in ("weight", "bias")]


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_forward(activation: str) -> None:
    model = GAMLP(7, 5, 3, 4, activation).double()
    x = randn(6, 7)
    weights = [(layer.weight, layer.bias) for layer in model.linears]
    assert torch.allclose(model(x), forward(x, weights, ACTIVATIONS[activation]))


def test_it_is_a_plain_module() -> None:
    model = GAMLP(7, 5, 3, 3)
    other = GAMLP(7, 5, 3, 3)
    other.load_state_dict(model.state_dict())
    x = torch.randn(6, 7, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model(x), other(x))
    assert torch.equal(copy.deepcopy(model)(x), model(x))
    assert torch.equal(pickle.loads(pickle.dumps(model))(x), model(x))
    model(x).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert next(GAMLP(7, 5, 3, 3).double().parameters()).dtype == F64


@pytest.mark.parametrize("activation", ["relu", "hardtanh", "gelu"])
def test_export(activation: str) -> None:
    model = GAMLP(7, 5, 3, 3, activation).eval()
    x = torch.randn(6, 7, generator=torch.Generator().manual_seed(0))
    rows = torch.export.Dim("rows", min=2)
    program = torch.export.export(model, (x,), dynamic_shapes=({0: rows},))
    assert torch.equal(program.module()(x), model(x))
    assert torch.allclose(program.module()(x[:3]), model(x[:3]))


@pytest.mark.parametrize("init", ["normal", "kaiming", "identity"])
def test_initialisation(init: str) -> None:
    model = GAMLP(400, 300, 200, 4, init=init).double()
    for i, layer in enumerate(model.linears):
        n_in, W = layer.weight.shape[1], layer.weight.detach()
        assert not layer.bias.any()
        if init == "identity" and 0 < i < 3:
            assert torch.equal(W, torch.eye(300, dtype=F64))
        else:
            std = 0.1 if init == "normal" else (2 / n_in) ** 0.5
            assert W.mean().abs() < 5 * std / W.numel() ** 0.5
            assert W.std().item() == pytest.approx(std, rel=0.02)


def test_identity_hidden_layers_pass_features_on() -> None:
    model = GAMLP(4, 5, 3, 6, init="identity").double()
    first, *_, last = model.linears
    x = randn(8, 4)
    assert torch.allclose(model(x), last(torch.relu(first(x))))


def test_a_generator_makes_it_deterministic() -> None:
    a, b = GAMLP(7, 5, 3, 3), GAMLP(7, 5, 3, 3)
    a.reset_parameters(torch.Generator().manual_seed(4))
    b.reset_parameters(torch.Generator().manual_seed(4))
    assert all(torch.equal(s, t) for s, t in zip(a.parameters(), b.parameters(), strict=True))
    b.reset_parameters(torch.Generator().manual_seed(5))
    assert not torch.equal(a.linears[0].weight, b.linears[0].weight)
    c = GAMLP(7, 5, 3, 3).double()
    c.reset_parameters(torch.Generator().manual_seed(4))  # the same draw in any precision
    assert torch.equal(c.linears[0].weight.float(), a.linears[0].weight)
    torch.manual_seed(4)
    a.reset_parameters()
    state = torch.get_rng_state()
    a.reset_parameters(torch.Generator().manual_seed(4))
    assert torch.equal(torch.get_rng_state(), state)  # the global generator is not touched


def test_initial_weights_of_some_layers() -> None:
    model = GAMLP(7, 5, 3, 5).double()
    drawn = copy.deepcopy(model)
    drawn.reset_parameters(torch.Generator().manual_seed(3))
    for seed, source in ((None, model), (3, drawn)):
        for layers in ([0, 1, 2, 3, 4], [2], [0, 4]):
            pairs = model.initial_weights(layers, seed)
            assert len(pairs) == len(layers)
            for (W, b), l in zip(pairs, layers, strict=True):
                assert torch.equal(W, source.linears[l].weight)
                assert torch.equal(b, source.linears[l].bias)
    (W, _), *_ = model.initial_weights([0], None)
    W.zero_()
    assert model.linears[0].weight.any()  # a copy


def test_set_layer() -> None:
    model = GAMLP(7, 5, 3, 3)
    model.set_layer(1, torch.eye(5), torch.ones(5))
    assert torch.equal(model.linears[1].weight, torch.eye(5))
    assert model.linears[1].weight.requires_grad


@pytest.mark.parametrize("dtype", [torch.float32, F64], ids=str)
def test_save_and_load(dtype: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = GAMLP(7, 5, 3, 4, "tanh", "kaiming").to(dtype)

    def forbidden(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("pickle")

    for name in ("load", "loads", "dump", "dumps", "Pickler", "Unpickler"):
        monkeypatch.setattr(pickle, name, forbidden)
    model.save(tmp_path / "model.safetensors", operator="sym", hops=4, other=None)
    loaded, metadata = GAMLP.load(str(tmp_path / "model.safetensors"))
    assert metadata == {"operator": "sym", "hops": 4, "other": None}
    assert loaded.config == model.config
    assert repr(loaded) == repr(model)
    x = randn(5, 7, dtype=dtype)
    assert torch.equal(loaded(x), model(x))
    assert loaded(x).dtype == dtype


def test_save_to_an_open_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model, buffer = GAMLP(7, 5, 3, 4), io.BytesIO()
    model.save(buffer, operator="sym")
    assert not list(tmp_path.iterdir())
    Path("copy").write_bytes(buffer.getvalue())
    with open("other", "wb") as file:
        model.save(file, operator="sym")
    for path in ("copy", "other"):
        loaded, metadata = GAMLP.load(path)
        assert metadata == {"operator": "sym"}
        assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), model.parameters(), strict=True))


def test_a_failed_save_leaves_the_model_that_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, path = GAMLP(7, 5, 3, 4), tmp_path / "model"
    model.save(path)
    before = path.read_bytes()

    def fail(tensors: Any, part: str, **_: Any) -> None:
        Path(part).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("gamlp_admm.nn.gamlp.save_file", fail)
    with pytest.raises(KeyboardInterrupt):
        model.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    absent = tmp_path / "no" / "folder" / "model"
    with pytest.raises(InputError, match=rf"^{absent} cannot be written \(No such file or directory\)$"):
        model.save(absent)


def write(tensors: dict[str, torch.Tensor], header: dict[str, str] | None, path: Path) -> None:
    save_file(tensors, str(path), metadata=header)


def test_files_that_are_no_models(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    with pytest.raises(InputError, match="no model file"):
        GAMLP.load(path)
    model = GAMLP(4, 3, 2, 2)
    model.save(path)
    content = path.read_bytes()
    config, state = json.dumps(model.config), model.state_dict()
    for bad in (b"", b"hello", content[:-3], content[:20]):
        path.write_bytes(bad)
        with pytest.raises(InputError, match="is not a model saved by gamlp_admm") as error:
            GAMLP.load(path)
        assert "\n" not in str(error.value)
    headers: list[dict[str, str] | None] = [
        None,
        {"gamlp": config},
        {"gamlp": "{", "metadata": "{}"},
        {"gamlp": "[]", "metadata": "{}"},
        {"gamlp": '{"in_channels": 4}', "metadata": "{}"},
        {"gamlp": config.replace('"relu"', '"sine"'), "metadata": "{}"},
        {"gamlp": config.replace('"hidden_channels": 3', '"hidden_channels": 9'), "metadata": "{}"},
        {"gamlp": config, "metadata": "{"},
    ]
    for header in headers:
        write(state, header, path)
        with pytest.raises(InputError, match="is not a model saved by gamlp_admm") as error:
            GAMLP.load(path)
        assert "\n" not in str(error.value)
    write({"other": torch.ones(2)}, {"gamlp": config, "metadata": "{}"}, path)
    with pytest.raises(InputError, match="is not a model saved by gamlp_admm"):
        GAMLP.load(path)
    with pytest.raises(InputError, match=r"is not a model saved by gamlp_admm|no model file"):
        GAMLP.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("in_channels", 10**9),
        ("hidden_channels", 30_000),
        ("out_channels", 10**12),
        ("num_layers", 10**9),
        ("num_layers", 3),
        ("residual", "no"),
        ("hidden_channels", 2**70),
    ],
)
def test_sizes_that_only_the_header_has_are_not_made(name: str, value: Any, tmp_path: Path) -> None:
    # 30,000 neurons of 3 layers are 7.2 GB; the file has 700 bytes.
    model, path = GAMLP(4, 3, 2, 3 if name != "num_layers" else 2), tmp_path / "model"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    write(model.state_dict(), {"gamlp": json.dumps({**model.config, name: value}), "metadata": "{}"}, path)
    with pytest.raises(InputError, match="is not a model saved by gamlp_admm"):
        GAMLP.load(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_loading_draws_no_random_numbers(tmp_path: Path) -> None:
    GAMLP(4, 3, 2, 2).save(tmp_path / "model")
    before = torch.get_rng_state()
    GAMLP.load(tmp_path / "model")
    assert torch.equal(before, torch.get_rng_state())


def test_a_model_is_read_from_an_open_file_and_a_pipe(tmp_path: Path) -> None:
    model, buffer, pipe = GAMLP(7, 5, 3, 4), io.BytesIO(), tmp_path / "pipe"
    model.save(buffer, operator="sym")
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_bytes, args=(buffer.getvalue(),), daemon=True).start()
    for source in (io.BytesIO(buffer.getvalue()), pipe):
        loaded, metadata = GAMLP.load(source)
        assert metadata == {"operator": "sym"}
        assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), model.parameters(), strict=True))


@pytest.mark.parametrize("value", ["no", 1, None, []])
def test_residual_is_true_or_false(value: Any) -> None:
    with pytest.raises(InputError, match="residual must be True or False, not"):
        GAMLP(4, 3, 2, 2, residual=value)


def test_a_network_that_no_memory_holds() -> None:
    with pytest.raises(InputError, match=r"hidden_channels 1,000,000,000, .*no memory for it"):
        GAMLP(4, 10**9, 2, 3)


@pytest.mark.parametrize("size", ["in_channels", "hidden_channels", "out_channels", "num_layers"])
@pytest.mark.parametrize("value", [0, -1, 2.0, "3", None, True])
def test_bad_sizes(size: str, value: Any) -> None:
    sizes = {"in_channels": 4, "hidden_channels": 3, "out_channels": 2, "num_layers": 2, size: value}
    with pytest.raises(InputError, match=rf"{size} must be a positive integer, not"):
        GAMLP(**sizes)


def test_bad_names() -> None:
    with pytest.raises(InputError, match=r"unknown activation 'sine'.*allowed: relu, leaky_relu"):
        GAMLP(4, 3, 2, 2, "sine")
    with pytest.raises(InputError, match=r"unknown init 'kaimin': did you mean 'kaiming'\?"):
        GAMLP(4, 3, 2, 2, init="kaimin")


def test_repr_is_the_constructor_call() -> None:
    model = GAMLP(4, 3, 2, 2, "gelu", "identity")
    assert eval(repr(model)).config == model.config
    assert isinstance(model.layers, nn.ModuleList)
