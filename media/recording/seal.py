"""A part that no one can listen to without its key: the payloads of its chunks are sealed separately.

Each chunk is a message of libsodium's crypto_secretstream_xchacha20poly1305, under the 32 bytes of the file's
own key. What is sealed can't be altered, exchanged or moved unnoticed: the associated data are bytes 0 to 23
of the chunk. Its `coding` and payload are

    1   24 bytes, the header of a new stream of messages; then as 2
    2   audio: the encrypted samples and their tag, 17 bytes more than in clear
        note, end: the 17 bytes of an empty message, then the JSON in clear, which is
        associated data too, after bytes 0 to 23

Only an end carries the tag FINAL, so a cut shows. No message of a stream can be read without the one before
it; a new stream begins at the first chunk and where the old one would exceed 10 s of sound, which is the most
that a damaged chunk costs. Sound is sealed uncompressed, so that lengths tell nothing about what is said.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TypeAlias

from nacl import bindings
from nacl.exceptions import CryptoError

from media.recording.chunks import MESSAGE_EXTRA, STREAM_HEADER, Chunk, Coding, Kind

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
        """What is stored in place of a chunk in clear."""
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
