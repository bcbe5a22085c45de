"""The command line's help."""

import subprocess
import sys

import pytest


def test_help_does_not_import_torch():
    # Nor, unless a command is named, what finds extensions, which takes longer than all of ours.
    code = "import sys; from gamlp_admm.cli.main import main; early = {*sys.modules}; status = main(['--help'])"
    code += "; status = status or 'importlib.metadata' in {*sys.modules} - early or main(['train', '--help'])"
    check = f"{code}; sys.exit(status or 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "--algorithm" in done.stdout


@pytest.mark.parametrize("args", [[], ["--help"], ["train", "--help"], ["predict", "--help"], ["--version"]])
def test_help(gamlp, args):
    status, out, err = gamlp(*args)
    assert (status, err) == (0, "")
    assert out
