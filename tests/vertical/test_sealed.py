"""Level 1 over Peers in virtual time: activations and gradients are those of one net, with a third party and without;
crashes change nothing; wrong keys and bytes end the job for all."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from p2pfl.core.noise import Key
from p2pfl.crypto import ckks
from p2pfl.crypto.paillier_keys import PrivateKey
from p2pfl.errors import ConfigError
from p2pfl.hosts.faults import Crash, Faults
from p2pfl.runs.coordinated import Coordinated, simulate
from p2pfl.vertical.data.protect import RowGuard
from p2pfl.vertical.sealed.cipher import PaillierCipher
from p2pfl.vertical.sealed.feature import FeatureHolder
from p2pfl.vertical.sealed.label import LabelHolder
from p2pfl.vertical.sealed.seal import Seal
from p2pfl.vertical.split.nets import learn_top
from p2pfl.vertical.split.plan import Plan, Schedule
from p2pfl.vertical.turns.keys import Keyring
from p2pfl.vertical.turns.messages import Accord, Reply
from p2pfl.vertical.turns.opener import KeyHolder
from p2pfl.wire.keyfile import Signer

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "paillier.json").read_text())
KEYS = [PrivateKey(int(k["p"], 16), int(k["q"], 16)) for k in VECTORS["keys"]]
SIGNERS = [Signer(bytes([i + 1]) * 32) for i in range(6)]
N = 60
DRAW = np.random.default_rng(4)
X = [torch.from_numpy(DRAW.normal(size=(N, 3)).astype(np.float32)) for _ in range(3)]
Y = (X[0][:, 0] + X[1][:, 0] - X[2][:, 1] > 0).numpy().astype(np.int64)


def plan_of(k: int, **changes: Any) -> Plan:
    parties = tuple((f"party {i}", signer.node) for i, signer in enumerate(SIGNERS[:k]))
    plan = Plan("sealed", parties, (4,) * k, Schedule(N, 24, 2, 0.2, 1), RowGuard(4.0), RowGuard(1.0))
    return replace(plan, **{"hidden": 6, "top_hidden": 3, "lr": 0.02, "patience_s": 300.0, **changes})


class Job:
    """All parties' works, and what went over the cut at each step, as those saw it who may."""

    def __init__(self, k: int = 2, third: bool = False, by_ckks: bool = False, **changes: Any) -> None:
        self.seal = Seal(plan_of(k, **changes), exponent_bits=256)
        names = [(f"party {i}", SIGNERS[i].node) for i in range(k + third)]
        self.accord = Accord("sealed", tuple(names), self.seal.digest, third)
        holders = {k: KEYS[0]} if third else {i: KEYS[i % 2] for i in range(1, k)}
        ciphers: list[Any] = [
            PaillierCipher(Keyring(2048, (i, holders[i]) if i in holders else None, 256)) for i in range(k + third)
        ]
        if by_ckks:
            pytest.importorskip("tenseal", reason="TenSEAL is not installed (extra: ckks)")
            ciphers = [ckks.CkksCipher((i, ckks.generate()) if i in holders else None) for i in range(k + third)]
        self.label = LabelHolder(self.accord, self.seal, X[0], Y, ciphers[0])
        self.works: list[Any] = [FeatureHolder(self.accord, self.seal, i, X[i], ciphers[i]) for i in range(1, k)]
        self.works += [KeyHolder(ciphers[k])] if third else []
        self.z: list[np.ndarray] = []
        self.dx: list[tuple[int, int, np.ndarray]] = []

    def watch(self) -> "Job":
        """Keep all z and dx."""
        learn = self.label._learn

        def seen(state: Any, rows: Any, z: torch.Tensor, key: Key) -> Any:
            self.z.append(z.numpy().copy())
            return learn(state, rows, z, key)

        self.label._learn = seen  # type: ignore[method-assign]
        for work in self.works:
            if isinstance(work, FeatureHolder):
                self._watch(work)
        return self

    def _watch(self, work: FeatureHolder) -> None:
        bottom, learn = work.bottom, work.bottom.learn

        def seen(part: Any, features: torch.Tensor, gradient: torch.Tensor) -> Any:
            self.dx.append((part.opt.steps, work.me, gradient.numpy().copy()))
            return learn(part, features, gradient)

        bottom.learn = seen  # type: ignore[method-assign]

    def run(self, faults: Faults | None = None, seed: int = 0) -> Coordinated:
        return simulate(self.accord, SIGNERS[: len(self.accord.parties)], self.label, self.works, seed, faults)


def unprotected(job: Job, w: list[np.ndarray]) -> tuple[list[np.ndarray], list[tuple[int, int, np.ndarray]], Any]:
    """The same net in one place, from the weights `w` of the layer at the cut: all z, all dx, and the layer's end."""
    plan, batches, net = job.seal.plan, job.label.batches, job.label.net
    bottoms = [work for work in job.works if isinstance(work, FeatureHolder)]
    top, parts = net.start(), [b.bottom.net.start() for b in bottoms]
    zs, dxs = [], []
    for step in range(plan.schedule.num_learning):
        rows = batches.rows(step)
        xs = [b.bottom.embed(p, b.features[rows]).double().numpy() for b, p in zip(bottoms, parts, strict=True)]
        z = sum(x @ wp for x, wp in zip(xs, w, strict=True))
        zs.append(z)
        whole = torch.from_numpy(z.astype(np.float32))
        done = learn_top(net, top, X[0][rows], [whole], job.label.labels[rows])
        top, (dz,) = done.part, done.gradients
        guarded = plan.gradients.clip_slopes(dz, done.residuals).double().numpy()
        for i, (b, x) in enumerate(zip(bottoms, xs, strict=True)):
            dx = guarded @ w[i].T
            dxs.append((step, b.me, dx))
            parts[i] = b.bottom.learn(parts[i], b.features[rows], torch.from_numpy(dx.astype(np.float32)))
            exact = RowGuard(1.0).clip_rows(dz).double().numpy()
            w = [*w[:i], w[i] - job.seal.rate / len(rows) * x.T @ exact, *w[i + 1 :]]
    return zs, dxs, w


