"""`check` on keys: what seals is there and readable, what opens is not, and the vault holds what it must."""

import os
import socket
from base64 import b64encode
from pathlib import Path

import pytest

from retention.accounts.file import FileAccounts
from sipagent.check.check import event_findings, page_findings
from sipagent.check.keys import key_findings, others_may_read, private_keys
from sipagent.config.errors import Finding
from sipagent.config.load import load
from tests.configured import SMALL, read, with_keys
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


def test_a_recipient_that_can_be_sealed_to_is_named_and_none_is_said_once(office: Office) -> None:
    key = make_pair(office, "second")
    name_recipients(office, "recordings", "second")
    first, second = found(office, "recording.recipients")
    assert (first.level, second.level) == ("ok", "ok")
    assert second.detail.endswith(f"second.pub: second ({key.id})")
    name_recipients(office)
    (said,) = [line for line in office.run("check").out.splitlines() if "recording.recipients" in line]
    assert "warning" in said and "stored in clear" in said


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "No such file or directory"), (b"", "is not a public key"), (b"\xff\xfe", "is not text")],
)
def test_a_recipient_that_cannot_be_sealed_to_is_an_error(
    office: Office, content: bytes | None, problem: str
) -> None:
    path = office.folder / "keys" / "recordings.pub"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    (finding,) = found(office, "recording.recipients")
    assert finding.level == "error" and finding.detail.startswith(f"{path}: {problem}")
    assert finding.detail.endswith("; calls go unrecorded without it") and "\n" not in finding.detail
    assert office.run("check").code == 1


@pytest.mark.parametrize("folder", ["keys", "."])
def test_a_private_key_on_this_machine_is_a_warning(office: Office, folder: str) -> None:
    assert found(office, "private key") == []  # it has left
    path = office.folder / folder / "recordings.key"
    (office.folder / "elsewhere").rename(path)
    assert found(office, "private key") == [
        Finding("warning", "private key", f"{path} {said}")
        for said in (
            "lies on this machine; move it to where somebody listens",
            "has no passphrase: whoever has the file can listen",
        )
    ]


def test_one_with_a_passphrase_is_a_warning_too_and_nobody_is_asked(office: Office) -> None:
    public = make_pair(office, "guarded", PASSPHRASE)
    (finding,) = found(office, "private key")
    assert finding.level == "warning" and "guarded.key lies on this machine" in finding.detail
    (key,) = private_keys(load(office.folder / "config.toml"))
    assert key.protected and key.public == public
    key.path.chmod(0o640)
    last = found(office, "private key")[-1]
    assert last.level == "error" and last.detail.endswith("(mode 0640); chmod 0600")


def test_the_vault_and_the_recordings_agree(office: Office) -> None:
    assert found(office, "vault") == []  # no database yet
    rows = [sealed_call(office) for _ in range(5)]
    assert found(office, "vault") == []
    keys = [Paths(office.archive).key(row.id) for row in rows]
    stray = keys[0].rename(keys[0].with_name("20200101T000000000-abcdef.key"))
    assert f"vault/{stray.name}: keys without a recording" in repr(found(office, "vault"))
    stray.unlink()
    for key in keys[1:]:
        key.unlink()
    (finding,) = found(office, "vault")
    assert finding.level == "warning" and f"{min(row.id for row in rows)}.sealed" in finding.detail
    assert finding.detail.endswith(" and 2 more: without a key nobody can listen to them")
    (office.folder / "retention.db").write_bytes(b"no database at all" * 100)
    (finding,) = found(office, "vault")
    assert finding.level == "error" and "file is not a database" in finding.detail


@pytest.mark.parametrize(("owner", "mode", "others"), [
    (990, 0o600, False), (990, 0o640, True), (990, 0o604, True),
    (0, 0o600, False), (0, 0o640, False),  # as `init` leaves it to the service's group
    (0, 0o660, True), (0, 0o644, True),
])  # fmt: skip
def test_a_secret_is_read_by_its_owner_or_by_the_group_that_root_gives_it_to(
    owner: int, mode: int, others: bool
) -> None:
    assert others_may_read(os.stat_result((mode, 0, 0, 1, owner, 990, 0, 0, 0, 0))) is others


def test_who_else_reads_what_the_page_keeps_for_itself(tmp_path: Path) -> None:
    text = with_keys("web", 'certificate = "web.pem"\nprivate_key = "web.key"', SMALL)
    config = read(text, tmp_path / "config.toml")
    assert list(page_findings(config)) == []
    with FileAccounts(config.places.accounts) as accounts:
        accounts.add("Ann", ["listener"])
    (tmp_path / "web.key").touch(0o600)
    assert list(page_findings(config)) == []
    for path in (config.places.accounts, tmp_path / "web.key"):
        path.chmod(0o644)
    key, database = page_findings(config)
    assert [(one.level, one.what) for one in (key, database)] == [
        ("warning", "web.private_key"),
        ("warning", "accounts.db"),
    ]
    assert "mode 0644" in key.detail


def test_of_events_who_reads_the_secret_and_where_the_name_leads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leads = {"crm.example.net": "10.0.0.7"}

    def looked_up(name: str, port: int, **_: object) -> list[object]:
        if name not in leads:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (leads[name], port))]

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    secret = tmp_path / "events"
    secret.write_text(f"whsec_{b64encode(bytes(24)).decode()}\n\nwhsec_{b64encode(bytes(64)).decode()}\n")
    secret.chmod(0o600)

    def told(keys: str) -> list[tuple[str, str, str]]:
        text = with_keys("events", f'secret_file = "events"\n{keys}', SMALL)
        return [(one.level, one.what, one.detail) for one in event_findings(read(text, tmp_path / "c.toml"))]

    good = ("ok", "events.secret_file", f"{secret}: 2 secrets")
    inside = ("error", "events.webhook", "https://crm.example.net: 10.0.0.7 is inside the own network")
    assert told('webhook = "https://crm.example.net/token"') == [good, inside]
    found = ("ok", "events.webhook", "https://crm.example.net, at 10.0.0.7")
    assert told('webhook = "https://crm.example.net/"\nallow_private = true') == [good, found]
    secret.chmod(0o644)
    (open_to_all, nowhere) = told('webhook = "https://nowhere.example.net"')
    assert open_to_all[0] == "warning" and "mode 0644" in open_to_all[2]
    assert nowhere[2] == "https://nowhere.example.net: Name or service not known"
    for content, problem in (
        (b"\n", "holds no secret"),
        (b"whsec_" + b64encode(bytes(23)), "line 1 is no secret"),
        (b"\n" + b64encode(bytes(32)), "line 2 is no secret"),
        (b"whsec_" + b64encode(bytes(65)), "line 1 is no secret"),
        (b"whsec_*", "line 1 is no secret"),
    ):
        secret.write_bytes(content)
        assert told('webhook = "https://crm.example.net"')[0] == ("error", "events.secret_file", problem)
