"""The tap: copies what both legs of a call say to ID.part, and never costs the call anything.

    bridge's clock thread           Tap.feed       lock, append, return: about a microsecond
    one TapWriter for all taps      every 0.4 s: take what is queued, align, write; sync every few seconds
    the agent's own threads         silence, finish, abandon

A queue holds ten seconds of both legs, 320 kB a call. Up to then all is written in its place, however late
the disk or a thread is; what comes later becomes silence of the same length, and is counted. If the writer
takes nothing for as long again, the disk is full or the file deleted, the tap reports it once and drops all
its sound; the call continues without recording.
"""

import errno
import logging
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from pathlib import Path

from media.frame import SAMPLE_RATE, Samples
from media.recording.align import Aligner
from media.recording.backlog import Backlog, Entry
from media.recording.chunks import Block, ChunkNote, Kind, Naming, PartWriter, create_part, sync_directory
from media.recording.seal import Sealer

WRITE_EVERY_S = 0.4
SYNC_EVERY_S = 5.0
SYNC_BUDGET_S = 0.2
"""The limit of each round: on a slow disk syncs come later, the sound doesn't."""

STALLED = "the writer has stalled"

_log = logging.getLogger(__name__)


class TapError(Exception):
    """The tap can't do what was asked of it; str() is one line."""


class Channel(IntEnum):
    """Which leg: the caller is heard on the left, the operator on the right."""

    CALLER = 0
    OPERATOR = 1


@dataclass(frozen=True, slots=True)
class TapResult:
    """What a finished tap has written.

    `samples` per channel at `rate` Hz; `drops` counts frames replaced by silence; `pauses` in s from the
    start.
    """

    samples: int
    drops: int
    pauses: tuple[tuple[float, float], ...]
    rate: int = SAMPLE_RATE

    @property
    def duration_s(self) -> float:
        return self.samples / self.rate

    @property
    def complete(self) -> bool:
        return self.drops == 0


class _State(Enum):
    NEW = auto()
    RUNNING = auto()
    FINISHED = auto()
    FAILED = auto()
    ABANDONED = auto()


_CREATED = (_State.RUNNING, _State.FINISHED, _State.FAILED, _State.ABANDONED)


