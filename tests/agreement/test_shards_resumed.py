"""A run in shards that was interrupted and goes on from its checkpoint ends as one that was not, bit for bit."""

from pathlib import Path
from typing import Any

import pytest
import torch

from p2pfl.config import NetworkConfig
from p2pfl.errors import ConfigError, HostError
from p2pfl.runs.shards_checkpoint import MANIFEST, Checkpoints
from p2pfl.runs.shards_run import ShardedRun, build_sharded, run_sharded, sharded_summary
from p2pfl.runs.shards_team import LocalTeam, WorkerDied
from p2pfl.runs.simulate import simulated


class MortalTeam(LocalTeam):
    """Worker 1 dies when it is to land for the given time."""

    def __init__(self, orders, landings: int) -> None:
        super().__init__(orders)
        self.landings = landings

    def ask(self, worker: int, step: str, *given: Any) -> Any:
        if worker == 1 and step == "land":
            self.landings -= 1
            if not self.landings:
                raise WorkerDied(1)
        return super().ask(worker, step, *given)


def network(kit, rule: str = "pairwise", codec: str = "deadzone", **sections) -> NetworkConfig:
    """Seven rounds with judgements and momentum; two closing exchanges and more."""
    small = {"name": "mlp", "args": {"hidden": [6]}, "input_shape": [1, 8, 8], "num_classes": 10}
    pace = {"rounds": 7, "evaluate": 2, "closing": 2} | sections.pop("pace", {})
    config = kit.document(
        mix={"rule": rule},
        compress={"codec": codec},
        topology={"family": "torus"},
        model=small,
        pace=pace,
        **({"train": {"optimizer": "momentum", "lr": 0.05, "steps": 2}} | sections),
    )
    return simulated(config, 9)


def gone_through(config: NetworkConfig, team_of=LocalTeam, folder: Path | None = None, every: int = 2, resume=False):
    """-> the run and each node's model."""
    checkpoints = None if folder is None else Checkpoints.of(folder, config)
    found = checkpoints.newest() if checkpoints is not None and resume else None
    run = build_sharded(config, 3, engine="loop", found=found)
    team = team_of(run.orders)
    run_sharded(run, team, checkpoints, every, found)
    return run, {run.names[number]: torch.from_numpy(x) for shard in team.shards for number, _, x in shard.models()}


def summary(run: ShardedRun) -> dict[str, Any]:
    """What must not depend on interruptions."""
    told = sharded_summary(run, None)
    return {key: value for key, value in told.items() if key not in ("cut", "resumed_at")}


def interrupt(config: NetworkConfig, folder: Path, landings: int, every: int = 2) -> str:
    with pytest.raises(HostError) as caught:
        gone_through(config, lambda orders: MortalTeam(orders, landings), folder, every)
    return str(caught.value)


@pytest.mark.parametrize(
    ("rule", "codec", "died", "resumed"),
    [
        ("pairwise", "deadzone", 6, 4),
        ("gradient_tracking", "int8", 4, 2),
        ("push_sum", "int8", 9, 8),
        ("average", "fp32", 5, 4),
    ],
    ids=["pairs", "rows", "while closing", "rows that are the models"],
)
def test_it_ends_as_if_nothing_had_happened(kit, tmp_path, rule, codec, died, resumed):
    config = network(kit, rule, codec)
    straight, expected = gone_through(config)
    said = interrupt(config, tmp_path, died)
    assert said.startswith(f"worker 1 died in round {died}; go on from round {resumed} with: --checkpoint ")
    run, models = gone_through(config, folder=tmp_path, resume=True)
    assert run.resumed == resumed
    assert all(torch.equal(models[name], x) for name, x in expected.items())
    assert summary(run) == summary(straight)


def test_a_reference_of_a_later_epoch_is_taken_up(kit, tmp_path):
    train = {"optimizer": "adam", "lr": 0.3, "steps": 5}
    config = network(kit, train=train, pace={"rounds": 12})
    straight, expected = gone_through(config)
    interrupt(config, tmp_path, 10, every=9)
    run, models = gone_through(config, folder=tmp_path, resume=True)
    assert any(int(edge["epoch"] or 0) for outcome in run.outcomes.values() for edge in outcome.edges)
    assert [o.edges for o in run.outcomes.values()] == [o.edges for o in straight.outcomes.values()]
    assert all(torch.equal(models[name], x) for name, x in expected.items())


def test_before_the_first_checkpoint_it_starts_again(kit, tmp_path):
    config = network(kit)
    assert interrupt(config, tmp_path, 2).endswith("there is no checkpoint yet: start again")
    assert Checkpoints.of(tmp_path, config).newest() is None
    with pytest.raises(HostError, match="there is no checkpoint: run with --checkpoint DIR"):
        gone_through(config, lambda orders: MortalTeam(orders, 2))


def test_only_whole_checkpoints_count_and_the_last_two_are_kept(kit, tmp_path):
    config = network(kit)
    gone_through(config, folder=tmp_path, every=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["round-00000012", "round-00000015"]
    checkpoints = Checkpoints.of(tmp_path, config)
    (tmp_path / "round-00000015" / MANIFEST).unlink()  # as if it had died just before
    found = checkpoints.newest()
    assert found is not None
    assert found.position.rounds == 12
    with pytest.raises(ConfigError, match="go on with --resume, or choose another folder"):
        checkpoints.check_unused()


def test_what_cannot_be_gone_on_with_is_refused_in_one_line(kit, tmp_path):
    config = network(kit)
    interrupt(config, tmp_path, 5)
    other = network(kit, train={"optimizer": "momentum", "lr": 0.06, "steps": 2})
    with pytest.raises(ConfigError, match="a checkpoint of another document"):
        Checkpoints.of(tmp_path, other).newest()
    found = Checkpoints.of(tmp_path, config).newest()
    with pytest.raises(ConfigError, match="--workers: the checkpoint was written by 3 workers, got 2"):
        build_sharded(config, 2, found=found)
    assert found is not None
    found.files[1].write_bytes(found.files[1].read_bytes()[:-1] + b"\x55")
    with pytest.raises(ConfigError, match=r"shard-001.safetensors: expected the file that the checkpoint names"):
        gone_through(config, folder=tmp_path, resume=True)
    found.files[1].unlink()
    with pytest.raises(ConfigError, match="cannot read the checkpoint"):
        gone_through(config, folder=tmp_path, resume=True)
    for text in ("", "{}", '{"format": 2}', '{"format": 1, "document": 3}', "[1]"):
        (found.files[0].parent / MANIFEST).write_text(text)
        with pytest.raises(ConfigError, match=MANIFEST) as caught:
            Checkpoints.of(tmp_path, config).newest()
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 10])
def test_a_worker_has_a_node_at_least(kit, workers):
    with pytest.raises(ConfigError, match=f"--workers: expected at most one worker a node, 9 here, got {workers}"):
        build_sharded(network(kit), workers)
