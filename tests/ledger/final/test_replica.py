"""What a real replica makes final, kept as `tip` says, is what the auditor, the proofs and a restart agree on."""

from pathlib import Path
from typing import Any

from p2pfl.core.party import Persist, Put, SetTimer, TimerFired
from p2pfl.ledger.blocks.checkpoint import Signed, cosign
from p2pfl.ledger.blocks.genesis import Genesis
from p2pfl.ledger.check.proofs import prove_leaf, verify_proof
from p2pfl.ledger.check.source import FileSource, View
from p2pfl.ledger.check.verify import verify_store
from p2pfl.ledger.feeds.feed import Feed, append
from p2pfl.ledger.feeds.kinds import FORMAT, Opening
from p2pfl.ledger.feeds.records import put_entry
from p2pfl.ledger.finality.effects import Final
from p2pfl.ledger.finality.forge import Terms
from p2pfl.ledger.finality.replica import Begin, Replica, Wrote
from p2pfl.ledger.finality.tip import NEEDED, Tip, base_of, first_puts, put_checkpoint, restore_tip
from p2pfl.ledger.outcome.contract import Accounts
from p2pfl.ledger.stores.reader import open_reader
from p2pfl.ledger.stores.sqlite import SqliteStore
from p2pfl.wire.keyfile import Signer

SIGNER = Signer(b"\1" * 32)
GENESIS = Genesis("alone", (SIGNER.node,), (SIGNER.node,), window=2, epoch=3)


class Node:
    """One validator that is its own quorum, with its store. `replica` goes on where the store ends."""

    def __init__(self, path: Path) -> None:
        self.store, self.accounts, self.now = SqliteStore(path), Accounts(GENESIS), 0.0
        first = self.accounts.first_state()
        restored = self.store.load()
        if "genesis" not in restored:
            self.store.commit(first_puts(GENESIS.to_toml(), first))
        self.tip = restore_tip(GENESIS.digest, first, self.store.load(NEEDED))
        base = base_of(self.tip, self.accounts.rules_hash(self.tip.state)) if self.tip.height else None
        terms = Terms(GENESIS.digest, GENESIS.epoch, self.accounts)
        self.replica = Replica(terms, SIGNER, [], base)
        self.replica.book.restore(restored)
        votes = {space: rows for space, rows in restored.items() if space != "final"}
        self.timers: dict[str, float] = {}
        self.step(Begin(votes))

    def step(self, event: Any) -> None:
        puts: list[Put] = []
        for effect in self.replica.handle(event, self.now):
            match effect:
                case Persist():
                    puts += effect.puts
                case Final():
                    self.tip, more = self.tip.record(effect.block.header, effect.entries, effect.execution.state)
                    point = self.tip.checkpoint()
                    signed = Signed(point, (cosign(SIGNER, point, effect.block.header.time_ms),))
                    puts += [*more, put_checkpoint(self.tip.height, signed)]
                case SetTimer():
                    self.timers[str(effect.key)] = effect.at
        self.store.commit(puts)

    def until(self, height: int) -> None:
        while self.tip.height < height:
            key = min(self.timers, key=lambda key: self.timers[key])
            self.now = max(self.now, self.timers.pop(key))
            self.step(TimerFired(key))


def test_a_replicas_store_is_verified_proven_and_gone_on_from(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    node, feed = Node(path), Feed(GENESIS.digest, SIGNER.node)
    for number in range(7):
        payload: Any = Opening(FORMAT, bytes(32)) if number == 0 else [bytes([number]) * 32, 0]
        feed, entry = append(feed, SIGNER, 0, "model" if number else "feed.open", payload)
        node.store.commit([put_entry(entry)])
        node.step(Wrote((entry,)))
        node.until(number + 1)
        if number == 3:  # the process ends, and another one goes on
            node.store.close()
            tip = node.tip
            node = Node(path)
            assert (node.tip.height, node.tip.log.root(), node.tip.state.root()) == (
                tip.height,
                tip.log.root(),
                tip.state.root(),
            )
    node.store.close()
    result = verify_store(path, GENESIS)
    assert result.problems == ()
    assert (result.height, result.num_final, result.root) == (7, 7, node.tip.log.root())
    with open_reader(path) as reader:
        view = View(FileSource(reader))
        proven = verify_proof(prove_leaf(view, 5), GENESIS)
    assert proven.signers == (SIGNER.node,)
    assert Tip(GENESIS.digest, node.accounts.first_state()).checkpoint().size == 0
