"""Seals recordings to other recipients: a new one can listen, one who leaves no longer can.

The sound stays as it is. What changes: to whom its key in the vault is sealed, and to whom the personal part
of `ID.json` is. A former recipient who copied both can still listen to that copy.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial

from retention.archive.archive import Archive, ArchiveError, ChangedMeanwhile
from retention.recording import Status
from retention.rows.pages import BREATH_S
from retention.rows.store import UnknownId
from retention.storage.keys import Identity, KeysError, PublicKey, encode
from retention.storage.recording_files import FileKind

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
    status = _status(archive, id)
    if status not in (None, Status.OPEN, Status.CLOSED):
        return False
    steps: list[Callable[[], None]] = []
    with ExitStack() as ready:
        key = archive.vault.resealed(id, identity, recipients)
        if key is not None:  # else a killed run had already done this
            naming = partial(archive.marks.naming, id)
            steps.append(ready.enter_context(archive.files.replacing(id, FileKind.KEY, key, naming)))
        row = archive.store.recording(id) if status is Status.CLOSED else None
        if row is not None:
            told = replace(row, hold=archive.hold_of(row))  # which perhaps only the JSON tells
            steps.append(ready.enter_context(archive.rewriting(told, recipients)))
        with archive.store.write():  # a purge or an erasure waits, or its key could come back
            if _status(archive, id) is not status or (row and archive.store.recording(id) != row):
                raise ChangedMeanwhile(id)
            for step in steps:
                step()
    return True


def _status(archive: Archive, id: str) -> Status | None:
    """The status of its row; None for a key without a row: `rebuild` may bring it back."""
    try:
        return archive.store.recording(id).status
    except UnknownId:
        return None


def _is_told_to(archive: Archive, id: str, recipients: Sequence[PublicKey]) -> bool:
    """Whether the JSON of a recording is sealed to them; it has none while the call is on."""
    try:
        sealed = archive.read_metadata(id)["sealed"]
    except FileNotFoundError:
        return True
    except (ValueError, KeyError, TypeError):
        return False
    return isinstance(sealed, dict) and set(sealed) == {encode(key.raw) for key in recipients}
