"""A seeded world of whole replicas: virtual time, a network that loses, delays, cuts in two, and machines that crash.

One seed is one schedule. After `heal_s` the world is kind; from then on everything must become final. Every final block
is compared with what any other honest node finalized at that height.
"""

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from itertools import count
from random import Random
from typing import Any

from finality_toy import Toy

from p2pfl.core.ids import NodeId, short
from p2pfl.core.party import Emit, Persist, Put, SetTimer, TimerFired
from p2pfl.ledger.blocks.rule import VotingRule
from p2pfl.ledger.feeds.entry import Entry
from p2pfl.ledger.feeds.feed import Feed, append
from p2pfl.ledger.feeds.kinds import FORMAT, ModelDigest, Opening
from p2pfl.ledger.feeds.records import ENTRY, put_entry, restore
from p2pfl.ledger.finality.effects import Final, LedgerEffect, ReadEntries, ReadFinals, Refused, Tell
from p2pfl.ledger.finality.events import Timing
from p2pfl.ledger.finality.forge import Terms
from p2pfl.ledger.finality.journal import FINAL, parse_decided
from p2pfl.ledger.finality.replica import Begin, Heard, Replica, ReplicaEvent, Wrote, replay
from p2pfl.ledger.finality.simplex import Finality
from p2pfl.ledger.finality.talk import Entries, Finals, Talk, parse
from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.wire.keyfile import Signer

NET = sha256(b"finality").digest()
TIMING = Timing(interval_s=0.2, timeout_s=1.0, gossip_s=0.5)
TICK_S = 1.0
read = lru_cache(maxsize=4096)(parse)


@lru_cache
def signer(index: int) -> Signer:
    return Signer(sha256(b"validator" + bytes([index])).digest())


class Violation(Exception):
    """Two honest nodes finalized different blocks at one height."""


class Stuck(Exception):
    """After healing, something did not become final."""


@dataclass
class Plan:
    """What a schedule is made of; `plan_for(seed)` draws one."""

    n: int = 4
    heal_s: float = 12.0
    drop: float = 0.2
    slow: float = 0.2
    """Share of messages that take as long as a view."""
    crashes: int = 2
    partitions: int = 2
    entries: int = 10
    sparse: bool = False
    """A ring with chords instead of everybody to everybody: votes must be relayed."""
    epoch: int = 4
    step: int = 0
    spare: int = 0
    """Nodes that are not validators at first."""
    adversaries: dict[int, type["Machine"]] = field(default_factory=dict)
    finality: type[Finality] = Finality
    forgetful: bool = False
    """Machines lose their votes when they crash, and do not notice."""


