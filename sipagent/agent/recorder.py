"""What is kept of calls, written off the SIP thread: receipts, recordings, and the end of each.

    rows         the database: see `row_writer`
    recorder     what must be quick, in order: keys, the start and the end of a tap
    assembler    makes of finished parts what is kept: FLAC or WAV, which takes seconds for a long
                 call, or the sealed file
    mark, eraser erasing, which waits for none of the others: see `Erasing`

The order of a recording is receipt, row, key in the vault (with recipients), part. Where the database
does not take receipt and row within a second, the process's reserve does, and the tap begins: so nothing
is kept without a row that tells when it must go, and no recording fails because a row had to wait. From a
refusal on, no file of it gets a name, whatever any of the threads is at.

Erasing: first the mark of a refusal is on the disk, then the sound goes from it. Who has taken the
decision makes the mark: one small file, not yet synced, a matter of microseconds, so that a process that
is killed right after the key keeps nothing (see `retention.marks`). Another thread would be let in too
late on a busy machine. Only where the disk does not answer just then, the thread `mark` waits for it.
`eraser` makes the mark last and erases key and sound (`erase_now`). What the rows have to say comes after
that, from whoever writes them; this never touches the database. Where no mark can be made, on a full disk
or in a folder that is read-only, the sound goes all the same; what does not go is found by its rows. The
order, and why: see `retention.erase`.

Only public keys are read, anew for each recording; nothing here ever opens one. A key that is missing or
wrong is a fault, and never a reason to record in clear.

A fault here never costs the call: it is reported as `TapFailed`, or told to `alert`, and the call goes
on. No file is named here that retention does not name.

Recovery, at the start of the service or where another worker takes the place of a dead one: what a
process that died had begun is finished. Who may not be recorded is erased, the rest is kept. Nothing is
touched that belongs to a worker which is alive: see `retention.reserve`. Of another host that is gone,
`ReachedRecordings` ends in its place what this one can reach (`retention.shipping`).
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from media.frame import SAMPLE_RATE
from media.recording.assemble import (
    AssemblyError,
    Format,
    NothingRecorded,
    assemble,
    is_begun,
    is_sealed,
    settle,
)
from media.recording.chunks import Finished
from media.recording.tap import STALLED, Tap, TapError, TapWriter
from retention import shortfall
from retention.archive import Archive
from retention.erase import allows, erase, erase_files, erase_now, erase_rows, fail, to_erase
from retention.marks import REFUSED, ArchiveError, Mark
from retention.recording_files import FileKind, finished, format_of, in_row, sha256
from retention.records import Event, MissingSound, Pause, Receipt, Recording, Status
from retention.reserve import Reserve, ReserveError, left_behind, of_the_living, take_in
from retention.rows.rows import Rows, StoreError, UnknownId
from retention.shortfall import accuse, judge
from retention.vault import KeysError, read_public
from sipagent.agent.figures import Figures
from sipagent.agent.row_writer import FAULTS, Job, RowWriter, Worker
from sipagent.call.machines import FLAGGED


class Erasing:
    """`alert` is called on its threads, and on those of `put`."""

    def __init__(self, archive: Archive, alert: Callable[[str], None]) -> None:
        self._archive = archive
        self._mark = Worker("mark", alert)
        self._eraser = Worker("eraser", alert)

    @property
    def faults(self) -> int:
        """How often either thread has failed."""
        return self._mark.faults + self._eraser.faults

    def start(self) -> None:
        self._mark.start()
        self._eraser.start()

    def stop(self) -> None:
        """Do all that was asked for, then end."""
        self._mark.stop()
        self._eraser.stop()

    def put(self, mark: Mark, then: Job, *, now: bool, tap: Tap | None = None) -> None:
        """Mark a recording, have it erased `now`, whatever the database is at, then the rest done, whatever
        failed.

        From here on no file of it gets a name any more. Nobody waits for a disk that does not answer `tap`.
        """
        stalled = tap is not None and tap.waiting_s > STALLED_S
        if tap is not None:
            tap.let_go()
        self._archive.marks.forbid(mark.id)
        make = partial(self._make, mark, then, now=now, tap=tap)
        if stalled:
            self._mark.put(make)
        else:
            make()

    def _make(self, mark: Mark, then: Job, *, now: bool, tap: Tap | None) -> None:
        descriptor = None
        try:
            descriptor = self._archive.marks.make(mark)
        except OSError as fault:
            self._mark.tell(f"{mark.id}: has no mark: {fault.strerror}")
        self._eraser.put(partial(self._erase, mark.id, descriptor, then, now=now, tap=tap))

    def _erase(self, id: str, descriptor: int | None, then: Job, *, now: bool, tap: Tap | None) -> None:
        with ExitStack() as rest:  # last to first, whatever failed
            rest.callback(then)
            if tap is not None:
                rest.callback(tap.abandon)  # which waits for a write in progress
            if now:
                rest.callback(self._erase_now, id)
            if descriptor is not None:
                self._archive.marks.sync(descriptor)

    def _erase_now(self, id: str) -> None:
        for error in erase_now(self._archive, [id]).values():
            raise error


CHANNELS = "caller", "operator", "both"
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
    because: str = "disk"


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
        self._alert = alert
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

    def begin(self, recording: Recording, on_failure: Callable[[str, str], None]) -> Tap:
        """The tap of a recording, to be fed at once; frames before its file is open are let go.

        `on_failure(reason, because)` is called at most once, on a thread of the recorder's or on one that
        feeds; `because` is one of `shortfall.REASONS`.
        """
        part = self.archive.files.spool.path(recording.id, FileKind.PART)

        def failed(reason: str) -> None:
            on_failure(reason, "stalled" if reason == STALLED else "disk")

        tap = Tap(part, failed, sample_rate=SAMPLE_RATE, writer=self._writer)

        id = recording.id
        row = self._rows.open(recording, partial(self.archive.open, recording))

        def open_part() -> None:
            fault, because = "what nobody foresaw", "fault"  # which the thread tells
            try:
                if not self._rows.is_durable(row, DURABLE_S):
                    raise StoreError("its row can be written nowhere")
                if row.fault is not None:
                    raise row.fault
                self.archive.files.spool.prepare()  # which its row has made, if it was there first
                tap.start(self._new_key(id), partial(self.archive.marks.naming, id))
                self._running.add(tap)
            except FAULTS as known:
                fault, because = str(known), _because(known)
            finally:
                if tap not in self._running and not self.archive.marks.forbidden(id):
                    on_failure(fault, because)  # else it was refused before it began

        self._quick.put(open_part)
        return tap

    def _new_key(self, id: str) -> bytes | None:
        """The key to seal this recording with, durably in the vault; None where it is kept in clear."""
        if not self._recipients:
            return None
        recipients = [read_public(path) for path in self._recipients]
        return self.archive.vault.create(id, recipients, partial(self.archive.marks.naming, id))

    def erase(self, tap: Tap, receipt: Receipt, at: datetime) -> None:
        """Nothing of what was captured stays, whatever the reason, and whatever the database is at."""
        mark = Mark.of(receipt, at)

        def tell() -> None:  # its mark goes: nothing of it may begin any more
            self._running.discard(tap)
            self._rows.put(mark.id, partial(erase_rows, self.archive, mark.id, at, mark))

        def then() -> None:
            self._secure_unmarked(mark)
            self._quick.put(tell)

        self._erasing.put(mark, then, now=True, tap=tap)
        self._rows.keep_receipt(receipt)

    def erase_kept(self, receipt: Receipt, at: datetime) -> None:
        """Nothing stays of a recording that had been kept, or is being made.

        What its caller did not refuse may have been put on hold since: its row is looked at first.
        """
        mark = Mark.of(receipt, at)
        refused = mark.decision == REFUSED

        def then() -> None:  # after what is still being made of it
            self._secure_unmarked(mark)
            job = partial(erase_rows if refused else erase, self.archive, mark.id, at, mark)
            self._slow.put(partial(self._rows.put, mark.id, job))

        self._erasing.put(mark, then, now=refused)
        self._rows.keep_receipt(receipt)

    def _secure_unmarked(self, mark: Mark) -> None:
        """Where no mark could be made, the receipt alone tells that it must go."""
        if not self.archive.marks.exists(mark.id):
            self._rows.secure()

    def flag_kept(self, id: str) -> None:
        """The operator flags a call whose recording had been kept before: after what is being made of it."""
        flag_row = partial(self._rows.put, id, partial(flag, self.archive, id))
        self._quick.put(partial(self._slow.put, flag_row))

    def keep(self, tap: Tap, recording: Recording, closing: Closing) -> None:
        """End a recording and keep it."""

        def end() -> None:
            with suppress(TapError):  # has been reported; what was written before is kept, and is incomplete
                self._running.discard(tap)
                self._dropped_frames += tap.finish().drops
            self._slow.put(make)

        def make(again_s: float = AGAIN_S) -> None:
            try:
                self.archive.marks.raise_if_forbidden(recording.id)
                sound = made(self.archive, recording.id, self._format)
            except FAULTS:
                if not self.archive.marks.forbidden(recording.id):  # else it was refused meanwhile
                    self._rows.put(recording.id, partial(self._accuse, recording.id))
                    self._slow.again(partial(make, min(2 * again_s, 60 * AGAIN_S)), again_s)
                    raise
            else:
                self._rows.join(recording.id, lambda: self._file(recording, closing, sound))

        self._quick.put(end)

    def _file(self, recording: Recording, closing: Closing, sound: dict[str, Any] | None) -> None:
        self._tell(recording.id, file_row(self.archive, recording, closing, sound))

    def _accuse(self, id: str) -> None:
        """Its file could not be made so far."""
        with self.archive.store.write():
            receipt = self.archive.store.receipt(id)
            if receipt.not_recorded_because is None:
                self._tell(id, accuse(self.archive.store, receipt, "file"))

    def _tell(self, id: str, why: str | None) -> None:
        if why:
            self._alert(f"{id}: {shortfall.told(why)}")


def _because(fault: Exception) -> str:
    """Why a tap did not begin, of `shortfall.REASONS`."""
    if isinstance(fault, KeysError):
        return "no_key"
    return "database" if isinstance(fault, StoreError | ArchiveError) else "disk"


def flag(archive: Archive, id: str) -> None:
    """Mark a recording for a hold, if there is one that is kept. Raises StoreError, ArchiveError."""
    with archive.store.write():
        row = archive.store.recording(id)
        if row.status is Status.CLOSED and not row.flagged:
            archive.change(replace(row, flagged=True))


def close(archive: Archive, recording: Recording, format: Format, closing: Closing) -> str | None:
    """Make the part the file that is kept and the row `closed`; `failed` where there was nothing.

    Returns why it is less than it should be, where it is. Raises what `assemble` and `Archive.close` raise,
    MustGo among it; the part then stays, and the next start tries again.
    """
    return file_row(archive, recording, closing, made(archive, recording.id, format))


def made(archive: Archive, id: str, format: Format) -> dict[str, Any] | None:
    """What its row says of the file that is kept, which is made of the part; None where nothing was
    recorded."""
    try:
        sound = _finished(archive, id, format)
    except NothingRecorded:
        archive.marks.raise_if_forbidden(id)
        return None
    kind = finished(archive.files, id)
    return {
        "duration_s": sound.duration_s,
        "sample_rate": sound.rate,
        "channels": 2,
        "sha256": kind and sha256(archive.files, id, kind),
        "pauses": tuple(Pause(from_s=start, to_s=end) for start, end in sound.pauses),
        "missing": tuple(
            MissingSound(channel=CHANNELS[one.channel], from_s=one.from_s, to_s=one.to_s, why=one.why)
            for one in sound.missing
        ),
        "incomplete": not sound.complete,
    }


def file_row(
    archive: Archive, recording: Recording, closing: Closing, sound: dict[str, Any] | None
) -> str | None:
    """The row of a recording whose file is made; why it is less than it should be, where it is."""
    if sound is None:
        why = judge(archive.store, replace(recording, status=Status.FAILED))
        fail(archive, recording.id, closing.ended_at)
        return why
    ended = replace(
        recording,
        ended_at=closing.ended_at,
        operator=closing.operator,
        operators=closing.operators,
        flagged=closing.flagged,
    )
    whys: list[str | None] = []
    archive.close(replace(ended, **sound), lambda row: whys.append(judge(archive.store, row)))
    return whys[-1]


def _finished(archive: Archive, id: str, format: Format) -> Finished:
    """What began sealed is kept sealed, and as FLAC or WAV so, whatever the configuration says by now."""
    path, naming = partial(archive.files.spool.path, id), partial(archive.marks.naming, id)
    part = path(FileKind.PART)
    if not part.exists() and (kind := finished(archive.files, id)):  # kept before a crash, wherever that is
        with archive.files.fetch(id, kind) as kept:
            sealed = kind is FileKind.SEALED
            return settle(part, kept, naming) if sealed else assemble(part, kept, format, naming)
    if is_sealed(part) or archive.files.exists(id, FileKind.SEALED):
        return settle(part, path(FileKind.SEALED), naming)
    begun = next((known for known in FORMATS if is_begun(path(format_of(known)))), format)
    return assemble(part, path(format_of(begun)), begun, naming)


def recover(
    archive: Archive,
    format: Format,
    now: datetime,
    alert: Callable[[str], None],
    left: Collection[str] | None = None,
) -> list[Receipt]:
    """Finish these calls, or all that nobody is at work on; the receipts of those that had not ended.

    What had waited for the database comes first, out of the reserves of those that are gone.

    A mark is believed whatever the rows say: what it is of goes first, without the database. Neither has a
    part whose receipt is not `allowed` a right to be there, unless it was the recorder that failed. A row
    that cannot be read is told of; it hinders neither the start nor a refusal. Raises StoreError, OSError.
    """
    store, marked = archive.store, archive.marks.ids()
    refused = [id for id in marked if (mark := archive.marks.read(id)) and mark.decision == REFUSED]
    erase_now(archive, refused)  # whoever is at work on it does the same; what does not go is told below
    if left is None:
        take_in_reserves(store, () if store.places is None else left_behind(store.places), alert)
        others = of_the_living(store, marked)
        ids = [id for id in _unfinished(archive) if id not in others]
        receipts = store.open_receipts(lambda id, problem: alert(f"recovery of {id}: {problem}"))
        opened = [receipt.id for receipt in receipts if receipt.id not in others]
    else:
        ids = [id for id in left if _is_unfinished(archive, id)]
        opened = list(left)
    for id in sorted(ids, key=lambda id: _may_be_kept(archive, id)):
        with _told(id, alert):
            _recover(archive, format, id, now, alert)
    ended: list[Receipt] = []
    for id in opened:
        with _told(id, alert):
            ended += _end(archive, id, now, alert)
    return ended


def take_in_reserves(store: Rows, paths: Iterable[Path], alert: Callable[[str], None]) -> list[str]:
    """Write what is in them into the database; ids of the calls. Raises StoreError."""
    ids: list[str] = []
    for path in paths:
        try:
            ids += take_in(store, path)
        except (OSError, ReserveError) as fault:
            alert(f"the reserve: {fault}")
    return ids


def _unfinished(archive: Archive) -> list[str]:
    """Recordings that are open, that are to go whatever they are, or damaged."""
    found: dict[str, None] = {}

    def note(id: str, problem: str) -> None:
        found[id] = None

    for row in archive.unfinished(note):
        found[row.id] = None
    return [*found | dict.fromkeys(to_erase(archive, note))]


def _is_unfinished(archive: Archive, id: str) -> bool:
    """Whether the recording of this call is open, must go, or is damaged; false where there is none."""
    if archive.marks.forbidden(id):
        return True
    try:
        status = archive.store.recording(id).status
        must_go = not allows(archive.store.receipt(id))
    except UnknownId:
        return False
    except StoreError:
        return True
    return status is Status.OPEN or (status is Status.CLOSED and must_go)


def _may_be_kept(archive: Archive, id: str) -> bool:
    if archive.marks.forbidden(id):
        return False
    try:
        return allows(archive.store.receipt(id))
    except StoreError:
        return False


def _says(receipt: Receipt, what: str) -> bool:
    return any(event.what == what for event in receipt.events)


def _recover(archive: Archive, format: Format, id: str, now: datetime, alert: Callable[[str], None]) -> None:
    if archive.marks.forbidden(id):
        _believe_mark(archive, id, now)
        return
    try:
        receipt = archive.store.receipt(id)
    except UnknownId:  # nothing says that it may be there
        erase(archive, id, now)
        raise ArchiveError("had no receipt, and was erased") from None
    if allows(receipt):
        recording = archive.store.recording(id)
        died = _last_sound(archive, recording, now)
        closing = Closing(
            ended_at=died,
            operator=receipt.operator or recording.operator,
            operators=receipt.operators,
            flagged=_says(receipt, FLAGGED),
        )
        if why := close(archive, recording, format, closing):
            alert(f"{id}: {shortfall.told(why)}")
    else:
        erase(archive, id, now)


def _believe_mark(archive: Archive, id: str, now: datetime) -> None:
    """Whose rows are not there by now, they never will be: the sound is gone, and the mark may go."""
    try:
        erase(archive, id, now)
    except UnknownId:
        if not archive.store.whole:
            return  # the database that hosts share may know it: the purge asks that one, and keeps trying
        archive.marks.remove(id)
        raise ArchiveError("had been marked, is gone, and the database does not know it") from None


def _end(archive: Archive, id: str, now: datetime, alert: Callable[[str], None]) -> Iterator[Receipt]:
    receipt = archive.store.receipt(id)
    if receipt.ended_at is not None:
        return
    event = Event(at=now, what="the agent had died in this call", by="agent")
    if receipt.recording_id and _says(receipt, FLAGGED):
        flag(archive, receipt.recording_id)  # one that had been kept before it was flagged
    why = receipt.not_recorded_because
    if why is None and shortfall.is_recorded_now(receipt):
        why = "died"
        alert(f"{id}: {shortfall.told(why)}")
    told = (*receipt.events, event)
    ended = replace(receipt, outcome="failed", ended_at=now, events=told, not_recorded_because=why)
    archive.store.update_receipt(ended)
    yield ended


@contextmanager
def _told(id: str, alert: Callable[[str], None]) -> Iterator[None]:
    try:
        yield
    except FAULTS as fault:
        alert(f"recovery of {id}: {fault}")
    except Exception as fault:  # noqa: BLE001 - the next one may be of a caller who refused
        alert(f"recovery of {id}: {fault!r}, which nobody foresaw")


def _last_sound(archive: Archive, recording: Recording, now: datetime) -> datetime:
    """When the part, or the finished file, was last written to."""
    for kind in (FileKind.PART, finished(archive.files, recording.id)):
        if kind and archive.files.exists(recording.id, kind):
            return archive.files.version(recording.id, kind).at
    return now


class ReachedRecordings:
    """Those whose rows are in `archive`, that of all hosts.

    `gather(id)` puts what is up of one into the spool of this host; whether anything was. What began sealed
    stays so; the rest is kept as `format`.
    """

    def __init__(self, archive: Archive, format: Format, gather: Callable[[str], bool]) -> None:
        self._archive = archive
        self._format: Format = format
        self._gather = gather

    def close(self, recording: Recording) -> Recording | None:
        """Make it whole of what can be reached; its row, `closed` and `incomplete`. None: nothing can.

        Raises OSError, ArchiveError.
        """
        files, id = self._archive.files, recording.id
        if finished(files, id) is None and not self._gather(id):
            return None
        try:
            sound = made(self._archive, id, self._format)
        except AssemblyError:  # what is up is no sound
            return None
        kind = finished(files, id)
        if sound is None or kind is None:
            return None
        closed = replace(
            recording,
            status=Status.CLOSED,
            ended_at=datetime.now(UTC),
            path=in_row(files, id, kind),
            bytes=files.keep(id, kind, partial(self._archive.marks.naming, id)),
            **sound | {"incomplete": True},
        )
        self._archive.describe(closed)
        return closed

    def erase(self, id: str) -> None:
        """Remove all of it that can be reached, keys first. Raises OSError."""
        receipt = self._archive.store.some_receipts([id]).get(id)
        refused = receipt is None or receipt.decision == REFUSED
        for error in erase_files(self._archive, [id], anyhow=refused).values():
            raise error
