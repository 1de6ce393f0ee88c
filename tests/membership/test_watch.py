"""Networks that watch themselves: who is there is known to all, and soon; and nobody is wronged for long."""

from typing import Any

import pytest

from p2pfl.hosts.faults import Crash, Faults, Partition
from p2pfl.membership.record import Flag


def everybody(net: Any, numbers: Any) -> bool:
    """Whether all of these count exactly these."""
    wanted = set(numbers)
    return all(net.alive(number) == wanted for number in wanted)


def test_a_network_finds_itself(network: Any) -> None:
    net = network(6).add_all()
    net.run(10.0)
    assert everybody(net, range(6))
    assert len(net.said("member.joined")) == 6
    assert [job.views[-1].departed for job in net.jobs.values()] == [()] * 6


def test_a_death_is_known_to_all(network: Any) -> None:
    net = network(8, faults=Faults(crashes=(Crash(network.key(3), 10.0, restart_after=None),))).add_all()
    net.run(45.0)
    live = set(range(8)) - {3}
    assert everybody(net, live)
    last = net.jobs[network.key(0)].views[-1]
    assert last.departed == (network.key(3),)
    assert last.view == 2
    assert last.alive == tuple(sorted(network.key(i) for i in live))


def test_a_restart_is_no_death(network: Any) -> None:
    net = network(6, faults=Faults(crashes=(Crash(network.key(2), 10.0, restart_after=1.0),))).add_all()
    net.run(60.0)
    assert everybody(net, range(6))
    assert not net.said("member.dead")
    assert net.watch(2).roster.me.incarnation > 1


def test_who_lost_its_disk_comes_back_too(network: Any) -> None:
    crash = Crash(network.key(2), 20.0, restart_after=60.0, disk="wiped")
    net = network(6, faults=Faults(crashes=(crash,))).add_all()
    net.run(70.0)
    assert net.alive(0) == {0, 1, 3, 4, 5}
    net.run(140.0)
    assert everybody(net, range(6))


def test_a_farewell_is_no_death(network: Any) -> None:
    net = network(6).add_all()
    net.host.stop(network.key(5), 10.0)
    trace = net.run(25.0)
    assert everybody(net, range(5))
    assert not net.said("member.suspect")
    assert {node for _, node, _ in net.said("member.left")} == {network.key(i) for i in range(5)}
    assert trace.stopped[network.key(5)].code == 0


def test_halves_of_a_network_find_each_other_again(network: Any) -> None:
    half = frozenset(network.key(i) for i in range(4))
    net = network(8, faults=Faults(partitions=(Partition((half,), 10.0, 120.0),))).add_all()
    net.run(119.0)
    assert everybody(net, range(4))
    assert everybody(net, range(4, 8))
    net.run(200.0)
    assert everybody(net, range(8))


def test_a_network_that_starts_one_after_another(network: Any) -> None:
    net = network(5)
    for number in range(5):
        net.add(number, start=15.0 * number)
    net.run(14.0)
    assert net.alive(0) == set(range(5))  # as the document says, for a while
    net.run(140.0)
    assert everybody(net, range(5))


def test_one_way_loss_kills_nobody(network: Any) -> None:
    net = network(8, faults=Faults(request_loss=0.1, jitter_s=0.05, calm_after=100.0)).add_all()
    net.run(130.0)
    assert everybody(net, range(8))
    assert not net.said("member.dead")


def test_who_cannot_be_connected_to_is_watched_all_the_same(network: Any) -> None:
    net = network(6, faults=Faults(crashes=(Crash(network.key(5), 60.0, restart_after=None),)))
    for number in range(5):
        net.add(number)
    net.add(5, urls=(), flags=Flag(0))
    net.run(58.0)
    assert everybody(net, range(6))
    assert not net.said("member.dead")
    net.run(130.0)
    assert everybody(net, range(5))


@pytest.mark.slow
@pytest.mark.parametrize(
    "seed", [*range(12), *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(12, 1000))]
)
def test_views_converge_whatever_happened(network: Any, seed: int) -> None:
    """A third of the nodes die and as many join, a fifth of the messages is lost, half of the run is in two parts.

    More seeds with --all; those of thirty storms converge too (tests/swarm/test_network_life.py).
    """
    num = 12
    crashes = [Crash(network.key(i), 30.0 + i, restart_after=None) for i in range(num // 3)]
    crashes += [Crash(network.key(num - 1), 50.0, restart_after=5.0), Crash(network.key(num - 2), 90.0, 2.0, None)]
    half = frozenset(network.key(i) for i in range(num // 2))
    faults = Faults(
        request_loss=0.2,
        jitter_s=0.02,
        clock_skew_s=100.0,
        crashes=tuple(crashes),
        partitions=(Partition((half,), 60.0, 140.0),),
        calm_after=160.0,
    )
    net = network(num, seed=seed, faults=faults, mode="open").add_all()
    for i in range(num // 3):
        net.add(100 + i, start=20.0 + 5 * i, seeds=[num - 1, num - 3])
    net.run(300.0)
    live = {*range(num // 3, num), *range(100, 100 + num // 3)}
    assert everybody(net, live)
    rows = [net.watch(i).roster.rows() for i in live]
    assert all(row == rows[0] for row in rows)
