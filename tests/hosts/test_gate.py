"""Who is let in: laws in virtual time, over any order of comings, askings and goings."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.hosts.gate import ADDRESSES_MAX, Gate, address_of
from p2pfl.hosts.settings import HttpSettings


class Line:
    """A connection that remembers whether it was hung up on."""

    def __init__(self) -> None:
        self.hung_up = False

    def hang_up(self) -> None:
        self.hung_up = True


def gate(**more: Any) -> Gate:
    return Gate(HttpSettings(**more))


def fill(g: Gate, names: list[str], host: str = "192.0.2.1", now: float = 0.0) -> dict[str, Line]:
    lines = {name: Line() for name in names}
    for name, line in lines.items():
        assert g.open(name, host, now, line.hang_up)
    return lines


def test_an_address_has_its_burst_and_then_its_rate() -> None:
    g = gate(address_rate=2.0, address_burst=5.0, strangers_per_address=100)
    assert [g.open(n, "192.0.2.1", 0.0, int) for n in range(6)] == [True] * 5 + [False]
    assert [g.open(n, "192.0.2.1", 1.0, int) for n in range(6, 9)] == [True, True, False]
    assert g.open("other", "192.0.2.2", 1.0, int)
    assert g.turned_away == {"connections": 2}


def test_requests_of_strangers_are_their_addresss_and_of_the_proved_their_names() -> None:
    g = gate(address_rate=0.0, address_burst=4.0, name_rate=0.0, name_burst=3.0)
    fill(g, ["a", "b"])
    g.prove("a", b"alice")
    assert [g.ask("b", 0.0) for _ in range(3)] == [True, True, False]
    assert [g.ask("a", 0.0) for _ in range(4)] == [True, True, True, False]


def test_one_name_has_one_bucket_however_many_connections_it_has() -> None:
    g = gate(name_rate=0.0, name_burst=3.0)
    fill(g, ["a", "b"])
    for name in "ab":
        g.prove(name, b"alice")
    assert [g.ask(name, 0.0) for name in "abab"] == [True, True, True, False]


def test_the_proved_are_never_crowded_out() -> None:
    g = gate(connections_max=3)
    lines = fill(g, ["a", "b", "c"])
    g.prove("a", b"alice")
    assert g.open("d", "192.0.2.9", 0.0, int)
    assert [lines[name].hung_up for name in "abc"] == [False, True, False]
    for name in ("c", "d"):
        g.prove(name, b"others")
    assert not g.open("e", "192.0.2.8", 0.0, int)
    assert g.turned_away == {"crowded": 2}


def test_strangers_of_one_address_at_the_bound_and_one_past_it() -> None:
    g = gate(strangers_per_address=2)
    fill(g, ["a", "b"])
    assert not g.open("c", "192.0.2.1", 0.0, int)
    g.prove("a", b"alice")
    assert g.open("c", "192.0.2.1", 0.0, int)
    g.close("b")
    assert g.open("d", "192.0.2.1", 0.0, int)
    assert not g.open("e", "192.0.2.1", 0.0, int)


def test_links_of_one_address_at_the_bound_whoever_they_prove_to_be() -> None:
    g = gate(links_per_address=2)
    fill(g, ["a", "b"])
    for name in "ab":
        g.prove(name, name.encode())
    assert not g.open("c", "192.0.2.1", 0.0, int)
    g.close("a")
    assert g.open("c", "192.0.2.1", 0.0, int)


def test_who_says_nothing_is_hung_up_on_and_who_waits_for_an_answer_is_not() -> None:
    g = gate()
    lines = fill(g, ["silent", "waits", "asked", "proved"])
    assert g.ask("waits", 0.0)
    assert g.ask("asked", 0.0)
    g.done("asked", 4.0)
    g.prove("proved", b"alice")
    g.silent(5.1, 5.0)
    assert {name for name, line in lines.items() if line.hung_up} == {"silent"}
    g.silent(9.2, 5.0)
    assert {name for name, line in lines.items() if line.hung_up} == {"silent", "asked"}


def test_bytes_at_the_bounds_and_one_past_them() -> None:
    g = gate(bytes_max=10, bytes_per_address=6)
    assert g.hold("192.0.2.1", 6)
    assert not g.hold("192.0.2.1", 1)
    assert g.hold("192.0.2.2", 4)
    assert not g.hold("192.0.2.3", 1)
    g.release("192.0.2.2", 4)
    assert g.hold("192.0.2.3", 4)
    assert g.turned_away == {"bytes": 2}


def test_what_is_remembered_of_addresses_is_bounded() -> None:
    g = gate(connections_max=10**6)
    for n in range(ADDRESSES_MAX + 50):
        assert g.open(n, f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", 0.0, int)
    assert len(g._buckets) == ADDRESSES_MAX


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        ("", ""),
    ],
)
def test_who_is_charged(host: str, address: str) -> None:
    assert address_of(host) == address


STEPS = st.lists(
    st.tuples(st.sampled_from(["open", "close", "ask", "prove", "silent"]), st.integers(0, 7), st.floats(0, 2)),
    max_size=80,
)


@given(STEPS)
@settings(max_examples=100)
def test_counts_stay_true_whatever_comes(steps: list[tuple[str, int, float]]) -> None:
    """Links never exceed their bound, strangers are counted exactly, and who is hung up on is gone."""
    g, now = gate(connections_max=4, strangers_per_address=3, address_burst=20.0), 0.0
    for what, n, more in steps:
        now += more
        match what:
            case "open" if n not in g._links:
                g.open(n, f"192.0.2.{n % 3}", now, int)
            case "close":
                g.close(n)
            case "ask":
                if g.ask(n, now):
                    g.done(n, now)
            case "prove":
                g.prove(n, bytes([n]))
            case "silent":
                g.silent(now, 1.0)
        strangers = [link.address for link in g._links.values() if not link.author]
        assert len(g._links) <= 4
        assert g._all.total() == len(g._links)
        assert dict(g._strangers) == {address: strangers.count(address) for address in set(strangers)}
        assert max(g._strangers.values(), default=0) <= 3
