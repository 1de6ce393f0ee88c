"""What a running node takes in, on the header alone: never a body that cannot be right, never an exception."""

from dataclasses import dataclass, replace
from math import inf
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.limits import BODY_BYTES_MAX, SECTIONS_MAX
from p2pfl.core.party import (
    Compute,
    Computed,
    Dropped,
    Emit,
    Offered,
    Reply,
    ReplyToken,
    Started,
    Stopping,
    Take,
    Verdict,
)
from p2pfl.horizontal.model.work import Train
from p2pfl.horizontal.records.edge import NOTHING
from p2pfl.peer.door import refusal_code
from p2pfl.wire.envelope import open_head, seal, split
from p2pfl.wire.messages import Bye, Edge, Row, Section, Snapshot, Update


@dataclass(eq=False)
class Running:
    """A node that trains, with nothing of its own in flight, and its neighbour's key."""

    kit: Any
    party: Any
    node: Any
    other: Any
    token: int = 0

    def offer(self, raw: bytes) -> list[Any]:
        self.token += 1
        return list(self.party.handle(Offered(ReplyToken(self.token), raw), 1.0))

    def say(self, message: Any, body: bytes = b"", signer: Any = None) -> list[Any]:
        parts = seal(
            signer or self.other.signer, self.kit.network, message.KIND, message.to_fields(), (body,) if body else ()
        )
        return self.offer(bytes(parts[0]))

    def update(self, **fields: Any) -> Update:
        """What its neighbour could say now; sizes as for a body of 30 bytes."""
        edge = next(iter(self.party.job.exchange.edges.values()))
        made = Update(
            recipe=self.node.plan.recipe.digest,
            to=self.node.id,
            epoch=edge.epoch,
            seq=edge.seq,
            averages=(0.0, 1.0, 0.0, 10),
            reference=edge.digest,
            answer=False,
            receipt=NOTHING,
            norm=1.0,
            reach=inf,
            work=0.1,
            phase=0.2,
            tau=inf,
            damp=1.0,
            sections=(Section((0, 0, 0), 20), Section((0, 0, 0), 10)),
        )
        return replace(made, **fields)


def started(kit: Any, me: int = 0, **plan: Any) -> Running:
    """Past its greeting: its first local phase is under way."""
    nodes = kit.nodes([(0, 1)], gather_s=0.0, **plan)
    node, other = nodes[me], nodes[1 - me]
    party = node.party()
    made = Running(kit, party, node, other)
    effects = party.handle(Started(bytes(32)), 0.0)
    while effects:
        effect = effects.pop(0)
        if isinstance(effect, Compute) and not isinstance(effect.task, Train):
            effects += party.handle(Computed(effect.task, node.work.run(effect.task)), 0.0)
    made.say(Edge(node.plan.recipe.digest, node.id, "hello", 0, 0))
    assert party.job.phase.value == "train"
    return made


def refusal(effects: list[Any]) -> tuple[Verdict, str]:
    assert not any(isinstance(effect, Take) for effect in effects)
    (reply,) = [effect for effect in effects if isinstance(effect, Reply)]
    return reply.verdict, refusal_code(b"".join(map(bytes, reply.data)))


def test_the_other_half_is_taken(kit: Any) -> None:
    assert started(kit).say(started(kit).update(), bytes(30)) == [Take(ReplyToken(2))]


@pytest.mark.parametrize(
    ("sections", "body", "code"),
    [
        ((Section((0, 0, 0), 10_000), Section((0, 0, 0), 10)), 10_010, "size"),
        ((Section((0, 0, 0), 20), Section((0, 0, 0), BODY_BYTES_MAX)), 20, "size"),
        ((Section((0, 0, 0), 20), Section((0, 0, 0), 10)), 31, "size"),
        ((Section((0, 0, 0), 20), Section((0, 0, 0), 10)), 29, "size"),
        ((Section((0, 0, 0), 20), Section((0, 0, 0), 10)), 0, "size"),
        ((Section((0,) * 9, 20), Section((0, 0, 0), 10)), 30, "size"),
        ((Section((0, 0, 0), 30),), 30, "sections"),
        ((Section((0, 0, 0), 10),) * 3, 30, "sections"),
        ((Section((), 0),) * SECTIONS_MAX, 0, "sections"),
    ],
)
def test_a_body_that_cannot_be_right_is_refused_on_the_header(
    kit: Any, sections: tuple[Section, ...], body: int, code: str
) -> None:
    running = started(kit)
    assert refusal(running.say(running.update(sections=sections), bytes(body))) == (Verdict.REJECT, code)


