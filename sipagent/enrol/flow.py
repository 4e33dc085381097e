"""What an enrolment is: facts of one call in, commands out. No clock, no thread, no socket.

    OFFERED ─answered─▶ WELCOME ─heard whole─▶ CONSENT ─key 1─▶ ASKING ─▶ TONE ─▶ HEARING ─▶ … ─▶ KEEPING
                                                                  ▲─────── bad, or more ───┘         │
    any ─hang-up, fault, three bad ones─▶ nothing is kept                           PARTING ◀────────┘

Nothing is kept without key 1, pressed after the whole welcome was heard; all of it at once at the end, or
nothing. What was said badly is said again; after TRIES times the enrolment ends. A number is no proof of who
calls: a voice that is kept is replaced only where the administrator has allowed it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

CONSENTS = "1"
TRIES = 3
CONSENT_S = 10.0
"""How long key 1 is waited for, then once more after a reminder."""
CONFIRM_S = 30.0
SOUND_S = 65.0
"""Longer than any prompt (media.prompt.ACCEPTED_MAX_S): one whose end is not told ends the call."""
HEARING_S = 20.0

WELCOME, REMINDER, DECLINED = "welcome", "reminder", "declined"
TONE = "tone"
THANKS, GIVEN_UP, FAILED = "thanks", "given_up", "failed"
FORBIDDEN, NOT_FOUND, BUSY = 403, 404, 486
DECLINE = 603
"""A voice of theirs is kept already."""


class SayingFault(Enum):
    """Why a saying can't be kept; its value names the prompt that says so."""

    NOTHING = "nothing"
    EARLY = "early"
    SHORT = "short"
    LONG = "long"
    SOFT = "soft"
    CLIPPED = "clipped"
    NOISY = "noisy"


@dataclass(frozen=True, slots=True)
class ScriptStep:
    """One saying: `text` is what is said, `phrase` the configured phrase, None where it refuses nothing.

    `ask` names the prompt that asks for it, `again` the one after it was said badly.
    """

    ask: str
    again: str
    text: str
    phrase: str | None


# --- facts ---


class EnrolFact:
    """Something that has happened in an enrolment."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class InviteArrived(EnrolFact):
    """An INVITE. `known`: it calls the extension; `listed`: by a colleague; `free`: no one else is at it.

    `fresh`: no voice of theirs is kept, or the administrator lets it be replaced.
    """

    known: bool
    listed: bool
    fresh: bool
    free: bool

    @property
    def refused_with(self) -> int | None:
        """The status that refuses it; None: it is taken."""
        taken = (self.known, self.listed, self.fresh, self.free)
        statuses = (NOT_FOUND, FORBIDDEN, DECLINE, BUSY)
        return next((status for status, good in zip(statuses, taken, strict=True) if not good), None)


@dataclass(frozen=True, slots=True)
class Confirmed(EnrolFact):
    """The call is up."""


@dataclass(frozen=True, slots=True)
class LastSoundEnded(EnrolFact):
    """The sound that was ordered last is over; `whole`: every sample of it went out."""

    whole: bool


@dataclass(frozen=True, slots=True)
class Unheard(EnrolFact):
    """Sound went past the caller until now."""


@dataclass(frozen=True, slots=True)
class KeyPressed(EnrolFact):
    """A key of the caller's telephone."""

    digit: str


@dataclass(frozen=True, slots=True)
class SayingHeard(EnrolFact):
    """Something was said after the tone, or nothing; `fault`: None where it can be kept."""

    fault: SayingFault | None


@dataclass(frozen=True, slots=True)
class SayingsKept(EnrolFact):
    """All that was taken is on disk."""


@dataclass(frozen=True, slots=True)
class SayingsNotKept(EnrolFact):
    """It could not be kept, and nothing is on disk."""


@dataclass(frozen=True, slots=True)
class DeadlinePassed(EnrolFact):
    """The deadline has passed."""


@dataclass(frozen=True, slots=True)
class Broken(EnrolFact):
    """The call can't go on: it is held, sends nothing, or the program ends."""


@dataclass(frozen=True, slots=True)
class Gone(EnrolFact):
    """The call has ended."""


# --- commands ---