class Machine:
    """An honest node with its disk. Adversaries are subclasses that bend what it does."""

    honest = True

    def __init__(self, world: "World", index: int) -> None:
        self.world, self.index, self.signer = world, index, signer(index)
        self.node = self.signer.node
        self.store = MemoryStore()
        self.replica: Replica | None = None
        self.timers: dict[Any, float] = {}
        self.life = 0
        self.doomed = False
        self.finals: dict[int, bytes] = {}
        self.written: list[Entry] = []

    @property
    def up(self) -> bool:
        return self.replica is not None

    def boot(self) -> None:
        self.doomed = False
        restored = self.store.load()
        self.world.lose(self, restored)
        restored = self.store.load()
        book, base, finals = replay(self.world.terms, restored)
        self.finals = {}
        for final in finals:  # also those whose Final was lost with the crash
            self.world.final(self, final)
        self.replica = self.world.replica(self, book=book, base=base)
        self.timers = {}
        self.life += 1
        self.step(Begin(restored))

    def crash(self) -> None:
        """Now, or in the middle of what the next event makes it do."""
        if self.world.random.random() < 0.5:
            self.replica = None
        else:
            self.doomed = True

    def step(self, event: ReplicaEvent) -> None:
        if self.replica is not None:
            self.perform(self.replica.handle(event, self.world.now))

    def perform(self, effects: list[LedgerEffect]) -> None:
        if self.doomed and effects:
            self.doomed = False
            self.perform(effects[: self.world.random.randrange(len(effects))])
            self.replica = None
            return
        for effect in effects:
            match effect:
                case Persist():
                    self.store.commit(effect.puts)
                case SetTimer():
                    self.timers[effect.key] = effect.at
                    if effect.at < float("inf"):
                        self.world.at(effect.at, self.fire, effect.key, effect.at, self.life)
                case Tell():
                    self.tell(effect)
                case Final():
                    self.world.final(self, effect)
                case ReadFinals():
                    self.read_finals(effect)
                case ReadEntries():
                    self.read_entries(effect)
                case Refused():
                    self.world.check_refusal(self, effect)
                case Emit() if effect.name in ("ledger.halted", "ledger.silent") and self.honest:
                    raise Violation(f"{self.index}: {effect}")

    def tell(self, effect: Tell) -> None:
        if effect.relayed and not self.world.plan.sparse:
            return
        for to in [effect.to] if effect.to is not None else self.world.neighbours[self.index]:
            if to != effect.but:
                self.world.send(self, to, effect.message)

    def fire(self, key: Any, at: float, life: int) -> None:
        if self.life == life and self.timers.get(key) == at:
            self.step(TimerFired(key))

    def hear(self, sender: NodeId, raw: bytes) -> None:
        self.step(Heard(sender, read(raw)))

    def write(self, round_: int) -> None:
        """Append to the own feed."""
        if self.replica is None:
            return
        feed, _ = restore(self.store.load([ENTRY]).get(ENTRY, {}), Feed(NET, self.node))
        if feed.last is None:
            feed, entry = append(feed, self.signer, 0, "feed.open", Opening(FORMAT, bytes(32)))
        else:
            digest = sha256(bytes([self.index, round_])).digest()
            refs = [tip.id for tip in self.replica.book.tips()[:3] if tip.author != self.node]
            feed, entry = append(feed, self.signer, round_, "model", ModelDigest(digest, 0), refs)
        self.store.commit([put_entry(entry)])
        self.written.append(entry)
        self.step(Wrote((entry,)))

    def read_finals(self, effect: ReadFinals) -> None:
        rows = [parse_decided(raw) for raw in self.store.load([FINAL]).get(FINAL, {}).values()]
        wanted = [row for row in rows if row.block.height >= effect.height][:8]
        while wanted and wanted[-1].certificate is None:
            wanted.pop()
        self.world.send(self, effect.to, Finals(tuple(wanted)))

    def read_entries(self, effect: ReadEntries) -> None:
        prefix = effect.head.author + effect.head.incarnation.to_bytes(4, "big")
        rows = [raw for key, raw in self.store.load([ENTRY])[ENTRY].items() if key.startswith(prefix)]
        self.world.send(self, effect.to, Entries(tuple(rows[effect.after + 1 : effect.head.seq + 1][:100])))


