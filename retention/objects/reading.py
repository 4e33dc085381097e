"""An object that is read like a file: from its start in one request, and from anywhere else in one more."""

from io import SEEK_CUR, SEEK_END, SEEK_SET, BufferedReader, RawIOBase
from typing import Any

from retention.objects.client import Bucket, ObjectError

_SKIP = 1 << 18  # bytes that are rather read than asked for anew
_PIECE = 1 << 16


class ObjectReader(RawIOBase):
    """One version of one object, `size` bytes long. Raises NoSuchObject once it was removed, ObjectError."""

    def __init__(self, bucket: Bucket, name: str, version: str | None, size: int) -> None:
        super().__init__()
        self._bucket, self._name, self._version, self._size = bucket, name, version, size
        self._at = 0
        self._stream: Any = None
        self._stream_at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        base = {SEEK_SET: 0, SEEK_CUR: self._at, SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        if self._at >= self._size:
            return 0
        self._go()
        piece = self._bucket.next_bytes(self._name, self._stream, len(buffer))
        if not piece:
            raise ObjectError(5, "ends before its end", self._bucket.url(self._name))
        buffer[: len(piece)] = piece
        self._at += len(piece)
        self._stream_at = self._at
        return len(piece)

    def close(self) -> None:
        self._drop()
        super().close()

    def _go(self) -> None:
        """Have the stream where the next byte is."""
        ahead = self._at - self._stream_at
        if self._stream is not None and 0 < ahead <= _SKIP:
            while self._stream_at < self._at:
                skipped = self._bucket.next_bytes(
                    self._name, self._stream, min(_PIECE, self._at - self._stream_at)
                )
                if not skipped:
                    break
                self._stream_at += len(skipped)
        if self._stream is None or self._stream_at != self._at:
            self._drop()
            self._stream = self._bucket.read(self._name, self._at, version=self._version)
            self._stream_at = self._at

    def _drop(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def open_object(bucket: Bucket, name: str, version: str | None, size: int) -> BufferedReader:
    """The object for reading, from its start."""
    return BufferedReader(ObjectReader(bucket, name, version, size), _PIECE)
