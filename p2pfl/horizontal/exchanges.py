"""Which exchange a rule needs, made from a plan. Knows the kinds there are; runs none."""

from collections.abc import Callable, Collection

from p2pfl.core.ids import NodeId
from p2pfl.horizontal.model.local import Local
from p2pfl.horizontal.model.work import GossipWork
from p2pfl.horizontal.pace.desk import Desk
from p2pfl.horizontal.pace.exchange import Exchange
from p2pfl.horizontal.pairs.deeds import Deeds
from p2pfl.horizontal.pairs.exchange import Pairs
from p2pfl.horizontal.pairs.setting import Setting
from p2pfl.horizontal.plan import Plan
from p2pfl.horizontal.records.journal import Journal
from p2pfl.horizontal.rows.lockstep import Rows
from p2pfl.horizontal.rows.semi_sync import SemiSync
from p2pfl.horizontal.rows.words import RowSetting
from p2pfl.mixing.cell import Cell
from p2pfl.mixing.pairwise import Pairwise
from p2pfl.mixing.reference import exponents_for, from_vector


def make_exchange(
    plan: Plan, work: GossipWork, desk: Desk, local: Local, journal: Journal, proceed: Callable[[], None]
) -> Exchange:
    """The exchange of the plan's rule; the rule's node state is put into `local`."""
    rule = work.mixer
    if isinstance(rule, Pairwise):
        return _pairs(plan, work, rule, desk, local, journal, proceed)
    local.rows = rule.init(local.x)
    if isinstance(rule, Cell):
        return _cells(plan, work, rule, desk, local, journal, proceed)
    setting = RowSetting(
        plan.recipe, plan.nb, rule, work.codec, work.schema, plan.timeout_s, plan.staleness, plan.alike
    )
    kind = SemiSync if plan.recipe.mode == "semi_sync" else Rows
    return kind(setting, desk, local, journal, proceed)


def _pairs(
    plan: Plan,
    work: GossipWork,
    rule: Pairwise,
    desk: Desk,
    local: Local,
    journal: Journal,
    proceed: Callable[[], None],
) -> Pairs:
    local.pair = rule.init(local.x)
    setting = Setting(
        plan.recipe,
        plan.nb,
        rule,
        work.codec,
        work.snapshot_codec,
        work.schema,
        work.learner.lr_at,
        plan.timeout_s,
    )
    pairs = Pairs(setting, desk, local, journal, proceed)
    pairs.closing = plan.closing if plan.recipe.mode == "async" else 0
    pairs.begin(from_vector(local.x, exponents_for(local.x, work.schema), work.schema))
    return pairs


def _cells(
    plan: Plan, work: GossipWork, rule: Cell, desk: Desk, local: Local, journal: Journal, proceed: Callable[[], None]
) -> Exchange:
    from p2pfl.horizontal.cells.exchange import Cells  # the extra "secure" is needed here only
    from p2pfl.horizontal.cells.sitting import CellSetting

    assert plan.nb.ground is not None
    setting = CellSetting(
        plan.recipe,
        plan.nb.me,
        plan.nb.ground,
        rule,
        work.codec,
        work.schema,
        plan.recipe.network,
        plan.timeout_s,
        plan.noise,
    )
    return Cells(setting, desk, local, journal, proceed)


def deeds_of(exchange: Exchange, local: Local, neighbours: Collection[NodeId]) -> Deeds:
    """What is to be valued of what the exchange does: each node's own work, or of cells what they did together."""
    if isinstance(exchange, Pairs):
        exchange.deeds = deeds = Deeds(local.x)
        deeds.edges = exchange.edges
        return deeds
    if isinstance(exchange, Rows | SemiSync):
        return Deeds(local.x)
    from p2pfl.horizontal.cells.deeds import CellDeeds
    from p2pfl.horizontal.cells.exchange import Cells

    assert isinstance(exchange, Cells)
    exchange.deeds = together = CellDeeds(local.x, exchange.setting.rule.window)
    together.edges = frozenset(neighbours)
    return together
