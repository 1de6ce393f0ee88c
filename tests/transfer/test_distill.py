"""Distillation: averages of answers, its messages' size, unlike models in one network, and what cannot be."""

import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from p2pfl.assemble.network import assemble
from p2pfl.cli import main
from p2pfl.cli import root as command
from p2pfl.config import NetworkConfig, load_network
from p2pfl.core.noise import root
from p2pfl.errors import ConfigError
from p2pfl.learn.flat import FlatModel
from p2pfl.mixing.rows import Heard, Phase
from p2pfl.runs.baselines import compute_baselines
from p2pfl.runs.dense import build_dense
from p2pfl.runs.simulate import World, build_simulation, run_simulation, simulated
from p2pfl.transfer.distill import Distill, Pupil, digest_of, drawn_public, made_public

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "distill" / "network.toml"
NONE = torch.zeros(())


def network(*changes: str, nodes: int = 3) -> NetworkConfig:
    small = ("distill.samples=60", "pace.rounds=8", "pace.evaluate=0", "train.steps=2")
    return simulated(load_network(EXAMPLE, (*small, *changes)), nodes)


def pupil(rule: Distill | None = None, layer: nn.Module | None = None) -> tuple[Pupil, torch.Tensor]:
    model = FlatModel(lambda: layer or nn.Linear(4, 3), 1, "cpu")
    return Pupil(rule or Distill(), model, made_public((4,), 20, root(1))), model.start()


def heard(own: torch.Tensor, *others: torch.Tensor) -> Heard:
    weights = torch.full((len(others),), 0.1, dtype=torch.float64)
    return Heard(own, torch.stack(others), weights, NONE, torch.zeros(len(others), 0))


@given(st.integers(1, 6), st.sampled_from(["mean", "trimmed", "median"]), st.integers(0, 2**16))
@settings(max_examples=40)
def test_targets_are_distributions_whatever_was_said(count: int, average: str, seed: int) -> None:
    rows = torch.randn(count, 5, 3, generator=torch.Generator().manual_seed(seed)) * 1e4
    targets = Distill(average=average, trim=0.3).targets(rows)  # type: ignore[arg-type]
    assert targets.shape == (5, 3)
    assert float(targets.min()) > 0
    assert torch.allclose(targets.sum(-1), torch.ones(5))


@pytest.mark.parametrize("average", ["trimmed", "median"])
def test_a_lone_liar_decides_nothing(average: str) -> None:
    honest = torch.tensor([4.0, 0.0, 0.0]).expand(4, 2, 3)
    liar = torch.tensor([-50.0, 0.0, 50.0]).expand(1, 2, 3)
    rule = Distill(average=average, trim=0.2)  # type: ignore[arg-type]
    assert torch.allclose(rule.targets(torch.cat([honest, liar])), honest[0].softmax(-1), atol=1e-6)


def test_a_pupil_comes_nearer_to_its_neighbours_and_changes_no_argument() -> None:
    own, x = pupil(Distill(steps=60))
    teacher, y = pupil(layer=nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)))
    phase = Phase(x, NONE)
    said, told = own.outgoing({}, x, phase), teacher.outgoing({}, y, phase) * 3
    kept = x.clone()
    _, after = own.mix({}, x, heard(said, told, told, told), phase)
    assert torch.equal(x, kept)
    assert float(
        (own.outgoing({}, after, phase).exp() - told.reshape(20, 3).softmax(-1).reshape(-1)).abs().mean()
    ) < float((said.exp() - told.reshape(20, 3).softmax(-1).reshape(-1)).abs().mean())
    assert said.shape == (60,)


def test_who_hears_nobody_stays() -> None:
    own, x = pupil()
    said = own.outgoing({}, x, Phase(x, NONE))
    rows = Heard(said, said.new_empty((0, 60)), torch.zeros(0, dtype=torch.float64), NONE, torch.zeros(0, 0))
    assert own.mix({}, x, rows, Phase(x, NONE))[1] is x


