"""The tables, as a list of numbered steps. A released step never changes: a new one is added below it."""

from typing import cast

from sqlite_utils import Database
from sqlite_utils.db import Table
from sqlite_utils.migrations import Migrations

MIGRATIONS = Migrations("sipagent")


@MIGRATIONS(name="0001_receipts_recordings_accesses")
def _first(db: Database) -> None:
    """One column for each JSON field; `notice`, `pauses`, `hold` and `events` hold JSON text."""
    _table(db, "receipts").create(
        {
            "id": str,
            "call_id": str,
            "started_at": str,
            "answered_at": str,
            "connected_at": str,
            "ended_at": str,
            "caller": str,
            "called": str,
            "operator": str,
            "outcome": str,
            "decision": str,
            "decided_by": str,
            "decided_at": str,
            "phase": str,
            "dtmf_method": str,
            "keyword": str,
            "confidence": float,
            "notice_played_ms": int,
            "events": str,
            "recording_id": str,
        },
        pk="id",
        not_null={"id", "started_at", "decision"},
    )
    _table(db, "recordings").create(
        {
            "id": str,
            "call_id": str,
            "started_at": str,
            "ended_at": str,
            "duration_s": float,
            "caller": str,
            "called": str,
            "operator": str,
            "status": str,
            "incomplete": int,
            "decision": str,
            "notice": str,
            "channels": int,
            "sample_rate": int,
            "path": str,
            "bytes": int,
            "sha256": str,
            "pauses": str,
            "flagged": int,
            "expires_at": str,
            "hold": str,
            "purged_at": str,
        },
        pk="id",
        not_null={"id", "started_at", "expires_at", "status"},
    )
    _table(db, "accesses").create(
        {
            "id": int,
            "at": str,
            "action": str,
            "recording_id": str,
            "purpose": str,
            "by": str,
            "system_user": str,
            "reference": str,
            "outcome": str,
            "detail": str,
        },
        pk="id",
        not_null={"at", "action", "outcome"},
    )
    _table(db, "receipts").create_index(["started_at"])
    _table(db, "receipts").create_index(["recording_id"])
    _table(db, "recordings").create_index(["started_at"])
    _table(db, "recordings").create_index(["status"])
    _table(db, "accesses").create_index(["recording_id"])


def unknown_migrations(db: Database) -> list[str]:
    """Steps that the database has taken and this program does not know."""
    known = {step.name for step in MIGRATIONS._migrations}
    return [step.name for step in MIGRATIONS.applied(db) if step.name not in known]


def _table(db: Database, name: str) -> Table:
    return cast(Table, db[name])
