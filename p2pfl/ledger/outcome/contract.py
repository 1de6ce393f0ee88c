"""What final entries do to the state: finality's `Contract`. Pure; knows entries, proofs and windows; knows no vote.

One block:

1. its entries, in order, each with the effect of its kind (members.py, work.py, ..); what has no effect says why; 2.
its proofs: the convicted are frozen, for good, and what they have at stake is burned; 3. if the accounting window
ends here (settle.py): the rule in force names payouts, the supply of the window is spent, once;
   tasks are paid and given out; a rule that validators adopted comes into force;
4. if the epoch ends here: the validators of the next one.

Nothing here reads a clock, a store or a float, and nothing depends on the order of a dictionary: the same log gives the
same root on every machine, and a block that says another root gets no vote.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from p2pfl.core.ids import NodeId, short
from p2pfl.errors import ConfigError, LedgerError, Reject
from p2pfl.ledger.blocks.block import FORK, Execution, Fault, Place
from p2pfl.ledger.blocks.faults import judge
from p2pfl.ledger.blocks.genesis import Genesis
from p2pfl.ledger.feeds.entry import Entry
from p2pfl.ledger.feeds.kinds import SPONSOR, VALIDATOR, WORKER
from p2pfl.ledger.outcome import rulebook, stake, tasks
from p2pfl.ledger.outcome.former import retire, voted_in
from p2pfl.ledger.outcome.members import (
    EFFECTS,
    draft_last,
    freeze,
    granted,
    is_worker,
    next_validators,
    present,
    resume,
    validators_of,
)
from p2pfl.ledger.outcome.rulebook import in_force
from p2pfl.ledger.outcome.rules import Rule, make_rule, rule_digest
from p2pfl.ledger.outcome.scores import EFFECTS as SCORE_EFFECTS
from p2pfl.ledger.outcome.settle import Settlement, settle, window_of
from p2pfl.ledger.outcome.stake import burn_all, held
from p2pfl.ledger.outcome.state import Draft, State
from p2pfl.ledger.outcome.work import receipts, reveal

FAULTS = ("two entries at one position of its feed", "two conflicting votes in one view")
"""In words, by the kind of a fault."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a block did. `vain`: by entry id, why an entry had no effect; `burned`: what the convicted had at stake."""

    state: State
    vain: Mapping[bytes, str]
    settlement: Settlement | None
    burned: Mapping[NodeId, int]


def may_vote(state: State, node: NodeId) -> bool:
    """Whether the node votes in this epoch, or has the role of one that does."""
    return node in validators_of(state) or bool(granted(state, present(state, node)) & VALIDATOR)


