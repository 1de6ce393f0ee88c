"""The watch over the members: SWIM with Lifeguard's refinements, push-pulls and healing, as one sans-IO machine.

Theory of operation
-------------------
| event                 | what follows                                                                                 |
|-----------------------|----------------------------------------------------------------------------------------------|
| start                 | the roster as it was written; a push-pull with some seeds; the first period                  |
| timer "probe"         | the last probe is judged (SUSPECT), the next one begins (prober.py)                          |
| timer "suspect", X    | X was accused for so long without speaking up: DEAD                                          |
| timer "gossip"        | news go to a few members, as long as there are any                                           |
| timer "sync"          | a push-pull with a member (syncer.py)                                                        |
| timer "heal"          | a push-pull with those who are gone (healing.py)                                             |
| timer "view"          | who counts now, if that has changed (views.py)                                               |
| a member's request    | who says it, and which life of it (doorstep.py); its news; then the answer                   |
| an answer             | its news; then what it was for                                                               |
| no answer, a refusal  | of a probe: helpers; of a joining node by all seeds: it stops, and says why                  |
| part                  | the farewell LEFT to some members; Parted when it was heard, or after a while                |

`Charter` says what a node is and whom it begins with. The Peer seals and sends, and hands back what was answered.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from p2pfl.core.ids import NodeId, short
from p2pfl.core.noise import derive, generator
from p2pfl.core.party import Locate, ReplyToken, Restored, Verdict
from p2pfl.errors import Ignore, Reject
from p2pfl.membership.admission import Admission, Mode
from p2pfl.membership.bounds import VERSION_HIGH, VERSION_LOW, Pace
from p2pfl.membership.doorstep import Doorstep, Request, is_proof
from p2pfl.membership.effects import Asked, Drained, Halt, Out, Parted, Tick, WatchEffect
from p2pfl.membership.healing import Healing
from p2pfl.membership.prober import Prober
from p2pfl.membership.probing import Turns
from p2pfl.membership.record import SESSION_BYTES, Flag, Record
from p2pfl.membership.roster import BANNED, Roster
from p2pfl.membership.standing import Standing, State
from p2pfl.membership.statements import Tag
from p2pfl.membership.syncer import Syncer
from p2pfl.membership.talk import Ack, Conflict, Line, Ping, Reach, Sync, Synced, Tell, parse_line
from p2pfl.membership.views import Views
from p2pfl.membership.voice import Voice
from p2pfl.wire.envelope import Signs

JOIN_SEEDS = 3
PART_TO = 6
TIMER_SLACK_S = 0.001
"""A clock may ring so much early: what a timer is for is due then."""
FINAL_CODES = frozenset(
    {"stranger", "no-token", "token", "revoked", "expired", "banned", "version", "network", "key-in-use"}
)
"""Refusals that asking again does not help against."""


@dataclass(frozen=True)
class Charter:
    """What a node says of itself, whom it knows from the start, and how it watches. `seeds`: where they are reached."""

    network: bytes
    urls: tuple[str, ...]
    seeds: Mapping[NodeId, tuple[str, ...]]
    listed: frozenset[NodeId]
    mode: Mode = "listed"
    authorities: frozenset[NodeId] = frozenset()
    token: bytes = b""
    certificate: bytes = b""
    software: str = ""
    versions: tuple[int, int] = (VERSION_LOW, VERSION_HIGH)
    flags: Flag = Flag.LISTENS
    pace: Pace = field(default_factory=Pace)


class Watch:
    """See the table. `start` comes first, once; every other method returns what is to be done, too."""

    def __init__(self, charter: Charter, signer: Signs) -> None:
        self.charter, self.signer = charter, signer
        self.admission = Admission(charter.network, charter.mode, charter.listed, charter.authorities)
        self.out = Out()
        self.kicked: dict[NodeId, float] = {}  # until when
        self.refusals: dict[NodeId, str] = {}
        self.tried: set[NodeId] = set()
        self._suspected: dict[NodeId, tuple[int, float]] = {}
        self._armed: dict[str, float] = {}
        self._parting = False
        self.roster: Roster

    def _begin(self, entropy: bytes, now: float) -> None:
        charter, key = self.charter, derive(entropy, "membership")
        record = Record(
            network=charter.network,
            node=self.signer.node,
            incarnation=0,
            session=bytes(derive(key, "session"))[:SESSION_BYTES],
            urls=charter.urls,
            certificate=charter.certificate,
            software=charter.software,
            versions=charter.versions,
            flags=charter.flags,
            token=charter.token,
        ).signed(self.signer)
        rng = generator(derive(key, "turns"))
        fresh_s = 3 * charter.pace.probe_s
        self.roster = Roster(self.signer, record, self.admission, self.out, self._changed, fresh_s=fresh_s)
        self.voice = Voice(self.roster, self.out, charter.pace)
        self.turns = Turns(rng)
        self.prober = Prober(self.voice, self.turns)
        self.syncer = Syncer(self.voice)
        self.doorstep = Doorstep(self.voice)
        seeds = frozenset(charter.seeds) - {self.signer.node}
        self.healing = Healing(charter.pace, seeds)
        self.views = Views(self.roster, charter.listed, charter.pace, now)

    # -------------------------------------------------------------------------------------------- in

    def start(self, restored: Restored, now: float, entropy: bytes) -> list[WatchEffect]:
        """Go on with what the store holds."""
        self.out.now = now
        self._begin(entropy, now)
        seeds = sorted(self.healing.seeds)
        for seed in seeds:
            self.out.do(Locate(seed, self.charter.seeds[seed]))
        self.roster.change_me()
        self.roster.restore(restored)
        pace = self.charter.pace
        for seed in self.turns.some(seeds, JOIN_SEEDS):
            self.syncer.begin(seed)
        for seed in seeds:
            self.healing.lost(seed, now, at_once=True)
        for name, after in (("probe", pace.probe_s), ("sync", pace.sync_s)):
            self.out.timer(name, now + after * (0.5 + float(self.turns.rng.random())))
        if seeds:
            self.out.timer("grace", now + pace.grace_s)
        else:
            self.syncer.joined = True
        self.views.changed(now)
        return self._done(now)

    def fired(self, tick: Tick, now: float) -> list[WatchEffect]:
        at = self._armed.pop(tick.name, now)
        now = self.out.now = max(now, min(at, now + TIMER_SLACK_S))
        pace = self.charter.pace
        match tick.name:
            case "probe":
                self.out.timer("probe", now + self.prober.period(now))
            case "suspect":
                self._time_is_up(NodeId(tick.about), now)
            case "gossip":
                for node in self.turns.some(self.roster.here(), pace.fanout):
                    self.voice.ask(node, Tell(), "tell", pace.probe_s)
            case "sync":
                self.out.timer("sync", now + pace.sync_s * (0.75 + 0.5 * float(self.turns.rng.random())))
                for node in self.turns.some([n for n in self.roster.here() if self._is_reached(n)], 1):
                    self.syncer.begin(node)
            case "heal":
                tries, old = self.healing.next_tries(now)
                for node in tries:
                    self.syncer.begin(node)
                for node in old:
                    self.roster.forget(node)
            case "grace":
                self.syncer.joined = True  # alone for now: a network of one is one, and seeds are never forgotten
                self.views.changed(now)
            case "kick":
                self._kick_ends(now)
            case "drain":
                self.out.do(Drained())
            case "part":
                self.out.do(Parted())
        return self._done(now)

    def asked(self, token: ReplyToken, author: NodeId, digest: bytes, raw: bytes, now: float) -> list[WatchEffect]:
        """A request by `author`, whose signature was checked. Always leads to one Respond, perhaps later."""
        self.out.now = now
        try:
            request = Request(token, author, digest, parse_line(raw))
            if request.line.re:
                raise Reject("malformed", "an answer to nothing")
            if self.doorstep.enter(request):
                self._serve(request)
        except Reject as reject:
            self.voice.refuse(token, Verdict.REJECT, reject.code, reject.detail)
        except Ignore as ignore:
            self.voice.refuse(token, Verdict.BUSY, ignore.code, ignore.detail)
        return self._done(now)

    def answered(self, key: Hashable, digest: bytes, raw: bytes, proof: bytes, now: float) -> list[WatchEffect]:
        """The answer to a question with this digest, its signature checked; `proof` is its whole head."""
        self.out.now = now
        asked = self.out.answered(key)
        if asked is not None:
            try:
                self._take_answer(asked, digest, parse_line(raw), proof)
            except (Reject, Ignore) as refusal:
                self._went_wrong(asked, "", str(refusal))
        return self._done(now)

    def failed(self, key: Hashable, code: str, detail: str, denied: bool, now: float) -> list[WatchEffect]:
        """No answer (no code), or a refusal. denied: a helper's or anybody's plain no."""
        self.out.now = now
        asked = self.out.answered(key)
        if asked is not None:
            if denied and asked.purpose == "reach":
                self.prober.denied(asked)
            elif denied and asked.purpose == "tell":
                pass  # that is how news are received
            else:
                self._went_wrong(asked, code, detail)
        return self._done(now)

    def check(self, node: NodeId) -> None:
        """Raises Reject if whatever this key says is to be refused."""
        self.admission.check_key(node)

    def met(self, node: NodeId, now: float) -> None:
        """Something else of a member came in, signed."""
        if node in self.roster.members:
            self.out.now = self.roster.heard_at[node] = now

    # -------------------------------------------------------------------------------------------- the operator

    def part(self, now: float) -> list[WatchEffect]:
        """Say farewell; Parted follows."""
        self.out.now = now
        if not self._parting:
            self._parting = True
            farewell = self.roster.leave().raw
            for node in self.turns.some([n for n in self.roster.here() if self._is_reached(n)], PART_TO):
                self.voice.ask(node, Tell(), "leave", self.charter.pace.part_s, first=[farewell])
            self.out.timer("part", now + self.charter.pace.part_s)
            self._look_parted()
        return self._done(now)

    def drain(self, now: float) -> list[WatchEffect]:
        """Say that this node takes no part any more, so that the others close their graph over it."""
        self.out.now = now
        pace = self.charter.pace
        self.roster.change_me(flags=self.roster.me.flags | Flag.DRAINING)
        self.out.timer("drain", now + pace.view_s + 2 * pace.settle_s)
        return self._done(now)

    def kick(self, node: NodeId, seconds: float, now: float) -> list[WatchEffect]:
        """Send a member away for a while: this node neither hears it nor counts it."""
        self.out.now = now
        self.kicked[node] = now + seconds
        self.admission.kicked.add(node)
        self.out.timer("kick", min(self.kicked.values()))
        self.out.emit("member.kicked", peer=short(node), for_s=seconds)
        self.roster.recheck()
        return self._done(now)

    def ban(self, node: NodeId, banned: bool, now: float) -> list[WatchEffect]:
        """Shut a key out at this node for good, or no longer."""
        self.out.now = now
        (self.admission.banned.add if banned else self.admission.banned.discard)(node)
        self.out.put(BANNED, node, b"\x01" if banned else None)
        self.out.emit("member.banned" if banned else "member.unbanned", peer=short(node))
        self.roster.recheck()
        return self._done(now)

    def say(self, statement: bytes, now: float) -> list[WatchEffect]:
        """Bring an authority's word into the network. Raises Reject, Ignore."""
        self.out.now = now
        self.roster.bring(statement)
        return self._done(now)

    def at_height(self, height: int, now: float) -> list[WatchEffect]:
        """The ledger is final up to here: tokens may end with it."""
        self.out.now = now
        self.admission.height = height
        if self.charter.mode == "token":
            self.roster.recheck()
        return self._done(now)

    def status(self) -> dict[str, Any]:
        """What `p2pfl peers` shows."""
        return {
            "view": self.views.number,
            "alive": len(self.views.alive),
            "joined": self.syncer.joined,
            "incarnation": self.roster.me.incarnation,
            "health": self.prober.health.score,
            "epoch": self.admission.epoch,
            "admission": self.charter.mode,
            "draining": Flag.DRAINING in self.roster.me.flags,
            "members": [self._row(node) for node in sorted(self.roster.members)],
        }

    def _row(self, node: NodeId) -> dict[str, Any]:
        known = self.roster.members[node]
        heard = self.roster.heard_at.get(node)
        return {
            "node": node.hex(),
            "state": self._state(known),
            "incarnation": known.incarnation,
            "url": known.record.urls[0] if known.record.urls else "",
            "heard_s": None if heard is None else round(self.out.now - heard, 1),
            "software": known.record.software,
        }

    def _state(self, known: Standing) -> str:
        if known.node in self.roster.shut_out:
            return self.roster.shut_out[known.node]
        draining = known.is_here and Flag.DRAINING in known.record.flags
        return "draining" if draining else known.state.name.lower()

    # -------------------------------------------------------------------------------------------- requests

    def _serve(self, request: Request) -> None:
        """A member's words. Raises Reject or Ignore."""
        token, author, line = request.token, request.author, request.line
        self.roster.hear(line.news, author)
        match line.words:
            case Ping(challenge):
                if challenge and challenge != self.voice.session:
                    self.out.emit("member.key_in_use", peer=short(author))
                self.voice.answer(token, author, request.digest, Ack(challenge))
            case Reach(target):
                self.prober.reach(token, author, request.digest, target)
            case Sync() as sync:
                self.syncer.asked(token, author, request.digest, sync)
            case _:
                self.voice.refuse(token, Verdict.IGNORE)

    # -------------------------------------------------------------------------------------------- answers

    def _take_answer(self, asked: Asked, digest: bytes, line: Line, proof: bytes) -> None:
        """Raises Reject or Ignore for what is no answer to this question."""
        if line.re != digest:
            raise Reject("author", "the answer is to another question")
        if isinstance(line.words, Conflict):
            where = is_proof(line.words.proof, self.roster.me)
            if where is None:
                raise Reject("proof", "a claim that the key is in use, without its proof")
            self.out.do(Halt(f"this node's key is in use on another machine, at {where}: stop one of the two, or make "
                             "a key of its own for this one with: p2pfl keys new"))  # fmt: skip
            return
        if asked.purpose == "rival":
            self._judge_rival(asked, line, proof)
            return
        self.roster.hear(line.news, asked.to)
        known = self.roster.members.get(asked.to)
        if known is None or line.session != known.record.session:
            raise Ignore("session", "an answer of another life")
        self.roster.heard_at[asked.to] = self.out.now
        self.voice.told[asked.to] = max(asked.incarnation, self.voice.told.get(asked.to, -1))
        self.refusals.pop(asked.to, None)
        self._went_well(asked, line)

    def _went_well(self, asked: Asked, line: Line) -> None:
        match asked.purpose:
            case "probe":
                self.prober.good(asked.to)
            case "reach":
                assert isinstance(asked.words, Reach)
                self.prober.good(asked.words.target)
            case "relay":
                self.prober.relayed(asked, True)
            case "sync" if isinstance(line.words, Synced):
                if self.syncer.answered(asked, line.words):
                    self.out.emit("member.joined", members=self.roster.num_here())
                    self.views.changed(self.out.now)
            case "leave":
                self._look_parted()

    def _went_wrong(self, asked: Asked, code: str, detail: str) -> None:
        if code == "session" and asked.purpose != "sync":
            self.syncer.begin(asked.to)
        match asked.purpose:
            case "probe":
                self.prober.failed(asked)
            case "relay":
                self.prober.relayed(asked, False)
            case "rival":
                self._judge_rival(asked, None, b"")
            case "leave":
                self._look_parted()
            case "sync":
                self.tried.add(asked.to)
        self._refused(asked.to, code, detail)

    def _judge_rival(self, asked: Asked, line: Line | None, proof: bytes) -> None:
        """Whether the earlier session of a key answered to the later one's name."""
        assert isinstance(asked.words, Ping)
        holds = line is not None and line.words == Ack(asked.words.challenge)
        request = self.doorstep.judged(asked, proof if holds else None)
        if request is not None:
            try:
                if self.doorstep.let_in(request):
                    self._serve(request)
            except Reject as reject:
                self.voice.refuse(request.token, Verdict.REJECT, reject.code, reject.detail)
            except Ignore as ignore:
                self.voice.refuse(request.token, Verdict.BUSY, ignore.code, ignore.detail)

    def _refused(self, node: NodeId, code: str, detail: str) -> None:
        """What asking again does not help against. A node that no seed lets in stops; so does one that more members
        have put out than still speak to it."""
        if code not in FINAL_CODES:
            return
        if node not in self.refusals:
            self.out.emit("member.refused_by", peer=short(node), code=code, detail=detail)
        self.refusals[node] = f"{detail} ({code}, says {short(node)})"

    def _is_shut_out(self) -> str | None:
        """Why this node has no place in the network, if it has none."""
        if not self.refusals:
            return None
        why = self.refusals[min(self.refusals)]
        if not self.syncer.joined:
            alone = self.healing.seeds <= self.tried and not self.roster.here()
            return f"the network does not let this node in: {why}" if alone else None
        friends = len(set(self.roster.here()) - self.refusals.keys())
        return f"the network has put this node out: {why}" if len(self.refusals) > friends else None

    # -------------------------------------------------------------------------------------------- changes

    def _changed(self, before: Standing | None, now: Standing) -> None:
        """The roster holds something new of a member."""
        node, at = now.node, self.out.now
        record = now.record
        if before is None or before.record.raw != record.raw:
            self.out.do(Locate(node, record.urls if record.listens else (), record.certificate))
        if now.state is State.SUSPECT:
            self._suspect(now)
        elif self._suspected.pop(node, None) is not None:
            self.out.timer("suspect", inf, node)
        if now.is_here:
            self.healing.found(node)
        else:
            self.healing.lost(node, at)
        if before is None or before.state is not now.state:
            self.out.emit(f"member.{now.state.name.lower()}", peer=short(node), incarnation=now.incarnation)
        self.views.changed(at)

    def _suspect(self, now: Standing) -> None:
        """Its time runs from the first accusation; each accuser more makes it shorter."""
        incarnation, since = self._suspected.get(now.node, (-1, 0.0))
        if incarnation != now.incarnation:
            since = self.out.now
            self._suspected[now.node] = (now.incarnation, since)
        confirmed = len(now.accusers) - 1
        self.out.timer("suspect", since + self.charter.pace.suspicion_s(self.roster.num_here(), confirmed), now.node)

    def _time_is_up(self, node: NodeId, now: float) -> None:
        known = self.roster.members.get(node)
        if known is None or known.state is not State.SUSPECT:
            return
        pace = self.charter.pace
        if now < self.roster.heard_at.get(node, -inf) + pace.probe_s:
            self.out.timer("suspect", now + pace.probe_s, node)  # its own words still come
        else:
            self.roster.accuse(node, Tag.DEAD)

    def _is_reached(self, node: NodeId) -> bool:
        return self.roster.members[node].record.listens

    def _kick_ends(self, now: float) -> None:
        for node in [node for node, until in self.kicked.items() if now + TIMER_SLACK_S >= until]:
            del self.kicked[node]
            self.admission.kicked.discard(node)
        self.out.timer("kick", min(self.kicked.values(), default=inf))
        self.roster.recheck()

    def _look_parted(self) -> None:
        if self._parting and not any(asked.purpose == "leave" for asked in self.out.asked.values()):
            self.out.timer("part", inf)
            self.out.do(Parted())

    # -------------------------------------------------------------------------------------------- out

    def _done(self, now: float) -> list[WatchEffect]:
        """What every handle ends with: claims for those whom they are about, the view, the timers."""
        for said in self.roster.doubted:
            self.voice.ask(said.subject, Tell(), "tell", self.charter.pace.probe_s, first=[said.raw])
        self.roster.doubted.clear()
        why = self.roster.own_fault() or self._is_shut_out()
        if why is not None:
            self.out.do(Halt(why))
        if self.syncer.joined or self.signer.node in self.charter.listed:
            view = self.views.next_view(now)
            if view is not None:
                self.out.do(view)
            self._arm("view", self.views.due)
        self._arm("heal", self.healing.due())
        if self.roster.rumours and "gossip" not in self._armed and self.roster.here():
            self._arm("gossip", now + self.charter.pace.gossip_s)
        return self.out.take()

    def _arm(self, name: str, at: float) -> None:
        """Sets a timer if it is not set to that already."""
        if self._armed.get(name, inf) != at:
            self._armed[name] = at
            self.out.timer(name, at)
