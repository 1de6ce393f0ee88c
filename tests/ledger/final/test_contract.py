"""What final entries do: who is a member, who is paid, who is frozen. Credits are conserved; a supply is spent once."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.errors import Reject
from p2pfl.ledger.blocks.block import Execution, Place
from p2pfl.ledger.blocks.faults import fork_fault, vote_fault
from p2pfl.ledger.blocks.rule import Kind
from p2pfl.ledger.blocks.votes import sign_vote
from p2pfl.ledger.feeds.entry import make
from p2pfl.ledger.feeds.evidence import evidence_of
from p2pfl.ledger.feeds.kinds import VALIDATOR, WORKER
from p2pfl.ledger.feeds.statements import acknowledge, consent
from p2pfl.ledger.outcome import former
from p2pfl.ledger.outcome.members import granted, validators_of
from p2pfl.wire.keyfile import Signer


def roles(network: Any, who: int) -> int:
    return granted(network.tip.state, network.nodes[who].node)


def admit(network: Any, who: int, roles_: int = WORKER, sponsors: int = 1) -> None:
    network.say(who, "join", [roles_])
    for sponsor in range(sponsors):
        network.say(sponsor, "endorse", [network.nodes[who].node, roles_])


# ------------------------------------------------------------------------------------------------ membership


def test_nobody_is_a_member_by_talking(make_network: Any) -> None:
    network = make_network()
    network.sends(2, 3, 5)
    network.sends(2, 0, 5)
    outcome = network.close()
    assert set(outcome.vain.values()) >= {f"{network.nodes[2].node[:4].hex()} is not admitted as a worker"}
    assert roles(network, 2) == 0
    assert not network.tip.state.items("pair")


@pytest.mark.parametrize("join_first", [True, False])
def test_joining_takes_the_word_of_enough_sponsors_in_any_order(make_network: Any, join_first: bool) -> None:
    network = make_network(authorities=3, sponsors=2)
    if join_first:
        network.say(3, "join", [WORKER])
    network.say(0, "endorse", [network.nodes[3].node, WORKER])
    network.close()
    assert roles(network, 3) == 0
    if not join_first:
        network.say(3, "join", [WORKER])
    network.say(0, "endorse", [network.nodes[3].node, WORKER | VALIDATOR])  # the same sponsor again counts once
    network.close()
    assert roles(network, 3) == 0
    network.say(2, "endorse", [network.nodes[3].node, WORKER])
    network.close()
    assert roles(network, 3) == WORKER


def test_only_sponsors_sponsor(make_network: Any) -> None:
    network = make_network(authorities=1, validators=3)
    network.say(3, "join", [WORKER])
    entry = network.say(1, "endorse", [network.nodes[3].node, WORKER])
    assert network.close().vain[entry.id].endswith("is no sponsor")
    assert roles(network, 3) == 0


def test_leaving_gives_up_the_roles_and_the_endorsements(make_network: Any) -> None:
    network = make_network()
    admit(network, 3, WORKER | VALIDATOR)
    network.close()
    assert roles(network, 3) == WORKER | VALIDATOR
    network.say(3, "leave", [VALIDATOR])
    network.close()
    assert roles(network, 3) == WORKER
    network.say(3, "leave", [WORKER])
    network.say(3, "join", [WORKER])
    network.close()
    assert roles(network, 3) == 0


def test_a_rotated_key_hands_everything_to_the_new_one(make_network: Any) -> None:
    network = make_network(n=4, window=2)
    admit(network, 2)
    admit(network, 3)
    network.close()
    for receiver in (0, 1, 3):
        network.sends(2, receiver, 4)
    network.close()
    had = network.balance(2)
    assert had > 0
    old, new = network.nodes[2], Signer(b"\x55" * 32)
    network.nodes.append(new)
    network.say(2, "key.rotate", [new.node, consent(new, network.net, old.node)])
    late = network.say(2, "leave", [WORKER])
    outcome = network.close()
    assert (network.balance(2), network.balance(4)) == (0, had)
    assert (roles(network, 2), roles(network, 4)) == (0, WORKER)
    assert outcome.vain[late.id].endswith("has given its key up")


def test_a_key_is_not_rotated_against_its_will_nor_onto_a_known_one(make_network: Any) -> None:
    network = make_network()
    new = Signer(b"\x55" * 32)
    forged = network.say(1, "key.rotate", [new.node, consent(new, network.net, network.nodes[0].node)])
    willing = consent(network.nodes[1], network.net, network.nodes[0].node)
    known = network.say(0, "key.rotate", [network.nodes[1].node, willing])
    vain = network.close().vain
    assert "did not sign its consent" in vain[forged.id]
    assert "is known already" in vain[known.id]


def test_a_restored_feed_goes_on_in_a_later_incarnation_if_others_vouch(make_network: Any) -> None:
    network = make_network(validators=4, authorities=1)
    last = network.say(3, "model", [b"\x11" * 32, 0])
    network.close()
    early = network.say(3, "leave", [WORKER], incarnation=1)
    assert "incarnation 1 is not resumed" in network.close().vain[early.id]
    vouching = sorted(network.nodes[:2], key=lambda signer: signer.node)
    acks = [(v.node, acknowledge(v, network.net, last.author, 0, last.seq, last.id)) for v in vouching]
    alone = network.say(3, "resume", [0, last.seq, last.id, acks[:1]], incarnation=1)
    assert "1 of 2 needed validators" in network.close().vain[alone.id]
    behind = network.say(3, "resume", [0, 0, last.prev, acks], incarnation=1)
    assert "is final up to" in network.close().vain[behind.id]
    forged = [(acks[0][0], acks[1][1]), acks[1]]
    for rows, words in (
        (forged, "is not signed by it"),
        (acks[::-1], "each once, by key"),
        (acks[:1] * 2, "each once"),
    ):
        bad = network.say(3, "resume", [0, last.seq, last.id, rows], incarnation=1)
        assert words in network.close().vain[bad.id]
    good = network.say(3, "resume", [0, last.seq, last.id, acks], incarnation=1)
    after = network.say(3, "leave", [WORKER], incarnation=1)
    vain = network.close().vain
    assert good.id not in vain
    assert after.id not in vain
    old = network.say(3, "leave", [VALIDATOR], incarnation=0)
    assert "incarnation 0 is not resumed: 1 counts" in network.close().vain[old.id]
    assert roles(network, 3) == VALIDATOR


# ---------------------------------------------------------------------------------------------------- faults


def forked(network: Any, who: int) -> Any:
    entry = network.say(who, "model", [b"\x11" * 32, 0])
    other = make(network.nodes[who], network.net, (0, entry.seq), entry.prev, 0, "model", [b"\x22" * 32, 0])
    return entry, fork_fault(evidence_of(entry, other))


def test_a_fork_freezes_its_author_for_good(make_network: Any) -> None:
    network = make_network(window=2)
    for receiver in (1, 0):
        network.sends(1 - receiver, receiver, 3)
    entry, fault = forked(network, 1)
    state = network.tip.state
    assert network.accounts.wants(state, fault)
    network.pending.remove(entry)
    network.close(fault)
    state = network.tip.state
    author = network.nodes[1].node
    assert roles(network, 1) == 0
    assert not network.accounts.wants(state, fault)
    assert network.accounts.ceiling(state, author, 0) == entry.seq - 1
    assert network.accounts.ceiling(state, author, 1) == -1
    assert network.accounts.ceiling(state, network.nodes[0].node, 0) is None
    network.close()
    assert network.balance(1) == 0
    network.pending = [entry]
    with pytest.raises(Reject, match="frozen after seq"):
        network.close()


def test_what_was_final_before_the_proof_stands(make_network: Any) -> None:
    network = make_network()
    entry, fault = forked(network, 1)
    later = network.say(1, "model", [b"\x33" * 32, 0])
    network.close()
    network.close(fault)
    assert network.accounts.ceiling(network.tip.state, entry.author, 0) == later.seq


def test_a_validator_that_votes_twice_is_out_at_the_next_epoch(make_network: Any) -> None:
    network = make_network(validators=4, epoch=2)
    votes = [sign_vote(network.nodes[3], network.net, Kind.NOTARIZE, 0, 1, bytes([n]) * 32) for n in (1, 2)]
    network.close(vote_fault(*votes))
    assert len(validators_of(network.tip.state)) == 4
    network.close()
    assert network.nodes[3].node not in validators_of(network.tip.state)


def test_what_does_not_follow_is_refused(make_network: Any) -> None:
    network = make_network()
    network.say(0, "model", [b"\x11" * 32, 0])
    network.pending = network.pending[1:]
    with pytest.raises(Reject, match="does not follow what is final, expected seq 0"):
        network.close()


# ------------------------------------------------------------------------------------------------ validators


def test_validators_change_at_the_epochs_end_and_less_than_a_third_at_a_time(make_network: Any) -> None:
    network = make_network(n=12, validators=7, authorities=1, epoch=2)
    for who in range(7, 12):
        admit(network, who, VALIDATOR)
    network.close()
    assert len(validators_of(network.tip.state)) == 7
    sizes, before = [], set(validators_of(network.tip.state))
    for height in range(2, 12):
        network.close()
        now = set(validators_of(network.tip.state))
        assert len(now ^ before) <= (max(1, (len(before) - 1) // 3) if height % 2 == 0 else 0)
        sizes.append(len(now))
        before = now
    assert sizes == [9, 9, 11, 11, 12, 12, 12, 12, 12, 12]


def test_the_last_validator_stays(make_network: Any) -> None:
    network = make_network(validators=1, epoch=1)
    network.say(0, "leave", [VALIDATOR])
    network.close()
    assert validators_of(network.tip.state) == (network.nodes[0].node,)


# --------------------------------------------------------------------------------------------------- credits


def test_a_message_counts_once_when_both_ends_have_named_it(make_network: Any) -> None:
    network = make_network(authorities=3, validators=1, window=1)
    network.sends(0, 1, 4, taken=False)
    network.sends(0, 2, 4)
    assert network.close().settlement.payouts == {}  # one receiver
    network.sends(0, 1, 4, claimed=False)
    assert network.close().settlement.payouts == {}  # the other one comes late, and is alone in its window
    network.sends(0, 1, 1)
    network.sends(0, 2, 1)
    assert network.close().settlement.payouts == {network.nodes[0].node: 1000}
    assert network.close().settlement.payouts == {}


def test_a_receipt_without_the_senders_word_counts_nothing(make_network: Any) -> None:
    network = make_network(authorities=3, window=1)
    network.sends(0, 1, 9, claimed=False)
    network.sends(0, 2, 9, claimed=False)
    assert network.close().settlement.payouts == {}


def test_every_supply_is_spent_once_and_credits_are_conserved(make_played: Any) -> None:
    network = make_played(13)
    state = network.tip.state
    settled = dict(state.items("settled"))
    assert sorted(parts[0] for parts in settled) == [0, 1, 2]
    heights = [value[:2] for _, value in sorted(settled.items())]
    assert heights == [(1, 4), (5, 8), (9, 12)]
    paid = sum(value[3] for value in settled.values())
    assert paid == state.number("issued") == sum(value[0] for _, value in state.items("balance")) == 3000


def voted_twice(network: Any, signer: Any, view: int = 3, epoch: int = 0) -> Any:
    votes = [sign_vote(signer, network.net, Kind.NOTARIZE, epoch, view, bytes([i]) * 32) for i in (1, 2)]
    return vote_fault(*votes)


def test_only_a_validators_double_vote_convicts(make_network: Any) -> None:
    network = make_network(n=4, authorities=2, validators=2)
    state = network.tip.state
    wanted = [network.accounts.wants(state, voted_twice(network, who)) for who in network.nodes]
    assert wanted == [True, True, False, False]
    assert not network.accounts.wants(state, voted_twice(network, Signer(b"\x55" * 32)))
    network.close(voted_twice(network, network.nodes[1]))
    assert network.tip.state.get("frozen", network.nodes[1].node) == (1, 0, -1)
    assert not network.accounts.wants(network.tip.state, voted_twice(network, network.nodes[1], view=9))


def test_who_was_a_validator_under_a_key_before_answers_for_it(make_network: Any) -> None:
    network, new = make_network(n=4, authorities=2, validators=2, epoch=2), Signer(b"\x55" * 32)
    old = network.nodes[1]
    network.say(1, "key.rotate", [new.node, consent(new, network.net, old.node)])
    network.by_key[new.node] = new
    for _ in range(3):
        network.close()
    assert old.node not in validators_of(network.tip.state)
    assert network.accounts.wants(network.tip.state, voted_twice(network, old))
    network.close(voted_twice(network, old))
    assert network.tip.state.get("frozen", new.node) is not None


def gone(make_network: Any) -> Any:
    """A network of epochs of two heights in which node 3 stopped being a validator at the end of epoch 0."""
    network = make_network(validators=4, epoch=2)
    network.say(3, "leave", [VALIDATOR])
    for _ in range(4):
        network.close()
    assert network.nodes[3].node not in validators_of(network.tip.state)
    return network


@pytest.mark.parametrize(("epoch", "counts"), [(0, True), (1, False)])
def test_who_gave_the_role_up_answers_for_the_votes_of_its_time(make_network: Any, epoch: int, counts: bool) -> None:
    network = gone(make_network)
    left = network.nodes[3]
    fault = voted_twice(network, left, epoch=epoch)
    assert network.accounts.wants(network.tip.state, fault) is counts
    if counts:
        network.close(fault)
        assert network.tip.state.get("frozen", left.node) == (1, 0, -1)
        assert not network.accounts.wants(network.tip.state, voted_twice(network, left, view=9))


def test_only_so_many_former_validators_are_remembered(make_network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(former, "FORMER_MAX", 2)
    network = make_network(n=5, validators=5, epoch=1)
    leavers = [1, 2, 3]
    for who in leavers:
        network.say(who, "leave", [VALIDATOR])
        network.close()
        rows = {parts[0]: value for parts, value in network.tip.state.items("voted")}
    assert len(leavers) > len(rows)
    assert rows == {network.nodes[who].node: (who - 1,) for who in leavers[1:]}


steps = st.lists(
    st.one_of(
        st.tuples(st.just("sends"), st.integers(0, 4), st.integers(0, 4), st.integers(1, 80)),
        st.tuples(st.just("join"), st.integers(0, 4)),
        st.tuples(st.just("leave"), st.integers(0, 4)),
        st.tuples(st.just("close")),
        st.tuples(st.just("fork"), st.integers(0, 4)),
    ),
    max_size=25,
)


@settings(max_examples=40, deadline=None)
@given(script=steps)
def test_whatever_is_said_credits_are_conserved(make_network: Any, script: list[tuple[Any, ...]]) -> None:
    network, frozen, faults = make_network(n=5, authorities=2, validators=3, window=2), set[int](), list[Any]()
    for step in script:
        match step:
            case ("sends", a, b, count) if a != b and not {a, b} & frozen:
                network.sends(a, b, count)
            case ("join", who) if who not in frozen:
                admit(network, who) if 0 not in frozen else network.say(who, "join", [WORKER])
            case ("leave", who) if who not in frozen:
                network.say(who, "leave", [WORKER])
            case ("fork", who) if who not in frozen:
                faults.append(forked(network, who)[1])
                frozen.add(who)
            case ("close",):
                network.close(*sorted(faults))
                faults = []
    network.close(*sorted(faults))
    state = network.tip.state
    settled = [value for _, value in state.items("settled")]
    assert all(paid <= supply for *_, supply, paid in settled)
    balances = [value[0] for _, value in state.items("balance")]
    assert min(balances, default=0) >= 0
    assert sum(balances) == state.number("issued") == sum(value[3] for value in settled)


def test_executing_is_what_finality_asks_for(make_played: Any) -> None:
    network = make_played(3)
    first = network.accounts.genesis()
    assert isinstance(first, Execution)
    assert first.state_root == network.states[0].root()
    block = network.blocks[0]
    entries = network.entries[: block.header.entry_count]
    place = Place(1, block.header.time_ms, 0, False)
    done = network.accounts.execute(first.state, place, entries, block.evidence)
    assert (done.state_root, done.rules_hash) == (block.header.state_root, block.header.rules_hash)
