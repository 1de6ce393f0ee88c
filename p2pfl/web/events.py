"""Tells a Board one event of a node, as it stands in metrics.jsonl. Knows event names (runs/events.py); no file.

A node may be judged on several parts of its data; the best one that it has counts: the common test set before its own
validation set.
"""

from typing import Any

from p2pfl.web.board import Board
from p2pfl.web.plain import text

SPLITS = ("test", "validation", "train")
COUNTED = ("seconds", "round", "bytes_sent", "bytes_received")
PEERS_MAX = 256
SAID = ("refused", "rejected", "refused_by", "quarantined", "blamed", "member.shut_out", "member.refused_by")


def take_event(board: Board, node: str, line: dict[str, Any], better: dict[str, str]) -> None:
    """`better`: by node, the best split so far; kept by the caller."""
    said = str(line.get("event"))
    counted = {key: line.get(key) for key in COUNTED}
    match said:
        case "round":
            _round(board, node, line, counted)
        case "evaluation":
            _evaluation(board, node, line, counted, better)
        case "personal":
            board.tell(node, own_accuracy=line.get("own_accuracy"), **counted)
        case "resting":
            board.tell(node, state="resting", why="", **counted)
        case "awake":
            board.tell(node, state="training", why="", **counted)
        case "finished" | "ended":
            board.tell(node, state="done", why="", **counted)
        case "resumed":
            board.tell(node, state="training", why="", **counted)
        case "edge":
            board.link(node, str(line.get("peer", "")), line.get("seq"))
        case "privacy" | "privacy.spent":
            board.tell(node, **{key: line.get(key) for key in ("budget", "releases", "planned")})
            board.tell(node, epsilon=line.get("epsilon_quick"))
        case "ledger.final":
            board.tell(node, height=line.get("height"))
        case "late":
            board.tell(node, late=board.introduce(node).late + 1)
        case "failed" | "diverged":
            board.tell(node, why=text(line.get("reason", said)), **counted)
        case "stopped" if line.get("code") not in (0, None):
            board.tell(node, state="gone", why=text(line.get("reason", said)))
    if said in SAID:
        _refusal(board, node, said, line)


def _round(board: Board, node: str, line: dict[str, Any], counted: dict[str, Any]) -> None:
    card, seconds = board.introduce(node), line.get("seconds")
    before_s, before = card.seconds, card.round
    board.tell(
        node,
        state="training",
        rounds=line.get("rounds"),
        apart=line.get("apart"),
        releases=line.get("releases"),
        planned=line.get("planned"),
        budget=line.get("budget"),
        why="",
        **counted,
    )
    if card.round > before > 0 and card.seconds > before_s:
        board.tell(node, round_s=(card.seconds - before_s) / (card.round - before))
    at = card.seconds if isinstance(seconds, int | float) else None
    board.met(node, str(line.get("mixed") or "").split()[:PEERS_MAX], at)


def _evaluation(board: Board, node: str, line: dict[str, Any], counted: dict[str, Any], better: dict[str, str]) -> None:
    split = str(line.get("split", SPLITS[0]))
    have = better.get(node, split)
    if split in SPLITS and have in SPLITS and SPLITS.index(split) > SPLITS.index(have):
        return
    better[node] = split
    board.tell(node, accuracy=line.get("accuracy"), loss=line.get("loss"), **counted)


def _refusal(board: Board, node: str, said: str, line: dict[str, Any]) -> None:
    """Who would not have what of whom; the two names are one node's where a stranger is not named."""
    peer = str(line.get("peer") or line.get("node") or "")
    code = line.get("code") or said
    if said in ("refused_by", "member.refused_by"):
        board.refusal(peer or "?", node, code)
        return
    board.refusal(node, peer or "?", code)
    board.tell(node, refused=board.introduce(node).refused + 1)
