"""`p2pfl network token`: letting newcomers into a network, and out again. Knows keys and tokens; knows no node.

An authority's key signs, on whatever machine it is kept. What it says to the network (a revocation, an epoch) goes in
through any member's run folder, and spreads from there.
"""

import secrets
from pathlib import Path

import click

from p2pfl.cli.orders import config_option, out_option, tell
from p2pfl.cli.show import json_option, print_json, print_table
from p2pfl.config import load_network, load_node
from p2pfl.config.identity import authorities_of, genesis_of, network_id
from p2pfl.config.schema import NETWORK_FILE
from p2pfl.core.ids import short
from p2pfl.errors import ConfigError
from p2pfl.membership.record import INCARNATION_MAX
from p2pfl.membership.statements import NOBODY, Statement, Tag, state
from p2pfl.membership.tokens import Token, issue, parse_text
from p2pfl.wire import keyfile

document_option = click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path),
    default=NETWORK_FILE,
    show_default=True,
    help="The network document.",
)
key_option = click.option(
    "--key",
    "key_path",
    type=click.Path(path_type=Path),
    required=True,
    help="The authority's (or delegate's) key file.",
)
number = click.IntRange(0, INCARNATION_MAX)


@click.group()
def token() -> None:
    """Let newcomers in by join tokens, and revoke them."""


@token.command(name="issue")
@click.argument("public_key")
@click.argument("out", metavar="FILE", type=click.Path(path_type=Path))
@key_option
@click.option("--last-epoch", type=number, default=0, help="It ends with this epoch of the network; 0: it does not.")
@click.option("--last-height", type=number, default=0, help="It ends with this height of the ledger; 0: it does not.")
@click.option("--delegate", is_flag=True, help="It also lets its holder issue tokens for others.")
@click.option(
    "--by", "parent", type=click.Path(path_type=Path), help="A delegate's own token, if KEY is not an authority's."
)
@document_option
@json_option
def issue_(
    public_key: str,
    out: Path,
    key_path: Path,
    last_epoch: int,
    last_height: int,
    delegate: bool,
    parent: Path | None,
    path: Path,
    as_json: bool,
) -> None:
    """Sign a join token for PUBLIC_KEY into FILE.

    The newcomer keeps FILE beside its key and starts with: p2pfl node --join URL --token FILE.
    """
    config = load_network(path)
    genesis = genesis_of(config)
    signer = keyfile.load(key_path)
    above = _read(parent) if parent is not None else None
    root = above.chain[-1].issuer if above is not None else signer.node
    if root not in authorities_of(config, genesis):
        raise ConfigError(f"{short(root)} is no authority of {config.name}; see membership.authorities and the genesis")
    made = issue(
        signer,
        network_id(config, genesis),
        keyfile.parse_public(public_key),
        "issue" if delegate else "join",
        secrets.randbits(48),
        last_epoch,
        last_height,
        above,
    )
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(made.text())
    except OSError as error:
        raise ConfigError(f"cannot write {out}: {error.strerror}") from None
    if as_json:
        print_json({"path": str(out), **_plain(made)})
    else:
        click.echo(f"{out}: lets {short(made.subject)} {'issue tokens for' if delegate else 'join'} {config.name}")


@token.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@json_option
def show(path: Path, as_json: bool) -> None:
    """Show what a join token in FILE says."""
    found = _read(path)
    if as_json:
        print_json(_plain(found))
    else:
        print_table(("what", "value"), [(k, v.hex() if isinstance(v, bytes) else v) for k, v in _plain(found).items()])


@token.command()
@click.argument("what", metavar="FILE|KEY")
@key_option
@config_option
@out_option
@json_option
def revoke(what: str, key_path: Path, config_path: Path, out: Path | None, as_json: bool) -> None:
    """Revoke a join token (FILE) or a public key (KEY) for the whole network.

    The word goes in through the member that --config names, which must run or be started again, and is kept by all
    members for good.
    """
    about = _read(Path(what)).id if Path(what).exists() else keyfile.parse_public(what)
    _bring(Tag.REVOKED, about, 0, key_path, config_path, out, as_json)


@token.command()
@click.argument("epoch", type=click.IntRange(1, INCARNATION_MAX))
@key_option
@config_option
@out_option
@json_option
def expire(epoch: int, key_path: Path, config_path: Path, out: Path | None, as_json: bool) -> None:
    """Begin EPOCH: tokens whose last epoch is an earlier one end.

    The word goes in through the member that --config names, as with revoke.
    """
    _bring(Tag.EPOCH, NOBODY, epoch, key_path, config_path, out, as_json)


def _bring(
    tag: Tag, about: bytes, number: int, key_path: Path, config_path: Path, out: Path | None, as_json: bool
) -> None:

    network = load_node(config_path).network
    genesis = genesis_of(network)
    signer = keyfile.load(key_path)
    if signer.node not in authorities_of(network, genesis):
        raise ConfigError(f"{short(signer.node)} is no authority of {network.name}: nobody would believe it")
    said: Statement = state(signer, tag, network_id(network, genesis), about, number)
    config, path = tell(config_path, out, "say", [said.raw])
    done = f"epoch {number} begins" if tag is Tag.EPOCH else f"{short(about)} is revoked"
    if as_json:
        print_json({"node": config.name, "said": done, "file": str(path)})
    else:
        click.echo(f"{config.name} tells the network: {done}")


def _read(path: Path) -> Token:
    try:
        return parse_text(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        raise ConfigError(f"cannot read the join token {path}: {why}") from None


def _plain(found: Token) -> dict[str, object]:
    return {
        "id": found.id,
        "network": found.network,
        "subject": found.subject,
        "right": found.right,
        "serial": found.serial,
        "last_epoch": found.last_epoch,
        "last_height": found.last_height,
        "issuer": found.issuer,
        "authority": found.chain[-1].issuer,
        "chain": len(found.chain),
    }
