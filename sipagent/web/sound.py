"""The stored sound of recordings, as it is read, and sent to those who listen: whole, or a span of it.

A span is a series of chunks (media/recording/chunks.py). Of a sealed recording they are the stored bytes
of the streams that hold it, which nobody can open here. What is kept in clear becomes chunks as it is
asked for. Nothing is written, and no more of a file is held than the piece that is on its way. Where
files lie in a store of objects, a span is asked for by its bytes alone. The stored bytes are sent whole
or by Range (RFC 9110, section 14).
"""

import hashlib
import math
import os
import re
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from io import BufferedIOBase, UnsupportedOperation
from typing import Any, Generic, TypeVar

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from media.recording.chunks import CHANNELS, Chunk, ChunkNote, FileStreams, Kind, find_streams, pack
from retention.recording_files import FileKind, RecordingFiles, finished
from retention.records import Recording, RuleError
from retention.texts import Reason
from retention.use import nothing_to_use
from sipagent.web.problems import Problem

LONGEST_S = 120
"""How much sound a span holds at most, besides the rest of its last stream."""

_MISSING = Reason("its file is missing")
_NO_FILE = Reason("its file is not a regular file")
_REMOVED = Reason("it was removed meanwhile")
REMEMBERED = 64  # files of which it is known where their streams begin, and that they are whole
_PIECE = 1 << 17  # bytes
_T = TypeVar("_T")

Identity = tuple[object, ...]
"""Of the bytes of a file: what no other that was ever there has."""


class SoundError(RuleError):
    """There is no sound to give; `str()` says why."""


class SoundGone(SoundError):
    """The sound was removed: purged, or erased."""

    gone = True


@dataclass(frozen=True, slots=True)
class SoundSpan:
    """Chunks that hold a span of the sound: `first` to `last` in samples per channel, out of `samples`.

    `size` is how many bytes are in `pieces`; None if that is known only when all are made.
    """

    first: int
    last: int
    samples: int
    rate: int
    size: int | None
    pieces: Iterator[bytes]


class Sounds:
    """The sound among these files. Any thread. It remembers where streams begin, and whose hash was right."""

    def __init__(self, files: RecordingFiles) -> None:
        self._files = files
        self._streams: _Remembered[FileStreams] = _Remembered()
        self._hashes: _Remembered[str] = _Remembered()

    def open(self, recording: Recording) -> "OpenSound":
        """The sound of a recording, for the caller to close.

        Raises SoundGone: it is not there any more; SoundError: it is not what was recorded; OSError.
        """
        why = nothing_to_use(recording)
        kind = None if why else finished(self._files, recording.id)
        if kind is None:
            raise SoundGone(why or _MISSING)
        try:
            file = self._files.open(recording.id, kind)
        except FileNotFoundError as error:
            raise SoundGone(_MISSING) from error
        except IsADirectoryError as error:
            raise SoundError(_NO_FILE) from error
        try:
            identity = _identity(file) or self._files.version(recording.id, kind).identity
            if self._hashes.get(identity, lambda: _sha256(file)) != recording.sha256:
                raise SoundError(Reason("its file is not the one that was recorded: its hash differs"))
            if kind is FileKind.SEALED:
                return _SealedSound(file, self._streams.get(identity, lambda: find_streams(file)))
            return _InClear(file)
        except FileNotFoundError as error:
            file.close()
            raise SoundGone(_MISSING) from error
        except BaseException:
            file.close()
            raise

    def obstacle(self, recording: Recording) -> str | None:
        """Why there is no sound to give, in one line; None if there is. Raises OSError."""
        try:
            self.open(recording).close()
        except SoundError as error:
            return str(error)
        return None


