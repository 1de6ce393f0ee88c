"""What the entries of this room are, byte by byte, and what is refused: tests/vectors/rules.json."""

import json
from pathlib import Path
from typing import Any

import pytest

from p2pfl.errors import Reject
from p2pfl.ledger.feeds.describe import details, summary
from p2pfl.ledger.feeds.entry import make, parse
from p2pfl.ledger.feeds.kinds import CREDITS_MAX, TASK_WINDOWS_MAX, TITLE_CHARS_MAX, UNITS_MAX, freeze
from p2pfl.ledger.feeds.shapes import check_payload
from p2pfl.ledger.feeds.statements import seal
from p2pfl.ledger.outcome.rules import make_rule, rule_digest
from p2pfl.wire.keyfile import Signer

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "rules.json").read_text())
NET, SIGNER = bytes.fromhex(VECTORS["net"]), Signer(bytes.fromhex(VECTORS["seed"]))
ID = b"\x22" * 32
SHOWN = {
    "rule.propose": "wants the rule reputation, gain = 50000, loss = 500000 from height 640 on",
    "rule.vote": "is for the proposal 6b6b6b6b",
    "task.publish": "'label the scans': 500000 credits, at most 2000 a unit, by auction",
    "bid.commit": "bids for the task 7a7a7a7a, sealed",
    "bid.reveal": "bid for the task 7a7a7a7a: 400 units for 120000 credits",
    "stake.lock": "stakes 1000 credits",
    "stake.release": "takes 250 credits out of its stake",
}


def plain(value: Any) -> Any:
    if isinstance(value, list):
        return [plain(item) for item in value]
    return bytes.fromhex(value[4:]) if isinstance(value, str) and value.startswith("hex:") else value


@pytest.mark.parametrize("vector", VECTORS["entries"], ids=lambda vector: str(vector["kind"]))
def test_bytes_of_each_kind(vector: Any) -> None:
    place = ((0, vector["seq"]), bytes.fromhex(vector["prev"]), 0, vector["kind"])
    entry = make(SIGNER, NET, *place, plain(vector["payload"]))
    assert (entry.id.hex(), entry.raw.hex()) == (vector["id"], vector["raw"])
    again = parse(bytes.fromhex(vector["raw"]))
    assert (again.payload, again.known) == (freeze(plain(vector["payload"])), True)
    assert summary(again) == SHOWN[vector["kind"]]
    assert details(again)["payload"]


def test_every_kind_of_this_room_has_a_vector() -> None:
    assert {vector["kind"] for vector in VECTORS["entries"]} == set(SHOWN)


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: str(vector["kind"]))
def test_what_is_refused(vector: Any) -> None:
    payload = freeze(plain(vector["payload"])) if True not in vector["payload"] else tuple(vector["payload"])
    assert isinstance(payload, tuple)
    with pytest.raises(Reject, match="payload"):
        check_payload(vector["kind"], payload)


def test_numbers_at_their_bounds() -> None:
    for kind, payload in (
        ("task.publish", ("t" * TITLE_CHARS_MAX, "auction", CREDITS_MAX, CREDITS_MAX, *[TASK_WINDOWS_MAX] * 3)),
        ("bid.reveal", (ID, UNITS_MAX, CREDITS_MAX, ID)),
        ("stake.lock", (CREDITS_MAX,)),
        ("rule.propose", ("r" * 32, tuple((f"p{number:02}", number) for number in range(32)), 0)),
    ):
        check_payload(kind, payload)
    for kind, payload in (
        ("task.publish", ("t" * (TITLE_CHARS_MAX + 1), "auction", 1, 1, 1, 1, 1)),
        ("rule.propose", ("r" * 33, (), 0)),
        ("rule.propose", ("r", tuple((f"p{number:02}", number) for number in range(33)), 0)),
    ):
        with pytest.raises(Reject, match="payload"):
            check_payload(kind, payload)


def test_a_seal_is_of_one_bid_of_one_bidder() -> None:
    vector = VECTORS["seal"]
    task, bidder, salt = (bytes.fromhex(vector[name]) for name in ("task", "bidder", "salt"))
    whole = (NET, task, bidder, vector["units"], vector["ask"], salt)
    assert seal(*whole).hex() == vector["seal"]
    others = (bytes(32), bytes(32), bytes(32), 1, 1, bytes(32))
    for at, other in enumerate(others):
        assert seal(*(*whole[:at], other, *whole[at + 1 :])) != seal(*whole)  # type: ignore[arg-type]


@pytest.mark.parametrize("vector", VECTORS["digests"], ids=lambda vector: str(vector["rule"]))
def test_what_a_header_says_of_a_rule(vector: Any) -> None:
    assert rule_digest(make_rule(vector["rule"], dict(vector["parameters"]))).hex() == vector["digest"]
