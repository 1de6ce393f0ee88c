"""Finality without a coordinator: one node's side of it. Knows votes, blocks and timers; knows no network and no disk.

Theory of operation
-------------------
The rule, and why it is safe, is in `rule.py`; what a block must say in `forge.py`. Around them, after each event:

    settle    the next final block is here and so are its entries   execute it, Final; at an epoch's end: new voters
    vote      the leader's proposal of this view checks out         persist, NOTARIZE; if it is wrong: NULLIFY
    propose   my turn, and there is something to finalize           persist, propose with one's own NOTARIZE
    watch     something waits to become final                       timers: leave the view; repeat oneself

| event | guard | effects |
|---|---|---|
| vote, certificate | of this epoch, after the final view, signed | a quorum: certificate; persist it |
| notarization of v | v not nullified by me | persist, FINALIZE; enter v + 1 |
| nullification of v | v is my view or later | enter v + 1 |
| finalization | | the block and its ancestors are final, as soon as they are here |
| timer of the view | nothing finalized in it | persist, NULLIFY |
| timer of gossip | something waits | Status to all: they answer with what is missing here |
| Status | its sender lacks something | final blocks, certificates, votes, blocks it asked for |

Quiet: when nothing waits, no timer is set and nothing is said. Whoever is not a validator follows in the same way and
casts no vote. One's own signature that is not in one's journal means that the journal was lost: from then on this
node only follows, because it could contradict itself. The same code with one validator: its own vote is a quorum.
"""

from collections.abc import Mapping
from contextlib import suppress
from math import inf

from p2pfl.core.ids import NodeId, short
from p2pfl.core.party import Emit, Persist, Restored, SetTimer, TimerFired
from p2pfl.errors import Reject
from p2pfl.ledger.blocks.block import DOUBLE_VOTE, Block, Fault
from p2pfl.ledger.blocks.faults import judge
from p2pfl.ledger.blocks.rule import NOTHING, Kind, VotingRule
from p2pfl.ledger.blocks.votes import Certificate, Vote, sign_vote
from p2pfl.ledger.feeds.bounds import BLOCK_FAULTS_MAX, CLOCK_AHEAD_MS, FAULTS_KEPT_MAX
from p2pfl.ledger.finality import answers
from p2pfl.ledger.finality.archive import Archive
from p2pfl.ledger.finality.chain import Chain
from p2pfl.ledger.finality.effects import Final, LedgerEffect, ReadFinals, Refused, Tell
from p2pfl.ledger.finality.events import (
    DOUBLINGS_MAX,
    GOSSIP_TIMER,
    PROPOSE_TIMER,
    VIEW_TIMER,
    FinalityEvent,
    FinalityTalk,
    Grew,
    Recall,
    Timing,
    Told,
)
from p2pfl.ledger.finality.forge import Forge, Node
from p2pfl.ledger.finality.journal import Journal
from p2pfl.ledger.finality.poll import Poll
from p2pfl.ledger.finality.round import Round, Views
from p2pfl.ledger.finality.talk import Ballots, Blocks, Decided, Faults, Finals, Proofs, Proposal, Status
from p2pfl.wire.envelope import Signs


