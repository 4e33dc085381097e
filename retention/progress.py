"""Which worker has which calls, where several processes share one database.

A call's row in `in_progress` names its worker from the transaction that opens the receipt to the one after
which nothing of it is left to do; the database's own triggers take it out (`schema.py`). It is no part of the
chain: it tells who is at work, not what happened. A worker holds a lock for its whole life, which the kernel
lets go of however it ends; so a replacement, and the next start, know whose calls nobody has any more.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from retention.files import alone
from retention.recording import worker_of
from retention.store import Store


def lock_of(database: Path, worker: int) -> Path:
    """`retention.worker-3.lock` of `retention.db`."""
    return database.with_suffix(f".worker-{worker}.lock")


def agent_lock(database: Path) -> Path:
    """`retention.lock` of `retention.db`: the agent's, whoever takes its calls."""
    return database.with_suffix(".lock")


@contextmanager
def at_work(database: Path, worker: int) -> Iterator[None]:
    """Be that worker meanwhile, alone. Raises BlockingIOError while another process is it, OSError."""
    with alone(lock_of(database, worker)):
        yield


def is_at_work(database: Path, worker: int) -> bool:
    """Whether a process is that worker now. Raises OSError."""
    if not lock_of(database, worker).exists():
        return False
    try:
        with at_work(database, worker):
            return False
    except BlockingIOError:
        return True


def is_running(database: Path) -> bool:
    """Whether an agent has the database for its own now. Raises OSError."""
    lock = agent_lock(database)
    if not lock.exists():
        return False
    try:
        with alone(lock):
            return False
    except BlockingIOError:
        return True


def left_by(store: Store, worker: int) -> tuple[str, ...]:
    """The calls of a worker, oldest first: under its lock, and before it takes one, its predecessor's."""
    return tuple(id for id, of in store.in_progress().items() if of == worker)


def of_the_living(store: Store, ids: Iterable[str] = ()) -> frozenset[str]:
    """The calls of all workers that are at work; `ids`: among these too, whose rows may yet come.

    Raises OSError.
    """
    calls = store.in_progress()
    calls |= {id: worker for id in ids if (worker := worker_of(id)) is not None}
    living = {worker for worker in set(calls.values()) if is_at_work(Path(store.path), worker)}
    return frozenset(id for id, worker in calls.items() if worker in living)
