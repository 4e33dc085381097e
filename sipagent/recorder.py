"""What is kept of calls, written off the SIP thread: receipts, recordings, and the end of each.

Two threads. The first does what must be quick, in order: rows, the start of a tap, and above all erasing. The
second makes of finished parts what is kept: FLAC or WAV, which takes seconds for a long call, or the sealed
file. A refusal is committed in the receipt before anything is removed, so that a crash in between is finished
at the next start.

With recipients, a recording is sealed from its first byte: the order is row, key in the vault, part. Only
public keys are read, anew for each recording; nothing here ever opens one. A key that is missing or wrong is
a fault, and never a reason to record in clear.

A fault here never costs the call: it is reported as `TapFailed`, or told to `alert`, and the call goes on.
"""

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from media.assemble import AssemblyError, Finished, Format, NothingRecorded, assemble, is_sealed, settle
from media.frame import SAMPLE_RATE
from media.tap import Tap, TapError, TapWriter
from retention.archive import Archive, ArchiveError
from retention.keys import KeysError, read_public
from retention.recording import Pause, Receipt, Recording, Status
from retention.store import StoreError

FORMATS: tuple[Format, ...] = ("flac", "wav")
FAULTS = (OSError, StoreError, ArchiveError, KeysError, TapError, AssemblyError)

Job = Callable[[], None]


