"""How the processes of a command meet: in a store, where they compare what each was asked for, then as a group.

Each leaves a card in the store (:mod:`gamlp_admm.parallel.agreement`), also one that fails before it could join; so
nobody waits for a process that will not come. One that fails later leaves its error there, for those that lose it.
On one machine nothing listens but on the loopback interface: the store of ``--processes`` is a file in a private
folder, and gloo is told so.
"""

from __future__ import annotations

import gc
import ipaddress
import json
import os
import socket
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.nn.functional  # before a group is made: its default arguments would keep the group alive
from torch._C._distributed_c10d import FileStore, PrefixStore, Store, TCPStore

from gamlp_admm.errors import InputError, Interrupted, NeighbourError, ProcessFailed, ProcessInputError
from gamlp_admm.parallel.agreement import Card, described, failed, own, settle
from gamlp_admm.parallel.team import forget_groups
from gamlp_admm.system import torchrun
from gamlp_admm.system.deferred import forget_unused

POLL = 0.02
"""Seconds between looks at the store: Python hears signals in between."""

BRIEF = 15.0
"""Seconds that a process which fails early waits for others, to tell them."""

SOON = 2.0
"""Seconds in which a process that lost another one looks for the reason."""

HEARD = 5.0
"""Seconds that the process with the store waits for the others to have read it."""


@contextmanager
def joined(device: str, timeout: float, states: Mapping[str, Any]) -> Iterator[Any]:
    """Join the processes of this command; the ``with`` block gets their process group.

    Args:
        device: ``cpu`` (gloo) or ``cuda`` (nccl, one GPU a process).
        timeout: Seconds after which a wait for another process gives up.
        states: What must be the same in all processes, by name.

    Raises:
        InputError: The processes were asked for different runs, the input of one is wrong, or there are fewer GPUs
            here than processes.
        NeighbourError: A process did not come.
        ProcessFailed: Another process failed, and this one lost it.
    """
    _stay_here()
    meeting = Meeting(timeout)
    failure: InputError | None = None
    try:
        _claim(device)
        card = described(states)
    except InputError as error:
        failure, card = error, failed(error)
    cards = meeting.cards(card)
    if failure is not None:
        raise own(failure, cards, meeting.rank)
    settle(cards)
    forget_unused("torch._dynamo")  # which would be used to say that it knows nothing yet
    dist.init_process_group(
        "nccl" if device == "cuda" else "gloo",
        store=PrefixStore("group", meeting.store),
        rank=meeting.rank,
        world_size=meeting.size,
        timeout=timedelta(seconds=timeout),
    )
    try:
        yield dist.group.WORLD
    except NeighbourError as error:
        _let_go(error)
        raise meeting.cause(error) from error
    except Interrupted as error:  # in all of them
        _let_go(error)
        raise
    except BaseException as error:
        meeting.tell(error)
        _let_go(error)
        meeting.leave()
        raise
    else:
        _let_go(None)


