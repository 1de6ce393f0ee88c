"""One probe a period: directly, through helpers, and if both fail, a suspicion. Asks and answers; keeps no time.

    period begins   Ping to the next in turn
    no answer       Reach to a few helpers, each of which pings it
    period ends     no answer by any way: this node accuses it; what the helpers did not even deny counts against itself

Source: Das, Gupta, Motivala 2002, section 3 and 4; Dadgar, Phillips, Currey 2018.
"""

from dataclasses import dataclass, field

from p2pfl.core.ids import NodeId
from p2pfl.core.party import ReplyToken, Verdict
from p2pfl.errors import Ignore
from p2pfl.membership.bounds import RELAYS_MAX
from p2pfl.membership.effects import Asked
from p2pfl.membership.health import Health
from p2pfl.membership.probing import ANCHORS, Probe, Turns, anchors
from p2pfl.membership.statements import Tag
from p2pfl.membership.talk import Ack, Ping, Reach
from p2pfl.membership.voice import Voice

SILENT_TURNS = 3
"""So many turns of a member that cannot be connected to without a word from it are too many."""


@dataclass(frozen=True, slots=True)
class Relayed:
    """An indirect probe on behalf of somebody."""

    token: ReplyToken
    to: NodeId
    digest: bytes


@dataclass(eq=False)
class Prober:
    voice: Voice
    turns: Turns
    health: Health = field(default_factory=Health)
    probe: Probe | None = None
    relays: int = 0

    def period(self, now: float) -> float:
        """Ends one period and begins the next; how long that one lasts."""
        self._judge()
        self.probe = self._begin(now)
        return self.voice.pace.scaled(self.voice.pace.probe_s, self.health.score)

    def _judge(self) -> None:
        probe = self.probe
        if probe is None:
            return
        if probe.good:
            self.health.better()
        elif self.voice.roster.is_here(probe.target):
            self.health.worse(1 + len(probe.helpers))
            self.voice.roster.accuse(probe.target, Tag.SUSPECT)

    def _begin(self, now: float) -> Probe | None:
        roster, pace = self.voice.roster, self.voice.pace
        here = roster.here()
        listening = [node for node in here if roster.members[node].record.listens]
        if not roster.me.listens:
            here = anchors(roster.me.node, listening)
        target = self.turns.next(here)
        if target is None:
            return None
        if target in listening:
            self.voice.ask(target, Ping(), "probe", pace.scaled(pace.timeout_s, self.health.score))
            return Probe(target)
        if roster.me.node in anchors(target, sorted([*listening, roster.me.node])):
            silent = now - roster.heard_at.setdefault(target, now)
            return Probe(target, good=silent < SILENT_TURNS * ANCHORS * pace.probe_s)
        return None

    # -------------------------------------------------------------------------------------------- one's own probe

    def good(self, node: NodeId) -> None:
        """It is there: it, or a helper, has said so."""
        if self.probe is not None and self.probe.target == node:
            self.probe.good = True

    def failed(self, asked: Asked) -> None:
        """The direct probe was not answered."""
        probe = self.probe
        if probe is None or probe.target != asked.to or probe.good or probe.indirect:
            return
        roster, pace = self.voice.roster, self.voice.pace
        others = [node for node in roster.here() if node != probe.target and roster.members[node].record.listens]
        helpers = self.turns.some(others, pace.indirect)
        probe.indirect, probe.helpers = True, set(helpers)
        for helper in helpers:
            self.voice.ask(helper, Reach(probe.target), "reach", pace.scaled(pace.probe_s, self.health.score))

    def denied(self, asked: Asked) -> None:
        """The helper could not reach it either, and says so."""
        assert isinstance(asked.words, Reach)
        if self.probe is not None and self.probe.target == asked.words.target:
            self.probe.helpers.discard(asked.to)

    # -------------------------------------------------------------------------------------------- for others

    def reach(self, token: ReplyToken, sender: NodeId, digest: bytes, target: NodeId) -> None:
        """Ping somebody for somebody. Raises Ignore if this node cannot."""
        known = self.voice.roster.members.get(target)
        if known is None or not known.record.listens:
            raise Ignore("unknown", "not known here, or not to be connected to")
        if self.relays >= RELAYS_MAX:
            raise Ignore("busy", "too many probes for others are under way")
        self.relays += 1
        self.voice.ask(target, Ping(), "relay", self.voice.pace.timeout_s, about=Relayed(token, sender, digest))

    def relayed(self, asked: Asked, good: bool) -> None:
        """What became of it."""
        self.relays -= 1
        relayed: Relayed = asked.about
        if good:
            self.voice.answer(relayed.token, relayed.to, relayed.digest, Ack())
        else:
            self.voice.refuse(relayed.token, Verdict.IGNORE)
