r"""Which worker has which calls, and the reserve of each for what the database cannot take.

**Calls in progress.** Several processes share one database. A call's row in `in_progress` names its
worker from the transaction that opens the receipt to the one after which nothing is left to do; then the
database's own triggers remove it (`sqlite`). It is not part of the chain: it tells who is at work, not
what happened. A worker holds a lock for its whole life, which the kernel releases however the worker
ends. So a replacement, and the next start, know which calls no worker has any more.

**A reserve** is a file that is allocated in advance, so that a full disk does not matter, and written in
place. Beside the database, each process that keeps calls has one: `retention.reserve`,
`retention.worker-3.reserve`, `retention.edge.reserve` (0600). It holds the newest state of each receipt
that waits, the rows of recordings that have begun meanwhile, and counts; the next start reads it in
before it decides about recordings, and it is emptied as soon as the rows are there. So nothing personal
stays in it longer than in them.

It has two halves, written in turn, each with a header, little-endian:

    offset  size  field
         0     8  magic     "sipagR\r\n"
         8     8  sequence  of what is in it, from 1; the half with the higher one counts
        16     4  length    of the payload in bytes
        20     4  CRC-32    (zlib) of bytes 0 to 19 and the payload
        24  length          zlib of JSON, a list of objects with one field each: `receipt`, `recording`,
        `sum`

So a crash during a write leaves what was there before.
"""

import json
import os
import struct
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from retention import files
from retention.files import Places, alone, kept_free
from retention.records import Json, Receipt, RecordError, Recording, Sum, parse_json, worker_of
from retention.rows.rows import DamagedRow, Rows
from retention.texts import Reason, WithReason, reason_of

MOMENT_S = 1.0  # in which a running agent finishes its current step
Found = TypeVar("Found", bound=Sized)


@contextmanager
def at_work(places: Places, worker: int) -> Iterator[None]:
    """Hold the lock of that worker. Raises BlockingIOError while another process holds it, OSError."""
    with alone(places.lock_of(worker)):
        yield


def is_at_work(places: Places, worker: int) -> bool:
    """Whether a process holds the lock of that worker now. Raises OSError."""
    return _is_held(places.lock_of(worker))


def is_running(places: Places) -> bool:
    """Whether an agent holds the database's own lock now. Raises OSError."""
    return _is_held(places.lock)


def _is_held(lock: Path) -> bool:
    """Ask without taking it: an agent that starts at this moment must not be told that another one runs."""
    if not lock.exists():
        return False
    with kept_free(lock) as free:
        return not free


def left_by(store: Rows, worker: int) -> tuple[str, ...]:
    """The calls of a worker, oldest first. Under its lock, before it takes a call, these are its
    predecessor's."""
    return tuple(id for id, of in store.in_progress().items() if of == worker)


def of_the_living(store: Rows, ids: Iterable[str] = ()) -> frozenset[str]:
    """The calls of all workers that are at work; `ids`: also look among these, whose rows may come later.

    Raises OSError.
    """
    calls = store.in_progress()
    calls |= {id: worker for id in ids if (worker := worker_of(id)) is not None}
    places = store.places
    if places is None:
        return frozenset()
    living = {worker for worker in set(calls.values()) if is_at_work(places, worker)}
    return frozenset(id for id, worker in calls.items() if worker in living)


def lasting(found: Found, again: Callable[[Found], Found]) -> Found:
    """What is still found after a moment: not what a running agent is working on. `again` looks once more."""
    until = time.monotonic() + MOMENT_S
    while found and time.monotonic() < until:
        time.sleep(MOMENT_S / 10)  # no event tells another process
        found = again(found)
    return found


BASE = 256 << 10  # bytes of a half, and for each call that a process carries at a time:
PER_CALL = 16 << 10

Record = Receipt | Recording | Sum

_MAGIC = b"sipagR\r\n"
_HEADER = struct.Struct("<8sQII")
_CRC_AT = _HEADER.size - 4
_NAMES: dict[type[Record], str] = {Receipt: "receipt", Recording: "recording", Sum: "sum"}
_TYPES: dict[str, type[Record]] = {name: type for type, name in _NAMES.items()}


class ReserveFull(WithReason):
    """The reserve has no room for all of that."""


class ReserveError(WithReason):
    """What is in it cannot be read; `str()` is one line."""


class Reserve:
    """The reserve that this process owns. Not safe from several threads."""

    def __init__(self, path: Path, calls: int) -> None:
        """`calls`: how many the process carries at a time."""
        self.path = path
        self._size = BASE + calls * PER_CALL
        self._descriptor: int | None = None
        self._next, self._sequence = 0, 1
        self._used = [0, 0]  # bytes from the start of each half that are not zero

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written since it was emptied."""
        return self._used == [0, 0]

    def allocate(self) -> None:
        """Allocate its room on the disk, before anything needs it. Its content is lost. Raises OSError."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.path, flags, 0o600)
        try:
            files.share_owner(self.path)
            os.posix_fallocate(descriptor, 0, 2 * self._size)
            os.ftruncate(descriptor, 2 * self._size)
            for place in range(2):  # written once, so that no later write needs to allocate
                os.pwrite(descriptor, bytes(self._size), place * self._size)
            os.fsync(descriptor)
            files.sync_folder(self.path.parent)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor, self._used = descriptor, [0, 0]

    def write(self, records: Sequence[Record]) -> None:
        """Replace its content by these, durably. Raises ReserveFull, OSError."""
        if self._descriptor is None:
            raise OSError(None, Reason("has not been allocated"), str(self.path))
        payload = zlib.compress(json.dumps([_json(record) for record in records]).encode(), 1)
        head = _HEADER.pack(_MAGIC, self._sequence, len(payload), 0)[:_CRC_AT]
        content = head + struct.pack("<I", zlib.crc32(payload, zlib.crc32(head))) + payload
        if len(content) > self._size:
            raise ReserveFull
        place = self._next
        self._used[place] = max(self._used[place], len(content))
        os.pwrite(self._descriptor, content, place * self._size)
        os.fdatasync(self._descriptor)
        self._next, self._sequence = 1 - place, self._sequence + 1

    def empty(self) -> None:
        """Overwrite all that was in it, if anything was. Raises OSError."""
        if self._descriptor is None:
            return
        for place in (self._next, 1 - self._next):  # the older half first, or it would count in between
            if self._used[place]:
                os.pwrite(self._descriptor, bytes(self._used[place]), place * self._size)
                os.fdatasync(self._descriptor)
                self._used[place] = 0

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def left_behind(places: Places) -> list[Path]:
    """The reserves of workers that no longer run, and that of the agent in one process.

    Only for a caller that holds the database's own lock, or has it `kept_free`. Raises OSError.
    """
    return [
        path
        for owner, path in places.reserves().items()
        if owner is None or (isinstance(owner, int) and not is_at_work(places, owner))
    ]


