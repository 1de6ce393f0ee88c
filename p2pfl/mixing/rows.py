"""What a neighbourhood rule is: the protocol, and what an exchange hands to it. Knows no rule, message or graph.

Legend: P values in a model; K neighbours heard; V vectors in what a node says (1 for most rules); C notes.

A round of a neighbourhood rule: every node trains, says one row (`outgoing`, coded) to its neighbours, and mixes the
rows it hears (`mix`) into its model. The functions are pure and made of torch operations without data-dependent shapes
or control flow: the dense engine maps exactly them over a leading node axis (`torch.func.vmap`).
"""

from collections.abc import Mapping
from typing import ClassVar, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

State = Mapping[str, Tensor]
"""What a node keeps between rounds, by name: vectors (P,) in the model's dtype, scalars () in float64. Written down
with the model; never changed in place. Its names and shapes are those of `init`, always."""

Weighting = Literal["metropolis", "everybody", "uniform", "push", "cell"]
"""Where the weights of the rows come from; the last two need no agreement between the ends of an edge.

    metropolis  w_ij = 1 / (1 + max(d_i, d_j)): symmetric, rows sum to 1 with the rest on oneself
    everybody   w_ij = 1 / N; the graph must be complete
    uniform     w_ij = 1 / (1 + rows that i is to hear this round): rows sum to 1, columns do not
    push        w_ij = 1 / (1 + nodes that j says its row to this round): columns sum to 1, rows do not
    cell        w_ij = 1 / c within i's cell of this round, c its members (secagg/partition.py)
"""

WEIGHTINGS: tuple[Weighting, ...] = ("metropolis", "everybody", "uniform", "push", "cell")


class Phase(NamedTuple):
    """What the local phase before this round gave. work is 0 if there were no steps."""

    before: Tensor  # (P,) the model when the phase began
    work: Tensor  # () float64, learning rate summed over its steps


class Heard(NamedTuple):
    """One round's rows at one node, in the model's dtype. A weight of 0 means that a row is absent."""

    own: Tensor  # (V P,) what this node said, as everybody decodes it
    inbox: Tensor  # (K, V P) what the neighbours said
    weights: Tensor  # (K,) float64, sum <= 1 (except "push")
    given: Tensor  # () float64, the sum of the weights that this node's own row has at others
    notes: Tensor  # (K, C) float64, the neighbours' notes


class Crowd(NamedTuple):
    """The same for n of all N nodes at once. A weight of 0 means that a row is absent."""

    own: Tensor  # (n, V P)
    rows: Tensor  # (N, V P), what everybody said
    heard: Tensor  # (n, K) int64, numbers of the rows that each of these nodes hears
    weights: Tensor  # (n, K) float64
    given: Tensor  # (n,)
    notes: Tensor  # (N, C)


class Note(NamedTuple):
    """A scalar of the state that travels beside the row, uncoded; a neighbour's outside [low, high] is refused."""

    name: str
    low: float
    high: float


class RowMixer(Protocol):
    """A rule that mixes rows of the whole neighbourhood. A frozen dataclass of its parameters.

    Only `mix` has to be written: inherit from this class for the rest, which says the model itself and keeps nothing.

    needs: "rows". looks_back: whether `outgoing` or `mix` reads phase.before; a simulator keeps no second copy of
    models for a rule that does not. elementwise: whether no state is kept and each value of the result depends on
    scalars and on the same place of what goes in alone; a node then mixes a long model piece by piece. weighting: see
    above. vectors: V, of P values each, one after another in what is said. notes: see `Note`. every_row: whether a row
    that is never heard leaves a lasting error, so that the rule is for rounds that wait for everybody. fanout: say the
    row to so many neighbours a round, drawn anew each round from a seed that all know; 0 is all of them.

    A rule that weighs neighbours by how alike they are may offer `similarity(heard)`, (K,) float64 from -1 to 1; a node
    tells at its end what it was in the last round.

    A rule whose `mix` is linear in what was heard may offer `mix_all(states, x, crowd, phases)` too, with a leading
    node axis on everything: it must agree with `mix` at every node, and is what makes thousands of nodes fast.
    """

    needs: ClassVar[Literal["rows"]] = "rows"
    looks_back: ClassVar[bool] = True
    every_row: ClassVar[bool] = False
    elementwise: ClassVar[bool] = False
    weighting: ClassVar[Weighting] = "metropolis"
    vectors: ClassVar[int] = 1
    notes: ClassVar[tuple[Note, ...]] = ()

    @property
    def fanout(self) -> int:
        return 0

    def init(self, x: Tensor) -> State:
        """The state before the first round; x (P,) is the start, the same at every node."""
        return {}

    def shift(self, state: State) -> Tensor | None:
        """(P,) in gradient units: the local phase takes lr * shift off after each optimiser step. None: nothing.

        Values on module buffers are not used. A part of the state, not a computation: it is read in the event loop.
        """
        return None

    def outgoing(self, state: State, x: Tensor, phase: Phase) -> Tensor:
        """(V P,): what to say to the neighbours, before the codec; x (P,) is the model after the local phase."""
        return x

    def mix(self, state: State, x: Tensor, heard: Heard, phase: Phase) -> tuple[State, Tensor]:
        """-> the next state and the next model (P,). x is the x that `outgoing` saw."""
        ...


def pull(heard: Heard) -> Tensor:
    """sum_j w_j (q_j - q_own), (V P,): what moves nobody who agrees, however coarse the codec."""
    weights = heard.weights.to(heard.inbox.dtype).unsqueeze(-1)
    apart = heard.inbox - heard.own
    return apart.mul_(weights).sum(dim=0)


def pull_all(crowd: Crowd) -> Tensor:
    """`pull` of every node, (n, V P), in one pass over the rows. Equal to rounding."""
    weights = crowd.weights.to(crowd.own.dtype)
    mixed: Tensor = torch.nn.functional.embedding_bag(crowd.heard, crowd.rows, mode="sum", per_sample_weights=weights)
    return mixed.addcmul_(weights.sum(1, keepdim=True), crowd.own, value=-1)


def over_work(v: Tensor, phase: Phase) -> Tensor:
    """v / work in gradient units, (P,) or (N, P); 0 where there was no work."""
    rate = torch.where(phase.work > 0, 1.0 / phase.work, 0.0)
    return v * rate.to(v.dtype).unsqueeze(-1)
