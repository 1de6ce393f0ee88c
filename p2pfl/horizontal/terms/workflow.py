"""What FedAvg's server decides, decided by nobody in particular: who trains in a round, how much a node's data count,
when the run ends. Pure; knows identities, averages and evaluations.

FedAvg (McMahan et al. 2017, algorithm 1) step by step, and what stands for it here:

| FedAvg                                   | here                                                                     |
|------------------------------------------|--------------------------------------------------------------------------|
| the server initialises the model         | every node builds it from the recipe's seed; digests are compared        |
| it samples a fraction of the clients     | `trains`: drawn from a seed that hangs on every member's key             |
| it sends them the model                  | everybody has it, up to the consensus distance                           |
| clients train some epochs                | the same; updates may be clipped and noised before they touch the model  |
| it averages, weighted by sample counts   | gossip; `weight_of` scales a node's steps by its count over the mean     |
| it looks at the metric and stops         | the mean score is kept by gossip; `StopRule` sets a common last round    |
| it has the final model                   | closing exchanges without training bring the models together             |

Differs in: a node that is not drawn still exchanges, so mixing is undisturbed. Counts weigh the model and nothing
else; a claimed count is bounded to a factor `WEIGHT_MAX` of the mean.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nsmallest
from math import ceil
from typing import Literal

from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key, derive

WEIGHT_MAX = 8.0


def trains(me: NodeId, members: Sequence[NodeId], round_: int, share: float, seed: Key) -> bool:
    """Whether `me` is among the ceil(share * N) members that train in this round.

    All members draw the same lots: those with the smallest keyed hashes train. `seed` hangs on all members' public
    keys, so no one alone chooses it; who adds his key last could try several (docs/threat_model.md).
    """
    return share >= 1 or me in drawn(members, round_, share, seed)


def drawn(members: Sequence[NodeId], round_: int, share: float, seed: Key) -> frozenset[NodeId]:
    """All that train in a round (`trains`)."""
    count = max(1, ceil(share * len(members) - 1e-9))
    return frozenset(nsmallest(count, members, key=lambda member: derive(seed, "lot", round_, member)))


def weight_of(own: float, mean: float) -> float:
    """How much a node's gradient steps count: its samples over the network's mean, within WEIGHT_MAX."""
    return min(max(own / mean, 1 / WEIGHT_MAX), WEIGHT_MAX)


@dataclass(frozen=True)
class StopRule:
    """Stop early: when the mean score over the nodes is at least `at` (accuracy) or at most (loss).

    margin: rounds between a node's seeing this and the common last round, enough for the news to reach everybody.
    """

    metric: Literal["accuracy", "loss"]
    at: float
    margin: int

    def reached(self, score: float) -> bool:
        return score >= self.at if self.metric == "accuracy" else 0 < score <= self.at
