"""`p2pfl init`: what it writes can be read, started from, and used with the example of one's own."""

import json
import stat
from pathlib import Path

import pytest

from p2pfl.cli import main
from p2pfl.cli.templates import SAMPLES
from p2pfl.config import load_network, load_node
from p2pfl.core.noise import root
from p2pfl.wire.keyfile import load


def test_every_node_document_fits_the_network(tmp_path: Path) -> None:
    folder = tmp_path / "trial"
    assert main(["init", str(folder), "--nodes", "4", "--topology", "complete", "--port", "7000"]) == 0
    network = load_network(folder / "network.toml")
    assert [entry.url for entry in network.nodes] == [f"http://127.0.0.1:{port}" for port in range(7000, 7004)]
    assert network.topology.family == "complete"
    for index, entry in enumerate(network.nodes):
        home = folder / "nodes" / entry.name
        node = load_node(home / "node.toml")
        assert load(node.key_file).node == entry.key
        assert node.address == ("127.0.0.1", 7000 + index)
        assert (node.data.index, node.data.source, node.out) == (index, "digits", home / "run")
        assert stat.S_IMODE(node.key_file.stat().st_mode) == 0o600


def test_keys_are_new_every_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        main(["init", str(tmp_path / name)])
    a, b = (load_network(tmp_path / name / "network.toml") for name in ("a", "b"))
    assert {entry.key for entry in a.nodes}.isdisjoint(entry.key for entry in b.nodes)


def test_says_what_comes_next(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["init", str(tmp_path / "x")])
    said = capsys.readouterr().out
    assert f"p2pfl node --config {tmp_path}/x/nodes/n0/node.toml" in said
    assert f"p2pfl sim {tmp_path}/x/network.toml" in said


def test_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["init", str(tmp_path / "x"), "--json"])
    said = json.loads(capsys.readouterr().out)
    assert load_network(Path(said["network"])).nodes
    assert [load_node(Path(path)).name for path in said["nodes"]] == ["n0", "n1", "n2"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--topology", "rnig"], "ring"),
        (["--topology", "ring", "--nodes", "2"], "3"),
        (["--port", "65534"], "expected ports up to 65535"),
        (["--nodes", "1"], "--nodes"),
        (["--nodes", "4097"], "--nodes"),
        (["--data", "nothing"], "--data"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert main(["init", str(tmp_path / "x"), *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("precious")
    assert main(["init", str(tmp_path)]) == 2
    assert main(["init", str(tmp_path / "mine")]) == 2
    assert capsys.readouterr().err.count("expected a new or empty folder") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("name", list(SAMPLES))
def test_the_model_fits_the_data(tmp_path: Path, name: str) -> None:
    from p2pfl.learn import datasets, models
    from p2pfl.learn.partition import partition

    main(["init", str(tmp_path / "x"), "--data", name])
    config = load_network(tmp_path / "x" / "network.toml")
    data = datasets.load(config.data.source, config.data.source.folder, config.data.source_args).data
    model = config.model
    module = models.build(model.name, model.name.folder, model.input_shape, model.num_classes, model.args)()
    assert data.input_shape == model.input_shape
    assert data.num_classes == model.num_classes
    assert module(data.x[:5]).shape == (5, model.num_classes)
    shares = partition(config.data.partition.by, data, 3, root(1), tmp_path, config.data.partition.params)
    assert len(shares) == 3
