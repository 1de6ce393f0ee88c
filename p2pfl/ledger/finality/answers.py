"""Who stands where, and what one node sends another that has fallen behind. Pure; casts and counts no vote."""

from collections.abc import Iterable, Mapping

from p2pfl.ledger.blocks.block import Block
from p2pfl.ledger.blocks.rule import Kind
from p2pfl.ledger.blocks.votes import Certificate, Validators, Vote
from p2pfl.ledger.feeds.bounds import ANCESTORS_MAX, BLOCK_BYTES_MAX, BLOCKS_WANTED_MAX, FINALS_MAX, GAPS_MAX
from p2pfl.ledger.finality.chain import Chain
from p2pfl.ledger.finality.poll import Poll
from p2pfl.ledger.finality.round import Round, Views
from p2pfl.ledger.finality.talk import Ballots, Blocks, Proofs, Proposal, Status, Talk


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


# ------------------------------------------------------------------------------------------- standing, answering


def extended(block: Block, view: int, poll: Poll, chain: Chain) -> int | None:
    """The view that a proposal of `view` extends, None if it is not known to be notarized."""
    again = block.header.view != view
    if not again and block.header.parent == chain.final.hash:
        return poll.views.root
    return poll.views.notarized_view(block.hash if again else block.header.parent, view)


def status_of(view: int, poll: Poll, chain: Chain) -> Status:
    """Where a node in this view stands, and what it lacks."""
    here, tip = poll.views.rounds.get(view), poll.views.tip()
    bits = (
        held(here, Kind.NOTARIZE, poll.voters),
        held(here, Kind.NULLIFY, poll.voters),
        held(tip, Kind.FINALIZE, poll.voters),
    )
    tip_view = tip.view if tip else poll.views.root
    lacking = tuple(wanted(view, poll, chain)[:BLOCKS_WANTED_MAX])
    return Status(poll.epoch, view, chain.final.height, tip_view, bits, lacking, tuple(gaps(view, poll, chain)))


def wanted(view: int, poll: Poll, chain: Chain) -> list[bytes]:
    """Hashes of blocks that are needed and not here."""
    hashes = [chain.target.block] if chain.target is not None else []
    hashes += [hash_ for round_ in poll.views.rounds.values() if (hash_ := round_.notarized()) is not None]
    proposed = poll.proposed(view)
    return chain.ends([*hashes, proposed] if proposed is not None else hashes)


def gaps(view: int, poll: Poll, chain: Chain) -> list[int]:
    """Views whose certificates the proposal of this view needs, and are not here."""
    proposed = poll.proposed(view)
    block = chain.blocks.get(proposed) if proposed is not None else None
    if block is None:
        return []
    parent_view = extended(block, view, poll, chain)
    if parent_view is not None:
        return [v for v in range(parent_view + 1, view) if not poll.views.nullified(v)][:GAPS_MAX]
    earlier = block if block.header.view != view else chain.blocks.get(block.header.parent)
    first = max(earlier.header.view, poll.views.root + 1) if earlier is not None else view
    return list(range(first, view))[:GAPS_MAX]


def answers_to(status: Status, view: int, poll: Poll, chain: Chain) -> list[Talk]:
    """What the sender of `status` lacks, as far as it is in memory."""
    found: list[Talk] = []
    if status.final_height < chain.final.height and chain.archive.has(status.final_height + 1):
        found += chain.archive.after(status.final_height)
    if status.epoch == poll.epoch:
        if status.view < view or status.gaps:
            found += proofs(poll.views, status.view, view, status.gaps)
        found += ballots(status, view, poll, chain.blocks)
        found += blocks_for(status.blocks, chain.blocks, status.final_height)
    return found
