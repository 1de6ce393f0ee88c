"""What one node's run came to, gathered from what it emitted. Knows event names; knows no host."""

from dataclasses import dataclass, field
from typing import Any

from p2pfl.core.party import Emit, Scalar


@dataclass(eq=False)
class Outcome:
    """Feed it every Emit of one node; read it at any time."""

    name: str
    num_params: int
    round: int = 0
    rounds: int = 0
    loss: float | None = None
    evaluations: dict[str, dict[str, Scalar]] = field(default_factory=dict)
    traffic: dict[str, int] = field(default_factory=dict)
    finished: dict[str, Scalar] = field(default_factory=dict)
    edges: list[dict[str, Scalar]] = field(default_factory=list)
    failure: str | None = None
    first_round_s: float | None = None
    last_s: float = 0.0
    refused: int = 0
    peers: int = 0
    ledger: dict[str, Scalar] = field(default_factory=dict)
    privacy: dict[str, Scalar] = field(default_factory=dict)
    valuation: dict[str, Scalar] = field(default_factory=dict)
    personal: dict[str, Scalar] = field(default_factory=dict)
    similarity: dict[str, float] = field(default_factory=dict)

    def take(self, seconds: float, emit: Emit) -> None:
        fields = dict(emit.fields)
        if emit.name.startswith("ledger."):  # not the learning's time: it goes on a little at the end
            if emit.name in ("ledger.final", "ledger.left"):
                self.ledger |= fields
            return
        self.last_s = seconds
        match emit.name:
            case "round":
                if self.first_round_s is None:
                    self.first_round_s = seconds
                self.round, self.rounds = int(fields["round"] or 0), int(fields["rounds"] or 0)
                self.loss = float(fields["loss"] or 0.0)
                self.peers = int(fields.get("peers") or 0)
                self._count(fields)
            case "evaluation":
                self.evaluations[str(fields["split"])] = {k: fields[k] for k in ("loss", "accuracy") if k in fields}
                self._count(fields)
            case "finished":
                self.finished, self.edges = fields, []
                self.round = int(fields["round"] or 0)
                self.rounds = int(fields.get("rounds") or self.rounds)  # who came for the end has told of no round
                self._count(fields)
            case "edge":
                self.edges.append(fields)
            case "valuation":
                self.valuation = fields
            case "similarity":
                self.similarity[str(fields["peer"])] = float(fields["similarity"] or 0.0)
            case "personal":
                self.personal = fields
            case "privacy":
                self.privacy = fields
            case "failed":
                self.failure = str(fields["reason"])
            case "rejected" | "refused":
                self.refused += 1

    def _count(self, fields: dict[str, Scalar]) -> None:
        if "bytes_sent" not in fields:
            return
        for name in ("bytes_sent", "bytes_received", "bodies_sent", "body_bytes_sent"):
            self.traffic[name] = int(fields.get(name) or 0)

    @property
    def accuracy(self) -> float | None:
        """On the common test set, else on what the node could judge itself by."""
        for split in ("test", "validation", "train"):
            if split in self.evaluations:
                value = self.evaluations[split].get("accuracy")
                return None if value is None else float(value)
        return None

    @property
    def bytes_full_precision(self) -> int:
        """What the same messages would have taken with every vector as float32."""
        t = self.traffic
        return t["bytes_sent"] - t["body_bytes_sent"] + t["bodies_sent"] * 4 * self.num_params if t else 0

    def summary(self) -> dict[str, Any]:
        seconds = self.last_s - (self.first_round_s if self.first_round_s is not None else self.last_s)
        return {
            "name": self.name,
            "round": self.round,
            "rounds": self.rounds,
            "accuracy": self.accuracy,
            "evaluations": self.evaluations,
            **self.traffic,
            "bytes_full_precision": self.bytes_full_precision,
            "seconds": round(seconds, 3),
            "exchanges": self.finished.get("exchanges"),
            "bounded": self.finished.get("bounded"),
            "refused": self.refused,
            "edges": self.edges,
            "ledger_height": self.ledger.get("height"),
            "ledger_bytes_sent": self.ledger.get("ledger_bytes_sent", 0),
            "privacy": self.privacy or None,
            "valuation": self.valuation or None,
            "personal": self.personal or None,
            "similarity": self.similarity or None,
            "failure": self.failure,
        }
