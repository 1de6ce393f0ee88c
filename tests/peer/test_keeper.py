"""A Keeper keeps what it says it has: one commit for a height, nothing said that is not durable, and bounded boxes."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from p2pfl.core.party import (
    Emit,
    Offered,
    Persist,
    Put,
    Received,
    Reply,
    ReplyToken,
    Send,
    SendFailed,
    SetTimer,
    Started,
    Stop,
    Stopping,
    Take,
    TimerFired,
    Verdict,
)
from p2pfl.errors import LedgerError
from p2pfl.ledger.blocks.genesis import Genesis
from p2pfl.ledger.check.verify import verify_store
from p2pfl.ledger.feeds.feed import Feed, append
from p2pfl.ledger.feeds.kinds import FORMAT, Opening
from p2pfl.ledger.feeds.records import ENTRY, put_entry
from p2pfl.ledger.finality.talk import Digest, Entries
from p2pfl.ledger.finality.tip import TIP
from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.ledger.stores.sqlite import SqliteStore
from p2pfl.peer.keeper import OUTBOX_TIMER, RECOVER, SPACES, Bell, Charter, Keeper
from p2pfl.peer.outbox import pack, unpack
from p2pfl.peer.peer import Carrying, Peer
from p2pfl.wire.envelope import seal
from p2pfl.wire.keyfile import Signer
from p2pfl.wire.messages import Parcel
from p2pfl.wire.post import Append

SIGNERS = sorted((Signer(bytes([number]) * 32) for number in (1, 2, 3, 4)), key=lambda signer: signer.node)
KEYS = tuple(signer.node for signer in SIGNERS)
RECIPE = bytes([7]) * 32
VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "parcel.json").read_text())


class Job:
    """Does what it was told beforehand, event by event."""

    def __init__(self) -> None:
        self.effects: list[list[Any]] = []

    def handle(self, event: Any, now: float) -> list[Any]:
        if isinstance(event, Stopping):
            return [Stop(0, event.reason)]
        return self.effects.pop(0) if self.effects else []

    def status(self) -> dict[str, Any]:
        return {}


@dataclass(eq=False)
class World:
    """One Peer with a store and a clock; sends go nowhere until a test says so."""

    genesis: Genesis
    signer: Signer = SIGNERS[0]
    neighbours: tuple[Any, ...] = ()
    store: Any = field(default_factory=MemoryStore)
    now: float = 0.0
    sent: list[Send] = field(default_factory=list)
    stopped: Stop | None = None
    emitted: list[Emit] = field(default_factory=list)
    commits: list[list[str]] = field(default_factory=list)
    timers: dict[Any, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.job = Job()
        keeper = Keeper(Charter(self.genesis, self.genesis.validators), self.signer, self.neighbours)
        self.peer = Peer(self.signer, self.genesis.digest, RECIPE, self.neighbours, self.job, "me", keeper)

    @property
    def keeper(self) -> Keeper:
        assert self.peer.keeper is not None
        return self.peer.keeper

    def start(self) -> "World":
        self.do(Started(bytes(32), self.store.load()))
        return self

    def do(self, event: Any) -> list[Any]:
        effects = self.peer.handle(event, self.now)
        for effect in effects:
            match effect:
                case Persist():
                    self.store.commit(effect.puts)
                    self.commits.append([put.space for put in effect.puts])
                case Send():
                    self.sent.append(effect)
                case SetTimer():
                    self.timers[effect.key] = effect.at
                case Stop():
                    self.stopped = effect
                case Emit():
                    self.emitted.append(effect)
        return effects

    def write(self, *effects: Any) -> list[Any]:
        self.job.effects.append(list(effects))
        return self.do(TimerFired("job"))

    def at_height(self, height: int) -> Any:
        return lambda: self.keeper.tip.height == height

    def until(self, condition: Any) -> None:
        for _ in range(200):
            if condition():
                return
            key = min(self.timers, key=lambda key: self.timers[key])
            self.now = max(self.now, self.timers.pop(key))
            self.do(TimerFired(key))
        raise AssertionError("it did not happen")


def alone() -> Genesis:
    return Genesis("alone", KEYS[:1], KEYS[:1], window=2, epoch=3)


def four() -> Genesis:
    return Genesis("four", KEYS, KEYS)


def model(number: int) -> Append:
    return Append("model", number, [bytes([number]) * 32, 0])


# ------------------------------------------------------------------------------------------------ one node


def test_a_height_is_one_commit_and_a_store_goes_on_where_it_ended(tmp_path: Any) -> None:
    world = World(alone(), store=SqliteStore(tmp_path / "node.db")).start()
    for number in range(5):
        world.write(model(number))
        world.until(world.at_height(number + 1))
        if number == 2:
            root = world.keeper.tip.log.root()
            world = World(alone(), store=world.store).start()
            assert (world.keeper.tip.height, world.keeper.tip.log.root()) == (3, root)
    heights = [spaces for spaces in world.commits if TIP in spaces]
    assert heights
    assert all({"final", "leaf", "checkpoint", "state"} <= set(spaces) for spaces in heights)
    world.store.close()
    result = verify_store(tmp_path / "node.db", alone())
    assert result.ok
    assert result.height == 5


def test_what_a_start_loads_is_enough() -> None:
    world = World(alone()).start()
    world.write(model(1))
    world.until(lambda: world.keeper.tip.height == 1)
    again = World(alone(), store=world.store)
    again.do(Started(bytes(32), world.store.load(SPACES)))
    assert again.keeper.tip.raw == world.keeper.tip.raw
    assert again.peer.feed == world.peer.feed


def test_the_genesis_of_another_network_is_refused() -> None:
    world = World(alone()).start()
    other = World(four(), store=world.store)
    (stop,) = other.do(Started(bytes(32), world.store.load()))
    assert isinstance(stop, Stop)
    assert stop.code == 2
    assert "ledger of network" in stop.reason


def test_a_restored_backup_begins_a_new_incarnation_and_does_not_vote() -> None:
    world = World(alone()).start()
    world.write(model(1))
    world.until(lambda: world.keeper.tip.height == 1)
    world.store.commit([Put(RECOVER, b"", bytes(8))])
    again = World(alone(), store=world.store).start()
    assert again.peer.feed.incarnation == 1
    assert again.peer.feed.last is not None
    assert (again.peer.feed.next_seq, again.peer.feed.last.kind) == (2, "resume"), "there is nobody to ask"
    assert not again.keeper.status()["votes"]
    assert World(alone(), store=world.store).start().peer.feed == again.peer.feed, "and goes on in it"


def test_status_says_what_the_validators_withstand() -> None:
    status = World(four(), neighbours=KEYS[1:]).start().peer.status()
    assert status["network"] == four().digest.hex()
    assert (status["ledger"]["validators"], status["ledger"]["faulty_tolerated"], status["ledger"]["height"]) == (
        4,
        1,
        0,
    )
    assert "f = 1" in status["ledger"]["meaning"]


# ------------------------------------------------------------------------------------------------ leaving


def test_the_jobs_stop_waits_until_its_last_entry_is_final() -> None:
    world = World(alone()).start()
    world.write(model(1), Stop(0, "all rounds done"))
    assert world.stopped is None
    world.until(lambda: world.stopped is not None)
    assert world.stopped == Stop(0, "all rounds done")
    assert world.keeper.tip.height == 1
    assert world.now < 5.0


def test_nobody_waits_for_ever() -> None:
    world = World(four(), neighbours=KEYS[1:]).start()
    world.write(model(1), Stop(0, "all rounds done"))
    assert world.stopped is None
    world.until(lambda: world.stopped is not None)
    assert 20.0 <= world.now < 25.0, "a view's time, and then some"
    assert world.emitted[-1].fields["all_final"] is False


@pytest.mark.parametrize("last", [Stop(2, "it failed"), None])
def test_a_failure_and_a_request_to_stop_do_not_wait(last: Stop | None) -> None:
    world = World(four(), neighbours=KEYS[1:]).start()
    if last is None:
        world.write(Stop(0, "all rounds done"))
        world.do(Stopping("asked"))
        assert world.stopped == Stop(0, "asked")
    else:
        world.write(last)
        assert world.stopped == last


# ------------------------------------------------------------------------------------------------ parcels


def parcel(world: World, body: bytes, sender: Signer = SIGNERS[1], token: int = 1) -> list[Any]:
    raw = seal(sender, world.genesis.digest, Parcel.KIND, Parcel(world.signer.node).to_fields(), (body,))
    taken = world.do(Offered(ReplyToken(token), bytes(raw[0])))
    assert taken == [Take(ReplyToken(token))]
    return world.do(Received(ReplyToken(token), body))


def entry_of(signer: Signer, net: bytes) -> Any:
    return append(Feed(net, signer.node), signer, 0, "feed.open", list(Opening(FORMAT, RECIPE)))[1]


def test_a_neighbours_entry_is_kept_and_answered_without_a_word() -> None:
    world = World(four(), neighbours=KEYS[1:]).start()
    entry = entry_of(SIGNERS[1], four().digest)
    effects = parcel(world, pack([Entries((entry.raw,)).raw], []))
    assert effects[0] == Reply(ReplyToken(1), Verdict.IGNORE)
    assert put_entry(entry).key in world.store.load()[ENTRY]
    assert world.peer.traffic.received == 0
    assert world.peer.ledger_traffic.received > len(entry.raw)


def test_what_a_neighbour_hears_from_its_author_is_not_relayed() -> None:
    world = World(four(), neighbours=KEYS[1:3])
    charter = Charter(four(), KEYS, around={KEYS[2]: (KEYS[0], KEYS[1])})
    world.peer.keeper = Keeper(charter, world.signer, KEYS[1:3])
    world.start()
    waiting = world.keeper.outbox.boxes[KEYS[2]].waiting
    for token, author in ((1, SIGNERS[1]), (2, SIGNERS[3])):
        said = Entries((entry_of(author, four().digest).raw,)).raw
        parcel(world, pack([said], []), token=token)
        assert ((False, said) in waiting) == (author is SIGNERS[3])


def test_rubbish_is_refused_and_counted() -> None:
    world = World(four(), neighbours=KEYS[1:]).start()
    (refusal,) = [effect for effect in parcel(world, b"\xc1") if isinstance(effect, Reply)]
    assert refusal.verdict is Verdict.REJECT
    parcel(world, pack([b"nonsense"], [b"nonsense"]), token=2)
    assert sum(world.keeper.refusals.values()) == 2
    strange = entry_of(SIGNERS[1], bytes(32))
    parcel(world, pack([Entries((strange.raw,)).raw], []), token=3)
    assert world.keeper.refusals["network"] == 1


def test_a_node_without_a_ledger_refuses_parcels(gate: Any) -> None:
    raw = gate.sealed(Parcel(gate.me.node), body=pack([], []))
    head = raw[: len(raw) - len(pack([], []))]
    assert gate.refused(gate.offer(gate.peer(), head))[1] == "no-ledger"


def test_what_waited_leaves_behind_a_commit() -> None:
    """It was perhaps written by an earlier handle, whose commit is still on its way."""
    world = World(four(), neighbours=KEYS[1:2]).start()
    assert not world.sent, "a piece waits for others"
    world.until(lambda: world.sent)
    world.write(model(1))
    assert len(world.sent) == 1, "one parcel to a neighbour at a time"
    effects = world.do(SendFailed(Carrying(KEYS[1]), "lost"))
    assert not any(isinstance(effect, Send) for effect in effects), "a pause after a failure"
    world.now = world.timers[Bell(OUTBOX_TIMER)]
    effects = world.do(TimerFired(Bell(OUTBOX_TIMER)))
    kinds = [type(effect) for effect in effects if isinstance(effect, Persist | Send)]
    assert kinds == [Persist, Send]


def test_digests_are_said_on_ticks() -> None:
    world = World(four(), neighbours=KEYS[1:2]).start()
    world.until(lambda: world.sent)
    (send,) = world.sent
    assert send.path == "gossip"
    assert any(raw.startswith(Digest(bytes(32)).raw[:3]) for raw in unpack(bytes(send.data[1]))[0])


def test_a_damaged_tip_stops_the_node() -> None:
    world = World(alone()).start()
    world.write(model(1))
    world.until(lambda: world.keeper.tip.height == 1)
    broken = {**world.store.load(), TIP: {b"": b"damage"}}
    with pytest.raises(LedgerError):
        World(alone()).keeper.start(broken, 0.0)
