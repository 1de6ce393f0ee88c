"""What one member keeps of the round that is open. Knows fields and which words are here; no message flow."""

from dataclasses import dataclass, field

from p2pfl.compress import Codec
from p2pfl.core.ids import NodeId
from p2pfl.core.vectors import ParamSchema
from p2pfl.horizontal.cells.posts import Posts
from p2pfl.horizontal.cells.work import Part, Summand
from p2pfl.horizontal.terms.recipe import Recipe
from p2pfl.mixing.cell import Cell as CellRule
from p2pfl.mixing.rows import Phase
from p2pfl.privacy.sharing import SharedNoise
from p2pfl.secagg.cell import Cell, slices
from p2pfl.secagg.member import Lifting, Member
from p2pfl.secagg.partition import Ground
from p2pfl.secagg.statements import Step
from p2pfl.wire.post import Knock


@dataclass(frozen=True)
class CellSetting:
    """ground: the graph that cells are drawn from. network: for the signed heads that members quote.
    noise: of differential privacy, shared out among the members of a cell."""

    recipe: Recipe
    me: NodeId
    ground: Ground
    rule: CellRule
    codec: Codec
    schema: ParamSchema
    network: bytes
    timeout_s: float
    noise: SharedNoise | None = None


@dataclass(eq=False)
class Sitting:
    """One cell's round at one member."""

    cell: Cell
    member: Member
    summand: Summand
    phase: Phase
    posts: Posts
    waits: Step = Step.ROSTER  # what comes next
    parts: list[Part] = field(default_factory=list)  # my masked words, by slice
    slices: dict[tuple[int, NodeId], bytes] = field(default_factory=dict)
    totals: dict[int, bytes] = field(default_factory=dict)
    lifting: Lifting | None = None
    lifted: bool = False
    said_held: bool = False
    early: list[Knock] = field(default_factory=list)  # words that follow a sheet I have not seen yet
    named: int = 0  # blames reported

    @property
    def places(self) -> list[range]:
        """The words of each slice; known with the dealers."""
        return slices(self.summand.size, len(self.member.deals))

    @property
    def word_bytes(self) -> int:
        return self.summand.grid.width // 8

    @property
    def mine(self) -> int:
        """The slice that is mine to sum."""
        return tuple(self.member.deals).index(self.member.me)

    def has(self, number: int, dealer: NodeId) -> bool:
        """Whether this dealer's words of a slice are here; a slice may have none."""
        return (number, dealer) in self.slices or not len(self.parts[number].body)

    def holders_of_mine(self) -> frozenset[NodeId]:
        """The dealers whose words of my slice are here."""
        return frozenset(dealer for dealer in self.member.deals if self.has(self.mine, dealer))
