"""kill -9 of whoever writes to what is kept: at every step of what a person can ask for, and in a crowd.

Afterwards the database opens, the chain holds and knows the head that was exported, and whoever asks again
gets what was asked for.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from retention.archive import Archive
from retention.erase import NotDeleted, delete, erase, erase_row
from retention.holds import HoldError, place, release
from retention.marks import Mark
from retention.purge import Terms, purge
from retention.records import Access, Event, Hold, Status, due_date
from retention.reserve import Reserve, take_in
from retention.rows.chain import read_head
from retention.vault import Identity
from retention.verify import verify
from sipagent.operations.uses import NotFiled, file_note
from tests import kept, tiers
from tests.crashing import deaths
from tests.kept import (
    CALLER,
    OPERATOR,
    SOUND,
    START,
    Paths,
    archive,
    bytes_under,
    keep,
    receipt,
    recording,
)
from tests.tampering import HOLD, note_on, use_of

LATER = due_date(START, "2 years")
TERMS = Terms(period="6 months", receipts_period="1 year", analysis_period="1 year")
CLEAR, SEALED, KEPT, HELD = (recording(number) for number in range(4))
WAITED = recording(9, status=Status.FAILED)
RECIPIENT = Identity(bytes([7]) * 32, "DPO").public
PLACED = Hold(**HOLD | {"review": "2030-01-01"})
BY = Access(at=START, action="", by="A. Roux", system_user="root")
SECRETS = (b"612345678", b"marie", b"192.0.2.7", SOUND, b"A. Roux", b"a good call")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of each, used, analysed; one is held, and one is young."""
    folder = tmp_path_factory.mktemp("original")
    archive = kept.archive(folder)
    archive.vault.create(SEALED.id, [RECIPIENT])
    for row in (CLEAR, SEALED, KEPT, HELD):
        closed = keep(
            archive, replace(row, started_at=LATER, expires_at=LATER + timedelta(1)) if row is KEPT else row
        )
        event = Event(at=START, what=f"invited by {CALLER}", by=OPERATOR)
        archive.store.update_receipt(receipt(closed, events=(event,)))
        archive.store.add_access(replace(use_of(row), detail="both to x"))
    archive.store.add_note(note_on(CLEAR))
    place(archive, HELD.id, PLACED, BY)
    archive.store.close()
    return folder


def by_purge(archive: Archive) -> None:
    purge(archive, LATER, TERMS)


def by_deletion(archive: Archive) -> None:
    delete(archive, CLEAR.id, BY, lambda: START)


def by_hold(archive: Archive) -> None:
    place(archive, CLEAR.id, PLACED, BY)


def by_release(archive: Archive) -> None:
    release(archive, HELD.id, BY)


def by_note(archive: Archive) -> None:
    file_note(archive, CLEAR.id, "a good call", BY, "1 year", erase=True)


def by_erasure(archive: Archive) -> None:
    erase_row(archive, SEALED.id, START, "not_allowed")


def by_refusal(archive: Archive) -> None:
    """In the call: the mark first, then all that it asks for."""
    mark = Mark.of(receipt(SEALED, decision="refused", decided_by="dtmf"), START)
    archive.marks.sync(archive.marks.make(mark))
    erase(archive, SEALED.id, START)


def by_reserve(archive: Archive) -> None:
    """Rows that had waited, and are read in."""
    reserve = Reserve(Paths(archive).base / "retention.reserve", 0)
    reserve.allocate()
    reserve.write([receipt(WAITED), WAITED])
    reserve.close()
    take_in(archive.store, reserve.path)


Asked = Callable[[Archive], None]
# what `verify` may say until it is asked for again: the JSON before its row, the files before the row's end
HALF_DONE: dict[Asked, set[str]] = {
    by_purge: set(),
    by_deletion: set(),
    by_hold: {f"{CLEAR.id}.json", f"{CLEAR.id}.json.tmp"},
    by_release: {f"{HELD.id}.json", f"{HELD.id}.json.tmp"},
    by_note: set(),
    by_erasure: {SEALED.id, f"{SEALED.id}.json", f"{SEALED.id}.sealed"},
    by_refusal: {f"recording {SEALED.id}"},
    by_reserve: {"retention.reserve"},
}


def ask(folder: Path, asked: Asked) -> None:
    opened = archive(folder)
    asked(opened)
    opened.store.close()


@pytest.fixture
def office(original: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / "office")


@pytest.mark.parametrize("asked", HALF_DONE, ids=lambda asked: asked.__name__)
def test_at_every_step(
    original: Path, office: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: Asked
) -> None:
    monkeypatch.setattr("retention.reserve.MOMENT_S", 0)
    whole = shutil.copytree(original, tmp_path / "whole")
    ask(whole, asked)
    with (kept_whole := archive(whole)).store:
        wanted = as_it_is(kept_whole)
    for done in deaths(office, partial(ask, office, asked)):
        opened = archive(office)
        head = read_head(office / "retention.head")
        assert head is not None and opened.store.knows(head), done
        assert {one.where for one in verify(opened).problems} <= HALF_DONE[asked], done
        assert opened.store.recording(KEPT.id).status is Status.CLOSED
        ask_again(opened, asked)
        assert verify(opened).problems == [], done
        assert as_it_is(opened) == wanted, done
        opened.store.close()
    assert len(done) > 5 and "commit" in done


def ask_again(opened: Archive, asked: Asked) -> None:
    """What was done to the end refuses to be done twice; the purge of the next hour finishes what a crash
    left."""
    try:
        asked(opened)
    except (HoldError, NotDeleted, NotFiled) as told:
        assert "already" in str(told) or "not on hold" in str(told)
    purge(opened, START, TERMS)


def as_it_is(opened: Archive) -> object:
    """Rows and files, but for when a row became a tombstone."""
    ids = [row.id for row in (CLEAR, SEALED, KEPT, HELD)]
    rows = [replace(opened.store.recording(id), purged_at=None) for id in ids]
    return rows, [opened.store.receipt(id) for id in ids], opened.names(), opened.keys()


def test_what_the_purge_was_killed_in_leaves_no_byte_after_the_next(office: Path) -> None:
    """At its commits, where the database has written half of its pages, and in its unlinks."""
    for done in deaths(office, partial(ask, office, by_purge)):
        if len(done) % tiers.depth(3, 1):
            continue
        opened = archive(office)
        release(opened, HELD.id, BY)
        for _ in range(2):  # what is in use for a recording is forgotten an hour after that
            purge(opened, LATER + timedelta(days=400), TERMS)
        opened.store.close()
        left = bytes_under(office)
        assert [secret for secret in SECRETS if secret in left and secret != b"A. Roux"] == [], done
