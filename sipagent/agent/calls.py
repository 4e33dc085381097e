"""The calls as the agent sees them: of each its flow, legs, recording, receipt; all that are up; the
refused.

`LegRoom` (pure) shares out the engine's legs: a call has two legs for itself from its
admission to its end, the caller's and an operator's. Where several phones ring for one caller, the others
ring on legs that nobody needs yet, and in a transfer the giver's waits for it to succeed; when another
caller comes these legs are given back. One leg stays free, so that a caller for whom there is no room is
refused by us and not by the engine.

A call that the engine refused before the policy saw it leaves a receipt, too (`turned_away`). Behind
an edge, the receipt of a call that ends before its caller has acknowledged an answer waits (`Unsure`): an
edge that hears nothing of a worker gives the call to another one, or refuses it, and reports that. The
report may come after the end; then the receipt is not ours to leave.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from pathlib import Path
from typing import NamedTuple, Self

import structlog

from media.frame import SAMPLE_RATE
from media.prompt import PromptFile as Sound
from media.recording.tap import Tap
from retention.records import CallerIdentity, Event, Ids, Notice, Quality, Receipt, Recording, due_date
from sipagent.agent.admission import Admission
from sipagent.agent.engine import Incoming, RefusedByEngine
from sipagent.agent.figures import Tally
from sipagent.agent.quality import Level, Stream, call_quality, leg_quality
from sipagent.agent.recorder import Closing
from sipagent.call import events as e
from sipagent.call.events import CALLER
from sipagent.call.flow import CallFlow
from sipagent.config.identity import MAX_FORWARDS, call_id, called_number, caller_identity

FOREIGN_PACKETS = 10  # fewer are the last ones of the call that had the port before


@dataclass(slots=True)
class Playing:
    """The sound that a leg hears: `token` is the engine's, `began` monotonic s."""

    token: int
    prompt: e.Prompt
    began: float


