"""Which of PostgreSQL's errors means what."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors

from retention.recording import RecordError
from retention.rows.faults import Busy, NoRoom, StoreError, TryAgain

GONE = "does not answer"
_READ_ONLY = "takes no writes now: it is a standby, or read-only"
# classes of SQLSTATE, or whole ones, that pass by themselves or with an administrator's help
_MAY_PASS = {
    **dict.fromkeys(("08", "57P01", "57P02", "57P03", "57P04", "57P05", "25P03", "58", "XX"), GONE),
    **dict.fromkeys(("57014", "25P04"), "was too slow"),
    **dict.fromkeys(("40001", "40P01", "40003"), "is busy"),
    "25006": _READ_ONLY,
    "53": "has no room for this",
}
_BUSY = ("55P03",)  # a lock was not to be had in time
_FULL = ("53100",)


@contextmanager
def named(name: str) -> Iterator[None]:
    """An error about a database, as one of ours; `name` is what a person calls it."""
    try:
        yield
    except psycopg.Error as error:
        raise _ours(name, error) from error
    except RecordError as error:
        raise StoreError(f"{name}: {error}") from error


def is_lost(error: psycopg.Error) -> bool:
    """Whether the connection is of no more use: it is gone, or leads to a server that takes no writes."""
    state = error.sqlstate
    if state is None:
        return isinstance(error, psycopg.OperationalError)
    return _told(state) in (GONE, _READ_ONLY)


def _ours(name: str, error: psycopg.Error) -> StoreError:
    reason, state = _line(error), error.sqlstate or ""
    if state in _FULL:
        return NoRoom(f"{name} is full: {reason}")
    if state in _BUSY:
        return Busy(f"{name} is locked: others have been writing for too long")
    told = _told(state) if state else GONE if isinstance(error, psycopg.OperationalError) else None
    if told is not None:
        return TryAgain(f"{name} {told}; {reason}: wait, nothing is lost")
    if isinstance(error, errors.UniqueViolation):
        return StoreError(f"{name}: rows of {error.diag.table_name} are never replaced: this one is there")
    return StoreError(f"{name}: {reason}")


def _told(state: str) -> str | None:
    return _MAY_PASS.get(state) or _MAY_PASS.get(state[:2])


def _line(error: psycopg.Error) -> str:
    """What it says, on one line."""
    text = error.diag.message_primary or str(error)
    return " ".join(text.partition("\n")[0].split()) or type(error).__name__
