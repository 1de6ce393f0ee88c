"""How a secure sum ends early: somebody is named, or nobody. Knows no protocol step."""

from p2pfl.core.ids import NodeId, short
from p2pfl.errors import P2PFLError, Reject


class Blame(Reject):
    """A member said what no honest member says. `evidence`: signed heads that show it to others; may be empty."""

    def __init__(self, member: NodeId, code: str, detail: str, evidence: tuple[bytes, ...] = ()) -> None:
        super().__init__(code, f"{short(member)}..: {detail}")
        self.member = member
        self.evidence = evidence


class SecAggAbort(P2PFLError):
    """The cell cannot go on (too few members, or this one was left out). Nobody learned a sum; draw another cell."""
