"""Where copies went is told such that it can be read again, whatever the file is called."""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from retention.archive import Archive
from retention.records import Access
from retention.use import Copy, known_copies, told_of_download, told_of_export
from tests.both import BOTH
from tests.kept import START, keep, recording

DATABASES = BOTH

ROW = recording()


def export(archive: Archive, detail: str | None, minutes: int = 0, **fields: str) -> None:
    at = START + timedelta(minutes=minutes)
    use = {"action": "export", "by": "Durand", "detail": detail, "recording_id": ROW.id} | fields
    archive.store.add_access(Access(at=at, **use))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["call.wav", 'a "b" to c.wav', "a\nb\\ to .wav", "é\u202e.wav", os.fsdecode(b"\xff80.wav"), " "]
)
def test_a_copy_is_found_by_what_was_told(archive: Archive, tmp_path: Path, name: str) -> None:
    keep(archive, ROW)
    path = tmp_path / name
    export(archive, told_of_export("both", path, ROW))
    assert known_copies(archive.store, ROW.id) == [Copy(path=path, at=START, by="Durand", exists=False)]
    path.touch()
    assert known_copies(archive.store, ROW.id)[0].exists


def test_what_is_told_is_one_line_of_text(tmp_path: Path) -> None:
    assert told_of_export("caller", Path("/x/é.wav"), ROW) == 'caller to "/x/é.wav"'
    for name in ("a\nb", os.fsdecode(b"\xff")):
        assert told_of_export("both", tmp_path / name, ROW).encode().decode().isprintable()


def test_a_relative_path_is_told_from_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert told_of_export("both", Path("call.wav"), ROW) == f'both to "{tmp_path}/call.wav"'


def test_a_copy_named_after_a_person_is_still_found(archive: Archive, tmp_path: Path) -> None:
    keep(archive, ROW)
    folder = tmp_path / "marie.durand"
    folder.mkdir()
    path = folder / "0612345678.wav"
    export(archive, told_of_export("both", path, ROW))
    (copy,) = known_copies(archive.store, ROW.id)
    assert (copy.path, copy.exists) == (tmp_path / "…" / "06….wav", False)
    (folder / "another.wav").touch()
    assert not known_copies(archive.store, ROW.id)[0].exists
    path.touch()
    assert known_copies(archive.store, ROW.id)[0].exists


def test_each_place_once_and_only_what_was_done(archive: Archive, tmp_path: Path) -> None:
    keep(archive, ROW)
    one, two = tmp_path / "1.wav", tmp_path / "2.wav"
    export(archive, told_of_export("both", one, ROW))
    export(archive, told_of_export("both", two, ROW), 1)
    export(archive, told_of_export("caller", one, ROW), 2, by="Petit")
    export(archive, "it exists", 3, outcome="refused")
    export(archive, "both", 4, action="play")
    export(archive, None, 5)
    found = known_copies(archive.store, ROW.id)
    assert [(copy.path, copy.by) for copy in found] == [(two, "Durand"), (one, "Petit")]
    assert known_copies(archive.store, recording(1).id) == []


@pytest.mark.parametrize("path", ["/home/durand/a to b.wav", '"/home/durand', "7"])
def test_a_detail_that_was_altered_ends_no_purge(archive: Archive, path: str) -> None:
    export(archive, f"both to {path}")
    assert known_copies(archive.store, ROW.id)[0].path == Path(path)


def test_where_we_may_not_look_a_copy_is_taken_to_be(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(archive, told_of_export("both", tmp_path / "closed" / "call.wav", ROW))

    def forbidden(path: Path) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "lstat", forbidden)
    assert known_copies(archive.store, ROW.id)[0].exists


def test_a_file_in_place_of_a_folder_holds_no_copy(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / "folder").touch()
    export(archive, told_of_export("both", tmp_path / "folder" / "call.wav", ROW))
    assert not known_copies(archive.store, ROW.id)[0].exists


def test_of_a_download_only_its_name_is_known_and_who_has_it(archive: Archive) -> None:
    keep(archive, ROW)
    for minutes, who in enumerate(("Durand", "Petit", "Durand")):
        export(archive, told_of_download("both", "482913.flac", ROW), minutes, by=who)
    found = known_copies(archive.store, ROW.id)
    assert [(str(copy.path), copy.by, copy.exists, copy.elsewhere) for copy in found] == [
        ("482913.flac", "Petit", True, True),
        ("482913.flac", "Durand", True, True),
    ]
    assert "12345678" not in told_of_download("both", "0612345678.flac", ROW)
    for path in ("/home/durand/call.wav", "", "../call.wav"):
        with pytest.raises(ValueError, match="not the name of a file"):
            told_of_download("both", path, ROW)
