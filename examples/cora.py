"""Cora, or another data set, in a PyG pipeline: augment, train without backpropagation, predict."""

import argparse

import torch_geometric.transforms as T

from gamlp_admm import GAMLP, PdADMMG
from gamlp_admm.datasets import load_dataset
from gamlp_admm.errors import InputError
from gamlp_admm.transforms import AugmentFeatures

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--dataset", default="cora", help="cora, citeseer, pubmed, digits-knn, karate, …")
parser.add_argument("--root", help="data root; $GAMLP_ADMM_DATA, else a cache folder")
given = parser.parse_args()

try:
    loaded = load_dataset(given.dataset, given.root)
except InputError as error:  # neither present nor to be downloaded
    print(f"{error}\nGoing on with digits-knn, which needs no download.")
    loaded = load_dataset("digits-knn")

transform = T.Compose([T.ToUndirected(), AugmentFeatures(operator="ppr", hops=10, alpha=0.1)])
data = transform(loaded.data)  # any PyG Data with x, edge_index, y and masks will do
model = GAMLP(data.num_features, 100, loaded.info.classes, num_layers=2, init="kaiming")
result = PdADMMG().fit(model, data, iterations=100, seed=0)

classes = model(data.x).argmax(dim=-1)  # plain torch: the weights that are best on validation are in the model
correct = classes[data.test_mask] == data.y[data.test_mask]
print(f"{loaded.info.name}: test accuracy {correct.float().mean():.3f}, best at iteration {result.best['iteration']}")