class EnrolCommand:
    """Something to be done about it."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class RejectInvite(EnrolCommand):
    """Answer the INVITE with this status."""

    status: int


@dataclass(frozen=True, slots=True)
class AcceptInvite(EnrolCommand):
    """Answer the INVITE with 200."""


@dataclass(frozen=True, slots=True)
class PlayPrompt(EnrolCommand):
    """Play a prompt, in place of another."""

    prompt: str


@dataclass(frozen=True, slots=True)
class NoteConsent(EnrolCommand):
    """The person has consented just now."""


@dataclass(frozen=True, slots=True)
class HearSaying(EnrolCommand):
    """Hear what is said from the end of the tone on, which has just ended."""

    step: ScriptStep


@dataclass(frozen=True, slots=True)
class Take(EnrolCommand):
    """Put what was heard last beside the rest, in memory."""

    step: ScriptStep


@dataclass(frozen=True, slots=True)
class Keep(EnrolCommand):
    """Write all that was taken, at once; `SayingsKept` or `SayingsNotKept` follows."""


@dataclass(frozen=True, slots=True)
class ForgetSayings(EnrolCommand):
    """Forget all that was taken."""


@dataclass(frozen=True, slots=True)
class EndCall(EnrolCommand):
    """End the call."""


class EnrolPhase(Enum):
    """Where an enrolment stands."""

    NEW = "new"
    OFFERED = "offered"
    WELCOME = "welcome"
    CONSENT = "consent"
    REMINDED = "reminded"
    ASKING = "asking"
    TONE = "tone"
    HEARING = "hearing"
    KEEPING = "keeping"
    PARTING = "parting"
    OVER = "over"


class EnrolFlow:
    """One call; `deadline` (monotonic s) is when `DeadlinePassed` is due, None for never."""

    def __init__(self, steps: Sequence[ScriptStep]) -> None:
        self.steps = tuple(steps)
        self.phase = EnrolPhase.NEW
        self.deadline: float | None = None
        self._next = 0  # the step that is asked for
        self._tries = 0
        self._to_say: tuple[str, ...] = ()  # prompts after the one that is played
        self._waits = False  # for key 1, with nothing playing

    def handle(self, fact: EnrolFact, now: float) -> list[EnrolCommand]:  # noqa: PLR0911, PLR0912 - one a fact
        """What follows; a fact that means nothing in this phase is ignored."""
        match fact, self.phase:
            case InviteArrived(), EnrolPhase.NEW:
                return self._offered(fact, now)
            case _, EnrolPhase.NEW | EnrolPhase.OVER:
                return []
            case Gone(), _:
                self._enter(EnrolPhase.OVER, None)
                return [ForgetSayings()]
            case Broken(), _:
                return self._end()
            case Confirmed(), EnrolPhase.OFFERED:
                return self._say(EnrolPhase.WELCOME, WELCOME, now)
            case Unheard(), EnrolPhase.WELCOME | EnrolPhase.CONSENT | EnrolPhase.REMINDED:
                return self._say(EnrolPhase.WELCOME, WELCOME, now)
            case (
                Unheard(),
                EnrolPhase.ASKING | EnrolPhase.TONE | EnrolPhase.HEARING,
            ):  # who has consented heard no welcome
                return self._end()
            case LastSoundEnded(), _:
                return self._sound_ended(fact.whole, now)
            case KeyPressed(digit), EnrolPhase.CONSENT | EnrolPhase.REMINDED if digit == CONSENTS:
                return [NoteConsent(), *self._ask(now)]
            case SayingHeard(), EnrolPhase.HEARING:
                return self._said(fact.fault, now)
            case SayingsKept(), EnrolPhase.KEEPING:
                return self._say(EnrolPhase.PARTING, THANKS, now)
            case SayingsNotKept(), EnrolPhase.KEEPING:
                return [ForgetSayings(), *self._say(EnrolPhase.PARTING, FAILED, now)]
            case DeadlinePassed(), _:
                return self._time_passed(now)
        return []

    def _offered(self, offer: InviteArrived, now: float) -> list[EnrolCommand]:
        if (status := offer.refused_with) is not None:
            self._enter(EnrolPhase.OVER, None)
            return [RejectInvite(status)]
        self._enter(EnrolPhase.OFFERED, now + CONFIRM_S)
        return [AcceptInvite()]

    def _sound_ended(self, whole: bool, now: float) -> list[EnrolCommand]:
        if self._to_say:
            first, self._to_say = self._to_say[0], self._to_say[1:]
            return self._say(EnrolPhase.TONE if first == TONE else self.phase, first, now)
        match self.phase:
            case EnrolPhase.WELCOME if not whole:  # who has not heard it can't consent
                return self._say(EnrolPhase.PARTING, FAILED, now)
            case EnrolPhase.WELCOME:
                self._enter(EnrolPhase.CONSENT, now + CONSENT_S)
            case EnrolPhase.REMINDED:
                self.deadline = now + CONSENT_S
                self._waits = True
            case EnrolPhase.TONE:
                self._enter(EnrolPhase.HEARING, now + HEARING_S)
                return [HearSaying(self.steps[self._next])]
            case EnrolPhase.PARTING:
                return self._end()
        return []

    def _time_passed(self, now: float) -> list[EnrolCommand]:
        match self.phase:
            case EnrolPhase.CONSENT:
                return self._say(EnrolPhase.REMINDED, REMINDER, now)
            case EnrolPhase.REMINDED if self._waits:
                return self._say(EnrolPhase.PARTING, DECLINED, now)
            case EnrolPhase.HEARING:
                return self._said(SayingFault.NOTHING, now)
        return self._end()

    def _said(self, fault: SayingFault | None, now: float) -> list[EnrolCommand]:
        step = self.steps[self._next]
        if fault is None:
            self._next, self._tries = self._next + 1, 0
            if self._next < len(self.steps):
                return [Take(step), *self._ask(now)]
            self._enter(EnrolPhase.KEEPING, None)
            return [Take(step), Keep()]
        self._tries += 1
        if self._tries == TRIES:
            return [ForgetSayings(), *self._say(EnrolPhase.PARTING, GIVEN_UP, now)]
        return self._say(EnrolPhase.ASKING, fault.value, now, step.again, TONE)

    def _ask(self, now: float) -> list[EnrolCommand]:
        return self._say(EnrolPhase.ASKING, self.steps[self._next].ask, now, TONE)

    def _say(self, phase: EnrolPhase, prompt: str, now: float, *then: str) -> list[EnrolCommand]:
        """Play a prompt; `then`: those after it."""
        self._to_say = then or self._to_say
        self._waits = False
        self._enter(phase, now + SOUND_S)
        return [PlayPrompt(prompt)]

    def _end(self) -> list[EnrolCommand]:
        self._enter(EnrolPhase.OVER, None)
        return [ForgetSayings(), EndCall()]

    def _enter(self, phase: EnrolPhase, deadline: float | None) -> None:
        self.phase, self.deadline = phase, deadline
        if phase in (EnrolPhase.PARTING, EnrolPhase.OVER):
            self._to_say = ()
