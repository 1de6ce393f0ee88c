"""Every wrong document is one line that says where, what was expected and what came."""

from pathlib import Path

import pytest

from p2pfl.config import NetworkConfig, load_network, load_node
from p2pfl.core.limits import NODES_MAX, ROUNDS_MAX
from p2pfl.errors import ConfigError

KEY = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
OTHER = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"


def entry(name: str = "a", key: str = KEY, url: str = "http://127.0.0.1:9001") -> str:
    return f'[[nodes]]\nname = "{name}"\nkey = "{key}"\nurl = "{url}"\n'


def write(folder: Path, text: str, name: str = "network.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def refusal(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_network(write(folder, text))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(str(folder / "network.toml")), "names the file"
    return message.removeprefix(f"{folder / 'network.toml'}: ")


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ("[pace]\nruonds = 5", ["pace.ruonds", "unknown key", "did you mean pace.rounds?"]),
        ("[pcae]\nrounds = 5", ["pcae", "did you mean pace?"]),
        ("xyz = 1", ["xyz", "expected one of format, name, tls, seed"]),
        ("[pace]\nrounds = true", ["pace.rounds", "expected an integer from 1", "got true"]),
        ("[pace]\nrounds = 1.0", ["got the number 1.0"]),
        ('[pace]\nmode = "fast"', ["expected 'async' or 'semi_sync' or 'lockstep'", "got text 'fast'"]),
        ('[train]\nlr = "big"', ["train.lr", "expected a number", "got text 'big'"]),
        ("[train]\nlr = nan", ["expected a number", "got the number nan"]),
        ("[model]\ninput_shape = [3, 0]", ["model.input_shape[1]", "got the integer 0"]),
        ("[model]\ninput_shape = 3", ["expected a list", "got the integer 3"]),
        ("pace = 3", ["expected a table", "got the integer 3"]),
        ('[model]\nname = ":x"', ["a built-in's name, module:attribute or file.py:attribute", "got text ':x'"]),
        ("[mix]\nwhen = 2024-01-01", ["mix.when", "got 2024-01-01"]),
        ("[mix]\nx = inf", ["mix.x", "finite number"]),
        ("[train]\nsteps = 5\nepochs = 1", ["steps or epochs", "got both"]),
        ('[topology]\nfamily = "ring"\nfile = "g.toml"', ["family or file", "got both"]),
        ("[data]\nindex = 1", ["data.index belongs into node.toml"]),
        ('name = "a/b"', ["name", "got 'a/b'"]),
        (entry(key="12"), ["nodes[0].key", "64 hex digits"]),
        (entry(url="http://a/b"), ["nodes[0].url", "expected a URL"]),
        (entry(url="http://a:70000"), ["expected a URL"]),
        (entry(url="ftp://a:1"), ["expected a URL"]),
        (entry() + entry("b", KEY, "http://a:1"), ["different keys", "a and b"]),
        (entry() + entry("a", OTHER, "http://a:1"), ["different names"]),
        (entry() + entry("b", OTHER), ["different urls"]),
        ('[[nodes]]\nname = "a"', ["nodes[0].key: missing", "64 hex digits"]),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, section: str, words: list[str]) -> None:
    message = refusal(tmp_path, f"format = 1\n{section}")
    for word in words:
        assert word in message


@pytest.mark.parametrize(("text", "word"), [("", "format: missing"), ("format = 2", "expected 1, got the integer 2")])
def test_another_format_is_refused(tmp_path: Path, text: str, word: str) -> None:
    assert word in refusal(tmp_path, text)


def test_what_is_no_toml(tmp_path: Path) -> None:
    assert "expected a TOML document" in refusal(tmp_path, "format = = 1")
    (tmp_path / "network.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_network(tmp_path / "network.toml")
    with pytest.raises(ConfigError, match="No such file"):
        load_network(tmp_path / "absent.toml")


@pytest.mark.parametrize("rounds", [1, ROUNDS_MAX])
def test_at_the_bounds(tmp_path: Path, rounds: int) -> None:
    config = load_network(write(tmp_path, f"format = 1\n[pace]\nrounds = {rounds}"))
    assert config.pace.rounds == rounds


@pytest.mark.parametrize("rounds", [0, ROUNDS_MAX + 1])
def test_one_past_the_bounds(tmp_path: Path, rounds: int) -> None:
    assert f"got the integer {rounds}" in refusal(tmp_path, f"format = 1\n[pace]\nrounds = {rounds}")


def test_the_guest_list_is_bounded(tmp_path: Path) -> None:
    def many(count: int) -> str:
        return "format = 1\n" + "".join(entry(f"n{i}", f"{i:064x}", f"http://h{i}:1") for i in range(count))

    assert len(load_network(write(tmp_path, many(NODES_MAX))).nodes) == NODES_MAX
    assert f"at most {NODES_MAX}" in refusal(tmp_path, many(NODES_MAX + 1))


def test_parameters_of_a_rule_are_kept_as_they_are(tmp_path: Path) -> None:
    config = load_network(write(tmp_path, 'format = 1\n[mix]\nrule = "lab.rules:mine"\ngain = 0.5\nlevels = [1, 2]'))
    assert config.mix.rule == "lab.rules:mine"
    assert config.mix.params == {"gain": 0.5, "levels": [1, 2]}


def test_an_empty_document_has_all_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, "format = 1")
    config = load_network(path)
    assert config == NetworkConfig(format=1, path=path)
    assert (config.topology.family, config.train.steps) == ("ring", 5)


class TestNode:
    def node(self, folder: Path, text: str) -> Path:
        write(folder, "format = 1\n" + entry())
        top = (
            'format = 1\nname = "a"\nnetwork = "network.toml"\nkey_file = "key"\nlisten = "127.0.0.1:1"\nout = "run"\n'
        )
        return write(folder, top + text, "node.toml")

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("[pace]\nrounds = 3", ["pace", "belongs into network.toml"]),
            ("[train]\nlearning_rate = 3", ["train.learning_rate", "unknown key"]),
            ("[train]\nbatchsize = 3", ["did you mean train.batch_size?"]),
            ("train = 3", ["train: expected a table"]),
            ('log_level = "loud"', ["log_level", "'debug' or 'info'"]),
        ],
    )
    def test_what_is_wrong_is_said(self, tmp_path: Path, text: str, words: list[str]) -> None:
        with pytest.raises(ConfigError) as caught:
            load_node(self.node(tmp_path, text))
        assert all(word in str(caught.value) for word in ["node.toml", *words])

    @pytest.mark.parametrize(
        "override", ["name=b", "listen=9001", "listen=::1:9001", "listen=a:99999", "network=3", "network=absent.toml"]
    )
    def test_what_is_wrong_on_the_command_line(self, tmp_path: Path, override: str) -> None:
        with pytest.raises(ConfigError, match=r"expected|cannot read"):
            load_node(self.node(tmp_path, ""), [override])

    def test_an_error_in_the_shared_document_names_it(self, tmp_path: Path) -> None:
        path = self.node(tmp_path, "")
        write(tmp_path, 'format = 1\n[train]\nlr = "x"\n' + entry())
        with pytest.raises(ConfigError, match=r"network\.toml: train\.lr"):
            load_node(path)
