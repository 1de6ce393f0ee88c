"""The gossip job: local phases, exchanges, windows, and the end. Knows rounds and verdicts; no socket, clock, thread.

Theory of operation
-------------------
| phase    | event                       | next     | effects                                                       |
|----------|-----------------------------|----------|---------------------------------------------------------------|
| RESTORE  | Started                     | RESTORE  | Compute(Restore)                                              |
| RESTORE  | Computed(Restore), new run  | GATHER   | hello to each neighbour                                       |
| RESTORE  | the same, old run           | TRAIN    | Compute(Train)                                                |
| GATHER   | all there, or time is up    | TRAIN    | Compute(Train)                                                |
| GATHER   | the same, others at work    | JOIN     | ask them for their model (`joining`)                          |
| JOIN     | the model is here           | OBSERVE  | snapshot; new epochs on all edges (rows: EXCHANGE at once)    |
| OBSERVE  | Computed(Train)             | OBSERVE  | what its own data pull at is learned, and nothing moved       |
| OBSERVE  | some exchanges, or time-out | TRAIN    | Compute(Train)                                                |
| JOIN     | Knock                       | same     | Refuse(BUSY)                                                  |
| RESTORE  | Knock                       | same     | Refuse(BUSY)                                                  |
| TRAIN    | Computed(Train)             | TRAIN    | the exchange may ask a neighbour; Compute(Train) at once      |
| TRAIN    | the same, lockstep          | EXCHANGE | the exchange opens; training waits for it                     |
| EXCHANGE | the exchange is over        | TRAIN    | Compute(Train)                                                |
| EXCHANGE | the same, a judgement due   | JUDGE    | Compute(Evaluate)                                             |
| JUDGE    | Computed(Evaluate)          | TRAIN    | Compute(Train)                                                |
| TRAIN    | last round done             | CLOSE    | settle what is in flight; say goodbye                         |
| any      | Knock, Whole, Heard, timers | same     | the exchange's                                                |
| any      | a window's last round       | same     | Append(reveals, receipts) and Persist(snapshot), one commit   |
| CLOSE    | all neighbours gone too     | DONE     | Evaluate, a personal copy; Append(model), Persist, Stop(0)    |
| TRAIN    | it is to rest (`pace.rest`) | REST     | a word of it; exchanges go on                                 |
| REST     | it may train again          | TRAIN    | Compute(Train)                                                |
| REST     | a neighbour's row (rounds)  | EXCHANGE | its round without training                                    |
| any      | Failed                      | DONE     | Stop(2) with the reason: never a silent divergence            |
| any      | Stopping                    | DONE     | Persist(snapshot), Stop(0)                                    |

Training runs beside the exchanges (another lane of the host): a phase starts from the model of that moment, and what
exchanges move meanwhile is kept when it lands.

What it is to do is `plan`'s, how models are exchanged one of `exchanges`', when a model is judged `judging`'s, what a
window writes `windows`'.
"""

from dataclasses import replace
from enum import Enum
from functools import partial
from math import isfinite
from typing import Any

from torch import Tensor

