"""What is kept, as plain frozen values: of a call its receipt, perhaps a recording, and a line for every use
of it; what one person asks for and another has to agree to (a hold, its renewal or end, an export for a
court); what is different today; and the hosts that share a database.

The field names are the JSON fields that programs read; `to_json` and `from_json` are exact inverses
(times to the millisecond). Every time is an aware `datetime`, written in UTC as
`2026-11-24T22:20:00.123Z`: fixed width, so that texts sort like times.
"""

import json
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, date, datetime
from enum import Enum, StrEnum
from functools import cache
from types import MappingProxyType, NoneType
from typing import Any, ClassVar, Self, cast, get_args, get_origin, get_type_hints

from dateutil.relativedelta import relativedelta

from retention.texts import Reason, WithReason

Json = dict[str, Any]

_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,63}", re.ASCII)
_TIMED_ID = re.compile(
    r"(\d{8}T\d{6})(\d{3})(?:-h(?P<host>[a-z0-9]{1,16}))?(?:-w(?P<worker>\d+))?-\d{6}", re.ASCII
)
_PERIOD = re.compile(r"\s*(\d{1,4})\s*(day|week|month|year)s?\s*", re.ASCII)
_UNITS = {  # each with how many days it is about
    "day": (1, relativedelta(days=1)),
    "week": (7, relativedelta(weeks=1)),
    "month": (30, relativedelta(months=1)),
    "year": (365, relativedelta(years=1)),
}
_LONGEST_DAYS = 36500  # far from the end of the calendar, so that no sum overflows


class RecordError(WithReason, ValueError):
    """A record that cannot be read; `str()` says which field and what is wrong."""


class PeriodError(WithReason, ValueError):
    """A period that is not valid; `str()` says what is accepted."""


class RuleError(WithReason):
    """A rule says no; `str()` is one line that says why, and is in the trace.

    `about`: the id of the call, once that is in the trace; `others_may`: another person could do it; `gone`:
    what was asked for existed once; `more`: JSON fields that a program gets beside the line.
    """

    about = ""
    others_may = False
    gone = False
    more: Mapping[str, Any] = MappingProxyType({})


class Status(StrEnum):
    """The life of a recording: open → closed | erased | failed, then closed → purging → purged."""

    OPEN = "open"  # the call is on, or its agent died
    CLOSED = "closed"  # the file is whole
    ERASED = "erased"  # the caller refused, or the operator stopped it: no file
    FAILED = "failed"  # the recorder kept nothing
    PURGING = "purging"  # the purge has begun and must be finished
    PURGED = "purged"  # a tombstone: no file, no personal fields


@dataclass(frozen=True, slots=True)
class FieldType:
    """Of a field: the `type` of its value, or of each where there are `several`; `optional`: may be null."""

    type: Any
    several: bool
    optional: bool


@cache
def field_types(of: type) -> Mapping[str, FieldType]:
    """Of each field of a dataclass, by its name, in their order."""
    hints = get_type_hints(of)
    return {one.name: _field_type(hints[one.name]) for one in fields(cast(Any, of))}


def _field_type(hint: Any) -> FieldType:
    optional = NoneType in get_args(hint)
    if optional:
        (hint,) = (one for one in get_args(hint) if one is not NoneType)
    several = get_origin(hint) is tuple
    if several:
        hint = get_args(hint)[0]
    return FieldType(get_origin(hint) or hint, several, optional)


@cache
def _names(of: type) -> tuple[str, ...]:
    """Its fields, in their order."""
    return tuple(one.name for one in fields(cast(Any, of)))


