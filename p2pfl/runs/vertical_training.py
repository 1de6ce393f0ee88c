"""What a training is made of at one party, after the alignment: one function for each kind. Knows works and jobs."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from p2pfl.core.ids import NodeId
from p2pfl.core.noise import derive, generator, root
from p2pfl.crypto.paillier_keys import PrivateKey
from p2pfl.errors import ConfigError
from p2pfl.peer.peer import Peer
from p2pfl.privacy.accountant import gaussian_epsilon
from p2pfl.runs.vertical import peer_of
from p2pfl.runs.vertical_party import Member, Running, check_table
from p2pfl.runs.vertical_results import leak_report
from p2pfl.runs.vertical_transfer import transferring
from p2pfl.vertical.data.leaks import feature_attack
from p2pfl.vertical.data.protect import LABEL_SENSITIVITY, SENSITIVITY
from p2pfl.vertical.data.table import PartyTable
from p2pfl.vertical.hetero import feature as hetero_feature
from p2pfl.vertical.hetero import label as hetero_label
from p2pfl.vertical.hetero import rules as hetero
from p2pfl.vertical.hetero.linear import Regression
from p2pfl.vertical.hetero.sums import PaillierSums
from p2pfl.vertical.job.agreement import Agreement
from p2pfl.vertical.sealed import feature as sealed_feature
from p2pfl.vertical.sealed import label as sealed_label
from p2pfl.vertical.sealed.cipher import PaillierCipher
from p2pfl.vertical.sealed.seal import Seal
from p2pfl.vertical.split.feature import FeatureHolder
from p2pfl.vertical.split.label import LabelHolder
from p2pfl.vertical.split.work import FeatureWork, LabelWork
from p2pfl.vertical.turns.answers import Answerer
from p2pfl.vertical.turns.coordinator import Coordinator
from p2pfl.vertical.turns.keys import Keyring
from p2pfl.vertical.turns.opener import KeyHolder
from p2pfl.wire.envelope import Signs

LEAK_ROWS = 4000
KEY_HOLDER_PATIENCE = 10
"""It hears nothing while the others align, so it waits so many times as long as they do."""
KNOWN_SHARE = 0.1
"""Of these rows the attacker is taken to know the features."""


def trainer(agreement: Agreement, signer: Signs, table: PartyTable, key: PrivateKey | None = None) -> Member:
    """A party of a training. `key`: its Paillier key, if it holds one (`holds_key`). Raises ConfigError."""
    check_trainable(agreement, signer, table)
    if agreement.kind == "transfer":
        return Member(agreement, signer, table, lambda a, me, rows: transferring(a, me, rows, table, key))
    if agreement.kind != "split":
        return Member(agreement, signer, table, lambda a, me, rows: _regression(a, me, rows, key))
    if agreement.level == 1:
        return Member(agreement, signer, table, lambda a, me, rows: _sealed(a, me, rows, key))
    return Member(agreement, signer, table, _split)


def check_trainable(agreement: Agreement, signer: Signs, table: PartyTable) -> None:
    """ConfigError for what can be known to fail before anybody is asked."""
    check_table(agreement, agreement.index_of(signer.node), table)
    if agreement.kind in ("logistic", "linear"):
        regression_of(agreement)
    elif agreement.kind == "split" and agreement.level == 1:
        seal_of(agreement, len(table))


def holds_key(agreement: Agreement, node: NodeId) -> bool:
    """Whether this party needs a Paillier key: the third party alone, else all that open something."""
    if agreement.encryption.third is not None:
        return node == agreement.encryption.third[1]
    if agreement.kind == "transfer":
        return agreement.level == 1 and node == agreement.label_holder
    if agreement.kind != "split":
        return True
    return agreement.level == 1 and node != agreement.label_holder


def key_holder(agreement: Agreement, signer: Signs, key: PrivateKey) -> tuple[Peer, KeyHolder, Answerer]:
    """The party that opens what is masked and has no data: its Peer, its work, its job."""
    me = len(agreement.everyone) - 1
    work = KeyHolder(Keyring(agreement.encryption.key_bits, (me, key)))
    accord = replace(agreement.accord, patience_s=KEY_HOLDER_PATIENCE * agreement.patience_s)
    job = Answerer(accord, me, work)
    return peer_of(agreement.accord, signer, job), work, job


def seal_of(agreement: Agreement, rows: int) -> Seal:
    """Level 1 of the job. ConfigError if it has no room for it."""
    e = agreement.encryption
    return Seal(agreement.plan(rows), e.rate, e.noise, e.key_bits)


def regression_of(agreement: Agreement) -> Regression:
    """Raises ConfigError."""
    e = agreement.encryption
    if agreement.kind not in ("logistic", "linear"):
        raise ConfigError(f"expected a job of kind logistic or linear, got {agreement.kind}")
    return Regression(agreement.kind, e.rate, e.decay, key_bits=e.key_bits)


# ------------------------------------------------------------------------------------------------- the kinds


def _split(agreement: Agreement, me: NodeId, table: PartyTable) -> Running:
    """Level 0: rows clipped and noised."""
    plan = agreement.plan(len(table))
    scaled = table.scaled(plan.schedule.split()[0])
    x = torch.from_numpy(np.ascontiguousarray(scaled.x))
    report = _privacy(agreement, plan.schedule.num_steps)
    if agreement.index_of(me):
        work = FeatureWork(plan, me, x)
        job = FeatureHolder(plan, work)

        def known() -> dict[str, Any]:
            return {**report, "feature_leak": _feature_leak(work, job, scaled)}

        return Running(scaled, job, work, lambda: job.done, lambda: work.bottom.net.named(job.part.x), known)
    assert scaled.y is not None
    top = LabelWork(plan, x, scaled.y)
    holder = LabelHolder(plan, top)

    def told() -> dict[str, Any]:
        leaks = {plan.name_of(node): meter.report() for node, meter in top.leaks.items()}
        return {**report, **holder.metrics, "label_leak": leak_report(leaks)}

    return Running(scaled, holder, top, lambda: holder.done, lambda: top.net.named(holder.part.x), told)


def _sealed(agreement: Agreement, me: NodeId, table: PartyTable, key: PrivateKey | None) -> Running:
    """Level 1: the first layer they meet in is encrypted."""
    seal, accord, index = seal_of(agreement, len(table)), agreement.accord, agreement.index_of(me)
    scaled = table.scaled(seal.plan.schedule.split()[0])
    x = torch.from_numpy(np.ascontiguousarray(scaled.x))
    cipher = PaillierCipher(Keyring(seal.key_bits, None if key is None else (index, key), seal.exponent_bits))
    report = _privacy(agreement, seal.plan.schedule.num_steps) | {"feature_epsilon": None}
    if index:
        work = sealed_feature.FeatureHolder(accord, seal, index, x, cipher)
        job = Answerer(accord, index, work)

        def arrays() -> dict[str, Tensor]:
            return {**work.bottom.net.named(job.state.part.x), "share": torch.from_numpy(job.state.share)}

        return Running(scaled, job, work, lambda: job.done, arrays, lambda: report)
    assert scaled.y is not None
    top = sealed_label.LabelHolder(accord, seal, x, scaled.y, cipher)
    hub = Coordinator(accord, top)

    def parts() -> dict[str, Tensor]:
        v = {f"v.{i}": torch.from_numpy(one) for i, one in enumerate(hub.state.v)}
        return {**top.net.named(hub.state.part.x), **v}

    def told() -> dict[str, Any]:
        return {**report, **hub.metrics, "label_leak": leak_report({"all": top.leak.report()})}

    return Running(scaled, hub, top, lambda: hub.done, parts, told)


def _regression(agreement: Agreement, me: NodeId, table: PartyTable, key: PrivateKey | None) -> Running:
    """Encrypted logistic or linear regression."""
    spec, accord, index = regression_of(agreement), agreement.accord, agreement.index_of(me)
    rows = len(table)
    batch = min(agreement.batch, rows)
    rules = hetero.Rules(
        spec, rows, batch, agreement.epochs, agreement.test_fraction, agreement.seed, agreement.encryption.tolerance
    )
    train = hetero.Batches(rules).train
    scaled = table.scaled(train)
    x = scaled.x.astype(np.float64)
    sums = PaillierSums(rules.product, Keyring(spec.key_bits, None if key is None else (index, key)))
    spread = x[train].std(axis=0)
    unit = {"mean": x[train].mean(axis=0), "scale": np.where(spread > 0, spread, 1.0)}
    if index:
        work = hetero_feature.FeatureHolder(accord, rules, index, x, sums)
        job = Answerer(accord, index, work)
        return Running(scaled, job, work, lambda: job.done, lambda: _tensors(unit, w=job.state.w))
    assert scaled.y is not None
    label = hetero_label.LabelHolder(accord, rules, x, scaled.y, sums)
    hub = Coordinator(accord, label)

    def parts() -> dict[str, Tensor]:
        return _tensors(unit, w=hub.state.w, target=np.array([label.centre, label.scale]))

    def told() -> dict[str, Any]:
        return {**hub.metrics, "epochs": agreement.epochs, "loss": float(hub.state.losses[-1])}

    return Running(scaled, hub, label, lambda: hub.done, parts, told)


def _tensors(unit: dict[str, Any], **more: Any) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.array(value, np.float64)) for name, value in {**unit, **more}.items()}


# ------------------------------------------------------------------------------------------------- what is told


def _privacy(agreement: Agreement, steps: int) -> dict[str, Any]:
    """Gradients leave once an epoch for each row trained on, embeddings as often. None: no bound at all."""
    epochs, delta = agreement.epochs, agreement.delta
    found = [
        gaussian_epsilon(moved, guard.noise, epochs, delta)
        for moved, guard in ((LABEL_SENSITIVITY, agreement.gradients), (SENSITIVITY, agreement.embeddings))
    ]
    label, feature = (value if np.isfinite(value) else None for value in found)
    return {
        "epochs": epochs, "steps": steps, "label_epsilon": label, "feature_epsilon": feature, "delta": delta
    }  # fmt: skip


def _feature_leak(work: FeatureWork, job: FeatureHolder, table: PartyTable) -> dict[str, Any] | None:
    """What the label holder could compute about features from the last embeddings, if it knew some rows: run by their
    owner, who alone has both. None if there are too few rows."""
    draws = generator(root(work.plan.schedule.seed))
    rows = draws.permutation(len(table))[:LEAK_ROWS]
    known = np.arange(round(len(rows) * KNOWN_SHARE))
    if not 0 < len(known) < len(rows):
        return None
    x = work.features[torch.from_numpy(rows)]
    sent = work.plan.embeddings.add_noise(work.bottom.embed(job.part, x), derive(root(0), "leak-report"))
    leak = feature_attack(sent.double().numpy(), x.double().numpy(), known)
    place, r2 = leak.worst
    return {"column": table.features[place], "r2": r2, "mean_r2": leak.mean, "known_rows": leak.known}
