"""The layering: what may import what. Read from the sources, without importing them."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "gamlp_admm"
SOURCES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path != PACKAGE / "__init__.py"
}

# The floors, from the ground up. A module imports of ours only what stands below it, or what stands in its own folder;
# folders of a floor stand beside each other.
FLOORS = [
    "errors",
    "system",
    "nn codecs optim propagation",
    "datasets transforms parallel",
    "admm training",
    "algorithms",
    "experiment estimators",
    "tuning bench report",
    "cli",
    "__main__",
]
FLOOR = {name: i for i, names in enumerate(FLOORS) for name in names.split()}
MOST_ENTRIES = 20

# Who alone may import a package.
ONLY_IN = {
    "torch_geometric": "transforms datasets experiment bench",
    "torch.distributed": "parallel optim",
    "click": "cli",
    "rich": "cli report",
    "matplotlib": "report",
    "jinja2": "report",
    "onnx": "nn",
    "onnxruntime": "nn",
    "safetensors": "training nn datasets propagation",
    "sklearn": "datasets estimators bench training",
    "threadpoolctl": "bench",
    "numba": "system",
    "llvmlite": "system",
    "xxhash": "propagation",
    "zstandard": "codecs",
    "pandas": "experiment datasets",
    "optuna": "tuning",
    "pickle": "datasets",
    "pooch": "datasets",
    "ogb": "datasets",
    "torch.utils.tensorboard": "report",
    "wandb": "report",
    "mlflow": "report",
}


def imports(path: Path) -> Iterator[str]:
    """Yield the full names that a source imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield f"{node.value.id}.{node.attr}"  # torch.distributed without its own import


def ours(path: Path) -> set[str]:
    """Return the modules of the package that a source imports."""
    found = set()
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "gamlp_admm":
            continue
        candidates = [".".join(parts[1:end]) for end in range(len(parts), 1, -1)]
        found.add(next((c for c in candidates if c in SOURCES), ""))
    return found - {""}


def top(module: str) -> str:
    return module.split(".")[0]


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


@pytest.mark.parametrize("module", SOURCES)
def test_arrows_point_down(module: str) -> None:
    assert top(module) in FLOOR, f"give {module} a floor in {Path(__file__).name}"
    for other in ours(SOURCES[module]):
        if top(other) != top(module):
            assert FLOOR[top(other)] < FLOOR[top(module)], f"{module} imports {other}"


def test_the_root_has_few_entries() -> None:
    entries = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert len(entries) <= MOST_ENTRIES, sorted(entries)
    assert entries - {"__init__"} == set(FLOOR)


def test_names_mean_one_thing() -> None:
    # Classes and type aliases; private ones are their module's own.
    homes: dict[str, list[str]] = {}
    for module, path in SOURCES.items():
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            alias = isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript)
            names = [node.name] if isinstance(node, ast.ClassDef) else []
            names += [t.id for t in node.targets if isinstance(t, ast.Name)] if alias else []  # type: ignore[union-attr]
            for name in names:
                homes.setdefault(name, []).append(module)
    twice = {name: places for name, places in homes.items() if len(places) > 1 and not name.startswith("_")}
    assert not twice


def test_functions_fit_on_a_page() -> None:
    for module, path in SOURCES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0  # type: ignore[operator]
                assert lines <= 50, f"{module}.{node.name} has {lines} lines"


def test_assertions_narrow_types() -> None:
    # Without them (python -O) nothing else happens; bandit is told so.
    for module, path in SOURCES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assert):
                stated = ast.unparse(node.test)
                assert re.fullmatch(r"isinstance\(.+\)|[\w.]+ is not None", stated), f"{module}: assert {stated}"


def test_there_are_no_cycles() -> None:
    graph = {module: ours(path) - {module} for module, path in SOURCES.items()}
    list(TopologicalSorter(graph).static_order())  # raises CycleError


@pytest.mark.parametrize("package", ONLY_IN)
def test_packages_stay_at_their_edge(package: str) -> None:
    allowed = ONLY_IN[package].split()
    for module, path in SOURCES.items():
        if any(inside(name, package) for name in imports(path)):
            assert top(module) in allowed, f"{module} imports {package}"


def test_the_mathematics_imports_torch_alone() -> None:
    standard = set(sys.stdlib_module_names)
    for module, mine in {
        "admm.blocks": {
            "nn.activations",
            "nn.constants",
            "nn.native",
            "nn.losses",
            "nn.passes",
            "admm.matmul",
            "admm.stacked",
            "admm.normal",
        },
        "admm.matmul": {"admm.stacked", "errors", "system.processor"},
        "admm.normal": {"admm.stacked"},
        "admm.nystrom": {"admm.normal", "admm.stacked"},
        "admm.solving": {"admm.normal", "admm.nystrom", "admm.stacked"},
        "admm.proximal": {"admm.blocks", "admm.matmul", "admm.stacked"},
        "admm.fusing": set(),
        "admm.stacked": {"admm.fusing", "system.buffers"},
        "nn.activations": {"errors", "nn.constants"},
        "nn.constants": set(),
        "nn.descent": set(),
        "nn.losses": {"errors", "nn.constants", "nn.descent", "nn.native", "nn.passes"},
        "nn.network": {"nn.activations"},
    }.items():
        assert ours(SOURCES[module]) <= mine
        modules = list(ast.walk(ast.parse(SOURCES[module].read_text(encoding="utf-8"))))
        names = {a.name for n in modules if isinstance(n, ast.Import) for a in n.names}
        names |= {n.module for n in modules if isinstance(n, ast.ImportFrom) and n.module}
        assert {top(n) for n in names} - standard <= {"torch", "gamlp_admm"}


def test_the_system_knows_no_torch() -> None:
    for module, path in SOURCES.items():
        if inside(module, "system"):
            assert not any(inside(name, "torch") for name in imports(path)), module
            assert {top(other) for other in ours(path)} <= {"errors", "system"}, module


def test_only_the_command_line_prints() -> None:
    for module, path in SOURCES.items():
        calls = [n for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
        printing = [c for c in calls if isinstance(c.func, ast.Name) and c.func.id == "print"]
        assert not printing, module


def test_training_needs_no_graph_library_and_no_terminal() -> None:
    code = (
        "import sys\n"
        "from gamlp_admm.algorithms import ALGORITHMS, trainer\n"
        "assert [trainer(name) for name in ALGORITHMS]\n"
        "heavy = {'torch_geometric', 'ogb', 'click', 'rich', 'matplotlib', 'sklearn', 'scipy', 'pandas'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=PACKAGE.parent)
