"""What the pages say of the code is there: names on the page of concepts, messages on the page of symptoms."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from browsers import CHROMIUM, browser

from gamlp_admm.system.lazy import load

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def named() -> list[str]:
    """Return the names of the package that the page of concepts has in code."""
    names = re.findall(r"`(?:gamlp_admm\.)?([a-z]\w*(?:\.\w+)+)`", (DOCS / "concepts.md").read_text(encoding="utf-8"))
    return sorted(set(names) - {"torch.nn.Linear"})


@pytest.mark.parametrize("name", named())
def test_concepts_are_in_the_code(name: str) -> None:
    home, _, last = f"gamlp_admm.{name}".rpartition(".")
    try:
        load(f"{home}:{last}")
    except ModuleNotFoundError:  # an attribute of a class
        home, _, of = home.rpartition(".")
        assert hasattr(load(f"{home}:{of}"), last)


def texts() -> list[str]:
    """Return all texts in the code; of those with values in them, one with an ellipsis for each value."""
    found = []
    for path in (ROOT / "gamlp_admm").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                found.append("".join(v.value if isinstance(v, ast.Constant) else "…" for v in node.values))
    return found


def messages() -> list[str]:
    """Return the messages in the first columns of the tables of symptoms."""
    rows = re.findall(r"^\| ([^|]*) \|", (DOCS / "troubleshooting.md").read_text(encoding="utf-8"), re.M)
    quoted = [text for row in rows for text in re.findall(r"`([^`]*)`", row)]
    return [text for text in quoted if " " in text]


def test_symptoms_quote_what_the_code_says() -> None:
    said, quoted = texts(), messages()
    assert len(quoted) > 30
    patterns = {text: ".*".join(map(re.escape, text.split("…"))) for text in quoted}
    assert [text for text, pattern in patterns.items() if not any(re.search(pattern, each) for each in said)] == []


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")
def test_options_are_whole_on_a_phone(tmp_path: Path) -> None:
    # As Sphinx makes tables and code; the last name is wider than the page.
    names = "--checkpoint-every", "a-name-of-" + "x-" * 60
    code = [f'<code><span class="pre">{name}</span></code>' for name in names]
    cells = f"<td>{code[0]}</td><td>What is said of it</td><td>in several words</td>"
    table = f'<div class="table-wrapper"><table><tr>{cells}</tr></table></div>'
    head = '<meta name="viewport" content="width=device-width">'
    style = (DOCS / "_static" / "site.css").read_text(encoding="utf-8")
    page = tmp_path / "page.html"
    page.write_text(f"{head}<style>{style}</style>{table}<p>One or two words, then {' '.join(code)}", encoding="utf-8")
    pieces = "[...document.querySelectorAll('.pre')].map(each => each.getClientRects().length)"
    with browser() as opened:
        opened.open(page, 200, 600, "light", mobile=True)
        assert opened.value(pieces) == [1, 1, 1]
        assert opened.value("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        assert opened.value("(t => t.scrollWidth > t.clientWidth)(document.querySelector('.table-wrapper'))")
