"""A neighbour that says anything at all: the node goes on, keeps its disk readable, and is moved no further than by an
honest one."""

from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import Any

import pytest
import torch

from p2pfl.core.party import Answered, Offered, Received, Reply, Send, SendFailed, SetTimer, Started, Take, Verdict
from p2pfl.horizontal.model.work import encode_sections
from p2pfl.horizontal.records.edge import NOTHING
from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.wire.envelope import open_head, seal
from p2pfl.wire.messages import Bye, Edge, Row, Snapshot, Update, parse

U63 = (1 << 63) - 1
Said = tuple[Any, bytes]
"""A message and its body."""


class Hostile:
    """Greets as it should; answers every update with what `reply` makes of it, and says `opening` once at first."""

    def __init__(self, node: Any, to: Any, reply: Callable[[Update], Said | None], opening: Said | None = None) -> None:
        self.node, self.to, self.reply, self.opening = node, to, reply, opening
        self.asked: list[Update] = []
        self.heads: dict[Any, Any] = {}
        self.answers: list[Answered] = []

    def handle(self, event: Any, now: float) -> list[Any]:
        match event:
            case Started() if self.opening is not None:
                return [SetTimer("open", now + 0.3)]
            case Offered(token, head):
                return self._offered(token, parse(open_head(head).kind, open_head(head).fields))
            case Received(token):
                message = self.heads[token]
                if isinstance(message, Snapshot):
                    return [self._answer(token, (Edge(message.recipe, self.to, "have", message.epoch, 0), b""))]
                return [self._answer(token, self.reply(message))]
            case Answered():
                self.answers.append(event)
            case SendFailed():
                pass
            case _ if self.opening is not None:
                return [Send("opening", self.to, "exchange", self._sealed(self.opening), 1 << 20, now + 5.0)]
        return []

    def _offered(self, token: Any, message: Any) -> list[Any]:
        if isinstance(message, Update | Snapshot):
            self.heads[token] = message
            if isinstance(message, Update):
                self.asked.append(message)
            return [Take(token)]
        echo = Bye(message.recipe, self.to, 1) if isinstance(message, Bye) else replace(message, to=self.to)
        return [self._answer(token, (echo, b""))]

    def _answer(self, token: Any, said: Said | None) -> Reply:
        if said is None:
            return Reply(token, Verdict.IGNORE)
        return Reply(token, Verdict.ACCEPT, self._sealed(said))

    def _sealed(self, said: Said) -> Any:
        message, body = said
        return seal(self.node.signer, bytes(range(32)), message.KIND, message.to_fields(), (body,) if body else ())


def meet(
    kit: Any, me: int, reply: Callable[[Update], Said | None], opening: Said | None = None, until: float = 20.0
) -> tuple[Any, Hostile, Any, Any]:
    """An honest node, `me` 0 with the smaller id or 1, and a hostile neighbour, for a while."""
    nodes = kit.nodes([(0, 1)], timeout_s=1.0)
    honest, other = nodes[me], nodes[1 - me]
    hostile = Hostile(other, honest.id, reply, opening)
    host, _ = kit.simulate([honest])
    host.add(other.id, lambda: hostile, other.work, MemoryStore)
    host.run(until)
    return host, hostile, honest, host.party(honest.id).job  # type: ignore[union-attr]


def half(kit: Any, asked: Update, length: float = 0.0, **fields: Any) -> Said:
    """The other half of an exchange, with q of that length."""
    q = torch.zeros(kit.schema.size)
    q[0] = length
    work = kit.nodes([(0, 1)])[0].work
    encoded = encode_sections(work.codec, q, kit.schema, bytes(32), 1.0)
    to = fields.pop("to")
    answer = replace(asked, to=to, answer=True, receipt=NOTHING, norm=encoded.norm, sections=encoded.sections)
    return replace(answer, **fields), encoded.body


def snapshot(kit: Any, to: Any, epoch: int, value: float = 0.0) -> Said:
    work = kit.nodes([(0, 1)])[0].work
    q = torch.full((kit.schema.size,), value)
    encoded = encode_sections(work.snapshot_codec, q, kit.schema, bytes(32), 1.0)
    return Snapshot(kit.recipe.digest, to, epoch, (-20, -20), encoded.sections), encoded.body


