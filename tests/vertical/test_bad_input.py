"""What cannot work is said in one line, before anything is sent or written."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from p2pfl.cli import main
from p2pfl.config.vertical import load_job, load_party, vertical_keys
from p2pfl.errors import ConfigError
from p2pfl.runs.vertical_party import agreement_of
from p2pfl.runs.vertical_trial import Trial, write_vertical_trial

Change = Callable[[Path], None]


@pytest.fixture
def trial(tmp_path: Path) -> Path:
    folder = tmp_path / "trial"
    write_vertical_trial(folder, [9101, 9102])
    edit("job.toml", "timeout_s = 30.0\npatience_s = 300.0", "timeout_s = 1.0\npatience_s = 1.0")(
        folder
    )  # of a failing test
    return folder


def edit(file: str, old: str, new: str) -> Change:
    def change(folder: Path) -> None:
        path = folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return change


def rows(file: str, change: Callable[[list[str]], list[str]]) -> Change:
    def apply(folder: Path) -> None:
        path = folder / file
        path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")

    return apply


def both(one: Change, other: Change) -> Change:
    def change(folder: Path) -> None:
        one(folder)
        other(folder)

    return change


def only(columns: int) -> Callable[[list[str]], list[str]]:
    return lambda lines: [",".join(line.split(",")[:columns]) for line in lines]


CASES: dict[str, tuple[str, Change, str]] = {
    "duplicate ids": ("lab", rows("lab/table.csv", lambda lines: [*lines, lines[1].lower()]), "duplicate id in line 2"),
    "an empty id": ("lab", rows("lab/table.csv", lambda lines: [*lines, lines[1][12:]]), "expected an id"),
    "no features": ("lab", rows("lab/table.csv", only(1)), "expected feature columns"),
    "labels missing": ("clinic", edit("clinic/party.toml", 'label = "diagnosis"\n', ""), "labels missing: clinic"),
    "the label column is not there": (
        "clinic",
        edit("clinic/party.toml", 'label = "diagnosis"', 'label = "outcome"'),
        "no column 'outcome'",
    ),
    "labels at a feature holder": (
        "lab",
        edit("lab/party.toml", 'id = "id"', 'label = "radius error"'),
        "at clinic only",
    ),
    "more ids than the job allows": ("lab", edit("job.toml", "[align]", "[align]\nids_max = 100"), "ids_max = 100 ids"),
    "more columns than fit the packing": (
        "lab",
        both(
            edit("job.toml", "level = 0", "level = 1"),
            edit("job.toml", "gradient_clip", "embedding_clip = 16.5\ngradient_clip"),
        ),
        "clipped at 16 at most",
    ),
    "a sealed layer that shows embeddings": ("lab", edit("job.toml", "level = 0", "level = 1"), "top_hidden below"),
    "a misspelt key": (
        "lab",
        edit("job.toml", "gradient_noise", "gradient_nois"),
        "did you mean protect.gradient_noise",
    ),
    "a party that is not in the job": ("lab", edit("lab/party.toml", 'name = "lab"', 'name = "bank"'), "clinic, lab"),
    "a level that is none": ("lab", edit("job.toml", "level = 0", "level = 2"), "expected 0 or 1"),
    "keys nobody needs": ("lab", edit("job.toml", "level = 0", 'level = 0\nkey_holder = "lab"'), "expected 2 to 5"),
}


@pytest.mark.parametrize("name", list(CASES))
def test_it_is_said_in_one_line_and_nothing_is_written(name: str, trial: Path, capsys: Any) -> None:
    party, change, expected = CASES[name]
    change(trial)
    assert main(["vertical", "train", str(trial / party / "party.toml"), "--quiet"]) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert not (trial / party / "run").exists()


def test_another_partys_key_is_refused(trial: Path, capsys: Any) -> None:
    (trial / "lab" / "key").unlink()
    assert main(["keys", "new", str(trial / "lab" / "key")]) == 0
    assert main(["vertical", "align", str(trial / "lab" / "party.toml"), "--quiet"]) == 2
    assert "belongs to none of its parties" in capsys.readouterr().err


def test_without_a_trained_part_there_is_nothing_to_predict_with(trial: Path, capsys: Any) -> None:
    assert main(["vertical", "predict", str(trial / "lab" / "party.toml"), "--quiet"]) == 2
    assert "train first" in capsys.readouterr().err
    assert not (trial / "lab" / "run-predict").exists()


def test_a_job_document_is_no_party_document(trial: Path) -> None:
    with pytest.raises(ConfigError, match="expected a party's own document"):
        load_party(trial / "job.toml")
    with pytest.raises(ConfigError, match=r"cannot read .*nothing.toml"):
        load_job(trial / "nothing.toml")


def test_the_key_holder_has_no_table(tmp_path: Path) -> None:
    documents = write_vertical_trial(tmp_path / "trial", [9101, 9102, 9103], Trial(level=1, key_holder=True))
    holder = load_party(documents[-1])
    assert holder.is_key_holder
    with pytest.raises(ConfigError, match="holds keys and has no table"):
        _ = holder.rows
    documents[-1].write_text(documents[-1].read_text() + '\n[table]\npath = "table.csv"\n')
    with pytest.raises(ConfigError, match="must not have data"):
        load_party(documents[-1])


@pytest.mark.parametrize("name", ["shop", "bank", "bureau"])
def test_the_examples_load(name: str) -> None:
    party = load_party(Path(__file__).resolve().parents[2] / "examples" / "vertical" / f"{name}.toml")
    assert party.index == ["shop", "bank", "bureau"].index(name)
    assert len(agreement_of(party.job).digest) == 32


def test_every_key_is_documented() -> None:
    text = (Path(__file__).resolve().parents[2] / "docs" / "vertical.md").read_text("utf-8")
    for key in vertical_keys():
        if key.expected not in ("a table", "tables"):
            assert f"`{key.key.rpartition('.')[2]}`" in text, key.key


@pytest.mark.parametrize("words", [["--parties", "5"], ["--kind", "logistic"], ["--level", "1", "--key-holder"]])
def test_init_writes_documents_that_load(tmp_path: Path, words: list[str], capsys: Any) -> None:
    assert main(["vertical", "init", str(tmp_path / "trial"), *words]) == 0
    said = capsys.readouterr().out
    documents = sorted((tmp_path / "trial").glob("*/party.toml"))
    assert all(str(document) in said for document in documents)
    for document in documents:
        load_party(document)
    assert main(["vertical", "init", str(tmp_path / "trial")]) == 2
    assert "expected a new or empty folder" in capsys.readouterr().err
