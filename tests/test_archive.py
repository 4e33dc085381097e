import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from retention import files
from retention.archive import Archive
from retention.erase import begin_purge, end_purge, erase_files, erase_row, fail
from retention.marks import ArchiveError
from retention.recording_files import FileKind, in_row
from retention.records import Recording, Status
from retention.rows.rows import StoreError, UnknownId
from retention.vault import Identity
from retention.verify import verify
from tests.both import BOTH
from tests.kept import CALLER, SOUND, START, Paths, archive, keep, receipt, recording

DATABASES = BOTH

LATER = START + timedelta(minutes=5)


@pytest.fixture
def kept(tmp_path: Path) -> Archive:
    return archive(tmp_path)


def names(kept: Archive) -> list[str]:
    return [name for name, _ in kept.names()]


def test_the_row_is_there_before_the_file(kept: Archive) -> None:
    row = recording()
    part = kept.open(row)
    assert kept.store.recording(row.id) == row
    assert part == Paths(kept).recordings / f"{row.id}.part" and not part.exists()
    assert Paths(kept).recordings.stat().st_mode & 0o777 == 0o700
    assert kept.unfinished() == [row]


def test_a_closed_recording_has_its_metadata_beside_it(kept: Archive) -> None:
    row = keep(kept, recording())
    assert (row.status, row.path, row.bytes) == (Status.CLOSED, f"recordings/{row.id}.flac", len(SOUND))
    assert row.sha256 == sha256(Paths(kept).final(row.id, "flac").read_bytes()).hexdigest()
    assert kept.store.recording(row.id) == row
    assert Recording.from_json(json.loads(Paths(kept).metadata(row.id).read_text())) == row
    assert names(kept) == [f"{row.id}.flac", f"{row.id}.json"]
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in Paths(kept).recordings.iterdir())
    assert kept.unfinished() == []


def test_closing_needs_the_file(kept: Archive) -> None:
    row = recording()
    kept.open(row)
    with pytest.raises(ArchiveError, match="no finished file"):
        kept.close(row)


def test_a_refusal_wins_over_the_close(kept: Archive) -> None:
    row = recording()
    kept.open(row)
    erase_row(kept, row.id, LATER)
    Paths(kept).final(row.id, "flac").write_bytes(SOUND)
    with pytest.raises(ArchiveError, match="is erased"):
        kept.close(row)
    assert kept.store.recording(row.id).status is Status.ERASED
    assert not Paths(kept).metadata(row.id).exists()


def test_erasing_at_any_moment_leaves_no_file(kept: Archive) -> None:
    early, written, finished = recording(0), recording(1), recording(2)
    kept.open(early)
    kept.open(written).write_bytes(SOUND)
    keep(kept, finished)
    for row in (early, written, finished):
        erase_row(kept, row.id, LATER)
        erase_row(kept, row.id, LATER)
        erased = kept.store.recording(row.id)
        assert (erased.status, erased.path, erased.sha256) == (Status.ERASED, None, None)
        assert erased.ended_at == LATER
    assert names(kept) == []


