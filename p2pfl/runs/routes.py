"""What a program may be asked over HTTP, in words: a node, and the dashboard. Knows what is asked; serves nothing.

The reference is generated from it, and a test finds every route of the code in it.
"""

from typing import NamedTuple


class Route(NamedTuple):
    """`who`: "node", "party" (of a vertical job) or "dashboard". `asks`: whom it is for."""

    who: str
    method: str
    path: str
    says: str
    asks: str


ROUTES = (
    Route("node", "POST", "/v1/exchange", "One message, usually with a model's difference.", "members, signed"),
    Route("node", "POST", "/v1/gossip", "One small message.", "members, signed"),
    Route("node", "POST", "/v1/pull", "What waits for a node that nobody can reach.", "members, signed"),
    Route("node", "POST", "/v1/pulled", "Its answer to what it fetched.", "members, signed"),
    Route("node", "GET", "/v1/status", "How the node is, as JSON.", "anybody"),
    Route("node", "GET", "/v1/ledger/", "A piece of the ledger, by its name after the path.", "anybody"),
    Route("node", "GET", "/healthz", "Whether the event loop turns.", "anybody"),
    Route("node", "GET", "/readyz", "Whether the node takes part, and why not.", "anybody"),
    Route("node", "GET", "/metrics", "Prometheus' text format.", "as `metrics` in node.toml says"),
    Route("party", "POST", "/v1/score", "Scores of some people, as JSON (`p2pfl vertical serve`).", "who reaches it"),
    Route("party", "GET", "/v1/health", "Whether it serves.", "who reaches it"),
    Route("dashboard", "GET", "/", "The page.", "who has the token"),
    Route("dashboard", "GET", "/static/", "Its parts.", "who has the token"),
    Route("dashboard", "GET", "/api/board", "Everything that is known, as JSON.", "who has the token"),
    Route("dashboard", "GET", "/api/stream", "Server-sent events: everything once, then what has changed.", "the same"),
    Route("dashboard", "GET", "/api/node/", "By name: one node, its neighbours, who refused whom.", "the same"),
    Route("dashboard", "GET", "/api/refusals", "Who refused whom, for what, how often.", "the same"),
    Route("dashboard", "GET", "/api/ledger", "The ledger's parts: members, windows, receipts, evidence.", "the same"),
)
