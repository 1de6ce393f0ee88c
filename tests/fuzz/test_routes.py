"""Every route, fed with requests of all kinds: 2xx, 4xx or busy, or hung up on; never 500, and the node lives on."""

import asyncio
import importlib.util
import logging
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.party import Take, Verdict
from p2pfl.hosts.reach import Reach
from p2pfl.hosts.server import ASKED, HEALTH, POSTS, READ
from p2pfl.peer.peer import Peer
from p2pfl.wire import envelope
from p2pfl.wire.messages import Bye, Edge
from p2pfl.wire.post import Answer, Knock, Refuse, Whole

HERE = Path(__file__).resolve().parent
STATUSES = {200, 204, 400, 403, 404, 405, 408, 409, 411, 413, 415, 417, 431, 503}
LOOSE = {
    "header_s": 0.05,
    "chunk_s": 0.05,
    "linger_s": 0.01,
    "address_rate": 1e9,
    "address_burst": 1e9,
    "fetch_s": 0.01,
}
"""Times that a test can wait for; and all are let in: the gate has tests of its own."""
LOOSE |= {"strangers_per_address": 10**6, "links_per_address": 10**6, "stranger_slots": 10**6}


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


m = _load("fuzz_material", HERE / "material.py")
kit = _load("hosts_kit", HERE.parent / "hosts" / "http" / "conftest.py")
ME, FRIEND, HIDDEN, STRANGER = kit.BOB, kit.ALICE, kit.Signer(b"h" * 32), kit.Signer(b"s" * 32)
PATHS = [*sorted(POSTS), *ASKED, HEALTH, "/v1/pull", "/v1/pulled", READ + "tip", READ + "../../etc/passwd", "/metrics"]


class Job:
    """Takes bodies, accepts the one half of what comes and rejects the other."""

    def handle(self, event: Any, now: float) -> list[Any]:
        match event:
            case Knock(token, head, message):
                if head.body_len:
                    return [Take(token)]
                return self._answer(token, head, message)
            case Whole(token, head, message, _):
                return self._answer(token, head, message)
        return []

    def _answer(self, token: Any, head: Any, message: Any) -> list[Any]:
        if head.header[-1] % 2:
            return [Refuse(token, Verdict.REJECT, "odd")]
        return [Answer(token, Bye(bytes(32), head.author, 1))]

    def status(self) -> dict[str, Any]:
        return {"phase": "fuzzed"}


def message(random: Random) -> tuple[str, bytes]:
    """Sound, unsound inside, or bent: of a neighbour, of one that fetches, or of a stranger. And where it belongs."""
    signer = random.choice((FRIEND, FRIEND, HIDDEN, HIDDEN, STRANGER))
    body = random.randbytes(random.choice((0, 0, 1, 500, 70_000)))
    kind, fields = random.choice(
        (
            ("bye", Bye(bytes(32), ME.node, 1).to_fields()),
            ("edge", Edge(bytes(32), ME.node, "hello", 0, 0).to_fields()),
            ("pull", [ME.node, random.choice(("gossip", "exchange")), random.randbytes(16), random.randrange(4)]),
            ("pulled", [ME.node, random.randbytes(16), "accept"]),
            (random.choice(("update", "row", "snapshot", "ledger", "members")), m.fields(random)),
        )
    )
    if random.random() < 0.4:
        wrong = m.swapped(random, fields)
        fields = wrong if isinstance(wrong, list) else [wrong]
    try:
        parts = envelope.seal(signer, kit.NETWORK, kind, fields, (body,) if body else ())
    except (ValueError, TypeError, OverflowError):
        return random.choice(PATHS), m.raw(random)
    whole = b"".join(map(bytes, parts))
    path = f"/v1/{kind}" if kind in ("pull", "pulled") else random.choice(sorted(POSTS))
    return path, whole if random.random() < 0.6 else m.bent(random, whole)


def request(random: Random) -> bytes:
    """HTTP, mostly; with a length that is true, mostly."""
    if random.random() < 0.05:
        return m.raw(random)
    path, body = message(random) if random.random() < 0.8 else (random.choice(PATHS), m.raw(random))
    path = path if random.random() < 0.8 else random.choice(PATHS)
    length = random.choice((*[-1] * 12, None, 0, len(body) + 1, 1 << 31, 1 << 70))
    method = random.choice((*["POST"] * 8, "GET", "GET", "PUT", "HEAD", "OPTIONS"))
    more = random.choice((*[""] * 9, "Expect: 100-continue\r\n", "Content-Encoding: gzip\r\n", "X: \x00\r\n"))
    more += random.choice((*[""] * 9, "Transfer-Encoding: chunked\r\n", "Connection: close\r\n", "A: " + "b" * 9000))
    sent = kit.request(body, path, method, length, more)
    return sent if random.random() < 0.9 else m.bent(random, sent)


async def send(port: int, sent: bytes) -> int:
    """The status of the first answer; 0 if there was none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(sent)
        async with asyncio.timeout(20):
            first = await reader.readline()
        return int(first.split()[1]) if first.startswith(b"HTTP/1.1 ") else 0
    except (ConnectionError, asyncio.IncompleteReadError):
        return 0
    finally:
        await kit.hang_up(writer)


async def fuzz(seeds: Any, lanes: int = 8) -> Counter[int]:
    """All requests, `lanes` at a time, against one node; what came of them."""
    peer = Peer(ME, kit.NETWORK, bytes(32), [FRIEND.node, HIDDEN.node], Job(), "me")
    come: Counter[int] = Counter()
    pages = {"/metrics": lambda who: (200, "text/plain", b"none")}
    reach = Reach(ME, kit.NETWORK)
    living = {"addresses": {HIDDEN.node: "none"}, "reach": reach, "read": lambda name: None, "pages": pages}
    async with kit.living(peer, **living, **LOOSE) as host:

        async def lane() -> None:
            for seed in seeds:
                status = await send(host.port, request(Random(seed)))
                assert status in STATUSES | {0, 100}, f"seed {seed} was answered {status}"
                come[status] += 1

        await asyncio.gather(*(lane() for _ in range(lanes)))
        assert (await kit.raw(host.port, kit.request(b"", HEALTH, "GET", None)))[0] == 200
        assert not host._gate._bytes
    return come


def test_requests_of_all_kinds(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        came = asyncio.run(fuzz(iter(range(300))))
    assert {200, 400, 403, 405} <= set(came)  # others are rarer than one in 300
    assert not caplog.records


@given(st.binary(max_size=200))
@settings(max_examples=15, deadline=None)
def test_bytes_of_all_kinds(text: bytes) -> None:
    async def main() -> None:
        async with kit.living(kit.Toy(), **LOOSE) as host:
            assert await send(host.port, text) in STATUSES | {0}

    asyncio.run(main())


def _until(seconds: float, first: int) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield first
        first += 1


@pytest.mark.slow
def test_a_minute_of_it() -> None:
    assert asyncio.run(fuzz(_until(30.0, 1 << 40))).total() > 0


@pytest.mark.soak
def test_an_hour_of_it() -> None:
    assert asyncio.run(fuzz(_until(1800.0, 1 << 50))).total() > 0
