"""How a node's own work becomes what it commits to and shows. Knows models, updates and codecs; no window."""

import torch
from torch import Tensor

from p2pfl.core.ids import NodeId
from p2pfl.core.noise import Key, derive
from p2pfl.core.vectors import ParamSchema
from p2pfl.horizontal.cells.deeds import Together
from p2pfl.horizontal.model.work import GossipWork, decode_sections, encode_sections
from p2pfl.horizontal.pairs.deeds import Deed
from p2pfl.horizontal.valuing.appraisal import update_digest
from p2pfl.horizontal.valuing.shown import ACCOUNT_BYTES, Work
from p2pfl.ledger.outcome.draw import AUDITORS, EVALUATORS_MAX, LISTENERS, SUBJECTS_PER_AUDIT
from p2pfl.mixing.cell import Cell
from p2pfl.mixing.reference import Reference
from p2pfl.valuation import Opening, digest_of

_EMPTY = torch.empty(0)


def valuing_work(work: GossipWork) -> GossipWork:
    """What codes and decodes what is shown: a cell's sum, which no codec has said before, as a snapshot is."""
    if not isinstance(work.mixer, Cell):
        return work
    return GossipWork(work.learner, work.snapshot_codec, work.mixer, work.snapshot_codec, work.guard)


def make_cell_work(
    deed: Together, update: Tensor, me: NodeId, salt: bytes, opening_salt: bytes, work: GossipWork
) -> Work:
    """As `make_work`, of a sum: in place of a message the opening names the cell, its members' number and the round."""
    coded = encode_sections(work.codec, update.float(), work.schema, derive(opening_salt, "code"), 1.0)
    digests = (digest_of(deed.before), digest_of(deed.shift), update_digest(coded.body), digest_of(deed.after))
    made = deed.sum
    place = (made.cell, made.members, made.round, digest_of(made.work))
    opening = Opening(opening_salt, me, deed.first, deed.last, *digests, *place)
    nothing = Reference(torch.empty(0, dtype=torch.int32), ())
    return Work(opening, salt, coded.sections, coded.body, coded.q, Key(bytes(32)), 1.0, b"", (), _EMPTY, nothing, b"")


def make_work(deed: Deed, update: Tensor, me: NodeId, salt: bytes, opening_salt: bytes, work: GossipWork) -> Work:
    """Code the update, and name all that a commit hides."""
    coded = encode_sections(work.codec, update.float(), work.schema, derive(opening_salt, "code"), 1.0)
    told, after = deed.told, deed.after
    opening = Opening(
        opening_salt,
        me,
        deed.first,
        deed.last,
        digest_of(deed.before),
        digest_of(deed.shift),
        update_digest(coded.body),
        digest_of(after),
        told.peer,
        told.epoch,
        told.seq,
        told.reference.digest(),
    )
    q = decode_sections(work.codec, coded.sections, coded.body, work.schema)
    said = told.saying
    how = (told.key, said.message.damp, said.body, said.message.sections, after, told.reference, told.head)
    return Work(opening, salt, coded.sections, coded.body, q, *how)


def expected_bytes(others: int, neighbours: int, update_bytes: int, schema: ParamSchema) -> int:
    """What a commit will lead to: the update for each evaluator, what this node did to the models of its neighbours for
    their listeners, and twice the average of audits, so that a network that is unlucky keeps within its share too."""
    evaluators = min(others, EVALUATORS_MAX)
    accounts = min(evaluators, LISTENERS) * neighbours * ACCOUNT_BYTES
    audit = 2 * min(evaluators, AUDITORS) * (8 * schema.size + update_bytes) // SUBJECTS_PER_AUDIT
    return evaluators * update_bytes + accounts + audit
