"""Whatever happens to calls, in whatever order: what is held stays, what is due goes, and the chain holds.

A machine that plays a service over years in some seconds: calls come and end, are used, held and deleted, the
period is shortened, files are touched and moved, and purges are killed in their middle. Refusals leave their
marks before any row follows, and rows wait in a reserve.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from retention.erase import NotDeleted, delete, erase_files, erase_row, fail
from retention.holds import HoldError, place, release
from retention.marks import ArchiveError, Mark
from retention.purge import Terms, erase_pending, overdue, preview, purge
from retention.recording_files import LocalFiles
from retention.records import Access, Hold, Note, Recording, Status, due_date
from retention.reserve import Reserve, take_in
from retention.rows import pages
from retention.rows.chain import read_head
from retention.rows.rows import StoreError
from retention.sqlite import Store
from retention.vault import Identity
from retention.verify import verify
from tests import tiers
from tests.both import POSTGRES, by_hand, opened, over
from tests.kept import SOUND, START, Paths, archive_of, bytes_under, receipt, recording
from tests.postgres import Server

PERIODS = ("6 months", "3 months", "5 weeks")
RECEIPTS, ANALYSES = "9 months", "1 year"
GONE = (Status.ERASED, Status.FAILED)
RECIPIENT = Identity(bytes([7]) * 32, "DPO").public
HOLD = Hold(ground="criminal", reference="2026/7", by="A", approved_by="B", review="2030-01-01")


@dataclass
class Call:
    """What a call must be like. `away`: its file was taken out of the directory."""

    row: Recording
    status: Status = Status.OPEN
    held: bool = False
    purged: bool = False
    sealed: bool = False
    away: bool = False
    deleted: bool = False

    @property
    def id(self) -> str:
        return self.row.id

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """What leads to its people: the number as it is dialled nationally, and the operator's name."""
        return (self.row.caller or "")[3:].encode(), (self.row.operator or "")[4:12].encode()


class Killed(BaseException):
    """As a process ends: nothing that comes afterwards is done."""


