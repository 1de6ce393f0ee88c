"""The rule "cell" in the gossip job: equal to the plain mean within the rounding bound, whatever the network does."""

from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch

from p2pfl.assemble.network import assemble
from p2pfl.config import NetworkConfig, parse_network
from p2pfl.core.party import Emit
from p2pfl.errors import ConfigError, Reject
from p2pfl.hosts.faults import Crash, Faults
from p2pfl.hosts.trace import Trace
from p2pfl.runs.dense import build_dense, run_dense
from p2pfl.runs.simulate import Simulation, World, build_simulation, run_simulation, simulated
from p2pfl.secagg.rounding import Grid
from p2pfl.secagg.statements import CellMessage, Step

ROUNDS, CLOSING = 4, 1
Emitted = list[tuple[str, Emit]]


def document(num_nodes: int = 8, **sections: dict[str, Any]) -> NetworkConfig:
    """Lockstep rounds of a small model in cells of four; `sections` change or add keys."""
    plain: dict[str, Any] = {
        "format": 1,
        "seed": 3,
        "model": {"name": "mlp", "args": {"hidden": [16]}, "input_shape": [1, 8, 8], "num_classes": 10},
        "pace": {"mode": "lockstep", "rounds": ROUNDS, "window": 3, "evaluate": 0, "timeout_s": 4.0},
        "topology": {"family": "complete"},
        "train": {"lr": 0.1, "batch_size": 16, "steps": 2},
        "mix": {"rule": "cell", "size": 4},
        "compress": {"codec": "fp32"},
        "data": {"source": "digits", "partition": {"by": "dirichlet", "alpha": 0.5}},
    }
    for name, values in sections.items():
        plain[name] = {**plain.get(name, {}), **values}
    return simulated(parse_network(tomli_w.dumps(plain), Path("network.toml")), num_nodes)


def run(config: NetworkConfig, faults: Faults | None = None) -> tuple[Simulation, Trace, Emitted]:
    emitted: Emitted = []
    world = World(faults=faults or Faults())
    simulation = build_simulation(config, world, on_emit=lambda outcome, emit: emitted.append((outcome.name, emit)))
    return simulation, run_simulation(simulation), emitted


def models(simulation: Simulation) -> dict[str, torch.Tensor]:
    return {name: node.job.local.x for name, node in simulation.nodes.items()}


def count(emitted: Emitted, name: str) -> int:
    return sum(emit.name == name for _, emit in emitted)