@dataclass(slots=True)
class LiveCall:
    """`legs`: the flow's number of a leg → the engine's, ended ones too; `numbers`: the other way round;
    `up`: the engine's that have not ended.

    `began` is `started_at` on the monotonic clock. `certain`: nobody else can have this call, so its
    receipt is ours; `given_up`: somebody else has it. `hops`: how many its operators' legs may take.
    """

    id: str
    call_id: str
    identity: CallerIdentity
    called: str | None
    started_at: datetime
    began: float
    flow: CallFlow
    sounds: dict[e.Prompt, Sound]
    spoken: dict[str, dict[e.Prompt, Sound]]  # the prompts of every language, when the call began
    expires_at: datetime
    receipt_expires_at: datetime
    legs: dict[int, int] = field(default_factory=dict)
    numbers: dict[int, int] = field(default_factory=dict)
    up: set[int] = field(default_factory=set)
    operators: dict[int, str] = field(default_factory=dict)  # engine's leg → who is rung there
    playing: dict[int, Playing] = field(default_factory=dict)  # the flow's leg → what it hears
    foreign: Counter[int] = field(default_factory=Counter)  # the engine's leg → packets of others
    hops: int = MAX_FORWARDS
    certain: bool = True
    given_up: bool = False
    wakes_at: float | None = None  # the last deadline of its flow's that `LiveCalls` was told
    tap: Tap | None = None
    indicated: e.Indication = "off"
    silent: bool = False  # the sound that the tap is to write, once there is one
    silent_why: str = ""
    recording: Recording | None = None
    bridged: set[int] = field(default_factory=set)  # the engine's legs of operators who talked
    streams: dict[int, tuple[Stream, ...]] = field(default_factory=dict)  # the engine's leg → once it ended
    level: Level = field(default_factory=Level)  # of the caller's sound

    @classmethod
    def offered(cls, id: str, report: Incoming, rules: Admission, wall: datetime, now: float) -> Self:
        """By these rules, from its INVITE; `wall` is UTC, `now` the same in monotonic s."""
        message = report.message
        called = called_number(message, rules.country)
        spoken = rules.spoken_at(wall)
        return cls(
            id=id,
            call_id=call_id(message),
            identity=caller_identity(message, rules.country, wall, report.identity),
            called=called,
            started_at=wall,
            began=now,
            flow=CallFlow(rules.policy),
            sounds=spoken[rules.language_of(called)],
            spoken=spoken,
            expires_at=due_date(wall, rules.period),
            receipt_expires_at=due_date(wall, rules.receipts_period),
        )

    @property
    def caller(self) -> str | None:
        """The caller's number, as E.164."""
        return self.identity.number

    def when(self, moment: float) -> datetime:
        """A monotonic moment of this call as UTC, whatever the wall clock has done since."""
        return self.started_at + timedelta(seconds=moment - self.began)

    def at(self, moment: float | None) -> datetime | None:
        """A monotonic moment of this call as UTC; None for what has not happened."""
        return None if moment is None else self.when(moment)

    def takes(self, leg: int, engine_leg: int) -> None:
        """The engine's leg is the call's from here on."""
        self.legs[leg] = engine_leg
        self.numbers[engine_leg] = leg
        self.up.add(engine_leg)

    def silence(self, on: bool, why: str) -> None:
        """Have the tap write silence, also one that is yet to come."""
        self.silent, self.silent_why = on, why
        if self.tap:
            self.tap.silence(on, why)

    def is_sprayed(self, engine_leg: int, packets: int) -> bool:
        """So many more packets of others came to a leg; whether to tell so, which is done once."""
        before = self.foreign[engine_leg]
        self.foreign[engine_leg] += packets
        return before < FOREIGN_PACKETS <= self.foreign[engine_leg]

    def receipt(self, ended: float | None = None) -> Receipt:
        """The present receipt; `ended` (monotonic s) once the call is over."""
        story, consent = self.flow.story, self.flow.consent
        return Receipt(
            id=self.id,
            call_id=self.call_id,
            started_at=self.started_at,
            answered_at=self.at(story.answered_at),
            connected_at=self.at(story.connected_at),
            ended_at=self.at(ended),
            caller=self.caller,
            called=self.called,
            operator=story.operator,
            operators=story.several,
            outcome=story.outcome if ended else None,
            decision=consent.decision.value,
            decided_by=consent.by,
            decided_at=self.at(consent.at),
            phase=consent.phase,
            dtmf_method=consent.method,
            keyword=consent.keyword,
            confidence=consent.confidence,
            notice_played_ms=story.notice_played_ms,
            events=tuple(self._events()),
            recording_id=self.recording.id if self.recording else None,
            quality=self._quality() if ended else None,
            not_recorded_because=story.not_recorded_because,
            expires_at=self.receipt_expires_at,
            caller_identity=self.identity,
        )

    def _events(self) -> Iterator[Event]:
        """The story; of a refusal also which notice had told of it: no recording's row says that."""
        flow, notice = self.flow, self.sounds.get(e.Prompt.NOTICE)
        told = [Event(at=self.when(h.at), what=h.what, by=h.by) for h in flow.story.happenings]
        if flow.consent.refused and not self.recording and flow.notice_began is not None and notice:
            what = f"notice: {notice.path.name}, sha256 {notice.sha256}"
            told.append(Event(at=self.when(flow.notice_began), what=what, by="agent"))
        yield from sorted(told, key=lambda event: event.at)

    def _quality(self) -> Quality | None:
        operators = [one for leg in sorted(self.bridged) for one in self.streams.get(leg, ())]
        caller = leg_quality(self.streams.get(self.legs.get(CALLER, -1), ()), self.level)
        return call_quality(caller, leg_quality(operators))

    def open_recording(self, operator: str, base: Path) -> Recording:
        """The row of a recording that begins now; paths are relative to `base`."""
        details = self.sounds.get(e.Prompt.DETAILS) if self.flow.details_heard else None
        message = self.sounds.get(e.Prompt.MESSAGE) if self.flow.message_heard else None
        self.recording = Recording(
            id=self.id,
            call_id=self.call_id,
            started_at=self.started_at,
            caller=self.caller,
            called=self.called,
            operator=operator,
            decision=self.flow.consent.decision.value,
            notice=replace(
                _told(self.sounds[e.Prompt.NOTICE], base),
                details=_told(details, base) if details else None,
                message=_told(message, base) if message else None,
            ),
            channels=2,
            sample_rate=SAMPLE_RATE,
            expires_at=self.expires_at,
        )
        return self.recording

    def closing(self, now: float) -> tuple[Recording, Closing]:
        """How the recording is to be kept."""
        assert self.recording
        story = self.flow.story
        closing = Closing(
            ended_at=self.when(now),
            operator=story.operator,
            operators=story.several,
            flagged=story.flagged,
        )
        return replace(self.recording, flagged=story.flagged), closing


