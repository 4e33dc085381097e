"""Small machines that a call is made of, each with a state of its own.

    Consent         whether the call may be recorded
    Codes, Typed    the codes that an operator types
    Hunt            the operators that are being rung
    Conversation    the bridge: the tap, its pauses, holds
    Transfer        a call on its way from an operator to another
    Story           the facts for the receipt

They know the facts, and neither the flow nor each other's steps. Methods that return commands give those
that follow; times are monotonic seconds.

**Consent** runs beside the call's phase:

    UNDECIDED ─▶ ALLOWED ─▶ NOT_ALLOWED ─▶ REFUSED        (each may also skip ahead, none goes back)

REFUSED is absorbing. Silence in objection mode is "not refused", and `by = "silence"` says just that; it
is never called consent (GDPR articles 4(11) and 21).

**Hunt**: any number of phones may ring at once, as the board of operators offers them; the first that
answers is kept, the others are told that the call was completed elsewhere. Legs are numbered in the order
of dialling, so that a late word of an earlier one is never taken for the present one's.

**Conversation** begins with the bridge. The tap runs from the start or, where the operator begins it, from
the code for that; else never. It writes silence while it is paused by the operator or while a side holds, or
while the caller is on the way to another operator, so that the recording keeps its length.

**Transfer**: the giver's phone has asked for it. If there is a leg more, the giver's stays up until the
other has answered and is heard; else it is given up first, also later when another caller needs the leg.
If the other operator doesn't come, the caller goes back to the giver, who is rung again if that leg is gone.

**Story** is written by the flow and read by the agent; the policy never asks it.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal

from sipagent.call import events as e
from sipagent.call.events import CALLER, Method, Prompt, Sign, Tone


class Decision(StrEnum):
    """In the order in which one may follow another; none goes back."""

    UNDECIDED = "undecided"
    ALLOWED = "allowed"
    NOT_ALLOWED = "not_allowed"
    REFUSED = "refused"


DecidedBy = Literal[
    "silence",
    "dtmf",
    "voice",
    "unclear",
    "sampling",
    "notice_failed",
    "operator",
    "disabled",
    "recorder_fault",
    "sip",
]
DecidedIn = Literal["choice", "notice", "window", "call"]


@dataclass(frozen=True, slots=True)
class Consent:
    """The decision so far, and how it came about: by what, when (monotonic s), in which part of the call."""

    decision: Decision = Decision.UNDECIDED
    by: DecidedBy | None = None
    at: float | None = None
    phase: DecidedIn | None = None
    method: Method | None = None
    keyword: str | None = None
    confidence: float | None = None

    @property
    def allowed(self) -> bool:
        return self.decision is Decision.ALLOWED

    @property
    def refused(self) -> bool:
        return self.decision is Decision.REFUSED

    def becomes(self, later: "Consent") -> bool:
        """Whether the machine may move to `later`."""
        order = list(Decision)
        return order.index(later.decision) > order.index(self.decision)


CODE_GAP_S = 3.0  # between the digits of an operator's code
SAME_PRESS_S = 0.25  # the same digit by another way within this is the same press
HEARD_LATE_S = 10.0  # how much later a tone may be heard: after that, listening has failed
SAME_CODE_S = (
    2.0  # and a whole code: an INFO that was lost comes again 0.5 s and 1.5 s later (RFC 3261 17.1.2)
)
LONGEST_CODE = 8  # digits of a code

Order = Literal["stop", "pause", "flag", "record"]


@dataclass(frozen=True, slots=True)
class Press:
    """A digit that has counted: when it was first heard (monotonic s), and by which ways since."""

    digit: str
    at: float
    ways: frozenset[Method]


@dataclass(frozen=True, slots=True)
class Codes:
    """The digits that an operator types; an empty code is switched off."""

    stop: str = "*5"
    pause: str = "*6"
    flag: str = "*7"
    record: str = ""


@dataclass(frozen=True, slots=True)
class Typed:
    """The digits that an operator has typed on a leg, and when the last one came (monotonic s).

    `last`: the code that was complete last, by which way and when.
    """

    leg: int = -1
    digits: str = ""
    at: float = 0.0
    last: tuple[Order, Method, float] | None = None

    def then(
        self, codes: Codes, leg: int, digit: str, method: Method, now: float
    ) -> tuple["Typed", Order | None]:
        """With one more digit, at most 3 s after the last one; and the code that it completes.

        The same code by another way soon after is the same: it must not undo a pause.
        """
        goes_on = leg == self.leg and now - self.at <= CODE_GAP_S
        last = self.last if leg == self.leg else None
        digits = ((self.digits if goes_on else "") + digit)[-LONGEST_CODE:]
        orders: tuple[tuple[str, Order], ...] = (
            (codes.stop, "stop"),
            (codes.pause, "pause"),
            (codes.flag, "flag"),
            (codes.record, "record"),
        )
        for code, order in orders:
            if code and digits.endswith(code):
                if last and last[0] == order and last[1] != method and now - last[2] <= SAME_CODE_S:
                    return Typed(leg, "", now, last), None
                return Typed(leg, "", now, (order, method, now)), order
        return Typed(leg, digits, now, last), None


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator who is being rung, or has answered. `sign`: what the phone shows.

    Until something answers for the phone (`reached`), it is given up at `gives_up_at`, then at `rings_until`.
    """

    leg: int
    uri: str
    sign: Sign
    rings_until: float = 0.0
    gives_up_at: float = 0.0
    reached: bool = False
    answered: bool = False
    telephone_event: bool = False
    audible: bool = False  # the leg sends


