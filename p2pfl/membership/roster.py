"""What one node knows of all members, itself included. Takes signed statements in; knows no message and no timer.

Every piece of news passes `hear`: it is verified, admitted, merged, and if something changed by it, kept as a rumour.
What follows from a change (a suspicion's end, a new address, another view) is for the listener, `on_change`, to do.
Written to the store: the records of those who are there, the incarnation that this node has used, what the authorities
said, and whom the operator has banned.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from p2pfl.core.ids import NodeId, short
from p2pfl.core.limits import PEERS_MAX
from p2pfl.core.party import Restored
from p2pfl.errors import Ignore, Reject
from p2pfl.membership.admission import Admission
from p2pfl.membership.effects import Out
from p2pfl.membership.record import Record
from p2pfl.membership.rumours import Rumours
from p2pfl.membership.standing import Standing, State, merge
from p2pfl.membership.statements import Statement, Tag, parse_statement, state
from p2pfl.wire.envelope import Signs

MEMBER, SELF, SAID, BANNED = "member", "member.self", "member.said", "member.banned"
SPACES = (MEMBER, SELF, SAID, BANNED)
"""What a node that watches members loads of its store."""
VERIFIED_MAX = 4096

Change = Callable[[Standing | None, Standing], None]
"""Called with what was known of a member and what is known now."""


@dataclass(eq=False)
class Roster:
    """`me` is this node's record; `members` are the others. `heard_at`: when a member's own word last came."""

    signer: Signs
    me: Record
    admission: Admission
    out: Out
    on_change: Change
    members: dict[NodeId, Standing] = field(default_factory=dict)
    heard_at: dict[NodeId, float] = field(default_factory=dict)
    rumours: Rumours = field(default_factory=Rumours)
    refutations: int = 0
    """How often this node had to speak up for itself."""
    rivals: int = 0
    """Records of its own key that this life has not made."""
    fresh_s: float = 0.0
    """Nobody takes this node's word for dead if its own came so lately."""
    doubted: list[Statement] = field(default_factory=list)
    """Claims that somebody is dead who is not: for the subject, which can refute them."""
    shut_out: dict[NodeId, str] = field(default_factory=dict)
    """Members that may not be members any more, and why."""
    _recheck_me: bool = False
    _verified: OrderedDict[bytes, Statement | Record] = field(default_factory=OrderedDict)

    # -------------------------------------------------------------------------------------------- reading

    def standing(self, node: NodeId) -> Standing | None:
        return Standing(self.me) if node == self.me.node else self.members.get(node)

    def is_here(self, node: NodeId) -> bool:
        """Whether it counts as a member now."""
        known = self.members.get(node)
        return known is not None and known.is_here and node not in self.shut_out

    def here(self) -> list[NodeId]:
        """The others that count as members now, by key."""
        return [node for node in sorted(self.members) if self.is_here(node)]

    def num_here(self) -> int:
        """With this node."""
        return 1 + sum(self.is_here(node) for node in self.members)

    def rows(self) -> dict[NodeId, tuple[int, int]]:
        """What push-pulls compare, of everybody who may be a member, by key."""
        found = {node: known.row for node, known in self.members.items() if node not in self.shut_out}
        found[self.me.node] = (self.me.incarnation, 0)
        return dict(sorted(found.items()))

    # -------------------------------------------------------------------------------------------- start

    def restore(self, restored: Restored) -> None:
        """What an earlier life of this node wrote; what does not parse any more is left out."""
        last = restored.get(SELF, {}).get(b"incarnation")
        if last is not None:
            self._renew(int.from_bytes(last, "big") + 1)
        self.admission.banned |= {NodeId(key) for key in restored.get(BANNED, {})}
        for space in (SAID, MEMBER):
            for raw in restored.get(space, {}).values():
                try:
                    self._take(parse_statement(raw))
                except (Reject, Ignore):
                    continue

    # -------------------------------------------------------------------------------------------- news

    def hear(self, raws: Sequence[bytes], sender: NodeId) -> None:
        """News out of a message. Raises Reject if the sender is at fault: for bytes that nobody should have passed on,
        or if its own record shuts it out."""
        for raw in raws:
            statement = self._verify(raw)
            try:
                self._take(statement, sender)
            except Reject:
                if isinstance(statement, Record) and statement.node == sender:
                    raise
                self.out.emit(
                    "member.unbelieved", peer=short(sender)
                )  # others may see it otherwise: no fault of the sender
            except Ignore:
                continue

    def bring(self, raw: bytes) -> None:
        """An authority's word, brought by this node's own operator. Raises Reject, Ignore."""
        statement = parse_statement(raw)
        if isinstance(statement, Record) or statement.tag not in (Tag.EPOCH, Tag.REVOKED):
            raise Reject("malformed", "expected an authority's statement")
        self._take(statement)

    def own_fault(self) -> str | None:
        """Why this node itself may not be a member any more, in words; None while it may."""
        if not self._recheck_me:
            return None
        self._recheck_me = False
        try:
            self.admission.check(self.me)
        except Reject as why:
            return f"this node may not be a member any more: {why.detail} ({why.code})"
        return None

    def accuse(self, node: NodeId, tag: Tag) -> None:
        """This node's own opinion of a member."""
        self._about(state(self.signer, tag, self.me.network, node, self.members[node].incarnation))

    def leave(self) -> Statement:
        """This node's farewell."""
        return state(self.signer, Tag.LEFT, self.me.network, self.me.node, self.me.incarnation)

    def change_me(self, **changes: object) -> None:
        """Another record of this node, as news."""
        self._renew(self.me.incarnation + 1, **changes)

    def recheck(self) -> None:
        """Whether all members may still be members: what the authorities or the operator say has changed."""
        self._recheck_me = True
        for node, known in self.members.items():
            try:
                self.admission.check(known.record)
                if self.shut_out.pop(node, None) is not None:
                    self.on_change(known, known)
            except Reject as why:
                if node not in self.shut_out:
                    self.shut_out[node] = why.code
                    self.out.emit("member.shut_out", peer=short(node), code=why.code, detail=why.detail)
                    self.on_change(known, known)

    def forget(self, node: NodeId) -> None:
        """As if it had never been heard of."""
        self.members.pop(node, None)
        self.heard_at.pop(node, None)
        self.shut_out.pop(node, None)
        self.rumours.drop(("record", node))
        self.out.put(MEMBER, node, None)

    def _verify(self, raw: bytes) -> Statement | Record:
        found = self._verified.get(raw)
        if found is None:
            found = self._verified[raw] = parse_statement(raw)
            if len(self._verified) > VERIFIED_MAX:
                self._verified.popitem(last=False)
        return found

    def _take(self, found: Statement | Record, sender: NodeId | None = None) -> None:
        """Raises Reject for who may not be a member or may not say that, Ignore for what leads nowhere."""
        if found.network != self.me.network:
            raise Reject("network", "a statement about another network")
        if isinstance(found, Record):
            self._record(found)
        elif found.tag in (Tag.EPOCH, Tag.REVOKED):
            self._said(found)
        elif found.subject == self.me.node:
            self._about_me(found)
        elif found.subject in self.members and self._may_accuse(found, sender):
            if found.tag is Tag.DEAD and found.author != self.me.node and self._is_fresh(found.subject):
                self.doubted.append(found)
            else:
                self._about(found)

    def _record(self, record: Record) -> None:
        if record.node == self.me.node:
            self._rival(record)
            return
        self.admission.check(record)
        known = self.members.get(record.node)
        if known is None and len(self.members) >= PEERS_MAX:
            raise Ignore("full", f"{PEERS_MAX} members are known already")
        self._set(Standing(record) if known is None else merge(known, Standing(record)))

    def _rival(self, record: Record) -> None:
        """A record of this node's key: its own, an earlier life's, or somebody else's who has the key."""
        if record.raw == self.me.raw or record.incarnation < self.me.incarnation:
            return
        if record.session != self.me.session:
            self.rivals += 1
        self._renew(record.incarnation + 1)

    def _about_me(self, said: Statement) -> None:
        """Nobody but this node says that it is gone: it speaks up with a higher incarnation (refutation)."""
        if said.number >= self.me.incarnation and said.tag in (Tag.SUSPECT, Tag.DEAD, Tag.LEFT):
            self.refutations += 1
            self._renew(said.number + 1)

    def _may_accuse(self, said: Statement, sender: NodeId | None) -> bool:
        """The subject itself, a member, or (from the store) anybody."""
        return said.author in (said.about, self.me.node) or self.is_here(said.author) or sender is None

    def _is_fresh(self, node: NodeId) -> bool:
        at = self.heard_at.get(node)
        return at is not None and self.out.now < at + self.fresh_s

    def _about(self, said: Statement) -> None:
        known = self.members[said.subject]
        self._set(known.told(said))

    def _set(self, now: Standing) -> None:
        before = self.members.get(now.node)
        if before == now:
            return
        self.members[now.node] = now
        self._spread(before, now)
        if before is None or before.record.raw != now.record.raw:
            self.out.put(MEMBER, now.node, now.record.raw)
        elif before.is_here and not now.is_here:
            self.out.put(MEMBER, now.node, None)
        self.on_change(before, now)

    def _spread(self, before: Standing | None, now: Standing) -> None:
        """What is new in it becomes news."""
        if before is None or before.record.raw != now.record.raw:
            for about in ("dead", "left", *(said.author for said in (before.accusers if before else ()))):
                self.rumours.drop((about, now.node))
            self.rumours.add(("record", now.node), now.record.raw)
        old = {said.raw for said in before.accusers} if before is not None else set()
        if now.state is State.SUSPECT:
            for said in now.accusers:
                if said.raw not in old:
                    self.rumours.add((said.author, now.node), said.raw)
        for about, verdict in (("dead", now.dead), ("left", now.left)):
            if verdict is not None and (before is None or getattr(before, about) != verdict):
                self.rumours.add((about, now.node), verdict.raw)

    def _said(self, statement: Statement) -> None:
        if self.admission.told(statement):
            kind: bytes = b"epoch" if statement.tag is Tag.EPOCH else statement.about
            self.out.put(SAID, kind, statement.raw)
            self.rumours.add(("said", kind), statement.raw)
            self.recheck()

    def _renew(self, incarnation: int, **changes: object) -> None:
        self.me = self.me.next(self.signer, incarnation, **changes)
        self.out.put(SELF, b"incarnation", incarnation.to_bytes(8, "big"))
        self.rumours.add(("record", self.me.node), self.me.raw)
