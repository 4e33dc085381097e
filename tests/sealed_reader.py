"""A reader of sealed recordings, from retention/FORMATS.md and libsodium alone: nothing of ours is imported.

python tests/sealed_reader.py STEM.key ID.key ID.sealed OUT.wav
"""

import getpass
import json
import struct
import sys
import unicodedata
import wave
import zlib
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from nacl import bindings as sodium
from nacl.exceptions import CryptoError

MAGIC = b"\xf6SIP\x01"
AUDIO, NOTE, END = 0, 1, 2


class Sound(NamedTuple):
    """Interleaved 16-bit PCM of two channels, and what the last note or end says."""

    rate: int
    pcm: bytes
    note: dict[str, Any]
    complete: bool


def private_key(identity: dict[str, Any], passphrase: Callable[[], str]) -> bytes:
    secret = b64decode(identity["secret"])
    kdf = identity["kdf"]
    if kdf is None:
        return secret
    typed = unicodedata.normalize("NFC", passphrase()).encode()
    key = sodium.crypto_pwhash_alg(
        32,
        typed,
        b64decode(kdf["salt"]),
        kdf["opslimit"],
        kdf["memlimit"],
        sodium.crypto_pwhash_ALG_ARGON2ID13,
    )
    return sodium.crypto_secretbox_open(secret[24:], secret[:24], key)


def file_key(vault: dict[str, Any], private: bytes) -> bytes:
    public = sodium.crypto_scalarmult_base(private)
    (box,) = (b64decode(r["key"]) for r in vault["recipients"] if b64decode(r["public"]) == public)
    line, _, key = sodium.crypto_box_seal_open(box, public, private).partition(b"\n")
    assert line.decode() == f"sipagent-key-1 {vault['id']}"
    return key


def chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The 36 bytes before each payload, and the payload: those whose CRC is right."""
    at = content.find(MAGIC)
    while at >= 0:
        header = content[at : at + 36]
        length, crc = struct.unpack("<II", header[28:]) if len(header) == 36 else (0, -1)
        payload = content[at + 36 : at + 36 + length]
        if len(payload) == length and zlib.crc32(header[:32] + payload) == crc:
            yield header, payload
            at += 36 + length - 1
        at = content.find(MAGIC, at + 1)


def opened(content: bytes, key: bytes) -> Iterator[tuple[int, int, int, int, bytes]]:
    """Kind, sequence, position, rate and payload in clear of every chunk that the key opens."""
    stream = None
    for header, stored in chunks(content):
        kind, coding, _, sequence, position, rate = struct.unpack("<BBBIQI", header[5:24])
        if coding == 1:
            stream = sodium.crypto_secretstream_xchacha20poly1305_state()
            sodium.crypto_secretstream_xchacha20poly1305_init_pull(stream, stored[:24], key)
        if coding == 0 or stream is None:
            continue
        payload = stored[24 if coding == 1 else 0 :]
        size = len(payload) if kind == AUDIO else 17
        shown = payload[size:]
        try:
            hidden, tag = sodium.crypto_secretstream_xchacha20poly1305_pull(
                stream, payload[:size], header[:24] + shown
            )
        except CryptoError:
            stream = None
            continue
        if (tag == 3) == (kind == END):
            yield kind, sequence, position, rate, hidden + shown


def read(content: bytes, key: bytes) -> Sound:
    pcm, note, rate, expected, whole, ended = bytearray(), {"drops": 0, "pauses": []}, 0, 0, True, False
    gaps: list[list[object]] = []  # each note tells those since the one before
    for kind, sequence, position, its_rate, payload in opened(content, key):
        whole &= sequence == expected
        rate, expected, ended = its_rate, sequence + 1, kind == END
        pcm.extend(bytes(4 * position - len(pcm)))  # silence for what is missing
        if kind == AUDIO:
            pcm.extend(payload)
        else:
            note = json.loads(payload)
            gaps += note.pop("gaps", [])
    note |= {"gaps": gaps} if gaps else {}
    return Sound(rate, bytes(pcm), note, whole and ended and note["drops"] == 0)


def main(identity: str, vault: str, sealed: str, out: str) -> None:
    private = private_key(json.loads(Path(identity).read_text()), getpass.getpass)
    key = file_key(json.loads(Path(vault).read_text()), private)
    sound = read(Path(sealed).read_bytes(), key)
    with wave.open(out, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(sound.rate)
        file.writeframes(sound.pcm)
    sys.stderr.write(f"{'complete' if sound.complete else 'incomplete'}, {json.dumps(sound.note)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