class Worker:
    """One thread that does jobs in order; whatever a job fails of is told, and the next one is done."""

    def __init__(self, name: str, alert: Callable[[str], None]) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._alert = alert
        self.faults = 0
        self._thread = threading.Thread(target=self._run, name=name)

    def start(self) -> None:
        self._thread.start()

    def put(self, job: Job) -> None:
        self._jobs.put(job)

    def stop(self) -> None:
        """Do all that was put, then end."""
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except FAULTS as fault:
                self._tell(str(fault))
            except Exception as fault:  # noqa: BLE001 - a thread that died would erase no more
                self._tell(f"{fault!r}, which nobody foresaw")

    def _tell(self, fault: str) -> None:
        self.faults += 1
        self._alert(f"{self._thread.name}: {fault}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """What is known of a recording once its call is over."""

    ended_at: datetime
    operator: str | None
    flagged: bool


@dataclass(frozen=True, slots=True)
class TapFault:
    """The recorder's word on a call's tap; calls are named by their id here."""

    call: str
    reason: str


class Recorder:
    """Keeps receipts and recordings. Every method returns at once; `alert` is called on its threads.

    `recipients` are the files of the public keys to seal to. Without any, recordings are kept in clear, as
    `format`.
    """

    def __init__(
        self,
        archive: Archive,
        format: Format,
        alert: Callable[[str], None],
        recipients: tuple[Path, ...] = (),
    ) -> None:
        self.archive = archive
        self._format: Format = format
        self._recipients = recipients
        self._quick = Worker("recorder", alert)
        self._slow = Worker("assembler", alert)
        self._writer = TapWriter()
        self._running: set[Tap] = set()  # the quick thread's own
        self.dropped_frames = 0  # of all taps that were finished

    @property
    def faults(self) -> dict[str, int]:
        """How many jobs each thread has failed of."""
        return {"recorder": self._quick.faults, "assembler": self._slow.faults}

    def reload(self, format: Format, recipients: tuple[Path, ...]) -> None:
        """Keep the recordings that begin from now on as this, and for these."""
        self._format, self._recipients = format, recipients

    def start(self) -> None:
        self._quick.start()
        self._slow.start()

    def stop(self) -> None:
        """Finish all that was begun; a tap that still runs leaves its part, whole, to the next start."""
        self._quick.put(self._finish_rest)
        self._quick.stop()
        self._slow.stop()

    def _finish_rest(self) -> None:
        while self._running:
            with suppress(TapError):  # has been reported
                self.dropped_frames += self._running.pop().finish().drops

    def later(self, job: Job) -> None:
        """Do something small that waits for the disk, after what was put before."""
        self._quick.put(job)

    def slowly(self, job: Job) -> None:
        """Do something that takes its time, after what is being made of recordings."""
        self._slow.put(job)

    def open_receipt(self, receipt: Receipt) -> None:
        self._quick.put(lambda: self.archive.store.add_receipt(receipt))

    def keep_receipt(self, receipt: Receipt) -> None:
        self._quick.put(lambda: self.archive.store.update_receipt(receipt))

    def begin(self, recording: Recording, on_failure: Callable[[str], None]) -> Tap:
        """The tap of a recording, to be fed at once; frames before its file is open are let go.

        `on_failure(reason)` is called at most once, on a thread of the recorder's or on one that feeds.
        """
        tap = Tap(self.archive.part(recording.id), on_failure, sample_rate=SAMPLE_RATE, writer=self._writer)

        def open_part() -> None:
            try:
                self.archive.open(recording)
                tap.start(self._new_key(recording.id))
                self._running.add(tap)
            except FAULTS as fault:
                on_failure(str(fault))

        self._quick.put(open_part)
        return tap

    def _new_key(self, id: str) -> bytes | None:
        """The key to seal this recording with, durably in the vault; None where it is kept in clear."""
        if not self._recipients:
            return None
        return self.archive.vault.create(id, [read_public(path) for path in self._recipients])

    def erase(self, tap: Tap, receipt: Receipt, at: datetime) -> None:
        """Nothing of what was captured stays, whatever the reason; the receipt says it first, if it can."""

        def forget() -> None:
            self._running.discard(tap)
            try:
                self.archive.store.update_receipt(receipt)
            finally:
                try:
                    tap.abandon()
                finally:
                    erase(self.archive, receipt, at)

        self._quick.put(forget)

    def erase_kept(self, receipt: Receipt, at: datetime) -> None:
        """The same where the recording had been kept: after what is still being made of it."""

        def forget() -> None:
            try:
                self.archive.store.update_receipt(receipt)
            finally:
                self._slow.put(lambda: erase(self.archive, receipt, at))

        self._quick.put(forget)

    def flag_kept(self, id: str) -> None:
        """The operator flags a call whose recording had been kept before: after what is being made of it."""
        self._quick.put(lambda: self._slow.put(lambda: flag(self.archive, id)))

    def keep(self, tap: Tap, recording: Recording, closing: Closing) -> None:
        """End a recording and keep it."""

        def finish() -> None:
            with suppress(TapError):  # has been reported; what was written before is kept, and is incomplete
                self._running.discard(tap)
                self.dropped_frames += tap.finish().drops
            self._slow.put(lambda: close(self.archive, recording, self._format, closing))

        self._quick.put(finish)


def erase(archive: Archive, receipt: Receipt, at: datetime) -> None:
    """Erase, as the receipt says, what a call has left on the disk.

    That waits for no database where the caller refused, or nothing can hold it yet: on a full disk it is the
    files that make room for what says so. Raises StoreError, OSError.
    """
    try:
        archive.erase(receipt.id, at, receipt.decision)
    except StoreError:
        if receipt.decision != "refused" and archive.store.recording(receipt.id).status is not Status.OPEN:
            raise
        for error in archive.unlink([receipt.id]).values():
            raise error from None
        archive.store.update_receipt(receipt)
        archive.erase(receipt.id, at, receipt.decision)


def flag(archive: Archive, id: str) -> None:
    """Mark a recording for a hold, if there is one that is kept. Raises StoreError, ArchiveError."""
    with archive.store.write():
        row = archive.store.recording(id)
        if row.status is Status.CLOSED and not row.flagged:
            archive.change(replace(row, flagged=True))


def close(archive: Archive, recording: Recording, format: Format, closing: Closing) -> None:
    """Make the part the file that is kept and the row `closed`; `failed` where there was nothing.

    Raises what `assemble` and `Archive.close` raise; the part then stays and the next start tries again.
    """
    try:
        sound = _finished(archive, recording.id, format)
    except NothingRecorded:
        archive.fail(recording.id, closing.ended_at)
        return
    archive.close(
        replace(
            recording,
            ended_at=closing.ended_at,
            operator=closing.operator,
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
    part, sealed = archive.part(id), archive.final(id, "sealed")
    if is_sealed(part) or sealed.exists():
        return settle(part, sealed)
    begun = next((known for known in FORMATS if _is_begun(archive.final(id, known))), format)
    return assemble(part, archive.final(id, begun), begun)


def _is_begun(final: Path) -> bool:
    return final.exists() or final.with_name(final.name + ".tmp").exists()