def test_unlike_models_learn_from_each_other_and_their_messages_are_alike() -> None:
    config = network("pace.rounds=20", "train.steps=3", "train.lr=0.3")
    simulation = build_simulation(config, World())
    assert run_simulation(simulation).outcome == "stopped"
    alone = compute_baselines(simulation.shared, simulation.held, simulation.shares, config.data).alone
    outcomes = list(simulation.outcomes.values())
    assert all((outcome.accuracy or 0) > (before or 1) for outcome, before in zip(outcomes, alone, strict=True))
    assert len({node.job.local.x.numel() for node in simulation.nodes.values()}) == 3
    assert len({node.job.plan.recipe.digest for node in simulation.nodes.values()}) == 1
    bodies = {outcome.traffic["body_bytes_sent"] // outcome.traffic["bodies_sent"] for outcome in outcomes}
    assert max(bodies) < 60 * 10 + 60


def test_folders_hold_each_nodes_own_model(tmp_path: Path) -> None:
    words = ["sim", str(EXAMPLE), "--nodes", "3", "--out", str(tmp_path / "run"), "--no-baselines", "--quiet", "--json"]
    small = ["pace.rounds=2", "distill.samples=40", "train.steps=1", "mix.steps=1"]
    shown = CliRunner().invoke(command, [*words, *(part for change in small for part in ("--set", change))])
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["failures"] == {}
    kinds = [str(load_network(tmp_path / "run" / f"n{at}" / "network.toml").model.name) for at in range(3)]
    assert kinds == ["mlp", "cnn", "linear"]


def test_the_public_set_is_part_of_the_recipe() -> None:
    one, two = (assemble(network(f"seed={seed}"), device="cpu") for seed in (1, 2))
    assert one.recipe.digest != two.recipe.digest
    public = one.asked
    assert public is not None
    named = digest_of(public).hex()
    assert assemble(network(f'distill.digest="{named}"'), device="cpu").recipe.digest == one.recipe.digest
    wrong = assemble(network(f'distill.digest="{"0" * 64}"'), device="cpu")
    with pytest.raises(ConfigError, match=r"distill.digest: expected public examples 000000000000.., got "):
        _ = wrong.recipe


def test_a_public_set_is_drawn_alike_everywhere_and_may_be_made() -> None:
    x = torch.arange(30.0).reshape(10, 3)
    assert torch.equal(drawn_public(x, 4, root(1)), drawn_public(x, 4, root(1)))
    with pytest.raises(ConfigError, match="at most the 10 examples"):
        drawn_public(x, 11, root(1))
    made = assemble(network("distill.source=noise"), device="cpu").asked
    assert made is not None
    assert (tuple(made.shape), float(made.min()) >= 0, float(made.max()) < 1) == ((60, 1, 8, 8), True, True)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (("mix.rule=pairwise",), "distill.models: unlike models cannot be mixed by weights (mix.rule 'pairwise')"),
        (("distill.source=nothing.py:public",), "nothing.py"),
        (("mix.weights=maybe",), "mix.weights: expected true or false, got 'maybe'"),
        (("mix.average=best",), "mix.average: expected mean, trimmed or median, got 'best'"),
        (("distill.samples=400",), "distill.samples: expected at most the 300 examples"),
        (("distill.source=breast_cancer",), "distill.source: expected examples of shape (1, 8, 8), got (30,)"),
    ],
)
def test_what_cannot_be_mixed_is_one_line(
    changes: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        "sim",
        str(EXAMPLE),
        "--nodes",
        "3",
        "--quiet",
        *(part for change in changes for part in ("--set", change)),
    ]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_without_a_public_set_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "network.toml"
    path.write_text('format = 1\n[mix]\nrule = "distill"\n[data]\nsource = "digits"\n')
    assert main(["sim", str(path), "--nodes", "3", "--quiet"]) == 2
    assert "distill.source: expected public examples that all nodes have" in capsys.readouterr().err


def test_the_dense_engine_says_that_it_cannot() -> None:
    with pytest.raises(ConfigError, match="use --engine events"):
        build_dense(network("pace.mode=lockstep"))
