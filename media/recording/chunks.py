r"""ID.part, the file of a recording in progress: a series of independent chunks, in clear or sealed.

A FLAC or WAV is unreadable until its writer has closed it. A part is readable at any moment up to its
last whole chunk: after kill -9, on a full disk, cut at any byte. Everything is little-endian; a chunk is

    offset  size  field
         0     4  magic    "\xf6SIP"; no text and no audio of ours begins so
         4     1  version  1
         5     1  kind     0 audio, 1 note, 2 end
         6     1  coding   0 in clear; 1 sealed, first of a stream; 2 sealed, goes on
         7     1  channels 2: caller left, operator right
         8     4  sequence 0, 1, 2 … without a gap
        12     8  position of the first sample, counted per channel from the start of the recording
        20     4  rate     in Hz, not 0
        24     4  frames   samples per channel; 0 in a note or an end
        28     4  length   of the payload in bytes
        32     4  CRC-32   (zlib) of bytes 0 to 31 and the payload
        36   length  payload

The payload of an audio chunk is interleaved 16-bit PCM, one second at most. That of a note or an end is
JSON, `{"drops": 2, "pauses": [[8000, 16000]]}`: frames lost so far, and spans of positions silenced on
request, the last one `[8000, null]` while it lasts; `why`: of each span why, where it was not a pause. A note
is written whenever that changes, the last note or end counts. But `gaps`, `[[0, 4000, 4160, "concealed"]]`,
are those that were found since the note before: of a channel from where to where sound is missing, and why;
a later one counts. A part is complete if its sequence has no gap and it finishes with an end that counts
no drops.

Readers skip what fails its CRC and go on at the next magic, so one bad sector costs one chunk, or of a
sealed file the rest of its stream; the position says how much is missing. In a sealed chunk a seal
precedes or replaces the payload as described here. The sound is unreadable, but a note is not: without a
key, a reader can still tell how long a recording is, whether it is whole, and where it pauses.

**The seal**: no one can listen to a sealed part without its key, for the payloads of its chunks are
sealed separately. Each chunk is a message of libsodium's crypto_secretstream_xchacha20poly1305, under the
32 bytes of the file's own key. What is sealed can't be altered, exchanged or moved unnoticed: the
associated data are bytes 0 to 23 of the chunk. Its `coding` and payload are

    coding 1   24 bytes, the header of a new stream of messages; then as coding 2
    coding 2   audio: the encrypted samples and their tag, 17 bytes more than in clear
               note, end: the 17 bytes of an empty message, then the JSON in clear, which is
               associated data too, after bytes 0 to 23

Only an end carries the tag FINAL, so a cut shows. No message of a stream can be read without the one
before it; a new stream begins at the first chunk and where the old one would exceed 10 s of sound, which
is the most that a damaged chunk costs. Sound is sealed uncompressed, so that lengths tell nothing about
what is said.

`find_streams` tells where the streams of a sealed file begin, so that a span of its sound can be given
without the rest. No key is needed, and little is read: of all chunks their headers, and whole only those
that begin a stream.
"""

import contextlib
import itertools
import json
import os
import struct
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from nacl import bindings
from nacl.exceptions import CryptoError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Naming: TypeAlias = Callable[[], contextlib.AbstractContextManager[None]]
"""A context around the moment in which a file gets its name; it may refuse, by raising."""


class Readable(Protocol):
    """A file, wherever it lies."""

    def seek(self, offset: int, whence: int = 0, /) -> int: ...

    def read(self, size: int = -1, /) -> bytes: ...


Block: TypeAlias = "NDArray[np.int16]"
"""(n, 2) int16: caller, operator."""

MAGIC = b"\xf6SIP"
VERSION = 1
CHANNELS = 2
BYTES_PER_FRAME = 2 * CHANNELS
MAX_PAYLOAD = 1 << 20  # reading: more than a second at any rate, small enough for memory

STREAM_HEADER = 24  # bytes that begin a stream of sealed messages
MESSAGE_EXTRA = 17  # bytes by which a sealed message is longer than its content

