"""What the processes of the parallel tests run, and how they start."""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
import time
from dataclasses import replace
from datetime import timedelta
from multiprocessing import forkserver
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import minibatches
import torch
import torch.distributed as dist
from torch import multiprocessing

from gamlp_admm import GAMLP, MDLAM, Anderson, DlADMM, PdADMMG, Result
from gamlp_admm.admm.solving import FitPlan, plan
from gamlp_admm.algorithms import ADMMSession
from gamlp_admm.datasets import load_graph
from gamlp_admm.errors import InputError, NeighbourError
from gamlp_admm.experiment import runner, source
from gamlp_admm.optim import BADM, SISA
from gamlp_admm.parallel.first import is_first
from gamlp_admm.training import sharing
from gamlp_admm.training.session import Stage


class Wide(PdADMMG):
    """pdADMM-G as if the features were too wide to factor."""

    def plan(self, stage: Stage) -> FitPlan:
        rows, columns = stage.num_train, stage.shapes[0][1]
        return plan(rows, columns, stage.shapes[0][0], sharded=stage.team.num_shards > 1, must=True, most_bytes=0)


RULES = ("linesearch", "backtracking", "exact")
PENALTIES = {"rho": 0.1, "mu": 0.01, "tau": 0.1}
TRAINERS: dict[str, Any] = {
    **{rule: PdADMMG(**PENALTIES, nu=0.1, solver=rule) for rule in RULES},
    "iterative": Wide(**PENALTIES, nu=0.1),
    "dladmm": DlADMM(**PENALTIES, nu=0.1),
    "dladmm l1": DlADMM(**PENALTIES, nu=0.1, solver="linesearch", regularizer="l1"),
    "mdlam": MDLAM(**PENALTIES, epsilon=0.1),
    "batches": PdADMMG(**PENALTIES, nu=0.1, batch_size=40),
    "batches dladmm": DlADMM(**PENALTIES, nu=1.0, batch_size=40),
    "start": PdADMMG(**PENALTIES, nu=0.1),
    "start dladmm": DlADMM(**PENALTIES, nu=0.1, scale="unit"),
    "stale": PdADMMG(**PENALTIES, nu=0.1, staleness=1),
    "anderson pdadmm": Anderson(PdADMMG(**PENALTIES, nu=0.1), 3),
    "anderson dladmm": Anderson(DlADMM(**PENALTIES, nu=0.1, solver="linesearch"), 3),
    "anderson mdlam": Anderson(MDLAM(**PENALTIES, epsilon=0.1, epsilon_min=0.1), 3),
}
CODED = {
    f"coded {i}": PdADMMG(**PENALTIES, nu=0.1, codec=spec) for i, spec in enumerate(("int4-delta", "grid:auto:256"))
}
CODED["coded stale"] = PdADMMG(**PENALTIES, nu=0.1, codec="int2-delta", staleness=1)
CODED["coded budget"] = PdADMMG(**PENALTIES, nu=0.1, codec="auto", bytes=12_000)
METRICS = {"start": "roc_auc", "exact": "f1_macro", "mdlam": "loss"}
"""What selects: of those trained by the others accuracy."""

GROWTHS = {1: None, 2: None, 5: (2, 5), 10: (2, 5, 10)}
CASES = [(rule, layers, hidden) for rule in RULES for layers in GROWTHS for hidden in (8, 7)]
CASES += [(name, layers, 8) for name in TRAINERS if name not in RULES for layers in (2, 5)]
CASES += [("start", layers, 16) for layers in (1, 2, 10)]


def iterations(name: str, usual: int) -> int:
    """Return how many iterations a trainer makes: fewer where each is many, a pass over batches."""
    return usual - 3 if name.startswith("batches") else usual


