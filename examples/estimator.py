"""A scikit-learn pipeline on the digits: scaling, training by dlADMM, a search over penalty and width."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from gamlp_admm.estimators import ADMMClassifier

x, y = load_digits(return_X_y=True)
x = x.astype(np.float32)  # trains in float32
x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.2, stratify=y, random_state=0)

pipeline = Pipeline([("scale", StandardScaler()), ("mlp", ADMMClassifier(random_state=0, iterations=100))])
pipeline.fit(x_train, y_train)
print(f"as it comes: test accuracy {pipeline.score(x_test, y_test):.3f}")

search = GridSearchCV(pipeline, {"mlp__nu": [0.1, 1.0], "mlp__hidden": [30, 100]}, cv=3)
search.fit(x_train, y_train)
for values, score in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True):
    print(f"nu {values['mlp__nu']:3}, {values['mlp__hidden']:3} neurons: {score:.3f} in cross-validation")
print(f"the best of them: test accuracy {search.score(x_test, y_test):.3f}")

pipeline.set_params(mlp__early_stopping=True).fit(x_train, y_train)
mlp = pipeline["mlp"]
print(f"stopped after {mlp.n_iter_} iterations, at {mlp.best_validation_score_:.3f} on the rows held out")
print(mlp.model_)  # a torch.nn.Module
