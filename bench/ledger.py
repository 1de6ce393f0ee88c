"""The ledger against bare SQLite, bare Ed25519, pymerkle, and the cost of its own messages. Ratios, side by side.

Bars: append with group commit >= 0.5x of bare SQLite at the same durability; verifying a store of entries <= 1.5x of
verifying as many bare signatures; Merkle append and proofs >= 3x pymerkle (needs the extra `bench`); finality of 4
validators <= 15 signed and journalled round trips; of 16 <= 2x the cost of their own messages and verifications;
training with rounds of a second and more, finality on against off, <= 1.05x.
"""

import sqlite3
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from cluster import Cluster, open_message
from harness import Row, bar, parse_args, race, table, write_json
from nacl.signing import VerifyKey
from training import compare

from p2pfl.core.party import Put
from p2pfl.ledger.blocks.cut import head_of
from p2pfl.ledger.blocks.genesis import Genesis
from p2pfl.ledger.blocks.merkle import (
    Range,
    leaf_hash,
    prove_consistency,
    prove_inclusion,
    verify_consistency,
    verify_inclusion,
)
from p2pfl.ledger.blocks.rule import Kind
from p2pfl.ledger.blocks.votes import certify, sign_vote
from p2pfl.ledger.check.verify import verify_store
from p2pfl.ledger.feeds.entry import DOMAIN, Entry
from p2pfl.ledger.feeds.feed import Feed, append
from p2pfl.ledger.feeds.kinds import ACCEPTED, FORMAT, Opening, Receipt, Reveal
from p2pfl.ledger.feeds.records import put_entry
from p2pfl.ledger.finality.forge import Forge, Terms
from p2pfl.ledger.finality.journal import Journal
from p2pfl.ledger.finality.talk import Status
from p2pfl.ledger.finality.tip import Tip, first_puts
from p2pfl.ledger.outcome.contract import Accounts
from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.ledger.stores.sqlite import SqliteStore
from p2pfl.wire.envelope import seal
from p2pfl.wire.keyfile import Signer

GROUP = 64
"""Entries that wait for one flush of the disk."""

AUTHORS = 50
PER_WINDOW = 3
"""Entries per author and window: what was sent, what was received, the model's digest. Each names two neighbours."""


