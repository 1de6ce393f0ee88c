"""Coming back: who asks whom, whose word counts, what a liar can do, and what stops a node that would fork."""

from typing import Any

import pytest

from p2pfl.core.party import Put
from p2pfl.errors import LedgerError
from p2pfl.ledger.blocks.genesis import Genesis
from p2pfl.ledger.feeds.ends import Answer, Question, answer, ask, parse_end
from p2pfl.ledger.feeds.entry import make
from p2pfl.ledger.feeds.feed import Feed, append
from p2pfl.ledger.feeds.kinds import FORMAT, Opening
from p2pfl.ledger.feeds.records import ENTRY, put_entry
from p2pfl.ledger.feeds.statements import acknowledge
from p2pfl.ledger.finality import book as books
from p2pfl.ledger.finality.book import Book, put_fork
from p2pfl.ledger.outcome.contract import Accounts
from p2pfl.ledger.outcome.state import Draft
from p2pfl.peer.herald import EVERY_S, SEEN_MAX, Herald
from p2pfl.peer.recovery import CHECKS, RECOVER, Recovery
from p2pfl.wire.keyfile import Signer

SIGNERS = sorted((Signer(bytes([number]) * 32) for number in range(1, 6)), key=lambda signer: signer.node)
KEYS = tuple(signer.node for signer in SIGNERS)
ME, OTHERS = SIGNERS[0], SIGNERS[1:4]
GENESIS = Genesis("four", KEYS[:4], KEYS[:4])
NET = GENESIS.digest
STATE = Accounts(GENESIS).first_state()
RECIPE = bytes([7]) * 32


def story(length: int, signer: Signer = ME, incarnation: int = 0) -> list[Any]:
    """The first entries of a feed; the same ones each time."""
    feed, entry = append(Feed(NET, signer.node, incarnation), signer, 0, "feed.open", Opening(FORMAT, RECIPE))
    entries = [entry]
    while len(entries) < length:
        feed, entry = append(feed, signer, len(entries), "model", [RECIPE, 0])
        entries.append(entry)
    return entries


def filled(entries: list[Any]) -> Book:
    book = Book(NET)
    for entry in entries:
        book.add(entry)
    return book


def restored(entries: list[Any], ended: int | None = None) -> dict[str, dict[bytes, bytes]]:
    spaces = {ENTRY: {put.key: put.value or b"" for put in map(put_entry, entries)}}
    return spaces | ({RECOVER: {b"": ended.to_bytes(8, "big")}} if ended is not None else {})


def begun(entries: list[Any], ended: int | None = None, neighbours: Any = KEYS[1:3]) -> Recovery:
    recovery = Recovery(ME, NET, neighbours)
    recovery.begin(restored(entries, ended), bytes(32))
    return recovery


def says(witness: Signer, question: Question, entries: list[Any]) -> Answer:
    """What an honest witness that holds these of my entries answers."""
    herald = Herald(witness, NET, lambda: (filled(entries), STATE))
    (said, *_) = [s for s in herald.asked(ME.node, question, 0.0) if s.raw != question.raw]
    found = parse_end(said.raw, NET)
    assert isinstance(found, Answer)
    return found


def test_a_new_node_waits_for_nobody() -> None:
    recovery = begun([])
    assert (recovery.may_write, recovery.silent) == (True, False)
    for _ in range(CHECKS):
        assert recovery.asks
        assert recovery.question().far == 0
    assert not recovery.asks
    assert not begun([], neighbours=()).asks


def test_a_node_with_a_feed_writes_when_its_neighbours_know_no_more() -> None:
    book = filled(story(5))
    recovery = begun(story(5))
    assert not recovery.may_write
    question = recovery.question()
    assert question.far == 0
    assert not recovery.told(KEYS[1], says(OTHERS[0], question, story(5)), book, STATE)
    recovery.look(book, STATE)
    assert not recovery.may_write, "the other neighbour has not answered"
    assert not recovery.told(KEYS[1], says(OTHERS[1], question, story(3)), book, STATE), (
        "it may lack what was said last"
    )
    recovery.look(book, STATE)
    assert recovery.may_write
    assert recovery.incarnation == 0
    assert recovery.resumption(book, STATE) is None


def test_a_node_whose_neighbours_are_away_waits_a_moment_only() -> None:
    recovery = begun(story(5))
    recovery.look(filled(story(5)), STATE, late=True)
    assert recovery.may_write


