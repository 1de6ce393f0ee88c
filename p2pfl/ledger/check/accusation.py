"""Proofs of faults as a file that anybody checks with the genesis alone. Pure; knows faults and JSON, no log.

    {"format": "p2pfl/faults/v1", "network": hex, "faults": [{"what", "first", "second"}, ..]}

A fault convicts by itself (faults.py): such a file needs no checkpoint and no validator, and says nothing about whether
the ledger has drawn the consequence yet. Layout: docs/formats/proof.md.
"""

import json
from collections.abc import Iterable
from typing import Any

from p2pfl.errors import ConfigError, Reject
from p2pfl.ledger.blocks.block import DOUBLE_VOTE, FORK, Fault, parse_fault
from p2pfl.ledger.blocks.faults import Judgement, judge
from p2pfl.ledger.feeds.bounds import FAULTS_KEPT_MAX

FORMAT = "p2pfl/faults/v1"
_WHAT = {FORK: "fork", DOUBLE_VOTE: "double vote"}
_KINDS = {what: kind for kind, what in _WHAT.items()}


def faults_json(net: bytes, faults: Iterable[Fault]) -> str:
    """The file."""
    rows = [{"what": _WHAT[f.kind], "first": f.first.hex(), "second": f.second.hex()} for f in faults]
    return json.dumps({"format": FORMAT, "network": net.hex(), "faults": rows}, indent=1) + "\n"


def is_faults(text: bytes) -> bool:
    """Whether a file is meant as one of these, and not as a proof of proofs.py."""
    return FORMAT.encode() in text[:256]


def parse_faults(text: bytes, where: str) -> tuple[bytes, list[Fault]]:
    """Network and faults of a file, not judged. Raises ConfigError of one line if it is none."""
    try:
        value: Any = json.loads(text)
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise ValueError(f"expected format {FORMAT}")
        rows = value["faults"]
        if not isinstance(rows, list) or not 0 < len(rows) <= FAULTS_KEPT_MAX:
            raise ValueError(f"expected 1 to {FAULTS_KEPT_MAX} faults")
        return bytes.fromhex(value["network"]), [_fault(row) for row in rows]
    except (ValueError, KeyError, TypeError, RecursionError, Reject) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ConfigError(f"{where}: expected a proof of faults: {reason[:160]}") from None


def _fault(row: Any) -> Fault:
    return parse_fault([_KINDS[row["what"]], bytes.fromhex(row["first"]), bytes.fromhex(row["second"])])


def judge_all(net: bytes, faults: Iterable[Fault], trusted: bytes) -> list[Judgement]:
    """Who is convicted by each, in the network `trusted`. Raises Reject for one that proves nothing."""
    if net != trusted:
        raise Reject("network", "is of another network than the genesis")
    return [judge(fault, trusted) for fault in faults]
