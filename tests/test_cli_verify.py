"""`verify`: whatever somebody does to what is kept, one line names it, and the exit code is 1."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from retention.records import Note, Recording, new_id
from retention.rows.chain import TABLES
from tests.kept import CALLER, START, Paths
from tests.office import Office, make_office
from tests.peers.tsa import Authority
from tests.sealing import make_sealed_office, sealed_call
from tests.tampering import sql, sum_of

HOLD = (
    "--ground",
    "criminal",
    "--reference",
    "R1",
    "--by",
    "A",
    "--approved-by",
    "B",
    "--review",
    "2999-01-01",
)
PUT = (("purpose", "accesses"), ("text", "notes"), ("outcome", "receipts"), ("flagged", "recordings"))


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_office(tmp_path, capsys)


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


def test_all_is_well(office: Office, row: Recording) -> None:
    result = office.run("verify")
    assert (result.code, result.err) == (0, "")
    head = office.archive.store.head()
    shown = dict(line.strip().split(maxsplit=1) for line in result.out.splitlines()[:10])
    assert shown == {
        "chain": str(head.seq),
        "receipts": "3",
        "recordings": "3",
        "accesses": "1",
        "notes": "1",
        "sums": "0",
        "approvals": "0",
        "files": "3",
        "stamps": "0",
        "head": str(head.seq),
    }
    assert f" {head.hash}\n" in result.out
    assert result.out.endswith("\n\nAll of it is as it was written.\n")
    assert json.loads(office.run("verify", "--json").out) == {
        "problems": [],
        "lost": [],
        "counts": {**{name: int(shown[name]) for name in shown if name != "head"}},
        "head": {"seq": head.seq, "hash": head.hash},
    }


@pytest.mark.parametrize(("column", "table"), PUT)
def test_a_changed_value_in_each_table(office: Office, row: Recording, column: str, table: str) -> None:
    key = "id" if table in ("receipts", "recordings") else "recording_id"
    sql(office.archive, f"UPDATE {table} SET {column} = 1 WHERE {key} = '{row.id}'")
    kind = next(kind for kind, name in TABLES.items() if name == table)
    (line,) = problems(office)
    assert line.startswith(f"{kind} {row.id if key == 'id' else 1}: ")
    named = "what leads to a person was changed in it" if column == "text" else f"{column} is "
    assert named in line


def test_a_changed_entry_of_the_chain(office: Office, row: Recording) -> None:
    sql(office.archive, "UPDATE chain SET at = '2020-01-01T00:00:00.000Z' WHERE seq = 4")
    (line,) = problems(office)
    assert line == "chain entry 4: its hash is not that of its content behind the one before"


@pytest.mark.parametrize("table", ["receipts", "accesses", "notes"])
def test_a_dropped_row(office: Office, row: Recording, table: str) -> None:
    key = "id" if table == "receipts" else "recording_id"
    sql(office.archive, f"DELETE FROM {table} WHERE {key} = '{row.id}'")
    (line,) = problems(office)
    kind = next(kind for kind, name in TABLES.items() if name == table)
    assert line.startswith(f"{kind} ") and "gone; entry " in line


def test_a_dropped_recording_leaves_its_files(office: Office, row: Recording) -> None:
    sql(office.archive, f"DELETE FROM recordings WHERE id = '{row.id}'")
    first, *files = problems(office)
    assert first.startswith(f"recording {row.id}: gone; entry ")
    assert files == [f"{row.id}.{end}: no row in the database" for end in ("flac", "json")]


def test_a_tail_cut_off(office: Office, row: Recording) -> None:
    """With all that it told of: the exported head shows it, and a copy of that where it was cut as well."""
    kept = office.archive
    copy = office.folder / "elsewhere.head"
    copy.write_bytes((office.folder / "retention.head").read_bytes())
    last = kept.store.head().seq
    sql(kept, f"DELETE FROM chain WHERE seq = {last}", "DELETE FROM notes")
    cut = f"the chain has no entry {last} with this hash: its tail was cut off"
    assert problems(office) == [f"retention.head: {cut}"]
    head = office.archive.store.head()
    (office.folder / "retention.head").write_text(json.dumps({"seq": head.seq, "hash": head.hash}))
    assert office.run("verify").code == 0
    assert problems(office, "--head", copy) == [f"{copy}: {cut}"]


def test_a_row_put_back_to_an_earlier_state(office: Office, row: Recording) -> None:
    """A hold that never was: row, salt and JSON as they were before it."""
    kept = office.archive
    (before,) = kept.store._read("SELECT * FROM recordings WHERE id = ?", [row.id])
    told = Paths(kept).metadata(row.id).read_bytes()
    assert office.run("hold", row.id, *HOLD).code == 0
    seq, salt = before["chain_seq"], before["salt"]
    sql(kept, f"UPDATE recordings SET hold = NULL, chain_seq = {seq}, salt = '{salt}' WHERE id = '{row.id}'")
    Paths(kept).metadata(row.id).write_bytes(told)
    lines = problems(office)
    assert f"recording {row.id}: put back to an earlier state, that of entry {seq}" in lines
    assert all(line.startswith(f"recording {row.id}: ") for line in lines)


def test_files(office: Office, row: Recording) -> None:
    kept = office.archive
    sound = Paths(kept).final(row.id, "flac")
    content = sound.read_bytes()
    sound.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert problems(office) == [f"{sound.name}: its hash is not that of the file that was recorded"]
    sound.unlink()
    assert problems(office) == [f"{row.id}: the file of a closed recording is missing"]
    sound.write_bytes(content)
    for name, problem in (("notes.txt", "not a file of the agent"), (f"{new_id(START)}.flac", "no row in")):
        stray = Paths(kept).recordings / name
        stray.touch()
        (line,) = problems(office)
        assert line.startswith(f"{name}: {problem}")
        stray.unlink()
    Paths(kept).metadata(row.id).unlink()
    assert problems(office) == [f"{row.id}.json: the metadata of a closed recording is missing"]


def test_a_file_that_cannot_be_read_does_not_end_it(
    office: Office, row: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def worn_out(path: Path, *words: object, **more: object) -> object:
        if path.name == f"{row.id}.flac":
            raise OSError(5, "Input/output error", str(path))
        return opened(path, *words, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", worn_out)
    assert problems(office) == [f"{row.id}.flac: cannot be read: Input/output error"]


def test_metadata_that_rebuild_would_believe(office: Office, row: Recording) -> None:
    path = Paths(office.archive).metadata(row.id)
    told = json.loads(path.read_text())
    path.write_text(json.dumps(told | {"expires_at": "2999-01-01T00:00:00.000Z", "caller": None}))
    assert problems(office) == [f"{row.id}.json: says otherwise than the database: caller, expires_at"]
    path.write_text("{")
    assert problems(office) == [f"{row.id}.json: not readable"]
    path.write_text(json.dumps(told | {"path": "where/it/lay/before.flac"}))
    assert office.run("verify").code == 0


def test_sealed_recordings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    office = make_sealed_office(tmp_path, capsys)
    row, held = sealed_call(office), sealed_call(office)
    assert office.run("hold", held.id, *HOLD).code == 0
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


def test_receipts_that_were_lost_are_told_of(office: Office) -> None:
    """No fault of what is there, so no problem: the chain itself says what there is not."""
    office.archive.store.add_sum(replace(sum_of(41), what="lost"))
    result = office.run("verify")
    assert result.code == 0 and "Lost, as the chain says itself:" in result.out
    assert (
        "41 could not be written, between 2026-11-24T22:20:00.123Z and 2026-11-24T22:20:00.123Z" in result.out
    )
    (lost,) = json.loads(office.run("verify", "--json").out)["lost"]
    assert lost["where"] == "receipts"


def test_what_was_lost_with_a_database_is_shown_apart(office: Office, row: Recording) -> None:
    last = office.archive.store.head().seq
    (office.folder / "retention.db").unlink()
    assert "retention.db is missing, and what it held with it; see `sipagent rebuild`" in office.fails(
        1, "verify"
    )
    assert office.run("rebuild").code == 0
    result = office.run("verify")
    assert result.code == 0 and "Lost, as the chain says itself:" in result.out
    assert f"entries 1 to {last} are lost: the database was lost" in result.out
    shown = json.loads(office.run("verify", "--json").out)
    assert shown["problems"] == [] and len(shown["lost"]) == 1


def test_nothing_to_verify(office: Office) -> None:
    assert "there is no database yet, and nothing to verify" in office.fails(1, "verify")
    assert not (office.folder / "retention.db").exists()
    office.call()
    missing = office.folder / "no.head"
    assert "no.head' does not exist" in office.fails(2, "verify", "--head", missing)
    missing.write_text("nonsense")
    assert problems(office, "--head", missing) == [f"{missing}: not the head of a chain"]


def test_a_long_walk_shows_how_far_it_is(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    office.call()
    monkeypatch.setattr("sipagent.cli.verify._LONG", 1)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "files" in office.run("verify").err
    assert "\x1b" not in office.run("verify", "--json").out


def test_stamps(tmp_path: Path, capsys: pytest.CaptureFixture[str], tsa: Authority) -> None:
    office = make_office(tmp_path, capsys)
    config = tmp_path / "config.toml"
    named = f'[retention]\ntimestamp_url = "{tsa.url}"\ntimestamp_ca = "tsa/ca.pem"\n'
    plain = config.read_text()
    config.write_text(plain + named)
    office.call()
    office.run("stamp")
    first = office.archive.store.head().seq
    office.call()
    office.run("stamp")
    assert json.loads(office.run("verify", "--json").out)["counts"]["stamps"] == 2
    other = tmp_path / "stamps" / f"{first - 1}.tsr"
    other.write_bytes((tmp_path / "stamps" / f"{first}.tsr").read_bytes())
    (line,) = problems(office)
    assert line.startswith(f"stamp {other.name}: ")
    other.unlink()
    config.write_text(plain)
    (line,) = problems(office)
    assert line.startswith("stamp stamps: 2 not checked: retention.timestamp_ca names no certificates")
    config.write_text(plain + named)
    (tmp_path / "retention.db").unlink()
    office.run("rebuild")
    shown = json.loads(office.run("verify", "--json").out)
    assert shown["problems"] == [] and len(shown["lost"]) == 3  # the entries, and two stamps of them
