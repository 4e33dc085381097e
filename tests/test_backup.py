"""A backup is of one moment, made while calls go on, and nothing of who refused is in it or comes back."""

import contextlib
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from retention.accounts.file import FileAccounts
from retention.archive import Archive
from retention.backup import (
    MANIFEST,
    BackupError,
    BackupRequest,
    CheckedBackup,
    Progress,
    RestoreTarget,
    Settled,
    _sum,
    back_up,
    checked,
    doubt,
    past,
    put_back,
    read_manifest,
    refuse_what_is_there,
    settle,
)
from retention.clock import ClockReading
from retention.erase import erase, erase_files
from retention.files import Places
from retention.marks import Mark, Marks
from retention.recording_files import FileKind, LocalFiles, RecordingFiles, copy, finished
from retention.records import Access, Recording, Status
from retention.reserve import Reserve, ReserveError
from retention.rows.chain import ChainHead
from retention.sqlite import Store
from retention.verify import verify
from sipagent.agent.stored import files_in
from tests import kept
from tests.crashing import deaths
from tests.kept import ANN, CALLER, START, TERMS, Paths, keep, receipt, recording
from tests.tampering import asked_of

NOW = START + timedelta(days=1)
LATER = START + timedelta(days=400)  # all has expired
HOLD = {"ground": "criminal", "reference": "PV 12", "by": "Ann", "approved_by": None, "review": "2027-09-01"}


def clock(at: datetime = NOW, *, synchronised: bool = True) -> ClockReading:
    return ClockReading("boot", at, 1000.0, synchronised)


def backed_up(
    archive: Archive, folder: Path, progress: Progress = lambda what, done, total: None, **changes: Any
) -> Path:
    wish = BackupRequest(folder=folder, now=NOW, program="0", terms=TERMS, keep=None, configuration={})
    path, _ = back_up(archive, replace(wish, **changes), files_in, progress)
    return path


def restored(
    backup: Path, folder: Path, at: datetime = NOW, period: str = TERMS.period
) -> tuple[Archive, Settled]:
    """Put back into an empty folder, as the command does it."""
    folder.mkdir(exist_ok=True)
    manifest, places = checked(backup), Places(folder / "retention.db")
    recordings = folder / "recordings"
    files = LocalFiles(recordings, places.vault, folder)
    target = RestoreTarget(places=places, files=files, marks=Marks(recordings), period=period)
    refuse_what_is_there(target, backup)
    came = put_back(CheckedBackup(backup=backup, manifest=manifest, files=files_in(backup)), target, at)
    assert came == sum(finished(files, one.id) is not None for one in manifest.recordings)
    again = kept.archive(folder)
    terms = replace(TERMS, period=period)
    return again, settle(again, manifest, terms, clock(at), Access(at=at, action="restore"))


def sealed(archive: Archive, row: Recording) -> Recording:
    """One that is kept with a key in the vault."""
    archive.vault.create(row.id, [ANN.public])
    return keep(archive, row, b"sealed " + row.id.encode())


def refuse(archive: Archive, id: str) -> None:
    """As an erasure begins: the mark, then key and sound go. Its rows come later."""
    os.close(archive.marks.make(Mark(id=id, at=NOW)))
    erase_files(archive, [id])


def refuse_and_finish(archive: Archive, id: str) -> None:
    refuse(archive, id)
    erase(archive, id, NOW)


def ids(archive: Archive, status: Status = Status.CLOSED) -> set[str]:
    return {row.id for row in archive.store.recordings() if row.status is status}


def has_sound(archive: Archive, id: str) -> bool:
    return finished(archive.files, id) is not None or archive.vault.has(id)


def assert_clean(archive: Archive) -> None:
    assert [(one.where, one.problem) for one in verify(archive).problems] == []


