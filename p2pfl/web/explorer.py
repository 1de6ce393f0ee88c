"""The ledger explorer's answers: plain values for pages, one kind of question each. Knows a ledger; no HTTP, no file.

| what | which | answer |
|---|---|---|
| | | how far it is final, members, the last windows |
| `window` | number | who did what and got what in it |
| `node` | name or key | its standing, and by window what it committed, revealed, was confirmed, scored and paid |
| `receipts` | window, or nothing for all time | who sent to whom, and what the other side confirmed |
| `validators` | | who votes, and who signed the last heights |
| `evidence` | | who signed two conflicting things |
| `entry` | index | an entry, decoded, and whether the proof that it is final holds |
| `proof` | index | that proof, for `p2pfl ledger verify-proof` |
"""

import json
import re
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from p2pfl.core.ids import NodeId, short
from p2pfl.errors import BrokenChain, ConfigError
from p2pfl.ledger.blocks.genesis import meaning
from p2pfl.ledger.blocks.votes import Validators
from p2pfl.ledger.check.explain import explain_since, standing
from p2pfl.ledger.check.proofs import prove_leaf
from p2pfl.ledger.check.source import View
from p2pfl.ledger.feeds.describe import details, rule_text, summary
from p2pfl.ledger.outcome.members import validators_of
from p2pfl.ledger.outcome.rulebook import in_force
from p2pfl.ledger.outcome.stake import held
from p2pfl.ledger.outcome.state import State
from p2pfl.ledger.outcome.work import flows
from p2pfl.web.chronicle import STEPS, Chronicle, Told
from p2pfl.web.proving import Prover

HEIGHTS = 32
"""Heights that the validators' picture shows."""
WINDOWS = 64
"""Windows in the overview."""
REASONS = 10
"""Windows of a node's page that are told in words."""


class Ledger(Protocol):
    """A ledger that is open for reading."""

    @property
    def node(self) -> str: ...
    @property
    def view(self) -> View: ...
    def name(self, key: bytes) -> str: ...
    def key(self, text: str) -> NodeId: ...


Answer = dict[str, Any]


