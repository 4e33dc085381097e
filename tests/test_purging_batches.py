"""A purge over the shared database and a store of objects: many at a time, and each as if it were alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

import pytest

from retention import erase
from retention.archive import Archive
from retention.holds import HoldError, place
from retention.objects.bucket import WHOLE, object_name
from retention.objects.object_files import ObjectBlobs
from retention.postgres.connection import Connection
from retention.purge import PurgeReport, purge
from retention.recording_files import FileKind
from retention.records import Access, Recording, Status
from retention.rows import pages
from retention.verify import verify
from tests import tiers
from tests.kept import ANN, SOUND, TERMS, receipt, recording
from tests.memory_bucket import Killed, MemoryBucket
from tests.object_store import archive_through, keep_as_objects
from tests.postgres import Server, fresh
from tests.sealed import sealed_store, tables
from tests.test_hold import HOLD, LATE

BY = Access(at=datetime(2027, 8, 1, tzinfo=UTC), action="purge", by="A. Roux")
TRACE = Access(at=datetime(2026, 12, 1, tzinfo=UTC), action="hold", by=HOLD.by)
GONE = frozenset[FileKind]()


class Office:
    """One database and one store, opened anew by whoever works on them."""

    def __init__(self, server: Server, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self.bucket = MemoryBucket()
        self._stack = stack
        self._conninfo = stack.enter_context(fresh(server, tables))
        self._hosts = 0

    def archive(self) -> Archive:
        """That of a host of its own."""
        self._hosts += 1
        name = f"h{self._hosts}"
        store = sealed_store(self._conninfo, ObjectBlobs(self.bucket), host=name)
        self._stack.callback(store.close)
        return archive_through(self.folder / name, self.bucket, store)

    def keep(self, many: int) -> list[Recording]:
        closed = partial(recording, status=Status.CLOSED, sha256=sha256(SOUND).hexdigest(), bytes=len(SOUND))
        rows = [closed(number) for number in range(many)]
        keep_as_objects(self.archive(), [(receipt(row), row) for row in rows])
        return rows

    def hold(self, row: Recording) -> None:
        """Have another host hold it."""
        archive = self.archive()
        archive.files.erase_name(
            archive.files.name(row.id, FileKind.KEY)
        )  # not one that anything is sealed with
        archive.vault.create(row.id, [ANN.public])
        place(archive, row.id, HOLD, TRACE)

    def kinds(self, row: Recording) -> frozenset[FileKind]:
        """What the store has of it."""
        return frozenset(kind for kind in WHOLE if self.bucket.objects.get(object_name(row.id, kind)))


@contextmanager
def opened(server: Server, folder: Path) -> Iterator[Office]:
    with ExitStack() as stack:
        yield Office(server, folder, stack)


@pytest.fixture
def office(postgres: Server, tmp_path: Path) -> Iterator[Office]:
    with opened(postgres, tmp_path) as office:
        yield office


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three, without a pause."""
    monkeypatch.setattr(pages, "BATCH", 3)
    monkeypatch.setattr(pages, "BREATH_S", 0.0)


def gone(report: PurgeReport) -> list[str]:
    assert report.failed == ()
    return [one.id for one in report.removed]


