"""A party's table: what comes out, and one line for each thing that can be wrong with it."""

from pathlib import Path

import numpy as np
import pytest

from p2pfl.errors import ConfigError
from p2pfl.learn.table import Encoder
from p2pfl.vertical.align.ids import IdRules
from p2pfl.vertical.data.columns import TableSpec
from p2pfl.vertical.data.table import load_table, require_common, require_labels

BANK = "id,age,city,default\n a1 ,30,Rom,1\nB2,50,Ulm,0\nc3,40,Rom,0\n"


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    path = tmp_path / "bank.csv"
    path.write_text(BANK)
    return path


def test_ids_features_categories_and_labels(bank: Path) -> None:
    table = load_table(TableSpec(bank, label="default"))
    assert table.features == ("age", "city=Rom", "city=Ulm")
    assert table.classes == ("0", "1")
    assert table.y is not None
    assert table.y.tolist() == [1, 0, 0]
    assert table.x.tolist() == [[30, 1, 0], [50, 0, 1], [40, 1, 0]]
    assert table.items(IdRules()) == [b"a1", b"b2", b"c3"]


def test_a_feature_holder_has_no_labels(bank: Path) -> None:
    table = load_table(TableSpec(bank, features=("age",)))
    assert table.y is None
    assert table.classes == ()
    assert table.features == ("age",)
    assert load_table(TableSpec(bank, drop=("city", "default"))).features == ("age",)


def test_a_label_holder_may_have_no_features_if_it_says_so(bank: Path) -> None:
    table = load_table(TableSpec(bank, label="default", features=()))
    assert table.x.shape == (3, 0)
    assert table.classes == ("0", "1")
    assert load_table(TableSpec(bank, label="age", features=(), regression=True)).classes == ()


def test_rows_are_taken_in_order_and_scaled_over_the_rows_of_training(bank: Path) -> None:
    table = load_table(TableSpec(bank, label="default")).take([2, 0, 1]).scaled([0, 1])
    assert table.ids == ("c3", " a1 ", "B2")
    assert table.lines == (4, 2, 3)
    assert table.x[:, 0].tolist() == [1.0, -1.0, 3.0]  # mean 35, deviation 5 of 40 and 30
    assert table.x[:, 1].tolist() == [1, 1, 0]


def test_a_saved_encoder_reads_new_rows_alike_without_labels(bank: Path, tmp_path: Path) -> None:
    spec = TableSpec(bank, label="default")
    trained = load_table(spec).scaled([0, 1, 2])
    encoder = Encoder.from_json(trained.encoder.to_json(), "part")
    new = tmp_path / "new.csv"
    new.write_text("city,id,age\nUlm,x,40\n")
    table = load_table(TableSpec(new, label="default"), encoder)
    assert table.y is None
    assert table.x.tolist() == [[0.0, 0.0, 1.0]]
    again = load_table(spec, encoder)
    assert np.allclose(again.x, trained.x, atol=1e-6)
    assert again.y is not None


def test_a_constant_column_is_no_division_by_zero(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,a\n1,7\n2,7\n")
    assert load_table(TableSpec(path)).scaled([0, 1]).x.tolist() == [[0.0], [0.0]]


@pytest.mark.parametrize(
    ("content", "spec", "says"),
    [
        (BANK, {"id": "name"}, "bank.csv: there is no id column 'name'; it has id, age, city, default"),
        (BANK, {"label": "y"}, "there is no column 'y'"),
        (BANK, {"features": ("height",)}, "there is no column 'height'"),
        (BANK, {"drop": ("height",)}, "there is no column 'height'"),
        (BANK, {"features": ("id",)}, "got 'id' twice"),
        (BANK, {"features": ("age",), "drop": ("city",)}, "either features or drop"),
        (BANK, {"classes": ("0", "1")}, "no label column is named"),
        (BANK, {"features": ()}, "expected feature columns besides id, got none"),
        ("id,y\n1,0\n2,1\n", {"label": "y"}, "expected feature columns besides id, y, got none"),
        ("id,a\n1,\n", {}, "line 2: missing value in column 'a'"),
        ("id,a,y\n1,2,0\n2,3,\n", {"label": "y"}, "line 3: missing value in column 'y'"),
        ("id,a,y\n1,2,0\n2,3,0\n", {"label": "y"}, "two or more classes in column 'y'"),
        ("id,a,a\n1,2,3\n", {}, "column 'a' appears twice"),
    ],
)
def test_one_line_for_what_is_wrong(tmp_path: Path, content: str, spec: dict[str, object], says: str) -> None:
    path = tmp_path / "bank.csv"
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        load_table(TableSpec(path, **spec))  # type: ignore[arg-type]
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_doubled_ids_name_both_lines(tmp_path: Path) -> None:
    path = tmp_path / "bank.csv"
    path.write_text("id,a\nx1,1\nx2,2\n X1,3\n")
    with pytest.raises(ConfigError, match=r"duplicate id in line 2 and line 4: 'x1' and ' X1', the same after"):
        load_table(TableSpec(path)).items(IdRules())
    assert len(load_table(TableSpec(path)).items(IdRules(trim=False))) == 3


def test_too_few_common_ids() -> None:
    require_common(64, 64, ["bank", "shop"])
    with pytest.raises(ConfigError, match="no common ids: expected at least 64 that bank, shop all have, got none"):
        require_common(0, 64, ["bank", "shop"])
    with pytest.raises(ConfigError, match=r"too few common ids: expected at least 64 .* got 63"):
        require_common(63, 64, ["bank", "shop"])


def test_labels_are_the_label_holders_alone(bank: Path) -> None:
    with_label, without = TableSpec(bank, label="default"), TableSpec(bank)
    require_labels({"bank": with_label, "shop": without}, "bank")
    with pytest.raises(ConfigError, match="labels missing: the label holder bank names no label column"):
        require_labels({"bank": without, "shop": without}, "bank")
    with pytest.raises(ConfigError, match="at the label holder bank only, got another at shop"):
        require_labels({"bank": with_label, "shop": with_label}, "bank")
