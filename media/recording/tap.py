"""The tap: copies what both legs of a call say to ID.part, and never costs the call anything.

    who hears the legs              Tap.feed       lock, append, return: about a microsecond
    one TapWriter for all taps      every 0.4 s: take what is queued, align, write; sync every few seconds
    the agent's own threads         silence, finish, abandon

A queue (`Backlog`) holds ten seconds of both legs, 320 kB a call. Up to then all is written in its place,
however late the disk or a thread is; what comes later becomes silence of the same length, and is counted.
If the writer takes nothing for as long again, the disk is full or the file deleted, the tap reports it
once and drops all its sound; the call continues without recording.

Aligning: joins two legs' frames to one stereo stream: what was heard together lies side by side.

The bridge gives each leg's frames separately. Counting samples is the exact clock, so a channel normally
continues where its last frame ended. Three things break the count, and the time at which a frame was
given corrects it:

- The channels don't begin in the same tick: the later one is padded with silence by the difference.
- A leg is away for a while (its media is renegotiated): the other doesn't wait, and it returns by time.
- The bridge throws away up to two started frames whenever a port's sources change (pjmedia's `write_port`
  clears `tx_buf_count` and `tx_heart_beat`), so a channel falls behind by a few ticks permanently. Once the
  last few frames of both channels agree on how far, the one behind is padded where it fell behind; until
  then, these frames are kept.

All differences are rounded to ticks of 20 ms: smaller ones are delays of the thread, not of the sound.
Audio is never cut, only padded. No clock is read here and no thread started.
"""

import errno
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from enum import Enum, IntEnum, auto
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from media.frame import SAMPLE_RATE, Samples
from media.recording import chunks

NOT_FED = "not_fed"  # why sound is missing: its leg gave none

Run: TypeAlias = "Samples | int"
"""Audio, or a number of samples of silence."""

TICK_S = 0.02
"""The bridge's tick."""

AWAY_S = 0.6
"""A channel that gives nothing for longer is away. The bridge's clock itself catches up at most 0.5 s."""

RETURN_S = 0.3
"""How much of an absent channel stays open, so that it can return in its place."""

WITNESSES = 4
"""How many frames in a row must agree before a channel is moved."""

CALM_S = 0.04
"""Agreement: how much the delays of those frames may differ."""

SHORT_OF_TICK = 0.25
"""How much of a tick may be missing to a whole one: a busy bridge serves one leg some ms later."""


class LostRun(int):
    """A number of samples that were given and are lost: silence in their place, which is told."""


class UnheardRun(NamedTuple):
    """A span of a channel that ends `back` samples before the end of what it was given: nothing came then."""

    channel: int
    back: int
    samples: int
    why: str


class SilenceMark(NamedTuple):
    """Both channels are silent from now on, or no longer."""

    on: bool
    why: str


def _size(run: Run) -> int:
    return run if isinstance(run, int) else run.size