def story(num_entries: int, net: bytes) -> list[Entry]:
    """The feeds of a ring of nodes, as many entries as asked for."""
    signers = [Signer(i.to_bytes(2, "big") * 16) for i in range(1, AUTHORS + 1)]
    entries: list[Entry] = []
    feeds = []
    for signer in signers:
        feed, entry = append(Feed(net, signer.node), signer, 0, "feed.open", Opening(FORMAT, bytes(32)))
        feeds.append(feed)
        entries.append(entry)
    digest = b"\xd1" * 32
    for window in range(num_entries // (AUTHORS * PER_WINDOW) + 1):
        for i, signer in enumerate(signers):
            peers = [signers[i - 1].node, signers[(i + 1) % AUTHORS].node]
            sent = [Reveal(peer, 0, window, digest, 70_000, "int8") for peer in peers]
            count = window + 1
            took = [Receipt(peer, 0, window, digest, 70_000, ACCEPTED, count, 70_000 * count) for peer in peers]
            for kind, payload in (("delta.reveal", sent), ("receipts", took), ("model", [digest, 0])):
                feeds[i], entry = append(feeds[i], signer, window, kind, payload)
                entries.append(entry)
    return entries[:num_entries]


# ------------------------------------------------------------------------------------------------- append


def bench_append(entries: Sequence[Entry], folder: Path, repeats: int) -> Row:
    """Entries in groups: one commit, one flush for each group on both sides."""
    groups = [entries[at : at + GROUP] for at in range(0, len(entries), GROUP)]
    runs = iter(range(1_000_000))

    def ours() -> None:
        store = SqliteStore(folder / f"ours{next(runs)}.db")
        for group in groups:
            store.commit_many([put_entry(entry)] for entry in group)
        store.close()

    def bare() -> None:
        db = sqlite3.connect(folder / f"bare{next(runs)}.db", isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(
            "CREATE TABLE entry(author, incarnation, seq, id UNIQUE, raw, PRIMARY KEY(author, incarnation, seq))"
        )
        for group in groups:
            db.execute("BEGIN")
            db.executemany(
                "INSERT INTO entry VALUES (?, ?, ?, ?, ?)",
                [(e.author, e.incarnation, e.seq, e.id, e.raw) for e in group],
            )
            db.execute("COMMIT")
        db.close()

    times = race({"ours": ours, "bare": bare}, repeats)
    ratio = times["bare"] / times["ours"]
    per_s = len(entries) / times["ours"]
    return {"what": f"append {len(entries)} entries, groups of {GROUP}", "ours per s": per_s, "ratio": ratio}


# ------------------------------------------------------------------------------------------------- verify


def bare_signatures(entries: Sequence[Entry]) -> None:
    for e in entries:
        VerifyKey(e.author).verify(DOMAIN + e.body, e.signature)


def bench_verify(entries: Sequence[Entry], folder: Path, repeats: int) -> Row:
    path = folder / "feeds.db"
    store = SqliteStore(path)
    store.commit([put_entry(entry) for entry in entries])
    store.close()

    def ours() -> None:
        assert verify_store(path).ok

    times = race({"ours": ours, "bare": lambda: bare_signatures(entries)}, repeats)
    return {
        "what": f"verify a store of {len(entries)} entries",
        "ours per s": len(entries) / times["ours"],
        "ratio": times["ours"] / times["bare"],
    }


def bench_audit(entries: Sequence[Entry], genesis: Genesis, folder: Path, repeats: int) -> Row:
    """The same entries as a finalized ledger: blocks, certificate, tree and state again too."""
    path = final_store(entries, genesis, folder / "final.db")

    def ours() -> None:
        assert verify_store(path).ok

    times = race({"ours": ours, "bare": lambda: bare_signatures(entries)}, repeats)
    return {
        "what": f"verify a final ledger of {len(entries)} entries",
        "ours per s": len(entries) / times["ours"],
        "ratio": times["ours"] / times["bare"],
    }


def bench_terms() -> tuple[Genesis, Signer]:
    """A network of one validator, which certifies what is put before it."""
    signer = Signer(b"\0\1" * 16)
    return Genesis("bench", (signer.node,), (signer.node,), window=4, epoch=1000), signer


def final_store(entries: Sequence[Entry], genesis: Genesis, path: Path) -> Path:
    signer = bench_terms()[1]
    accounts = Accounts(genesis)
    terms = Terms(genesis.digest, genesis.epoch, accounts)
    forge, node = Forge(terms, None), terms.genesis()  # type: ignore[arg-type]  # the book is not asked
    tip, journal = Tip(genesis.digest, accounts.first_state()), Journal()
    store = SqliteStore(path)
    store.commit(first_puts(genesis.to_toml(), tip.state))
    for at in range(0, len(entries), AUTHORS * PER_WINDOW):
        some = sorted(entries[at : at + AUTHORS * PER_WINDOW], key=lambda e: (e.author, e.incarnation, e.seq))
        cut = {(e.author, e.incarnation): head_of(e) for e in some}
        node = forge._run(node, node.view + 1, node.time_ms + 1000, sorted(cut.values()), (), some)
        assert node.block is not None
        epoch = terms.epoch_of(node.height)
        vote = sign_vote(signer, genesis.digest, Kind.FINALIZE, epoch, node.view, node.hash)
        certificate = certify([vote], forge.voters(node))
        tip, puts = tip.record(node.block.header, node.entries, node.execution.state)
        store.commit([*map(put_entry, some), *journal.final(node.block, certificate, epoch, node.view), *puts])
    store.close()
    return path


# ------------------------------------------------------------------------------------------------- Merkle


def bench_merkle(num_leaves: int, repeats: int) -> list[Row]:
    """Leaves in groups, then proofs made and checked, on both sides from raw leaves."""
    try:
        import pymerkle
    except ImportError:
        print("pymerkle is not here: pip install 'p2pfl-node[bench]'; its bars are left out")
        return []
    leaves = [i.to_bytes(8, "big") * 32 for i in range(num_leaves)]
    nodes: dict[tuple[int, int], bytes] = {}

    def ours() -> Range:
        tree = Range()
        for at in range(0, num_leaves, GROUP):
            tree, new = tree.extend(leaf_hash(leaf) for leaf in leaves[at : at + GROUP])
            nodes.update(((level, number), hash_) for level, number, hash_ in new)
        return tree

    def theirs() -> Any:
        tree = pymerkle.InmemoryTree(algorithm="sha256")
        for at in range(0, num_leaves, GROUP):
            tree.append_entries(leaves[at : at + GROUP])
        return tree

    root, other = ours().root(), theirs()
    assert root == other.get_root(), "two trees"
    rows: list[Row] = []

    def compare(what: str, mine: Any, his: Any, count: int, times: int = 1) -> None:
        """`times` as often: a proof is over before a busy moment is."""
        found = race({"ours": mine, "pymerkle": his}, repeats * times)
        ratio = found["pymerkle"] / found["ours"]
        rows.append({"what": what, "ours per s": count / found["ours"], "ratio": ratio})

    compare(f"Merkle: append {num_leaves}", ours, theirs, num_leaves)
    often = 3
    step, size = max(often * repeats + 2, num_leaves // 2_000), num_leaves
    rounds = {name: iter(range(step)) for name in ("a", "b", "c", "d")}

    def picks(name: str) -> range:
        """Other leaves in each repeat: a proof is asked for once."""
        return range(1 + next(rounds[name]), num_leaves, step)

    def fetch(level: int, number: int) -> bytes:
        return nodes[level, number]

    def our_inclusion() -> None:
        for i in picks("a"):
            proof = prove_inclusion(fetch, i, size)
            assert verify_inclusion(leaf_hash(leaves[i]), i, size, proof, root)

    def his_inclusion() -> None:
        for i in picks("b"):
            pymerkle.verify_inclusion(other.get_leaf(i + 1), root, other.prove_inclusion(i + 1, size))

    roots = {}
    tree = Range()
    for i, leaf in enumerate(leaves):
        roots[i] = tree.root()
        tree = tree.append(leaf_hash(leaf))[0]

    def our_consistency() -> None:
        for i in picks("c"):
            assert verify_consistency(i, size, prove_consistency(fetch, i, size), roots[i], root)

    def his_consistency() -> None:
        for i in picks("d"):
            pymerkle.verify_consistency(roots[i], root, other.prove_consistency(i, size))

    compare("Merkle: inclusion, made and checked", our_inclusion, his_inclusion, size // step, often)
    compare("Merkle: consistency, made and checked", our_consistency, his_consistency, size // step, often)
    return rows


# ------------------------------------------------------------------------------------------------- finality


def bench_latency(folder: Path, heights: int) -> Row:
    """From one node's new entry to its finality on all four, in round trips: signed, journalled, opened, answered.

    All four share this process, so their work adds up here as it would not on four machines.
    """
    cluster = Cluster(4, lambda i: SqliteStore(folder / f"four{i}.db"))
    finals, trips = [], []
    for height in range(heights):
        start, goal = perf_counter(), cluster.height + 1
        cluster.write(height % 4, "model", [bytes(32), 0])
        cluster.run(lambda goal=goal: cluster.height >= goal)  # type: ignore[misc]
        assert cluster.height >= goal, "not final"
        finals.append(perf_counter() - start)
        cluster.run()
        trips.append(median(round_trip(cluster, 3 * height + again) for again in range(3)))
    for store in cluster.stores:
        store.close()
    ratio = median(final / trip for final, trip in zip(finals, trips, strict=True))
    return {"what": "finality of 4 validators, in round trips", "ours per s": heights / sum(finals), "ratio": ratio}


def round_trip(cluster: Cluster, number: int) -> float:
    """Seconds of one question and its answer: each side writes down what it says, signs it, and opens the other's."""
    start = perf_counter()
    word = Status(0, number, 0, 0, (b"", b"", b"")).raw
    for i in (0, 1):
        cluster.stores[i].commit([Put("trip", number.to_bytes(8, "big"), word)])
        parts = seal(cluster.signers[i], cluster.net, "ledger", [], (word,))
        open_message(b"".join(bytes(part) for part in parts))
    return perf_counter() - start


def bench_work(heights: int) -> Row:
    """All work of 16 validators for a height, against sealing, opening and verifying the same messages alone."""
    cluster = Cluster(16, lambda i: MemoryStore())
    ratios, spent = [], 0.0
    for height in range(heights):
        cluster.tape.__init__()  # type: ignore[misc]
        start, goal = perf_counter(), cluster.height + 1
        cluster.write(height % 16, "model", [bytes(32), 0])
        cluster.run()
        assert cluster.height >= goal, "not final"
        middle = perf_counter()
        cluster.tape.repeat(cluster.net)
        ratios.append((middle - start) / (perf_counter() - middle))
        spent += middle - start
    return {
        "what": "finality of 16 validators, all work",
        "ours per s": heights / spent,
        "ratio": sorted(ratios)[heights // 2],
    }


def bench_training(folder: Path, nodes: int, rounds: int, turns: int) -> Row:
    """Processes that learn over HTTP, with a ledger and without, side by side: seconds a round."""
    ratio, on, off = compare(folder, nodes, rounds, turns)
    what = f"training of {nodes} nodes, {off.round_s:.2f} s a round; {on.height} heights in {rounds} rounds"
    return {"what": what, "ours per s": 1 / on.round_s, "ratio": ratio}


def main() -> None:
    args = parse_args(__doc__)
    num, repeats = (10_000, 3) if args.quick else (100_000, 3)
    genesis, _ = bench_terms()
    entries = story(num, genesis.digest)
    scratch = Path("build")  # on the checkout's disk: in memory a flush costs nothing, and nothing is measured
    scratch.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as name:
        folder = Path(name)
        rows = [
            bench_append(entries[: 3_200 if args.quick else 32_000], folder, repeats + 4),
            bench_verify(entries, folder, repeats),
            bench_audit(entries, genesis, folder, repeats),
            *bench_merkle(max(num, 30_000), repeats + 4),
            bench_latency(folder, 15 if args.quick else 41),
            bench_work(3 if args.quick else 9),
            bench_training(folder / "training", 2, *((5, 2) if args.quick else (20, 5))),
        ]
    table(rows)
    ratios = {str(row["what"]): float(row["ratio"] or 0.0) for row in rows}
    merkle = [ratio for what, ratio in ratios.items() if what.startswith("Merkle")]
    values = list(ratios.values())
    bar("append with group commit, of bare SQLite", values[0], 0.5)
    bar(f"verifying {num} entries, of bare Ed25519", values[1], 1.5, at_least=False)
    if merkle:
        bar("Merkle append and proofs, of pymerkle", min(merkle), 3.0)
    bar("finality of 4 validators, in round trips", values[-3], 15.0, at_least=False)
    bar("finality of 16 validators, of its messages and verifications", values[-2], 2.0, at_least=False)
    bar("training with finality, of the same without", values[-1], 1.05, at_least=False)
    write_json(args, rows)


if __name__ == "__main__":
    main()
