"""Broken set-ups, each with its cause: the diagnosis must name it in the line that failed, and say what to do."""

import json
import shutil
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from p2pfl import __version__
from p2pfl.assemble.network import assemble
from p2pfl.cli import main
from p2pfl.cli.init import write_trial
from p2pfl.cli.templates import SAMPLES
from p2pfl.config import load_network
from p2pfl.errors import ConfigError
from p2pfl.hosts.tls import server_context
from p2pfl.ledger.stores.sqlite import SqliteStore
from p2pfl.runs import doctor_machine
from p2pfl.runs.doctor import examine, examine_url
from p2pfl.runs.doctor_ask import ask_all
from p2pfl.runs.finding import Finding
from p2pfl.runs.local import free_ports
from p2pfl.wire.certificate import make
from p2pfl.wire.envelope import VERSION

quickly = partial(ask_all, patience_s=1.0)


@dataclass
class Said:
    """What a pretended node says."""

    status: dict[str, Any]
    ready: dict[str, Any] = field(default_factory=lambda: {"ready": True, "version": __version__, "wire": VERSION})
    ahead_s: float = 0.0


class Answers(BaseHTTPRequestHandler):
    said: Said

    def do_GET(self) -> None:
        body = json.dumps(self.said.status if self.path == "/v1/status" else self.said.ready).encode()
        self.send_response_only(200)
        date = datetime.now(UTC) + timedelta(seconds=self.said.ahead_s)
        self.send_header("Date", format_datetime(date, usegmt=True))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@dataclass
