"""What sessions share whose layers exchange fields: the channel, and the forward pass that they begin with."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from gamlp_admm.admm.state import Block, Land, initial_blocks
from gamlp_admm.nn.network import Weights
from gamlp_admm.parallel.channel import LocalChannel
from gamlp_admm.training.session import Session, Stage


class ExchangingSession(Session):
    """A session whose layers exchange fields.

    Args:
        channel: Carries them between blocks.
    """

    def __init__(self, channel: LocalChannel) -> None:
        self.channel = channel

    @property
    def bytes_sent(self) -> int:
        """See :attr:`Session.bytes_sent`."""
        return self.channel.bytes_sent

    @bytes_sent.setter
    def bytes_sent(self, value: int) -> None:
        self.channel.bytes_sent = value

    def wire_bytes(self) -> dict[int, int]:
        """See :meth:`Session.wire_bytes`."""
        return self.channel.wire_bytes


def as_it_is(field: str, boundary: int, x: Tensor) -> Tensor:
    """Let a variable lie where it comes to lie."""
    return x


def forward_blocks(
    stage: Stage,
    weights: Weights,
    groups: Sequence[range],
    channel: LocalChannel,
    p: Tensor | None,
    num_rows: int,
    land: Land = as_it_is,
) -> list[Block]:
    """Return the blocks of a forward pass through the processes, each starting when the one before it has finished.

    Args:
        stage: The network and the processes; this one owns layers.
        weights: (W, b) of the layers owned.
        groups: The layers of each stack.
        channel: Carries activations.
        p: Features of the rows, ``[N, n_in]``, where the first layer is owned.
        num_rows: Number N of the rows.
        land: Where p and q come to lie.
    """
    layers = stage.team.layers
    if p is None:
        like = stage.data.y.new_empty(1).expand(1, num_rows, weights[0][0].shape[1])
        channel.expect("a", layers[0] - 1, like)
        p = channel.receive("a", layers[0] - 1)[0]
    state = initial_blocks(p, weights, stage.network, groups, len(stage.shapes), land)
    if (s := state[-1]).q is not None:
        output = stage.network.output(s.z[-1:], None if s.is_first else s.p[-1:])
        channel.send("a", layers[-1], output)
    return state