class Office:
    """Where calls go on, where their backups are, and where these are put back."""

    def __init__(self, folder: Path) -> None:
        (folder / "live").mkdir()
        self.folder, self.live = folder, kept.archive(folder / "live")

    @cached_property
    def rows(self) -> list[Recording]:
        """In clear and sealed, one of each on hold."""
        found = [
            make(self.live, recording(number)) for number, make in enumerate((keep, sealed, keep, sealed))
        ]
        for number in (2, 3):
            found[number] = replace(found[number], hold=HOLD)
            self.live.change(found[number])
        return found

    def backed_up(self, progress: Progress = lambda what, done, total: None, **changes: Any) -> Path:
        return backed_up(self.live, self.folder / "backups", progress, **changes)

    def restored(self, backup: Path, *how: Any) -> tuple[Archive, Settled]:
        return restored(backup, self.folder / "new", *how)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    office = Office(tmp_path)
    assert office.rows
    return office


def test_all_of_it_comes_back_and_is_as_it_was_written(office: Office) -> None:
    """But who may log in: who was removed since must not come back. Nobody else can read it."""
    assert office.live.store.places is not None
    office.live.store.places.seed.write_text("seed")
    office.live.store.places.stamps.mkdir()
    (office.live.store.places.stamps / "1.tsr").write_bytes(b"stamp")
    with FileAccounts(office.live.store.places.accounts) as accounts:
        accounts.add("Zacharie", ["listener"])
    asked = office.live.store.add_approval(asked_of(office.rows[2]))
    backup = office.backed_up()
    assert backup.name == f"sipagent-{NOW:%Y%m%dT%H%M%SZ}"
    assert {path.stat().st_mode & 0o077 for path in [backup, *backup.rglob("*")]} == {0}
    files = [path for path in backup.rglob("*") if path.is_file()]
    assert not [path for path in files if "accounts" in path.name or b"Zacharie" in path.read_bytes()]
    again, settled = office.restored(backup)
    assert (settled.failed, settled.erased, settled.unfinished, settled.suspended) == ([], [], [], None)
    assert again.store.recordings() == office.live.store.recordings()
    assert again.store.receipts() == office.live.store.receipts()
    assert list(again.store.each_approval(pending=True)) == [asked]
    there, here = Paths(office.live), Paths(again)
    for row in office.rows:
        assert here.final(row.id, "flac").read_bytes() == there.final(row.id, "flac").read_bytes()
        assert here.metadata(row.id).read_bytes() == there.metadata(row.id).read_bytes()
        assert here.key(row.id).exists() == there.key(row.id).exists()
    assert again.vault.key(office.rows[1].id, ANN) == office.live.vault.key(office.rows[1].id, ANN)
    places = Places(office.folder / "new" / "retention.db")
    assert places.seed.read_text() == "seed" and (places.stamps / "1.tsr").read_bytes() == b"stamp"
    assert not places.restoring.exists() and again.store.accesses()[0].action == "restore"
    assert_clean(again)


def test_it_says_until_when_it_may_be_kept(office: Office) -> None:
    backup = office.backed_up()
    until = read_manifest(backup).keep_until
    assert until == office.rows[0].expires_at
    assert f"Remove it on {until:%Y-%m-%d} at the latest" in (backup / "README").read_text()
    assert past(office.folder / "backups", NOW) == []
    assert past(office.folder / "backups", until) == [(backup, until)]


def test_what_expires_before_the_backup_goes_is_left_out(office: Office) -> None:
    late = keep(office.live, recording(60 * 24 * 3))
    backup = office.backed_up(keep=office.rows[1].expires_at - NOW)
    manifest = read_manifest(backup)
    assert manifest.keep_until == office.rows[1].expires_at
    assert {*manifest.left_out} == {office.rows[0].id, office.rows[1].id}  # those on hold never expire
    assert {one.id for one in manifest.recordings} == {office.rows[2].id, office.rows[3].id, late.id}
    again, settled = office.restored(backup)
    assert settled.failed == [] and ids(again, Status.PURGED) == {*manifest.left_out}
    assert_clean(again)
    assert ids(office.live) == {row.id for row in (*office.rows, late)}  # nothing has happened to these


