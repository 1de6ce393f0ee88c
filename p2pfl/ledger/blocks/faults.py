"""Judging proofs of faults: two signed things that no honest node signs both. Pure; believes nobody.

A fault convicts by itself, before anybody who knows the network's id: two entries at one position of a feed, or two
votes of one key in one view that conflict. Whether the key was a validator then is for the state to say.
"""

from typing import NamedTuple

from p2pfl.core.ids import NodeId
from p2pfl.errors import Reject
from p2pfl.ledger.blocks.block import DOUBLE_VOTE, FORK, Fault
from p2pfl.ledger.blocks.rule import conflict
from p2pfl.ledger.blocks.votes import Vote, parse_vote
from p2pfl.ledger.feeds.entry import parse
from p2pfl.ledger.feeds.evidence import Evidence, convict


class Judgement(NamedTuple):
    """Who did it, and where: (incarnation, seq) of a fork, (epoch, view) of a double vote."""

    kind: int
    author: NodeId
    where: tuple[int, int]


def fork_fault(evidence: Evidence) -> Fault:
    return Fault(FORK, evidence.first, evidence.second)


def vote_fault(one: Vote, other: Vote) -> Fault:
    first, second = sorted((one.raw, other.raw))
    return Fault(DOUBLE_VOTE, first, second)


def judge(fault: Fault, net: bytes) -> Judgement:
    """Who is convicted. Raises Reject if the fault proves nothing in this network."""
    if fault.kind == FORK:
        author = convict(Evidence(fault.first, fault.second))
        entry = parse(fault.first)
        if entry.net != net:
            raise Reject("no-fault", f"{entry.name} is of another network")
        return Judgement(FORK, author, (entry.incarnation, entry.seq))
    if fault.first >= fault.second:
        raise Reject("no-fault", "expected the two votes in ascending order")
    one, other = parse_vote(fault.first), parse_vote(fault.second)
    if (one.author, one.epoch, one.view) != (other.author, other.epoch, other.view):
        raise Reject("no-fault", f"{one.name} and {other.name} are not of one validator in one view")
    if not conflict((one.kind, one.block), (other.kind, other.block)):
        raise Reject("no-fault", f"an honest validator may sign both {one.name} and {other.name}")
    for vote in (one, other):
        if not vote.is_signed(net):
            raise Reject("no-fault", f"not signed: {vote.name}")
    return Judgement(DOUBLE_VOTE, one.author, (one.epoch, one.view))
