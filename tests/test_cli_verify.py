"""`verify`, where each problem is one line and the exit code 1; `stamp`. The findings: `test_verify`."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retention import stamps
from retention.records import Note, Recording, new_id, reference_of
from retention.roots import make_root
from tests.kept import CALLER, START, Paths
from tests.office import CONFIG, Office, make_office
from tests.peers.tsa import NAME, Answer, Authority
from tests.sealing import make_sealed_office, sealed_call
from tests.tampering import sql

HOLD = ("--ground", "criminal", "--reference", "R1", "--approved-by", "B", "--review", "2999-01-01")


@pytest.fixture
def row(office: Office) -> Recording:
    """One among others, with something in every table."""
    rows = [office.call(timedelta(hours=hours)) for hours in (3, 2, 1)]
    row = rows[1]
    out = office.folder / "copy.wav"
    office.run("export", row.id, "--purpose", "quality", "--by", "Petit", "--out", out)
    note = Note(recording_id=row.id, at=START, by="Petit", text="good", expires_at=row.expires_at)
    office.archive.store.add_note(note)
    assert office.run("verify").code == 0
    return row


def problems(office: Office, *words: object) -> list[str]:
    """What it finds, once as JSON and once as a table: one line each, both exit codes 1."""
    result, shown = office.run("verify", *words, "--json"), office.run("verify", *words)
    found = json.loads(result.out)["problems"]
    assert (result.code, shown.code) == (1, 1) and result.err == shown.err == "", shown.err
    lines = shown.out.splitlines()
    for problem in found:
        named = [line for line in lines if line.startswith(problem["where"]) and problem["problem"] in line]
        assert len(named) == 1
    assert f"{len(found)} problem" in shown.out and "as it was written" not in shown.out
    return [f"{problem['where']}: {problem['problem']}" for problem in found]


def test_every_problem_is_one_line(office: Office, row: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that cannot be read does not end it; nor does metadata, which `rebuild` would believe."""
    path, opened = Paths(office.archive).metadata(row.id), Path.open
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"path": "where/it/lay/before.flac"}))
    assert office.run("verify").code == 0
    path.write_text(json.dumps(told | {"expires_at": "2999-01-01T00:00:00.000Z", "caller": None}))
    assert problems(office) == [f"{row.id}.json: says otherwise than the database: caller, expires_at"]
    path.write_text("{")

    def worn_out(path: Path, *words: object, **more: object) -> object:
        if path.name == f"{row.id}.flac":
            raise OSError(5, "Input/output error", str(path))
        return opened(path, *words, **more)  # type: ignore[call-overload]

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", worn_out)
        unread = [f"{row.id}.flac: cannot be read: Input/output error", f"{row.id}.json: not readable"]
        assert sorted(problems(office)) == unread
    path.write_text(json.dumps(told))
    sql(
        office.archive,
        f"UPDATE receipts SET outcome = 1 WHERE id = '{row.id}'",
        "UPDATE notes SET text = 1",
        "UPDATE chain SET at = '2020-01-01T00:00:00.000Z' WHERE seq = 4",
        "DELETE FROM accesses",
        f"DELETE FROM recordings WHERE id = '{row.id}'",
    )
    entry, *lines = problems(office)
    assert entry == "chain entry 4: its hash is not that of its content behind the one before"
    rows = (f"receipt {row.id}", f"recording {row.id}", "access 1", "note 1")
    assert {line.partition(": ")[0] for line in lines} == {*rows, f"{row.id}.flac", f"{row.id}.json"}
    assert f"{row.id}.json: no row in the database" in lines and len(lines) == 6
    said = "\n".join(lines)
    assert "gone; entry " in said and "note 1: what leads to a person was changed in it" in said