def read_reserve(path: Path) -> list[Record]:
    """The content of a reserve; empty if it is missing. Raises ReserveError, OSError."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    size = len(content) // 2
    sequence, payload = max(_half(content[:size]), _half(content[size:]))
    if sequence == 0:
        if not any(content):
            return []
        raise ReserveError("{0}: {1}", path.name, Reason("something is in it, and cannot be read"))
    try:
        return [_record(one) for one in json.loads(zlib.decompress(payload))]
    except (ValueError, TypeError, KeyError, RecursionError, zlib.error, RecordError) as error:
        raise ReserveError("{0}: {1}", path.name, error) from error


def is_allocated(path: Path) -> bool:
    """Whether its room is there. Raises OSError."""
    there = path.stat()
    return 0 < there.st_size <= there.st_blocks * 512


def problems(places: Places) -> dict[str, str]:
    """What a person should look at, by the name of a reserve; while an agent runs, it may be gone at once.

    Raises OSError.
    """
    found = {}
    for path in places.reserves().values():
        try:
            records = read_reserve(path)
        except ReserveError as error:
            found[path.name] = reason_of(error).values[-1]
            continue
        calls = {one.id for one in records if not isinstance(one, Sum)}
        if calls:
            several = Reason("{0} call" if len(calls) == 1 else "{0} calls", len(calls))
            found[path.name] = Reason("what the database did not take of {0} waits in it", several)
        elif records:
            found[path.name] = Reason("counts of calls wait in it for the database")
        elif not is_allocated(path):
            found[path.name] = Reason("its room on the disk is not allocated")
    return found


def lasting_problems(places: Places) -> dict[str, str]:
    """The `problems` that stay: not what a running agent writes while we look again. Raises OSError."""
    return lasting(problems(places), lambda _: problems(places))


def recordings_in(places: Places) -> frozenset[str]:
    """The recordings whose rows are in reserves, as far as these can be read. Raises OSError."""
    ids: set[str] = set()
    for path in places.reserves().values():
        with suppress(ReserveError):
            ids |= {one.id for one in read_reserve(path) if isinstance(one, Recording)}
    return frozenset(ids)


def take_in(store: Rows, path: Path) -> list[str]:
    """Write what is in a reserve into the database, and empty it; returns the ids of its calls.

    No process may be using it. Rows that are newer in the database stay, and so do those that cannot be read.
    Raises StoreError, ReserveError, OSError; then the reserve stays as it is.
    """
    records = read_reserve(path)
    if not records:
        return []
    with store.write():
        for record in records:
            with suppress(DamagedRow):
                _take(store, record)
    with path.open("r+b") as file:
        file.write(bytes(path.stat().st_size))
        file.flush()
        os.fsync(file.fileno())
    return list(dict.fromkeys(record.id for record in records if not isinstance(record, Sum)))


def _take(store: Rows, record: Record) -> None:
    match record:
        case Receipt():
            known = store.some_receipts([record.id]).get(record.id)
            if known is None:
                store.add_receipt(record)
            elif is_later(record, known):
                store.update_receipt(record)
        case Recording():
            if not store.some_recordings([record.id]):
                store.add_recording(record)
        case Sum():
            if not any(one == record for one in store.each_sum(record.from_at)):
                store.add_sum(record)


def is_later(receipt: Receipt, known: Receipt) -> bool:
    """Whether it tells a later state of the call. A refusal is never taken back; an ended call is later."""
    if "refused" in (receipt.decision, known.decision) and receipt.decision != known.decision:
        return receipt.decision == "refused"
    if known.ended_at is not None or known.call_id is None:
        return False
    return receipt.ended_at is not None or len(receipt.events) > len(known.events)


def _half(half: bytes) -> tuple[int, bytes]:
    """Its sequence and payload; 0 where nothing is in it, or nothing that can be read."""
    if len(half) < _HEADER.size:
        return 0, b""
    magic, sequence, length, checksum = _HEADER.unpack_from(half)
    payload = half[_HEADER.size : _HEADER.size + length]
    whole = magic == _MAGIC and len(payload) == length
    if not whole or zlib.crc32(payload, zlib.crc32(half[:_CRC_AT])) != checksum:
        return 0, b""
    return sequence, payload


def _json(record: Record) -> Json:
    return {_NAMES[type(record)]: record.to_json()}


def _record(told: Json) -> Record:
    ((name, fields),) = told.items()
    return _TYPES[name].from_json(parse_json(json.dumps(fields)))
