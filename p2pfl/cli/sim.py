"""`p2pfl sim`: a whole network as Parties in virtual time, as one tensor program, or as such a program in shards."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from p2pfl.cli.show import json_option, print_json
from p2pfl.cli.sim_ray import RayOptions, refuse_without_ray, run_ray, said_died
from p2pfl.config import NetworkConfig, load_network
from p2pfl.core.limits import NODES_MAX, ROUNDS_MAX
from p2pfl.errors import ConfigError, HostError
from p2pfl.sweep.document import is_sweep

if TYPE_CHECKING:
    from p2pfl.learn.stacked import EngineName
    from p2pfl.runs.folder import RunFolder
    from p2pfl.runs.simulate import World
    from p2pfl.sweep.document import Engine

NODES = 16
"""Of a document that lists none, unless --nodes says how many."""
WORKERS_MAX = 256


@click.command()
@click.argument("document", metavar="DOCUMENT", type=click.Path(path_type=Path))
@click.option(
    "--nodes", "num_nodes", type=click.IntRange(1, NODES_MAX), help="So many nodes, instead of the document's."
)
@click.option("--topology", help="Another graph: a family, or a .toml, .py, .gml or .graphml file.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key (repeatable).")
@click.option(
    "--engine",
    type=click.Choice(["events", "dense", "ray"]),
    help="events: the real node's code in virtual time (default; a sweep says its own). dense: its arithmetic alone, "
    "in lockstep; no network, no faults. ray: the same divided among --workers, here or on a Ray cluster.",
)
@click.option(
    "--train-engine",
    type=click.Choice(["auto", "matmul", "vmap", "loop"]),
    default="auto",
    show_default=True,
    help="Of the engines dense and ray: how many nodes are trained at once. auto: the fastest on the first nodes.",
)
@click.option("--loss", default=0.0, show_default=True, help="Share of requests, and of replies, that are lost.")
@click.option("--latency-ms", default=10.0, show_default=True, help="One way between neighbours, milliseconds.")
@click.option(
    "--step-ms", default=10.0, show_default=True, help="One local step of a machine of speed 1, milliseconds."
)
@click.option("--speeds", default="1", show_default=True, help="Machines' speeds, repeated over the nodes: 1,2,4,8.")
@click.option("--out", type=click.Path(path_type=Path), help="Write metrics, summary and model into this folder.")
@click.option(
    "--resume",
    is_flag=True,
    help="With --out: show the result that the folder holds, or begin a run. With --checkpoint: go on from the newest.",
)
@click.option("--baselines/--no-baselines", default=True, help="Also train centralised and alone, to compare with.")
@click.option(
    "--vary",
    multiple=True,
    metavar="KEY=A,B,..",
    help="Run each of these settings and compare them (repeatable: all combinations). B+OTHER=C sets OTHER with B.",
)
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE", help="Draw the curves: .png, .svg or .pdf.")
@click.option("--csv", "table", type=click.Path(path_type=Path), metavar="FILE", help="Write the curves as a table.")
@click.option(
    "--workers",
    type=click.IntRange(1, WORKERS_MAX),
    default=1,
    show_default=True,
    help="Of a sweep: processes. Of --engine ray: parts of the network, a core each.",
)
@click.option("--ray-address", metavar="ADDRESS", help="Of --engine ray: a running cluster, as HOST:PORT or auto.")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Of --engine ray: go on from here with --resume.",
)
@click.option(
    "--checkpoint-every",
    type=click.IntRange(1, ROUNDS_MAX),
    default=10,
    show_default=True,
    metavar="ROUNDS",
    help="With --checkpoint: rounds between two of them.",
)
@click.option(
    "--strategies",
    metavar="NAME*N,..",
    help="A trial of incentives: how each node behaves, like honest*6,copycat,freerider; who earned what.",
)
@click.option("--quiet", is_flag=True, help="No progress, only the result.")
@json_option
@click.pass_context
def sim(
    context: click.Context,
    document: Path,
    num_nodes: int | None,
    topology: str | None,
    overrides: tuple[str, ...],
    engine: "Engine | Literal['ray'] | None",
    train_engine: "EngineName",
    loss: float,
    latency_ms: float,
    step_ms: float,
    speeds: str,
    out: Path | None,
    resume: bool,
    baselines: bool,
    vary: tuple[str, ...],
    plot: Path | None,
    table: Path | None,
    workers: int,
    ray_address: str | None,
    checkpoint: Path | None,
    checkpoint_every: int,
    strategies: str | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Run a network, or a grid of its settings, in the deterministic simulator.

    DOCUMENT is a network.toml. All its nodes run in this process, in virtual time, with the code that real machines
    run; keys are made up. The same document and options give the same result. A document without nodes gets 16.

    With --vary, --plot or --csv: accuracy by round, by byte and by simulated second, without baselines.

    A DOCUMENT with a [sweep] table is a grid over a network document: all its cells run, --workers at a time, each
    finished one is kept in --out (or NAME-results), and at the end there are tables and one report.html. --resume goes
    on where a run was interrupted.
    """
    if is_sweep(document):
        from p2pfl.cli.sim_sweep import refuse_others, run_sweep

        refuse_others(context)
        if engine == "ray":
            raise ConfigError("--engine ray: is for one network; a sweep runs its cells side by side with --workers")
        return run_sweep(
            document,
            engine=engine,
            num_nodes=num_nodes,
            overrides=overrides,
            out=out,
            resume=resume,
            workers=workers,
            quiet=quiet,
            as_json=as_json,
        )
    engine = engine or "events"
    if engine != "ray":
        if workers != 1:
            raise ConfigError("--workers: is for a document with a [sweep] table, or for --engine ray")
        refuse_without_ray(ray_address, checkpoint)
    if train_engine != "auto" and (engine == "events" or vary or plot is not None or table is not None):
        raise ConfigError("--train-engine: is for one run of the dense engine; add --engine dense, without --vary")
    if topology is not None:
        key = "file" if Path(topology).suffix else "family"
        overrides = (*overrides, f'topology.{key}="{topology}"')
    config = load_network(document, overrides)
    world = _speeds(speeds)
    if num_nodes is None and not config.nodes:
        num_nodes = NODES
    if strategies is not None:
        from p2pfl.cli.sim_strategies import run_strategies

        if engine != "events" or vary or resume or table is not None:
            raise ConfigError("--strategies: goes with one run of the engine events, with --out and --plot")
        return run_strategies(config, strategies, _times(loss, latency_ms, step_ms, world), out, plot, quiet, as_json)
    if vary or plot is not None or table is not None:
        if engine == "ray":
            raise ConfigError("--engine ray: runs one setting; compare settings with --engine dense")
        if out is not None:
            raise ConfigError("--out: holds one run; compare settings without it, and keep curves with --csv FILE")
        times = _times(loss, latency_ms, step_ms, world) if engine == "events" else None
        return _compare(document, overrides, num_nodes, vary, times, plot, table, quiet or as_json, as_json)
    if engine != "events":
        _check_dense(config, loss, world, engine)

    from p2pfl.runs.folder import RunFolder
    from p2pfl.runs.simulate import simulated

    folder = RunFolder.open(out, resume) if out is not None else None
    if folder is not None and resume and (folder / "summary.json").exists():
        _report(folder.read_summary(), as_json)
        return 0
    config = simulated(config, num_nodes)
    if folder is not None:
        folder.write_config(config)  # at once: who looks at a run that goes on knows names and keys
    if engine == "ray":
        options = RayOptions(workers, ray_address, checkpoint, checkpoint_every, resume, quiet or as_json)
        try:
            summary = run_ray(config, options, train_engine, folder, baselines)
        except HostError as error:
            return said_died(error)
    elif engine == "dense":
        summary = _dense(config, train_engine, folder, baselines, quiet or as_json)
    else:
        summary = _parties(config, _times(loss, latency_ms, step_ms, world), folder, baselines, quiet or as_json)
    _report(summary, as_json)
    return 1 if summary["failures"] or summary["feeds_verified"] is False else 0


