"""`p2pfl pause` and `p2pfl resume`: this machine is needed for something else; its node stays in the network."""

from pathlib import Path

import click

from p2pfl.cli.orders import config_option, out_option, tell
from p2pfl.cli.show import json_option, print_json
from p2pfl.config import load_node
from p2pfl.errors import ConfigError
from p2pfl.peer.order import PAUSE_S_MAX


@click.command()
@click.option("--seconds", type=click.IntRange(1, PAUSE_S_MAX), help="For how long.  [default: until p2pfl resume]")
@config_option
@out_option
@json_option
def pause(seconds: int | None, config_path: Path, out: Path | None, as_json: bool) -> None:
    """Have this machine's node train no more for a while.

    The phase under way ends and counts. The node goes on answering and mixing, which takes little, so nothing of its
    neighbours' is lost and it is as far as they are when it trains again. Ends with the process.
    """
    if load_node(config_path).network.pace.mode == "lockstep":
        raise ConfigError("in lockstep everybody waits for everybody: stop the node, and start it with --resume")
    _tell(config_path, out, "pause", [seconds or 0], "is told to pause; it ends the phase that it is in", as_json)


@click.command()
@config_option
@out_option
@json_option
def resume(config_path: Path, out: Path | None, as_json: bool) -> None:
    """Have a paused node train again. What its document says in train.pauses stays in force."""
    _tell(config_path, out, "resume", [], "is told to train again", as_json)


def _tell(path: Path, out: Path | None, order: str, arguments: list[int], what: str, as_json: bool) -> None:
    config, file = tell(path, out, order, arguments, members=False)
    if as_json:
        print_json({"node": config.name, "order": order, "file": str(file)})
    else:
        click.echo(f"{config.name} {what}")
