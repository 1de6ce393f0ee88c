"""Whether the proof that something is final holds, checked here and now. Knows proofs; no page.

A proof is made from what a node serves and then verified as `p2pfl ledger verify-proof` would, against the genesis
document; a node that lies is told so. What has held once holds for good: the log only grows.
"""

from collections.abc import Callable
from typing import Any

from p2pfl.core.ids import NodeId
from p2pfl.errors import ConfigError, LedgerError
from p2pfl.ledger.check.proofs import Proof, Proven, prove_leaf, prove_state, verify_proof
from p2pfl.ledger.check.source import View

KEPT = 8192
Status = dict[str, Any]
"""holds: True, False (the proof is wrong), or None (not yet to be proved); says: in words."""


class Prover:
    """Of one network at a time."""

    def __init__(self) -> None:
        self._network = b""
        self._held: dict[int, Status] = {}

    def of_leaf(self, view: View, index: int) -> Status:
        """That leaf `index` is in the log that enough validators cosigned."""
        digest = view.genesis.digest
        if digest != self._network:
            self._network, self._held = digest, {}
        if index not in self._held:
            found = _checked(view, lambda: prove_leaf(view, index), lambda p: f"leaf {p.index}")
            if not found["holds"] or len(self._held) >= KEPT:
                return found
            self._held[index] = found
        return self._held[index]

    def of_height(self, view: View, height: int) -> Status:
        """That the state after this height is what its header says: the header is in the log."""
        if not 0 < height <= view.height:
            return {"holds": None, "says": f"height {height} is not final yet"}
        return self.of_leaf(view, view.block(height).header.next_index - 1)

    def of_balance(self, view: View, key: NodeId) -> Status:
        """What the state says of its credits after the last height."""
        return _checked(view, lambda: prove_state(view, "balance", key), lambda p: "the balance, and its state's root")


def _checked(view: View, make: Callable[[], Proof], what: Callable[[Proven], str]) -> Status:
    try:
        proof = make()
    except ConfigError as error:
        return {"holds": None, "says": str(error)}
    try:
        proven = verify_proof(proof, view.genesis)
    except LedgerError as error:
        return {"holds": False, "says": str(error)}
    said = f"{what(proven)} is in the log of {proven.checkpoint.size} leaves"
    return {"holds": True, "says": f"{said}, which {len(proven.signers)} of {proven.num_validators} validators signed"}
