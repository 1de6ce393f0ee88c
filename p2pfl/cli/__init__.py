"""The command line: a thin layer over the library. Imports a command's module only when that command is called,
so that commands that need no tensor never import torch."""

import importlib
import sys
from typing import Any

import click
from click.shell_completion import CompletionItem

from p2pfl import __version__
from p2pfl.errors import P2PFLError

COMMANDS = {
    "init": ("p2pfl.cli.init:init", "Make a local trial network in a folder."),
    "keys": ("p2pfl.cli.keys:keys", "Make and show node keys."),
    "network": ("p2pfl.cli.network:network", "Edit and check the shared network document."),
    "genesis": ("p2pfl.cli.genesis:genesis", "Make the permanent document of a ledger."),
    "node": ("p2pfl.cli.node:node", "Start this machine's node."),
    "demo": ("p2pfl.cli.demo:demo", "Start a network of nodes on this machine and watch it learn."),
    "sim": ("p2pfl.cli.sim:sim", "Run a network, or a grid of its settings, in the deterministic simulator."),
    "vertical": (
        "p2pfl.cli.vertical:vertical",
        "Train one model over columns that different parties hold of the same people.",
    ),
    "topology": ("p2pfl.cli.topology:topology", "Look at and check graphs."),
    "ledger": ("p2pfl.cli.ledger:ledger", "Inspect and verify what a node recorded."),
    "task": ("p2pfl.cli.task:task", "Buy work with credits, bid for it, and see who got it."),
    "status": ("p2pfl.cli.status:status", "Ask a running node how it is."),
    "dashboard": ("p2pfl.cli.dashboard:dashboard", "Look at a network in a browser."),
    "top": ("p2pfl.cli.top:top", "Watch nodes in the terminal: rounds, accuracy, bytes a second, who is late."),
    "deploy": ("p2pfl.cli.deploy:deploy", "Write a systemd unit, a Dockerfile and a compose file for the nodes."),
    "doctor": ("p2pfl.cli.doctor:doctor", "Find out what stands in a node's way."),
    "backup": ("p2pfl.cli.backup:backup", "Copy a node's store as it is at this moment, while the node runs."),
    "restore": ("p2pfl.cli.backup:restore", "Put a backup back as the store of a run folder."),
    "migrate": ("p2pfl.cli.backup:migrate", "Bring the stores of a run to the format of this version."),
    "peers": ("p2pfl.cli.peers:peers", "Show the members of a network as one node sees them."),
    "kick": ("p2pfl.cli.peers:kick", "Have this machine's node refuse a member for a while."),
    "ban": ("p2pfl.cli.peers:ban", "Have this machine's node refuse a key for good."),
    "drain": ("p2pfl.cli.peers:drain", "Have this machine's node take no part any more, and end."),
    "pause": ("p2pfl.cli.pause:pause", "Have this machine's node train no more for a while."),
    "resume": ("p2pfl.cli.pause:resume", "Have a paused node train again."),
    "privacy": ("p2pfl.cli.privacy:privacy", "Plan differential privacy, and attack one's own runs."),
    "stats": ("p2pfl.cli.stats:stats", "Ask all nodes about one column of their data."),
    "predict": ("p2pfl.cli.predict:predict", "Use a trained model on a file."),
    "completion": ("p2pfl.cli.completion:completion", "Print what completes commands in a shell."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported on first use; the help lists them without importing any."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        found = [CompletionItem(name, help=text) for name, (_, text) in COMMANDS.items() if name.startswith(incomplete)]
        return [*found, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="p2pfl")
def root() -> None:
    """Many machines train one model together, with nobody in the middle."""


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 a check failed, 2 unusable input, 130 interrupted."""
    try:
        result: Any = root.main(args=argv, prog_name="p2pfl", standalone_mode=False)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.Abort:
        return 130
    except click.ClickException as error:
        error.show()
        return 2
    except P2PFLError as error:
        click.echo(f"error: {error}", err=True)
        return 2
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    return result if isinstance(result, int) else 0


def run() -> None:
    """The console script."""
    sys.exit(main())