class World:
    """One schedule."""

    def __init__(self, seed: int, plan: Plan, rule: VotingRule | None = None) -> None:
        self.random, self.plan, self.rule = Random(seed), plan, rule
        self.now, self._heap, self._order = 0.0, [], count()  # type: ignore[var-annotated]
        size = plan.n + plan.spare
        nodes = tuple(signer(index).node for index in range(size))
        self.terms = Terms(NET, plan.epoch, Toy(NET, nodes, plan.n, plan.step))
        self.machines = [plan.adversaries.get(index, Machine)(self, index) for index in range(size)]
        self.by_node = {machine.node: machine for machine in self.machines}
        self.neighbours = [self._neighbours(index, size) for index in range(size)]
        self.agreed: dict[int, bytes] = {}
        self.logged: set[bytes] = set()
        self.convicted: set[bytes] = set()
        self.groups: list[set[int]] = []
        self.healed = False
        self.sent = 0
        self.refused = 0

    def run(self) -> "World":
        """To the end. Raises Violation or Stuck."""
        self.start()
        while self._heap and self._heap[0][0] < self.plan.heal_s:
            self.advance()
        self.heal()
        limit = self.now + 600.0
        while not self.done():
            if not self._heap or self.now > limit:
                raise Stuck(self.describe())
            self.advance()
        return self

    def start(self) -> None:
        for machine in self.machines:
            self.at(self.random.random() * 0.3, machine.boot)
        for round_ in range(self.plan.entries):
            for machine in self.machines:
                self.at(0.5 + self.random.random() * (self.plan.heal_s - 0.5), machine.write, round_)
        for _ in range(self.plan.crashes):
            machine, at = self.random.choice(self.machines), self.random.random() * self.plan.heal_s
            self.at(at, machine.crash)
            self.at(at + self.random.random() * 3, self.reboot, machine)
        for _ in range(self.plan.partitions):
            at = self.random.random() * self.plan.heal_s
            self.at(at, self.part)
            self.at(at + self.random.random() * 5, self.join)

    def advance(self) -> None:
        self.now, _, call, args = heapq.heappop(self._heap)
        call(*args)

    def at(self, when: float, call: Callable[..., None], *args: Any) -> None:
        heapq.heappush(self._heap, (max(when, self.now), next(self._order), call, args))

    # ------------------------------------------------------------------------------------------ the world's doings

    def reboot(self, machine: Machine) -> None:
        if not machine.up:
            machine.boot()

    def part(self) -> None:
        if not self.healed:
            members = list(range(len(self.machines)))
            self.random.shuffle(members)
            cut = self.random.randrange(1, len(members)) if len(members) > 1 else 0
            self.groups = [set(members[:cut]), set(members[cut:])]

    def join(self) -> None:
        self.groups = []

    def heal(self) -> None:
        """From now on nothing is lost or late; everybody is up and writes once more."""
        self.healed, self.groups = True, []
        for machine in self.machines:
            machine.doomed = False
            self.reboot(machine)
            machine.write(200)

    def lose(self, machine: Machine, restored: Mapping[str, Mapping[bytes, bytes]]) -> None:
        """The mutant that forgets its votes: a journal that was never flushed."""
        if self.plan.forgetful:
            for space in ("vote", "certificate"):
                machine.store.commit([Put(space, key, None) for key in restored.get(space, {})])

    def replica(self, machine: Machine, **more: Any) -> Replica:
        neighbours = self.neighbours[machine.index]
        made = Replica(self.terms, machine.signer, neighbours, timing=TIMING, tick_s=TICK_S, rule=self.rule, **more)
        made.finality.__class__ = self.plan.finality
        if self.plan.forgetful or not machine.honest:
            made.finality._fall_silent = lambda vote: None  # type: ignore[method-assign]
        return made

    def send(self, sender: Machine, to: NodeId, message: Talk) -> None:
        receiver = self.by_node[to]
        self.sent += 1
        if self.healed:
            delay = 0.01 + self.random.random() * 0.05
        else:
            apart = any((sender.index in group) != (receiver.index in group) for group in self.groups)
            if apart or self.random.random() < self.plan.drop:
                return
            slow = self.random.random() < self.plan.slow
            delay = self.random.random() * (3.0 if slow else 0.1)
        self.at(self.now + delay, receiver.hear, sender.node, message.raw)

    def check_refusal(self, machine: Machine, effect: Refused) -> None:
        """The honest never say what the honest refuse."""
        self.refused += 1
        if machine.honest and self.by_node[effect.sender].honest:
            raise Violation(f"an honest node was refused: {effect}")

    def final(self, machine: Machine, effect: Final) -> None:
        height, hash_ = effect.block.height, effect.block.hash
        machine.finals[height] = hash_
        if machine.honest:
            if self.agreed.setdefault(height, hash_) != hash_:
                raise Violation(f"height {height}: {short(self.agreed[height])} and {short(hash_)}")
            self.logged |= {entry.id for entry in effect.entries}
            for author in effect.execution.state.convicted:
                self.convicted.add(author)
                if self.by_node[author].honest:
                    raise Violation(f"{short(author)} is honest and convicted")

    def done(self) -> bool:
        """Whether the honest agree on a log that holds all that the honest wrote, and nothing waits."""
        honest = [machine for machine in self.machines if machine.honest]
        heights = {len(machine.finals) for machine in honest}
        if len(heights) != 1:
            return False
        return all(entry.id in self.logged for machine in honest for entry in machine.written)

    def describe(self) -> str:
        rows = []
        for machine in self.machines:
            if machine.replica is not None:
                finality = machine.replica.finality
                tips = {short(tip.author): tip.seq for tip in machine.replica.book.tips()}
                rows.append(f"{machine.index}: {finality.summary()} {finality.status()} {tips}")
        return "\n".join(rows)

    def _neighbours(self, index: int, size: int) -> tuple[NodeId, ...]:
        others = range(size)
        if self.plan.sparse and size > 3:
            others = {(index + 1) % size, (index - 1) % size, (index + size // 2) % size, (index - size // 2) % size}  # type: ignore[assignment]
        return tuple(signer(other).node for other in sorted(others) if other != index)
