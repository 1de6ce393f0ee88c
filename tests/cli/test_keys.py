import json
import stat
from pathlib import Path

import pytest

from p2pfl.cli import main


def test_new_then_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "home" / "key")
    assert main(["keys", "new", path]) == 0
    public = capsys.readouterr().out.strip()
    assert len(bytes.fromhex(public)) == 32
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    assert public not in Path(path).read_text(), "the file holds the secret half"
    assert main(["keys", "show", path, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"path": path, "public": public}


def test_a_key_is_never_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "key"
    main(["keys", "new", str(path)])
    before = path.read_bytes()
    assert main(["keys", "new", str(path)]) == 2
    assert path.read_bytes() == before
    assert "never overwritten" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [("p2pfl-key-v1 12", 0o600, "64 hex digits"), (f"p2pfl-key-v1 {'0' * 64}", 0o644, "chmod 600"), ("", 0o600, "64")],
)
def test_a_bad_key_file_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, mode: int, words: str
) -> None:
    path = tmp_path / "key"
    path.write_text(text)
    path.chmod(mode)
    assert main(["keys", "show", str(path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert words in said.err
    assert said.err.count("\n") == 1