def data(dtype: torch.dtype = torch.float32) -> SimpleNamespace:
    """Return 150 nodes of 4 classes; 61 of them train, an odd number."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(150, 30, generator=generator, dtype=dtype)
    masks = torch.zeros(3, 150, dtype=torch.bool)
    masks[0, :61], masks[1, 61:100], masks[2, 100:] = True, True, True
    y = x[:, :4].argmax(1)
    return SimpleNamespace(x=x, y=y, train_mask=masks[0], val_mask=masks[1], test_mask=masks[2])


def train(
    name: str, layers: int, hidden: int, dtype: torch.dtype = torch.float32, **options: Any
) -> tuple[GAMLP, Result]:
    """Train a network on :func:`data`; only the first process gets the data."""
    model = GAMLP(30, hidden, 4, layers, init="ridge" if name.startswith("start") else "kaiming").to(dtype)
    first = not dist.is_initialized() or dist.get_rank() == 0
    options = {"iterations": iterations(name, 5), "seed": 0, "grow": GROWTHS[layers], "timeout": 60.0} | options
    options["metric"] = METRICS.get(name, "accuracy")
    return model, {**TRAINERS, **CODED}[name].fit(model, data(dtype) if first else None, **options)


def outcome(model: GAMLP, result: Result) -> dict[str, Any]:
    """Return what must not depend on the number of processes."""
    history = [{k: v for k, v in record.items() if k != "seconds"} for record in result.history]
    weights = {name: t.clone() for name, t in model.state_dict().items()}
    return {
        "history": history,
        "best": result.best,
        "weights": weights,
        "predictions": model(data(weights["layers.0.weight"].dtype).x),
    }


def bits(rank: int, folder: str) -> None:
    """Train every case and save its outcome."""
    results = {}
    for case in CASES:
        model, result = train(*case, process_group=dist.group.WORLD)
        wire = sum(sum(process["wire_bytes"].values()) for process in result.processes)
        results[case] = outcome(model, result) | {"wire": wire}
    torch.save({str(case): r for case, r in results.items()}, f"{folder}/bits-{rank}.pt")


def shards(rank: int, folder: str, node_shards: int, hidden: int, weight: torch.Tensor | None) -> None:
    """Train with the rows divided too."""
    results = {}
    for name in TRAINERS:
        options = {"process_group": dist.group.WORLD, "node_shards": node_shards, "timeout": 20.0}
        options["node_weight"] = weight
        model, result = train(name, 5, hidden, torch.float64, iterations=iterations(name, 4), **options)
        results[name] = outcome(model, result) | {"processes": result.processes}
    torch.save(results, f"{folder}/shards-{rank}.pt")


def from_store(rank: int, folder: str, path: str, node_shards: int) -> None:
    """Train on rows that the first process sends, and on those that each reads itself; note bits and what was read."""
    opened, read = sharing._opened, list[str]()
    results: dict[Any, Any] = {}

    def noting(file: sharing.FeatureFile) -> torch.Tensor:
        read.append(file[0])
        return opened(file)

    sharing._opened = noting
    options: dict[str, Any] = {"process_group": dist.group.WORLD, "node_shards": node_shards, "timeout": 60.0}
    options["seed"] = 0
    for name in ("start", "batches", "iterative"):
        for kind in ("sent", "read", "paged"):
            given = data() if kind == "sent" else load_graph(path).data
            model, memory = GAMLP(30, 8, 4, 3, init="ridge"), 64 if kind == "paged" else None
            result = TRAINERS[name].fit(model, given if rank == 0 else None, 3, memory=memory, **options)
            results[name, kind] = outcome(model, result) | {"read": len(read)}
            read.clear()
    try:
        PdADMMG().fit(GAMLP(30, 8, 4, 3), load_graph(f"{path}-wrong").data if rank == 0 else None, 1, **options)
    except InputError as error:
        results["error"] = str(error)
    torch.save(results, f"{folder}/from-store-{rank}.pt")


RESUMED = {"iterations": 4, "grow": (2, 5), "hidden": 16, "layers": 5}
STOP = 6
"""An iteration of the second stage."""


def stopped(name: str, folder: str | Path, **options: Any) -> None:
    """Train up to an iteration of the second stage, and leave a checkpoint."""
    stop = [lambda progress: progress.record["iteration"] >= STOP]
    train(name, checkpoint_dir=folder, checkpoint_every=STOP - 1, callbacks=stop, **RESUMED, **options)


def going_on(
    rank: int, folder: str, names: list[str], come_from: str | None, leave: str | None, node_shards: int = 1
) -> None:
    """Go on from copies of the checkpoints of some trainers in ``come_from``, and leave others in ``leave``."""
    results, options = {}, {"process_group": dist.group.WORLD, "node_shards": node_shards}
    for name in names:
        if come_from is not None:
            place = Path(folder, f"from-{come_from}-{dist.get_world_size()}", name)
            if rank == 0:
                shutil.copytree(Path(folder, come_from, name), place)
            results[name] = outcome(*train(name, checkpoint_dir=place, resume=True, **options, **RESUMED))
        if leave is not None:
            stopped(name, Path(folder, leave, name), **options)
    torch.save(results, f"{folder}/{come_from}-{dist.get_world_size()}-{rank}.pt")


def options(rank: int, folder: str) -> None:
    """Train with an explicit balance, a trace, and nothing gathered; note what each process has."""
    group = dist.group.WORLD
    model, result = train(
        "linesearch", 5, 8, grow=None, process_group=group, balance=(1, 4), gather="none", trace_dir=folder
    )
    start = GAMLP(30, 8, 4, 5, init="kaiming")
    start.reset_parameters(torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    untouched = GAMLP(30, 8, 4, 5, init="kaiming").state_dict()
    torch.save(
        {"weights": model.state_dict(), "untouched": untouched, "processes": result.processes},
        f"{folder}/options-{rank}.pt",
    )


def experiment(rank: int, folder: str) -> None:
    """Run an experiment and go on from its checkpoint; note what each process loads, makes and holds."""
    loads, load = [], source.load_dataset

    def counting(*arguments: Any, **options: Any) -> Any:
        loads.append(1)
        return load(*arguments, **options)

    source.load_dataset = counting
    plan = runner.Experiment(dataset="karate", layers=4, grow="none", iterations=3, checkpoint=f"{folder}/kept")
    group = dist.group.WORLD
    done = runner.run(plan, process_group=group)
    again = runner.run(replace(plan, iterations=5, resume=True), process_group=group)
    note = {
        "first": is_first(group),
        "loads": len(loads),
        "devices": {str(p.device) for p in done.model.parameters()},
        "weights": {} if done.model.linears[0].weight.is_meta else done.model.state_dict(),
        "report": done.report,
        "again": again.report,
    }
    torch.save(note, f"{folder}/experiment-{rank}.pt")


def failing(rank: int, folder: str, how: str) -> None:
    """Let rank 1 die, raise or hang in iteration 3; note what rank 0 says and how long it took."""

    def fail(progress: Any) -> None:
        if dist.get_rank() == 1 and progress.record["iteration"] == 3:
            if how == "dies":
                os._exit(3)
            if how == "raises":
                raise ValueError("boom")
            time.sleep(8)

    begin = time.monotonic()
    try:
        train("linesearch", 5, 8, grow=None, process_group=dist.group.WORLD, callbacks=[fail], timeout=2.0)
    except (NeighbourError, ValueError) as error:
        note = {"message": str(error), "seconds": time.monotonic() - begin}
        Path(f"{folder}/failing-{rank}.json").write_text(json.dumps(note))
    os._exit(0)  # as a process does that stops at once


def _asked(**options: Any) -> dict[str, Any]:
    return {"model": GAMLP(30, 8, 4, 4, init="kaiming"), "trainer": PdADMMG(), "data": data()} | options


DISAGREEING: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "width": ("hidden_channels (8 in rank 0; 9 in rank 1)", {}, {"model": GAMLP(30, 9, 4, 4, init="kaiming")}),
    "depth": ("num_layers (4 in rank 0; 5 in rank 1)", {}, {"model": GAMLP(30, 8, 4, 5, init="kaiming")}),
    "type": ("dtype (torch.float64 in rank 0", {"model": GAMLP(30, 8, 4, 4, init="kaiming").double()}, {}),
    "penalty": ("rho (0.5 in rank 0; ", {"trainer": PdADMMG(rho=0.5)}, {}),
    "algorithm": ("algorithm (pdadmm-g in rank 0; dladmm in rank 1)", {}, {"trainer": DlADMM()}),
    "seed": ("seed (0 in rank 0; 1 in rank 1)", {}, {"seed": 1}),
    "start": ("the model's weights (", {"seed": None}, {"seed": None}),
    "iterations": ("iterations (3 in rank 0; 4 in rank 1)", {}, {"iterations": 4}),
    "growth": ("stages (", {"grow": (2, 4)}, {}),
    "groups": ("timeout (60.0 in rank 0; 50.0 in rank 1)", {}, {"timeout": 50.0}),
    "shards": ("node_shards (1 in rank 0; 2 in rank 1)", {}, {"node_shards": 2}),
    "checkpoint": ("checkpoint_dir (none in rank 0; given in rank 1)", {}, {"checkpoint_dir": "nowhere"}),
    "classes": ("class_weight (", {}, {"trainer": PdADMMG(class_weight=torch.tensor([1.0, 1.0, 1.0, 1.0000001]))}),
    "rows": ("data.x (150×30 float32 ", {}, {"data": data(torch.float64)}),
    "labels": ("data.y (150 int64 ", {}, {"data": SimpleNamespace(**{**vars(data()), "y": data().y.flip(0)})}),
}
"""By name: what is said, and what the first and the second process ask for beside the same."""


def disagreeing(rank: int, folder: str) -> None:
    """Ask for different things in two processes; note what each says, and whether they can train together then."""
    wrong = {"wrong": ("", {}, {"select": "worst"}), "broken": ("", {}, {"grow": (1 // 0 for _ in "2")})}
    said: dict[str, Any] = {}
    torch.manual_seed(rank)
    for name, (_, *both) in {**DISAGREEING, **wrong}.items():
        asked = _asked(iterations=3, seed=0, grow=None, timeout=60.0) | both[rank]
        trainer = asked.pop("trainer")
        try:
            trainer.fit(**asked, process_group=dist.group.WORLD)
        except Exception as error:
            said[name] = f"{type(error).__name__}: {error}"
    _, result = train("linesearch", 2, 8, process_group=dist.group.WORLD, iterations=3)
    said["then"] = result.last["iteration"]
    Path(f"{folder}/disagreeing-{rank}.json").write_text(json.dumps(said))


def _process(rank: int, size: int, folder: str, function: Any, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", size)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=timedelta(seconds=60))
    function(rank, folder, *arguments)
    gc.collect()  # nothing may keep a group alive until the interpreter ends
    dist.destroy_process_group()


def spawn(size: int, folder: Path, function: Any, *arguments: Any, timeout: float = 100.0, check: bool = True) -> None:
    """Run ``function(rank, folder, *arguments)`` in processes of one group; end them all after ``timeout`` seconds.

    They are forks of a process that has only imported this module: as new as started ones, without seconds of imports.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with patch.dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)):  # which it would not find otherwise
        forkserver.ensure_running()
    processes = [
        context.Process(target=_process, args=(rank, size, str(folder), function, arguments)) for rank in range(size)
    ]
    for process in processes:
        process.start()
    try:
        deadline = time.monotonic() + timeout
        for process in processes:
            process.join(max(0.0, deadline - time.monotonic()))
        if check:
            assert [process.exitcode for process in processes] == [0] * size
    finally:
        for process in processes:
            process.kill()
            process.join()
            process.close()


