"""The driver: reports come in, the flow of their call decides, its commands go out. It decides nothing.

    engine, listener, recorder ──▶ inbox ──▶ CallFlow.handle ──▶ commands ──▶ engine, listener, recorder

One rhythm, on the SIP thread: let the engine work, empty the inbox, and only then look at the clock and
start taps. So a key that was pressed before the window closed is heard before the window closes, and no
tap starts while a fact that would forbid it is waiting.

`carrying` carries the commands out.
"""

import math
import queue
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from media.frame import SAMPLE_RATE, Samples
from media.hearing.dtmf import ToneDropped, ToneHeard, ToneStarted
from media.hearing.keyword import Meaning, Verdict
from media.hearing.listener import AllHeard, Conclusion, KeywordSpotted, Listener, ListenerFailed, SpeechEnded
from media.hearing.vad import SpeechStarted
from retention.records import Ids, Special
from sipagent.agent.admission import Admission, Lateness
from sipagent.agent.board import AskAgain, BoardAnswer, BoardHeard, BoardLost, Claimed, OperatorsOffered
from sipagent.agent.calls import OWN_LEGS, SERVICE_UNAVAILABLE, LiveCall, LiveCalls, Unsure, turned_away
from sipagent.agent.carrying import Carrying, Tapping
from sipagent.agent.engine import (
    ChallengeRefused,
    Engine,
    EngineFault,
    ForeignMedia,
    Gap,
    GivenUp,
    Incoming,
    LegFailed,
    LegLost,
    OfLeg,
    RealmLearnt,
    RefusedByEngine,
    Registrar,
    Registration,
    Report,
    Side,
    SoundEnded,
)
from sipagent.agent.figures import Figures, Tally
from sipagent.agent.operators import WEIGHED, BoardClient, Lending, local_board_client
from sipagent.agent.quality import Level
from sipagent.agent.recorder import Recorder, TapFault
from sipagent.call import events as e
from sipagent.call.events import CALLER
from sipagent.config.identity import max_forwards, printable
from sipagent.voice.detectors import NOBODY_LISTENS, Detectors


def concluded(leg: int, conclusion: Conclusion) -> e.Fact:  # noqa: PLR0911 - one a conclusion
    """A conclusion of the listener, as a fact of a leg."""
    match conclusion:
        case ToneStarted():
            return e.HearingBegan("tone")
        case ToneDropped():
            return e.HearingEnded("tone")
        case ToneHeard(digit, at):
            return e.DtmfPressed(leg, digit, "inband", at)
        case SpeechStarted():
            return e.HearingBegan("speech")
        case KeywordSpotted(verdict):
            return _judged(verdict)
        case SpeechEnded(verdict):
            return _judged(verdict) if verdict else e.HearingEnded("speech")
        case ListenerFailed(reason):
            return e.HearingFailed(reason)
        case AllHeard():
            return e.ListeningEnded()


def _judged(verdict: Verdict) -> e.Fact:
    if verdict.meaning is Meaning.OTHER:
        return e.HearingEnded("speech")
    return e.KeywordHeard(
        e.Wish(verdict.meaning), verdict.keyword or "", verdict.confidence or 0.0, sure=verdict.sure
    )


PATIENCE_S = 1.0  # the longest poll: signals are heard between two
REST_S = 5.0  # behind an edge, where whoever wants something ends it, after so long without a report
LAST_WORDS_S = 2.0
KEYS_OF: dict[Side, str] = {"trunk": "trunk.allowed_sources", "operators": "operators.extensions"}
AUDIT_S = 1.0  # between two looks at whether the engine has the legs that calls count on

log = structlog.get_logger(__name__)

AgentFact = Report | TapFault | BoardAnswer | BoardLost | BoardHeard
"""The contents of the inbox."""