class _Lane:
    """One channel: what isn't taken yet, and the times of its samples."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._runs: deque[Run] = deque()
        self.end = 0
        self.heard_end = 0
        self.heard_at: float | None = None
        self._witnesses: deque[tuple[int, float]] = deque(
            maxlen=WITNESSES
        )  # start, samples ahead of the clock

    def append(self, run: Run) -> None:
        self._runs.append(run)
        self.end += _size(run)

    def pad_to(self, position: int) -> None:
        if position > self.end:
            self.append(position - self.end)

    def hear(self, run: Run, at: float) -> None:
        self._witnesses.append((self.end, self.end + _size(run) - at * self._rate))
        self.append(run)
        self.heard_end = self.end
        self.heard_at = at

    @property
    def lead(self) -> float:
        """By how many samples it is ahead of the clock: the frame with the least delay tells best."""
        return max(lead for _, lead in self._witnesses)

    @property
    def settled(self) -> int:
        """The position up to which its frames agree about that, or it is absent."""
        agreed = self._spread() < self._rate * TICK_S * (1 - SHORT_OF_TICK)
        return self.end if agreed or self.end > self.heard_end else self._witnesses[1][0]

    def is_calm(self) -> bool:
        return len(self._witnesses) == WITNESSES and self._spread() < CALM_S * self._rate

    def shift(self, samples: int, earliest: int) -> int:
        """Insert this much silence before the frames that agree, but not before `earliest`; where it
        begins."""
        position = max(self._witnesses[0][0], earliest)
        later: deque[Run] = deque()
        start = self.end
        while start > position:  # runs begin where frames do, and where the last block ended
            later.appendleft(self._runs.pop())
            start -= _size(later[0])
        self._runs.append(samples)
        self._runs.extend(later)
        self.end += samples
        self.heard_end += samples
        shifted = [(start + samples, lead + samples) for start, lead in self._witnesses]
        self._witnesses = deque(shifted, maxlen=WITNESSES)
        return position

    def _spread(self) -> float:
        leads = [lead for _, lead in self._witnesses]
        return max(leads, default=0.0) - min(leads, default=0.0)

    def move_into(self, column: Samples) -> None:
        """Take as many samples as the zeroed `column` has."""
        filled = 0
        while filled < column.size:
            run = self._runs.popleft()
            size = _size(run)
            used = min(size, column.size - filled)
            if not isinstance(run, int):
                column[filled : filled + used] = run[:used]
            if used < size:
                self._runs.appendleft(size - used if isinstance(run, int) else run[used:])
            filled += used


class Aligner:
    """Takes frames and silences in the order in which they happened, gives blocks; for one thread."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._tick = round(TICK_S * rate)
        self._frame = rate // 10
        self._lanes = (_Lane(rate), _Lane(rate))
        self._pauses: list[tuple[int, int | None]] = []
        self._whys: list[str] = []  # of each pause
        self._found: tuple[list[chunks.MissingSamples], ...] = (
            [],
            [],
        )  # of each channel, since `gaps` was last asked
        self.taken = 0

    @property
    def pauses(self) -> tuple[tuple[int, int | None], ...]:
        """Spans of positions in samples; the last one ends with None while it lasts."""
        return tuple(self._pauses)

    @property
    def whys(self) -> tuple[str, ...]:
        """Of each pause why."""
        return tuple(self._whys)

    def gaps(self) -> tuple[chunks.MissingSamples, ...]:
        """What is missing, and was found since this was last asked."""
        found = tuple(itertools.chain(*self._found))
        for one in self._found:
            one.clear()
        return found

    def unheard(self, span: UnheardRun) -> None:
        """Nothing came for a span of what was added."""
        stop = self._lanes[span.channel].heard_end - span.back
        start = max(0, stop - span.samples)
        if start < stop:
            self._found[span.channel].append(chunks.MissingSamples(span.channel, start, stop, span.why))

    def add(self, channel: int, run: Run, at: float) -> None:
        """A frame of channel 0 or 1 whose last sample ended at `at`, in s on a monotonic clock."""
        lane, other = self._lanes[channel], self._lanes[1 - channel]
        size = _size(run)
        if lane.heard_at is None:
            lane.pad_to(self._first_position(other, size, at))
        else:
            missing = at - lane.heard_at - size / self._rate
            if missing > AWAY_S:
                lane.pad_to(lane.heard_end + self._ticks(missing * self._rate))
            self._miss(channel, lane.heard_end, lane.end, NOT_FED)
        if isinstance(run, LostRun):
            self._miss(channel, lane.end, lane.end + run, chunks.LOST)
        lane.hear(run, at)
        self._straighten(lane, other)

    def _miss(self, channel: int, start: int, stop: int, why: str) -> None:
        if start < stop:
            self._found[channel].append(chunks.MissingSamples(channel, start, stop, why))

    def silence(self, on: bool, why: str = chunks.PAUSED) -> None:
        """From now on both channels are silent, or no longer.

        Silences too much rather than leave a digit of a card number: the whole frame in which it is asked
        for, and the frame after its end, which still has earlier sound.
        """
        ends = [lane.end for lane in self._lanes]
        if on and self._is_silent() and why != self._whys[-1] and self._pauses[-1][0] < min(ends):
            self._pauses[-1] = (self._pauses[-1][0], min(ends))  # it goes on for another reason
            self._pauses.append((min(ends), None))
            self._whys.append(why)
        if on == self._is_silent():
            return
        if not on:
            self._pauses[-1] = (self._pauses[-1][0], max(ends) + self._frame)
            return
        start = min(ends)
        if self._pauses and (self._pauses[-1][1] or 0) >= start:
            start = self._pauses.pop()[0]
            why = self._whys.pop()
        self._pauses.append((start, None))
        self._whys.append(why)

    def take(self) -> Iterator[chunks.Block]:
        """(n, 2) int16 blocks of at most a second: everything that is settled in both channels."""
        ends = [lane.end for lane in self._lanes]
        for lane in self._lanes:
            if max(ends) - lane.end > AWAY_S * self._rate:
                lane.pad_to(max(ends) - round(RETURN_S * self._rate))
        return self._blocks(min(lane.settled for lane in self._lanes))

    def take_rest(self) -> Iterator[chunks.Block]:
        """Everything left, the shorter channel padded; nothing may be added after it."""
        end = max(lane.end for lane in self._lanes)
        for channel, lane in enumerate(self._lanes):
            if end - lane.heard_end > AWAY_S * self._rate:
                self._miss(channel, lane.heard_end, end, NOT_FED)
            lane.pad_to(end)
        if self._pauses:
            start, stop = self._pauses.pop()
            if start < end:
                self._pauses.append((start, end if stop is None else min(stop, end)))
            else:
                self._whys.pop()
        return self._blocks(end)

    def _is_silent(self) -> bool:
        return bool(self._pauses) and self._pauses[-1][1] is None

    def _ticks(self, samples: float) -> int:
        return round(samples / self._tick) * self._tick

    def _first_position(self, other: _Lane, size: int, at: float) -> int:
        if other.heard_at is None:
            return 0
        return other.heard_end + self._ticks((at - other.heard_at) * self._rate - size)

    def _straighten(self, lane: _Lane, other: _Lane) -> None:
        """Pad the channel that has fallen behind, once the frames of both agree."""
        if not (lane.is_calm() and other.is_calm()):
            return
        ahead = lane.lead - other.lead
        missing = int(abs(ahead) / self._tick + SHORT_OF_TICK) * self._tick
        if missing == 0:
            return
        behind = other if ahead > 0 else lane
        moved_from = behind.shift(missing, self.taken)
        place = self._lanes.index(behind)
        found = self._found[place]  # what was told before lies before
        found[:] = [
            one._replace(start=one.start + missing, stop=one.stop + missing)
            if one.start >= moved_from
            else one
            for one in found
        ]
        self._miss(place, moved_from, moved_from + missing, NOT_FED)
        self._pauses = [  # a pause moves with the words in it
            (start, stop + missing if stop is not None and stop > moved_from else stop)
            for start, stop in self._pauses
        ]

    def _blocks(self, end: int) -> Iterator[chunks.Block]:
        while self.taken < end:
            block = np.zeros((min(end - self.taken, self._rate), len(self._lanes)), dtype=np.int16)
            for channel, lane in enumerate(self._lanes):
                lane.move_into(block[:, channel])
            for start, stop in self._pauses:
                upto = block.shape[0] if stop is None else max(0, stop - self.taken)
                block[max(0, start - self.taken) : upto] = 0
            self.taken += block.shape[0]
            yield block


