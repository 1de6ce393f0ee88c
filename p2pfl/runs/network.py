"""What a whole network's run came to. Knows outcomes, stores and baselines; knows no terminal."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

from p2pfl.core.party import Put, Store
from p2pfl.ledger.check.verify import verify_store
from p2pfl.ledger.finality.journal import FINAL, final_key, parse_decided
from p2pfl.ledger.stores.reader import open_reader
from p2pfl.ledger.stores.sqlite import SqliteStore
from p2pfl.runs.baselines import Baselines
from p2pfl.runs.folder import METRICS, STORE, RunFolder
from p2pfl.runs.outcome import Outcome
from p2pfl.runs.personal import personal_report, write_copy
from p2pfl.runs.privacy import privacy_report
from p2pfl.runs.similarity import similarity_report, write_picture
from p2pfl.runs.simulate import Simulation


def network_summary(
    outcomes: Iterable[Outcome], compared: Baselines | None, ids: Mapping[str, str], stores: Iterable[Store]
) -> dict[str, Any]:
    """The summary of a simulated network; its stores are verified through copies."""
    rows = [outcome.summary() for outcome in outcomes]
    kept = list(stores)
    verified = all(_verified(store) for store in kept)
    summary = summarise(rows, compared, references_agree(rows, ids), verified, ids)
    return summary | ledger_agreement([store.load().get(FINAL, {}) for store in kept])


def ledger_agreement(finals: Sequence[Mapping[bytes, bytes]]) -> dict[str, Any]:
    """How far the ledger is final on every node, and whether all have the same blocks up to there.

    `finals` is the space "final" of each store. Both are None if no node has a ledger.
    """
    if not any(finals):
        return {"ledger_final_height": None, "ledger_agrees": None}
    height = min(len(rows) for rows in finals)
    keys = [final_key(number) for number in range(1, height + 1)]
    prefixes = [tuple(parse_decided(rows[key]).block.hash for key in keys if key in rows) for rows in finals]
    agrees = all(len(prefix) == height and prefix == prefixes[0] for prefix in prefixes)
    return {"ledger_final_height": height, "ledger_agrees": agrees}


def finals_in(path: Path) -> dict[bytes, bytes]:
    """The space "final" of a store that nobody writes."""
    with open_reader(path) as reader:
        cells = [(cell.key, cell.value) for cell in reader.cells(FINAL)]
    return {key: value for key, value in cells if isinstance(key, bytes) and isinstance(value, bytes)}


def summarise(
    rows: list[dict[str, Any]],
    compared: Baselines | None,
    agree: bool,
    feeds_verified: bool | None,
    ids: Mapping[str, str],
) -> dict[str, Any]:
    """One object with what `p2pfl demo --json` and `p2pfl sim --json` print. feeds_verified: None without feeds. ids:
    name -> public key in hex."""
    accuracies = [row["accuracy"] for row in rows if row["accuracy"] is not None]
    sent = [row.get("bytes_sent", 0) for row in rows]
    full = [row["bytes_full_precision"] for row in rows]
    rounds = max((row["rounds"] for row in rows), default=0)
    seconds = max((row["seconds"] for row in rows), default=0.0)
    return {
        "nodes": len(rows),
        "rounds": rounds,
        "accuracy_mean": fmean(accuracies) if accuracies else None,
        "accuracy_min": min(accuracies) if accuracies else None,
        "accuracy_alone_mean": compared.alone_mean if compared else None,
        "accuracy_centralised": compared.centralised if compared else None,
        "bytes_sent_per_node": round(fmean(sent)) if sent else 0,
        "bytes_ratio_full_precision": round(sum(full) / sum(sent), 2) if sum(sent) else None,
        "seconds_per_round": round(seconds / rounds, 5) if rounds else None,
        "references_agree": agree,
        "feeds_verified": feeds_verified,
        "ledger_final_height": None,  # a ledger is looked at where its stores are: ledger_agreement
        "ledger_agrees": None,
        "privacy": privacy_report(rows),
        "personal": personal_report(rows),
        "similarity": similarity_report(rows, ids),
        "failures": {row["name"]: row["failure"] for row in rows if row["failure"]},
        "per_node": rows,
    }


def references_agree(rows: Iterable[Mapping[str, Any]], ids: Mapping[str, str]) -> bool:
    """Whether both ends of every edge hold the same reference at the same position. ids: name -> public key in hex."""
    held: dict[frozenset[str], set[tuple[Any, ...]]] = {}
    for row in rows:
        for edge in row["edges"]:
            ends = frozenset((ids[row["name"]], edge["peer"]))
            held.setdefault(ends, set()).add((edge["epoch"], edge["seq"], edge["digest"]))
    return all(len(states) == 1 for states in held.values())


def write_simulation(folder: RunFolder, simulation: Simulation, summary: dict[str, Any]) -> None:
    """The run folder of a simulated network: one folder per node with its store and model, and the summary."""
    folder.write_config(simulation.shared.config)
    for name, node in simulation.nodes.items():
        own = RunFolder.open(folder / name, resume=True)
        store = SqliteStore(own / STORE)
        store.commit(_contents(simulation.host.store(simulation.shared.ids[name])))
        store.close()
        shared, local = simulation.shared.of(name), node.job.local
        recipe = node.job.plan.recipe.digest
        own.write_model(shared.tensors(local.x, local.opt.slots), recipe, local.round)
        write_copy(own, node.job.copy, shared, local.round)
        own.write_config(shared.config)
        own.write_summary(simulation.outcomes[name].summary())
    with (folder / METRICS).open("w") as file:
        for row in summary["per_node"]:
            file.write(json.dumps(row) + "\n")
    write_picture(folder, summary["similarity"])
    folder.write_summary(summary)


def _contents(store: Store) -> list[Put]:
    return [Put(space, key, value) for space, rows in store.load().items() for key, value in rows.items()]


def _verified(store: Store) -> bool:
    """Verify a store that is not a file through a file that holds the same."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / STORE
        copy = SqliteStore(path)
        copy.commit(_contents(store))
        copy.close()
        return verify_store(path).ok