CODECS = [
    *("fp16", "bf16", "int8", "int4", "int2", "int8-delta", "int4-delta", "int2-delta", "int4:3-delta"),
    *("changed:0.3:int2-delta", "zstd:changed:int2-delta", "int8/p+at=2:zstd:int4/from=3:zstd:changed:ternary-delta"),
    *("grid:-1:3:16", "grid:auto:256", "q:grid:auto:65536", "p:grid:-1;0;0.5;2", "int2-delta/q+at=2:fp32/from=3:int4"),
]


def train_coded(spec: str, dtype: torch.dtype = torch.float32, **options: Any) -> tuple[GAMLP, Result]:
    """Train a network with 3, then 5 layers under a codec."""
    model = GAMLP(30, 16, 4, 5, init="kaiming").to(dtype)
    first = not dist.is_initialized() or dist.get_rank() == 0
    options = {"iterations": 4, "seed": 0, "grow": (3, 5), "timeout": 60.0} | options
    return model, PdADMMG(rho=0.1, nu=0.1, codec=spec).fit(model, data(dtype) if first else None, **options)


def _written() -> int | None:
    # Bytes that this process has given to the kernel, sockets included; on Linux only.
    path = Path("/proc/self/io")
    if not path.exists():
        return None
    return int(dict(line.split(": ") for line in path.read_text().splitlines())["wchar"])


