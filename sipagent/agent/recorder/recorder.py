"""What is kept of calls, written off the SIP thread: receipts, recordings, and the end of each.

    rows         the database: see `rows`
    recorder     what must be quick, in order: keys, the start and the end of a tap
    assembler    makes of finished parts what is kept: FLAC or WAV, which takes seconds for a long
                 call, or the sealed file
    mark, eraser erasing, which waits for none of the others: see `erasing`

The order of a recording is receipt, row, key in the vault (with recipients), part. Where the database does
not take receipt and row within a second, the process's reserve does, and the tap begins: so nothing is kept
without a row that tells when it must go, and no recording fails because a row had to wait. From a refusal on,
no file of it gets a name, whatever any of the threads is at.

Only public keys are read, anew for each recording; nothing here ever opens one. A key that is missing or
wrong is a fault, and never a reason to record in clear.

A fault here never costs the call: it is reported as `TapFailed`, or told to `alert`, and the call goes on.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from media.frame import SAMPLE_RATE
from media.recording.assemble import Finished, Format, NothingRecorded, assemble, is_begun, is_sealed, settle
from media.recording.tap import Tap, TapError, TapWriter
from retention.archive.archive import Archive
from retention.archive.erasure import REFUSED, finish
from retention.archive.reserve import Reserve
from retention.recording import Pause, Receipt, Recording, Status
from retention.rows.store import StoreError
from retention.storage.keys import read_public
from retention.storage.marks import Mark
from retention.storage.recording_files import FileKind, format_of
from sipagent.agent.figures import Figures
from sipagent.agent.recorder.erasing import Erasing
from sipagent.agent.recorder.jobs import FAULTS, Job, Worker
from sipagent.agent.recorder.rows import RowWriter

FORMATS: tuple[Format, ...] = ("flac", "wav")
DURABLE_S = 1.0  # that a tap waits for its row in the database, before the reserve takes it
AGAIN_S = 60.0  # after which a file that could not be made is tried again; then after twice that, …
STALLED_S = 2.0  # of sound that waits for its writer: the disk does not answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """What is known of a recording once its call is over."""

    ended_at: datetime
    operator: str | None
    operators: tuple[str, ...] = ()
    flagged: bool


@dataclass(frozen=True, slots=True)
class TapFault:
    """The recorder's word on a call's tap; calls are named by their id here."""

    call: str
    reason: str


class Recorder:
    """Keeps receipts and recordings. Every method returns at once; `alert` is called on its threads.

    `recipients` are the files of the public keys to seal to. Without any, recordings are kept in clear, as
    `format`. `reserve` is this process's own, with nothing in it.
    """

    def __init__(
        self,
        archive: Archive,
        format: Format,
        alert: Callable[[str], None],
        recipients: tuple[Path, ...] = (),
        reserve: Reserve | None = None,
    ) -> None:
        self.archive = archive
        self._format: Format = format
        self._recipients = recipients
        self._rows = RowWriter(archive.store, reserve, alert)
        self._quick = Worker("recorder", alert)
        self._slow = Worker("assembler", alert)
        self._erasing = Erasing(archive, alert)
        self._writer = TapWriter()
        self._running: set[Tap] = set()  # the quick thread's own
        self._dropped_frames = 0  # of all taps that were finished

    @property
    def figures(self) -> Figures:
        """What it has counted."""
        quick = self._quick.faults + self._rows.faults + self._erasing.faults
        return Figures(
            faults={"recorder": quick, "assembler": self._slow.faults},
            dropped_frames=self._dropped_frames,
            waiting=self._rows.waiting,
            lost=self._rows.lost,
        )

    def reload(self, format: Format, recipients: tuple[Path, ...]) -> None:
        """Keep the recordings that begin from now on as this, and for these."""
        self._format, self._recipients = format, recipients

    def start(self) -> None:
        self._rows.start()
        self._quick.start()
        self._slow.start()
        self._erasing.start()

    def stop(self) -> None:
        """Finish all that was begun; a tap that still runs leaves its part, whole, to the next start."""
        self._erasing.stop()
        self._quick.put(self._finish_rest)
        self._quick.stop()
        self._slow.stop()
        self._rows.stop()

    def _finish_rest(self) -> None:
        while self._running:
            with suppress(TapError):  # has been reported
                self._dropped_frames += self._running.pop().finish().drops

    def later(self, job: Job) -> None:
        """Do something small that waits for the disk, after what was put before."""
        self._quick.put(job)

    def slowly(self, job: Job) -> None:
        """Do something that takes its time, after what is being made of recordings."""
        self._slow.put(job)

    def keep_receipt(self, receipt: Receipt, *, may_wait: bool = False) -> None:
        """Write what the receipt of a call says now, the first time or again.

        `may_wait`: half a second, where it allows the recording, for what follows about that.
        """
        self._rows.keep_receipt(receipt, may_wait=may_wait)

    def keep_rejected(self, receipt: Receipt) -> None:
        """Write the receipt of a call that was rejected at once, and of which nothing was written yet."""
        self._rows.keep_rejected(receipt)

    def begin(self, recording: Recording, on_failure: Callable[[str], None]) -> Tap:
        """The tap of a recording, to be fed at once; frames before its file is open are let go.

        `on_failure(reason)` is called at most once, on a thread of the recorder's or on one that feeds.
        """
        part = self.archive.files.spool(recording.id, FileKind.PART)
        tap = Tap(part, on_failure, sample_rate=SAMPLE_RATE, writer=self._writer)

        id = recording.id
        row = self._rows.open(recording, lambda: self._open(recording))

        def open_part() -> None:
            fault = "what nobody foresaw"  # which the thread tells
            try:
                if not self._rows.is_durable(row, DURABLE_S):
                    raise StoreError("its row can be written nowhere")
                if row.fault is not None:
                    raise row.fault
                self.archive.files.prepare()  # which its row has made, if it was there first
                tap.start(self._new_key(id), partial(self.archive.marks.naming, id))
                self._running.add(tap)
            except FAULTS as known:
                fault = str(known)
            finally:
                if tap not in self._running and not self.archive.marks.forbidden(id):
                    on_failure(fault)  # else it was refused before it began

        self._quick.put(open_part)
        return tap

    def _open(self, recording: Recording) -> None:
        self.archive.open(recording)

    def _new_key(self, id: str) -> bytes | None:
        """The key to seal this recording with, durably in the vault; None where it is kept in clear."""
        if not self._recipients:
            return None
        recipients = [read_public(path) for path in self._recipients]
        return self.archive.vault.create(id, recipients, partial(self.archive.marks.naming, id))

    def erase(self, tap: Tap, receipt: Receipt, at: datetime) -> None:
        """Nothing of what was captured stays, whatever the reason, and whatever the database is at."""
        mark = Mark.of(receipt, at)

        def remove() -> None:
            try:
                self._remove(mark)
            finally:
                tap.abandon()

        def then() -> None:
            self._secure_unmarked(mark)
            self._quick.put(lambda: self._running.discard(tap))
            self._rows.put(mark.id, partial(finish, self.archive, mark.id, at, mark))

        stalled = tap.waiting_s > STALLED_S
        tap.let_go()
        self._erasing.put(mark, remove, then, stalled=stalled)
        self._rows.keep_receipt(receipt)

    def erase_kept(self, receipt: Receipt, at: datetime) -> None:
        """Nothing stays of a recording that had been kept, or is being made.

        What its caller did not refuse may have been put on hold since: its row is looked at first.
        """
        mark = Mark.of(receipt, at)

        def remove() -> None:
            if mark.decision == REFUSED:
                self._remove(mark)

        def then() -> None:  # after what is still being made of it
            self._secure_unmarked(mark)
            self._slow.put(partial(self._put_row, mark.id, partial(finish, self.archive, mark.id, at, mark)))

        self._erasing.put(mark, remove, then, stalled=False)
        self._rows.keep_receipt(receipt)

    def _secure_unmarked(self, mark: Mark) -> None:
        """Where no mark could be made, the receipt alone tells that it must go."""
        if not self.archive.marks.exists(mark.id):
            self._rows.secure()

    def _remove(self, mark: Mark) -> None:
        for error in self.archive.remove([mark.id]).values():
            raise error

    def flag_kept(self, id: str) -> None:
        """The operator flags a call whose recording had been kept before: after what is being made of it."""
        flag_row = partial(self._put_row, id, partial(flag, self.archive, id))
        self._quick.put(lambda: self._slow.put(flag_row))

    def _put_row(self, id: str, job: Job) -> None:
        self._rows.put(id, job)

    def keep(self, tap: Tap, recording: Recording, closing: Closing) -> None:
        """End a recording and keep it."""

        def end() -> None:
            with suppress(TapError):  # has been reported; what was written before is kept, and is incomplete
                self._running.discard(tap)
                self._dropped_frames += tap.finish().drops
            self._slow.put(make)

        def make(again_s: float = AGAIN_S) -> None:
            try:
                self.archive.marks.refuse(recording.id)
                sound = made(self.archive, recording.id, self._format)
            except FAULTS:
                if not self.archive.marks.forbidden(recording.id):  # else it was refused meanwhile
                    self._slow.again(partial(make, min(2 * again_s, 60 * AGAIN_S)), again_s)
                    raise
            else:
                self._rows.join(recording.id, partial(file_row, self.archive, recording, closing, sound))

        self._quick.put(end)


def flag(archive: Archive, id: str) -> None:
    """Mark a recording for a hold, if there is one that is kept. Raises StoreError, ArchiveError."""
    with archive.store.write():
        row = archive.store.recording(id)
        if row.status is Status.CLOSED and not row.flagged:
            archive.change(replace(row, flagged=True))


def close(archive: Archive, recording: Recording, format: Format, closing: Closing) -> None:
    """Make the part the file that is kept and the row `closed`; `failed` where there was nothing.

    Raises what `assemble` and `Archive.close` raise, MustGo among it; the part then stays, and the next start
    tries again.
    """
    file_row(archive, recording, closing, made(archive, recording.id, format))


def made(archive: Archive, id: str, format: Format) -> Finished | None:
    """The file that is kept, made of the part; None where nothing was recorded."""
    try:
        return _finished(archive, id, format)
    except NothingRecorded:
        archive.marks.refuse(id)
        return None


def file_row(archive: Archive, recording: Recording, closing: Closing, sound: Finished | None) -> None:
    """The row of a recording whose file is made."""
    if sound is None:
        archive.fail(recording.id, closing.ended_at)
        return
    archive.close(
        replace(
            recording,
            ended_at=closing.ended_at,
            operator=closing.operator,
            operators=closing.operators,
            flagged=closing.flagged,
            duration_s=sound.duration_s,
            sample_rate=sound.rate,
            channels=2,
            bytes=sound.bytes,
            sha256=sound.sha256,
            pauses=tuple(Pause(from_s=start, to_s=end) for start, end in sound.pauses),
            incomplete=not sound.complete,
        )
    )


def _finished(archive: Archive, id: str, format: Format) -> Finished:
    """What began sealed is kept sealed, and as FLAC or WAV so, whatever the configuration says by now."""
    spool, naming = partial(archive.files.spool, id), partial(archive.marks.naming, id)
    part = spool(FileKind.PART)
    if not part.exists() and (kind := archive.files.finished(id)):  # kept before a crash, wherever that is
        with archive.files.fetch(id, kind) as kept:
            sealed = kind is FileKind.SEALED
            return settle(part, kept, naming) if sealed else assemble(part, kept, format, naming)
    if is_sealed(part) or archive.files.exists(id, FileKind.SEALED):
        return settle(part, spool(FileKind.SEALED), naming)
    begun = next((known for known in FORMATS if is_begun(spool(format_of(known)))), format)
    return assemble(part, spool(format_of(begun)), begun, naming)
