"""`p2pfl vertical demo`: parties as processes on this machine align, train and predict, and are compared."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from p2pfl.cli.show import json_option, print_json, print_table
from p2pfl.cli.vertical_init import trial_options

if TYPE_CHECKING:
    from p2pfl.runs.vertical_demo import PartyProcess
    from p2pfl.runs.vertical_trial import Trial


@click.command()
@click.option("--parties", type=click.IntRange(2, 5), help="How many with data.  [default: 3; 2 of a transfer]")
@click.option("--epochs", type=click.IntRange(1, 1000), default=8, show_default=True, help="Passes over the rows.")
@trial_options
@click.option("--out", type=click.Path(path_type=Path), help="Keep everything in this folder (else it is thrown away).")
@click.option("--quiet", is_flag=True, help="No progress, only the result.")
@json_option
def demo(
    parties: int | None,
    epochs: int,
    kind: Literal["split", "logistic", "transfer"],
    level: str,
    key_holder: bool,
    out: Path | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Let parties with different columns of the same patients train one model.

    Each party is a process of its own with its own table; they align, train and predict over HTTP on loopback. At the
    end: AUC of each party alone, of the parties joined, of one central net, and what the training gave away. With
    `--kind transfer` the clinic teaches the lab, which has no labels and few of its patients.
    """
    from p2pfl.runs.vertical_trial import Trial

    home = out if out is not None else Path(tempfile.mkdtemp(prefix="p2pfl-vertical-"))
    try:
        trial = Trial(epochs, kind, int(level), key_holder)
        usual = 2 if kind == "transfer" else 3
        found = _demo(home, usual if parties is None else parties, trial, quiet or as_json)
    finally:
        if out is None:
            shutil.rmtree(home, ignore_errors=True)
    if as_json:
        print_json(found)
    else:
        _print(found, out)
    return 1 if found["failures"] else 0


def _demo(home: Path, parties: int, trial: "Trial", quiet: bool) -> dict[str, Any]:
    import torch

    from p2pfl.runs.local import free_ports
    from p2pfl.runs.vertical_demo import compare, summary_of
    from p2pfl.runs.vertical_trial import NEW_TABLE, write_vertical_trial

    torch.set_num_threads(1)
    documents = write_vertical_trial(home, free_ports(parties + trial.key_holder), trial)
    failures = _together(documents, "train", "run", [() for _ in documents], quiet)
    if failures:
        return {"failures": failures}
    holders = documents[:parties]
    asked = documents if trial.level else holders
    news = [("--table", str(document.with_name(NEW_TABLE))) if document in holders else () for document in asked]
    failures = _together(asked, "predict", "run-predict", news, quiet)
    compared = compare(holders)
    trained = {document.parent.name: summary_of(document, "run") for document in holders}
    holder = documents[0].parent.name
    return {
        "failures": failures,
        "rows_common": trained[holder].get("rows_common"),
        "rows_own": {name: row.get("rows_own") for name, row in trained.items()},
        "auc_alone": compared.alone,
        "auc_joined": trained[holder].get("auc"),
        "auc_central": compared.central,
        "kind": trial.kind,
        "auc_source": trained[holder].get("source_auc"),
        "label_epsilon": trained[holder].get("label_epsilon"),
        "delta": trained[holder].get("delta"),
        "label_leak": trained[holder].get("label_leak"),
        "predicted": summary_of(documents[0], "run-predict"),
        "per_party": trained,
    }


def _together(
    documents: Sequence[Path], command: str, folder: str, arguments: Sequence[tuple[str, ...]], quiet: bool
) -> dict[str, str]:
    """One process for each party, to the end; who failed and why."""
    from p2pfl.cli.vertical_live import Progress
    from p2pfl.runs.local import run_processes
    from p2pfl.runs.vertical_demo import LIMIT_S, party_process

    processes: list[PartyProcess] = []
    shown = []
    for document, words in zip(documents, arguments, strict=True):
        process = party_process(document, command, document.parent / folder, *words)
        shown.append(Progress(document.parent.name, quiet, brief=bool(processes)))
        process.listener = shown[-1].take
        processes.append(process)
    shown[0].say(f"{command}: {len(documents)} processes over HTTP on loopback, each with its own table only")
    try:
        run_processes(processes, lambda: None, LIMIT_S)
    finally:
        for progress in shown:
            progress.close()
    return {p.document.parent.name: why for p in processes if (why := p.why()) is not None}


def _print(found: dict[str, Any], out: Path | None) -> None:
    for name, why in found["failures"].items():
        click.echo(f"{name}: {why}", err=True)
    if "auc_joined" not in found:
        return
    own = ", ".join(f"{name} {count}" for name, count in found["rows_own"].items())
    click.echo(f"aligned: {found['rows_common']} people in common ({own})\n")
    rows = [(f"{name} alone", auc) for name, auc in found["auc_alone"].items()]
    if found["kind"] == "transfer":
        rows = [("target alone, if it had the labels", list(found["auc_alone"].values())[1])]
        rows += [("target, taught over HTTP", found["auc_joined"]), ("source alone", found["auc_source"])]
    else:
        rows += [("joined, over HTTP", found["auc_joined"]), ("central, all columns", found["auc_central"])]
    print_table(("on the rows held out", "AUC"), [(name, f"{auc:.4f}") for name, auc in rows])
    predicted = found["predicted"]
    if predicted.get("auc") is not None and found["kind"] != "transfer":
        click.echo(f"\npredicted {predicted['rows_common']} new people: AUC {predicted['auc']:.4f}")
    leaks = {name: leak for name, leak in (found["label_leak"] or {}).items() if leak is not None}
    worst = max((leak["worst_auc"] for leak in leaks.values()), default=None)
    if worst is not None:
        click.echo(f"leak report: attacks on what was sent read labels at AUC {worst:.3f} (0.5: nothing)")
    for name, row in found["per_party"].items():
        if (leak := row.get("feature_leak")) is not None:
            click.echo(
                f"leak report: who knows {leak['known_rows']} rows of {name} reads {leak['column']!r} of all others "
                f"from embeddings with R2 {leak['r2']:.2f} (mean over columns {leak['mean_r2']:.2f})"
            )
    if found["label_epsilon"] is not None and worst is not None:
        click.echo(f"label epsilon {found['label_epsilon']:.2f} at delta {found['delta']:g}")
    if out is not None:
        click.echo(f"\nEverything is in {out}.")
