"""Every decoder of the package, and how it is fed. A new one must be entered here: test_decoders.py looks for them all.

FUZZED      called with bytes (`raw`) or fields (`fields`) of material.py; may raise RemoteError only
FILES       read what a person gives; may raise any P2PFLError
THROUGH     inner parts: called by the one that is named, with what it lets through
OURS        read only what this machine wrote (its store, its documents, its task's results), or what has been checked
"""

import importlib.util
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import torch

from p2pfl.compress import CODECS
from p2pfl.compress.codec import Packed
from p2pfl.config.documents import parse_network
from p2pfl.config.schema import parse_dashboard, parse_digest, parse_listen, parse_name, parse_url
from p2pfl.core.limits import KIB, MIB
from p2pfl.core.noise import root
from p2pfl.core.urls import is_guarded
from p2pfl.crypto import paillier
from p2pfl.errors import P2PFLError
from p2pfl.horizontal.model.parts import decode_part, digest_of
from p2pfl.horizontal.model.work import check_sections, decode_sections
from p2pfl.horizontal.pace.timetable import parse_spans
from p2pfl.horizontal.valuing.shown import Shown
from p2pfl.learn.flat import ParamSchema, ParamSpec
from p2pfl.ledger.blocks import block, checkpoint, votes
from p2pfl.ledger.blocks.genesis import parse_genesis
from p2pfl.ledger.check.accusation import parse_faults
from p2pfl.ledger.check.proofs import parse_proof
from p2pfl.ledger.feeds import ends, entry, packed
from p2pfl.ledger.finality import talk
from p2pfl.ledger.outcome.state import parse_cell
from p2pfl.membership import record, statements, tokens
from p2pfl.membership import talk as members
from p2pfl.peer import outbox
from p2pfl.peer.door import refusal_words
from p2pfl.peer.order import parse_order
from p2pfl.peer.quarantine import verdict_on
from p2pfl.secagg import vectors
from p2pfl.secagg.salt import SaltMessage
from p2pfl.secagg.sheet import unpack_heads
from p2pfl.secagg.statements import Answers, CellMessage, Deal, Held, Keys, Slice
from p2pfl.strategies.catalogue import parse_strategies
from p2pfl.topology.graphs.params import parse_params
from p2pfl.valuation.opening import Opening
from p2pfl.vertical.align import messages as align
from p2pfl.vertical.split import messages as split
from p2pfl.vertical.turns import messages as turns
from p2pfl.wire import canonical, certificate, envelope, messages
from p2pfl.wire.keyfile import parse_public


def _material() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz_material", Path(__file__).with_name("material.py"))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


m = _material()
Feed = Callable[[Random], object]
NET = bytes(range(32))
SIZE = 40
"""Values in the vectors that codecs are fed."""


def _takes(call: Callable[[Any], object], given: Any) -> bool:
    try:
        call(given)
    except P2PFLError:
        return False
    return True


def raw(call: Callable[[bytes], object]) -> Feed:
    """Mostly golden bytes that `call` takes, with something wrong in them."""
    good = cache(lambda: [known for known in m.corpus() if _takes(call, known)])
    return lambda random: call(m.raw(random, good()))


def view(call: Callable[[memoryview], object]) -> Feed:
    """As bodies come: not bytes, but a view of somebody's buffer."""
    return raw(lambda b: call(memoryview(bytearray(b))))


def fields(call: Callable[[list[Any]], object]) -> Feed:
    good = cache(lambda: [known for known in m.lists() if _takes(call, known)])
    return lambda random: call(m.fields(random, good()))


def payload(call: Callable[[tuple[Any, ...]], object]) -> Feed:
    return fields(lambda f: call(tuple(f)))


def text(call: Callable[[str], object]) -> Feed:
    return raw(lambda b: call(b.decode("utf-8", "replace")))


def message(random: Random) -> object:
    return messages.parse(random.choice([*messages.KINDS, "", "of tomorrow"]), m.fields(random))


@cache
def _codes(name: str) -> tuple[Packed, ...]:
    v = torch.linspace(-1.0, 1.0, SIZE)
    codec = CODECS[name]()
    return tuple(codec.encode(v * scale, root(1), damp)[0] for scale, damp in ((0.0, 1.0), (1.0, 1.0), (1e-4, 0.5)))


def _bent_code(random: Random, name: str) -> Packed:
    """A code that its codec gave, with its numbers or its bytes changed; or nonsense of the same form."""
    code = random.choice(_codes(name))
    numbers = list(code.fields)
    if numbers and random.random() < 0.7:
        at = random.randrange(len(numbers))
        numbers[at] = random.choice((*m.EDGES, *(f for f in m.FLOATS if abs(f) < 1e301)))
    elif random.random() < 0.3:
        numbers = [random.choice(m.EDGES) for _ in range(random.randrange(4))]
    body = bytes(code.body)
    return Packed(tuple(numbers), m.bent(random, body) if random.random() < 0.7 else m.raw(random))


