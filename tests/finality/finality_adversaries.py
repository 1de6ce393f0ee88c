"""Named adversaries. Each holds a validator's key, follows the chain with an honest replica, and bends what it says."""

from finality_swarm import NET, Machine, World, read

from p2pfl.core.ids import NodeId
from p2pfl.ledger.blocks.block import Block
from p2pfl.ledger.blocks.rule import NOTHING, Kind
from p2pfl.ledger.blocks.votes import Vote, sign_vote
from p2pfl.ledger.feeds.feed import Feed, append
from p2pfl.ledger.feeds.kinds import ModelDigest
from p2pfl.ledger.finality.effects import Tell
from p2pfl.ledger.finality.forge import Node
from p2pfl.ledger.finality.replica import Replica, ReplicaEvent
from p2pfl.ledger.finality.simplex import Finality
from p2pfl.ledger.finality.talk import Ballots, Entries, Proofs, Proposal, Talk
from p2pfl.ledger.stores.memory import MemoryStore


class Byzantine(Machine):
    """The common part: it never falls silent over its own contradictions, and can say anything to anybody."""

    honest = False

    @property
    def finality(self) -> Finality:
        assert self.replica is not None
        return self.replica.finality

    def vote(self, kind: Kind, view: int, block: bytes) -> Vote:
        return sign_vote(self.signer, NET, kind, self.finality.poll.epoch, view, block)

    def say(self, message: Talk, to: tuple[NodeId, ...] | None = None) -> None:
        for node in self.world.neighbours[self.index] if to is None else to:
            self.world.send(self, node, message)

    def halves(self) -> tuple[tuple[NodeId, ...], tuple[NodeId, ...]]:
        nodes = self.world.neighbours[self.index]
        cut = (len(nodes) + 1) // 2
        return nodes[:cut], nodes[cut:]

    def parent_of(self, block: Block) -> Node | None:
        finality = self.finality
        return (
            finality.final
            if block.header.parent == finality.final.hash
            else finality.chain._nodes.get(block.header.parent)
        )

    def is_own(self, effect: Tell) -> bool:
        return isinstance(effect.message, Proposal) and not effect.relayed and effect.message.vote.author == self.node


class Equivocator(Byzantine):
    """Proposes one block to one half and another to the other half, and votes for both, for finality too."""

    def tell(self, effect: Tell) -> None:
        parent = self.parent_of(effect.message.block) if isinstance(effect.message, Proposal) else None
        if not self.is_own(effect) or parent is None:
            return super().tell(effect)
        assert isinstance(effect.message, Proposal)
        view, block = effect.message.vote.view, effect.message.block
        other = self.finality.forge.draft(parent, view, block.header.time_ms + 7, {}).block
        assert other is not None
        for half, chosen in zip(self.halves(), (block, other), strict=True):
            self.say(Proposal(chosen, self.vote(Kind.NOTARIZE, view, chosen.hash)), half)
            self.say(Ballots((self.vote(Kind.FINALIZE, view, chosen.hash),)), half)
        return None


class DoubleVoter(Byzantine):
    """Votes for everything that it hears of, in every way: each block, and against each view."""

    def __init__(self, world: World, index: int) -> None:
        super().__init__(world, index)
        self.heard: set[tuple[int, int, bytes]] = set()

    def hear(self, sender: NodeId, raw: bytes) -> None:
        message = read(raw)
        votes = message.votes if isinstance(message, Ballots) else ()
        if isinstance(message, Proposal):
            votes = (message.vote,)
        for vote in votes:
            place = (vote.epoch, vote.view, vote.block)
            if self.up and vote.epoch == self.finality.poll.epoch and place not in self.heard:
                self.heard.add(place)
                kinds = [self.vote(Kind.NULLIFY, vote.view, NOTHING)]
                if vote.kind is not Kind.NULLIFY:
                    kinds += [self.vote(kind, vote.view, vote.block) for kind in (Kind.NOTARIZE, Kind.FINALIZE)]
                for one in kinds:  # in another order to each: each keeps the first that it gets
                    self.say(Ballots((one,)))
        super().hear(sender, raw)

    def tell(self, effect: Tell) -> None:
        if not isinstance(effect.message, Ballots):
            super().tell(effect)


class Nuller(Byzantine):
    """Votes against every view, and for nothing."""

    def tell(self, effect: Tell) -> None:
        if isinstance(effect.message, Ballots | Proposal) and not effect.relayed:
            view = self.finality.view
            self.say(Ballots((self.vote(Kind.NULLIFY, view, NOTHING),)))
            return
        super().tell(effect)