class Finality:
    """See the module's head. `base` is the last final block as it was executed; `forge.terms.genesis()` at first.

    `wall_ms_at_zero`: milliseconds since 1970 at the moment that `now` counts from.
    """

    def __init__(
        self,
        forge: Forge,
        signer: Signs,
        base: Node,
        timing: Timing | None = None,
        wall_ms_at_zero: int = 0,
        rule: VotingRule | None = None,
    ) -> None:
        self.forge, self.terms, self.signer = forge, forge.terms, signer
        self.timing, self.rule = timing or Timing(), rule or VotingRule()
        self.chain = Chain(forge, base)
        self.poll = self._poll(0 if self.terms.closes(base.height) else base.view)
        self.view = self.views.root + 1
        self.silent = False
        """This node has lost its journal: it casts no vote."""
        self.faults: dict[NodeId, Fault] = {}
        """Proofs that wait for a block, one per author; of double votes they are in the journal too."""
        self._wall_ms = wall_ms_at_zero
        self._journal = Journal()
        self._now = self._entered = 0.0
        self._asked_at = -inf
        self._sender: NodeId | None = None
        self._page_of: NodeId | None = None
        """Who sent final blocks that are being executed, and may have more."""
        self._timers: dict[str, float] = {}
        self._late, self._fresh = False, True
        self._work: tuple[tuple[int, bytes, int], bool] | None = None
        self._out: list[LedgerEffect] = []

    @property
    def views(self) -> Views:
        return self.poll.views

    @property
    def final(self) -> Node:
        """The last final block."""
        return self.chain.final

    @property
    def votes(self) -> bool:
        """Whether this node is a validator of this epoch, and able to be one."""
        return self.signer.node in self.poll.voters.index and not self.silent and not self.chain.halted

    @property
    def busy(self) -> bool:
        """Whether something waits to become final."""
        return self._unsettled() or self.poll.stirs(self.view) or self._has_work()

    def handle(self, event: FinalityEvent, now: float) -> list[LedgerEffect]:
        """Advance by one event. Never raises on remote input: what is wrong with it is a Refused."""
        self._out, self._now, self._sender = [], now, None
        halted = self.chain.halted
        match event:
            case Recall():
                self._recall(event.restored)
            case Told():
                self._sender = event.sender
                try:
                    self._told(event.sender, event.message)
                except Reject as reject:
                    self._out.append(Refused(event.sender, reject.code, reject.detail))
            case Grew():
                for fault in event.faults:
                    self._convict(fault)
            case TimerFired():
                self._fired(str(event.key))
        while not self.chain.halted and (self._settle() or self._vote() or self._propose()):
            pass
        self._turn_page()
        self._finish()
        if self.chain.halted and not halted:
            self._out.append(Emit("ledger.halted", {"why": self.chain.halted}))
        return self._out

    # ------------------------------------------------------------------------------------------- listening

    def _recall(self, restored: Restored) -> None:
        """Stand where the last run stopped, and say again what it said last."""
        recalled = self._journal.recall(restored)
        self.chain.archive = Archive(recalled.decided)
        for fault in recalled.faults:
            self._convict(fault)
        for block in recalled.blocks:
            self.chain.keep(block)
        for vote in recalled.votes:
            if self.poll.is_open(vote.epoch, vote.view):
                round_ = self.views.round(vote.view)
                round_.add(vote)
                round_.cast = round_.cast.plus(vote.kind, vote.block)
        for certificate in recalled.certificates:
            if self.poll.is_open(certificate.epoch, certificate.view):
                self.views.round(certificate.view).certificates[certificate.kind] = certificate
                self.chain.aim(certificate)
        rounds = sorted(self.views.rounds.items())
        self._enter(max([self.views.next_view(), *(view for view, round_ in rounds if round_.cast)]))
        own = [vote for _, round_ in rounds for vote in round_.own(self.signer.node)]
        for vote in own:
            self._count(self.views.round(vote.view), vote)
        if own:
            self._say(Ballots(tuple(own[-3:])))

    def _told(self, sender: NodeId, message: FinalityTalk) -> None:
        match message:
            case Ballots():
                for vote in message.votes:
                    if self._concerns(vote.epoch, vote.view):
                        self._ballot(vote, Ballots((vote,)))
            case Proposal():
                self._proposal(message)
            case Proofs():
                for certificate in message.certificates:
                    self._proof(certificate)
            case Blocks():
                self._take_blocks(message)
            case Finals():
                for run in self.chain.continued(message.decided):
                    last = run[-1].certificate
                    assert last is not None
                    self._check_own(self.poll.prove(last))
                    self.chain.decided += run
                    self._page_of = sender
            case Faults():
                for fault in message.faults:
                    self._convict(fault)
            case Status():
                self._answer(sender, message)

    def _concerns(self, epoch: int, view: int) -> bool:
        """Whether this view is still to be decided; asks the sender if it is far ahead."""
        if self.poll.is_ahead(epoch, view, self.view):
            self._ask()
            return False
        return self.poll.is_open(epoch, view)

    def _ballot(self, vote: Vote, message: Ballots | Proposal) -> None:
        """A vote of an open view; if it is new, `message` carries it on."""
        round_ = self.views.round(vote.view)
        own = vote.author != self.signer.node or round_.has(vote)
        if self.poll.take(vote):
            if not own:
                self._fall_silent(vote)
            self._out.append(Tell(message, but=self._sender, relayed=True))
            self._count(round_, vote)

    def _proposal(self, message: Proposal) -> None:
        vote, block = message.vote, message.block
        if vote.kind is not Kind.NOTARIZE or vote.block != block.hash or block.header.net != self.terms.net:
            raise Reject("proposal", f"{block.header.name}: expected the leader's vote for this block of this network")
        if not self._concerns(vote.epoch, vote.view):
            return
        if vote.author != self.poll.leader(vote.view):
            raise Reject("leader", f"{short(vote.author)} does not lead view {vote.view}")
        self._ballot(vote, message)
        if self.poll.proposed(vote.view) == block.hash:
            self.chain.keep(block)

    def _proof(self, certificate: Certificate) -> None:
        if certificate.epoch > self.poll.epoch:
            self._ask()
        if not self.poll.is_open(certificate.epoch, certificate.view):
            return
        if certificate.kind not in self.views.round(certificate.view).certificates:
            self._check_own(self.poll.prove(certificate))
            self._certified(certificate)

    def _take_blocks(self, message: Blocks) -> None:
        """Blocks in any order: each is taken if it is wanted, which the one before may have shown."""
        found = {block.hash: block for block in message.blocks}
        while taken := [found.pop(h) for h in answers.wanted(self.view, self.poll, self.chain) if h in found]:
            for block in taken:
                self.chain.keep(block)

    def _convict(self, fault: Fault) -> None:
        """Keep a proof for a block, and pass it on."""
        with suppress(Reject):  # [IGNORE] it proves nothing, or nothing of interest
            author = judge(fault, self.terms.net).author
            news = author not in self.faults and self.terms.contract.wants(self.final.execution.state, fault)
            if news and len(self.faults) < FAULTS_KEPT_MAX:
                self.faults[author] = fault
                if fault.kind == DOUBLE_VOTE:  # forks travel, and are kept, with their feeds
                    self._out.append(Persist((self._journal.fault(author, fault),)))
                    self._out.append(Tell(Faults((fault,)), but=self._sender, relayed=self._sender is not None))

    def _forget_faults(self, node: Node) -> None:
        """Those that are no news to the state any more: their authors are convicted."""
        wants = self.terms.contract.wants
        for who, fault in list(self.faults.items()):
            if not wants(node.execution.state, fault):
                del self.faults[who]
                if fault.kind == DOUBLE_VOTE:
                    self._out.append(Persist((self._journal.fault(who, None),)))

    def _check_own(self, votes: list[Vote]) -> None:
        """Our own signature in a certificate must be in our journal, as far back as that goes."""
        for vote in votes:
            cast = self.views.rounds[vote.view].cast if vote.view > self.views.root else None
            if vote.author == self.signer.node and cast is not None and cast.plus(vote.kind, vote.block) != cast:
                self._fall_silent(vote)

    def _fall_silent(self, vote: Vote) -> None:
        if not self.silent:
            self.silent = True
            self._out.append(Emit("ledger.silent", {"vote": vote.name}))

    # ------------------------------------------------------------------------------------ signing, counting

    def _cast(self, round_: Round, kind: Kind, hash_: bytes, block: Block | None = None) -> None:
        """Sign, make durable, say, count: in this order. `block`: this vote proposes it."""
        vote = sign_vote(self.signer, self.terms.net, kind, self.poll.epoch, round_.view, hash_)
        round_.cast = round_.cast.plus(kind, hash_)
        round_.add(vote)
        kept = self._journal.block(self.chain.blocks[hash_]) if hash_ in self.chain.blocks else []
        self._out.append(Persist((*kept, self._journal.vote(vote))))
        self._say(Proposal(block, vote) if block is not None else Ballots((vote,)))
        self._count(round_, vote)

    def _count(self, round_: Round, vote: Vote) -> None:
        certificate = self.poll.certified(round_, vote.kind, vote.block)
        if certificate is not None:
            self._certified(certificate)

    def _certified(self, certificate: Certificate) -> None:
        round_ = self.views.round(certificate.view)
        round_.certificates[certificate.kind] = certificate
        self._out.append(Persist((self._journal.certificate(certificate),)))
        self.chain.aim(certificate)
        if certificate.kind is Kind.NOTARIZE and self.votes and self.rule.may_finalize(round_.cast):
            self._cast(round_, Kind.FINALIZE, certificate.block)
        if certificate.view >= self.view:
            self._enter(certificate.view + 1)

    def _enter(self, view: int) -> None:
        self.view, self._entered, self._late = view, self._now, False
        self._set(VIEW_TIMER, inf)
        self._set(PROPOSE_TIMER, inf)

    # --------------------------------------------------------------------------- settling, voting, proposing

    def _settle(self) -> bool:
        """Make the next final block final, if it is here."""
        found = self.chain.next_final(self._sender)
        if found is None:
            return False
        (block, certificate), node = found
        closes = self.terms.closes(block.height)
        last = self.view + 1 if closes else block.header.view
        self._out.append(Persist(tuple(self._journal.final(block, certificate, self.poll.epoch, last))))
        self._out.append(Final(block, certificate, node.entries, node.execution))
        self.chain.finalize(Decided(block, certificate), node)
        self._forget_faults(node)
        self._work, self._fresh = None, True
        self._set(GOSSIP_TIMER, inf)
        if closes:
            self.poll = self._poll(0)
            self._enter(1)
        else:
            self.views.settle(max(self.views.root, block.header.view))
            if self.view <= self.views.root:
                self._enter(self.views.next_view())
        return True

    def _poll(self, root: int) -> Poll:
        """The votes of the epoch that follows the final block."""
        voters, epoch = self.forge.voters(self.final), self.terms.epoch_of(self.final.height + 1)
        return Poll(self.terms.net, epoch, voters, self.rule.quorum(voters.n), root)

    def _vote(self) -> bool:
        """Vote on the proposal of this view, once."""
        round_, proposed = self.views.round(self.view), self.poll.proposed(self.view)
        block = self.chain.blocks.get(proposed) if proposed is not None else None
        if block is None or not self.votes or round_.bad or not self.rule.may_notarize(round_.cast):
            return False
        try:
            node = self._check(block)
        except Reject as reject:
            round_.bad = True
            self._out.append(Emit("ledger.refused", {"block": block.header.name, "why": str(reject)}))
            if self.rule.may_nullify(round_.cast):
                self._cast(round_, Kind.NULLIFY, NOTHING)
            return True
        if node is None:
            return False
        self._cast(round_, Kind.NOTARIZE, block.hash)
        return True

    def _check(self, block: Block) -> Node | None:
        """The proposal of this view, executed; None if it cannot be judged yet. Raises Reject if it is wrong."""
        header = block.header
        again = header.view != self.view
        if again and (header.view > self.view or not self.terms.closes(header.height)):
            raise Reject("proposal", f"{header.name}: proposed in view {self.view}")
        extended = answers.extended(block, self.view, self.poll, self.chain)
        if extended is None or not self.rule.may_extend(extended, self.view, self.views.nullified):
            return None
        if again:
            return self.chain.node(block.hash)
        parent = self.chain.node(header.parent)
        if parent is not None and parent is not self.final and self.terms.closes(parent.height):
            raise Reject("proposal", f"{header.name}: extends the last block of an epoch before it is final")
        if parent is None or header.time_ms > self._wall() + CLOCK_AHEAD_MS:
            return None
        return self.chain.execute(block, parent, sure=False, of=self._sender)

    def _propose(self) -> bool:
        """Propose, if it is my turn and the time has come."""
        round_ = self.views.round(self.view)
        mine = self.votes and self.poll.leader(self.view) == self.signer.node
        parent = self._parent() if mine and self.rule.may_notarize(round_.cast) else None
        if parent is None:
            return False
        again = parent is not self.final and self.terms.closes(parent.height)
        if self._has_work() and not again:
            at = self._entered + self.timing.interval_s
        elif self._unsettled():  # an empty block, or the last one again, to make final what is not
            at = self._entered + self.timing.timeout_s / 2
        else:
            return False
        if self._now < at:
            self._set(PROPOSE_TIMER, at)
            return False
        node = parent if again else self.forge.draft(parent, self.view, self._wall(), self.faults)
        self.chain.made(node)
        self._cast(round_, Kind.NOTARIZE, node.hash, node.block)
        return True

    def _parent(self) -> Node | None:
        """The last notarized block, all views after it nullified; None if that is not to be known yet."""
        for view in range(self.view - 1, self.views.root, -1):
            round_ = self.views.rounds.get(view)
            notarized = round_.notarized() if round_ else None
            node = self.chain.node(notarized) if notarized else None
            if node is not None:
                return node
            if round_ is None or not round_.nullified():
                return None
        return self.final

    def _wall(self) -> int:
        return self._wall_ms + int(self._now * 1000)

    # ----------------------------------------------------------------------------------- waiting, repeating

    def _unsettled(self) -> bool:
        return bool(self.chain.decided) or self.chain.target is not None or self.views.tip() is not None

    def _has_work(self) -> bool:
        """Whether a block on the best parent would hold anything."""
        parent = self._parent() or self.final
        key = (self.forge.book.version, parent.hash, len(self.faults))
        if self._work is None or self._work[0] != key:
            found = bool(self.forge.pending(parent)) or bool(self.forge.wanted(parent, self.faults))
            self._work = (key, found)
        return self._work[1]

    def _finish(self) -> None:
        """Hand on what came up, and set the timers that are needed, and no others."""
        fresh, self.poll.fresh = self.poll.fresh, []
        for fault in fresh:
            self._convict(fault)
        self._out += self.chain.lacks
        self.chain.lacks = []
        if self.chain.halted or not self.busy:
            for key in (VIEW_TIMER, PROPOSE_TIMER, GOSSIP_TIMER):
                self._set(key, inf)
            return
        if self._timers.get(GOSSIP_TIMER, inf) == inf:
            self._set(GOSSIP_TIMER, self._now + self._gossip_s())
        if self.votes and not self._late and self._timers.get(VIEW_TIMER, inf) == inf:
            self._set(VIEW_TIMER, self._now + self.patience_s)

    @property
    def patience_s(self) -> float:
        """How long the view may take. Grows with each view that made nothing final, and is short again after one."""
        doublings = min(max(self.view - self.views.root - 2, 0), DOUBLINGS_MAX)
        return self.timing.interval_s + self.timing.timeout_s * 2.0**doublings

    def _gossip_s(self) -> float:
        """Until this node repeats itself: not before a view that goes well would be over."""
        return self.timing.gossip_s + (self.timing.interval_s if self._fresh else 0.0)

    def _fired(self, key: str) -> None:
        if self._now < self._timers.get(key, inf):
            return  # set to another time since
        self._timers[key] = inf
        if key == VIEW_TIMER:
            self._late = True
            round_ = self.views.round(self.view)
            if self.votes and self.rule.may_nullify(round_.cast):
                self._cast(round_, Kind.NULLIFY, NOTHING)
        elif key == GOSSIP_TIMER:
            self._fresh = False
            self.chain.repeat()
            self._say(self.status())
            faults = [fault for fault in self.faults.values() if fault.kind == DOUBLE_VOTE]
            if faults:
                self._say(Faults(tuple(faults[:BLOCK_FAULTS_MAX])))

    def _set(self, key: str, at: float) -> None:
        if self._timers.get(key, inf) != at:
            self._timers[key] = at
            self._out.append(SetTimer(key, at))

    def _say(self, message: FinalityTalk) -> None:
        self._out.append(Tell(message))

    def _ask(self) -> None:
        """Say where we are, so that a sender that is ahead sends what we lack; at most four times per gossip."""
        if self._now >= self._asked_at + self.timing.gossip_s / 4:
            self._asked_at = self._now
            self._out.append(Tell(self.status(), self._sender))

    # -------------------------------------------------------------------------------------------- answering

    def status(self) -> Status:
        """Where this node stands and what it lacks: for whoever may be ahead. Said on every tick of sync too."""
        return answers.status_of(self.view, self.poll, self.chain)

    def _turn_page(self) -> None:
        """All that was sent is final here: whoever sent it has perhaps more."""
        if self._page_of is not None and not self.chain.decided:
            self._out.append(Tell(self.status(), self._page_of))
            self._page_of = None

    def _answer(self, sender: NodeId, status: Status) -> None:
        """Send what the sender of `status` lacks; if it is ahead, say where we are."""
        behind = status.epoch == self.poll.epoch and status.view > self.view
        if status.final_height > self.final.height or behind:
            self._ask()
        if status.final_height < self.final.height and not self.chain.archive.has(status.final_height + 1):
            self._out.append(ReadFinals(sender, status.final_height + 1))
        self._out += [Tell(found, sender) for found in answers.answers_to(status, self.view, self.poll, self.chain)]

    def summary(self) -> Mapping[str, int | str | bool]:
        """For `ledger status`."""
        return {
            "height": self.final.height,
            "epoch": self.poll.epoch,
            "view": self.view,
            "validators": self.poll.voters.n,
            "faulty_tolerated": self.poll.voters.f,
            "votes": self.votes,
            "waiting": self.busy,
            "silent": self.silent,
            "halted": self.chain.halted,
        }
