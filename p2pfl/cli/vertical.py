"""`p2pfl vertical`: parties with different columns of the same people train one model. Thin; the work is in runs/."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from p2pfl.cli.show import json_option, print_json, print_table
from p2pfl.cli.vertical_demo import demo
from p2pfl.cli.vertical_init import init
from p2pfl.config.vertical import load_party
from p2pfl.errors import ConfigError

party_argument = click.argument("party", metavar="PARTY.toml", type=click.Path(path_type=Path))
resume_option = click.option("--resume", is_flag=True, help="Go on with what the folder holds, or begin.")
quiet_option = click.option("--quiet", is_flag=True, help="No progress, only the result.")
out_option = click.option("--out", type=click.Path(path_type=Path), help="The folder for this run.")


@click.group()
def vertical() -> None:
    """Train one model over columns that different parties hold of the same people.

    Every party runs the same command with its own document; the label holder is the first in the job's.
    """


vertical.add_command(init)
vertical.add_command(demo)


@vertical.command()
@party_argument
@resume_option
@quiet_option
@json_option
def align(party: Path, resume: bool, quiet: bool, as_json: bool) -> int:
    """Find the rows that all parties have, without showing who else is in a table.

    Writes common.csv into the party's folder. `train` goes on from there.
    """
    config = load_party(party)

    from p2pfl.runs.vertical_node import run_align

    return _run(config.name, quiet, as_json, lambda hooks: run_align(config, resume, hooks))


@vertical.command()
@party_argument
@resume_option
@quiet_option
@json_option
def train(party: Path, resume: bool, quiet: bool, as_json: bool) -> int:
    """Align if that is not done, and train the job's model.

    A party that was cut off goes on with --resume; the others wait for it meanwhile.
    """
    config = load_party(party)

    from p2pfl.runs.vertical_node import run_train

    return _run(config.name, quiet, as_json, lambda hooks: run_train(config, resume, hooks))


@vertical.command()
@party_argument
@click.option("--table", type=click.Path(path_type=Path), help="Rows to score, instead of those of the document.")
@out_option
@resume_option
@quiet_option
@json_option
def predict(party: Path, table: Path | None, out: Path | None, resume: bool, quiet: bool, as_json: bool) -> int:
    """Score the rows that all parties have, with the parts that were trained.

    The label holder gets predictions.csv; if its table has labels, metrics too.
    """
    config = load_party(party)

    from p2pfl.runs.vertical_node import run_predict

    folder = out or config.out.with_name(config.out.name + "-predict")
    return _run(config.name, quiet, as_json, lambda hooks: run_predict(config, table, folder, resume, hooks))


@vertical.command()
@party_argument
@click.option("--table", type=click.Path(path_type=Path), help="Rows to score, instead of those of the document.")
@click.option("--http", default="127.0.0.1:8080", show_default=True, help="Where the label holder is asked.")
@out_option
@resume_option
@quiet_option
@json_option
def serve(
    party: Path, table: Path | None, http: str, out: Path | None, resume: bool, quiet: bool, as_json: bool
) -> int:
    """Answer requests for scores until Ctrl-C.

    The label holder takes them at POST /v1/score with {"ids": [...]}; the other parties embed the rows it asks for.
    """
    config = load_party(party)
    listen = _address(http)

    from p2pfl.runs.vertical_node import load_predictor, run_beside
    from p2pfl.runs.vertical_serve import ScoreRoute

    folder = out or config.out.with_name(config.out.name + "-serve")
    predictor = load_predictor(config, table, serves=True)
    beside = ScoreRoute(predictor, listen).beside if config.is_label_holder else None
    if beside is not None and not quiet:
        click.echo(f"{config.name}: scores at http://{http}/v1/score", err=True)
    return _run(config.name, quiet, as_json, lambda hooks: run_beside(config, predictor, folder, resume, hooks, beside))


def _run(name: str, quiet: bool, as_json: bool, run: Callable[[Any], tuple[Any, dict[str, Any]]]) -> int:
    """One party's run with its progress and its summary. ConfigError if the job ended before its time."""
    from p2pfl.cli.vertical_live import Progress
    from p2pfl.runs.vertical_node import Hooks

    progress = Progress(name, quiet)
    try:
        stop, summary = run(Hooks(progress.take, lambda port: progress.say(f"listening on port {port}")))
    finally:
        progress.close()
    if stop.code == 2:
        raise ConfigError(f"{name} stopped: {stop.reason}")
    if as_json:
        print_json(summary)
    else:
        print_table(("what", "value"), [(key, _cell(value)) for key, value in summary.items() if value is not None])
    return int(stop.code)


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(inner)}" for key, inner in value.items())
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _address(text: str) -> tuple[str, int]:
    from p2pfl.config.schema import parse_listen

    host, _, port = parse_listen(text).rpartition(":")
    return host.strip("[]"), int(port)
