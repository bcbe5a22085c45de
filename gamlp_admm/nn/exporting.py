"""A model's network for programs without this package: as a ``torch.export`` program and as ONNX, compared with it.

Both take the features of any number of nodes, ``[rows, in_channels]``, as the model's transform makes them, and give
``[rows, out_channels]``. The ONNX graph is written node by node: a matrix product a layer and what the activation is.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gamlp_admm.errors import InputError
from gamlp_admm.nn.gamlp import GAMLP
from gamlp_admm.system.files import replacing

TOLERANCE = 1e-5
"""Largest difference between outputs of the model and of what is written, of the largest output, or of 1."""

INPUT, OUTPUT = "features", "outputs"
OPSET, IR_VERSION = 17, 8
"""Of 2022: what ONNX Runtime 1.12 and later read."""

MOST_BYTES = 2**31 - 2**20
"""Of one ONNX file."""


def export(model: GAMLP, kind: str, path: str | Path) -> float:
    """Write a model's network, read it back, and compare both on random rows.

    Args:
        model: The model, on the CPU.
        kind: A name of :data:`KINDS`.
        path: The file, which is replaced as a whole, and only by one that agrees.

    Returns:
        The largest difference, as :data:`TOLERANCE` has it.

    Raises:
        InputError: The file cannot be written, or a package is missing.
        RuntimeError: What was written differs from the model.
    """
    write, read = KINDS[kind]
    content = write(model.eval())
    difference = _difference(model, read(content))
    if not difference < TOLERANCE:
        raise RuntimeError(f"what {kind} computes differs by {difference:.1e} from the model; nothing was written")
    with replacing(Path(path)) as part:
        part.write_bytes(content)
    return difference


@torch.no_grad()
def _difference(model: GAMLP, run: Callable[[Tensor], Tensor]) -> float:
    draw, weight = torch.Generator().manual_seed(0), model.linears[0].weight
    differences = []
    for rows in (1, 100):
        x = torch.randn(rows, weight.shape[1], generator=draw, dtype=torch.float64).to(weight.dtype)
        z = model(x)
        differences.append((run(x) - z).abs().max() / z.abs().max().clamp(min=1))
    return float(torch.stack(differences).max())  # NaN where one is


def to_program(model: GAMLP) -> bytes:
    """Return a ``torch.export`` program, as :func:`torch.export.load` reads it."""
    example, rows = model.linears[0].weight.new_zeros(2, model.config["in_channels"]), torch.export.Dim("rows", min=1)
    program = torch.export.export(model, (example,), dynamic_shapes=({0: rows},))
    content = io.BytesIO()
    torch.export.save(program, content)
    return content.getvalue()


def read_program(content: bytes) -> Callable[[Tensor], Tensor]:
    """Return what a program computes."""
    return torch.export.load(io.BytesIO(content)).module()


def to_onnx(model: GAMLP) -> bytes:
    """Return an ONNX model, whose input is called ``features`` and whose output ``outputs``.

    Raises:
        InputError: The package onnx is missing, or the weights are too many for one file.
    """
    onnx = _package("onnx")
    size = sum(parameter.nbytes for parameter in model.parameters())
    if size > MOST_BYTES:
        raise InputError(f"ONNX files hold 2 GiB, and the weights take {size / 2**30:.1f}; allowed: --to torch")
    helper, graph = onnx.helper, _Graph(onnx, model.linears[0].weight.dtype)
    x = INPUT
    for i, layer in enumerate(model.linears):
        last = i == model.num_layers - 1
        W, b = (graph.constant(f"layers.{i}.{name}", t) for name, t in layer.named_parameters())
        z = graph.node("Gemm", x, W, b, named=OUTPUT if last else None, transB=1)
        if not last:
            a = ACTIVATIONS[model.f.name](graph, z)
            residual = model.network.residual and i > 0 and layer.in_features == layer.out_features
            x = graph.node("Add", a, x) if residual else a
    ends = zip((INPUT, OUTPUT), (model.config["in_channels"], model.config["out_channels"]), strict=True)
    tables = [helper.make_tensor_value_info(name, graph.kind, ["rows", columns]) for name, columns in ends]
    made = helper.make_graph(graph.nodes, "GAMLP", tables[:1], tables[1:], graph.constants)
    opset = helper.make_opsetid("", OPSET)
    whole = helper.make_model(made, opset_imports=[opset], ir_version=IR_VERSION, producer_name="gamlp_admm")
    onnx.checker.check_model(whole)
    content: bytes = whole.SerializeToString()
    return content


def read_onnx(content: bytes) -> Callable[[Tensor], Tensor]:
    """Return what an ONNX model computes by ONNX Runtime.

    Raises:
        InputError: That package is missing.
    """
    session = _package("onnxruntime").InferenceSession(content, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run([OUTPUT], {INPUT: x.numpy()})[0])


def _package(name: str) -> Any:
    try:
        if name == "onnx":
            import onnx
            import onnx.checker
            import onnx.helper

            return onnx
        import onnxruntime

        return onnxruntime
    except ImportError:
        raise InputError(f"ONNX needs the package {name}: pip install 'gamlp-admm[onnx]'") from None


class _Graph:
    """Nodes and constants of an ONNX graph that is made from input to output."""

    def __init__(self, onnx: Any, dtype: torch.dtype) -> None:
        self.onnx, self.dtype = onnx, dtype
        if dtype not in (torch.float32, torch.float64):
            raise InputError(f"ONNX export takes models of float32 and float64, not {dtype}")
        self.kind = onnx.TensorProto.FLOAT if dtype == torch.float32 else onnx.TensorProto.DOUBLE
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def node(self, operation: str, *inputs: str, named: str | None = None, **attributes: Any) -> str:
        """Add a node; return the name of its output."""
        name = named or f"{operation.lower()}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operation, inputs, [name], name=name, **attributes))
        return name

    def constant(self, name: str, value: Tensor) -> str:
        """Add a tensor; return its name."""
        array = np.ascontiguousarray(value.detach().cpu().to(self.dtype).numpy())
        self.constants.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def number(self, value: float) -> str:
        """Return the name of a number, added where it is new."""
        name = f"number_{value:g}"
        known = any(constant.name == name for constant in self.constants)
        return name if known else self.constant(name, torch.tensor(value))


def _hardtanh(graph: _Graph, z: str) -> str:
    return graph.node("Clip", z, graph.number(-1), graph.number(1))


def _leaky_relu(graph: _Graph, z: str) -> str:  # as a maximum: ONNX Runtime has no LeakyRelu in float64
    return graph.node("Max", z, graph.node("Mul", z, graph.number(0.01)))


def _silu(graph: _Graph, z: str) -> str:
    return graph.node("Mul", z, graph.node("Sigmoid", z))


def _gelu(graph: _Graph, z: str) -> str:
    # z Φ(z) = z (1 + erf(z / √2)) / 2; the error function in float32, as ONNX Runtime has no other.
    scaled = graph.node("Mul", z, graph.number(0.5**0.5))
    if graph.dtype == torch.float32:
        error = graph.node("Erf", scaled)
    else:
        single = graph.node("Cast", scaled, to=graph.onnx.TensorProto.FLOAT)
        error = graph.node("Cast", graph.node("Erf", single), to=graph.kind)
    return graph.node("Mul", z, graph.node("Mul", graph.node("Add", error, graph.number(1)), graph.number(0.5)))


ACTIVATIONS: dict[str, Callable[[_Graph, str], str]] = {
    "relu": lambda graph, z: graph.node("Relu", z),
    "leaky_relu": _leaky_relu,
    "hardtanh": _hardtanh,
    "tanh": lambda graph, z: graph.node("Tanh", z),
    "sigmoid": lambda graph, z: graph.node("Sigmoid", z),
    "gelu": _gelu,
    "silu": _silu,
}
"""From a graph and the name of z to the name of f(z)."""

KINDS: dict[str, tuple[Callable[[GAMLP], bytes], Callable[[bytes], Callable[[Tensor], Tensor]]]] = {
    "torch": (to_program, read_program),
    "onnx": (to_onnx, read_onnx),
}
"""How a network is written, and how it is run again, by the name of what it becomes."""
