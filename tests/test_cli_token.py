"""`token`: what programs show is printed once, and can be ended."""

import json
import re
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from retention.accounts.accounts import Accounts
from retention.accounts.file import FileAccounts
from retention.records import to_text
from tests.office import PARIS, Office, make_office
from tests.sealing import make_pair


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_office(tmp_path, capsys)


def accounts(office: Office) -> Accounts:
    return FileAccounts(office.folder / "accounts.db")


def listed(office: Office) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(office.run("token", "list", "--json").out)
    return rows


def test_a_token_stands_alone_on_stdout(office: Office) -> None:
    done = office.run("token", "add", "dashboard", "--role", "supervisor", "--by", "M. Durand")
    assert done.code == 0 and re.fullmatch(r"sipagent_[\w-]{43}\n", done.out)
    assert done.err == "sipagent: dashboard: shown once, on stdout; keep it where only its program reads it\n"
    with accounts(office) as there:
        token = there.token(done.out.strip())
        assert token is not None and (token.name, token.roles) == ("dashboard", ("supervisor",))
    with office.archive.store as store:
        (row,) = store.accesses()
    assert (row.action, row.by, row.via) == ("token", "M. Durand", "cli")
    assert row.detail == "add dashboard: supervisor"
    kept = [path for path in office.folder.rglob("*") if path.is_file()]
    assert not [path for path in kept if done.out.strip().encode() in path.read_bytes()]


def test_a_token_has_an_end_and_a_key(office: Office) -> None:
    key = make_pair(office, "dash")
    path = office.folder / "keys" / "dash.pub"
    day = (datetime.now(UTC) + timedelta(days=40)).date()
    done = office.run("token", "add", "d", "--role", "listener", "--until", day, "--key", path)
    assert done.code == 0
    (row,) = listed(office)
    end = datetime.combine(day + timedelta(days=1), time(), PARIS)
    assert row["key"] == key.id and row["until"] == to_text(end)
    assert f"good until {end:%Y-%m-%d} 00:00:00" in office.run("token", "list").out


def test_an_end_in_the_past_or_of_no_sort(office: Office) -> None:
    said = office.fails(1, "token", "add", "d", "--role", "listener", "--until", "2020-01-01")
    assert said == "sipagent: a token has to end in the future\n"
    said = office.fails(2, "token", "add", "d", "--role", "listener", "--until", "soon")
    assert said.startswith("sipagent: --until: 'soon' is not a moment; accepted: 2026-11-24")


def test_a_token_is_revoked_and_stays_in_the_list(office: Office) -> None:
    assert office.run("token", "list").out == "No tokens.\n" and listed(office) == []
    shown = office.run("token", "add", "dashboard", "--role", "supervisor").out.strip()
    assert re.search(r"dashboard +supervisor +good", office.run("token", "list").out)
    assert office.run("token", "revoke", "Dashboard").out == "dashboard: revoked\n"
    with accounts(office) as there:
        assert there.token(shown) is None
    assert listed(office)[0]["revoked_at"] and "revoked " in office.run("token", "list").out
    assert "'dashboard': no such token" in office.fails(1, "token", "revoke", "dashboard")


def test_the_names_of_tokens_and_accounts_are_apart(office: Office) -> None:
    office.run("token", "add", "dashboard", "--role", "supervisor")
    said = office.fails(1, "token", "add", "DASHBOARD", "--role", "listener")
    assert said == "sipagent: 'DASHBOARD': there is a token of this name\n"


def test_an_administrator_is_told_to_be_without_sound(office: Office) -> None:
    roles = ("--role", "administrator", "--role", "officer")
    assert "beside it, officer is without sound" in office.run("token", "add", "d", *roles).err
