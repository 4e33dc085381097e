"""From a part to a sound file that any player opens, such that no crash loses it or leaves two.

The steps, each of which may be the last one before a crash; the next run takes up from what it finds:

    write FINAL.tmp, sync   a leftover .tmp is thrown away and written anew from the part
    decode it again         what a sound library says it wrote is not yet what it wrote
    rename to FINAL, sync   part and file both there: written anew, to the same bytes
    unlink the part, sync   only the file there: done, and what there was to know is in its comment
"""

import hashlib
import json
import os
import shutil
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile

from media.chunks import CHANNELS, Block, Kind, Note, read_part, sync_directory

Format = Literal["flac", "wav"]

_BLOCK_FRAMES = 1 << 15


class AssemblyError(Exception):
    """The part could not be made a sound file; it is still there. str() is one line."""


class NothingRecorded(AssemblyError):
    """There is no sound to make a file of: no whole chunk, or no part at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A sound file in its place.

    `samples` per channel at `rate` Hz; `bytes` and `sha256` (hex) of the file; `complete` unless frames were
    dropped, chunks are missing or the tap never came to its end; `pauses` in s from the start.
    """

    rate: int
    samples: int
    bytes: int
    sha256: str
    complete: bool
    drops: int
    pauses: tuple[tuple[float, float], ...]

    @property
    def duration_s(self) -> float:
        return self.samples / self.rate


def assemble(part: Path, final: Path, format: Format) -> Finished:
    """Turn `part` into `final`, durably, and remove `part`; may be called again after a crash at any point.

    A part cut or damaged anywhere gives all its whole chunks, with silence where others are missing. Raises
    NothingRecorded (the files stay as they are), or AssemblyError for a disk that is full or fails.
    """
    temporary = final.with_name(final.name + ".tmp")
    try:
        if part.exists():
            temporary.unlink(missing_ok=True)
            _write(part, temporary, format)
            temporary.replace(final)
            sync_directory(final.parent)
            part.unlink()
            sync_directory(part.parent)
        elif not final.exists():
            raise NothingRecorded(f"{part}: does not exist, and neither does {final.name}")
        return _describe(final)
    except OSError as error:
        raise AssemblyError(f"{error.filename or final}: {error.strerror}") from error
    except soundfile.LibsndfileError as error:
        raise AssemblyError(f"{final}: {_explain(error, final.parent)}") from error


def _explain(error: soundfile.LibsndfileError, directory: Path) -> str:
    """What may be behind an error of libsndfile's, which is vague on a full disk."""
    free = shutil.disk_usage(directory).free
    return f"could not be written or read ({error.error_string.rstrip('.')}; {free} bytes are free)"


@dataclass(slots=True)
class _Reading:
    """What has been read of a part so far."""

    chunks: int = 0
    position: int = 0
    note: Note = field(default_factory=Note)
    unbroken: bool = True
    ended: bool = False

    @property
    def complete(self) -> bool:
        return self.ended and self.unbroken and self.note.drops == 0


def _blocks(part: Path, rate: int, reading: _Reading) -> Iterator[Block]:
    """All sound of a part in its place, and what else is said in it as a side effect on `reading`."""
    for chunk in read_part(part):
        reading.unbroken &= chunk.sequence == reading.chunks
        reading.chunks = chunk.sequence + 1
        reading.ended = chunk.kind is Kind.END
        if chunk.kind is not Kind.AUDIO:
            reading.note = chunk.note
        elif chunk.rate != rate or chunk.position < reading.position:
            reading.unbroken = False
        else:
            while reading.position < chunk.position:
                missing = min(chunk.position - reading.position, _BLOCK_FRAMES)
                reading.position += missing
                yield np.zeros((missing, CHANNELS), dtype=np.int16)
            reading.position += chunk.frames
            yield chunk.samples


def _rate(part: Path) -> int:
    """The rate of a part in Hz, NothingRecorded if it has no sound."""
    for chunk in read_part(part):
        if chunk.kind is Kind.AUDIO:
            return chunk.rate
    raise NothingRecorded(f"{part}: holds no whole chunk of sound")


def _write(part: Path, temporary: Path, format: Format) -> None:
    """Write and sync the sound file; nothing of it stays if that fails."""
    rate = _rate(part)
    comment = _read_comment(part, rate)
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        written = _encode(descriptor, _blocks(part, rate, _Reading()), rate, format, comment)
        os.fsync(descriptor)
        if _checksum(temporary) != written:
            raise AssemblyError(f"{temporary}: does not give back what was written to it")
    except BaseException:
        temporary.unlink()
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
    ) as file:
        if format == "flac":  # comments come before the sound
            file.comment = comment
        for block in blocks:
            file.write(block)
            checksum = zlib.crc32(block.tobytes(), checksum)
        if (
            format == "wav"
        ):  # and after it here, so that the sound begins where everyone looks for it, at byte 44
            file.comment = comment
    return checksum


def _checksum(path: Path) -> int:
    """The CRC-32 of a file's samples as any player would decode them."""
    checksum = 0
    with soundfile.SoundFile(path) as file:
        for block in file.blocks(_BLOCK_FRAMES, dtype="int16"):
            checksum = zlib.crc32(block.tobytes(), checksum)
    return checksum


def _read_comment(part: Path, rate: int) -> str:
    """What the part says beside its sound, for the comment of the sound file."""
    reading = _Reading()
    for _ in _blocks(part, rate, reading):
        pass
    pauses = reading.note.pauses_s(rate, reading.position)
    return json.dumps({"complete": reading.complete, "drops": reading.note.drops, "pauses": pauses})


def _describe(final: Path) -> Finished:
    with soundfile.SoundFile(final) as file:
        rate, samples, comment = file.samplerate, file.frames, file.comment
    try:
        fields = json.loads(comment)
    except ValueError as error:
        raise AssemblyError(f"{final}: was not made from a part") from error
    with final.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return Finished(
        rate=rate,
        samples=samples,
        bytes=final.stat().st_size,
        sha256=sha256,
        complete=fields["complete"],
        drops=fields["drops"],
        pauses=tuple((start, stop) for start, stop in fields["pauses"]),
    )
