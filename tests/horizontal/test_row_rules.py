"""Neighbourhood rules inside the node: what is refused on a header, what comes back from the disk, what cannot run."""

from dataclasses import replace
from math import nan
from pathlib import Path

import pytest
import torch

from p2pfl.assemble.network import assemble
from p2pfl.compress.vectors import TILE
from p2pfl.config import load_network
from p2pfl.core.ids import NodeId
from p2pfl.errors import BrokenChain, ConfigError, Reject
from p2pfl.horizontal.model.algorithm import idle_phase
from p2pfl.horizontal.model.local import Local
from p2pfl.horizontal.model.work import GossipWork, MixRows
from p2pfl.horizontal.records.journal import SNAPSHOT, Comeback, Journal, comeback
from p2pfl.horizontal.rows.lockstep import Rows, RowSetting
from p2pfl.horizontal.terms.neighbourhood import Neighbourhood
from p2pfl.mixing import MIXERS, PushSum
from p2pfl.runs.simulate import simulated
from p2pfl.wire.messages import NOTES_MAX, Row, Section

ME, PEER, FAR = (NodeId(bytes([number]) * 32) for number in (1, 2, 3))
AVERAGES = (1.0, 1.0, 0.0, 5)


def row(*notes: float, sections: int = 2) -> Row:
    return Row(bytes(32), ME, 0, AVERAGES, (Section((), 4),) * sections, notes)


class TestMessage:
    def test_notes_come_back(self):
        assert Row.from_fields(row(0.25, 3.0).to_fields()) == row(0.25, 3.0)

    @pytest.mark.parametrize("notes", [[nan], ["1"], [1], [1e31], 0.5, [0.0] * (NOTES_MAX + 1), [True]])
    def test_what_is_no_list_of_numbers_is_refused(self, notes):
        fields = row().to_fields()
        fields[5] = notes
        with pytest.raises(Reject):
            Row.from_fields(fields)

    def test_as_many_as_are_allowed(self):
        assert len(Row.from_fields(row(*[0.5] * NOTES_MAX).to_fields()).notes) == NOTES_MAX


class TestAdmission:
    """On the header alone."""

    @pytest.fixture
    def rows(self, kit) -> Rows:
        nb = Neighbourhood(ME, (PEER, FAR), {PEER: 0.3, FAR: 0.3}, 2.0, (), around={PEER: (ME, FAR), FAR: (ME, PEER)})
        rule = PushSum(fanout=1)
        node = kit.nodes([(0, 1)], rule, mode="lockstep")[0]
        setting = RowSetting(node.plan.recipe, nb, rule, node.work.codec, node.work.schema, 1.0)
        return Rows(setting, None, None, None, lambda: None)

    def speaking(self, rows: Rows, peer: NodeId) -> int:
        """A round in which that neighbour draws me."""
        return next(r for r in range(100) if peer in rows.setting.nb.turn(r, "push", 1, rows.seed).rows)

    @pytest.mark.parametrize("notes", [(), (1.0, 1.0), (0.0,), (-1.0,), (2e9,)])
    def test_notes_must_be_the_rules(self, rows, notes):
        message = replace(row(*notes), round=self.speaking(rows, PEER))
        with pytest.raises(Reject, match=r"notes|mass"):
            rows.check(message, PEER, 8)

    def test_who_has_not_drawn_me_is_refused(self, rows):
        silent = next(r for r in range(100) if PEER not in rows.setting.nb.turn(r, "push", 1, rows.seed).rows)
        with pytest.raises(Reject, match="not one in which"):
            rows.check(replace(row(1.0), round=silent), PEER, 8)

    def test_an_honest_row_is_admitted(self, rows):
        rows.check(replace(row(1.0), round=self.speaking(rows, PEER)), PEER, 8)


def begun(kit, rule) -> tuple[Local, GossipWork]:
    node = kit.nodes([(0, 1)], rule, mode="lockstep")[0]
    return node.job().local, node.work


def snapshot(local: Local) -> dict[str, dict[bytes, bytes | None]]:
    puts = Journal("fp32").packer(local, {})()
    return {SNAPSHOT: {put.key: put.value for put in puts if put.space == SNAPSHOT}}


@pytest.mark.parametrize("name", [name for name in MIXERS if name not in ("pairwise", "cell")])
def test_a_rules_state_comes_back_from_a_snapshot(kit, name):
    local, work = begun(kit, MIXERS[name]())
    draw = torch.Generator().manual_seed(3)
    local.rows = {k: torch.rand(v.shape, generator=draw, dtype=v.dtype) for k, v in local.rows.items()}
    fresh, _ = begun(kit, MIXERS[name]())
    state = comeback(snapshot(local), Comeback(fresh, {}, Journal("fp32")), work)
    assert state.local.rows.keys() == local.rows.keys()
    for key, value in local.rows.items():
        back = state.local.rows[key]
        assert (back.shape, back.dtype) == (value.shape, value.dtype)
        assert torch.equal(back, value)


@pytest.mark.parametrize("name", [name for name in MIXERS if getattr(MIXERS[name], "elementwise", False)])
def test_mixing_piece_by_piece_changes_no_bit(kit, name):
    """And so does the node when the model is long; what is not even is the last piece."""
    work = begun(kit, MIXERS[name]())[1]
    draw = torch.Generator().manual_seed(5)
    x, own, *rows = torch.randn(5, 2 * TILE + 17, generator=draw)
    weights = (0.25, 0.125, 0.5)
    task = MixRows(None, x, {}, idle_phase(x), own, tuple(rows), weights, 0.5, ((),) * 3)
    whole = slice(0, len(x))
    assert torch.equal(work.mix_rows(task).x, work.mix_part(task, whole, whole)[1])


def test_a_snapshot_of_another_rule_is_refused(kit):
    fresh, work = begun(kit, MIXERS["choco"]())
    with pytest.raises(BrokenChain):
        comeback(snapshot(begun(kit, MIXERS["average"]())[0]), Comeback(fresh, {}, Journal("fp32")), work)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        (("mix.rule=choco", "pace.mode=async"), "lockstep"),
        (("mix.rule=choco", "pace.mode=semi_sync"), "every row"),
        (("pace.mode=semi_sync",), "whole neighbourhoods"),
        (("mix.rule=fedavg", "pace.mode=lockstep", "topology.family=ring"), "complete"),
        (("mix.rule=choco", "mix.gamma=0", "pace.mode=lockstep"), "gamma"),
        (("mix.rule=push_sum", "mix.fanout=-1", "pace.mode=lockstep"), "fanout"),
        (("mix.rule=qg", "mix.beta=1.0", "pace.mode=lockstep"), "beta"),
    ],
)
def test_what_cannot_run_is_an_error_of_the_document(tmp_path: Path, changes, error):
    document = tmp_path / "network.toml"
    document.write_text("format = 1\n")
    with pytest.raises(ConfigError, match=error) as caught:
        assemble(simulated(load_network(document, changes), 5))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rule", "mode"),
    [("pairwise", "async"), ("average", "semi_sync"), ("push_sum", "semi_sync"), ("choco", "lockstep")],
)
def test_a_rule_has_the_pace_that_suits_it(tmp_path: Path, rule, mode):
    document = tmp_path / "network.toml"
    document.write_text("format = 1\n")
    shared = assemble(simulated(load_network(document, [f"mix.rule={rule}"]), 4))
    assert shared.recipe.mode == mode