class Explorer:
    """`opened` gives the ledger as it is now; `faults` the evidence in it. One question at a time."""

    def __init__(
        self,
        opened: Callable[[], AbstractContextManager[Ledger]],
        faults: Callable[[Any], list[Answer]],
    ) -> None:
        self._opened, self._faults = opened, faults
        self._chronicle, self._prover = Chronicle(), Prover()
        self._reasons: dict[tuple[int, bytes], list[Answer]] = {}

    def __call__(self, what: str, which: str) -> Answer:
        """Raises P2PFLError for what is not there."""
        with self._opened() as ledger:
            try:
                return self._answer(ledger, what, which)
            except BrokenChain as error:
                raise ConfigError(f"{error}; see: p2pfl ledger verify") from None

    def _answer(self, ledger: Ledger, what: str, which: str) -> Answer:
        match what:
            case "":
                return self._overview(ledger)
            case "window":
                return self._window(ledger, _number(which))
            case "node":
                return self._node(ledger, ledger.key(which))
            case "receipts":
                return self._receipts(ledger, which)
            case "validators":
                return _validators(ledger)
            case "evidence":
                return {"evidence": self._faults(ledger)}
            case "entry":
                return self._entry(ledger, _number(which))
            case "proof":
                proof: Answer = json.loads(prove_leaf(ledger.view, _number(which)).to_json())
                return proof
        raise ConfigError(f"expected one of window, node, receipts, validators, evidence, entry, got {what[:40]!r}")

    # ------------------------------------------------------------------------------------------

    def _overview(self, ledger: Ledger) -> Answer:
        view, state = ledger.view, ledger.view.state()
        self._chronicle.follow(view)
        voters = Validators.of(validators_of(state)) if view.height else view.genesis.voters
        signed = view.checkpoint(view.height) if view.height else None
        adopted = in_force(state)
        rule = (adopted.name, adopted.parameters) if adopted else (view.genesis.rule, view.genesis.parameters)
        return {
            "name": view.genesis.name,
            "network": view.genesis.digest.hex(),
            "told_by": ledger.node,
            "height": view.height,
            "leaves": view.log.size,
            "root": view.log.root().hex(),
            "time_ms": view.block(view.height).header.time_ms if view.height else 0,
            "finality": meaning(voters),
            "quorum": voters.quorum,
            "cosigned_by": len(signed.signers(voters.keys)) if signed else 0,
            "issued": state.number("issued"),
            "rule": rule_text(*rule),
            "members": [_member(ledger, state, key) for key in people(state)],
            "windows": [_row(told) for told in list(self._chronicle.windows.values())[-WINDOWS:]],
        }

    def _window(self, ledger: Ledger, number: int) -> Answer:
        self._chronicle.follow(ledger.view)
        told = self._told(number)
        everybody = sorted({*told.members, *told.items, *told.payouts})
        sent = {key: sum(pair.num_messages for pair in told.pairs if pair.sender == key) for key in everybody}
        return {
            **_row(told),
            "rule": told.rule,
            "proof": self._prover.of_height(ledger.view, told.last_height) if told.closed else None,
            "members": [
                {
                    "name": ledger.name(key),
                    "key": key.hex(),
                    "confirmed": sent[key],
                    "score": told.scores.get(key),
                    "credits": told.payouts.get(key, 0) if told.closed else None,
                    **_counts(told, key),
                }
                for key in everybody
            ],
        }

    def _told(self, number: int) -> Told:
        told = self._chronicle.windows.get(number)
        if told is None:
            known = list(self._chronicle.windows)
            raise ConfigError(f"expected a window of {known[0]} to {known[-1]}, got {number}")
        return told

    def _node(self, ledger: Ledger, key: NodeId) -> Answer:
        view, state = ledger.view, ledger.view.state()
        self._chronicle.follow(view)
        last = next(reversed(self._chronicle.windows))
        reasons = {row["window"]: row for row in self._explained(ledger, key, max(0, last - REASONS))}
        return {
            **_member(ledger, state, key),
            "balance_proof": self._prover.of_balance(view, key),
            "windows": [
                {**_row(self._told(number)), **reasons[number], **self._steps(ledger, self._told(number), key)}
                for number in sorted(reasons, reverse=True)
            ],
        }

    def _explained(self, ledger: Ledger, key: NodeId, first: int) -> list[Answer]:
        """Kept for the height: it takes playing the log again."""
        view = ledger.view
        place = (view.height, key)
        if place not in self._reasons:
            self._reasons = {k: v for k, v in self._reasons.items() if k[0] == view.height}
            self._reasons[place] = [
                {"window": e.window, "credits": e.credits, "supply": e.supply, "because": _named(ledger, e.lines)}
                for e in explain_since(view, key, first)
            ]
        return self._reasons[place]

    def _steps(self, ledger: Ledger, told: Told, key: NodeId) -> Answer:
        steps: dict[str, list[Answer]] = {step: [] for step in (*dict.fromkeys(STEPS.values()), "other")}
        for item in told.items.get(key, ()):
            proof = self._prover.of_leaf(ledger.view, item.index)
            place = {"index": item.index, "height": item.height, "round": item.round, "id": item.id.hex()}
            steps[item.step].append({**place, "kind": item.kind, "says": item.says, "proof": proof})
        confirmed = [
            {"by": ledger.name(pair.receiver), "key": pair.receiver.hex(), "messages": pair.num_messages}
            for pair in told.pairs
            if pair.sender == key
        ]
        paid = self._prover.of_height(ledger.view, told.last_height) if told.closed else None
        return {"steps": steps, "confirmed": confirmed, "score": told.scores.get(key), "payout_proof": paid}

    def _receipts(self, ledger: Ledger, which: str) -> Answer:
        if which:
            self._chronicle.follow(ledger.view)
            told = self._told(_number(which))
            rows = [
                {
                    "from": pair.sender.hex(),
                    "to": pair.receiver.hex(),
                    "confirmed": pair.num_messages,
                    "bytes": pair.size_bytes,
                }
                for pair in told.pairs
            ]
        else:
            rows = [
                {"from": a.hex(), "to": b.hex(), "sent": f.sent, "confirmed": f.taken, "refused": f.refused,
                 "bytes": f.taken_bytes}
                for a, b, f in flows(ledger.view.state())
            ]  # fmt: skip
        keys = sorted({str(row[end]) for row in rows for end in ("from", "to")})
        names = {key: ledger.name(bytes.fromhex(key)) for key in keys}
        return {"window": which or None, "names": names, "rows": rows}

    def _entry(self, ledger: Ledger, index: int) -> Answer:
        leaf = ledger.view.leaf(index)
        found: Answer = {"index": index, "height": leaf.height, "raw": leaf.raw.hex()}
        found["proof"] = self._prover.of_leaf(ledger.view, index)
        if leaf.entry is None:
            header = ledger.view.block(leaf.height).header
            return {**found, "kind": "block", "says": f"the header of height {leaf.height}", "id": header.hash.hex()}
        entry = leaf.entry
        told = {"kind": entry.kind, "says": summary(entry), "id": entry.id.hex(), "author": ledger.name(entry.author)}
        return {**found, **told, "key": entry.author.hex(), "details": details(entry)}