class Record:
    """JSON in and out, for the dataclasses below."""

    __slots__ = ()
    omitted: ClassVar[tuple[str, ...]] = ()

    def to_json(self) -> Json:
        """Every field, in the order of its class, as JSON knows it; of those `omitted` none that is null."""
        told = {}
        for name in _names(cast(Any, type(self))):
            value = getattr(self, name)
            if value is not None or name not in self.omitted:
                told[name] = value if type(value) in _SIMPLE else _plain(value)
        return told

    @classmethod
    def from_json(cls, json: Mapping[str, Any]) -> Self:
        """The inverse. Fields this version does not know are left out; raises RecordError."""
        if not isinstance(json, Mapping):
            raise RecordError("{0}: an object is expected", cls.__name__.lower())
        known = field_types(cast(Any, cls))
        try:
            return cls(**{name: _rich(name, known[name], json[name]) for name in json if name in known})
        except (TypeError, ValueError) as wrong:
            raise RecordError("{0}: {1}", cls.__name__.lower(), wrong) from wrong

    @classmethod
    def of(cls, other: object, **more: Any) -> Self:
        """With what `other` has in fields of the same names, and `more`."""
        names = set(_names(cast(Any, cls))) - set(more)
        return cls(**{name: getattr(other, name) for name in names if hasattr(other, name)} | more)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice(Record):
    """The announcement that the caller heard, told by its content; `details` where they were heard, too, and
    the `message` of that day that came before it."""

    file: str
    sha256: str
    details: "Notice | None" = None
    message: "Notice | None" = None

    omitted = ("details", "message")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause(Record):
    """A span of silence, in seconds from the start of the recording."""

    from_s: float
    to_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LegQuality(Record):
    """How what came in on one leg sounded: of all its streams, what the network did to them, and how loud.

    `late`: packets that came, and were dropped: too late to be played, or too many at once. `concealed_ms`:
    sound that was made up in place of what did not come. `mos`: 1 to 4.5 by ITU-T G.107, null of a codec for
    which G.113 has no values.
    """

    codec: str | None = None  # as in SDP: PCMA
    packets: int = 0  # that came
    lost: int = 0
    lost_bursts: int = 0  # gaps in which those were lost
    late: int = 0
    concealed_ms: int = 0
    jitter_ms: float | None = None  # mean, RFC 3550 section 6.4.1
    rtt_ms: float | None = None  # mean by RTCP; null where the other side tells nothing
    mos: float | None = None
    level_dbov: float | None = None  # of what is louder than silence; 0 is full scale; null if nothing was
    clipped: float | None = None  # share of its samples at full scale


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality(Record):
    """Of a call's two legs, the operator's for all who talked; `one_way`: the leg on which nothing came,
    while something came on the other one."""

    caller: LegQuality | None = None
    operator: LegQuality | None = None
    one_way: str | None = None  # caller, operator


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingSound(Pause):
    """A span in which a channel has not what was said.

    `channel`: `caller`, `operator` or `both`. `why`: `concealed` (packets were late or lost: what is heard is
    made up), `nothing_came` (for longer: silence; lost, or not sent), `lost` (by us), `not_fed` (its leg gave
    none), `paused`, `stopped` (by a key), `hold` (a side held), `transfer` (no operator was there). Both are
    null where an older version wrote it: then sound was lost by us.
    """

    channel: str | None = None
    why: str | None = None

    omitted = ("channel", "why")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Record):
    """One thing that happened in a call, and by whom (`caller`, `operator`, `agent`, ...)."""

    at: datetime
    what: str
    by: str | None = None


