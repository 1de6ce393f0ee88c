"""`p2pfl node`: this machine's node, until its rounds are done or it is asked to stop."""

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2pfl.cli.show import json_option, print_json, print_table
from p2pfl.config import NodeConfig, load_node
from p2pfl.core.party import Emit
from p2pfl.core.urls import shown
from p2pfl.errors import ConfigError, P2PFLError
from p2pfl.runs.events import is_at_least, level_of
from p2pfl.runs.logs import JsonLog

if TYPE_CHECKING:
    from p2pfl.cli.live import LiveTable


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
@click.option("--join", "join", multiple=True, metavar="URL", help="A member to begin with (repeatable).")
@click.option("--token", type=click.Path(path_type=Path), help="The join token of a node that is not listed.")
@click.option("--resume", is_flag=True, help="Go on with the run that the folder holds, or begin one.")
@click.option("--device", help="Where to train: cpu, cuda, cuda:1; the first GPU if there is one.")
@click.option("--quiet", is_flag=True, help="No progress, only the result.")
@click.option(
    "--log",
    "log_format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="Lines for people, or one JSON object a line for machines, on stderr; from node.toml's `log_level` on.",
)
@json_option
def node(
    config_path: Path,
    overrides: tuple[str, ...],
    out: Path | None,
    join: tuple[str, ...],
    token: Path | None,
    resume: bool,
    device: str | None,
    quiet: bool,
    log_format: str,
    as_json: bool,
) -> int:
    """Start this machine's node.

    It trains on this machine's data, exchanges with its neighbours, and ends when all are done. Ctrl-C stops it
    cleanly (start it again with --resume), twice at once.
    """
    if out is not None:
        overrides = (*overrides, f"out={_quoted(out.absolute())}")
    if token is not None:
        overrides = (*overrides, f"token={_quoted(token.absolute())}")
    if join:
        overrides = (*overrides, f"join={json.dumps(list(join))}")
    config = load_node(config_path, overrides)

    from p2pfl.cli.live import LiveTable
    from p2pfl.cli.node_dashboard import served_by
    from p2pfl.hosts.memory import keep_memory
    from p2pfl.runs.outcome import Outcome
    from p2pfl.runs.serve import run_node

    keep_memory()
    seen = Outcome(config.name, 0)
    with ExitStack() as stack:
        title, as_text = f"{config.name} of {config.network.name}", log_format == "text"
        live = stack.enter_context(LiveTable([seen], title, quiet or as_json or not as_text))
        say: Callable[[Emit], None] = lambda emit: _say(live, config, emit)  # noqa: E731
        if not as_text:
            log = JsonLog(sys.stderr, config.name, config.log_level)
            stack.enter_context(log.of_libraries())
            stack.push(_last_words(log))
            say = log.take

        def on_emit(outcome: Outcome, emit: Emit) -> None:
            vars(seen).update(vars(outcome))
            if not quiet:
                say(emit)

        beside = served_by(config, (lambda text: None) if quiet or not as_text else live.say)
        stop, summary = run_node(config, resume=resume, device=device, on_emit=on_emit, beside=beside)
    if stop.code == 2:
        raise ConfigError(f"{config.name} stopped: {stop.reason}")
    _report(summary, as_json)
    return stop.code


def _last_words(log: JsonLog) -> Callable[..., None]:
    """What ends the node with an error is a line of its log as well."""

    def leave(kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, P2PFLError):
            log.write("error", Emit("failed", {"reason": str(error)}))

    return leave


def _say(live: "LiveTable", config: NodeConfig, emit: Emit) -> None:
    """A line for people, if the event is one for them. How the run ended is told by the table at the end."""
    if emit.name == "listening":
        at = config.address
        where = (
            "fetching, not listening" if at is None else f"listening on {shown(at[0], int(emit.fields['port'] or 0))}"
        )
        live.say(f"{config.name}: {where}, writing to {config.out}")
    elif emit.name not in ("finished", "stopped") and is_at_least(level_of(emit.name), config.log_level):
        live.say(_line(config.name, emit))


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