def coded(rank: int, folder: str) -> None:
    """Train under every codec; note the outcome, and the bytes counted, given to isend, and written by the kernel."""
    results: dict[str, Any] = {"bytes": {}, "messages": {}}
    isend, iterate = dist.isend, ADMMSession.iterate
    given: list[int] = []
    written: list[int] = []

    def counting(tensor: torch.Tensor, *arguments: Any, **options: Any) -> Any:
        given.append(tensor.nbytes)
        return isend(tensor, *arguments, **options)

    def watched(self: ADMMSession, *arguments: Any) -> None:
        before = _written()
        dist.isend = counting
        iterate(self, *arguments)
        dist.isend = isend
        written.append(0 if before is None else (_written() or 0) - before)

    ADMMSession.iterate = watched  # type: ignore[method-assign]
    for spec in CODECS:
        given.clear()
        written.clear()
        model, result = train_coded(spec, process_group=dist.group.WORLD)
        counted = sum(result.processes[rank]["wire_bytes"].values())
        results[spec] = outcome(model, result)
        results["bytes"][spec] = (counted, sum(given), None if _written() is None else sum(written))
        results["messages"][spec] = len(given)
    torch.save(results, f"{folder}/coded-{rank}.pt")


def coded_shards(rank: int, folder: str) -> None:
    """Train with the rows divided, on grids and with coded differences."""
    results = {}
    for spec in ("p:grid:auto:256", "int4-delta"):
        options = {"process_group": dist.group.WORLD, "node_shards": 2}
        results[spec] = train_coded(spec, torch.float64, **options)[0].state_dict()
    torch.save(results, f"{folder}/coded-shards-{rank}.pt")


