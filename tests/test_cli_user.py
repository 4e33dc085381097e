"""`user`: accounts are made, listed, reset and removed, each with a line in the trace and no secret in it."""

import json
import re
from pathlib import Path
from typing import Any

import pyotp
import pytest

from retention.accounts.accounts import Accounts, NewPasskey
from retention.accounts.credentials import new_totp
from retention.accounts.file import FileAccounts
from retention.records import Access
from tests.office import Office, make_office
from tests.sealing import make_pair

WEB = '[web]\nlisten = "127.0.0.1:8443"\n'
CODE = re.compile(r"^One-time code: ([0-9A-Z]{5}(?:-[0-9A-Z]{5}){3})$", re.MULTILINE)


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    office = make_office(tmp_path, capsys)
    with (tmp_path / "config.toml").open("a") as file:
        file.write(WEB)
    return office


def accounts(office: Office) -> Accounts:
    return FileAccounts(office.folder / "accounts.db")


def trace(office: Office) -> list[Access]:
    with office.archive.store as store:
        return store.accesses()


def code_of(said: str) -> str:
    found = CODE.search(said)
    assert found, said
    return found[1]


def listed(office: Office) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(office.run("user", "list", "--json").out)
    return rows


def enrol(office: Office, code: str) -> None:
    totp = pyotp.TOTP(new_totp())
    with accounts(office) as there:
        there.enrol(code, "a long walk by the sea", totp.secret, totp.now())


def test_a_new_account_gets_a_code_and_where_it_is_used(office: Office) -> None:
    done = office.run("user", "add", "Claire Petit", "--role", "listener", "--by", "M. Durand")
    assert (done.code, done.err) == (0, "")
    code = code_of(done.out)
    assert re.search(r"^Claire Petit uses it once, until .*, at http://127.0.0.1:8443/enrol$", done.out, re.M)
    with accounts(office) as there:
        assert there.of_code(code) == there.meant("claire petit")
    (row,) = trace(office)
    assert (row.action, row.by, row.outcome) == ("account", "M. Durand", "done")
    assert (row.detail, row.via, row.login) == ("add Claire Petit: listener", "cli", None)
    assert row.system_user


def test_the_address_is_as_people_type_it(office: Office) -> None:
    config = office.folder / "config.toml"
    tls = 'url = "https://ecoute.example.net"\ncertificate = "web.pem"\nprivate_key = "web.key"\n'
    config.write_text(config.read_text().replace(WEB, WEB + tls))
    assert "at https://ecoute.example.net/enrol" in office.run("user", "add", "Ann", "--role", "officer").out


def test_the_key_that_a_person_listens_with(office: Office) -> None:
    key = make_pair(office, "claire")
    path = office.folder / "keys" / "claire.pub"
    assert office.run("user", "add", "Claire", "--role", "listener", "--key", path).code == 0
    assert listed(office)[0]["key"] == key.id
    private = office.folder / "keys" / "claire.key"
    said = office.fails(1, "user", "add", "Bob", "--role", "listener", "--key", private)
    assert "is an identity, which does not belong here" in said
    assert len(listed(office)) == 1


def test_what_is_refused_is_one_line_and_in_the_trace(office: Office) -> None:
    office.run("user", "add", "Claire", "--role", "listener")
    said = office.fails(1, "user", "add", "CLAIRE", "--role", "officer")
    assert said == "sipagent: 'CLAIRE': there is an account of this name\n"
    assert "'Bob': no such account" in office.fails(1, "user", "remove", "Bob")
    assert "'Bob': no such account" in office.fails(1, "user", "reset", "Bob")
    assert [(row.outcome, row.detail) for row in trace(office)][1:] == [
        ("refused", "add CLAIRE: officer: 'CLAIRE': there is an account of this name"),
        ("refused", "remove Bob: 'Bob': no such account"),
        ("refused", "reset Bob: 'Bob': no such account"),
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("add", "Ann"), "missing option '--role'"),
        (("add", "Ann", "--role", "auditor"), "'auditor' is not one of 'listener', 'supervisor', 'officer'"),
        (("add", "", "--role", "listener"), "says nothing"),
        (("add", "a\nb", "--role", "listener"), "is not one line of text"),
        (("add", "--role", "listener"), "missing argument 'NAME'"),
    ],
)
def test_wrong_usage(office: Office, words: tuple[str, ...], said: str) -> None:
    assert said in office.fails(2, "user", *words)
    assert not (office.folder / "accounts.db").exists()


def test_a_name_that_is_too_long_is_no_name(office: Office) -> None:
    said = office.fails(1, "user", "add", "x" * 65, "--role", "listener")
    assert "is not a name; accepted: one line of 1 to 64 characters" in said


