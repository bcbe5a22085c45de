"""``gamlp-admm predict``: classes and probabilities from a saved model."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gamlp_admm.cli.options import option, root
from gamlp_admm.cli.running import check_files, write

if TYPE_CHECKING:
    from gamlp_admm.experiment.prediction import Prediction


@click.command()
@click.argument("model", type=Path)
@option("--dataset", default="the model's", help="Data set.")
@root
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test", "all"]),
    default="all",
    show_default=True,
    help="Which nodes.",
)
@click.option("--out", type=Path, default=Path("-"), metavar="FILE", help="Where to; - for standard output.")
@click.option("--format", "form", type=click.Choice(["csv", "json"]), default="csv", show_default=True, help="Form.")
def predict(model: Path, dataset: str | None, root: str | None, split: str, out: Path, form: str) -> None:
    """Write each node's class and probabilities.

    MODEL is a file that `train --save` wrote. The accuracy over the nodes of known labels is printed too.
    """
    from gamlp_admm.experiment import prediction as predictions
    from gamlp_admm.report import percent

    check_files({"out": out}, None)
    prediction = predictions.predict(model, dataset, root)
    write(out, _json(prediction, split) if form == "json" else _csv(prediction, split))
    splits = ["train", "val", "test", "all"] if split == "all" else [split]
    accuracies = ", ".join(f"{name} {percent(prediction.accuracy[name])}" for name in splits)
    click.echo(f"accuracy on {prediction.dataset}: {accuracies}", err=out == Path("-"))


def _rows(prediction: Prediction, split: str) -> Iterator[tuple[int, int, list[float]]]:
    nodes = prediction.rows[split]
    classes, probabilities = prediction.classes[nodes].tolist(), prediction.probabilities[nodes].tolist()
    return zip(nodes.tolist(), classes, probabilities, strict=True)


def _csv(prediction: Prediction, split: str) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["node", "class", *(f"p{c}" for c in range(prediction.probabilities.shape[1]))])
    writer.writerows([node, c, *probabilities] for node, c, probabilities in _rows(prediction, split))
    return text.getvalue()


def _json(prediction: Prediction, split: str) -> str:
    nodes = [{"node": n, "class": c, "probabilities": p} for n, c, p in _rows(prediction, split)]
    accuracy = prediction.accuracy
    return json.dumps({"dataset": prediction.dataset, "split": split, "accuracy": accuracy, "nodes": nodes}) + "\n"
