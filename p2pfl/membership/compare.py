"""Push-pull: two nodes make their knowledge of all members equal. Pure but for the roster it reads.

First a digest; if it differs, the rows of one part of the members after another: the answer has all that the asker
lacks, and names what the asker knows better, which the asker then tells. What one message does not hold comes with the
next push-pull.
"""

from blake3 import blake3

from p2pfl.core.ids import NodeId
from p2pfl.membership.admission import mark
from p2pfl.membership.bounds import ANSWER_BYTES, ANSWER_ITEMS_MAX, ROWS_PER_PART
from p2pfl.membership.roster import Roster
from p2pfl.membership.talk import PARTS_MAX, ROWS_MAX, Sync, Synced
from p2pfl.wire import canonical


def digest(roster: Roster) -> bytes:
    """32 bytes; equal if two nodes know the same of everybody."""
    rows = [[node, *row] for node, row in roster.rows().items()]
    marks = [mark(statement) for statement in roster.admission.statements()]
    return blake3(canonical.packb([rows, marks])).digest()


def question(roster: Roster, part: int | None = None) -> Sync:
    """The digest alone, or with the rows of a part."""
    if part is None:
        return Sync(digest(roster))
    parts = num_parts(roster)
    rows = [(node, *row) for node, row in roster.rows().items() if part_of(node, parts) == part][:ROWS_MAX]
    marks = tuple(mark(statement) for statement in roster.admission.statements()) if part == 0 else ()
    return Sync(digest(roster), part, parts, tuple(rows), marks)


def num_parts(roster: Roster) -> int:
    return min(PARTS_MAX, -(-(len(roster.members) + 1) // ROWS_PER_PART))


def part_of(node: NodeId, parts: int) -> int:
    """Keys are as good as random."""
    return int.from_bytes(node[:4], "big") % parts


def answer(roster: Roster, sync: Sync) -> tuple[Synced, list[bytes]]:
    """What the asker lacks, and what it knows better. `same` of a digest alone says whether there is more to do."""
    same = sync.digest == digest(roster)
    if same or not sync.parts:
        return Synced(same), []
    theirs = {node: (incarnation, state) for node, incarnation, state in sync.rows}
    mine = {node: row for node, row in roster.rows().items() if part_of(node, sync.parts) == sync.part}
    news = [said.raw for said in roster.admission.lacks(sync.marks)] if sync.part == 0 else []
    better = [node for node, row in mine.items() if node not in theirs or theirs[node] < row]
    wants = tuple(node for node, row in theirs.items() if node not in mine or mine[node] < row)
    more, room = False, ANSWER_BYTES - sum(len(raw) for raw in news)
    for node in better:
        raws = statements(roster, node)
        room -= sum(len(raw) for raw in raws)
        if room < 0 or len(news) + len(raws) > ANSWER_ITEMS_MAX:
            more = True
            break
        news += raws
    return Synced(same, wants, more), news


def told(roster: Roster, wants: tuple[NodeId, ...]) -> list[bytes]:
    """What somebody asked for; as much as one message holds."""
    news: list[bytes] = []
    room = ANSWER_BYTES
    for node in wants:
        raws = statements(roster, node)
        room -= sum(len(raw) for raw in raws)
        if room < 0 or len(news) + len(raws) > ANSWER_ITEMS_MAX:
            break
        news += raws
    return news


def statements(roster: Roster, node: NodeId) -> list[bytes]:
    known = roster.standing(node)
    return known.statements() if known is not None else []
