"""Alignment against a plain join: exact, in one order, over any set, route, loss and restart."""

import random
from collections import deque
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2pfl.errors import ConfigError
from p2pfl.vertical.align import bounds as alignment_bounds
from p2pfl.vertical.align.aligner import Action, Aligner, Do, Keep, Say, Standing
from p2pfl.vertical.align.ids import IdRules, normalise
from p2pfl.vertical.align.messages import Points, pack, unpack
from p2pfl.vertical.align.terms import MODES, Mode, Terms
from p2pfl.vertical.align.work import run

NAMES = ("bank", "shop", "clinic", "phone", "rail")


def terms_of(k: int, mode: Mode = "ring", bucket: int = 1) -> Terms:
    return Terms("a job", NAMES[:k], b"salt", mode, bucket)


class World:
    """All parties in one place. Deliveries and results come in an order drawn by `rng`; `loss` of the messages do not
    come, some come twice. A party may be killed: it is made anew from what it kept."""

    def __init__(self, terms: Terms, sets: Sequence[list[bytes]], seed: int = 0, loss: float = 0.0) -> None:
        self.terms, self.sets, self.loss = terms, sets, loss
        self.rng = random.Random(seed)
        self.kept: list[dict[bytes, bytes]] = [{} for _ in sets]
        self.sent: list[tuple[int, int, bytes]] = []
        self.raised = 0
        self.queue: deque[tuple[str, int, int, object]] = deque()
        self.parties = [Aligner(terms, i, items, bytes([i, seed]) * 16) for i, items in enumerate(sets)]
        for i, party in enumerate(self.parties):
            self.perform(i, party.start())

    def perform(self, me: int, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Keep(key, None):
                    self.kept[me].pop(key, None)
                case Keep(key, value):
                    assert value is not None
                    self.kept[me][key] = value
                case Say(to, message):
                    self.sent.append((me, to, pack(message)))
                    for _ in range(self.rng.choices([0, 1, 2], [self.loss, 1 - 1.5 * self.loss, self.loss / 2])[0]):
                        self.queue.append(("message", me, to, pack(message)))
                case Do(task):
                    self.queue.append(("task", me, me, task))

    def kill(self, me: int) -> None:
        """Its tasks are gone; messages to it that are under way may still come."""
        self.queue = deque(item for item in self.queue if item[0] != "task" or item[1] != me)
        self.parties[me] = Aligner(self.terms, me, self.sets[me], b"\xff" * 32, dict(self.kept[me]))
        self.perform(me, self.parties[me].start())

    def step(self) -> None:
        if self.loss:
            self.queue.rotate(self.rng.randrange(3))
        kind, sender, me, what = self.queue.popleft()
        if kind == "message":
            assert isinstance(what, bytes)
            self.perform(me, self.parties[me].receive(sender, unpack(what)))
        else:
            self.raised += 1
            self.perform(me, self.parties[me].computed(what, run(what)))  # type: ignore[arg-type]

    def play(self, steps: int = 20_000) -> None:
        for _ in range(steps):
            if not self.queue:
                if all(p.finished for p in self.parties):
                    return
                for i, party in enumerate(self.parties):
                    self.perform(i, party.remind())
            if self.queue:
                self.step()
        raise AssertionError("the alignment does not end")

    def common(self) -> list[bytes]:
        """What all hold, after checking that it is the plain join in one order."""
        found = []
        for party, items in zip(self.parties, self.sets, strict=True):
            assert party.done is not None
            found.append([items[row] for row in party.done.rows])
        assert all(other == found[0] for other in found)
        assert sorted(found[0]) == sorted(set.intersection(*map(set, self.sets)))
        return found[0]


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of 4 points and 3 rows, so that small sets take many."""
    shrink_chunks(monkeypatch)


def shrink_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    from p2pfl.vertical.align import own, receive, send, terms

    for module in (own, receive, send, terms):
        for name, size in {"ALIGN_CHUNK_POINTS": 4, "ALIGN_CHUNK_ROWS": 3}.items():
            if hasattr(module, name):
                monkeypatch.setattr(module, name, size)
    monkeypatch.setattr(send, "ANSWER_BYTES", 12)
    monkeypatch.setattr(terms.chunks_of, "__defaults__", (4,))
    monkeypatch.setattr(terms.length_of, "__defaults__", (4,))


ids = st.sets(st.integers(0, 24), min_size=1, max_size=20)


@st.composite
def jobs(draw: st.DrawFn) -> tuple[Terms, list[list[bytes]]]:
    k = draw(st.integers(2, 5))
    sets = [[b"%d" % i for i in draw(st.permutations(sorted(draw(ids))))] for _ in range(k)]
    return terms_of(k, draw(st.sampled_from(MODES)), draw(st.sampled_from([1, 8]))), sets


@settings(max_examples=60)
@given(jobs())
def test_all_hold_the_plain_join_in_one_order(job: tuple[Terms, list[list[bytes]]]) -> None:
    world = World(*job)
    world.play()
    world.common()


@settings(max_examples=60)
@given(jobs(), st.integers(0, 255), st.lists(st.tuples(st.integers(0, 60), st.integers(0, 4)), max_size=4))
def test_loss_doubles_disorder_and_restarts_change_nothing(
    job: tuple[Terms, list[list[bytes]]], seed: int, kills: list[tuple[int, int]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        shrink_chunks(patch)
        world = World(*job, seed, loss=0.15)
        for steps, victim in kills:
            for _ in range(min(steps, len(world.queue))):
                world.step()
            world.kill(victim % len(world.sets))
        world.play()
        world.common()


def test_unicode_ids_of_different_writing_meet() -> None:
    ours = normalise(["  Ángel ", "ＡＢＣ１", "straße", "naïve", "只有我们"], IdRules(), "a")
    theirs = normalise(["NAI\u0308VE", "abc1", "A\u0301NGEL", "STRASSE", "nur wir"], IdRules(), "b")
    world = World(terms_of(2), [ours, theirs])
    world.play()
    assert len(world.common()) == 4


@pytest.mark.parametrize("mode", MODES)
def test_empty_intersection_and_one_element(mode: Mode) -> None:
    for sets in ([[b"a"], [b"b"], [b"c"]], [[b"x"], [b"x"], [b"x"]], [[b"a", b"b"], [b"b", b"c"], [b"c", b"a"]]):
        world = World(terms_of(3, mode), [list(s) for s in sets])
        world.play()
        world.common()


def test_padding_hides_sizes_and_meets_nobody() -> None:
    world = World(terms_of(3, bucket=16), [[b"%d" % i for i in range(n)] for n in (3, 16, 17)])
    world.play()
    assert world.parties[0].counts == (16, 16, 32)
    assert len(world.common()) == 3


@pytest.mark.parametrize("mode", MODES)
def test_a_transcript_holds_group_elements_of_fixed_size_only(mode: Mode) -> None:
    """No id, no tag and no order: points on the curve, each seen once per hop, none of them an unblinded hash."""
    from p2pfl.crypto.curve import check_points, hash_to_curve

    terms, sets = terms_of(3, mode), [[b"%d" % i for i in range(n)] for n in (9, 14, 11)]
    world = World(terms, sets)
    world.play()
    bare = {hash_to_curve([b"%d" % i], terms.domain) for i in range(14)}
    seen: set[bytes] = set()
    for _, _, data in world.sent:
        message = unpack(data)
        if isinstance(message, Points):
            check_points(message.blob)
            points = {message.blob[i : i + 32] for i in range(0, len(message.blob), 32)}
            assert len(points) * 32 == len(message.blob)
            seen |= points
    hops = sum(len(route.path) * len(sets[route.owner]) for route in terms.routes)
    assert not seen & bare
    doubled = 14 - 9 if mode == "star" else 0  # the label holder's blinded set goes to each of the two others
    assert len(seen) <= hops
    assert len(seen) >= hops - len(sets[0]) - 14 - doubled  # what all have raised is equal where ids are


def test_common_rows_come_in_an_order_that_follows_the_secrets() -> None:
    orders = set()
    for seed in range(4):
        world = World(terms_of(2), [[b"%d" % i for i in range(30)]] * 2, seed)
        world.play()
        orders.add(tuple(world.common()))
    assert len(orders) == 4


def test_another_job_or_salt_gives_other_points() -> None:
    digests = {Terms(job, NAMES[:2], salt).domain for job in ("a", "b") for salt in (b"", b"s")}
    assert len(digests) == 4


def test_a_restart_repeats_only_what_was_under_way(small_chunks: None) -> None:
    """200 ids in chunks of 4: killed in the middle, the party raises again a window at most, not what it holds."""
    sets = [[b"%d" % i for i in range(200)]] * 2
    world = World(terms_of(2), sets)
    while world.raised < 100:
        world.step()
    before = world.raised
    world.kill(1)
    world.play()
    world.common()
    chunks = 2 * 50 + 50 + 50  # blinded by both, raised by both
    assert world.raised <= chunks + 50 + 2 * alignment_bounds.ALIGN_WINDOW + 1
    assert before >= 100


def test_a_restart_after_the_end_still_answers() -> None:
    world = World(terms_of(3), [[b"%d" % i for i in range(n)] for n in (5, 6, 7)])
    world.play()
    for party in range(3):
        world.kill(party)
    world.play()
    world.common()
    assert all("secret" not in str(sorted(kept)) for kept in world.kept)
    assert all(len(kept) < 12 for kept in world.kept)


def test_a_restart_with_other_ids_is_refused() -> None:
    world = World(terms_of(2), [[b"a", b"b"], [b"b"]])
    with pytest.raises(ConfigError, match="the ids or the terms have changed"):
        Aligner(world.terms, 0, [b"a", b"c"], bytes(32), world.kept[0])


def test_work_and_waiting_are_told() -> None:
    world = World(terms_of(2), [[b"a", b"b"], [b"b"]])
    assert world.parties[0].waits_for == (1,)
    assert world.parties[0].work == (0, 0)
    world.play()
    assert [party.work for party in world.parties] == [(3, 3), (3, 3)]
    assert all(party.waits_for == () for party in world.parties)


def test_no_ids_and_wrong_parties_are_refused() -> None:
    with pytest.raises(ConfigError, match="shop has no ids"):
        Aligner(terms_of(2), 1, [], bytes(32))
    with pytest.raises(ValueError, match="party 0 to 1"):
        Aligner(terms_of(2), 2, [b"a"], bytes(32))
    with pytest.raises(ValueError, match="32 bytes"):
        Aligner(terms_of(2), 1, [b"a"], bytes(31))
    with pytest.raises(ValueError, match="another party"):
        Aligner(terms_of(2), 1, [b"a"], bytes(32)).receive(1, Standing(b"", b"", 1, (), True))


@pytest.mark.slow
def test_100_000_ids_of_two_parties() -> None:
    sets = [[b"%d" % i for i in range(n, n + 100_000)] for n in (0, 40_000)]
    world = World(terms_of(2), sets)
    world.play()
    assert len(world.common()) == 60_000


@pytest.mark.slow
@pytest.mark.parametrize("k", [3, 4, 5])
@pytest.mark.parametrize("mode", MODES)
def test_several_chunks_of_three_to_five_parties(k: int, mode: Mode) -> None:
    rng = random.Random(k)
    sets = [[b"%d" % i for i in rng.sample(range(6_000), 4_500)] for _ in range(k)]
    world = World(terms_of(k, mode, bucket=250), sets)
    world.play()
    assert world.common()