def statements(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> int:
    """How often somebody waits for the database meanwhile."""
    taken, lock = list[str](), Lock()

    def counted(called: str) -> None:
        call = getattr(Connection, called)

        def counting(*args: Any, **named: Any) -> Any:
            with lock:
                taken.append(called)
            return call(*args, **named)

        patch.setattr(Connection, called, counting)

    with monkeypatch.context() as patch:
        counted("_once")
        counted("execute_many")
        work()
    return len(taken)


def test_a_batch_takes_as_many_statements_as_one_recording(
    postgres: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "BATCH", 250)
    taken = []
    for many in (1, 60):
        with opened(postgres, tmp_path / f"{many}") as office:
            rows, archive = office.keep(many), office.archive()
            taken.append(statements(monkeypatch, partial(purge, archive, LATE, TERMS, by=BY)))
            assert {office.kinds(row) for row in rows} == {GONE} and archive.store.keys_left() == 0
    assert taken[1] <= taken[0] + 10, taken  # one or two more bundles of keys


@pytest.mark.parametrize("turn", [0, 1])
def test_a_hold_that_comes_before_its_batch_wins_and_the_others_go(
    office: Office, monkeypatch: pytest.MonkeyPatch, turn: int
) -> None:
    """Placed by another host, after the plan, while those before are on their way. While its batch goes it is
    too late."""
    rows = office.keep(6)
    held, begin, turns, late = rows[3 * turn + 1], erase._begun, count(), list[str]()

    def held_first(archive: Archive, ids: Sequence[str], trace: Access | None) -> Sequence[str]:
        if next(turns) == turn:
            office.hold(held)
        began = begin(archive, ids, trace)
        with pytest.raises(HoldError) as refused:
            place(office.archive(), ids[0], HOLD, TRACE)
        late.append(str(refused.value))
        return began

    monkeypatch.setattr(erase, "_begun", held_first)
    archive = office.archive()
    told = list[int]()
    report = purge(archive, LATE, TERMS, lambda done, total: told.append(done), by=BY)
    assert (told, report.receipts) == ([3, 6], 6)
    uses = [use.recording_id for use in archive.store.accesses() if use.action == "purge"]
    assert uses == [row.id for row in rows if row is not held]
    assert [stay.id for stay in report.held] == [held.id] and late == ["it is already purging"] * 2
    assert gone(report) == [row.id for row in rows if row is not held]
    kept = archive.store.recording(held.id)
    assert (kept.status, kept.hold) == (Status.CLOSED, HOLD.to_json())
    assert [office.kinds(row) for row in rows] == [frozenset(WHOLE) if row is held else GONE for row in rows]
    assert verify(archive).problems == []


def test_what_was_held_and_is_gone_leaves_the_list(office: Office) -> None:
    """Metadata that others had replaced: whoever removed it died before it wrote that down."""
    (row,) = office.keep(1)
    office.hold(row)
    archive = office.archive()
    objects = archive.store.objects
    (older,) = [one for one in objects.of([row.id]) if one.kind == FileKind.METADATA]
    assert older.held
    objects.remove_puts([older.put])
    office.bucket.hold(older.name, older.version, on=False)
    office.bucket.remove(older.name, older.version)
    assert gone(purge(archive, LATE, TERMS)) == [] and objects.removing() == []
    assert office.kinds(row) == {FileKind.KEY, FileKind.SEALED}


class Death:
    """Lets a process come to its step of this number, and to none after it."""

    def __init__(self, patch: pytest.MonkeyPatch, number: int) -> None:
        self.left = number
        self._lock = Lock()
        for of, called in ((Connection, "_once"), (Connection, "execute_many"), (MemoryBucket, "_ask")):
            patch.setattr(of, called, self._watched(getattr(of, called)))

    @property
    def came(self) -> bool:
        return self.left < 0

    def _watched(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **named: Any) -> Any:
            with self._lock:
                self.left -= 1
                if self.left < 0:
                    raise Killed
            return call(*args, **named)

        return watched


def judged_dead(office: Office, rows: Sequence[Recording]) -> None:
    """No sound without its key's end being told, nothing that counts as kept is gone."""
    there = office.archive().store.some_recordings([row.id for row in rows])
    for row in rows:
        kinds, status = office.kinds(row), there[row.id].status
        if status is Status.CLOSED:
            assert kinds == frozenset(WHOLE)
        elif status is Status.PURGED:
            assert kinds == GONE
        else:
            assert status is Status.PURGING
            assert kinds in [frozenset(WHOLE[first:]) for first in range(len(WHOLE) + 1)]


@pytest.mark.parametrize("stride", [tiers.depth(61, 37), pytest.param(1, marks=pytest.mark.slow)])
def test_killed_between_two_steps_the_next_purge_finishes(
    postgres: Server, tmp_path: Path, stride: int
) -> None:
    number, done = 0, False
    while not done:
        with opened(postgres, tmp_path / f"{number}") as office, pytest.MonkeyPatch.context() as patch:
            rows = office.keep(5)
            held = rows[2]
            office.hold(held)
            going = [row for row in rows if row is not held]
            dying = office.archive()
            death = Death(patch, number)
            try:
                purge(dying, LATE, TERMS, by=BY)
            except Killed:
                dying.store.close()
            done = not death.came
            patch.undo()
            judged_dead(office, going)
            archive = office.archive()
            report = purge(archive, LATE, TERMS)
            assert report.failed == () and [stay.id for stay in report.held] == [held.id]
            assert {office.kinds(row) for row in going} == {GONE}
            assert {archive.store.recording(row.id).status for row in going} == {Status.PURGED}
            assert office.kinds(held) == frozenset(WHOLE)
            assert archive.store.keys_left() == 0 and verify(archive).problems == []
            assert {row.caller for row in archive.store.receipts()} == {None}
        number += stride
    assert number > 50