class OpenSound:
    """The open file of one recording."""

    def __init__(self, file: BufferedIOBase) -> None:
        self.file = file
        self.size = file.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Let the file go."""
        self.file.close()

    def whole(self, first: int, end: int) -> Iterator[bytes]:
        """The stored bytes `first` to `end`, and then the file is closed. Raises SoundGone, OSError."""
        try:
            self.file.seek(first)
            while first < end:
                self._refuse_removed()
                piece = self.file.read(min(_PIECE, end - first))
                if not piece:
                    return
                yield piece
                first += len(piece)
        except FileNotFoundError as error:
            raise SoundGone(_REMOVED) from error
        finally:
            self.close()

    def _refuse_removed(self) -> None:
        """A file of this machine can still be read without a name. Raises SoundGone."""
        if (descriptor := _descriptor(self.file)) is not None and os.fstat(descriptor).st_nlink == 0:
            raise SoundGone(_REMOVED)

    def span(self, from_s: float, to_s: float) -> SoundSpan:
        """The sound from `from_s` to `to_s`, in s; the file is closed once all pieces are taken.

        Raises SoundError for a file that can't be read.
        """
        raise NotImplementedError


class _SealedSound(OpenSound):
    def __init__(self, file: BufferedIOBase, streams: FileStreams) -> None:
        super().__init__(file)
        self._streams = streams

    def span(self, from_s: float, to_s: float) -> SoundSpan:
        streams = self._streams
        if streams.rate == 0:
            raise SoundError(Reason("its file is damaged throughout"))
        first, last = _positions(from_s, to_s, streams.rate)
        samples, offsets = streams.span(first, last)
        pieces = self.whole(offsets.start, offsets.stop)
        return SoundSpan(samples.start, samples.stop, streams.samples, streams.rate, len(offsets), pieces)


class _InClear(OpenSound):
    def span(self, from_s: float, to_s: float) -> SoundSpan:
        import soundfile

        try:
            self.file.seek(0)
            decoded = soundfile.SoundFile(self.file.fileno(), closefd=False)
        except soundfile.LibsndfileError as error:
            raise SoundError(
                Reason("its file can't be read: {why}", why=error.error_string.rstrip("."))
            ) from error
        if decoded.channels != CHANNELS:
            raise SoundError(
                Reason("its file has {n} channels; accepted: {most}", n=decoded.channels, most=CHANNELS)
            )
        rate, samples = decoded.samplerate, decoded.frames
        first, last = _positions(from_s, to_s, rate)
        first, last = min(first // rate * rate, samples), min(-(-last // rate) * rate, samples)
        return SoundSpan(first, last, samples, rate, None, self._chunks(decoded, first, last))

    def _chunks(self, decoded: Any, first: int, last: int) -> Iterator[bytes]:
        """A second each, and where the sound ends an end."""
        rate = decoded.samplerate
        try:
            decoded.seek(first)
            while first < last:
                self._refuse_removed()
                payload = bytes(decoded.buffer_read(min(rate, last - first), dtype="int16"))
                frames = len(payload) // (2 * CHANNELS)
                if not frames:
                    return
                yield _packed(Kind.AUDIO, first, rate, frames, payload)
                first += frames
            if first == decoded.frames:
                yield _packed(Kind.END, first, rate, 0, ChunkNote().to_payload())
        finally:
            decoded.close()
            self.close()


class _Remembered(Generic[_T]):
    """What was found out about files, by their identity; those asked for last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[Identity, _T] = OrderedDict()

    def get(self, identity: Identity, find: Callable[[], _T]) -> _T:
        with self._lock, suppress(KeyError):
            self._known.move_to_end(identity)
            return self._known[identity]
        found = find()  # two may do the same work at once; neither waits for the other
        with self._lock:
            self._known[identity] = found
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return found


