import os
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from retention import files
from retention.sqlite import Store


def test_a_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b"a much longer old content")
    files.write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [other.name for other in tmp_path.iterdir()] == ["x.json"]


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
    files.write_whole(tmp_path / "of-a-user", b"")
    assert given == []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    files.make_folder(tmp_path / "vault")
    files.write_whole(tmp_path / "x.json", b"")
    Store(tmp_path / "retention.db").close()
    Store(tmp_path / "retention.db").close()
    names = ("vault", "x.json.tmp", "retention.db", "retention.turn", "retention.head")
    assert given == [(name, owner.st_uid, owner.st_gid) for name in names]


def test_a_failed_write_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    files.write_whole(path, b"old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.write_whole(path, b"new")
    assert path.read_bytes() == b"old"


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"precious")
    (tmp_path / "x.json.tmp").symlink_to(elsewhere)
    files.write_whole(tmp_path / "x.json", b"new")
    assert elsewhere.read_bytes() == b"precious"
    assert not (tmp_path / "x.json").is_symlink()


def test_folders_are_private(tmp_path: Path) -> None:
    files.make_folder(tmp_path / "a")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700


def test_removing_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert files.unlink([tmp_path / "b", tmp_path / "a"])
    assert not files.unlink([tmp_path / "b", tmp_path / "a"])


# --- locks ---


def test_who_wants_a_lock_waits_for_those_that_keep_it_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as keeping:
        for _ in range(2):  # who asks is not taken for who is alone
            assert keeping.enter_context(files.kept_free(tmp_path / "lock"))
        monkeypatch.setattr(time, "sleep", lambda _: keeping.close())
        with files.alone(tmp_path / "lock"), files.kept_free(tmp_path / "lock") as free:
            assert not free


def test_it_waits_for_no_one_who_is_alone_and_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("waited"))
    with files.alone(tmp_path / "lock"), pytest.raises(BlockingIOError), files.alone(tmp_path / "lock"):
        pass
    monkeypatch.setattr(files, "SHARED_S", -1.0)
    with files.kept_free(tmp_path / "lock"), pytest.raises(BlockingIOError), files.alone(tmp_path / "lock"):
        pass
