"""One bucket of an S3-compatible store: the only module that knows boto3, which it loads when first needed.

Every call waits a bounded time and is made once; who calls decides what is tried again. What goes wrong
is an `ObjectError`, an OSError whose `str()` is one line. `Away` may pass by itself, and says nothing of
whether a put or a removal has been done: its answer may be what was lost.

`ObjectReader` is an object that is read like a file: from its start in one request, and from anywhere
else in one more.

Objects are named by recording and kind, so that nobody has to list them:

vault/ID.key                   its sealed key
recordings/ID.part/00001 …     what was recorded so far, in pieces that follow one another
recordings/ID.sealed           the finished recording, in their place
recordings/ID.json             its metadata
"""

import base64
import errno
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from io import SEEK_CUR, SEEK_END, SEEK_SET, BufferedReader, RawIOBase
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from retention.marks import ArchiveError
from retention.recording_files import Area, FileKind, area_of, checked
from retention.texts import Reason

Made = TypeVar("Made")

CONNECT_S = 3.0
ANSWER_S = 10.0  # between two packets of an answer
AT_ONCE = 1000  # names in one request that removes: S3's own limit
PARALLEL = 16  # connections
LARGEST_CONTENT = 64 << 20  # bytes of what is read at once

_AWAY = frozenset(("SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "Busy", "Throttling"))
_NO_LOCK = frozenset(
    (
        *("ObjectLockConfigurationNotFoundError", "ObjectLockConfigurationNotFound", "InvalidBucketState"),
        *("NotImplemented", "InvalidRequest", "MethodNotAllowed", "NoSuchObjectLockConfiguration"),
    )
)


class ObjectError(OSError):
    """The store did not do it; `str()` is one line that names the object."""

    def __init__(self, code: int, problem: str, name: str) -> None:
        super().__init__(code, problem, name)

    def __str__(self) -> str:
        return Reason("{0}: {1}", self.filename, self.strerror)


class Away(ObjectError):
    """No answer, or one that says: later. Whatever was asked for may have been done, or still will be."""


class Denied(ObjectError):
    """The store refuses it to these credentials, or because of a hold or a retention."""


class CannotHold(ObjectError):
    """The bucket keeps no legal holds."""


class NoSuchObject(ObjectError, FileNotFoundError):
    """Nothing has that name, or not that version of it."""


_MEANINGS: tuple[tuple[type[ObjectError], tuple[str, ...], tuple[int, ...], str], ...] = (
    (ObjectError, ("NoSuchBucket",), (), Reason("there is no such bucket")),
    (NoSuchObject, ("NoSuchKey", "NoSuchVersion"), (404,), Reason("there is no such object")),
    (
        Away,
        ("RequestTimeTooSkewed",),
        (),
        Reason("the clocks of this machine and of the object store differ by more than it accepts"),
    ),
    (
        Denied,
        ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken"),
        (),
        Reason("the object store does not know these credentials"),
    ),
    (
        Away,
        ("XMinioStorageFull", "InsufficientStorage", "QuotaExceeded", "QuotaExceededException"),
        (507,),
        Reason("the object store is full"),
    ),
    (
        Denied,
        ("AccessDenied",),
        (403,),
        Reason("the object store refuses it: the credentials may not, or a hold or a retention stands"),
    ),
)


@dataclass(frozen=True, slots=True)
class BucketPlace:
    """Where a bucket is. `prefix` is empty or ends with a slash; `endpoint`: a URL, None for Amazon's own.

    `credentials`: an INI file with `aws_access_key_id` and `aws_secret_access_key`; None: boto3's own ways.
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str = ""
    credentials: Path | None = None


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One version of an object; `version` is None where the bucket keeps none, `sha256` (hex) if unknown."""

    version: str | None
    bytes: int
    sha256: str | None
    held: bool


@dataclass(frozen=True, slots=True)
class Locking:
    """What the bucket says of itself. `default` is the mode of retention that every new object gets."""

    versions: bool
    locks: bool
    default: str | None


class Bucket:
    """The objects below one prefix, by names without it. Safe from any thread.

    Everything raises ObjectError, or one of its kinds.
    """

    def __init__(self, place: BucketPlace, answer_s: float = ANSWER_S) -> None:
        self.place = place
        self._answer_s = answer_s
        self._making = threading.Lock()

    def url(self, name: str) -> str:
        """The full name of an object, for rows and messages."""
        return f"s3://{self.place.bucket}/{self.place.prefix}{name}"

    def put(self, name: str, body: bytes | BinaryIO, sha256: str, *, held: bool = False) -> str | None:
        """Put an object whole, and have the store compare its SHA-256; the new version, if it keeps them.

        A file is read from where it stands, piece by piece. `held`: with a legal hold from the start.
        """
        more = {"ObjectLockLegalHoldStatus": "ON"} if held else {}
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        answer = self._ask(
            name,
            lambda s3, key: s3.put_object(
                **key, Body=body, ChecksumAlgorithm="SHA256", ChecksumSHA256=checksum, **more
            ),
        )
        return _version(answer)

    def look(self, name: str, version: str | None = None) -> ObjectVersion | None:
        """The newest version, or this one; None: nothing has that name.

        A version that a marker of deletion hides is not seen by its name alone.
        """
        which = {} if version is None else {"VersionId": version}
        try:
            answer = self._ask(name, lambda s3, key: s3.head_object(**key, **which, ChecksumMode="ENABLED"))
        except (NoSuchObject, Denied):
            self._be_sure(name)
            return None
        encoded = answer.get("ChecksumSHA256")
        return ObjectVersion(
            version=_version(answer),
            bytes=answer["ContentLength"],
            sha256=base64.b64decode(encoded).hex() if encoded and "-" not in encoded else None,
            held=answer.get("ObjectLockLegalHoldStatus") == "ON",
        )

    def read(self, name: str, first: int = 0, last: int | None = None, version: str | None = None) -> Any:
        """Its bytes from `first` up to `last`, as a stream with `read` and `close`. Raises NoSuchObject."""
        which = {} if version is None else {"VersionId": version}
        if first or last is not None:
            which["Range"] = f"bytes={first}-{'' if last is None else last - 1}"
        return self._ask(name, lambda s3, key: s3.get_object(**key, **which))["Body"]

    def next_bytes(self, name: str, stream: Any, most: int) -> bytes:
        """The next bytes of such a stream, at most so many; none at its end."""
        return self._named(name, lambda: bytes(stream.read(most)))

    def content(self, name: str, version: str | None = None) -> bytes:
        """All its bytes, of an object that is small. Raises NoSuchObject."""
        with self.read(name, version=version) as stream:
            return self.next_bytes(name, stream, LARGEST_CONTENT)

    def remove(self, name: str, version: str | None) -> None:
        """Remove one version for good; no error if it is gone. Raises Denied for one that is held.

        None only for a bucket that keeps no versions: elsewhere that would hide the object and keep it.
        """
        which = {} if version is None else {"VersionId": version}
        self._ask(name, lambda s3, key: s3.delete_object(**key, **which))

    def remove_many(self, versions: Sequence[tuple[str, str]]) -> dict[tuple[str, str], ObjectError]:
        """Remove up to AT_ONCE of them in one request, by name and version; those that it did not remove."""
        asked = [{"Key": f"{self.place.prefix}{name}", "VersionId": version} for name, version in versions]
        answer = self._ask(
            versions[0][0],
            lambda s3, key: s3.delete_objects(Bucket=key["Bucket"], Delete={"Objects": asked, "Quiet": True}),
        )
        wrong = {}
        for one in answer.get("Errors", ()):
            name = one["Key"].removeprefix(self.place.prefix)
            if one.get("Code") not in ("NoSuchKey", "NoSuchVersion"):
                kind, problem = _meaning(one.get("Code", ""), one.get("Message", ""), 0)
                wrong[name, one.get("VersionId", "")] = kind(errno.EIO, problem, self.url(name))
        return wrong

    def hold(self, name: str, version: str | None, *, on: bool) -> None:
        """Set a version's legal hold, or take it off. Raises CannotHold, NoSuchObject."""
        which = {} if version is None else {"VersionId": version}
        status = {"Status": "ON" if on else "OFF"}
        self._ask(name, lambda s3, key: s3.put_object_legal_hold(**key, **which, LegalHold=status), lock=True)

    def versions(self, beginning: str) -> Iterator[tuple[str, str]] | None:
        """Every version and marker of deletion whose name begins so; None where listing is not allowed."""
        start = {"Prefix": f"{self.place.prefix}{beginning}"}
        found: list[tuple[str, str]] = []
        more: dict[str, str] = {}
        while True:
            asked = {"Bucket": self.place.bucket, **start, **more}
            try:
                page = self._ask(beginning, partial(_list, asked=asked))
            except (Denied, CannotHold):
                return None
            for one in (*page.get("Versions", ()), *page.get("DeleteMarkers", ())):
                found.append((one["Key"].removeprefix(self.place.prefix), one["VersionId"]))
            if not page.get("IsTruncated"):
                return iter(found)
            more = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}

    def has_any(self, beginning: str) -> bool:
        """Whether there is an object whose name begins so; not, where listing is not allowed."""
        asked = {"Bucket": self.place.bucket, "Prefix": f"{self.place.prefix}{beginning}"}
        try:
            page = self._ask(beginning, lambda s3, key: s3.list_objects_v2(**asked, MaxKeys=1))
        except Denied:
            return False
        return bool(page.get("Contents"))

    def locking(self) -> Locking:
        """Whether it keeps versions, and locks them."""
        bucket = {"Bucket": self.place.bucket}
        versioning = self._ask("", lambda s3, key: s3.get_bucket_versioning(**bucket))
        try:
            answer = self._ask("", lambda s3, key: s3.get_object_lock_configuration(**bucket), lock=True)
        except (CannotHold, NoSuchObject):
            return Locking(versioning.get("Status") == "Enabled", locks=False, default=None)
        lock = answer.get("ObjectLockConfiguration", {})
        return Locking(
            versions=versioning.get("Status") == "Enabled",
            locks=lock.get("ObjectLockEnabled") == "Enabled",
            default=lock.get("Rule", {}).get("DefaultRetention", {}).get("Mode"),
        )

    # steps

    def _be_sure(self, name: str) -> None:
        """An answer to a HEAD has no text: see that the bucket is there and lets us in."""
        try:
            self._ask(name, lambda s3, key: s3.get_object(**key, Range="bytes=0-0"))["Body"].close()
        except NoSuchObject:
            return

    def _ask(self, name: str, question: Callable[[Any, dict[str, str]], Any], *, lock: bool = False) -> Any:
        """One request; `lock`: about holds, which not every bucket keeps."""
        key = {"Bucket": self.place.bucket, "Key": f"{self.place.prefix}{name}"}
        return self._named(name, lambda: question(self._s3, key), lock=lock)

    def _named(self, name: str, work: Callable[[], Made], *, lock: bool = False) -> Made:
        """What boto3 raises, as one of ours."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import (
            BotoCoreError,
            ClientError,
            HTTPClientError,
            NoCredentialsError,
            PartialCredentialsError,
        )
        from botocore.exceptions import ConnectionError as BotoConnectionError

        where = self.url(name)
        try:
            return work()
        except ClientError as error:
            said = error.response.get("Error", {})
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
            code = str(said.get("Code", ""))
            if lock and (code in _NO_LOCK or status == 501):
                raise CannotHold(errno.ENOTSUP, Reason("the bucket keeps no legal holds"), where) from error
            kind, problem = _meaning(code, str(said.get("Message", "")), status)
            raise kind(errno.ENOENT if kind is NoSuchObject else errno.EIO, problem, where) from error
        except (HTTPClientError, BotoConnectionError) as error:
            raise Away(
                errno.EIO, Reason("the object store does not answer ({0})", _plain(error)), where
            ) from error
        except (NoCredentialsError, PartialCredentialsError) as error:
            problem = Reason(
                "there are no credentials; accepted: objects.credentials_file, or AWS's own ways"
            )
            raise Denied(errno.EACCES, problem, where) from error
        except (BotoCoreError, Boto3Error) as error:
            raise ObjectError(
                errno.EIO, Reason("the object store cannot be asked: {0}", _plain(error)), where
            ) from error

    @property
    def _s3(self) -> Any:
        with self._making:
            return self._client

    @cached_property
    def _client(self) -> Any:
        import boto3
        from botocore.config import Config

        place = self.place
        names = _credentials(place.credentials) if place.credentials else {}
        return boto3.session.Session().client(
            "s3",
            endpoint_url=place.endpoint,
            region_name=place.region or None,
            config=Config(
                connect_timeout=CONNECT_S,
                read_timeout=self._answer_s,
                retries={"total_max_attempts": 1},
                max_pool_connections=PARALLEL,
                tcp_keepalive=True,
                parameter_validation=False,  # all of them are ours: a sixth of a put's time
                # its checksum is signed, so the body need not be: it is hashed once less
                s3={"addressing_style": "path", "payload_signing_enabled": False},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
            **names,
        )


def _list(s3: Any, key: dict[str, str], asked: dict[str, str]) -> Any:
    return s3.list_object_versions(**asked)


def _credentials(path: Path) -> dict[str, str]:
    """Those of the section `default`, or of the only one. Raises ObjectError."""
    import configparser

    reader = configparser.ConfigParser(interpolation=None)
    try:
        reader.read_string(path.read_text(encoding="utf-8"))
        sections = reader.sections()
        section = reader["default" if "default" in sections else sections[0]]
        known = {name: section.get(name) for name in ("aws_access_key_id", "aws_secret_access_key")}
        if token := section.get("aws_session_token"):
            known["aws_session_token"] = token
    except OSError as error:
        raise ObjectError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from error
    except (configparser.Error, IndexError, UnicodeDecodeError) as error:
        raise ObjectError(errno.EINVAL, _NO_INI, str(path)) from error
    if None in known.values():
        raise ObjectError(errno.EINVAL, _NO_INI, str(path))
    return {name: value for name, value in known.items() if value}


_NO_INI = Reason("is not an INI file with aws_access_key_id and aws_secret_access_key")


def _meaning(code: str, message: str, status: int) -> tuple[type[ObjectError], str]:
    """What an answer that is an error means, and says."""
    for kind, codes, statuses, problem in _MEANINGS:
        if code in codes or status in statuses:
            return kind, problem
    kind = Away if code in _AWAY or status >= 500 or status == 429 else ObjectError
    return kind, Reason("the object store answers {0}: {1}", code or status, _line(message))


def _version(answer: dict[str, Any]) -> str | None:
    version = answer.get("VersionId")
    return None if version is None else str(version)


def _plain(error: Exception) -> str:
    """Without the URL, and on one line."""
    return _line(str(error).partition('"')[0].strip(" :")) or type(error).__name__


def _line(text: str) -> str:
    return " ".join(text.split())[:200]


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
            raise ObjectError(5, Reason("ends before its end"), self._bucket.url(self._name))
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


PIECE = FileKind.PART
BEGINNING = {Area.VAULT: "vault/", Area.RECORDINGS: "recordings/"}
# what a recording may have besides its pieces, in the order of removal
WHOLE = (FileKind.KEY, FileKind.SEALED, FileKind.METADATA)


def object_name(id: str, kind: FileKind) -> str:
    """The name of an object. Raises ArchiveError for an id that is not valid."""
    return any_name(checked(id), kind)


def any_name(id: str, kind: FileKind) -> str:
    """That of whatever is taken for an id, to be shown."""
    return f"{BEGINNING[area_of(kind)]}{id}.{kind}"


def piece_name(id: str, number: int) -> str:
    """The name of a piece, from 1."""
    return f"{object_name(id, PIECE)}/{number:05}"


def shown(area: Area, file: str) -> str:
    """The name that a file of the spool has beside objects."""
    return f"{BEGINNING[area]}{file}"


def file_of(name: str) -> tuple[Area, str]:
    """The inverse. Raises ArchiveError."""
    for area, begin in BEGINNING.items():
        file = name.removeprefix(begin)
        if file != name and file not in ("", ".", "..") and "/" not in file:
            return area, file
    raise ArchiveError("{0!r} is not a name among the recordings", name)


def without_number(name: str) -> str:
    """`recordings/ID.part` for a piece of it; any other name as it is."""
    begin, part, number = name.rpartition(f".{PIECE}/")
    return f"{begin}.{PIECE}" if part and number.isdecimal() else name