BUSY, DECLINED = (486, 600), (603,)  # RFC 3261 section 21
GONE = (404, 408, 410, 430, 480)  # of a phone that is off, as its PBX says it; so does each 5xx


def refused(uri: str, status: int) -> e.ReportOperator:
    """The state of a phone, by its final answer of 300 or more."""
    if status in BUSY:
        return e.ReportOperator(uri, "busy", status)
    if status in DECLINED:
        return e.ReportOperator(uri, "declined", status)
    gone = status in GONE or 500 <= status < 600
    return e.ReportOperator(uri, "unreachable" if gone else "refused", status)


class Hunt:
    """Methods that return commands give those that follow. `operator` has answered."""

    def __init__(self) -> None:
        self.dialled = 0
        self.tried: tuple[str, ...] = ()
        self.ringing: tuple[Operator, ...] = ()
        self.operator: Operator | None = None

    @property
    def deadline(self) -> float | None:
        """When the first of those who ring is given up."""
        return min((one.gives_up_at for one in self.ringing), default=None)

    def again(self) -> list[e.Command]:
        """Begin a round over the operators."""
        self.tried = ()
        return self.seek()

    def seek(self) -> list[e.Command]:
        """Ask for those who have not been tried in this round."""
        return [e.SeekOperator(self.tried)]

    def next_leg(self) -> int:
        """The number of a leg that is to be dialled."""
        self.dialled += 1
        return self.dialled

    def dial(
        self, uri: str, sign: Sign, gives_up_at: float = 0.0, rings_until: float = 0.0
    ) -> list[e.Command]:
        self.next_leg()
        self.ringing += (Operator(self.dialled, uri, sign, rings_until, gives_up_at),)
        return [e.DialOperator(self.dialled, uri, sign)]

    def reached(self, leg: int) -> None:
        """Something has answered for the phone, so it has its whole time to ring."""
        self.ringing = tuple(
            replace(one, reached=True, gives_up_at=one.rings_until) if one.leg == leg else one
            for one in self.ringing
        )

    def overdue(self, now: float) -> list[Operator]:
        return [one for one in self.ringing if one.gives_up_at <= now]

    def lose(self, leg: int) -> Operator | None:
        """The leg of an operator who was rung or had answered won't do; None if it is neither."""
        here = [*self.ringing, *([self.operator] if self.operator else [])]
        lost = next((one for one in here if one.leg == leg), None)
        if lost:
            self.tried += (lost.uri,)
            self.ringing = tuple(one for one in self.ringing if one.leg != leg)
            self.operator = None if self.operator == lost else self.operator
        return lost

    def answered(self, leg: int, telephone_event: bool) -> Operator | None:
        """This one has answered; None where the leg does not ring, or another was quicker."""
        first = next((one for one in self.ringing if one.leg == leg), None)
        if first is None:
            return None
        self.ringing = tuple(one for one in self.ringing if one.leg != leg)
        self.operator = replace(first, answered=True, telephone_event=telephone_event)
        return self.operator

    def audible(self, leg: int) -> bool:
        """The leg sends; whether it is that of the operator who has answered."""
        if self.operator is None or self.operator.leg != leg:
            return False
        self.operator = replace(self.operator, audible=True)
        return True

    def elsewhere(self) -> list[e.Command]:
        """Those who still ring are not needed: another has answered."""
        ringing, self.ringing = self.ringing, ()
        return [e.HangUp(one.leg, elsewhere=True) for one in ringing]

    def spare(self) -> Operator | None:
        """Give up the one rung last where more than one rings: its leg is wanted for another caller."""
        if len(self.ringing) < 2:
            return None
        *kept, spared = self.ringing
        self.ringing = tuple(kept)
        return spared

    def drop(self) -> list[e.Command]:
        """Nobody is needed any more."""
        here = [*self.ringing, *([self.operator] if self.operator else [])]
        self.ringing, self.operator = (), None
        return [e.HangUp(one.leg) for one in here]


