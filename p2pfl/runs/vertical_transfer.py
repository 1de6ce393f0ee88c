"""A transfer at one party: what follows the alignment, and the parts at work. Knows works and tables; no socket.

Both parts score alone: the target's whole table can be scored, also those rows that the source has never heard of.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from p2pfl.core.ids import NodeId
from p2pfl.crypto.paillier_keys import PrivateKey
from p2pfl.errors import ConfigError
from p2pfl.privacy.accountant import gaussian_epsilon
from p2pfl.runs.vertical_party import Running
from p2pfl.runs.vertical_results import leak_report
from p2pfl.runs.vertical_saved import Saved
from p2pfl.vertical.data.protect import SENSITIVITY
from p2pfl.vertical.data.table import PartyTable
from p2pfl.vertical.job.agreement import Agreement
from p2pfl.vertical.latent.lesson import features, probability
from p2pfl.vertical.latent.rules import Rules
from p2pfl.vertical.latent.source import Source, SourceNet, SourceTable
from p2pfl.vertical.latent.target import Target
from p2pfl.vertical.split.nets import Net
from p2pfl.vertical.split.work import start_key
from p2pfl.vertical.turns.answers import Answerer
from p2pfl.vertical.turns.coordinator import Coordinator
from p2pfl.vertical.turns.keys import Keyring


def rules_of(agreement: Agreement, rows: int) -> Rules:
    """Over so many common rows. Raises ConfigError."""
    sealed = agreement.level == 1
    noise = agreement.encryption.noise if sealed else agreement.gradients.noise
    return Rules(agreement.plan(rows), agreement.transfer, sealed, noise, agreement.encryption.key_bits)


def transferring(
    agreement: Agreement, me: NodeId, common: PartyTable, whole: PartyTable, key: PrivateKey | None
) -> Running:
    """The source's or the target's half, over the rows that both have. `whole`: the party's table."""
    rules, accord, index = rules_of(agreement, len(common)), agreement.accord, agreement.index_of(me)
    mine = None if key is None else (index, key)
    ring = Keyring(rules.key_bits, mine) if rules.sealed else None
    report = _privacy(agreement, rules)
    if index:
        scaled = common.scaled(rules.split()[0])
        target = Target(accord, rules, scaled.x, ring)
        answerer = Answerer(accord, index, target)

        def arrays() -> dict[str, Tensor]:
            phi = target.direction(answerer.state).phi
            return {"w": torch.from_numpy(answerer.state.w.copy()), "phi": torch.from_numpy(phi.copy())}

        return Running(scaled, answerer, target, lambda: answerer.done, arrays, lambda: report)
    place = {line: row for row, line in enumerate(whole.lines)}
    shared = np.array([place[line] for line in common.lines], np.int64)
    scaled = whole.scaled(np.setdiff1d(np.arange(len(whole)), shared[rules.split()[1]]))
    assert scaled.y is not None
    table = SourceTable(torch.from_numpy(np.ascontiguousarray(scaled.x)), scaled.y, shared)
    source = Source(accord, rules, table, ring)
    hub = Coordinator(accord, source)

    def told() -> dict[str, Any]:
        leaks = {} if rules.sealed else {"label_leak": leak_report({agreement.parties[1][0]: source.leak.report()})}
        return {**report, **hub.metrics, **leaks}

    return Running(scaled.take(shared), hub, source, lambda: hub.done, lambda: source.net.named(hub.state.part.x), told)


def score_alone(agreement: Agreement, index: int, saved: Saved, table: PartyTable) -> NDArray[np.float32]:
    """The party's own rows by its own part: (n,) probabilities. ConfigError if the weights do not fit."""
    if index:
        return _target_scores(agreement, saved, table)
    about = saved.about
    net = Net(
        lambda: SourceNet(about.features, about.hidden, about.widths[0]),
        start_key(agreement.seed, agreement.label_holder),
        agreement.lr,
    )
    with torch.no_grad():
        scores = net.run(net.flat(saved.weights), torch.from_numpy(np.ascontiguousarray(table.x)))
    return probability(scores.double().numpy())


def _target_scores(agreement: Agreement, saved: Saved, table: PartyTable) -> NDArray[np.float32]:
    rules_key = Rules.key_of(agreement.seed)
    k = features(table.x, agreement.transfer.random_features, rules_key)
    w, phi = (saved.weights.get(name) for name in ("w", "phi"))
    if w is None or phi is None or w.shape != (k.shape[1], len(phi)):
        raise ConfigError(
            f"expected a target's part for {k.shape[1]} features; was model.random_features changed since?"
        )
    return probability(k @ w.double().numpy() @ phi.double().numpy())


def _privacy(agreement: Agreement, rules: Rules) -> dict[str, Any]:
    """What the lessons say of one common person, label and columns together, to the target: they leave once. None: no
    bound. Where the source learns from common rows too, there is none."""
    epsilon = gaussian_epsilon(SENSITIVITY, rules.noise, 1, agreement.delta)
    bounded = np.isfinite(epsilon) and rules.terms.rest_only
    return {"label_epsilon": float(epsilon) if bounded else None, "delta": agreement.delta}