class Withholder(Byzantine):
    """Speaks to one node only: its votes make certificates there, which nobody else could form."""

    def tell(self, effect: Tell) -> None:
        favourite = self.world.neighbours[self.index][:1]
        if effect.to is None:
            self.say(effect.message, favourite)
        elif effect.to in favourite:
            super().tell(effect)


class StaleProposer(Byzantine):
    """Leading, proposes at once on the block before the last notarized one, and votes for that to the end.

    It hands out the certificate that lets all into its view, and holds back the vote that would make the block before
    it final: so that its own comes in between.
    """

    def __init__(self, world: World, index: int) -> None:
        super().__init__(world, index)
        self.past: list[Node] = []
        self.tried: set[tuple[int, int]] = set()

    def step(self, event: ReplicaEvent) -> None:
        super().step(event)
        if not self.up:
            return
        finality = self.finality
        if not self.past or self.past[-1].hash != finality.final.hash:
            self.past = [*self.past[-1:], finality.final]
        here = (finality.poll.epoch, finality.view)
        if finality.poll.leader(finality.view) == self.node and here not in self.tried:
            self.tried.add(here)
            self.propose(self.past[-1 if finality.views.tip() else 0], finality.view)

    def propose(self, parent: Node, view: int) -> None:
        finality = self.finality
        if finality.terms.epoch_of(parent.height + 1) != finality.poll.epoch:
            return
        block = finality.forge.draft(parent, view, finality._wall(), {}).block
        assert block is not None
        if view - 1 in finality.views.rounds:
            self.say(Proofs(tuple(finality.views.rounds[view - 1].best())))
        self.say(Proposal(block, self.vote(Kind.NOTARIZE, view, block.hash)))
        self.say(Ballots((self.vote(Kind.FINALIZE, view, block.hash),)))

    def tell(self, effect: Tell) -> None:
        if self.is_own(effect):
            return
        votes = effect.message.votes if isinstance(effect.message, Ballots) else ()
        if any(vote.kind is Kind.FINALIZE for vote in votes):
            self.world.at(self.world.now + 1.0, super().tell, effect)
        else:
            super().tell(effect)


class ClockLiar(Byzantine):
    """Proposes blocks of the day after tomorrow."""

    def tell(self, effect: Tell) -> None:
        parent = self.parent_of(effect.message.block) if isinstance(effect.message, Proposal) else None
        if not self.is_own(effect) or parent is None:
            return super().tell(effect)
        assert isinstance(effect.message, Proposal)
        view = effect.message.vote.view
        block = self.finality.forge.draft(parent, view, 2 * 86_400_000, {}).block
        assert block is not None
        self.say(Proposal(block, self.vote(Kind.NOTARIZE, view, block.hash)))
        return None


class Forker(Byzantine):
    """Writes two entries at each position of its feed, and shows one to one half and one to the other."""

    def write(self, round_: int) -> None:
        before = len(self.written)
        super().write(round_)
        if len(self.written) == before or self.written[-1].seq == 0:
            return
        entry = self.written[-1]
        previous = next(e for e in self.written if e.seq == entry.seq - 1)
        feed = Feed(NET, self.node, 0, previous)
        _, other = append(feed, self.signer, round_, "model", ModelDigest(bytes(32), 1))
        one, two = self.halves()
        self.say(Entries((other.raw,)), two)
        self.say(Entries((entry.raw,)), one)


class Mute(Byzantine):
    """Is not there."""

    def boot(self) -> None:
        pass

    def step(self, event: object) -> None:
        pass

    def write(self, round_: int) -> None:
        pass


class Twin(Byzantine):
    """One key on two machines, each honest by itself, each hearing half of the others."""

    def __init__(self, world: World, index: int) -> None:
        super().__init__(world, index)
        self.other: Replica | None = None
        self.other_store = MemoryStore()

    def boot(self) -> None:
        super().boot()
        if self.other is None:
            self.other = self.world.replica(self)

    def hear(self, sender: NodeId, raw: bytes) -> None:
        if sender in self.halves()[self.world.random.random() < 0.3]:
            super().hear(sender, raw)
            return
        mine, store, self.replica, self.store = self.replica, self.store, self.other, self.other_store
        super().hear(sender, raw)
        self.replica, self.store = mine, store


ALL: tuple[type[Machine], ...] = (
    Equivocator,
    DoubleVoter,
    Nuller,
    Withholder,
    StaleProposer,
    ClockLiar,
    Forker,
    Mute,
    Twin,
)
