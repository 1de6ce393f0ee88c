"""Proofs for somebody who has the genesis file and trusts no node: that an entry is final, that a log only grew, what a
balance is. Knows bytes, trees and signatures; needs no node, store or network to verify.

A proof is one JSON file (docs/formats/proof.md). The chain of reasons, checked from the genesis on:

    genesis -> validators (each change certified by a quorum of those before: `handovers`)
            -> f + 1 of them cosigned the checkpoint (so an honest one did: it is final)
            -> the checkpoint's root -> the leaf, by its path: an entry as its author signed it, or a header
            -> the header's state root -> a bucket of the state, by its path: a balance

Every refusal says which link does not hold.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from p2pfl.core.ids import NodeId, short
from p2pfl.errors import ConfigError, LedgerError, Reject
from p2pfl.ledger.blocks.block import Header, parse_header
from p2pfl.ledger.blocks.checkpoint import Checkpoint, Signed, cosignatures_needed, parse_checkpoint
from p2pfl.ledger.blocks.genesis import Genesis
from p2pfl.ledger.blocks.merkle import (
    PROOF_HASHES_MAX,
    leaf_hash,
    node_hash,
    prove_consistency,
    prove_inclusion,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from p2pfl.ledger.blocks.rule import Kind
from p2pfl.ledger.blocks.votes import Certificate, Validators, parse_certificate
from p2pfl.ledger.check.source import View
from p2pfl.ledger.feeds.entry import Entry, check_signature, parse
from p2pfl.ledger.feeds.kinds import Payload, freeze
from p2pfl.ledger.outcome.state import BUCKETS, State, bucket_of, bucket_text, key_of, name_of
from p2pfl.wire import canonical

FORMAT = "p2pfl/proof/v1"
PROOF_BYTES_MAX = 1 << 24
HANDOVERS_MAX = 4096
BUCKET_BYTES_MAX = 1 << 22


class BadProof(LedgerError):
    """A proof does not hold; the message says which link of it."""


@dataclass(frozen=True, slots=True)
class Handover:
    """The validators of the epoch after `header`, which a quorum of the ones before made final."""

    header: bytes
    certificate: bytes
    validators: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class Proof:
    """`leaf` is leaf `index` of the tree that `checkpoint` names. A state proof adds a bucket of the leaf's state root.

    A consistency proof has no leaf: `path` leads from the tree `old` to that of `checkpoint`.
    """

    what: str
    checkpoint: Signed
    path: tuple[bytes, ...]
    handovers: tuple[Handover, ...] = ()
    leaf: bytes = field(default=b"", repr=False)
    index: int = 0
    key: bytes = b""
    bucket: bytes = field(default=b"", repr=False)
    bucket_path: tuple[bytes, ...] = ()
    old: Checkpoint | None = None

    def to_json(self) -> str:
        """The file."""
        value: dict[str, Any] = {"format": FORMAT, "what": self.what, "network": self.checkpoint.checkpoint.net.hex()}
        if self.what != "consistency":
            value |= {"index": self.index, "leaf": self.leaf.hex()}
        if self.what == "state":
            value |= {"key": self.key.hex(), "bucket": self.bucket.hex(), "bucket_path": _hexes(self.bucket_path)}
        if self.old is not None:
            value["old"] = self.old.text.decode()
        value |= {"path": _hexes(self.path), "checkpoint": self.checkpoint.note.decode()}
        value["handovers"] = [
            {"header": h.header.hex(), "certificate": h.certificate.hex(), "validators": _hexes(h.validators)}
            for h in self.handovers
        ]
        return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


@dataclass(frozen=True, slots=True)
class Proven:
    """What a proof shows. `signers` of `num_validators` cosigned the checkpoint."""

    checkpoint: Checkpoint
    signers: tuple[NodeId, ...]
    num_validators: int
    index: int = 0
    entry: Entry | None = None
    header: Header | None = None
    key: bytes = b""
    value: Payload | None = None
    old: Checkpoint | None = None


# ---------------------------------------------------------------------------------------------------- making


def prove_leaf(view: View, index: int, height: int | None = None) -> Proof:
    """That leaf `index` is in the log as it was after `height` (the last one that is cosigned, by default).

    Raises ConfigError if no checkpoint is there that covers it.
    """
    height, signed = checkpoint_for(view, index, height)
    leaf = view.leaf(index)
    path = tuple(prove_inclusion(view.fetch(), index, signed.checkpoint.size))
    what = "header" if leaf.entry is None else "entry"
    return Proof(what, signed, path, handovers(view, height), leaf.raw, index)


def prove_state(view: View, tag: str, *parts: bytes | int) -> Proof:
    """What the state says at a key after the last height: a balance, say. Raises ConfigError without a checkpoint."""
    state, key = view.state(), key_of(tag, *parts)  # before the height: reading it may take the view on
    height, signed = checkpoint_for(view, view.log.size - 1, view.height)
    header = view.block(height).header
    if state.root() != header.state_root:
        raise ConfigError(f"{view.source.name}: the state is not that of height {height}; see: p2pfl ledger verify")
    path = tuple(prove_inclusion(view.fetch(), header.next_index - 1, signed.checkpoint.size))
    number = bucket_of(key)
    text = bucket_text(state.buckets[number])
    return Proof(
        "state",
        signed,
        path,
        handovers(view, height),
        header.raw,
        header.next_index - 1,
        key,
        text,
        state_path(state, number),
    )


def prove_growth(view: View, old: Checkpoint) -> Proof:
    """That the log of today continues the one that `old` names. Raises ConfigError if it does not."""
    height, signed = checkpoint_for(view, old.size - 1, None)
    if old.net != signed.checkpoint.net:
        raise ConfigError(f"the checkpoint is of network {short(old.net)}, this node of {short(signed.checkpoint.net)}")
    if tree_root(view.fetch(), old.size) != old.root:
        raise ConfigError(f"this node's log of size {old.size} has another root than the checkpoint: two histories")
    path = tuple(prove_consistency(view.fetch(), old.size, signed.checkpoint.size))
    return Proof("consistency", signed, path, handovers(view, height), old=old)


def checkpoint_for(view: View, index: int, height: int | None) -> tuple[int, Signed]:
    """The checkpoint after `height`, or the last one there is, that covers leaf `index`. Raises ConfigError."""
    heights = [height] if height is not None else range(view.height, 0, -1)
    for at in heights:
        signed = view.checkpoint(at)
        if signed is not None and signed.cosignatures and signed.checkpoint.size > index:
            return at, signed
    at_ = f"after height {height}" if height is not None else "yet"
    raise ConfigError(f"{view.source.name}: no cosigned checkpoint covers leaf {index} {at_}")


def handovers(view: View, height: int) -> tuple[Handover, ...]:
    """Every change of the validators before `height`."""
    found = []
    epoch = view.genesis.epoch
    for at in range(epoch, height, epoch):
        block, certificate = view.decided(at)
        header = block.header
        if header.validators_hash == header.next_validators_hash:
            continue
        if certificate is None:
            raise ConfigError(f"{view.source.name}: height {at} changes the validators and has no certificate")
        found.append(Handover(header.raw, certificate.raw, view.voters_after(at).keys))
    return tuple(found)


def state_path(state: State, number: int) -> tuple[bytes, ...]:
    """From a bucket to the state's root: the RFC 6962 path of its leaf among 256."""

    def fetch(level: int, at: int) -> bytes:
        if level == 0:
            return state.leaves[at]
        return node_hash(fetch(level - 1, 2 * at), fetch(level - 1, 2 * at + 1))

    return tuple(prove_inclusion(fetch, number, BUCKETS))


