"""A network that makes its own final ledger, without a network: feeds, blocks, certificates, cosigned checkpoints.

Seeds are fixed: every byte is the same in each run.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from p2pfl.core.party import Put
from p2pfl.ledger.blocks.block import Block, Fault, Header, Place, cut_hash, evidence_hash
from p2pfl.ledger.blocks.checkpoint import Signed, cosign
from p2pfl.ledger.blocks.cut import head_of, order
from p2pfl.ledger.blocks.genesis import Genesis
from p2pfl.ledger.blocks.rule import Kind
from p2pfl.ledger.blocks.votes import Validators, certify, sign_vote
from p2pfl.ledger.feeds.entry import Entry
from p2pfl.ledger.feeds.feed import Feed, append
from p2pfl.ledger.feeds.kinds import ACCEPTED, FORMAT, Opening, Reveal
from p2pfl.ledger.feeds.records import put_entry
from p2pfl.ledger.feeds.tally import Tally
from p2pfl.ledger.finality.journal import Journal
from p2pfl.ledger.finality.tip import Tip, first_puts, put_checkpoint
from p2pfl.ledger.outcome.contract import Accounts, Outcome
from p2pfl.ledger.outcome.members import validators_of
from p2pfl.ledger.stores.sqlite import SqliteStore
from p2pfl.wire.keyfile import Signer

DIGEST = b"\xd1" * 32


class Network:
    """Nodes `n` of them; the first `authorities` sponsor, the first `validators` vote. Time is a second a height."""

    def __init__(self, n: int = 4, authorities: int = 2, validators: int = 2, **terms: Any) -> None:
        self.nodes = [Signer(bytes([number + 1]) * 32) for number in range(n)]
        self.by_key = {signer.node: signer for signer in self.nodes}
        keys = [signer.node for signer in self.nodes]
        self.genesis = Genesis(
            terms.pop("name", "test"),
            tuple(sorted(keys[:authorities])),
            tuple(sorted(keys[:validators])),
            **{"sponsors": 1, "supply": 1000, "window": 4, "epoch": 8, **terms},
        )
        self.net = self.genesis.digest
        self.accounts = Accounts(self.genesis)
        self.tip = Tip(self.net, self.accounts.first_state())
        self.feeds: dict[tuple[bytes, int], Feed] = {}
        self.tallies: dict[bytes, Tally] = {}
        self.pending: list[Entry] = []
        self.entries: list[Entry] = []
        self.blocks: list[Block] = []
        self.outcomes: list[Outcome] = []
        self.states = [self.tip.state]
        self.stood_still_ms = 0
        self.puts: list[Put] = first_puts(self.genesis.to_toml(), self.tip.state)

    # ------------------------------------------------------------------------------------------ saying things

    def say(self, node: int, kind: str, payload: Sequence[Any], incarnation: int = 0, round_: int = 0) -> Entry:
        """The node's next entry; its feed is opened if it is not. It waits for the next block."""
        signer = self.nodes[node]
        key = (signer.node, incarnation)
        if key not in self.feeds:
            opened = append(Feed(self.net, signer.node, incarnation), signer, 0, "feed.open", Opening(FORMAT, DIGEST))
            self.feeds[key] = opened[0]
            self.pending.append(opened[1])
        self.feeds[key], entry = append(self.feeds[key], signer, round_, kind, payload)
        self.pending.append(entry)
        return entry

    def sends(self, sender: int, receiver: int, count: int = 1, claimed: bool = True, taken: bool = True) -> None:
        """`count` messages: the sender says so (if `claimed`), and the receiver (if `taken`)."""
        ends = self.nodes[sender].node, self.nodes[receiver].node
        if claimed:
            self.say(sender, "delta.reveal", [Reveal(ends[1], 0, seq, DIGEST, 100, "int8") for seq in range(count)])
        if taken:
            rows = []
            tally = self.tallies.get(ends[1], Tally())
            for seq in range(count):
                tally, row = tally.add(ends[0], 0, seq, DIGEST, 100, ACCEPTED)
                rows.append(row)
            self.tallies[ends[1]] = tally
            self.say(receiver, "receipts", rows)

    # ------------------------------------------------------------------------------------------ finalizing

    def stand_still(self, seconds: int) -> None:
        """Nothing becomes final for so long: the next height is so much later."""
        self.stood_still_ms += 1000 * seconds

    def close(self, *evidence: Fault, certified: bool = True, cosigned: bool = True) -> Outcome:
        """One height with all that waits."""
        height, state = self.tip.height + 1, self.tip.state
        chains: dict[tuple[bytes, int], list[Entry]] = {}
        for entry in self.pending:
            chains.setdefault((entry.author, entry.incarnation), []).append(entry)
        entries = order(chains.values())
        place = Place(height, height * 1000 + self.stood_still_ms, self.tip.log.size, height % self.genesis.epoch == 0)
        outcome = self.accounts.play(state, place, entries, evidence)
        cut = tuple(sorted(head_of(chain[-1]) for chain in chains.values()))
        before, after = (Validators.of(validators_of(s)) for s in (state, outcome.state))
        header = Header(
            self.net,
            height,
            height,
            self.tip.head or self.net,
            cut_hash(cut),
            evidence_hash(evidence),
            place.first_index,
            len(entries),
            outcome.state.root(),
            self.accounts.rules_hash(state),
            before.hash,
            after.hash,
            place.time_ms,
        )
        block = Block(header, cut, evidence)
        epoch = (height - 1) // self.genesis.epoch
        signers = [self.by_key[key] for key in before.keys][: before.quorum]
        votes = [sign_vote(signer, self.net, Kind.FINALIZE, epoch, height, block.hash) for signer in signers]
        certificate = certify(votes, before) if certified else None
        self.tip, puts = self.tip.record(header, entries, outcome.state)
        final = Journal().final(block, certificate, epoch, height)
        self.puts += [*map(put_entry, entries), *final, *puts]
        if cosigned:
            point = self.tip.checkpoint()
            signatures = tuple(cosign(signer, point, place.time_ms) for signer in signers)
            self.puts.append(put_checkpoint(height, Signed(point, signatures)))
        self.pending = []
        self.entries += entries
        self.blocks.append(block)
        self.outcomes.append(outcome)
        self.states.append(outcome.state)
        return outcome

    def balance(self, node: int) -> int:
        return self.tip.state.number("balance", self.nodes[node].node)

    def write(self, path: Path) -> Path:
        """A node's store with all of it, closed."""
        path.parent.mkdir(parents=True, exist_ok=True)
        store = SqliteStore(path)
        store.commit(self.puts)
        store.close()
        return path


@pytest.fixture(scope="session")
def make_network() -> type[Network]:
    return Network


def played(heights: int = 10, **terms: Any) -> Network:
    """Three of four nodes exchange with each other in every height; node 3 asks to join and is endorsed."""
    network = Network(**terms)
    network.say(3, "join", [3])
    network.say(0, "endorse", [network.nodes[3].node, 3])
    network.say(2, "join", [1])
    network.say(1, "endorse", [network.nodes[2].node, 1])
    network.close()
    for height in range(1, heights):
        for sender in range(4):
            for receiver in range(4):
                if sender != receiver and (sender + receiver + height) % 3:
                    network.sends(sender, receiver, 1 + height % 2)
        network.close(certified=height % 3 != 1 or (height + 1) % network.genesis.epoch == 0)
    return network


@pytest.fixture(scope="session")
def make_played() -> Any:
    return played