_HEAD = struct.Struct("<4sBBBBIQI")
_SIZES = struct.Struct("<II")
_HEADER = struct.Struct("<4sBBBBIQIIII")
_CRC = struct.Struct("<I")
HEADER_SIZE = _HEADER.size
_SCAN = 1 << 16


class Kind(IntEnum):
    """The kinds of chunk."""

    AUDIO = 0
    NOTE = 1
    END = 2


class Coding(IntEnum):
    """How a payload is stored."""

    CLEAR = 0
    SEALED = 1
    CONTINUED = 2

    @property
    def extra(self) -> int:
        """How many bytes longer the payload is than in clear; in a note they come first."""
        return (0, STREAM_HEADER + MESSAGE_EXTRA, MESSAGE_EXTRA)[self]


_KINDS = frozenset(Kind)
_CODINGS = frozenset(Coding)


Span: TypeAlias = tuple[int, int]
"""Positions in samples: the first, and the one after the last."""


def merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The same positions, in order, in as few spans as can be."""
    found: list[Span] = []
    for start, stop in sorted(spans):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        else:
            found.append((start, stop))
    return tuple(found)


def spans_s(spans: Iterable[Span], rate: int) -> tuple[tuple[float, float], ...]:
    """In s, to the ms."""
    return tuple((round(start / rate, 3), round(stop / rate, 3)) for start, stop in spans if start < stop)


BOTH = 2  # channels, as the channel of a gap
PAUSED, LOST = "paused", "lost"


class MissingSamples(NamedTuple):
    """Of a channel, 0 and 1 or `BOTH`, from which position on to which one its sound is missing, and why."""

    channel: int
    start: int
    stop: int
    why: str


def overlaid(gaps: Iterable[MissingSamples]) -> list[MissingSamples]:
    """In order, each position of a channel in one of them at most: in the one that comes last."""
    told: dict[int, list[MissingSamples]] = {}
    for gap in gaps:
        for channel in range(CHANNELS) if gap.channel == BOTH else (gap.channel,):
            there = told.setdefault(channel, [])
            after: list[MissingSamples] = []
            while there and there[-1].stop > gap.start:  # most come in order
                after.append(there.pop())
            for one in reversed(after):
                if one.start < gap.start:
                    there.append(one._replace(stop=gap.start))
            there.append(gap._replace(channel=channel))
            there += [
                one._replace(start=max(one.start, gap.stop)) for one in reversed(after) if one.stop > gap.stop
            ]
    return sorted(
        (one for there in told.values() for one in _joined(there)), key=lambda one: one[1:3] + one[:1]
    )


def _joined(gaps: Iterable[MissingSamples]) -> list[MissingSamples]:
    found: list[MissingSamples] = []
    for gap in gaps:
        if gap.start < gap.stop:
            if found and found[-1].stop == gap.start and found[-1].why == gap.why:
                found[-1] = found[-1]._replace(stop=gap.stop)
            else:
                found.append(gap)
    return found


@dataclass(frozen=True, slots=True)
class ChunkNote:
    """The notes that go with the sound.

    `drops` counts frames replaced by silence; `pauses` are spans of positions in samples, `None` as the end
    of one that goes on; `why` says of each of the first of them why, if it was not a pause. `missing`: where
    sound of either channel was lost, as older versions wrote it; `gaps`: what is missing, and was found since
    the note before.
    """

    drops: int = 0
    pauses: tuple[tuple[int, int | None], ...] = ()
    why: tuple[str, ...] = ()
    missing: tuple[Span, ...] = ()
    gaps: tuple[MissingSamples, ...] = ()

    def pauses_s(self, rate: int, end: int) -> tuple[tuple[float, float], ...]:
        """The pauses in s from the start, to the ms, of a recording that ends at position `end`.

        One that went on for another reason is one.
        """
        whole = (one._replace(why=PAUSED) for one in self.silences(end))
        return spans_s((one[1:3] for one in _joined(whole)), rate)

    def silences(self, end: int) -> Iterator[MissingSamples]:
        """The pauses of a recording that ends at this position, each with its reason."""
        whys = itertools.chain(self.why, itertools.repeat(PAUSED))
        for (start, stop), why in zip(self.pauses, whys, strict=False):
            yield MissingSamples(BOTH, start, end if stop is None else min(stop, end), why)

    def to_payload(self) -> bytes:
        more = {"why": self.why, "missing": self.missing, "gaps": self.gaps}  # older versions know not all
        told = {name: value for name, value in more.items() if value}
        return json.dumps({"drops": self.drops, "pauses": self.pauses} | told).encode()

    @classmethod
    def from_payload(cls, payload: bytes) -> "ChunkNote":
        """ValueError, KeyError or TypeError for a payload that is not a note."""
        fields = json.loads(payload)
        pauses, missing = (
            tuple((start, stop) for start, stop in spans)
            for spans in (fields["pauses"], fields.get("missing", ()))
        )
        gaps = tuple(
            MissingSamples(int(of), int(start), int(stop), str(why))
            for of, start, stop, why in fields.get("gaps", ())
        )
        why = tuple(map(str, fields.get("why", ())))
        return cls(drops=int(fields["drops"]), pauses=pauses, why=why, missing=missing, gaps=gaps)


class MissingSeconds(NamedTuple):
    """A gap in s from the start."""

    channel: int
    from_s: float
    to_s: float
    why: str


MOST_MISSING = 2000  # spans that are told of one recording


def missing_s(gaps: Iterable[MissingSamples], rate: int) -> tuple[MissingSeconds, ...]:
    """To the ms; where there are very many, those that lie close together are one."""
    found, apart = overlaid(gaps), rate // 50
    while len(found) > MOST_MISSING:
        found, apart = _closed(found, apart), 2 * apart
    return tuple(
        MissingSeconds(one.channel, round(one.start / rate, 3), round(one.stop / rate, 3), one.why)
        for one in _both(found)
    )


def _closed(gaps: list[MissingSamples], apart: int) -> list[MissingSamples]:
    """With gaps of the same reason joined that are no further apart."""
    last: dict[int, MissingSamples] = {}
    found: list[MissingSamples] = []
    for gap in gaps:
        before = last.get(gap.channel)
        if before and before.why == gap.why and gap.start - before.stop <= apart:
            longer = found[found.index(before)] = before._replace(stop=gap.stop)
        else:
            longer = gap
            found.append(gap)
        last[gap.channel] = longer
    return found


def _both(gaps: list[MissingSamples]) -> Iterator[MissingSamples]:
    """What both channels have alike is one."""
    for (start, stop, why), alike in itertools.groupby(gaps, key=lambda one: one[1:]):
        channels = [one.channel for one in alike]
        yield MissingSamples(BOTH if len(channels) == CHANNELS else channels[0], start, stop, why)


@dataclass(frozen=True, slots=True)
class Finished:
    """A recording that has ended: a tap's, or a finished file, sealed or in clear.

    `samples` per channel at `rate` Hz; `complete` unless frames were dropped, chunks are missing or the tap
    never finished; `drops` counts frames replaced by silence; `pauses`, in s from the start; `missing`: all
    that is not what was said, those among it.
    """

    rate: int
    samples: int
    complete: bool
    drops: int
    pauses: tuple[tuple[float, float], ...]
    missing: tuple[MissingSeconds, ...] = ()

    @property
    def duration_s(self) -> float:
        return self.samples / self.rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One chunk; `position` and `frames` in samples per channel, `rate` in Hz."""

    kind: Kind
    coding: Coding = Coding.CLEAR
    sequence: int
    position: int
    rate: int
    frames: int
    payload: bytes

    @property
    def head(self) -> bytes:
        """Bytes 0 to 23 as stored: what a seal protects besides the payload."""
        return _HEAD.pack(
            MAGIC, VERSION, self.kind, self.coding, CHANNELS, self.sequence, self.position, self.rate
        )

    @property
    def sealed(self) -> bool:
        return self.coding is not Coding.CLEAR

    @property
    def samples(self) -> Block:
        """(frames, 2) int16, read-only; empty for a note or an end. ValueError if the chunk is sealed."""
        import numpy as np

        if self.kind is not Kind.AUDIO:
            return np.zeros((0, CHANNELS), dtype=np.int16)
        if self.sealed:
            raise ValueError("the sound is sealed")
        return np.frombuffer(self.payload, dtype="<i2").reshape(-1, CHANNELS)

    @property
    def note(self) -> ChunkNote:
        """The contents of a note or an end, sealed or not. ValueError, KeyError or TypeError if
        unreadable."""
        return ChunkNote.from_payload(self.payload[self.coding.extra :])


