"""What a gossip node can say of itself, how grave it is, and what to do about it. Knows names only.

Every `Emit` of the rooms that a gossip node runs has a line here, and the table in docs/operations.md is made from it:
a warning that the documents do not explain is an error of a test (tests/test_docs.py).

    debug     the ordinary course of things; always in the run's metrics.jsonl
    info      worth a line, nothing to do
    warning   somebody else is away, late or at fault; the node goes on. Look if it lasts
    error     the node cannot go on with something
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Level = Literal["debug", "info", "warning", "error"]
LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Event:
    """`says`: what has happened. `do`: what an operator may do, empty if nothing."""

    level: Level
    says: str
    do: str = ""


EVENTS: Mapping[str, Event] = {
    # ------------------------------------------------------------------------------------------- the host
    "listening": Event("info", "The node's port is open."),
    "stopped": Event("info", "The node has ended; `code` is its exit code."),
    "log": Event("warning", "A library of the node said something.", "Report it if it comes again."),
    "task.failed": Event("error", "A computation raised; the line before the node's end says which.", "Report it."),
    "request.refused": Event(
        "warning", "A file in the run's `requests` folder is not a request of this node.", "See its `.refused` copy."
    ),
    "requested": Event("info", "An entry that an operator asked for is in the feed."),
    "turned_away": Event(
        "info", "Strangers wanted more than they may: so often in the last minute, by what.", "If it hurts: a firewall."
    ),
    # ------------------------------------------------------------------------------------------- members
    "member.joined": Event("info", "The node knows the same of the members as another one does."),
    "member.alive": Event("info", "A member is there: new, back, or spoke up for itself."),
    "member.suspect": Event("info", "A member did not answer a probe and is given time to speak up."),
    "member.dead": Event(
        "warning", "A member was silent for too long and does not count any more.", "Ask its operator."
    ),
    "member.left": Event("info", "A member has said farewell."),
    "member.shut_out": Event(
        "warning", "A member may not be one any more; `code` says why.", "Its operator: `detail`."
    ),
    "member.unbelieved": Event("debug", "A member passed on what this node does not accept of somebody else."),
    "member.key_in_use": Event("warning", "A key is in use on two machines.", "Stop one; make it a key of its own."),
    "member.refused_by": Event("warning", "A member does not let this node in; `code` says why.", "As `detail` says."),
    "member.kicked": Event("info", "The operator sent a member away for a while."),
    "member.banned": Event("info", "The operator has shut a key out of this node."),
    "member.unbanned": Event("info", "The operator lets a key in again."),
    "view": Event("debug", "The members that count have changed; the graph follows."),
    "ordered": Event("debug", "What the operator wanted is done."),
    "order.refused": Event("warning", "What the operator wanted cannot be done; `why` says so.", "As it says."),
    # ------------------------------------------------------------------------------------------- learning
    "round": Event("debug", "A round of local training is over."),
    "evaluation": Event("debug", "The model was judged."),
    "cell": Event("debug", "A secure cell has given its mean."),
    "edge": Event("debug", "Where both ends of a link stood at the end."),
    "privacy": Event("debug", "What of the privacy budget is spent."),
    "similarity": Event("debug", "How alike a neighbour's model was in the last round, under the rule `similarity`."),
    "personal": Event("debug", "The node has tuned a copy of the model to its own data; how good both are for it."),
    "stopping": Event("info", "The score that `pace.stop_at` asks for is reached; a common last round is set."),
    "finished": Event("info", "All rounds are done."),
    "ended": Event("info", "The run ended before its last round."),
    "resumed": Event("info", "The node goes on where its folder ends."),
    "epoch": Event("info", "The two ends of a link began anew, after a loss or a restart.", "Nothing, unless often."),
    "valued": Event("debug", "The node has scored the work of others in a window of the ledger."),
    "valuation": Event("debug", "What valuing others' work has taken: bytes, models tried, seconds."),
    "privacy.spent": Event("info", "The privacy budget is spent: the node only passes others' models on."),
    "resting": Event("info", "The node does not train for a while, as its operator or its timetable wants."),
    "awake": Event("info", "The node trains again."),
    "pause.refused": Event("warning", "The node cannot pause; `why` says why.", "As it says."),
    "alone": Event("info", "Nobody to form a secure cell with in this round."),
    "absent": Event("warning", "A neighbour was not there at the beginning.", "Is it started? `p2pfl doctor` asks it."),
    "neighbours": Event("info", "The members have changed, and with them who this node's neighbours are."),
    "joined": Event("info", "The node came late and has fetched the network's model.", ""),
    "join_failed": Event("warning", "Nobody had a model to give; the node begins anew.", "Are its neighbours running?"),
    "no_donor": Event("warning", "A neighbour could not give its model.", "The others are asked; nothing to do."),
    "let_go": Event(
        "info", "What was learned over a link that is silent for long is taken off.", "Nothing: it begins afresh."
    ),
    "unreachable": Event("warning", "A neighbour does not answer.", "Is it running, and its address right?"),
    "late": Event("warning", "A neighbour did not answer in time and was left out of the round.", "Look if it lasts."),
    "lost": Event("warning", "A neighbour was silent until the end.", "Ask its operator."),
    "refused": Event("warning", "A message was refused; `code` says why.", "Codes: docs/formats/http.md, messages.md."),
    "quarantined": Event(
        "warning", "A node sent too much that was rejected; it is not listened to for a while.", "Ask its operator."
    ),
    "refused_by": Event("warning", "A neighbour refused what this node said.", "Compare documents: `p2pfl doctor`."),
    "rejected": Event("warning", "A neighbour's update was out of bounds and left out.", "Ask its operator."),
    "blamed": Event("warning", "A member broke the rules of its secure cell; `code` says how.", "Ask its operator."),
    "withheld": Event("warning", "A member did not open its salt; it has no cell in this window.", "Ask its operator."),
    "cell_failed": Event("warning", "A secure cell came to nothing in this round.", "Nothing, unless often."),
    "failed": Event("error", "The node cannot go on; `reason` says why."),
    # ------------------------------------------------------------------------------------------- the ledger
    "ledger.final": Event("debug", "One more height is final."),
    "ledger.left": Event("debug", "The node said good-bye to the ledger."),
    "ledger.refused": Event("info", "A proposed block was not voted for; `why` says why."),
    "ledger.recovering": Event("info", "The node asks where its feed ended before it writes."),
    "ledger.resumed": Event("info", "A restored node writes again, in a new incarnation of its feed."),
    "ledger.silent": Event("info", "The node does not vote here: it may have voted before its backup was restored."),
    "ledger.blamed": Event("warning", "A member's ledger message was refused; `code` says why.", "Ask its operator."),
    "ledger.halted": Event(
        "error", "Two final blocks contradict each other: nothing becomes final.", "See docs/ledger.md, forks."
    ),
}


def level_of(name: str) -> Level:
    """Names that no table knows are of somebody's own parts: info."""
    event = EVENTS.get(name)
    return "info" if event is None else event.level


def is_at_least(level: Level, threshold: Level) -> bool:
    return LEVELS.index(level) >= LEVELS.index(threshold)
