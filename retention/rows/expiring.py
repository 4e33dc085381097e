"""Which rows may be due, as listings that an index answers: no read goes through rows that are not.

If a function gives several listings, they have no row in common.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

from retention.recording import Status, to_text
from retention.rows.dialect import Dialect
from retention.rows.pages import Listing

_BY_TIME = ("started_at", "id")


def recordings(expired: datetime, started: datetime) -> Iterator[Listing]:
    """Not purged, and begun before `started`, or expired before `expired`, or half purged."""
    began, others = _either("recordings", "purged_at IS NULL", expired, started)
    yield from (began, others)
    yield replace(
        others,
        order=_BY_TIME,
        indexed=f"status = '{Status.PURGING.value}'",
        stop=None,
        where=["purged_at IS NULL", "started_at >= ?", "expires_at >= ?"],
        values=[to_text(started), to_text(expired)],
    )


def receipts(expired: datetime, started: datetime, dialect: Dialect) -> Iterator[Listing]:
    """Receipts that still lead to a person, and began before `started`, or expired before `expired`."""
    yield from _either("receipts", dialect.personal, expired, started)


def personal_notes(dialect: Dialect) -> Listing:
    """Notes that have a text."""
    return Listing(table="notes", order=("id",), indexed=dialect.personal)


def notes(expired: datetime, written: datetime | None, dialect: Dialect) -> Listing:
    """Notes that have a text, and expired at `expired`, or are older than `written`."""
    values = [to_text(expired), to_text(written or datetime.min.replace(tzinfo=UTC))]
    return replace(personal_notes(dialect), where=["expires_at <= ? OR at < ?"], values=values)


def accesses(before: datetime, dialect: Dialect) -> Listing:
    """Uses with a name, made before `before`, but not of recordings still kept."""
    return _of_nobody_kept("accesses", before, dialect)


def approvals(before: datetime, dialect: Dialect) -> Listing:
    """What was asked for before `before` and names somebody, but not of recordings still kept."""
    return _of_nobody_kept("approvals", before, dialect)


def _of_nobody_kept(table: str, before: datetime, dialect: Dialect) -> Listing:
    kept = "SELECT 1 FROM recordings WHERE id = recording_id AND purged_at IS NULL"
    where = ["at < ?", f"NOT EXISTS ({kept})"]
    values = [to_text(before)]
    return Listing(table=table, order=("id",), indexed=dialect.personal, where=where, values=values)


def _either(table: str, indexed: str, expired: datetime, started: datetime) -> tuple[Listing, Listing]:
    began = Listing(table=table, order=_BY_TIME, indexed=indexed, stop=to_text(started))
    others = replace(
        began,
        order=("expires_at", "id"),
        stop=to_text(expired),
        where=["started_at >= ?"],
        values=[to_text(started)],
    )
    return began, others
