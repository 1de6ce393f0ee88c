"""`p2pfl sim`: a whole network in the deterministic simulator."""

from pathlib import Path
from typing import Any

import click

from p2pfl.cli.show import json_option, print_json
from p2pfl.config import load_network
from p2pfl.errors import ConfigError


@click.command()
@click.argument("document", metavar="NETWORK", type=click.Path(path_type=Path))
@click.option("--nodes", "num_nodes", type=click.IntRange(1, 4096), help="So many nodes, instead of the document's.")
@click.option("--topology", help="Another graph: a family, or a .toml, .py, .gml or .graphml file.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key (repeatable).")
@click.option("--loss", default=0.0, show_default=True, help="Share of requests, and of replies, that are lost.")
@click.option("--latency-ms", default=10.0, show_default=True, help="One way between neighbours, milliseconds.")
@click.option(
    "--step-ms", default=10.0, show_default=True, help="One local step of a machine of speed 1, milliseconds."
)
@click.option("--speeds", default="1", show_default=True, help="Machines' speeds, repeated over the nodes: 1,2,4,8.")
@click.option("--out", type=click.Path(path_type=Path), help="Write metrics, summary and model into this folder.")
@click.option("--resume", is_flag=True, help="With --out: show the result that the folder holds, or begin a run.")
@click.option("--baselines/--no-baselines", default=True, help="Also train centralised and alone, to compare with.")
@click.option("--quiet", is_flag=True, help="No progress, only the result.")
@json_option
def sim(
    document: Path,
    num_nodes: int | None,
    topology: str | None,
    overrides: tuple[str, ...],
    loss: float,
    latency_ms: float,
    step_ms: float,
    speeds: str,
    out: Path | None,
    resume: bool,
    baselines: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Run a network in the deterministic simulator.

    NETWORK is a network.toml. All its nodes run in this process, in virtual time, with the code that real machines
    run; keys are made up. The same document and options give the same result.
    """
    if topology is not None:
        key = "file" if Path(topology).suffix else "family"
        overrides = (*overrides, f'topology.{key}="{topology}"')
    config = load_network(document, overrides)
    world = _speeds(speeds)

    from p2pfl.cli.live import LiveTable, counting
    from p2pfl.hosts.faults import Faults
    from p2pfl.runs.baselines import compute_baselines
    from p2pfl.runs.folder import RunFolder
    from p2pfl.runs.network import network_summary, write_simulation
    from p2pfl.runs.simulate import World, build_simulation, run_simulation, simulated

    folder = RunFolder.open(out, resume) if out is not None else None
    if folder is not None and resume and (folder / "summary.json").exists():
        _report(folder.read_summary(), as_json)
        return 0
    faults = Faults(request_loss=loss, reply_loss=loss, delay_s=latency_ms / 1e3)
    config = simulated(config, num_nodes)
    simulation = build_simulation(config, World(step_ms / 1e3, step_ms / 1e4, world, faults))
    with LiveTable(simulation.outcomes.values(), f"{config.name}, simulated", quiet or as_json):
        trace = run_simulation(simulation)
    if trace.outcome != "stopped":
        raise ConfigError(f"the simulation ended early ({trace.outcome}) at {trace.now:.1f} virtual seconds")
    compared = None
    if baselines:
        with counting("baselines", quiet or as_json) as on_step:
            compared = compute_baselines(simulation.shared, simulation.held, simulation.shares, config.data, on_step)
    ids = simulation.shared.ids
    stores = [simulation.host.store(node) for node in ids.values()]
    hexed = {name: node.hex() for name, node in ids.items()}
    summary = network_summary(simulation.outcomes.values(), compared, hexed, stores)
    summary |= {"virtual_seconds": round(trace.now, 3), "trace": trace.digest.hex()}
    if folder is not None:
        write_simulation(folder, simulation, summary)
    _report(summary, as_json)
    return 1 if summary["failures"] or not summary["feeds_verified"] else 0


def _speeds(text: str) -> tuple[float, ...]:
    try:
        speeds = tuple(float(part) for part in text.split(","))
    except ValueError:
        speeds = ()
    if not speeds or min(speeds) <= 0:
        raise ConfigError(f"--speeds: expected numbers above 0 like 1,2,4,8, got {text!r}")
    return speeds


def _report(summary: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(summary)
        return
    from p2pfl.cli.results import print_network

    print_network(summary)
