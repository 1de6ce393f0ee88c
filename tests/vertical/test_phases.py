"""A whole vertical job over Peers in virtual time: align, then train; faults change no row, bad input ends it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from p2pfl.core.party import Emit, Stop
from p2pfl.hosts.faults import Crash, Faults
from p2pfl.hosts.sim import SimHost
from p2pfl.ledger.stores.memory import MemoryStore
from p2pfl.runs.vertical_party import Member
from p2pfl.runs.vertical_training import trainer
from p2pfl.vertical.align.terms import Terms
from p2pfl.vertical.align.work import Blind
from p2pfl.vertical.data.columns import TableSpec
from p2pfl.vertical.data.protect import RowGuard
from p2pfl.vertical.data.table import load_table
from p2pfl.vertical.job.agreement import Agreement
from p2pfl.wire.keyfile import Signer

SIGNERS = [Signer(bytes([i + 1]) * 32) for i in range(3)]
NAMES = ("shop", "bank", "phone")
PEOPLE = 90


def agreement_of(k: int = 3, **changes: Any) -> Agreement:
    parties = tuple(zip(NAMES[:k], (s.node for s in SIGNERS), strict=False))
    agreement = Agreement(
        "test", parties, Terms("test", NAMES[:k]), (4,) * k, RowGuard(8.0), RowGuard(1.0), epochs=2, batch=16, lr=0.02,
        patience_s=300.0,
    )  # fmt: skip
    return replace(agreement, **changes)


def write_tables(folder: Path, k: int = 3, people: Sequence[range] | None = None) -> list[Path]:
    """Everybody misses some people, in an order of its own."""
    people = people or [range(80), range(5, 90), range(86)]
    draw = np.random.default_rng(3)
    x = draw.standard_normal((100, 6))
    y = (x[:, 0] + x[:, 2] + x[:, 4] > 0).astype(int)
    paths = []
    for party in range(k):
        rows = draw.permutation(np.array(people[party]))
        lines = ["id,a,b" + (",y" if party == 0 else "")]
        for row in rows:
            cells = [f"P-{row}", f"{x[row, 2 * party]:.4f}", f"{x[row, 2 * party + 1]:.4f}"]
            lines.append(",".join([*cells, *([str(y[row])] if party == 0 else [])]))
        paths.append(folder / f"{NAMES[party]}.csv")
        paths[-1].write_text("\n".join(lines) + "\n")
    return paths


@dataclass
class Ran:
    stops: dict[str, Stop]
    members: list[Member]
    emitted: list[tuple[str, Emit]] = field(default_factory=list)

    @property
    def codes(self) -> list[int]:
        return [stop.code for stop in self.stops.values()]

    def fields(self, name: str) -> list[Any]:
        return [dict(emit.fields) for _, emit in self.emitted if emit.name == name]

    @property
    def ids(self) -> list[tuple[str, ...]]:
        return [member.running.table.ids for member in self.members if member.running is not None]


def run(
    agreement: Agreement,
    paths: Sequence[Path],
    faults: Faults | None = None,
    seed: int = 0,
    garbling: int | None = None,
) -> Ran:
    return run_each([agreement] * len(paths), paths, faults, seed, garbling)


def run_each(
    agreements: Sequence[Agreement],
    paths: Sequence[Path],
    faults: Faults | None = None,
    seed: int = 0,
    garbling: int | None = None,
) -> Ran:
    emitted: list[tuple[str, Emit]] = []
    agreement = agreements[0]
    host = SimHost(seed, faults, on_emit=lambda _, node, emit: emitted.append((agreement.name_of(node), emit)))
    members = []
    for own, path, signer in zip(agreements, paths, SIGNERS, strict=False):
        table = load_table(TableSpec(path, label="y" if signer is SIGNERS[0] else None))
        members.append(trainer(own, signer, table))
        work = members[-1].work
        host.add(signer.node, members[-1].peer, Garbling(work) if len(members) - 1 == garbling else work, MemoryStore)
    trace = host.run(1e7)
    return Ran({agreement.name_of(node): stop for node, stop in trace.stopped.items()}, members, emitted)


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return run(agreement_of(), write_tables(tmp_path_factory.mktemp("calm")))


def test_all_align_and_train_on_the_same_people(calm: Ran) -> None:
    assert calm.codes == [0, 0, 0]
    ids = calm.ids
    assert set(ids[0]) == {f"P-{i}" for i in range(5, 80)}
    assert ids[0] == ids[1] == ids[2]
    assert [fields["rows"] for fields in calm.fields("aligned")] == [75, 75, 75]


@pytest.mark.parametrize("seed", range(2))
def test_loss_and_duplicates_change_no_row(calm: Ran, tmp_path: Path, seed: int) -> None:
    faults = Faults(request_loss=0.15, reply_loss=0.15, duplicate=0.2, corrupt=0.05)
    result = run(agreement_of(), write_tables(tmp_path), faults, seed)
    assert result.codes == [0, 0, 0]
    found = result.ids
    assert set(found[0]) == {f"P-{i}" for i in range(5, 80)}
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("party", [0, 1])
@pytest.mark.parametrize("at", [0.15, 1.0, 6.0])
def test_a_party_killed_at_any_time_goes_on(tmp_path: Path, party: int, at: float) -> None:
    crash = Crash(SIGNERS[party].node, at=at, restart_after=20.0)
    result = run(agreement_of(), write_tables(tmp_path), Faults(crashes=(crash,)))
    assert result.codes == [0, 0, 0]


def test_no_common_ids_end_the_job_for_all_and_blame_nobody(tmp_path: Path) -> None:
    paths = write_tables(tmp_path, people=[range(30), range(30, 60), range(60, 90)])
    result = run(agreement_of(), paths)
    assert result.codes == [2, 2, 2]
    assert all("no common ids" in stop.reason for stop in result.stops.values())
    assert not result.fields("blamed")
    assert not result.ids


class Garbling:
    """A party's work whose own points are none."""

    def __init__(self, honest: Any) -> None:
        self.honest = honest

    def run(self, task: Any) -> Any:
        found = self.honest.run(task)
        return b"\xff" * len(found) if isinstance(task, Blind) else found


def test_points_that_are_none_end_the_job_for_all_with_blame_for_their_owner(tmp_path: Path) -> None:
    result = run(agreement_of(), write_tables(tmp_path), garbling=1)
    assert result.codes == [2, 2, 2]
    assert all("bank" in stop.reason and "psi-" in stop.reason for stop in result.stops.values())
    assert not result.ids


def test_another_agreement_is_refused_at_the_door(tmp_path: Path) -> None:
    agreements = [agreement_of(), agreement_of(lr=0.5), agreement_of()]
    result = run_each(agreements, write_tables(tmp_path))
    assert result.codes == [2, 2, 2]
    assert any(fields["why"] == "network" for fields in result.fields("waiting"))