def test_what_leads_to_a_person_does_not_outlive_its_period_in_a_backup(tmp_path: Path) -> None:
    office = Office(tmp_path)
    keep(office.live, recording(0))
    backup = office.backed_up(keep=timedelta(days=200))
    assert CALLER.encode() not in kept.bytes_under(backup)
    assert office.live.store.receipts()[0].caller == CALLER
    assert_clean(office.restored(backup)[0])


@pytest.mark.parametrize("late", [(LATER, TERMS.period), (START + timedelta(days=15), "2 weeks")])
def test_what_has_expired_does_not_come_back(office: Office, late: tuple[datetime, str]) -> None:
    """Its sound is not even copied; the configured period may be shorter by now."""
    copied: set[str] = set()

    def watched(source: RecordingFiles, target: RecordingFiles, id: str, kind: FileKind) -> None:
        copied.add(id)
        copy(source, target, id, kind)

    backup = office.backed_up()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("retention.backup.copy", watched)
        again, settled = office.restored(backup, *late)
    assert copied == {office.rows[2].id, office.rows[3].id} == ids(again)  # on hold
    assert settled.purged is not None
    assert {gone.id for gone in settled.purged.removed} == {office.rows[0].id, office.rows[1].id}
    for row in office.rows[:2]:
        assert not has_sound(again, row.id) and again.store.recording(row.id).caller is None
    assert_clean(again)


