"""What one validator sends another that has fallen behind. Pure; knows rounds and final blocks, casts no vote."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from p2pfl.ledger.block import Block
from p2pfl.ledger.bounds import ANCESTORS_MAX, BLOCK_BYTES_MAX, FINALS_KEPT, FINALS_MAX, GAPS_MAX
from p2pfl.ledger.journal import certified_prefix
from p2pfl.ledger.poll import Poll
from p2pfl.ledger.round import Round, Views
from p2pfl.ledger.rule import Kind
from p2pfl.ledger.talk import Ballots, Blocks, Decided, Finals, Proofs, Proposal, Status, Talk
from p2pfl.ledger.votes import Certificate, Validators, Vote


class Archive:
    """The last final blocks, for those who missed them."""

    def __init__(self, decided: Iterable[Decided] = ()) -> None:
        self._kept: OrderedDict[int, Decided] = OrderedDict()
        for one in decided:
            self.add(one)

    def add(self, decided: Decided) -> None:
        self._kept[decided.block.height] = decided
        if len(self._kept) > FINALS_KEPT:
            self._kept.popitem(last=False)

    def has(self, height: int) -> bool:
        return height in self._kept

    def after(self, height: int) -> list[Talk]:
        """Final blocks after `height`, which must be here, up to one with a certificate."""
        rows: list[Decided] = []
        room = 2 * BLOCK_BYTES_MAX
        while len(rows) < FINALS_MAX and (found := self._kept.get(height + 1 + len(rows))) is not None:
            room -= len(found.block.raw)
            if rows and room < 0:
                break
            rows.append(found)
        whole = certified_prefix(rows)
        if whole:
            return [Finals(tuple(whole))]
        # so many blocks without a certificate of their own: the first certificate, and the blocks when asked for
        later = (row.certificate for h, row in self._kept.items() if h > height and row.certificate is not None)
        return [Proofs((certificate,)) for certificate in list(later)[:1]]


def held(round_: Round | None, kind: Kind, validators: Validators) -> bytes:
    """Whose votes of this kind are in a round, as a bitmap."""
    return validators.bits(round_.votes[kind] if round_ else ())


def proofs(views: Views, first: int, last: int, gaps: Iterable[int]) -> list[Talk]:
    """What lets somebody in view `first` come to view `last`, and all there is on the views in `gaps`."""
    found: dict[bytes, Certificate] = {}
    behind = [view for view in range(max(first, views.root + 1), last) if view in views.rounds]
    for view in behind[-GAPS_MAX:]:
        found |= {certificate.raw: certificate for certificate in views.rounds[view].best()}
    for gap in gaps:
        if gap in views.rounds:
            found |= {c.raw: c for c in views.rounds[gap].certificates.values()}
    tip = views.tip()
    if tip is not None:
        found |= {c.raw: c for c in tip.best()}
    return [Proofs(tuple(found.values())[: 2 * GAPS_MAX])] if found else []


def ballots(status: Status, view: int, poll: Poll, blocks: Mapping[bytes, Block]) -> list[Talk]:
    """Votes that the sender of `status`, in the same epoch, lacks for its view and its tip; with the proposal."""
    votes: list[Vote] = []
    found: list[Talk] = []
    round_ = poll.views.rounds.get(status.view)
    if round_ is not None and status.view == view:
        for kind, bits in ((Kind.NOTARIZE, status.held[0]), (Kind.NULLIFY, status.held[1])):
            votes += _lacking(round_, kind, poll.voters, bits)
        proposed = round_.proposed(poll.leader(view))
        if proposed in votes and proposed.block in blocks:
            votes.remove(proposed)
            found.append(Proposal(blocks[proposed.block], proposed))
    tip = poll.views.rounds.get(status.tip_view)
    if tip is not None:
        votes += _lacking(tip, Kind.FINALIZE, poll.voters, status.held[2])
    return [*found, Ballots(tuple(votes))] if votes else found


def _lacking(round_: Round, kind: Kind, voters: Validators, bits: bytes) -> list[Vote]:
    known = set(voters.of_bits(bits))
    return [vote for author, vote in sorted(round_.votes[kind].items()) if author not in known]


def blocks_for(wanted: Iterable[bytes], blocks: Mapping[bytes, Block], after: int) -> list[Talk]:
    """Blocks that were asked for, each with some ancestors above height `after`."""
    found: dict[bytes, Block] = {}
    room = 2 * BLOCK_BYTES_MAX
    for hash_ in wanted:
        block = blocks.get(hash_)
        for _ in range(ANCESTORS_MAX):
            if block is None or block.height <= after or len(found) >= FINALS_MAX or room < len(block.raw):
                break
            if block.hash not in found:
                room -= len(block.raw)
            found[block.hash] = block
            block = blocks.get(block.header.parent)
    return [Blocks(tuple(found.values()))] if found else []