# -------------------------------------------------------------------------------------------------- verifying


def verify_proof(proof: Proof, genesis: Genesis, pinned: Signed | None = None) -> Proven:
    """What the proof shows, from the genesis alone; `pinned` is a checkpoint to hold it against, else its own is taken.

    Raises BadProof, with the link that does not hold.
    """
    signed = pinned or proof.checkpoint
    point = signed.checkpoint
    for name, net in (("proof", proof.checkpoint.checkpoint.net), ("checkpoint", point.net)):
        if net != genesis.digest:
            raise BadProof(f"the {name} is of network {short(net)}, the genesis is of {short(genesis.digest)}")
    if point.size < proof.checkpoint.checkpoint.size:
        raise BadProof(f"the checkpoint's tree is smaller: {point.size} leaves, the proof needs {_size(proof)}")
    if point.size > proof.checkpoint.checkpoint.size:
        raise BadProof(
            f"the checkpoint's tree is larger: {point.size} leaves, the proof is for {_size(proof)}; make a new one"
        )
    if point.root != proof.checkpoint.checkpoint.root:
        raise BadProof(
            f"the checkpoint has another root than the proof for {point.size} leaves: forged, or another history"
        )
    validators = _walk(proof.handovers, genesis)
    signers = tuple(sorted(signed.signers(validators.keys)))
    needed = cosignatures_needed(validators.n)
    if len(signers) < needed:
        raise BadProof(f"{len(signers)} of {validators.n} validators signed the checkpoint, {needed} are needed")
    return _conclude(proof, point, Proven(point, signers, validators.n))


