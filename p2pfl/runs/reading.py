"""A ledger as data, for notebooks: `p2pfl.read_ledger`. Knows stores and running nodes; changes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from p2pfl.errors import ConfigError
from p2pfl.ledger.check.explain import explain as explain_node
from p2pfl.ledger.check.verify import verify_store
from p2pfl.ledger.feeds.describe import details, summary
from p2pfl.ledger.feeds.entry import Entry
from p2pfl.runs.books import parsed, read_ledger, select, stores


@dataclass(frozen=True, slots=True)
class Reading:
    """What the nodes of a run recorded (`feeds`), and what they agreed on (all else). Read anew at every call.

    `source` is a run's folder, a folder of such folders, a node.db file, or the URL of a running node, which shows only
    what was agreed on. `node`: only this one's, by its name or the first hex digits of its key. Raises ConfigError, in
    one line, for what is not there.
    """

    source: str
    node: str | None = None

    @property
    def nodes(self) -> list[str]:
        """Whose stores these are."""
        return [self.source] if self._is_url else [book.name for book in select(self._path, self.node, rows=False)]

    def feeds(self) -> list[dict[str, Any]]:
        """Every entry of every feed, node by node, with a line that says what it is; damaged ones say so."""
        found: list[dict[str, Any]] = []
        for book in select(self._path, self.node):
            for row in book.rows:
                entry = parsed(row)
                found.append({"node": book.name} | (_shown(entry) if isinstance(entry, Entry) else {"damaged": entry}))
        return found

    def final(self) -> list[dict[str, Any]]:
        """The entries that all nodes agree on, in their one order."""
        with read_ledger(self.source, self.node) as ledger:
            return [
                {"height": block.header.height, "node": ledger.name(entry.author)} | _shown(entry)
                for block in ledger.view.blocks()
                for entry in ledger.view.entries(block)
            ]

    @property
    def height(self) -> int:
        """Of the last block."""
        with read_ledger(self.source, self.node) as ledger:
            return ledger.view.height

    def balances(self) -> dict[str, int]:
        """Credits of every member, by name."""
        with read_ledger(self.source, self.node) as ledger:
            state = ledger.view.state()
            return {ledger.name(parts[0]): state.number("balance", parts[0]) for parts, _ in state.items("balance")}

    def explain(self, who: str, window: int | None = None) -> list[str]:
        """Why that node got what it got in an accounting window, or in the last one that closed."""
        with read_ledger(self.source, self.node) as ledger:
            return list(explain_node(ledger.view, ledger.key(who), window).lines)

    def problems(self) -> list[str]:
        """What is wrong with the stores: every entry, signature, link and receipt is checked again."""
        paths = [path for name, path in stores(self._path) if self.node in (None, name)]
        return [f"{path}: {problem.where}: {problem.what}" for path in paths for problem in verify_store(path).problems]

    def frame(self) -> Any:
        """`feeds()` as a pandas DataFrame; as the list of dicts that it is where pandas is not installed."""
        return as_frame(self.feeds())

    @property
    def _is_url(self) -> bool:
        return self.source.startswith(("http://", "https://"))

    @property
    def _path(self) -> Path:
        if self._is_url:
            raise ConfigError(f"{self.source}: a node's own store is asked for; a running node shows what is final")
        return Path(self.source)


def as_frame(rows: Sequence[dict[str, Any]]) -> Any:
    """A pandas DataFrame, or the rows themselves where pandas is not installed."""
    try:
        import pandas as pd
    except ImportError:
        return rows
    return pd.DataFrame(rows)


def _shown(entry: Entry) -> dict[str, Any]:
    fields = details(entry)
    return {key: fields[key] for key in ("kind", "round", "seq", "id", "author")} | {
        "says": summary(entry),
        "payload": fields["payload"],
    }
