"""`p2pfl.start_node`: a node as a process that is followed and ended."""

import pytest

import p2pfl
from p2pfl.cli.init import write_trial
from p2pfl.cli.templates import SAMPLES
from p2pfl.errors import ConfigError, HostError
from p2pfl.runs.local import free_ports


@pytest.mark.slow
def test_two_nodes_from_a_notebook(tmp_path):
    documents = write_trial(tmp_path / "trial", free_ports(2), "complete", SAMPLES["digits"], ("pace.rounds=5",))
    first, second = (p2pfl.start_node(document) for document in documents)
    with first, second:
        assert [first.wait(180)["round"], second.wait(180)["round"]] == [5, 5]
        assert not first.is_running
        assert "n0: has ended, round 5 of 5" in repr(first)
        assert first.outcome.accuracy is not None
    assert p2pfl.read_ledger(tmp_path / "trial" / "nodes").problems() == []
    again = p2pfl.start_node(documents[0])
    with again, pytest.raises(HostError, match=r"n0 failed: .*holds a run already"):
        again.wait(180)


@pytest.mark.slow
def test_what_is_stopped_goes_on(tmp_path):
    document = write_trial(tmp_path / "trial", free_ports(2), "complete", SAMPLES["digits"])[0]
    with p2pfl.start_node(document, resume=True) as node, pytest.raises(HostError, match="has not ended within"):
        node.wait(0.05)
    assert not node.is_running


def test_a_document_that_is_none(tmp_path):
    with pytest.raises(ConfigError, match=r"node\.toml"):
        p2pfl.start_node(tmp_path / "node.toml")
