"""What a node committed to it shows and reveals, though it is killed and started again in between."""

from collections import Counter
from typing import Any

import pytest
import torch

from p2pfl.core import noise
from p2pfl.core.noise import Key
from p2pfl.core.vectors import ParamSchema, ParamSpec
from p2pfl.errors import BrokenChain
from p2pfl.horizontal.valuing import memory
from p2pfl.horizontal.valuing.memory import Memory
from p2pfl.horizontal.valuing.shown import Audit, Shown, Work
from p2pfl.hosts.faults import Crash, Faults
from p2pfl.ledger.feeds.entry import parse
from p2pfl.ledger.feeds.kinds import FAIR, ScoreReveal
from p2pfl.mixing.reference import from_vector
from p2pfl.runs.incentives import build_trial, earned
from p2pfl.runs.simulate import Simulation, World, run_simulation, simulated
from p2pfl.valuation import Opening
from p2pfl.wire.messages import Section

NAMES = ("honest",) * 4


def told(simulation: Simulation, name: str) -> Counter[tuple[str, Any]]:
    """Kind and first value of what the node said of valuing, in its own feed."""
    key = simulation.shared.ids[name]
    rows = simulation.host.store(key).load()["entry"]
    entries = [parse(raw) for place, raw in rows.items() if place[:32] == key]
    return Counter((entry.kind, entry.payload[0]) for entry in entries if entry.kind in memory.VALUING)


@pytest.mark.parametrize("after_effects", [pytest.param(None, marks=pytest.mark.slow), 1])
def test_a_killed_node_keeps_its_promises(trial_config: Any, after_effects: int | None) -> None:
    """Killed nine times, at instants of all sorts: between commit, salt, show, commit of scores and reveal."""
    config = trial_config("pace.timeout_s=1.0", "pace.rounds=120")
    nodes = simulated(config, 4).nodes
    at = (2.3, 3.1, 3.9, 5.2, 6.0, 7.1, 8.4, 9.24, 10.3)
    crashes = tuple(Crash(nodes[1 + n % 2].key, t, 0.05, after_effects) for n, t in enumerate(at))
    simulation = build_trial(config, NAMES, World(step_s=0.03, faults=Faults(crashes=crashes)), window=8)
    trace = run_simulation(simulation)
    assert trace.counts["crashed"] == len(crashes)

    keepers = [node.party.keeper for node in simulation.nodes.values()]
    tip = max((keeper.tip for keeper in keepers if keeper is not None), key=lambda tip: tip.height)
    window = tip.state.get("window")
    assert window is not None
    assert window[0] >= 3
    for row in earned(simulation, NAMES, tip.state):
        assert {finding for _, _, finding in row.scores} <= {FAIR}
        said = told(simulation, row.name)
        assert set(said.values()) == {1}, "nothing is said twice"
        of = {kind: {value for k, value in said if k == kind} for kind in memory.VALUING}
        assert len(of["update.commit"]) >= 2  # none in the first window: no span of work is over yet
        assert len(of["update.commit"]) - len(of["draw.salt"]) in (0, 1), row.name  # the window that is open at the end
        assert {w for w in of["score.commit"] if w + 3 < window[0]} <= of["score.reveal"] <= of["score.commit"]


# ------------------------------------------------------------------------------------------------ records

SCHEMA = ParamSchema((ParamSpec("w", (8,), "weights"),))


def work_of(number: int) -> Work:
    x = torch.linspace(-1, 1, 8) * number
    reference = from_vector(x, (-20,), SCHEMA)
    opening = Opening(
        *(bytes([number]) * 32, b"a" * 32, 1, 2, *(bytes([i]) * 32 for i in range(4))), b"t" * 32, 0, 1, b"r" * 32
    )
    sections, key = (Section((3, 0.5), 4),), Key(noise.root(number))
    return Work(opening, b"s" * 32, sections, b"code", torch.empty(0), key, 0.5, b"said", sections, x, reference, b"h")


def test_what_was_put_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is cut into pieces; and what is forgotten is gone."""
    monkeypatch.setattr(memory, "PIECE_BYTES", 7)
    work, x = work_of(3), torch.linspace(0, 1, 9)
    shown = Shown(bytes(32), b"t" * 32, 5, work.opening, work.sections, Audit(bytes(32), 0.5, (1,), work.sections, b""))
    scores = ScoreReveal(5, b"s" * 32, b"m" * 32, "exact", 64, 40, ((b"n" * 32, -12, 0),))
    kept = Memory()
    puts = kept.put(
        *(memory.model_record(4, x), *memory.work_records(5, work), memory.shown_record(shown, b"n" * 32, b"body")),  # type: ignore[arg-type]
        *(memory.hidden_record(scores), memory.judged_record(5, ((b"n" * 32, 17, 3),)), memory.spent_record(10, 20)),  # type: ignore[arg-type]
    )
    space = {put.key: put.value for put in puts if put.value is not None}
    assert len(space) == len(puts)

    again = Memory()
    found = again.recall({memory.SPACE: space}, None)
    assert torch.equal(found.models[4], x)
    assert found.shown == {(5, b"n" * 32): (shown, b"body")}
    assert found.hidden == {5: scores}
    assert found.judged == {5: ((b"n" * 32, 17, 3),)}
    assert found.spent == (10, 20)
    back = found.works[5]
    assert (back.opening, back.salt, back.update, back.said, back.head) == (
        *(work.opening, work.salt, work.update, work.said),
        work.head,
    )
    assert torch.equal(back.x, work.x)
    assert back.reference.digest() == work.reference.digest()

    for removal in again.forget(done=5, kept=4):
        assert removal.value is None
        del space[removal.key]
    left = Memory().recall({memory.SPACE: space}, None)
    assert (left.hidden, left.models, sorted(left.shown)) == ({}, {}, [(5, b"n" * 32)])
    assert left.works[5].x.numel() == 0
    assert left.works[5].update == b"code"


@pytest.mark.parametrize("raw", [b"", b"\x91\x01", b"\x92\x02\x00", b"\xff"])
def test_a_damaged_record_ends_the_start(raw: bytes) -> None:
    for kind in (b"w", b"s", b"h", b"j", b"n", b"?"):
        with pytest.raises(BrokenChain, match="valuing cannot be read"):
            Memory().recall({memory.SPACE: {kind + bytes(10): raw}}, None)
