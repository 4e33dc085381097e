"""Who may listen, and with what: their pairs of keys, and the vault, which has each recording's key sealed
to them.

**Pairs.** A public key seals, an identity opens. Both are text that can be read without this program. A
public key, STEM.pub, is one line:

    sipagent-recipient-1 <base64 of the 32 bytes of an X25519 public key> <comment>

An identity, STEM.key, is JSON; all bytes in it are in base64:

    {"version": "sipagent-identity-1", "public": …, "comment": …, "kdf": …, "secret": …}

Unprotected, `kdf` is null and `secret` the 32 bytes of the private key. With a passphrase, `kdf` is
`{"name": "argon2id", "opslimit": …, "memlimit": …, "salt": …}`, and `secret` is a SecretBox of the
private key (libsodium's crypto_secretbox_easy: 24 bytes of nonce, 16 of tag, the ciphertext) under the 32
bytes that crypto_pwhash derives by Argon2id, version 1.3, from the passphrase in UTF-8, NFC. What is
sealed to a public key is a SealedBox (crypto_box_seal), which tells neither who sealed it nor to whom.

**The vault** lies apart from the recordings, so that removing `ID.key` makes a recording unreadable, and
all copies of the file. `ID.key` is JSON, all bytes in it in base64:

    {"version": "sipagent-vault-1", "id": ID,
     "recipients": [{"public": <32 bytes>, "comment": …, "key": <a SealedBox to that key>}, …]}

What is in the SealedBox begins with a line, `sipagent-key-1 ID`, ended by a line feed; the 32 bytes of
the file's key follow. So no key can replace another unnoticed. The public keys are there so that a text
about the recording can be sealed to the same people later, with `sipagent-text-1 ID` in its first line.
"""

import json
import os
import stat
import unicodedata
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from nacl import public
from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id
from nacl.secret import SecretBox
from nacl.utils import random

from retention import files
from retention.files import Naming
from retention.recording_files import Area, FileKind, RecordingFiles, write
from retention.records import Json, is_id
from retention.texts import Reason, WithReason, strerror

KEY_BYTES = 32
SIZE_LIMIT = 1 << 16  # bytes; no key file of ours is longer

_RECIPIENT = "sipagent-recipient-1"
_IDENTITY = "sipagent-identity-1"
_PAIR = (Reason("the public key (STEM.pub) of a pair"), Reason("the identity (STEM.key) of a pair"))


class KeysError(WithReason):
    """A key is missing, wrong or can't be used; `str()` is one line that names the file."""


@dataclass(frozen=True, slots=True)
class Strength:
    """What trying one passphrase costs: passes over so many bytes of memory (RFC 9106)."""

    opslimit: int
    memlimit: int


MODERATE = Strength(argon2id.OPSLIMIT_MODERATE, argon2id.MEMLIMIT_MODERATE)
"""About a second and 256 MiB."""

_MOST = Strength(4 * argon2id.OPSLIMIT_SENSITIVE, argon2id.MEMLIMIT_SENSITIVE)  # a file may ask for


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One recipient: the 32 bytes of an X25519 key, and what its owner calls it."""

    raw: bytes
    comment: str = field(default="", compare=False)

    @property
    def id(self) -> str:
        """A short fingerprint, 16 hexadecimal digits of its SHA-256."""
        return sha256(self.raw).hexdigest()[:16]

    def __str__(self) -> str:
        return f"{self.comment} ({self.id})" if self.comment else self.id

    def seal(self, plain: bytes) -> bytes:
        """Bytes that only the owner of the private key can read. KeysError for a key that is not valid."""
        try:
            return public.SealedBox(public.PublicKey(self.raw)).encrypt(plain)
        except CryptoError as error:  # a point of low order
            raise KeysError("{0}: is not a key that anything can be sealed to", self) from error


class Identity:
    """The key pair that can open what was sealed to `public`."""

    def __init__(self, private: bytes, comment: str = "") -> None:
        """`private`: 32 bytes."""
        self._private = public.PrivateKey(private)
        self.public = PublicKey(bytes(self._private.public_key), comment)

    def open(self, sealed: bytes) -> bytes:
        """What `PublicKey.seal` was given. KeysError if it was sealed to another key, or altered."""
        try:
            return public.SealedBox(self._private).decrypt(sealed)
        except CryptoError as error:
            raise KeysError("not sealed to {0}, or altered since", self.public) from error


def new_pair(
    stem: Path, passphrase: str | None, comment: str, *, strength: Strength = MODERATE
) -> tuple[Path, Path]:
    """Make a pair, durably: STEM.pub (mode 0644) and STEM.key (0600), in this order in the result.

    Without a passphrase anyone who has STEM.key can listen. KeysError if one of them exists, for an empty
    passphrase or a comment of several lines; OSError if the disk fails.
    """
    if passphrase == "":
        raise KeysError(
            "{0}: an empty passphrase protects nothing; accepted: None, or one with characters", stem
        )
    if not comment.isprintable():
        raise KeysError("{0}: the comment {1!r} is not one line of text", stem, comment)
    to_share, to_guard = (stem.with_name(stem.name + suffix) for suffix in (".pub", ".key"))
    for path in (to_share, to_guard):
        if os.path.lexists(path):
            raise KeysError("{0}: exists, and a key is never overwritten", path)
    private = public.PrivateKey.generate()
    identity = _identity_fields(bytes(private), passphrase, comment, strength)
    files.make_folder(stem.parent)
    _create(to_guard, json.dumps(identity, ensure_ascii=False, indent=1) + "\n", 0o600)
    try:
        _create(to_share, public_line(PublicKey(bytes(private.public_key), comment)), 0o644)
    except (OSError, KeysError):
        to_guard.unlink()  # half a pair is useless
        raise
    files.sync_folder(stem.parent)
    return to_share, to_guard


def public_line(key: PublicKey) -> str:
    """The one line of a public key's file."""
    return f"{_RECIPIENT} {encode(key.raw)} {key.comment}".rstrip() + "\n"


