"""How many files and sockets this process may open. Knows the system's limit; knows no socket of ours."""

import resource

from p2pfl.hosts.settings import HttpSettings

SPARE = 128
"""The store, documents, data, libraries and threads."""


def files_needed(neighbours: int, settings: HttpSettings | None = None) -> int:
    """So many a node may have open at worst: every connection that it admits, and its own to each neighbour."""
    s = settings or HttpSettings()
    return s.connections_max + neighbours * (s.exchange_per_host + s.gossip_per_host) + SPARE


def limits() -> tuple[int, int]:
    """What is allowed now, and how far the process may raise it by itself."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return tuple(2**31 if n == resource.RLIM_INFINITY else n for n in (soft, hard))  # type: ignore[return-value]


def allow_files(needed: int) -> int:
    """Raise this process's limit to `needed`, or as far as it may; what is allowed then."""
    soft, hard = limits()
    if soft >= needed:
        return soft
    wanted = min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    except (OSError, ValueError):  # macOS allows less than it says
        return soft
    return wanted
