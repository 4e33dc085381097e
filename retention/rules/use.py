"""Who may use a recording for what: pure rules. The purposes come from the configuration.

(GDPR article 5(1)(b), purposes are specified; 5(1)(e), kept no longer than necessary; article 15, a person's
own access.)
"""

import re
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime
from urllib.parse import unquote

from retention.recording import Access, Receipt, Recording, Status, to_text

ACCESS_REQUEST = "access_request"  # a person asks for what is kept about them; always possible, by reference
CUT = "…"  # replaces in the trace what would lead to a person

_TAIL = 8  # digits; the ones before them, of a country or a network, lead to no person
_AROUND = 24  # characters of its line shown beside what would be cut out
_LEAST = 3  # characters of a name or a short number that can be told from the text around it


def why_not(recording: Recording, use: Access, purposes: Collection[str], due_at: datetime) -> str | None:
    """Why this use of a recording is refused, in one line; None if it is allowed.

    `use` says when, for what and by whom; `due_at` is when the recording must be removed if nothing holds it.
    """
    return (
        _not_named(recording, use, purposes) or nothing_to_use(recording) or _too_late(recording, use, due_at)
    )


def purposes_of(recording: Recording, purposes: Collection[str]) -> list[str]:
    """What a use of this recording may be for."""
    ground = hold_ground(recording)
    return list(dict.fromkeys([*purposes, ACCESS_REQUEST, *([ground] if ground else [])]))


def _not_named(recording: Recording, use: Access, purposes: Collection[str]) -> str | None:
    accepted = purposes_of(recording, purposes)
    if not use.purpose:
        return f"a purpose is needed; accepted: {', '.join(accepted)}"
    if use.purpose not in accepted:
        return f"purpose {use.purpose!r} is not listed; accepted: {', '.join(accepted)}"
    if not (use.by or "").strip():
        return "the name of who uses it is needed (--by)"
    if use.purpose == ACCESS_REQUEST and not (use.reference or "").strip():
        return f"purpose {ACCESS_REQUEST} needs the reference of the request (--reference)"
    return None


def _too_late(recording: Recording, use: Access, due_at: datetime) -> str | None:
    """After its date a held recording is only for that hold; but a person may ask for it while it exists."""
    ground = hold_ground(recording)
    if use.at < due_at or use.purpose in (ACCESS_REQUEST, ground):
        return None
    expired = f"it has expired ({to_text(due_at)})"
    if ground is None:
        return f"{expired} and awaits the purge; accepted: {ACCESS_REQUEST}"
    return f"{expired} and is kept by its hold alone; accepted: {ACCESS_REQUEST}, {ground}"


def hold_ground(recording: Recording) -> str | None:
    """The ground of its hold; None if it is not held."""
    return None if recording.hold is None else str(recording.hold["ground"])


def nothing_to_use(recording: Recording) -> str | None:
    """Why there is no sound to use, in one line; None if there is."""
    match recording.status:
        case Status.CLOSED:
            return None
        case Status.OPEN:
            return "the call is still in progress"
        case Status.ERASED:
            return "it was erased during the call: the caller refused, or the operator stopped it"
        case Status.FAILED:
            return "the recorder failed, nothing was kept"
        case Status.PURGING | Status.PURGED:
            return already_purged(recording)


def already_purged(recording: Recording) -> str:
    """`it is already purged (2027-05-24T22:20:00.123Z)`."""
    when = f" ({to_text(recording.purged_at)})" if recording.purged_at else ""
    return f"it is already {recording.status.value}{when}"


def without_person(text: str | None, call: Recording | Receipt) -> str | None:
    """The text with the caller's number and the operator's user part cut out.

    What is written into the trace of uses outlives the purge; a file named after one of them would too. A
    number is found in its international or national form, in any grouping. A name (`marie.durand`) or an
    extension of at least 3 characters is found as a separate word, with `.`, `-` or `_` inside it.
    """
    for pattern in _patterns(call):
        text = text and re.sub(pattern, CUT, text, flags=re.IGNORECASE)
    return text


def what_goes(text: str, call: Recording | Receipt) -> list[str]:
    """What `without_person` would cut out, in its line: `see article [201] of the contract`, in order."""
    found = {
        match.start(): match
        for pattern in _patterns(call)
        for match in re.finditer(pattern, text, flags=re.IGNORECASE)
    }
    return [_in_its_line(text, *found[start].span()) for start in sorted(found)]


def _in_its_line(text: str, start: int, end: int) -> str:
    before = text[max(start - _AROUND, 0) : start].rpartition("\n")[2]
    behind = text[end : end + _AROUND].partition("\n")[0]
    return f"{before}[{' '.join(text[start:end].split())}]{behind}".strip()


def _patterns(call: Recording | Receipt) -> list[str]:
    """The patterns that find caller and operator."""
    names = (call.caller, *(part for one in call.each_operator for part in _user_parts(one)))
    return [pattern for name in names if name and (pattern := _pattern(name))]


def discreet(use: Access, call: Recording | Receipt) -> Access:
    r"""What is kept of a use: nothing of caller and operator, and only what a database can take.

    A byte that was not UTF-8 is `\udc..` in it.
    """

    return replace(
        use,
        purpose=plain(use.purpose, call),
        by=plain(use.by, call),
        reference=plain(use.reference, call),
        detail=plain(use.detail, call),
    )


def plain(text: str | None, call: Recording | Receipt) -> str | None:
    """One text as it is kept: see `discreet`."""
    without = without_person(text, call)
    return without and without.encode("utf-8", "backslashreplace").decode()


def _user_parts(address: str | None) -> tuple[str, ...]:
    """`201` of `sip:201;x=y@pbx.example.net`, as written and as meant (RFC 3261 section 19.1.1)."""
    if not address:
        return ()
    scheme, colon, rest = address.partition(":")
    user, at, _ = (rest if colon else scheme).rpartition("@")
    if not at:
        user = "" if colon else address
    user = re.split("[;:]", user, maxsplit=1)[0]
    return tuple({user, unquote(user)})


def _pattern(name: str) -> str | None:
    digits = re.sub(r"[\s+().-]", "", name)
    if len(digits) >= _TAIL and digits.isdecimal():
        return r"[\s().\-_]*".join(digits[-_TAIL:])
    if len(name) < _LEAST:
        return None
    words = r"[._-]?".join(re.escape(word) for word in re.split(r"[._-]+", name) if word)
    return rf"(?<![^\W_]){words}(?![^\W_])" if words else None
