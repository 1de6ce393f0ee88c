"""Where a feed ends, asked and answered: how a node that came back learns what it has said before. Knows bytes and
signatures; knows no feed, no state and no neighbour.

    question = canonical msgpack [1, 12, author, nonce, far, signature]
    answer   = canonical msgpack [1, 13, author, nonce, witness, latest, latest seq, incarnation, seq, head,
                                  acknowledgement, signature]

The author signs its question, the witness its answer, over these texts, so nobody asks or answers for another:

    "p2pfl/ask/v1\\0" + canonical msgpack [net, author, nonce, far]
    "p2pfl/end/v1\\0" + canonical msgpack [net, and all of the answer's fields but the last]

The nonce makes an answer one to this question: an old answer may be true of an older feed. `acknowledgement` is what
goes into a "resume" entry (statements.py). The tags go on where those of talk.py end. Layout: docs/formats/ends.md.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from p2pfl.core.ids import NodeId, short
from p2pfl.core.limits import KIB
from p2pfl.core.party import Buffer
from p2pfl.errors import Reject
from p2pfl.ledger.feeds.entry import INCARNATION_MAX, NO_ENTRY
from p2pfl.wire import canonical, fields
from p2pfl.wire.envelope import SIGNATURE_BYTES, Signs
from p2pfl.wire.keyfile import verify

VERSION = 1
QUESTION, ANSWER = 12, 13
NONCE_BYTES = 16
END_BYTES_MAX = KIB
_QUESTION_DOMAIN = b"p2pfl/ask/v1\0"
_ANSWER_DOMAIN = b"p2pfl/end/v1\0"


@dataclass(frozen=True)
class Question:
    """The author asks where its feeds end. far: 0 asks the neighbours, 1 asks all validators, and is passed on."""

    author: NodeId
    nonce: bytes
    far: int
    signature: bytes

    @cached_property
    def raw(self) -> bytes:
        return canonical.packb([VERSION, QUESTION, self.author, self.nonce, self.far, self.signature])


@dataclass(frozen=True)
class Answer:
    """What `witness` holds of the author's feeds.

    latest: the last incarnation of which it holds an entry, up to latest_seq. incarnation: the one that counts in its
    state; that feed ends at `seq` with the id `head` (NO_ENTRY if it holds nothing of it). `acknowledgement` is empty
    if the witness does not vouch for that.
    """

    author: NodeId
    nonce: bytes
    witness: NodeId
    latest: int
    latest_seq: int
    incarnation: int
    seq: int
    head: bytes
    acknowledgement: bytes
    signature: bytes

    @cached_property
    def raw(self) -> bytes:
        who = [self.author, self.nonce, self.witness, self.latest, self.latest_seq]
        place = [self.incarnation, self.seq, self.head]
        return canonical.packb([VERSION, ANSWER, *who, *place, self.acknowledgement, self.signature])


def ask(signer: Signs, net: bytes, nonce: bytes, far: int) -> Question:
    """One's own question. A nonce is never used twice."""
    return Question(signer.node, nonce, far, signer.sign(_question_text(net, signer.node, nonce, far)))


def answer(
    signer: Signs,
    net: bytes,
    question: Question,
    latest: tuple[int, int],
    place: tuple[int, int, bytes],
    acknowledgement: bytes,
) -> Answer:
    """What one holds: `latest` is (incarnation, seq), `place` is (incarnation, seq, head)."""
    said = (question.author, question.nonce, signer.node, *latest, *place, acknowledgement)
    return Answer(*said, signature=signer.sign(_answer_text(net, *said)))


def is_end(raw: Buffer) -> bool:
    """Whether the bytes are meant as one of these two, and not as a message of talk.py."""
    return len(raw) > 3 and raw[1] == VERSION and raw[2] in (QUESTION, ANSWER)


def parse_end(raw: Buffer, net: bytes) -> Question | Answer:
    """The question or answer that `raw` is, its signature checked. Raises Reject."""
    value = canonical.unpackb(raw, END_BYTES_MAX)
    if not isinstance(value, list) or len(value) < 2:
        raise Reject("malformed", "expected [version, tag, fields..]")
    fields.version(value[0], "ledger message", VERSION)
    match value[1]:
        case 12:
            return _question(value[2:], net)
        case 13:
            return _answer(value[2:], net)
    raise Reject("kind", f"expected a message of tag {QUESTION} or {ANSWER}")


def _question(f: list[Any], net: bytes) -> Question:
    author, nonce, far, signature = fields.array(f, "question", 4)
    found = Question(
        NodeId(fields.digest(author, "author")),
        fields.exactly(nonce, "nonce", NONCE_BYTES),
        fields.whole(far, "far", 1),
        fields.exactly(signature, "signature", SIGNATURE_BYTES),
    )
    if not verify(found.author, _question_text(net, found.author, found.nonce, found.far), found.signature):
        raise Reject("signature", f"the question is not signed by {short(found.author)}")
    return found


def _answer(f: list[Any], net: bytes) -> Answer:
    author, nonce, witness, latest, last, incarnation, seq, head, words, signature = fields.array(f, "answer", 10)
    vouched = fields.blob(words, "acknowledgement", SIGNATURE_BYTES)
    if len(vouched) not in (0, SIGNATURE_BYTES):
        raise Reject("malformed", f"acknowledgement: expected nothing or {SIGNATURE_BYTES} bytes")
    said = (
        NodeId(fields.digest(author, "author")),
        fields.exactly(nonce, "nonce", NONCE_BYTES),
        NodeId(fields.digest(witness, "witness")),
        fields.whole(latest, "latest", INCARNATION_MAX),
        fields.whole(last, "latest seq"),
        fields.whole(incarnation, "incarnation", INCARNATION_MAX),
        fields.whole(seq, "seq"),
        fields.digest(head, "head"),
        vouched,
    )
    if vouched and said[7] == NO_ENTRY:
        raise Reject("malformed", "an acknowledgement of no entry")
    found = Answer(*said, signature=fields.exactly(signature, "signature", SIGNATURE_BYTES))
    if not verify(found.witness, _answer_text(net, *said), found.signature):
        raise Reject("signature", f"the answer is not signed by {short(found.witness)}")
    return found


def _question_text(net: bytes, *said: Any) -> bytes:
    return _QUESTION_DOMAIN + canonical.packb([net, *said])


def _answer_text(net: bytes, *said: Any) -> bytes:
    return _ANSWER_DOMAIN + canonical.packb([net, *said])