class Trial:
    """A ring of three on this machine: n0 is examined and does not run, n1 and n2 are pretended."""

    folder: Path
    ports: list[int]
    said: dict[str, Said]
    away: set[str] = field(default_factory=set)
    servers: dict[str, ThreadingHTTPServer] = field(default_factory=dict)
    free_bytes: Callable[[Path], int] | None = lambda folder: 10**12

    @property
    def home(self) -> Path:
        return self.folder / "nodes" / "n0"

    def edit(self, path: Path, old: str, new: str) -> None:
        text = path.read_text("utf-8")
        assert text.count(old) == 1, (path, old)
        path.write_text(text.replace(old, new), "utf-8")

    @contextmanager
    def answering(self) -> Iterator[None]:
        threads = []
        for name, server in self.servers.items():
            if name in self.away:
                server.server_close()
            else:
                server.RequestHandlerClass = type("Handler", (Answers,), {"said": self.said[name]})
                threads.append((server, threading.Thread(target=server.serve_forever, args=(0.01,))))
                threads[-1][1].start()
        try:
            yield
        finally:
            for server, thread in threads:
                server.shutdown()
                thread.join()

    def examined(self) -> list[Finding]:
        with self.answering():
            return examine(self.home, quickly, self.free_bytes)


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The folder of a trial, and what its nodes say of the network."""
    folder = tmp_path_factory.mktemp("doctor") / "trial"
    write_trial(folder, [1, 2, 3], "ring", SAMPLES["digits"])
    shared = assemble(load_network(folder / "network.toml"), "cpu")
    return folder, {"network": shared.network.hex(), "recipe": shared.recipe.digest.hex()}


@pytest.fixture
def trial(network: tuple[Path, dict[str, Any]], tmp_path: Path) -> Iterator[Trial]:
    shutil.copytree(network[0], tmp_path / "trial")
    servers = {name: ThreadingHTTPServer(("127.0.0.1", 0), Answers) for name in ("n1", "n2")}
    ports = [*free_ports(1), *(server.server_port for server in servers.values())]
    made = Trial(tmp_path / "trial", ports, {}, servers=servers)
    for number, port in enumerate(ports, 1):
        made.edit(made.folder / "network.toml", f'http://127.0.0.1:{number}"', f'http://127.0.0.1:{port}"')
    made.edit(made.home / "node.toml", '127.0.0.1:1"', f'127.0.0.1:{ports[0]}"')
    config = load_network(made.folder / "network.toml")
    for name in servers:
        status = {"name": name, "node": config.node(name).key.hex(), "round": 3, "rounds": 9, **network[1]}
        made.said[name] = Said(status)
    yield made
    for server in servers.values():
        server.server_close()


def causes(findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding.verdict != "ok"]


def test_a_sound_node_has_nothing_to_mend(trial: Trial) -> None:
    findings = trial.examined()
    assert causes(findings) == []
    assert {f.what for f in findings} >= {"documents", "key", "disk", "open files", "neighbour n1", "clock", "parts"}


# ---------------------------------------------------------------------------------------- broken set-ups


def misspelt(trial: Trial) -> None:
    trial.edit(trial.home / "node.toml", "listen =", "lisen =")


def key_for_all(trial: Trial) -> None:
    (trial.home / "key").chmod(0o644)


def no_key(trial: Trial) -> None:
    (trial.home / "key").unlink()


def key_of_another(trial: Trial) -> None:
    shutil.copy(trial.folder / "nodes" / "n1" / "key", trial.home / "key")


def no_data(trial: Trial) -> None:
    trial.edit(trial.home / "node.toml", "index = 0 ", 'source = "csv"\npath = "patients.csv"\nlabel = "y" ')


def folder_in_a_file(trial: Trial) -> None:
    (trial.home / "blocked").write_text("")
    trial.edit(trial.home / "node.toml", 'out = "run"', 'out = "blocked/run"')


def full_disk(trial: Trial) -> None:
    trial.free_bytes = lambda folder: 5_000_000


def store(trial: Trial) -> Path:
    path = trial.home / "run" / "node.db"
    path.parent.mkdir()
    SqliteStore(path).close()
    return path


def damaged_store(trial: Trial) -> None:
    path = store(trial)
    raw = bytearray(path.read_bytes())
    raw[4096:8192] = bytes(4096)
    path.write_bytes(bytes(raw))


def newer_store(trial: Trial) -> None:
    db = sqlite3.connect(store(trial))
    db.execute("PRAGMA user_version = 99")
    db.close()


def store_of_another(trial: Trial) -> None:
    import gzip

    store(trial)
    raw = (Path(__file__).resolve().parents[1] / "vectors" / "store.v1.db.gz").read_bytes()
    (trial.home / "run" / "node.db").write_bytes(gzip.decompress(raw))


def only_loopback(trial: Trial) -> None:
    trial.edit(trial.folder / "network.toml", f"http://127.0.0.1:{trial.ports[0]}", "https://192.0.2.7:9001")


def missing_part(trial: Trial) -> None:
    trial.edit(trial.folder / "network.toml", 'rule = "pairwise"', 'rule = "pairwize"')


def neighbour_down(trial: Trial) -> None:
    trial.away.add("n1")


def swapped_addresses(trial: Trial) -> None:
    one, two = trial.said["n1"], trial.said["n2"]
    trial.said = {"n1": two, "n2": one}


def other_program(trial: Trial) -> None:
    trial.said["n1"].status = {"hello": "I am a printer"}


def other_recipe(trial: Trial) -> None:
    trial.said["n2"].status["recipe"] = "ab" * 32


def other_network(trial: Trial) -> None:
    trial.said["n2"].status["network"] = "cd" * 32


def newer_protocol(trial: Trial) -> None:
    trial.said["n1"].ready = {"ready": True, "version": "9.0.0", "wire": VERSION + 1}


def wrong_clock(trial: Trial) -> None:
    for said in trial.said.values():
        said.ahead_s = 3600.0


def own_address_taken(trial: Trial) -> None:
    trial.edit(trial.home / "node.toml", f"127.0.0.1:{trial.ports[0]}", f"127.0.0.1:{trial.ports[1]}")


def own_url_of_another(trial: Trial) -> None:
    trial.edit(
        trial.folder / "network.toml", f'http://127.0.0.1:{trial.ports[0]}"', f'http://localhost:{trial.ports[1]}"'
    )


def members(**states: str) -> dict[str, Any]:
    return {"members": [{"node": node, "state": state} for node, state in states.items()]}


def key_of_n0(trial: Trial) -> str:
    return load_network(trial.folder / "network.toml").node("n0").key.hex()


def revoked(trial: Trial) -> None:
    trial.said["n2"].status["membership"] = members(**{key_of_n0(trial): "revoked"})


def kicked(trial: Trial) -> None:
    trial.said["n2"].status["membership"] = members(**{key_of_n0(trial): "kicked"})


def certificate_of_another(trial: Trial) -> None:
    """TLS ends before the node, at something with a certificate of its own."""
    context = server_context(make(b"\7" * 32))
    server = trial.servers["n1"]
    server.socket = context.wrap_socket(server.socket, server_side=True)
    tls_against_http(trial)


def tls_against_http(trial: Trial) -> None:
    trial.edit(
        trial.folder / "network.toml", f"http://127.0.0.1:{trial.ports[1]}", f"https://127.0.0.1:{trial.ports[1]}"
    )


@pytest.mark.parametrize(
    ("broken", "what", "cause", "do"),
    [
        (misspelt, "documents", "lisen", "correct that line"),
        (key_for_all, "key file", "can be read by others", "chmod 600"),
        (no_key, "key file", "cannot read the key file", "p2pfl keys new"),
        (key_of_another, "key", "it is n1's", "name = 'n1'"),
        (no_data, "data", "there is no ", "data.path"),
        (folder_in_a_file, "run folder", "cannot write in", "another `out`"),
        (full_disk, "disk", "0.0 GB free", "make room"),
        (damaged_store, "store", "node.db", "p2pfl restore"),
        (newer_store, "store", "newer version of p2pfl wrote it", "update p2pfl"),
        (store_of_another, "store", "feeds of others", "another `out`"),
        (only_loopback, "listening", "only this machine reaches", 'listen = "0.0.0.0:'),
        (missing_part, "parts", "pairwize", "network.toml"),
        (neighbour_down, "neighbour n1", "nothing listens on port", "start that node"),
        (swapped_addresses, "neighbour n1", "is n2 with another key", "address and key"),
        (other_program, "neighbour n1", "not a p2pfl node", "another program"),
        (other_recipe, "neighbour n2", "another recipe", "same network.toml"),
        (other_network, "neighbour n2", "another network", "same network.toml"),
        (newer_protocol, "neighbour n1", "version 2 of the protocol", "same p2pfl"),
        (wrong_clock, "clock", "3600 s behind 2 others", "timedatectl"),
        (own_address_taken, "listening", "another program uses this port", "choose another port"),
        (own_url_of_another, "own address", "leads to n1, not to n0", "correct the url of n0"),
        (revoked, "neighbour n2", "shuts this node out: revoked", "new token"),
        (kicked, "neighbour n2", "shuts this node out: kicked", "ask n2's"),
        (certificate_of_another, "neighbour n1", "shows the certificate of ", "pass TLS through"),
        (tls_against_http, "neighbour n1", "no TLS connection", "https"),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
def test_the_cause_is_named(trial: Trial, broken: Callable[[Trial], None], what: str, cause: str, do: str) -> None:
    broken(trial)
    failures = [f for f in trial.examined() if f.verdict == "failed"]
    assert failures, "nothing failed"
    first = next(f for f in failures if f.what == what)
    assert cause in first.found
    assert do in f"{first.found} {first.do}"
    assert all(f.do for f in failures)


def test_too_few_open_files(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_machine, "limits", lambda: (64, 100))
    assert [(f.what, f.verdict) for f in causes(trial.examined())] == [("open files", "failed")]
    monkeypatch.setattr(doctor_machine, "limits", lambda: (64, 700))
    assert [(f.what, f.verdict) for f in causes(trial.examined())] == [("open files", "warning")]


def test_a_machine_that_does_not_answer(trial: Trial) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(8)
        port = silent.getsockname()[1]
        trial.edit(trial.folder / "network.toml", f'http://127.0.0.1:{trial.ports[1]}"', f'http://127.0.0.1:{port}"')
        (found,) = causes(trial.examined())
    assert (found.what, found.verdict) == ("neighbour n1", "failed")
    assert "no answer within 1 s" in found.found
    assert "firewall" in found.do


def test_what_is_merely_worth_a_look_does_not_fail(trial: Trial) -> None:
    trial.said["n1"].ready["version"] = "0.0.9"
    trial.said["n2"].ready = {}
    trial.said["n2"].status["edges"] = [{"peer": key_of_n0(trial), "failed_attempts": 7}]
    trial.said["n2"].status["membership"] = members(**{key_of_n0(trial): "dead"})
    found = causes(trial.examined())
    assert {f.verdict for f in found} == {"warning"}
    text = " ".join(f.found for f in found)
    assert "runs p2pfl 0.0.9" in text
    assert "runs an older version" in text
    assert "failed to reach this node 7 times" in text
    assert "takes this node for dead" in text


def test_words_of_a_peer_cannot_fill_the_screen(trial: Trial) -> None:
    trial.said["n1"].status["node"] = "x" * 10_000
    trial.said["n1"].status["name"] = "\x1b[2J" + "y" * 10_000
    (found,) = causes(trial.examined())
    assert len(found.found) < 200
    assert "\x1b" not in found.found


def test_from_outside(trial: Trial) -> None:
    url = f"http://127.0.0.1:{trial.ports[1]}"
    trial.said["n1"].status["edges"] = [{"peer": "ab" * 32, "failed_attempts": 3}, {"peer": "cd" * 32}]
    trial.said["n1"].status["membership"] = members(**{"ab" * 32: "alive", "cd" * 32: "suspect"})
    trial.said["n1"].ready |= {"ready": False, "why": "alone: the last round reached no neighbour"}
    with trial.answering():
        found = examine_url(url)
    assert [f.what for f in causes(found)] == ["taking part", "its neighbours", "members"]
    assert causes(found)[2].found == "1 of 2 alive; cdcdcdcd suspect"
    assert "abababab" in causes(found)[1].found
    trial.away = {"n1"}
    with trial.answering():
        assert examine_url(url)[0].verdict == "failed"


def test_exit_codes_and_json(
    trial: Trial, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with trial.answering():
        assert main(["doctor", str(trial.home), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"]
    assert {"what", "verdict", "found", "do"} == set(told["findings"][0])
    trial.away = {"n1", "n2"}
    with trial.answering():
        assert main(["doctor", str(trial.home / "node.toml")]) == 1
    assert "FAILED" in capsys.readouterr().out
    assert main(["doctor", str(tmp_path / "nowhere")]) == 2
    with pytest.raises(ConfigError, match=r"expected a node\.toml"):
        examine(tmp_path)


def test_a_node_that_nobody_can_reach_is_sound_as_well(trial: Trial) -> None:
    trial.edit(trial.folder / "network.toml", f'"http://127.0.0.1:{trial.ports[0]}"', '"none"')
    trial.edit(trial.home / "node.toml", f'"127.0.0.1:{trial.ports[0]}"', '"none"')
    findings = trial.examined()
    assert causes(findings) == []
    assert "own address" not in {f.what for f in findings}
    assert "fetches what is for it" in next(f.found for f in findings if f.what == "listening")