def pack(chunk: Chunk) -> bytes:
    """The chunk as it is stored."""
    header = chunk.head + _SIZES.pack(chunk.frames, len(chunk.payload))
    return header + _CRC.pack(zlib.crc32(chunk.payload, zlib.crc32(header))) + chunk.payload


def create_part(path: Path) -> int:
    """A descriptor on a new file that only its owner can read; OSError if the name is already taken."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o600)


def sync_directory(directory: Path) -> None:
    """Wait until names made, changed or removed in `directory` are on the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class PartWriter:
    """Appends chunks to a descriptor, which it owns; every method but `close` may raise OSError.

    Unbuffered: what was written survives the process, what was synced survives the machine.
    """

    def __init__(self, descriptor: int, rate: int, seal: Callable[[Chunk], Chunk] | None = None) -> None:
        """`seal` is asked for every chunk, in order, and gives what is stored in its place."""
        self._descriptor = descriptor
        self._rate = rate
        self._seal = seal
        self._sequence = 0
        self._synced = 0
        self.position = 0

    def write_audio(self, block: Block) -> None:
        """Append (n, 2) int16, at most a second of it."""
        self._append(Kind.AUDIO, len(block), block.astype("<i2", copy=False).tobytes())
        self.position += len(block)

    def write_note(self, note: ChunkNote, kind: Kind = Kind.NOTE) -> None:
        """Append what is known besides the sound; as Kind.END if nothing will follow."""
        self._append(kind, 0, note.to_payload())

    def sync(self) -> None:
        """Wait until everything appended is on the disk."""
        if self._synced < self._sequence:
            os.fdatasync(self._descriptor)
            self._synced = self._sequence

    def is_linked(self) -> bool:
        """False once the file has no name any more: writing to a deleted file gives no other error."""
        return os.fstat(self._descriptor).st_nlink > 0

    def close(self) -> None:
        """Close the file; what must last was synced before."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)

    def _append(self, kind: Kind, frames: int, payload: bytes) -> None:
        chunk = Chunk(
            kind=kind,
            sequence=self._sequence,
            position=self.position,
            rate=self._rate,
            frames=frames,
            payload=payload,
        )
        rest = memoryview(pack(self._seal(chunk) if self._seal else chunk))
        while rest:  # a disk that fills up accepts only a part first
            rest = rest[os.write(self._descriptor, rest) :]
        self._sequence += 1


def read_part(path: Path) -> Iterator[Chunk]:
    """All whole chunks of a part, in order, from whatever state the file is in; OSError if it can't be read.

    They come as they are stored; `open_all` opens those that are sealed. Damage does not end the
    reading: a gap in the sequence shows it, and so does a missing end.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        offset: int | None = 0
        sequence = -1
        while offset is not None:
            chunk = read_chunk(file, offset)
            if chunk is not None and chunk.sequence > sequence:
                yield chunk
                sequence = chunk.sequence
                offset += HEADER_SIZE + len(chunk.payload)
            else:
                offset = find_magic(file, offset + 1)


