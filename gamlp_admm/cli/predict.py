"""``gamlp-admm predict``: classes and probabilities from a saved model."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gamlp_admm.cli.options import own_graph, root, shared
from gamlp_admm.cli.running import check_files, write

if TYPE_CHECKING:
    from gamlp_admm.experiment.prediction import Prediction


@click.command()
@click.argument("model", type=Path)
@shared("dataset", default="the model's")
@own_graph
@root
@shared("cache")
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test", "all"]),
    default="all",
    show_default=True,
    help="Which nodes.",
)
@click.option("--out", type=Path, default=Path("-"), metavar="FILE", help="Where to; - for standard output.")
@click.option("--format", "form", type=click.Choice(["csv", "json"]), default="csv", show_default=True, help="Form.")
def predict(
    model: Path,
    dataset: str | None,
    root: str | None,
    cache: str | None,
    split: str,
    out: Path,
    form: str,
    **own: Any,
) -> None:
    """Write each node's class and probabilities; of several labels a node their probabilities, of real targets those.

    MODEL is a file that `train --save` wrote. Nodes of --data need no label; the file's columns mean what they did in
    training. The accuracy over the nodes of known labels is printed too.
    """
    from gamlp_admm.experiment import prediction as predictions
    from gamlp_admm.report import percent

    check_files({"out": out}, None)
    prediction = predictions.predict(model, dataset, root, cache=cache or "auto", **own)
    write(out, _json(prediction, split) if form == "json" else _csv(prediction, split))
    splits = ["train", "val", "test", "all"] if split == "all" else [split]
    if own["data"] is not None:
        splits = [name for name in splits if prediction.accuracy[name] is not None]
    accuracies = ", ".join(f"{name} {percent(prediction.accuracy[name])}" for name in splits)
    figure = "R²" if prediction.kind == "values" else "accuracy"
    said = f"{figure} on {prediction.dataset}: {accuracies}" if splits else f"{prediction.dataset}: no labels are known"
    click.echo(said, err=out == Path("-"))


def _rows(prediction: Prediction, split: str) -> Iterator[tuple[dict[str, Any], list[float]]]:
    """Yield what is known of each node, by name, and its probabilities, or values."""
    nodes, ids, names = prediction.rows[split], prediction.node_ids, prediction.class_names
    said = prediction.outputs if prediction.kind == "values" else prediction.probabilities
    for node, c, p in zip(nodes.tolist(), prediction.classes[nodes].tolist(), said[nodes].tolist(), strict=True):
        known = {"node": node, "id": None if ids is None else ids[node]}
        if prediction.kind == "classes":
            known |= {"class": c, "name": None if names is None else names[c]}
        yield {key: value for key, value in known.items() if value is not None}, p


def _csv(prediction: Prediction, split: str) -> str:
    keys = {"node": True, "id": prediction.node_ids}
    if prediction.kind == "classes":
        keys |= {"class": True, "name": prediction.class_names}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    letter = "y" if prediction.kind == "values" else "p"
    columns = (f"{letter}{c}" for c in range(prediction.outputs.shape[1]))
    writer.writerow([*(key for key, known in keys.items() if known is not None), *columns])
    writer.writerows([*known.values(), *probabilities] for known, probabilities in _rows(prediction, split))
    return text.getvalue()


def _json(prediction: Prediction, split: str) -> str:
    what = "values" if prediction.kind == "values" else "probabilities"
    nodes = [{**known, what: said} for known, said in _rows(prediction, split)]
    names = {} if prediction.class_names is None else {"class_names": [*prediction.class_names]}
    told = {"dataset": prediction.dataset, "split": split, "accuracy": prediction.accuracy, **names, "nodes": nodes}
    return json.dumps(told) + "\n"