def consensus(rank: int, folder: str, name: str) -> None:
    """Train a network, with half of each batch in each of two processes; note the weights and the all-reduces."""
    group = dist.group.WORLD
    make = {
        "badm": lambda p: BADM(p, process_group=group),
        "copies": lambda p: BADM(p, form="copies", process_group=group),
        "sisa": lambda p: SISA(p, process_group=group),
    }[name]
    calls, all_reduce = [], dist.all_reduce

    def counting(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        return all_reduce(*arguments, **options)

    dist.all_reduce = counting
    model = minibatches.network()
    optimizer = make(model.parameters())
    for x, y in minibatches.batches():
        half = (x.chunk(2)[rank], y.chunk(2)[rank])
        optimizer.step(minibatches.closures(model, optimizer, *half, 1))
    dist.all_reduce = all_reduce
    weights = [p.detach() for p in model.parameters()]
    torch.save({"weights": weights, "all_reduces": len(calls)}, f"{folder}/consensus-{rank}.pt")


def partial(rank: int, step: int) -> list[torch.Tensor | None]:
    """Return the gradients of six parameters that one of three sub-batches has: of all, one, two, none, or by turns."""
    generator = torch.Generator().manual_seed(10 * step + rank)
    there = [True, rank == 0, rank != 1, False, step % 3 == rank, step > 2 and rank == 2]
    gradients = [torch.randn(2, generator=generator, dtype=torch.float64) for _ in there]
    return [g if yes and step != 1 else None for g, yes in zip(gradients, there, strict=True)]


def missing(rank: int, folder: str) -> None:
    """Take steps of which some processes have no gradients; note the parameters and the all-reduces."""
    group = dist.group.WORLD
    results: dict[str, Any] = {"all_reduces": {}}
    for name, kind, options in (("badm", BADM, {}), ("copies", BADM, {"form": "copies"}), ("sisa", SISA, {})):
        torch.manual_seed(3)
        ps = [torch.nn.Parameter(torch.randn(2, dtype=torch.float64)) for _ in range(6)]
        ps[3].requires_grad_(rank == 1)  # frozen in some
        optimizer = kind(ps, **options, process_group=group)
        with patch.object(dist, "all_reduce", wraps=dist.all_reduce) as counted:
            for step in range(5):
                for p, g in zip(ps, partial(rank, step), strict=True):
                    p.grad = g
                optimizer.step(weights=[[0.5, 0.3, 0.2][rank]])
        results[name] = [p.detach() for p in ps]
        results["all_reduces"][name] = counted.call_count
    torch.save(results, f"{folder}/missing-{rank}.pt")


def overflow(rank: int, folder: str) -> None:
    """Take two steps with a GradScaler; the second process's gradients are not finite."""
    results: dict[str, Any] = {}
    for name, kind, options in (("badm", BADM, {}), ("copies", BADM, {"form": "copies"}), ("sisa", SISA, {})):
        p = torch.nn.Parameter(torch.ones(2))
        optimizer = kind([p], **options, process_group=dist.group.WORLD)
        scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=100)
        for _ in range(2):
            optimizer.zero_grad()
            scaler.scale((p * (float("inf") if rank else 3.0)).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
        results[name] = [p.detach()]
        results["scale"] = scaler.get_scale()
    torch.save(results, f"{folder}/overflow-{rank}.pt")
