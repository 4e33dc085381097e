"""The values that a call's policy goes by: the configuration, the phases, and the state of one call.

Nothing is decided here: `flow` looks up the function for a fact, which stands in a module beside it. The
methods of `CallState` are the small steps of those functions.
"""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Literal

from sipagent.call import events as e
from sipagent.call import machines
from sipagent.call.events import CALLER, Prompt, Sign, Wish


class Phase(StrEnum):
    OFFERED = "offered"
    ANSWERED = "answered"
    CHOICE = "choice"
    MESSAGE = "message"
    NOTICE = "notice"
    DETAILS = "details"
    WINDOW = "window"
    CONFIRM = "confirm"
    HUNT = "hunt"
    REFER = "refer"
    BRIDGED = "bridged"
    TRANSFER = "transfer"
    FAREWELL = "farewell"
    ENDING = "ending"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Policy:
    """The part of the configuration for calls. Digits are single DTMF characters, times seconds.

    `choices`: the keys of the first prompt, each with the language that it chooses; none: no such prompt.
    `promised`: the languages whose notice says what to say, each with its effect. Without a promise, the
    caller is asked about a refusal that is not sure, and no word accepts. `detailed`: the languages that have
    details, which `details_digit` plays.
    """

    opt_in: bool = False
    refusal_digits: tuple[str, ...] = ("9",)
    accept_digit: str = "1"
    details_digit: str = "3"
    detailed: frozenset[str] = frozenset()
    choices: tuple[tuple[str, str], ...] = ()
    voice: bool = False
    in_call_voice: bool = False
    promised: frozenset[tuple[str, Wish]] = frozenset()
    window_s: float = 5.0
    ring_s: float = 20.0
    max_wait_s: float = 120.0
    say_position: bool = False
    simultaneous: bool = False
    refer_targets: tuple[str, ...] = ()  # the target for a call that is not recorded; empty: it stays
    transfer_targets: tuple[str, ...] = ()  # the targets to which an operator's phone may send a caller
    codes: machines.Codes = field(default_factory=machines.Codes)
    stop_erases: bool = True
    recording: bool = True
    full_status: int = 503


Timer = (
    Literal["media", "window", "verdict", "late", "listening"]
    | Literal["refer", "ring", "retry", "sound", "max_wait", "please_hold", "transfer"]
)
OF_PHONES: frozenset[Timer] = frozenset({"ring", "sound", "transfer"})  # what they have not done by then
Accepted = e.Method | e.KeywordHeard

_DECIDED_IN: dict[Phase, machines.DecidedIn] = {
    Phase.CHOICE: "choice",
    Phase.MESSAGE: "notice",
    Phase.NOTICE: "notice",
    Phase.DETAILS: "window",
    Phase.WINDOW: "window",
    Phase.CONFIRM: "window",
    Phase.REFER: "call",
    Phase.HUNT: "call",
    Phase.BRIDGED: "call",
    Phase.TRANSFER: "call",
    Phase.ENDING: "call",
}