def test_an_account_may_come_before_the_page(office: Office) -> None:
    config = office.folder / "config.toml"
    config.write_text(config.read_text().replace(WEB, ""))
    done = office.run("user", "add", "Ann", "--role", "officer")
    assert done.code == 0 and code_of(done.out)
    assert "web.listen is absent, so there is no page yet" in done.err
    assert "Ann" in office.run("user", "list").out


def test_where_an_issuer_lets_in_there_is_no_code(office: Office) -> None:
    config = office.folder / "config.toml"
    (office.folder / "secret").write_text("s")
    issuer = (
        'oidc_issuer = "https://id.example"\noidc_client_id = "a"\noidc_client_secret_file = "secret"\n'
        'oidc_roles = { "a" = "listener" }\n'
    )
    config.write_text(config.read_text().replace(WEB, WEB + issuer))
    done = office.run("user", "add", "Ann", "--role", "officer")
    assert (done.code, done.out) == (0, "Ann logs in by https://id.example, which gives the roles, too\n")


def test_an_administrator_is_told_to_be_without_sound(office: Office) -> None:
    both = ("--role", "administrator", "--role", "listener")
    done = office.run("user", "add", "Ann", *both)
    assert done.code == 0 and code_of(done.out)
    assert done.err == (
        "sipagent: an administrator never listens, whatever else: beside it, listener is without sound\n"
    )
    assert office.run("user", "add", "Bob", "--role", "administrator").err == ""


def test_who_may_log_in(office: Office) -> None:
    assert listed(office) == [] and office.run("user", "list").out == "No accounts.\n"
    roles = ("--role", "listener", "--role", "officer", "--role", "listener")
    code = code_of(office.run("user", "add", "Claire", *roles).out)
    office.run("user", "add", "Bob", "--role", "administrator")
    enrol(office, code)
    first, second = listed(office)
    assert (first["name"], first["enrolled"], first["roles"]) == ("Bob", False, ["administrator"])
    assert first["code_until"] and second == {
        "name": "Claire",
        "roles": ["listener", "officer"],
        "enrolled": True,
        "passkeys": 0,
        "code_until": None,
        "key": None,
        "language": None,
        "created_at": second["created_at"],
        "last_login_at": None,
        "failures": 0,
    }
    table = office.run("user", "list").out
    assert re.search(r"Claire +listener, officer +password", table) and "code until" in table
    french = office.run("user", "list", "--lang", "fr").out
    assert "écoutant, délégué" in french and "mot de passe" in french


def test_the_list_tells_of_passkeys_and_a_reset_takes_them_away(office: Office) -> None:
    enrol(office, code_of(office.run("user", "add", "Claire", "--role", "listener").out))
    with accounts(office) as there:
        for name in ("key", "telephone"):
            made = NewPasskey(credential=name.encode(), public_key=b"x", sign_count=0, transports=())
            there.add_passkey(1, name, made)
            told = office.run("user", "list", "--lang", "fr").out
            assert "mot de passe" in told and ("clés d’accès" in told) == (name == "telephone")
    assert listed(office)[0]["passkeys"] == 2
    office.run("user", "reset", "Claire")
    assert listed(office)[0]["passkeys"] == 0


def test_a_removed_account_is_gone_and_its_name_free(office: Office) -> None:
    office.run("user", "add", "Claire", "--role", "listener")
    assert office.run("user", "remove", "claire", "--by", "M. Durand").out == "Claire: removed\n"
    assert listed(office) == [] and trace(office)[-1].detail == "remove claire"
    assert office.run("user", "add", "Claire", "--role", "listener").code == 0


def test_a_reset_gives_a_new_code(office: Office) -> None:
    code = code_of(office.run("user", "add", "Claire", "--role", "listener").out)
    enrol(office, code)
    done = office.run("user", "reset", "claire")
    again = code_of(done.out)
    assert again != code and "Claire uses it once" in done.out
    assert not listed(office)[0]["enrolled"] and listed(office)[0]["roles"] == ["listener"]
    enrol(office, again)
    assert trace(office)[-1].detail == "reset claire"


def test_no_code_is_in_the_trace_or_on_the_disk(office: Office) -> None:
    code = code_of(office.run("user", "add", "Claire", "--role", "listener").out)
    assert not [
        path for path in office.folder.rglob("*") if path.is_file() and code.encode() in path.read_bytes()
    ]


def test_what_cannot_be_traced_is_not_done(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.run("user", "add", "Claire", "--role", "listener")
    (office.folder / "retention.db").chmod(0o400)
    (office.folder / "retention.db").write_bytes(b"damaged" * 1000)
    assert office.run("user", "remove", "Claire").code == 1
    assert [row["name"] for row in listed(office)] == ["Claire"]