def farthest(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return max(float((one[name] - other[name]).abs().max()) for name in one)


@pytest.mark.parametrize(
    ("graph", "scope", "gain"),
    [("complete", "neighbourhood", 0.0), ("ring", "neighbourhood", 0.0), ("ring", "members", 0.5)],
)
def test_secure_rounds_are_plain_rounds_within_the_bound(graph: str, scope: str, gain: float) -> None:
    """The dense engine takes the plain mean. Bound: a unit a round, times what training makes of it (here below 2), and
    float32's own rounding."""
    config = document(topology={"family": graph}, mix={"scope": scope, "dual_gain": gain})
    simulation, trace, emitted = run(config)
    assert trace.outcome == "stopped"
    assert not count(emitted, "cell_failed")
    dense = build_dense(config)
    run_dense(dense)
    rounds = [(name, emit.fields["round"]) for name, emit in emitted if emit.name in ("cell", "alone")]
    assert len(rounds) == len(set(rounds)) == 8 * (ROUNDS + CLOSING)  # each round once
    bound = 2 * (ROUNDS + CLOSING) * (Grid(64.0, 4).unit + 2.0**-22)
    assert farthest(models(simulation), dense.models()) < bound


def test_half_the_bits_are_half_the_bytes_and_the_mean_within_their_grid() -> None:
    """Plain quantisation. The averages beside the model are said in digits, and stay exact to a few millionths."""
    sent = {}
    for bits in (16, 32):
        config = document(mix={"bits": bits, "reach": 4.0}, pace={"rounds": 1, "closing": 0})
        simulation, _, emitted = run(config)
        assert count(emitted, "cell") == 8
        dense = build_dense(config)
        run_dense(dense)
        unit = Grid(4.0, 4, 16).unit if bits == 16 else Grid(4.0, 4).unit
        assert farthest(models(simulation), dense.models()) < unit + 2.0**-22
        jobs = [node.job for node in simulation.nodes.values()]
        samples = sum(job.samples for job in jobs) / 8
        assert sum(job.local.averages.samples for job in jobs) / 8 == pytest.approx(samples, abs=8)
        sent[bits] = sum(node.party.traffic.body_bytes_sent for node in simulation.nodes.values())
    words = 2 * 3 / 4 * (1210 + 2)  # a node's slices for three others, and its slice's sum to each
    assert sent[32] - sent[16] == pytest.approx(8 * words * 2, rel=0.15)


def test_what_the_network_does_changes_no_bit() -> None:
    still, _, _ = run(document())
    shaken, trace, emitted = run(document(), Faults(request_loss=0.03, reply_loss=0.03, duplicate=0.05))
    assert trace.outcome == "stopped"
    assert not count(emitted, "cell_failed")
    assert farthest(models(still), models(shaken)) == 0.0


def test_a_member_that_is_gone_is_done_without() -> None:
    """Cells of five with one dead still sum; only the rounds in which it is the chair are lost."""
    config = document(10, mix={"size": 5})
    dead = config.nodes[3]
    simulation, _, emitted = run(config, Faults(crashes=(Crash(dead.key, 0.2, None),)))
    failed = [emit.fields["reason"] for _, emit in emitted if emit.name == "cell_failed"]
    assert all("does not answer" in str(reason) or "did not come" in str(reason) for reason in failed)
    sums = [emit.fields for _, emit in emitted if emit.name == "cell" and emit.fields["survivors"] == 4]
    assert sums
    assert all(node.job.local.finished for name, node in simulation.nodes.items() if name != dead.name)


def test_a_member_that_comes_back_takes_part_again() -> None:
    config = document(8, pace={"rounds": 12})
    back = config.nodes[2]
    simulation, trace, emitted = run(config, Faults(crashes=(Crash(back.key, 0.2, 1.0),)))
    assert trace.outcome == "stopped"
    assert [emit for _, emit in emitted if emit.name == "blamed"] == []
    late = [emit.fields["round"] for name, emit in emitted if name == back.name and emit.name == "cell"]
    assert late
    assert max(late) >= 11
    assert all(node.job.local.finished for node in simulation.nodes.values())


def test_a_secret_serves_one_cell_and_no_row_leaves_a_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are new in every round, also where a node comes to the same round again after a crash."""
    keys: set[tuple[bytes, bytes]] = set()
    steps: set[Step] = set()
    made = CellMessage.to_fields

    def watched(message: CellMessage) -> list[Any]:
        steps.add(message.step)
        if message.step is Step.KEYS:
            keys.update((raw, message.cell) for raw in message.payload[:2])
        return made(message)

    monkeypatch.setattr(CellMessage, "to_fields", watched)
    config = document()
    _, trace, emitted = run(config, Faults(request_loss=0.05, crashes=(Crash(config.nodes[1].key, 0.15, 0.2),)))
    assert trace.outcome == "stopped"
    assert count(emitted, "cell") > 8
    assert len({raw for raw, _ in keys}) == len(keys)
    assert {Step.SLICE, Step.TOTAL, Step.ANSWERS} <= steps
    assert {name for name in trace.counts if "row" in name} == set()


def test_randomk_moves_only_what_was_drawn() -> None:
    config = document(mix={"size": 8}, compress={"codec": "randomk", "share": 0.25}, pace={"rounds": 1, "closing": 0})
    simulation, _, emitted = run(config)
    assert count(emitted, "cell") == 8
    rows = torch.stack(list(models(simulation).values()))
    same = int(((rows - rows[0]).abs().amax(0) < 1e-6).sum())
    assert 0.2 * rows.shape[1] < same < 0.6 * rows.shape[1]


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"compress": {"codec": "int8"}}, "masked integers"),
        ({"compress": {"codec": "topk"}}, "masked integers"),
        ({"compress": {"codec": "fp16"}}, "masked integers"),
        ({"mix": {"size": 2}}, "3 to 16 members"),
        ({"mix": {"bits": 8}}, "16 or 32"),
        ({"mix": {"scope": "town"}}, "neighbourhood or members"),
        ({"mix": {"reach": 0.0}}, "2\\^-10 to 2\\^20"),
        ({"pace": {"mode": "async"}}, "lockstep"),
    ],
)
def test_what_cannot_be_summed_is_refused_at_once(sections: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        assemble(document(**sections), device="cpu")
    assert "\n" not in str(caught.value)


def test_a_graph_without_cells_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"3 nodes or more|2 neighbours or more"):
        assemble(document(2), device="cpu")


def test_every_prefix_of_a_message_is_refused() -> None:
    fields = CellMessage(bytes(32), bytes(32), bytes(32), 3, Step.KEYS, (b"k" * 32, b"s" * 32, 0)).to_fields()
    assert CellMessage.from_fields(fields).to_fields() == fields
    for cut in range(len(fields)):
        with pytest.raises(Reject):
            CellMessage.from_fields(fields[:cut])
    for place, bad in ((0, 2), (0, True), (1, b""), (4, -1), (5, 99), (5, True), (6, 1)):
        with pytest.raises(Reject):
            CellMessage.from_fields([bad if n == place else value for n, value in enumerate(fields)])