def test_sealed_recordings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    office = make_sealed_office(tmp_path, capsys)
    row, held = sealed_call(office), sealed_call(office)
    assert office.run("hold", held.id, "--by", "A", *HOLD).code == 0
    assert office.run("verify").code == 0
    key = Paths(office.archive).key(row.id)
    content = key.read_bytes()
    key.unlink()
    assert problems(office) == [f"{row.id}.sealed: its key is missing from the vault: nobody can open it"]
    key.write_bytes(content[:-20])
    assert problems(office) == [f"vault/{row.id}.key: is not the sealed key of {row.id}, or damaged"]
    key.write_bytes(content)
    stray = key.with_name(f"{new_id(START)}.key")
    stray.touch()
    assert problems(office) == [f"vault/{stray.name}: no row in the database"]
    stray.unlink()
    path = Paths(office.archive).metadata(row.id)
    told = json.loads(path.read_text())
    assert told["caller"] is None and "sealed" in told
    path.write_text(json.dumps(told | {"caller": CALLER}))
    assert problems(office) == [f"{row.id}.json: says otherwise than the database: caller"]


def test_what_was_lost_with_a_database_is_shown_apart(office: Office, row: Recording) -> None:
    last, head = office.archive.store.head().seq, office.folder / "no.head"
    assert "no.head' does not exist" in office.fails(2, "verify", "--head", head)
    head.write_text("nonsense")
    assert problems(office, "--head", head) == [f"{head}: not the head of a chain"]
    (office.folder / "retention.db").unlink()
    missing = "retention.db is missing, and what it held with it; see `sipagent rebuild`"
    assert missing in office.fails(1, "verify")
    assert office.run("rebuild").code == 0
    result = office.run("verify")
    assert result.code == 0 and "Lost, as the chain says itself:" in result.out
    assert f"entries 1 to {last} are lost: the database was lost" in result.out
    shown = json.loads(office.run("verify", "--json").out)
    assert shown["problems"] == [] and len(shown["lost"]) == 1


