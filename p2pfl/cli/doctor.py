"""`p2pfl doctor`: what stands in a node's way, and what to do about it."""

from pathlib import Path

import click

from p2pfl.cli.show import json_option, print_json, print_table
from p2pfl.cli.waiting import waiting
from p2pfl.config.schema import NODE_FILE

MARKS = {"ok": "ok", "warning": "look", "failed": "FAILED"}


@click.command()
@click.argument("path", type=click.Path(path_type=Path), default=Path(NODE_FILE))
@click.option("--url", help="Look at a running node from outside instead, by its base address.")
@json_option
def doctor(path: Path, url: str | None, as_json: bool) -> int:
    """Find out what stands in a node's way.

    PATH is a node.toml, a folder with one, or a run's folder. Looks at the documents, key, data, folder, disk, store,
    open files and port, asks the node and its neighbours, and compares recipes, versions and clocks. Changes nothing.
    Exit code 1 if a check failed, 2 if there is nothing to look at.
    """
    from p2pfl.runs.doctor import examine, examine_url
    from p2pfl.runs.finding import has_failed

    with waiting("looking, and asking the neighbours", as_json):
        findings = examine(path) if url is None else examine_url(url)
    if as_json:
        print_json({"ok": not has_failed(findings), "findings": [finding.to_dict() for finding in findings]})
    else:
        print_table(("what", "", "found", "what to do"), [(f.what, MARKS[f.verdict], f.found, f.do) for f in findings])
    return 1 if has_failed(findings) else 0