def _let_go(error: BaseException | None) -> None:
    """End the process groups: what still refers to them keeps connections open, by which others see that this ends.

    A group that outlives this would also end in the interpreter's last moments, and may abort it.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    forget_groups()
    gc.collect()
    dist.destroy_process_group()


_met: list[Meeting] = []


def tell_others(text: str, wrong_input: bool) -> bool:
    """Tell the processes of this command that this one failed before it could join them.

    Args:
        text: What there is to say.
        wrong_input: Whether the user's input is wrong.

    Returns:
        Whether a process of a lower rank says the same.
    """
    with suppress(Exception):  # it is the end in any case
        if not _met:
            _stay_here()
            meeting = Meeting(BRIEF)
            cards = meeting.cards({"failed": text, "input": wrong_input})
            return any(card.get("failed") == text for card in cards[: meeting.rank])
    return False


class Meeting:
    """The store in which the processes of a command meet.

    Args:
        timeout: Seconds after which a wait for another process gives up.

    Raises:
        InputError: The address is taken, or not this machine's.
        NeighbourError: The first process is not there.
    """

    def __init__(self, timeout: float) -> None:
        _met.append(self)
        self.rank, self.size, self.timeout = torchrun.rank(), torchrun.world_size(), timeout
        self.deadline = time.monotonic() + timeout
        self.serves = self.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
        if torchrun.started_here():
            self.store: Store = FileStore(str(Path(os.environ[torchrun.FOLDER]) / "store"), self.size)
        else:
            attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
            self.store = PrefixStore(f"gamlp-admm/{attempt}", self._network_store())

    def _network_store(self) -> Store:
        host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        descriptor = None
        try:
            if self.serves and _is_loopback(host):
                descriptor = _listening(host, port)
            elif not self.serves:
                self._await_server(host, port)
            limit = timedelta(seconds=self.timeout)
            return TCPStore(
                host, port, self.size, self.serves, limit, wait_for_workers=False, master_listen_fd=descriptor
            )
        except (OSError, RuntimeError) as error:
            if not self.serves:
                raise
            why = "is in use" if "address already in use" in str(error).lower() else f"cannot be opened ({error})"
            raise InputError(f"MASTER_PORT {port} of MASTER_ADDR {host} {why}; allowed: a free port here") from None

    def _await_server(self, host: str, port: int) -> None:
        while True:
            try:
                socket.create_connection((host, port), timeout=1.0).close()
                return
            except OSError as error:
                if time.monotonic() > self.deadline:
                    where = f"MASTER_ADDR {host} and MASTER_PORT {port}"
                    raise NeighbourError(
                        f"rank {self.rank} found no first process at {where} within {self.timeout:g} s ({error})"
                    ) from None
            time.sleep(POLL)

    def cards(self, card: Card) -> list[Card]:
        """Leave this process's card, and return those of all, by rank.

        Raises:
            InputError: Another process has this rank, or another number of processes.
            NeighbourError: A process did not come.
        """
        if self.store.add(f"here-{self.rank}", 1) > 1:
            raise InputError(f"RANK {self.rank} is another process's already; allowed: one process a rank")
        self.store.set(f"card-{self.rank}", json.dumps({**card, "size": self.size}))
        try:
            return [self._card(rank) for rank in range(self.size)]
        finally:
            self._wait_for_all("read")

    def _card(self, rank: int) -> Card:
        key = f"card-{rank}"
        while not self.store.check([key]):
            if time.monotonic() > self.deadline:
                raise NeighbourError(f"rank {self.rank} waited {self.timeout:g} s for rank {rank}, which did not come")
            time.sleep(POLL)
        card: Card = json.loads(self.store.get(key))
        if card["size"] != self.size:
            sizes = f"{card['size']} in rank {rank}; {self.size} in rank {self.rank}"
            raise ProcessInputError(f"the processes differ in WORLD_SIZE ({sizes}); start them with the same")
        return card

    def tell(self, error: BaseException) -> None:
        """Leave this process's error for those that lose it."""
        with suppress(RuntimeError):
            self.store.set("failed", json.dumps({**failed(error), "rank": self.rank}))

    def cause(self, error: NeighbourError) -> Exception:
        """Return the error that a process left, or else what the first one that lost another one says."""
        until = time.monotonic() + SOON
        with suppress(RuntimeError):
            first = self.store.compare_set("lost", "", str(error)).decode()
            while not self.store.check(["failed"]):
                if time.monotonic() > until:
                    return NeighbourError(first)
                time.sleep(POLL)
            card = json.loads(self.store.get("failed"))
            self._wait_for_all("left")
            return ProcessFailed(f"rank {card['rank']}: {card['failed']}", 2 if card["input"] else 1)
        return error

    def leave(self) -> None:
        """Keep the store a moment after a failure, if it is here."""
        self._wait_for_all("left")

    def _wait_for_all(self, what: str) -> None:
        # Counts this process; the one that has the store waits for the others, which could not read it any more.
        with suppress(RuntimeError):
            until, done = time.monotonic() + HEARD, self.store.add(what, 1)
            while self.serves and done < self.size and time.monotonic() < until:
                time.sleep(POLL)
                done = self.store.add(what, 0)


def _claim(device: str) -> None:
    # Takes this process's GPU.
    if device != "cuda":
        return
    if "LOCAL_RANK" not in os.environ:
        raise InputError("device cuda: LOCAL_RANK, which chooses a process's GPU, is not set in the environment")
    local = int(os.environ["LOCAL_RANK"])
    if local >= torch.cuda.device_count():
        raise InputError(f"device cuda: {torch.cuda.device_count()} GPUs here for more processes; allowed: one each")
    torch.cuda.set_device(local)


def _stay_here() -> None:
    # Where all processes are on one machine, nothing is to be reached from another.
    if torchrun.on_one_machine() or _is_loopback(os.environ.get("MASTER_ADDR", "")):
        interface = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), None)
        for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
            if interface is not None and (torchrun.started_here() or variable not in os.environ):
                os.environ[variable] = interface


def _is_loopback(host: str) -> bool:
    # By its words alone: a machine may know its own name by a loopback address, which others know by another.
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listening(host: str, port: int) -> int:
    family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(address)
        server.listen(128)
        return server.detach()
