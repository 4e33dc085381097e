"""`keys`: pairs are made, listed and rotated, and nobody's passphrase or key shows."""

import json
import stat
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from retention.vault import read_identity, read_public
from tests.kept import Paths
from tests.office import Office
from tests.sealing import PASSPHRASE, make_pair, make_sealed_office, name_recipients, sealed_call


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    """One recipient, `keys/recordings`, whose private key lies here."""
    return make_sealed_office(tmp_path, capsys)


def at_a_terminal(monkeypatch: pytest.MonkeyPatch, *typed: str) -> list[str]:
    """Somebody who types these, one at each prompt; the prompts are returned."""
    answers, prompts = iter(typed), list[str]()

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        return next(answers)

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(click.termui, "hidden_prompt_func", ask)
    return prompts


# --- new ---


def test_a_pair_beside_the_configuration(office: Office) -> None:
    (office.folder / "keys" / "recordings.key").unlink()
    (office.folder / "keys" / "recordings.pub").unlink()
    passphrase = office.folder / "passphrase"
    passphrase.write_text(f"{PASSPHRASE}\n")
    result = office.run("keys", "new", "--passphrase-file", passphrase, "--comment", "M. Durand")
    public, private = (office.folder / "keys" / f"recordings.{end}" for end in ("pub", "key"))
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(
        f"wrote {public}\nwrote {private}\nNext: name {public} in recording.recipients."
    )
    assert f"Move {private} to the machine of whoever listens" in result.out
    identity = read_identity(private, lambda: PASSPHRASE)
    assert identity.public == read_public(public) and identity.public.comment == "M. Durand"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert PASSPHRASE.encode() not in private.read_bytes()


def test_a_key_is_never_overwritten_and_nobody_asked_in_vain(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, asked = office.folder / "keys", at_a_terminal(monkeypatch)
    contents = {path.name: path.read_bytes() for path in keys.iterdir()}
    for there, content in contents.items():
        for name in contents:
            (keys / name).unlink(missing_ok=True)
        (keys / there).write_bytes(content)
        said = office.fails(1, "keys", "new")
        assert f"{there}: exists, and a key is never overwritten" in said
        assert asked == [] and (keys / there).read_bytes() == content


def test_a_new_passphrase_is_asked_for_twice(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = at_a_terminal(monkeypatch, PASSPHRASE, "typo", PASSPHRASE, PASSPHRASE)
    result = office.run("keys", "new", office.folder / "durand")
    assert result.code == 0 and PASSPHRASE not in result.out + result.err
    assert len(prompts) == 4 and f"{office.folder / 'durand.key'}" in prompts[0]
    assert read_identity(office.folder / "durand.key", lambda: PASSPHRASE)


# --- list ---


def listed(office: Office) -> list[dict[str, Any]]:
    result = office.run("keys", "list", "--json")
    assert result.code == 0
    rows: list[dict[str, Any]] = json.loads(result.out)
    return rows


def test_who_can_listen_and_to_how_much(office: Office) -> None:
    old, new = make_pair(office, "old"), make_pair(office, "new", PASSPHRASE)
    (office.folder / "keys" / "old.key").unlink()
    name_recipients(office, "recordings", "new")
    sealed_call(office, ["old"])
    sealed_call(office, ["recordings", "old"])
    first, second, third = listed(office)
    assert first == {
        "fingerprint": read_public(office.folder / "keys" / "recordings.pub").id,
        "comment": "recordings",
        "path": "keys/recordings.pub",
        "configured": True,
        "recordings": 1,
        "private_key": "keys/recordings.key",
        "protected": False,
        "problem": None,
    }
    assert (second["fingerprint"], second["recordings"], second["protected"]) == (new.id, 0, True)
    assert (third["fingerprint"], third["recordings"], third["private_key"]) == (old.id, 2, None)
    assert (third["path"], third["configured"]) == (None, False)
    lines = office.run("keys", "list").out.splitlines()
    assert "here: keys/recordings.key, no passphrase" in lines[1] and "here: keys/new.key" in lines[2]
    assert "not a recipient" in lines[3] and "elsewhere" in lines[3] and "problem" not in lines[0]


def test_a_recipient_that_cannot_be_read_and_a_key_that_is_nobodys_are_named(office: Office) -> None:
    rows = [sealed_call(office), sealed_call(office)]
    Paths(office.archive).key(rows[0].id).write_text("{")
    assert listed(office)[0]["recordings"] == 1  # a damaged one does not hide the others
    name_recipients(office, "recordings", "lost")
    lost = listed(office)[1]
    assert lost["path"] == "keys/lost.pub" and lost["fingerprint"] is None
    assert "lost.pub: No such file" in lost["problem"]
    assert "lost.pub: No such file" in office.run("keys", "list").out
    name_recipients(office, "recordings")
    stray = make_pair(office, "stray")
    make_pair(office, "nameless", PASSPHRASE)
    (office.folder / "keys" / "nameless.pub").unlink()
    strays = {row["private_key"]: row["fingerprint"] for row in listed(office) if not row["configured"]}
    assert strays == {"keys/stray.key": stray.id, "keys/nameless.key": None}


# --- rotate ---


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
    done = sealed_call(office)
    new = make_pair(office, "new")
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
    assert "Missing option '--identity'".lower() in office.fails(2, "keys", "rotate").lower()
    assert "no.key: No such file" in office.fails(1, "keys", "rotate", *identity(office, "no"))
    assert "has a passphrase; accepted" in office.fails(1, "keys", "rotate", *identity(office, "guarded"))
    wrong = office.folder / "wrong"
    wrong.write_text("not it")
    guarded = (*identity(office, "guarded"), "--passphrase-file", wrong)
    assert "wrong passphrase" in office.fails(1, "keys", "rotate", *guarded)
    name_recipients(office, "recordings", "lost")
    assert "lost.pub: No such file" in office.fails(1, "keys", "rotate", *identity(office))
    name_recipients(office)
    assert "nobody to seal to" in office.fails(1, "keys", "rotate", *identity(office))
    assert Paths(office.archive).key(row.id).read_bytes() == before
    assert office.archive.store.accesses() == []