class Keeping(RuleBasedStateMachine):
    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="keeping-"))
        self.outside = Path(tempfile.mkdtemp(prefix="outside-"))
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(os, "fsync", lambda descriptor: None)
        self.patch.setattr(pages, "BREATH_S", 0)
        self.patch.setattr("retention.reserve.MOMENT_S", 0)
        self.marked: dict[str, str] = {}  # what a mark says of a call, until the rows say it, too
        self.waiting: dict[str, Recording] = {}  # of calls whose rows are in the reserve
        self.now, self.period, self.number = START, PERIODS[0], 0
        self.kept: dict[str, Call] = {}
        self.open()
        self.allocate()

    def allocate(self) -> None:
        self.reserve = Reserve(self.folder / "retention.reserve", 0)
        self.reserve.allocate()

    def open(self) -> None:
        store = opened(self.folder / "retention.db", lambda: self.now)
        if isinstance(store, Store):
            by_hand(store, "PRAGMA synchronous=OFF")
        self.archive = archive_of(store, self.folder / "recordings", self.folder)
        self.paths = Paths(self.archive)

    def teardown(self) -> None:
        self.archive.store.close()
        self.reserve.close()
        self.patch.undo()
        shutil.rmtree(self.folder)
        shutil.rmtree(self.outside)

    @property
    def terms(self) -> Terms:
        return Terms(period=self.period, receipts_period=RECEIPTS, analysis_period=ANALYSES)

    def due(self, call: Call) -> bool:
        return min(call.row.expires_at, due_date(call.row.started_at, self.period)) <= self.now

    def trace(self, action: str) -> Access:
        self.number += 1
        return Access(at=self.now, action=action, by=f"user-{self.number}", system_user="root")

    def new_row(self, *, personal: bool = True) -> Recording:
        self.number += 1
        return replace(
            recording(),
            id=f"{self.now:%Y%m%dT%H%M%S}000-{self.number:06d}",
            call_id=f"{self.number}@192.0.2.7",
            started_at=self.now,
            caller=f"+336{self.number:08d}" if personal else None,
            operator=f"sip:op{self.number:06d}@pbx.example.net",
            expires_at=due_date(self.now, self.period),
        )

    # --- what happens ---

    @initialize()
    def first(self) -> None:
        self.wait(timedelta(days=1))

    @rule(target=calls, sealed=st.booleans(), personal=st.booleans())
    def call_begins(self, sealed: bool, personal: bool) -> str:
        row = self.new_row(personal=personal)
        self.archive.store.add_receipt(receipt(row, ended_at=None))
        self.archive.open(row).write_bytes(SOUND)
        if sealed:
            self.archive.vault.create(row.id, [RECIPIENT])
        self.kept[row.id] = Call(row, sealed=sealed)
        return row.id

    @rule(id=calls)
    def call_ends(self, id: str) -> None:
        call = self.kept[id]
        if call.status is not Status.OPEN or id in self.marked:
            with pytest.raises(ArchiveError):
                self.archive.close(call.row)
            return
        self.paths.part(id).rename(self.paths.final(id, "sealed" if call.sealed else "flac"))
        call.row = self.archive.close(call.row)
        self.archive.store.update_receipt(replace(self.archive.store.receipt(id), ended_at=self.now))
        call.status = Status.CLOSED

    @rule(id=calls, how=st.sampled_from(["refused", "not_allowed", "failed"]))
    def nothing_is_to_stay(self, id: str, how: str) -> None:
        call = self.kept[id]
        if how == "refused" and not call.purged and not call.deleted:
            was = self.archive.store.receipt(id)
            self.archive.store.update_receipt(replace(was, decision="refused", ended_at=self.now))

        def erase() -> None:
            if how == "failed":
                fail(self.archive, id, self.now)
            else:
                erase_row(self.archive, id, self.now, how)

        if call.status in (Status.PURGING, Status.PURGED):
            with pytest.raises(ArchiveError):
                erase()
        elif call.held and (how == "failed" or self.archive.store.receipt(id).decision != "refused"):
            with pytest.raises(StoreError, match="on hold"):
                erase()
        else:
            erase()
            call.held = False
            if not call.purged and call.status is not Status.ERASED:
                call.status = Status.FAILED if how == "failed" else Status.ERASED

    @rule(id=calls)
    def it_is_used(self, id: str) -> None:
        self.archive.store.add_access(replace(self.trace("export"), recording_id=id, purpose="quality"))

    @rule(id=calls)
    def it_is_analysed(self, id: str) -> None:
        if self.kept[id].status is not Status.CLOSED:
            return
        self.number += 1
        by, text, until = f"user-{self.number}", f"text-{self.number}", due_date(self.now, ANALYSES)
        note = Note(recording_id=id, at=self.now, by=by, text=text, expires_at=until)
        self.archive.store.add_note(note)

    @rule(id=calls)
    def it_is_held(self, id: str) -> None:
        call = self.kept[id]
        if call.status is Status.CLOSED and not call.held and id not in self.marked:
            place(self.archive, id, HOLD, self.trace("hold"))
            call.held = True
            return
        marked = call.status is Status.CLOSED and id in self.marked
        with pytest.raises((ArchiveError, HoldError) if marked else HoldError):
            place(self.archive, id, HOLD, self.trace("hold"))

    @rule(id=calls)
    def it_is_released(self, id: str) -> None:
        call = self.kept[id]
        if call.held and id not in self.marked:
            release(self.archive, id, self.trace("release"))
            call.held = False
            return
        with pytest.raises(ArchiveError if call.held else HoldError):
            release(self.archive, id, self.trace("release"))

    @rule(id=calls)
    def a_person_asks_for_its_deletion(self, id: str) -> None:
        call = self.kept[id]
        open_call = call.status is Status.OPEN or self.archive.store.receipt(id).ended_at is None
        if call.held or open_call:
            with pytest.raises(NotDeleted):
                delete(self.archive, id, self.trace("delete"), lambda: self.now)
            return
        try:
            delete(self.archive, id, self.trace("delete"), lambda: self.now)
        except NotDeleted as error:
            assert call.purged, error
        self.gone(call)
        call.deleted = True

    def gone(self, call: Call) -> None:
        call.purged = True
        call.status = call.status if call.status in GONE else Status.PURGED

    @rule(period=st.sampled_from(PERIODS))
    def the_period_changes(self, period: str) -> None:
        self.period = period

    @rule(span=st.sampled_from([1, 20, 60, 190, 400]).map(lambda days: timedelta(days=days)))
    def wait(self, span: timedelta) -> None:
        self.now += span

    @rule()
    def the_service_starts_again(self) -> None:
        self.archive.store.close()
        self.open()

    @rule(id=calls)
    def its_file_is_touched(self, id: str) -> None:
        """As if it were new: its life is no longer for that."""
        for path in (self.paths.file(id), self.paths.part(id), self.paths.metadata(id)):
            if path is not None and path.exists():
                os.utime(path, (self.now.timestamp() + 10**8,) * 2)

    @rule(id=calls)
    def its_file_is_moved(self, id: str) -> None:
        """Out of the directory, and back again another day."""
        call = self.kept[id]
        if id in self.marked:
            return
        if call.away:
            path = next(self.outside.glob(f"{id}.*"))
            shutil.move(path, self.paths.recordings / path.name)
            call.away = False
        elif call.status is Status.CLOSED and (file := self.paths.file(id)) is not None:
            shutil.move(file, self.outside / file.name)
            call.away = True

    # --- what a call wants erased ---

    @rule(id=calls, decision=st.sampled_from(["refused", "not_allowed"]))
    def it_is_marked(self, id: str, decision: str) -> None:
        """The mark is there, and where the caller refused the sound is gone; no row says so yet."""
        if id in self.marked:
            return
        told = replace(self.archive.store.receipt(id), decision=decision, decided_by="dtmf")
        self.archive.marks.sync(self.archive.marks.make(Mark.of(told, self.now)))
        self.marked[id] = decision
        if decision == "refused":
            erase_files(self.archive, [id])

    @rule()
    def what_is_marked_goes(self) -> None:
        failed: list[tuple[str, str]] = []
        erased = set(erase_pending(self.archive, self.now, failed))
        assert failed == [] and self.marked.keys() >= erased
        for id in erased:
            self.erased(id)
        assert all(self.kept[id].held and told == "not_allowed" for id, told in self.marked.items())

    def erased(self, id: str) -> None:
        call = self.kept[id]
        decision = self.marked.pop(id)
        assert self.archive.store.receipt(id).decision in ("refused", decision)
        call.held = False
        if not call.purged and call.status not in (Status.PURGING, Status.PURGED):
            call.status = Status.ERASED

    @rule(steps=st.integers(0, 12))
    def its_erasure_is_killed(self, steps: int) -> None:
        with self.killed_after(steps):
            erase_pending(self.archive, self.now, [])
        for id in list(self.marked):
            row = self.archive.store.recording(id)
            call = self.kept[id]
            if not self.archive.marks.forbidden(id):
                self.erased(id)
            assert row.status in (call.status, Status.ERASED)
            call.status, call.held = row.status, row.hold is not None

    # --- rows that wait ---

    @rule(sealed=st.booleans())
    def a_call_begins_and_its_rows_wait(self, sealed: bool) -> None:
        """The database does not take them: they are in the reserve before there is any sound."""
        row = self.new_row()
        self.waiting[row.id] = row
        receipts = [receipt(one, ended_at=None) for one in self.waiting.values()]
        self.reserve.write([*receipts, *self.waiting.values()])
        self.paths.recordings.mkdir(exist_ok=True)
        self.paths.part(row.id).write_bytes(SOUND)
        if sealed:
            self.archive.vault.create(row.id, [RECIPIENT])

    @rule(target=calls)
    def what_waits_is_written(self) -> Any:
        """By the next start."""
        self.reserve.close()
        assert set(take_in(self.archive.store, self.reserve.path)) == self.waiting.keys()
        written = [*self.waiting]
        for id, row in self.waiting.items():
            self.kept[id] = Call(row, sealed=self.paths.key(id).exists())
        self.waiting = {}
        self.allocate()
        return multiple(*written)

    # --- the purge ---

    @rule()
    def all_that_is_due_goes(self) -> None:
        self.what_is_marked_goes()
        before = {id: self.archive.store.recording(id) for id in self.kept}
        told = preview(self.archive, self.now, self.terms)
        report = purge(self.archive, self.now, self.terms)
        assert replace(report, orphans=(), unlinked=()) == replace(told, orphans=(), unlinked=())
        assert set(report.unlinked) <= set(told.unlinked)  # the files of what is due go with it
        going = {id for id, call in self.kept.items() if self.due(call) and not call.held and not call.purged}
        going |= {id for id, call in self.kept.items() if call.status is Status.PURGING}
        assert {removal.id for removal in report.removed} == going
        assert report.failed == ()
        for id in going:
            self.gone(self.kept[id])
        for id in self.kept.keys() - going:
            assert self.archive.store.recording(id) == before[id]
        assert overdue(self.archive.store, self.now + timedelta(days=1), self.period) == 0
        self.nothing_due_is_left(before)

    def nothing_due_is_left(self, before: dict[str, Recording]) -> None:
        """Of a call whose every period is over, nothing that leads to a person in any byte."""
        left = bytes_under(self.folder)
        for id, call in self.kept.items():
            if due_date(call.row.started_at, RECEIPTS) <= self.now:
                row = self.archive.store.receipt(id)
                assert (row.caller, row.operator, row.call_id, row.events) == (None, None, None, ())
                if call.purged:
                    assert not [secret for secret in call.secrets if secret and secret in left]
            for note in self.archive.store.notes(id):
                assert (note.text is None) or (note.expires_at > self.now and not call.deleted)
            for use in self.archive.store.accesses(id):
                old = use.at < self.now - timedelta(days=366) and before[id].purged_at is not None
                assert not (old and (use.by or use.reference or use.detail))

    @rule(steps=st.integers(0, 30))
    def a_purge_is_killed(self, steps: int) -> None:
        self.what_is_marked_goes()
        before = {id: self.archive.store.recording(id) for id in self.kept}
        with self.killed_after(steps):
            purge(self.archive, self.now, self.terms)
        for id, call in self.kept.items():
            row = self.archive.store.recording(id)
            if row == before[id]:
                continue
            assert (self.due(call) or call.status is Status.PURGING) and not call.held
            assert row.status in (Status.PURGING, Status.PURGED, *GONE)
            call.status, call.purged = row.status, row.purged_at is not None

    @rule(id=calls, steps=st.integers(0, 8))
    def a_deletion_is_killed(self, id: str, steps: int) -> None:
        call, uses = self.kept[id], len(self.archive.store.accesses(id))
        with self.killed_after(steps), suppress(NotDeleted):
            delete(self.archive, id, self.trace("delete"), lambda: self.now)
        row = self.archive.store.recording(id)
        call.status, call.purged = row.status, row.purged_at is not None
        call.deleted |= len(self.archive.store.accesses(id)) > uses  # written with the first that goes

    @contextmanager
    def killed_after(self, steps: int) -> Iterator[None]:
        """Before a transaction, a commit, or a file that goes; then the service starts again."""

        def step() -> None:
            nonlocal steps
            steps -= 1
            if steps < 0:
                raise Killed

        def stepping(call: Callable[..., Any]) -> Callable[..., Any]:
            def stepped(*arguments: Any, **named: Any) -> Any:
                step()
                return call(*arguments, **named)

            return stepped

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "unlink", stepping(os.unlink))
            patch.setattr(LocalFiles, "erase", stepping(LocalFiles.erase))
            patch.setattr(Store, "write", stepping(Store.write))
            patch.setattr(Store, "_export", stepping(Store._export))
            with suppress(Killed):
                yield
        self.the_service_starts_again()

    # --- what is true at any time ---

    @invariant()
    def what_is_held_is_there(self) -> None:
        for id, call in self.kept.items():
            if not call.held or self.marked.get(id) == "refused":
                continue
            row = self.archive.store.recording(id)
            assert row.status is Status.CLOSED and row.hold is not None and row.caller == call.row.caller
            file = self.paths.file(id)
            assert call.away or (file is not None and file.read_bytes() == SOUND)
            assert json.loads(self.paths.metadata(id).read_text())["hold"]["ground"] == "criminal"
            assert not call.sealed or self.archive.vault.recipients(id)

    @invariant()
    def each_row_says_what_became_of_it(self) -> None:
        for id, call in self.kept.items():
            row = self.archive.store.recording(id)
            told = row.status, row.hold is not None, row.purged_at is not None
            assert told == (call.status, call.held, call.purged)
            if call.purged:
                assert (row.caller, row.operator, row.call_id, row.path) == (None,) * 4
            if call.purged or call.status in GONE:
                left = self.names(id) - {f"{id}.refused"}
                assert left <= ({f"{id}.flac", f"{id}.sealed"} if not call.away else set())

    @invariant()
    def of_who_refused_nothing_is_there_from_the_mark_on(self) -> None:
        for id, decision in self.marked.items():
            if decision == "refused":
                assert self.names(id) == {f"{id}.refused"}

    @invariant()
    def what_waits_for_its_row_is_there(self) -> None:
        for id in self.waiting:
            assert self.paths.part(id).read_bytes() == SOUND

    def names(self, id: str) -> set[str]:
        listed = [*self.paths.recordings.glob(f"{id}.*"), *self.paths.vault.glob(f"{id}.*")]
        return {path.name for path in listed}

    @invariant()
    def the_chain_holds(self) -> None:
        found = verify(self.archive)
        moved = {call.id for call in self.kept.values() if call.away or call.purged or call.status in GONE}
        known = {f"recording {id}" for id in self.marked}
        assert ("retention.reserve" in {one.where for one in found.problems}) is bool(self.waiting)
        known |= {"retention.reserve"}
        problems = [one for one in found.problems if one.where not in known]
        assert [one for one in problems if one.where.partition(".")[0] not in moved] == []
        assert found.lost == []
        exported = read_head(self.folder / "retention.head")
        assert exported is not None and self.archive.store.knows(exported)


TestKeeping = Keeping.TestCase
TestKeeping.settings = settings(
    deadline=None,
    max_examples=tiers.depth(15, 60),
    stateful_step_count=40,
    suppress_health_check=list(HealthCheck),
)


def test_keeping_in_a_shared_database(postgres: Server) -> None:
    class KeepingShared(Keeping):
        def __init__(self) -> None:
            self.rows = ExitStack()
            self.rows.enter_context(over(POSTGRES, lambda: postgres))
            super().__init__()

        def teardown(self) -> None:
            super().teardown()
            self.rows.close()

    run_state_machine_as_test(
        KeepingShared,
        settings=settings(TestKeeping.settings, max_examples=tiers.depth(2, 6), stateful_step_count=30),
    )
