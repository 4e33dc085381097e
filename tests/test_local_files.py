"""Files of this machine: written whole, private, locked. Those of recordings have names that lead out of no
folder."""

import os
import stat
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from retention import files as disk
from retention import recording_files
from retention.marks import ArchiveError
from retention.recording_files import (
    FORMATS,
    Area,
    FileKind,
    LocalFiles,
    RecordingFiles,
    copy,
    finished,
    format_of,
    has_metadata,
    in_row,
    sha256,
    write,
)
from retention.sqlite import Store
from tests.raising import no_room

ID, OTHER = "20261124T222000123-4f2a9c", "20261124T222100123-77aa01"


@pytest.fixture
def files(tmp_path: Path) -> LocalFiles:
    return LocalFiles(tmp_path / "recordings", tmp_path / "vault", tmp_path)


def write_all(files: RecordingFiles, id: str = ID) -> None:
    for kind in FileKind:
        write(files, id, kind, kind.encode())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    """No link that was planted for it is followed."""
    path = tmp_path / "a" / "b" / "x.json"
    disk.make_folder(path.parent)
    path.write_bytes(b"a much longer old content")
    (tmp_path / "elsewhere").write_bytes(b"precious")
    disk.being_written(path).symlink_to(tmp_path / "elsewhere")
    disk.write_whole(path, b"new")
    assert path.read_bytes() == b"new" and (tmp_path / "elsewhere").read_bytes() == b"precious"
    assert (mode(path), mode(path.parent)) == (0o600, 0o700) and not path.is_symlink()
    assert [other.name for other in path.parent.iterdir()] == ["x.json"]


def test_a_failed_write_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.json"
    disk.write_whole(path, b"old")
    monkeypatch.setattr(os, "fsync", no_room())
    with pytest.raises(OSError, match="No space"):
        disk.write_whole(path, b"new")
    assert path.read_bytes() == b"old" and [one.name for one in tmp_path.iterdir()] == ["x.json"]


def test_what_root_makes_belongs_to_the_owner_of_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command run with sudo must not take files away from the agent's user."""
    given: list[tuple[str, int, int]] = []

    def chown(path: Path, user: int, group: int, *, follow_symlinks: bool) -> None:
        assert not follow_symlinks
        given.append((path.name, user, group))

    monkeypatch.setattr(os, "chown", chown)
    owner = tmp_path.stat()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    disk.write_whole(tmp_path / "of-a-user", b"")
    assert given == []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    disk.make_folder(tmp_path / "vault")
    disk.write_whole(tmp_path / "x.json", b"")
    Store(tmp_path / "retention.db").close()
    Store(tmp_path / "retention.db").close()
    names = ("vault", "x.json.tmp", "retention.db", "retention.turn", "retention.head")
    assert given == [(name, owner.st_uid, owner.st_gid) for name in names]


def test_who_wants_a_lock_waits_for_those_that_keep_it_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as keeping:
        for _ in range(2):  # who asks is not taken for who is alone
            assert keeping.enter_context(disk.kept_free(tmp_path / "lock"))
        monkeypatch.setattr(time, "sleep", lambda _: keeping.close())
        with disk.alone(tmp_path / "lock"), disk.kept_free(tmp_path / "lock") as free:
            assert not free


def test_it_waits_for_no_one_who_is_alone_and_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "lock"
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("waited"))
    with disk.alone(lock), pytest.raises(BlockingIOError), disk.alone(lock):
        pass
    monkeypatch.setattr(disk, "SHARED_S", -1.0)
    with disk.kept_free(lock), pytest.raises(BlockingIOError), disk.alone(lock):
        pass


def test_each_kind_has_a_name_of_its_own(files: LocalFiles, tmp_path: Path) -> None:
    assert [*files.names(Area.RECORDINGS), *files.names(Area.VAULT)] == [] and files.erase([ID]) == {}
    write_all(files)
    names = {files.name(ID, kind) for kind in FileKind}
    there = [*files.names(Area.RECORDINGS), *files.names(Area.VAULT)]
    assert sorted(there) == sorted((name, ID) for name in names) and len(names) == len(FileKind)
    assert (files.name(ID, FileKind.WAV), files.name(ID, FileKind.KEY)) == (f"{ID}.wav", f"vault/{ID}.key")
    assert files.where(ID, FileKind.KEY) == f"{tmp_path}/vault/{ID}.key"
    assert in_row(files, ID, FileKind.FLAC) == f"recordings/{ID}.flac"
    files.base = tmp_path / "etc"
    assert in_row(files, ID, FileKind.FLAC) == f"../recordings/{ID}.flac"


def test_of_whom_a_name_is(files: LocalFiles) -> None:
    files.prepare()
    owners = {
        "notes.txt": None,
        ".hidden": None,
        "four": None,
        f"{ID}.refused": ID,
        f"{ID}.flac.tmp": ID,
        f"{OTHER}.part": OTHER,
        f"{ID}.key": None,
    }
    for name in owners:
        (files.recordings / name).touch()
    assert dict(files.names(Area.RECORDINGS)) == owners


