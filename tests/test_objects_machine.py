"""Calls, refusals, holds, purges and crashes in any order, over a store that fails, loses answers and takes
puts late: in the end no byte of whoever refused can be read in any version, and nothing held is missing."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from retention.archive import Archive
from retention.erase import erase, erase_files
from retention.holds import HoldError, place, release
from retention.marks import ArchiveError, Mark, Marks
from retention.objects.erase import ObjectEraser
from retention.objects.object_files import ObjectFiles, SpooledFiles
from retention.objects.uploads import StoringHost, Uploads
from retention.purge import purge
from retention.recording_files import FileKind, finished
from retention.records import Status
from retention.rows.object_rows import State
from retention.rows.rows import StoreError
from retention.sqlite import Store
from sipagent.agent.recorder import recover
from tests import tiers
from tests.kept import ANN, TERMS, receipt, recording
from tests.memory_bucket import Killed, MemoryBucket
from tests.object_store import local_of
from tests.test_hold import BY, HOLD, LATE

WEATHER = st.lists(
    st.sampled_from(["done", "done", "failed", "lost", "late", "killed", "killed after"]), max_size=6
)
FAULTS = (OSError, ArchiveError, StoreError, HoldError)


@dataclass
class Call:
    id: str
    sound: bytes = b""
    refused: bool = False
    over: bool = False
    held: bool = False
    purged: bool = False


class Objects(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.bucket = MemoryBucket()
        self.store = Store(self.folder / "retention.db")
        self.calls: list[Call] = []
        self.ahead = timedelta()
        self.alerts: list[str] = []
        self.begin_anew()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def begin_anew(self) -> None:
        """A process starts: it knows what is on the disk and in the database."""
        self.marks = Marks(self.folder / "recordings")
        here = local_of(self.folder)
        self.ours = Archive(self.store, SpooledFiles(self.bucket, self.store.objects, here), self.marks)
        through = ObjectFiles(self.bucket, self.store.objects, here, self.now)
        self.through = Archive(self.store, through, Marks(self.folder / "recordings"))
        host = StoringHost(bucket=self.bucket, store=self.store, here=here, marks=self.marks, clock=self.now)
        self.uploads, self.refusals = Uploads(host, step_s=0.0), ObjectEraser(host)

    @contextmanager
    def dies_of(self, weather: list[str]) -> Iterator[None]:
        """Whatever is reported is not wrong; who is killed begins anew."""
        self.bucket.weather.coming = [*weather]
        killed = False
        try:
            yield
        except Killed:
            killed = True
        except FAULTS:
            pass
        finally:
            self.bucket.weather.coming = []
        if killed:
            self.starts_again()

    def some(self, data: st.DataObject, **like: bool) -> Call | None:
        fitting = [
            call for call in self.calls if all(getattr(call, name) is is_so for name, is_so in like.items())
        ]
        return data.draw(st.sampled_from(fitting)) if fitting else None

    @precondition(lambda self: len(self.calls) < 4)
    @rule()
    def call_begins(self) -> None:
        row = recording(len(self.calls), operator=None)
        self.store.add_receipt(receipt(row, ended_at=None))
        part = self.ours.open(row)
        self.ours.vault.create(row.id, [ANN.public])
        part.touch()
        self.calls.append(Call(row.id))

    @rule(data=st.data())
    def sound_comes(self, data: st.DataObject) -> None:
        if call := self.some(data, over=False, refused=False, purged=False):
            more = f"<{call.id} {len(call.sound)}>".encode()
            call.sound += more
            with self.ours.files.spool.path(call.id, FileKind.PART).open("ab") as file:
                file.write(more)

    @rule(data=st.data())
    def call_ends(self, data: st.DataObject) -> None:
        if (call := self.some(data, over=False, refused=False, purged=False)) and call.sound:
            call.over = True
            spool = self.ours.files.spool.path
            spool(call.id, FileKind.PART).rename(spool(call.id, FileKind.SEALED))
            self.ours.close(self.store.recording(call.id))
            self.store.update_receipt(replace(self.store.receipt(call.id), ended_at=self.now()))

    @rule(data=st.data(), step=st.integers(0, 2))
    def caller_refuses(self, data: st.DataObject, step: int) -> None:
        """Killed at some step, if not at the last."""
        if not (call := self.some(data, refused=False, purged=False)):
            return
        call.refused = True
        told = replace(self.store.receipt(call.id), decision="refused")
        self.ours.marks.sync(self.ours.marks.make(Mark.of(told, self.now())))
        if step >= 1:
            erase_files(self.ours, [call.id], anyhow=True)
        if step >= 2:
            self.store.update_receipt(told)
            erase(self.ours, call.id, self.now())

    @rule(weather=WEATHER)
    def uploads_turn(self, weather: list[str]) -> None:
        with self.dies_of(weather):
            self.uploads.pace.succeeded()
            self.uploads.turn()

    @rule(weather=WEATHER)
    def removals_turn(self, weather: list[str]) -> None:
        with self.dies_of(weather):
            self.refusals._again.clear()
            self.refusals.turn()

    @rule(data=st.data(), weather=WEATHER)
    def is_put_on_hold(self, data: st.DataObject, weather: list[str]) -> None:
        if call := self.some(data, over=True, refused=False, held=False, purged=False):
            with self.dies_of(weather):
                place(self.through, call.id, HOLD, BY)
            call.held = self.store.recording(call.id).hold is not None

    @rule(data=st.data(), weather=WEATHER)
    def is_released(self, data: st.DataObject, weather: list[str]) -> None:
        if call := self.some(data, held=True, refused=False):
            with self.dies_of(weather):
                release(self.through, call.id, BY)
            call.held = self.store.recording(call.id).hold is not None

    @rule(weather=WEATHER)
    def purge_runs(self, weather: list[str]) -> None:
        with self.dies_of(weather):
            purge(self.through, LATE, TERMS)
        for call in self.calls:
            call.purged |= self.store.recording(call.id).status in (Status.PURGING, Status.PURGED)

    @rule()
    def late_puts_arrive(self) -> None:
        self.bucket.arrive()

    @rule()
    def time_passes(self) -> None:
        """More than a put can be late by."""
        self.bucket.arrive()
        self.ahead += timedelta(minutes=20)

    @rule()
    def a_host_dies(self) -> None:
        self.starts_again()

    def starts_again(self) -> None:
        self.begin_anew()
        going = {call.id for call in self.calls if not call.over and not call.refused}
        for id in self.marks.ids():
            if id not in going:
                recover(self.ours, "flac", self.now(), self.alerts.append, left=[id])

    @invariant()
    def what_is_held_is_there(self) -> None:
        for call in self.calls:
            if call.held and not call.refused:
                kind = finished(self.through.files, call.id)
                assert kind is FileKind.SEALED
                with self.through.files.open(call.id, kind) as file:
                    assert file.read() == call.sound
                assert self.through.vault.key(call.id, ANN)

    def teardown(self) -> None:
        try:
            self.in_the_end()
        finally:
            self.store.close()
            shutil.rmtree(self.folder)

    def in_the_end(self) -> None:
        """The store answers, and all has had its time."""
        self.starts_again()
        for _ in range(3):
            self.time_passes()
            self.uploads_turn([])
            self.removals_turn([])
            with suppress(*FAULTS):
                purge(self.through, recording().started_at, TERMS)
        left = {
            name: {version: one.content for version, one in there.items()}
            for name, there in self.bucket.objects.items()
        }
        for call in self.calls:
            named = [name for name, there in left.items() if call.id in name and there]
            if call.refused or call.purged:
                assert named == [], (call, named)
                assert self.store.objects.of([call.id]) == []
                assert not any(self.ours.files.spool.exists(call.id, kind) for kind in FileKind)
            else:
                self.is_whole(call, left)
        self.what_is_held_is_there()

    def is_whole(self, call: Call, left: dict[str, dict[str, bytes]]) -> None:
        if not call.over:
            up = b"".join(
                next(iter(there.values()))
                for name, there in sorted(left.items())
                if f"{call.id}.part/" in name and there
            )
            assert up == call.sound
            return
        for kind in (FileKind.SEALED, FileKind.KEY, FileKind.METADATA):
            with self.through.files.open(call.id, kind) as file:
                assert (file.read() == call.sound) is (kind is FileKind.SEALED)
        assert not [name for name, there in left.items() if f"{call.id}.part/" in name and there]
        for row in self.store.objects.of([call.id]):
            if row.state is State.THERE:  # beside them there may be what came late, and goes with the rest
                assert self.bucket.objects[row.name][row.version or ""].held is row.held is call.held


TestObjects = Objects.TestCase
TestObjects.settings = settings(max_examples=tiers.depth(40, 60), stateful_step_count=30, deadline=None)
