"""`p2pfl sim NETWORK --engine ray`: one network in shards on many cores or machines. Knows the terminal only."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from p2pfl.cli.live import LiveTable, bytes_text, counting
from p2pfl.config import NetworkConfig
from p2pfl.errors import ConfigError

if TYPE_CHECKING:
    from p2pfl.learn.stacked import EngineName
    from p2pfl.runs.folder import RunFolder
    from p2pfl.runs.shards_checkpoint import Found
    from p2pfl.runs.shards_run import ShardedRun


@dataclass(frozen=True)
class RayOptions:
    """What only this engine is asked."""

    workers: int
    address: str | None
    checkpoint: Path | None
    every: int
    resume: bool
    quiet: bool


def run_ray(
    config: NetworkConfig, options: RayOptions, train_engine: "EngineName", folder: "RunFolder | None", baselines: bool
) -> dict[str, Any]:
    """The summary. Raises ConfigError, and HostError if a worker dies."""
    from p2pfl.runs.memory import check_config
    from p2pfl.runs.shards_checkpoint import Checkpoints
    from p2pfl.runs.shards_ray import RayTeam
    from p2pfl.runs.shards_run import build_sharded, run_sharded, sharded_summary, write_sharded

    if options.address is None:
        check_config(config, dense=True)
    checkpoints = None if options.checkpoint is None else Checkpoints.of(options.checkpoint, config)
    found = None
    if checkpoints is not None and options.resume:
        found = checkpoints.newest()
    elif checkpoints is not None:
        checkpoints.check_unused()
    run = build_sharded(config, options.workers, engine=train_engine, found=found)
    with LiveTable(run.outcomes.values(), f"{config.name}, {options.workers} workers", options.quiet) as table:
        if not options.quiet:
            table.say(_words(run, found, checkpoints is not None and options.resume))
        with closing(RayTeam(run.orders, options.address, run.cut.bytes_per_round)) as team:
            run_sharded(run, team, checkpoints, options.every, found)
            summary = sharded_summary(run, None)
            if folder is not None:
                write_sharded(folder, run, team, summary)
    if baselines:
        summary = sharded_summary(run, _baselines(run, options.quiet))
        if folder is not None:
            folder.write_summary(summary)
    return summary


def _baselines(run: "ShardedRun", quiet: bool) -> Any:
    from p2pfl.assemble.splits import load_held, shares_of
    from p2pfl.runs.baselines import compute_baselines

    config = run.shared.config
    held = load_held(config.data, config.seed)
    shares = shares_of(held, config.data, len(config.nodes), config.seed)
    with counting("baselines", quiet) as on_step:
        return compute_baselines(run.shared, held, shares, config.data, on_step)


def _words(run: "ShardedRun", found: "Found | None", resume: bool) -> str:
    """Before a run: what will cross, and from where it goes on."""
    cut, sizes = run.cut, sorted(len(numbers) for numbers in run.members)
    each = f"{sizes[0]}" if sizes[0] == sizes[-1] else f"{sizes[0]} to {sizes[-1]}"
    said = f"{len(sizes)} workers, {each} nodes each: {cut.edges} of {cut.all_edges} edges cross, "
    said += f"{cut.rows_per_round:.0f} rows or {bytes_text(cut.bytes_per_round)} a round"
    if found is None and resume:
        said += "; there is no checkpoint yet: from the start"
    if found is not None:
        said += f"; going on from round {found.position.rounds}"
    return said


def refuse_without_ray(address: str | None, checkpoint: Path | None) -> None:
    """Raises ConfigError if an option of this engine is given to another."""
    for name, value in (("--ray-address", address), ("--checkpoint", checkpoint)):
        if value is not None:
            raise ConfigError(f"{name}: is for --engine ray")


def said_died(error: Exception) -> int:
    """A run that ended without its fault: one line, and exit code 1."""
    click.echo(f"error: {error}", err=True)
    return 1
