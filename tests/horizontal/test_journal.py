"""What was durable comes back: the same numbers, the same positions, the same bytes to say."""

from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from p2pfl.core.party import (
    Answered,
    Compute,
    Computed,
    Offered,
    Persist,
    Put,
    Received,
    Reply,
    ReplyToken,
    Send,
    Started,
    Stop,
    Stopping,
    Take,
)
from p2pfl.errors import BrokenChain, LedgerError
from p2pfl.horizontal.gossip import Gossip
from p2pfl.horizontal.model.work import Pack, Train
from p2pfl.horizontal.pairs.exchange import Pairs
from p2pfl.horizontal.records.journal import JOURNAL, SNAPSHOT, Comeback, Journal, comeback
from p2pfl.ledger.feeds.entry import parse
from p2pfl.ledger.feeds.records import ENTRY
from p2pfl.ledger.stores.memory import MemoryStore

CUT = 10_000


class Duet:
    """Two nodes on a wire that is kind: whatever is said arrives, in order. Training stops where the test says so."""

    def __init__(self, nodes: list[Any]) -> None:
        self.nodes = {node.id: node for node in nodes}
        self.stores = {node.id: MemoryStore() for node in nodes}
        self.parties: dict[Any, Any] = {}
        self.queue: deque[Any] = deque()
        self.trains: list[Any] = []
        self.sent: list[tuple[Any, Send]] = []
        self.stopped: dict[Any, Stop] = {}
        self.tokens = 0
        self.is_cut = False
        for node in nodes:
            self.start(node.id)

    def start(self, me: Any) -> None:
        """A new life, from what is on the disk."""
        self.parties[me] = self.nodes[me].party()
        self.handle(me, Started(bytes([len(self.sent) % 251]) * 32, self.stores[me].load()))

    def handle(self, me: Any, event: Any) -> None:
        for effect in self.parties[me].handle(event, 1.0):
            self.perform(me, effect)

    def perform(self, me: Any, effect: Any) -> None:
        match effect:
            case Compute(task) if isinstance(task, Train):
                self.trains.append((me, task))
            case Compute(task):
                self.queue.append(lambda: self.compute(me, task))
            case Persist(puts):
                self.stores[me].commit(puts)
            case Send():
                self.sent.append((me, effect))
                if not self.is_cut:
                    self.queue.append(lambda: self.carry(me, effect))
            case Take(token):
                body = b"".join(map(bytes, self.asked[token][1].data[1:]))
                self.queue.append(lambda: self.handle(me, Received(token, body)))
            case Reply(token, verdict, data):
                sender, send = self.asked[token]
                self.queue.append(lambda: self.handle(sender, Answered(send.key, verdict, b"".join(map(bytes, data)))))
            case Stop():
                self.stopped[me] = effect

    asked: dict[ReplyToken, tuple[Any, Send]] = {}  # noqa: RUF012  -- tokens are unique

    def carry(self, me: Any, send: Send) -> None:
        self.tokens += 1
        token = ReplyToken(CUT * id(self) + self.tokens)
        self.asked[token] = (me, send)
        self.handle(send.to, Offered(token, bytes(send.data[0])))

    def compute(self, me: Any, task: Any) -> None:
        self.handle(me, Computed(task, self.nodes[me].work.run(task)))

    def drain(self) -> None:
        while self.queue:
            self.queue.popleft()()

    def train(self) -> None:
        """Every node's present phase, and all that follows but the next one."""
        phases, self.trains = self.trains, []
        for me, task in phases:
            self.compute(me, task)
        self.drain()

    def exchange(self, me: Any) -> Pairs:
        found: Pairs = self.parties[me].job.exchange
        return found

    def ask(self, me: Any) -> None:
        """That node asks its neighbour, whether it has trained or not."""
        pairs = self.exchange(me)
        pairs.turns.ask(next(iter(pairs.edges)))
        self._flush(me)

    def doubt(self, me: Any) -> None:
        """That node wants a new epoch of its edge."""
        pairs = self.exchange(me)
        edge = next(iter(pairs.edges.values()))
        pairs.epochs.begin_epoch(edge, edge.epoch, None, "test")
        self._flush(me)

    def write_down(self) -> None:
        """Both nodes close their window now."""
        for me, party in self.parties.items():
            party.job.desk.enqueue(lambda job=party.job: job.windows.close(job.local.round))
            self._flush(me)
        self.drain()

    def _flush(self, me: Any) -> None:
        party = self.parties[me]
        for effect in party._translate(party.job.desk.take()):
            self.perform(me, effect)


