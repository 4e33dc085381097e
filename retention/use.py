"""The use of a recording: who may use it for what, what the trace says of it, and the copies that left.

**Who may.** Pure rules; the purposes come from the configuration. (GDPR article 5(1)(b), purposes are
specified; 5(1)(e), kept no longer than necessary; article 15, a person's own access.) The uses themselves:
`sipagent.operations.uses`.

**Copies** that were exported: where the trace of uses says that they are, and whether they still are. A
purge removes only what is in the archive; for an export it can only say where to look. Of a copy that was
downloaded only its name is known, and who has it: nobody here can look.
"""

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from retention.records import Access, Receipt, Record, Recording, Status, to_text
from retention.rows.rows import Rows
from retention.texts import Reason

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


def why_not_told(
    receipt: Receipt | None, recording: Recording | None, use: Access, purposes: Collection[str]
) -> str | None:
    """The same of what is told of a call that has no sound to use: until its receipt must be emptied."""
    if (reason := _not_named(recording, use, purposes)) is not None or receipt is None:
        return reason
    if receipt.ended_at is None:
        return Reason("the call is still in progress")
    if receipt.expires_at is None or receipt == receipt.anonymous():
        return None
    return _too_late(recording, use, receipt.expires_at)


def purposes_of(recording: Recording | None, purposes: Collection[str]) -> list[str]:
    """What a use of this recording may be for; None: of a call that has none."""
    ground = hold_ground(recording)
    return list(dict.fromkeys([*purposes, ACCESS_REQUEST, *([ground] if ground else [])]))


def _not_named(recording: Recording | None, use: Access, purposes: Collection[str]) -> str | None:
    accepted = purposes_of(recording, purposes)
    if not use.purpose:
        return Reason("a purpose is needed; accepted: {0}", ", ".join(accepted))
    if use.purpose not in accepted:
        return Reason("purpose {0!r} is not listed; accepted: {1}", use.purpose, ", ".join(accepted))
    if not (use.by or "").strip():
        return Reason("the name of who uses it is needed (--by)")
    if use.purpose == ACCESS_REQUEST and not (use.reference or "").strip():
        return Reason("purpose {0} needs the reference of the request (--reference)", ACCESS_REQUEST)
    return None


def _too_late(recording: Recording | None, use: Access, due_at: datetime) -> str | None:
    """After its date a held recording is only for that hold; but a person may ask for it while it exists."""
    ground = hold_ground(recording)
    if use.at < due_at or use.purpose in (ACCESS_REQUEST, ground):
        return None
    if ground is None:
        said = "it has expired ({0}) and awaits the purge; accepted: {1}"
    else:
        said = "it has expired ({0}) and is kept by its hold alone; accepted: {1}, {2}"
    return Reason(said, to_text(due_at), ACCESS_REQUEST, ground)


def hold_ground(recording: Recording | None) -> str | None:
    """The ground of its hold; None if it is not held."""
    return None if recording is None or recording.hold is None else str(recording.hold["ground"])


def nothing_to_use(recording: Recording) -> str | None:
    """Why there is no sound to use, in one line; None if there is."""
    match recording.status:
        case Status.CLOSED:
            return None
        case Status.OPEN:
            return Reason("the call is still in progress")
        case Status.ERASED:
            return Reason("it was erased during the call: the caller refused, or the operator stopped it")
        case Status.FAILED:
            return Reason("the recorder failed, nothing was kept")
        case Status.PURGING | Status.PURGED:
            return already_purged(recording)


def already_purged(recording: Recording) -> str:
    """`it is already purged (2027-05-24T22:20:00.123Z)`."""
    purging = recording.status is Status.PURGING
    said = Reason("it is already purging") if purging else Reason("it is already purged")
    when = recording.purged_at
    return Reason("{0} ({1})", said, to_text(when)) if when else said


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

    texts = ("purpose", "by", "reference", "detail")
    kept: dict[str, Any] = {name: plain(getattr(use, name), call) for name in texts}
    return replace(use, **kept)


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


