"""`p2pfl init`: a trial network in a folder, ready to start. Works offline; makes keys, never shares them."""

import json
from collections.abc import Sequence
from os.path import relpath
from pathlib import Path

import click

from p2pfl.cli.genesis import trial_genesis
from p2pfl.cli.network import appended
from p2pfl.cli.show import json_option, print_json
from p2pfl.cli.templates import SAMPLES, TASK, TASK_FILE, Sample, network_text, node_text
from p2pfl.config import NodeEntry, TopologyConfig, dump_toml, load_network, parse_network
from p2pfl.config.graph import load_graph
from p2pfl.config.schema import GENESIS_FILE, NETWORK_FILE, NODE_FILE
from p2pfl.core.limits import PEERS_MAX
from p2pfl.errors import ConfigError
from p2pfl.topology.graphs.numbered import numbered
from p2pfl.wire import keyfile

PORT_MAX = 65_535


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--nodes", "num_nodes", type=click.IntRange(2, PEERS_MAX), default=3, show_default=True, help="How many.")
@click.option("--topology", default="ring", show_default=True, help="The family of graphs: who is whose neighbour.")
@click.option(
    "--data",
    type=click.Choice(list(SAMPLES)),
    default="digits",
    show_default=True,
    help="What to learn; task.py is the example of a model and data of your own.",
)
@click.option(
    "--app",
    metavar="FILE:NAME",
    help="What p2pfl.adapt gave, under that name in that Python file: a model with its data, instead of --data.",
)
@click.option(
    "--port", type=click.IntRange(1, PORT_MAX), default=9001, show_default=True, help="The first node's; then upwards."
)
@json_option
def init(folder: Path, num_nodes: int, topology: str, data: str, app: str | None, port: int, as_json: bool) -> None:
    """Make a local trial network in a folder.

    DIR must be empty or new. It gets network.toml, the genesis of a ledger, task.py, and for each node a folder with
    node.toml and a key.
    """
    if port + num_nodes - 1 > PORT_MAX:
        raise ConfigError(f"expected ports up to {PORT_MAX}, got {num_nodes} from {port} on")
    sample = SAMPLES[data] if app is None else adapted_sample(app, folder)
    nodes = write_trial(folder, range(port, port + num_nodes), topology, sample)
    if as_json:
        print_json({"folder": str(folder), "network": str(folder / NETWORK_FILE), "nodes": [str(n) for n in nodes]})
        return
    click.echo(f"{folder}: a network of {num_nodes} nodes. Next:\n")
    click.echo(f"  p2pfl sim {folder / NETWORK_FILE}                      all of it, simulated")
    click.echo("  or, each in a terminal of its own:")
    for node in nodes[:3]:
        click.echo(f"  p2pfl node --config {node}")
    if len(nodes) > 3:
        click.echo(f"  ... and {len(nodes) - 3} more")
    own = folder / TASK_FILE if app is None else app.rpartition(":")[0]
    click.echo(f"\nYour own model and data: {own}. All settings: docs/configuration.md")


def adapted_sample(app: str, folder: Path) -> Sample:
    """FILE:NAME, as a network document in `folder` names its parts. Raises ConfigError."""
    from p2pfl.adapters.adapted import Adapted
    from p2pfl.learn.names import resolve

    found = resolve(app, Path.cwd())
    if not isinstance(found, Adapted):
        raise ConfigError(f"--app {app}: expected what p2pfl.adapt gave, got {type(found).__name__}")
    where, _, name = app.rpartition(":")
    if where.endswith(".py"):
        where = relpath(where, folder)
    document = found.document(f"{where}:{name}")
    model, train, data = document["model"], dict(document["train"]), document["data"]
    more = {key: train.pop(key) for key in ("steps", "batch_size") if key in train}
    if "partition" in data:
        by = json.dumps(data["partition"]["by"])
        more["partition"] = f"partition = {{ by = {by} }}"
    more |= {key: data[key] for key in ("validation_fraction",) if key in data}
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in train.items())
    shape = tuple(model["input_shape"])
    return Sample(data["source"], model["name"], shape, model["num_classes"], found.lr, lines, **more)


def write_trial(
    folder: Path, ports: Sequence[int], topology: str, sample: Sample, overrides: Sequence[str] = ()
) -> list[Path]:
    """A trial network on loopback in a new or empty folder, a node for each port; the node documents' paths.

    `overrides` ("pace.rounds=50") change network.toml as `--set` would. Raises ConfigError.
    """
    names = numbered(len(ports))
    load_graph(TopologyConfig(family=topology), names)
    _check_empty(folder)
    try:
        nodes = _write(folder, names, topology, sample, ports)
        if overrides:
            path = folder / NETWORK_FILE
            path.write_text(dump_toml(load_network(path, overrides)), "utf-8")
    except OSError as error:
        raise ConfigError(f"cannot write {error.filename or folder}: {error.strerror}") from None
    return nodes


def _check_empty(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: expected a new or empty folder, got a file")
    if folder.is_dir() and (first := next(folder.iterdir(), None)) is not None:
        raise ConfigError(f"{folder}: expected a new or empty folder, got one with {first.name} in it")


def _write(folder: Path, names: Sequence[str], topology: str, sample: Sample, ports: Sequence[int]) -> list[Path]:
    """The files of a trial network; the node documents' paths."""
    text = network_text("trial", sample, topology, ledger=True)
    documents, keys = [], []
    for index, (name, port) in enumerate(zip(names, ports, strict=True)):
        address = f"127.0.0.1:{port}"
        home = folder / "nodes" / name
        home.mkdir(parents=True)
        signer = keyfile.create(home / "key")
        keys.append(signer.node)
        text = appended(text, NodeEntry(name=name, key=signer.node, url=f"http://{address}"))
        documents.append(home / NODE_FILE)
        documents[-1].write_text(node_text(name, address, index), "utf-8")
    parse_network(text, folder / NETWORK_FILE)
    (folder / NETWORK_FILE).write_text(text, "utf-8")
    (folder / GENESIS_FILE).write_text(trial_genesis("trial", keys).to_toml(), "utf-8")
    (folder / TASK_FILE).write_text(TASK, "utf-8")
    return documents