def flat(value: Any) -> Any:
    """Something that == compares, whole tensors included."""
    match value:
        case Tensor():
            return (str(value.dtype), value.tolist())
        case dict():
            return {key: flat(item) for key, item in value.items()}
        case list() | tuple():
            return [flat(item) for item in value]
        case _ if hasattr(value, "__dataclass_fields__"):
            return {name: flat(getattr(value, name)) for name in value.__dataclass_fields__}
    return value


NOT_KEPT = {
    "due",
    "answered",
    "phase",
    "since_own",
    "since_any",
    "phase_from",
    "exchanged_at",
    "opening",
    "closed",
    "first",
    "extra",
}
"""Of the present life only: what they lead to after a restart is said where they are defined."""


def image(state: Comeback | Gossip) -> Any:
    edges = state.edges if isinstance(state, Comeback) else state.exchange.edges
    for edge in edges.values():
        if edge.last is not None:  # is repeated, not mixed again: its bytes are enough
            edge.last = replace(edge.last, said=None)
    whole = flat({"local": state.local, "edges": edges, "journal": state.journal})

    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without(item) for key, item in value.items() if key not in NOT_KEPT}
        return [without(item) for item in value] if isinstance(value, list) else value

    return without(whole)


def differing(a: Any, b: Any, where: str = "") -> list[str]:
    """Where two images differ."""
    if isinstance(a, dict) and isinstance(b, dict) and a.keys() == b.keys():
        return [line for key in a for line in differing(a[key], b[key], f"{where}/{key}")]
    return [] if a == b else [f"{where}: {a} is not {b}"]


def back(node: Any, restored: Any) -> Comeback:
    """What a new life of this node would begin with."""
    fresh = node.job()
    return comeback(restored, Comeback(fresh.local, fresh.exchange.edges, fresh.journal), node.work)


def duet(kit: Any, **plan: Any) -> Duet:
    made = Duet(kit.nodes([(0, 1)], window=1, **plan))
    made.drain()
    return made


def script(made: Duet) -> None:
    """Exchanges in both roles, crossing ones, epochs begun by either end's doubts, and one request left open."""
    a, b = made.nodes
    for who in (a, b, b, a):
        made.ask(who)
        made.drain()
    made.ask(a)
    made.ask(b)
    made.drain()
    for doubter, asker in ((a, b), (b, a), (a, a), (b, b)):
        made.doubt(doubter)
        made.drain()
        made.ask(asker)
        made.drain()
    made.is_cut = True
    made.ask(a)
    made.ask(b)
    made.drain()


