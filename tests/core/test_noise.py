"""Keys are derived, never advanced; the values below must not change, or no old run can be repeated."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.core.noise import derive, generator, root, seed64

ROOT = "2ad50bc5a7221f45484dffddca178409f13050b873dc1fe85452916262b007de"
CHILD = "f4113f9c52072d914da7beceac6292c3cdfa5911729cea9a43289d7938187c76"
labels = st.lists(st.text(max_size=6) | st.integers() | st.binary(max_size=6), max_size=4)


def written(label):
    return label if isinstance(label, bytes) else str(label).encode()


def test_the_values_of_version_1():
    child = derive(root(7), "train", 3, b"x")
    assert (root(7).hex(), child.hex()) == (ROOT, CHILD)
    assert generator(child).integers(0, 1 << 63, 3).tolist() == [
        2202463960252195866,
        5332846713382187657,
        4241466241193499812,
    ]
    assert seed64(child) == 8793453980241073864


@given(labels, labels)
def test_two_paths_give_one_key_only_if_they_are_written_alike(one, other):
    alike = [written(label) for label in one] == [written(label) for label in other]
    assert (derive(root(1), *one) == derive(root(1), *other)) == alike


@given(labels)
def test_a_child_depends_on_its_root_and_on_nothing_drawn_before(path):
    before = derive(root(1), *path)
    generator(before).random(10)
    assert derive(root(1), *path) == before != derive(root(2), *path)
    assert len(before) == 32


def test_one_key_gives_one_stream_and_another_key_another():
    keys = [derive(root(1), "batches", step) for step in range(3)]
    streams = [generator(key).random(4) for key in keys]
    assert np.array_equal(generator(keys[0]).random(4), streams[0])
    assert len({stream.tobytes() for stream in streams}) == 3


@given(st.integers())
def test_seeds_fit_where_they_are_used(seed):
    assert 0 <= seed64(root(seed)) < 1 << 63
    assert len(root(seed)) == 32
