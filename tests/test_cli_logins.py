"""`user` and `token`: each change leaves a line in the trace, and no secret stays anywhere."""

import json
import re
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pyotp
import pytest

from retention.accounts.accounts import Accounts, NewPasskey
from retention.accounts.credentials import new_totp
from retention.accounts.file import FileAccounts
from retention.records import to_text
from tests.office import PARIS, Office, make_office
from tests.sealing import make_pair

WEB = '[web]\nlisten = "127.0.0.1:8443"\n'
CODE = re.compile(r"^One-time code: ([0-9A-Z]{5}(?:-[0-9A-Z]{5}){3})$", re.MULTILINE)
LISTENER = ("--role", "listener")


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    office = make_office(tmp_path, capsys)
    configured(office, WEB)
    return office


def configured(office: Office, web: str) -> None:
    config = office.folder / "config.toml"
    config.write_text(config.read_text().partition("[web]")[0] + web)


def accounts(office: Office) -> Accounts:
    return FileAccounts(office.folder / "accounts.db")


def listed(office: Office, what: str = "user") -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(office.run(what, "list", "--json").out)
    return rows


def added(office: Office, name: str = "Claire", *more: object) -> str:
    """The code of a new account."""
    done = office.run("user", "add", name, *LISTENER, *more)
    found = CODE.search(done.out)
    assert done.code == 0 and found, done
    return found[1]


def nowhere(office: Office, secret: str) -> bool:
    files = [path for path in office.folder.rglob("*") if path.is_file()]
    return not [path for path in files if secret.encode() in path.read_bytes()]


def trace(office: Office) -> list[tuple[str, str, str | None, str | None, str | None]]:
    with office.archive.store as store:
        rows = store.accesses()
    assert {(row.via, row.login) for row in rows} == {("cli", None)} and rows[0].system_user
    return [(row.action, row.outcome, row.by, row.login, row.detail) for row in rows]


def test_an_account_from_its_code_to_its_end(office: Office) -> None:
    assert listed(office) == [] and office.run("user", "list").out == "No accounts.\n"
    key = make_pair(office, "claire")
    path = office.folder / "keys" / "claire.pub"
    code = added(office, "Claire Petit", "--role", "officer", *LISTENER, "--key", path, "--by", "M. Durand")
    assert nowhere(office, code)
    totp = pyotp.TOTP(new_totp())
    with accounts(office) as there:
        claire = there.enrol(code, "a long walk by the sea", totp.secret, totp.now())
        made = NewPasskey(credential=b"c", public_key=b"x", sign_count=0, transports=())
        there.add_passkey(claire.id, "telephone", made)
    (row,) = listed(office)
    assert row == {
        "name": "Claire Petit",
        "roles": ["listener", "officer"],
        "enrolled": True,
        "passkeys": 1,
        "code_until": None,
        "key": key.id,
        "language": None,
        "created_at": row["created_at"],
        "last_login_at": None,
        "failures": 0,
    }
    assert re.search(r"Claire Petit +listener, officer +password, 1 passkey", office.run("user", "list").out)
    french = office.run("user", "list", "--lang", "fr").out
    assert "écoutant, délégué" in french and "mot de passe" in french
    done = office.run("user", "reset", "claire petit", "--by", "M. Durand")
    assert CODE.search(done.out) and "Claire Petit uses it once, until " in done.out
    assert "at http://127.0.0.1:8443/enrol" in done.out and "code until" in office.run("user", "list").out
    assert (listed(office)[0]["enrolled"], listed(office)[0]["passkeys"]) == (False, 0)
    assert office.run("user", "remove", "claire petit").out == "Claire Petit: removed\n"
    assert listed(office) == []
    assert trace(office) == [
        ("account", "done", "M. Durand", None, "add Claire Petit: listener, officer"),
        ("account", "done", "M. Durand", None, "reset claire petit"),
        ("account", "done", None, None, "remove claire petit"),
    ]


def test_a_token_from_its_making_to_its_end(office: Office) -> None:
    assert office.run("token", "list").out == "No tokens.\n" and listed(office, "token") == []
    key = make_pair(office, "dash")
    path, day = office.folder / "keys" / "dash.pub", (datetime.now(UTC) + timedelta(days=40)).date()
    done = office.run("token", "add", "dashboard", *LISTENER, "--until", day, "--key", path, "--by", "M. D.")
    assert done.code == 0 and re.fullmatch(r"sipagent_[\w-]{43}\n", done.out)
    assert done.err == "sipagent: dashboard: shown once, on stdout; keep it where only its program reads it\n"
    assert nowhere(office, done.out.strip())
    with accounts(office) as there:
        assert there.token(done.out.strip())
    (row,) = listed(office, "token")
    end = datetime.combine(day + timedelta(days=1), time(), PARIS)
    assert (row["key"], row["until"]) == (key.id, to_text(end))
    assert f"good until {end:%Y-%m-%d} 00:00:00" in office.run("token", "list").out
    assert office.run("token", "revoke", "Dashboard").out == "dashboard: revoked\n"
    with accounts(office) as there:
        assert there.token(done.out.strip()) is None
    assert listed(office, "token")[0]["revoked_at"] and "revoked " in office.run("token", "list").out
    office.run("token", "add", "other", *LISTENER)
    assert re.search(r"other +listener +good", office.run("token", "list").out)
    assert trace(office)[:2] == [
        ("token", "done", "M. D.", None, f"add dashboard: listener, until {day}"),
        ("token", "done", None, None, "revoke Dashboard"),
    ]


def test_what_is_refused_is_one_line_and_in_the_trace(office: Office) -> None:
    added(office)
    for words, said in (
        (("user", "add", "CLAIRE", *LISTENER), "'CLAIRE': there is an account of this name"),
        (("user", "remove", "Bob"), "'Bob': no such account"),
        (("user", "reset", "Bob"), "'Bob': no such account"),
        (("token", "add", "claire", *LISTENER), "'claire': there is an account of this name"),
        (("token", "add", "d", *LISTENER, "--until", "2020-01-01"), "a token has to end in the future"),
        (("token", "revoke", "d"), "'d': no such token"),
    ):
        assert office.fails(1, *words) == f"sipagent: {said}\n"
        _, outcome, _, _, detail = trace(office)[-1]
        assert outcome == "refused" and detail and detail.endswith(said)


def test_what_cannot_be_traced_is_not_done(office: Office) -> None:
    added(office)
    (office.folder / "retention.db").write_bytes(b"damaged" * 1000)
    assert office.run("user", "remove", "Claire").code == 1
    assert [row["name"] for row in listed(office)] == ["Claire"]


def test_a_day_that_cannot_be_read_makes_nothing(office: Office) -> None:
    said = office.fails(2, "token", "add", "d", *LISTENER, "--until", "soon")
    assert said.startswith("sipagent: --until: 'soon' is not a moment; accepted: ")
    assert not (office.folder / "accounts.db").exists()
