"""The leak meter: it must be able to attack, must find nothing where there is nothing, and tell luck from a leak."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from p2pfl.cli import main
from p2pfl.learn.data import Data
from p2pfl.learn.flat import FlatModel
from p2pfl.learn.models import mlp
from p2pfl.learn.private import Privately
from p2pfl.runs.attack_gradients import invert, label_hits, likeness
from p2pfl.runs.attack_members import balanced, by_loss, by_shadows, judge_guesses

pytest.importorskip("dp_accounting", reason="needs dp-accounting: pip install 'p2pfl-node[privacy]'")

DOCUMENT = """format = 1
[model]
name = "mlp"
args = { hidden = [16] }
[pace]
mode = "lockstep"
rounds = 3
evaluate = 0
[train]
steps = 1
[data]
source = "digits"
[[nodes]]
"""


def examples(count: int, seed: int) -> Data:
    """Labels that have nothing to do with the inputs: what is known of them was learnt by heart."""
    gen = torch.Generator().manual_seed(seed)
    x, y = torch.randn(count, 1, 5, 5, generator=gen), torch.randint(4, (count,), generator=gen)
    return Data(x, y, "noise", tuple("abcd"))


def model() -> FlatModel:
    return FlatModel(lambda: mlp((1, 5, 5), 4, (32,)), device="cpu")


def by_heart(net: FlatModel, data: Data, steps: int = 150) -> torch.Tensor:
    net.load(net.start())
    for _ in range(steps):
        net.weights.sub_(net.backward(torch.nn.functional.cross_entropy(net.module(data.x), data.y)), alpha=0.3)
    return net.read()


def joined(one: Data, other: Data) -> Data:
    return Data(torch.cat([one.x, other.x]), torch.cat([one.y, other.y]), one.name, one.classes)


def test_a_model_that_learnt_by_heart_gives_its_members_away() -> None:
    net, members, others = model(), examples(60, 1), examples(60, 2)
    x, both = by_heart(net, members), joined(members, others)
    for scores in (by_loss(net, x, both), by_shadows(net, x, both, lambda data, number: by_heart(net, data), 4)):
        found = judge_guesses(scores[:60], scores[60:])
        assert found.auc > 0.9
        assert found.advantage > 0.7 > found.chance


def test_a_model_that_has_seen_nobody_gives_nobody_away() -> None:
    net, members, others = model(), examples(200, 1), examples(200, 2)
    scores = by_loss(net, net.start(), joined(members, others))
    found = judge_guesses(scores[:200], scores[200:])
    assert abs(found.auc - 0.5) < 0.08
    assert found.advantage < found.chance


def test_guesses_are_judged_as_their_definition_says() -> None:
    perfect = judge_guesses(np.array([2.0, 3.0]), np.array([0.0, 1.0]))
    assert (perfect.auc, perfect.advantage, perfect.caught) == (1.0, 1.0, 1.0)
    assert judge_guesses(np.zeros(4), np.zeros(4)).auc == 0.5


def test_members_and_others_have_the_same_labels() -> None:
    skewed = examples(80, 1)
    skewed = skewed.subset(torch.nonzero(skewed.y < 2).squeeze(1))
    one, other = balanced(skewed, examples(80, 2), 1000)
    assert torch.equal(one.y.bincount(minlength=4), other.y.bincount(minlength=4))
    assert len(one) > 20


def test_a_plain_gradient_shows_label_and_input_and_a_private_one_neither() -> None:
    net, data = model(), examples(6, 3)
    privately = Privately(clip=1.0, noise=2.0, rate=1.0)
    assert label_hits(net, data, None) == 1.0
    assert label_hits(net, examples(60, 4), privately) < 0.6
    assert invert(net, data.subset(torch.arange(3)), None).likeness > 0.95
    assert invert(net, data.subset(torch.arange(3)), privately).likeness < 0.5


def test_likeness_is_one_for_the_input_itself_at_any_brightness() -> None:
    x = torch.rand(3, 1, 4, 4)
    assert likeness(x, 2 * x + 1).tolist() == pytest.approx([1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished private run of a simulated network."""
    home = tmp_path_factory.mktemp("attacked")
    document = home / "network.toml"
    document.write_text(DOCUMENT.removesuffix("[[nodes]]\n"))
    sets = ('privacy.unit="example"', "privacy.noise=2.0", "privacy.delta=1e-4", "privacy.rate=0.3")
    options = [part for text in sets for part in ("--set", text)]
    out = home / "run"
    assert main(["sim", str(document), "--nodes", "3", "--quiet", "--no-baselines", "--out", str(out), *options]) == 0
    return out


@pytest.mark.slow
def test_the_command_reports_both_sides(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["privacy", "attack", str(run), "--shadows", "0", "--node", "n1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["node"] == "n1"
    assert found["labels"]["plain"] == 1.0 > found["labels"]["private"]
    assert found["pictures"]["plain"] > 0.9 > 0.5 > found["pictures"]["private"]
    assert found["members"]["by loss"]["advantage"] < 2 * found["members"]["by loss"]["chance"]


def test_the_summary_states_unit_adjacency_delta_and_epsilon(run: Path) -> None:
    privacy = json.loads((run / "summary.json").read_text())["privacy"]
    assert privacy["unit"] == "one training example"
    assert (privacy["adjacency"], privacy["delta"], privacy["releases"]) == ("zero-out", 1e-4, 3)
    assert 0 < privacy["epsilon"] <= privacy["epsilon_quick"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["privacy", "attack", "nowhere"], "expected a run folder"),
        (["privacy", "attack", "RUN", "--node", "n9"], "expected one of n0, n1, n2, got n9"),
        (["privacy", "plan", "RUN/network.toml", "--set", "privacy.delta=0.9"], "privacy.delta"),
        (["privacy", "plan", "RUN/network.toml", "--set", 'privacy.unit="none"'], "expected unit = "),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], message: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main([a.replace("RUN", str(run)) for a in arguments]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.strip().count("\n") == 0


def test_the_plan_says_what_the_run_will_cost(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["privacy", "plan", str(run / "network.toml"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    summary = json.loads((run / "summary.json").read_text())["privacy"]
    assert found["epsilon"] == pytest.approx(summary["epsilon"])
    assert found["releases"] == summary["releases"]
    assert [row["epsilon"] for row in found["others"]] == sorted((r["epsilon"] for r in found["others"]), reverse=True)
