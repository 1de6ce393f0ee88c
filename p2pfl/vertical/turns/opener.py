"""The third party of a coordinated job: holds the private key, opens what is masked. Knows no data, no model.

It sees uniform numbers and how many there are. Together with the label holder it could open everything, so all parties
must trust these two not to.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from p2pfl.core.noise import Key, derive
from p2pfl.core.party import Task
from p2pfl.errors import Reject
from p2pfl.vertical.turns.messages import Fault, Kind, Replied, Reply, pack_answer, unpack_request


class Opens(Protocol):
    def turn(self, key: Key) -> None: ...

    def own_key(self) -> bytes: ...

    def open_masked(self, blob: bytes) -> bytes: ...


class KeyHolder:
    """An AnswerWork without a memory."""

    def __init__(self, opener: Opens) -> None:
        self.opener = opener

    def start(self) -> None:
        return None

    def pack(self, state: Any) -> bytes:
        return b""

    def unpack(self, state: bytes, kept: Mapping[bytes, bytes]) -> None:
        return None

    def run(self, task: Task) -> Any:
        assert isinstance(task, Reply)
        self.opener.turn(derive(task.key, "draws"))
        try:
            request = unpack_request(task.request)
            if request.kind == Kind.HELLO:
                return Replied(None, pack_answer([bytes(4) + self.opener.own_key()]))
            if request.kind == Kind.OPEN:
                return Replied(None, pack_answer([self.opener.open_masked(blob) for blob in request.blobs]))
            raise Reject("turn-kind", f"expected to be asked to open, got kind {request.kind}")
        except Reject as error:
            return Fault(0, error.code, error.detail)
