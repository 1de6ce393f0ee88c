"""Local learning: one node's model, data and steps. Knows no neighbour, message or clock.

Where to look: `learner` (Learner, TorchLearner, Training), `flat` (a module whose numbers live in one vector),
`optim` and `schedule` (how a step is made and how long it is), `models`, `datasets`, `data`, `table` (what is learned
from what), `partition` (who gets which rows), `names` (built-in names and the user's own code).

This package imports torch in its modules, never here, so that `names` stays cheap.
"""
