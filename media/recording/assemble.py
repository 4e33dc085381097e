"""Turns a part into the file that is kept, so that no crash loses it or leaves two; and reads its sound.

In clear, that is a file that any player opens. A crash may come after each of these steps; the next run
continues from what it finds:

    write FINAL.tmp, sync   a leftover .tmp is deleted and written again from the part
    decode it again         what a sound library says it wrote is not yet what it wrote
    rename to FINAL, sync   part and file both there: written again, to the same bytes
    unlink the part, sync   only the file there: done, its comment has all other facts

A sealed part keeps its content, so that no key is needed: sync, rename to FINAL, sync.

`Walk` goes through the chunks of a recording: its sound, in its place, and whether anything is missing.
"""

import json
import math
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import soundfile

from media import MediaError
from media.recording.chunks import (
    BOTH,
    CHANNELS,
    LOST,
    Block,
    Chunk,
    ChunkNote,
    Finished,
    Kind,
    MissingSamples,
    MissingSeconds,
    Naming,
    Span,
    missing_s,
    open_all,
    read_part,
    sync_directory,
)

BLOCK_FRAMES = 1 << 15  # that are held at once


@dataclass(slots=True)
class Walk:
    """The contents of a part, as far as it has been read."""

    rate: int = 0  # 0: the first sound decides
    chunks: int = 0
    position: int = 0
    note: ChunkNote = field(default_factory=ChunkNote)
    told: list[MissingSamples] = field(default_factory=list)  # by all notes
    gaps: list[Span] = field(default_factory=list)
    unbroken: bool = True
    ended: bool = False

    @property
    def complete(self) -> bool:
        return self.ended and self.unbroken and self.note.drops == 0

    @property
    def pauses(self) -> tuple[tuple[float, float], ...]:
        return self.note.pauses_s(self.rate, self.position) if self.rate else ()

    @property
    def missing(self) -> tuple[MissingSeconds, ...]:
        """In s: what did not come, was lost before it was written, or is not there any more; and silences."""
        lost = (MissingSamples(BOTH, *span, LOST) for span in (*self.note.missing, *self.gaps))
        every = (*self.told, *lost, *self.note.silences(self.position))
        return missing_s(every, self.rate) if self.rate else ()

    def follow(self, chunks: Iterable[Chunk]) -> Iterator[tuple[int, Chunk]]:
        """The chunks that continue the recording, each with the number of samples missing before it."""
        for chunk in chunks:
            self.unbroken &= chunk.sequence == self.chunks
            self.chunks = chunk.sequence + 1
            self.ended = chunk.kind is Kind.END
            self.rate = self.rate or chunk.rate
            if chunk.rate != self.rate or chunk.position < self.position:
                self.unbroken = False
                continue
            if chunk.kind is not Kind.AUDIO:
                self._learn(chunk)
            missing = chunk.position - self.position
            if missing:
                self.gaps.append((self.position, chunk.position))
            self.position = chunk.position + chunk.frames
            yield missing, chunk

    def blocks(self, chunks: Iterable[Chunk]) -> Iterator[Block]:
        """The sound of chunks in clear, each in its place."""
        for missing, chunk in self.follow(chunks):
            for start in range(0, missing, BLOCK_FRAMES):
                yield np.zeros((min(missing - start, BLOCK_FRAMES), CHANNELS), dtype=np.int16)
            if chunk.frames:
                yield chunk.samples

    def _learn(self, chunk: Chunk) -> None:
        try:
            self.note = chunk.note
            self.told += self.note.gaps
        except (ValueError, KeyError, TypeError):  # not of our writing
            self.unbroken = False


Format = Literal["flac", "wav"]

LEAST = 0.0  # of FLAC's compression: a quarter less CPU, files 1 % larger at most on average


class AssemblyError(MediaError):
    """A part could not be turned into the file that is kept, or a file could not be read; it is still there.

    str() is one line.
    """


class NothingRecorded(AssemblyError):
    """There is no sound for a file: no whole chunk, or no part at all."""


