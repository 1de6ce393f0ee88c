"""Stakes: locked, free after a delay, burned for what they answer for. No credit is lost on the way."""

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.ids import short
from p2pfl.ledger.blocks.faults import fork_fault
from p2pfl.ledger.check.explain import explain
from p2pfl.ledger.check.source import FileSource, View
from p2pfl.ledger.feeds.bounds import RELEASE_WINDOWS, RELEASES_OPEN_MAX
from p2pfl.ledger.feeds.entry import make
from p2pfl.ledger.feeds.evidence import evidence_of
from p2pfl.ledger.feeds.statements import consent
from p2pfl.ledger.outcome import stake
from p2pfl.ledger.outcome.members import rotate
from p2pfl.ledger.outcome.settle import settle, window_of
from p2pfl.ledger.outcome.stake import burn, held, releases_of
from p2pfl.ledger.outcome.state import Draft, State
from p2pfl.ledger.stores.reader import open_reader
from p2pfl.wire.keyfile import Signer

WHO = b"\x07" * 32


def test_a_stake_is_free_after_its_delay(make_market: Any, conserved: Any) -> None:
    market = make_market()
    has = market.balance(0)
    market.say(0, "stake.lock", [300])
    market.close()
    assert (market.balance(0), held(market.tip.state, market.key(0))) == (has - 300, 300)
    market.say(0, "stake.release", [200])
    market.close()
    number = market.tip.state.get("window")[0]
    assert releases_of(market.tip.state, market.key(0)) == ((number - 1 + RELEASE_WINDOWS, 200),)
    for _ in range(RELEASE_WINDOWS - 1):
        assert conserved(market.window().state)
        assert market.balance(0) == has - 300
    market.window()
    assert (market.balance(0), held(market.tip.state, market.key(0))) == (has - 100, 100)
    assert conserved(market.tip.state)


def test_what_is_not_there_cannot_be_staked_or_taken(make_market: Any) -> None:
    market = make_market()
    market.say(0, "stake.lock", [2001])
    market.say(1, "stake.release", [1])
    market.say(2, "stake.lock", [500])
    for _ in range(RELEASES_OPEN_MAX + 1):
        market.say(2, "stake.release", [1])
    reasons = set(market.close().vain.values())
    assert reasons == {
        f"{short(market.key(0))} has 2000 credits, and would stake 2001",
        f"{short(market.key(1))} has 0 credits at stake, and would take 1 out",
        "8 parts of its stake are on release already",
    }


def test_a_fork_burns_all_of_it_under_every_key(make_market: Any, conserved: Any, tmp_path: Path) -> None:
    market = make_market()
    market.say(1, "stake.lock", [400])
    market.say(1, "stake.release", [100])
    market.close()
    entry = market.say(1, "model", [b"\x11" * 32, 0])
    market.close()
    other = make(market.nodes[1], market.net, (0, entry.seq), entry.prev, 0, "model", [b"\x22" * 32, 0])
    new = Signer(b"\x42" * 32)
    market.say(1, "key.rotate", [new.node, consent(new, market.net, market.key(1))])
    market.close()
    assert held(market.tip.state, new.node) == 400, "a stake goes with the key"
    market.window()
    market.close(fork_fault(evidence_of(entry, other)))
    market.window()
    state = market.tip.state
    assert (held(state, new.node), held(state, market.key(1)), state.number("burned")) == (0, 0, 400)
    assert conserved(state)
    with open_reader(market.write(tmp_path / "node.db")) as reader:
        lines = explain(View(FileSource(reader)), new.node).lines
    assert "its stake of 400 credits is burned: it is convicted, and frozen" in lines


def test_a_new_key_washes_nothing_off(make_market: Any) -> None:
    market = make_market()
    new, draft = Signer(b"\x42" * 32), Draft(market.tip.state)
    rows: dict[str, tuple[int, ...]] = {"reputation": (7,), "lapse": (1, 2), "standing": (10_000, 3), "caught": (40,)}
    for tag, value in rows.items():
        draft.put(value, tag, market.key(1))
    entry = market.say(1, "key.rotate", [new.node, consent(new, market.net, market.key(1))])
    assert rotate(draft, entry) is None
    for tag, value in rows.items():
        assert draft.get(tag, new.node) == value
        assert draft.get(tag, market.key(1)) is None


def test_a_lapse_is_fined_by_the_rule_in_force(make_market: Any, conserved: Any) -> None:
    market = make_market(rule="stake", parameters=(("need", 1),))
    assert market.balance(0) == 0, "nobody was scored"
    draft = Draft(market.tip.state)
    draft.put((1000,), "stake", market.key(1))
    draft.put((draft.number("issued") + 1000,), "issued")
    stake.note_bad_reveal(draft, market.key(1))
    stake.note_withheld(draft, market.key(1))
    state = draft.done()
    settlement = settle(draft, market.accounts.rule_of(state), window_of(state, 4, 100))
    assert settlement.burned == {market.key(1): 120}
    assert (held(draft, market.key(1)), draft.number("burned")) == (880, 120)
    assert not draft.items("lapse"), "they are of the window that closed"
    assert conserved(draft.done())


@settings(max_examples=60, deadline=None)
@given(
    at_stake=st.integers(0, 1000),
    rows=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 500)), max_size=5, unique_by=lambda row: row[0]),
    credits=st.integers(0, 4000),
)
def test_burning_takes_what_there_is(at_stake: int, rows: list[tuple[int, int]], credits: int) -> None:
    draft = Draft(State())
    if at_stake:
        draft.put((at_stake,), "stake", WHO)
    if rows:
        draft.put(tuple(sorted(rows)), "release", WHO)
    before = held(draft, WHO)
    taken = burn(draft, WHO, credits)
    assert taken == min(before, credits) == draft.number("burned")
    assert held(draft, WHO) == before - taken