def test_a_neighbour_that_claims_to_know_more_stops_nobody() -> None:
    book, recovery = filled(story(5)), begun(story(5))
    assert recovery.told(KEYS[1], says(OTHERS[0], recovery.question(), story(9)), book, STATE), "compare notes"
    recovery.look(book, STATE, late=True)
    assert recovery.may_write


@pytest.mark.parametrize("entry", [story(9)[7], story(2, incarnation=3)[1]], ids=["a later one", "a later feed"])
def test_ones_own_signed_entry_that_is_not_here_stops(entry: Any) -> None:
    recovery = begun(story(5))
    with pytest.raises(LedgerError, match="run: p2pfl ledger recover") as stopped:
        recovery.check([put_entry(entry)])
    assert "\n" not in str(stopped.value)
    recovery.check([put_entry(story(5, OTHERS[0])[3])])


def test_ones_own_fork_stops_now_and_at_the_next_start() -> None:
    twin = make(ME, NET, (0, 2), story(2)[1].id, 0, "model", [bytes(32), 0])
    (fork,) = filled([*story(5), twin]).forks.values()
    put = put_fork((ME.node, 0), fork)
    with pytest.raises(LedgerError, match="frozen for good"):
        begun(story(5)).check([put])
    recovery = Recovery(ME, NET, KEYS[1:3])
    with pytest.raises(LedgerError, match="frozen for good"):
        recovery.begin({**restored(story(5)), books.FORK: {put.key: put.value or b""}}, bytes(32))


# ------------------------------------------------------------------------------------------------ recover


def test_a_restored_node_writes_when_f_plus_1_acknowledge_the_end_that_is_here() -> None:
    backup, truth = story(3), story(6)
    recovery, book = begun(backup, ended=0), filled(backup)
    assert (recovery.silent, recovery.may_write, recovery.incarnation) == (True, False, 1)
    question = recovery.question()
    assert question.far == 1
    assert recovery.told(KEYS[1], says(OTHERS[0], question, truth), book, STATE), (
        "its old end is not here yet: compare notes"
    )
    for entry in truth:
        recovery.check(book.add(entry).puts)  # the lost ones come back, and that stops nobody
    for number, witness in enumerate(OTHERS[:2], 1):
        recovery.look(book, STATE)
        assert not recovery.may_write
        assert not recovery.told(KEYS[1], says(witness, question, truth), book, STATE)
        recovery.look(book, STATE)
        assert recovery.acknowledged == number
    assert recovery.may_write
    payload = recovery.resumption(book, STATE)
    assert payload is not None
    assert payload[:3] == [0, 5, truth[-1].id]
    entries = [*story(1, incarnation=1)]
    resume = make(ME, NET, (1, 1), entries[0].id, 0, "resume", payload)
    recovery.wrote([*entries, resume])
    assert recovery.resumption(book, STATE) is None, "once"
    draft = Draft(STATE)
    assert not recovery.final(STATE)
    draft.put((1,), "incarnation", ME.node)
    assert recovery.final(draft.done())
    assert not recovery.silent


def test_late_is_no_reason_to_write_without_acknowledgements() -> None:
    recovery, book = begun(story(3), ended=0), filled(story(3))
    recovery.look(book, STATE, late=True)
    assert not recovery.may_write


def test_words_of_strangers_and_old_words_do_not_count() -> None:
    recovery, book = begun(story(3), ended=0), filled(story(3))
    old = says(OTHERS[0], ask(ME, NET, bytes(16), 1), story(3))
    assert not recovery.told(KEYS[1], old, book, STATE), "an answer to no question of mine"
    question = recovery.question()
    stranger = SIGNERS[4]
    end = (0, 2, story(3)[-1].id)
    for words in (acknowledge(stranger, NET, ME.node, *end), bytes(64)):
        recovery.told(KEYS[1], answer(stranger, NET, question, (0, 2), end, words), book, STATE)
        recovery.told(KEYS[1], answer(OTHERS[0], NET, question, (0, 2), end, bytes(64)), book, STATE)
    recovery.look(book, STATE)
    assert (recovery.acknowledged, recovery.may_write) == (0, False)


def test_a_later_feed_that_others_hold_is_not_written_again() -> None:
    """The backup is older than a recovery before this one: incarnation 1 is taken."""
    recovery, book = begun(story(3), ended=0), filled(story(3))
    first = story(2, incarnation=1)
    assert recovery.told(KEYS[1], says(OTHERS[0], recovery.question(), [*story(3), *first]), book, STATE)
    for entry in first:
        recovery.check(book.add(entry).puts)
    recovery.look(book, STATE)
    assert recovery.incarnation == 2