Silent = Literal["", "paused", "stopped", "transfer", "hold"]
MOST_SILENCES = 200  # in one recording, which lists them all: a phone may hold as often as it likes


class Conversation:
    """One bridge. Every method gives the commands that follow."""

    def __init__(self, operator: int, held: frozenset[int]) -> None:
        self.operator = operator
        self.tapping = False
        self.captured = False  # something of it is kept, the tap running or not
        self.paused = False
        self.rests = False  # stopped by a code that erases nothing; another lets it go on
        self._alone = False  # the caller is on the way to another operator
        self._held = dict.fromkeys(held, False)  # leg → it goes on sending
        self._music_to: int | None = None
        self._silences = 0

    @property
    def too_many(self) -> bool:
        """Whether the recording has been silenced so often that it can't go on."""
        return self.tapping and self._silences >= MOST_SILENCES

    @property
    def running(self) -> bool:
        """Whether it is recorded, or only paused."""
        return self.tapping and not self.rests

    @property
    def _silent(self) -> bool:
        return bool(self._why)

    @property
    def _why(self) -> Silent:
        """Why both channels are silent now; empty if they are not."""
        return "paused" if self.paused else "stopped" if self.rests else self._away

    @property
    def _away(self) -> Silent:
        return "transfer" if self._alone else "hold" if self._held else ""

    def begin(self, uri: str, record: bool, misled: bool = False) -> list[e.Command]:
        """`misled`: the operator's phone shows what is no longer so: a tone says that nothing is recorded."""
        if record:
            return self.record(uri) + self._music()
        return ([e.PlayTone(Tone.RECORDING_OFF)] if misled else []) + self._music()

    def record(self, uri: str) -> list[e.Command]:
        """Begin the tap, or let it go on; a tone says that it runs."""
        if self.tapping:
            was, self.rests = self._why, False
            return self._silence(was) + self._told(misled=False)
        self.tapping = self.captured = True
        silent = [e.SilenceTap(on=True, why=self._why)] if self._silent else []
        return [e.StartTap(uri), e.PlayTone(Tone.RECORDING_ON), *silent]

    def rest(self) -> list[e.Command]:
        """Record no longer, but keep what there is; `record` lets it go on."""
        was, self.rests = self._why, True
        return [*self._silence(was), e.PlayTone(Tone.RECORDING_OFF)]

    def alone(self) -> list[e.Command]:
        """The operator is no party any more."""
        was = self._why
        self._alone = True
        return self._silence(was) + self._music()

    def joined(self, operator: int, misled: bool = False) -> list[e.Command]:
        """An operator is there again, on another leg or the same. `misled`: see `begin`."""
        was = self._why
        self._alone, self.operator = False, operator
        self._held = {leg: sends for leg, sends in self._held.items() if leg in (CALLER, operator)}
        return self._silence(was) + self._told(misled) + self._music()

    def _told(self, misled: bool) -> list[e.Command]:
        """The tone that tells both whether the call is recorded."""
        if self.running:
            return [e.PlayTone(Tone.PAUSED if self.paused else Tone.RECORDING_ON)]
        return [e.PlayTone(Tone.RECORDING_OFF)] if misled else []

    def held(self, leg: int, sends: bool) -> list[e.Command]:
        was = self._why
        self._held[leg] = sends
        return self._silence(was) + self._music()

    def resumed(self, leg: int) -> list[e.Command]:
        was = self._why
        self._held.pop(leg, None)
        return self._silence(was) + self._music()

    def toggle_pause(self) -> list[e.Command]:
        was = self._why
        self.paused = not self.paused
        tone = Tone.PAUSED if self.paused else Tone.RESUMED
        return [*self._silence(was), e.PlayTone(tone)]

    def stop_tap(self, keep: bool) -> list[e.Command]:
        self.tapping, self.captured = False, self.captured and keep
        return [e.StopTap(keep), e.PlayTone(Tone.RECORDING_OFF)]

    def _silence(self, was: Silent) -> list[e.Command]:
        if not self.tapping or self._why == was:
            return []
        self._silences += self._silent and not was
        return [e.SilenceTap(self._silent, self._why)]

    def _music(self) -> list[e.Command]:
        """While one side holds and sends nothing, the other hears music."""
        music_to = None
        if len(self._held) == 1 and not self._alone:
            (leg, sends), *_ = self._held.items()
            if not sends:
                music_to = self.operator if leg == CALLER else CALLER
        commands: list[e.Command] = []
        if music_to != self._music_to:
            if self._music_to is not None:
                commands.append(e.StopPlaying(self._music_to))
            if music_to is not None:
                commands.append(e.Play(music_to, Prompt.HOLD_MUSIC))
            self._music_to = music_to
        return commands