class CallState:
    """Everything that decides what a fact leads to; times are monotonic seconds."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.phase = Phase.OFFERED
        self.consent = machines.Consent()
        self.story = machines.Story()
        self.timers: dict[Timer, float] = {}
        self.late_s = 0.0  # what phones have sent may lie unread for so long
        self.hours_open = True
        self.candidate = True  # drawn for recording
        self.operator_begins = False  # nothing is recorded before the operator's code
        self.chooses = False  # the caller is asked for a language first
        self.language = ""  # of the notice
        self.messages: dict[str, str] = {}  # by language, of one that is to come before the notice: its name
        self.message_heard = False  # to its end
        self.media_arrived = False
        self.own_sound = True  # nothing shows that what comes from the caller's side is not the caller's
        self.telephone_event = False  # on the caller's leg
        self.changed_keys: dict[int, bool] = {}  # telephone-event on operators' legs, where it has changed
        self.playing: Prompt | None = None  # the prompt that the caller hears
        self.notice_began: float | None = None
        self.notice_heard = False  # its essential part at least
        self.wants_details = False  # after the notice
        self.details_told = 0  # how often
        self.details_heard = False  # to their end
        self.unclear: e.KeywordHeard | None = None  # the question put to the caller
        self.asks_about_this = False  # the caller still speaks, and will be asked about it
        self.late_speech = False  # somebody speaks who may have begun before the window closed, or the bridge
        self.hearing: frozenset[e.SoundKind] = frozenset()
        self.late_until = 0.0  # until then something that began before the hunt or the bridge may be heard
        self.told_refused = False  # the caller has heard that the refusal counts
        self.referred = 0  # how many of the targets have not taken the call
        self.refer_until = 0.0
        self.hunt = machines.Hunt()
        self.waits_until = 0.0
        self.place = 0  # among those who wait, from 1; 0: not known
        self.told_place = 0
        self.transfer: machines.Transfer | None = None
        self.busy_until = 0.0  # an operator gone before then has had no NOTIFY that his transfer failed
        self.conversation: machines.Conversation | None = None
        self.held: frozenset[int] = frozenset()  # legs on hold before the bridge
        self.indicated: e.Indication = "off"  # the state of the tap that devices know
        self.presses: dict[int, tuple[machines.Press, ...]] = {}  # of each leg, those that may be heard again
        self.typed = machines.Typed()  # by the operator who answered
        self.now = 0.0
        self.commands: list[e.Command] = []

    @property
    def deadline(self) -> float | None:
        """When `TimePassed` is due (monotonic s)."""
        return min(map(self.due, self.timers), default=None)

    def due(self, timer: Timer) -> float:
        """When one of `timers` is due: what is said of phones waits until all that they sent is read."""
        return self.timers[timer] + (self.late_s if timer in OF_PHONES else 0.0)

    @property
    def spare_legs(self) -> int:
        """How many legs of the call's could be given up for another caller."""
        return max(0, len(self.hunt.ringing) - 1) + bool(self.transfer and self.transfer.spare)

    @property
    def tapping(self) -> bool:
        """Whether the bridge is being recorded."""
        return self.conversation is not None and self.conversation.tapping

    @property
    def recordable(self) -> bool:
        """Whether it may be recorded: it is allowed, by a caller who has heard the notice."""
        return self.consent.allowed and self.notice_heard

    @property
    def sign(self) -> Sign:
        """What a phone that rings now is to show."""
        talk = self.conversation
        if talk.running if talk else self.recordable and not self.operator_begins:
            return Sign.REC
        waits = self.recordable and self.operator_begins and (talk is None or talk.rests or not talk.captured)
        return Sign.MAY_REC if waits else Sign.NO_REC

    @property
    def captured(self) -> bool:
        """Whether something has been recorded that a refusal would erase."""
        return self.conversation is not None and self.conversation.captured

    def decide(self, decision: machines.Decision, by: machines.DecidedBy, **how: Any) -> bool:
        """Move the recording's own machine; False where it may not move there."""
        decided_before = self.consent.decision is not machines.Decision.UNDECIDED
        place = _DECIDED_IN.get(self.phase) or ("call" if decided_before else None)
        later = machines.Consent(decision, by, self.now, place, **how)
        if not self.consent.becomes(later):
            return False
        self.consent = later
        who: machines.Who = (
            "caller" if by in ("dtmf", "voice", "sip") else "operator" if by == "operator" else "agent"
        )
        self.note(f"decision: {decision} ({by})", who)
        talking = self.phase in (Phase.BRIDGED, Phase.TRANSFER)
        if self.policy.in_call_voice and talking and "late" not in self.timers:  # nothing is left to refuse
            self.do(e.Listen(CALLER, tones=not self.telephone_event, voice=False))
        return True

    def promised(self, wish: e.Wish) -> bool:
        """Whether the notice says what to say for it."""
        return (self.language, wish) in self.policy.promised

    def indicate(self) -> None:
        """Tell devices of each change of the tap; at the end the BYE does."""
        talk = self.conversation
        now: e.Indication = "off" if not (talk and talk.running) else "paused" if talk.paused else "on"
        if now != self.indicated and self.phase not in (Phase.ENDING, Phase.ENDED):
            self.indicated = now
            self.do(e.Indicate(now))

    def stop_tap(self, keep: bool) -> None:
        if self.conversation:
            self.do(*self.conversation.stop_tap(keep))
            self.note("recording stopped" if keep else machines.ERASED, "agent")

    def play(self, prompt: Prompt) -> None:
        self.playing = prompt
        self.do(e.Play(CALLER, prompt))

    def do(self, *commands: e.Command) -> None:
        self.commands += commands

    def note(self, what: str, by: machines.Who) -> None:
        self.story.tell(self.now, what, by)


def heard_again(
    recent: tuple[machines.Press, ...], digit: str, method: e.Method, at: float
) -> tuple[tuple[machines.Press, ...], bool]:
    """Whether a digit is one of the `recent` presses of its leg, heard by another way; and those after it.

    A press is heard once by each way, the earliest first. Several may be on their way at once: a phone that
    dials `*6` by itself sends both digits before the first is heard by the slower way. `at`: when it was
    pressed (monotonic s), and not when it is heard: on a busy machine a tone is heard seconds after its INFO.
    """
    recent = tuple(press for press in recent if at - press.at < machines.HEARD_LATE_S)
    for index, press in enumerate(recent):
        same = press.digit == digit and abs(at - press.at) < machines.SAME_PRESS_S
        if same and method not in press.ways:
            known = replace(press, ways=press.ways | {method})
            return (*recent[:index], known, *recent[index + 1 :]), True
    return (*recent, machines.Press(digit, at, frozenset({method}))), False
