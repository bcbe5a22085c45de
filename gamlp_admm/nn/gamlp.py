"""GAMLP: the multi-layer perceptron that runs on augmented node features."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save, save_file
from torch import Tensor, nn

from gamlp_admm.errors import InputError, file_name, flag, positive_integer, unknown
from gamlp_admm.nn import activations
from gamlp_admm.nn.activations import Activation
from gamlp_admm.nn.metadata import packed, unpacked
from gamlp_admm.nn.network import Network, Weights
from gamlp_admm.system.files import replacing

INITS = ("normal", "kaiming", "identity", "ridge")


class GAMLP(nn.Module):
    """Graph-augmented MLP: ``z_l = p_l W_lᵀ + b_l``, ``p_{l+1} = f(z_l)``, applied to each node's row.

    A plain ``torch.nn.Module``: it knows nothing of how it is trained, and ``state_dict``, ``torch.export`` and any
    torch optimiser work on it.

    Source: GA-MLP, Chen, Chen, Bruna, ICLR 2021, arXiv 2010.15116.

    Args:
        in_channels: Columns of the augmented features, e.g. ``(hops + 1) * F``.
        hidden_channels: Neurons of each hidden layer.
        out_channels: Classes, labels or regression targets.
        num_layers: Linear layers L ≥ 1.
        activation: ``relu``, ``leaky_relu``, ``hardtanh``, ``tanh``, ``sigmoid``, ``gelu`` or ``silu``.
        init: ``normal`` (the papers': N(0, 0.1²)), ``kaiming`` (N(0, 2/n_in)), or ``identity`` (``kaiming`` first and
            last layers, and hidden layers that pass their input on). Biases start at zero. With ``ridge`` training
            starts from a closed form of the data and labels (:mod:`gamlp_admm.algorithms.start`); until then weights
            are as with ``kaiming``.
        residual: Whether hidden layers between equal widths, all but the first, add their input to their output:
            ``p_{l+1} = f(z_l) + p_l``. With ``kaiming`` their weights are then drawn smaller, from N(0, 2/(n_in L)).

    Shape:
        ``[N, in_channels] → [N, out_channels]``.

    Raises:
        InputError: A size is not a positive integer, or a name is not known.

    Example:
        >>> import io, torch
        >>> from gamlp_admm import GAMLP
        >>> model = GAMLP(in_channels=12, hidden_channels=8, out_channels=3, num_layers=4)
        >>> x = torch.randn(5, 12)
        >>> model(x).shape
        torch.Size([5, 3])
        >>> file = io.BytesIO()  # or a file's name
        >>> model.save(file, note="JSON values")
        >>> again, kept = GAMLP.load(io.BytesIO(file.getvalue()))
        >>> torch.equal(again(x), model(x)), kept
        (True, {'note': 'JSON values'})
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        out_channels: int,
        num_layers: int,
        activation: str = "relu",
        init: str = "normal",
        residual: bool = False,
    ) -> None:
        super().__init__()
        sizes = {
            "in_channels": in_channels,
            "hidden_channels": hidden_channels,
            "out_channels": out_channels,
            "num_layers": num_layers,
        }
        sizes = {name: positive_integer(name, size) for name, size in sizes.items()}
        in_channels, hidden_channels, out_channels, num_layers = sizes.values()
        if init not in INITS:
            raise unknown("init", init, INITS)
        flag("residual", residual)
        self.config: dict[str, Any] = {**sizes, "activation": activation, "init": init, "residual": bool(residual)}
        self.network = Network(activations.activation(activation), residual)
        widths = [in_channels, *[hidden_channels] * (num_layers - 1), out_channels]
        try:
            torch.empty(sum((i + 1) * o for i, o in pairwise(widths)))  # which takes address space alone
            self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(widths))
            self.reset_parameters()
        except (RuntimeError, OverflowError, TypeError) as error:  # of torch's allocator
            why = str(error).partition("\n")[0]
            raise InputError(f"{', '.join(f'{k} {n:,}' for k, n in sizes.items())}: no memory for it ({why})") from None

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draw the weights anew.

        Args:
            generator: Source of randomness on the CPU; torch's global one if ``None``.
        """
        if generator is None and self.linears[0].weight.is_meta:  # there is no storage, and none is wanted
            return
        for i in range(len(self.layers)):
            self.set_layer(i, *self._draw(i, generator))

    def _draw(self, i: int, generator: torch.Generator | None, unit_rows: bool = False) -> tuple[Tensor, Tensor]:
        n_out, n_in = self.linears[i].weight.shape
        where: dict[str, Any] = {"dtype": torch.float64, "device": "cpu"}  # whatever the default device
        hidden, residual = 0 < i < len(self.layers) - 1, self.network.residual
        if self.config["init"] == "identity" and hidden:
            W = (torch.zeros if residual else torch.eye)(n_out, n_in, **where)
        else:
            # N(0, 2/n_in) keeps the mean square of entries, N(0, 2/n_out) that of rows
            fan = n_out if unit_rows and i == 0 else n_in * len(self.layers) if residual and hidden else n_in
            std = 0.1 if self.config["init"] == "normal" else math.sqrt(2 / fan)
            W = std * torch.randn(n_out, n_in, generator=generator, **where)
        return W, torch.zeros(n_out, **where)

    def initial_weights(self, layers: Sequence[int], seed: int | None, unit_rows: bool = False) -> Weights:
        """Return (W, b) of some layers to start training from, holding no others in memory.

        Args:
            layers: Numbers of the layers, rising.
            seed: Draws weights as :meth:`reset_parameters` with this seed does; ``None`` for those of the model.
            unit_rows: Draws the first layer for inputs whose rows, not entries, have mean square 1.
        """
        if seed is None:
            return [(self.linears[i].weight.detach().clone(), self.linears[i].bias.detach().clone()) for i in layers]
        generator = torch.Generator("cpu").manual_seed(seed)
        dtype = self.linears[0].weight.dtype
        drawn = ((i, self._draw(i, generator, unit_rows)) for i in range(len(self.layers)))
        return [(W.to(dtype), b.to(dtype)) for i, (W, b) in drawn if i in layers]

    def forward(self, x: Tensor) -> Tensor:
        """Return outputs (logits for classification) ``[N, out_channels]`` of features ``x`` ``[N, in_channels]``."""
        return self.network.forward(x, self.linears)

    @property
    def f(self) -> Activation:
        """The activation."""
        return self.network.f

    @property
    def linears(self) -> list[nn.Linear]:
        """The layers, first to last."""
        return [cast(nn.Linear, layer) for layer in self.layers]

    @property
    def num_layers(self) -> int:
        """Number of linear layers L."""
        return len(self.layers)

    @property
    def num_parameters(self) -> int:
        """Number of weights and biases."""
        return sum(p.numel() for p in self.parameters())

    @torch.no_grad()
    def set_layer(self, i: int, W: Tensor, b: Tensor) -> None:
        """Copy the weights and biases of layer ``i`` (from 0) into the model."""
        layer = self.linears[i]
        layer.weight.copy_(W)
        layer.bias.copy_(b)

    def save(
        self,
        path: str | Path | IO[bytes],
        *,
        features: Any = None,
        class_names: Sequence[str] | None = None,
        **metadata: Any,
    ) -> None:
        """Write the model to one safetensors file (no pickle), which replaces as a whole what was there.

        With ``features``, :func:`gamlp_admm.load_predictor` makes of the file what predicts on any graph.

        Args:
            path: The file, or an open one, such as ``io.BytesIO``, to write to.
            features: The transform that made the model's features, or a
                :class:`torch_geometric.transforms.Compose` of several; of those that take something from the graph
                (:func:`gamlp_admm.transforms.fit_features` tells) as fitted.
            class_names: A name for each output.
            metadata: What else to keep with it, JSON values and tensors. A predictor reads ``loss``, a name of
                :data:`gamlp_admm.nn.RISKS` if the model was not trained by cross-entropy; ``weight_attr``, the
                attribute of the graph that holds the weights of edges; ``feature_names``; and ``correct_and_smooth``,
                the options of :class:`~gamlp_admm.transforms.CorrectAndSmooth`.

        Raises:
            InputError: The file cannot be written, or something given cannot be kept.
        """
        known = {"features": features, "class_names": None if class_names is None else [*map(str, class_names)]}
        metadata |= {name: value for name, value in known.items() if value is not None}
        if class_names is not None and len(class_names) != self.config["out_channels"]:
            raise InputError(f"{len(class_names)} class_names for a model of {self.config['out_channels']} outputs")
        text, tensors = packed(metadata)
        tensors |= {name: t.detach().cpu().contiguous() for name, t in self.state_dict().items()}
        header = {"gamlp": json.dumps(self.config), "metadata": text}
        if hasattr(path, "write"):
            path.write(save(tensors, header))
            return
        with replacing(Path(file_name("path", path))) as part:
            save_file(tensors, str(part), metadata=header)

    @classmethod
    def load(cls, path: str | Path | IO[bytes]) -> tuple[GAMLP, dict[str, Any]]:
        """Read a model that :meth:`save` wrote.

        Args:
            path: The file, or an open one to read from.

        Returns:
            The model, and the metadata that was saved with it, transforms as their recipes.

        Raises:
            InputError: The file is missing or is not such a model.
        """
        try:
            with _regular(path) as name, safe_open(name, framework="pt") as file:
                header = file.metadata() or {}
                config = json.loads(header["gamlp"])
                metadata, others = unpacked(header["metadata"], file)
                # What the header says of sizes is compared with the tensors before there is memory taken for it.
                found = {key: file.get_slice(key).get_shape() for key in {*file.keys()} - others}
                if len(found) != 2 * positive_integer("num_layers", config["num_layers"]):
                    raise ValueError(f"{len(found)} tensors for {config['num_layers']} layers")
                with torch.device("meta"):
                    model = cls(**config)
                for key, wanted in model.state_dict().items():
                    if found.get(key) != [*wanted.shape]:
                        raise ValueError(f"{key} has shape {found.get(key)}, not {[*wanted.shape]}")
                dtype = file.get_tensor("layers.0.weight").dtype
                tensors = {key: file.get_tensor(key).to(dtype, copy=True) for key in found}  # not mapped from the file
                model.load_state_dict(tensors, assign=True)
            return model, metadata
        except FileNotFoundError:
            raise InputError(f"no model file {path}") from None
        except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
            why = " ".join(str(error).split()) or type(error).__name__
            raise InputError(f"{path} is not a model saved by gamlp_admm ({why})") from None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.config.items())})"


@contextmanager
def _regular(path: str | Path | IO[bytes]) -> Iterator[str]:
    """Give the name of a file that can be mapped into memory: of a pipe, or an open file, that of a copy."""
    if isinstance(path, str | os.PathLike):
        path = Path(path)
        if path.is_file() or path.is_dir() or not path.exists():
            yield str(path)
            return
    if not hasattr(path, "read"):
        file_name("path", path)  # which says what it is
    opened = path.open("rb") if isinstance(path, Path) else nullcontext(path)
    with tempfile.NamedTemporaryFile() as copy, opened as source:
        shutil.copyfileobj(source, copy)
        copy.flush()
        yield copy.name
