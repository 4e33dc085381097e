"""Whose configuration is followed: one that was only found, and what a command that removes says of it."""

import errno
import grp
import os
import pwd
import struct
from datetime import timedelta
from pathlib import Path

import pytest

from sipagent.cli import program
from sipagent.cli.main import cli
from sipagent.cli.program import trusted, user_name, weakness
from tests.office import Office

OWN = frozenset((0, os.geteuid()))
SOMEBODY = 12345  # no user of this machine
# An access list as the kernel has it (linux/posix_acl_xattr.h): tag, permissions, and whose they are.
VERSION = 2
OWNER, USER, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
ANYBODY = 0xFFFF_FFFF


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """`a/b/config.toml`, which its owner alone may write."""
    path = tmp_path / "a" / "b" / "config.toml"
    path.parent.mkdir(parents=True)
    path.touch()
    for place in (path, path.parent, path.parent.parent):
        place.chmod(0o644 if place == path else 0o755)
    return path


def group_of(path: Path, monkeypatch: pytest.MonkeyPatch, *members: str, name: str = "") -> None:
    """Say that the file's group is named like its owner, or otherwise, and has these members."""
    found = path.stat()
    told = grp.struct_group((name or user_name(found.st_uid), "x", found.st_gid, [*members]))
    monkeypatch.setattr(grp, "getgrgid", lambda gid: told if gid == found.st_gid else None)


@pytest.mark.parametrize("depth", range(3))
@pytest.mark.parametrize("mode", [0o777, 0o1777], ids=oct)
def test_what_others_may_write_is_not(file: Path, depth: int, mode: int) -> None:
    """The file, its folder, and those above: in a sticky one nobody moves what is there."""
    place = (file, *file.parents)[depth]
    place.chmod(mode)
    said = f"others may write {place}"
    assert weakness(file, OWN) == (None if depth == 2 and mode == 0o1777 else said)


@pytest.mark.skipif(os.geteuid() != 0, reason="root gives files away")
@pytest.mark.parametrize("depth", range(3))
def test_what_belongs_to_somebody_else_is_not(file: Path, depth: int) -> None:
    """Also for root, after `su` or `sudo` in a checkout of somebody who is not trusted."""
    assert weakness(file, OWN) is None
    owner = file.stat().st_uid
    assert weakness(file, frozenset({owner + 1})) == f"{file} belongs to {user_name(owner)}"
    place = (file, *file.parents)[depth]
    os.chown(place, SOMEBODY, -1)
    assert weakness(file, OWN) == f"{place} belongs to {SOMEBODY}"
    assert weakness(file, OWN | {SOMEBODY}) is None


def test_a_private_group_may_write(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Debian, where each user has one and the umask may be 002."""
    for place in (file, *file.parents[:2]):
        place.chmod(0o664 if place == file else 0o775)
    for members, name, may in (
        ((), "", True),
        ((user_name(os.geteuid()),), "", True),
        (("nobody",), "", False),
        (("not-yet-a-user",), "", False),
        ((), "domain-users", False),  # whose members no list need have
    ):
        group_of(file, monkeypatch, *members, name=name)
        assert weakness(file, OWN) == (None if may else f"others may write {file}")


def test_an_access_list_lets_others_write(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    group_of(file, monkeypatch)
    entries = (
        (OWNER, 7, ANYBODY),
        (USER, 7, SOMEBODY),
        (GROUP, 7, ANYBODY),
        (MASK, 7, ANYBODY),
        (OTHER, 5, ANYBODY),
    )
    access = struct.pack("<I", VERSION) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(file.parent, "system.posix_acl_access", access)
    except OSError as refused:
        assert refused.errno == errno.ENOTSUP
        pytest.skip("the file system has no access lists")
    assert weakness(file, OWN) == f"others may write {file.parent}"


def test_a_link_is_judged_with_what_it_leads_to(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "config.toml"
    link.symlink_to(file)
    assert weakness(link, OWN) is None
    file.parent.chmod(0o777)
    assert weakness(link, OWN) == f"others may write {file.parent}"
    file.parent.chmod(0o755)
    tmp_path.chmod(0o777)
    assert weakness(link, OWN) == f"others may write {tmp_path}"


def test_the_services_user_is_trusted_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "SERVICE", "nobody")
    assert trusted() == {0, os.geteuid(), pwd.getpwnam("nobody").pw_uid}
    monkeypatch.setattr(program, "SERVICE", "no-such-user")
    assert trusted() == {0, os.geteuid()}


def test_a_purge_follows_nobody_elses_configuration(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """The recordings of the folder stay, until its configuration is named."""
    old = office.call(timedelta(days=200))
    office.folder.chmod(0o777)
    monkeypatch.chdir(office.folder)
    monkeypatch.delenv("SIPAGENT_CONFIG", raising=False)
    office.capture.readouterr()
    with pytest.raises(SystemExit) as exit:
        cli.main(["purge"])
    out, err = office.capture.readouterr()
    assert (exit.value.code, out) == (2, "")
    assert err == (
        f"sipagent: config.toml: others may write {office.folder}; "
        "accepted: one that you name: --config config.toml\n"
    )
    assert office.archive.store.recording(old.id).purged_at is None
    with pytest.raises(SystemExit) as exit:
        cli.main(["--config", "config.toml", "purge"])
    assert exit.value.code == 0 and office.archive.store.recording(old.id).purged_at


def test_what_removes_says_whose_configuration_it_follows(office: Office) -> None:
    """On stderr, so that JSON stays alone; what is refused stays one line."""
    config = office.folder / "config.toml"
    followed = f"sipagent: by the configuration {config} (owner: {user_name(config.stat().st_uid)})\n"
    row, words = office.call(), ("--reason", "request", "--by", "Durand")
    for arguments in (("purge", "--dry-run"), ("purge", "--json"), ("delete", row.id, "--json", *words)):
        result = office.run(*arguments)
        assert (result.code, result.err) == (0, followed), arguments
    assert "no such id" in office.fails(1, "delete", "000000", *words)
