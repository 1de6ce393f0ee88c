"""Every bound of the membership room, and the settings that a network may choose. Knows numbers and formulas.

The formulas are those of SWIM (Das, Gupta, Motivala 2002) and Lifeguard (Dadgar, Phillips, Currey 2018).
"""

from dataclasses import dataclass
from math import ceil, log, log10

from p2pfl.core.limits import KIB

COUNT_MAX = (1 << 53) - 1
"""Serials, epochs, heights and places in a talk."""

URLS_MAX = 4
URL_CHARS_MAX = 160
SOFTWARE_CHARS_MAX = 48
TOKEN_BYTES_MAX = 1024
STATEMENT_BYTES_MAX = 2 * KIB
"""One signed statement: a record, an accusation, a farewell, a revocation, an epoch."""

NEWS_BYTES = 4 * KIB
"""Statements that one message carries beside what it is for."""
NEWS_ITEMS_MAX = 64
ANSWER_BYTES = 40 * KIB
"""Statements in the answer to a push-pull; the rest comes with the next one."""
TALK_BYTES_MAX = 56 * KIB
"""A whole message: below a header's bound with all that stands beside it."""
ANSWER_ITEMS_MAX = 1024

ROWS_PER_PART = 512
"""Members whose state one push-pull compares; more are compared in parts, one after another."""
ACCUSERS_MAX = 8
"""Accusations of one member that are kept: those of the smallest keys."""
RUMOURS_MAX = 1024
REVOCATIONS_MAX = 1024
RELAYS_MAX = 64
"""Indirect probes that wait for an answer on behalf of others."""
WINDOW_BITS = 1024
"""Sequence numbers of a session that are remembered; what is older is refused (RFC 6479)."""
HEALTH_MAX = 8
"""Lifeguard's local health counts from 0, well, to this."""
CHAIN_MAX = 3
"""Tokens from an authority down to a node."""

VERSION_LOW, VERSION_HIGH = 1, 1
"""The versions of the formats between nodes that this software speaks."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How quickly members are watched. Seconds and counts; the defaults are memberlist's for a local network.

    probe_s: between two probes of a node; the direct probe may take `timeout_s`, the indirect ones the rest. indirect:
    helpers asked. gossip_s, fanout: news leave so often to so many. sync_s: between two push-pulls. heal_s: first pause
    before a dead member is tried again, growing to heal_s_max. keep_s: how long a dead one is kept. suspicion: by which
    a suspicion lasts. settle_s, view_s: a new view comes so long after the last change, and after the view before it.
    grace_s: how long listed nodes that nobody has heard yet count as there. part_s: for the farewell.
    """

    probe_s: float = 1.0
    timeout_s: float = 0.5
    indirect: int = 3
    gossip_s: float = 0.2
    fanout: int = 3
    sync_s: float = 30.0
    heal_s: float = 10.0
    heal_s_max: float = 600.0
    seed_s_max: float = 60.0
    keep_s: float = 72 * 3600.0
    suspicion: int = 4
    suspicion_max: int = 6
    retransmit: int = 4
    settle_s: float = 0.5
    view_s: float = 5.0
    grace_s: float = 60.0
    part_s: float = 1.0

    def copies(self, members: int) -> int:
        """How often one piece of news is passed on by each node: lambda * ceil(log10(n + 1))."""
        return self.retransmit * ceil(log10(members + 1))

    def suspicion_s(self, members: int, confirmed: int) -> float:
        """How long a suspicion lasts in all, with so many accusers besides the first.

        Lifeguard, section 4: max - (max - min) ln(c + 1) / ln(k + 1), never below min; k = suspicion - 2 others.
        """
        least = self.suspicion * max(1.0, log10(max(1, members))) * self.probe_s
        needed = min(self.suspicion - 2, members - 2)
        if needed < 1:
            return least
        most = self.suspicion_max * least
        return max(least, most - (most - least) * log(confirmed + 1) / log(needed + 1))

    def scaled(self, seconds: float, health: int) -> float:
        """A deadline of one's own, longer the less well one is oneself (Lifeguard's local health multiplier)."""
        return seconds * (health + 1)


def wide(probe_s: float) -> Pace:
    """The settings that follow from the one number that documents give: all times in proportion."""
    by = probe_s
    return Pace(
        probe_s=by,
        timeout_s=by / 2,
        gossip_s=by / 5,
        sync_s=30 * by,
        heal_s=10 * by,
        settle_s=by / 2,
        view_s=5 * by,
        grace_s=60 * by,
    )