def test_another_recipe_is_refused_by_a_code(kit: Any) -> None:
    """What two machines with different documents see of each other."""
    running = started(kit)
    for message in (
        running.update(recipe=bytes(32)),
        Edge(bytes(32), running.node.id, "hello", 0, 0),
        Bye(bytes(32), running.node.id, 0),
    ):
        effects = running.say(message, bytes(30) if isinstance(message, Update) else b"")
        assert refusal(effects) == (Verdict.REJECT, "recipe")
        assert Emit("refused", {"peer": running.other.id[:4].hex(), "code": "recipe"}) in effects


def test_messages_of_another_rule_are_refused(kit: Any) -> None:
    running = started(kit)
    update = running.update()
    row = Row(update.recipe, update.to, 0, update.averages, update.sections)
    assert refusal(running.say(row, bytes(30))) == (Verdict.REJECT, "kind")
    have = Edge(update.recipe, update.to, "have", 0, 0)
    assert refusal(running.say(have)) == (Verdict.REJECT, "kind")


def test_only_the_smaller_id_begins_an_epoch(kit: Any) -> None:
    sections = (Section((), 52), Section((), 12))
    for me, verdict in ((0, "not-yours"), (1, None)):
        running = started(kit, me)
        snapshot = Snapshot(running.update().recipe, running.node.id, 1 << 31, (-20, -20), sections)
        effects = running.say(snapshot, bytes(64))
        if verdict is None:
            assert effects == [Take(ReplyToken(2))]
        else:
            assert refusal(effects) == (Verdict.REJECT, verdict)


def test_an_oversized_snapshot_is_refused_on_the_header(kit: Any) -> None:
    running = started(kit, me=1)
    sections = (Section((), 53), Section((), 12))
    snapshot = Snapshot(running.update().recipe, running.node.id, 1 << 31, (-20, -20), sections)
    assert refusal(running.say(snapshot, bytes(65))) == (Verdict.REJECT, "size")


def test_a_node_that_starts_or_leaves_asks_for_patience(kit: Any) -> None:
    node = kit.nodes([(0, 1)])[0]
    other = kit.nodes([(0, 1)])[1]
    starting = Running(kit, node.party(), node, other)
    starting.party.handle(Started(bytes(32)), 0.0)
    assert refusal(starting.say(starting.update(), bytes(30))) == (Verdict.BUSY, "starting")
    running = started(kit)
    running.party.handle(Stopping(), 1.0)
    assert refusal(running.say(running.update(), bytes(30))) == (Verdict.BUSY, "leaving")


def asked(ear: Any, heard: list[tuple[bytes, Any]], back: int) -> list[bytes]:
    """The requests that led to the exchange so many before the present position; none while one is being served."""
    if ear.party.door._waiting:
        return []
    seq = next(iter(ear.party.job.exchange.edges.values())).seq
    return [raw for raw, _ in heard if open_head(raw).fields[3] == seq - back]