@pytest.mark.parametrize("id", ["../x", "/etc/passwd", "a/../../b", "x.flac", "", "a\x00b"])
def test_what_is_no_id_leads_nowhere(files: LocalFiles, id: str) -> None:
    actions: list[Callable[[], object]] = [lambda: files.erase([id])]
    for kind in FileKind:
        for action in (files.where, files.exists, files.open, files.path, files.fetch, files.keep):
            actions.append(lambda action=action, kind=kind: action(id, kind))  # type: ignore[misc]
        actions.append(lambda kind=kind: write(files, id, kind, b""))  # type: ignore[misc]
    for act in actions:
        with pytest.raises(ArchiveError, match="not the id"):
            act()
    assert not files.recordings.exists() and not files.vault.exists()


@pytest.mark.parametrize("name", ["", ".", "..", "vault/", "vault/..", "../x", "/etc/passwd", "a/b"])
def test_what_is_no_name_is_not_removed(files: LocalFiles, name: str) -> None:
    for action in (files.erase_name, files.is_there):
        with pytest.raises(ArchiveError, match="not a name among the recordings"):
            action(name)


def test_what_is_written_is_read_and_copied_for_its_owner_alone(files: LocalFiles, tmp_path: Path) -> None:
    other = LocalFiles(tmp_path / "b" / "recordings", tmp_path / "b" / "vault", tmp_path / "b")
    for kind in FileKind:
        assert not files.exists(ID, kind)
        write(files, ID, kind, b"one")
        before = files.version(ID, kind)
        write(files, ID, kind, b"abc")
        assert files.version(ID, kind) != before
        copy(files, other, ID, kind)
        for there in (files, other):
            with there.open(ID, kind) as file:
                assert file.read() == b"abc"
            assert sha256(there, ID, kind).startswith("ba7816bf8f01cfea")  # FIPS 180-2, appendix B.1
            assert mode(there.path(ID, kind)) == 0o600
    for there in (files, other):
        assert {mode(folder) for folder in (there.recordings, there.vault)} == {0o700}
        assert len([*there.names(Area.RECORDINGS), *there.names(Area.VAULT)]) == len(FileKind)
    with pytest.raises(FileNotFoundError):
        sha256(files, OTHER, FileKind.WAV)


@pytest.mark.parametrize("kind", FORMATS)
def test_the_finished_one_is_found_and_kept(files: LocalFiles, kind: FileKind) -> None:
    """What lies beside it tells that there was a database."""
    files.prepare()
    files.path(ID, FileKind.PART).write_bytes(b"part")
    assert finished(files, ID) is None and not has_metadata(files)
    made = files.path(ID, kind)
    made.write_bytes(b"sound")
    made.chmod(0o644)
    assert finished(files, ID) is kind and files.keep(ID, kind) == 5 and mode(made) == 0o600
    assert files.version(ID, kind).at.timestamp() == pytest.approx(made.stat().st_mtime)
    assert format_of(kind.value) is kind and not has_metadata(files)
    write(files, OTHER, FileKind.METADATA, b"{}")
    assert has_metadata(files)
    with pytest.raises(ArchiveError, match="sealed, flac, wav"):
        format_of("json")


def test_all_of_one_goes_and_nothing_of_another(files: LocalFiles) -> None:
    for id in (ID, OTHER):
        write_all(files, id)
        for name in (*(f"{id}.{kind}.tmp" for kind in (*FORMATS, FileKind.METADATA)), f"{id}.refused"):
            (files.recordings / name).touch()
        (files.vault / f"{id}.key.tmp").touch()
    assert files.erase([ID]) == files.erase([ID]) == {}
    left = [*files.names(Area.VAULT), *files.names(Area.RECORDINGS)]
    assert [name for name, id in left if id == ID] == [f"{ID}.refused"]  # the mark is for its own end
    assert len(left) == len(FileKind) + 5 + 1 + 1


def test_each_file_that_goes_stands_in_the_table_of_where_sound_can_lie() -> None:
    formats = (Path(recording_files.__file__).parents[1] / "retention/FORMATS.md").read_text(encoding="utf-8")
    told = formats.partition("### Where sound can lie")[2]
    ends = [end for ends in recording_files._SUFFIXES.values() for end in ends]
    assert [end for end in ends if f"`ID{end}`" not in told] == []


def test_the_metadata_stays_as_long_as_a_sound_does(files: LocalFiles) -> None:
    """A folder in the place of a sound cannot be unlinked: what says when it must go is still there."""
    write_all(files)
    files.path(ID, FileKind.WAV).unlink()
    files.path(ID, FileKind.WAV).mkdir()
    assert [*files.erase([ID])] == [ID] and not files.exists(ID, FileKind.KEY)
    assert files.exists(ID, FileKind.METADATA) and not files.exists(ID, FileKind.FLAC)


def test_one_name_goes(files: LocalFiles) -> None:
    write_all(files)
    (files.recordings / "notes.txt").touch()
    for name in ("notes.txt", f"{ID}.flac", f"vault/{ID}.key"):
        assert files.is_there(name) and files.erase_name(name)
        assert not files.is_there(name) and not files.erase_name(name)
    assert not files.exists(ID, FileKind.KEY) and files.exists(ID, FileKind.SEALED)
