"""Which rows to list: a `Selection`, and the SQL conditions that it becomes."""

from dataclasses import dataclass
from datetime import datetime

from retention.recording import Status, to_text
from retention.rows.pages import Listing

Conditions = tuple[list[str], list[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which rows to list, newest first. Absent: any.

    `number` is a caller's whole number, as in the rows. `caller` has several forms of a part of a number; a
    row matches if its number begins or ends with one of them. `operator` is a whole address, or its user
    part. `reference` is a call's reference, as a person tells it. `until` is exclusive.
    """

    since: datetime | None = None
    until: datetime | None = None
    number: str | None = None
    caller: tuple[str, ...] = ()
    operator: str | None = None
    reference: str | None = None
    status: Status | None = None
    held: bool = False
    flagged: bool = False
    outcome: str | None = None  # receipts only
    decision: str | None = None
    limit: int | None = None


def newest(table: str, rest: Conditions, selection: Selection, *few: str) -> Listing:
    """Its listing: what an index answers, and the `rest`; `few` are conditions of partial indexes."""
    indexed = [*few] if selection.number is None else [*few, "caller = ?"]
    return Listing(
        table=table,
        order=("started_at", "id"),
        where=rest[0],
        values=rest[1],
        indexed=" AND ".join(indexed),
        indexed_values=[] if selection.number is None else [selection.number],
        start=selection.since and to_text(selection.since),
        stop=selection.until and to_text(selection.until),
        descending=True,
        limit=selection.limit,
    )


def recording_conditions(selection: Selection) -> Conditions:
    """The remaining conditions for the table of recordings."""
    where, values = _common(selection)
    state, state_values = _state(selection)
    return where + state, values + state_values


def receipt_conditions(selection: Selection) -> Conditions:
    """The remaining conditions for the table of receipts; a recording's status is that of the call's
    recording."""
    where, values = _common(selection)
    state, state_values = _state(selection)
    if state:
        its = "SELECT 1 FROM recordings WHERE recordings.id = recording_id"  # one by one, not all in one read
        where.append(f"EXISTS ({its} AND {' AND '.join(state)})")
        values += state_values
    if selection.outcome is not None:
        where.append("outcome = ?")
        values.append(selection.outcome)
    return where, values


def _common(selection: Selection) -> Conditions:
    where: list[str] = []
    values: list[object] = []

    def add(condition: str, *parameters: object) -> None:
        where.append(condition)
        values.extend(parameters)

    if selection.caller:
        form = "substr(caller, 1, length(?)) = ? OR substr(caller, -length(?)) = ?"
        add(
            f"({' OR '.join([form] * len(selection.caller))})",
            *(n for n in selection.caller for _ in range(4)),
        )
    if selection.operator is not None:
        add("(operator = ? OR instr(operator, ':' || ? || '@') > 0)", selection.operator, selection.operator)
    if selection.reference is not None:
        add("substr(id, -length(?)) = ?", f"-{selection.reference}", f"-{selection.reference}")
    if selection.decision is not None:
        add("decision = ?", selection.decision)
    return where, values


def _state(selection: Selection) -> Conditions:
    where: list[str] = []
    values: list[object] = []
    if selection.status is not None:
        where.append("status = ?")
        values.append(selection.status.value)
    if selection.held:
        where.append("hold IS NOT NULL")
    if selection.flagged:
        where.append("flagged = 1")
    return where, values
