"""The page: its parts, that it is whole without anything else, and that no name in it is taken for HTML."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import reduce
from html.parser import HTMLParser
from operator import getitem
from pathlib import Path
from typing import Any

import pytest
from made_runs import codecs, made, seeds

from gamlp_admm.errors import InputError
from gamlp_admm.report.page import html_page
from gamlp_admm.report.reading import read, run_sets
from gamlp_admm.report.runs import RunSet

MISSING = object()
VOID = {"meta", "link", "br", "img", "input", "hr"}


class Parsed(HTMLParser):
    """Elements of a page, with their attributes and texts; fails where they are not nested."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.texts.setdefault(tag, []).append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in set(self.open):
            self.texts[tag][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def parsed(report: Any) -> Parsed:
    return Parsed(html_page(run_sets(report, "it")))


def test_a_run() -> None:
    page = parsed(made())
    assert page.texts["title"][0] == "pdadmm-g on toy – gamlp-admm"
    assert page.texts["h1"] == ["pdadmm-g on toy"]
    assert page.texts["h2"] == ["Results", "Training", "Classes", "Configuration", "Environment"]
    titles = ["Accuracy", "Accuracy against bytes", "Objective and training loss", "Residuals"]
    assert page.texts["figcaption"] == titles
    assert "0.8762" in page.texts["dl"][0]
    assert "20 kB" in page.texts["dl"][0]
    captions = [caption.split(",")[0] for caption in page.texts["caption"]]
    assert captions.count("Single classes") == captions.count("Confusion matrix") == 2
    shown = dict(zip((t.strip() for t in page.texts["dt"]), (t.strip() for t in page.texts["dd"][-50:]), strict=False))
    assert {"rho", "layers", "unit-rows"} <= shown.keys()
    assert "lr" not in shown  # which does not apply


def test_links_lead_somewhere_and_names_are_there_once() -> None:
    for report in (made(), seeds(made(0), made(1)), codecs(fp32=[made()], int2=[made()])):
        page = parsed(report)
        ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
        assert len(ids) == len(set(ids))
        named = {a["href"].removeprefix("#") for a in page.all("a") if a["href"]}  # type: ignore[union-attr]
        named |= {a["aria-labelledby"] for _, a in page.elements if "aria-labelledby" in a}
        assert named <= set(ids)


def test_the_page_needs_nothing_else() -> None:
    page = parsed(made())
    loading = {"src", "href", "srcset", "action", "xlink:href"}
    values = [v or "" for _, attributes in page.elements for k, v in attributes.items() if k in loading]
    assert all(value.startswith(("#", "data:,")) for value in values)
    assert "http" not in page.texts["style"][0] + page.texts["script"][0]
    assert not re.search(r"url\(|@import", page.texts["style"][0])


def test_tables_have_captions_and_headers_and_charts_a_text() -> None:
    page = parsed(codecs(fp32=[made(0), made(1)], int2=[made(0), made(1)]))
    assert len(page.texts["table"]) == len(page.texts["caption"])
    assert all(header.get("scope") in ("row", "col") for header in page.all("th"))
    drawings = [svg for svg in page.all("svg") if svg.get("role") == "img"]
    assert len(drawings) == len(page.texts["figcaption"]) == 6
    assert any("fp32 (mean of 2 runs): from 0.4 to 0.8762" in text for text in page.texts["title"])


HOSTILE = "<script>alert(1)</script>\"'&</title></style><!--"


def test_no_name_is_taken_for_html(tmp_path: Path) -> None:
    report = made()
    report["dataset"] = report["config"]["algorithm"] = report["config"]["operator"] = HOSTILE
    report["config"] |= {"codec": HOSTILE, HOSTILE: HOSTILE}
    report["environment"]["versions"][HOSTILE] = report["environment"]["device"] = HOSTILE
    report["theorem"] = report["solver"] = HOSTILE
    report["confusion"]["classes"][0] = report["per_class"]["test"][0]["class"] = HOSTILE
    plain = parsed(made())
    page = Parsed(html_page([RunSet(HOSTILE, run_sets(report, "it")[0].runs)]))
    both = Parsed(html_page([RunSet(HOSTILE, run_sets(report, "it")[0].runs), *run_sets(made(), "it")]))
    assert len(page.all("script")) == len(both.all("script")) == 1
    assert {name for name, _ in page.elements} == {name for name, _ in plain.elements}
    assert page.texts["h1"][0].count(HOSTILE) == 2
    assert any(HOSTILE in text for text in both.texts["th"])


def test_the_script_is_the_only_one_that_may_run() -> None:
    page = parsed(made())
    (policy,) = [meta["content"] or "" for meta in page.all("meta") if meta.get("http-equiv")]
    digest = base64.b64encode(hashlib.sha256(page.texts["script"][0].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_half_a_character_is_no_failure() -> None:
    report = made()
    report["dataset"] = "graph \ud800"
    assert "graph ?" in html_page(run_sets(report, "it"))


def test_seeds_are_shown_one_by_one() -> None:
    page = parsed(seeds(made(3), made(5, gain=0.02)))
    assert "Seeds" in page.texts["h2"]
    assert "0.8862 ±\u00a00.0141" in page.texts["dl"][0]
    assert "counts are summed" in " ".join(page.texts["p"])
    assert any("6" in row and "dog" in row for row in page.texts["tr"])
    assert 'class="band' in html_page(run_sets(seeds(made(3), made(5, gain=0.02)), "it"))


def test_codecs_side_by_side() -> None:
    fewer = made(codec="int2", gain=-0.01)
    for record in fewer["history"]:
        record["bytes_sent"] //= 8
    page = parsed(codecs(fp32=[made()], int2=[fewer]))
    assert page.texts["h1"] == ["2 settings on toy"]
    rows = [" ".join(row.split()) for row in page.texts["tr"]]
    assert any("int2" in row and "8×" in row for row in rows)
    assert rows.index("codec fp32 int2") > 0 if "codec fp32 int2" in rows else any("codecfp32int2" in r for r in rows)
    assert page.texts["strong"] == ["0.8762"]


def test_less_loss_is_better() -> None:
    one, two = made(codec="fp32"), made(codec="int2")
    for report, factor in ((one, 1.0), (two, 2.0)):
        report["metric"] = "loss"
        for record in (*report["history"], report["best"], report["last"]):
            record["val_loss"] = record["test_loss"] = factor
    page = parsed(codecs(fp32=[one], int2=[two]))
    assert page.texts["strong"] == ["1.0000"]
    assert "Test loss" in page.texts["figcaption"]


def test_what_all_were_measured_by_is_shown_of_all() -> None:
    report = made()
    report["metric"] = "f1_macro"
    for record in (*report["history"], report["best"], report["last"]):
        record["val_f1_macro"] = record["test_f1_macro"] = 0.5
    assert "Test macro F1" in parsed(codecs(a=[report])).texts["dt"]
    assert "Test accuracy" in parsed(codecs(a=[report], b=[made()])).texts["figcaption"]


def test_many_classes_and_runs_without_classes() -> None:
    report = made()
    del report["confusion"]
    assert "no confusion matrix" in " ".join(parsed(report).texts["p"])
    del report["per_class"]
    assert "Classes" not in parsed(report).texts["h2"]


@pytest.mark.parametrize("algorithm", ["one layer", "no residuals", "no test nodes", "constant"])
def test_runs_that_lack_something(algorithm: str) -> None:
    report = made()
    for record in (*report["history"], report["best"], report["last"]):
        if algorithm == "one layer" and "bytes_sent" in record:
            record["bytes_sent"] = 0
        elif algorithm == "no residuals" and "layers" in record:
            record["primal_residual"] = record["dual_residual"] = None
        elif algorithm == "no test nodes":
            record["test_accuracy"] = None
        elif algorithm == "constant" and "layers" in record:
            record |= {"objective": 0.0, "train_loss": 0.0, "test_accuracy": 1.0}
    page = parsed(report)
    assert ("Accuracy against bytes" in page.texts["figcaption"]) == (algorithm != "one layer")
    assert ("Residuals" in page.texts["figcaption"]) == (algorithm != "no residuals")
    assert "nan" not in html_page(run_sets(report, "it"))
    parsed(codecs(a=[report], b=[made()]))


def test_a_real_run(tmp_path: Path, grown: dict[str, Any]) -> None:
    (tmp_path / "run.json").write_text(json.dumps(grown))
    text = html_page(read([tmp_path]))
    assert "pdadmm-g on karate" in Parsed(text).texts["h1"]
    assert "The network has 2 layers, from the dashed lines on 5." in text
    assert len(text.encode()) < 200_000


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where the values of a JSON value are."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in items:
        yield (*path, key)
        yield from places(each, (*path, key))


@pytest.mark.parametrize("value", [None, "x", -1e308, 5e-324, [], {"a": 1}, MISSING])
def test_damage_anywhere_is_an_input_error_or_does_not_matter(value: Any) -> None:
    chosen = random.Random(0).sample(sorted(places(made(iterations=2)), key=repr), 25)
    for path in chosen:
        report = made(iterations=2)
        *inner, last = path
        at = reduce(getitem, inner, report)
        if value is MISSING:
            del at[last]
        else:
            at[last] = value
        with suppress(InputError):
            page = html_page(run_sets(json.loads(json.dumps(report)), "it"))
            assert not re.search(r'(d|style)="[^"]*(nan|inf)', page.partition("<body")[2]), path
