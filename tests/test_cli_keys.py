"""`keys`, `user`, `token`: pairs, accounts and tokens are made, listed, changed; no secret shows or stays."""

import json
import re
import stat
import sys
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import click
import pyotp
import pytest

from retention.accounts.accounts import Accounts, NewPasskey
from retention.accounts.credentials import new_totp
from retention.accounts.file import FileAccounts
from retention.records import Approval, to_text
from retention.vault import read_identity, read_public
from tests.kept import Paths
from tests.office import PARIS, Office
from tests.sealing import PASSPHRASE, make_pair, make_sealed_office, name_recipients, sealed_call

CODE = re.compile(r"^One-time code: ([0-9A-Z]{5}(?:-[0-9A-Z]{5}){3})$", re.MULTILINE)
LISTENER = ("--role", "listener")
ADMINISTRATOR = ("--role", "administrator")


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    """One recipient, `keys/recordings`, whose private key lies here; and a page."""
    office = make_sealed_office(tmp_path, capsys)
    with (office.folder / "config.toml").open("a") as file:
        file.write('[web]\nlisten = "127.0.0.1:8443"\n')
    return office


def listed(office: Office, what: str) -> list[dict[str, Any]]:
    result = office.run(what, "list", "--json")
    assert result.code == 0
    rows: list[dict[str, Any]] = json.loads(result.out)
    return rows


# --- keys ---


def test_a_pair_beside_the_configuration(office: Office) -> None:
    public, private = (office.folder / "keys" / f"recordings.{end}" for end in ("pub", "key"))
    public.unlink()
    private.unlink()
    (passphrase := office.folder / "passphrase").write_text(f"{PASSPHRASE}\n")
    result = office.run("keys", "new", "--passphrase-file", passphrase, "--comment", "M. Durand")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(
        f"wrote {public}\nwrote {private}\nNext: name {public} in recording.recipients."
    )
    assert f"Move {private} to the machine of whoever listens" in result.out
    identity = read_identity(private, lambda: PASSPHRASE)
    assert identity.public == read_public(public) and identity.public.comment == "M. Durand"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert PASSPHRASE.encode() not in private.read_bytes()


