"""`migrate` takes who logs in to the page along, into a database that hosts share and back; and `user` and
`token` there.
"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyotp
import pytest

from retention.accounts.accounts import Accounts, NewPasskey
from retention.accounts.credentials import new_totp
from retention.accounts.file import FileAccounts
from retention.rows.rows import StoreError
from sipagent.agent import stored
from sipagent.config.load import load
from tests.office import CONFIG, Office, make_office

PASSWORD = "a long walk by the sea"
WEB = '[web]\nlisten = "127.0.0.1:8443"\n'
SUBJECT = "https://issuer.example 7"


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    (tmp_path / "office").mkdir()
    office = make_office(tmp_path / "office", capsys)
    write(office, "")
    office.call()
    return office


def write(office: Office, more: str) -> None:
    (office.folder / "config.toml").write_text(CONFIG + WEB + more)


def accounts(office: Office) -> Accounts:
    return stored.accounts_of(load(office.folder / "config.toml"))


def migrate(office: Office, to: object) -> dict[str, Any]:
    """And have the configuration say so."""
    result = office.run("migrate", "--to", to, "--json")
    assert (result.code, result.err) == (0, ""), result
    told: dict[str, Any] = json.loads(result.out)
    write(office, told["configuration"])
    return told


def people(office: Office) -> tuple[pyotp.TOTP, str]:
    """Ann, who has a password and a passkey; Bob, who was removed; Eve, of an issuer; Marc, who has a code;
    a robot. Ann's authenticator, and the robot's token."""
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


def test_they_go_there_and_back(office: Office, database: str) -> None:
    totp, token = people(office)
    with accounts(office) as there:
        before = there.everything()
        handle = there.handle_of(there.meant("Ann").id)
    told = migrate(office, database)
    assert told["accounts"] == 4
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
    back = migrate(office, office.folder / "again.db")
    assert back["accounts"] == 4
    with accounts(office) as there:
        assert there.everything() == after and there.where.endswith("accounts.db")
        assert there.handle_of(ann.id) == handle
        assert there.add("Yan", ["listener"])[0].id > newest.id
    assert office.run("verify").code == 0


def test_what_is_left_lets_nobody_change_anything_and_other_hosts_need_the_key(
    office: Office, database: str
) -> None:
    people(office)
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
        file.unlink()
        migrate(office, office.folder / "again.db")
        with pytest.raises(StoreError, match="the shared database: its accounts have moved to "):
            shared.add("Zoe", ["listener"])
        assert shared.meant("Ann")  # which is still read, and so is who may not log in


@pytest.mark.parametrize("killed_at", ["take_along", "_take_accounts"])
def test_killed_after_the_rows_came_it_goes_on(
    office: Office, database: str, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    class Killed(BaseException):
        pass

    def kill(*_: object, **__: object) -> None:
        raise Killed

    people(office)
    with accounts(office) as there:
        before = there.everything()
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(f"sipagent.cli.migrate.{killed_at}", kill)
        office.run("migrate", "--to", database)
    assert migrate(office, database)["again"]
    with accounts(office) as there:
        assert there.everything() == before


def test_other_accounts_are_no_place_to_go(office: Office, database: str) -> None:
    people(office)
    with accounts(office) as there:
        before = there.everything()
    migrate(office, database)
    with accounts(office) as there:
        there.add("Zoe", ["listener"])
    said = office.fails(1, "migrate", "--to", office.folder / "again.db")
    assert "accounts.db: has other accounts; accepted: a place without any" in said
    assert not (office.folder / "again.db").exists()
    with FileAccounts(office.folder / "accounts.db") as file:
        assert file.everything() == before


def test_users_and_tokens_of_all_hosts(
    office: Office, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Made on one host, listed, reset and removed on the other; each leaves its line in the trace of all."""
    assert migrate(office, database)["accounts"] == 0  # where nobody logs in nothing is made
    key, file = office.folder / "accounts.key", office.folder / "accounts.db"
    assert not file.exists() and not key.exists()
    assert office.run("user", "add", "Ann", "--role", "listener").code == 0
    (tmp_path / "other").mkdir()
    other = make_office(tmp_path / "other", capsys)
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
