"""A network's result as tables for people. Knows the summary's keys only."""

from typing import Any

import click

from p2pfl.cli.live import bytes_text
from p2pfl.cli.show import print_table


def print_network(summary: dict[str, Any]) -> None:
    rows = [
        (
            row["name"],
            f"{row['round']}/{row['rounds']}",
            _percent(row["accuracy"]),
            row["exchanges"] if row["exchanges"] is not None else "",
            bytes_text(row.get("bytes_sent", 0)),
            bytes_text(row["bytes_full_precision"]),
            row["failure"] or "",
        )
        for row in summary["per_node"]
    ]
    print_table(("node", "rounds", "accuracy", "exchanges", "sent", "as float32", "failure"), rows)
    click.echo()
    ratio = summary["bytes_ratio_full_precision"]
    lines = [
        ("accuracy of a node alone (mean)", _percent(summary["accuracy_alone_mean"])),
        ("accuracy of the network (mean)", _percent(summary["accuracy_mean"])),
        ("accuracy of the network (worst node)", _percent(summary["accuracy_min"])),
        ("accuracy of centralised training", _percent(summary["accuracy_centralised"])),
        ("sent per node", bytes_text(summary["bytes_sent_per_node"])),
        ("the same exchanges in float32", f"{ratio:.1f} x as much" if ratio else "-"),
        ("seconds per round", "-" if summary["seconds_per_round"] is None else f"{summary['seconds_per_round']}"),
        ("references of both ends agree", _yes(summary["references_agree"])),
        ("feeds verified", _yes(summary["feeds_verified"])),
    ]
    if summary.get("ledger_final_height") is not None:
        lines.append(("ledger: final height on all nodes", str(summary["ledger_final_height"])))
        lines.append(("ledger: all nodes agree", _yes(summary["ledger_agrees"])))
        ledger = [row.get("ledger_bytes_sent") or 0 for row in summary["per_node"]]
        lines.append(("ledger: sent per node, beside the above", bytes_text(sum(ledger) / max(len(ledger), 1))))
    if summary.get("privacy"):
        lines += privacy_lines(summary["privacy"])
    if summary.get("similarity"):
        groups = summary["similarity"]["groups"]
        lines.append(("groups of like nodes", " + ".join(str(len(group)) for group in groups)))
    if summary.get("personal"):
        lines += personal_lines(summary["personal"])
    print_table(("result", ""), lines)
    for name, reason in summary["failures"].items():
        click.echo(f"{name} failed: {reason}")


def privacy_lines(privacy: dict[str, Any]) -> list[tuple[str, str]]:
    """What was promised to whom, and what it came to."""
    budget = "" if privacy["budget"] is None else f", of a budget of {privacy['budget']:g}"
    return [
        ("privacy: of", f"{privacy['unit']}, {privacy['adjacency']} adjacency"),
        ("privacy: epsilon", f"{privacy['epsilon']:.3g} at delta {privacy['delta']:g}{budget}"),
        ("privacy: noise", f"{privacy['noise']:.4g} over {privacy['releases']} releases at rate {privacy['rate']:g}"),
    ]


def personal_lines(personal: dict[str, Any]) -> list[tuple[str, str]]:
    """On a node's own distribution of labels, and on all; of its own copy beside the shared model."""
    return [
        ("own copies: accuracy on own labels (mean)", _percent(personal["own_accuracy"])),
        ("own copies: the same of the shared model", _percent(personal["shared_own_accuracy"])),
        ("own copies: accuracy on all labels (mean)", _percent(personal["accuracy"])),
        ("own copies: the same of the shared model", _percent(personal["shared_accuracy"])),
    ]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _yes(value: bool | None) -> str:
    return "-" if value is None else "yes" if value else "NO"
