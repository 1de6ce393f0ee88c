"""What one evaluator finds out about the work it was shown: a pure function of it. Knows updates, codecs and a learner;
knows no time and no neighbour.

In this order, for each subject: did it show anything; is that what it committed to; if it is audited, does its message
follow from its model; is it a copy of an earlier commit, or of an earlier window's work. What is left plays the game
(valuation/game.py) on the evaluator's own model of the time before that work, and a Shapley value is its share. Whose
listener this evaluator is, of those it finds out besides whether their neighbours felt their work (valuation/felt.py);
that changes no value here, so that all evaluators play the same game.

Scores are shares of what the evaluator's model really gained meanwhile: with phi the Shapley values and G the gain,

    score = phi * min(1, max(G, 0) / sum of |phi|)

Updates of one window, added to one model, can seem to gain where the network gains nothing: late in a run, when each
node's own part is long and all of them cancel. Without that factor such windows decide who earned most (docs/log.md).
If the model gained less than TOLERANCE no coalition is tried (GTG-Shapley's truncation between rounds).

A message is made again from the model and the reference with the same codec and key, and compared as vectors: two
machines may round a norm differently, so they need not agree in the last bit, but `WIRE_TOLERANCE` of the length. That
the body is the one that arrived is said by the receiver's final receipt, which reference it was by its signature.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key
from p2pfl.errors import Reject
from p2pfl.horizontal.model.algorithm import encode_vectors
from p2pfl.horizontal.model.work import GossipWork, body_digest, check_sections, decode_sections
from p2pfl.horizontal.valuing.receipts import Digests
from p2pfl.horizontal.valuing.shown import Parts, Shown, unpack
from p2pfl.learn.data import SplitName
from p2pfl.ledger.feeds.kinds import COPIED, FAIR, SCORE_MAX, STALE, UNFELT, UNOPENED, UNREVEALED, WIRE
from p2pfl.mixing.reference import Reference, difference
from p2pfl.valuation import (
    Estimate,
    Game,
    Sketcher,
    best_step,
    digest_of,
    estimate,
    estimator_of,
    find_copies,
    is_felt,
    is_stale,
    scaled,
    usual_length,
)
from p2pfl.valuation.game import STEPS
from p2pfl.valuation.shapley import TOLERANCE
from p2pfl.wire.envelope import chunk_digests, open_head
from p2pfl.wire.messages import Update

WIRE_TOLERANCE = 0.01

Rows = tuple[tuple[bytes, int, int], ...]
"""[subject, millionths, finding]."""


@dataclass(frozen=True, eq=False)
class Subject:
    """Whose work it is, and what is known of it. order: position of its commit in the log. shown, body: None if nothing
    came in time. audited: whether this evaluator is to look at the wire. parts: sketches of what its neighbours did to
    its model, if this evaluator is to listen to them; missing: neighbours that said nothing."""

    node: NodeId
    commitment: bytes
    order: int
    shown: Shown | None
    body: bytes
    audited: bool
    parts: tuple[Tensor, ...] = ()
    missing: int = 0


@dataclass(frozen=True, eq=False)
class Appraisal:
    """The task. x, after (P,): the evaluator's model before and after the window of the work; earlier: what was shown
    before; seed: of the draw."""

    x: Tensor
    after: Tensor
    subjects: tuple[Subject, ...]
    earlier: tuple[Tensor, ...]
    receipts: Digests
    key: Key
    split: SplitName
    gtg: bool = False
    seed: bytes = b""


@dataclass(frozen=True, eq=False)
class Appraised:
    """rows: one per subject. seen: the updates, by subject, as they were shown. evaluations, samples: what it took."""

    rows: Rows
    seen: Mapping[NodeId, Tensor]
    model: bytes
    estimator: str
    evaluations: int
    samples: int


def appraise(task: Appraisal, work: GossipWork) -> Appraised:
    """Look at each subject's work, then value what is sound together."""
    findings: dict[NodeId, int] = {}
    seen: dict[NodeId, Tensor] = {}
    for subject in task.subjects:
        findings[subject.node], update = look_at(subject, task.receipts, work)
        if update is not None:
            seen[subject.node] = update
    sound = [subject for subject in task.subjects if findings[subject.node] == FAIR]
    updates = [seen[subject.node] for subject in sound]
    for index in find_copies(updates, [subject.order for subject in sound]):
        findings[sound[index].node] = COPIED
    for subject in sound:
        if findings[subject.node] == FAIR and is_stale(seen[subject.node], task.earlier):
            findings[subject.node] = STALE
    players = [subject.node for subject in sound if findings[subject.node] == FAIR]
    found = value_of(task, players, scaled([seen[node] for node in players]), work)
    values = dict(zip(players, found.values, strict=True))
    findings |= dict.fromkeys(unfelt(task, {node: seen[node] for node in players}), UNFELT)
    rows = tuple((s.node, micro(values.get(s.node, 0.0)), findings[s.node]) for s in task.subjects)
    samples = work.learner.num_samples(task.split)
    return Appraised(rows, seen, digest_of(task.x), found.name, found.evaluations, samples)


def unfelt(task: Appraisal, players: Mapping[NodeId, Tensor]) -> list[NodeId]:
    """Subjects that this evaluator listens to, and whose work their neighbours did not feel. players: by node, (P,)."""
    heard = [subject for subject in task.subjects if subject.parts and subject.node in players]
    if not heard:
        return []
    usual = usual_length(players.values())
    sketch = Sketcher(task.seed, len(task.x))
    return [s.node for s in heard if not is_felt(sketch(players[s.node]), s.parts, usual, s.missing)]


