"""What was done, is held and was counted, as JSON: what the commands print, and the interface gives."""

from collections.abc import Iterable
from datetime import date
from typing import TYPE_CHECKING

from retention.recording import Json, Recording, to_text
from retention.rows.selection import Selection
from retention.rules.deletion import Deletion
from retention.rules.hold import is_overdue
from retention.rules.statistics import Statistics
from sipagent.lookup.figures import Tally

if TYPE_CHECKING:
    from sipagent.config.load import Config


def deletion_json(done: Deletion) -> Json:
    """As `delete --json` prints it."""
    return {
        "id": done.call.id,
        "deleted_at": to_text(done.trace.at),
        "by": done.trace.by,
        "reason": done.trace.detail,
        "started_at": to_text(done.call.started_at),
        "recording": done.call.recording and _was(done.call.recording),
        "receipt": done.receipt,
        "notes": done.notes,
        "copies": [{"path": str(copy.path), "at": to_text(copy.at), "by": copy.by} for copy in done.copies],
        "chain": {"seq": done.entry.seq, "hash": done.entry.hash},
    }


def _was(row: Recording) -> Json:
    names = ("ended_at", "duration_s", "status", "bytes", "sha256", "purged_at")
    json = row.to_json()
    return {name: json[name] for name in names}


def holds_json(rows: Iterable[Recording], today: date) -> list[Json]:
    """As `holds --json` prints it; `today` in the service's time zone."""
    return [row.to_json() | {"review_overdue": is_overdue(row, today)} for row in rows]


def statistics_json(config: "Config", figures: Statistics, period: Selection, tally: Tally) -> Json:
    """As `stats --json` prints it."""
    return {
        "since": period.since and to_text(period.since),
        "until": period.until and to_text(period.until),
        "timezone": str(config.service.timezone),
        **figures.to_json(),
        "reconciled": {
            "agrees": all(rows == chain for rows, chain in tally.values()),
            **{name: {"rows": rows, "chain": chain} for name, (rows, chain) in tally.items()},
        },
    }
