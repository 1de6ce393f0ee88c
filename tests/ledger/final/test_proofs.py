"""A proof holds for what it is about and for nothing else, and a refusal says which link is broken."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.errors import ConfigError
from p2pfl.ledger.blocks.checkpoint import Checkpoint, Signed, cosign
from p2pfl.ledger.blocks.genesis import parse_genesis
from p2pfl.ledger.check.proofs import BadProof, Proof, parse_proof, prove_growth, prove_leaf, prove_state, verify_proof
from p2pfl.ledger.check.source import FileSource, View
from p2pfl.ledger.feeds.entry import parse
from p2pfl.ledger.stores.reader import open_reader

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "proof.json").read_text())


@pytest.fixture(scope="module")
def network(make_played: Any) -> Any:
    return make_played(10)


@pytest.fixture(scope="module")
def view(network: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    path = network.write(tmp_path_factory.mktemp("proofs") / "node.db")
    with open_reader(path) as reader:
        yield View(FileSource(reader))


@pytest.fixture(scope="module")
def proofs(network: Any, view: View) -> dict[str, Proof]:
    old = view.checkpoint(4)
    assert old is not None
    return {
        "entry": prove_leaf(view, 20),
        "header": prove_leaf(view, view.log.size - 1),
        "state": prove_state(view, "balance", network.nodes[1].node),
        "consistency": prove_growth(view, old.checkpoint),
        "older": prove_leaf(view, 5, 4),
    }


def again(proof: Proof) -> Proof:
    return parse_proof(proof.to_json(), "here")


def test_every_leaf_can_be_proven(network: Any, view: View) -> None:
    for index in range(view.log.size):
        proof = again(prove_leaf(view, index))
        proven = verify_proof(proof, network.genesis)
        assert proven.index == index
        assert (proven.entry or proven.header) is not None
        leaf = view.leaf(index)
        assert (proven.entry.raw if proven.entry else proven.header.raw) == leaf.raw  # type: ignore[union-attr]


def test_a_proof_shows_what_it_is_about(network: Any, view: View, proofs: dict[str, Proof]) -> None:
    entry = verify_proof(again(proofs["entry"]), network.genesis).entry
    assert entry == network.entries[20 - view.height_of(20) + 1]
    header = verify_proof(again(proofs["header"]), network.genesis).header
    assert header == network.blocks[-1].header
    state = verify_proof(again(proofs["state"]), network.genesis)
    assert state.value == (network.balance(1),)
    old = verify_proof(again(proofs["consistency"]), network.genesis).old
    assert old is not None
    assert old.size == network.blocks[3].header.next_index


def test_that_there_is_nothing_can_be_proven_too(network: Any, view: View) -> None:
    proven = verify_proof(again(prove_state(view, "balance", b"\x99" * 32)), network.genesis)
    assert proven.value is None


def test_validators_that_changed_are_followed_from_the_genesis(network: Any, proofs: dict[str, Proof]) -> None:
    assert len(proofs["entry"].handovers) == 1
    assert verify_proof(proofs["entry"], network.genesis).num_validators == 3
    assert verify_proof(proofs["older"], network.genesis).num_validators == 2
    point = proofs["entry"].checkpoint.checkpoint
    only = Signed(point, (cosign(network.nodes[2], point, 1),))
    with pytest.raises(BadProof, match="0 of 2 validators signed"):
        verify_proof(replace(proofs["entry"], checkpoint=only, handovers=()), network.genesis)


@pytest.mark.parametrize("kind", ["entry", "header", "state", "consistency"])
def test_another_network_a_smaller_tree_and_a_forged_root_are_refused(
    network: Any, make_network: Any, proofs: dict[str, Proof], view: View, kind: str
) -> None:
    proof, genesis = proofs[kind], network.genesis
    other = make_network(name="other").genesis
    with pytest.raises(BadProof, match=f"the proof is of network {network.net.hex()[:8]}, the genesis is of"):
        verify_proof(proof, other)
    point = proof.checkpoint.checkpoint

    def signed(checkpoint: Checkpoint) -> Signed:
        return Signed(checkpoint, tuple(cosign(signer, checkpoint, 1) for signer in network.nodes[:3]))

    with pytest.raises(BadProof, match="the checkpoint is of network"):
        verify_proof(proof, genesis, signed(Checkpoint(other.digest, point.size, point.root)))
    smaller = view.checkpoint(4)
    with pytest.raises(BadProof, match="tree is smaller"):
        verify_proof(proof, genesis, smaller)
    with pytest.raises(BadProof, match="tree is larger"):
        verify_proof(proof, genesis, signed(replace(point, size=point.size + 9)))
    forged = replace(point, root=b"\x66" * 32)
    with pytest.raises(BadProof, match="another root"):
        verify_proof(proof, genesis, signed(forged))
    with pytest.raises(BadProof, match=r"does not lead|log was rewritten"):
        verify_proof(replace(proof, checkpoint=signed(forged)), genesis)
    with pytest.raises(BadProof, match="0 of 3 validators signed the checkpoint, 1 are needed"):
        verify_proof(replace(proof, checkpoint=Signed(point)), genesis)


def test_a_bucket_of_another_state_is_refused(network: Any, proofs: dict[str, Proof]) -> None:
    proof = proofs["state"]
    with pytest.raises(BadProof, match=r"bucket of balance .* is not in the state"):
        verify_proof(replace(proof, bucket=proof.bucket + b"\0"), network.genesis)
    with pytest.raises(BadProof, match="bucket of balance"):
        verify_proof(replace(proof, key=proof.key[:-1] + b"\x77"), network.genesis)


def test_a_handover_that_was_not_voted_is_refused(network: Any, proofs: dict[str, Proof]) -> None:
    proof = proofs["entry"]
    (step,) = proof.handovers
    mine = tuple(sorted(signer.node for signer in network.nodes[2:]))
    with pytest.raises(BadProof, match="are others than its header says"):
        verify_proof(replace(proof, handovers=(replace(step, validators=mine),)), network.genesis)
    with pytest.raises(BadProof, match="does not hold"):
        verify_proof(replace(proof, handovers=(replace(step, header=network.blocks[0].header.raw),)), network.genesis)
    with pytest.raises(BadProof, match="does not"):
        verify_proof(replace(proof, handovers=(step, step)), network.genesis)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(["entry", "header", "state", "consistency"]),
    place=st.floats(0, 1, exclude_max=True),
    mask=st.integers(1, 255),
)
def test_a_changed_byte_of_the_file_proves_nothing_else(
    network: Any, proofs: dict[str, Proof], kind: str, place: float, mask: int
) -> None:
    """It is refused, or it is the same proof in other letters (hex digits, spaces)."""
    text = bytearray(proofs[kind].to_json().encode())
    text[int(place * len(text))] ^= mask
    try:
        proven = verify_proof(parse_proof(bytes(text), "here"), network.genesis)
    except (BadProof, ConfigError):
        return
    good = verify_proof(proofs[kind], network.genesis)
    assert replace(proven, signers=()) == replace(good, signers=())


@pytest.mark.parametrize(
    "text", ["", "{}", "[1]", '{"format": "p2pfl/proof/v2"}', "\x00", '{"format": "p2pfl/proof/v1", "what": "all"}']
)
def test_what_is_no_proof_is_one_line(text: str) -> None:
    with pytest.raises(ConfigError, match="here: expected a proof") as found:
        parse_proof(text, "here")
    assert "\n" not in str(found.value)


def test_the_vectors_hold() -> None:
    genesis = parse_genesis(VECTORS["genesis"], "the vectors")
    for case in VECTORS["proofs"]:
        proof = parse_proof(json.dumps(case["proof"]), case["name"])
        proven = verify_proof(proof, genesis)
        assert proven.checkpoint.size == case["size"]
        assert json.loads(proof.to_json()) == case["proof"]
    for case in VECTORS["refused"]:
        with pytest.raises(BadProof, match=case["reason"]):
            verify_proof(parse_proof(json.dumps(case["proof"]), case["name"]), genesis)


def test_a_proven_entry_is_as_its_author_signed_it(network: Any, proofs: dict[str, Proof]) -> None:
    assert parse(proofs["entry"].leaf) in network.entries