def _told(sound: Sound, base: Path) -> Notice:
    path = sound.path.relative_to(base) if sound.path.is_relative_to(base) else sound.path
    return Notice(file=path.as_posix(), sha256=sound.sha256)


class LiveCalls:
    """The calls that are up, by id; `of_leg`: by each of their legs of the engine's, ended ones too.

    `coming`: how many callers have a leg of the engine's, and no call here yet. `shares`: the legs of those
    whose caller is still there.
    """

    def __init__(self) -> None:
        self._by_id: dict[str, LiveCall] = {}
        self.coming = 0
        self.of_leg: dict[int, LiveCall] = {}
        self.shares = LegShares()
        self._deadlines: list[tuple[float, str]] = []  # a heap, with some that are no more

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def all(self) -> list[LiveCall]:
        """A list of its own: handling a fact may end one."""
        return list(self._by_id.values())

    def get(self, id: str) -> LiveCall | None:
        return self._by_id.get(id)

    def add(self, call: LiveCall, engine_leg: int) -> None:
        """One that begins, with the leg that its caller is on."""
        self._by_id[call.id] = call
        self.takes(call, CALLER, engine_leg)

    def takes(self, call: LiveCall, leg: int, engine_leg: int) -> None:
        """The engine's leg is the call's from here on."""
        call.takes(leg, engine_leg)
        self.of_leg[engine_leg] = call
        self.changed(call)

    def changed(self, call: LiveCall) -> None:
        """A call's flow has handled something, or its legs are others."""
        if self._by_id.get(call.id) is not call:
            return
        self.shares.put(call.id, LegShare.of(call) if call.legs[CALLER] in call.up else None)
        at = call.flow.deadline
        if at is not None and at != call.wakes_at:
            heappush(self._deadlines, (at, call.id))
        call.wakes_at = at

    @property
    def deadline(self) -> float | None:
        """When the first of the calls' deadlines is (monotonic s)."""
        while self._deadlines and not self._is_due(*self._deadlines[0]):
            heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None

    def due(self, now: float) -> Iterator[LiveCall]:
        """The calls whose deadline has come, each once."""
        found = []
        while (at := self.deadline) is not None and at <= now:
            found.append(self._by_id[heappop(self._deadlines)[1]])
            found[-1].wakes_at = None
        return (call for call in found if call.flow.deadline is not None and call.flow.deadline <= now)

    def _is_due(self, at: float, id: str) -> bool:
        call = self._by_id.get(id)
        return call is not None and call.wakes_at == at

    def remove(self, call: LiveCall) -> None:
        """It is over, and its legs are nobody's."""
        del self._by_id[call.id]
        self.shares.put(call.id, None)
        for engine_leg in call.legs.values():
            del self.of_leg[engine_leg]


OWN_LEGS = 2  # legs of a call
KEPT_LEGS = 1  # to be refused with


class LegShare(NamedTuple):
    """The legs of one call: `up` of them, of which `spare` ring beside another or wait for a transfer."""

    up: int
    spare: int

    @classmethod
    def of(cls, call: LiveCall) -> Self:
        return cls(len(call.up), call.flow.spare_legs)


class LegShares(dict[str, LegShare]):
    """By call, the oldest first, and their sums. `held`: at least two for each; `needed`: without the spare
    ones."""

    def __init__(self) -> None:
        super().__init__()
        self.up = self.spare = self.held = self.needed = 0

    def put(self, id: str, share: LegShare | None) -> None:
        """None: the call's caller is gone."""
        if (before := self.get(id)) == share:
            return
        for one, sign in ((before, -1), (share, 1)):
            if one:
                self.up += sign * one.up
                self.spare += sign * one.spare
                self.held += sign * max(OWN_LEGS, one.up)
                self.needed += sign * max(OWN_LEGS, one.up - one.spare)
        if share:
            self[id] = share
        else:
            del self[id]