ANSWERS = {
    "an earlier position": lambda kit, to, u: half(
        kit, u, to=to, epoch=u.epoch, seq=max(u.seq - 1, 0), reference=bytes(32)
    ),
    "an earlier epoch": lambda kit, to, u: half(kit, u, to=to, epoch=0, seq=9),
    "the next position": lambda kit, to, u: half(kit, u, to=to, seq=u.seq + 1),
    "a body of another size": lambda kit, to, u: (half(kit, u, to=to)[0], b"longer than that"),
    "an old snapshot": lambda kit, to, u: snapshot(kit, to, 0),
    "have": lambda kit, to, u: (Edge(u.recipe, to, "have", u.epoch, u.seq), b""),
    "ahead": lambda kit, to, u: (Edge(u.recipe, to, "ahead", u.epoch, u.seq), b""),
    "want": lambda kit, to, u: (Edge(u.recipe, to, "want", u.epoch, u.seq), b""),
    "hello": lambda kit, to, u: (Edge(u.recipe, to, "hello", 0, 0), b""),
    "a bye": lambda kit, to, u: (Bye(u.recipe, to, 3), b""),
    "a row": lambda kit, to, u: (Row(u.recipe, to, 3, u.averages, u.sections), b""),
    "nothing": lambda kit, to, u: None,
}


@pytest.mark.parametrize("me", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("answer", ANSWERS)
def test_no_answer_stops_a_node(kit: Any, answer: str, me: int) -> None:
    """It asks again, and it trains on. (An answer that meant nothing used to leave the request open for ever.)"""
    to = kit.signers[me].node
    host, hostile, node, job = meet(kit, me, lambda u: ANSWERS[answer](kit, to, u))
    assert len(hostile.asked) > 5
    assert job.local.round > 20
    assert host.party(node.id).job.phase.value in ("train", "exchange")


@pytest.mark.parametrize("me", [0, 1])
@pytest.mark.parametrize("state", ["want", "ahead"])
def test_the_last_epoch_of_all_does_not_ruin_the_disk(kit: Any, state: str, me: int) -> None:
    """Told to begin an epoch after 2^63 - 1, a node used to write down one that it could not read again."""
    to = kit.signers[me].node

    def reply(update: Update) -> Said:
        return Edge(update.recipe, to, state, U63, 0), b""

    opening = Edge(kit.recipe.digest, to, state, U63, 0), b""
    host, hostile, node, job = meet(kit, me, reply, opening, until=3.0)
    assert job.local.round > 3
    assert next(iter(job.exchange.edges.values())).epoch <= U63
    assert hostile.asked
    again, emitted = kit.simulate([node], absent=(0,))
    again.add(node.id, node.party, node.work, lambda: host.store(node.id))
    again.run(0.5)
    assert not kit.times(emitted, "failed")
    assert kit.times(emitted, "resumed")


@pytest.mark.parametrize("rounds", [0, 10**6])
def test_one_neighbours_progress_does_not_end_a_run(kit: Any, rounds: int) -> None:
    to = kit.signers[0].node
    said: list[Said] = []

    def once(update: Update) -> Said | None:
        said.append(half(kit, update, to=to, averages=(float(rounds), 1.0, 0.0, 10**6)))
        return said[0] if len(said) == 1 else None

    *_, job = meet(kit, 0, once, until=1.0)
    assert next(iter(job.exchange.edges.values())).exchanges == 1
    assert job.local.progress < 0.06 * 10**6
    assert not job.local.finished


@pytest.mark.parametrize("me", [0, 1])
def test_vectors_without_a_difference_are_exchanged(kit: Any, me: int) -> None:
    """Nothing to say is said in no byte: such an update has no body, and is one all the same."""
    to = kit.signers[me].node

    def silent(update: Update) -> Said:
        said, body = half(kit, update, to=to)
        assert body == b""
        return said, body

    opening = half(kit, first_update(kit, to), to=to)
    _, hostile, _, job = meet(kit, me, silent, opening, until=5.0)
    assert [answer.verdict for answer in hostile.answers] == [Verdict.ACCEPT]
    edge = next(iter(job.exchange.edges.values()))
    assert edge.exchanges > 5
    assert edge.epoch == 0


def first_update(kit: Any, to: Any) -> Update:
    """What an honest neighbour could say at (0, 0)."""
    start = next(iter(kit.nodes([(0, 1)])[0].job().exchange.edges.values()))
    fields = {"epoch": 0, "seq": 0, "averages": (0.0, 1.0, 0.0, 10**6), "reference": start.digest}
    scalars = {"norm": 0.0, "reach": inf, "work": 0.1, "phase": 0.2, "tau": inf, "damp": 1.0, "sections": ()}
    return Update(recipe=kit.recipe.digest, to=to, answer=False, receipt=NOTHING, **fields, **scalars)  # type: ignore[arg-type]


def test_one_neighbours_word_does_not_stop_a_run(kit: Any) -> None:
    """Without a stop rule in the recipe nobody's stop_at means anything."""
    to = kit.signers[0].node
    *_, job = meet(kit, 0, lambda u: half(kit, u, to=to, averages=(0.0, 1.0, 0.0, 0)), until=1.0)
    assert not job.local.finished
