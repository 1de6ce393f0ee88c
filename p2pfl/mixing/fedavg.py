"""FedAvg without a coordinator: everybody says its model to everybody and takes the mean. The reference to beat.

    x_i' = (1 / N) sum_j q_j        over all N nodes, oneself included

Needs a complete graph: every round costs N - 1 messages a node, where FedAvg's coordinator costs one each way.
All nodes hold the same model after a round, to rounding. A node that is not heard counts as what oneself said.

Source: McMahan et al. 2017, algorithm 1, with every client in every round and equal weights. Differs from the paper
in: no coordinator, and so no sampling of clients.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from p2pfl.mixing.rows import Crowd, Heard, Phase, RowMixer, State, Weighting, pull, pull_all


@dataclass(frozen=True)
class FedAvg(RowMixer):
    """The rule has no parameters."""

    looks_back: ClassVar[bool] = False
    elementwise: ClassVar[bool] = True
    weighting: ClassVar[Weighting] = "everybody"

    def mix(self, state: State, x: Tensor, heard: Heard, phase: Phase) -> tuple[State, Tensor]:
        """Law: without loss and with a lossless codec, x' is the same at all nodes: their mean."""
        return state, heard.own + pull(heard)

    def mix_all(self, states: State, x: Tensor, crowd: Crowd, phases: Phase) -> tuple[State, Tensor]:
        return states, crowd.own + pull_all(crowd)