class Header(NamedTuple):
    """Bytes 0 to 35 of a chunk, without what is always the same."""

    kind: Kind
    coding: Coding
    sequence: int
    position: int
    rate: int
    frames: int
    length: int
    crc: int


def read_header(header: bytes) -> Header | None:
    """The header in the first HEADER_SIZE bytes of a chunk, or None if no chunk begins so."""
    if len(header) < HEADER_SIZE:
        return None
    fields = _HEADER.unpack(header)
    magic, version, kind, coding, channels, sequence, position, rate, frames, length, crc = fields
    if (magic, version, channels) != (MAGIC, VERSION, CHANNELS) or rate == 0 or length > MAX_PAYLOAD:
        return None
    if kind not in _KINDS or coding not in _CODINGS:
        return None
    shown = length - Coding(coding).extra
    if shown != frames * BYTES_PER_FRAME if kind == Kind.AUDIO else shown < 0 or frames:
        return None
    return Header(Kind(kind), Coding(coding), sequence, position, rate, frames, length, crc)


def read_chunk(file: Readable, offset: int) -> Chunk | None:
    """The chunk at `offset`, or None if it is not whole and undamaged."""
    file.seek(offset)
    stored = file.read(HEADER_SIZE)
    header = read_header(stored)
    if header is None:
        return None
    payload = file.read(header.length)
    if len(payload) < header.length or zlib.crc32(payload, zlib.crc32(stored[: -_CRC.size])) != header.crc:
        return None
    return Chunk(
        kind=header.kind,
        coding=header.coding,
        sequence=header.sequence,
        position=header.position,
        rate=header.rate,
        frames=header.frames,
        payload=payload,
    )


