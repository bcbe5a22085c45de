"""Settings that all tests share: one thread, the same examples in every run, and how processes hear of Ctrl-C."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator

# Before torch is imported here and in processes that tests start.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")  # as the command line has it
os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform == "linux" else "lo0")  # nothing listens beyond

# A cache of their own, for the processes that tests start, too: nobody's features are read, and none are kept.
os.environ["GAMLP_ADMM_CACHE"] = tempfile.mkdtemp(prefix="gamlp-admm-tests-")
os.environ.pop("GAMLP_ADMM_CACHE_SIZE", None)
atexit.register(shutil.rmtree, os.environ["GAMLP_ADMM_CACHE"], ignore_errors=True)

import pytest
import torch
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, database=None, deadline=None, max_examples=50)
settings.load_profile("repeatable")
torch.set_num_threads(1)

from gamlp_admm.nn import native
from gamlp_admm.system import compiled

if compiled.available():
    native.loaded()  # compiled before a test or its processes would have to wait for it


@pytest.fixture
def hears_ctrl_c() -> Iterator[None]:
    """Let the processes that a test starts hear Ctrl-C, which a script in the background tells this one to ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
