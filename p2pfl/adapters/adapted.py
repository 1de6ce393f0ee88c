"""Something adapted: the parts that a network document may name, and that document. Knows no kind of model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from p2pfl.adapters.held import hold
from p2pfl.errors import ConfigError
from p2pfl.learn.data import Source
from p2pfl.learn.learner import Learner


@dataclass(frozen=True, eq=False)
class Adapted:
    """What `p2pfl.adapt` gives. In a file `client.py` as `app`, a document names its parts: `client.py:app.model`,
    `client.py:app.learner`, `client.py:app.data`. In a notebook `p2pfl.simulate(app)` runs it as it is.

    data: None if the document names them elsewhere, as a csv. train, lr: the keys of [train] that suit this kind of
    model better than the defaults.
    """

    what: str
    """For messages and templates: "SGDClassifier", "FlowerClient"."""
    model: Callable[..., nn.Module]
    learner: Callable[..., Learner] | None = None
    data: Source | None = None
    shares: Callable[..., Any] | None = None
    """How samples are dealt to the nodes of a simulation, where the usual ways make no sense."""
    train: Mapping[str, Any] = field(default_factory=dict)
    lr: float = 0.1

    def document(self, where: str | None = None) -> dict[str, Any]:
        """The sections of a network document that name these parts; `where` the document finds this object.

        Without a name it is one that lasts as long as this object does, in this process. Raises ConfigError without
        data.
        """
        where = where or hold(self)
        if self.data is None:
            raise ConfigError(f"{self.what}: expected data=..., or a document that names a [data] source; got neither")
        samples = self.data.data
        train: dict[str, Any] = {**self.train}
        if self.learner is not None:
            train["learner"] = f"{where}.learner"
        data: dict[str, Any] = {"source": f"{where}.data"}
        if self.shares is not None:
            data |= {"partition": {"by": f"{where}.shares"}, "validation_fraction": 0.0}
        elif not samples.classes:
            data["partition"] = {"by": "iid"}  # the usual one deals by class
        return {
            "model": {
                "name": f"{where}.model",
                "input_shape": list(samples.input_shape),
                "num_classes": samples.num_outputs,
            },
            "train": train,
            "data": data,
        }
