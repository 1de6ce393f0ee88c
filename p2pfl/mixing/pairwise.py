"""Pairwise reference gossip with drift correction: the default rule. Knows one exchange of two nodes, no message.

Legend: P values; x the model; z the drift correction in gradient units; q what an end said, as everybody decodes it;
D half the difference of what both said; C(D, tau) = D * min(1, tau / |D|).

    D   = (q_other - q_mine) / 2
    x  <- x + C(D, tau_mine)
    z  <- z - dual_gain * min(damp_mine, damp_other) / W * C(D, min(tau_mine, tau_other))   (weights only, no buffers)
    W   = max(work_mine, work_other, phase_mine, phase_other)
    if |z| > 1.5 u_bar: damp <- max(0.1, 0.8 damp)   else   damp <- min(1, 1.05 damp)

The learner takes lr * z off after each optimiser step, z shortened to 1.5 u_bar for that use. What is beyond is kept
(up to four times): z cut off at one node would be missing from the sum for ever. Everything that enters z is the same
number at both ends (damp, tau and work are exchanged), so the sum of z over all nodes stays zero; at a fixed point
z_i = -E[update direction of i], so the sum of expected updates is zero whatever the speeds, step counts and learning
rates are. Since z* has the length of a mean update, a bound above u_bar (a running mean of update lengths)
excludes no fixed point.

Each end's model is held by its own clip radius alone. So a node far from all its neighbours, whose own radius is wide,
comes to them at once, while they hold on to each other; clipped at both ends alike it would be locked out for good
(docs/log.md), though no neighbour could push an end any further for it. Where nobody is clipped the mean over the
nodes stays as it is; otherwise it follows those who agree.

Size check. An end says with its half how long a q it takes whole (`reach`, three times what is usual for itself); a
longer one counts at both ends as 2^-k of itself, k the smallest that fits. Nothing is lost by that: what was not
taken remains in the sender's difference and is said next time. So a hostile neighbour moves reference, model and
drift correction by no more than an honest one does, and an honest one that is far away comes nearer in steps.
Refusing long updates instead was tried: under asynchrony it refuses honest ones, and what was refused is stale when it
lands (docs/log.md).

Built from: pairwise averaging (Lian et al. 2018, AD-PSGD; Nadiradze et al. 2021, SwarmSGD), a compression reference
per edge (Koloskova, Stich, Jaggi 2019, CHOCO-SGD; here one, held at both ends), and exact diffusion (Yuan et al.
2019) with local steps and a damped dual step. Differs from each in: z is in gradient units and normalised by the
longer worker of the pair; the step of z shrinks by itself while the bound is hit; z is clipped alike at both ends.
"""

from dataclasses import dataclass, replace
from math import inf
from statistics import median
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from p2pfl.core.vectors import ParamSchema

DAMP_MIN = 0.1
BOUND = 1.5
"""Of u_bar. At a fixed point with exact gradients |z| is u_bar itself; a bound there would leave no room."""
CAP = 4.0
"""Of the bound: how far z is kept beyond what is used of it. What is cut off for good is missing from the sum of z."""
REACH_MIN = 1e-30
"""Below this everything counts whole; so |q| / reach is finite for every |q| that can be said."""
_EMA = 0.98


class Said(NamedTuple):
    """What one end puts into an exchange. Scalars are float64 tensors ().

    All of it, as the rest of the rule, may have a leading node axis.
    """

    q: Tensor  # (P,) float32, as everybody decodes it
    norm: Tensor  # |q| as the sender states it
    reach: Tensor  # how long a q of the other end counts whole; inf where the size check is off
    work: Tensor  # learning rate summed over the local steps since the sender's last exchange
    phase: Tensor  # learning rate times the steps of one whole local phase
    tau: Tensor  # the end's clip radius; inf where clipping is off
    damp: Tensor  # in [0.1, 1]


@dataclass(frozen=True, eq=False)
class PairState:
    """What a node keeps between exchanges. Tensors; never changed in place."""

    z: Tensor  # (P,) drift correction, zero on buffers
    u_bar: Tensor  # () running mean of the update direction's length; 0 before the first step
    damp: Tensor  # ()
    rel: Tensor  # () running mean of |D| / |x|


