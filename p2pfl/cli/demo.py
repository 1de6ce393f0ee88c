"""`p2pfl demo`: a network of node processes on this machine, watched, compared and verified."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

import click

from p2pfl.cli.demo_strategies import prepare, print_earned, what_it_took, what_they_earned
from p2pfl.cli.init import write_trial
from p2pfl.cli.show import json_option, print_json
from p2pfl.cli.templates import SAMPLES
from p2pfl.config import load_network
from p2pfl.errors import ConfigError

LIMIT_S = 900.0
NODES_MAX = 64
PRIVATELY = (
    'privacy.unit="example"',
    "privacy.delta=1e-4",
    "privacy.rate=0.3",
    "model.args={ hidden = [64] }",
    "train.steps=1",
    "train.lr=0.5",
)
"""What --epsilon means besides, before --set: few and large steps of a small model. A node has 100 to 300 examples."""

SECURELY = ('mix.rule="cell"', 'compress.codec="fp32"', 'pace.mode="lockstep"')
"""What --secure means, before --set."""


@click.command()
@click.option("--nodes", "num_nodes", type=click.IntRange(2, NODES_MAX), default=8, show_default=True, help="How many.")
@click.option("--topology", default="exponential", show_default=True, help="The family of graphs.")
@click.option(
    "--data", type=click.Choice(["digits", "breast_cancer"]), default="digits", show_default=True, help="What to learn."
)
@click.option("--alpha", default=0.1, show_default=True, help="Dirichlet(alpha) label skew; smaller is more uneven.")
@click.option("--rounds", type=click.IntRange(1), default=600, show_default=True, help="Local phases of every node.")
@click.option(
    "--epsilon",
    type=click.FloatRange(0, min_open=True),
    help="Differential privacy of each example: the budget of a node.",
)
@click.option("--secure", is_flag=True, help="Secure cells: nobody sees a node's model, only the mean of its cell.")
@click.option(
    "--strategies",
    metavar="NAME*N,..",
    help="A trial of incentives: how each node behaves, like honest*6,copycat,freerider; balances and why.",
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of network.toml.")
@click.option("--out", type=click.Path(path_type=Path), help="Keep everything in this folder (else it is thrown away).")
@click.option("--resume", is_flag=True, help="With --out: go on with the demo that the folder holds.")
@click.option("--quiet", is_flag=True, help="No progress, only the result.")
@json_option
def demo(
    num_nodes: int,
    topology: str,
    data: str,
    alpha: float,
    rounds: int,
    epsilon: float | None,
    secure: bool,
    strategies: str | None,
    overrides: tuple[str, ...],
    out: Path | None,
    resume: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Start a network of nodes on this machine and watch it learn.

    Each node is a process of its own with its own uneven share of the data; they exchange over HTTP on loopback. At
    the end: the network's accuracy beside a node alone and beside centralised training, bytes, and all feeds verified.
    """
    if epsilon is not None:
        overrides = (*PRIVATELY, f"privacy.epsilon={epsilon}", *overrides)
    if secure:
        overrides = (*SECURELY, *overrides)
    names: tuple[str, ...] = ()
    if strategies is not None:
        from p2pfl.strategies import parse_strategies

        names = parse_strategies(strategies)
        num_nodes = len(names)
        if secure or resume or not 2 <= num_nodes <= NODES_MAX:
            raise ConfigError(f"--strategies: expected 2 to {NODES_MAX} nodes, and neither --secure nor --resume")
    home = out if out is not None else Path(tempfile.mkdtemp(prefix="p2pfl-demo-"))
    try:
        summary = _run(home, num_nodes, topology, data, alpha, rounds, overrides, resume, quiet or as_json, names)
        earned, took = (what_they_earned(home, names), what_it_took(home)) if names else ([], {})
    finally:
        if out is None:
            shutil.rmtree(home, ignore_errors=True)
    if as_json:
        print_json(summary | ({"earned": earned, "valuing": took} if names else {}))
    else:
        from p2pfl.cli.results import print_network

        print_network(summary)
        if names:
            print_earned(earned, took)
        if out is not None:
            click.echo(f"\nEverything is in {out}. Try:")
            run = out / "nodes" / "n0" / "run"
            for line in (f"log {run} --final", f"balance {run}", f"explain {run} n1"):
                click.echo(f"  p2pfl ledger {line}")
    failed = summary["failures"] or not summary["feeds_verified"] or summary["ledger_agrees"] is False
    return 1 if failed else 0


