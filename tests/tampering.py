"""What somebody with the files in their hands can do: SQL past the triggers, and the chain made anew."""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, replace
from datetime import timedelta
from pathlib import Path

from retention.archive import Archive
from retention.erase import erase_row, fail
from retention.purge import purge
from retention.records import Access, Approval, Event, MissingSound, Note, Recording, Sum
from retention.rows.chain import ENTRY, GENESIS, ChainEntry, link
from tests.kept import CALLER, OPERATOR, START, TERMS, archive, keep, receipt, recording, sqlite

HOLD = {
    "ground": "criminal",
    "reference": "2026/7",
    "by": "A. Roux",
    "approved_by": "B. Petit",
    "review": "2027-01-01",
}


def lived_in(folder: Path) -> Archive:
    """An archive with rows of every kind and state: open, closed, held, erased, failed, purged."""
    kept = archive(folder)
    keep(kept, recording(-60 * 24 * 300))
    purge(kept, START, TERMS)
    missing = (MissingSound(from_s=1.0, to_s=1.5),)
    first, second, third = (
        keep(kept, recording(n, duration_s=12, ended_at=START, missing=missing)) for n in range(3)
    )
    kept.change(replace(second, hold=HOLD, flagged=True))
    event = Event(at=START, what=f"invited by {CALLER}", by=OPERATOR)
    kept.store.update_receipt(
        receipt(third, events=(event,), keyword="je refuse", confidence=1, notice_played_ms=12000)
    )
    kept.open(recording(3)).write_bytes(b"in a call")
    for number, end in ((4, erase_row), (5, fail)):
        ended = recording(number)
        kept.open(ended)
        end(kept, ended.id, START)
    kept.store.add_access(use_of(first))
    by_login = replace(use_of(first), login="a.roux", via="web", system_user=None)
    kept.store.add_access(replace(by_login, action="export", reference="2026/7", detail="both to x"))
    kept.store.add_sum(sum_of(41))
    kept.store.add_approval(asked_of(first))
    asked = kept.store.add_approval(asked_of(second))
    decided = replace(asked, state="approved", decided_at=START, decided_by="b.petit", answer="see the file")
    kept.store.update_approval(decided)
    kept.store.add_note(note_on(first))
    return kept


def asked_of(row: Recording) -> Approval:
    return Approval(
        at=START,
        action="export",
        recording_id=row.id,
        by="a.roux",
        ground="criminal",
        reference="2026/7",
        review="2027-05-31",
        purpose="criminal",
        channel="both",
        reason="asked by the court",
    )


def use_of(row: Recording) -> Access:
    return Access(
        at=START, action="play", recording_id=row.id, purpose="quality", by="A. Roux", system_user="root"
    )


def sum_of(count: int) -> Sum:
    return Sum(what="rejected", count=count, from_at=START, until_at=START, code=503, by="edge: full")


def note_on(row: Recording, text: str = "a good call") -> Note:
    later = START + timedelta(days=365)
    return Note(recording_id=row.id, at=START, by="A. Roux", text=text, expires_at=later)


def sql(kept: Archive, *statements: str) -> None:
    """Past the triggers that are in the way."""
    with closing(sqlite3.connect(Path(kept.store.path), isolation_level=None)) as connection:
        past_guards(connection, statements)


def past_guards(connection: sqlite3.Connection, statements: Iterable[str]) -> None:
    """The triggers are there again when it is done."""
    guards = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in guards:
        connection.execute(f'DROP TRIGGER "{name}"')
    for statement in statements:
        connection.execute(statement)
    for _, guard in guards:
        connection.execute(guard)


@contextmanager
def as_if(kept: Archive, *statements: str) -> Iterator[None]:
    """Undone at the end."""
    connection = sqlite(kept.store).conn
    connection.execute("BEGIN")
    try:
        past_guards(connection, statements)
        yield
    finally:
        connection.rollback()


def make_anew(kept: Archive, change: Callable[[list[ChainEntry]], Iterable[ChainEntry]]) -> None:
    """Another chain in the place of the one there is, its numbers and hashes right."""
    with closing(sqlite3.connect(Path(kept.store.path), isolation_level=None)) as connection:
        rows = connection.execute(f"SELECT {', '.join(ENTRY)} FROM chain ORDER BY seq").fetchall()
        sql(kept, "DELETE FROM chain")
        before = GENESIS
        for entry in change([ChainEntry(*row) for row in rows]):
            linked = replace(entry, hash=link(before, entry))
            marks = ", ".join("?" * len(ENTRY))
            connection.execute(f"INSERT INTO chain ({', '.join(ENTRY)}) VALUES ({marks})", astuple(linked))
            before = linked.hash