def _conclude(proof: Proof, point: Checkpoint, proven: Proven) -> Proven:
    if proof.old is not None:
        old = proof.old
        if old.net != point.net:
            raise BadProof(f"the older checkpoint is of network {short(old.net)}, the newer of {short(point.net)}")
        if old.size > point.size:
            raise BadProof(f"the older checkpoint's tree is larger: {old.size} leaves against {point.size}")
        if not verify_consistency(old.size, point.size, proof.path, old.root, point.root):
            raise BadProof("the path does not lead from the older root to the newer: the log was rewritten")
        return replace(proven, old=old)
    if proof.index >= point.size:
        raise BadProof(f"leaf {proof.index} is not in a tree of {point.size} leaves")
    if not verify_inclusion(leaf_hash(proof.leaf), proof.index, point.size, proof.path, point.root):
        raise BadProof(f"the path does not lead from leaf {proof.index} to the checkpoint's root")
    if proof.what == "entry":
        return replace(proven, index=proof.index, entry=_entry(proof, point.net))
    header = _header(proof.leaf)
    if proof.what == "header":
        return replace(proven, index=proof.index, header=header)
    value = _state_value(proof, header)
    return replace(proven, index=proof.index, header=header, key=proof.key, value=value)


def _entry(proof: Proof, net: bytes) -> Entry:
    try:
        entry = parse(proof.leaf)
    except Reject as error:
        raise BadProof(f"the leaf is no entry: {error}") from None
    if entry.net != net:
        raise BadProof(f"{entry.name} is of network {short(entry.net)}")
    if not check_signature(entry):
        raise BadProof(f"{entry.name} is not signed by its author")
    return entry


def _header(raw: bytes) -> Header:
    try:
        return parse_header(raw)
    except Reject as error:
        raise BadProof(f"the leaf is no header: {error}") from None


def _state_value(proof: Proof, header: Header) -> Payload | None:
    """The value at the key in the proven bucket; None if the bucket shows that there is none."""
    if proof.index != header.next_index - 1:
        raise BadProof("the header is not the leaf of its own height")
    number = bucket_of(proof.key)
    if not verify_inclusion(leaf_hash(proof.bucket), number, BUCKETS, proof.bucket_path, header.state_root):
        raise BadProof(f"the bucket of {name_of(proof.key)} is not in the state of height {header.height}")
    try:
        for row in canonical.unpackb(proof.bucket, BUCKET_BYTES_MAX):
            key, _, value = row
            if key == proof.key:
                frozen = freeze(value)
                return frozen if isinstance(frozen, tuple) else None
    except (Reject, ValueError, TypeError) as error:
        raise BadProof(f"the bucket cannot be read: {error}") from None
    return None


