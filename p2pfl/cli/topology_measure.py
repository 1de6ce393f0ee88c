"""`p2pfl topology measure`: an underlay file from running nodes. A thin layer over p2pfl.topology.overlays.measured."""

from pathlib import Path

import click

from p2pfl.cli.show import json_option, print_json, print_table
from p2pfl.cli.status import fetch_status
from p2pfl.cli.topology_design import AS_PATH, write_file
from p2pfl.errors import ConfigError
from p2pfl.topology.files.dump import dump_topology
from p2pfl.topology.overlays.measured import combine, read_report
from p2pfl.topology.overlays.underlay import SILOS_MAX

COMMENT = """Measured by `p2pfl topology measure` on the messages of a run.
Latencies are upper bounds, bandwidths lower bounds."""


@click.command()
@click.argument("urls", metavar="URL...", nargs=-1, required=True)
@click.option("-o", "--out", type=AS_PATH, metavar="FILE", help="Write the network as a .toml file, for --underlay.")
@click.option("--timeout", "timeout_s", default=5.0, show_default=True, help="Seconds to wait for each answer.")
@json_option
def measure(urls: tuple[str, ...], out: Path | None, timeout_s: float, as_json: bool) -> None:
    """Ask running nodes how good the lines between them are.

    URL is a node's base address, like http://127.0.0.1:9001. Ask all nodes of a network while they train: each knows
    the lines to its own neighbours, from the messages that passed.
    """
    if out is not None and out.suffix != ".toml":
        raise ConfigError(f"-o {out}: expected a file ending in .toml")
    if len(urls) > SILOS_MAX:
        raise ConfigError(f"expected at most {SILOS_MAX} addresses, got {len(urls)}")
    network, strangers = combine([read_report(fetch_status(url, timeout_s), url) for url in urls])
    if out is not None:
        write_file(out, dump_topology(network, COMMENT))
    lines = [(a, b, network.links[a, b]) for a, b in network.edge_list()]
    if as_json:
        print_json(
            [{"a": a, "b": b, "latency_ms": x.latency_ms, "bandwidth_mbps": x.bandwidth_mbps} for a, b, x in lines]
        )
        return
    print_table(
        ("a", "b", "latency ms", "bandwidth Mbit/s"),
        [(a, b, x.latency_ms, "?" if x.bandwidth_mbps is None else x.bandwidth_mbps) for a, b, x in lines],
    )
    if strangers:
        click.echo(f"\nleft out: lines to {strangers} node{'s' * (strangers > 1)} whose address was not given")
    if out is not None:
        click.echo(f"\nunderlay: {out}")
