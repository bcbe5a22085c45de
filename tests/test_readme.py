"""Everything that the README and the documentation show runs as it stands there.

The two set-up commands are left to ``.ci/run``. What needs data that are absent is skipped: nothing is downloaded.
"""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from gamlp_admm import cli
from gamlp_admm.datasets import list_datasets

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}
TEXT = PAGES["README.md"]
QUICK = ("karate", "digits", "digits-knn")  # which need no files
FENCE = re.compile(r"(?:^<!-- (?P<marker>[^>]*) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.DOTALL | re.M)


@dataclass(frozen=True)
class Block:
    """A fenced block: the HTML comment on the line before, if any, its language and its lines."""

    marker: str
    language: str
    code: str
    place: str


BLOCKS = [
    Block(
        marker=found["marker"] or "",
        language=found["language"],
        code=found["code"],
        place=f"{page} line {text[: found.start('code')].count(chr(10)) + 1}",
    )
    for page, text in PAGES.items()
    for found in FENCE.finditer(text)
]


def blocks(language):
    """Return test parameters: the blocks of a language that are not set-up commands."""
    chosen = [b for b in BLOCKS if b.language == language and not b.marker.startswith("command: ")]
    slow = {b.place: [pytest.mark.slow] if "init_process_group" in b.code else [] for b in chosen}
    return pytest.mark.parametrize("block", [pytest.param(b, id=b.place, marks=slow[b.place]) for b in chosen])


def commands():
    """Return test parameters: what the shell blocks run; a line that says the same as an earlier one is run there."""
    seen, chosen = set(), []
    for block in BLOCKS:
        if block.language == "sh" and not block.marker.startswith("command: "):
            lines = [shlex.split(line, comments=True) for line in block.code.replace("\\\n", " ").splitlines()]
            new = [line for line in lines if line and tuple(line) not in seen]
            seen |= set(map(tuple, new))
            starting = any(line[0] == "torchrun" or "--processes" in line for line in new)  # as tests/parallel does
            real = any(line[at + 1] not in QUICK for line in new for at, word in enumerate(line) if word == "--dataset")
            if new:
                chosen.append(pytest.param(new, id=block.place, marks=[pytest.mark.slow] if starting or real else []))
    return pytest.mark.parametrize("lines", chosen)


LINKED = [
    *PAGES,
    *(
        str(path.relative_to(ROOT))
        for path in (ROOT / "datasets/README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "examples").rglob("*.md")))
    ),
]
"""The pages whose links are followed; the build of the site follows those with an anchor, too."""


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Work in a folder of its own."""
    monkeypatch.chdir(tmp_path)


def need_data(code):
    """Skip a block whose data sets are absent."""
    present = {row.name: row.present for row in list_datasets()}
    for names in re.findall(r'(?:--datasets? |load_(?:dataset|hetero)\(")([\w,-]+)', code):
        for name in names.split(","):
            if not present[name]:
                pytest.skip(f"the raw files of {name} are absent, and tests download nothing")


def run(command):
    """Run one line of a shell block, divided into words."""
    program, *args = command
    if program == "gamlp-admm" and "--processes" not in args:
        assert cli.main(args) == 0, command
        return
    if program == "python":
        args = [str(ROOT / args[0]) if args[0].endswith(".py") else args[0], *args[1:]]
    else:
        modules = {"gamlp-admm": "gamlp_admm", "torchrun": "torch.distributed.run"}
        assert program in modules, f"{command}: the test does not know how to run this"
        args = ["-m", modules[program], *args]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *args], env=environment, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, f"{command}\n{done.stderr}"


@commands()
def test_commands(lines):
    for line in lines:
        need_data(shlex.join(line))
    for line in lines:
        run(line)


@blocks("python")
def test_python(block):
    need_data(block.code)
    if "init_process_group" in block.code:  # a script for torchrun
        Path("script.py").write_text(block.code, encoding="utf-8")
        run(["torchrun", "--standalone", "--nproc-per-node", "2", "script.py"])
        return
    if "register_" in block.code:  # which lasts as long as the process
        Path("script.py").write_text(block.code, encoding="utf-8")
        run(["python", str(Path("script.py").absolute())])
        return
    exec(compile(block.code, block.place, "exec"), {"__name__": "readme"})


@blocks("toml")
def test_toml(block, capsys):
    """A file of options, unless it has tables."""
    if not any(isinstance(value, dict) for value in tomllib.loads(block.code).values()):
        Path("run.toml").write_text(block.code, encoding="utf-8")
        assert cli.main(["train", "--config", "run.toml", "--print-config"]) == 0
        assert tomllib.loads(capsys.readouterr().out) == tomllib.loads(block.code)


@blocks("bash")
def test_completion(block, capsys, monkeypatch):
    """What sets up completion in a shell: it reads a script that the program prints."""
    shells = re.findall(r"_GAMLP_ADMM_COMPLETE=(\w+_source) gamlp-admm", block.code)
    assert shells
    for shell in shells:
        monkeypatch.setenv("_GAMLP_ADMM_COMPLETE", shell)
        with pytest.raises(SystemExit) as done:
            cli.main([])
        assert done.value.code == 0
        assert "_GAMLP_ADMM_COMPLETE" in capsys.readouterr().out


@blocks("console")
def test_console(block, capsys):
    """A dialogue: commands after ``$``, and exactly what they print."""
    for part in block.code.split("$ ")[1:]:
        command, _, printed = part.partition("\n")
        cli.main(shlex.split(command)[1:])
        out, err = capsys.readouterr()
        assert out + err == printed


def test_setup_commands_are_where_ci_looks_for_them():
    for name in ("train", "test"):
        code = subprocess.run([ROOT / ".ci/readme-command", name], capture_output=True, text=True, check=True).stdout
        assert [b.code for b in BLOCKS if b.marker == f"command: {name}"] == [code]
        assert len(code.splitlines()) == 1


def test_languages_are_all_run():
    assert {block.language for block in BLOCKS} <= {"sh", "python", "console", "toml", "bash"}


def test_example_is_short():
    first = next(block for block in BLOCKS if block.language == "python")
    assert len([line for line in first.code.splitlines() if line.strip()]) <= 12


@pytest.mark.parametrize("page", LINKED)
def test_links_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or ((ROOT / page).parent / target).exists(), target


def test_data_sets_are_all_named():
    text = (ROOT / "datasets/README.md").read_text(encoding="utf-8")
    for row in list_datasets():
        assert f"`{row.name}`" in text


def test_the_first_page_is_one_page():
    assert len(TEXT.split()) < 1000