def find_magic(file: Readable, offset: int) -> int | None:
    """The place of the next magic at or after `offset`."""
    while True:
        file.seek(offset)
        window = file.read(_SCAN)
        found = window.find(MAGIC)
        if found >= 0:
            return offset + found
        if len(window) < _SCAN:
            return None
        offset += _SCAN - len(MAGIC) + 1


KEY_BYTES = 32
STREAM_S = 10
"""How much sound a stream holds at most."""

Stream: TypeAlias = bindings.crypto_secretstream_xchacha20poly1305_state
_init_push = bindings.crypto_secretstream_xchacha20poly1305_init_push
_push = bindings.crypto_secretstream_xchacha20poly1305_push
_init_pull = bindings.crypto_secretstream_xchacha20poly1305_init_pull
_pull = bindings.crypto_secretstream_xchacha20poly1305_pull
_MESSAGE = bindings.crypto_secretstream_xchacha20poly1305_TAG_MESSAGE
_FINAL = bindings.crypto_secretstream_xchacha20poly1305_TAG_FINAL


class Sealer:
    """Seals the chunks of one file, in their order. ValueError for a key that is not 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._key = _checked(key)
        self._stream = Stream()
        self._until = -1  # the position that the stream doesn't go beyond

    def seal(self, chunk: Chunk) -> Chunk:
        """The sealed chunk that is stored in place of this clear one."""
        header = b""
        coding = Coding.CONTINUED
        if chunk.position + chunk.frames > self._until:
            header = _init_push(self._stream, self._key)
            coding = Coding.SEALED
            self._until = chunk.position + STREAM_S * chunk.rate
        hidden, shown = (chunk.payload, b"") if chunk.kind is Kind.AUDIO else (b"", chunk.payload)
        sealed = replace(chunk, coding=coding)
        tag = _FINAL if chunk.kind is Kind.END else _MESSAGE
        message = _push(self._stream, hidden, sealed.head + shown, tag)
        return replace(sealed, payload=header + message + shown)


class Opener:
    """Opens the chunks of one file, in their order. ValueError for a key that is not 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._key = _checked(key)
        self._stream: Stream | None = None

    def open(self, chunk: Chunk) -> Chunk | None:
        """The chunk in clear; None if it was never sealed, or not with this key, or altered.

        Also None if one before it in its stream is missing.
        """
        if not chunk.sealed:
            return None
        payload = chunk.payload
        if chunk.coding is Coding.SEALED:
            self._stream = Stream()
            _init_pull(self._stream, payload[:STREAM_HEADER], self._key)
            payload = payload[STREAM_HEADER:]
        if self._stream is None:
            return None
        size = len(payload) if chunk.kind is Kind.AUDIO else MESSAGE_EXTRA
        message, shown = payload[:size], payload[size:]
        try:
            hidden, tag = _pull(self._stream, message, chunk.head + shown)
        except CryptoError:
            self._stream = None
            return None
        if (tag == _FINAL) is not (chunk.kind is Kind.END):
            return None
        return replace(chunk, coding=Coding.CLEAR, payload=hidden + shown)


