"""Where hosts share a database: `migrate` there and back, with who logs in; `hosts`; what others do there."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any

import pyotp
import pytest

from retention.accounts.accounts import Accounts, NewPasskey
from retention.accounts.credentials import new_totp
from retention.accounts.file import FileAccounts
from retention.files import alone
from retention.journal import Journal
from retention.postgres.store import SealedStore
from retention.recording_files import FileKind
from retention.records import Host, Recording
from retention.rows.rows import StoreError
from retention.shipping import Presence, Shipper
from retention.vault import public_line
from sipagent.agent import stored
from sipagent.agent.stored import archive_of, store_of
from sipagent.config.load import Config, load
from tests.configured import with_keys
from tests.kept import ANN, START, Paths, bytes_under, keep_by, receipt, recording
from tests.moving import entries
from tests.office import CONFIG, Office, make_office
from tests.postgres import Server
from tests.raising import raising
from tests.s3 import REGION, Moto, Weed
from tests.sealed import sealed_store
from tests.tampering import HOLD
from tests.test_shipping import ship, write_call

PASSWORD = "a long walk by the sea"
SUBJECT = "https://issuer.example 7"
WEB = f'{CONFIG}[web]\nlisten = "127.0.0.1:8443"\n'


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    (tmp_path / "office").mkdir()
    office = make_office(tmp_path / "office", capsys)
    write(office, "")
    return office


def write(office: Office, more: str) -> None:
    (office.folder / "config.toml").write_text(WEB + more)


def config_of(office: Office) -> Config:
    return load(office.folder / "config.toml")


def migrate(office: Office, to: object, *words: object, kept: str = "") -> dict[str, Any]:
    """And have the configuration say so, behind what it had."""
    result = office.run("migrate", "--to", to, *words, "--json")
    assert (result.code, result.err) == (0, ""), result
    told: dict[str, Any] = json.loads(result.out)
    write(office, kept + told["configuration"])
    return told


def test_what_is_typed_wrongly(office: Office, database: str) -> None:
    assert "there is no database yet" in office.fails(1, "migrate", "--to", database)
    office.call()
    for code, words, said in (
        (2, (), "--to is needed"),
        (
            2,
            ("--objects", "s3://calls/a"),
            "into a store alone files go by themselves, once",
        ),
        (2, ("--to", "mysql://there/x"), "is not a postgresql URL"),
        (
            1,
            ("--to", office.folder / "other.db"),
            "the rows are in a file of this machine already",
        ),
        (2, ("--to", database, "--objects", "s3://calls/a"), "objects.url"),
        (2, ("--to", database, "--host", "Host 1"), "up to 16 small letters"),
        (1, ("--to", "postgresql://127.0.0.1:1/none"), "the shared database does not answer"),
    ):
        assert said in office.fails(code, "migrate", *words)
    with alone(config_of(office).places.lock):
        assert "retention.lock: an agent is running" in office.fails(1, "migrate", "--to", database)
    assert not (office.folder / "retention.moved").exists()
    assert office.run("verify").code == 0
    migrate(office, database)
    said = office.fails(1, "migrate", "--to", office.folder / "retention.db")
    assert "retention.db: is there already; accepted: a path where nothing is" in said


def test_who_called_is_nowhere_in_clear_in_the_bytes_of_the_server(
    office: Office, postgres: Server, database: str
) -> None:
    """Neither in its tables nor in its log of what is written."""
    caller, operator = "+33698765401", "sip:elodie.moreau@pbx.example.net"
    row = office.call(caller=caller, operator=operator)
    migrate(office, database)
    config = config_of(office)
    with store_of(config) as store:
        assert store.recording(row.id).caller == caller
        assert Paths(archive_of(config, store)).file(row.id) is not None
    postgres.checkpoint()
    there = bytes_under(postgres.data)
    assert row.id.encode() in there
    assert caller.encode() not in there and b"elodie.moreau" not in there


def sealed_call(office: Office, minutes: int) -> Recording:
    """A closed recording that is sealed, to a key beside the configuration."""
    kept = office.archive
    row = recording(minutes, expires_at=START + timedelta(days=4000))
    kept.vault.create(row.id, [ANN.public])
    return keep_by(kept, row, FileKind.SEALED, b"sealed " + row.id.encode())


def test_recordings_and_keys_go_into_a_store_of_objects_and_come_back(
    office: Office, database: str, objects: Moto | Weed
) -> None:
    (office.folder / "ann.pub").write_text(public_line(ANN.public))
    recipients = '[recording]\nrecipients = ["ann.pub"]\n'
    write(office, recipients)
    rows = [sealed_call(office, number) for number in range(3)]
    office.archive.change(replace(rows[1], hold=HOLD))
    chain = entries(office.folder / "retention.db")
    before = {path: path.read_bytes() for path in (office.folder / "recordings").iterdir()}
    name = objects.bucket(f"moving-{token_hex(4)}")
    where = ["--objects", f"s3://{name}/calls", "--endpoint", objects.endpoint, "--region", REGION]
    where += ["--credentials-file", str(objects.credentials_file(office.folder))]
    assert migrate(office, database, *where, kept=recipients)["recordings"] == 3
    versions = objects.versions(name)
    there = {one.removeprefix("calls/"): content for (one, _), content in versions.items()}
    assert len(versions) == len(there)  # each was put once
    for row in rows:
        key = office.folder / "vault" / f"{row.id}.key"
        assert there[f"recordings/{row.id}.sealed"] == b"sealed " + row.id.encode()
        assert there[f"vault/{row.id}.key"] == key.read_bytes()
        key.unlink()  # as whoever sends up what lies here does, where it is up
    assert [one for one in there if one.startswith("rows/")]
    assert {path: path.read_bytes() for path in (office.folder / "recordings").iterdir()} == before
    assert not (office.folder / "moving").exists()
    for path in before:
        path.unlink()
    verified = office.run("verify")
    assert (verified.code, verified.err) == (0, ""), verified
    migrate(office, office.folder / "again.db", kept=recipients)
    assert {path: path.read_bytes() for path in (office.folder / "recordings").iterdir()} == before
    assert office.run("verify").code == 0
    assert entries(office.folder / "again.db")[: len(chain)] == chain


def test_it_does_not_leave_a_database_that_hosts_are_at_work_on(office: Office, database: str) -> None:
    office.call()
    migrate(office, database)
    config, back = config_of(office), ("migrate", "--to", office.folder / "again.db")
    with store_of(config) as store:
        assert isinstance(store, SealedStore)
        until = store.now() + timedelta(hours=1)
        host = Host(host="b", version="1", journal="jb", seen_at=store.now(), lease_until=until)
        store.keep_host(host)
        assert "host b runs; accepted: all of them stopped" in office.fails(1, *back)
        store.keep_host(replace(host, lease_until=store.now() - timedelta(hours=1), lag_rows=3))
        assert "host b has rows that are not here yet (3)" in office.fails(1, *back)
        store.keep_host(replace(host, lease_until=None))
    with Journal(config.database) as journal:
        journal.add_receipt(receipt(recording(9)))
    assert "journal.db has rows that are not there yet (" in office.fails(1, *back)
    assert not (office.folder / "again.db").exists()
    assert office.run("verify").code == 0


# --- who logs in ---


def accounts(office: Office) -> Accounts:
    return stored.accounts_of(config_of(office))


@pytest.fixture
def people(office: Office) -> tuple[pyotp.TOTP, str]:
    """Ann, who has a password and a passkey; Bob, who was removed; Eve, of an issuer; Marc, who has a code;
    a robot. Ann's authenticator, and the robot's token."""
    office.call()
    totp = pyotp.TOTP(new_totp())
    with accounts(office) as there:
        bob, _ = there.add("Bob", ["listener"])
        _, code = there.add("Ann", ["listener", "officer"])
        ann = there.enrol(code, PASSWORD, totp.secret, totp.now())
        made = NewPasskey(credential=b"c", public_key=b"k", sign_count=3, transports=("usb",))
        there.add_passkey(ann.id, "usb key", made)
        there.vouched_for(SUBJECT, "Eve", ["listener"])
        there.add("Marc", ["administrator"])
        there.remove(bob.id)
        _, token = there.add_token("robot", ["listener"])
    return totp, token


def test_accounts_go_there_and_back(office: Office, database: str, people: tuple[pyotp.TOTP, str]) -> None:
    totp, token = people
    with accounts(office) as there:
        before = there.everything()
        handle = there.handle_of(there.meant("Ann").id)
    assert migrate(office, database)["accounts"] == 4
    assert json.loads(office.run("user", "list", "--json").out)[0]["name"] == "Ann"
    with accounts(office) as there:
        assert there.everything() == before and there.where == "the shared database"
        ann = there.check("Ann", PASSWORD, totp.at(datetime.now(UTC) + timedelta(seconds=30)))
        assert ann is not None and ann.passkeys == 1 and there.handle_of(ann.id) == handle
        passkey = there.passkey(b"c")
        assert passkey is not None and there.let_in(passkey, 4).name == "Ann"
        assert there.token(token) is not None
        assert there.vouched_for(SUBJECT, "Eve", ["officer"]).name == "Eve"
        newest, _ = there.add("Zoe", ["listener"])
        assert newest.id > max(row["id"] for row in before["accounts"])
        there.remove(there.meant("Marc").id)
        after = there.everything()
    (office.folder / "accounts.db").unlink()
    assert migrate(office, office.folder / "again.db")["accounts"] == 4
    with accounts(office) as there:
        assert there.everything() == after and there.where.endswith("accounts.db")
        assert there.handle_of(ann.id) == handle
        assert there.add("Yan", ["listener"])[0].id > newest.id
    assert office.run("verify").code == 0


@pytest.mark.usefixtures("people")
def test_what_is_left_lets_nobody_change_anything_and_other_hosts_need_the_key(
    office: Office, database: str
) -> None:
    key, file = office.folder / "accounts.key", office.folder / "accounts.db"
    with accounts(office) as before:
        said = office.run("migrate", "--to", database).out
        assert f"needs a copy of {key}, mode 0600." in said and key.stat().st_mode & 0o777 == 0o600
        assert "4 accounts and tokens of the page came along; everybody logs in again." in said
        assert f"So is {file}: nobody logs in by it." in said
        migrate(office, database)  # again, as after a crash
        with pytest.raises(StoreError, match="its accounts have moved to postgresql:"):
            before.add("Zoe", ["listener"])
    with accounts(office) as shared:
        kept = FileAccounts(file).everything()
        shared.add("Yan", ["listener"])
        other = office.fails(1, "migrate", "--to", office.folder / "again.db")
        assert "accounts.db: has other accounts; accepted: a place without any" in other
        assert not (office.folder / "again.db").exists() and FileAccounts(file).everything() == kept
        file.unlink()
        migrate(office, office.folder / "again.db")
        with pytest.raises(StoreError, match="the shared database: its accounts have moved to "):
            shared.add("Zoe", ["listener"])
        assert shared.meant("Ann")  # which is still read, and so is who may not log in


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("killed_at", ["take_along", "_take_accounts"])
def test_killed_after_the_rows_came_it_goes_on(
    office: Office, database: str, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    class Killed(BaseException):
        pass

    with accounts(office) as there:
        before = there.everything()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(f"sipagent.cli.migrate.{killed_at}", raising(Killed()))
        office.run("migrate", "--to", database)
    assert migrate(office, database)["again"]
    with accounts(office) as there:
        assert there.everything() == before


def test_users_and_tokens_of_all_hosts(office: Office, database: str, tmp_path: Path) -> None:
    """Made on one host, listed, reset and removed on the other; each leaves its line in the trace of all."""
    office.call()
    assert migrate(office, database)["accounts"] == 0  # where nobody logs in nothing is made
    key, file = office.folder / "accounts.key", office.folder / "accounts.db"
    assert not file.exists() and not key.exists()
    assert office.run("user", "add", "Ann", "--role", "listener").code == 0
    (tmp_path / "other").mkdir()
    other = make_office(tmp_path / "other", office.capture)
    write(other, f'[retention]\ndatabase = "{database}"\n[cluster]\nhost = "b"\n')
    (other.folder / "vault").symlink_to(office.folder / "vault")  # as a store of objects is
    missing = other.fails(1, "user", "list")
    assert "accounts.key: is missing; the accounts in the shared database are under the key" in missing
    for level in ("error", "ok"):
        findings = {one["what"]: one for one in json.loads(other.run("check", "--json").out)}
        assert findings["accounts.key"]["level"] == level
        (other.folder / key.name).write_bytes(key.read_bytes())
        (other.folder / key.name).chmod(0o600)
    assert [one["name"] for one in json.loads(other.run("user", "list", "--json").out)] == ["Ann"]
    assert "there is an account of this name" in other.fails(1, "token", "add", "ann", "--role", "listener")
    for where, *words in (
        (other, "token", "add", "robot", "--role", "listener"),
        (other, "user", "reset", "Ann"),
        (office, "token", "revoke", "robot"),
        (other, "user", "remove", "Ann"),
    ):
        assert where.run(*words).code == 0
    assert json.loads(office.run("user", "list", "--json").out) == []
    details = [one["detail"] for one in json.loads(office.run("accesses", "--json").out)]
    assert {"add Ann: listener", "reset Ann", "remove Ann", "revoke robot"} <= set(details)


# --- hosts, and what other commands do and say there ---


@pytest.fixture
def shipper(office: Office, database: str, tmp_path: Path) -> Iterator[Shipper]:
    """Of the host `a`."""
    shared = with_keys("retention", f'database = "{database}"', CONFIG)
    (office.folder / "config.toml").write_text(with_keys("cluster", 'host = "a"', shared))
    with sealed_store(database, tmp_path / "vault") as store, closing(Journal(tmp_path / "a.db")) as journal:
        write_call(journal)
        yield Shipper(journal, store, "a", "1.2.3", 60.0)


def test_how_each_host_is(office: Office, shipper: Shipper) -> None:
    done = office.run("hosts")
    assert (done.code, done.out) == (0, "No host has been here yet.\n")
    shipper.renew(Presence(calls=3, draining=True))
    done = office.run("hosts", "--json")
    (host,) = json.loads(done.out)
    assert done.code == 0
    assert host.pop("seen_at").endswith("Z") and host.pop("lease_until").endswith("Z")
    assert host.pop("lag_s") >= 0
    told = {"host": "a", "state": "draining", "version": "1.2.3"}
    assert host == told | {"calls": 3, "draining": True, "lag_rows": 5}
    shown = office.run("hosts").out
    assert "draining" in shown and "1.2.3" in shown and "s ago" in shown
    shipper._lease_s = -1.0
    shipper.renew(Presence())
    done = office.run("hosts")
    assert done.code == office.run("hosts", "--json").code == 1 and "1 host is lost" in done.out
    assert "1 hôte est perdu" in office.run("hosts", "--lang", "fr").out
    ship(shipper)
    shipper.leave()
    (host,) = json.loads(office.run("hosts", "--json").out)
    assert (host["state"], host["lease_until"], host["lag_rows"]) == ("stopped", None, 0)
    (office.folder / "config.toml").write_text(CONFIG)
    assert "no other host shares it" in office.fails(1, "hosts")


def test_a_backup_is_put_back_into_a_database_of_its_own(
    office: Office, database: str, tmp_path: Path
) -> None:
    """With what led to a person, and the chain entry for entry."""
    rows = [office.call(timedelta(hours=hours)) for hours in (1, 2, 300 * 24)]  # the last has expired
    migrate(office, database)
    for left in ("retention.db", "retention.moved"):
        (office.folder / left).unlink()
    made = json.loads(office.run("backup", tmp_path / "backups", "--json").out)
    backup = Path(made["backup"])
    assert made["recordings"] == 3 and (backup / "retention.head").exists()
    said = office.fails(1, "restore", backup)
    assert "hosts share the database; accepted: a configuration with one of its own, then `migrate`" in said
    (tmp_path / "other").mkdir()
    other = make_office(tmp_path / "other", office.capture)
    result = other.run("restore", backup, "--json")
    assert result.code == 0, result
    assert json.loads(result.out)["purged"] == [rows[2].id]
    assert other.archive.store.recording(rows[0].id).caller == rows[0].caller
    chain = entries(backup / "retention.db")
    assert entries(tmp_path / "other" / "retention.db")[: len(chain)] == chain
    assert other.run("verify").code == 0


def test_a_database_that_does_not_answer_is_one_line(office: Office) -> None:
    write(office, '[retention]\ndatabase = "postgresql://127.0.0.1:1/none"\n[cluster]\nhost = "a"\n')
    (office.folder / "sheet.txt").write_text("Handled well.")
    id, by = "20261124T222000123-ha-482913", ("--by", "A. Roux")
    hold = ("--ground", "criminal", "--reference", "7", "--approved-by", "B", "--review", "2027-06-01")
    for words in (
        *(["list"], ["calls"], ["show", id], ["stats"], ["draws"], ["accesses"], ["holds"], ["hosts"]),
        *(["verify"], ["purge"], ["purge", "--dry-run"], ["rebuild"], ["backup", office.folder / "b"]),
        *(["keys", "list"], ["stamp", "--list"], ["migrate", "--to", office.folder / "back.db"]),
        ["stats", "--html", office.folder / "stats.html"],
        ["export", id, "--purpose", "quality", *by, "--out", office.folder / "copy.flac"],
        ["play", id, "--purpose", "quality", *by],
        ["note", id, *by, "--text-file", office.folder / "sheet.txt", "--yes"],
        ["hold", id, *hold, *by],
        ["release", id, *by],
        ["delete", id, *by, "--reason", "asked", "--yes"],
    ):
        said = office.fails(1, *words)
        assert said.startswith("sipagent: the shared database does not answer"), words
        assert "wait, nothing is lost" in said, words
    findings = json.loads(office.run("check", "--json").out)
    about = [one for one in findings if one["what"] == "retention.database"]
    assert [one["level"] for one in about] == ["error"]
