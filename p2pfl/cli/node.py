"""`p2pfl node`: this machine's node, until its rounds are done or it is asked to stop."""

from pathlib import Path
from typing import Any

import click

from p2pfl.cli.show import json_option, print_json, print_table
from p2pfl.config import load_node
from p2pfl.core.party import Emit
from p2pfl.errors import ConfigError

LOUD = {"resumed", "absent", "unreachable", "late", "lost", "refused", "refused_by", "rejected", "failed", "epoch"}
LOUD |= {"cell_failed", "blamed"}
LOUD |= {"ledger.recovering", "ledger.resumed", "requested", "request.refused"}


@click.command()
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=Path("node.toml"),
    show_default=True,
    help="The node's document.",
)
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of node.toml (repeatable)."
)
@click.option("--out", type=click.Path(path_type=Path), help="The run folder, instead of node.toml's `out`.")
@click.option("--resume", is_flag=True, help="Go on with the run that the folder holds, or begin one.")
@click.option("--device", help="Where to train: cpu, cuda, cuda:1; the first GPU if there is one.")
@click.option("--quiet", is_flag=True, help="No progress, only the result.")
@json_option
def node(
    config_path: Path,
    overrides: tuple[str, ...],
    out: Path | None,
    resume: bool,
    device: str | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Start this machine's node.

    It trains on this machine's data, exchanges with its neighbours, and ends when all are done. Ctrl-C stops it
    cleanly (start it again with --resume), twice at once.
    """
    if out is not None:
        overrides = (*overrides, f"out={_quoted(out.absolute())}")
    config = load_node(config_path, overrides)

    from p2pfl.cli.live import LiveTable
    from p2pfl.hosts.memory import keep_memory
    from p2pfl.runs.outcome import Outcome
    from p2pfl.runs.serve import run_node

    keep_memory()
    shown = Outcome(config.name, 0)
    with LiveTable([shown], f"{config.name} of {config.network.name}", quiet or as_json) as live:

        def on_emit(outcome: Outcome, emit: Emit) -> None:
            vars(shown).update(vars(outcome))
            if emit.name in LOUD and not quiet:
                live.say(_line(config.name, emit))

        def on_listening(port: int) -> None:
            if not quiet:
                live.say(f"{config.name}: listening on {config.address[0]}:{port}, writing to {config.out}")

        stop, summary = run_node(config, resume=resume, device=device, on_emit=on_emit, on_listening=on_listening)
    if stop.code == 2:
        raise ConfigError(f"{config.name} stopped: {stop.reason}")
    _report(summary, as_json)
    return stop.code


def _report(summary: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(summary)
        return
    names = ("name", "round", "rounds", "accuracy", "exchanges", "bytes_sent", "bytes_received", "seconds", "stopped")
    print_table(("what", "value"), [(name, _cell(summary.get(name))) for name in names])


def _cell(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _line(name: str, emit: Emit) -> str:
    return f"{name}: {emit.name.replace('_', ' ')}: " + ", ".join(f"{k} {v}" for k, v in emit.fields.items())


def _quoted(path: Path) -> str:
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