def _run(
    home: Path,
    num_nodes: int,
    topology: str,
    data: str,
    alpha: float,
    rounds: int,
    overrides: tuple[str, ...],
    resume: bool,
    quiet: bool,
    names: tuple[str, ...],
) -> dict[str, Any]:
    from p2pfl.cli.live import LiveTable
    from p2pfl.runs.local import Process, free_ports, run_processes
    from p2pfl.runs.outcome import Outcome

    if not (resume and (home / "network.toml").exists()):
        changes = (f"pace.rounds={rounds}", f"data.partition.alpha={alpha}", *overrides)
        write_trial(home, free_ports(num_nodes), topology, SAMPLES[data], changes)
        if names:
            prepare(home, names, overrides)
        settle_noise(home / "network.toml")
    config = load_network(home / "network.toml")
    processes = []
    for entry in config.nodes:
        folder = home / "nodes" / entry.name
        outcome = Outcome(entry.name, 0)
        arguments = ("--resume",) if resume else ()
        processes.append(Process(folder / "node.toml", folder / "run", outcome, arguments))
    outcomes = [process.outcome for process in processes]
    title = f"{len(processes)} nodes, {topology}, {data}"
    with LiveTable(outcomes, title, quiet) as live:
        if not quiet:
            live.say(f"{len(processes)} node processes are starting on loopback; each trains on its own share only")
        run_processes(processes, lambda: None, LIMIT_S)
    if not quiet:
        live.say("the network is done; training what it is compared with: each node alone, and all data together")
    return _judge(home, [process.summary() for process in processes], quiet)


def settle_noise(document: Path) -> None:
    """Write the noise that the budget needs into the document, so that not every node has to solve for it."""
    from p2pfl.assemble.private import promise_of
    from p2pfl.config.documents import dump_toml

    promise = promise_of(load_network(document))
    if promise is not None:
        document.write_text(dump_toml(load_network(document, (f"privacy.noise={promise.noise!r}",))), "utf-8")


def _judge(home: Path, rows: list[dict[str, Any]], quiet: bool) -> dict[str, Any]:
    import torch

    from p2pfl.assemble.network import assemble
    from p2pfl.assemble.splits import load_held, shares_of
    from p2pfl.cli.live import counting
    from p2pfl.ledger.check.verify import verify_store
    from p2pfl.runs.baselines import compute_baselines
    from p2pfl.runs.folder import RunFolder
    from p2pfl.runs.network import finals_in, ledger_agreement, references_agree, summarise
    from p2pfl.runs.similarity import write_picture

    torch.set_num_threads(1)
    config = load_network(home / "network.toml")
    shared, held = assemble(config), load_held(config.data, config.seed)
    shares = shares_of(held, config.data, len(config.nodes), config.seed)
    with counting("baselines", quiet) as on_step:
        compared = compute_baselines(shared, held, shares, config.data, on_step)
    stores = [home / "nodes" / entry.name / "run" / "node.db" for entry in config.nodes]
    verified = all(store.exists() and verify_store(store).ok for store in stores)
    ids = {entry.name: entry.key.hex() for entry in config.nodes}
    finals = [finals_in(store) if store.exists() else {} for store in stores]
    summary = summarise(rows, compared, references_agree(rows, ids), verified, ids) | ledger_agreement(finals)
    write_picture(RunFolder(home), summary["similarity"])
    return summary