def open_all(chunks: Iterable[Chunk], key: bytes) -> Iterator[Chunk]:
    """The chunks of one file that its key opens, in clear; missing ones leave a gap in their sequence."""
    opener = Opener(key)
    for chunk in chunks:
        opened = opener.open(chunk)
        if opened is not None:
            yield opened


def _checked(key: bytes) -> bytes:
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key of {len(key)} bytes; accepted: {KEY_BYTES}")
    return key


@dataclass(frozen=True, slots=True)
class FileStreams:
    """The streams of one file: their first samples per channel and their first bytes, both rising.

    `samples` and `size` are where the last one ends; `rate`, in Hz, is 0 where there is no stream at all.
    """

    rate: int
    positions: tuple[int, ...]
    offsets: tuple[int, ...]
    samples: int
    size: int

    def span(self, first: int, last: int) -> tuple[range, range]:
        """The samples and the bytes of the streams that hold sample `first` up to `last`.

        Bytes before the first stream belong to it. Empty if `first` is at the end or beyond.
        """
        if first >= self.samples:
            return range(self.samples, self.samples), range(self.size, self.size)
        positions = (0, *self.positions[1:], self.samples)
        offsets = (0, *self.offsets[1:], self.size)
        begin = bisect_right(positions, first) - 1
        end = max(begin + 1, bisect_left(positions, min(last, self.samples)))
        return range(positions[begin], positions[end]), range(offsets[begin], offsets[end])


def find_streams(file: Readable) -> FileStreams:
    """The streams of a sealed file, as far as they can be found. Raises OSError.

    One whose first chunk is damaged is not found, and belongs to the one before it.
    """
    size = file.seek(0, 2)
    found: list[tuple[int, Chunk]] = []
    offset: int | None = 0
    doubtful: int | None = None  # a chunk of which only the header was read, right before `offset`
    while offset is not None and offset < size:
        file.seek(offset)
        header = read_header(file.read(HEADER_SIZE))
        begun = read_chunk(file, offset) if header and header.coding is Coding.SEALED else None
        if header is None or (header.coding is Coding.SEALED and begun is None):
            damaged, doubtful = offset if doubtful is None else doubtful, None
            offset = find_magic(file, damaged + 1)
            continue
        if begun is not None and _follows(begun, found):
            found.append((offset, begun))
        doubtful = offset if begun is None else None
        offset += HEADER_SIZE + header.length
    if not found:
        return FileStreams(0, (), (), 0, size)
    positions, offsets = tuple(chunk.position for _, chunk in found), tuple(at for at, _ in found)
    return FileStreams(found[0][1].rate, positions, offsets, _end(file, *found[-1]), size)


def _follows(chunk: Chunk, found: list[tuple[int, Chunk]]) -> bool:
    """Whether a stream goes on where the one before it can have ended."""
    if not found:
        return True
    last = found[-1][1]
    return (
        chunk.rate == last.rate
        and chunk.sequence > last.sequence
        and chunk.position >= last.position + last.frames
    )


def _end(file: Readable, offset: int, begun: Chunk) -> int:
    """The sample at which the last stream ends."""
    at: int | None = offset
    last = begun
    while at is not None:
        chunk = read_chunk(file, at)
        if chunk is None or chunk.sequence < last.sequence:
            at = find_magic(file, at + 1)
            continue
        if chunk.rate == last.rate and chunk.position >= last.position:
            last = chunk
        at += HEADER_SIZE + len(chunk.payload)
    return last.position + last.frames
