"""`p2pfl completion`: what a shell needs to complete commands, options and files. Click makes it; this prints it."""

import click
from click.shell_completion import get_completion_class

VARIABLE = "_P2PFL_COMPLETE"
"""Click's name for the program `p2pfl`: set while a shell asks what could come next."""

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print what completes commands in a shell.

    \b
    bash   p2pfl completion bash > ~/.local/share/bash-completion/completions/p2pfl
    zsh    p2pfl completion zsh > a folder of $fpath, as _p2pfl
    fish   p2pfl completion fish > ~/.config/fish/completions/p2pfl.fish

    Shells that are open already need a new start. Bash must be 4.4 or newer.
    """
    from p2pfl.cli import root

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(root, {}, "p2pfl", VARIABLE).source())