@contextmanager
def _told_of(path: Path, folder: Path | None = None) -> Iterator[None]:
    """What the disk and the sound library raise, as ours; `folder`: the one that may be full."""
    try:
        yield
    except OSError as error:
        raise AssemblyError("{0}: {1}", error.filename or path, _reason(error)) from error
    except soundfile.LibsndfileError as error:
        said: object = str(error.error_string.rstrip("."))
        if folder is not None:  # the library is vague about a full disk
            free = shutil.disk_usage(folder).free
            said = MediaError("could not be written or read ({0}; {1} bytes are free)", said, free)
        raise AssemblyError("{0}: {1}", path, said) from error


def assemble(part: Path, final: Path, format: Format, naming: Naming = nullcontext) -> Finished:
    """Turn `part` into `final`, durably, and remove `part`; may be called again after a crash at any point.

    A part that is cut or damaged anywhere gives all its whole chunks, with silence for missing ones. Raises
    NothingRecorded (the files stay as they are), AssemblyError for a disk that is full or fails, and what
    `naming` raises.
    """
    temporary = _temporary(final)
    with _told_of(final, final.parent):
        if part.exists():
            temporary.unlink(missing_ok=True)
            _write(part, temporary, format, naming)
            with naming():
                temporary.replace(final)
            sync_directory(final.parent)
            part.unlink()
            sync_directory(part.parent)
        elif not final.exists():
            raise NothingRecorded("{0}: does not exist, and neither does {1}", part, final.name)
        with soundfile.SoundFile(final) as file:
            return _finished(final, file)


def is_begun(final: Path) -> bool:
    """Whether an interrupted `assemble` had begun to make this file, or had made it."""
    return final.exists() or _temporary(final).exists()


def is_sealed(part: Path) -> bool:
    """Whether a part was sealed from its first byte, by its first whole chunk; false if there is none."""
    try:
        first = next(read_part(part), None)
    except FileNotFoundError:
        return False
    return first is not None and first.sealed


def settle(part: Path, final: Path, naming: Naming = nullcontext) -> Finished:
    """Give a sealed part its final name, durably, as it is; may be called again after a crash at any point.

    No key is needed: the result comes from the clear fields of the chunks. Raises NothingRecorded, also for
    a part that is not sealed, AssemblyError for a disk that fails, and what `naming` raises.
    """
    with _told_of(final):
        try:
            walk = _survey(part if part.exists() else final, sealed=True)
            if part.exists():
                with part.open("rb") as file:
                    os.fsync(file.fileno())
                with naming():
                    part.replace(final)
        except FileNotFoundError as error:
            raise NothingRecorded("{0}: does not exist, and neither does {1}", part, final.name) from error
        sync_directory(final.parent)
    return Finished(walk.rate, walk.position, walk.complete, walk.note.drops, walk.pauses, walk.missing)


class SoundReader:
    """The sound of a recording: `rate` in Hz, and after the last block, whether it was `complete`."""

    def __init__(self, path: Path, key: bytes | None) -> None:
        self._path = path
        self._key = key
        self._complete = False
        with _told_of(path):
            self.rate = self._find_rate()

    @property
    def complete(self) -> bool:
        """False before the last block, if anything is missing or was altered, or frames were dropped."""
        return self._complete

    def blocks(self) -> Iterator[Block]:
        """(n, 2) int16 from the start: caller, operator. AssemblyError if the file can't be read further."""
        self._complete = False
        with _told_of(self._path):
            if self._key is None:
                with soundfile.SoundFile(self._path) as file:
                    yield from file.blocks(BLOCK_FRAMES, dtype="int16", always_2d=True)
                    self._complete = _finished(self._path, file).complete
            else:
                walk = Walk(self.rate)
                yield from walk.blocks(open_all(read_part(self._path), self._key))
                self._complete = walk.complete

    def _find_rate(self) -> int:
        if self._key is None:
            if is_sealed(self._path):
                raise AssemblyError("{0}: is sealed, and no key was given", self._path)
            return int(soundfile.info(self._path).samplerate)
        for chunk in open_all(read_part(self._path), self._key):
            return chunk.rate
        if is_sealed(self._path):
            raise AssemblyError("{0}: not a chunk can be opened with this key", self._path)
        raise AssemblyError("{0}: is not sealed, or damaged throughout", self._path)


