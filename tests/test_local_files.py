"""What is kept of recordings, as files of this machine; and no name leads out of their folders."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from retention import recording_files
from retention.marks import ArchiveError
from retention.recording_files import (
    FORMATS,
    Area,
    FileKind,
    LocalFiles,
    RecordingFiles,
    finished,
    format_of,
    has_metadata,
    in_row,
    sha256,
    write,
)

ID, OTHER = "20261124T222000123-4f2a9c", "20261124T222100123-77aa01"


@pytest.fixture
def files(tmp_path: Path) -> LocalFiles:
    return LocalFiles(tmp_path / "recordings", tmp_path / "vault", tmp_path)


def write_all(files: RecordingFiles, id: str = ID) -> None:
    for kind in FileKind:
        write(files, id, kind, kind.encode())


# --- names ---


def test_each_kind_has_a_name_of_its_own(files: LocalFiles, tmp_path: Path) -> None:
    write_all(files)
    names = [files.name(ID, kind) for kind in FileKind]
    assert len(set(names)) == len(FileKind)
    there = [*files.names(Area.RECORDINGS), *files.names(Area.VAULT)]
    assert sorted(there) == sorted((name, ID) for name in names)
    assert (files.name(ID, FileKind.WAV), files.name(ID, FileKind.KEY)) == (f"{ID}.wav", f"vault/{ID}.key")
    assert files.where(ID, FileKind.KEY) == f"{tmp_path}/vault/{ID}.key"
    assert in_row(files, ID, FileKind.FLAC) == f"recordings/{ID}.flac"


def test_no_folder_is_nothing_there(files: LocalFiles) -> None:
    assert [*files.names(Area.RECORDINGS), *files.names(Area.VAULT)] == []
    assert finished(files, ID) is None and not has_metadata(files)
    assert files.erase([ID]) == {}


def test_of_whom_a_name_is(files: LocalFiles) -> None:
    files.prepare()
    for name in ("notes.txt", f"{ID}.refused", f"{ID}.flac.tmp", f"{OTHER}.part", f"{ID}.key"):
        (files.recordings / name).touch()
    assert dict(files.names(Area.RECORDINGS)) == {
        "notes.txt": None,
        f"{ID}.refused": ID,
        f"{ID}.flac.tmp": ID,
        f"{OTHER}.part": OTHER,
        f"{ID}.key": None,
    }


@pytest.mark.parametrize("id", ["../x", "/etc/passwd", "a/../../b", "x.flac", "", "a\x00b"])
def test_what_is_no_id_leads_nowhere(files: LocalFiles, id: str) -> None:
    for kind in FileKind:
        for action in (files.where, files.exists, files.open, files.path, files.fetch):
            with pytest.raises(ArchiveError, match="not the id"):
                action(id, kind)
        with pytest.raises(ArchiveError, match="not the id"):
            write(files, id, kind, b"")
    with pytest.raises(ArchiveError, match="not the id"):
        files.erase([id])
    assert not files.recordings.exists() and not files.vault.exists()


@pytest.mark.parametrize("name", ["", ".", "..", "vault/", "vault/..", "../x", "/etc/passwd", "a/b"])
def test_what_is_no_name_is_not_removed(files: LocalFiles, name: str) -> None:
    for action in (files.erase_name, files.is_there):
        with pytest.raises(ArchiveError, match="not a name among the recordings"):
            action(name)


# --- bytes ---


def test_what_is_written_is_read_and_for_its_owner_alone(files: LocalFiles) -> None:
    for kind in FileKind:
        assert not files.exists(ID, kind)
        write(files, ID, kind, b"one")
        write(files, ID, kind, b"another")
        with files.open(ID, kind) as file:
            assert file.read() == b"another"
        assert files.exists(ID, kind)
        assert stat.S_IMODE(files.path(ID, kind).stat().st_mode) == 0o600
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in (files.recordings, files.vault)} == {0o700}


def test_sha256(files: LocalFiles) -> None:
    write(files, ID, FileKind.FLAC, b"abc")
    assert sha256(files, ID, FileKind.FLAC).startswith("ba7816bf8f01cfea")  # FIPS 180-2, appendix B.1
    with pytest.raises(FileNotFoundError):
        sha256(files, ID, FileKind.WAV)


def test_a_name_that_is_refused_never_appears(files: LocalFiles) -> None:
    @contextmanager
    def refused() -> Iterator[None]:
        raise ArchiveError("refused")
        yield

    files.prepare()
    with pytest.raises(ArchiveError, match="refused"):
        write(files, ID, FileKind.METADATA, b"{}", refused)
    assert [*files.names(Area.RECORDINGS)] == []


@pytest.mark.parametrize("kind", FORMATS)
def test_the_finished_one_is_found_and_kept(files: LocalFiles, kind: FileKind) -> None:
    files.prepare()
    files.path(ID, FileKind.PART).write_bytes(b"part")
    assert finished(files, ID) is None
    made = files.path(ID, kind)
    made.write_bytes(b"sound")
    made.chmod(0o644)
    assert finished(files, ID) is kind and files.keep(ID, kind) == 5
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert files.version(ID, kind).at.timestamp() == pytest.approx(made.stat().st_mtime)


def test_a_format_is_one_of_three() -> None:
    assert [format_of(kind.value) for kind in FORMATS] == [*FORMATS]
    for text in ("mp3", "json", ""):
        with pytest.raises(ArchiveError, match="sealed, flac, wav"):
            format_of(text)


def test_metadata_tells_that_there_was_a_database(files: LocalFiles) -> None:
    write(files, ID, FileKind.FLAC, b"sound")
    assert not has_metadata(files)
    write(files, OTHER, FileKind.METADATA, b"{}")
    assert has_metadata(files)


# --- erasing ---


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
    assert [
        end for ends in recording_files._SUFFIXES.values() for end in ends if f"`ID{end}`" not in told
    ] == []


def test_the_metadata_goes_last(files: LocalFiles) -> None:
    """A folder in the place of a sound cannot be unlinked: what says when it must go is still there."""
    write_all(files)
    files.path(ID, FileKind.WAV).unlink()
    files.path(ID, FileKind.WAV).mkdir()
    assert [*files.erase([ID])] == [ID]
    assert files.exists(ID, FileKind.METADATA) and not files.exists(ID, FileKind.FLAC)


def test_one_name_goes(files: LocalFiles) -> None:
    write_all(files)
    (files.recordings / "notes.txt").touch()
    for name in ("notes.txt", f"{ID}.flac", f"vault/{ID}.key"):
        assert files.is_there(name) and files.erase_name(name)
        assert not files.is_there(name) and not files.erase_name(name)
    assert not files.exists(ID, FileKind.KEY) and files.exists(ID, FileKind.SEALED)