Frame: TypeAlias = tuple[int, Run, float]
"""Channel, audio or a number of samples of silence, the time of its end in s on a monotonic clock."""

Entry: TypeAlias = Frame | UnheardRun | SilenceMark
"""A frame, what of it did not come, or silence asked for on or off."""


class Backlog:
    """A queue between the threads that feed and the thread that takes; every call returns at once.

    Once it is full, everything is lost until the next `take`; the loss becomes one silence per channel.
    """

    def __init__(self, capacity: int, empty: int) -> None:
        """`capacity` in samples over both channels; `empty`: how many samples an empty frame stands for."""
        self._capacity = capacity
        self._empty = empty
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        self._samples = 0
        self._lost: dict[int, tuple[int, float]] = {}
        self._lost_samples = 0
        self._accepting = False
        self._silent = False, ""  # and why
        self._drops = 0

    @property
    def drops(self) -> int:
        """How many frames were lost so far."""
        return self._drops

    @property
    def samples(self) -> int:
        """How many wait, over both channels."""
        return self._samples

    def open(self) -> None:
        """Accept frames from now on."""
        self._accepting = True

    def put(self, channel: int, samples: Samples, at: float) -> bool:
        """Keep a frame if there is room; False once a whole capacity was lost: no thread takes."""
        size = samples.size or self._empty
        with self._lock:
            if not self._accepting:
                return True
            if self._lost or self._samples + size > self._capacity:
                return self._lose(channel, size, at)
            self._entries.append((channel, samples if samples.size else size, at))
            self._samples += size
            return True

    def miss(self, channel: int, samples: int, at: float) -> None:
        """Keep the place of what was lost before it came here."""
        with self._lock:
            if self._lost:
                self._lose(channel, samples, at)
            elif self._accepting:
                self._entries.append((channel, LostRun(samples), at))
                self._drops += -(-samples // self._empty)

    def unheard(self, span: UnheardRun) -> None:
        """Of what was put last."""
        with self._lock:
            if self._accepting and not self._lost:
                self._entries.append(span)

    def mark(self, silent: bool, why: str = chunks.PAUSED) -> None:
        """Silence begins or ends; calling it twice changes nothing."""
        why = why if silent else ""
        with self._lock:
            if (silent, why) != self._silent:
                self._silent = silent, why
                self._keep_losses()
                self._entries.append(SilenceMark(silent, why))

    def take(self) -> list[Entry]:
        """All entries since the last time, in order."""
        with self._lock:
            self._keep_losses()
            entries, self._entries, self._samples = self._entries, [], 0
            return entries

    def close(self) -> None:
        """Accept no more; what is queued may still be taken."""
        with self._lock:
            self._accepting = False

    def _lose(self, channel: int, size: int, at: float) -> bool:
        self._lost[channel] = (self._lost.get(channel, (0, at))[0] + size, at)
        self._lost_samples += size
        self._drops += 1
        return self._lost_samples <= self._capacity

    def _keep_losses(self) -> None:
        self._entries.extend((channel, LostRun(size), at) for channel, (size, at) in self._lost.items())
        self._lost.clear()
        self._lost_samples = 0


WRITE_EVERY_S = 0.4
SYNC_EVERY_S = 5.0
SYNC_BUDGET_S = 0.2
"""The limit of each round: on a slow disk syncs come later, the sound doesn't."""

STALLED = "the writer has stalled"

_log = logging.getLogger(__name__)


class TapError(Exception):
    """The tap can't do what was asked of it; str() is one line."""


class Channel(IntEnum):
    """The leg: the caller is heard on the left, the operator on the right."""

    CALLER = 0
    OPERATOR = 1


class _State(Enum):
    NEW = auto()
    RUNNING = auto()
    FINISHED = auto()
    FAILED = auto()
    ABANDONED = auto()


class Tap:
    """One call's recording in progress.

    `feed`, `silence` and `let_go` may be called from any thread and return at once; the other methods wait
    for the disk. `on_failure(reason)` is called at most once, from the writer's thread or from that of
    `feed`. It must return at once and not raise. The part is then no longer written to;
    `retention.erase` erases it.
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
        self._file: chunks.PartWriter | None = None
        self._aligner = Aligner(sample_rate)
        self._noted = chunks.ChunkNote()
        self._gaps: list[chunks.MissingSamples] = []  # all that were noted
        self._result: chunks.Finished | None = None
        self._synced_at: float | None = None

    def start(self, key: bytes | None = None, naming: chunks.Naming = nullcontext) -> None:
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
                seal = None if key is None else chunks.Sealer(key).seal
                with naming():
                    self._file = chunks.PartWriter(chunks.create_part(self._part), self._rate, seal)
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

    def miss(self, channel: Channel, samples: int, at: float) -> None:
        """So many samples were lost before they could be fed: silence stands in their place, and is counted.

        `at`: when the last of them came.
        """
        self._backlog.miss(channel, samples, at)

    def unheard(self, channel: Channel, back: int, samples: int, why: str) -> None:
        """In what was fed of a channel so many samples did not come, that end `back` before its end."""
        self._backlog.unheard(UnheardRun(channel, back, samples, why))

    def silence(self, on: bool, why: str = chunks.PAUSED) -> None:
        """Both channels are silent from now on, or no longer; calling it twice is harmless.

        Whole frames of 100 ms are silenced, including those at both ends.
        """
        self._backlog.mark(on, why)

    def finish(self) -> chunks.Finished:
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

    def let_go(self) -> None:
        """Forget everything fed, take no more, and never start; the part stays.

        Returns at once; call `abandon` later.
        """
        self._backlog.close()
        self._backlog.take()
        self._move((*_State,), _State.ABANDONED, "was abandoned")

    def abandon(self) -> None:
        """Forget everything fed and close the part, in any state; who keeps recordings erases it.

        A tap not started yet can no longer start. Waits for a write in progress.
        """
        self.let_go()
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

    def _work(self, job: Callable[[chunks.PartWriter], None]) -> bool:
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

    def _write_queued(self, file: chunks.PartWriter) -> None:
        self._align(self._backlog.take())
        self._write(file, self._aligner.take())
        note = self._note()
        if note != self._noted:
            file.write_note(note)
            self._noted = replace(note, gaps=())

    def _sync(self, file: chunks.PartWriter) -> None:
        file.sync()
        if self._synced_at is None:
            chunks.sync_directory(self._part.parent)
        self._synced_at = time.monotonic()

    def _close_finished(self) -> chunks.Finished | None:
        """The last round; None, and the state FAILED, if the disk fails in it."""
        if self._file is None:
            return None
        try:
            self._align(self._backlog.take())
            self._write(self._file, self._aligner.take())
            self._write(self._file, self._aligner.take_rest())
            note = self._note()
            self._file.write_note(note, chunks.Kind.END)
            self._sync(self._file)
        except Exception as error:  # noqa: BLE001 - as above: what was written before is kept all the same
            self._move((_State.FINISHED,), _State.FAILED, _reason(error))
            return None
        end = self._aligner.taken
        missing = chunks.missing_s((*self._gaps, *note.silences(end)), self._rate)
        return chunks.Finished(
            self._rate, end, note.drops == 0, note.drops, note.pauses_s(self._rate, end), missing
        )

    def _align(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            if isinstance(entry, SilenceMark):
                self._aligner.silence(*entry)
            elif isinstance(entry, UnheardRun):
                self._aligner.unheard(entry)
            else:
                self._aligner.add(*entry)

    def _write(self, file: chunks.PartWriter, blocks: Iterable[chunks.Block]) -> None:
        for block in blocks:
            file.write_audio(block)
        if not file.is_linked():
            raise OSError(errno.ENOENT, "the file was deleted")

    def _note(self) -> chunks.ChunkNote:
        """The gaps in it are told once."""
        aligner, drops = self._aligner, self._backlog.drops
        whys = () if {*aligner.whys} <= {chunks.PAUSED} else aligner.whys
        gaps = aligner.gaps()
        self._gaps += gaps
        return chunks.ChunkNote(drops=drops, pauses=aligner.pauses, why=whys, gaps=gaps)

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
