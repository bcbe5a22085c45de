"""A deep network by growth from 2 to 5 to 10 layers, with penalties for which convergence is guaranteed."""

import argparse

import torch

from gamlp_admm import GAMLP, PdADMMG
from gamlp_admm.datasets import load_dataset
from gamlp_admm.transforms import AugmentFeatures

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--plot", metavar="FILE", help="plot the history; needs matplotlib")
given = parser.parse_args()

loaded = load_dataset("digits-knn")
data = AugmentFeatures(hops=2, operator="sym", dtype=torch.float64)(loaded.data)
data.x = data.x / data.x.std()
model = GAMLP(data.num_features, 32, loaded.info.classes, num_layers=10, init="kaiming").double()
trainer = PdADMMG(rho=0.5, nu=0.1, mu=1e-3)  # rho > 4 nu: within the theorem for relu
result = trainer.fit(model, data, iterations=40, grow=(2, 5, 10), seed=0, evaluate_every=1)

print("iteration  layers  objective  |p - q|^2  train  val    test")
for record in result.history[9::10]:
    residual = record["primal_residual"]
    accuracies = "  ".join(f"{record[f'{split}_accuracy']:.3f}" for split in ("train", "val", "test"))
    print(f"{record['iteration']:9}  {record['layers']:6}  {record['objective']:9.3f}  {residual:9.2e}  {accuracies}")
print("best on validation:", result.best)

pairs = list(zip(result.history, result.history[1:], strict=False))
rises = sum(b["objective"] > a["objective"] for a, b in pairs if a["layers"] == b["layers"])
print(f"within the theorem: {result.converges}; the objective rose {rises} times within a stage")

if given.plot:
    from matplotlib import pyplot

    iterations = [record["iteration"] for record in result.history]
    figure, (above, below) = pyplot.subplots(2, sharex=True)
    above.semilogy(iterations, [record["objective"] for record in result.history], label="objective")
    above.semilogy(iterations, [record["primal_residual"] for record in result.history], label="primal residual")
    below.plot(iterations, [record["test_accuracy"] for record in result.history], label="test accuracy")
    for axes in (above, below):
        axes.legend()
    below.set_xlabel("iteration")
    figure.savefig(given.plot)
