"""Who keeps sending what has to be rejected is not listened to for a while. Pure; knows messages, not their meaning.

Theory of operation
-------------------
Only what a node has signed counts against it, so nobody can get another one into trouble. Each rejected message adds
one to its account, and one is forgiven every FORGIVE_S: an honest node with an odd message now and then never gets near
LIMIT. At LIMIT the node is put out for OUT_S, the next time for twice as long, up to OUT_S_MAX; whoever behaves for
CLEAN_S afterwards starts anew. Meanwhile its messages are answered BUSY before their signature is looked at, with the
code "quarantined" and when to come again: it can tell that from an outage.

Some rejections can be shown to anybody: a signed head whose fields break the format on their own says so for ever, to
whoever reads it (`verdict_on`). A few of those are kept for each node, in the space "evidence" of the store; what a job
rejects by what it knows itself (another round, a norm too large) is counted, and proves nothing.

Another recipe, version, kind of message or network is a mistake, not misbehaviour: it is told each time, not counted.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from p2pfl.core.ids import NodeId, short
from p2pfl.core.limits import PEERS_MAX
from p2pfl.core.party import Effect, Emit, Persist, Put, Scalar
from p2pfl.errors import Reject
from p2pfl.wire.envelope import Head, open_head
from p2pfl.wire.messages import parse

EVIDENCE = "evidence"
LIMIT = 16
FORGIVE_S = 10.0
OUT_S, OUT_S_MAX = 60.0, 3600.0
CLEAN_S = 6 * 3600.0
EVIDENCE_MAX = 4
"""Of one node, in one run."""
MISTAKES = frozenset({"recipe", "version", "kind", "network", "stranger", "not-for-me"})
"""Codes that are no misbehaviour."""

Kinds = Mapping[str, Callable[[list[Any]], Any]]


@dataclass(slots=True, eq=False)
class Account:
    """`rejected` as of `at`; out until `until`, for the `times`-th time."""

    rejected: float
    at: float
    until: float = 0.0
    times: int = 0
    code: str = ""
    evidence: int = 0


class Quarantine:
    """`count` what was rejected, ask `left_s`, and perform what `effects` gives."""

    def __init__(self) -> None:
        self._accounts: OrderedDict[NodeId, Account] = OrderedDict()
        self._effects: list[Effect] = []

    def left_s(self, node: NodeId, now: float) -> float:
        """How long the node is not listened to any more; 0 for one in good standing."""
        account = self._accounts.get(node)
        return 0.0 if account is None else max(0.0, account.until - now)

    def count(self, node: NodeId, code: str, now: float, proof: Head | None = None) -> None:
        """An authentic message of `node` was rejected. `proof`: its head, if that alone shows that it is invalid."""
        if code in MISTAKES:
            return
        account = self._account(node, now)
        account.rejected = max(0.0, account.rejected - (now - account.at) / FORGIVE_S) + 1.0
        account.at, account.code = now, code
        if proof is not None and account.evidence < EVIDENCE_MAX:
            account.evidence += 1
            self._effects.append(Persist((Put(EVIDENCE, node + proof.digest, proof.raw),)))
        if account.rejected >= LIMIT:
            self._put_out(node, account, now)

    def effects(self) -> list[Effect]:
        """What came of the last counts, once."""
        found, self._effects = self._effects, []
        return found

    def status(self, now: float) -> dict[str, Any]:
        """Who is out: for how long, why, and how many proofs are kept."""
        return {
            short(node): {"left_s": round(account.until - now, 1), "code": account.code, "evidence": account.evidence}
            for node, account in self._accounts.items()
            if account.until > now
        }

    def _put_out(self, node: NodeId, account: Account, now: float) -> None:
        if now - account.until > CLEAN_S:
            account.times = 0
        seconds = min(OUT_S * 2.0 ** min(account.times, 16), OUT_S_MAX)
        account.times, account.until, account.rejected = account.times + 1, now + seconds, 0.0
        told: dict[str, Scalar] = {"peer": short(node), "code": account.code, "for_s": seconds}
        self._effects.append(Emit("quarantined", told | {"evidence": account.evidence}))

    def _account(self, node: NodeId, now: float) -> Account:
        """Of too many accounts the one that was used longest ago is forgotten."""
        account = self._accounts.setdefault(node, Account(0.0, now))
        self._accounts.move_to_end(node)
        if len(self._accounts) > PEERS_MAX:
            self._accounts.popitem(last=False)
        return account


def verdict_on(evidence: bytes, kinds: Kinds | None = None) -> tuple[NodeId, str] | None:
    """Who sent a head that cannot be right, and the code; None if it proves nothing. For anybody, at any time."""
    try:
        head = open_head(evidence)
    except Reject:
        return None  # whose it is cannot be said
    if not head.authentic():
        return None
    read = (kinds or {}).get(head.kind)
    try:
        if read is not None:
            read(head.fields)
        else:
            parse(head.kind, head.fields)
    except Reject as refusal:
        return None if refusal.code in MISTAKES else (head.author, refusal.code)
    return None