def read_public(path: Path) -> PublicKey:
    """The public key in a file. KeysError if there is none that can be used."""
    return public_key(_read(path), path)


def public_key(text: str, where: Path | str) -> PublicKey:
    """The public key in the text of its file. KeysError, on `where`, if there is none that can be used."""
    if text.lstrip().startswith("{"):
        raise KeysError("{0}: is an identity, which does not belong here; accepted: {1}", where, _PAIR[0])
    word, _, rest = text.strip().partition(" ")
    encoded, _, comment = rest.strip().partition(" ")
    raw = decode(encoded)
    if word != _RECIPIENT or raw is None or len(raw) != KEY_BYTES or not comment.isprintable():
        raise KeysError("{0}: is not a public key; accepted: one line, {1} BASE64 COMMENT", where, _RECIPIENT)
    key = PublicKey(raw, comment.strip())
    try:
        key.seal(b"")
    except KeysError as error:
        raise KeysError("{0}: {1}", where, error) from error
    return key


def read_identity(path: Path, passphrase: Callable[[], str]) -> Identity:
    """The identity in a file; `passphrase` is called only if it is protected, after all that can be checked.

    KeysError for a wrong passphrase and for a file that holds no identity.
    """
    text = _read(path)
    if text.startswith(_RECIPIENT):
        raise KeysError("{0}: is a public key, which opens nothing; accepted: {1}", path, _PAIR[1])
    try:
        fields = json.loads(text)
        if not isinstance(fields, dict) or fields.get("version") != _IDENTITY:
            raise ValueError("another kind of file")
        told, secret = _bytes(fields, "public"), _bytes(fields, "secret")
        comment, kdf = str(fields["comment"]), fields["kdf"]
        derive = None if kdf is None else _derivation(kdf)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise KeysError("{0}: is not an identity, or damaged; accepted: {1}", path, _PAIR[1]) from error
    if derive is not None:
        secret = _unlock(path, secret, derive(path, passphrase()))
    if len(secret) != KEY_BYTES:
        raise KeysError("{0}: is damaged: its private key is not {1} bytes", path, KEY_BYTES)
    identity = Identity(secret, comment)
    if identity.public.raw != told:
        raise KeysError("{0}: is damaged: its private key is not that of its public key", path)
    return identity


def encode(raw: bytes) -> str:
    """Base64 (RFC 4648, section 4)."""
    return b64encode(raw).decode()


def decode(text: object) -> bytes | None:
    """The inverse; None for anything else."""
    try:
        return b64decode(text, validate=True) if isinstance(text, str) else None
    except ValueError:
        return None


