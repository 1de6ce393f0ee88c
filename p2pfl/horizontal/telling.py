"""What a node tells of itself: at each round, at the end, and when it is asked. Knows figures; decides nothing.

Where the training is private, nothing stands here that was computed on the node's own data (docs/privacy.md).
"""

from typing import Any

from p2pfl.horizontal.judging import Judging
from p2pfl.horizontal.model.local import Local
from p2pfl.horizontal.pace.desk import Desk
from p2pfl.horizontal.pace.exchange import Exchange
from p2pfl.horizontal.pace.gauge import Gauge
from p2pfl.horizontal.records.budget import Budget, withheld
from p2pfl.horizontal.terms.recipe import Recipe
from p2pfl.horizontal.valuing.part import Valuing
from p2pfl.learn.training import Trained

SPENDING = ("budget", "releases", "planned")
"""What each round's report says of the privacy budget, which is no secret."""


class Telling:
    """`gauge` is fed with every message, for what the status says of the lines."""

    def __init__(
        self,
        recipe: Recipe,
        desk: Desk,
        local: Local,
        exchange: Exchange,
        judging: Judging,
        budget: Budget | None,
        valuing: Valuing | None,
    ) -> None:
        self.recipe, self.desk, self.local, self.exchange = recipe, desk, local, exchange
        self.judging, self.budget, self.valuing = judging, budget, valuing
        self.gauge = Gauge()

    def round_over(self, trained: Trained) -> None:
        local, exchange = self.local, self.exchange
        fields: dict[str, Any] = {"round": local.round, "rounds": local.rounds, "loss": trained.loss}
        if trained.accuracy is not None:
            fields["train_accuracy"] = trained.accuracy
        fields["peers"] = exchange.num_reachable
        fields |= self.desk.report.take(local.round, self.desk.now)
        fields |= exchange.of_round()
        if exchange.apart is not None:
            fields["apart"] = exchange.apart
        if self.budget is not None:
            fields |= {key: value for key, value in self.budget.public().items() if key in SPENDING}
        self.desk.emit("round", **fields)

    def finished(self) -> None:
        local = self.local
        fields = {"round": local.round, "rounds": local.rounds, "samples": local.samples, **self.exchange.in_all()}
        self.desk.emit("finished", **fields)
        if self.valuing is not None:
            self.desk.emit("valuation", **self.valuing.told())
        if self.budget is not None:
            self.desk.emit("privacy", **self.budget.told())
        for peer, edge in sorted(self.exchange.edges.items()):
            self.desk.emit("edge", peer=peer.hex(), epoch=edge.epoch, seq=edge.seq, digest=edge.digest.hex())
        for peer, similarity in sorted(local.similarity.items()):
            self.desk.emit("similarity", peer=peer.hex(), similarity=similarity)

    def status(self, phase: str) -> dict[str, Any]:
        """For people and machines; nothing secret."""
        status: dict[str, Any] = {
            "phase": phase,
            "round": self.local.round,
            "rounds": self.local.rounds,
            "recipe": self.recipe.digest.hex(),
            "evaluation": self.judging.told(),
            "edges": self.exchange.told(),
            "report": self.desk.report.last,
            "apart": self.exchange.apart,
            "lines": self.gauge.lines(),
        }
        return status if self.budget is None else withheld(status) | {"privacy": self.budget.public()}
