"""A scikit-learn model as people have them, and what it takes to join a network: the two lines that are marked.

p2pfl init trial --nodes 4 --app sklearn_model.py:app
p2pfl sim trial/network.toml
"""

from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier

import p2pfl  # 1

X, y = load_digits(return_X_y=True)
X = X / 16

model = SGDClassifier(loss="log_loss")

app = p2pfl.adapt(model, (X, y))  # 2; instead of model.fit(X, y)