def _times(loss: float, latency_ms: float, step_ms: float, speeds: tuple[float, ...]) -> "World":
    from p2pfl.hosts.faults import Faults
    from p2pfl.runs.simulate import World

    faults = Faults(request_loss=loss, reply_loss=loss, delay_s=latency_ms / 1e3)
    return World(step_s=step_ms / 1e3, wire_s=step_ms / 1e4, speeds=speeds, faults=faults)


def _compare(
    document: Path,
    overrides: tuple[str, ...],
    num_nodes: int | None,
    vary: tuple[str, ...],
    world: "World | None",
    plot: Path | None,
    table: Path | None,
    quiet: bool,
    as_json: bool,
) -> int:
    """Every setting's run, one after another."""
    from p2pfl.cli.vary import check_picture, draw, report, settings_of

    check_picture(plot)
    configs = [(name, load_network(document, (*overrides, *changes))) for name, changes in settings_of(vary)]

    from p2pfl.cli.live import counting
    from p2pfl.runs.compare import follow
    from p2pfl.runs.curves import write_csv
    from p2pfl.runs.simulate import simulated

    if world is None:
        for _, config in configs:
            _check_dense(config, 0.0, (1.0,))
    curves = []
    with counting("settings", quiet) as on_step:
        for name, config in configs:
            curves.append(follow(name, simulated(config, num_nodes), world))
            on_step(len(curves), len(configs))
    if table is not None:
        write_csv(table, curves)
    if plot is not None:
        draw(curves, configs[0][1].name, plot)
    report(curves, as_json)
    return 0


