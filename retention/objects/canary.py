"""Tries out a bucket with an object of its own, which never stays: whether it does what it says.

Some stores take a legal hold and do not keep it; some keep no versions; a retention that the bucket gives
every object would keep what a caller has refused. And credentials may be allowed too little.
"""

import hashlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass

from retention.objects.client import Bucket, Denied, ObjectError
from retention.objects.removals import remove_name

_CONTENT = b"sipagent check\n"
_SHA256 = hashlib.sha256(_CONTENT).hexdigest()


@dataclass(frozen=True, slots=True)
class Trial:
    """What was found: `level` is `ok`, `warning` or `error`."""

    level: str
    said: str


def try_out(bucket: Bucket) -> Iterator[Trial]:
    """Put, read, hold and remove. Whatever happens, nothing stays, or it is said what does."""
    name = f"check/{hashlib.sha256(socket.gethostname().encode()).hexdigest()[:16]}"
    try:
        remove_name(bucket, name)  # of a check that was killed
        try:
            yield from _tried(bucket, name)
        finally:
            remove_name(bucket, name)
    except ObjectError as fault:
        yield Trial("error", f"{fault.filename}: {fault.strerror}")


def _tried(bucket: Bucket, name: str) -> Iterator[Trial]:
    locking = bucket.locking()
    if locking.default is not None:
        yield Trial(
            "error",
            f"gives every object a retention ({locking.default.lower()}): what a caller has refused could "
            "not be removed; accepted: a bucket with object lock and no default retention",
        )
        return  # what is put now would stay
    version = bucket.put(name, _CONTENT, _SHA256)
    if bucket.content(name) != _CONTENT:
        yield Trial("error", "does not give back what was put")
    if version is None:
        yield Trial("warning", "keeps no versions, and so no legal holds: a hold is kept by its row alone")
        return
    if not locking.locks:
        yield Trial("warning", "has no object lock: a hold is kept by its row alone")
        return
    yield _held(bucket, name, version)


def _held(bucket: Bucket, name: str, version: str) -> Trial:
    bucket.hold(name, version, on=True)
    try:
        bucket.remove(name, version)
    except Denied:
        pretends = bucket.look(name, version) is None
    else:
        pretends = True
    if pretends:
        return Trial("error", "takes a legal hold and does not keep it: a hold is kept by its row alone")
    bucket.hold(name, version, on=False)
    bucket.remove(name, version)
    if bucket.look(name, version) is not None:
        return Trial("error", "says that it has removed what it has not")
    return Trial("ok", "keeps versions and legal holds, and removes what it must")