CHANGES: dict[str, Callable[[Archive, str], object]] = {
    "marked": refuse,
    "refused": refuse_and_finish,
    "deleted": lambda archive, id: kept.remove(archive, id, NOW),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("number", [0, 1], ids=["clear", "sealed"])
def test_what_goes_while_it_is_being_copied_is_not_in_it(office: Office, change: str, number: int) -> None:
    """After its files were copied, before the rows are."""
    id = office.rows[number].id

    def meanwhile(what: str, done: int, total: int) -> None:
        if done == total:
            CHANGES[change](office.live, id)

    backup = office.backed_up(meanwhile)
    assert {path.name for path in backup.rglob(f"{id}.*")} <= {f"{id}.refused"}
    assert id not in {one.id for one in read_manifest(backup).recordings}
    again, settled = office.restored(backup)
    became = again.store.recording(id).status
    assert became is (Status.PURGED if change == "deleted" else Status.ERASED)
    assert not has_sound(again, id) and not again.marks.ids() and settled.failed == []
    assert became is Status.PURGED or again.store.receipt(id).decision == "refused"
    assert_clean(again)


@pytest.mark.parametrize("settled", [False, True])
def test_what_is_marked_while_the_rows_are_copied_is_not_in_it(
    office: Office, monkeypatch: pytest.MonkeyPatch, settled: bool
) -> None:
    """A refusal waits for no turn: it comes while nobody else writes, or once all is put right."""
    assert isinstance(office.live.store, Store)
    copied, id = office.live.store.copied_to, office.rows[1].id

    @contextlib.contextmanager
    def refusing(path: Path) -> Iterator[ChainHead]:
        if not settled:
            refuse(office.live, id)
        with copied(path) as head:
            yield head
        if settled:
            refuse(office.live, id)

    monkeypatch.setattr(office.live.store, "copied_to", refusing)
    backup = office.backed_up()
    assert [path.name for path in backup.rglob(f"{id}.*")] == [f"{id}.refused"]
    again, done = office.restored(backup)
    assert done.erased == [id] and again.store.receipt(id).decision == "refused"
    assert_clean(again)


@pytest.mark.parametrize("unread", [False, True], ids=["all is read", "a reserve cannot be read"])
def test_a_call_that_began_after_the_rows_were_copied_leaves_no_mark(
    office: Office, monkeypatch: pytest.MonkeyPatch, unread: bool
) -> None:
    """Its mark is in the backup, its rows are not: they never come, unless a reserve has them."""
    id = recording(9).id
    os.close(office.live.marks.make(Mark(id=id, at=NOW)))
    assert office.live.store.places is not None
    Reserve(office.live.store.places.reserve(3), 1).allocate()
    if unread:
        monkeypatch.setattr("retention.backup.take_in", Mock(side_effect=ReserveError("is damaged")))
    again, settled = office.restored(office.backed_up())
    assert again.marks.ids() == ([id] if unread else [])
    assert bool(settled.failed) is unread
    if not unread:
        assert_clean(again)


@pytest.mark.parametrize("begun", [False, True])
def test_a_mark_that_waits_is_finished_in_the_copy_too(office: Office, begun: bool) -> None:
    """With `keep` the copy is purged, and so finishes what was to be erased."""
    if begun:
        refuse(office.live, office.rows[0].id)

    def meanwhile(what: str, done: int, total: int) -> None:
        if done == total and not begun:
            refuse(office.live, office.rows[0].id)

    backup = office.backed_up(meanwhile, keep=timedelta(days=7))
    again, settled = office.restored(backup)
    assert settled.failed == [] and again.store.receipt(office.rows[0].id).decision == "refused"
    assert not has_sound(again, office.rows[0].id) and again.marks.ids() == []
    assert_clean(again)


def test_what_changes_while_it_is_being_copied_is_as_its_row_says(office: Office) -> None:
    new: list[Recording] = []

    def meanwhile(what: str, done: int, total: int) -> None:
        if done == total:
            office.live.change(replace(office.rows[1], hold=HOLD))
            new.append(sealed(office.live, recording(9)))

    again, settled = restored(office.backed_up(meanwhile), office.folder / "new")
    assert settled.failed == [] and again.store.recording(office.rows[1].id).hold == HOLD
    assert again.vault.key(new[0].id, ANN)
    assert_clean(again)


@pytest.mark.parametrize("closed", [False, True])
def test_a_call_that_is_on_can_still_be_refused_and_is_not_in_it(office: Office, closed: bool) -> None:
    """Its recording is being made, or was stopped by the operator and kept."""
    row = recording(5)
    office.live.store.add_receipt(receipt(row, ended_at=None, outcome=None))
    part = office.live.open(row)
    part.write_bytes(b"sound")
    if closed:
        part.rename(office.live.files.spool.path(row.id, FileKind.FLAC))
        office.live.close(row)
    backup = office.backed_up()
    assert list(backup.rglob(f"{row.id}.*")) == []
    again, settled = office.restored(backup)
    assert settled.unfinished == [row.id] and again.store.recording(row.id).status is Status.FAILED
    assert_clean(again)


def test_a_refusal_that_waits_in_a_reserve_is_believed(office: Office) -> None:
    assert office.live.store.places is not None
    reserve = Reserve(office.live.store.places.reserve(3), 1)
    reserve.allocate()
    reserve.write(
        [replace(office.live.store.receipt(office.rows[0].id), decision="refused", decided_by="dtmf")]
    )
    again, settled = office.restored(office.backed_up())
    assert settled.erased == [office.rows[0].id] and not has_sound(again, office.rows[0].id)
    assert_clean(again)


def test_copies_while_others_write_and_erase_are_whole(office: Office) -> None:
    """Two writers, each over a connection of its own, without a pause."""
    over, refused, faults = threading.Event(), set[str](), list[BaseException]()

    def write(first: int) -> None:
        archive, number = kept.archive(office.folder / "live"), first
        try:
            while not over.is_set():
                row = sealed(archive, recording(number))
                if number % 3 == 0:
                    refuse(archive, row.id)
                    refused.add(row.id)  # its mark is on the disk
                    erase(archive, row.id, NOW)
                elif number % 3 == 1:
                    kept.remove(archive, row.id, NOW)
                number += 2
        except BaseException as fault:
            faults.append(fault)
            raise

    threads = [threading.Thread(target=write, args=(first,)) for first in (0, 1)]
    for thread in threads:
        thread.start()
    backups: list[tuple[Path, set[str]]] = []
    try:
        for number in range(6):
            before = set(refused)
            at = NOW + timedelta(seconds=number)
            backups.append((office.backed_up(now=at), before))
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert faults == []
    for number, (backup, before) in enumerate([backups[0], *backups[-2:]]):
        again, settled = restored(backup, office.folder / f"new{number}")
        assert settled.failed == []
        assert not [id for id in before if has_sound(again, id)]
        copied = {path.name for id in before for path in backup.rglob(f"{id}.*")}
        assert {Path(name).suffix for name in copied} <= {".refused"}  # of one whose rows waited for the copy
        assert_clean(again)


def test_a_kill_leaves_a_backup_or_nothing_that_looks_like_one(tmp_path: Path) -> None:
    office, count = tmp_path / "office", 0
    (office / "live").mkdir(parents=True)
    archive = kept.archive(office / "live")
    sealed(archive, recording(0))
    keep(archive, recording(1))
    archive.store.close()

    def work() -> None:
        backed_up(kept.archive(office / "live"), office / "backups", keep=timedelta(days=200))

    for _ in deaths(office, work):
        for path in (office / "backups").glob("sipagent-*"):
            checked(path)
        for path in (office / "backups").glob(".sipagent-*"):
            with pytest.raises(BackupError):  # not even where all but its name was done
                checked(path)
        again = kept.archive(office / "live")  # the next one removes what is left
        checked(backed_up(again, office / "backups", now=NOW + timedelta(seconds=1)))
        assert list((office / "backups").glob(".sipagent-*")) == []
        again.store.close()
        count += 1
    assert count > 20


def test_a_restore_that_was_killed_can_be_repeated(office: Office) -> None:
    """At no step is there anything to listen to that must be gone."""
    refuse(office.live, office.rows[0].id)
    backup = office.backed_up()
    other = office.backed_up(now=NOW + timedelta(hours=1))
    folder, late, count = office.folder / "new", office.rows[1].expires_at + timedelta(hours=1), 0
    folder.mkdir()
    for _ in deaths(folder, lambda: restored(backup, folder, late)):
        assert not [path for row in office.rows[:2] for path in folder.rglob(f"{row.id}.flac")]
        begun = folder / "retention.restoring"
        if begun.exists() and begun.read_text():
            with pytest.raises(BackupError, match="another backup was begun"):
                restored(other, folder)
        if begun.exists() or not (folder / "retention.db").exists():
            restored(backup, folder, late)
        again = kept.archive(folder)
        assert ids(again) == {office.rows[2].id, office.rows[3].id}
        assert_clean(again)
        again.store.close()
        count += 1
    assert count > 20


def test_a_database_that_came_in_between_is_not_taken_for_the_backups(office: Office) -> None:
    """An agent was started after a restore was killed, right before the database."""
    backup, folder = office.backed_up(), office.folder / "new"
    folder.mkdir()
    for done in deaths(folder, partial(restored, backup, folder)):
        if "replace retention.head.tmp" in done:
            break
    kept.archive(folder)
    with pytest.raises(BackupError, match="is not the database of the backup"):
        restored(backup, folder)


def damage(pattern: str, part: float = 0.5) -> Callable[[Path], object]:
    """One bit of a file, so far from its start."""

    def change(backup: Path) -> None:
        (path, *_) = sorted(backup.rglob(pattern))
        content = bytearray(path.read_bytes())
        content[int(len(content) * part)] ^= 1
        path.write_bytes(content)

    return change


def rewrite(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Another manifest, whose sum is right."""

    def changing(backup: Path) -> None:
        told = json.loads((backup / MANIFEST).read_text())
        del told["sum"]
        change(told)
        told["sum"] = _sum(told)
        (backup / MANIFEST).write_text(json.dumps(told))

    return changing


def replaced(name: str, kind: Callable[[Path], object]) -> Callable[[Path], None]:
    """Put another kind of file in a file's place."""

    def changing(backup: Path) -> None:
        path = next(backup.rglob(name))
        path.unlink()
        kind(path)

    return changing


KINDS = (os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero"))
"""To read the first never ends, nor what the third leads to."""
TAMPERED: tuple[tuple[Callable[[Path], object], str], ...] = (
    *(
        (damage(name), "is not what was copied")
        for name in ("*.flac", "2*.json", "*.key", "retention.db", "retention.head", "README")
    ),
    *((damage(MANIFEST, part), "is damaged") for part in (0.2, 0.4, 0.6, 0.8)),
    *(
        (replaced(name, kind), "is no regular file")
        for name in ("*.flac", "retention.db", MANIFEST)
        for kind in KINDS
    ),
    (lambda backup: next(backup.rglob("*.key")).unlink(), "is missing"),
    (lambda backup: (backup / "recordings" / "x.flac").write_text("x"), "x.flac: is not in manifest.json"),
    (lambda backup: (backup / "recordings" / "x").symlink_to("/etc"), "recordings/x: is not in"),
    (lambda backup: os.mkfifo(backup / "recordings" / "x"), "recordings/x: is not in"),
    (lambda backup: (backup / MANIFEST).unlink(), "is not a backup, or was not finished"),
    (lambda backup: (backup / MANIFEST).write_text("{"), "manifest.json: is damaged"),
    (rewrite(lambda told: told.update(version="2")), "is of another version"),
    (rewrite(lambda told: told.update(made_at=3)), "is damaged"),
    (rewrite(lambda told: told["files"].append(["../../x", 1, "0"])), "is damaged"),
    (rewrite(lambda told: told["files"].append(["/etc/passwd", 1, "0"])), "is damaged"),
    (rewrite(lambda told: told["recordings"].append(["../x", 1, 2, False])), "is damaged"),
    (rewrite(lambda told: told["left_out"].append("../x")), "is damaged"),
)


@pytest.mark.parametrize(("change", "said"), TAMPERED)
def test_a_backup_that_was_tampered_with_is_refused(
    office: Office, change: Callable[[Path], object], said: str
) -> None:
    backup = office.backed_up()
    change(backup)
    with pytest.raises(BackupError, match=said):
        office.restored(backup)
    assert list((office.folder / "new").iterdir()) == []


@pytest.mark.parametrize(
    "there",
    ["retention.db", "retention.head", "retention.seed", "retention.reserve", "vault/x", "recordings/x"],
)
def test_it_is_put_into_an_empty_place_alone(office: Office, there: str) -> None:
    backup, path = office.backed_up(), office.folder / "new" / there
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(BackupError, match="is there already; accepted: an empty place"):
        office.restored(backup)
    assert [one for one in (office.folder / "new").rglob("*") if one.is_file()] == [path]


def test_what_stops_a_backup_leaves_none(office: Office) -> None:
    """What is no regular file, another one at the same time, a full disk."""
    assert office.live.store.places is not None

    def another(what: str, done: int, total: int) -> None:
        with pytest.raises(BackupError, match="another backup is being made there"):
            office.backed_up()
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        office.backed_up(another)
    office.live.store.places.rota.unlink(missing_ok=True)
    os.mkfifo(office.live.store.places.rota)
    with pytest.raises(BackupError, match="is no regular file"):
        office.backed_up()
    assert [path.name for path in (office.folder / "backups").iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("since", "synchronised", "doubted"),
    [
        (timedelta(hours=3), False, False),
        (timedelta(days=40), False, True),
        (timedelta(days=40), True, False),
        (-timedelta(days=2), False, True),
    ],
)
def test_a_clock_that_nothing_confirms_cannot_tell_what_has_expired(
    office: Office, since: timedelta, synchronised: bool, doubted: bool
) -> None:
    manifest = read_manifest(office.backed_up())
    why = doubt(manifest, clock(NOW + since, synchronised=synchronised))
    assert (why is not None) == doubted
    assert why is None or "nothing confirms the clock" in why