def codec(name: str) -> Feed:
    """What a codec takes it makes a finite vector of the right length from."""

    def feed(random: Random) -> None:
        q = CODECS[name]().decode(_bent_code(random, name), SIZE)
        assert q.shape == (SIZE,)
        assert q.dtype == torch.float32
        assert bool(q.isfinite().all())

    return feed


def sections(random: Random) -> None:
    """A message's sections and body against a schema, as a task gets them."""
    name = random.choice(sorted(CODECS))
    schema = ParamSchema((ParamSpec("w", (SIZE,), "weights"),))
    codes = [_bent_code(random, name) for _ in range(random.choice((1, 1, 1, 2)))]
    found = tuple(messages.Section(code.fields, random.choice((len(code.body), *m.EDGES[:6]))) for code in codes)
    body = b"".join(code.body for code in codes)
    check_sections(CODECS[name](), found, len(body), schema)
    decode_sections(CODECS[name](), found, body, schema)


def part(random: Random) -> object:
    """A piece of a model that a joiner fetches; its digest is the one that the donor signed, mostly."""
    name = random.choice(sorted(CODECS))
    code = _bent_code(random, name)
    found = messages.Section(code.fields, random.choice((len(code.body), len(code.body), 7)))
    digests = digest_of(found, code.body) if random.random() < 0.8 else random.randbytes(32)
    schema = ParamSchema((ParamSpec("w", (SIZE,), "weights"),))
    return decode_part(0, found, code.body, digests, CODECS[name](), schema)


