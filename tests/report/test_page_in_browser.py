"""The page in a browser: on a laptop and on a phone, light and dark. Needs Chromium."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import CHROMIUM, Browser, browser
from made_runs import codecs, made, seeds

from gamlp_admm.report.page import html_page
from gamlp_admm.report.reading import run_sets

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]

WINDOWS = [(1366, 768, False), (390, 844, True)]
LONG = "a class whose name is long, and a_name_without_any_break_in_it_however_far_it_goes_on_and_on_and_on_and_on"


def wide() -> dict[str, Any]:
    """Return a run with many classes of long names."""
    names = [f"{i} {LONG}" for i in range(50)]
    report = made()
    rows = [{"class": name, "nodes": 9, "precision": 0.5, "recall": 0.5, "f1": 0.5} for name in names]
    report["per_class"] = {"val": rows, "test": rows}
    counts = [[(i * j) % 1000 for j in range(50)] for i in range(50)]
    report["confusion"] = {"classes": names, "val": counts, "test": counts}
    report["dataset"] = LONG.replace(" ", "_")
    return report


REPORTS = {
    "one": made(),
    "seeds": seeds(made(0), made(1, gain=0.02, iterations=9)),
    "codecs": codecs(**{f"int{i}-{LONG[-40:]}": [made(0, gain=i / 100), made(1)] for i in range(9)}),
    "wide": wide(),
}


@pytest.fixture(scope="module")
def window() -> Iterator[Browser]:
    with browser() as opened:
        yield opened


@pytest.mark.parametrize("name", REPORTS)
def test_page(window: Browser, tmp_path: Path, name: str) -> None:
    file = tmp_path / "report.html"
    file.write_text(html_page(run_sets(REPORTS[name], "it")), encoding="utf-8")
    backgrounds = set()
    for width, height, mobile in WINDOWS:
        for scheme in ("light", "dark"):
            window.open(file, width, height, scheme, mobile)
            assert window.value("innerWidth") == width
            assert window.value("document.documentElement.scrollWidth") <= width  # tables scroll in their boxes
            assert window.value("[...document.querySelectorAll('h1, h2, figcaption')].every(e => e.offsetHeight > 0)")
            titles = window.value("[...document.querySelectorAll('h2')].map(e => e.textContent)")
            assert {"Results", "Training", "Classes", "Configuration", "Environment"} <= {*titles}
            assert least_contrast(window) >= 4.5
            assert not outside(window)
            backgrounds.add(window.value("getComputedStyle(document.body).backgroundColor"))
            requests = [
                e["params"]["request"]["url"] for e in window.events if e["method"] == "Network.requestWillBeSent"
            ]
            assert [url for url in requests if not url.startswith("data:")] == [file.resolve().as_uri()]
            assert window.said == []
    assert len(backgrounds) == 2


def least_contrast(window: Browser) -> float:
    """Return the least contrast of a text with what is behind it, as WCAG counts it; of flat colours."""
    return float(
        window.value("""(() => {
          const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
          const over = (colours) => {
            canvas.clearRect(0, 0, 1, 1);
            for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
            return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
          };
          const light = (rgb) => rgb.map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
            .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
          const behind = (e) => e ? [...behind(e.parentElement), getComputedStyle(e).backgroundColor] : [];
          let least = 21;
          for (const e of document.querySelectorAll("body *")) {
            const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
            if (!own || !e.offsetHeight || e.closest("svg, script, .hidden")) continue;
            const ground = behind(e);
            const [a, b] = [over([...ground, getComputedStyle(e).color]), over(ground)].map(light);
            least = Math.min(least, (Math.max(a, b) + .05) / (Math.min(a, b) + .05));
          }
          return least;
        })()""")
    )


def outside(window: Browser) -> list[str]:
    """Return what is written beyond the chart that it belongs to, and ticks of an axis that touch each other."""
    return list(
        window.value("""[...document.querySelectorAll(".chart")].flatMap(chart => {
          const box = chart.getBoundingClientRect(), found = [];
          for (const e of chart.querySelectorAll("span, li, figcaption")) {
            const own = e.getBoundingClientRect();
            if (own.width && (own.left < box.left || own.right > box.right)) found.push(e.textContent);
          }
          const places = [...chart.querySelectorAll(".xs span")].map(e => e.getBoundingClientRect());
          const ticks = places.filter(b => b.width);
          ticks.forEach((b, i) => { if (i && b.left < ticks[i - 1].right) found.push(`tick ${i}`); });
          return found;
        })""")
    )


def test_values_at_the_pointer_and_by_keys(window: Browser, tmp_path: Path) -> None:
    report = seeds(made(0), made(1, gain=0.02))
    file = tmp_path / "report.html"
    file.write_text(html_page(run_sets(report, "it")), encoding="utf-8")
    window.open(file, 1366, 768, "light")
    shown = "document.querySelector('.readout:not([hidden])')?.innerText ?? ''"
    assert window.value(shown) == ""
    window.value("document.querySelector('#chart1').focus()")
    for key in ("End", "ArrowLeft", "ArrowRight"):
        window.press(key)
    last = [run["history"][-1]["test_accuracy"] for run in report["runs"]]
    assert "iteration 20" in window.value(shown)
    assert f"{sum(last) / 2:.4g} ({last[0]:.4g}–{last[1]:.4g})" in window.value(shown).replace("\n", " ")
    window.press("Home")
    assert "iteration 0" in window.value(shown)
    window.press("Escape")
    assert window.value(shown) == ""
    box = json.loads(window.value("JSON.stringify(document.querySelector('#chart2 .plot').getBoundingClientRect())"))
    place = {"x": box["x"] + box["width"] - 1, "y": box["y"] + 20}
    window.call("Input.dispatchMouseEvent", type="mouseMoved", **place)
    assert "20 kB" in window.value(shown)
    assert window.said == []
