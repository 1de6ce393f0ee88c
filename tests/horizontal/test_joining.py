"""Coming late: the model in parts from several neighbours, each part checked; nobody is choked or waits for ever."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.compress import Int8
from p2pfl.core.noise import root
from p2pfl.core.vectors import ParamSchema, ParamSpec
from p2pfl.errors import Reject
from p2pfl.horizontal.joining.donor import SERVED_MAX
from p2pfl.horizontal.model.algorithm import COLD
from p2pfl.horizontal.model.parts import VALUES_MIN, check_list, cut, decode_part, joined, runs_of
from p2pfl.hosts.faults import Crash, Faults
from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.mixing import Average

WIDE = ParamSchema((ParamSpec("w", (9 * VALUES_MIN + 7,), "weights"), ParamSpec("b", (40,), "buffers")))
CODEC = Int8(64)
RING = [(0, 1), (1, 2), (2, 3), (0, 3)]


def model(seed: int = 0) -> torch.Tensor:
    return torch.randn(WIDE.size, generator=torch.Generator().manual_seed(seed))


class TestParts:
    def test_a_model_comes_back_as_the_codec_keeps_it(self):
        x = model()
        whole = cut(x, WIDE, CODEC, root(1))
        check_list(whole.root, whole.digests, len(whole.parts), WIDE)
        parts = [decode_part(i, p.section, p.body, whole.digests, CODEC, WIDE) for i, p in enumerate(whole.parts)]
        assert (joined(parts, x) - x).abs().max() < 0.05

    @given(st.integers(1, 40_000), st.integers(0, 3000))
    @settings(max_examples=30)
    def test_parts_follow_each_other_and_never_cross_a_group(self, weights, buffers):
        specs = [ParamSpec("w", (weights,), "weights"), *([ParamSpec("b", (buffers,), "buffers")] if buffers else [])]
        schema = ParamSchema(tuple(specs))
        runs = runs_of(schema)
        assert [run.start for run in runs] == [0, *(run.stop for run in runs[:-1])]
        assert runs[-1].stop == schema.size
        assert {group.stop for group in schema.groups} <= {run.stop for run in runs}

    @given(st.data())
    @settings(max_examples=30)
    def test_a_part_with_one_byte_changed_is_refused(self, data):
        whole = cut(model(), WIDE, CODEC, root(1))
        number = data.draw(st.integers(0, len(whole.parts) - 1))
        body = bytearray(whole.parts[number].body)
        body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
        with pytest.raises(Reject, match="part-digest"):
            decode_part(number, whole.parts[number].section, body, whole.digests, CODEC, WIDE)

    def test_a_part_of_another_model_is_refused(self):
        mine, other = (cut(model(seed), WIDE, CODEC, root(1)) for seed in (0, 1))
        with pytest.raises(Reject, match="part-digest"):
            decode_part(0, other.parts[0].section, other.parts[0].body, mine.digests, CODEC, WIDE)

    @pytest.mark.parametrize("change", ["root", "short", "count"])
    def test_a_list_that_is_not_its_roots_is_refused(self, change):
        whole = cut(model(), WIDE, CODEC, root(1))
        digests = whole.digests[:-32] if change == "short" else whole.digests
        with pytest.raises(Reject, match=r"root|parts"):
            check_list(bytes(32) if change == "root" else whole.root, digests, 3 if change == "count" else 11, WIDE)


def late(kit, nodes, start, faults=None, mode=None):
    """A world in which the last node comes at `start`."""
    host, emitted = kit.simulate(nodes, faults, absent=(len(nodes) - 1,))
    host.add(nodes[-1].id, nodes[-1].party, nodes[-1].work, MemoryStore, start)
    return host, emitted


def told(emitted, node, name):
    return [dict(emit.fields) for _, who, emit in emitted if who == node.id and emit.name == name]


@pytest.mark.parametrize("index", [0, 3], ids=["it begins epochs", "the others begin them"])
def test_a_newcomer_begins_where_the_network_is(kit, index):
    nodes = kit.nodes(RING, rounds=80, gather_s=0.1)
    nodes.append(nodes.pop(index))
    host, emitted = late(kit, nodes, 1.0)
    trace = host.run(200.0)
    assert trace.outcome == "stopped"
    (found,) = told(emitted, nodes[-1], "joined")
    assert found["round"] > 20
    assert found["donors"] >= 1
    assert 0 < found["bytes"] < 2000
    first = told(emitted, nodes[-1], "round")[0]
    assert first["round"] > found["round"]
    assert {stop.code for stop in trace.stopped.values()} == {0}
    models = torch.stack([host.party(node.id).job.local.x for node in nodes])
    assert float((models - models.mean(0)).norm(dim=1).max()) < 0.5 * float(models.norm(dim=1).mean())


def test_a_newcomer_to_rounds(kit):
    nodes = kit.nodes(RING, Average(), mode="semi_sync", rounds=80, gather_s=0.1)
    host, emitted = late(kit, nodes, 1.0)
    trace = host.run(200.0)
    assert trace.outcome == "stopped"
    (found,) = told(emitted, nodes[-1], "joined")
    assert found["round"] > 10
    assert {stop.code for stop in trace.stopped.values()} == {0}


def test_one_that_dies_while_it_joins_joins_again(kit):
    nodes = kit.nodes(RING, rounds=120, gather_s=0.1)
    host, emitted = late(kit, nodes, 1.0, Faults(crashes=(Crash(nodes[-1].id, 1.06, 0.2),)))
    trace = host.run(200.0)
    assert trace.outcome == "stopped"
    assert told(emitted, nodes[-1], "joined") or told(emitted, nodes[-1], "resumed")
    assert {stop.code for stop in trace.stopped.values()} == {0}


def test_one_that_dies_after_it_joined_goes_on_from_there(kit):
    nodes = kit.nodes(RING, rounds=120, gather_s=0.1, window=50)
    host, emitted = late(kit, nodes, 1.0, Faults(crashes=(Crash(nodes[-1].id, 1.4, 0.2),)))
    host.run(200.0)
    (found,) = told(emitted, nodes[-1], "joined")
    (back,) = told(emitted, nodes[-1], "resumed")
    assert back["round"] >= found["round"]


def test_loss_only_takes_longer(kit):
    nodes = kit.nodes(RING, rounds=200, gather_s=0.1, timeout_s=0.5)
    host, emitted = late(kit, nodes, 1.0, Faults(request_loss=0.2, reply_loss=0.2))
    trace = host.run(500.0)
    assert trace.outcome == "stopped"
    assert told(emitted, nodes[-1], "joined") or told(emitted, nodes[-1], "join_failed")


def test_a_fresh_epoch_begins_with_small_steps(kit):
    edge = next(iter(kit.nodes([(0, 1)])[0].job().exchange.edges.values()))
    assert edge.warmth == 1.0  # all begin at one model
    edge.epoch = 5
    assert edge.warmth == 1.0  # a model that has outgrown its reference is no stranger
    edge.fresh = True
    shares = [setattr(edge, "seq", seq) or edge.warmth for seq in range(COLD + 2)]
    assert shares == [*(2.0 ** (seq - COLD) for seq in range(COLD)), 1.0, 1.0]


@pytest.mark.slow
def test_a_donor_serves_no_more_than_two_at_a_time(kit):
    nodes = kit.nodes([(0, other) for other in range(1, 8)] + [(1, 2)], rounds=300, gather_s=0.1)
    host, emitted = kit.simulate(nodes, absent=(2, 3, 4, 5, 6, 7))
    for node in nodes[2:]:
        host.add(node.id, node.party, node.work, MemoryStore, 1.0)
    served = []
    for hundredths in range(100, 400):
        host.run(hundredths / 100)
        served.append(len(host.party(nodes[0].id).job.donor.served))
    trace = host.run(300.0)
    assert trace.outcome == "stopped"
    assert 0 < max(served) <= SERVED_MAX
    assert all(told(emitted, node, "joined") for node in nodes[2:])
