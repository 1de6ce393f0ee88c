"""Nodes of one model average it beside their answers: who says what to whom, and what comes of it."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from p2pfl.assemble.network import assemble
from p2pfl.compress import Int8
from p2pfl.config import NetworkConfig, load_network
from p2pfl.core.ids import NodeId
from p2pfl.core.noise import root
from p2pfl.errors import Reject
from p2pfl.horizontal.model.work import EncodeRow, GossipWork, body_digest
from p2pfl.horizontal.rows.words import RowSetting, check_row
from p2pfl.learn.flat import FlatModel
from p2pfl.mixing.rows import Heard, Phase
from p2pfl.runs.simulate import Simulation, World, build_simulation, run_simulation, simulated
from p2pfl.transfer.distill import Distill, Pupil, answers_schema
from p2pfl.wire.envelope import chunk_digests
from p2pfl.wire.messages import Row

EXAMPLE = Path(__file__).parents[2] / "examples" / "distill" / "network.toml"
NONE = torch.zeros((), dtype=torch.float64)
SMALL = ("pace.evaluate=0", "pace.rounds=6", "distill.samples=40", "train.steps=2", "mix.steps=2")
ME, TWIN, OTHER = (NodeId(bytes([n]) * 32) for n in (1, 2, 3))


def network(*changes: str, nodes: int = 6) -> NetworkConfig:
    return simulated(load_network(EXAMPLE, ("topology.family=complete", "mix.weights=true", *SMALL, *changes)), nodes)


def pupil(**rule: object) -> tuple[Pupil, Tensor]:
    model = FlatModel(lambda: nn.Linear(4, 3), 1, "cpu")
    public = torch.randn(5, 4, generator=torch.Generator().manual_seed(2))
    return Pupil(Distill(steps=1, lr=1e-9, **rule), model, public, says_model=True), model.start()  # type: ignore[arg-type]


def mixed(own: Pupil, x: Tensor, *rows: Tensor) -> Tensor:
    said = own.outgoing({}, x, Phase(x, NONE))
    filled = [torch.cat([row, row.new_full((len(said) - len(row),), float("nan"))]) for row in rows]
    heard = Heard(said, torch.stack(filled), torch.full((len(rows),), 0.2), NONE, torch.zeros(len(rows), 0))
    return own.mix({}, x, heard, Phase(x, NONE))[1]


def test_models_of_ones_kind_are_averaged_and_answers_alone_are_not() -> None:
    own, x = pupil()
    answers = own.outgoing({}, x, Phase(x, NONE))[:15]
    twin = torch.cat([answers, x + 3.0])
    assert torch.allclose(mixed(own, x, twin, answers), x + 1.5, atol=1e-5)
    assert torch.allclose(mixed(own, x, twin, twin, answers), x + 2.0, atol=1e-5)
    assert torch.allclose(mixed(own, x, answers, answers), x, atol=1e-5)


@pytest.mark.parametrize("average", ["median", "trimmed"])
def test_a_robust_average_is_robust_for_models_too(average: str) -> None:
    own, x = pupil(average=average, trim=0.4)
    answers = own.outgoing({}, x, Phase(x, NONE))[:15]
    near, liar = torch.cat([answers, x + 0.1]), torch.cat([answers, x + 1e6])
    assert float((mixed(own, x, near, liar) - x).abs().max()) < 0.2


def test_who_has_another_model_gets_the_answers_and_nothing_else() -> None:
    own, x = pupil()
    schema = answers_schema(5, 3, own.model.schema)
    assert [group.name for group in schema.groups] == ["answers", "weights"]
    work = GossipWork(None, Int8(), own, Int8(), None, schema)  # type: ignore[arg-type]
    row = work.encode_row(EncodeRow(None, x, {}, Phase(x, NONE), root(1)))
    config = assemble(network(), device="cpu")
    setting = RowSetting(
        config.recipe, config.neighbourhood("n0"), own, Int8(), schema, 1.0, alike=frozenset({ME, TWIN})
    )
    short = setting.said_to(OTHER, row)
    assert setting.said_to(TWIN, row) is row
    assert bytes(short.body) == bytes(row.body)[: row.sections[0].size_bytes]
    assert short.chunks == chunk_digests((bytes(short.body),))
    assert body_digest(short.chunks) != body_digest(row.chunks)

    def told(author: NodeId, said: object) -> None:
        body = memoryview(said.body).nbytes  # type: ignore[attr-defined]
        message = Row(config.recipe.digest, ME, 0, (0.0, 1.0, 0.0, 9), said.sections, ())  # type: ignore[attr-defined]
        check_row(setting, message, author, body, True)

    told(TWIN, row)
    told(OTHER, short)
    for author, said in ((TWIN, short), (OTHER, row)):
        with pytest.raises(Reject, match="sections"):
            told(author, said)


def test_the_kinds_and_their_starts_are_part_of_the_recipe() -> None:
    shared = assemble(network(), device="cpu")
    digests = {shared.of(f"n{number}").recipe.digest for number in range(6)} | {shared.recipe.digest}
    assert len(digests) == 1
    one, two = (shared.of(name)._alike_with(name) for name in ("n0", "n1"))
    assert (one, two) == (
        frozenset({shared.ids["n0"], shared.ids["n3"]}),
        frozenset({shared.ids["n1"], shared.ids["n4"]}),
    )
    assert assemble(network("mix.weights=false"), device="cpu").recipe.digest not in digests
    assert assemble(network("model.input_shape=[1, 8, 8]", "seed=5"), device="cpu").recipe.digest not in digests


def run(config: NetworkConfig) -> Simulation:
    simulation = build_simulation(config, World())
    assert run_simulation(simulation).outcome == "stopped"
    assert not any(outcome.failure for outcome in simulation.outcomes.values())
    return simulation


def apart(simulation: Simulation, a: str, b: str) -> float:
    x, y = (simulation.nodes[name].job.local.x for name in (a, b))
    return float((x - y).norm() / x.norm())


@pytest.mark.parametrize("mode", ["lockstep", "semi_sync"])
def test_nodes_of_one_model_stay_near_each_other(mode: str) -> None:
    beside, alone = (run(network(f"mix.weights={word}", f"pace.mode={mode}")) for word in ("true", "false"))
    for a, b in (("n0", "n3"), ("n1", "n4"), ("n2", "n5")):
        assert apart(beside, a, b) < 0.5 * apart(alone, a, b)
    sent = [run_.outcomes["n0"].traffic["body_bytes_sent"] for run_ in (beside, alone)]
    assert sent[0] > sent[1] + 4 * beside.nodes["n0"].job.local.x.numel()


def test_nodes_of_one_kind_only() -> None:
    """Where all have the same model everybody says it; where each has its own nobody does."""
    each = run(network(nodes=3))
    assert {outcome.num_params for outcome in each.outcomes.values()} == {400}
    all_alike = run(network("distill.models=[]", "model.name=linear"))
    assert {outcome.num_params for outcome in all_alike.outcomes.values()} == {400 + 650}
