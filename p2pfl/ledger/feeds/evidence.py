"""Proof that one key signed two things at one position. Knows entries; knows no feed and no store.

A fork is never repaired by choosing: both entries are kept, and together they convict their author before anybody.
"""

from dataclasses import dataclass

from p2pfl.core.ids import NodeId
from p2pfl.errors import ForkFound, Reject
from p2pfl.ledger.feeds.entry import Entry, check_signature, parse


@dataclass(frozen=True, slots=True)
class Evidence:
    """Two raw entries, the one with the smaller id first, so that one fork has one proof."""

    first: bytes
    second: bytes


class ProvenFork(ForkFound):
    """A fork with both entries at hand."""

    def __init__(self, known: Entry, other: Entry) -> None:
        super().__init__(f"two entries at one position: {known.name} is known, {other.name} came")
        self.evidence = evidence_of(known, other)


def evidence_of(one: Entry, other: Entry) -> Evidence:
    """Both entries as a proof; whether it convicts is for `convict` to say."""
    first, second = sorted((one, other), key=lambda entry: entry.id)
    return Evidence(first.raw, second.raw)


def convict(evidence: Evidence) -> NodeId:
    """The author who signed both. Raises Reject if it proves nothing: other positions, one body, a false signature."""
    first, second = parse(evidence.first), parse(evidence.second)
    places = [(e.net, e.author, e.incarnation, e.seq) for e in (first, second)]
    if places[0] != places[1]:
        raise Reject("no-fork", f"{first.name} and {second.name} are not at one position")
    if first.id >= second.id:
        raise Reject("no-fork", f"expected two bodies, the smaller id first, got {first.name} and {second.name}")
    for entry in (first, second):
        if not check_signature(entry):
            raise Reject("no-fork", f"{entry.name} is not signed by its author")
    return first.author
