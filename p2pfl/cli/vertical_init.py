"""`p2pfl vertical init`: a trial job in a folder, ready to start. Works offline; makes keys, never shares them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click

from p2pfl.cli.show import json_option, print_json
from p2pfl.errors import ConfigError

PORT_MAX = 65_535


def trial_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What a trial job learns, and what is encrypted."""
    for option in (
        click.option("--key-holder", is_flag=True, help="One more party, without data, holds the keys."),
        click.option("--level", type=click.Choice(["0", "1"]), default="0", show_default=True, help="1: encrypted."),
        click.option(
            "--kind", type=click.Choice(["split", "logistic", "transfer"]), default="split", show_default=True,
            help="A network cut between the parties, encrypted regression, or a transfer between two.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--parties", type=click.IntRange(2, 5), default=2, show_default=True, help="How many with data.")
@click.option(
    "--port", type=click.IntRange(1, PORT_MAX), default=9101, show_default=True, help="The first party's; then upwards."
)
@trial_options
@json_option
def init(
    folder: Path,
    parties: int,
    port: int,
    kind: Literal["split", "logistic", "transfer"],
    level: str,
    key_holder: bool,
    as_json: bool,
) -> None:
    """Make a trial job in a folder: tables, keys and documents of all parties.

    DIR must be empty or new. The data are breast cancer measurements, split by columns; the clinic has the labels.
    """
    from p2pfl.runs.vertical_trial import NEW_TABLE, Trial, write_vertical_trial

    count = parties + key_holder
    if port + count - 1 > PORT_MAX:
        raise ConfigError(f"expected ports up to {PORT_MAX}, got {count} from {port} on")
    trial = Trial(kind=kind, level=int(level), key_holder=key_holder)
    documents = write_vertical_trial(folder, range(port, port + count), trial)
    if as_json:
        print_json({"folder": str(folder), "job": str(folder / "job.toml"), "parties": [str(d) for d in documents]})
        return
    click.echo(f"{folder}: a job of {parties} parties. Next, each in a terminal of its own:\n")
    for document in documents:
        click.echo(f"  p2pfl vertical train {document}")
    click.echo("\nthen, for people that nobody trained on:\n")
    for document in documents:
        new = document.with_name(NEW_TABLE)
        if new.exists():
            click.echo(f"  p2pfl vertical predict {document} --table {new}")
        elif trial.level:
            click.echo(f"  p2pfl vertical predict {document}")
    click.echo("\nAll settings: docs/vertical.md")
