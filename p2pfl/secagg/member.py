"""One member of one cell, sans IO: sheets in, statements out. Knows keys, shares and masks; no vector, timer or socket.

Theory of operation (Bonawitz et al. 2017, protocol of section 4, among equals)
--------------------------------------------------------------------------------
| the member says             | to        | after                | what it is                                         |
|-----------------------------|-----------|----------------------|----------------------------------------------------|
| KEYS                        | chair     | the round opens      | two one-time X25519 keys                           |
| SHARES                      | chair     | sheet ROSTER         | for each other: sealed shares of both its secrets  |
| SLICE k                     | k-th      | sheet DEALT          | words of its masked vector                         |
| HELD                        | chair     | all slices, or time  | whose slices it has                                |
| ANSWERS, once               | chair     | sheet SURVIVORS      | a share of one secret of each dealer               |
| TOTAL k                     | everybody | sheet OPENED         | its slice of the sum, masks taken off              |

Masked vector of i, dealers D: y_i = x_i + PRG(b_i) + sum_{j in D, j > i} PRG(s_ij) - sum_{j in D, j < i} PRG(s_ij).
Survivors S: those of D whose HELD is in the sheet and whose slices all of those hold. The sum over S of y_i is freed of
PRG(b_i), i in S, and of the s_id of those d in D that are gone, whose mask keys are opened.

Laws: shares of both secrets of one dealer never leave a member; ANSWERS leave it for one sheet only; below t in any
sheet it stops (SecAggAbort) and has said nothing that opens anything.

Differs from the paper in: no server, the survivors follow from signed HELD statements instead of one party's word;
every share has a commitment, so that who answers a wrong one is named; sums are taken slice by slice.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from p2pfl.core.ids import NodeId, short
from p2pfl.core.noise import Key, derive
from p2pfl.errors import Reject
from p2pfl.secagg import shares
from p2pfl.secagg.blame import Blame, SecAggAbort
from p2pfl.secagg.cell import Cell, heirs
from p2pfl.secagg.masks import Stream, agree, public_of
from p2pfl.secagg.onetime import SeenKeys
from p2pfl.secagg.sealing import Kind, commit, seal, unseal
from p2pfl.secagg.sheet import Notary, Sheet, check_same
from p2pfl.secagg.statements import Answers, Deal, Held, Keys, Portion, Step

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cover:
    """How to mask: the dealers, ascending (slice k goes to the k-th), and the streams to add to the whole vector."""

    dealers: tuple[NodeId, ...]
    streams: tuple[Stream, ...]


@dataclass(frozen=True, slots=True)
class Lifting:
    """How to unmask: whose slices to add up, and the streams that then remain to be added to the sum."""

    survivors: tuple[NodeId, ...]
    streams: tuple[Stream, ...]


class Member:
    """`secret`: 32 bytes that only this member knows and uses for this cell alone. Steps are called in order, once each
    (`answers` may be asked again and gives the same). Raises Blame or SecAggAbort; after either the cell is over."""

    def __init__(
        self, cell: Cell, me: NodeId, secret: Key, notary: Notary, note: int = 0, seen: SeenKeys | None = None
    ) -> None:
        self.cell, self.me, self.notary = cell, me, notary
        self.seen = seen or SeenKeys()
        self._mask, self._seal = derive(secret, "mask"), derive(secret, "seal")
        self._self, self._coins = derive(secret, "self"), derive(secret, "shamir")
        self.keys = Keys(public_of(self._mask), public_of(self._seal), note)
        self.roster: dict[NodeId, Keys] = {}
        self.deals: dict[NodeId, Deal] = {}
        self.survivors: tuple[NodeId, ...] = ()
        self.present: tuple[NodeId, ...] = ()
        self.blames: list[Blame] = []
        """Of members that were found out, where the sum goes on without what they said."""
        self._held: dict[NodeId, tuple[bytes, bytes]] = {}
        self._sheets: dict[Step, Sheet] = {}
        self._answers: Answers | None = None

    # -------------------------------------------------------------------------------------------- dealing

    def deal(self, sheet: Sheet) -> Deal:
        """ROSTER -> SHARES: both secrets split among all of the roster."""
        self._enter(sheet, Step.ROSTER)
        for author, payload in sheet.payloads.items():
            self.roster[author] = self._parsed(Keys.parse, author, payload)
            self.seen.check(author, self.roster[author], self.cell.id)
        if self.roster[self.me] != self.keys:
            raise SecAggAbort("the roster holds keys that I said before I came back")  # signed by me: nobody lies
        self._check_own_keys()
        holders, cell = tuple(self.roster), self.cell
        of_self = shares.split(self._self, cell.threshold, len(holders), derive(self._coins, "self"))
        of_mask = shares.split(self._mask, cell.threshold, len(holders), derive(self._coins, "mask"))
        portions = []
        for number, holder in enumerate(holders):
            text = of_self[number] + of_mask[number]
            if holder == self.me:
                self._held[holder] = (of_self[number], of_mask[number])
            portions.append(
                Portion(
                    self._sealed(holder, text),
                    commit(cell.id, self.me, holder, "self", of_self[number]),
                    commit(cell.id, self.me, holder, "mask", of_mask[number]),
                )
            )
        return Deal(sheet.head, commit(cell.id, self.me, self.me, "secret", self._self), tuple(portions))

    def _check_own_keys(self) -> None:
        """Whose keys are another's could have its masks taken for that other's."""
        owner: dict[bytes, NodeId] = {self.keys.mask: self.me, self.keys.seal: self.me}
        for author, keys in self.roster.items():
            for key in (keys.mask, keys.seal):
                if owner.setdefault(key, author) == author:
                    continue
                if owner[key] == self.me:
                    raise Blame(author, "copied-key", "its key is mine")
                raise SecAggAbort(f"{short(author)}.. and {short(owner[key])}.. state the same key")

    def _sealed(self, holder: NodeId, text: bytes) -> bytes:
        if holder == self.me:  # nobody reads it: it is there so that portions are alike
            return seal(self.cell.id, self._seal, self.keys.seal, self.keys.mask, text)
        try:
            return seal(self.cell.id, self._seal, self.keys.seal, self.roster[holder].seal, text)
        except Reject as refusal:
            raise Blame(holder, refusal.code, refusal.detail) from None

    # -------------------------------------------------------------------------------------------- masking

    def cover(self, sheet: Sheet) -> Cover:
        """DEALT -> how to mask. A dealer whose shares for me are bad is noted in `blames`, and masked with all the
        same: others may hold good ones."""
        self._enter(sheet, Step.DEALT)
        for author, payload in sheet.payloads.items():
            deal = self._parsed(Deal.parse, author, payload)
            self._same(Step.ROSTER, author, deal.sheet)
            if author not in self.roster or len(deal.portions) != len(self.roster):
                raise Blame(author, "false-shares", f"expected {len(self.roster)} portions, got {len(deal.portions)}")
            self.deals[author] = deal
            if author != self.me:
                self._take(author, deal)
        dealers = tuple(self.deals)
        streams = [Stream(self._self, 1)]
        for other in dealers:
            if other != self.me:
                streams.append(self._pair(self._mask, self.me, other, 1))
        return Cover(dealers, tuple(streams))

    def _take(self, dealer: NodeId, deal: Deal) -> None:
        portion = deal.portions[tuple(self.roster).index(self.me)]
        try:
            found = unseal(self.cell.id, self._seal, self.keys.seal, self.roster[dealer].seal, portion.sealed)
            kinds: tuple[tuple[Kind, bytes], ...] = (("self", portion.self_share), ("mask", portion.mask_share))
            for (kind, promised), share in zip(kinds, found, strict=True):
                if commit(self.cell.id, dealer, self.me, kind, share) != promised:
                    raise Reject("wrong-share", "a share is not what the dealer committed to")
            self._held[dealer] = found
        except Reject as refusal:
            self.blames.append(Blame(dealer, refusal.code, refusal.detail))

    def _pair(self, secret: bytes, owner: NodeId, other: NodeId, sign: int) -> Stream:
        """The stream of a pair as `owner` adds it (times `sign`), from the owner's mask key."""
        try:
            seed = agree(secret, self.roster[owner].mask, self.roster[other].mask, b"mask", self.cell.id)
        except Reject as refusal:
            raise Blame(other, refusal.code, refusal.detail) from None
        return Stream(seed, sign if other > owner else -sign)

    # -------------------------------------------------------------------------------------------- who is there

    def held(self, holders_of: frozenset[NodeId]) -> Held:
        """-> HELD. `holders_of`: the dealers whose slice I have (my own is one of them)."""
        bits = sum(1 << number for number, dealer in enumerate(self.deals) if dealer in holders_of)
        return Held(self._sheets[Step.DEALT].head, bits)

    def answers(self, sheet: Sheet) -> Answers:
        """SURVIVORS -> ANSWERS. For one sheet only: another one is the chair's lie."""
        if self._answers is not None:
            first = self._sheets[Step.SURVIVORS]
            if first.digest != sheet.digest:
                evidence = (first.head, sheet.head)
                raise Blame(self.cell.chair, "two-sheets", "signed two survivor lists in one cell", evidence)
            return self._answers
        self._enter(sheet, Step.SURVIVORS)
        dealers = tuple(self.deals)
        holds = {author: self._holding(author, payload) for author, payload in sheet.payloads.items()}
        self.present = tuple(holds)
        self.survivors = tuple(
            dealer
            for number, dealer in enumerate(dealers)
            if dealer in holds and all(held >> number & 1 for held in holds.values())
        )
        self._enough(len(self.survivors), "survivors")
        chosen = [self._held.get(dealer, (b"", b""))[dealer not in self.survivors] for dealer in dealers]
        self._answers = Answers(sheet.head, tuple(chosen))
        return self._answers

    def _holding(self, author: NodeId, payload: tuple[object, ...]) -> int:
        held = self._parsed(Held.parse, author, payload)
        self._same(Step.DEALT, author, held.sheet)
        if author not in self.deals or held.holds >> len(self.deals):
            raise Blame(author, "false-held", "it holds slices of members that dealt nothing")
        return held.holds

    def digest_of(self, step: Step) -> bytes:
        """Names the sheet of this step that I follow; empty before it."""
        return self._sheets[step].digest if step in self._sheets else b""

    @property
    def heirs(self) -> Mapping[NodeId, tuple[int, ...]]:
        """Which slices each member that is there sums; known with the survivors."""
        return heirs(tuple(self.deals), self.present)

    # -------------------------------------------------------------------------------------------- opening

    def lift(self, sheet: Sheet) -> Lifting:
        """OPENED -> how to unmask. Who answered a wrong share is noted in `blames`; the others' must be enough."""
        self._enter(sheet, Step.OPENED)
        dealers = tuple(self.deals)
        found: dict[NodeId, dict[int, bytes]] = {dealer: {} for dealer in dealers}
        for author, payload in sheet.payloads.items():
            answers = self._parsed(Answers.parse, author, payload)
            self._same(Step.SURVIVORS, author, answers.sheet)
            if author not in self.present or len(answers.shares) != len(dealers):
                raise Blame(author, "false-answers", f"expected {len(dealers)} shares, got {len(answers.shares)}")
            self._collect(author, answers, found)
        streams = [Stream(self._opened_self(survivor, found[survivor]), -1) for survivor in self.survivors]
        for gone in (dealer for dealer in dealers if dealer not in self.survivors):
            secret = self._opened_mask(gone, found[gone])
            streams += [self._pair(secret, gone, survivor, 1) for survivor in self.survivors]
        return Lifting(self.survivors, tuple(streams))

    def _collect(self, author: NodeId, answers: Answers, found: dict[NodeId, dict[int, bytes]]) -> None:
        place = tuple(self.roster).index(author)
        for dealer, share in zip(self.deals, answers.shares, strict=True):
            if not share:
                continue
            portion = self.deals[dealer].portions[place]
            kind: Kind = "self" if dealer in self.survivors else "mask"
            promised = portion.self_share if kind == "self" else portion.mask_share
            if commit(self.cell.id, dealer, author, kind, share) == promised:
                found[dealer][place] = share
            else:
                self.blames.append(Blame(author, "wrong-share", "answered a share that was not dealt"))

    def _opened_self(self, dealer: NodeId, found: dict[int, bytes]) -> bytes:
        seed = self._joined(dealer, found)
        if commit(self.cell.id, dealer, dealer, "secret", seed) != self.deals[dealer].secret:
            raise Blame(dealer, "false-secret", "its shares give a seed that it did not commit to")
        return seed

    def _opened_mask(self, dealer: NodeId, found: dict[int, bytes]) -> bytes:
        secret = self._joined(dealer, found)
        if public_of(secret) != self.roster[dealer].mask:
            raise Blame(dealer, "false-secret", "its shares give a key that is not its own")
        return secret

    def _joined(self, dealer: NodeId, found: dict[int, bytes]) -> bytes:
        self._enough(len(found), "good shares")
        try:
            return shares.join(found, self.cell.threshold)
        except Reject as refusal:
            raise Blame(dealer, refusal.code, refusal.detail) from None

    # -------------------------------------------------------------------------------------------- checks

    def _enter(self, sheet: Sheet, step: Step) -> None:
        """In order, once, with me in it, and long enough."""
        before = self._sheets.get(Step(step - 2)) if step > Step.ROSTER else None
        if sheet.step != step or step in self._sheets or (step > Step.ROSTER and before is None):
            raise ValueError(f"{sheet.step.name} is not the sheet that comes now")
        self._enough(len(sheet.payloads), "members")
        if self.me not in sheet.payloads and step != Step.OPENED:
            raise SecAggAbort(f"cell of {len(self.cell.members)}: left out of {step.name}, too late or not heard")
        self._sheets[step] = sheet

    def _enough(self, count: int, what: str) -> None:
        if count < self.cell.threshold:
            size = len(self.cell.members)
            raise SecAggAbort(f"cell of {size}: expected {self.cell.threshold} {what}, got {count}")

    def _same(self, step: Step, author: NodeId, head: bytes) -> None:
        check_same(self.cell, self._sheets[step], author, head, self.notary)

    def _parsed(self, parse: Callable[[tuple[Any, ...]], T], author: NodeId, payload: tuple[object, ...]) -> T:
        try:
            return parse(payload)
        except Reject as refusal:
            raise Blame(author, refusal.code, refusal.detail) from None
