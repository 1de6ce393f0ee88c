"""A file with proofs of faults convicts by itself, in its own network only; any other file is one line."""

import json

import pytest

from p2pfl.errors import ConfigError, Reject
from p2pfl.ledger.blocks.faults import fork_fault, vote_fault
from p2pfl.ledger.blocks.rule import Kind
from p2pfl.ledger.blocks.votes import sign_vote
from p2pfl.ledger.check.accusation import faults_json, is_faults, judge_all, parse_faults
from p2pfl.ledger.feeds.entry import make
from p2pfl.ledger.feeds.evidence import evidence_of
from p2pfl.wire.keyfile import Signer

NET = bytes(range(32))
LIAR = Signer(b"\1" * 32)


def faults(net=NET):
    one, other = (make(LIAR, net, (0, 1), b"\x33" * 32, 0, "model", [bytes([n]) * 32, 0]) for n in (1, 2))
    votes = [sign_vote(LIAR, net, Kind.NOTARIZE, 0, 7, bytes([n]) * 32) for n in (1, 2)]
    return [fork_fault(evidence_of(one, other)), vote_fault(*votes)]


def test_a_file_comes_back_and_convicts():
    text = faults_json(NET, faults()).encode()
    assert is_faults(text)
    net, found = parse_faults(text, "x")
    assert found == faults()
    judged = judge_all(net, found, NET)
    assert [(j.author, j.where) for j in judged] == [(LIAR.node, (0, 1)), (LIAR.node, (0, 7))]


def test_another_network_and_a_changed_byte_convict_nobody():
    net, found = parse_faults(faults_json(NET, faults()).encode(), "x")
    with pytest.raises(Reject, match="another network"):
        judge_all(net, found, bytes(32))
    with pytest.raises(Reject):
        judge_all(NET, faults(net=bytes(32)), NET)
    for fault in found:
        for at in range(len(fault.second)):
            bad = fault.second[:at] + bytes([fault.second[at] ^ 1]) + fault.second[at + 1 :]
            with pytest.raises(Reject):
                judge_all(NET, [fault._replace(second=bad)], NET)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        json.dumps({"format": "p2pfl/faults/v1"}),
        json.dumps({"format": "p2pfl/faults/v2", "network": "", "faults": []}),
        json.dumps({"format": "p2pfl/faults/v1", "network": "00", "faults": []}),
        json.dumps({"format": "p2pfl/faults/v1", "network": "00", "faults": [{"what": "sin"}]}),
        json.dumps({"format": "p2pfl/faults/v1", "network": "00", "faults": [{"what": "fork", "first": 1}]}),
        "[" * 100_000,
    ],
)
def test_what_is_no_such_file_is_one_line(text):
    with pytest.raises(ConfigError) as refused:
        parse_faults(text.encode(), "x.json")
    assert str(refused.value).startswith("x.json: expected a proof of faults")
    assert "\n" not in str(refused.value)