from p2pfl.core.ids import short
from p2pfl.core.noise import Key, derive
from p2pfl.core.party import (
    Asked,
    Compute,
    Computed,
    Failed,
    Restored,
    SendFailed,
    Started,
    Stop,
    Stopping,
    TimerFired,
    Verdict,
)
from p2pfl.horizontal.exchanges import deeds_of, make_exchange
from p2pfl.horizontal.joining.closing import Closing
from p2pfl.horizontal.joining.donor import Donor
from p2pfl.horizontal.joining.greeting import LATE_ROUNDS, Greeting, round_of
from p2pfl.horizontal.joining.listening import Listening
from p2pfl.horizontal.joining.newcomer import Joined, Joining
from p2pfl.horizontal.judging import Judging
from p2pfl.horizontal.model.local import Local
from p2pfl.horizontal.model.work import Calculate, Evaluate, GossipWork, Restore, Train
from p2pfl.horizontal.pace.desk import Desk, Procedure
from p2pfl.horizontal.pace.rest import Rest
from p2pfl.horizontal.pace.sizes import Sizes, sizes_of
from p2pfl.horizontal.pace.stride import Stride
from p2pfl.horizontal.pace.tempo import Tempo
from p2pfl.horizontal.plan import Plan
from p2pfl.horizontal.records.budget import Budget
from p2pfl.horizontal.records.journal import Comeback, Journal, comeback
from p2pfl.horizontal.records.windows import Windows
from p2pfl.horizontal.telling import Telling
from p2pfl.horizontal.terms.averages import Averages
from p2pfl.horizontal.terms.placing import neighbourhood_of
from p2pfl.horizontal.terms.workflow import trains, weight_of
from p2pfl.horizontal.valuing.making import valuing_work
from p2pfl.horizontal.valuing.part import Valuing
from p2pfl.horizontal.valuing.shown import Shown
from p2pfl.learn.learner import TakesBatches
from p2pfl.learn.training import Evaluation, Trained
from p2pfl.mixing.pairwise import Pairwise
from p2pfl.transfer.personal import Copy, Personaliser
from p2pfl.wire.messages import Bye, Edge, Fetch
from p2pfl.wire.post import (
    Append,
    Final,
    Gone,
    Heard,
    JobEffect,
    JobEvent,
    Knock,
    Meet,
    Members,
    Pause,
    Post,
    Refuse,
    Whole,
)

BUSY_S = 0.25
"""What a node that cannot answer now asks for."""
QUEUE_MAX = 64
"""Procedures that wait; with more, requests are put off."""


class Phase(Enum):
    RESTORE = "restore"
    GATHER = "gather"
    JOIN = "join"
    OBSERVE = "observe"
    TRAIN = "train"
    EXCHANGE = "exchange"
    JUDGE = "judge"
    REST = "rest"
    CLOSE = "close"
    DONE = "done"