def test_an_erasure_that_cannot_unlink_stays_open(kept: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    row = recording()
    kept.open(row).write_bytes(SOUND)

    def broken(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with monkeypatch.context() as patch, pytest.raises(PermissionError):
        patch.setattr(Path, "unlink", broken)
        erase_row(kept, row.id, LATER)
    assert kept.unfinished() == [row]
    erase_row(kept, row.id, LATER)
    assert names(kept) == []


HOLD = {"ground": "criminal", "reference": "2026/7", "by": "A", "approved_by": "B", "review": "2027-01-01"}


@pytest.mark.parametrize("decision", ["not_allowed", "allowed"])
def test_a_hold_refuses_an_erasure_before_a_file_is_gone(kept: Archive, decision: str) -> None:
    row = keep(kept, recording())
    kept.change(replace(row, hold=HOLD))
    before = names(kept)
    actions: tuple[Callable[[], object], ...] = (
        lambda: erase_row(kept, row.id, LATER, decision),
        lambda: fail(kept, row.id, LATER),
    )
    for action in actions:
        with pytest.raises(StoreError, match="on hold"):
            action()
    assert names(kept) == before
    assert kept.store.recording(row.id) == replace(row, hold=HOLD)


def test_a_refusal_ends_a_hold(kept: Archive) -> None:
    """It came first; and a hold on nothing would keep the row from the purge."""
    row = keep(kept, recording())
    kept.change(replace(row, hold=HOLD))
    kept.store.update_receipt(replace(receipt(row), decision="refused"))
    erase_row(kept, row.id, LATER, "refused")
    assert names(kept) == []
    erased = kept.store.recording(row.id)
    assert (erased.status, erased.hold, erased.decision) == (Status.ERASED, None, "refused")
    assert begin_purge(kept, [row.id])


def test_a_failure_leaves_no_file_and_never_hides_a_refusal(kept: Archive) -> None:
    row, refused = recording(0), recording(1)
    kept.open(row).write_bytes(SOUND)
    fail(kept, row.id, LATER)
    assert kept.store.recording(row.id).status is Status.FAILED
    kept.open(refused)
    erase_row(kept, refused.id, LATER)
    fail(kept, refused.id, LATER)
    assert kept.store.recording(refused.id).status is Status.ERASED
    assert names(kept) == []


def test_a_change_is_in_the_row_and_in_the_file(kept: Archive) -> None:
    row = replace(keep(kept, recording()), flagged=True)
    kept.change(row)
    assert kept.store.recording(row.id) == row
    assert json.loads(Paths(kept).metadata(row.id).read_text())["flagged"] is True


@pytest.mark.parametrize("when", ["at the close", "afterwards"])
def test_what_is_sealed_is_not_told_in_clear_where_the_key_is_away(
    kept: Archive, tmp_path: Path, when: str
) -> None:
    """The disk of the vault is not mounted, say, when somebody puts a recording on hold."""
    row, opener = recording(), Identity(bytes([7]) * 32)
    kept.open(row)
    kept.vault.create(row.id, [opener.public])
    Paths(kept).final(row.id, "sealed").write_bytes(SOUND)
    away = Paths(kept).vault.with_name("away")
    if when == "at the close":
        Paths(kept).vault.rename(away)
        row = kept.close(row)
    else:
        row = kept.close(row)
        Paths(kept).vault.rename(away)
    kept.change(replace(row, hold={"ground": "criminal", "reference": "R-77", "review": "2027-01-01"}))
    text = Paths(kept).metadata(row.id).read_text()
    assert [told for told in (CALLER, "marie", "192.0.2.7", "R-77") if told in text] == []
    fields = json.loads(text)
    assert fields["hold"] == {"ground": "criminal", "review": "2027-01-01"}
    away.rename(Paths(kept).vault)
    assert verify(kept).problems == []
    if when == "afterwards":
        assert CALLER in kept.vault.unseal(row.id, fields["sealed"], opener).decode()
    kept.change(row)
    sealed = json.loads(Paths(kept).metadata(row.id).read_text())["sealed"]
    assert CALLER in kept.vault.unseal(row.id, sealed, opener).decode()


def test_a_change_that_cannot_be_written_is_not_made(kept: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    row = keep(kept, recording())

    def full(path: Path, content: bytes, naming: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "write_whole", full)
    with pytest.raises(OSError, match="No space"):
        kept.change(replace(row, flagged=True))
    assert kept.store.recording(row.id) == row


def test_only_what_is_closed_changes(kept: Archive) -> None:
    row = recording()
    kept.open(row)
    with pytest.raises(ArchiveError, match="is open"):
        kept.change(row)
    with pytest.raises(UnknownId):
        kept.change(recording(1))


@pytest.mark.parametrize("id", ["../x", "/etc/passwd", "a/../../b", "x.flac", "", "a\x00b"])
def test_no_name_leads_out_of_the_directory(kept: Archive, id: str) -> None:
    on_disk = Paths(kept)
    for action in (on_disk.part, on_disk.metadata, on_disk.file, lambda id: erase_files(kept, [id])):
        with pytest.raises(ArchiveError, match="not the id"):
            action(id)
    with pytest.raises(ArchiveError):
        kept.open(recording(id=id))
    assert not Paths(kept).recordings.exists()


def test_a_format_is_one_of_two(kept: Archive) -> None:
    with pytest.raises(ArchiveError, match="flac, wav"):
        Paths(kept).final("x", "mp3")


def test_names_tell_their_owner(kept: Archive) -> None:
    keep(kept, recording(id="one"))
    for name in ("two.part", "three.flac.tmp", "notes.txt", ".hidden", "four"):
        (Paths(kept).recordings / name).touch()
    owners = {name: id for name, id in kept.names() if not name.startswith("one")}
    assert owners == {
        "two.part": "two",
        "three.flac.tmp": "three",
        "notes.txt": None,
        ".hidden": None,
        "four": None,
    }


def test_paths_outside_the_configuration_are_relative_too(tmp_path: Path) -> None:
    kept = archive(tmp_path)
    kept.files.spool.base = tmp_path / "etc"
    assert in_row(kept.files, "one", FileKind.WAV) == "../recordings/one.wav"


def test_an_id_is_opened_once(kept: Archive) -> None:
    row = recording()
    kept.open(row)
    with pytest.raises(Exception, match="this one is there"):
        kept.open(row)
    kept.store.add_receipt(receipt(row))


def test_ids_that_come_one_by_one_lose_key_and_sound(kept: Archive) -> None:
    rows = [keep(kept, recording(minutes)) for minutes in (0, 1)]
    Paths(kept).vault.mkdir(exist_ok=True)
    for row in rows:
        Paths(kept).key(row.id).write_bytes(b"key")
    assert erase_files(kept, (row.id for row in rows)) == {}
    assert [Paths(kept).file(row.id) for row in rows] == [None, None]
    assert not any(Paths(kept).key(row.id).exists() for row in rows)


@pytest.mark.parametrize("hold", [{}, [], "criminal", True])
def test_a_damaged_hold_in_the_metadata_alone_holds_all_the_same(kept: Archive, hold: object) -> None:
    row = keep(kept, recording())
    Paths(kept).metadata(row.id).write_text(json.dumps(row.to_json() | {"hold": hold}))
    assert not begin_purge(kept, [row.id]) and kept.store.recording(row.id) == row


def test_one_purge_of_two_has_done_it(kept: Archive) -> None:
    row = keep(kept, recording())
    assert begin_purge(kept, [row.id]) and begin_purge(kept, [row.id])
    erase_files(kept, [row.id])
    assert end_purge(kept, [row.id], LATER)
    assert not end_purge(kept, [row.id], LATER) and not begin_purge(kept, [row.id])
    assert kept.store.recording(row.id).status is Status.PURGED
