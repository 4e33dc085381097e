"""`migrate`, as it is typed: into a database that hosts share, and back."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from secrets import token_hex

import pytest

from retention.files import alone
from retention.journal import Journal
from retention.postgres.store import SealedStore
from retention.recording_files import FileKind
from retention.records import Host, Recording
from retention.vault import public_line
from sipagent.agent.stored import archive_of, store_of
from sipagent.config.load import load
from tests import tiers
from tests.kept import START, Paths, bytes_under, keep_by, receipt, recording
from tests.moving import ANN, entries
from tests.office import CONFIG, Office, make_office
from tests.postgres import Server
from tests.s3 import REGION, Moto, Weed
from tests.tampering import HOLD


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    (tmp_path / "office").mkdir()
    return make_office(tmp_path / "office", capsys)


def write(office: Office, more: str) -> None:
    (office.folder / "config.toml").write_text(CONFIG + more)


def test_what_is_typed_wrongly(office: Office, database: str) -> None:
    assert "there is no database yet" in office.fails(1, "migrate", "--to", database)
    office.call()
    assert "--to is needed" in office.fails(2, "migrate")
    said = office.fails(2, "migrate", "--objects", "s3://calls/a")
    assert "--to is needed; into a store alone files go by themselves, once [objects] names it" in said
    assert "is not a postgresql URL" in office.fails(2, "migrate", "--to", "mysql://there/x")
    said = office.fails(1, "migrate", "--to", office.folder / "other.db")
    assert "the rows are in a file of this machine already; accepted: postgresql://" in said
    assert "objects.url" in office.fails(2, "migrate", "--to", database, "--objects", "s3://calls/a")
    assert "up to 16 small letters" in office.fails(2, "migrate", "--to", database, "--host", "Host 1")
    with alone(load(office.folder / "config.toml").places.lock):
        assert "retention.lock: an agent is running" in office.fails(1, "migrate", "--to", database)
    said = office.fails(1, "migrate", "--to", "postgresql://127.0.0.1:1/none")
    assert "the shared database does not answer" in said
    assert not (office.folder / "retention.moved").exists()
    assert office.run("verify").code == 0
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


# with a store of objects


@pytest.fixture(params=tiers.first("moto", "weed"))
def objects(request: pytest.FixtureRequest) -> Moto | Weed:
    store: Moto | Weed = request.getfixturevalue(request.param)
    return store


def sealed_call(office: Office, minutes: int) -> Recording:
    """A closed recording that is sealed, to a key beside the configuration."""
    kept = office.archive
    row = recording(minutes, expires_at=START + timedelta(days=4000))
    kept.vault.create(row.id, [ANN.public])
    return keep_by(kept, row, FileKind.SEALED, b"sealed " + row.id.encode())


def test_recordings_and_keys_go_into_a_store_of_objects_and_come_back(
    office: Office, database: str, objects: Moto | Weed
) -> None:
    (office.folder / "ann.pub").write_text(public_line(ANN.public))
    recipients = '[recording]\nrecipients = ["ann.pub"]\n'
    write(office, recipients)
    rows = [sealed_call(office, number) for number in range(3)]
    office.archive.change(replace(rows[1], hold=HOLD))
    chain = entries(office.folder / "retention.db")
    before = {path: path.read_bytes() for path in (office.folder / "recordings").iterdir()}
    name = objects.bucket(f"moving-{token_hex(4)}")
    where = ["--endpoint", objects.endpoint, "--region", REGION]
    where += ["--credentials-file", str(objects.credentials_file(office.folder))]
    result = office.run("migrate", "--to", database, "--objects", f"s3://{name}/calls", *where, "--json")
    assert (result.code, result.err) == (0, ""), result
    assert json.loads(result.out)["recordings"] == 3
    versions = objects.versions(name)
    there = {one.removeprefix("calls/"): content for (one, _), content in versions.items()}
    assert len(versions) == len(there)  # each was put once
    for row in rows:
        assert there[f"recordings/{row.id}.sealed"] == b"sealed " + row.id.encode()
        assert there[f"vault/{row.id}.key"] == (office.folder / "vault" / f"{row.id}.key").read_bytes()
    assert [one for one in there if one.startswith("rows/")]
    assert {path: path.read_bytes() for path in (office.folder / "recordings").iterdir()} == before
    assert not (office.folder / "moving").exists()
    write(office, recipients + json.loads(result.out)["configuration"])
    for path in before:
        path.unlink()  # as whoever sends up what lies here does, where it is up
    for row in rows:
        (office.folder / "vault" / f"{row.id}.key").unlink()
    verified = office.run("verify")
    assert (verified.code, verified.err) == (0, ""), verified
    back = office.run("migrate", "--to", office.folder / "again.db", "--json")
    assert (back.code, back.err) == (0, ""), back
    assert {path: path.read_bytes() for path in (office.folder / "recordings").iterdir()} == before
    write(office, recipients + json.loads(back.out)["configuration"])
    assert office.run("verify").code == 0
    assert entries(office.folder / "again.db")[: len(chain)] == chain


# back, from a database that others use


def test_it_does_not_leave_a_database_that_hosts_are_at_work_on(office: Office, database: str) -> None:
    office.call()
    write(office, json.loads(office.run("migrate", "--to", database, "--json").out)["configuration"])
    config = load(office.folder / "config.toml")
    back = ("migrate", "--to", office.folder / "again.db")
    with store_of(config) as store:
        assert isinstance(store, SealedStore)
        until = store.now() + timedelta(hours=1)
        host = Host(host="b", version="1", journal="jb", seen_at=store.now(), lease_until=until)
        store.keep_host(host)
        assert "host b runs; accepted: all of them stopped" in office.fails(1, *back)
        store.keep_host(replace(host, lease_until=store.now() - timedelta(hours=1), lag_rows=3))
        assert "host b has rows that are not here yet (3)" in office.fails(1, *back)
        store.keep_host(replace(host, lease_until=None))
    with Journal(config.database) as journal:
        journal.add_receipt(receipt(recording(9)))
    assert "journal.db has rows that are not there yet (" in office.fails(1, *back)
    assert not (office.folder / "again.db").exists()
    assert office.run("verify").code == 0
