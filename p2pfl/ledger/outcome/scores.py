"""From commits to scores: what valuation's entries do to the state, window by window. Pure; knows no tensor, no rule.

Theory of operation
-------------------
A window's work is valued while later windows are worked in; each step is over when a window closes, be it late:

| while this window is open | members                                  | when it closes                            |
|---------------------------|------------------------------------------|-------------------------------------------|
| W                         | update.commit: work and a salt, hidden   | the root of that moment is kept           |
| W + 1                     | draw.salt                                | the seed, and so who values whom          |
| W + 2                     | show updates to evaluators; score.commit |                                           |
| W + 3                     | score.reveal                             | lower medians are the scores; rules pay   |

Somebody who vanishes on the way is not scored, or does not score; nobody waits. During a stall of finality no window
closes, so no step is missed.

What an evaluator says of a subject is a score and a finding. If more than half of those who speak of it found the same
fault, the subject's score is 0 at most. Of some faults only those can speak who were told what it takes: its auditors,
of what it sent, and its listeners, of what its neighbours felt; two of them at least, and more than half of those who
spoke, must have found it. Who is found to be at one of these has nothing of later windows either: `LASTING`.
"""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

from p2pfl.core.ids import NodeId
from p2pfl.ledger.feeds.entry import Entry
from p2pfl.ledger.feeds.kinds import (
    FAIR,
    FINDINGS,
    UNFELT,
    WIRE,
    DrawSalt,
    Payload,
    ScoreCommit,
    ScoreReveal,
    UpdateCommit,
)
from p2pfl.ledger.outcome.draw import MILLION, STANDING_MIN, Draw, draw_of, salt_digest, seed_of, standing_of
from p2pfl.ledger.outcome.members import Look, is_worker, present
from p2pfl.ledger.outcome.stake import note_bad_reveal, note_withheld
from p2pfl.ledger.outcome.state import Draft
from p2pfl.wire import canonical

DOMAIN = b"p2pfl/scores/v1\0"
LATER = 3
"""A window's scores are there when so many further windows have closed."""
OPINIONS_MIN = 3
"""Fewer evaluators than this, or than all others where there are fewer, and a subject is not scored."""
LASTING = {WIRE: 128, UNFELT: 2}
"""For how many more windows a finding holds. Of the wire four times as many as pass, on average, before one is audited,
so that cheating loses; of what was not felt few: it is looked at in every window, and may err where little is done."""
OFF_FACTOR = 3
OFF_FLOOR = 2_000
"""Far off: farther from the medians than three times what is usual among the evaluators, and 0.002."""
SCORES_KEPT = 16
"""Windows whose scores stay in the state."""


class Row(NamedTuple):
    """A row of "score.reveal"."""

    subject: bytes
    micro: int
    finding: int


class Score(NamedTuple):
    """The value at ["score", window, subject]: millionths, how many spoke, and what most of them found."""

    micro: int
    opinions: int
    finding: int


def score_commitment(author: bytes, window: int, salt: bytes, said: Payload) -> bytes:
    """What "score.commit" holds; `said` are the fields of "score.reveal" after the salt."""
    return sha256(DOMAIN + canonical.packb([author, window, salt, list(said)])).digest()


# ------------------------------------------------------------------------------------------------ entries


def update_commit(draft: Draft, entry: Entry) -> str | None:
    window = _open_window(draft)
    if draft.get("commit", window, entry.author) is not None:
        return f"it has committed in window {window} already"
    said = UpdateCommit(*entry.payload)  # type: ignore[arg-type]  # shape checked by parse
    draft.put((said.commitment, said.salt, said.first, said.last), "commit", window, entry.author)
    return None


def draw_salt(draft: Draft, entry: Entry) -> str | None:
    said = DrawSalt(*entry.payload)  # type: ignore[arg-type]
    late = _not_in(draft, said.window, 1, "salts")
    if late is not None:
        return late
    commit = draft.get("commit", said.window, entry.author)
    if commit is None:
        return f"it did not commit in window {said.window}"
    if commit[1] != salt_digest(said.salt):
        note_bad_reveal(draft, entry.author)
        return "the salt is not the one that it committed to"
    draft.put((said.salt,), "salt", said.window, entry.author)
    return None


