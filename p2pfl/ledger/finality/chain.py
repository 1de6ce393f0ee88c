"""The blocks after the last final one, and how they become final. Knows certificates' aims; casts and counts no vote.

Two ways lead on: a finalization of a block whose ancestors are here (`target`), or final blocks sent by others, each
run of them proved by a certificate (`decided`). Blocks are executed once, on their parent. A block that a quorum
vouches for and that comes out differently here stops this node: going on would be guessing.
"""

from collections.abc import Iterable

from p2pfl.core.ids import NodeId, short
from p2pfl.errors import Reject
from p2pfl.ledger.blocks.block import Block
from p2pfl.ledger.blocks.rule import Kind
from p2pfl.ledger.blocks.votes import Certificate
from p2pfl.ledger.feeds.bounds import DECIDED_MAX
from p2pfl.ledger.finality.archive import Archive
from p2pfl.ledger.finality.effects import Lack
from p2pfl.ledger.finality.forge import Forge, Node
from p2pfl.ledger.finality.sync import missing_of
from p2pfl.ledger.finality.talk import Decided


class Chain:
    """Everything that descends from `final`."""

    def __init__(self, forge: Forge, base: Node) -> None:
        self.forge, self.terms = forge, forge.terms
        self.final = base
        self.archive = Archive()
        self.blocks: dict[bytes, Block] = {}
        self.target: Certificate | None = None
        self.decided: list[Decided] = []
        self.halted = ""
        """Why this node cannot go on: a quorum finalized what it cannot reproduce."""
        self.lacks: list[Lack] = []
        """What was found missing, and nobody has asked for yet."""
        self._nodes: dict[bytes, Node] = {}
        self._noted: set[bytes] = set()

    # ------------------------------------------------------------------------------------------ taking in

    def keep(self, block: Block) -> None:
        if block.height > self.final.height:
            self.blocks.setdefault(block.hash, block)

    def made(self, node: Node) -> None:
        """One's own block."""
        assert node.block is not None
        self._nodes[node.hash] = node
        self.keep(node.block)

    def aim(self, certificate: Certificate) -> None:
        """A quorum finalized this."""
        if certificate.kind is Kind.FINALIZE and (self.target is None or certificate.view > self.target.view):
            self.target = certificate

    def continued(self, decided: Iterable[Decided]) -> list[list[Decided]]:
        """What of `decided` follows all that is decided in this epoch, as runs that each end with a certificate.

        The certificates are not checked. Raises Reject for blocks that do not follow one another.
        """
        last = self.decided[-1].block if self.decided else None
        height, parent = (last.height, last.hash) if last else (self.final.height, self.final.hash)
        epoch = self.terms.epoch_of(self.final.height + 1)
        runs: list[list[Decided]] = []
        run: list[Decided] = []
        room = DECIDED_MAX - len(self.decided)
        for block, certificate in decided:
            if block.height <= height:
                continue
            if block.height > height + 1 or self.terms.epoch_of(block.height) != epoch or room == 0:
                break  # an answer to what was asked long ago, or more than can be judged now
            if block.header.parent != parent:
                raise Reject("finals", f"{block.header.name}: does not follow height {height}")
            height, parent, room = block.height, block.hash, room - 1
            run.append(Decided(block, certificate))
            if certificate is not None:
                if (certificate.kind, certificate.epoch, certificate.block) != (Kind.FINALIZE, epoch, block.hash):
                    raise Reject("finals", f"{block.header.name}: the certificate is not of this block")
                runs.append(run)
                run = []
        return runs

    # ------------------------------------------------------------------------------------------ executing

    def execute(self, block: Block, parent: Node, sure: bool, of: NodeId | None) -> Node | None:
        """The block on its parent; None if entries are missing, or (`sure`: a quorum vouches for it) it is wrong here.

        Raises Reject if it is wrong and nobody vouches for it.
        """
        node = self._nodes.get(block.hash)
        if node is not None:
            return node
        try:
            node = self.forge.check(block, parent)
        except Reject as reject:
            if not sure:
                raise
            self.halted = f"a quorum agrees on {block.header.name}, which is wrong here: {reject}"
            return None
        if node is None:
            self._note(block, parent, sure, of)
        else:
            self._nodes[block.hash] = node
        return node

    def node(self, hash_: bytes) -> Node | None:
        """A notarized block, executed on its ancestors; None if something is missing."""
        path: list[Block] = []
        while hash_ != self.final.hash and hash_ not in self._nodes:
            block = self.blocks.get(hash_)
            if block is None:
                return None
            path.append(block)
            hash_ = block.header.parent
        node: Node | None = self._nodes.get(hash_, self.final)
        for block in reversed(path):
            node = self.execute(block, node, sure=True, of=None) if node else None
        return node

    def _note(self, block: Block, parent: Node, sure: bool, of: NodeId | None) -> None:
        """Ask once, until `repeat`."""
        key = block.hash + bytes([sure])
        if key not in self._noted:
            self._noted.add(key)
            self.lacks.append(Lack(tuple(missing_of(block.cut, self.forge.book, parent.heads)), sure, of))

    def repeat(self) -> None:
        """Ask again for what is still missing."""
        self._noted.clear()

    # ------------------------------------------------------------------------------------------ becoming final

    def next_final(self, of: NodeId | None) -> tuple[Decided, Node] | None:
        """The next final block, executed, if it and its entries are here."""
        found = self.decided[0] if self.decided else self._toward_target()
        node = self.execute(found.block, self.final, sure=True, of=of) if found else None
        return (found, node) if found and node else None

    def _toward_target(self) -> Decided | None:
        if self.target is None:
            return None
        block, certificate = self.blocks.get(self.target.block), self.target
        while block is not None and block.header.parent != self.final.hash:
            if block.height <= self.final.height + 1:
                self.halted = f"{block.header.name} is final, and does not descend from {short(self.final.hash)}"
                return None
            block = self.blocks.get(block.header.parent)
        if block is None:
            return None
        return Decided(block, certificate if block.hash == certificate.block else None)

    def finalize(self, found: Decided, node: Node) -> None:
        """This block, executed as `node`, is the last final one now."""
        self.final = node
        self.archive.add(found)
        self.decided = self.decided[1:]
        closes = self.terms.closes(node.height)
        self.blocks = {} if closes else {h: b for h, b in self.blocks.items() if b.height > node.height}
        self._nodes = {h: n for h, n in self._nodes.items() if n.height > node.height}
        if closes or (self.target is not None and self.target.view <= found.block.header.view):
            self.target = None

    def ends(self, hashes: Iterable[bytes]) -> list[bytes]:
        """Of these blocks and their ancestors, the hashes of those that are not here."""
        found: dict[bytes, None] = {}
        for hash_ in hashes:
            block = self.blocks.get(hash_)
            while block is not None and block.height > self.final.height + 1:
                hash_ = block.header.parent
                block = self.blocks.get(hash_)
            if block is None and hash_ != self.final.hash:
                found[hash_] = None
        return list(found)
