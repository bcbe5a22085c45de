"""A model card: what a saved model is, where it comes from, and how it is used, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gamlp_admm.experiment.predictor import Predictor
from gamlp_admm.transforms.recipe import steps_of


def card(predictor: Predictor) -> str:
    """Return the card of a model, from what its file says.

    Source: Mitchell et al., Model Cards for Model Reporting, FAT* 2019, arXiv 1810.03993.
    """
    model, saved = predictor.model, predictor.metadata
    about: Mapping[str, Any] = saved.get("about") or {}
    config = model.config
    features = " → ".join(f"`{step!r}`" for step in steps_of(predictor.features)) or "as they are"
    names = ", ".join(predictor.class_names) if predictor.class_names else f"0 to {config['out_channels'] - 1}"
    rows = {
        "Network": f"`{model!r}`, {model.num_parameters:,} parameters, {model.linears[0].weight.dtype}",
        "Trained on": about.get("dataset", "not said"),
        "By": about.get("algorithm", "not said"),
        "Takes": f"{predictor.num_features} features a node, and edges",
        "Features": features,
        "Classes": names,
        "Trained by": predictor.loss,
        "Needs labels": "of training nodes" if predictor.takes_labels else "no",
        "Versions": ", ".join(f"{name} {number}" for name, number in about.get("versions", {}).items()) or "not said",
    }
    table = "\n".join(f"| {name} | {str(value).replace('|', '&#124;')} |" for name, value in rows.items())
    scores = {name: about.get("best", {}).get(name) for name in ("val_accuracy", "test_accuracy")}
    said = "; ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in scores.items() if value is not None)
    options = "\n".join(f"- `{name}`: {value}" for name, value in about.get("options", {}).items() if value is not None)
    return f"""# Model card

| | |
|---|---|
{table}

As reported after training, of the weights that are best on validation: {said or "no accuracy"}.

## Use

```python
from gamlp_admm import load_predictor

prediction = load_predictor("model.safetensors")(graph)  # a torch_geometric Data
prediction.names, prediction.probabilities
```

An exported network takes the features that the transform above makes, a row a node, and gives logits; `softmax` of them
(of `binary_cross_entropy`, `sigmoid`) is the probability.

## Options

{options or "Not said."}
"""
