"""Rows and files together: after a crash at any moment, the row tells what must still be done.

A recording is `ID.part` while the call is on, then `ID.flac` or `ID.wav` with `ID.json` beside it. Beside
either, `ID.refused` says that the recording must be erased: see `marks`. How it goes: see `erase`.

- open: the row first, then the file, so that no file is without its row;
- close: the file is in place, then `ID.json` and the row, both in one transaction; a store has its copy
  of the JSON before that begins, and the transaction says that it is the one that counts. A row still `open`
  after a crash is decided again: see `unfinished`.

**Rotation** seals recordings to other recipients: a new one can listen, one who leaves no longer can. The
sound stays as it is. What changes: to whom its key in the vault is sealed, and to whom the personal part
of `ID.json` is. A former recipient who copied both can still listen to that copy.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from retention import marks
from retention.files import Places
from retention.marks import Marks
from retention.recording_files import (
    Area,
    FileKind,
    FileVersion,
    RecordingFiles,
    finished,
    in_row,
    sha256,
    write,
)
from retention.records import Hold, Json, RecordError, Recording, Status, parse_json, terms
from retention.rows.chain import PERSONAL, personal_text, public
from retention.rows.pages import BREATH_S
from retention.rows.rows import Damaged, Rows
from retention.rows.selection import Selection
from retention.texts import Reason
from retention.vault import Identity, KeysError, PublicKey, Vault, encode

ArchiveError = marks.ArchiveError

_TRIES = 5  # of what another process changes at the same time
SIZE_LIMIT = 1 << 20  # bytes; no metadata of ours is longer
_UNKNOWN: Json = dict.fromkeys(terms(Hold)) | {"ground": "unknown"}


class ChangedMeanwhile(ArchiveError):
    """Another process has changed the recording since it was looked at."""

    def __init__(self, id: str) -> None:
        super().__init__(Reason("{0}: another process changes it; accepted: try again", id))


class Archive:
    """Rows in `store`, everything else in `files`, and `marks` of what must be erased.

    `here`: where this host has what is not in the database yet; None: where the store has its own.
    """

    def __init__(self, store: Rows, files: RecordingFiles, marks: Marks, here: Places | None = None) -> None:
        self.here = store.places if here is None else here
        self.store = store
        self.files = files
        self.vault = Vault(files)
        self.marks = marks

    # what is there

    def names(self) -> list[tuple[str, str | None]]:
        """Every name among the recordings with the id it belongs to; no id: not a file of ours."""
        return sorted(self.files.names(Area.RECORDINGS))

    def keys(self) -> list[tuple[str, str | None]]:
        """Every name in the vault with the id it belongs to; no id: not a file of ours."""
        return sorted(self.files.names(Area.VAULT))

    def read_metadata(self, id: str) -> Json:
        """The JSON beside a recording. Raises RecordError if it is not valid, FileNotFoundError, OSError."""
        with self.files.open(id, FileKind.METADATA) as file:
            content = file.read(SIZE_LIMIT + 1)
        try:
            return parse_json(content.decode())
        except UnicodeDecodeError as error:
            raise RecordError("not readable: {0}", error) from error

    def told(self, id: str) -> Json | None:
        """The JSON beside a recording; None if it is missing or cannot be read."""
        try:
            return self.read_metadata(id)
        except (OSError, RecordError):
            return None

    # the life of a recording

    def open(self, recording: Recording) -> Path:
        """Commit the row as `open`, then say where the tap may write.

        Raises StoreError if the id is taken, ArchiveError if it is not valid, OSError without a directory.
        """
        part = self.files.spool.path(recording.id, FileKind.PART)
        self.files.spool.prepare()
        self.store.add_recording(replace(recording, status=Status.OPEN, path=None))
        return part

    def close(
        self, recording: Recording, also: Callable[[Recording], object] = lambda row: None
    ) -> Recording:
        """The finished file is in place: write its JSON, make the row `closed`, and return what is kept.

        `also(row)` is done in the same transaction, with the row as it is then.
        Fills in `path` from the file, and `bytes` and `sha256` where they are missing. Raises ArchiveError if
        the row is no longer `open` (a refusal came first) or the file is missing.
        """
        kind = finished(self.files, recording.id)
        if kind is None:
            raise ArchiveError("{0}: no finished file of it is there", recording.id)
        size = self.files.keep(recording.id, kind, partial(self.marks.naming, recording.id))
        closed = replace(
            recording,
            status=Status.CLOSED,
            path=in_row(self.files, recording.id, kind),
            bytes=size if recording.bytes is None else recording.bytes,
            sha256=recording.sha256 or sha256(self.files, recording.id, kind),
            # there before the row is closed only where the row is from a backup
            hold=recording.hold or whole_hold((self.told(recording.id) or {}).get("hold")),
        )
        with self.rewriting(closed) as keep, self.store.write():
            require(self.store.recording(recording.id), Status.OPEN)
            keep()
            also(closed)
        return closed

    def describe(self, recording: Recording) -> None:
        """Write the JSON of a recording that is being closed, whose row others write.

        Raises ArchiveError if it must be erased, or has no key; OSError.
        """
        naming = partial(self.marks.naming, recording.id)
        write(self.files, recording.id, FileKind.METADATA, self._text(recording), naming)

    def change(self, recording: Recording) -> None:
        """Rewrite the row and the JSON of a closed recording.

        Raises ArchiveError if it is not closed, or must be erased.
        """
        self.rewrite(recording.id, lambda row: recording)

    def rewrite(
        self,
        id: str,
        into: Callable[[Recording], Recording],
        also: Callable[[Recording], None] = lambda row: None,
    ) -> Recording:
        """Rewrite the row and the JSON of a closed recording: `into(row)` is what it becomes; what it became.

        `also(row)` is done in the same transaction, before; both are given the row as it was. What `into`
        raises ends it; it is asked before the transaction, and again within. Raises ArchiveError if the
        recording is not closed, must be erased, or changes all the time.
        """
        tries = _TRIES
        while True:
            row = self.store.recording(id)
            wanted = into(row)
            require(row, Status.CLOSED)
            try:
                with self.rewriting(wanted) as keep, self.store.write():
                    row = self.store.recording(id)
                    if into(row) != wanted:
                        raise ChangedMeanwhile(id)
                    require(row, Status.CLOSED)
                    also(row)
                    keep()
                    return wanted
            except ChangedMeanwhile:
                tries -= 1
                if not tries:
                    raise

    @contextmanager
    def rewriting(
        self, recording: Recording, recipients: Sequence[PublicKey] | None = None
    ) -> Iterator[Callable[[], None]]:
        """Have the JSON of this row ready, for a transaction that begins inside; what is given writes both.

        `recipients`: who can open it, where these change with it. Raises ArchiveError if the recording must
        be erased; ChangedMeanwhile if what lies beside it is not what it was.
        """
        id, before = recording.id, self._version(recording.id)
        naming = partial(self.marks.naming, id)
        text = self._text(recording, recipients)
        with self.files.replacing(id, FileKind.METADATA, text, naming) as replace_it:

            def keep() -> None:
                self.marks.raise_if_forbidden(id)
                if self._version(id) != before:
                    raise ChangedMeanwhile(id)
                self.store.update_recording(recording)
                replace_it()

            yield keep

    def unfinished(self, damaged: Damaged | None = None) -> list[Recording]:
        """Rows left `open` by an agent that died, newest first; `damaged(id, problem)` is told of the others.

        Recovery must erase those whose receipt is not `allowed`. It may close the others from what is left:
        the part, or the finished file if the crash came just before the row was closed.
        """
        return self.store.recordings(Selection(status=Status.OPEN), damaged)

    # what holds it

    def hold_of(self, recording: Recording) -> Json | None:
        """What holds a recording: see `holds_of`."""
        return self.holds_of([recording]).get(recording.id)

    def holds_of(self, recordings: Sequence[Recording]) -> dict[str, Json]:
        """What holds each that is held: its row, or only the JSON beside it, after an older database was
        restored.

        If a crash or a backup left the hold in only one of them, it still counts until a person has looked.
        Of what lies in a store of objects, the hold that was set there counts in place of the JSON.
        """
        holds = {row.id: row.hold for row in recordings if row.hold is not None}
        away = []
        for row in recordings:
            if row.hold is not None or row.status is not Status.CLOSED:
                continue
            if not self.files.spool.exists(row.id, FileKind.METADATA):
                away.append(row.id)
            elif hold := whole_hold((self.told(row.id) or {}).get("hold")):
                holds[row.id] = hold
        return holds | dict.fromkeys(self.store.objects.held_of(away), _UNKNOWN)

    # steps

    def _version(self, id: str) -> FileVersion | None:
        try:
            return self.files.version(id, FileKind.METADATA)
        except FileNotFoundError:
            return None

    def _text(self, recording: Recording, recipients: Sequence[PublicKey] | None = None) -> bytes:
        text = json.dumps(self._outside(recording, recipients), ensure_ascii=False, indent=1)
        return text.encode() + b"\n"

    def _outside(self, recording: Recording, recipients: Sequence[PublicKey] | None) -> Json:
        """The JSON beside it. What leads to a person is sealed if the recording is."""
        record = recording.to_json()
        if not self.vault.has(recording.id):
            return self._without_key(record)
        if is_nameless(recording) and self.files.exists(recording.id, FileKind.METADATA):
            raise ArchiveError(
                "{0}: who was recorded is still sealed in its JSON, and would be lost; accepted: "
                "first `sipagent rebuild --identity KEYFILE`",
                recording.id,
            )
        try:
            sealed = self.vault.seal(recording.id, personal_text("recording", record), recipients)
        except KeysError as error:
            raise ArchiveError(str(error)) from error
        return _open_part(record) | {"sealed": sealed}

    def _without_key(self, record: Json) -> Json:
        """What was sealed is never written in clear only because its key is missing, even for a moment."""
        told = self.told(record["id"]) or {}
        if "sealed" in told or self.files.exists(record["id"], FileKind.SEALED):
            return _open_part(record) | {"sealed": told.get("sealed", {})}
        return record


def require(recording: Recording, *accepted: Status) -> Recording:
    """The recording. Raises ArchiveError if its status is none of these."""
    if recording.status not in accepted:
        raise ArchiveError("{0}: the recording is {1}", recording.id, recording.status.value)
    return recording


def why_held(archive: Archive, recording: Recording) -> str | None:
    """`on hold (criminal), to be reviewed 2027-01-01`; None if nothing holds it."""
    return whys_held(archive, [recording]).get(recording.id)


def whys_held(archive: Archive, recordings: Sequence[Recording]) -> dict[str, str]:
    """What `why_held` tells, of each that is held."""
    holds = archive.holds_of(recordings)
    return {row.id: _why(row, holds[row.id]) for row in recordings if row.id in holds}


def _why(recording: Recording, hold: Json) -> str:
    held = Reason("on hold ({0}), to be reviewed {1}", hold.get("ground"), hold.get("review"))
    alone = "{0}; its metadata alone says so, the database does not: see `rebuild`"
    return held if recording.hold else Reason(alone, held)


def whole_hold(hold: object) -> Json | None:
    """What a JSON says of a hold, with all its fields; a sealed JSON tells only ground and review.

    Even a damaged entry counts as a hold.
    """
    if hold is None:
        return None
    told = hold.items() if isinstance(hold, dict) else ()
    text = {name: value for name, value in told if name in _UNKNOWN and isinstance(value, str)}
    return _UNKNOWN | text


def _open_part(record: Json) -> Json:
    return record | dict.fromkeys(PERSONAL["recording"]) | public("recording", record)


def is_nameless(recording: Recording) -> bool:
    """Whether the row leads to no person: that part is gone, or sealed in the JSON that `rebuild` read."""
    return (recording.call_id, recording.caller, recording.operator) == (None, None, None)


_AT_A_TIME = 5  # recordings; then calls can write theirs


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """The result: ids sealed again, how many were sealed so already, id and reason of those left as they
    were."""

    sealed: tuple[str, ...] = ()
    already: int = 0
    failed: tuple[tuple[str, str], ...] = ()


def rotate(
    archive: Archive,
    identity: Identity,
    recipients: Sequence[PublicKey],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Rotation:
    """Seal every key of the vault that `identity` opens to `recipients`; `progress(done, total)` after each.

    A key that fails is reported and left as it was. May be interrupted anywhere and called again: what was
    done no longer needs an identity. Raises StoreError.
    """
    ids = archive.vault.ids()
    sealed, already, failed = [], 0, []
    for done, id in enumerate(ids, 1):
        try:
            if _sealed_anew(archive, id, identity, recipients):
                sealed.append(id)
                if len(sealed) % _AT_A_TIME == 0:
                    time.sleep(BREATH_S)
            else:
                already += 1
        except (KeysError, ArchiveError, OSError) as error:
            if archive.vault.has(id):  # else it was purged in between
                failed.append((id, str(error)))
        progress(done, len(ids))
    return Rotation(sealed=tuple(sealed), already=already, failed=tuple(failed))


def _sealed_anew(archive: Archive, id: str, identity: Identity, recipients: Sequence[PublicKey]) -> bool:
    """Seal one key again, if needed, also where a call ends meanwhile; whether it was."""
    with suppress(ChangedMeanwhile):
        return _seal_anew(archive, id, identity, recipients)
    return _seal_anew(archive, id, identity, recipients)


def _seal_anew(archive: Archive, id: str, identity: Identity, recipients: Sequence[PublicKey]) -> bool:
    """Seal one key again, if needed; whether it was."""
    wanted = set(recipients)
    if set(archive.vault.recipients(id)) == wanted and _is_told_to(archive, id, recipients):
        return False
    row = archive.store.some_recordings([id]).get(id)  # none of a key without a row: `rebuild` may bring it
    if row is not None and row.status not in (Status.OPEN, Status.CLOSED):
        return False
    steps: list[Callable[[], None]] = []
    with ExitStack() as ready:
        key = archive.vault.resealed(id, identity, recipients)
        if key is not None:  # else a killed run had already done this
            naming = partial(archive.marks.naming, id)
            steps.append(ready.enter_context(archive.files.replacing(id, FileKind.KEY, key, naming)))
        if row is not None and row.status is Status.CLOSED:
            told = replace(row, hold=archive.hold_of(row))  # which perhaps only the JSON tells
            steps.append(ready.enter_context(archive.rewriting(told, recipients)))
        with archive.store.write():  # a purge or an erasure waits, or its key could come back
            if archive.store.some_recordings([id]).get(id) != row:
                raise ChangedMeanwhile(id)
            for step in steps:
                step()
    return True


def _is_told_to(archive: Archive, id: str, recipients: Sequence[PublicKey]) -> bool:
    """Whether the JSON of a recording is sealed to them; it has none while the call is on."""
    try:
        sealed = archive.read_metadata(id)["sealed"]
    except FileNotFoundError:
        return True
    except (ValueError, KeyError, TypeError):
        return False
    return isinstance(sealed, dict) and set(sealed) == {encode(key.raw) for key in recipients}