@dataclass(frozen=True, kw_only=True)
class KnownCopy(Record):
    """An exported copy: its absolute path, or only a name where it was downloaded and is `elsewhere`.

    What led to a person is `…` in it. `at` and `by` are of the latest export to that path.
    """

    path: str
    at: datetime
    by: str | None

    @property
    def elsewhere(self) -> bool:
        """Whether it was downloaded to another machine."""
        return not Path(self.path).is_absolute()


@dataclass(frozen=True, kw_only=True)
class ExportedCopy(KnownCopy):
    """An exported copy, and whether it is still there: any file whose path fits.

    Null where nobody here can know: elsewhere, and without permission to look.
    """

    exists: bool | None

    @property
    def may_remain(self) -> bool:
        """Whether somebody has to remove it, as far as can be known."""
        return self.exists is not False


WITHOUT_SOUND = "vCon without its sound"


def gives_sound(use: Access) -> bool:
    """Whether by this use somebody had the sound: not by a vCon that has none of it."""
    what = (use.detail or "").partition(" to ")[0]
    return (use.action, use.outcome) in (("export", "done"), ("play", "done")) and WITHOUT_SOUND not in what


def told_of_export(channel: str, path: Path, of: Recording | Receipt) -> str:
    r"""What the trace of an export says: `caller to "/home/durand/call.wav"`.

    The path is a JSON string, so that its end is clear; a byte that is not UTF-8 is `\udc..` in it.
    """
    return _told(channel, str(path.absolute()), of)


def told_of_download(channel: str, name: str, of: Recording | Receipt) -> str:
    """What the trace says of an export that somebody downloads: `both to "482913.flac"`, its name alone.

    Raises ValueError for what would be a path of this machine.
    """
    if not name or "/" in name:
        raise ValueError(Reason("{0!r} is not the name of a file", name))
    return _told(channel, name, of)


def _told(channel: str, path: str, of: Recording | Receipt) -> str:
    name = without_person(path, of)
    quoted = json.dumps(name, ensure_ascii=False).encode("utf-8", "backslashreplace").decode()
    return f"{channel} to {quoted}"


def known_copies(store: Rows, id: str) -> tuple[ExportedCopy, ...]:
    """Where copies of this recording went, each place once, oldest first; elsewhere, each person's.

    Raises StoreError.
    """
    return tuple(copies_of(store, [id]).get(id, ()))


def remaining_copies(store: Rows, id: str) -> tuple[KnownCopy, ...]:
    """Those that may still exist. Raises StoreError."""
    return tuple(KnownCopy.of(copy) for copy in known_copies(store, id) if copy.may_remain)


def copies_of(store: Rows, ids: Sequence[str]) -> dict[str | None, list[ExportedCopy]]:
    """What `known_copies` tells, of each of these that has any; up to a batch. Raises StoreError."""
    found: dict[str | None, dict[tuple[Path, str | None], ExportedCopy]] = {}
    for use in store.accesses_of(ids):
        if (use.action, use.outcome) != ("export", "done") or use.detail is None:
            continue
        path = _path(use.detail)
        here = path.is_absolute()
        place = path, None if here else use.login or use.by
        its = found.setdefault(use.recording_id, {})
        its.pop(place, None)  # in the order of the latest export
        there = _exists(Path(path.anchor), path.parts[1:]) if here else None
        its[place] = ExportedCopy(path=str(path), at=use.at, by=use.by, exists=there)
    return {id: [*its.values()] for id, its in found.items()}


def _path(detail: str) -> Path:
    """The inverse of `told`; of a detail that was altered whatever stands behind `to`."""
    path = detail.partition(" to ")[2]
    try:
        return Path(json.loads(path))
    except (ValueError, TypeError):
        return Path(path)


def _exists(folder: Path, parts: Sequence[str]) -> bool | None:
    if not parts:
        return True
    first, *rest = parts
    try:
        if CUT in first:
            name = re.compile(".*".join(map(re.escape, first.split(CUT))), re.DOTALL)
            there = [path for path in folder.iterdir() if name.fullmatch(path.name)]
        else:
            there = [folder / first]
            there[0].lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return None
    found = {_exists(path, rest) for path in there}
    return True if True in found else None if None in found else False
