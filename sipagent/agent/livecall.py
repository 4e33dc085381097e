"""One call as the agent sees it: its flow, its legs, its recording, its receipt; and all that are up."""

from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from media.frame import SAMPLE_RATE
from media.prompt import PromptFile as Sound
from media.recording.tap import Tap
from retention.recording import Event, Notice, Receipt, Recording, due_date
from sipagent.agent.admission import Admission
from sipagent.agent.recorder.recorder import Closing
from sipagent.call import events as e
from sipagent.call.events import CALLER
from sipagent.call.flow import CallFlow
from sipagent.config.identity import MAX_FORWARDS, call_id, called_number, caller_number

FOREIGN_PACKETS = 10  # fewer are the last ones of the call that had the port before


@dataclass(slots=True)
class Playing:
    """What a leg hears: `token` is the engine's, `began` monotonic s."""

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
    caller: str | None
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
    tap: Tap | None = None
    indicated: e.Indication = "off"
    silent: bool = False  # what the tap is to write, once there is one
    recording: Recording | None = None

    @classmethod
    def offered(cls, id: str, message: str, rules: Admission, wall: datetime, now: float) -> Self:
        """By these rules, from the text of its INVITE; `wall` is UTC, `now` the same in monotonic s."""
        called = called_number(message, rules.country)
        return cls(
            id=id,
            call_id=call_id(message),
            caller=caller_number(message, rules.country),
            called=called,
            started_at=wall,
            began=now,
            flow=CallFlow(rules.policy),
            sounds=rules.sounds_for(called),
            spoken=rules.sounds,
            expires_at=due_date(wall, rules.period),
            receipt_expires_at=due_date(wall, rules.receipts_period),
        )

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

    def silence(self, on: bool) -> None:
        """Have the tap write silence, also one that is yet to come."""
        self.silent = on
        if self.tap:
            self.tap.silence(on)

    def is_sprayed(self, engine_leg: int, packets: int) -> bool:
        """So many more packets of others came to a leg; whether to tell so, which is done once."""
        before = self.foreign[engine_leg]
        self.foreign[engine_leg] += packets
        return before < FOREIGN_PACKETS <= self.foreign[engine_leg]

    def receipt(self, ended: float | None = None) -> Receipt:
        """What the receipt says now; `ended` (monotonic s) once the call is over."""
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
            events=tuple(Event(at=self.when(h.at), what=h.what, by=h.by) for h in story.happenings),
            recording_id=self.recording.id if self.recording else None,
            expires_at=self.receipt_expires_at,
        )

    def open_recording(self, operator: str, base: Path) -> Recording:
        """The row of a recording that begins now; `base` is what paths are relative to."""
        notice = self.sounds[e.Prompt.NOTICE]
        path = notice.path.relative_to(base) if notice.path.is_relative_to(base) else notice.path
        self.recording = Recording(
            id=self.id,
            call_id=self.call_id,
            started_at=self.started_at,
            caller=self.caller,
            called=self.called,
            operator=operator,
            decision=self.flow.consent.decision.value,
            notice=Notice(file=path.as_posix(), sha256=notice.sha256),
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


class LiveCalls:
    """The calls that are up, by id; `of_leg`: by each of their legs of the engine's, ended ones too.

    `coming`: how many callers have a leg of the engine's, and no call here yet.
    """

    def __init__(self) -> None:
        self._by_id: dict[str, LiveCall] = {}
        self.coming = 0
        self.of_leg: dict[int, LiveCall] = {}

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

    def remove(self, call: LiveCall) -> None:
        """It is over, and its legs are nobody's."""
        del self._by_id[call.id]
        for engine_leg in call.legs.values():
            del self.of_leg[engine_leg]
