"""Questions and answers where a feed ends: their bytes, and that nobody asks or answers for another."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.errors import Reject
from p2pfl.ledger.feeds.ends import END_BYTES_MAX, Answer, Question, answer, ask, is_end, parse_end
from p2pfl.ledger.feeds.statements import acknowledge
from p2pfl.ledger.finality.talk import Digest
from p2pfl.wire.keyfile import Signer

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "ends.json").read_text())
NET = bytes.fromhex(VECTORS["network"])
AUTHOR, WITNESS = Signer(b"\1" * 32), Signer(b"\2" * 32)
HEAD = b"\x11" * 32
wholes = st.integers(0, (1 << 63) - 1)


def said(latest: tuple[int, int] = (0, 17)) -> Answer:
    question = ask(AUTHOR, NET, bytes(16), 1)
    return answer(WITNESS, NET, question, latest, (0, 17, HEAD), acknowledge(WITNESS, NET, AUTHOR.node, 0, 17, HEAD))


@given(nonce=st.binary(min_size=16, max_size=16), far=st.integers(0, 1))
def test_a_question_comes_back_as_it_was(nonce: bytes, far: int) -> None:
    question = ask(AUTHOR, NET, nonce, far)
    assert parse_end(question.raw, NET) == question
    assert is_end(question.raw)


@given(latest=st.tuples(st.integers(0, (1 << 32) - 1), wholes), seq=wholes, vouches=st.booleans())
def test_an_answer_comes_back_as_it_was(latest: tuple[int, int], seq: int, vouches: bool) -> None:
    words = acknowledge(WITNESS, NET, AUTHOR.node, 0, seq, HEAD) if vouches else b""
    found = answer(WITNESS, NET, ask(AUTHOR, NET, bytes(16), 1), latest, (0, seq, HEAD), words)
    assert parse_end(found.raw, NET) == found
    assert len(found.raw) <= END_BYTES_MAX


@pytest.mark.parametrize("raw", [ask(AUTHOR, NET, bytes(16), 1).raw, said().raw], ids=["question", "answer"])
def test_one_changed_byte_is_refused(raw: bytes) -> None:
    for at in range(len(raw)):
        bad = raw[:at] + bytes([raw[at] ^ (1 << (at % 8))]) + raw[at + 1 :]
        with pytest.raises(Reject):
            parse_end(bad, NET)
    for length in range(len(raw)):
        with pytest.raises(Reject):
            parse_end(raw[:length], NET)


@given(raw=st.binary(max_size=300))
def test_noise_is_rejected(raw: bytes) -> None:
    with pytest.raises(Reject):
        parse_end(raw, NET)
    is_end(raw)


def test_other_messages_are_told_apart() -> None:
    assert not is_end(Digest(bytes(32)).raw)
    assert not is_end(b"")


def test_too_long_is_refused_before_it_is_read() -> None:
    with pytest.raises(Reject):
        parse_end(said().raw + bytes(END_BYTES_MAX), NET)


@pytest.mark.parametrize("vector", VECTORS["questions"], ids=lambda vector: vector["name"])
def test_golden_questions(vector: dict[str, Any]) -> None:
    signer = Signer(bytes.fromhex(vector["seed"]))
    question = ask(signer, NET, bytes.fromhex(vector["nonce"]), vector["far"])
    assert question.raw.hex() == vector["raw"]
    assert isinstance(parse_end(question.raw, NET), Question)


@pytest.mark.parametrize("vector", VECTORS["answers"], ids=lambda vector: vector["name"])
def test_golden_answers(vector: dict[str, Any]) -> None:
    found = parse_end(bytes.fromhex(vector["raw"]), NET)
    assert isinstance(found, Answer)
    assert [found.latest, found.latest_seq] == vector["latest"]
    assert (found.incarnation, found.seq) == (vector["incarnation"], vector["seq"])
    for name in ("author", "nonce", "head", "acknowledgement"):
        assert getattr(found, name).hex() == vector[name]
    assert found.witness == Signer(bytes.fromhex(vector["seed"])).node
    assert found.raw.hex() == vector["raw"]


@pytest.mark.parametrize("vector", VECTORS["refused"], ids=lambda vector: vector["name"])
def test_refusals(vector: dict[str, Any]) -> None:
    with pytest.raises(Reject) as refused:
        parse_end(bytes.fromhex(vector["raw"]), NET)
    assert refused.value.code == vector["code"]