def test_a_key_is_never_overwritten_and_a_passphrase_asked_for_twice_but_never_in_vain(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, prompts = office.folder / "keys", list[str]()
    answers = iter([PASSPHRASE, "typo", PASSPHRASE, PASSPHRASE])

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        return next(answers)

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(click.termui, "hidden_prompt_func", ask)
    contents = {path.name: path.read_bytes() for path in keys.iterdir()}
    for there, content in contents.items():
        for name in contents:
            (keys / name).unlink(missing_ok=True)
        (keys / there).write_bytes(content)
        assert f"{there}: exists, and a key is never overwritten" in office.fails(1, "keys", "new")
        assert prompts == [] and (keys / there).read_bytes() == content
    result = office.run("keys", "new", office.folder / "durand")
    assert result.code == 0 and PASSPHRASE not in result.out + result.err
    assert len(prompts) == 4 and f"{office.folder / 'durand.key'}" in prompts[0]
    assert read_identity(office.folder / "durand.key", lambda: PASSPHRASE)


def test_who_can_listen_and_to_how_much(office: Office) -> None:
    old, new = make_pair(office, "old"), make_pair(office, "new", PASSPHRASE)
    (office.folder / "keys" / "old.key").unlink()
    name_recipients(office, "recordings", "new")
    rows = [sealed_call(office, ["old"]), sealed_call(office, ["recordings", "old"])]
    first, second, third = listed(office, "keys")
    assert first == {
        **{"fingerprint": read_public(office.folder / "keys" / "recordings.pub").id, "comment": "recordings"},
        **{"path": "keys/recordings.pub", "configured": True, "recordings": 1},
        **{"private_key": "keys/recordings.key", "protected": False, "problem": None},
    }
    assert (second["fingerprint"], second["recordings"], second["protected"]) == (new.id, 0, True)
    assert (third["fingerprint"], third["recordings"], third["private_key"]) == (old.id, 2, None)
    assert (third["path"], third["configured"]) == (None, False)
    lines = office.run("keys", "list").out.splitlines()
    assert "here: keys/recordings.key, no passphrase" in lines[1] and "here: keys/new.key" in lines[2]
    assert "not a recipient" in lines[3] and "elsewhere" in lines[3] and "problem" not in lines[0]
    Paths(office.archive).key(rows[0].id).write_text("{")
    assert listed(office, "keys")[0]["recordings"] == 1  # a damaged one does not hide the others
    name_recipients(office, "recordings", "lost")
    lost = listed(office, "keys")[1]
    assert lost["path"] == "keys/lost.pub" and lost["fingerprint"] is None
    assert "lost.pub: No such file" in lost["problem"]
    assert "lost.pub: No such file" in office.run("keys", "list").out
    name_recipients(office, "recordings")
    (office.folder / "keys" / "new.pub").unlink()
    stray = make_pair(office, "stray")
    strays = {row["private_key"]: row["fingerprint"] for row in listed(office, "keys") if row["private_key"]}
    assert strays == {
        "keys/recordings.key": first["fingerprint"], "keys/stray.key": stray.id, "keys/new.key": None
    }  # fmt: skip


def identity(office: Office, name: str = "recordings") -> tuple[str, str]:
    return "--identity", str(office.folder / "keys" / f"{name}.key")


def test_a_recipient_comes_and_another_leaves_and_the_trace_says_so(office: Office) -> None:
    old = read_public(office.folder / "keys" / "recordings.pub")
    rows = [sealed_call(office), sealed_call(office)]
    new = make_pair(office, "new")
    name_recipients(office, "new")
    result = office.run("keys", "rotate", *identity(office), "--by", "Petit")
    assert (result.code, result.err) == (0, "")
    assert result.out == f"2 recordings sealed anew, for {new}.\n"
    listen = ("export", rows[0].id, "--purpose", "quality", "--by", "Petit", "--out", office.folder / "a.wav")
    assert "is not for recordings (" in office.fails(1, *listen, *identity(office))
    assert office.run(*listen, *identity(office, "new")).code == 0
    assert "2 already so." in office.run("keys", "rotate", *identity(office, "new")).out
    begun, ended = (
        use for use in office.archive.store.accesses() if use.action == "rotate" and use.by == "Petit"
    )
    assert (begun.outcome, begun.recording_id) == (ended.outcome, ended.recording_id) == ("done", None)
    assert begun.detail == f"begun with {old}, to be for {new}"
    assert ended.detail == f"2 sealed anew, 0 were so already, 0 failed; for {new}"
    assert office.archive.vault.recipients(rows[0].id) == (new,)


def test_what_it_cannot_open_is_named_and_the_exit_says_so(office: Office) -> None:
    make_pair(office, "other")
    rows = [sealed_call(office, ["other"]) for _ in range(22)]
    done, new = sealed_call(office), make_pair(office, "new")
    name_recipients(office, "new")
    result = office.run("keys", "rotate", *identity(office), "--json")
    assert result.code == 1 and result.err == ""
    told = json.loads(result.out)
    assert (told["sealed"], told["already"], told["recipients"]) == ([done.id], 0, [new.id])
    assert sorted(failed["id"] for failed in told["failed"]) == sorted(row.id for row in rows)
    assert all("is not for recordings (" in failed["problem"] for failed in told["failed"])
    assert office.archive.store.accesses()[-1].outcome == "failed"
    result = office.run("keys", "rotate", *identity(office))
    assert result.code == 1 and "and 2 more; --json names all" in result.out


def test_what_is_wrong_is_one_line_and_changes_nothing(office: Office) -> None:
    row = sealed_call(office)
    make_pair(office, "guarded", PASSPHRASE)
    before = Paths(office.archive).key(row.id).read_bytes()
    (wrong := office.folder / "wrong").write_text("not it")
    guarded = identity(office, "guarded")
    assert "missing option '--identity'" in office.fails(2, "keys", "rotate").lower()
    for words, said in (
        (identity(office, "no"), "no.key: No such file"),
        (guarded, "has a passphrase; accepted"),
        ((*guarded, "--passphrase-file", wrong), "wrong passphrase"),
    ):
        assert said in office.fails(1, "keys", "rotate", *words)
    for names, said in ((("recordings", "lost"), "lost.pub: No such file"), ((), "nobody to seal to")):
        name_recipients(office, *names)
        assert said in office.fails(1, "keys", "rotate", *identity(office))
    assert Paths(office.archive).key(row.id).read_bytes() == before
    assert office.archive.store.accesses() == []


# --- user, token: each change leaves a line in the trace ---


def accounts(office: Office) -> Accounts:
    return FileAccounts(office.folder / "accounts.db")


def nowhere(office: Office, secret: str) -> bool:
    files = [path for path in office.folder.rglob("*") if path.is_file()]
    return not [path for path in files if secret.encode() in path.read_bytes()]


def trace(office: Office) -> list[tuple[str, str, str | None, str | None]]:
    with office.archive.store as store:
        rows = store.accesses()
    assert {(row.via, row.login) for row in rows} == {("cli", None)} and rows[0].system_user
    return [(row.action, row.outcome, row.by, row.detail) for row in rows]


def test_an_account_from_its_code_to_its_end(office: Office) -> None:
    assert listed(office, "user") == [] and office.run("user", "list").out == "No accounts.\n"
    key, path = make_pair(office, "claire"), office.folder / "keys" / "claire.pub"
    more = (*LISTENER, "--role", "officer", *LISTENER, "--key", path, "--by", "M. Durand")
    done = office.run("user", "add", "Claire Petit", *more)
    (code,) = CODE.findall(done.out)
    assert nowhere(office, code)
    totp = pyotp.TOTP(new_totp())
    with accounts(office) as there:
        claire = there.enrol(code, "a long walk by the sea", totp.secret, totp.now())
        made = NewPasskey(credential=b"c", public_key=b"x", sign_count=0, transports=())
        there.add_passkey(claire.id, "telephone", made)
    (row,) = listed(office, "user")
    assert row == {
        **{"name": "Claire Petit", "roles": ["listener", "officer"], "enrolled": True, "passkeys": 1},
        **{"code_until": None, "key": key.id, "language": None, "created_at": row["created_at"]},
        **{"last_login_at": None, "failures": 0},
    }
    assert re.search(r"Claire Petit +listener, officer +password, 1 passkey", office.run("user", "list").out)
    french = office.run("user", "list", "--lang", "fr").out
    assert "écoutant, délégué" in french and "mot de passe" in french
    done = office.run("user", "reset", "claire petit", "--by", "M. Durand")
    assert CODE.search(done.out) and "Claire Petit uses it once, until " in done.out
    assert "at http://127.0.0.1:8443/enrol" in done.out and "code until" in office.run("user", "list").out
    (row,) = listed(office, "user")
    assert (row["enrolled"], row["passkeys"]) == (False, 0)
    assert office.run("user", "remove", "claire petit").out == "Claire Petit: removed\n"
    assert listed(office, "user") == []
    assert trace(office) == [
        ("account", "done", "M. Durand", "add Claire Petit: listener, officer"),
        ("account", "done", "M. Durand", "reset claire petit"),
        ("account", "done", None, "remove claire petit"),
    ]


def test_an_administrator_who_cannot_log_in_yet_is_no_other(office: Office) -> None:
    for name in ("Ann", "Bob"):
        office.run("user", "add", name, *ADMINISTRATOR)
    with accounts(office) as there:
        _, code = there.reset(there.meant("Ann").id)
        totp = pyotp.TOTP(new_totp())
        there.enrol(code, "a long walk by the sea", totp.secret, totp.now())
    for words in (["change", "Ann", *LISTENER], ["remove", "Ann"]):
        assert "'Ann' is the last administrator; accepted: first" in office.fails(1, "user", *words)
    office.run("user", "change", "Bob", *LISTENER)
    office.run("user", "change", "Bob", *ADMINISTRATOR)
    office.run("user", "reset", "Ann")  # who can log in no more, either
    office.run("user", "remove", "Ann")
    office.run("user", "remove", "Bob")
    assert listed(office, "user") == []


def test_an_account_is_changed_and_the_last_administrator_stays(office: Office) -> None:
    key, path = make_pair(office, "claire"), office.folder / "keys" / "claire.pub"
    office.run("user", "add", "Claire Petit", *ADMINISTRATOR)
    office.run("user", "add", "Bob", "--role", "supervisor")
    refused = (
        "'Claire Petit' is the last administrator; accepted: first somebody else of that role who can log in"
    )
    assert (
        office.fails(1, "user", "change", "claire petit", *LISTENER, "--key", path)
        == f"sipagent: {refused}\n"
    )
    assert listed(office, "user")[1]["roles"] == ["administrator"] and not listed(office, "user")[1]["key"]
    done = office.run("user", "change", "Bob", *ADMINISTRATOR, "--by", "M. Durand")
    assert done.out == "Bob: administrator; key: none\n"
    done = office.run("user", "change", "claire petit", *LISTENER, "--key", path, "--name", "Claire Martin")
    assert done.out == f"Claire Martin: listener; key: {key.id}\n"
    assert (
        office.run("user", "change", "Claire Martin", "--no-key").out
        == "Claire Martin: listener; key: none\n"
    )
    assert "already" not in office.run("user", "change", "Claire Martin", "--name", "claire martin").err
    taken = office.fails(1, "user", "change", "claire martin", "--name", "BOB")
    assert taken == "sipagent: 'BOB': there is an account of this name\n"
    assert "accepted: --role, --key, --no-key, --name" in office.fails(2, "user", "change", "Bob")
    assert trace(office)[2:6] == [
        ("account", "refused", None, f"change claire petit: roles listener; key {key.id}: {refused}"),
        ("account", "done", "M. Durand", "change Bob: roles administrator"),
        ("account", "done", None, f"change claire petit: roles listener; key {key.id}; name Claire Martin"),
        ("account", "done", None, "change Claire Martin: key none"),
    ]


def test_who_waits_for_an_approval_keeps_the_name_that_asked(office: Office) -> None:
    """Under another name the same person could approve it."""
    row, at = office.call(), datetime.now(UTC)
    office.run("user", "add", "Sonia", "--role", "supervisor", "--role", "officer")
    terms: dict[str, Any] = {"ground": "criminal", "reference": "2026-41", "review": at + timedelta(days=90)}
    wanted = Approval(at=at, action="hold", recording_id=row.id, by="Sonia", **terms)
    with office.archive.store as store:
        store.add_approval(wanted)
    said = "'Sonia' has asked for what waits for an approval; accepted: once that is decided"
    assert office.fails(1, "user", "change", "Sonia", "--name", "Anne") == f"sipagent: {said}\n"
    assert [one["name"] for one in listed(office, "user")] == ["Sonia"]


def test_a_token_from_its_making_to_its_end(office: Office) -> None:
    assert office.run("token", "list").out == "No tokens.\n" and listed(office, "token") == []
    key, path = make_pair(office, "dash"), office.folder / "keys" / "dash.pub"
    day = (datetime.now(UTC) + timedelta(days=40)).date()
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
    screen = office.run("token", "add", "screen", "--role", "wall")
    assert "the screen opens http://127.0.0.1:8443/wall#, with the token behind it\n" in screen.err
    assert "'wall' is not one of" in office.fails(2, "user", "add", "Screen", "--role", "wall")
    office.run("token", "add", "other", *LISTENER)
    assert re.search(r"other +listener +good", office.run("token", "list").out)
    assert trace(office)[:2] == [
        ("token", "done", "M. D.", f"add dashboard: listener, until {day}"),
        ("token", "done", None, "revoke Dashboard"),
    ]


def test_what_is_refused_is_one_line_and_in_the_trace_and_what_cannot_be_traced_is_not_done(
    office: Office,
) -> None:
    said = office.fails(2, "token", "add", "d", *LISTENER, "--until", "soon")
    assert said.startswith("sipagent: --until: 'soon' is not a moment; accepted: ")
    assert not (office.folder / "accounts.db").exists()
    assert office.run("user", "add", "Claire", *LISTENER).code == 0
    assert office.run("token", "add", "quarter", *LISTENER, "--until", "90d").code == 0
    assert re.fullmatch(r"add quarter: listener, until \d{4}-\d\d-\d\d", str(trace(office)[-1][3]))
    for words, said in (
        (("user", "add", "CLAIRE", *LISTENER), "'CLAIRE': there is an account of this name"),
        (("user", "remove", "Bob"), "'Bob': no such account"),
        (("user", "reset", "Bob"), "'Bob': no such account"),
        (("token", "add", "claire", *LISTENER), "'claire': there is an account of this name"),
        (("token", "add", "d", *LISTENER, "--until", "2020-01-01"), "a token has to end in the future"),
        (("token", "revoke", "d"), "'d': no such token"),
    ):
        assert office.fails(1, *words) == f"sipagent: {said}\n"
        _, outcome, _, detail = trace(office)[-1]
        assert outcome == "refused" and detail and detail.endswith(said)
    (office.folder / "retention.db").write_bytes(b"damaged" * 1000)
    assert office.run("user", "remove", "Claire").code == 1
    assert [row["name"] for row in listed(office, "user")] == ["Claire"]
