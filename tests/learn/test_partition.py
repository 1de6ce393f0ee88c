"""Laws of shares: every sample at most once, nobody empty, same key same shares; and the skew that was asked for."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.core.noise import root
from p2pfl.errors import ConfigError
from p2pfl.learn.data import Data
from p2pfl.learn.partition import partition


def labelled(n: int, classes: int, seed: int = 0) -> Data:
    y = torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed))
    return Data(torch.zeros(n, 1), y, "made up", tuple(str(c) for c in range(classes)))


def entropy(data: Data, shares: list[torch.Tensor]) -> float:
    """Mean over nodes of the entropy of their labels, in nats."""
    values = []
    for rows in shares:
        p = torch.bincount(data.y[rows], minlength=data.num_classes) / len(rows)
        values.append(float(torch.special.entr(p).sum()))
    return sum(values) / len(values)


RULES = [
    ("iid", {}),
    ("quantity", {}),
    ("shards", {"shards_per_node": 2}),
    *(("dirichlet", {"alpha": a}) for a in (1e-9, 0.1, 100.0)),
]


@settings(max_examples=40)
@given(st.sampled_from(RULES), st.integers(40, 300), st.integers(1, 6), st.integers(1, 20), st.integers(0, 99))
def test_laws(rule: tuple[str, dict[str, float]], n: int, classes: int, num_nodes: int, seed: int) -> None:
    data = labelled(n, classes, seed)
    shares = partition(rule[0], data, num_nodes, root(seed), args=rule[1])
    assert len(shares) == num_nodes
    together = torch.cat(shares).tolist()
    assert len(set(together)) == len(together)
    assert set(together) <= set(range(n))
    assert min(map(len, shares)) > 0
    again = partition(rule[0], data, num_nodes, root(seed), args=rule[1])
    assert all(torch.equal(a, b) for a, b in zip(shares, again, strict=True))
    if rule[0] == "dirichlet":
        assert {len(s) for s in shares} == {n // num_nodes}
    if rule[0] != "dirichlet":
        assert len(together) == n


def test_another_key_gives_other_shares() -> None:
    data = labelled(100, 3)
    assert not torch.equal(partition("iid", data, 2, root(0))[0], partition("iid", data, 2, root(1))[0])


def test_shares_are_as_large_as_their_weights() -> None:
    shares = partition("quantity", labelled(100, 3), 5, root(0), args={"weights": [1, 2, 7]})
    assert [len(share) for share in shares] == [8, 15, 54, 8, 15]


def test_dirichlet_gets_less_mixed_as_alpha_falls() -> None:
    data = labelled(4000, 10)
    mixed = [entropy(data, partition("dirichlet", data, 16, root(0), args={"alpha": a})) for a in (0.05, 0.5, 50.0)]
    assert mixed[0] < mixed[1] < mixed[2]
    assert mixed[0] < 0.7
    assert mixed[2] > 2.1  # of ln 10 = 2.30


def test_unequal_dirichlet_gives_everything_away() -> None:
    data = labelled(2000, 10)
    shares = partition("dirichlet", data, 8, root(0), args={"alpha": 1.0, "equal": False})
    assert sum(map(len, shares)) == 2000
    assert len({len(s) for s in shares}) > 1


def test_a_draw_that_leaves_a_node_empty_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"node \d+ of 40 got no samples; use fewer nodes or another seed"):
        partition("dirichlet", labelled(100, 2), 40, root(0), args={"alpha": 0.01, "equal": False})


def test_shards_hold_few_labels() -> None:
    data = labelled(1000, 10)
    shares = partition("shards", data, 10, root(0))
    assert all(len(set(data.y[rows].tolist())) <= 4 for rows in shares)


def test_by_column_keeps_a_value_together() -> None:
    site = torch.tensor([0, 1, 2, 3] * 25 + [0] * 20).float()
    data = Data(torch.stack([torch.rand(120), site], 1), site, "clinic", (), ("age", "site"))
    shares = partition("by_column", data, 3, root(0), args={"column": "site"})
    seen = [set(site[rows].tolist()) for rows in shares]
    assert sum(map(len, seen)) == 4
    assert len(torch.cat(shares)) == 120
    assert sorted(map(len, shares)) == [25, 45, 50]
    with pytest.raises(ConfigError, match="has 4 values for 5 nodes"):
        partition("by_column", data, 5, root(0), args={"column": "site"})
    with pytest.raises(ConfigError, match="no column 'city'; it has age, site"):
        partition("by_column", data, 2, root(0), args={"column": "city"})


def test_a_category_of_several_features_is_one_column() -> None:
    data = Data(torch.eye(3).repeat(5, 1), torch.zeros(15), "t", (), ("c=x", "c=y", "c=z"))
    assert [len(s) for s in partition("by_column", data, 3, root(0), args={"column": "c"})] == [5, 5, 5]


@pytest.mark.parametrize(
    ("name", "num_nodes", "args", "words"),
    [
        ("dirichlet", 2, {"alpha": 0.0}, "expected an alpha above 0"),
        ("dirichlet", 2, {"alhpa": 1.0}, "no option 'alhpa', did you mean 'alpha'"),
        ("quantity", 2, {"weights": [1.0, 0.0]}, "expected weights above 0"),
        ("quantity", 2, {"weights": []}, "expected weights above 0"),
        ("quantity", 2, {"weights": [1.0, 1e-6]}, "got no samples"),
        ("shards", 9, {"shards_per_node": 9}, "do not make 9 x 9 shards"),
        ("iid", 51, {}, "expected 1 to 50 nodes for 50 samples, got 51"),
        ("iid", 0, {}, "expected 1 to 50 nodes"),
        ("idd", 2, {}, "unknown partition 'idd', did you mean 'iid'"),
    ],
)
def test_impossible_wishes(name: str, num_nodes: int, args: dict[str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        partition(name, labelled(50, 3), num_nodes, root(0), args=args)


def test_label_skew_needs_labels() -> None:
    data = Data(torch.zeros(9, 1), torch.zeros(9), "numbers")
    with pytest.raises(ConfigError, match="needs one class per sample"):
        partition("dirichlet", data, 2, root(0))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("[[0, 1], [1, 2]]", "a sample was given out twice"),
        ("[[0, 1], [99]]", "expected rows 0 to 8, got 0 to 99"),
        ("[[0, 1]]", "expected shares for 2 nodes, got 1"),
        ("[[0, 1], []]", "node 1 of 2 got no samples"),
    ],
)
def test_a_users_partition_is_held_to_the_laws(tmp_path: Path, body: str, words: str) -> None:
    (tmp_path / "mine.py").write_text(f"def deal(num_nodes, rng):\n    return {body}\n")
    data = Data(torch.zeros(9, 1), torch.zeros(9), "numbers")
    with pytest.raises(ConfigError, match=words):
        partition("mine.py:deal", data, 2, root(0), tmp_path)


def test_a_users_partition(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def deal(data, num_nodes):\n    return [range(i, len(data), 2) for i in (1, 0)]\n"
    )
    data = Data(torch.zeros(5, 1), torch.zeros(5), "numbers")
    shares = partition("mine.py:deal", data, 2, root(0), tmp_path)
    assert [np.asarray(s).tolist() for s in shares] == [[1, 3], [0, 2, 4]]


def test_groups_stay_together() -> None:
    groups = torch.tensor([0] * 9 + [1] * 5 + [2] * 4 + [3] * 3)
    data = Data(torch.zeros(21, 1), torch.zeros(21), "made up", groups=groups, group_names=tuple("abcd"))
    shares = partition("by_group", data, 2, root(0))
    assert [sorted(set(groups[rows].tolist())) for rows in shares] == [[0, 3], [1, 2]]
    assert data.subset(shares[1]).groups.tolist() == [1] * 5 + [2] * 4  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match="there are 4 groups for 5 nodes"):
        partition("by_group", data, 5, root(0))
    with pytest.raises(ConfigError, match="made up does not say where its samples are from"):
        partition("by_group", labelled(9, 2), 2, root(0))


@pytest.mark.parametrize(
    ("groups", "words"),
    [([0, 2], "expected groups 0 to 1, got 0 to 2"), ([0], "a group for each of 2 samples"), ([-1, 0], "got -1 to 0")],
)
def test_groups_that_cannot_be(groups: list[int], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Data(torch.zeros(2, 1), torch.zeros(2), "odd", groups=torch.tensor(groups), group_names=("a", "b"))