def _identity_fields(private: bytes, passphrase: str | None, comment: str, strength: Strength) -> Json:
    """The JSON of an identity."""
    kdf, secret = None, private
    if passphrase is not None:
        salt = random(argon2id.SALTBYTES)
        opslimit, memlimit = strength.opslimit, strength.memlimit
        secret = bytes(SecretBox(_stretch(passphrase, salt, strength)).encrypt(private))
        kdf = {"name": "argon2id", "opslimit": opslimit, "memlimit": memlimit, "salt": encode(salt)}
    return {
        "version": _IDENTITY,
        "public": encode(bytes(public.PrivateKey(private).public_key)),
        "comment": comment,
        "kdf": kdf,
        "secret": encode(secret),
    }


def _derivation(kdf: Json) -> Callable[[Path, str], bytes]:
    """How a passphrase becomes a key. ValueError, KeyError or TypeError for what this version can't do."""
    strength = Strength(int(kdf["opslimit"]), int(kdf["memlimit"]))
    salt = _bytes(kdf, "salt")
    if kdf["name"] != "argon2id" or len(salt) != argon2id.SALTBYTES:
        raise ValueError("another derivation")
    if not 0 < strength.opslimit <= _MOST.opslimit or not 0 < strength.memlimit <= _MOST.memlimit:
        raise ValueError("asks for more than it may")

    def derive(path: Path, passphrase: str) -> bytes:
        try:
            return _stretch(passphrase, salt, strength)
        except (CryptoError, ValueError) as error:
            raise KeysError(
                "{0}: the passphrase can't be tried with {1} MiB of memory: {2}",
                path,
                strength.memlimit >> 20,
                error,
            ) from error

    return derive


def _stretch(passphrase: str, salt: bytes, strength: Strength) -> bytes:
    typed = unicodedata.normalize("NFC", passphrase).encode()
    return argon2id.kdf(KEY_BYTES, typed, salt, opslimit=strength.opslimit, memlimit=strength.memlimit)


def _unlock(path: Path, secret: bytes, key: bytes) -> bytes:
    try:
        return SecretBox(key).decrypt(secret)
    except (CryptoError, ValueError) as error:
        raise KeysError("{0}: wrong passphrase, or the file is damaged", path) from error


def _bytes(fields: Json, name: str) -> bytes:
    raw = decode(fields[name])
    if raw is None:
        raise ValueError(Reason("{0} is not base64", name))
    return raw


def _read(path: Path) -> str:
    """The text of a key file. KeysError if there is none: a pipe or a device is never waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise KeysError("{0}: is not a regular file", path)
            content = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise KeysError("{0}: {1}", path, strerror(error)) from error
    if len(content) > SIZE_LIMIT:
        raise KeysError("{0}: is longer than any key", path)
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise KeysError("{0}: is not text, and so not a key", path) from error


def _create(path: Path, text: str, mode: int) -> None:
    """Write a new file durably; KeysError if the name is taken, even by a broken link."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, mode)
    except FileExistsError as error:
        raise KeysError("{0}: exists, and a key is never overwritten", path) from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)  # with any umask
            file.write(text.encode())
            file.flush()
            os.fsync(descriptor)
    except OSError:
        path.unlink()
        raise


_VERSION = "sipagent-vault-1"
_KEY, _TEXT = "sipagent-key-1", "sipagent-text-1"


