"""What `p2pfl deploy` writes is what its readers read: compose YAML, systemd units, and what the network says."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from p2pfl.cli import main
from p2pfl.hosts.open_files import files_needed

yaml = pytest.importorskip("yaml")


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    assert main(["init", str(tmp_path / "trial"), "--nodes", "4", "--port", "9301"]) == 0
    return tmp_path / "trial"


def compose(trial: Path, *arguments: str) -> dict[str, Any]:
    out = trial.parent / "deploy"
    assert main(["deploy", str(trial / "network.toml"), "--out", str(out), *arguments]) == 0
    read = yaml.safe_load((out / "compose.yaml").read_text())
    assert isinstance(read, dict)
    return read


def test_a_trial_on_loopback_uses_the_machines_own_network(trial: Path) -> None:
    found = compose(trial)
    assert sorted(found["services"]) == ["n0", "n1", "n2", "n3"]
    assert sorted(found["volumes"]) == [f"state-n{i}" for i in range(4)]
    n1 = found["services"]["n1"]
    assert n1["network_mode"] == "host"
    assert n1["command"][:3] == ["node", "--config", "/network/nodes/n1/node.toml"]
    assert "--resume" in n1["command"]
    assert n1["healthcheck"]["test"][-1] == "http://127.0.0.1:9302"
    assert n1["ulimits"]["nofile"]["soft"] == files_needed(2)


def test_a_container_sees_its_own_key_and_nobody_elses(trial: Path) -> None:
    for name, service in compose(trial)["services"].items():
        mounts = [mount.split(":")[0] for mount in service["volumes"] if not mount.startswith("state-")]
        assert str((trial / "nodes" / name).resolve()) in mounts
        assert not [m for m in mounts if "nodes/" in m and not m.endswith(name)]
        assert not [m for m in mounts if m == str(trial.resolve())]
        assert {mount.rsplit(":", 1)[1] for mount in service["volumes"]} == {"ro", "/run-of-node"}


def test_real_addresses_are_published_and_known_by_name(trial: Path) -> None:
    document = trial / "network.toml"
    text = document.read_text()
    for number in range(4):
        text = text.replace(f"http://127.0.0.1:{9301 + number}", f"https://ward-{number}.example:4430")
    document.write_text(text)
    found = compose(trial, "--node", "n1", "--node", "n2")
    assert sorted(found["services"]) == ["n1", "n2"]
    n1 = found["services"]["n1"]
    assert n1["ports"] == ["4430:9302"]
    assert n1["networks"]["default"]["aliases"] == ["ward-1.example"]
    assert "listen=0.0.0.0:9302" in n1["command"]
    assert n1["healthcheck"]["test"][-1] == "https://127.0.0.1:9302"


def test_a_machine_without_node_documents_gets_the_unit(trial: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(trial / "nodes")
    out = trial.parent / "deploy"
    capsys.readouterr()
    assert main(["deploy", str(trial / "network.toml"), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == ["p2pfl@.service", "Dockerfile"]
    assert main(["deploy", str(trial / "network.toml"), "--out", str(trial.parent / "b"), "--node", "n1"]) == 2
    assert "expected the node's document" in capsys.readouterr().err


def test_nothing_is_overwritten(trial: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy", str(trial / "network.toml"), "--out", str(trial)]) == 2
    assert "new or empty" in capsys.readouterr().err


def test_systemd_reads_the_unit(trial: Path) -> None:
    compose(trial)
    unit = trial.parent / "deploy" / "p2pfl@.service"
    text = unit.read_text()
    assert f"LimitNOFILE={files_needed(2)}" in text
    assert "--resume --log json" in text
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd here")
    program = trial.parent / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    line = next(line for line in text.splitlines() if line.startswith("ExecStart="))
    instance = trial.parent / "p2pfl@ward.service"
    instance.write_text(text.replace(line.split("=")[1].split(" ")[0], str(program)))
    done = subprocess.run(["systemd-analyze", "verify", str(instance)], capture_output=True, text=True)
    complaints = [line for line in done.stderr.splitlines() if "p2pfl@ward" in line]
    assert complaints == []


def test_the_image_has_what_the_project_says(trial: Path) -> None:
    """Every file that the Dockerfile copies is in a checkout, and every extra that it installs exists."""
    import tomllib

    compose(trial)
    root = Path(__file__).resolve().parents[2]
    text = (trial.parent / "deploy" / "Dockerfile").read_text()
    copied = [word for line in text.splitlines() if line.startswith("COPY") for word in line.split()[1:-1]]
    assert copied
    assert all((root / name).exists() for name in copied)
    extras = text.split('"/src[')[1].split("]")[0].split(",")
    assert set(extras) <= set(tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"])