def score_commit(draft: Draft, entry: Entry) -> str | None:
    said = ScoreCommit(*entry.payload)  # type: ignore[arg-type]
    late = _not_in(draft, said.window, 2, "commits of scores")
    if late is not None:
        return late
    drawn = draw_of(draft, said.window)
    if drawn is None or entry.author not in drawn.evaluators:
        return f"it is not drawn to evaluate window {said.window}"
    if draft.get("hidden", said.window, entry.author) is not None:
        return f"it has committed to scores of window {said.window} already"
    draft.put((said.commitment,), "hidden", said.window, entry.author)
    return None


def score_reveal(draft: Draft, entry: Entry) -> str | None:
    said = ScoreReveal(*entry.payload)  # type: ignore[arg-type]
    late = _not_in(draft, said.window, 3, "scores")
    if late is not None:
        return late
    hidden = draft.get("hidden", said.window, entry.author)
    if hidden is None:
        return f"it did not commit to scores of window {said.window} in time"
    if hidden[0] != score_commitment(entry.author, said.window, said.salt, entry.payload[2:]):
        note_bad_reveal(draft, entry.author)
        return "the scores are not those that it committed to"
    drawn = draw_of(draft, said.window)
    assert drawn is not None
    subjects = [row[0] for row in said.scores]  # type: ignore[index]
    if len(set(subjects)) != len(subjects) or not set(subjects) <= set(drawn.subjects) - {entry.author}:
        return "it scores somebody who is not drawn, twice, or itself"
    draft.put((*entry.payload[2:],), "opinion", said.window, entry.author)
    return None


EFFECTS = {
    "update.commit": update_commit,
    "draw.salt": draw_salt,
    "score.commit": score_commit,
    "score.reveal": score_reveal,
}


def _open_window(look: Look) -> int:
    value = look.get("window")
    assert value is not None
    assert isinstance(value[0], int)
    return value[0]


def _not_in(look: Look, window: int, step: int, what: str) -> str | None:
    now = _open_window(look)
    if now == window + step:
        return None
    return f"{what} of window {window} count in window {window + step}, and this is window {now}"


# ------------------------------------------------------------------------------------------------ closing a window


def collect_scores(look: Look, closing: int) -> dict[NodeId, Score]:
    """The scores that are complete when the window `closing` closes, by subject; members' only."""
    window = closing - LATER
    drawn = draw_of(look, window)
    if drawn is None:
        return {}
    found = {}
    for subject in drawn.subjects:
        score = judge(look, window, drawn, subject)
        node = present(look, subject)
        if score is not None and is_worker(look, node):
            found[node] = score
    return found


def judge(look: Look, window: int, drawn: Draw, subject: NodeId) -> Score | None:
    """What the evaluators together say of one subject; None if too few spoke."""
    said = opinions_of(look, window, drawn, subject)
    others = len(drawn.evaluators) - (subject in drawn.evaluators)
    if not said or len(said) < min(OPINIONS_MIN, others):
        return None
    median = lower_median([micro for micro, _ in said.values()])
    told = {WIRE: drawn.audits.get(subject, ()), UNFELT: drawn.listeners.get(subject, ())}
    finding = _finding({node: found for node, (_, found) in said.items()}, told)
    until, of = _caught(look.get("caught", present(look, subject)))
    if finding == FAIR and until >= window:
        finding = of
    return Score(median if finding == FAIR else min(median, 0), len(said), finding)


def opinions_of(look: Look, window: int, drawn: Draw, subject: NodeId) -> dict[NodeId, tuple[int, int]]:
    """Score and finding by evaluator, of those who spoke of this subject."""
    said: dict[NodeId, tuple[int, int]] = {}
    for evaluator in drawn.evaluators:
        value = look.get("opinion", window, evaluator)
        rows = value[-1] if value is not None else ()
        assert isinstance(rows, tuple)
        for of, micro, finding in (Row(*row) for row in rows):  # type: ignore[misc]  # shape checked by parse
            if of == subject:
                said[evaluator] = (micro, finding)
    return said