def _walk(steps: Sequence[Handover], genesis: Genesis) -> Validators:
    """The validators after all handovers. Raises BadProof."""
    validators, height = genesis.voters, 0
    for step in steps:
        try:
            header = parse_header(step.header)
            certificate: Certificate = parse_certificate(step.certificate)
            after = Validators.of(step.validators)
            if (certificate.kind, certificate.block) != (Kind.FINALIZE, header.hash):
                raise Reject("other", "its certificate is for another block")
            certificate.check(genesis.digest, validators, validators.quorum)
        except (Reject, ValueError) as error:
            raise BadProof(f"the change of validators after height {height} does not hold: {error}") from None
        if (header.net, header.validators_hash) != (genesis.digest, validators.hash) or header.height <= height:
            raise BadProof(f"the change of validators at height {header.height} does not follow the one before")
        if header.next_validators_hash != after.hash:
            raise BadProof(f"the validators after height {header.height} are others than its header says")
        validators, height = after, header.height
    return validators


def _size(proof: Proof) -> int:
    return proof.checkpoint.checkpoint.size


# ---------------------------------------------------------------------------------------------------- reading


def parse_proof(text: str | bytes, where: str) -> Proof:
    """The proof in a file. Raises ConfigError of one line if it is none."""
    try:
        if len(text) > PROOF_BYTES_MAX:
            raise ValueError(f"expected at most {PROOF_BYTES_MAX} bytes")
        value = json.loads(text)
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise ValueError(f"expected format {FORMAT}")
        return _proof(value)
    except (ValueError, KeyError, TypeError, RecursionError, Reject) as error:
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise ConfigError(f"{where}: expected a proof: {reason[:160]}") from None


def _proof(value: dict[str, Any]) -> Proof:
    what = value["what"]
    if what not in ("entry", "header", "state", "consistency"):
        raise ValueError("what: expected entry, header, state or consistency")
    signed = parse_checkpoint(value["checkpoint"].encode())
    if value["network"] != signed.checkpoint.net.hex():
        raise ValueError("network: the checkpoint is of another one")
    index = value.get("index", 0)
    if type(index) is not int or not 0 <= index < 1 << 63:
        raise ValueError("index: expected a whole number")
    steps = value["handovers"]
    if len(steps) > HANDOVERS_MAX:
        raise ValueError(f"expected at most {HANDOVERS_MAX} handovers")
    moves = tuple(
        Handover(
            bytes.fromhex(step["header"]),
            bytes.fromhex(step["certificate"]),
            tuple(NodeId(key) for key in _hashes(step["validators"], 4096)),
        )
        for step in steps
    )
    old = parse_checkpoint(f"{value['old']}\n".encode()).checkpoint if what == "consistency" else None
    leaf = b"" if what == "consistency" else bytes.fromhex(value["leaf"])
    path = _hashes(value["path"], PROOF_HASHES_MAX)
    if what != "state":
        return Proof(what, signed, path, moves, leaf, index, old=old)
    key, bucket = bytes.fromhex(value["key"]), bytes.fromhex(value["bucket"])
    return Proof(what, signed, path, moves, leaf, index, key, bucket, _hashes(value["bucket_path"], PROOF_HASHES_MAX))


def _hashes(value: Any, most: int) -> tuple[bytes, ...]:
    if not isinstance(value, list) or len(value) > most:
        raise ValueError(f"expected at most {most} hashes")
    hashes = tuple(bytes.fromhex(item) for item in value)
    if any(len(item) != 32 for item in hashes):
        raise ValueError("a hash has 32 bytes")
    return hashes


def _hexes(values: Sequence[bytes]) -> list[str]:
    return [value.hex() for value in values]