class Mixed(NamedTuple):
    """The outcome of one exchange at one end."""

    state: PairState
    move: Tensor  # (P,) D clipped at this end's radius: to be added to the model of that moment
    distance: Tensor  # () |D| before clipping
    bounded: Tensor  # () bool: z was at its bound


@dataclass(frozen=True)
class Pairwise:
    """The rule's parameters.

    dual_gain: step of the drift correction (0 switches it off). size_check: an update longer than this many times
    the usual counts only in part; 0 switches it off. clip: the common radius, "auto" = on from three neighbours, off
    on hubs. movement: trust region, the |D| / |x| above which local phases get shorter; 0 switches it off.
    """

    needs: ClassVar[Literal["pair"]] = "pair"
    dual_gain: float = 0.25
    size_check: float = 3.0
    clip: Literal["auto", "on", "off"] = "auto"
    movement: float = 0.04

    def __post_init__(self) -> None:
        if not 0 <= self.dual_gain <= 1:
            raise ValueError(f"mix.dual_gain: expected 0 to 1, got {self.dual_gain}")
        if self.size_check and self.size_check < 1:
            raise ValueError(f"mix.size_check: expected 0 (off) or at least 1, got {self.size_check}")
        if self.clip not in ("auto", "on", "off"):
            raise ValueError(f"mix.clip: expected auto, on or off, got {self.clip!r}")
        if not 0 <= self.movement <= 10:
            raise ValueError(f"mix.movement: expected 0 (off) to 10, got {self.movement}")

    def init(self, x: Tensor) -> PairState:
        scalar = torch.zeros((), dtype=torch.float64)
        return PairState(torch.zeros_like(x), scalar, scalar + 1, scalar)

    def trained(self, state: PairState, directions: Tensor) -> PairState:
        """After a local phase: fold the update lengths of its steps, directions (H,) float64, into u_bar."""
        steps = directions.shape[-1]
        ages = torch.arange(steps - 1, -1, -1, dtype=torch.float64)
        fresh = (directions * (1 - _EMA) * _EMA**ages).sum(-1)
        first = state.u_bar == 0
        return replace(state, u_bar=torch.where(first, directions.mean(-1), state.u_bar * _EMA**steps + fresh))

    def mix(self, state: PairState, x: Tensor, mine: Said, other: Said, schema: ParamSchema) -> Mixed:
        """One exchange at one end; x (P,) is the model of this moment, wherever q_mine was taken from.

        `mine.q` and `other.q` are as they count (`counted`). Law: with both ends' arguments swapped, the change of z
        has the opposite sign, bit for bit, and so has `move` where neither end clips. All may have a leading node axis.
        """
        move = (other.q - mine.q).mul_(0.5)
        distance = _length(move)
        common = _shortened(move, distance, torch.minimum(mine.tau, other.tau))
        move = _shortened(move, distance, mine.tau)
        work = torch.stack([mine.work, other.work, mine.phase, other.phase]).amax(0)
        gain = self.dual_gain * torch.minimum(mine.damp, other.damp) / work
        step = common.to(state.z.dtype) * _along(gain, state.z)
        if (mask := _on_weights(schema, state.z)) is not None:
            step *= mask
        z = torch.sub(state.z, step, out=step)
        length = _roughly(z)
        bound = BOUND * state.u_bar
        bounded = (length > bound) & (bound > 0)
        _shorten(z, length, torch.where(bound > 0, CAP * bound, inf))
        damp = torch.where(bounded, (0.8 * state.damp).clamp(min=DAMP_MIN), (1.05 * state.damp).clamp(max=1.0))
        size = _roughly(x).clamp(min=1e-30)
        rel = 0.7 * state.rel + 0.3 * distance / size
        return Mixed(PairState(z, state.u_bar, damp, rel), move, distance, bounded)

    def shift(self, state: PairState, loan: Tensor | None = None) -> Tensor:
        """What the next local phase takes off, lr times this after each step: z, no longer than the bound. (P,).

        loan (P,): what this node alone adds to it for a while.
        """
        z = state.z if loan is None else state.z + loan
        length = _roughly(z)
        bound = BOUND * state.u_bar
        over = (length > bound) & (bound > 0)
        if not over.any():
            return z
        return z * _along(torch.where(over, bound / length, 1.0), z)

    def phase_steps(self, state: PairState, steps: int) -> int:
        """Trust region: own steps before the next exchange, 1 to `steps`."""
        if not self.movement:
            return steps
        return min(max(round(steps * self.movement / max(float(state.rel), 1e-9)), 1), steps)

    def reach(self, norm: float, norms: list[float]) -> float:
        """How long a q of the other end counts whole: size_check * max(min(|q_mine|, 4 usual), usual).

        `usual` is the median of one's own last |q| over the edges; inf while nothing has been said.
        """
        if not self.size_check:
            return inf
        usual = median(norms) if norms else norm
        longest = self.size_check * max(min(norm, 4 * usual), usual)
        return longest if longest >= REACH_MIN else inf

    def clips(self, degree: int, degree_median: float) -> bool:
        """Whether a node of this degree clips: no rule can outvote a hub, and few edges give no quantile."""
        if self.clip == "auto":
            return 3 <= degree <= 2 * degree_median
        return self.clip == "on"