@pytest.mark.parametrize(("back", "kind"), [(1, "update"), (2, "edge"), (3, "edge")])
def test_a_copy_of_an_old_message_does_no_harm(kit: Any, back: int, kind: str) -> None:
    """The last one is answered as it was, byte for byte; older ones with where the edge stands. Nothing is applied."""
    nodes = kit.nodes([(0, 1)], rounds=10)
    heard: list[tuple[bytes, Any]] = []

    class Ear:
        def __init__(self, party: Any) -> None:
            self.party, self.heads = party, {}

        def handle(self, event: Any, now: float) -> Any:
            effects = self.party.handle(event, now)
            if isinstance(event, Offered):
                self.heads[event.token] = event.head
            for effect in effects:
                if isinstance(effect, Reply) and effect.verdict is Verdict.ACCEPT and effect.token in self.heads:
                    head = open_head(self.heads[effect.token])
                    if head.kind == "update" and effect.data:
                        heard.append((head.raw, effect.data))
            return effects

    host, _ = kit.simulate(nodes, absent=(0,), slow={nodes[0].id: 3.0})
    host.add(nodes[0].id, lambda: Ear(nodes[0].party()), nodes[0].work, type(host.store(nodes[1].id)))
    at: list[bytes] = []
    while not at:
        host.run(host.now + 0.05)
        at = asked(host.party(nodes[0].id), heard, back)
    party = host.party(nodes[0].id).party  # type: ignore[union-attr]
    running = Running(kit, party, nodes[0], nodes[1], token=10_000)
    edge = next(iter(party.job.exchange.edges.values()))
    before, x = (edge.epoch, edge.seq, edge.digest), party.job.local.x
    (reply,) = [effect for effect in running.offer(at[0]) if isinstance(effect, Reply)]
    head, _ = split(b"".join(map(bytes, reply.data)))
    assert head.kind == kind
    if kind == "update":
        assert [bytes(p) for p in reply.data] == [[bytes(p) for p in data] for raw, data in heard if raw == at[0]][-1]
    assert (edge.epoch, edge.seq, edge.digest) == before
    assert party.job.local.x is x


# ------------------------------------------------------------------------------------------------ any bytes at all


def harmless(effects: list[Any]) -> None:
    """One Reply that accepts nothing, perhaps a line for the operator; no Take, nothing written or computed."""
    replies = [effect for effect in effects if isinstance(effect, Reply)]
    assert [type(effect) for effect in effects if not isinstance(effect, Emit)] == [Reply]
    assert replies[0].verdict is not Verdict.ACCEPT


def test_no_prefix_and_no_changed_byte_gets_in(kit: Any) -> None:
    running = started(kit)
    message = running.update()
    raw = bytes(seal(running.other.signer, kit.network, message.KIND, message.to_fields(), (bytes(30),))[0])
    for cut in range(len(raw)):
        harmless(running.offer(raw[:cut]))
    for at in range(len(raw)):
        for flip in (0x01, 0x80, 0xFF):
            harmless(running.offer(raw[:at] + bytes([raw[at] ^ flip]) + raw[at + 1 :]))
    assert running.offer(raw) == [Take(ReplyToken(running.token))], "the message as it was does"


def test_nothing_of_a_stranger_gets_in(kit: Any) -> None:
    running = started(kit)
    stranger = kit.signers[5]
    messages = [
        running.update(),
        Bye(running.update().recipe, running.node.id, 0),
        Edge(running.update().recipe, running.node.id, "want", 0, 0),
    ]
    for message in messages:
        harmless(running.say(message, bytes(30), stranger))


values = st.recursive(
    st.one_of(
        st.integers(-(1 << 63), (1 << 64) - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.binary(max_size=40),
        st.text(max_size=8),
        st.booleans(),
    ),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=12,
)


RUNNING: dict[str, Running] = {}
"""Kept between examples, and made anew when one of them has moved it."""


@settings(max_examples=200)
@given(st.data())
def test_a_neighbours_own_words_with_one_field_changed_are_answered(kit: Any, data: st.DataObject) -> None:
    """Signed as they should be, so only the fields themselves are in the way."""
    running = RUNNING.setdefault("node", started(kit))
    update = running.update()
    fields = update.to_fields()
    at = data.draw(st.integers(0, len(fields) - 1))
    fields[at] = data.draw(values)
    parts = seal(running.other.signer, kit.network, "update", fields, (bytes(30),))
    effects = running.offer(bytes(parts[0]))
    taken = [effect for effect in effects if isinstance(effect, Take)]
    if taken:
        running.party.handle(Dropped(taken[0].token, "gone"), 1.0)
    else:
        assert any(isinstance(effect, Reply | Compute) for effect in effects)
    if any(isinstance(effect, Compute) for effect in effects):
        RUNNING.clear()
