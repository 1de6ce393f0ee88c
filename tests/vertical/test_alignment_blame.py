"""Parties that do not follow the protocol: the alignment ends and says who did what."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from p2pfl.errors import Reject
from p2pfl.vertical.align.aligner import Action, Aligner, Blamed, Do, Matches, Message, Points, Say, Standing
from p2pfl.vertical.align.terms import Mode, Terms
from p2pfl.vertical.align.work import run

NAMES = ("bank", "shop", "clinic")
Lie = Callable[[int, int, Message], Message]


def play(terms: Terms, sets: list[list[bytes]], lie: Lie) -> None:
    """All honest but what `lie(sender, to, message)` changes on the way; computed at once, delivered in order."""
    parties = [Aligner(terms, i, items, bytes([i]) * 32) for i, items in enumerate(sets)]
    queue: list[tuple[int, int, Message]] = []

    def perform(me: int, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Say):
                queue.append((me, action.to, lie(me, action.to, action.message)))
            elif isinstance(action, Do):
                perform(me, parties[me].computed(action.task, run(action.task)))

    for i, party in enumerate(parties):
        perform(i, party.start())
    while queue:
        sender, to, message = queue.pop(0)
        perform(to, parties[to].receive(sender, message))


def blamed(lie: Lie, k: int = 2, mode: Mode = "ring", bucket: int = 1) -> Blamed:
    sets = [[b"%d" % i for i in range(n)] for n in (5, 6, 7)][:k]
    with pytest.raises(Blamed) as caught:
        play(Terms("j", NAMES[:k], mode=mode, bucket=bucket, ids_max=20), sets, lie)
    assert isinstance(caught.value, Reject)
    assert str(caught.value).count("\n") == 0
    return caught.value


def shop(change: Callable[[Message], Message]) -> Lie:
    return lambda sender, _, message: change(message) if sender == 1 else message


def points(change: Callable[[Points], Points]) -> Lie:
    return shop(lambda m: change(m) if isinstance(m, Points) else m)


@pytest.mark.parametrize(
    ("lie", "code", "says"),
    [
        (points(lambda m: replace(m, blob=m.blob[:-32])), "psi-count", "declared 6 ids: expected 6 in chunk 0, got 5"),
        (points(lambda m: replace(m, blob=m.blob + m.blob[:32])), "psi-count", "expected 6 in chunk 0, got 7"),
        (points(lambda m: replace(m, chunk=1)), "psi-count", "expected 0 in chunk 1, got 6"),
        (points(lambda m: replace(m, chunk=4)), "psi-window", "expected a chunk up to 3, got chunk 4"),
        (points(lambda m: replace(m, stream=0)), "psi-stream", "stream 0, which is not its to send"),
        (points(lambda m: replace(m, stream=9)), "psi-stream", "stream 9"),
        (points(lambda m: Matches(m.stream, 0, 0, b"")), "psi-stream", "not its to send"),
        (points(lambda m: replace(m, blob=m.blob[:-32] + bytes(32))), "psi-point", "points of the curve"),
        (points(lambda m: replace(m, blob=m.blob[:-32] + b"\2" + bytes(31))), "psi-point", "points of the curve"),
        (points(lambda m: replace(m, blob=m.blob[:-32] + b"\1" + bytes(31))), "psi-point", "of the curve|large order"),
        (points(lambda m: replace(m, blob=m.blob[:32] + m.blob[:-32])), "psi-doubles", "every point once"),
        (shop(lambda m: replace(m, terms=bytes(32)) if isinstance(m, Standing) else m), "psi-terms", "other terms"),
        (shop(lambda m: replace(m, count=21) if isinstance(m, Standing) else m), "psi-count", "at most 20 ids"),
        (shop(lambda m: replace(m, have=()) if isinstance(m, Standing) else m), "psi-have", "expected 2 counts, got 0"),
    ],
)
def test_who_lies_is_named(lie: Lie, code: str, says: str) -> None:
    found = blamed(lie)
    assert (found.party, found.code) == (1, code)
    assert found.detail.startswith("shop: ")
    assert re.search(says, found.detail)


def test_a_size_that_is_no_bucket_is_refused() -> None:
    lie = shop(lambda m: replace(m, count=6) if isinstance(m, Standing) else m)
    assert "buckets of 4" in blamed(lie, bucket=4).detail


def test_a_party_that_begins_anew_without_its_memory_is_named() -> None:
    said = []

    def lie(sender: int, _: int, message: Message) -> Message:
        if sender == 1 and isinstance(message, Standing):
            said.append(message)
            return replace(message, session=bytes([len(said)]) * 16)
        return message

    assert blamed(lie).code == "psi-session"


@pytest.mark.parametrize("mode", ["ring", "star"])
def test_the_sender_is_blamed_for_what_it_passes_on(mode: Mode) -> None:
    """The clinic spoils whatever it sends; whoever gets it names the clinic."""

    def lie(sender: int, _: int, message: Message) -> Message:
        if sender == 2 and isinstance(message, Points):
            return replace(message, blob=message.blob[:-32])
        return message

    assert blamed(lie, 3, mode).party == 2


def test_my_own_set_doubled_on_its_way_is_blamed_on_who_sent_it_home() -> None:
    def lie(sender: int, _: int, message: Message) -> Message:
        if sender == 2 and isinstance(message, Points) and message.stream == 2:  # the last hop of the bank's own route
            return replace(message, blob=message.blob[:32] + message.blob[:-32])
        return message

    found = blamed(lie, 3)
    assert (found.party, found.code) == (2, "psi-doubles")


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (lambda m: replace(m, total=9, blob=m.blob), "psi-count", "announced 9 common rows of sets of which one has 5"),
        (lambda m: replace(m, blob=m.blob[:-4]), "psi-count", "declared 5 common rows: expected 5 in chunk 0, got 4"),
        (lambda m: replace(m, blob=m.blob[:-4] + b"\xff" * 4), "psi-places", "not distinct rows"),
        (lambda m: replace(m, blob=m.blob[:-4] + m.blob[:4]), "psi-places", "not distinct rows"),
    ],
)
def test_a_label_holder_that_answers_nonsense_is_named(
    change: Callable[[Matches], Matches], code: str, says: str
) -> None:
    found = blamed(lambda s, _, m: change(m) if isinstance(m, Matches) else m)
    assert (found.party, found.code) == (0, code)
    assert says in found.detail


def test_padding_cannot_be_named_as_a_common_row() -> None:
    def lie(_: int, __: int, message: Message) -> Message:
        if isinstance(message, Matches):
            blob = b"".join(i.to_bytes(4, "big") for i in range(8))
            return replace(message, total=8, blob=blob)
        return message

    assert blamed(lie, bucket=4).code == "psi-places"
