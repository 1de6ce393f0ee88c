"""Where a node says it can be reached. Knows the text of a URL; knows no socket and no name service."""

from ipaddress import ip_address
from urllib.parse import urlsplit

NOWHERE = "none"
"""Instead of a URL: nobody can open a connection to this node; it fetches what waits for it at its neighbours."""


def is_loopback(url: str) -> bool:
    """Whether bytes to this URL stay on the machine. A name other than localhost might lead anywhere: no."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def is_guarded(url: str) -> bool:
    """Whether nobody on the way can read or change what is sent there: TLS, or no way at all."""
    return url.startswith("https://") or is_loopback(url)


def shown(host: str, port: int) -> str:
    """`host:port` as it stands in a URL: an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
