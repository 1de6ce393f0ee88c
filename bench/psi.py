"""Private set intersection: ids per second per core against openmined-psi and an ed25519 version, and cost per id.

Two parties with n ids each, half of them common. "One core" is all work of both parties in one process, one after the
other, our side with its real messages packed and unpacked. "Two cores" gives each party its own: ours runs in two
processes that talk through queues; openmined-psi's steps depend on each other, so its time is that of the longer of the
first two steps and the other two. The ed25519 version is the same protocol's arithmetic on libsodium's Edwards points.
"""

import multiprocessing as mp
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection
from statistics import median
from time import perf_counter
from typing import Any

from harness import Row, bar, parse_args, race, table, write_json
from nacl import bindings

from p2pfl.vertical.align.aligner import Action, Aligner, Do, Say
from p2pfl.vertical.align.messages import pack, unpack
from p2pfl.vertical.align.terms import Terms
from p2pfl.vertical.align.work import run

OPENMINED, OPENMINED_TWO, ED25519, LINEAR = 3.0, 3.0, 2.5, 1.2
OPENMINED_ERROR_RATE = 1e-9
TERMS = Terms("bench", ("first", "second"))
Ids = list[bytes]


def ids_of(n: int) -> tuple[Ids, Ids]:
    return [b"person-%09d" % i for i in range(n)], [b"person-%09d" % i for i in range(n // 2, n + n // 2)]


def ours(sets: tuple[Ids, Ids]) -> int:
    """Both parties in this process: the number of common ids."""
    parties = [Aligner(TERMS, i, items, bytes([i]) * 32) for i, items in enumerate(sets)]
    queue: deque[tuple[int, bytes]] = deque()

    def perform(me: int, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Say):
                queue.append((me, pack(action.message)))
            elif isinstance(action, Do):
                perform(me, parties[me].computed(action.task, run(action.task)))

    for me, party in enumerate(parties):
        perform(me, party.start())
    while queue:
        sender, data = queue.popleft()
        perform(1 - sender, parties[1 - sender].receive(sender, unpack(data)))
    assert parties[0].done is not None
    return len(parties[0].done.rows)


def process(me: int, items: Ids, inbox: Any, outbox: Any, told: Connection) -> None:
    """One party of two processes. Takes in what has come before it works on, so that the other seldom waits."""
    party = Aligner(TERMS, me, items, bytes([me]) * 32)
    work: deque[Any] = deque()

    def perform(actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Say):
                outbox.put(pack(action.message))
            elif isinstance(action, Do):
                work.append(action.task)

    told.send("ready")
    told.recv()
    perform(party.start())
    while not party.finished:
        while not party.finished and (not work or not inbox.empty()):
            perform(party.receive(1 - me, unpack(inbox.get())))
        if work:
            task = work.popleft()
            perform(party.computed(task, run(task)))
    told.send(len(party.done.rows) if party.done else -1)
    told.recv()


def ours_on_two_cores(sets: tuple[Ids, Ids]) -> float:
    """Seconds from the start of both processes' protocols to the end of both."""
    context = mp.get_context("spawn")
    boxes = [context.Queue(), context.Queue()]
    ends = [context.Pipe() for _ in sets]
    parties = [
        context.Process(target=process, args=(i, sets[i], boxes[i], boxes[1 - i], ends[i][1]), daemon=True)
        for i in range(2)
    ]
    for party in parties:
        party.start()
    for near, _ in ends:
        near.recv()
    start = perf_counter()
    for near, _ in ends:
        near.send("go")
    found = {near.recv() for near, _ in ends}
    spent = perf_counter() - start
    for near, _ in ends:
        near.send("end")
    for party in parties:
        party.join()
    assert found == {len(sets[0]) - len(sets[0]) // 2}, found
    return spent


def ed25519(sets: tuple[Ids, Ids]) -> int:
    """The same operations on ed25519: hash to the group and raise, raise the other's, intersect."""
    from hashlib import sha256

    keys = [bindings.crypto_core_ed25519_scalar_reduce(bytes([i + 1]) * 64) for i in range(2)]
    to_curve, power = bindings.crypto_core_ed25519_from_uniform, bindings.crypto_scalarmult_ed25519_noclamp
    blinded = [[power(key, to_curve(sha256(i).digest())) for i in items] for key, items in zip(keys, sets, strict=True)]
    for points in blinded:
        assert all(map(bindings.crypto_core_ed25519_is_valid_point, points[:1]))
    tags = [{power(keys[1 - i], point)[:16] for point in blinded[i]} for i in range(2)]
    return len(tags[0] & tags[1])


def openmined() -> Callable[[tuple[Ids, Ids]], dict[str, float]] | str:
    """openmined-psi's steps with their seconds, or why there is none."""
    try:
        import private_set_intersection.python as psi
    except ImportError as error:
        return f"openmined-psi is not installed ({error}): pip install 'p2pfl-node[bench]'"

    def steps(sets: tuple[Ids, Ids]) -> dict[str, float]:
        first, second = ([i.decode() for i in items] for items in sets)
        client, server = psi.client.CreateWithNewKey(True), psi.server.CreateWithNewKey(True)
        marks = [perf_counter()]
        setup = server.CreateSetupMessage(OPENMINED_ERROR_RATE, len(first), second, psi.DataStructure.RAW)
        marks.append(perf_counter())
        request = client.CreateRequest(first)
        marks.append(perf_counter())
        response = server.ProcessRequest(request)
        marks.append(perf_counter())
        common = client.GetIntersection(setup, response)
        marks.append(perf_counter())
        assert len(common) == len(first) - len(first) // 2
        names = ("setup", "request", "process", "intersect")
        return {name: b - a for name, a, b in zip(names, marks, marks[1:], strict=False)}

    return steps


def two_cores(steps: dict[str, float]) -> float:
    """openmined-psi with client and server on a core each."""
    return max(steps["setup"], steps["request"]) + steps["process"] + steps["intersect"]


def main() -> None:
    args = parse_args(__doc__)
    n, repeats = (4000, 3) if args.quick else (20_000, 3)
    sets, other = ids_of(n), openmined()
    sides: dict[str, Callable[[], object]] = {"p2pfl": lambda: ours(sets), "ed25519": lambda: ed25519(sets)}
    steps: list[dict[str, float]] = []
    if isinstance(other, str):
        print(f"skipped: {other}")
    else:
        sides["openmined-psi"] = lambda: steps.append(other(sets))
    seconds = race(sides, repeats)
    rows: list[Row] = [
        {"what": f"{name}, one core", "n": n, "seconds": s, "ids/s": n / s, "us/id": 1e6 * s / n}
        for name, s in seconds.items()
    ]
    pair = median(ours_on_two_cores(sets) for _ in range(repeats))
    rows.append({"what": "p2pfl, two cores", "n": n, "seconds": pair, "ids/s": n / pair, "us/id": 1e6 * pair / n})
    if steps:
        best = median(two_cores(s) for s in steps[1:])
        rows.append(
            {"what": "openmined-psi, two cores", "n": n, "seconds": best, "ids/s": n / best, "us/id": 1e6 * best / n}
        )
    small, large = ids_of(n // 2), ids_of(2 * n)
    growth = race({"n": lambda: ours(small), "4 n": lambda: ours(large)}, repeats, warmup=0)
    rows += [
        {
            "what": f"p2pfl, one core, {name}",
            "n": size,
            "seconds": growth[name],
            "ids/s": size / growth[name],
            "us/id": 1e6 * growth[name] / size,
        }
        for name, size in (("n", n // 2), ("4 n", 2 * n))
    ]
    table(rows)
    if steps:
        bar("ids/s per core, of openmined-psi", seconds["openmined-psi"] / seconds["p2pfl"], OPENMINED)
        bar("ids/s with a core for each party, of openmined-psi", best / pair, OPENMINED_TWO)
    bar("ids/s per core, of ed25519", seconds["ed25519"] / seconds["p2pfl"], ED25519)
    bar("time per id at 4 n, of that at n", growth["4 n"] / growth["n"] / 4, LINEAR, at_least=False)
    write_json(args, rows)


if __name__ == "__main__":
    main()
