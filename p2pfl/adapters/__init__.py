"""What people have already, as the parts of a node: a scikit-learn estimator, a Flower client, a torch module; arrays,
a torch Dataset, a pandas frame. Knows how those behave; knows no network.

Where to look: `adapt` (which is which), `adapted` (the parts, and the document that names them), `samples` (data),
`estimators` and `flower` (learners), `held` (names for what lives in this process only).

This package imports torch in its modules, never here; it imports neither Flower nor pandas, and scikit-learn only to
copy an estimator.
"""
