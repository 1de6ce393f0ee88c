"""Trained parts at work on new rows, at one party, after the alignment. Knows saved parts and jobs; no socket."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from p2pfl.core.ids import NodeId
from p2pfl.crypto.paillier_keys import PrivateKey
from p2pfl.errors import ConfigError
from p2pfl.runs.vertical_party import Member, Running
from p2pfl.runs.vertical_saved import Saved
from p2pfl.runs.vertical_training import regression_of, seal_of
from p2pfl.vertical.data.protect import RowGuard
from p2pfl.vertical.data.table import PartyTable
from p2pfl.vertical.hetero.linear import prepared
from p2pfl.vertical.job.agreement import Agreement
from p2pfl.vertical.scoring.answering import Answerer
from p2pfl.vertical.scoring.asking import Scorer
from p2pfl.vertical.scoring.work import EmbedWork, LoadedPart, ScoreWork
from p2pfl.vertical.sealed import scoring as sealed_scoring
from p2pfl.vertical.sealed.cipher import PaillierCipher
from p2pfl.vertical.split.nets import Net, Top, mlp
from p2pfl.vertical.split.work import start_key
from p2pfl.vertical.turns.answers import Answerer as TurnAnswerer
from p2pfl.vertical.turns.coordinator import Coordinator
from p2pfl.vertical.turns.keys import Keyring
from p2pfl.wire.envelope import Signs

LONGEST_SCORE = 1e5
"""One party's share of a regression's score."""


def predictor(
    agreement: Agreement, signer: Signs, table: PartyTable, saved: Saved, serves: bool, key: PrivateKey | None = None
) -> Member:
    """A party of a prediction. `serves`: questions come from outside, until it is stopped. Raises ConfigError."""
    if agreement.level == 1:
        if serves:
            raise ConfigError("serve: at level 1 rows are scored in batches only; expected `predict`")
        return Member(agreement, signer, table, lambda a, me, rows: _sealed(a, me, rows, saved, key))
    part = loaded(agreement, agreement.index_of(signer.node), saved)
    return Member(agreement, signer, table, lambda a, me, rows: _plain(a, me, rows, part, serves))


def loaded(agreement: Agreement, index: int, saved: Saved) -> LoadedPart:
    """ConfigError if the weights are not what part.json says."""
    about = saved.about
    forward = _net(agreement, index, saved) if agreement.kind == "split" else _linear(agreement, index, saved)
    clip = about.embedding_clip if agreement.kind == "split" else LONGEST_SCORE
    noise = about.embedding_noise if agreement.kind == "split" else 0.0
    return LoadedPart(forward, RowGuard(clip, noise), bytes.fromhex(about.secret))


def _net(agreement: Agreement, index: int, saved: Saved) -> Callable[..., Tensor]:
    about, key = saved.about, start_key(agreement.seed, agreement.parties[index][1])
    if index:
        bottom = Net(lambda: mlp(about.features, about.hidden, about.widths[index]), key, agreement.lr)
        x = bottom.flat(saved.weights)
        return lambda features: bottom.run(x, features)
    top = Net(lambda: Top(about.features, about.hidden, about.widths, about.top_hidden), key, agreement.lr)
    w = top.flat(saved.weights)
    return lambda features, *embeddings: torch.sigmoid(top.run(w, features, *embeddings))


def _linear(agreement: Agreement, index: int, saved: Saved) -> Callable[..., Tensor]:
    """A feature holder's share of a score is its "embedding"; the label holder adds them up."""
    named, own = saved.weights, saved.about.features
    sizes = {"w": own + (0 if index else 1), "mean": own, "scale": own} | ({} if index else {"target": 2})
    for name, size in sizes.items():
        if name not in named or named[name].shape != (size,):
            raise ConfigError(f"expected a part with {name} of {size} numbers")
    clip = regression_of(agreement).clip

    def share(features: Tensor) -> Tensor:
        x = ((features.double() - named["mean"]) / named["scale"]).numpy()
        if not index:
            x = np.column_stack([x, np.ones(len(x))])
        found: Tensor = torch.from_numpy(prepared(x, clip)) @ named["w"]
        column: Tensor = found[:, None]
        return column.float()

    if index:
        return share

    def score(features: Tensor, *shares: Tensor) -> Tensor:
        z: Tensor = torch.cat([share(features), *shares], dim=1).double().sum(dim=1)
        if agreement.kind == "logistic":
            z = torch.sigmoid(z)
            return z.float()
        centre, scale = named["target"].tolist()
        z = z * scale + centre
        return z.float()

    return score


def _plain(agreement: Agreement, me: NodeId, table: PartyTable, part: LoadedPart, serves: bool) -> Running:
    """Embeddings travel as they do at level 0."""
    count, x = len(table), torch.from_numpy(np.ascontiguousarray(table.x))
    if agreement.index_of(me):
        answerer = Answerer(agreement, me, count, waits=not serves)
        return Running(table, answerer, EmbedWork(part, x), lambda: answerer.done)
    batches = [np.arange(at, min(at + agreement.batch, count)) for at in range(0, count, agreement.batch)]
    scorer = Scorer(agreement, count, None if serves else batches)
    work = ScoreWork(part, x, agreement.feature_holders, agreement.widths[1:])
    return Running(table, scorer, work, lambda: scorer.done, scores=lambda: scorer.scores)


def _sealed(agreement: Agreement, me: NodeId, table: PartyTable, saved: Saved, key: PrivateKey | None) -> Running:
    """Level 1: embeddings travel sealed."""
    seal, accord, index = seal_of(agreement, len(table)), agreement.accord, agreement.index_of(me)
    x = torch.from_numpy(np.ascontiguousarray(table.x))
    cipher = PaillierCipher(Keyring(seal.key_bits, None if key is None else (index, key), seal.exponent_bits))
    named = dict(saved.weights)
    if index:
        share = named.pop("share", torch.zeros(0)).numpy()
        work = sealed_scoring.FeatureHolder(accord, seal, index, x, cipher, named, share)
        job = TurnAnswerer(accord, index, work)
        return Running(table, job, work, lambda: job.done)
    v = [named.pop(f"v.{i}", torch.zeros(0)).numpy() for i in range(len(agreement.feature_holders))]
    top = sealed_scoring.LabelHolder(accord, seal, x, cipher, named, v)
    hub = Coordinator(accord, top)
    return Running(table, hub, top, lambda: hub.done, scores=lambda: np.asarray(hub.state.scores, np.float32))
