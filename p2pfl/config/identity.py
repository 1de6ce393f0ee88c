"""Which network a document is of. Knows the document and the genesis that it names; no model, no tensor."""

from pathlib import Path

from blake3 import blake3

from p2pfl.config.schema import NetworkConfig
from p2pfl.core.ids import NodeId
from p2pfl.errors import ConfigError
from p2pfl.ledger.blocks.genesis import Genesis, parse_genesis
from p2pfl.wire import canonical


def load_genesis(path: Path) -> Genesis:
    """The genesis document in a file. Raises ConfigError."""
    try:
        return parse_genesis(path.read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"cannot read the genesis {path}: {why}; make one with: p2pfl genesis") from None


def genesis_of(config: NetworkConfig) -> Genesis | None:
    """The genesis that the document names, if it names one. Raises ConfigError."""
    return load_genesis(config.ledger.genesis) if config.ledger.genesis is not None else None


def network_id(config: NetworkConfig, genesis: Genesis | None) -> bytes:
    """32 bytes: the digest of its genesis, or without one of its name and of who is in it."""
    if genesis is not None:
        return genesis.digest
    members = sorted([entry.key, entry.name] for entry in config.nodes)
    return blake3(b"p2pfl/network/v1\0" + canonical.packb([config.name, members])).digest()


def authorities_of(config: NetworkConfig, genesis: Genesis | None) -> frozenset[NodeId]:
    """Who may sign join tokens: as the document says, or else those of the genesis."""
    return config.membership.authority_keys or frozenset(genesis.authorities if genesis is not None else ())