def test_a_resume_in_vain_is_said_again() -> None:
    recovery, book = begun(story(3), ended=0), filled(story(3))
    question = recovery.question()
    for witness in OTHERS[:2]:
        recovery.told(KEYS[1], says(witness, question, story(3)), book, STATE)
    recovery.look(book, STATE)
    payload = recovery.resumption(book, STATE)
    assert payload is not None
    opening = story(1, incarnation=1)
    resume = make(ME, NET, (1, 1), opening[0].id, 0, "resume", payload)
    recovery.wrote([*opening, resume])
    assert not recovery.wants_words
    draft = Draft(STATE)
    draft.put((2, resume.id), "feed", ME.node, 1)
    assert not recovery.final(draft.done())
    assert recovery.wants_words
    assert recovery.may_write, "it goes on writing meanwhile"


def test_a_restart_before_resume_is_final_goes_on_in_the_new_feed() -> None:
    opening = story(2, incarnation=1)
    recovery = begun([*story(3), *opening], ended=0)
    recovery.wrote(opening)
    assert (recovery.incarnation, recovery.silent) == (1, True)
    assert recovery.wants_words, "its resume is not written yet"


# ------------------------------------------------------------------------------------------------ the others


def herald(entries: list[Any], signer: Signer = OTHERS[0]) -> Herald:
    return Herald(signer, NET, lambda: (filled(entries), STATE))


def test_a_far_question_goes_on_once_and_so_does_each_answer() -> None:
    asked = ask(ME, NET, bytes(16), 1)
    one = herald(story(3))
    said = one.asked(KEYS[2], asked, 0.0)
    assert [(s.raw == asked.raw, s.to, s.but) for s in said] == [(True, None, KEYS[2]), (False, None, None)]
    assert one.asked(KEYS[3], asked, 10.0) == []
    found = says(OTHERS[1], asked, story(3))
    assert [s.but for s in one.heard(KEYS[2], found)] == [KEYS[2]]
    assert one.heard(KEYS[3], found) == []
    other = ask(ME, NET, b"another question", 1)
    assert one.heard(KEYS[2], says(OTHERS[1], other, story(3))) == [], "an answer to nothing that was asked"
    nobody = answer(SIGNERS[4], NET, asked, (0, 2), (0, 2, story(3)[-1].id), b"")
    assert one.heard(KEYS[2], nobody) == [], "not a validator's"
    assert herald([]).asked(KEYS[2], asked, 0.0) == [], "of somebody whose feed is not here"


def test_who_is_no_validator_carries_on_but_does_not_answer_from_afar() -> None:
    asked = ask(ME, NET, bytes(16), 1)
    assert [s.raw for s in herald(story(3), SIGNERS[4]).asked(KEYS[2], asked, 0.0)] == [asked.raw]
    assert len(herald(story(3), SIGNERS[4]).asked(ME.node, asked, 0.0)) == 2, "the author's neighbours do"


def test_a_near_question_is_its_authors_own() -> None:
    near = ask(ME, NET, bytes(16), 0)
    assert herald(story(3)).asked(KEYS[2], near, 0.0) == []
    assert [s.to for s in herald(story(3)).asked(ME.node, near, 0.0)] == [ME.node]


def test_questions_are_taken_up_at_a_bounded_rate() -> None:
    one = herald(story(3))
    times = [EVERY_S * number / 4 for number in range(12)]
    said = [one.asked(ME.node, ask(ME, NET, number.to_bytes(16, "big"), 0), at) for number, at in enumerate(times)]
    assert [bool(s) for s in said] == [number % 4 == 0 for number in range(12)]
    for number in range(SEEN_MAX + 10):
        one._remember((number.to_bytes(8, "big"),))
    assert len(one._seen) == SEEN_MAX


def test_nobody_vouches_for_a_forked_or_unknown_feed() -> None:
    twin = make(ME, NET, (0, 2), story(2)[1].id, 0, "model", [bytes(32), 0])
    asked = ask(ME, NET, bytes(16), 0)
    assert says(OTHERS[0], asked, [*story(5), twin]).acknowledgement == b""
    nothing = says(OTHERS[0], asked, [])
    assert (nothing.acknowledgement, nothing.head) == (b"", bytes(32))


def test_a_removed_record_is_no_entry_of_mine() -> None:
    begun(story(3)).check([Put(RECOVER, b"", None)])