@dataclass(frozen=True, slots=True)
class LegRoom:
    """`capacity`: legs that the engine can have, `used`: those that it has, ending ones included.

    `shares`: of the calls whose caller is still there; `coming`: callers whose call has not begun: each of
    them has one leg, and has been promised its second one.
    """

    capacity: int
    used: int
    shares: LegShares
    coming: int = 0

    @property
    def _ending(self) -> int:
        """Legs of calls that are over, or that are no call's yet."""
        return self.used - self.shares.up - self.coming

    @property
    def _held(self) -> int:
        return self.shares.held + OWN_LEGS * self.coming

    def takes(self, calls: int) -> bool:
        """Whether there is room for one more call than these, whose first leg is there already."""
        claimed = self.shares.needed + OWN_LEGS * self.coming
        full = len(self.shares) + self.coming >= calls
        return not full and self.capacity - (self._ending - 1) - claimed >= OWN_LEGS

    @property
    def short(self) -> int:
        """How many of the spare legs are needed by others now."""
        return min(self.shares.spare, max(0, self._ending + self._held + KEPT_LEGS - self.capacity))

    @property
    def wanted(self) -> list[str]:
        """The calls that are to give a leg back, each as often as it is to give one."""
        if not (short := self.short):
            return []
        return [id for id, share in self.shares.items() for _ in range(share.spare)][:short]

    def for_ringing(self, id: str) -> int:
        """How many phones may be rung for a call beside those that ring for it."""
        share = self.shares.get(id)
        own = max(0, OWN_LEGS - share.up) if share else 0
        beyond = self.capacity - KEPT_LEGS - self._ending - self._held
        return max(0, min(own + max(0, beyond), self.capacity - self.used))


SERVICE_UNAVAILABLE = 503
MISCOUNTED = 486  # from the engine: its library has no leg, where by our count one is free
ASKED_ELSEWHERE = (
    MISCOUNTED,
    500,
    SERVICE_UNAVAILABLE,
)  # an edge asks another worker, and leaves the receipt

log = structlog.get_logger(__name__)


def turned_away(
    report: RefusedByEngine, ids: Ids, rules: Admission, tally: Tally, *, behind_edge: bool
) -> Receipt | None:
    """Its receipt, complete at once, where it is ours to leave; strangers are only counted."""
    tally.refused_late += report.late and not behind_edge  # the edge counts those that nobody takes
    if report.status == MISCOUNTED and not report.late:
        log.error("miscounted_legs", detail="the engine's library had no leg where we had counted one")
    if report.status in ASKED_ELSEWHERE and behind_edge:
        log.info("call_passed_on", status=report.status, why="late" if report.late else "engine")
        return None
    now = datetime.now(UTC)
    if not rules.source_allowed(report.source):
        tally.count_stranger()
        return None
    receipt = rejected(ids.new(now), now, report.status, rules, report.message)
    log.info("call_rejected", call=receipt.id, status=report.status)
    return receipt


def rejected(  # noqa: PLR0917 - one after the other as the message tells
    id: str, at: datetime, status: int, rules: Admission, message: str, by: str = "agent"
) -> Receipt:
    """The receipt of a call whose INVITE, `message`, was answered with `status` at once, by the agent or by
    the edge; UTC."""
    identity = caller_identity(message, rules.country, at)
    return Receipt(
        id=id,
        call_id=call_id(message),
        started_at=at,
        ended_at=at,
        caller=identity.number,
        called=called_number(message, rules.country),
        outcome="rejected",
        decided_by="sip",
        events=(Event(at=at, what=f"rejected with {status}", by=by),),
        expires_at=due_date(at, rules.receipts_period),
        caller_identity=identity,
    )


HOLD_S = 5.0  # longer than an edge waits for a worker


class Unsure:
    """Those that wait. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, Receipt]] = []

    @property
    def deadline(self) -> float | None:
        return min((due for due, _ in self._waiting), default=None)

    def add(self, receipt: Receipt, now: float) -> None:
        self._waiting.append((now + HOLD_S, receipt))

    def forget(self, call_id: str) -> None:
        """The edge has given up on this Call-ID."""
        self._waiting = [(due, one) for due, one in self._waiting if one.call_id != call_id]

    def sure(self, now: float) -> list[Receipt]:
        """Those that are ours by now, each once."""
        found = [one for due, one in self._waiting if due <= now]
        self._waiting = [(due, one) for due, one in self._waiting if due > now]
        return found