class Answered(Record):
    """What a receipt and a recording tell alike: who talked with the caller."""

    __slots__ = ()

    operator: str | None
    operators: tuple[str, ...]

    def to_json(self) -> Json:
        """Every field; `operators` names each operator, in order, also where it was one."""
        return Record.to_json(self) | {"operators": [*self.each_operator]}

    @property
    def each_operator(self) -> tuple[str, ...]:
        """All who talked with the caller, in order."""
        return self.operators or ((self.operator,) if self.operator else ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording(Answered):
    """One recording. `path` is relative to the configuration's folder, null once nothing is on disk."""

    id: str
    call_id: str | None = None
    started_at: datetime  # of the INVITE
    ended_at: datetime | None = None
    duration_s: float | None = None
    caller: str | None = None  # E.164
    called: str | None = None
    operator: str | None = None  # the last one, after a transfer
    operators: tuple[str, ...] = ()  # where several talked, all in order
    status: Status = Status.OPEN
    incomplete: bool = False  # a crash, or dropped frames: something is missing
    decision: str | None = None
    notice: Notice | None = None
    channels: int | None = None
    sample_rate: int | None = None  # Hz
    path: str | None = None
    bytes: int | None = None
    sha256: str | None = None  # of the stored file
    pauses: tuple[Pause, ...] = ()
    missing: tuple[MissingSound, ...] = ()  # all that is not what was said, pauses and holds among it
    flagged: bool = False
    expires_at: datetime
    hold: Json | None = None
    purged_at: datetime | None = None

    def tombstone(self, status: Status, at: datetime) -> "Recording":
        """What stays after the purge: when, to which number, how long and which bytes; not who."""
        gone = replace(self, call_id=None, caller=None, operator=None, operators=(), path=None, hold=None)
        return replace(gone, status=status, purged_at=at)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerIdentity(Record):
    """How far the caller's number is known to be the caller's, as the trunk or our edge says (RFC 8224).

    `number`: that of the receipt, and forgotten with it. `attestation`: A, B or C (RFC 8588), null where the
    level is not known. `verified`: by whoever could; null where nobody did. `masked`: no number was to be
    shown, and nothing tells whether the caller or a network wished so.
    """

    number: str | None = None
    attestation: str | None = None
    verified: bool | None = None
    masked: bool = False

    @property
    def state(self) -> str:
        """In a word or two: a code, whose French is a label."""
        if self.masked or self.verified is None:
            return "masked" if self.masked else "claimed"
        if not self.verified:
            return "failed"
        return f"verified {self.attestation}" if self.attestation else "verified, level unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt(Answered):
    """What every call leaves, recorded or not. It shares its `id` with its recording, if there is one."""

    id: str
    call_id: str | None = None
    started_at: datetime
    answered_at: datetime | None = None
    connected_at: datetime | None = None
    ended_at: datetime | None = None  # null while the call is on
    caller: str | None = None
    called: str | None = None
    operator: str | None = None  # the last one, after a transfer
    operators: tuple[str, ...] = ()  # where several talked, all in order
    outcome: str | None = None
    decision: str = "undecided"
    decided_by: str | None = None
    decided_at: datetime | None = None
    phase: str | None = None
    dtmf_method: str | None = None
    keyword: str | None = None
    confidence: float | None = None
    notice_played_ms: int | None = None
    events: tuple[Event, ...] = ()
    recording_id: str | None = None
    quality: Quality | None = None  # of its sound; null where it had none
    caller_identity: CallerIdentity | None = None
    not_recorded_because: str | None = None  # where it should have been, wholly: `shortfall.REASONS`
    expires_at: datetime | None = None  # when its personal fields are emptied

    def __post_init__(self) -> None:
        """The number is in one place, so it is forgotten in one."""
        identity = self.caller_identity
        if identity and identity.number != self.caller:
            object.__setattr__(self, "caller_identity", replace(identity, number=self.caller))

    @property
    def unheard(self) -> bool:
        """Whether it is not recorded because nobody could judge what was said: a doubt has a confidence."""
        return self.decision == "not_allowed" and self.decided_by == "unclear" and self.confidence is None

    @property
    def is_forgotten(self) -> bool:
        """Whether what leads to a person was taken from it. Every receipt of a call has a Call-ID before."""
        return self.call_id is None and not self.events

    def anonymous(self) -> "Receipt":
        """What statistics need: no number of the caller, and nothing of the operator.

        The Call-ID goes too (it links this row to the carrier's own), and the events (free text). The times
        and the dialled number stay; anyone with the carrier's records can match them.
        """
        return replace(self, call_id=None, caller=None, operator=None, operators=(), keyword=None, events=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Access(Record):
    """One use of a recording, done or refused.

    `by` is claimed, `system_user` is what the system knows. `login` is the account that was logged in, null
    at a shell; `via` is `cli`, `web` or `api`, null where the agent did it.
    """

    at: datetime
    action: str  # export, play, delete, purge, rebuild
    recording_id: str | None = None
    purpose: str | None = None
    by: str | None = None
    system_user: str | None = None
    reference: str | None = None
    outcome: str = "done"  # or `refused`, `failed`; `begun` before what takes its time, and may fail
    detail: str | None = None
    login: str | None = None
    via: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Note(Record):
    """The analysis of a recording by the person who listened to it; kept until `expires_at`, then emptied."""

    recording_id: str
    at: datetime
    by: str | None
    text: str | None
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Sum(Record):
    """Calls that are counted together, where each has no receipt; nothing in it leads to a person."""

    what: str  # `rejected`, or `lost`: their receipts could not be written
    count: int
    from_at: datetime
    until_at: datetime  # of the last one
    code: int | None = None  # of the answer
    by: str | None = None  # as the receipts of such calls say: `edge: full`


@dataclass(frozen=True, slots=True)
class Term:
    """How people are asked for a field of a hold, and shown it.

    `label` and the others in its place, `form` beside an input and `column` over a column, are texts of the
    page; `help` and `metavar` of the option, and `help` of the interface's document. `kind`: a `line`, a
    `ground` of retention.hold_grounds, or a `day`. `open`: it leads to no person, so it is never sealed.
    """

    label: str
    help: str
    metavar: str
    kind: str = "line"
    form: str = ""
    column: str = ""
    open: bool = False


def _term(*texts: Any, **more: Any) -> Any:
    return field(default=None, metadata={"term": Term(*texts, **more)})


@dataclass(frozen=True, kw_only=True)
class HoldTerms(Record):
    """What somebody says who asks for a hold. Options, forms, columns and JSON are made of these fields."""

    ground: str | None = _term("Ground", "One of retention.hold_grounds.", "G", "ground", open=True)
    reference: str | None = _term(
        "Reference",
        "Of the file that it serves, not a name.",
        "R",
        form="Reference of the file that it serves, not a name",
    )
    review: str | None = _term(
        "To be looked at again on",
        "The day on which the hold is looked at again: 2027-01-31.",
        "DATE",
        "day",
        column="Review",
        open=True,
    )


@dataclass(frozen=True, kw_only=True)
class Hold(HoldTerms):
    """The field `hold` of a recording: what was asked for, and which two people have agreed on it."""

    by: str | None = _term("Asked by", "Your name.", "WHO")
    approved_by: str | None = _term("Approved by", "Who agrees: somebody else.", "WHO")


def terms(of: type[HoldTerms]) -> dict[str, Term]:
    """Each field of a hold, or of what is asked for, by its name."""
    return {one.name: one.metadata["term"] for one in fields(of) if "term" in one.metadata}


LATER_TERMS = tuple(name for name in terms(HoldTerms) if name not in {"ground", "reference", "review"})
"""The fields of `HoldTerms` that came after 0.1.0: its databases have no column for them, and its entries of
the chain say nothing of them."""


def parse_json(text: str) -> Json:
    """A JSON object that a database can take: no NaN, no half of a surrogate pair. Raises RecordError."""
    try:
        value = _object(json.loads(text, parse_constant=_no_number))
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, TypeError, RecursionError) as wrong:
        raise RecordError("not readable: {0}", wrong) from wrong
    return value


def to_text(at: datetime) -> str:
    """`2026-11-24T22:20:00.123Z`. Raises ValueError for a time without a zone."""
    if at.tzinfo is None:
        raise ValueError(Reason("{0} has no time zone", at.isoformat()))
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_text(text: str) -> datetime:
    """The inverse of `to_text`; any other ISO 8601 offset is understood too. Raises ValueError, TypeError."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(Reason("{0} has no time zone", f"{text!r}"))
    try:
        return at.astimezone(UTC)
    except OverflowError as wrong:
        raise ValueError(Reason("{0}: {1}", f"{text!r}", wrong)) from wrong


def new_id(now: datetime, worker: int | None = None, host: str | None = None) -> str:
    """An id that sorts by time and is safe as a file name: `20261124T222000123-482913`.

    With several hosts and workers it names them: `20261124T222000123-ha-w3-482913`, so that no two give the
    same id. The last six digits are the call's reference, which people can tell each other.
    """
    at = now.astimezone(UTC)
    of = ("" if host is None else f"h{host}-") + ("" if worker is None else f"w{worker}-")
    return f"{at:%Y%m%dT%H%M%S}{at.microsecond // 1000:03d}-{of}{secrets.randbelow(10**6):06d}"


class Ids:
    """The ids that one process gives, all different; `worker`, `host`: which one, if there are several."""

    def __init__(self, worker: int | None = None, host: str | None = None) -> None:
        self._worker = worker
        self._host = host
        self._given: set[str] = set()  # at the moment of the last one

    def new(self, now: datetime) -> str:
        """An id as `new_id` makes it, not given before."""
        id = new_id(now, self._worker, self._host)
        moment, _, _ = id.partition("-")
        self._given = {one for one in self._given if one.startswith(moment)}
        while id in self._given:
            id = new_id(now, self._worker, self._host)
        self._given.add(id)
        return id


def reference_of(id: str) -> str:
    """What names a call without a number: `482913`. Together with the day it is almost certainly unique."""
    return id.rpartition("-")[2]


def has_sound(row: Recording) -> bool:
    """Whether its sound exists, whole or still growing."""
    return row.status in (Status.OPEN, Status.CLOSED)


def seconds_between(row: Receipt, first: str, last: str) -> float | None:
    """Seconds between two of a receipt's times; None where one of them is not known."""
    start, end = getattr(row, first), getattr(row, last)
    return (end - start).total_seconds() if start and end else None


def begun_at(id: str) -> datetime | None:
    """The moment that `new_id` wrote into an id, if it did."""
    match = _TIMED_ID.fullmatch(id)
    if match is None:
        return None
    try:
        return datetime.strptime(f"{match[1]}{match[2]}000", "%Y%m%dT%H%M%S%f").replace(tzinfo=UTC)
    except ValueError:
        return None


def worker_of(id: str) -> int | None:
    """The worker that `new_id` wrote into an id; None if there was only one process."""
    match = _TIMED_ID.fullmatch(id)
    return None if match is None or match["worker"] is None else int(match["worker"])


def host_of(id: str) -> str | None:
    """The host that `new_id` wrote into an id; None if there was only one."""
    match = _TIMED_ID.fullmatch(id)
    return None if match is None else match["host"]


def is_id(text: str) -> bool:
    """Whether `text` can be an id, and so a file name: letters, digits, hyphens; no dot, no slash."""
    return _ID.fullmatch(text) is not None


def parse_period(period: str) -> relativedelta:
    """`6 months`, `1 year`, `90 days`, `2 weeks`. Raises PeriodError."""
    match = _PERIOD.fullmatch(period)
    if match is None or int(match[1]) == 0:
        raise PeriodError(
            "{0!r} is not a period; accepted: '90 days', '2 weeks', '6 months', '1 year'", period
        )
    count, (days, unit) = int(match[1]), _UNITS[match[2]]
    if count * days > _LONGEST_DAYS:
        raise PeriodError("{0!r} is too long; accepted: up to 100 years", period)
    return unit * count


def due_date(started_at: datetime, period: str) -> datetime:
    """When what began at `started_at` must be removed, by the calendar (31 August + 6 months: 28 February).

    The end of the calendar if it would be later. Raises PeriodError.
    """
    span = parse_period(period)
    try:
        return started_at.astimezone(UTC) + span
    except (ValueError, OverflowError):
        return datetime.max.replace(tzinfo=UTC)


_SIMPLE = {NoneType, bool, int, float, str}


def _plain(value: object) -> object:
    match value:
        case datetime():
            return to_text(value)
        case date():
            return value.isoformat()
        case Enum():
            return value.value
        case tuple() | list():
            return [_plain(item) for item in value]
        case dict():
            return {name: _plain(item) for name, item in value.items()}
    return value.to_json() if isinstance(value, Record) else value


def _rich(name: str, of: FieldType, value: Any) -> Any:
    """The typed value of a field. Raises ValueError, TypeError."""
    if value is None:
        return () if of.several else None
    try:
        if name == "operators":
            return _operators(value)
        if of.several:
            return tuple(map(_reader(of.type), value))
        return (_id if name == "id" else _reader(of.type))(value)
    except (TypeError, ValueError) as wrong:
        raise ValueError(Reason("{0}: {1}", name, wrong)) from wrong


def _reader(kind: Any) -> Callable[[Any], object]:
    if isinstance(kind, type) and issubclass(kind, Record):
        return kind.from_json
    return kind if isinstance(kind, type) and issubclass(kind, Enum) else _READERS.get(kind, _text)


def _id(value: object) -> str:
    if not is_id(_text(value)):
        raise ValueError(Reason("{0!r} is not an id", value))
    return _text(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(Reason("{0!r} is not a text", value))
    return value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(Reason("{0} is not a number", f"{value!r}"))
    if not -(2**63) <= value < 2**63:
        raise ValueError(Reason("{0!r} is too large", value))
    return value


def _no_number(name: str) -> float:
    raise ValueError(Reason("{0} is not a number", name))


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError(Reason("{0!r} is not true or false", value))
    return value


def _operators(value: object) -> tuple[str, ...]:
    """None for one: `operator` says it."""
    if not isinstance(value, list):
        raise TypeError(Reason("{0!r} is not a list", value))
    return tuple(map(_text, value)) if len(value) > 1 else ()


def _object(value: object) -> Json:
    if not isinstance(value, dict):
        raise TypeError(Reason("{0!r} is not an object", value))
    return value


_READERS: dict[type, Callable[[Any], object]] = {
    str: _text,
    datetime: from_text,
    bool: _flag,
    int: _number,
    float: _number,
    dict: _object,
}


class Asked(StrEnum):
    """What can be asked for."""

    HOLD = "hold"
    RENEW = "renew"
    RELEASE = "release"
    EXPORT = "export"


class ApprovalState(StrEnum):
    """The life of what was asked for: pending → approved | refused | withdrawn; an export approved → used."""

    PENDING = "pending"
    APPROVED = "approved"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    USED = "used"


@dataclass(frozen=True, kw_only=True)  # without slots: `super` would not find its class
class Approval(HoldTerms):
    """One thing that was asked for, and what came of it.

    `id` is its number, 0 where it is not kept yet. `by` and `decided_by` are accounts. Of what is asked for
    an export has a reference alone. What leads to a person is null once it is forgotten.
    """

    id: int = 0
    at: datetime
    action: str  # of Asked
    recording_id: str
    by: str | None
    purpose: str | None = None  # of an export
    channel: str | None = None  # of an export
    reason: str | None = None
    state: str = ApprovalState.PENDING.value
    decided_at: datetime | None = None
    decided_by: str | None = None
    answer: str | None = None

    @classmethod
    def from_json(cls, json: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`. Raises RecordError."""
        number = json.get("id", 0)
        if type(number) is not int:
            raise RecordError("approval: id: {0!r} is not a number", number)
        fields = {name: value for name, value in json.items() if name != "id"}
        return replace(super().from_json(fields), id=number)

    def row(self) -> Json:
        """What is kept of it, without its number."""
        return {name: value for name, value in self.to_json().items() if name != "id"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Special(Record):
    """What is different from the configuration from a moment until another: callers hear a message before the
    notice (its name), or it is closed: null. What was set later has a higher `number`."""

    number: int
    message: str | None = None
    from_at: datetime
    until_at: datetime


def in_force(specials: Iterable[Special], at: datetime) -> Special | None:
    """The one that is different at a moment: a closure, else the message that was set last."""
    those = [one for one in specials if one.from_at <= at < one.until_at]
    return max(those, key=lambda one: (one.message is None, one.number), default=None)


class HostState(StrEnum):
    """What is known of a host."""

    RUNNING = "running"
    DRAINING = "draining"  # takes no new calls
    STOPPED = "stopped"  # it ended in order, with nothing left in its journal
    LOST = "lost"  # its lease has ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Host(Record):
    """A row of `hosts`. `journal`: the identity of its journal; `shipped` and `shipped_hash`: the journal's
    last entry whose row is here. `lease_until` is null where it ended in order. Times are of the database's
    clock, but for `oldest_at`, when the first row that waits was written, by the host's own."""

    host: str
    version: str
    journal: str
    shipped: int = 0
    shipped_hash: str = ""
    calls: int = 0
    lag_rows: int = 0
    oldest_at: datetime | None = None
    draining: bool = False
    seen_at: datetime
    lease_until: datetime | None = None

    def state(self, now: datetime) -> HostState:
        """`now`: by the database's clock."""
        if self.lease_until is None:
            return HostState.STOPPED
        if self.lease_until < now:
            return HostState.LOST
        return HostState.DRAINING if self.draining else HostState.RUNNING

    def lag_s(self, now: datetime) -> float:
        """For how long the oldest row had waited when it was last seen, and has since."""
        return 0.0 if self.oldest_at is None else max(0.0, (now - self.oldest_at).total_seconds())