def ciphertexts(random: Random) -> object:
    public = paillier.PublicKey((1 << 2047) + 95)
    size = public.ciphertext_bytes
    given = random.choice((m.raw(random), random.randbytes(size), bytes(size), b"\xff" * 2 * size))
    return paillier.from_bytes(public, given, random.choice((len(given) // size, 1)))


FUZZED: dict[str, Feed] = {
    "wire.canonical:unpackb": raw(lambda b: canonical.unpackb(b, 64 * KIB)),
    "wire.envelope:open_head": raw(envelope.open_head),
    "wire.envelope:split": view(envelope.split),
    "wire.certificate:key_of": raw(certificate.key_of),
    "wire.messages:parse": message,
    **{
        f"wire.messages:{cls.__name__}.from_fields": fields(cls.from_fields)
        for cls in (*messages.KINDS.values(), messages.MemberTalk)
    },
    "peer.outbox:unpack": view(outbox.unpack),
    "peer.door:refusal_words": raw(refusal_words),
    "peer.quarantine:verdict_on": raw(verdict_on),
    "peer.order:parse_order": lambda r: parse_order("name", r.choice(("kick", "ban", m.value(r))), m.fields(r)),
    "membership.record:parse_record": raw(record.parse_record),
    "membership.statements:parse_statement": raw(statements.parse_statement),
    "membership.talk:parse_line": raw(members.parse_line),
    "membership.tokens:parse_token": raw(tokens.parse_token),
    "ledger.feeds.entry:parse": view(entry.parse),
    "ledger.feeds.ends:parse_end": view(lambda b: ends.parse_end(b, NET)),
    "ledger.feeds.packed:unpack": view(lambda b: packed.unpack(b, MIB)),
    "ledger.feeds.packed:unpack_unchecked": view(lambda b: packed.unpack_unchecked(b, MIB)),
    "ledger.blocks.block:parse_header": view(block.parse_header),
    "ledger.blocks.block:parse_block": view(block.parse_block),
    "ledger.blocks.block:parse_head": lambda r: block.parse_head(m.value(r)),
    "ledger.blocks.block:parse_fault": lambda r: block.parse_fault(m.value(r)),
    "ledger.blocks.checkpoint:parse_checkpoint": view(checkpoint.parse_checkpoint),
    "ledger.blocks.votes:parse_vote": view(votes.parse_vote),
    "ledger.blocks.votes:parse_certificate": view(votes.parse_certificate),
    "ledger.finality.talk:parse": view(talk.parse),
    "secagg.statements:CellMessage.from_fields": fields(CellMessage.from_fields),
    "secagg.sheet:unpack_heads": raw(lambda b: unpack_heads(b, 8, 1024)),
    "secagg.salt:SaltMessage.from_fields": fields(SaltMessage.from_fields),
    **{f"secagg.statements:{cls.__name__}.parse": payload(cls.parse) for cls in (Keys, Deal, Held, Answers, Slice)},
    "secagg.vectors:from_bytes": view(lambda b: vectors.from_bytes(b, len(b) // 4)),
    "valuation.opening:Opening.from_fields": fields(Opening.from_fields),
    "horizontal.valuing.shown:Shown.from_fields": fields(Shown.from_fields),
    "vertical.align.messages:unpack": view(align.unpack),
    "vertical.split.messages:Cut.from_fields": fields(split.Cut.from_fields),
    "vertical.split.messages:unpack": lambda r: split.unpack(m.raw(r), r.randrange(9), r.randrange(9), 10.0),
    "vertical.split.messages:unpack_rows": lambda r: split.unpack_rows(m.raw(r), r.choice((1, 100, 2**31))),
    "vertical.turns.messages:unpack_request": raw(turns.unpack_request),
    "vertical.turns.messages:unpack_answer": lambda r: turns.unpack_answer(m.raw(r), r.randrange(4)),
    "crypto.paillier:from_bytes": ciphertexts,
    "horizontal.model.work:decode_sections": sections,
    "horizontal.model.parts:decode_part": part,
    **{
        f"compress.{CODECS[name].__module__.split('.')[-1]}:{CODECS[name].__name__}.decode": codec(name)
        for name in CODECS
    },
}

FILES: dict[str, Feed] = {
    "ledger.outcome.state:parse_cell": raw(parse_cell),
    "membership.tokens:parse_text": text(tokens.parse_text),
    "ledger.blocks.genesis:parse_genesis": text(lambda t: parse_genesis(t, "genesis.toml")),
    "ledger.check.accusation:parse_faults": raw(lambda b: parse_faults(b, "faults.json")),
    "ledger.check.proofs:parse_proof": raw(lambda b: parse_proof(b, "proof.json")),
    "config.documents:parse_network": text(lambda t: parse_network(t, Path("network.toml"))),
    "config.schema:parse_name": text(parse_name),
    "config.schema:parse_url": text(lambda t: is_guarded(parse_url(t))),
    "config.schema:parse_listen": text(parse_listen),
    "config.schema:parse_dashboard": text(parse_dashboard),
    "config.schema:parse_digest": text(parse_digest),
    "wire.keyfile:parse_public": text(parse_public),
    "strategies.catalogue:parse_strategies": text(parse_strategies),
    "horizontal.pace.timetable:parse_spans": text(lambda t: parse_spans(t.split(","))),
    "topology.graphs.params:parse_params": text(lambda t: parse_params(t.split())),
}

THROUGH = {
    "horizontal.pace.timetable:_parse": "horizontal.pace.timetable:parse_spans",
    "compress.codec:Codec.decode": "the protocol of all codecs",
    "compress.gaps:decode_gaps": "compress.topk:TopK.decode",
    "compress.layouts:unpack": "compress.deadzone:DeadZone.decode",
    "compress.layouts:_unpack_all": "compress.deadzone:DeadZone.decode",
    "compress.layouts:_unpack_gaps": "compress.deadzone:DeadZone.decode",
    "compress.randomk:RandomK.decode_sparse": "compress.randomk:RandomK.decode",
    "compress.symbols:unpack_symbols": "compress.deadzone:DeadZone.decode",
    "compress.topk:TopK.decode_sparse": "compress.topk:TopK.decode",
    "compress.values:unpack_values": "compress.topk:TopK.decode",
    "horizontal.model.algorithm:decode_vectors": "horizontal.model.work:decode_sections",
    "secagg.sheet:open_sheet": "tests/secagg: it wants a cell, and blames the chair for what it quotes",
    "secagg.member:Member._parsed": "secagg.statements:Keys.parse and the others",
    "vertical.turns.messages:_unpack_blobs": "vertical.turns.messages:unpack_answer",
    "crypto.ckks:CkksCipher._parsed": "tests/crypto: of an extra that is not everywhere",
    "ledger.check.source:_parsed": "the parsers that it is given",
    "ledger.check.source:View._parse": "the parsers that it is given",
}

OURS = {
    "runs.books:parsed",
    "config.documents:_parse",
    "crypto.packing:decode",
    "crypto.packing:Slots.unpack",
    "crypto.packing:Slots.from_bytes",  # what the key holder decrypts; its length is checked
    "horizontal.valuing.shown:unpack",  # its caller checks the body's length, its codes go through decode_sections
    "hosts.body:PartsPayload.decode",
    "learn.images:_decode",
    "ledger.finality.journal:parse_decided",
    "ledger.finality.tip:parse_tip",
    "runs.spool:Spool._parse",
    "secagg.rounding:Grid.decode",
    "sweep.result:_parse",
    "topology.files.load:_parse",
    "vertical.hetero.feature:FeatureHolder.unpack",
    "vertical.hetero.label:LabelHolder.unpack",
    "vertical.hetero.state:unpack_state",
    "vertical.hetero.sums:unpack_floats",
    "vertical.latent.source:Source.unpack",
    "vertical.latent.target:Target.unpack",
    "vertical.sealed.feature:FeatureHolder.unpack",
    "vertical.sealed.label:LabelHolder.unpack",
    "vertical.split.nets:unpack_part",
    "vertical.turns.messages:AnswerWork.unpack",
    "vertical.turns.messages:AskWork.unpack",
    "vertical.turns.opener:KeyHolder.unpack",
}
