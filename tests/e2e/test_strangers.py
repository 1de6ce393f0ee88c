"""Neighbours that do not belong here: of another recipe. The others refuse them by a code and go on."""

from dataclasses import replace

import pytest


@pytest.mark.slow  # it waits for the neighbours that will not have it, as for the dead
def test_a_neighbour_with_another_recipe_is_refused_and_the_others_go_on(kit, tmp_path):
    config = kit.document(3, "ring", 10, pace={"timeout_s": 1.0, "gather_s": 0.5})
    other = replace(config, pace=replace(config.pace, rounds=11))
    served = kit.serve(config, tmp_path, documents={"n2": other})
    assert {stop.code for stop in served.stops.values()} == {0}
    assert served.summary["feeds_verified"]
    told = {
        name: {(emit.name, emit.fields.get("code")) for _, emit in events} for name, events in served.emitted.items()
    }
    for name in ("n0", "n1"):
        assert ("refused", "recipe") in told[name]
    assert ("refused_by", "recipe") in told["n2"]
    rows = {row["name"]: row for row in served.summary["per_node"]}
    assert [rows[name]["round"] for name in ("n0", "n1", "n2")] == [10, 10, 11]
    alone = config.node("n2").key.hex()
    for name in ("n0", "n1"):
        seqs = {edge["peer"]: edge["seq"] for edge in rows[name]["edges"]}
        assert seqs.pop(alone) == 0
        assert all(seq > 0 for seq in seqs.values())


@pytest.mark.slow
def test_a_neighbour_that_promises_something_else_is_told_so(kit, tmp_path):
    privacy = {"unit": "example", "noise": 4.0, "delta": 1e-4}
    config = kit.document(3, "ring", 6, pace={"timeout_s": 1.0, "gather_s": 0.5}, privacy=privacy)
    other = replace(config, privacy=replace(config.privacy, noise=2.0))
    served = kit.serve(config, tmp_path, documents={"n2": other})
    told = {(name, emit.name, emit.fields.get("code")) for name, events in served.emitted.items() for _, emit in events}
    assert {("n0", "refused", "terms"), ("n1", "refused", "terms"), ("n2", "refused_by", "terms")} <= told
