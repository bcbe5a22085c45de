"""BADM or SISA, or SGD or Adam, for three modules: a GCN of PyG, the GA-MLP, and a convolutional network."""

import argparse

import torch
import torch.nn.functional as F
from torch_geometric.nn import GCN

from gamlp_admm import GAMLP
from gamlp_admm.datasets import load_dataset
from gamlp_admm.errors import InputError
from gamlp_admm.optim import BADM, SISA
from gamlp_admm.transforms import AugmentFeatures

OPTIMIZERS = {
    "badm": lambda parameters: BADM(parameters, sigma=0.3, rho=2.7),
    "sisa": lambda parameters: SISA(parameters, sigma=0.3, rho=100),
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01),
}
parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--optimizer", choices=OPTIMIZERS, default="badm")
given = parser.parse_args()
torch.manual_seed(0)


def train(title, model, outputs, data, epochs, batches=1):
    """Train on the rows of the training mask, of which ``outputs`` gives the logits; print the test accuracy."""
    optimizer = OPTIMIZERS[given.optimizer](model.parameters())
    rows = data.train_mask.nonzero().flatten()
    for _ in range(epochs):
        for batch in rows[torch.randperm(len(rows))].tensor_split(batches):
            optimizer.zero_grad()
            F.cross_entropy(outputs(batch), data.y[batch]).backward()
            optimizer.step()  # BADM and SISA also take a list of closures, one a sub-batch
    model.eval()
    correct = outputs(data.test_mask).argmax(1) == data.y[data.test_mask]
    print(f"{given.optimizer}, {title}: test accuracy {correct.float().mean():.3f}")


try:
    loaded = load_dataset("cora")
except InputError:  # neither present nor to be downloaded
    loaded = load_dataset("digits-knn")
name, graph, classes = loaded.info.name, loaded.data, loaded.info.classes
gcn = GCN(graph.num_features, 16, num_layers=2, out_channels=classes, dropout=0.5)
train(f"GCN, {name}", gcn, lambda rows: gcn(graph.x, graph.edge_index)[rows], graph, 100)

augmented = AugmentFeatures(operator="ppr", hops=10)(graph)
mlp = GAMLP(augmented.num_features, 100, classes, num_layers=2, init="kaiming")
train(f"GA-MLP, {name}", mlp, lambda rows: mlp(augmented.x[rows]), augmented, 100)

digits = load_dataset("digits").data
layers = [torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten()]
cnn = torch.nn.Sequential(torch.nn.Unflatten(1, (1, 8, 8)), *layers, torch.nn.Linear(256, 10))
train("CNN, digits", cnn, lambda rows: cnn(digits.x[rows]), digits, 30, batches=16)