def _parties(
    config: NetworkConfig, world: "World", folder: "RunFolder | None", baselines: bool, quiet: bool
) -> dict[str, Any]:
    """The real node's code in virtual time."""
    from p2pfl.cli.live import LiveTable, counting
    from p2pfl.runs.baselines import compute_baselines
    from p2pfl.runs.course import course_in
    from p2pfl.runs.memory import check_config
    from p2pfl.runs.network import network_summary, write_simulation
    from p2pfl.runs.simulate import build_simulation, run_simulation

    check_config(config, dense=False)
    with course_in(folder) as course:
        simulation = build_simulation(config, world, on_emit=course.take)
        course.begin(simulation.shared)
        with LiveTable(simulation.outcomes.values(), f"{config.name}, simulated", quiet):
            trace = run_simulation(simulation)
    if trace.outcome != "stopped":
        raise ConfigError(f"the simulation ended early ({trace.outcome}) at {trace.now:.1f} virtual seconds")
    compared = None
    if baselines:
        with counting("baselines", quiet) as on_step:
            compared = compute_baselines(simulation.shared, simulation.held, simulation.shares, config.data, on_step)
    ids = simulation.shared.ids
    stores = [simulation.host.store(node) for node in ids.values()]
    hexed = {name: node.hex() for name, node in ids.items()}
    summary = network_summary(simulation.outcomes.values(), compared, hexed, stores)
    summary |= {"engine": "events", "virtual_seconds": round(trace.now, 3), "trace": trace.digest.hex()}
    if folder is not None:
        write_simulation(folder, simulation, summary)
    return summary


def _dense(
    config: NetworkConfig, train_engine: "EngineName", folder: "RunFolder | None", baselines: bool, quiet: bool
) -> dict[str, Any]:
    """One tensor program."""
    from p2pfl.cli.live import LiveTable, counting
    from p2pfl.runs.baselines import compute_baselines
    from p2pfl.runs.course import course_in
    from p2pfl.runs.dense import build_dense, dense_summary, run_dense, write_dense
    from p2pfl.runs.memory import check_config

    check_config(config, dense=True)
    with course_in(folder) as course:
        run = build_dense(config, on_emit=course.take, engine=train_engine)
        course.begin(run.shared)
        with LiveTable(run.outcomes.values(), f"{config.name}, dense", quiet):
            run_dense(run)
    compared = None
    if baselines:
        with counting("baselines", quiet) as on_step:
            compared = compute_baselines(run.shared, run.held, run.shares, config.data, on_step)
    summary = dense_summary(run, compared)
    if folder is not None:
        write_dense(folder, run, summary)
    return summary


def _check_dense(config: NetworkConfig, loss: float, speeds: tuple[float, ...], engine: str = "dense") -> None:
    if config.pace.mode != "lockstep":
        raise ConfigError(f"--engine {engine}: all nodes go in step; add --set pace.mode=lockstep")
    if loss or speeds != (1.0,):
        raise ConfigError(f"--engine {engine}: nothing is lost and all machines are alike; use --engine events")


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
