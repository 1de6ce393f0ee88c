"""A shard's file: golden bytes, and what is refused. Format: docs/formats/shard.md."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from p2pfl.config import parse_network
from p2pfl.errors import ConfigError, HostError
from p2pfl.hosts.shards_state import keep, restore
from p2pfl.runs.outcome import Outcome
from p2pfl.runs.shards import Shard, ShardOrder
from p2pfl.runs.shards_checkpoint import MANIFEST, Checkpoints, Position
from p2pfl.runs.shards_file import digest_of, read_shard, write_shard
from p2pfl.runs.simulate import simulated

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "shard.json").read_text())
NETWORK = """
format = 1
[model]
name = "linear"
[pace]
mode = "lockstep"
rounds = 2
[mix]
rule = "{rule}"
"""


def small() -> dict[str, torch.Tensor]:
    return {
        "x": torch.arange(6, dtype=torch.float32).view(2, 3) / 4,
        "local.steps": torch.tensor([7, 8]),
        "averages.samples": torch.tensor([1.5, -2.0], dtype=torch.float64),
        "index": torch.tensor([3]),
    }


def shard(rule: str, members=((0, 2), (1, 3))) -> Shard:
    config = simulated(parse_network(NETWORK.format(rule=rule), Path("network.toml")), 4)
    return Shard(ShardOrder(config, 0, members, "loop"))


def test_a_file_has_these_bytes(tmp_path):
    digest = write_shard(tmp_path / "s.safetensors", small())
    assert (tmp_path / "s.safetensors").read_bytes().hex() == VECTORS["file"]
    assert digest.hex() == VECTORS["digest"]
    back = read_shard(tmp_path / "s.safetensors", digest)
    assert back.keys() == small().keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in small().items())


def test_a_manifest_has_this_text(tmp_path):
    checkpoints = Checkpoints(tmp_path, "ab" * 32)
    for path in checkpoints.files(4, 2):
        path.parent.mkdir(exist_ok=True)
    outcome = Outcome("n0", 10, round=4, rounds=9, loss=0.5)
    checkpoints.complete(Position(4, 0, ("loop", "vmap")), ((0,), (1, 2)), [bytes(32), b"\xff" * 32], {"n0": outcome})
    assert (tmp_path / "round-00000004" / MANIFEST).read_text() == VECTORS["manifest"]
    found = checkpoints.newest()
    assert found is not None
    assert vars(found.outcomes["n0"]) == vars(outcome)
    assert found.digests == (bytes(32), b"\xff" * 32)


@pytest.mark.parametrize("rule", ["pairwise", "choco", "push_sum"])
def test_a_shard_has_these_tensors(rule):
    described = {name: f"{t.dtype} {list(t.shape)}" for name, t in sorted(keep(shard(rule).host).items())}
    assert described == VECTORS["tensors"][rule]


def test_an_unknown_version_is_refused(tmp_path):
    path = tmp_path / "s.safetensors"
    for metadata in ({"p2pfl.shard": "2"}, {}):
        save_file(small(), path, metadata)
        digest = digest_of(path)
        with pytest.raises(ConfigError, match=r"expected a shard of format 1, got (2|none)"):
            read_shard(path, digest)
    path.write_bytes(b"no shard")
    with pytest.raises(ConfigError, match="cannot read the checkpoint"):
        read_shard(path, digest_of(path))


def test_a_disk_that_refuses_is_said(tmp_path):
    (tmp_path / "folder").write_text("a file")
    with pytest.raises(HostError, match="cannot write the checkpoint"):
        write_shard(tmp_path / "folder" / "s.safetensors", small())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda kept: kept.pop("x"), "'x' is in only one"),
        (lambda kept: kept.update(odd=torch.zeros(1)), "'odd' is in only one"),
        (lambda kept: kept.update(x=kept["x"][:1]), "x: expected torch.float32"),
        (lambda kept: kept.update(x=kept["x"].double()), "got torch.float64"),
    ],
    ids=["missing", "odd", "shape", "dtype"],
)
def test_tensors_of_another_shard_are_refused(change, said):
    one = shard("average")
    kept = keep(one.host)
    change(kept)
    with pytest.raises(ValueError, match=said):
        restore(shard("average").host, kept)