def test_nothing_to_verify_and_a_long_walk(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "there is no database yet, and nothing to verify" in office.fails(1, "verify")
    assert not (office.folder / "retention.db").exists()
    office.call()
    monkeypatch.setattr("sipagent.cli.verify._LONG", 1)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "files" in office.run("verify").err
    assert "\x1b" not in office.run("verify", "--json").out


# --- stamps ---


@pytest.fixture
def stamped(tmp_path: Path, capsys: pytest.CaptureFixture[str], tsa: Authority) -> Office:
    """An office whose authority is the one on loopback."""
    office = make_office(tmp_path, capsys)
    with (tmp_path / "config.toml").open("a") as file:
        file.write(f'[retention]\ntimestamp_url = "{tsa.url}"\ntimestamp_ca = "tsa/ca.pem"\n')
    return office


def test_the_head_is_stamped_and_only_once(
    stamped: Office, tsa: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stamped.run("stamp", "--list").out == "No stamps.\n"
    assert "there is no database yet" in stamped.fails(1, "stamp")
    assert not (stamped.folder / "retention.db").exists()
    stamped.call()
    head = stamped.archive.store.head()
    first = stamped.run("stamp")
    assert first.code == 0 and first.out.startswith(f"stamped entry {head.seq}: 20")
    assert first.out.endswith(f", {NAME}\n")
    again = stamped.run("stamp").out
    assert again.startswith(f"the head has not moved since the stamp of entry {head.seq}: 20")
    shown = json.loads(stamped.run("stamp", "--json").out)
    assert shown["stamp"].pop("at").endswith(".000Z")
    kept = {"file": f"{head.seq}.tsr", "seq": head.seq, "hash": head.hash, "authority": NAME}
    assert shown == {"stamped": False, "stamp": kept}
    stamped.call()
    assert json.loads(stamped.run("stamp", "--json").out)["stamped"] is True
    (stamped.folder / "stamps" / "1.tsr").write_text("nothing")
    headings, newest, _, oldest = stamped.run("stamp", "--list").out.splitlines()
    assert headings.split() == ["file", "at", "authority", "hash"]
    assert newest.startswith(f"{stamped.archive.store.head().seq}.tsr") and NAME in newest
    assert oldest.startswith("1.tsr") and oldest.endswith("is not a time stamp response")
    _, one, other = json.loads(stamped.run("stamp", "--list", "--json").out)
    one.pop("at")
    assert (one, other) == (kept, {"file": "1.tsr", "problem": "is not a time stamp response"})
    stamped.call()
    tsa.answer = lambda query: Answer(status=503)
    assert stamped.fails(1, "stamp") == f"sipagent: {tsa.url}: HTTP 503\n"
    monkeypatch.setattr(stamps, "find_spec", lambda name: None)
    for words in (["stamp"], ["stamp", "--list"]):
        assert "pip install 'sipagent[timestamp]'" in stamped.fails(1, *words)
    (stamped.folder / "config.toml").write_text(CONFIG)
    absent = "retention.timestamp_url: absent; accepted: the URL of an RFC 3161 authority"
    assert absent in stamped.fails(2, "stamp")


def test_a_caller_gets_a_receipt_and_anybody_checks_it(office: Office) -> None:
    call = office.call()
    reference, out = reference_of(call.id), office.folder / "receipt.json"
    assert office.fails(1, "receipt", reference).startswith(f"sipagent: {call.id}: the root of its day")
    assert office.run("receipt", "roots").out.startswith("No roots yet")
    root = make_root(office.archive.store, datetime.now(UTC) + timedelta(days=1))
    assert root is not None
    published = office.folder / "roots" / f"{root.date}.json"
    assert office.run("receipt", reference, "--out", out, "--by", "Petit").out == (
        f"{out}, for the root of {root.date}\n"
    )
    assert f"{out} exists; --force replaces it" in office.fails(1, "receipt", reference, "--out", out)
    assert json.loads(office.run("receipt", call.id).out)["entry"]["subject"] == call.id
    uses = [(one.action, one.outcome, one.by) for one in office.archive.store.accesses(call.id)]
    assert uses == [("receipt", "refused", None), ("receipt", "done", "Petit"), ("receipt", "done", None)]
    (listed,) = json.loads(office.run("receipt", "roots", "--json").out)
    assert (listed["root"], listed["file"], listed["stamped"]) == (root.root, published.name, False)
    (office.folder / "config.toml").unlink()  # who checks has none
    (office.folder / "retention.db").unlink()
    told = office.run("receipt", "verify", out, "--root", published)
    assert told.code == 0 and "nothing of it was changed since" in told.out and call.id in told.out
    assert json.loads(office.run("receipt", "verify", out, "--root", published, "--json").out)["decision"]
    published.write_text(published.read_text().replace(root.root, "0" * 64))
    assert "one of them was changed" in office.fails(1, "receipt", "verify", out, "--root", published)
    assert "is not of the form sipagent-root-1" in office.fails(1, "receipt", "verify", out, "--root", out)
    (none := office.folder / "none.json").write_text("a letter")
    said = f"sipagent: {none}\u00a0: n’est pas de la forme sipagent-receipt-1\n"
    assert office.fails(1, "receipt", "verify", none, "--root", out, "--lang", "fr") == said
    assert "does not exist" in office.fails(2, "receipt", "verify", out, "--root", "none.json")


def test_a_root_of_another_chain_is_one_line(office: Office) -> None:
    office.call()
    later = datetime.now(UTC) + timedelta(days=1)
    root = make_root(office.archive.store, later)
    assert root is not None and office.run("verify").code == 0
    path = office.folder / "roots" / f"{root.date}.json"
    path.write_text(path.read_text().replace(root.root, "0" * 64))
    longer = root.to_json() | {"date": "2999-01-01", "size": root.size + 1}
    (path.parent / "2999-01-01.json").write_text(json.dumps(longer))
    (path.parent / "2999-01-02.json").write_text("{}")
    assert [one.partition(": ")[0] for one in problems(office)] == [
        "root 2999-01-02.json",
        f"root {root.date}.json",
        "root 2999-01-01.json",
    ]
