"""`p2pfl status`: asks a running node how it is."""

import json
import urllib.error
from typing import Any

import click

from p2pfl.cli.show import json_option, print_json, print_table
from p2pfl.core.limits import CONTROL_BYTES_MAX
from p2pfl.errors import HostError
from p2pfl.runs.fetch import opener


@click.command()
@click.argument("url")
@click.option("--timeout", "timeout_s", default=5.0, show_default=True, help="Seconds to wait for an answer.")
@json_option
def status(url: str, timeout_s: float, as_json: bool) -> None:
    """Ask a running node how it is.

    URL is the node's base address, like http://127.0.0.1:9001.
    """
    answer = fetch_status(url, timeout_s)
    if as_json:
        print_json(answer)
        return
    ledger = answer.get("ledger")
    rows = [(key, _cell(value)) for key, value in answer.items() if key not in ("edges", "lines", "ledger")]
    if isinstance(ledger, dict):
        n, f = ledger.get("validators"), ledger.get("faulty_tolerated")
        rows.append(("ledger", f"final up to height {ledger.get('height')}; n = {n}, f = {f}: {ledger.get('meaning')}"))
        if ledger.get("recovering"):
            rows.append(("coming back", ledger["recovering"]))
    print_table(("what", "value"), rows)
    for key in ("edges", "lines"):
        rows_of = [list(row.values()) for row in answer.get(key, [])]
        if rows_of:
            click.echo()
            print_table(list(answer[key][0]), [[str(row[0])[:8], *row[1:]] for row in rows_of])


def fetch_status(url: str, timeout_s: float) -> dict[str, Any]:
    """What the node at that address says of itself. Raises HostError."""
    if not url.startswith(("http://", "https://")):
        raise HostError(f"expected an address like http://127.0.0.1:9001, got {url[:70]!r}")
    try:
        with opener().open(url.rstrip("/") + "/v1/status", timeout=timeout_s) as reply:
            value = json.loads(reply.read(CONTROL_BYTES_MAX * 16))
    except (OSError, ValueError, urllib.error.URLError) as error:
        raise HostError(f"{url} does not answer: {getattr(error, 'reason', error)}; is the node running?") from None
    if not isinstance(value, dict):
        raise HostError(f"{url}: expected a node's status, got something else")
    return value


def _cell(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict | list) else str(value)
