"""The command line's help."""

import gc
import subprocess
import sys

import pytest
from commands import free_port

from gamlp_admm.cli.main import DEFERRED, main


def test_help_does_not_import_torch():
    # Nor, unless a command is named, what finds extensions, which takes longer than all of ours.
    code = "import sys; from gamlp_admm.cli.main import main; early = {*sys.modules}; status = main(['--help'])"
    code += "; status = status or 'importlib.metadata' in {*sys.modules} - early or main(['train', '--help'])"
    check = f"{code}; sys.exit(status or 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "--algorithm" in done.stdout


def test_commands_import_what_they_use(tmp_path):
    # By name, beside what torch imports by itself, which depends on its version: none of these is worth its time here.
    heavy = {"torch._dynamo", "torch._inductor", *(f"torch_geometric.{part}" for part in ("datasets", "nn", "explain"))}
    heavy |= {"sklearn", "scipy.special", "pandas", "sympy", "requests", "jinja2", "matplotlib", "ogb", "rich.progress"}
    code = (
        "import os, sys, torch\n"
        "before = {*sys.modules}\n"
        "from gamlp_admm.cli.main import main\n"
        "train = ['train', '--dataset', 'digits-knn', '--iterations', '2', '--quiet', '--save', sys.argv[1]]\n"
        "assert main(train) == 0 and main(['predict', sys.argv[1], '--out', sys.argv[2]]) == 0\n"
        "from gamlp_admm.parallel.joining import joined\n"
        "os.environ.update(MASTER_ADDR='127.0.0.1', MASTER_PORT=sys.argv[3])\n"
        "with joined('cpu', 20.0, {}):\n"  # what each of several processes does
        "    print(*sorted({*sys.modules} - before))\n"
    )
    files = [str(tmp_path / "model"), str(tmp_path / "classes.csv"), str(free_port())]
    done = subprocess.run(
        [sys.executable, "-c", code, *files], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    new = done.stdout.splitlines()[-1].split()
    assert "torch_geometric.data" in new
    executed = [name for name in new if name not in DEFERRED]  # which are there as names, without parts
    assert not [name for name in executed if any(f"{name}.".startswith(f"{package}.") for package in heavy)]


def test_only_a_process_of_its_own_ends_without_collecting(monkeypatch):
    registered = []
    monkeypatch.setattr("atexit.register", registered.append)
    monkeypatch.setattr(sys, "argv", ["gamlp-admm", "--version"])
    assert main(["--version"]) == 0
    assert registered == []
    assert main() == 0
    assert registered == [gc.freeze]


@pytest.mark.parametrize("args", [[], ["--help"], ["train", "--help"], ["predict", "--help"], ["--version"]])
def test_help(gamlp, args):
    status, out, err = gamlp(*args)
    assert (status, err) == (0, "")
    assert out