def test_a_crash_at_any_moment_brings_back_what_was_durable(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """After every commit of the script the disk alone gives the state that the running node had at that moment."""
    made = duet(kit)
    for _ in range(3):
        made.train()
    made.write_down()
    moments = []

    def handle(self: Duet, me: Any, event: Any) -> None:
        effects = self.parties[me].handle(event, 1.0)
        for effect in effects:
            self.perform(me, effect)
        if any(isinstance(effect, Persist) for effect in effects):
            job = self.parties[me].job
            moments.append((me, image(job), self.stores[me].load(), [e.epoch for e in job.exchange.edges.values()]))

    monkeypatch.setattr(Duet, "handle", handle)
    script(made)
    assert len(moments) > 20
    assert len({epoch for *_, epochs in moments for epoch in epochs}) >= 4
    for me, running, disk, _ in moments:
        assert differing(image(back(made.nodes[me], disk)), running) == []


def test_a_crash_of_a_node_that_adopted_its_neighbours_model(kit: Any) -> None:
    made = duet(kit)
    for _ in range(3):
        made.train()
    a, b = made.nodes
    made.stores[b] = MemoryStore()
    made.start(b)
    made.trains = [(me, task) for me, task in made.trains if me != b]
    made.drain()
    made.ask(b)  # epoch 0, seq 0: long ago
    made.drain()
    adopted = made.parties[b].job.local.x
    assert torch.linalg.vector_norm(adopted - made.parties[a].job.local.x) < 0.5
    assert torch.equal(back(made.nodes[b], made.stores[b].load()).local.x, adopted)


@pytest.mark.parametrize("who", [0, 1])
def test_what_waits_for_an_answer_is_said_again_byte_for_byte(kit: Any, who: int) -> None:
    made = duet(kit)
    for _ in range(2):
        made.train()
    me = list(made.nodes)[who]
    made.is_cut = True
    made.ask(me)
    made.drain()
    first = made.sent[-1][1]
    for _ in range(3):
        made.start(me)
        made.drain()
        made.ask(me)
        made.drain()
        again = made.sent[-1][1]
        assert [bytes(part) for part in again.data] == [bytes(part) for part in first.data]


def test_records_behind_a_snapshot_are_removed_with_it(kit: Any) -> None:
    made = duet(kit)
    for _ in range(6):
        made.train()
    for me, store in made.stores.items():
        number = back(made.nodes[me], store.load()).journal.number
        kept = [int.from_bytes(key, "big") for key in store.load().get(JOURNAL, {})]
        assert all(number - 4 <= key < number for key in kept)
        assert number > 6


def test_a_node_stopped_while_a_window_is_packed_forgets_no_row(kit: Any) -> None:
    made = Duet(kit.nodes([(0, 1)], window=3))
    made.drain()
    me, other = made.nodes
    packing: list[Any] = []
    perform = made.perform

    def hold(who: Any, effect: Any) -> None:
        if who == me and isinstance(effect, Compute) and isinstance(effect.task, Pack):
            packing.append(effect.task)
        else:
            perform(who, effect)

    made.perform = hold
    while not packing:
        made.train()
    made.handle(me, Stopping())
    assert made.stopped[me].code == 0
    rows = [
        row
        for entry in map(parse, made.stores[me].load()[ENTRY].values())
        if entry.kind == "receipts"
        for row in entry.payload
    ]
    seq = next(iter(made.exchange(me).edges.values())).seq
    assert [row[2] for row in rows] == list(range(seq))
    assert back(made.nodes[me], made.stores[me].load()).journal.receipts == []
    assert other


# ------------------------------------------------------------------------------------------ disks that are damaged


def used_disk(kit: Any) -> tuple[Any, dict[str, dict[bytes, bytes]]]:
    made = duet(kit)
    for _ in range(3):
        made.train()
    script(made)
    me = next(iter(made.nodes))
    return made.nodes[me], {space: dict(rows) for space, rows in made.stores[me].load().items()}


def test_a_damaged_record_is_a_ledger_error_and_nothing_else(kit: Any) -> None:
    """Cut short, one byte changed, or exchanged with another: it is refused, or (a changed number) it can be read."""
    node, disk = used_disk(kit)
    said = []
    for space, key, value in damaged(disk):
        try:
            back(node, {**disk, space: {**disk[space], key: value}})
        except LedgerError as error:
            said.append(str(error))
    assert len(said) > 50
    assert all("start it with an empty folder" in line and "\n" not in line for line in said)


def damaged(disk: dict[str, dict[bytes, bytes]]) -> Iterator[tuple[str, bytes, bytes]]:
    for space in (SNAPSHOT, JOURNAL):
        values = list(disk[space].values())
        for key, raw in disk[space].items():
            middle = len(raw) // 2
            flips = [raw[:at] + bytes([raw[at] ^ 0x41]) + raw[at + 1 :] for at in (1, middle)]
            for value in (raw[:-1], b"", *flips, values[0]):
                yield space, key, value


def test_a_missing_record_is_a_ledger_error(kit: Any) -> None:
    node, disk = used_disk(kit)
    for key in disk[SNAPSHOT]:
        with pytest.raises(BrokenChain):
            back(node, {**disk, SNAPSHOT: {k: v for k, v in disk[SNAPSHOT].items() if k != key}})


def test_a_node_with_an_unreadable_journal_stops_and_says_so(kit: Any) -> None:
    nodes = kit.nodes([(0, 1)], rounds=5)
    host, emitted = kit.simulate(nodes)
    first = nodes[0].id
    host.store(first).commit([Put(JOURNAL, bytes(8), b"\xc1 no record")])
    host.run(60.0)
    assert [emit.fields["reason"] for _, node, emit in emitted if emit.name == "failed" and node == first]
    stop = host.party(first).job.phase.value
    assert stop == "done"


def test_an_old_format_is_refused(kit: Any) -> None:
    node, disk = used_disk(kit)
    meta = disk[SNAPSHOT][b"meta"]
    assert meta[1] == 1
    with pytest.raises(BrokenChain, match="expected format 1, got 2"):
        back(node, {**disk, SNAPSHOT: {**disk[SNAPSHOT], b"meta": meta[:1] + b"\x02" + meta[2:]}})


def test_a_node_without_a_past_begins_at_the_start(kit: Any) -> None:
    node = kit.nodes([(0, 1)])[0]
    assert image(back(node, {})) == image(node.job())
    assert replace(Journal("deadzone")).number == 0
