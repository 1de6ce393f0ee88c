"""`p2pfl network`: the document is edited as text, and only ever to another valid one."""

import json
import stat
from pathlib import Path

import pytest

from p2pfl.cli import main
from p2pfl.config import load_network

KEYS = [f"{i:064x}" for i in range(1, 6)]


@pytest.fixture
def document(tmp_path: Path) -> Path:
    path = tmp_path / "network.toml"
    assert main(["network", "new", str(path), "--name", "clinic"]) == 0
    return path


def add(path: Path, name: str, key: str, url: str) -> int:
    return main(["network", "add", name, key, url, "--file", str(path)])


def test_new_is_a_document_with_all_defaults_explained(document: Path) -> None:
    config = load_network(document)
    assert (config.name, config.nodes) == ("clinic", ())
    assert document.read_text().count("#") > 10


def test_new_overwrites_nothing(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = document.read_text()
    assert main(["network", "new", str(document)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert document.read_text() == before


@pytest.mark.parametrize(
    "end", ["", "\n", "\n\n", "\n# last words", "\n[[nodes]]\nname='z'\nkey='" + "9" * 64 + "'\nurl='http://z:1'"]
)
def test_add_keeps_every_byte_that_was_there(document: Path, end: str) -> None:
    text = document.read_text().rstrip("\n") + end
    document.write_text(text)
    document.chmod(0o640)
    num_before = len(load_network(document).nodes)
    assert add(document, "a", KEYS[0], "https://a:1/") == 0
    assert document.read_text().startswith(text)
    nodes = load_network(document).nodes
    assert (nodes[-1].name, nodes[-1].key.hex(), nodes[-1].url) == ("a", KEYS[0], "https://a:1")
    assert len(nodes) == num_before + 1
    assert stat.S_IMODE(document.stat().st_mode) == 0o640
    assert [path.name for path in document.parent.iterdir()] == ["network.toml"]


@pytest.mark.parametrize(
    ("name", "key", "url", "words"),
    [
        ("a", KEYS[1], "https://b:1", "different names"),
        ("b", KEYS[0], "https://b:1", "different keys"),
        ("b", KEYS[1], "https://a:1", "different urls"),
        ("b/../c", KEYS[1], "http://b:1", "expected 1 to 64 of"),
        ("b", "12", "http://b:1", "64 hex digits"),
        ("b", KEYS[1], "b:1", "expected a URL"),
        (
            "b",
            KEYS[1],
            "http://b:1",
            "b: expected an https url (others could read along), got http://b:1; or write tls",
        ),
        ("b", KEYS[1], 'http://b"c:1', "expected a URL"),
    ],
)
def test_add_refuses_and_changes_nothing(
    document: Path, capsys: pytest.CaptureFixture[str], name: str, key: str, url: str, words: str
) -> None:
    add(document, "a", KEYS[0], "https://a:1")
    before = document.read_bytes()
    capsys.readouterr()
    assert add(document, name, key, url) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert document.read_bytes() == before


def test_add_leaves_an_inline_list_alone(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document.write_text("format = 1\nnodes = []\n")
    assert add(document, "a", KEYS[0], "https://a:1") == 2
    assert document.read_text() == "format = 1\nnodes = []\n"


def test_show(document: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, key in zip("abcd", KEYS, strict=False):
        add(document, name, key, f"https://{name}:1")
    capsys.readouterr()
    assert main(["network", "show", str(document), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [node["name"] for node in said["nodes"]] == list("abcd")
    assert said["mix"] == {"rule": "pairwise"}
    assert (said["graph"]["edges"], said["graph"]["diameter"], said["problem"]) == (4, 2, None)
    assert main(["network", "show", str(document)]) == 0
    assert "https://d:1" in capsys.readouterr().out


@pytest.mark.parametrize(("count", "words"), [(0, "no nodes yet"), (2, "3")])
def test_show_says_when_there_is_no_graph(
    document: Path, capsys: pytest.CaptureFixture[str], count: int, words: str
) -> None:
    for name, key in list(zip("abcd", KEYS, strict=False))[:count]:
        add(document, name, key, f"https://{name}:1")
    capsys.readouterr()
    assert main(["network", "show", str(document), "--json"]) == 1
    assert words in json.loads(capsys.readouterr().out)["problem"]
    assert main(["network", "show", str(document)]) == 1
    assert words in capsys.readouterr().err


def test_a_missing_document_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (
        ["show", str(tmp_path / "x.toml")],
        ["add", "a", KEYS[0], "http://a:1", "--file", str(tmp_path / "x")],
    ):
        assert main(["network", *command]) == 2
        assert capsys.readouterr().err.startswith("error: cannot read")


def test_show_names_the_edges_between_nodes_that_cannot_be_reached(document: Path, capsys) -> None:
    for name, key, url in zip("abc", KEYS, ("none", "none", "https://c:1"), strict=False):
        assert add(document, name, key, url) == 0
    capsys.readouterr()
    assert main(["network", "show", str(document)]) == 1
    assert "a-b: neither end can be reached (url none): one of them has to listen" in capsys.readouterr().err
