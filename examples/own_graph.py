"""A graph of one's own: edge weights, class weights, a callback, early stopping, saving, new nodes."""

import tempfile
from pathlib import Path

import torch
from torch_geometric.data import Data

from gamlp_admm import GAMLP, PdADMMG, load_predictor
from gamlp_admm.training.result import Progress
from gamlp_admm.transforms import AugmentFeatures

# 400 nodes of three classes of different size. Nodes of one class share more and heavier edges; features are noisy.
draw = torch.Generator().manual_seed(0)
y = torch.multinomial(torch.tensor([0.7, 0.2, 0.1]), 400, replacement=True, generator=draw)
x = torch.eye(3)[y] + 1.5 * torch.randn(400, 3, generator=draw)
same = y[:, None] == y[None, :]
edge = torch.rand(400, 400, generator=draw) < torch.where(same, 0.05, 0.02)
edge_index = edge.nonzero().T
edge_weight = torch.where(same[tuple(edge_index)], 1.0, 0.3)

# The last 50 nodes are to appear only after training. Of the others, some are for validation.
old = torch.arange(400) < 350
validates = old & (torch.rand(400, generator=draw) < 0.3)
known = old[edge_index].all(dim=0)
graph = Data(x=x[old], edge_index=edge_index[:, known], edge_weight=edge_weight[known], y=y[old])
graph.train_mask, graph.val_mask = (~validates)[old], validates[old]


def show(progress: Progress) -> bool:
    """Print every tenth record; a callback that returns True ends training."""
    record = progress.record
    if record["iteration"] % 10 == 0:
        print(f"{record['iteration']:4d}  objective {record['objective']:8.3f}  val {record['val_accuracy']:.3f}")
    return record["train_accuracy"] == 1.0


augment = AugmentFeatures(hops=3, operator="sym")
data = augment(graph)
model = GAMLP(data.num_features, 32, 3, num_layers=3, init="kaiming")
trainer = PdADMMG(rho=1e-1, nu=1e-1, mu=1e-3, class_weight="balanced")
result = trainer.fit(model, data, iterations=200, seed=0, patience=20, evaluate_every=1, callbacks=[show])
print(f"ended at iteration {result.last['iteration']}; best on validation: {result.best}")

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "model.safetensors"
    model.save(path, features=augment, class_names=["common", "rare", "rarest"])
    predictor = load_predictor(path)

# New nodes: the predictor takes the graph that holds them.
prediction = predictor(Data(x=x, edge_index=edge_index, edge_weight=edge_weight))
predicted = prediction.classes[~old]
print(f"new nodes: {(predicted == y[~old]).float().mean():.3f} correct")
