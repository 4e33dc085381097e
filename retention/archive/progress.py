"""Which worker has which calls, where several processes share one database.

A call's row in `in_progress` names its worker from the transaction that opens the receipt to the one after
which nothing is left to do; then the database's own triggers remove it (`schema.py`). It is not part of the
chain: it tells who is at work, not what happened. A worker holds a lock for its whole life, which the kernel
releases however the worker ends. So a replacement, and the next start, know which calls no worker has any
more.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from retention.recording import worker_of
from retention.rows.rows import Rows
from retention.storage.files import alone, kept_free
from retention.storage.places import Places

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
