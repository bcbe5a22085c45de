"""Where a run happens and what is kept of it: options that do not change what is trained."""

from __future__ import annotations

from dataclasses import dataclass

from gamlp_admm.experiment.declaration import ASIDE, GIVEN, OUTPUT, OWN, PROCESSES, option


@dataclass(frozen=True, kw_only=True, repr=False, init=False, eq=False)
class ProcessOptions:
    """Options of processes and of what is kept."""

    # Where it runs
    processes: int = option(
        "Divide the layers among P processes.",
        PROCESSES,
        1,
        text="1, or torchrun's",
        least=1,
        tune=ASIDE,
        free=True,
        metavar="P",
    )
    node_shards: int = option(
        "Divide the rows too: P processes are parts x R.", PROCESSES, 1, least=1, tune=ASIDE, free=True, metavar="R"
    )
    balance: tuple[int, ...] | None = option(
        "Number of layers of each process's part.", PROCESSES, text="by cost", tune=ASIDE, free=True, metavar="A,B,…"
    )
    device: str = option(
        "cpu, cuda, or auto: CUDA where each process has a device of its own, else the CPU.",
        PROCESSES,
        "auto",
        names=("auto", "cpu", "cuda"),
        tune=ASIDE,
        free=True,
    )
    threads: int | None = option(
        "Threads on the CPU.", PROCESSES, text="torch's choice", least=1, most=1024, tune=ASIDE, free=True, across=OWN
    )
    memory: str | None = option(
        "Cap for the features of the rows; what is larger than a quarter of it lies in scratch files.",
        PROCESSES,
        text="none",
        tune=ASIDE,
        free=True,
        across=OWN,
        metavar="SIZE",
    )
    scratch: str | None = option(
        "Folder of scratch files.",
        PROCESSES,
        text="$TMPDIR, else that of stored features",
        tune=ASIDE,
        free=True,
        across=OWN,
        metavar="DIR",
    )
    timeout: float = option(
        "Longest wait for another process.", PROCESSES, 300.0, tune=ASIDE, free=True, metavar="SECONDS"
    )

    # What is kept of it
    checkpoint: str | None = option(
        "Write a checkpoint there at the end and when interrupted.",
        OUTPUT,
        tune=ASIDE,
        free=True,
        across=GIVEN,
        metavar="DIR",
    )
    checkpoint_every: int | None = option(
        "And every K iterations.", OUTPUT, least=1, tune=ASIDE, free=True, metavar="K"
    )
    resume: bool = option("Go on from the checkpoint.", OUTPUT, False, tune=ASIDE, free=True)
    overwrite: bool = option("Replace what an earlier run left.", OUTPUT, False, tune=ASIDE, free=True)
    cache: str = option(
        "Which propagated features are taken from the cache and kept there: auto (what takes work), all, none.",
        OUTPUT,
        "auto",
        names="propagation.store.cache:MODES",
        tune=ASIDE,
        free=True,
        across=OWN,
    )
    trace: str | None = option(
        "Write a Chrome trace of each process there.", OUTPUT, tune=ASIDE, free=True, across=OWN, metavar="DIR"
    )