def people(state: State) -> list[NodeId]:
    """Everybody who is, or has, something."""
    tags = ("member", "balance", "stake", "release", "frozen")
    return sorted({NodeId(parts[0]) for tag in tags for parts, _ in state.items(tag)})


def _member(ledger: Ledger, state: State, key: NodeId) -> Answer:
    return {
        "name": ledger.name(key),
        "key": key.hex(),
        "balance": state.number("balance", key),
        "stake": held(state, key),
        "standing": standing(state, key, ledger.view.genesis.sponsors),
    }


def _named(ledger: Ledger, lines: Iterable[str]) -> list[str]:
    """Nodes by their names, where a reason has the first digits of their keys."""
    names = {short(key): ledger.name(key) for key in people(ledger.view.state())}
    return [re.sub(r"\b[0-9a-f]{8}\b", lambda found: names.get(found[0], found[0]), line) for line in lines]


def _row(told: Told) -> Answer:
    return {
        "window": told.number,
        "heights": [told.first_height, told.last_height],
        "closed": told.closed,
        "time_ms": told.time_ms,
        "supply": told.supply,
        "paid": sum(told.payouts.values()),
        "paid_to": sum(credits > 0 for credits in told.payouts.values()),
        "entries": told.num_entries,
    }


def _counts(told: Told, key: NodeId) -> dict[str, int]:
    items = told.items.get(key, ())
    return {step: sum(item.step == step for item in items) for step in dict.fromkeys(STEPS.values())}


def _validators(ledger: Ledger) -> Answer:
    view = ledger.view
    voters = Validators.of(validators_of(view.state())) if view.height else view.genesis.voters
    heights = list(range(max(1, view.height - HEIGHTS + 1), view.height + 1))
    signed: dict[bytes, list[bool | None]] = {key: [] for key in voters.keys}
    for height in heights:
        block, certificate = view.decided(height)
        same = certificate is not None and block.header.validators_hash == voters.hash
        signers = set(voters.of_bits(certificate.bitmap)) if certificate is not None and same else set()
        for key in voters.keys:
            signed[key].append(key in signers if same else None)
    rows = [{"name": ledger.name(key), "key": key.hex(), "signed": signed[key]} for key in voters.keys]
    return {"finality": meaning(voters), "quorum": voters.quorum, "heights": heights, "validators": rows}


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise ConfigError(f"expected a number, got {text[:40]!r}")
    return int(text)
