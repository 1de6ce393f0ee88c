"""The tasks in examples/tasks run through the same commands, and learn; those whose data are absent are skipped."""

import json
from pathlib import Path

import pytest

from p2pfl.cli import main
from p2pfl.config import load_network

TASKS = Path(__file__).resolve().parents[2] / "examples" / "tasks"
NAMES = sorted(path.stem for path in TASKS.glob("*.toml"))

FILES = {
    "adult_mlp": {"data.path": "adult-census/adult_train.csv.gz", "data.test": "adult-census/adult_test.csv.gz"},
    "cifar_cnn": {"data.path": "cifar10-subset/cifar10_jpeg_subset.zip"},
    "mnist_cnn": {"data.path": "mnist"},
    "mnist_mlp": {"data.path": "mnist"},
    "shakespeare_gru": {"data.path": "shakespeare-roles/by_role.jsonl.gz"},
}
"""In the folder of --data."""

SMALL = {
    "adult_mlp": ("pace.rounds=8",),
    "cifar_cnn": ("pace.rounds=3", "train.steps=2", "data.args={limit=40}", "model.args={channels=[4,8,8],hidden=16}"),
    "mnist_cnn": ("pace.rounds=4", "train.steps=3", "data.args={limit=1600}", "model.args={channels=[4,8],hidden=32}"),
    "mnist_mlp": ("pace.rounds=8", "data.args={limit=3200}"),
    "shakespeare_gru": ("pace.rounds=3", "train.steps=3", "data.args={length=20,min_chars=30000}"),
    "digits_mlp": ("pace.rounds=10",),
    "softmax": ("pace.rounds=10",),
}
LEARNED = {"adult_mlp": 0.6, "shakespeare_gru": 0.05, "cifar_cnn": 0.08, "mnist_cnn": 0.09, "softmax": 0.2}
"""The accuracy that the small run must exceed, 0.15 where nothing is said; what a real one learns: docs/tasks.md."""


def arguments_of(name: str, data: Path) -> list[str]:
    files = {key: data / file for key, file in FILES.get(name, {}).items()}
    absent = next((file for file in files.values() if not file.exists()), None)
    if absent is not None:
        pytest.skip(f"no {absent}; give the folder of data sets with --data DIR")
    changes = (*(f'{key}="{file}"' for key, file in files.items()), *SMALL[name], "pace.evaluate=0")
    nodes = "3" if name in ("shakespeare_gru", "cifar_cnn") else "4"
    shown = ["sim", str(TASKS / f"{name}.toml"), "--nodes", nodes, "--topology", "ring", "--engine", "dense"]
    shown += ["--no-baselines", "--json"]
    shape = ["--set", "model.input_shape=[20]"] if name == "shakespeare_gru" else []
    return [*shown, *(part for change in changes for part in ("--set", change)), *shape]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n in ("cifar_cnn", "mnist_cnn") else []) for n in NAMES]
)
def test_a_task_runs_and_learns(name: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]) -> None:
    if name == "cifar_cnn":
        pytest.importorskip("PIL", reason="needs Pillow: pip install 'p2pfl-node[images]'")
    arguments = arguments_of(name, Path(request.config.getoption("--data")))
    assert main(arguments) == 0
    summary = json.loads(capsys.readouterr().out)
    assert not summary["failures"]
    assert summary["accuracy_mean"] > LEARNED.get(name, 0.15)


@pytest.mark.parametrize("name", NAMES)
def test_a_task_can_be_read_and_is_documented(name: str) -> None:
    config = load_network(TASKS / f"{name}.toml")
    assert not config.nodes
    assert f"`{name}" in (TASKS.parents[1] / "docs" / "tasks.md").read_text("utf-8")


@pytest.mark.parametrize("name", sorted(FILES))
def test_absent_data_are_one_clear_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    absent = tmp_path / "nowhere"
    assert main(["sim", str(TASKS / f"{name}.toml"), "--quiet", "--set", f'data.path="{absent}"']) == 2
    error = capsys.readouterr().err
    assert f"there is no {'folder' if name.startswith('mnist') else 'file'} {absent}" in error
    assert len(error.strip().splitlines()) == 1
