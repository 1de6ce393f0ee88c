"""The tree agrees with its recursive definition, honest proofs verify, and no other proof does."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.ledger.blocks.merkle import (
    EMPTY_ROOT,
    PROOF_HASHES_MAX,
    Node,
    Range,
    leaf_hash,
    prove_consistency,
    prove_inclusion,
    tree_root,
    verify_consistency,
    verify_inclusion,
)

# The leaves and roots that the implementations of RFC 6962 share.
LEAVES = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


def defined_root(leaves: list[bytes]) -> bytes:
    """RFC 9162, 2.1.1, as it stands there."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\0" + leaves[0]).digest()
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return sha256(b"\1" + defined_root(leaves[:k]) + defined_root(leaves[k:])).digest()


class Log:
    """Leaves, and the nodes that a store would hold."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.leaves = leaves
        self.nodes: dict[tuple[int, int], bytes] = {}
        self.range = Range()
        for leaf in leaves:
            self.range, nodes = self.range.append(leaf_hash(leaf))
            for level, number, hash_ in nodes:
                assert (level, number) not in self.nodes  # each is written once
                self.nodes[level, number] = hash_

    def fetch(self, level: int, number: int) -> bytes:
        return self.nodes[level, number]


def log_of(size: int) -> Log:
    return Log([bytes([i % 256, i // 256]) for i in range(size)])


def test_the_roots_that_everybody_has() -> None:
    leaves = [bytes.fromhex(leaf) for leaf in LEAVES]
    for size, root in enumerate(ROOTS):
        assert Log(leaves[:size]).range.root().hex() == root


def test_every_root_is_the_defined_one() -> None:
    log = log_of(70)
    for size in range(71):
        root = defined_root(log.leaves[:size])
        assert tree_root(log.fetch, size) == root
        assert log_of(size).range.root() == root
    assert defined_root([]) == EMPTY_ROOT


def test_a_range_has_a_peak_for_each_set_bit() -> None:
    for size in range(70):
        assert len(log_of(size).range.peaks) == size.bit_count()
    _, nodes = log_of(7).range.append(b"x" * 32)
    assert [(node.level, node.number) for node in nodes] == [(0, 7), (1, 3), (2, 1), (3, 0)]
    assert isinstance(nodes[0], Node)


def test_every_inclusion_proof_of_small_trees() -> None:
    log = log_of(40)
    for size in range(1, 41):
        root = tree_root(log.fetch, size)
        for index in range(size):
            proof = prove_inclusion(log.fetch, index, size)
            leaf = leaf_hash(log.leaves[index])
            assert len(proof) <= (size - 1).bit_length()
            assert verify_inclusion(leaf, index, size, proof, root)
            assert not verify_inclusion(leaf, index, size, [*proof, bytes(32)], root)
            assert not (proof and verify_inclusion(leaf, index, size, proof[:-1], root))
            wrong = [i for i in range(size) if i != index and verify_inclusion(leaf, i, size, proof, root)]
            assert wrong == []


def test_every_consistency_proof_of_small_trees() -> None:
    log = log_of(34)
    roots = [tree_root(log.fetch, size) for size in range(35)]
    for new in range(35):
        for old in range(new + 1):
            proof = prove_consistency(log.fetch, old, new)
            assert verify_consistency(old, new, proof, roots[old], roots[new])
            assert not verify_consistency(old, new, [*proof, bytes(32)], roots[old], roots[new])
            assert not verify_consistency(old, new, proof, bytes(32), roots[new])
            assert not (old and verify_consistency(old, new, proof, roots[old], bytes(32)))
            if proof:
                assert not verify_consistency(old, new, proof[:-1], roots[old], roots[new])
                assert not verify_consistency(old, new, proof[1:], roots[old], roots[new])


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_changed_proof_proves_nothing(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 300))
    old = data.draw(st.integers(1, size - 1))
    log = log_of(size)
    root = log.range.root()
    for proof, check in (
        (
            prove_inclusion(log.fetch, old, size),
            lambda p: verify_inclusion(leaf_hash(log.leaves[old]), old, size, p, root),
        ),
        (
            prove_consistency(log.fetch, old, size),
            lambda p: verify_consistency(old, size, p, tree_root(log.fetch, old), root),
        ),
    ):
        assert check(proof)
        at = data.draw(st.integers(0, len(proof) - 1))
        bad = bytearray(proof[at])
        bad[data.draw(st.integers(0, 31))] ^= data.draw(st.integers(1, 255))
        assert not check([*proof[:at], bytes(bad), *proof[at + 1 :]])


@settings(max_examples=40, deadline=None)
@given(size=st.integers(2, 200), data=st.data())
def test_a_log_that_changed_its_past_is_not_consistent(size: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, size))
    changed = data.draw(st.integers(0, old - 1))
    honest = log_of(size)
    leaves = list(honest.leaves)
    leaves[changed] = b"another"
    forged = Log(leaves)
    for fetch in (honest.fetch, forged.fetch):
        proof = prove_consistency(fetch, old, size)
        assert not verify_consistency(old, size, proof, tree_root(honest.fetch, old), forged.range.root())


@settings(max_examples=200, deadline=None)
@given(
    numbers=st.tuples(st.integers(-2, 1 << 70), st.integers(-2, 1 << 70)),
    proof=st.lists(st.binary(min_size=31, max_size=33), max_size=PROOF_HASHES_MAX + 1),
)
def test_noise_proves_nothing_and_never_raises(numbers: tuple[int, int], proof: list[bytes]) -> None:
    first, second = numbers
    assert not verify_inclusion(bytes(32), first, second, proof, b"\1" * 32)
    assert not verify_consistency(first, second, proof, bytes(32), b"\1" * 32)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (3, 3), (-1, 3)])
def test_what_is_not_in_the_tree_has_no_proof(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="expected a leaf"):
        prove_inclusion(log_of(3).fetch, index, size)
    with pytest.raises(ValueError, match="older size"):
        prove_consistency(log_of(3).fetch, 4, 3)