class Gossip:
    """A Job (core.party) that learns horizontally."""

    def __init__(self, plan: Plan, work: GossipWork, personal: Personaliser | None = None) -> None:
        self.plan, self.work = plan, work
        self.personal = personal
        self.copy: Copy | None = None  # the node's own, once it is made
        self.nb = plan.nb  # follows the members
        self.phase = Phase.RESTORE
        self.desk = Desk()
        self.training: Train | None = None
        self.leaving = False
        self.spent = False  # and told so
        self.reported = 0  # rounds
        x = work.learner.start()
        self.samples = float(work.learner.num_samples("train"))
        self.budget = Budget(plan.promise) if plan.promise is not None else None
        averages = Averages(samples=self.samples) if self.budget is None else Averages()  # a count says something too
        self.local = Local(
            x=x,
            opt=work.learner.init(x),
            phase_steps=plan.steps,
            rounds=plan.recipe.rounds,
            averages=averages,
            may_stop=plan.stop is not None,
        )
        self.lots = derive(Key(plan.recipe.digest), "participants")
        self.journal = Journal(plan.codec_name)
        self.exchange = make_exchange(plan, work, self.desk, self.local, self.journal, self._proceed)
        self.judging = Judging(plan, self.desk, self.local)
        edges = self.exchange.edges
        self.windows = Windows(plan.window, self.desk, self.local, self.journal, edges, self._spent_entry)
        self.valuing = self._valuing(plan, work)
        self.telling = Telling(
            plan.recipe, self.desk, self.local, self.exchange, self.judging, self.budget, self.valuing
        )
        self.rest = Rest(self.desk, self.local, plan.timetable, self._is_led)
        self.sizes = self._sizes(plan, work)
        self.stride = Stride(plan.seconds, plan.steps, self.sizes) if plan.seconds is not None else None
        self.tempo = Tempo(self.sizes) if self.sizes is not None and self.stride is None else None
        self.greeting = Greeting(
            self.desk, plan.recipe.digest, plan.nb.neighbours, plan.gather_s, self._gathered, self._round_at_work
        )
        self.donor = Donor(plan.recipe.digest, work.snapshot_codec, work.schema, self.desk, self.local, self._may_give)
        self.joining = Joining(
            plan.recipe.digest,
            work.snapshot_codec,
            work.schema,
            self.desk,
            plan.timeout_s,
            max(plan.gather_s, 4 * plan.timeout_s),
            self._joined,
        )
        self.listening = Listening(self.desk, self.local, work.mixer, work.schema)
        self.observed = False  # the time for it is over
        self.closing = Closing(self.desk, plan.recipe.digest, plan.nb.neighbours, plan.timeout_s, self._leave)

    def _sizes(self, plan: Plan, work: GossipWork) -> Sizes | None:
        """Of batches that follow this machine's speed, where something tells what a usual speed is."""
        own_pace = self._is_async and isinstance(work.mixer, Pairwise)
        if plan.batches is None or not isinstance(work.learner, TakesBatches):
            return None
        return sizes_of(*plan.batches, int(self.samples)) if own_pace or plan.seconds is not None else None

    def _valuing(self, plan: Plan, work: GossipWork) -> Valuing | None:
        if plan.valued is None:
            return None
        deeds = deeds_of(self.exchange, self.local, plan.nb.neighbours)
        return Valuing(plan.valued, self.desk, self.local, valuing_work(work), deeds)

    # -------------------------------------------------------------------------------------------- events

    def handle(self, event: JobEvent, now: float) -> list[JobEffect]:
        self.desk.now = now
        match event:
            case Started():
                self._start(event.entropy, event.restored)
            case Stopping():
                self._stop(event.reason)
            case Asked():
                pass  # the Peer answers with `status`
            case Members():
                self._meet(event)
            case _ if self.phase is Phase.DONE:
                self._too_late(event)
            case Computed():
                self._computed(event)
            case Failed():
                self._give_up(event.error)
            case Knock():
                self._knock(event)
            case Final():
                self._final(event)
            case Pause():
                self._pause(event)
            case Whole(message=Shown()) if self.valuing is not None:
                self.valuing.whole(event)
            case Whole():
                self.exchange.whole(event)
            case Gone():
                self.exchange.gone(event)
            case Heard():
                self._heard(event)
            case SendFailed():
                self._send_failed(event)
            case TimerFired():
                self._timer(event.key)
        if self.judging.due and self._is_async and self.local.since_any == 0.0:  # an exchange has landed just now
            self.judging.begin_due()
        if self.phase is Phase.OBSERVE and self.listening.over and self._has_observed:
            self._train()
        if self.phase is Phase.REST and self.rest.over:
            self._train()
        if self.phase is Phase.CLOSE and not self.closing.begun and self.exchange.settle():
            self.closing.begin(self.local.round)
        effects = self.desk.take()
        for effect in effects:
            if isinstance(effect, Post):
                self.telling.gauge.posted(effect, now)
        return effects

    def _final(self, event: Final) -> None:
        if self.valuing is not None and self.phase is not Phase.RESTORE:
            self.valuing.final(event)

    def _meet(self, event: Members) -> None:
        """The members have changed; the graph follows from them. In lockstep, and for cells, it stays as declared."""
        shape = self.plan.shape
        if shape is None or self.phase is Phase.DONE or self.plan.recipe.mode == "lockstep":
            return
        if not self.exchange.follows:
            return
        before, self.nb = self.nb, neighbourhood_of(shape, event.alive, self.nb.me)
        self.exchange.meet(self.nb, self._round_at_work() > 0)  # former neighbours may be among those who have left
        if self.nb.neighbours == before.neighbours and self.nb.weights == before.weights:
            return
        self.desk.emit("neighbours", count=len(self.nb.neighbours), view=event.view)
        self._tell_neighbours()
        self.greeting.meet(self.nb.neighbours)
        self.closing.meet(self.nb.neighbours)

    def _tell_neighbours(self) -> None:
        """Whom the door is to let in: also those whose edge is kept a while."""
        self.desk.do(Meet(tuple(sorted({*self.nb.neighbours, *self.exchange.leaving}))))

    def _forget_left(self) -> None:
        if self.exchange.lost:
            self.desk.enqueue(self._letting_go)

    def _letting_go(self) -> Procedure:
        """Between two exchanges, so that none of them has begun with what is taken off."""
        if not self.exchange.lost:
            return
        if self.exchange.let_go():
            self._tell_neighbours()
        yield from self.windows.close(self.local.round)

    def _too_late(self, event: JobEvent) -> None:
        if isinstance(event, Knock) and isinstance(event.message, Bye):
            self.closing.knock(event)  # my answer to the first one was lost
        elif isinstance(event, Knock | Whole):
            self.desk.do(Refuse(event.token, Verdict.BUSY, "leaving"))

    def _knock(self, event: Knock) -> None:
        if event.message.recipe != self.plan.recipe.digest:
            code, detail = self.plan.recipe.refusal(event.message.recipe)
            self.desk.emit("refused", peer=short(event.head.author), code=code)
            self.desk.report.refused(event.head.author, code)
            self.desk.do(Refuse(event.token, Verdict.REJECT, code, detail))
        elif self.phase is Phase.RESTORE:
            self.desk.do(Refuse(event.token, Verdict.BUSY, "starting", after_s=BUSY_S))
        elif isinstance(event.message, Shown):
            assert self.valuing is not None  # the door reads no such message otherwise
            self.valuing.knock(event)
        elif isinstance(event.message, Fetch):
            self.donor.knock(event)
        elif self.valuing is not None and event.head.author not in self.valuing.deeds.edges:
            self.desk.do(Refuse(event.token, Verdict.REJECT, "stranger", "not a neighbour of mine"))
        elif isinstance(event.message, Bye):
            self.closing.knock(event)
            self.exchange.left(event.head.author)
        elif isinstance(event.message, Edge) and event.message.state == "hello":
            self.greeting.knock(event)
            if self.exchange.probes is not None:
                self.exchange.probes.seen(event.head.author)
        elif self.phase is Phase.GATHER and self._can_join and (round_ := round_of(event.message)) > LATE_ROUNDS:
            self.greeting.met(event.head.author, round_)
            self.desk.do(Refuse(event.token, Verdict.BUSY, "joining", after_s=BUSY_S))
        elif self.phase is Phase.JOIN:
            self.desk.do(Refuse(event.token, Verdict.BUSY, "joining", after_s=BUSY_S))
        elif self.desk.length > QUEUE_MAX:
            self.desk.do(Refuse(event.token, Verdict.BUSY, "load", after_s=BUSY_S))
        else:
            self.greeting.seen(event.head.author)
            self.exchange.knock(event)

    def _heard(self, event: Heard) -> None:
        key: Any = event.key
        self.telling.gauge.heard(event, self.desk.now)
        if key[0] == "bye":
            self.closing.heard(event, key[1])
        elif key[0] == "hello":
            self.greeting.heard(event, key[1])
        elif key[0] == "fetch":
            self.joining.heard(event, key[1], key[2])
        elif key[0] == "show":
            assert self.valuing is not None
            self.valuing.showing.heard(key, event.verdict)
        elif event.message is not None and event.message.recipe != self.plan.recipe.digest:
            self.exchange.failed(key, "another recipe")
        else:
            self.exchange.heard(event)

    def _send_failed(self, event: SendFailed) -> None:
        key: Any = event.key
        self.telling.gauge.lost(key)
        if key[0] == "bye":
            self.closing.failed(key[1])
        elif key[0] == "hello":
            self.greeting.failed(key[1])
        elif key[0] == "fetch":
            self.joining.failed(key[1], key[2], event.reason)
        elif key[0] == "show":
            assert self.valuing is not None
            self.valuing.showing.failed(key)
        else:
            self.exchange.failed(key, event.reason)

    def _timer(self, key: Any) -> None:
        match key:
            case ("retry", peer):
                self.exchange.retry(peer)
            case ("patience", round_):
                self.exchange.overdue(round_)
            case ("bye", peer):
                self.closing.again(peer)
            case ("hello", peer):
                self.greeting.again(peer)
            case ("probe", peer) if self.exchange.probes is not None:
                self.exchange.probes.probe(peer)
            case ("gather",):
                self.greeting.time_up()
            case ("refetch", peer):
                self.joining.retry(peer)
            case ("join",):
                self.joining.time_up()
            case ("observed",):
                self.observed = True
            case ("show", *_) if self.valuing is not None:
                self.valuing.showing.again(key)

    # -------------------------------------------------------------------------------------------- start and end

    def _start(self, entropy: bytes, restored: Restored) -> None:
        self.desk.key = Key(entropy)
        self.key = derive(entropy, "train")
        fresh = Comeback(self.local, self.exchange.edges, self.journal)
        self.exchange.start(restored)

        def build(work: GossipWork) -> Comeback:
            if self.budget is not None:
                self.budget.restore(restored)
            back = comeback(restored, fresh, work)
            if self.valuing is not None:
                self.valuing.restore(restored)
            return back

        self.desk.do(Compute(Restore(build)))

    def _restored(self) -> None:
        was_here = self.local.steps > 0 or self.local.progress > 0
        if was_here:
            self.desk.emit("resumed", round=self.local.round)
        self.reported = self.local.round
        self.windows.resume(self.local.round)
        if was_here:
            self.greeting.skip()
            self._train()
        else:
            self.phase = Phase.GATHER
            self.greeting.begin()

    def _gathered(self) -> None:
        """Everybody is there; perhaps they have been for long."""
        givers = self.greeting.givers
        if givers and self._can_join:
            self.phase = Phase.JOIN
            self.joining.begin(givers, self.local.x)
        else:
            self._train()

    @property
    def _can_join(self) -> bool:
        """Where a node's model is no secret, and the rule needs nothing of its neighbours' pasts."""
        needs_past = getattr(self.work.mixer, "every_row", False) or getattr(self.work.mixer, "own_models", False)
        return self.exchange.gives_models and not needs_past

    def _may_give(self) -> bool:
        return self._can_join and self._round_at_work() > 0

    def _round_at_work(self) -> int:
        """0 while there is nothing yet that a newcomer should have."""
        working = self.phase in (Phase.TRAIN, Phase.EXCHANGE, Phase.JUDGE, Phase.REST, Phase.CLOSE)
        return self.local.round if working else 0

    def _joined(self, joined: Joined | None) -> None:
        """The network's model is here (None: nobody had it to give); it must be on disk before what follows from it."""
        if joined is None:
            self.desk.emit("join_failed", waited_s=round(self.desk.now - self.joining.begun_at, 3))
            self._train()
            return
        local = self.local
        local.x = joined.x
        local.settle(replace(local.averages, progress=joined.progress))
        self.reported = local.round
        self.windows.resume(local.round)
        fields = {"bytes": joined.bytes_fetched, "donors": joined.donors, "took_s": round(joined.seconds, 6)}
        self.desk.emit("joined", round=local.round, **fields)
        self.desk.enqueue(lambda: self.windows.close(local.round))
        self.exchange.joined()
        if self.exchange.listens:
            self.phase = Phase.OBSERVE
            local.met = 0
            self.desk.timer(("observed",), self.plan.timeout_s)
            if self.budget is None and self.work.guard is None:
                self.listening.begin(self.key)
        else:
            self._exchange()

    @property
    def _has_observed(self) -> bool:
        """Enough of the neighbours have been met, or the time for it is over."""
        return self.observed or self.exchange.has_caught_up

    def _give_up(self, error: str) -> None:
        self.desk.emit("failed", reason=error, round=self.local.round)
        self.phase = Phase.DONE
        self.desk.do(Stop(2, error))

    def _stop(self, reason: str) -> None:
        if self.phase not in (Phase.RESTORE, Phase.DONE):
            self.windows.write_down(final=False)
        self.phase = Phase.DONE
        self.desk.do(Stop(0, reason))

    def _leave(self) -> None:
        """Everybody is done: judge the model as it is now, and go."""
        self.leaving = True
        self.judging.begin()

    def _make_own(self) -> None:
        """A copy for the node alone, if it wants one."""
        if self.personal is None:
            self._depart()
            return
        make = partial(self.personal.copy, self.local.x, self.key)
        self.desk.do(Compute(Calculate(("personal", self.local.x), make, lane="train")))

    def _own_made(self, of: Tensor, copy: Copy) -> None:
        self.copy = copy
        if of is not self.local.x:  # an exchange has landed meanwhile
            self.judging.begin()
            return
        self.desk.emit("personal", round=self.local.round, **copy.told())
        self._depart()

    def _depart(self) -> None:
        self.windows.write_down(final=True)
        self.telling.finished()
        self.phase = Phase.DONE
        self.desk.do(Stop(0, "all rounds done"))

    # -------------------------------------------------------------------------------------------- training

    def _train(self) -> None:
        local, plan = self.local, self.plan
        if self.judging.due and (not self._is_async or not self.nb.neighbours):
            self.phase = Phase.JUDGE
            self.judging.begin_due()
            return
        if local.finished and local.extra < plan.closing * self._rounds_per_exchange():
            local.extra += 1
            self._exchange()
            return
        if local.finished:
            self._finish()
            return
        if self._rests():
            return
        if not trains(self.nb.me, self.nb.members, local.round, plan.participants, self.lots):
            local.advance(1.0)
            self._exchange()
            return
        if self.stride is not None:  # a round is a phase, of whatever many steps
            local.phase_steps = self.stride.steps
        steps = self._phase_steps()
        if self.budget is not None and not self.budget.allows(steps):
            self._relay()
            return
        if self.tempo is not None and self.phase is not Phase.TRAIN:
            self.tempo.mark(local.progress)
        self.phase = Phase.TRAIN
        local.phase_from = self.desk.now
        shift = self._shift()
        weight = weight_of(self.samples, local.averages.samples) if plan.weigh_samples else 1.0
        batch = None if self.sizes is None else self.sizes.batch
        self.training = Train(local.round, steps, local.x, local.opt, shift, self.key, weight * local.ease, batch)
        self.desk.do(Compute(self.training))

    # -------------------------------------------------------------------------------------------- at rest

    def _is_led(self) -> bool:
        return self.exchange.is_led

    def _pause(self, event: Pause) -> None:
        if self.plan.recipe.mode == "lockstep":
            self.desk.emit("pause.refused", why="in lockstep everybody waits for everybody; stop the node instead")
            return
        self.rest.order(event.until)

    def _rests(self) -> bool:
        """Whether the next phase is left out or put off, because this node is not to train now."""
        match self.rest.next():
            case "train":
                return False
            case "wait":
                self.phase = Phase.REST
            case "pass":
                self.local.advance(1.0)
                self._exchange()
        return True

    def _relay(self) -> None:
        """The budget is spent: no more training. In lockstep, rounds pass as for one who is not drawn.

        At the async pace training sets the pace: the node begins no more exchanges and answers the others' to the end.
        """
        assert self.budget is not None
        if not self.spent:
            self.spent = True
            self.desk.emit("privacy.spent", round=self.local.round, **self.budget.public())
        if self._is_async:
            self.local.finished = True
            self._finish()
        else:
            self.local.advance(1.0)
            self._exchange()

    @property
    def _is_async(self) -> bool:
        return self.plan.recipe.mode == "async"

    def _shift(self) -> Tensor | None:
        """The drift correction of the next local phase."""
        rule, local = self.work.mixer, self.local
        if isinstance(rule, Pairwise):
            return local.shift(rule) if local.pair is not None else None
        return rule.shift(local.rows)

    def _phase_steps(self) -> int:
        rule = self.work.mixer
        if self._is_async and isinstance(rule, Pairwise) and self.local.pair is not None:
            return rule.phase_steps(self.local.pair, self.local.phase_steps)
        return self.local.phase_steps

    def _computed(self, event: Computed) -> None:
        task: Any = event.task
        if self.desk.computed(task, event.result):
            return
        match task:
            case Train():
                self._trained(task, event.result)
            case Evaluate():
                self._evaluated(task, event.result)
            case Restore():
                self._restored()
            case Calculate(op=("personal", Tensor() as of)):
                self._own_made(of, event.result)
            case Calculate(op=("valuing", *_)) if self.valuing is not None:
                self.valuing.computed(task, event.result)

    def _trained(self, task: Train, trained: Trained) -> None:
        if task is self.listening.task:
            self.listening.trained(task, trained)
            return
        self.training = None
        if self.stride is not None:
            self.stride.took(self.desk.now - self.local.phase_from, task.steps)
        rule = self.work.mixer if isinstance(self.work.mixer, Pairwise) else None
        before = self.reported
        if self.budget is not None:  # before anything that follows from it may leave
            self.desk.persist(self.budget.released(task.steps))
        if self.valuing is not None:
            self.valuing.deeds.trained(task.x, task.shift, trained)
        self.local.land(task.x, trained, rule, self.desk.now)
        if self.tempo is not None:
            phases = task.steps / self.local.phase_steps
            self.tempo.took(self.desk.now - self.local.phase_from, task.steps, phases, self.local.progress)
        self.exchange.landed(task.x)
        if not isfinite(trained.loss):
            self._give_up(f"round {before}: the loss is {trained.loss}; lower train.lr")
            return
        if self.local.round > before:
            self.reported = self.local.round
            self._round_over(trained)
        self._exchange()

    def _exchange(self) -> None:
        if self.exchange.trained():
            self._train()
        else:
            self.phase = Phase.EXCHANGE

    def _rounds_per_exchange(self) -> int:
        """Async nodes close in their own way (`Pairs.settle`)."""
        return 0 if self._is_async else self.exchange.rounds_per_exchange

    def _round_over(self, trained: Trained) -> None:
        round_ = self.local.round
        self.telling.round_over(trained)
        self._forget_left()
        self.judging.round_over(round_)
        self.windows.round_over(round_)

    def _proceed(self) -> None:
        """Lockstep: the round's exchange is over."""
        self.local.advance(self.exchange.skip())
        if self.phase is Phase.EXCHANGE:
            self._train()

    def _finish(self) -> None:
        self.phase = Phase.CLOSE

    # -------------------------------------------------------------------------------------------- reports

    def _evaluated(self, task: Evaluate, results: dict[str, Evaluation]) -> None:
        self.judging.done(task, results)
        if self.leaving and task.x is self.local.x:
            self._make_own()
        elif self.leaving:
            self.judging.begin()
        elif self.phase is Phase.JUDGE:
            self._train()

    def status(self) -> dict[str, Any]:
        """For people and machines; nothing secret."""
        return self.telling.status(self.phase.value)

    def _spent_entry(self, round_: int) -> tuple[Append, ...]:
        return () if self.budget is None else self.budget.entry(round_)