def own_pull(before: Tensor, after: Tensor, work: float, schema: ParamSchema) -> Tensor:
    """The z that would have held a node where it was: of a phase from `before` to `after`, both (P,), without a shift.

    work: learning rate summed over its steps. Zero on buffers. Law: a step's z is minus its update direction.
    """
    pull = (after - before) / work
    if (mask := _on_weights(schema, pull)) is not None:
        pull *= mask
    return pull


def counted(q: Tensor, norm: Tensor, reach: Tensor) -> Tensor:
    """q (P,) as it counts at both ends: whole if norm <= reach, else times 2^-k with the smallest k that fits.

    A power of two, found without rounding, so that both ends get the same bits.
    """
    mantissa, exponent = torch.frexp(norm / reach)
    k = torch.where(mantissa == 0.5, exponent - 1, exponent)
    return torch.where((norm > reach).unsqueeze(-1), torch.ldexp(q, -k.unsqueeze(-1)), q)


def radius_of(distances: list[float]) -> float:
    """tau: the 25 % quantile of the |D| last seen on one's own edges; inf before three are known."""
    if len(distances) < 3:
        return inf
    place, ordered = 0.25 * (len(distances) - 1), sorted(distances)
    low = ordered[int(place)]
    return low + (place - int(place)) * (ordered[int(place) + 1] - low)


def _shorten(v: Tensor, length: Tensor, limit: Tensor) -> None:
    """v (..., P) of these lengths (...), in place, to no more than its limit (...). Mostly nothing is too long."""
    over = length > limit
    if over.any():
        v *= _along(torch.where(over, limit / length, 1.0), v)


def _shortened(v: Tensor, length: Tensor, limit: Tensor) -> Tensor:
    """The same, as another tensor where something is too long."""
    over = length > limit
    return v * _along(torch.where(over, limit / length, 1.0), v) if over.any() else v


def _length(v: Tensor) -> Tensor:
    """|v| of v (..., P), float64 (...)."""
    length: Tensor = torch.linalg.vector_norm(v, dim=-1, dtype=torch.float64)
    return length


def _roughly(v: Tensor) -> Tensor:
    """The same, added up in v's own precision: for what only this node uses."""
    length: Tensor = torch.linalg.vector_norm(v, dim=-1)
    return length.double()


def _along(scalar: Tensor, v: Tensor) -> Tensor:
    """(...) -> (..., 1) in v's dtype: to be multiplied with v (..., P)."""
    return scalar.to(v.dtype).unsqueeze(-1)


def _on_weights(schema: ParamSchema, like: Tensor) -> Tensor | None:
    """1 on weights, 0 on buffers, (P,); None where there are no buffers."""
    if len(schema.groups) == 1 and schema.groups[0].name == "weights":
        return None
    mask = torch.zeros(schema.size, dtype=like.dtype)
    for group in schema.groups:
        if group.name == "weights":
            mask[group.start : group.stop] = 1
    return mask