def value_of(task: Appraisal, players: Sequence[object], updates: Sequence[Tensor], work: GossipWork) -> Estimate:
    """Each player's share of the gain; `evaluations` counts the models that were looked at."""
    utility, name = Utility(work, task.split), estimator_of(len(players), task.gtg)
    gain = utility(task.after) - utility(task.x)
    if not players or not gain > TOLERANCE:
        return Estimate((0.0,) * len(players), 2, name)
    step = best_step(task.x, updates, lambda x: -work.learner.evaluate(x, task.split).loss)
    game = Game(task.x, updates, utility, step)
    found = estimate(len(players), game, task.key, task.gtg)
    return Estimate(parts_of(gain, found.values), game.evaluations + len(STEPS) + 2, found.name)


def parts_of(gain: float, values: Sequence[float]) -> tuple[float, ...]:
    """The values, made smaller together where they say more than what was gained."""
    size = sum(abs(value) for value in values)
    factor = min(1.0, gain / size) if size > 0 else 0.0
    return tuple(factor * value for value in values)


class Utility:
    """How good a model is on a part of one's data, 0 to 1: the mean probability that it gives to the right class;
    accuracy from a learner that does not say; the negative loss where there are no classes.

    Accuracy moves in steps of one example, and on few of them says little. The logarithm lets single mistakes decide.
    Of four utilities the probability agreed best with retraining, and put wrong labels below right ones (docs/log.md).
    """

    def __init__(self, work: GossipWork, split: SplitName) -> None:
        self.work, self.split = work, split

    def __call__(self, x: Tensor) -> float:
        judged = self.work.learner.evaluate(x, self.split)
        if judged.sureness is not None:
            return judged.sureness
        return -judged.loss if judged.accuracy is None else judged.accuracy


def micro(value: float) -> int:
    return min(max(round(value * 1e6), -SCORE_MAX), SCORE_MAX) if value == value else -SCORE_MAX


def look_at(subject: Subject, receipts: Digests, work: GossipWork) -> tuple[int, Tensor | None]:
    """The finding about one subject alone, and its update (P,) if it can be read."""
    shown = subject.shown
    if shown is None:
        return UNREVEALED, None
    opening = shown.opening
    if opening.author != subject.node or opening.commitment != subject.commitment:
        return UNOPENED, None
    parts = unpack(shown, subject.body, work.schema.size)
    try:
        check_sections(work.codec, shown.sections, len(parts.update), work.schema)
        update = decode_sections(work.codec, shown.sections, parts.update, work.schema)
    except Reject:
        return UNOPENED, None
    if update_digest(bytes(parts.update)) != opening.update or not bool(torch.isfinite(update).all()):
        return UNOPENED, None
    if not subject.audited:
        return FAIR, update
    if shown.audit is None:
        return UNREVEALED, update
    return (FAIR if is_message_of_model(shown, parts, receipts, work) else WIRE), update


def update_digest(code: bytes) -> bytes:
    """What an opening says of the coded update."""
    return body_digest(chunk_digests((code,)))


def is_message_of_model(shown: Shown, parts: Parts, receipts: Digests, work: GossipWork) -> bool:
    """Whether the message that was received is the one that follows from the model that was committed to.

    True if no final receipt speaks of it: then nobody says that it arrived.
    """
    opening, audit = shown.opening, shown.audit
    assert audit is not None
    received = receipts.get((opening.to, opening.author, opening.epoch, opening.seq))
    if received is None:
        return True
    reference = Reference(parts.reference, audit.exponents)
    if received != body_digest(chunk_digests((parts.said,))) or digest_of(parts.model) != opening.after:
        return False
    if len(audit.exponents) != len(work.schema.groups) or reference.digest() != opening.reference:
        return False
    if not _is_signed(opening.to, opening.epoch, opening.seq, opening.reference, audit.head):
        return False
    try:
        check_sections(work.codec, audit.sections, len(parts.said), work.schema)
        said = decode_sections(work.codec, audit.sections, parts.said, work.schema)
        v = difference(parts.model, reference, work.schema)
        _, again = encode_vectors(work.codec, v, work.schema, Key(audit.key), audit.damp)
    except (Reject, ValueError):
        return False
    return _near(said, again)


def _near(said: Tensor, again: Tensor) -> bool:
    apart, length = torch.linalg.vector_norm(said - again), torch.linalg.vector_norm(again)
    return bool(apart <= WIRE_TOLERANCE * length + 1e-12)


def _is_signed(by: bytes, epoch: int, seq: int, reference: bytes, raw: bytes) -> bool:
    """Whether the other end said, in the same exchange, that this was the reference."""
    try:
        head = open_head(raw)
        if head.author != by or head.kind != Update.KIND or not head.authentic():
            return False
        update = Update.from_fields(head.fields)
    except Reject:
        return False
    return (update.epoch, update.seq, update.reference) == (epoch, seq, reference)


def newest(known: Sequence[Mapping[NodeId, Tensor]]) -> tuple[Tensor, ...]:
    """All updates of these windows, for `Appraisal.earlier`."""
    return tuple(update for window in known for update in window.values())
