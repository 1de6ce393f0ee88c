"""`p2pfl keys`: a node's key pair. Each machine makes its own; only the public half ever leaves it."""

from pathlib import Path

import click

from p2pfl.cli.show import json_option, print_json
from p2pfl.wire import keyfile

path_argument = click.argument("path", type=click.Path(path_type=Path))


@click.group()
def keys() -> None:
    """Make and show node keys."""


@keys.command()
@path_argument
@json_option
def new(path: Path, as_json: bool) -> None:
    """Make a new key in the file PATH, readable by its owner alone. Prints the public key."""
    _say(path, keyfile.create(path), as_json)


@keys.command()
@path_argument
@json_option
def show(path: Path, as_json: bool) -> None:
    """Print the public key of the key file PATH."""
    _say(path, keyfile.load(path), as_json)


def _say(path: Path, signer: keyfile.Signer, as_json: bool) -> None:
    if as_json:
        print_json({"path": str(path), "public": signer.node})
    else:
        click.echo(signer.node.hex())
