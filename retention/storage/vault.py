"""The vault: for each sealed recording the key of its file, sealed to everyone who may listen.

It lies apart from the recordings, so that removing `ID.key` makes a recording unreadable, and all copies of
the file. `ID.key` is JSON, all bytes in it in base64:

    {"version": "sipagent-vault-1", "id": ID,
     "recipients": [{"public": <32 bytes>, "comment": …, "key": <a SealedBox to that key>}, …]}

What is in the SealedBox begins with a line, `sipagent-key-1 ID`, ended by a line feed; the 32 bytes of the
file's key follow. So no key can replace another unnoticed. The public keys are there so that a text about the
recording can be sealed to the same people later, with `sipagent-text-1 ID` in its first line.
"""

import json
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from nacl.utils import random

from retention.recording import Json, is_id
from retention.storage.files import Naming
from retention.storage.keys import KEY_BYTES, SIZE_LIMIT, Identity, KeysError, PublicKey, decode, encode
from retention.storage.recording_files import Area, FileKind, RecordingFiles

_VERSION = "sipagent-vault-1"
_KEY, _TEXT = "sipagent-key-1", "sipagent-text-1"


@dataclass(frozen=True, slots=True)
class _Sealed:
    """One recipient's copy."""

    to: PublicKey
    box: bytes


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
            raise KeysError(f"{self._where(id)}: exists, and a key is never overwritten")
        key = random(KEY_BYTES)
        content = _describe(id, key, recipients)
        self.files.write(id, FileKind.KEY, content, naming)
        return key

    def key(self, id: str, identity: Identity) -> bytes:
        """The key of a file, 32 bytes. KeysError if it is missing, or not for this identity."""
        return self._open(id, identity)

    def box(self, id: str, recipient: PublicKey) -> bytes:
        """The key of a file as it is sealed to one recipient. KeysError if it is missing, or not for them."""
        sealed = self._read(id)
        box = next((one.box for one in sealed if one.to == recipient), None)
        if box is None:
            able = ", ".join(str(one.to) for one in sealed)
            raise KeysError(f"{self._where(id)}: is not for {recipient}; accepted: {able}")
        return box

    def recipients(self, id: str) -> tuple[PublicKey, ...]:
        """Who can listen to this recording. KeysError if its key is missing."""
        return tuple(one.to for one in self._read(id))

    def resealed(self, id: str, identity: Identity, recipients: Sequence[PublicKey]) -> bytes | None:
        """`ID.key` with the key of a file sealed to other recipients; None if it is sealed to just these.

        The key itself stays the same: who had it before still has it; only the copies here change.
        """
        key = self._open(id, identity)
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
        where = f"the sealed text of {id}"
        box = decode(sealed.get(encode(identity.public.raw)))
        if box is None:
            raise KeysError(f"{where}: is not for {identity.public}")
        return _labelled_as(_TEXT, id, _opened(where, box, identity), where)

    def _open(self, id: str, identity: Identity) -> bytes:
        path = self._where(id)
        box = self.box(id, identity.public)
        key = _labelled_as(_KEY, id, _opened(path, box, identity), path)
        if len(key) != KEY_BYTES:
            raise KeysError(f"{path}: is damaged: {len(key)} bytes are no key")
        return key

    def _read(self, id: str) -> list[_Sealed]:
        path = self._where(id)
        try:
            with self.files.open(id, FileKind.KEY) as file:
                content = file.read(SIZE_LIMIT + 1)
        except FileNotFoundError as error:
            raise KeysError(f"{path}: does not exist; nobody can listen to {id}") from error
        try:
            fields = json.loads(content)
            if fields["version"] != _VERSION or fields["id"] != id:
                raise ValueError("of another recording")
            return [_sealed(entry) for entry in fields["recipients"]]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise KeysError(f"{path}: is not the sealed key of {id}, or damaged") from error

    def _where(self, id: str) -> str:
        return self.files.where(_checked(id), FileKind.KEY)


def _checked(id: str) -> str:
    if not is_id(id):
        raise KeysError(f"{id!r} is not the id of a recording")
    return id


def _describe(id: str, key: bytes, recipients: Iterable[PublicKey]) -> bytes:
    entries = [
        {"public": encode(one.raw), "comment": one.comment, "key": encode(one.seal(_labelled(_KEY, id, key)))}
        for one in dict.fromkeys(recipients)
    ]
    if not entries:
        raise KeysError(f"{id}: there is no recipient to seal it to")
    fields = {"version": _VERSION, "id": id, "recipients": entries}
    return json.dumps(fields, ensure_ascii=False, indent=1).encode() + b"\n"


def _sealed(entry: Json) -> _Sealed:
    """ValueError, KeyError, TypeError or AttributeError for an entry that is not valid."""
    raw, box = decode(entry["public"]), decode(entry["key"])
    if raw is None or box is None or len(raw) != KEY_BYTES:
        raise ValueError("not base64")
    return _Sealed(PublicKey(raw, str(entry.get("comment", ""))), box)


def _opened(where: str, box: bytes, identity: Identity) -> bytes:
    try:
        return identity.open(box)
    except KeysError as error:
        raise KeysError(f"{where}: {error}") from error


def _labelled(label: str, id: str, plain: bytes) -> bytes:
    return f"{label} {id}\n".encode() + plain


def _labelled_as(label: str, id: str, content: bytes, where: str) -> bytes:
    first, _, plain = content.partition(b"\n")
    if first != f"{label} {id}".encode():
        raise KeysError(f"{where}: was sealed for something else, {first[:80].decode(errors='replace')!r}")
    return plain