def _packed(kind: Kind, position: int, rate: int, frames: int, payload: bytes) -> bytes:
    return pack(
        Chunk(
            kind=kind,
            sequence=-(-position // rate),
            position=position,
            rate=rate,
            frames=frames,
            payload=payload,
        )
    )


def _positions(from_s: float, to_s: float, rate: int) -> tuple[int, int]:
    """In samples, of a span that is not too long."""
    first = int(from_s * rate + 1e-3)
    return first, max(first + 1, int(min(to_s, from_s + LONGEST_S) * rate + 1e-3))


def _descriptor(file: BufferedIOBase) -> int | None:
    """None for what lies elsewhere."""
    try:
        return file.fileno()
    except UnsupportedOperation:
        return None


def _identity(file: BufferedIOBase) -> Identity | None:
    """That of the open file itself; None for what lies elsewhere. Raises SoundError: not a file."""
    if (descriptor := _descriptor(file)) is None:
        return None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise SoundError(_NO_FILE)
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _sha256(file: BufferedIOBase) -> str:
    """A file's SHA-256, in hexadecimal."""
    file.seek(0)
    return hashlib.file_digest(file, "sha256").hexdigest()


SOUND_KIND = "application/octet-stream"
SPAN = "Sound-Span"
"""The header that says what a span holds: `FIRST-END/ALL`, in samples per channel."""

_LATEST_S = 1e7
_DIGITS = 18  # of a position; more lie behind the end of any file
_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)


class _Streamed(StreamingResponse):
    """Sound that is removed while it is sent ends there: who listens is cut off, and asks again."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(SoundGone):
            await super().__call__(scope, receive, send)


def sent(request: Request, sounds: Sounds, recording: Recording) -> Response:
    """The answer to a request for `…/sound`, or `…/sound?from=S&to=S`.

    Raises SoundGone; SoundError for a file that is not the recorded one; ValueError for what is no span;
    Problem, 416, for a range that is not there.
    """
    span = _span(request.query_params)
    sound = sounds.open(recording)
    try:
        return _stored(request, sound) if span is None else _chunks(sound, *span)
    except BaseException:
        sound.close()
        raise


def _chunks(sound: OpenSound, from_s: float, to_s: float) -> Response:
    span = sound.span(from_s, to_s)
    headers = {"Cache-Control": "no-store", SPAN: f"{span.first}-{span.last}/{span.samples}"}
    if span.size is not None:
        headers["Content-Length"] = str(span.size)
    return _Streamed(span.pieces, headers=headers, media_type=SOUND_KIND)


def _stored(request: Request, sound: OpenSound) -> Response:
    first, end, status = 0, sound.size, HTTPStatus.OK
    headers = {"Cache-Control": "no-store", "Accept-Ranges": "bytes"}
    asked = _RANGE.fullmatch(request.headers.get("range", "").strip())
    if asked and asked[0] != "bytes=-":  # others, and several ranges, may be ignored
        first, end = _range(asked[1], asked[2], sound.size)
        if first >= end:
            said = Reason("the range is not there; accepted: bytes 0 to {last}", last=sound.size - 1)
            unsatisfied = {"Content-Range": f"bytes */{sound.size}"}
            raise Problem(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, said, headers=unsatisfied)
        headers["Content-Range"] = f"bytes {first}-{end - 1}/{sound.size}"
        status = HTTPStatus.PARTIAL_CONTENT
    headers["Content-Length"] = str(end - first)
    return _Streamed(sound.whole(first, end), int(status), headers, SOUND_KIND)


def _range(first: str, last: str, size: int) -> tuple[int, int]:
    """The bytes from and up to which; empty if they are not there."""
    at, to = (int(text or 0) if len(text) <= _DIGITS else size for text in (first, last))
    if not first:
        return max(0, size - to), size
    return at, size if not last else min(size, to + 1)


def _span(query: QueryParams) -> tuple[float, float] | None:
    """The span that is asked for, in s; None: the stored bytes. Raises ValueError."""
    if "from" not in query and "to" not in query:
        return None
    try:
        first, last = float(query.get("from", "0")), float(query.get("to", "inf"))
    except ValueError:
        first = last = math.nan
    if not 0 <= first < min(last, _LATEST_S):
        said = "from and to are no span; accepted: two numbers of seconds, the first less than the second"
        raise ValueError(Reason(said))
    return first, last
