"""What a network's run cost in privacy, for its summary. Knows what nodes emitted; knows no terminal.

The tight figure takes a second, so it is computed here, once for all nodes that spent alike, and not by the nodes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from p2pfl.core.party import Emit
from p2pfl.errors import ConfigError
from p2pfl.horizontal.records.budget import told
from p2pfl.privacy.accounting import ADJACENCY, Event, epsilon_quick, epsilon_tight
from p2pfl.privacy.spending import Promise, Spending

UNITS = {"example": "one training example", "node": "all training examples of one node"}


def privacy_report(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Of the nodes' summaries; None without privacy. Epsilon is that of the node that spent most.

    After a restart with another noise a node has several kinds of release; then only the quick bound is known here.
    """
    spent = [row["privacy"] for row in rows if row.get("privacy")]
    if not spent:
        return None
    most = max(spent, key=lambda fields: float(fields["epsilon_quick"]))
    releases = [Event(most["noise"], most["rate"], most["releases"])]
    tight = epsilon_tight(releases, most["delta"]) if most.get("coalition") is None else most["epsilon_quick"]
    mixed = tight > most["epsilon_quick"] * (1 + 1e-9) or bool(most.get("kinds", 1) > 1)
    return {
        "unit": UNITS[most["unit"]],
        "adjacency": ADJACENCY,
        "delta": most["delta"],
        "epsilon": most["epsilon_quick"] if mixed else tight,
        "epsilon_quick": most["epsilon_quick"],
        "budget": most["budget"],
        "noise": most["noise"],
        "rate": most["rate"],
        "releases": most["releases"],
    } | _coalition(most)


def _coalition(spent: Mapping[str, Any]) -> dict[str, Any]:
    """Where noise was shared out: up to how many work together, and epsilon against all others of a cell."""
    if spent.get("coalition") is None:
        return {}
    left = Event(spent["alone"], spent["rate"], spent["releases"])
    return {"coalition": spent["coalition"], "epsilon_alone": epsilon_quick([left], spent["delta"])}


def spent_after(promise: Promise, releases: int) -> Emit:
    """What a node emits at its end: for engines without Parties."""
    return Emit("privacy", told(Spending.begin(promise).after(releases)))


def refuse_short(promise: Promise) -> None:
    """Raises ConfigError if the budget does not hold the whole run: for engines in which all nodes do alike."""
    if promise.coalition is not None:
        raise ConfigError("privacy.coalition: this engine sums no integers and adds no shares; use --engine events")
    left = Spending.begin(promise).left
    if left < promise.planned:
        raise ConfigError(
            f"privacy.epsilon: the budget holds {left} of {promise.planned} releases, and this engine does not stop "
            "single nodes: use --engine events, more noise or fewer rounds"
        )
