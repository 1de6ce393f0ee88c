"""Why a node's work was scored as it was, in words. Knows the state before a window closes; never changes anything."""

from collections.abc import Iterator

from p2pfl.core.ids import NodeId, short
from p2pfl.ledger.feeds.kinds import FAIR, FINDINGS
from p2pfl.ledger.outcome.draw import Draw, draw_of, standing_of
from p2pfl.ledger.outcome.members import Look, present
from p2pfl.ledger.outcome.scores import LATER, OPINIONS_MIN, judge, opinions_of

NAMED = 4
"""Silent evaluators in one line."""


def score_lines(look: Look, closing: int, node: NodeId) -> Iterator[str]:
    """What valuation says of the node when the window `closing` closes; nothing if the network values nothing."""
    window = closing - LATER
    drawn = draw_of(look, window)
    if drawn is None:
        return
    for key in _keys(look, window, node):
        yield from _as_subject(look, window, drawn, key)
        yield from _as_evaluator(look, window, drawn, key)
    standing, off = standing_of(look, node)
    if look.get("standing", node) is not None:
        yield f"its standing as an evaluator is {standing / 1e6:.2f}{f', far off {off} times in a row' if off else ''}"


def _keys(look: Look, window: int, node: NodeId) -> list[NodeId]:
    """The keys under which the node committed; its own if it did not."""
    found = [NodeId(author) for (of, author), _ in look.items("commit") if of == window]
    return [author for author in found if present(look, author) == node] or [node]


def _as_subject(look: Look, window: int, drawn: Draw, node: NodeId) -> Iterator[str]:
    if look.get("commit", window, node) is None:
        yield f"it committed to no work in window {window}, whose scores are due: there is nothing to score"
    elif look.get("salt", window, node) is None:
        yield f"it committed in window {window} and did not show its salt in time: it was left out of the draw"
    elif node not in drawn.subjects:
        yield f"its work of window {window} was not drawn"
    else:
        yield from _scored(look, window, drawn, node)


def _scored(look: Look, window: int, drawn: Draw, node: NodeId) -> Iterator[str]:
    said, score = opinions_of(look, window, drawn, node), judge(look, window, drawn, node)
    silent = [short(evaluator) for evaluator in drawn.evaluators if evaluator != node and evaluator not in said]
    if silent:
        more = f" and {len(silent) - NAMED} more" if len(silent) > NAMED else ""
        yield f"drawn to evaluate it, and said nothing in time: {', '.join(silent[:NAMED])}{more}"
    if score is None:
        yield f"{len(said)} of {OPINIONS_MIN} needed evaluators spoke of its work of window {window}: it is not scored"
        return
    values = ", ".join(f"{micro / 1e6:+.4f}" for micro, _ in sorted(said.values()))
    yield f"its work of window {window} is worth {score.micro / 1e6:+.6f}; {len(said)} evaluators said {values}"
    if score.finding != FAIR:
        caught = look.get("caught", node)
        lasting = f", until window {caught[0]!r} (caught before)" if caught is not None else ""
        yield f"it {FINDINGS[score.finding]}: worth nothing{lasting}"
    for evaluator, (_, finding) in sorted(said.items()):
        if finding != FAIR:
            yield f"{short(evaluator)} found that it {FINDINGS[finding]}"


def _as_evaluator(look: Look, window: int, drawn: Draw, node: NodeId) -> Iterator[str]:
    if node not in drawn.evaluators:
        return
    if look.get("opinion", window, node) is not None:
        yield f"it was drawn to evaluate window {window}, and did"
    elif look.get("hidden", window, node) is not None:
        yield f"it was drawn to evaluate window {window}, committed to scores and did not reveal them in time"
    else:
        yield f"it was drawn to evaluate window {window} and committed to no scores in time"
