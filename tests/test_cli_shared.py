"""Commands where hosts share a database: what each does, and what it says in place of what it cannot do."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from retention.records import Recording
from tests.moving import entries
from tests.office import CONFIG, Office, make_office


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    (tmp_path / "office").mkdir()
    return make_office(tmp_path / "office", capsys)


@pytest.fixture
def rows(office: Office, database: str) -> list[Recording]:
    """Three calls, the last of which has expired, moved into the shared database."""
    ended = timedelta(days=300)
    made = [office.call(), office.call(ago=timedelta(hours=2)), office.call(ago=ended)]
    told = json.loads(office.run("migrate", "--to", database, "--json").out)
    (office.folder / "config.toml").write_text(CONFIG + told["configuration"])
    for left in ("retention.db", "retention.moved"):
        (office.folder / left).unlink()
    return made


def done(office: Office, *words: object) -> str:
    result = office.run(*words)
    assert (result.code, result.faults) == (0, []), result
    return result.out


def test_a_backup_is_put_back_into_a_database_of_its_own(
    office: Office, rows: list[Recording], tmp_path: Path
) -> None:
    """With what led to a person, and the chain entry for entry."""
    made = json.loads(done(office, "backup", tmp_path / "backups", "--json"))
    backup = Path(made["backup"])
    assert made["recordings"] == 3
    assert (backup / "retention.head").exists()
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
    done(other, "verify")


def test_a_database_that_does_not_answer_is_one_line(office: Office) -> None:
    away = '[retention]\ndatabase = "postgresql://127.0.0.1:1/none"\n[cluster]\nhost = "a"\n'
    (office.folder / "config.toml").write_text(CONFIG + away)
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
