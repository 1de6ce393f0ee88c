"""Scores from trained parts: the same through faults, the same for the same row, and lies end the job."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from p2pfl.core.ids import NodeId
from p2pfl.core.party import Compute, Computed, Emit, SendFailed, Started, TimerFired, Verdict
from p2pfl.errors import ConfigError
from p2pfl.hosts.faults import Crash, Faults
from p2pfl.hosts.sim import SimHost
from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.runs.vertical_party import Member, Running
from p2pfl.vertical.align.terms import Terms
from p2pfl.vertical.data.columns import TableSpec
from p2pfl.vertical.data.protect import RowGuard
from p2pfl.vertical.data.table import PartyTable, load_table
from p2pfl.vertical.job.agreement import Agreement
from p2pfl.vertical.scoring.answering import Answerer
from p2pfl.vertical.scoring.asking import QUESTIONS_MAX, Question, Scorer
from p2pfl.vertical.scoring.work import EmbedRows, EmbedWork, LoadedPart, ScoreWork
from p2pfl.wire.keyfile import Signer
from p2pfl.wire.post import Heard, Post

SIGNERS = [Signer(bytes([i + 1]) * 32) for i in range(3)]
NAMES = ("shop", "bank", "phone")
N = 70


def agreement_of(**changes: Any) -> Agreement:
    parties = tuple((name, signer.node) for name, signer in zip(NAMES, SIGNERS, strict=True))
    guard = RowGuard(10.0)
    agreement = Agreement("test", parties, Terms("test", NAMES), (2, 2, 2), guard, guard, purpose="predict", batch=16)
    return replace(agreement, patience_s=300.0, **changes)


def write_tables(folder: Path) -> list[Path]:
    draw = np.random.default_rng(1)
    paths = []
    for name in NAMES:
        lines = [f"P-{row},{row % 7},{row % 5}" for row in draw.permutation(N)]
        paths.append(folder / f"{name}.csv")
        paths[-1].write_text("\n".join(["id,a,b", *lines]) + "\n")
    return paths


def part_of(index: int, noise: float = 0.0) -> LoadedPart:
    """A feature holder sends its two columns; the label holder adds all up."""

    def forward(features: torch.Tensor, *embeddings: torch.Tensor) -> torch.Tensor:
        return features if index else features.sum(dim=1) + sum(e.sum(dim=1) for e in embeddings)

    return LoadedPart(forward, RowGuard(10.0, noise), bytes(32))


def begin(agreement: Agreement, me: NodeId, table: PartyTable) -> Running:
    index, x = agreement.index_of(me), torch.from_numpy(table.x)
    if index:
        answerer = Answerer(agreement, me, len(table), waits=True)
        return Running(table, answerer, EmbedWork(part_of(index), x), lambda: answerer.done)
    batches = [np.arange(at, min(at + agreement.batch, len(table))) for at in range(0, len(table), agreement.batch)]
    scorer = Scorer(agreement, len(table), batches)
    work = ScoreWork(part_of(0), x, agreement.feature_holders, agreement.widths[1:])
    return Running(table, scorer, work, lambda: scorer.done, scores=lambda: scorer.scores)


def run(folder: Path, faults: Faults | None = None, seed: int = 0) -> tuple[list[int], list[str], Member]:
    agreement, host = agreement_of(), SimHost(seed, faults)
    members = [
        Member(agreement, signer, load_table(TableSpec(path)), begin)
        for signer, path in zip(SIGNERS, write_tables(folder), strict=True)
    ]
    for member in members:
        host.add(member.signer.node, member.peer, member.work, MemoryStore)
    stopped = host.run(1e7).stopped.values()
    return [stop.code for stop in stopped], [stop.reason for stop in stopped], members[0]


CRASH = Crash(SIGNERS[1].node, at=1.0, restart_after=10.0)


@pytest.mark.parametrize(
    "faults", [None, Faults(request_loss=0.2, reply_loss=0.2, duplicate=0.2, corrupt=0.05), Faults(crashes=(CRASH,))]
)
def test_every_row_gets_its_own_score(tmp_path: Path, faults: Faults | None) -> None:
    codes, _, holder = run(tmp_path, faults)
    assert codes == [0, 0, 0]
    assert holder.running is not None
    numbers = [int(text.removeprefix("P-")) for text in holder.running.table.ids]
    assert holder.running.scores() == pytest.approx([3 * (n % 7 + n % 5) for n in numbers], rel=1e-5)
    assert sorted(numbers) == list(range(N))


def test_embeddings_longer_than_agreed_end_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RowGuard, "clip_rows", lambda self, rows: rows + 100.0)
    codes, reasons, holder = run(tmp_path)
    assert codes == [2, 2, 2]
    assert all("cut-values" in reason for reason in reasons)
    assert holder.running is not None
    assert not holder.running.done()


def test_a_row_that_is_asked_for_again_has_the_same_noise() -> None:
    work = EmbedWork(part_of(1, noise=0.5), torch.arange(12.0).reshape(6, 2))
    both = [work.run(EmbedRows(np.array(rows))) for rows in ([1, 4], [4, 2])]
    assert work.run(EmbedRows(np.array([1, 4]))) == both[0]
    assert both[0][-8:] == both[1][9:17]  # row 4, wherever it stands
    assert both[0][9:17] != both[0][-8:]


class Desk:
    """A Scorer that serves, without a host: what it posts, and what it says."""

    def __init__(self) -> None:
        self.scorer = Scorer(agreement_of(), N, None)
        self.now, self.posts, self.said, self.tasks = 0.0, list[Post](), list[Emit](), list[Compute]()
        self.tell(Started(bytes(32)))

    def tell(self, event: Any, later: float = 0.0) -> None:
        self.now += later
        for effect in self.scorer.handle(event, self.now):
            if isinstance(effect, Post):
                self.posts.append(effect)
            elif isinstance(effect, Emit):
                self.said.append(effect)
            elif isinstance(effect, Compute):
                self.tasks.append(effect)

    def ask(self, number: int) -> None:
        self.tell(TimerFired(Question(number, (3, 5))))

    def answers(self) -> list[Any]:
        return [dict(emit.fields) for emit in self.said if emit.name == "answered"]


def test_questions_wait_for_their_turn_and_one_too_many_is_told_so() -> None:
    desk = Desk()
    for number in range(QUESTIONS_MAX + 2):
        desk.ask(number)
    assert len(desk.posts) == 2  # the first question, to both feature holders
    assert desk.answers() == [{"question": QUESTIONS_MAX + 1, "error": "busy"}]


def test_who_asks_hears_that_a_party_is_away_and_the_next_question_may_find_it() -> None:
    desk = Desk()
    desk.ask(1)
    for _ in range(3):
        desk.tell(SendFailed(desk.posts[0].key, "nobody is there"), later=20.0)
    assert desk.answers() == [{"question": 1, "error": "bank does not answer"}]
    desk.ask(2)
    assert len(desk.posts) == 4
    desk.tell(Heard(desk.posts[0].key, Verdict.ACCEPT))  # too late: nobody asks that any more
    assert not desk.tasks


def test_an_answer_goes_to_whoever_asked() -> None:
    desk = Desk()
    desk.ask(9)
    desk.tell(Computed(EmbedRows(np.array([0])), np.array([0.25, 0.5], np.float32)))
    assert desk.answers() == [{"question": 9, "scores": "[0.25, 0.5]"}]


def test_a_key_of_nobody_is_refused(tmp_path: Path) -> None:
    table = load_table(TableSpec(write_tables(tmp_path)[0]))
    with pytest.raises(ConfigError, match="belongs to none of its parties"):
        Member(agreement_of(), Signer(bytes([9]) * 32), table, begin)
