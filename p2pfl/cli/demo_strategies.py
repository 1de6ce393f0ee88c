"""`p2pfl demo --strategies`: nodes that behave in different ways as real processes, what each has in the end, and why.
Knows documents and stores; starts no process."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from p2pfl.cli.show import print_table
from p2pfl.config import load_network
from p2pfl.config.documents import dump_toml

RULE = "score"
WINDOW = 8
"""Heights: shorter, and a node may have no message that stands for its work of the first window, which gains most."""
PAYING = (
    "valuation.on=true",
    'valuation.split="test"',
    "ledger.interval_s=0.5",
    "data.partition.alpha=100.0",
)
"""What --strategies means besides, before --set: short blocks, data that are alike, and the common test set for
evaluators, since a demo's shares are too small to keep examples that tell much."""


def prepare(home: Path, names: Sequence[str], overrides: Sequence[str]) -> None:
    """The trial network's genesis pays by score from now on, and each node document says how its node behaves."""
    from p2pfl.config.identity import load_genesis

    path = home / "genesis.toml"
    path.write_text(replace(load_genesis(path), rule=RULE, window=WINDOW, parameters=()).to_toml(), "utf-8")
    config = load_network(home / "network.toml", (*PAYING, *overrides))
    (home / "network.toml").write_text(dump_toml(config), "utf-8")
    nodes = [entry.name for entry in config.nodes]
    for node, name in zip(nodes, names, strict=True):
        friends = [other for other, of in zip(nodes, names, strict=True) if of == name and other != node]
        said = f'strategy = "{name}"\nfriends = {friends!r}\n'.replace("'", '"')
        document = home / "nodes" / node / "node.toml"
        document.write_text(document.read_text("utf-8").replace("format = 1\n", f"format = 1\n{said}", 1), "utf-8")


def what_they_earned(home: Path, names: Sequence[str]) -> list[dict[str, Any]]:
    """Credits by node, as the ledger of the first node has them, and why: by the window that paid most of all."""
    from p2pfl.ledger.check.explain import explain, replay
    from p2pfl.ledger.check.source import FileSource, View
    from p2pfl.ledger.stores.reader import open_reader

    config = load_network(home / "network.toml")
    rows: list[dict[str, Any]] = []
    with open_reader(home / "nodes" / config.nodes[0].name / "run" / "node.db") as reader:
        view = View(FileSource(reader))
        state, windows = None, dict[int, int]()
        for played in replay(view):
            state = played.outcome.state
            settlement = played.outcome.settlement
            if settlement is not None and settlement.window.scores:
                windows[settlement.window.number] = sum(settlement.payouts.values())
        for entry, name in zip(config.nodes, names, strict=True):
            lines = explain(view, entry.key, max(windows, key=lambda number: windows[number], default=None)).lines
            credits = state.number("balance", entry.key) if state is not None else 0
            rows.append({"name": entry.name, "strategy": name, "credits": credits, "why": list(lines)})
    return rows


def what_it_took(home: Path) -> dict[str, float]:
    """What valuing cost, all nodes together: bytes as a part of those of learning, seconds of judging of the run's."""
    config = load_network(home / "network.toml")
    said = [json.loads((home / "nodes" / entry.name / "run" / "summary.json").read_text()) for entry in config.nodes]
    told = [(summary["valuation"] or {}, summary) for summary in said]
    shown = sum(valuation.get("valuation_bytes", 0) for valuation, _ in told)
    judged = sum(valuation.get("valuation_s", 0.0) for valuation, _ in told)
    bodies, seconds = (sum(summary[name] for _, summary in told) for name in ("body_bytes_sent", "seconds"))
    return {"bytes": shown / max(bodies - shown, 1), "seconds": judged / max(seconds, 1e-9)}


def print_earned(rows: Sequence[Mapping[str, Any]], took: Mapping[str, float]) -> None:
    """Balances, what valuing cost, and for those who are not honest why the window that paid most paid them so."""
    click.echo()
    table = [(row["name"], row["strategy"], row["credits"]) for row in sorted(rows, key=lambda row: -row["credits"])]
    print_table(("node", "strategy", "credits"), table)
    click.echo(f"\nvaluing took {took['bytes']:.1%} of the bytes of learning, and {took['seconds']:.1%} of the time")
    for row in rows:
        if row["strategy"] != "honest":
            click.echo(f"\n{row['name']} ({row['strategy']}), in the window that paid most:")
            for line in row["why"]:
                click.echo(f"  {line}")
