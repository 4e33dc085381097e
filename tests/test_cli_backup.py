"""`backup` and `restore`, as they are typed."""

import json
import os
import shutil
from pathlib import Path

import pytest

from retention.files import alone
from sipagent.config.load import load
from tests.office import CONFIG, PARIS, Office, make_office


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    (tmp_path / "office").mkdir()
    return make_office(tmp_path / "office", capsys)


@pytest.fixture
def other(tmp_path: Path, office: Office) -> Office:
    """Another machine, where there is nothing yet."""
    return Office(tmp_path / "other", office.capture)


def backup(office: Office, *words: object) -> Path:
    result = office.run("backup", "--json", *words, office.folder.parent / "backups")
    assert (result.code, result.err) == (0, ""), result
    return Path(json.loads(result.out)["backup"])


def test_the_configuration_comes_along_and_passwords_only_if_asked_for(office: Office, other: Office) -> None:
    (office.folder / "prompts" / "fr").mkdir(parents=True)
    (office.folder / "prompts" / "fr" / "notice.txt").write_text("Bonjour.")
    (office.folder / "secrets").mkdir()
    (office.folder / "secrets" / "trunk").write_text("s3cret")
    (office.folder / "keys").mkdir()
    for name in ("durand.pub", "durand.key", "web.pem", "web.key"):
        (office.folder / "keys" / name).write_text("a key")
    file, elsewhere = office.folder / "config.toml", office.folder.parent / "other.pub"
    elsewhere.write_text("a key")
    login = '[trunk]\nusername = "agent"\npassword_file = "secrets/trunk"'
    keys = f'[recording]\nrecipients = ["keys/durand.pub", "{elsewhere}"]\n'
    keys += '[web]\ncertificate = "keys/web.pem"\nprivate_key = "keys/web.key"\nlogo = "logo.svg"\n'
    keys += '[prompts]\nmessages = { flood = "flood.wav" }\n'
    for name in ("logo.svg", "flood.wav", "flood.txt"):
        (office.folder / name).write_text("<svg/>")
    file.write_text(CONFIG.replace("[trunk]", login) + keys)
    office.archive.store.close()
    without = json.loads(office.run("backup", "--json", office.folder.parent / "backups").out)
    secrets = [str(office.folder / name) for name in ("secrets/trunk", "keys/web.key")]
    assert without["not_in_it"] == [str(elsewhere), *secrets]
    names = {
        path.relative_to(Path(without["backup"]) / "configuration").as_posix()
        for path in (Path(without["backup"]) / "configuration").rglob("*")
        if path.is_file()
    }
    assert names == {"config.toml", "prompts/fr/notice.txt", "keys/durand.pub", "keys/web.pem"} | {
        *("logo.svg", "flood.wav", "flood.txt")
    }
    shutil.rmtree(without["backup"])  # of the same second, perhaps
    made = backup(office, "--secrets")
    assert other.run("restore", made).code == 0
    config = load(other.folder / "config.toml")
    login_there = config.trunk_login({})
    assert login_there is not None and login_there.password == "s3cret"
    assert (other.folder / "config.toml").read_text() == file.read_text()
    assert (other.folder / "prompts" / "fr" / "notice.txt").read_text() == "Bonjour."
    assert [path.name for path in other.folder.rglob("*.key")] == ["web.key"]
    assert not {path.stat().st_mode & 0o007 for path in other.folder.rglob("*") if path.is_file()} - {0}


def test_what_is_put_back_can_be_listed_and_heard_of(office: Office, other: Office) -> None:
    backups = office.folder.parent / "backups"
    assert "there is no database yet" in office.fails(1, "backup", backups) and not backups.exists()
    row = office.call()
    result = office.run("backup", backups)
    assert (result.code, result.err) == (0, "")
    first, *_, last = result.out.splitlines()
    assert "backups/sipagent-" in first and ": 1 recording, " in first
    assert last.startswith(f"Remove it by {row.expires_at.astimezone(PARIS):%Y-%m-%d}")
    access = office.archive.store.accesses()[0]
    assert (access.action, access.detail) == ("backup", str(backups))
    (made,) = backups.glob("sipagent-*")
    result = other.run("restore", "--by", "M. Durand", made)
    assert (result.code, result.err) == (0, ""), result
    assert "1 recording is back, as of " in result.out and "All of it is as it was written." in result.out
    assert "What was deleted for a person after " in result.out.splitlines()[-1]
    assert [one["id"] for one in json.loads(other.run("list", "--json").out)] == [row.id]
    assert other.run("verify").code == 0
    access = other.archive.store.accesses()[-1]
    assert (access.action, access.by) == ("restore", "M. Durand")
    assert (access.detail or "").startswith("a backup of ")
    assert "is there already; accepted: an empty place" in other.fails(1, "restore", made)


def test_what_is_wrong_is_one_line_and_a_clock_that_is_far_off_needs_a_person(
    office: Office, other: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.call()
    made = backup(office)
    other.folder.mkdir()
    with alone(other.folder / "retention.lock"):
        assert "an agent is running" in other.fails(1, "restore", made)
    assert "is not a backup" in other.fails(1, "restore", office.folder)
    assert "--by is needed" in other.fails(2, "restore", "--clock-ok", made)
    sound = next(made.rglob("*.flac"))
    content = sound.read_bytes()
    sound.write_bytes(b"another sound")
    assert "is not what was copied; nothing was put back" in other.fails(1, "restore", made)
    sound.write_bytes(content)
    (other.folder / "config.toml").write_text(CONFIG.replace('"Test"', '"Other"'))
    monkeypatch.setattr("retention.backup.doubt", lambda *_: "the clock is odd")
    said = other.fails(1, "restore", made)
    assert "the clock is odd; accepted, once it is right: --clock-ok --by WHO" in said
    told = json.loads(other.run("restore", "--clock-ok", "--by", "M. Durand", "--json", made).out)
    assert told["recordings"] == 1 and told["problems"] == [] and told["suspended"] is None
    assert load(other.folder / "config.toml").service.name == "Other"  # one that is there stays


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
def test_what_root_puts_back_is_the_services(office: Office, other: Office) -> None:
    office.call()
    made = backup(office)
    other.folder.mkdir()
    shutil.copy(office.folder / "config.toml", other.folder)
    os.chown(other.folder, 4321, 4322)
    assert other.run("restore", made).code == 0
    owners = {
        (path.stat().st_uid, path.stat().st_gid)
        for path in other.folder.rglob("*")
        if path.name != "config.toml"
    }
    assert owners == {(4321, 4322)}
