"""All that is kept of a person's calls: found by the number or a call's reference, for page and package."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from retention.recording import Access, Event, Json, reference_of, to_text
from retention.rules.deletion import KeptCall, why_stays
from retention.rules.purge import due
from retention.rules.use import nothing_to_use
from sipagent.languages.reason import Reason
from sipagent.lookup.person import calls_of_caller, calls_of_reference
from sipagent.lookup.whole import WholeRecord, whole_record
from sipagent.web.site import Site

MOST = 500  # calls that a page shows
_ADDRESS = re.compile(r"\bsips?:\S*[^\s:]")
_LEARNT = ("export", "play", "note", "answer")  # by which somebody learnt of it
_ROW = ("ended_at", "duration_s", "status", "incomplete", "decision", "channels", "sample_rate", "bytes")
_RECEIPT = (
    *("answered_at", "connected_at", "ended_at", "caller", "called", "outcome", "decision", "decided_by"),
    *("decided_at", "phase", "dtmf_method", "keyword", "confidence", "notice_played_ms", "call_id"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Whose calls: of a `caller`, or with this `reference`, on a `day` of the service where one is said."""

    caller: str = ""
    reference: str = ""
    day: str = ""

    def __bool__(self) -> bool:
        return bool(self.caller or self.reference)


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonCall:
    """One call: all that is known of it, and what may become of it.

    `due_at`: when its recording goes; `hold`: what keeps it beyond that; `sound`: whether there is one to
    hear; `stays`: why an erasure would leave it, None if it would go.
    """

    whole: WholeRecord
    started_at: datetime
    due_at: datetime | None
    hold: Json | None
    sound: bool
    stays: str | None

    @property
    def id(self) -> str:
        """The call's own."""
        return self.whole.id

    @property
    def reference(self) -> str:
        """As people tell it each other."""
        return reference_of(self.id)

    @property
    def sealed(self) -> bool:
        """Whether a key is needed to hear it."""
        return self.sound and self.whole.sealed_to is not None

    @property
    def caller(self) -> str | None:
        """The number, while anything has it."""
        rows = (self.whole.recording, self.whole.receipt)
        return next((row.caller for row in rows if row and row.caller), None)

    @property
    def uses(self) -> list[Access]:
        """Those by which somebody heard it, copied it or told of it."""
        return [use for use in self.whole.accesses if use.action in _LEARNT and use.outcome == "done"]


def asked_for(site: Site, asked: Asked) -> list[KeptCall]:
    """The calls that are meant, newest first. Raises ValueError, one line, for what cannot be read."""
    service = site.config.service
    if asked.caller and asked.reference:
        raise ValueError(Reason("both are given; accepted: a number, or the reference of a call"))
    if asked.caller:
        found = calls_of_caller(site.store, asked.caller, service.country)
    elif asked.reference:
        found = calls_of_reference(site.store, asked.reference)
    else:
        raise ValueError(Reason("neither is given; accepted: a number, or the reference of a call"))
    if asked.day:
        day = _day(asked.day)
        found = [call for call in found if site.local(call.started_at).date() == day]
    return found[::-1]


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(Reason("{text!r} is not a day; accepted: 2026-11-24", text=text)) from None


def chosen(calls: Sequence[KeptCall], ids: Collection[str]) -> list[KeptCall]:
    """Those that somebody has ticked."""
    return [call for call in calls if call.id in ids]


def all_of(site: Site, call: KeptCall) -> PersonCall:
    """What is kept of a call. Raises UnknownId, StoreError."""
    whole = whole_record(site.archive, call.id)
    row = whole.recording
    return PersonCall(
        whole=whole,
        started_at=call.started_at,
        due_at=due(row, site.config.retention.period) if row else None,
        hold=site.archive.hold_of(row) if row else None,
        sound=row is not None and nothing_to_use(row) is None,
        stays=why_stays(site.archive, call),
    )


def nameless(what: str) -> str:
    """A line of a call's story without the addresses of operators."""
    return _ADDRESS.sub("…", what)


def story(call: PersonCall, *, names: bool) -> list[Event]:
    """The events of a call, oldest first; without `names` they lead to no operator."""
    events = call.whole.receipt.events if call.whole.receipt else ()
    return [
        event if names else Event(at=event.at, what=nameless(event.what), by=event.by) for event in events
    ]


def to_json(call: PersonCall, *, names: bool, sound: str | None) -> Json:
    """A call for programs; `names`: of those who answered and used it; `sound`: the file beside it."""
    row, receipt = call.whole.recording, call.whole.receipt
    answered = next((one for one in (receipt, row) if one and one.operator), None) if names else None
    return {
        "id": call.id,
        "reference": call.reference,
        "started_at": to_text(call.started_at),
        "operator": answered and answered.operator,
        "operators": [*answered.each_operator] if answered else [],
        "call": receipt and _some(receipt.to_json(), _RECEIPT),
        "events": [event.to_json() for event in story(call, names=names)],
        "recording": row and _some(row.to_json(), (*_ROW, "sha256", "pauses", "purged_at")),
        "kept_until": to_text(call.due_at) if call.due_at else None,
        "held_as_evidence": call.hold and {name: call.hold.get(name) for name in ("ground", "review")},
        "analyses": [{"at": to_text(note.at), "text": note.text} for note in call.whole.notes],
        "uses": [
            {"at": to_text(use.at), "action": use.action, "purpose": use.purpose}
            | ({"by": use.by} if names else {})
            for use in call.uses
        ],
        "sound": sound,
    }


def _some(json: Json, names: Collection[str]) -> Json:
    return {name: json[name] for name in names}
