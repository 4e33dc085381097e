"""`migrate`, as it is typed: into a database that hosts share, and back."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from retention.recording import to_text
from retention.storage.files import alone
from sipagent.agent.recorder.stored import archive_of, store_of
from sipagent.config.load import load
from tests.kept import Paths, bytes_under
from tests.moving import entries
from tests.office import CONFIG, PARIS, Office, make_office
from tests.postgres import Server


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    (tmp_path / "office").mkdir()
    return make_office(tmp_path / "office", capsys)


def write(office: Office, more: str) -> None:
    (office.folder / "config.toml").write_text(CONFIG + more)


def test_into_a_shared_database_and_back(office: Office, database: str) -> None:
    row = office.call()
    earlier = office.call(ago=timedelta(hours=2))
    chain = entries(office.folder / "retention.db")
    result = office.run("migrate", "--to", database, "--by", "A. Roux", "--json")
    assert (result.code, result.err) == (0, ""), result
    told = json.loads(result.out)
    assert told["rows"]["recordings"] == 2 and told["head"]["seq"] == len(chain)
    assert told["remove_by"] == to_text(earlier.expires_at)
    assert told["left"] == str(office.folder / "retention.db")
    write(office, told["configuration"])
    assert load(office.folder / "config.toml").cluster is not None
    result = office.run("verify")
    assert (result.code, result.err) == (0, ""), result
    assert row.id in office.run("list").out
    assert row.caller and row.caller in office.run("show", row.id).out.replace("\u00a0", "").replace(" ", "")
    back = office.run("migrate", "--to", office.folder / "again.db", "--json")
    assert (back.code, back.err) == (0, ""), back
    told = json.loads(back.out)
    assert "# and without cluster" in told["configuration"]
    write(office, told["configuration"])
    assert office.run("verify").code == 0
    assert entries(office.folder / "again.db")[: len(chain)] == chain


def test_it_says_what_to_write_and_what_to_do_with_what_is_left(office: Office, database: str) -> None:
    row = office.call()
    result = office.run("migrate", "--to", database)
    assert (result.code, result.err) == (0, ""), result
    assert f"{database}: 2 rows, " in result.out
    assert "All of it was compared: it is as it is here." in result.out
    assert f'[retention]\ndatabase = "{database}"' in result.out
    assert '[cluster]\nhost = "a"\njournal = "journal.db"' in result.out
    until = f"{row.expires_at.astimezone(PARIS):%Y-%m-%d}"
    assert f"By {until}" in result.out
    assert (office.folder / "config.toml").read_text() == CONFIG
    again = office.run("migrate", "--to", database)
    assert again.code == 0 and "It is all in" in again.out
    assert "its rows have moved to" in office.fails(1, "backup", office.folder / "copies")


def test_an_agent_that_runs_is_told(office: Office, database: str) -> None:
    office.call()
    with alone(load(office.folder / "config.toml").places.lock):
        assert "retention.lock: an agent is running" in office.fails(1, "migrate", "--to", database)


def test_what_is_typed_wrongly(office: Office, database: str) -> None:
    assert "there is no database yet" in office.fails(1, "migrate", "--to", database)
    office.call()
    assert "--to, --objects or both are needed" in office.fails(2, "migrate")
    assert "is not a postgresql URL" in office.fails(2, "migrate", "--to", "mysql://there/x")
    said = office.fails(1, "migrate", "--to", office.folder / "other.db")
    assert "the rows are in a file of this machine already; accepted: postgresql://" in said
    assert "objects.url" in office.fails(2, "migrate", "--to", database, "--objects", "s3://calls/a")
    assert "up to 16 small letters" in office.fails(2, "migrate", "--to", database, "--host", "Host 1")


def test_a_database_that_does_not_answer(office: Office) -> None:
    office.call()
    said = office.fails(1, "migrate", "--to", "postgresql://127.0.0.1:1/none")
    assert "the shared database does not answer" in said
    assert not (office.folder / "retention.moved").exists()
    assert office.run("verify").code == 0


def test_a_path_where_something_is(office: Office, database: str) -> None:
    office.call()
    write(office, json.loads(office.run("migrate", "--to", database, "--json").out)["configuration"])
    said = office.fails(1, "migrate", "--to", office.folder / "retention.db")
    assert "retention.db: is there already; accepted: a path where nothing is" in said


def test_who_called_is_nowhere_in_clear_in_the_bytes_of_the_server(
    office: Office, postgres: Server, database: str
) -> None:
    """Neither in its tables nor in its log of what is written."""
    caller, operator = "+33698765401", "sip:elodie.moreau@pbx.example.net"
    row = office.call(caller=caller, operator=operator)
    write(office, json.loads(office.run("migrate", "--to", database, "--json").out)["configuration"])
    config = load(office.folder / "config.toml")
    with store_of(config) as store:
        assert store.recording(row.id).caller == caller
        assert Paths(archive_of(config, store)).file(row.id) is not None
    postgres.checkpoint()
    there = bytes_under(postgres.data)
    assert row.id.encode() in there
    assert caller.encode() not in there and b"elodie.moreau" not in there