def read_sound(path: Path, key: bytes | None) -> SoundReader:
    """The sound of a file that is kept: a sealed file with its `key`, FLAC or WAV without.

    Damaged or missing parts of a sealed file become silence. Raises AssemblyError: no such file, or not this
    key.
    """
    return SoundReader(path, key)


def _temporary(final: Path) -> Path:
    return final.with_name(final.name + ".tmp")


def _reason(error: OSError) -> MediaError:
    return MediaError(error.strerror or str(error))


def _in_clear(part: Path) -> Iterator[Chunk]:
    """The chunks of a part that was never sealed; AssemblyError if a chunk is."""
    for chunk in read_part(part):
        if chunk.sealed:
            raise AssemblyError("{0}: is sealed", part)
        yield chunk


def _survey(path: Path, *, sealed: bool) -> Walk:
    """The facts that a part shows without any key. NothingRecorded if it holds no such sound."""
    walk, sound = Walk(), 0
    chunks = (chunk for chunk in read_part(path) if chunk.sealed) if sealed else _in_clear(path)
    for _, chunk in walk.follow(chunks):
        sound += chunk.frames
    if sound == 0:
        said = "{0}: holds no whole chunk of sealed sound" if sealed else "{0}: holds no whole chunk of sound"
        raise NothingRecorded(said, path)
    return walk


def _write(part: Path, temporary: Path, format: Format, naming: Naming) -> None:
    """Write and sync the sound file; removes it if that fails."""
    walk = _survey(part, sealed=False)
    said = {"complete": walk.complete, "drops": walk.note.drops, "pauses": walk.pauses}
    comment = json.dumps(said | ({"missing": walk.missing} if walk.missing else {}))
    with naming():
        descriptor = os.open(
            temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
    try:
        written = _encode(descriptor, Walk().blocks(_in_clear(part)), walk.rate, format, comment)
        os.fsync(descriptor)
        if _checksum(temporary) != written:
            raise AssemblyError("{0}: does not give back what was written to it", temporary)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def _encode(descriptor: int, blocks: Iterator[Block], rate: int, format: Format, comment: str) -> int:
    """Write the file by libsndfile; the CRC-32 of its samples."""
    checksum = 0
    with soundfile.SoundFile(
        descriptor,
        "w",
        samplerate=rate,
        channels=CHANNELS,
        format=format.upper(),
        subtype="PCM_16",
        closefd=False,
        compression_level=LEAST if format == "flac" else None,
    ) as file:
        if format == "flac":  # comments come before the sound
            file.comment = comment
        for block in blocks:
            file.write(block)
            checksum = zlib.crc32(block.tobytes(), checksum)
        if format == "wav":  # and after it here, so that the sound begins at the usual place, byte 44
            file.comment = comment
    return checksum


def _checksum(path: Path) -> int:
    """The CRC-32 of a file's samples as any player would decode them."""
    checksum = 0
    with soundfile.SoundFile(path) as file:
        for block in file.blocks(BLOCK_FRAMES, dtype="int16"):
            checksum = zlib.crc32(block.tobytes(), checksum)
    return checksum


def _missing(told: list[Any]) -> MissingSeconds:
    """A span as a comment has it; older versions wrote what was lost without channel and reason."""
    if len(told) == 2:
        return MissingSeconds(BOTH, float(told[0]), float(told[1]), LOST)
    channel, start, stop, why = told
    return MissingSeconds(int(channel), float(start), float(stop), str(why))


def _finished(final: Path, file: soundfile.SoundFile) -> Finished:
    """What an open sound file says of itself; AssemblyError if its comment is not ours."""
    try:
        said = json.loads(file.comment)
        match said:
            case {"complete": bool(complete), "drops": int(drops), "pauses": list(spans)}:
                pauses = tuple((float(start), float(stop)) for start, stop in spans)
                missing = tuple(map(_missing, said.get("missing", [])))
                spans = [*pauses, *((one.from_s, one.to_s) for one in missing)]
                if all(0 <= start <= stop < math.inf for start, stop in spans):
                    return Finished(file.samplerate, file.frames, complete, drops, pauses, missing)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise AssemblyError("{0}: was not made from a part", final) from error
    raise AssemblyError("{0}: was not made from a part", final)