@dataclass(frozen=True, slots=True)
class Transfer:
    """`leg`: the one being rung, None before; `there`: the giver's leg is still up.

    `rings_until`: when the leg is given up (monotonic s), unless somebody has `answered`.
    """

    giver: Operator
    target: str
    replaces: str = ""
    there: bool = True
    leg: int | None = None
    sign: Sign = Sign.NO_REC  # what its phone shows
    rings_until: float = 0.0
    answered: Operator | None = None
    given_up: bool = False  # the phone being rung got its CANCEL; the leg is not gone yet

    @property
    def returning(self) -> bool:
        """Whether the giver is rung again."""
        return self.target == self.giver.uri

    @property
    def waits(self) -> bool:
        """Whether a phone rings that nobody has answered yet."""
        return self.leg is not None and self.answered is None and not self.given_up

    @property
    def spare(self) -> bool:
        """Whether the giver's leg could be given up: another one rings, or has answered."""
        return self.there and self.leg is not None and not self.given_up

    def answers(self, leg: int, telephone_event: bool) -> "Transfer":
        """The 200 has come; `there` as before, until there is sound."""
        operator = Operator(leg, self.target, self.sign, answered=True, telephone_event=telephone_event)
        return replace(self, answered=operator)

    def returns(self) -> "Transfer":
        """The giver, whose leg is gone, is to be rung again."""
        return Transfer(self.giver, self.giver.uri, there=False)

    def tells(self, status: int) -> list[e.Command]:
        """The last word to the giver's phone, if it still listens."""
        return [e.TellTransfer(self.giver.leg, status, last=True)] if self.there else []

    def drop(self) -> list[e.Command]:
        """Nobody is needed any more."""
        legs = [self.leg] if self.leg is not None and not self.given_up else []
        return [e.HangUp(leg) for leg in (*legs, *([self.giver.leg] if self.there else []))]


Outcome = Literal["connected", "transferred", "abandoned", "closed", "unavailable", "rejected", "failed"]
Who = Literal["caller", "operator", "agent"]


FLAGGED = "flagged"  # the line of a call that an operator has marked for a hold
STOPPED = "stop code"
AWAITED = "the operator may begin the recording"
BEGUN = "record code"
ERASED = "recording erased"
BRIDGED = "bridged with "  # and whom: who presses keys from then on
MOST_TIMES = 20  # one line; a phone may hold, or ask for what it may not have, as often as it likes


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of the story: when (monotonic s), what, and by whom."""

    at: float
    what: str
    by: Who


@dataclass(slots=True)
class Story:
    """Times are monotonic seconds; `operator` is the SIP URI of who answered, the last one after a transfer.

    `talked`: all who have talked with the caller; `operators`: the same in order, the first and the last of
    very many.
    """

    answered_at: float | None = None
    connected_at: float | None = None
    operator: str | None = None
    talked: frozenset[str] = frozenset()
    operators: tuple[str, ...] = ()
    outcome: Outcome | None = None
    notice_played_ms: int | None = None
    flagged: bool = False
    not_recorded_because: str | None = None  # where it should be: the first reason
    happenings: list[Happening] = field(default_factory=list)
    _told: Counter[tuple[str, Who]] = field(default_factory=Counter)

    def answered(self, operator: str) -> None:
        """This operator talks with the caller from now on."""
        self.outcome, self.operator, self.talked = "connected", operator, self.talked | {operator}
        if self.operators[-1:] != (operator,):
            self.operators = (*self.operators[: MOST_TIMES - 1], operator)

    @property
    def several(self) -> tuple[str, ...]:
        """`operators`, where there was more than one."""
        return self.operators if len(self.operators) > 1 else ()

    def tell(self, at: float, what: str, by: Who) -> None:
        """A line; from `MOST_TIMES` of the same on it is only counted."""
        self._told[what, by] += 1
        if self._told[what, by] <= MOST_TIMES:
            self.happenings.append(Happening(at, what, by))

    def sum_up(self, at: float) -> None:
        """At the end: how many more times things happened that were no longer listed."""
        for (what, by), times in self._told.items():
            if times > MOST_TIMES:
                self.happenings.append(Happening(at, f"{what}: {times - MOST_TIMES} times more", by))
