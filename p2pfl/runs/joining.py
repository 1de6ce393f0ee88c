"""How one machine stands in its network, as its document says: where it is reached, what admits it, whom it asks first.

A member given by its URL alone is asked for its key before the node starts. What it answers is not signed; but whoever
answers there must then show that key, and speak for the network, so a false answer leads nowhere.
"""

from p2pfl.assemble.network import Presence
from p2pfl.config import NodeConfig
from p2pfl.core.ids import NodeId, short
from p2pfl.errors import ConfigError, HostError
from p2pfl.membership.tokens import Token, parse_text
from p2pfl.runs.doctor_ask import ask_all
from p2pfl.wire.keyfile import parse_public


def presence_of(config: NodeConfig, me: NodeId) -> Presence:
    """Raises ConfigError for a token that does not fit, HostError if nobody answers whom the node could join."""
    token = _token(config, me)
    return Presence(config.reached_at, token.raw if token is not None else b"", _seeds(config))


def _token(config: NodeConfig, me: NodeId) -> Token | None:
    if config.token is None:
        if not config.is_listed and config.network.membership.admission == "token":
            raise ConfigError(
                f"{config.name} is not listed in {config.network.path.name}: a join token is needed (node.toml: token, "
                "or --token FILE); an authority makes one with: p2pfl network token issue"
            )
        return None
    try:
        token = parse_text(config.token.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not text"
        raise ConfigError(f"cannot read the join token {config.token}: {why}") from None
    if token.subject != me:
        raise ConfigError(f"the join token {config.token} is for the key {short(token.subject)}, not for {short(me)}")
    return token


def _seeds(config: NodeConfig) -> dict[NodeId, str]:
    """The keys of the members that `join` names by URL."""
    heard = ask_all(list(config.join))
    found = {parse_public(str(h.status["node"])): h.url for h in heard if "node" in h.status}
    if config.join and not found and not config.is_listed:
        raise HostError("; ".join(f"{h.url}: {h.why_not}" for h in heard) + "; join at a member that is running")
    return found
