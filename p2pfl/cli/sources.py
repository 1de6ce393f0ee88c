"""What `p2pfl dashboard` and `p2pfl top` look at: addresses of nodes, or the folder of a run. Knows no page."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from p2pfl.errors import ConfigError

if TYPE_CHECKING:
    import aiohttp

    from p2pfl.web.board import Board

SCHEMES = ("http://", "https://")


def check_sources(sources: Sequence[str]) -> None:
    """Raises ConfigError unless they are all addresses (or documents with addresses), or one folder."""
    asked = [source for source in sources if source.startswith(SCHEMES) or source.endswith(".toml")]
    if len(asked) not in (0, len(sources)) or (not asked and len(sources) > 1):
        raise ConfigError(f"expected addresses of nodes, or one folder of a run, got {', '.join(sources)[:100]}")


def looker(sources: Sequence[str], board: "Board", session: "aiohttp.ClientSession") -> Callable[[], Awaitable[None]]:
    """What brings the board up to date. Raises ConfigError."""
    urls = urls_of(sources)
    if urls:
        from p2pfl.web.nodes import Nodes

        nodes = Nodes(urls, board)
        return lambda: nodes.look(session)
    from p2pfl.web.folders import Folder

    return Folder(Path(sources[0]), board).follow


def title_of(sources: Sequence[str]) -> str:
    """Where it all comes from, in a few words."""
    return ", ".join(sources[:3]) + (f" and {len(sources) - 3} more" if len(sources) > 3 else "")


def urls_of(sources: Sequence[str]) -> list[str]:
    """The addresses, those of a network document's nodes among them; none for a folder. Raises ConfigError."""
    found: list[str] = []
    for source in sources:
        if source.startswith(SCHEMES):
            found.append(source.rstrip("/"))
        elif source.endswith(".toml"):
            found += _listed(Path(source))
    return list(dict.fromkeys(found))


def _listed(path: Path) -> list[str]:
    from p2pfl.config import load_network

    urls = [entry.url.rstrip("/") for entry in load_network(path).nodes if entry.url.startswith(SCHEMES)]
    if not urls:
        raise ConfigError(f"{path}: expected nodes with an address under [[nodes]], found none")
    return urls