class Accounts:
    """`block.Contract` for the network of one genesis."""

    def __init__(self, genesis: Genesis) -> None:
        self.terms = genesis
        self.first_rule: Rule = make_rule(genesis.rule, dict(genesis.parameters))

    # ---------------------------------------------------------------------------------------- for finality

    def genesis(self) -> Execution:
        return self._execution(self.first_state(), self.first_state())

    def execute(self, state: State, place: Place, entries: Sequence[Entry], evidence: Sequence[Fault]) -> Execution:
        return self._execution(state, self.play(state, place, entries, evidence).state)

    def ceiling(self, state: State, author: NodeId, incarnation: int) -> int | None:
        """A frozen author's feed ends before its fork, or where it was final already; its other feeds as they are."""
        frozen = state.get("frozen", author)
        if frozen is None:
            return None
        _, frozen_incarnation, ceiling = frozen
        assert isinstance(ceiling, int)
        last = draft_last(state, author, incarnation)
        return max(ceiling, last) if incarnation == frozen_incarnation else last

    def wants(self, state: State, fault: Fault) -> bool:
        """One proof is enough to freeze somebody. Votes count if they are a validator's, under its present key or one
        before, or were a validator's in their epoch: else anybody who makes keys could fill the state with convictions
        of nobodies.
        """
        kind, author, (epoch, _) = judge(fault, self.terms.digest)
        if state.get("frozen", author) is not None:
            return False
        return kind == FORK or may_vote(state, author) or voted_in(state, author, epoch)

    # ---------------------------------------------------------------------------------------- the rule

    def rule_of(self, state: State) -> Rule:
        """The rule in force in `state`, for the height after it. Raises LedgerError for one that is not known here."""
        now = in_force(state)
        if now is None:
            return self.first_rule
        try:
            return make_rule(now.name, dict(now.parameters))
        except ConfigError as error:
            raise LedgerError(
                f"from height {now.first_height} on a rule is in force that this version of p2pfl does not have: "
                f"{error}; install the version that has it"
            ) from None

    def rules_hash(self, state: State) -> bytes:
        """What the header of the next height says of the rule: in `state`, the one before it, the rule is in force."""
        return rule_digest(self.rule_of(state))

    # ---------------------------------------------------------------------------------------- the fold

    def first_state(self) -> State:
        """What the genesis says: its validators vote and are paid, its authorities sponsor and are paid."""
        draft = Draft(State())
        roles: dict[NodeId, int] = {}
        for node in self.terms.authorities:
            roles[node] = roles.get(node, 0) | SPONSOR | WORKER
        for node in self.terms.validators:
            roles[node] = roles.get(node, 0) | VALIDATOR | WORKER
        for node, has in roles.items():
            draft.put((has & ~SPONSOR, has, 0), "member", node)
        draft.put(tuple(sorted(self.terms.validators)), "validators")
        draft.put((0, 1), "window")
        draft.put((0, 0), "height")
        return draft.done()

    def play(self, state: State, place: Place, entries: Sequence[Entry], evidence: Sequence[Fault]) -> Outcome:
        """As `execute`, with all that can be told of it. Raises Reject as that does."""
        draft = Draft(state)
        vain = self._entries(draft, place, entries)
        draft.index = place.first_index + len(entries)  # the header's leaf
        burned: dict[NodeId, int] = {}
        for fault in evidence:
            burned |= self._convict(draft, fault)
        draft.put((place.height, place.time_ms), "height")
        settlement = self._settle(draft, place.height)
        if place.closes_epoch:
            voters, after = validators_of(draft), next_validators(draft)
            draft.put(after, "validators")
            retire(draft, voters, after, (place.height - 1) // self.terms.epoch)
        return Outcome(draft.done(), vain, settlement, burned)

    def _execution(self, before: State, state: State) -> Execution:
        return Execution(state, state.root(), self.rules_hash(before), validators_of(state))

    def _entries(self, draft: Draft, place: Place, entries: Sequence[Entry]) -> dict[bytes, str]:
        vain: dict[bytes, str] = {}
        ends: dict[tuple[NodeId, int], tuple[int, Entry]] = {}
        for index, entry in enumerate(entries, place.first_index):
            self._check_place(draft, entry, ends)
            draft.index = index
            reason = apply(draft, entry, self.terms.sponsors)
            if reason is not None:
                vain[entry.id] = reason
            ends[entry.author, entry.incarnation] = (index, entry)
        for (author, incarnation), (index, last) in sorted(ends.items()):
            draft.index = index
            draft.put((last.seq + 1, last.id), "feed", author, incarnation)
        return vain

    def _check_place(self, draft: Draft, entry: Entry, ends: Mapping[tuple[NodeId, int], tuple[int, Entry]]) -> None:
        """The cut extends what is final: a promise of finality, checked because all that follows rests on it."""
        before = ends.get((entry.author, entry.incarnation))
        if before is not None:
            seq, head = before[1].seq + 1, before[1].id
        else:
            known = draft.get("feed", entry.author, entry.incarnation)
            seq, head = known if known is not None else (0, bytes(32))  # type: ignore[assignment]
        if (entry.seq, entry.prev) != (seq, head):
            raise Reject("cut", f"{entry.name}: does not follow what is final, expected seq {seq}")
        ceiling = self.ceiling(draft.base, entry.author, entry.incarnation)
        if ceiling is not None and entry.seq > ceiling:
            raise Reject("cut", f"{entry.name}: its author is frozen after seq {ceiling}")

    def _convict(self, draft: Draft, fault: Fault) -> dict[NodeId, int]:
        """Freeze the author, and burn what it has at stake, under whatever key."""
        kind, author, (incarnation, seq) = judge(fault, self.terms.digest)
        if draft.get("frozen", author) is None:
            freeze(draft, author, kind, *((incarnation, seq - 1) if kind == 0 else (0, -1)))
        return {node: burn_all(draft, node) for node in sorted({author, present(draft, author)}) if held(draft, node)}

    def _settle(self, draft: Draft, height: int) -> Settlement | None:
        """Close the window if it ends at this height."""
        number, first = draft.get("window") or (0, 1)
        assert isinstance(number, int)
        assert isinstance(first, int)
        if height - first + 1 < self.terms.window:
            return None
        before = draft.done()
        return settle(draft, self.rule_of(before), window_of(before, height, self.terms.supply))


CONTRACTS: dict[str, Callable[[Draft, Entry], str | None]] = {
    "rule.propose": rulebook.propose,
    "rule.vote": rulebook.vote,
    "task.publish": tasks.publish,
    "bid.commit": tasks.commit,
    "bid.reveal": tasks.reveal_bid,
    "stake.lock": stake.lock,
    "stake.release": stake.release,
}
"""Effects of what has to do with credits, by kind."""


def apply(draft: Draft, entry: Entry, sponsors_needed: int) -> str | None:
    """The effect of one final entry; or why it has none."""
    author = entry.author
    if draft.get("frozen", author) is not None:
        return f"{short(author)} is frozen"
    if draft.get("rotated", author) is not None:
        return f"{short(author)} has given its key up"
    if entry.kind == "resume":
        return resume(draft, entry)
    now = draft.number("incarnation", author)
    if entry.incarnation != now:
        return None if entry.kind == "feed.open" else f"incarnation {entry.incarnation} is not resumed: {now} counts"
    if entry.kind in EFFECTS:
        return EFFECTS[entry.kind](draft, entry, sponsors_needed)
    if entry.kind in CONTRACTS:
        return CONTRACTS[entry.kind](draft, entry)
    if entry.kind in ("delta.reveal", "receipts"):
        if not is_worker(draft, author):
            return f"{short(author)} is not admitted as a worker"
        return reveal(draft, entry) if entry.kind == "delta.reveal" else receipts(draft, entry)
    if entry.kind in SCORE_EFFECTS:
        worker = is_worker(draft, author)
        return SCORE_EFFECTS[entry.kind](draft, entry) if worker else f"{short(author)} is not admitted as a worker"
    return None if entry.known else f"this version does not know the kind {entry.kind}"
