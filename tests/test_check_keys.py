"""`check` on keys: what seals is there and readable, what opens is not, and the vault holds what it must."""

import os
from pathlib import Path

import pytest

from sipagent.check.keys import key_findings, private_keys
from sipagent.config.errors import Finding
from sipagent.config.load import load
from tests.kept import Paths
from tests.office import Office
from tests.sealing import PASSPHRASE, make_pair, make_sealed_office, name_recipients, sealed_call


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    """Whose private key has left."""
    office = make_sealed_office(tmp_path, capsys)
    (office.folder / "keys" / "recordings.key").rename(office.folder / "elsewhere")
    return office


def found(office: Office, what: str) -> list[Finding]:
    return [finding for finding in key_findings(load(office.folder / "config.toml")) if finding.what == what]


def test_a_recipient_that_can_be_sealed_to_is_named(office: Office) -> None:
    key = make_pair(office, "second")
    name_recipients(office, "recordings", "second")
    levels = [finding.level for finding in found(office, "recording.recipients")]
    assert levels == ["ok", "ok"]
    assert found(office, "recording.recipients")[1].detail.endswith(f"second.pub: second ({key.id})")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file or directory"),
        (b"", "is not a public key"),
        (b"sipagent-recipient-1 AAAA durand\n", "is not a public key"),
        (b'{"version": "sipagent-identity-1"}', "is an identity, which does not belong here"),
        (b"\xff\xfe", "is not text"),
    ],
)
def test_a_recipient_that_cannot_be_sealed_to_is_an_error(
    office: Office, content: bytes | None, problem: str
) -> None:
    path = office.folder / "keys" / "recordings.pub"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    (finding,) = found(office, "recording.recipients")
    assert finding.level == "error"
    assert finding.detail.startswith(f"{path}: {problem}")
    assert finding.detail.endswith("; calls go unrecorded without it")
    assert "\n" not in finding.detail


def test_that_nobody_is_named_is_said_once(office: Office) -> None:
    name_recipients(office)
    lines = office.run("check").out.splitlines()
    (said,) = [line for line in lines if "recording.recipients" in line]
    assert "warning" in said and "stored in clear" in said


def test_a_vault_that_is_no_folder_is_an_error(office: Office) -> None:
    (office.folder / "vault").write_text("in the way")
    (finding,) = found(office, "vault")
    assert (finding.level, finding.detail) == ("error", f"{office.folder / 'vault'} is not a directory")


def test_a_private_key_that_has_left_is_not_mentioned(office: Office) -> None:
    assert found(office, "private key") == []


@pytest.mark.parametrize("folder", ["keys", "."])
def test_a_private_key_on_this_machine_is_a_warning(office: Office, folder: str) -> None:
    path = office.folder / folder / "recordings.key"
    (office.folder / "elsewhere").rename(path)
    here, bare = found(office, "private key")
    assert (here.level, bare.level) == ("warning", "warning")
    assert here.detail == f"{path} lies on this machine; move it to where somebody listens"
    assert bare.detail == f"{path} has no passphrase: whoever has the file can listen"


def test_one_with_a_passphrase_is_a_warning_too_and_nobody_is_asked(office: Office) -> None:
    public = make_pair(office, "guarded", PASSPHRASE)
    (finding,) = found(office, "private key")
    assert finding.level == "warning" and "guarded.key lies on this machine" in finding.detail
    (key,) = private_keys(load(office.folder / "config.toml"))
    assert key.protected and key.public == public


def test_one_that_others_may_read_is_an_error(office: Office) -> None:
    make_pair(office, "guarded", PASSPHRASE)
    (office.folder / "keys" / "guarded.key").chmod(0o640)
    last = found(office, "private key")[-1]
    assert last.level == "error" and last.detail.endswith("(mode 0640); chmod 0600")


def test_one_of_another_user_is_known_by_its_other_half(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = office.folder / "keys"
    make_pair(office, "guarded", PASSPHRASE)
    (folder / "tls.key").write_text("unreadable, of another user, and nothing of ours")
    opened = os.open

    def closed_door(path: Path, *rest: int) -> int:
        if str(path).endswith(".key"):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *rest)

    monkeypatch.setattr(os, "open", closed_door)
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith(".key"))
    keys = private_keys(load(office.folder / "config.toml"))
    assert [key.path.name for key in keys] == ["guarded.key"]


@pytest.mark.parametrize("content", ["-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n", ""])
def test_keys_of_another_kind_are_none_of_ours(office: Office, content: str) -> None:
    (office.folder / "keys" / "tls.key").write_text(content)
    (office.folder / "keys" / "gone.key").symlink_to(office.folder / "nowhere")
    assert found(office, "private key") == []


def test_the_vault_and_the_recordings_agree(office: Office) -> None:
    assert found(office, "vault") == []  # no database yet
    rows = [sealed_call(office) for _ in range(5)]
    assert found(office, "vault") == []
    for row in rows:
        Paths(office.archive).key(row.id).unlink()
    (finding,) = found(office, "vault")
    assert finding.level == "warning"
    assert f"{min(row.id for row in rows)}.sealed" in finding.detail
    assert finding.detail.endswith(" and 2 more: without a key nobody can listen to them")


def test_a_key_without_a_recording_is_a_warning(office: Office) -> None:
    row = sealed_call(office)
    key = Paths(office.archive).key(row.id)
    stray = key.with_name("20200101T000000000-abcdef.key")
    stray.write_bytes(key.read_bytes())
    (finding,) = found(office, "vault")
    assert finding.level == "warning"
    assert finding.detail.startswith(f"vault/{stray.name}: keys without a recording")


def test_a_database_that_cannot_be_read_is_an_error(office: Office) -> None:
    (office.folder / "retention.db").write_bytes(b"no database at all" * 100)
    (finding,) = found(office, "vault")
    assert finding.level == "error" and "file is not a database" in finding.detail


def test_the_check_fails_for_want_of_a_key(office: Office) -> None:
    (office.folder / "keys" / "recordings.pub").unlink()
    result = office.run("check")
    assert result.code == 1
    assert any("error" in line and "recording.recipients" in line for line in result.out.splitlines())