class Tap:
    """One call's recording in progress.

    `feed`, `silence` and `let_go` may be called from any thread and return at once; the other methods wait
    for the disk. `on_failure(reason)` is called at most once, from the writer's thread or from that of
    `feed`. It must return at once and not raise. The part is then no longer written to but still exists;
    `abandon` removes it.
    """

    def __init__(
        self,
        part: Path,
        on_failure: Callable[[str], None],
        *,
        sample_rate: int = SAMPLE_RATE,
        queue_s: float = 10.0,
        writer: "TapWriter | None" = None,
    ) -> None:
        """`queue_s`: how many seconds of both legs may wait; `writer`: the process's, else a new one."""
        self._part = part
        self._on_failure = on_failure
        self._rate = sample_rate
        self._writer = TapWriter() if writer is None else writer
        self._backlog = Backlog(round(queue_s * sample_rate) * len(Channel), sample_rate // 10)

        self._state_lock = threading.Lock()  # held briefly: state and reason
        self._state = _State.NEW
        self._reason = "was not started"

        self._file_lock = threading.Lock()  # held during disk work: all below; taken before the other
        self._file: PartWriter | None = None
        self._aligner = Aligner(sample_rate)
        self._noted = ChunkNote()
        self._result: TapResult | None = None
        self._synced_at: float | None = None

    def start(self, key: bytes | None = None, naming: Naming = nullcontext) -> None:
        """Create the file and begin; TapError if that fails, it exists, or the tap was started before.

        `key`, the file's own 32 bytes, seals it from the first byte; without a key it is in clear. `naming`
        is a context around the moment in which the file gets its name: what it raises ends the start. An
        abandoned tap never starts.
        """
        with self._file_lock:
            if self._state is not _State.NEW:
                was = "abandoned" if self._state is _State.ABANDONED else "started before"
                raise TapError(f"{self._part}: was {was}")
            try:
                seal = None if key is None else Sealer(key).seal
                with naming():
                    self._file = PartWriter(create_part(self._part), self._rate, seal)
            except OSError as error:
                raise TapError(f"{self._part}: {error.strerror}") from error
            if not self._move((_State.NEW,), _State.RUNNING):
                self._close()
                self._part.unlink(missing_ok=True)
                raise TapError(f"{self._part}: was abandoned")
            self._backlog.open()
        self._writer.add(self)

    def feed(self, channel: Channel, samples: Samples, at: float) -> None:
        """Queue a frame: (n,) int16, kept and not copied; no samples stand for 100 ms of silence.

        `at`: time.monotonic() when the bridge gave it. Ignored unless the tap runs.
        """
        if not self._backlog.put(channel, samples, at) and self._set_failed(STALLED):
            self._on_failure(STALLED)

    def silence(self, on: bool) -> None:
        """Both channels are silent from now on, or no longer; calling it twice is harmless.

        Whole frames of 100 ms are silenced, including those at both ends.
        """
        self._backlog.mark(on)

    def finish(self) -> TapResult:
        """Write everything fed, sync and close; returns what was written, also when called again.

        TapError if the tap has failed, or fails now: this is raised, not reported.
        """
        self._backlog.close()
        with self._file_lock:
            if self._move((_State.RUNNING,), _State.FINISHED):
                self._result = self._close_finished()
            self._close()
            result = self._result
        self._writer.remove(self)
        with self._state_lock:
            if self._state is not _State.FINISHED or result is None:
                raise TapError(f"{self._part}: {self._reason}")
            return result

    def let_go(self) -> bool:
        """Forget everything fed, take no more, and never start; the part stays. False if it had not begun.

        Returns at once; call `abandon` later.
        """
        self._backlog.close()
        self._backlog.take()
        begun = not self._move((_State.NEW,), _State.ABANDONED, "was abandoned")
        self._move(_CREATED, _State.ABANDONED, "was abandoned")
        return begun

    def abandon(self) -> None:
        """Forget everything fed and remove the part, in any state; TapError if it can't be removed.

        A tap not started yet can no longer start.
        """
        created = self.let_go()
        try:
            if created:
                self._part.unlink()  # doesn't wait for a write in progress
                sync_directory(self._part.parent)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise TapError(f"{self._part}: {error.strerror}") from error
        finally:
            with self._file_lock:
                self._close()
                self._backlog.close()  # which a start in between had opened
                self._backlog.take()
            self._writer.remove(self)

    def write_out(self) -> bool:
        """For the writer: write everything fed; False if the tap no longer needs it."""
        return self._work(self._write_queued)

    def sync(self) -> bool:
        """For the writer: make what was written survive a power cut; False if the tap no longer needs it."""
        return self._work(self._sync)

    @property
    def waiting_s(self) -> float:
        """How many seconds of both legs wait for the writer, whose turn comes every `WRITE_EVERY_S`."""
        return self._backlog.samples / len(Channel) / self._rate

    @property
    def synced_at(self) -> float:
        """When the last sync ended, in s on the monotonic clock; 0.0 for never."""
        return self._synced_at or 0.0

    def _work(self, job: Callable[[PartWriter], None]) -> bool:
        with self._file_lock:
            if self._file is None:
                return False
            if self._state is not _State.RUNNING:  # it failed meanwhile: the writer had stalled
                self._close()
                return False
            try:
                job(self._file)
            except Exception as error:  # noqa: BLE001
                # Broad on purpose: one thread writes for all taps, and one's fault must not end the others.
                reason = _reason(error)
                failed = self._set_failed(reason)
                self._close()
            else:
                return True
        if failed:
            self._on_failure(reason)  # without the lock: the callback may finish or abandon
        return False

    def _write_queued(self, file: PartWriter) -> None:
        self._align(self._backlog.take())
        self._write(file, self._aligner.take())
        note = self._note()
        if note != self._noted:
            file.write_note(note)
            self._noted = note

    def _sync(self, file: PartWriter) -> None:
        file.sync()
        if self._synced_at is None:
            sync_directory(self._part.parent)
        self._synced_at = time.monotonic()

    def _close_finished(self) -> TapResult | None:
        """The last round; None, and the state FAILED, if the disk fails in it."""
        if self._file is None:
            return None
        try:
            self._align(self._backlog.take())
            self._write(self._file, self._aligner.take())
            self._write(self._file, self._aligner.take_rest())
            self._file.write_note(self._note(), Kind.END)
            self._sync(self._file)
        except Exception as error:  # noqa: BLE001 - as above: what was written before is kept all the same
            self._move((_State.FINISHED,), _State.FAILED, _reason(error))
            return None
        return TapResult(
            samples=self._aligner.taken,
            drops=self._backlog.drops,
            pauses=self._note().pauses_s(self._rate, self._aligner.taken),
            rate=self._rate,
        )

    def _align(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if isinstance(entry, bool):
                self._aligner.silence(entry)
            else:
                self._aligner.add(*entry)

    def _write(self, file: PartWriter, blocks: Iterable[Block]) -> None:
        for block in blocks:
            file.write_audio(block)
        if not file.is_linked():
            raise OSError(errno.ENOENT, "the file was deleted")

    def _note(self) -> ChunkNote:
        return ChunkNote(drops=self._backlog.drops, pauses=self._aligner.pauses)

    def _move(self, before: tuple[_State, ...], after: _State, reason: str = "") -> bool:
        """Change the state if it is one of `before`."""
        with self._state_lock:
            if self._state not in before:
                return False
            self._state, self._reason = after, reason
            return True

    def _set_failed(self, reason: str) -> bool:
        """Stop accepting and drop what is queued; False if the tap has ended otherwise."""
        self._backlog.close()
        self._backlog.take()
        return self._move((_State.RUNNING,), _State.FAILED, reason)

    def _close(self) -> None:
        """Close the file and drop all sound; the file lock is held."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._aligner = Aligner(self._rate)


def _reason(error: Exception) -> str:
    """One line: the system's message, or the unexpected error."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    _log.error("writing a recording failed", exc_info=error)
    return repr(error)


class TapWriter:
    """The one thread that writes for all taps of a process; it runs while there are any."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taps: dict[Tap, None] = {}
        self._thread: threading.Thread | None = None

    def add(self, tap: Tap) -> None:
        with self._changed:
            self._taps[tap] = None
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="tap-writer", daemon=True)
                self._thread.start()

    def remove(self, tap: Tap) -> None:
        with self._changed:
            self._taps.pop(tap, None)
            if not self._taps:
                self._changed.notify()

    def _run(self) -> None:
        while taps := self._wait():
            for tap in taps:
                if not tap.write_out():
                    self.remove(tap)
            self._sync(taps)

    def _wait(self) -> list[Tap]:
        """The taps of the next round; none: the thread is no longer needed."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taps, timeout=WRITE_EVERY_S)
            if not self._taps:
                self._thread = None
            return list(self._taps)

    def _sync(self, taps: list[Tap]) -> None:
        """Sync those that have waited longest, as many as fit."""
        began = time.monotonic()
        for tap in sorted(taps, key=lambda tap: tap.synced_at):
            now = time.monotonic()
            if now - tap.synced_at < SYNC_EVERY_S or now - began > SYNC_BUDGET_S:
                return
            if not tap.sync():
                self.remove(tap)
