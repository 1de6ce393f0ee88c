"""A split training over Peers in virtual time: through faults and crashes it ends in the same bits; lies end it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from p2pfl.core.party import Started, Stop
from p2pfl.errors import ConfigError
from p2pfl.hosts.faults import Crash, Faults, Partition
from p2pfl.runs.vertical import Simulated, privacy_of, simulate
from p2pfl.vertical.data.protect import RowGuard
from p2pfl.vertical.split.feature import ANSWER, DONE, STATE, FeatureHolder
from p2pfl.vertical.split.nets import pack_part
from p2pfl.vertical.split.plan import SPACE, Batches, Plan, Schedule
from p2pfl.vertical.split.work import FeatureWork, Malformed
from p2pfl.wire.keyfile import Signer

N = 160
SIGNERS = [Signer(bytes([i + 1]) * 32) for i in range(5)]
DRAW = np.random.default_rng(0)
X = [DRAW.standard_normal((N, 3)).astype(np.float32) for _ in range(5)]
Y = (X[0][:, 0] + X[1][:, 0] + X[2][:, 0] > 0).astype(np.int64)


def plan_of(k: int = 3, noise: float = 0.0, **changes: Any) -> Plan:
    parties = tuple((f"party {i}", signer.node) for i, signer in enumerate(SIGNERS[:k]))
    schedule = Schedule(N, 32, 3, 0.25, 1)
    plan = Plan("test", parties, (4,) * k, schedule, RowGuard(4.0), RowGuard(0.5, noise), lr=0.02, patience_s=300.0)
    return replace(plan, **changes)


def run(plan: Plan, faults: Faults | None = None, seed: int = 0) -> Simulated:
    k = len(plan.parties)
    return simulate(plan, SIGNERS[:k], X[:k], Y, seed, faults)


def codes(result: Simulated) -> list[int]:
    return [stop.code for stop in result.stopped.values()]


def emitted(result: Simulated, name: str) -> Sequence[Any]:
    return [emit.fields for _, emit in result.emitted if emit.name == name]


@pytest.fixture(scope="module")
def calm() -> Simulated:
    return run(plan_of())


@pytest.mark.parametrize("k", [2, 4, 5])
def test_two_to_five_parties_finish(k: int) -> None:
    result = run(plan_of(k))
    assert codes(result) == [0] * k
    assert len(result.scores) == 40


def test_it_learns_from_all_parties(calm: Simulated) -> None:
    longer = replace(plan_of(), schedule=Schedule(N, 32, 25, 0.25, 1))
    assert (run(longer).metrics["auc"] or 0) > 0.9
    assert codes(calm) == [0, 0, 0]


@pytest.mark.parametrize("seed", range(3))
def test_loss_and_duplicates_change_no_bit(calm: Simulated, seed: int) -> None:
    result = run(plan_of(), Faults(request_loss=0.15, reply_loss=0.15, duplicate=0.2, corrupt=0.05), seed)
    assert codes(result) == [0, 0, 0]
    assert result.parts == calm.parts
    assert np.array_equal(result.scores, calm.scores)


@pytest.mark.parametrize("party", [0, 1])
@pytest.mark.parametrize("after_effects", [None, 0, 1, 2])
def test_a_party_that_is_killed_goes_on_at_its_step(calm: Simulated, party: int, after_effects: int | None) -> None:
    crash = Crash(SIGNERS[party].node, at=12.0, restart_after=20.0, after_effects=after_effects)
    result = run(plan_of(), Faults(crashes=(crash,)))
    assert codes(result) == [0, 0, 0]
    assert emitted(result, "resumed")
    assert result.parts == calm.parts
    assert np.array_equal(result.scores, calm.scores)


def test_a_party_that_is_killed_when_all_is_done_knows_it() -> None:
    plan = plan_of(2)
    work = FeatureWork(plan, SIGNERS[1].node, torch.from_numpy(X[1]))
    holder = FeatureHolder(plan, work)
    state = plan.schedule.num_steps.to_bytes(8, "big") + pack_part(holder.part)
    effects = holder.handle(Started(bytes(32), {SPACE: {STATE: state, ANSWER: b"", DONE: b"\x01"}}), 0.0)
    assert [effect.code for effect in effects if isinstance(effect, Stop)] == [0]
    assert holder.done


def test_a_partition_is_waited_for_and_said(calm: Simulated) -> None:
    split = Partition((frozenset({SIGNERS[1].node}), frozenset({SIGNERS[0].node, SIGNERS[2].node})), 5.0, 105.0)
    result = run(plan_of(), Faults(partitions=(split,)))
    assert result.parts == calm.parts
    assert any(fields["peer"] == "party 1" for fields in emitted(result, "waiting"))
    assert any(fields["peer"] == "party 1" for fields in emitted(result, "returned"))


def test_a_party_that_never_returns_ends_the_job_for_all_with_blame() -> None:
    result = run(plan_of(), Faults(crashes=(Crash(SIGNERS[2].node, at=5.0, restart_after=None),)))
    assert codes(result) == [2, 2]
    assert all("party 2" in stop.reason for stop in result.stopped.values())


@pytest.mark.parametrize("party", [0, 1])
def test_a_party_that_lost_its_disk_ends_the_job_for_all(party: int) -> None:
    crash = Crash(SIGNERS[party].node, at=8.0, restart_after=1.0, disk="wiped")
    result = run(plan_of(), Faults(crashes=(crash,)))
    assert codes(result) == [2, 2, 2]
    assert all("lost its place" in stop.reason for stop in result.stopped.values())


def test_malformed_embeddings_end_the_job_with_blame_for_their_sender(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = FeatureWork.run

    def lie(self: FeatureWork, task: Any) -> Any:
        part, body = honest(self, task)
        return (
            (part, body[:-4] + b"\x00\x00\xc0\x7f") if self.me == SIGNERS[2].node and task.step == 4 else (part, body)
        )

    monkeypatch.setattr(FeatureWork, "run", lie)
    result = run(plan_of())
    assert codes(result) == [2, 2, 2]
    assert all("party 2" in stop.reason or "this" in stop.reason for stop in result.stopped.values())
    assert {fields["reason"].split(" (")[0] for fields in emitted(result, "blamed")} == {
        "cut-values: expected finite values"
    }


def test_malformed_gradients_end_the_job_with_blame_for_the_label_holder(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = FeatureWork.run

    def find(self: FeatureWork, task: Any) -> Any:
        return Malformed(SIGNERS[0].node, "cut-values", "too long") if task.step == 3 else honest(self, task)

    monkeypatch.setattr(FeatureWork, "run", find)
    result = run(plan_of())
    assert codes(result) == [2, 2, 2]
    assert any("party 0" in stop.reason for stop in result.stopped.values())


def test_another_plan_is_refused_at_the_door() -> None:
    assert plan_of().digest != plan_of(lr=0.03).digest
    assert plan_of().digest == plan_of(timeout_s=3.0).digest  # how long one waits is one's own affair


def test_noise_is_accounted_and_lowers_the_leak() -> None:
    plan = plan_of(noise=2.0)
    result, bare = run(plan), run(plan_of())
    assert privacy_of(plan).label_epsilon == pytest.approx(3.5, abs=0.5)
    assert max(leak.norm for leak in result.leaks.values() if leak) < max(
        leak.worst for leak in bare.leaks.values() if leak
    )


def test_a_party_without_features_and_labels_that_are_none_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least one feature column"):
        simulate(plan_of(2), SIGNERS[:2], [X[0], np.zeros((N, 0), np.float32)], Y)
    with pytest.raises(ConfigError, match="a label 0 or 1"):
        simulate(plan_of(2), SIGNERS[:2], X[:2], Y + 1)


def test_every_epoch_visits_each_training_row_once() -> None:
    batches = Batches(Schedule(103, 10, 3, 0.2, 7))
    s = batches.schedule
    for epoch in range(s.epochs):
        seen = np.concatenate([batches.rows(epoch * s.per_epoch + i) for i in range(s.per_epoch)])
        assert sorted(seen.tolist()) == batches.train.tolist()
    held = np.concatenate([batches.rows(t) for t in range(s.num_learning, s.num_steps)])
    assert held.tolist() == batches.test.tolist()
    assert not set(held.tolist()) & set(batches.train.tolist())


@pytest.mark.parametrize("change", [{"rows": 1}, {"batch": 0}, {"epochs": 0}, {"test_fraction": 1.0}])
def test_schedules_that_are_none_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="expected"):
        replace(Schedule(100, 10, 1, 0.2, 0), **change)