def codes(result: Coordinated) -> list[int]:
    return [stop.code for stop in result.stopped.values()]


def reasons(result: Coordinated) -> set[str]:
    return {str(emit.fields["reason"]).split(":")[0] for _, emit in result.emitted if emit.name == "blamed"}


def start_of(job: Job) -> list[np.ndarray]:
    """Catch V as it is drawn."""
    caught: list[Any] = []
    hello = job.label._hello

    def seen(*args: Any) -> Any:
        moved = hello(*args)
        caught[:] = moved.state.v
        return moved

    job.label._hello = seen  # type: ignore[method-assign]
    return caught


@pytest.mark.parametrize(
    ("k", "third", "by_ckks"),
    [
        (2, False, False),
        (3, False, False),
        (2, True, False),
        (2, False, True),
        pytest.param(3, True, False, marks=pytest.mark.slow),
        pytest.param(3, True, True, marks=pytest.mark.slow),
    ],
)
def test_every_activation_and_gradient_is_that_of_the_unprotected_net(k: int, third: bool, by_ckks: bool) -> None:
    job = Job(k, third, by_ckks)
    v = start_of(job)
    result = job.watch().run()
    assert set(codes(result)) == {0}
    seen_z, seen_dx = job.z, sorted(job.dx, key=lambda one: one[:2])
    job.dx = []
    zs, dxs, w = unprotected(job, list(v))
    assert len(seen_z) == len(zs) == job.seal.plan.schedule.num_learning
    for found, wanted in zip(seen_z, zs, strict=True):
        assert np.abs(found - wanted).max() < 1e-3
    for (step, me, found), (step_2, me_2, wanted) in zip(seen_dx, sorted(dxs, key=lambda d: d[:2]), strict=True):
        assert (step, me) == (step_2, me_2)
        assert np.abs(found - wanted).max() < 1e-3
    label, *features = result.states[:k]
    for v_p, state, w_p in zip(label.v, features, w, strict=True):
        assert np.abs(v_p + state.share - w_p).max() < 1e-3  # nobody holds it, and it is what it should be
        assert np.abs(v_p - w_p).max() > 1e-3
    assert len(label.scores) == job.seal.plan.schedule.num_test


@pytest.mark.parametrize("party", [0, 1, 2])
def test_a_party_that_is_killed_goes_on(party: int) -> None:
    job = Job(2, third=True).watch()
    crash = Crash(SIGNERS[party].node, at=5.0, restart_after=20.0)
    result = job.run(Faults(crashes=(crash,), request_loss=0.05, reply_loss=0.05))
    assert codes(result) == [0, 0, 0]
    assert any(emit.name == "resumed" for _, emit in result.emitted)
    label, feature, _ = result.states
    assert np.abs(label.v[0] + feature.share).max() < 8
    assert len(label.scores) == 12


def test_a_wrong_key_fails_loudly() -> None:
    job = Job(2)
    work = job.works[0]
    work.cipher.open_masked = Keyring(2048, (1, KEYS[0])).open_masked
    result = job.run()
    assert codes(result) == [2, 2]
    assert reasons(result) <= {"packing-range", "paillier-group"}


@pytest.mark.parametrize("lie", ["group", "short", "answer"])
def test_what_is_no_ciphertext_is_its_senders_fault(monkeypatch: pytest.MonkeyPatch, lie: str) -> None:
    job = Job(3)
    work = job.works[1]
    honest = work._seal

    def seal(*args: Any) -> list[bytes]:
        first, *rest = honest(*args)
        return {"group": [bytes(len(first)), *rest], "short": [first[:-1], *rest], "answer": rest}[lie]

    work._seal = seal
    result = job.run()
    assert codes(result) == [2, 2, 2]
    assert all("party 2" in stop.reason or "this party" in stop.reason for stop in result.stopped.values())
    assert reasons(result) == {{"group": "paillier-group", "short": "paillier-size", "answer": "turn-malformed"}[lie]}


def test_requests_out_of_turn_are_refused() -> None:
    work = Job(2).works[0]
    for raw in (b"", b"\1\3\0\0\0\0\0", b"\1\1\0\0\0\0\0", b"\2\0\0\0\0\0\0"):
        fault = work.run(Reply(work.start(), raw, Key(bytes(32))))
        assert (fault.party, fault.code[:5]) == (0, "turn-")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"top_hidden": 4}, "top_hidden below every width"),
        ({"hidden": 0}, "a hidden layer in every bottom"),
        ({"embeddings": RowGuard(17.0)}, "clipped at 16 at most, got 17"),
        ({"schedule": Schedule(9000, 4096, 1, 0.2, 1)}, "at most 2048 rows"),
        ({"widths": (4, 4097)}, "1 to 4096"),
    ],
)
def test_what_level_1_has_no_room_for_is_named(change: dict[str, Any], match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        Seal(plan_of(2, **change))


def test_other_numbers_are_another_job() -> None:
    plan = plan_of(2)
    assert len({Seal(plan).digest, Seal(plan, rate=0.1).digest, Seal(plan, noise=0.1).digest}) == 3
    with pytest.raises(ConfigError, match="rate"):
        Seal(plan, rate=0.0)
