"""What a party of an alignment wants done, and how it accuses. Knows no protocol."""

from dataclasses import dataclass

from p2pfl.errors import Reject
from p2pfl.vertical.align.messages import Message
from p2pfl.vertical.align.work import Task


@dataclass(frozen=True, slots=True)
class Say:
    """Send a message to a party."""

    to: int
    message: Message


@dataclass(frozen=True, slots=True)
class Do:
    """Run a task (`alignment_work.run`) off the loop and hand its result to `Aligner.computed`."""

    task: Task


@dataclass(frozen=True, slots=True)
class Keep:
    """A durable write (a removal if the value is None), to be on disk before any later `Say` leaves."""

    key: bytes
    value: bytes | None


Action = Say | Do | Keep


class Blamed(Reject):
    """`party` did what an honest one does not do: the alignment has ended for all."""

    def __init__(self, party: int, name: str, code: str, detail: str) -> None:
        super().__init__(code, f"{name}: {detail}")
        self.party = party