def lower_median(values: Sequence[int]) -> int:
    """The value in the middle, of two the smaller. Fewer than half of the values cannot move it past the others'."""
    assert values
    return sorted(values)[(len(values) - 1) // 2]


def _finding(found: Mapping[NodeId, int], told: Mapping[int, tuple[NodeId, ...]]) -> int:
    """What most of them found; of the faults in `told` only these can speak."""
    for finding, nodes in told.items():
        spoke = [found[node] for node in nodes if node in found]
        against = spoke.count(finding)
        if against >= 2 and 2 * against > len(spoke):
            return finding
    for finding in range(1, len(FINDINGS)):
        if finding not in told and 2 * list(found.values()).count(finding) > len(found):
            return finding
    return FAIR


def close(draft: Draft, closing: int, root: bytes, scores: Mapping[NodeId, Score]) -> None:
    """The window `closing` closes, with this root: each window under way goes one step on."""
    commits = draft.items("commit")
    if any(window == closing for (window, _), _ in commits):
        draft.put((root,), "draw", closing)
    _seed(draft, closing - 1)
    _finish(draft, closing - LATER, scores)


def _seed(draft: Draft, window: int) -> None:
    value = draft.get("draw", window)
    if value is None:
        return
    salts = {NodeId(author): row[0] for (of, author), row in draft.items("salt") if of == window}
    root = value[0]
    assert isinstance(root, bytes)
    if salts:
        draft.put((root, seed_of(root, salts)), "draw", window)  # type: ignore[arg-type]
    for (of, author), _ in draft.items("commit"):
        if of == window and author not in salts:
            _lose(draft, author)
            note_withheld(draft, author)


def _finish(draft: Draft, window: int, scores: Mapping[NodeId, Score]) -> None:
    drawn = draw_of(draft, window)
    if drawn is not None:
        _rate(draft, window, drawn)
        for subject, score in sorted(scores.items()):
            draft.put(tuple(score), "score", window, subject)
            _catch(draft, window, subject, score.finding)
    for (node,), value in draft.items("caught"):
        if _caught(value)[0] < window:
            draft.remove("caught", node)
    for tag in ("commit", "salt", "hidden", "opinion"):
        for (of, node), _ in draft.items(tag):
            if of <= window:
                draft.remove(tag, of, node)
    if draft.get("draw", window) is not None:
        draft.remove("draw", window)
    for (of, subject), _ in draft.items("score"):
        if of <= window - SCORES_KEPT:
            draft.remove("score", of, subject)


def _catch(draft: Draft, window: int, subject: NodeId, finding: int) -> None:
    """Who is caught already is not caught for longer by what follows from that; by something worse it is."""
    if finding in LASTING and _caught(draft.get("caught", subject))[1] != finding:
        draft.put((window + LASTING[finding], finding), "caught", subject)


def _caught(value: Payload | None) -> tuple[int, int]:
    """The last window in which its work is worth nothing, and the finding; of a node that is not caught (-1, FAIR)."""
    if value is None:
        return -1, FAIR
    until, finding = value
    assert isinstance(until, int)
    assert isinstance(finding, int)
    return until, finding


# ------------------------------------------------------------------------------------------------ evaluators


def _rate(draft: Draft, window: int, drawn: Draw) -> None:
    """Standing grows slowly with each window of sound scores, and is halved for silence or for being far off twice."""
    distances = distances_of(draft, window, drawn)
    usual = lower_median(list(distances.values())) if distances else 0
    for evaluator in drawn.evaluators:
        standing, off = standing_of(draft, evaluator)
        if evaluator not in distances:
            _lose(draft, evaluator)
            if draft.get("hidden", window, evaluator) is not None:
                note_withheld(draft, evaluator)
        elif distances[evaluator] > OFF_FACTOR * usual + OFF_FLOOR:
            standing = standing if off == 0 else max(standing // 2, STANDING_MIN)
            draft.put((standing, off + 1), "standing", evaluator)
        else:
            draft.put((standing + (MILLION - standing) // 10, 0), "standing", evaluator)


def distances_of(look: Look, window: int, drawn: Draw) -> dict[NodeId, int]:
    """How far each evaluator who spoke is from the medians, on average over the subjects, in millionths."""
    sums: dict[NodeId, tuple[int, int]] = {}
    for subject in drawn.subjects:
        said = opinions_of(look, window, drawn, subject)
        if not said:
            continue
        median = lower_median([micro for micro, _ in said.values()])
        for evaluator, (micro, _) in said.items():
            total, count = sums.get(evaluator, (0, 0))
            sums[evaluator] = (total + abs(micro - median), count + 1)
    return {evaluator: total // count for evaluator, (total, count) in sums.items()}


def _lose(draft: Draft, node: bytes) -> None:
    standing, off = standing_of(draft, node)
    draft.put((max(standing // 2, STANDING_MIN), off), "standing", node)


def revealed(look: Look, closing: int) -> tuple[NodeId, ...]:
    """Who scored in time in the window that is complete now, ascending: rules may pay for it."""
    window = closing - LATER
    found = {present(look, evaluator) for (of, evaluator), _ in look.items("opinion") if of == window}
    return tuple(sorted(node for node in found if is_worker(look, node)))
