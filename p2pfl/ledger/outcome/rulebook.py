"""Which rule pays, and how the validators change it. Pure; knows drafts, entries of these kinds and names of rules.

A validator proposes a rule with its parameters, "from height h on", and is for it; others say that they are too. It
is adopted when a quorum of those who vote at that moment is for it, and comes into force with the first window that
begins at h or later: a window is paid by the rule that was in force when it began, and what was paid stays paid. A
proposal that is not adopted by then is gone. Of several that fall due together the one with the highest h stands,
then the larger id.

| row | value |
|---|---|
| ["rule"] | [name, rows [parameter, value], first height]; absent while the genesis' rule is in force |
| ["proposal", id] | [proposer, name, rows [parameter, value], height, 1 if adopted, keys that are for it] |

A rule that this version of the software has never heard of can be proposed and adopted all the same: the versions that
know it go on, and a node that does not stops with a line that says so, at the height at which it would have to guess.
"""

from collections.abc import Iterator
from typing import NamedTuple

from p2pfl.core.ids import NodeId, short
from p2pfl.errors import ConfigError
from p2pfl.ledger.blocks.rule import quorum
from p2pfl.ledger.feeds.bounds import RULE_PROPOSALS_MAX
from p2pfl.ledger.feeds.entry import Entry
from p2pfl.ledger.feeds.kinds import RuleProposal, RuleVote
from p2pfl.ledger.outcome.members import Look, present, validators_of
from p2pfl.ledger.outcome.rules import RULES, make_rule
from p2pfl.ledger.outcome.state import Draft

Rows = tuple[tuple[str, int], ...]


class InForce(NamedTuple):
    """The value at ["rule"]."""

    name: str
    parameters: Rows
    first_height: int


class Proposed(NamedTuple):
    """The value at ["proposal", id]."""

    proposer: bytes
    name: str
    parameters: Rows
    height: int
    adopted: int
    voters: tuple[bytes, ...]


def propose(draft: Draft, entry: Entry) -> str | None:
    """A validator wants another rule; it has voted for it with this."""
    name, parameters, height = RuleProposal(*entry.payload)  # type: ignore[arg-type]  # shape checked by parse
    rows: Rows = parameters  # type: ignore[assignment]
    wrong = _no_validator(draft, entry.author) or _unfit(name, rows)
    if wrong:
        return wrong
    now = draft.number("height") + 1
    if height <= now:
        return f"its height {height} is not after this one, {now}"
    open_ = list(proposals(draft))
    if len(open_) >= RULE_PROPOSALS_MAX or any(proposed.proposer == entry.author for _, proposed in open_):
        return f"{len(open_)} proposals are open, at most {RULE_PROPOSALS_MAX} are, and one of each validator"
    _put(draft, entry.id, Proposed(entry.author, name, rows, height, 0, (entry.author,)))
    return None


def vote(draft: Draft, entry: Entry) -> str | None:
    """A validator is for a proposal, or no longer; what is adopted stays."""
    id_, agrees = RuleVote(*entry.payload)  # type: ignore[arg-type]  # shape checked by parse
    wrong = _no_validator(draft, entry.author)
    if wrong:
        return wrong
    proposed = proposal(draft, id_)
    if proposed is None:
        return f"no proposal {short(id_)} is open"
    if proposed.adopted:
        return f"the proposal {short(id_)} is adopted already"
    if bool(agrees) == (entry.author in proposed.voters):
        return f"it has said so of the proposal {short(id_)} already"
    voters = set(proposed.voters) ^ {bytes(entry.author)}
    _put(draft, id_, proposed._replace(voters=tuple(sorted(voters))))
    return None


def turn(draft: Draft, height: int) -> InForce | None:
    """A window ended with `height`: what is due comes into force or is gone. Returns the new rule, if it is new."""
    found = None
    due = [(proposed.height, id_, proposed) for id_, proposed in proposals(draft) if proposed.height <= height + 1]
    for _, id_, proposed in sorted(due):
        draft.remove("proposal", id_)
        if proposed.adopted:
            found = InForce(proposed.name, proposed.parameters, height + 1)
    if found is not None:
        draft.put(tuple(found), "rule")
    return found


def in_force(look: Look) -> InForce | None:
    """The rule that validators have put in the place of the genesis'."""
    value = look.get("rule")
    return InForce(*value) if value else None  # type: ignore[arg-type]  # only `turn` writes it


def proposals(look: Look) -> Iterator[tuple[bytes, Proposed]]:
    """Those that are open, ascending by id."""
    for (id_,), value in look.items("proposal"):
        yield id_, Proposed(*value)  # type: ignore[arg-type]  # only `_put` writes it


def proposal(look: Look, id_: bytes) -> Proposed | None:
    value = look.get("proposal", id_)
    return Proposed(*value) if value else None  # type: ignore[arg-type]


def supporters(look: Look, proposed: Proposed) -> tuple[set[NodeId], int]:
    """Which of the present validators are for it, and how many it takes."""
    voting = {present(look, validator) for validator in validators_of(look)}
    return voting & {present(look, voter) for voter in proposed.voters}, quorum(len(voting))


def _put(draft: Draft, id_: bytes, proposed: Proposed) -> None:
    """Adopted with the vote that makes a quorum."""
    support, needed = supporters(draft, proposed)
    draft.put(tuple(proposed._replace(adopted=int(len(support) >= needed))), "proposal", id_)


def _no_validator(look: Look, node: NodeId) -> str | None:
    voting = {present(look, validator) for validator in validators_of(look)}
    return None if node in voting else f"{short(node)} is no validator in this epoch"


def _unfit(name: str, rows: Rows) -> str | None:
    """What is wrong with the parameters of a rule that is known here."""
    try:
        if name in RULES:
            make_rule(name, dict(rows))
    except ConfigError as error:
        return str(error)
    return None