class Agent:
    """Runs calls on an engine until `stop`. All but `post` belong to the SIP thread."""

    def __init__(
        self,
        admission: Admission,
        recorder: Recorder,
        tones: dict[e.Tone, Path],
        *,
        registers: bool,
        detectors: Detectors = NOBODY_LISTENS,
        board_client: BoardClient | None = None,
        ids: Ids | None = None,
        behind_edge: bool = False,
        ready: Callable[[], None] = lambda: log.info("ready"),
    ) -> None:
        self.admission = admission
        self.ids = ids or Ids(host=admission.host)
        self._behind_edge = behind_edge
        self.recorder = recorder
        self.listener = Listener(
            self._concluded, detectors.before, detectors.in_call, legs=OWN_LEGS * admission.calls
        )
        self.registrar = Registrar(registers)
        self.tally = Tally()
        self.draining = False
        self._tell_ready, self._ready = ready, False
        self._inbox: queue.SimpleQueue[AgentFact] = queue.SimpleQueue()
        self._calls = LiveCalls()
        self._levels: dict[int, Level] = {}  # of callers, by the engine's leg
        self.tapping = Tapping(recorder, lambda *fault: self.post_and_wake(TapFault(*fault)))
        self._engine: Engine | None = None
        self._audit_due = 0.0
        self._reported_at = 0.0
        self._posted_at = 0.0  # since when the oldest report waits
        self.lateness = Lateness()
        board_client = board_client or local_board_client(admission, None, recorder.later)
        self.lending = Lending(board_client, self._inbox.put)
        self.carrying = Carrying(
            calls=self._calls,
            rules=lambda: self.admission,
            tones=tones,
            listener=self.listener,
            recorder=recorder,
            tapping=self.tapping,
            lending=self.lending,
            tally=self.tally,
            unsure=Unsure(),
        )

    @property
    def calls(self) -> int:
        """How many calls are up."""
        return len(self._calls)

    @property
    def limit(self) -> int:
        """How many may be up at a time."""
        return self.admission.calls

    @property
    def specials(self) -> tuple[Special, ...]:
        """What is different today; any thread."""
        return self.admission.specials

    @property
    def has_registered(self) -> bool | None:
        """Whether the trunk's registrar knows us; None where there is none."""
        return self.registrar.active if self.registrar.wanted else None

    def figures(self) -> Figures:
        """The counts so far; any thread."""
        strangers = self._engine.strangers if self._engine else 0
        late = int(self.lateness.lately(time.monotonic()))
        others = replace(self.recorder.figures, calls=self.calls, strangers=strangers, late=late)
        return self.tally.figures(others)

    @property
    def live(self) -> list[LiveCall]:
        """The calls that are up, a list of its own: handling a fact may end one."""
        return self._calls.all

    def reload(self, admission: Admission) -> None:
        """Other rules for the calls to come."""
        self.admission = admission
        self.lending.board_client.reload(admission.extensions, admission.wrap_up_s, admission.strategy)

    # --- from other threads ---

    def post(self, report: AgentFact) -> None:
        """Put a report into the inbox; any thread."""
        if isinstance(report, Incoming):  # told on the SIP thread
            self._calls.coming += 1
        self._posted_at = self._posted_at or time.monotonic()
        self._inbox.put(report)

    def post_and_wake(self, report: AgentFact) -> None:
        """Put it there, and have it looked at; any thread but the SIP thread."""
        self.post(report)
        if self._engine:
            self._engine.wake()

    def hear(self, leg: int, samples: Samples, at: float) -> None:
        """Take (n,) int16 of a leg; any thread, in their order."""
        self.lateness.heard(leg, len(samples) / SAMPLE_RATE, at)
        if level := self._levels.get(leg):
            level.hear(samples)
        self.listener.feed(leg, samples, at)
        self.tapping.hear(leg, samples, at)

    def miss(self, leg: int, samples: int, at: float) -> None:
        """So many samples of a leg are lost: what was said and pressed in them is not known."""
        self.listener.miss(leg)
        self.tapping.miss(leg, samples, at)

    def unheard(self, leg: int, gap: Gap) -> None:
        """Of a leg nothing came for a while."""
        self.tapping.unheard(leg, gap)

    def _concluded(self, leg: int, conclusion: Conclusion) -> None:
        self.post_and_wake(OfLeg(leg, concluded(leg, conclusion)))

    # --- the rhythm ---

    def run(self, engine: Engine, stop: Callable[[], bool]) -> None:
        """Take calls until `stop()`; then those still up are ended properly."""
        self._engine = engine
        if not self.registrar.wanted:
            self._tell_ready()
        self._poll_until(engine, stop)
        for call in self.live:
            self._handle(engine, call, e.ServiceEnding())
        until = time.monotonic() + LAST_WORDS_S  # for what is still being listened to
        self._poll_until(engine, lambda: not self._calls or time.monotonic() > until)
        self.carrying.keep_sure(math.inf)

    def _poll_until(self, engine: Engine, stop: Callable[[], bool]) -> None:
        """A turn where something was reported or is due; most polls end with neither, and need none."""
        due = 0.0
        while not stop():
            now = time.monotonic()
            engine.poll(wait_s := max(0.0, due - now))
            self.lateness.was("turn", time.monotonic() - now - wait_s, time.monotonic())
            if not self._inbox.empty() or time.monotonic() >= due:
                self.turn(engine)
                due = self._due()

    def _due(self) -> float:
        """When the next turn is needed, whatever is reported until then."""
        now = time.monotonic()
        rests = self._behind_edge and not self._calls and now - self._reported_at > REST_S
        deadlines = [
            self._calls.deadline,
            self.lending.board_client.deadline,
            self.registrar.deadline,
            self.carrying.unsure.deadline,
            now + (REST_S if rests else PATIENCE_S),
        ]
        return min(at for at in deadlines if at is not None)

    def turn(self, engine: Engine) -> None:
        """Empty the inbox, then see what is due, and start taps last of all."""
        self._drain(engine)
        now = time.monotonic()
        for call in self._calls.due(now):
            self._handle(engine, call, e.TimePassed(self.lateness.behind_s(now)))
        self.lending.tick(now)
        self.carrying.keep_sure(now)
        if now >= self._audit_due:
            self._audit_due = now + AUDIT_S
            self._audit(engine)
            self.lateness.promised(len(self._calls), engine.legs)
            self.tally.tell_strangers(engine.strangers)
        self._drain(engine)
        if self.tapping.ordered:
            engine.poll(0)
            self._drain(engine)
            self.tapping.start(engine)
        if self.registrar.due(now):
            engine.register()

    def _audit(self, engine: Engine) -> None:
        """Give back legs that the engine has no more: whoever waits for their end would wait for ever."""
        for leg in [leg for call in self.live for leg in call.up if not engine.has(leg)]:
            self._lost(leg)
            self._inbox.put(OfLeg(leg, e.LegGone(leg, 0)))

    def _lost(self, leg: int) -> None:
        self.tally.lost_legs += 1
        call = self._calls.of_leg.get(leg)
        log.error("alert", call=call and call.id, reason="the engine has lost a leg of this call")

    def _drain(self, engine: Engine) -> None:
        if posted_at := self._posted_at:
            self._posted_at = 0.0
            self.lateness.was("turn", time.monotonic() - posted_at, time.monotonic())
        while not self._inbox.empty():
            self._reported_at = time.monotonic()
            self._take(engine, self._inbox.get())

    def _take(self, engine: Engine, report: AgentFact) -> None:  # noqa: PLR0912 - one a report
        match report:
            case Incoming():
                self._invited(engine, report)
            case OfLeg(leg, fact):
                self._told(engine, leg, fact)
            case SoundEnded():
                if found := self.carrying.sound_ended(engine, report):
                    self._handle(engine, *found)
            case TapFault(id, reason, because):
                self.tally.tap_faults += 1
                if call := self._calls.get(id):
                    self._handle(engine, call, e.TapFailed(reason, because))
            case Registration():
                self._registered(report)
            case RefusedByEngine():
                self._refused_by_engine(report)
            case RealmLearnt(realm, of):
                engine.learn_realm(realm, of)  # it may be another process that was asked
            case ChallengeRefused():
                _tell_refused(report)
            case GivenUp(call_id):
                self._given_up(engine, call_id)
            case EngineFault(reason):
                log.error("engine_fault", reason=reason)
            case LegFailed(leg, reason):
                call = self._calls.of_leg.get(leg)
                log.error("alert", call=call and call.id, reason=f"the engine has failed a leg: {reason}")
            case LegLost(leg):
                self._lost(leg)
            case ForeignMedia():
                self._foreign(engine, report)
            case OperatorsOffered() | Claimed() | AskAgain():
                self._answered(engine, report)
            case BoardLost():
                self.lending.lost()
            case BoardHeard():
                pass  # each turn looks at it

    def _told(self, engine: Engine, leg: int, fact: e.Fact) -> None:
        call = self._calls.of_leg.get(leg)
        if isinstance(fact, e.LegGone):
            streams = engine.streams(leg)
            if call:
                call.streams[leg] = streams
        if call:
            told = self._translated(call, leg, fact)
            certain, call.certain = call.certain, call.certain or isinstance(told, e.CallConfirmed)
            if isinstance(told, WEIGHED):
                told = self.lending.weighed(call, told)
            if isinstance(told, e.DtmfPressed | e.KeywordHeard) and self.carrying.essential_heard(
                engine, call
            ):
                self._handle(engine, call, e.EssentialHeard())  # asked only where it may matter
            if told:
                self._handle(engine, call, told)
            if not certain and call.certain:
                self.recorder.keep_receipt(call.receipt())
        elif isinstance(fact, e.OperatorAnswered | e.MediaLost):
            engine.hang_up(leg)  # its call is over: nobody else will
        if isinstance(fact, e.LegGone):
            self._leg_is_gone(leg)

    def _answered(self, engine: Engine, answer: BoardAnswer) -> None:
        call = self._calls.get(answer.call)
        if call is None:
            return
        for then in self.lending.answer(answer):
            match then:
                case e.DialOperator():
                    self.carrying.dial(engine, call, then)
                case e.TransferAsked():
                    room = self.carrying.legs(engine).for_ringing(call.id) > 0
                    self._handle(engine, call, replace(then, room=room))
                case _:
                    self._handle(engine, call, then)

    def _handle(self, engine: Engine, call: LiveCall, fact: e.Fact) -> None:
        decision, flagged = call.flow.consent.decision, call.flow.story.flagged
        commands = call.flow.handle(fact, time.monotonic())
        self._calls.changed(call)
        consent, newly_flagged = call.flow.consent, call.flow.story.flagged and not flagged
        if consent.decision is not decision:
            log.info("decided", call=call.id, decision=consent.decision, by=consent.by)
        if (consent.decision is not decision or newly_flagged) and call.certain:
            self.recorder.keep_receipt(call.receipt(), may_wait=not newly_flagged)
        if newly_flagged and call.recording and not call.tap:
            self.recorder.flag_kept(call.id)
        for command in commands:
            self.carrying.carry_out(engine, call, command)

    # --- facts that need the agent's own knowledge ---

    def _invited(self, engine: Engine, report: Incoming) -> None:
        self._calls.coming -= 1
        now, wall = time.monotonic(), datetime.now(UTC)
        admission, message = self.admission, report.message
        room = self.carrying.takes(engine)
        if self._behind_edge and (self.draining or not room):
            self.carrying.pass_on(engine, report.leg, draining=self.draining)
            return
        call = LiveCall.offered(self.ids.new(wall), report, admission, wall, now)
        call.certain = not self._behind_edge
        # A call that comes back to us ends some day (RFC 7332): the edge has counted already.
        call.hops = max(0, max_forwards(message) - (not self._behind_edge))
        self._calls.add(call, report.leg)
        self._levels[report.leg] = call.level
        offer = admission.offer(call.id, report.source, call.called, wall, room, self.draining)
        if offer.source_allowed:
            # The receipt alone names the caller: it expires, a log doesn't.
            log.info("call_offered", call=call.id, called=call.called)
        self._handle(engine, call, offer)
        if call.certain and self._calls.get(call.id):  # a rejected one has its receipt already
            self.recorder.keep_receipt(call.receipt())
        self._make_room(engine)

    def _given_up(self, engine: Engine, call_id: str) -> None:
        """A call that was answered too late, or is not yet: no word of it but that it was given up."""
        self.carrying.unsure.forget(call_id)
        for call in self.live:
            if call.call_id == call_id and not call.certain:
                call.given_up = True
                engine.hang_up(call.legs[CALLER])
                self._handle(engine, call, e.LegGone(CALLER, 0))

    def has_room(self) -> bool:
        """Whether one more caller would find legs; true where there is another reason to refuse."""
        if self._engine is None or self.draining:
            return True
        return self.carrying.would_take(self._engine)

    def late_status(self, age_s: float) -> int | None:
        """What a new call, so old, is refused with if this process does not keep up with those that it has.

        Behind the edge, which asks another worker then, and says the service's own in the end."""
        now = time.monotonic()
        self.lateness.was("invite", age_s, now)
        if not self.lateness.full(now) or not (self._calls or self._calls.coming):
            return None
        return SERVICE_UNAVAILABLE if self._behind_edge else self.admission.policy.full_status

    def _make_room(self, engine: Engine) -> None:
        """Have legs given back on which phones ring beside others, as far as a new caller needs them."""
        for id in self.carrying.legs(engine).wanted:
            if call := self._calls.get(id):
                self._inbox.put(OfLeg(call.legs[CALLER], e.LegWanted()))

    def _translated(self, call: LiveCall, leg: int, fact: e.Fact) -> e.Fact | None:
        """The fact with the flow's number of its leg. One that names no leg is the caller's, else None."""
        number = call.numbers.get(leg)
        if number is not None and isinstance(fact, e.LegFact):
            return replace(fact, leg=number)
        return fact if number == CALLER or isinstance(fact, e.HearingFailed) else None

    def _foreign(self, engine: Engine, report: ForeignMedia) -> None:
        """Of a leg that has not been heard these may be its own packets: any of them may be a refusal."""
        self.tally.foreign_packets += report.packets
        call = self._calls.of_leg.get(report.leg)
        if call is None:
            return
        if not report.heard:
            self._told(engine, report.leg, e.MediaSourceFound(report.leg, own=False))
        if not call.is_sprayed(report.leg, report.packets):
            return
        reason = "somebody else sends to the sound of this call, and is not heard"
        if report.address:
            reason += f": {report.address}, which neither its SDP nor its SIP names"
        if not report.heard and call.numbers[report.leg] == CALLER:
            reason += "; if the trunk sends from there, it belongs into trunk.media_sources"
        log.error("alert", call=call.id, reason=reason)

    def _leg_is_gone(self, leg: int) -> None:
        self.tapping.forget(leg)
        self.lateness.forget(leg)
        self._levels.pop(leg, None)
        if call := self._calls.of_leg.get(leg):  # also while what the leg sent is still being heard
            call.up.discard(leg)
            self._calls.changed(call)
            self.lending.release(call, leg)

    def _registered(self, report: Registration) -> None:
        was_ready, self._ready = self._ready, self._ready or report.active
        retry_s = self.registrar.answered(report.active, time.monotonic())
        if report.active:
            log.info("registered") if was_ready else self._tell_ready()
        else:
            log.warning(
                "registration_failed", status=report.status, reason=printable(report.reason), retry_s=retry_s
            )

    def _refused_by_engine(self, report: RefusedByEngine) -> None:
        """A call that never reached us leaves its receipt, too; strangers are only counted."""
        behind = self._behind_edge
        if receipt := turned_away(report, self.ids, self.admission, self.tally, behind_edge=behind):
            self.carrying.keep_ended(receipt, certain=not behind)


def _tell_refused(refused: ChallengeRefused) -> None:
    """Log the address that got no digest: it may be the PBX or the trunk after all."""
    address, realm, where = refused.address, printable(refused.realm), KEYS_OF[refused.of]
    if refused.known is None:
        log.error(
            "alert", reason=f"{address} asks for a password, and gets none: it is no address of {where}"
        )
    else:
        known = printable(refused.known)
        log.error("alert", reason=f"the PBX asks in realm {realm}, and its password is for {known}")
