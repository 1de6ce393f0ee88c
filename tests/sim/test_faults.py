"""Each fault happens when asked for, is counted, and does not happen when not asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2pfl.core import noise
from p2pfl.core.party import Answered, Dropped, Offered, Received, Reply, SendFailed, Started, Verdict
from p2pfl.errors import ConfigError
from p2pfl.hosts.faults import Crash, Dice, Faults, Line, Partition, flipped
from p2pfl.hosts.sim import SimHost
from p2pfl.wire import envelope

COUNTED = {
    "request_loss": "requests_lost",
    "reply_loss": "replies_lost",
    "duplicate": "duplicated",
    "corrupt": "corrupted",
    "crash_rate": "crashed",
}


@pytest.mark.parametrize("name", COUNTED)
def test_each_fault_is_counted_and_alone(toys, name):
    host = SimHost(1, Faults(**{name: 0.3}, calm_after=20), persist_s=0.01)
    toys.chat(host)
    counts = host.run().counts
    assert counts[COUNTED[name]] > 0
    assert not any(counts.get(other) for other in set(COUNTED.values()) - {COUNTED[name]})


def test_a_perfect_network_fails_nobody(toys):
    host = SimHost(1)
    toys.chat(host)
    counts = host.run().counts
    assert counts["sent"] == counts["answered"] == counts["replied"]
    assert set(counts) == {"sent", "answered", "replied", "persisted", "started"}


def test_nothing_is_drawn_after_the_calm(toys):
    host = SimHost(1, Faults(1.0, 1.0, 1.0, 1.0, crash_rate=9.0, calm_after=0.0))
    toys.chat(host)
    counts = host.run().counts
    assert set(counts) == {"sent", "answered", "replied", "persisted", "started"}
    assert counts["answered"] == counts["sent"]


def test_a_lost_request_never_arrives_a_lost_reply_leaves_its_work_done(toys):
    for faults, arrived in ((Faults(request_loss=1.0), 0), (Faults(reply_loss=1.0), 1)):
        host = SimHost(1, faults)
        lives = toys.talk(host, a=toys.once(toys.send(toys.b, b"body")), b=toys.accept())
        host.run(until=60)
        assert len(lives["b"][0].of(Received)) == arrived
        assert lives["a"][0].of(SendFailed) == [SendFailed("k", "deadline")]


def test_a_duplicate_has_its_own_token_and_only_the_first_reply_counts(toys):
    replies = iter(Verdict)

    def rule(event, now):
        return [Reply(event.token, next(replies))] if isinstance(event, Offered) else []

    host = SimHost(1, Faults(duplicate=1.0))
    lives = toys.talk(host, a=toys.once(toys.send(toys.b)), b=rule)
    counts = host.run().counts
    first, second = lives["b"][0].of(Offered)
    assert first.token != second.token
    assert first.head == second.head
    assert lives["a"][0].of(Answered) == [Answered("k", Verdict.ACCEPT, b"")]
    assert counts["stale"] == 1


def test_jitter_reorders(toys):
    sends = [toys.send(toys.b, key=number) for number in range(20)]
    host = SimHost(1, Faults(jitter_s=0.1))
    lives = toys.talk(host, a=toys.once(*sends), b=toys.reply(Verdict.ACCEPT))
    host.run()
    keys = [answer.key for answer in lives["a"][0].of(Answered)]
    assert sorted(keys) == list(range(20))
    assert keys != list(range(20))


def test_every_corrupted_byte_is_noticed_by_somebody(toys):
    """In the prefix: by the host. In the head: by open_head or the signature. In the body: by its digest."""
    unnoticed = []

    def receiver(event, now):
        match event:
            case Started():
                return []
            case Offered(token, head):
                try:
                    if envelope.open_head(head).authentic():
                        return toys.accept()(event, now)
                except envelope.Reject:
                    pass
                return [Reply(token, Verdict.REJECT)]
            case Received(token, body):
                unnoticed.append(bytes(body))
                return [Reply(token, Verdict.ACCEPT)]
        return []

    sends = [toys.send(toys.b, b"body", key=number) for number in range(400)]
    host = SimHost(1, Faults(corrupt=1.0, reply_loss=0.0))
    toys.talk(host, a=toys.once(*sends), b=receiver)
    counts = host.run().counts
    assert unnoticed == []
    assert counts["malformed"] > 0
    assert counts["dropped"] > 100
    assert counts["corrupted"] >= 400
    assert counts["answered"] + counts["failed"] == 400


def test_a_corrupted_reply_differs_in_one_byte(toys):
    reply = bytes(range(200))
    host = SimHost(1, Faults(corrupt=1.0))
    lives = toys.talk(
        host,
        a=toys.once(*[toys.send(toys.b, key=number) for number in range(50)]),
        b=toys.reply(Verdict.ACCEPT, reply),
    )
    host.run()
    answers = lives["a"][0].of(Answered)
    assert answers
    assert all(sum(x != y for x, y in zip(answer.data, reply, strict=True)) == 1 for answer in answers)


def test_a_partition_cuts_and_heals(toys):
    """b answers everybody; a is cut off from it between 1 and 2 only."""
    cut = Partition((frozenset([toys.a]), frozenset([toys.b, toys.c])), 1.0, 2.0)

    def sender(event, now):
        if isinstance(event, Started):
            return [toys.send(toys.b, key=now, deadline=now + 0.3)]
        if isinstance(event, Answered | SendFailed) and now < 3:
            return [toys.send(toys.b, key=now, deadline=now + 0.3)]
        return []

    host = SimHost(1, Faults(delay_s=0.05, partitions=(cut,)))
    lives = toys.talk(host, a=sender, b=toys.accept(), c=sender)
    counts = host.run().counts
    failed = [now for now, event in lives["a"][0].seen if isinstance(event, SendFailed)]
    answered = [now for now, event in lives["a"][0].seen if isinstance(event, Answered)]
    assert counts["partitioned"] == len(failed) > 0
    assert all(1.0 < now <= 2.0 + 0.3 for now in failed)
    assert min(answered) < 1.0
    assert max(answered) > 2.3
    assert not any(1.0 <= now < 2.0 for now in answered)
    assert not lives["c"][0].of(SendFailed)


def test_a_partition_loses_a_request_that_sets_out_while_it_stands(toys):
    cut = Partition((frozenset([toys.a]),), 0.0, 0.005)
    host = SimHost(1, Faults(delay_s=0.01, partitions=(cut,)))
    lives = toys.talk(host, a=toys.once(toys.send(toys.b, deadline=1.0)), b=toys.accept())
    counts = host.run().counts
    assert not lives["b"][0].of(Offered)
    assert lives["a"][0].seen[-1] == (1.0, SendFailed("k", "deadline"))
    assert counts["partitioned"] == 1


def test_a_partition_breaks_a_long_transfer(toys):
    cut = Partition((frozenset([toys.a]),), 2.0, 2.1)
    host = SimHost(1, Faults(bytes_per_s=25_000, partitions=(cut,)))
    lives = toys.talk(host, a=toys.once(toys.send(toys.b, bytes(100_000))), b=toys.accept())
    host.run()
    assert lives["b"][0].of(Dropped) == [Dropped(lives["b"][0].of(Offered)[0].token, "the connection timed out")]
    assert lives["a"][0].of(SendFailed) == [SendFailed("k", "the connection timed out")]


def test_who_is_in_no_group_is_with_the_others_that_are_in_none(toys):
    cut = Partition((frozenset([toys.a]),), 1.0, 2.0)
    assert cut.separates(toys.a, toys.b)
    assert not cut.separates(toys.b, toys.c)
    faults = Faults(partitions=(cut,))
    moments = [(0.5, 0.9), (0.5, 1.0), (1.5, 1.6), (1.99, 9.0), (2.0, 9.0)]
    assert [faults.separated(toys.a, toys.b, *moment) for moment in moments] == [False, True, True, True, False]


def test_turning_one_fault_up_leaves_the_draws_of_the_others(toys):
    key = noise.derive(noise.root(1), "x")
    quiet, loud = Dice(Faults(jitter_s=1.0), key), Dice(Faults(0.5, 0.5, 0.5, 0.5, jitter_s=1.0), key)
    for _ in range(50):
        assert quiet.request(0.0, Line())[0].delay_s == loud.request(0.0, Line())[0].delay_s
        assert quiet.reply(0.0, Line()).delay_s == loud.reply(0.0, Line()).delay_s


@given(message=st.binary(min_size=1, max_size=64), head=st.integers(1, 80), where=st.floats(0, 1, exclude_max=True))
def test_a_flip_changes_one_byte(message, head, where):
    changed = flipped(message, min(head, len(message)), where)
    places = [i for i, (x, y) in enumerate(zip(message, changed, strict=True)) if x != y]
    assert len(places) == 1
    if head < len(message):
        assert (places[0] < head) == (where < 0.5)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"request_loss": 1.01}, "faults.request_loss: expected a probability from 0 to 1, got 1.01"),
        ({"corrupt": -0.1}, "faults.corrupt: expected a probability"),
        ({"duplicate": float("nan")}, "faults.duplicate: expected a probability"),
        ({"delay_s": -1.0}, "faults.delay_s: expected a number from 0 on, got -1.0"),
        ({"jitter_s": float("inf")}, "faults.jitter_s: expected a number from 0 on, got inf"),
        ({"restart_s": float("nan")}, "faults.restart_s"),
        ({"bytes_per_s": 0.0}, "faults.bytes_per_s: expected more than 0"),
    ],
)
def test_an_impossible_world_is_refused_in_one_line(values, expected):
    with pytest.raises(ConfigError, match=r"^[^\n]+$") as error:
        Faults(**values)
    assert expected in str(error.value)


def test_a_disk_cannot_be_rolled_back_to_the_future(toys):
    with pytest.raises(ConfigError, match="expected copied_at before it, got 2"):
        Crash(toys.a, at=1.0, disk="rolled-back", copied_at=2.0)