class Vault:
    """The sealed keys among these files.

    Every method raises KeysError for an id that is not valid and for a file that isn't of the vault, OSError
    for a disk that fails.
    """

    def __init__(self, files: RecordingFiles) -> None:
        self.files = files

    def has(self, id: str) -> bool:
        """Whether there is a key of this recording."""
        return self.files.exists(_checked(id), FileKind.KEY)

    def ids(self) -> list[str]:
        """The ids of all recordings with a file here, sorted; other files are ignored."""
        return sorted({id for _, id in self.files.names(Area.VAULT) if id is not None})

    def create(self, id: str, recipients: Sequence[PublicKey], naming: Naming = nullcontext) -> bytes:
        """Make the key of a file, 32 bytes; returned once it is on the disk for all `recipients`. Never
        replaces one.

        KeysError if there is one already, or no recipient; what `naming` raises.
        """
        if self.has(id):
            raise KeysError("{0}: exists, and a key is never overwritten", self._where(id))
        key = random(KEY_BYTES)
        content = _describe(id, key, recipients)
        write(self.files, id, FileKind.KEY, content, naming)
        return key

    def key(self, id: str, identity: Identity) -> bytes:
        """The key of a file, 32 bytes. KeysError if it is missing, or not for this identity."""
        path = self._where(id)
        box = self.box(id, identity.public)
        key = _labelled_as(_KEY, id, _opened(path, box, identity), path)
        if len(key) != KEY_BYTES:
            raise KeysError("{0}: is damaged: {1} bytes are no key", path, len(key))
        return key

    def box(self, id: str, recipient: PublicKey) -> bytes:
        """The key of a file as it is sealed to one recipient. KeysError if it is missing, or not for them."""
        sealed = self._read(id)
        if (box := sealed.get(recipient)) is None:
            able = ", ".join(map(str, sealed))
            raise KeysError("{0}: is not for {1}; accepted: {2}", self._where(id), recipient, able)
        return box

    def recipients(self, id: str) -> tuple[PublicKey, ...]:
        """Who can listen to this recording. KeysError if its key is missing."""
        return tuple(self._read(id))

    def resealed(self, id: str, identity: Identity, recipients: Sequence[PublicKey]) -> bytes | None:
        """`ID.key` with the key of a file sealed to other recipients; None if it is sealed to just these.

        The key itself stays the same: who had it before still has it; only the copies here change.
        """
        key = self.key(id, identity)
        if set(self.recipients(id)) == set(recipients):
            return None
        return _describe(id, key, recipients)

    def seal(self, id: str, plain: bytes, recipients: Sequence[PublicKey] | None = None) -> Json:
        """A text for the recipients of this recording only: their public keys with what each can open.

        `recipients`: who they will be.
        """
        able = self.recipients(id) if recipients is None else recipients
        return {encode(key.raw): encode(key.seal(_labelled(_TEXT, id, plain))) for key in able}

    def unseal(self, id: str, sealed: Json, identity: Identity) -> bytes:
        """The inverse. KeysError if it isn't for this identity, is of another recording, or altered."""
        where = Reason("the sealed text of {0}", id)
        box = decode(sealed.get(encode(identity.public.raw)))
        if box is None:
            raise KeysError("{0}: is not for {1}", where, identity.public)
        return _labelled_as(_TEXT, id, _opened(where, box, identity), where)

    def _read(self, id: str) -> dict[PublicKey, bytes]:
        """Each recipient's copy."""
        path = self._where(id)
        try:
            with self.files.open(id, FileKind.KEY) as file:
                content = file.read(SIZE_LIMIT + 1)
        except FileNotFoundError as error:
            raise KeysError(
                "{0}: {1}", path, Reason("does not exist; nobody can listen to {0}", id)
            ) from error
        try:
            fields = json.loads(content)
            if fields["version"] != _VERSION or fields["id"] != id:
                raise ValueError("of another recording")
            return dict(map(_sealed, fields["recipients"]))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise KeysError(
                "{0}: {1}", path, Reason("is not the sealed key of {0}, or damaged", id)
            ) from error

    def _where(self, id: str) -> str:
        return self.files.where(_checked(id), FileKind.KEY)


def _checked(id: str) -> str:
    if not is_id(id):
        raise KeysError("{0!r} is not the id of a recording", id)
    return id


def _describe(id: str, key: bytes, recipients: Iterable[PublicKey]) -> bytes:
    entries = [
        {"public": encode(one.raw), "comment": one.comment, "key": encode(one.seal(_labelled(_KEY, id, key)))}
        for one in dict.fromkeys(recipients)
    ]
    if not entries:
        raise KeysError("{0}: there is no recipient to seal it to", id)
    fields = {"version": _VERSION, "id": id, "recipients": entries}
    return json.dumps(fields, ensure_ascii=False, indent=1).encode() + b"\n"


def _sealed(entry: Json) -> tuple[PublicKey, bytes]:
    """ValueError, KeyError, TypeError or AttributeError for an entry that is not valid."""
    raw, box = decode(entry["public"]), decode(entry["key"])
    if raw is None or box is None or len(raw) != KEY_BYTES:
        raise ValueError("not base64")
    return PublicKey(raw, str(entry.get("comment", ""))), box


def _opened(where: str, box: bytes, identity: Identity) -> bytes:
    try:
        return identity.open(box)
    except KeysError as error:
        raise KeysError("{0}: {1}", where, error) from error


def _labelled(label: str, id: str, plain: bytes) -> bytes:
    return f"{label} {id}\n".encode() + plain


def _labelled_as(label: str, id: str, content: bytes, where: str) -> bytes:
    first, _, plain = content.partition(b"\n")
    if first != f"{label} {id}".encode():
        raise KeysError(
            "{0}: was sealed for something else, {1!r}", where, first[:80].decode(errors="replace")
        )
    return plain
