"""``gamlp-admm export``: a saved model for programs without this package."""

from __future__ import annotations

from pathlib import Path

import click

from gamlp_admm.cli.running import check_files


@click.command()
@click.argument("model", type=Path)
@click.option("--to", "kind", type=click.Choice(["torch", "onnx"]), required=True, help="torch.export program or ONNX.")
@click.option("--output", type=Path, required=True, metavar="FILE", help="Where to.")
@click.option("--card", type=Path, metavar="FILE", help="Write a model card (Markdown), too.")
def export(model: Path, kind: str, output: Path, card: Path | None) -> None:
    """Write a model's network as a torch.export program or as ONNX.

    MODEL is a file that `train --save` wrote. What is written is read back and compared with the model on random rows.
    It takes the features of any number of nodes as the model's transform makes them, and gives logits.
    """
    from gamlp_admm.experiment.card import card as model_card
    from gamlp_admm.experiment.predictor import load_predictor
    from gamlp_admm.nn.exporting import export as write
    from gamlp_admm.system.files import write_text

    check_files({"output": output, "card": card}, None)
    predictor = load_predictor(model)
    difference = write(predictor.model, kind, output)
    if card is not None:
        write_text(card, model_card(predictor))
    takes, gives = (predictor.model.config[name] for name in ("in_channels", "out_channels"))
    click.echo(f"{output}: [rows, {takes}] to [rows, {gives}]; largest difference from the model {difference:.1e}")
