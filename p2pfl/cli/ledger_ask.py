"""`p2pfl ledger join, endorse, leave, rotate`: asking one's own node for an entry about membership. Never signs one.

`asking` is how other commands ask for other entries.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from p2pfl.cli.ledger_books import node_option, run_argument
from p2pfl.cli.show import json_option, print_json
from p2pfl.core.ids import NodeId, short
from p2pfl.errors import ConfigError
from p2pfl.ledger.blocks.genesis import check_key
from p2pfl.ledger.feeds.describe import roles_text
from p2pfl.ledger.feeds.kinds import SPONSOR, VALIDATOR, WORKER
from p2pfl.ledger.feeds.statements import consent
from p2pfl.ledger.outcome.members import endorsements, granted, present
from p2pfl.ledger.outcome.state import State
from p2pfl.runs.books import Ledger, read_ledger, select
from p2pfl.runs.spool import Spool
from p2pfl.wire import keyfile

ROLE_BITS = {"worker": WORKER, "validator": VALIDATOR}
role_option = click.option(
    "--role",
    "roles",
    type=click.Choice(list(ROLE_BITS)),
    multiple=True,
    default=("worker",),
    show_default=True,
    help="Repeatable.",
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One node's run folder, and what its ledger says as far as it got."""

    name: str
    me: NodeId
    ledger: Ledger
    state: State
    spool: Spool

    def put(self, kind: str, payload: Sequence[Any], said: str, more: str, as_json: bool) -> None:
        """Leave the request, and say what comes of it."""
        path = self.spool.put(kind, payload)
        if as_json:
            print_json({"node": self.name, "kind": kind, "says": said, "request": str(path)})
            return
        click.echo(f"{self.name}: {said}. Its node writes this within a second, or at its next start. {more}")


@click.command()
@run_argument
@role_option
@node_option
@json_option
def join(run: Path, roles: tuple[str, ...], node: str | None, as_json: bool) -> None:
    """Ask for roles in the ledger: this node wants to be paid (worker), or to vote (validator).

    It has a role once as many sponsors as the genesis asks for have endorsed it for that role, and a validator votes
    from the next epoch on. Being a neighbour makes nobody a member.
    """
    with asking(run, node) as asked:
        bits = _bits(roles)
        has, wants = granted(asked.state, asked.me), _wanted(asked.state, asked.me)
        if bits | wants == wants:
            raise ConfigError(f"{asked.name} has asked for this already; it has: {roles_text(has)}")
        needed = asked.ledger.view.genesis.sponsors
        more = f"It then needs {needed} of the sponsors to run: p2pfl ledger endorse RUN {asked.me.hex()}"
        asked.put("join", [bits], f"asks to be: {roles_text(bits)}", more, as_json)


@click.command()
@run_argument
@click.argument("newcomer", metavar="NODE")
@role_option
@node_option
@json_option
def endorse(run: Path, newcomer: str, roles: tuple[str, ...], node: str | None, as_json: bool) -> None:
    """Speak for NODE, as one of the sponsors: its name in the network document, or its public key.

    RUN is the sponsor's own run folder.
    """
    with asking(run, node) as asked:
        subject, bits = asked.ledger.key(newcomer), _bits(roles)
        if not granted(asked.state, asked.me) & SPONSOR:
            keys = [parts[0] for parts, _ in asked.state.items("member") if granted(asked.state, parts[0]) & SPONSOR]
            sponsors = ", ".join(map(asked.ledger.name, keys[:8]))
            raise ConfigError(f"{asked.name} is no sponsor in this ledger; sponsors are: {sponsors}")
        check_key(subject, newcomer)
        if asked.state.get("frozen", subject) is not None or present(asked.state, subject) != subject:
            raise ConfigError(f"{asked.ledger.name(subject)} cannot be admitted: its key is frozen, or was given up")
        said = endorsements(asked.state, subject).get(asked.me, 0)
        if said | bits == said:
            raise ConfigError(f"{asked.name} has endorsed {asked.ledger.name(subject)} for this already")
        text = f"speaks for {asked.ledger.name(subject)} as: {roles_text(bits)}"
        asked.put("endorse", [subject, bits], text, "It counts when it is final.", as_json)


@click.command()
@run_argument
@role_option
@node_option
@json_option
def leave(run: Path, roles: tuple[str, ...], node: str | None, as_json: bool) -> None:
    """Give roles up, and the endorsements for them: coming back takes new ones. What was paid stays."""
    with asking(run, node) as asked:
        bits = _bits(roles)
        if not (_wanted(asked.state, asked.me) | granted(asked.state, asked.me)) & bits:
            has = roles_text(granted(asked.state, asked.me))
            raise ConfigError(f"{asked.name} neither has nor asks for what it would give up; it has: {has}")
        asked.put("leave", [bits], f"gives up: {roles_text(bits)}", "It counts when it is final.", as_json)


@click.command()
@run_argument
@click.argument("key", metavar="NEW_KEY_FILE", type=click.Path(path_type=Path))
@node_option
@json_option
def rotate(run: Path, key: Path, node: str | None, as_json: bool) -> None:
    """Hand all that this node is and has in the ledger to a new key, for good.

    NEW_KEY_FILE is made with `p2pfl keys new`; it signs its consent here and is not copied. Roles, endorsements and
    balance move when the entry is final; from then on the old key says nothing any more. Then give the new public key
    to all, for their network documents, and start the node with it in a new run folder.
    """
    with asking(run, node) as asked:
        new = keyfile.load(key)
        state = asked.state
        if new.node == asked.me or any(
            state.get(tag, new.node) for tag in ("member", "frozen", "rotated", "incarnation")
        ):
            raise ConfigError(f"{key}: expected a key that the ledger does not know, got {short(new.node)}")
        payload = [new.node, consent(new, asked.spool.net, asked.me)]
        asked.put(
            "key.rotate", payload, f"goes on under the key {new.node.hex()}", "It counts when it is final.", as_json
        )


@contextmanager
def asking(run: Path, node: str | None) -> Iterator[Asked]:
    """The one node that is meant. Raises ConfigError for none, several, or one that may say nothing any more."""
    books = select(run, node)
    if len(books) != 1:
        raise ConfigError(f"{run}: expected one node, found {len(books)}: choose it with --node")
    (book,) = books
    if book.author is None:
        raise ConfigError(f"{book.path}: whose store is it? expected the network.toml of the run beside it")
    me = NodeId(book.author)
    with read_ledger(str(book.path)) as ledger:
        state = ledger.view.state()
        net = ledger.view.genesis.digest
        if state.get("frozen", me) is not None:
            raise ConfigError(f"{book.name} is frozen for good: nothing that it writes counts; see: p2pfl ledger forks")
        if present(state, me) != me:
            raise ConfigError(f"{book.name} has given its key up for {short(present(state, me))}")
        yield Asked(book.name, me, ledger, state, Spool(book.path.resolve().parent, net, me))


def _bits(roles: tuple[str, ...]) -> int:
    return sum(ROLE_BITS[role] for role in set(roles))


def _wanted(state: State, node: bytes) -> int:
    """The roles that it has asked for."""
    member = state.get("member", node)
    return int(member[0]) if member is not None else 0  # type: ignore[arg-type]  # a count, by state.md
