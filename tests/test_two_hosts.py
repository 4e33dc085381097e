"""Each command on two hosts that share database and store of objects: what one does the other sees."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import soundfile

from retention.records import Recording
from sipagent.check.hosts import host_findings
from sipagent.config.load import load
from tests.office import Office, stereo
from tests.pair import Pair, ids, make_pair_of, shared_call
from tests.peers.tsa import Authority
from tests.postgres import Server, fresh
from tests.s3 import Moto
from tests.sealed import tables

HOLD = ("--ground", "criminal", "--reference", "PV 7", "--approved-by", "B. Petit", "--review", "2027-06-01")
BY = ("--by", "A. Roux")
USE = ("--purpose", "quality", *BY)


@pytest.fixture
def pair(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], postgres: Server, moto: Moto, tsa: Authority
) -> Iterator[Pair]:
    with fresh(postgres, tables) as database:
        yield make_pair_of(tmp_path, capsys, database, moto, tsa)


@pytest.fixture
def rows(pair: Pair) -> list[Recording]:
    """One call of each host, and one of `a` that has expired."""
    return [shared_call(pair.a), shared_call(pair.b), shared_call(pair.a, ago=timedelta(days=300))]


def done(office: Office, *words: object) -> str:
    result = office.run(*words)
    assert (result.code, result.faults) == (0, []), result
    return result.out


def found(office: Office, what: str) -> list[str]:
    """What `check` says of it."""
    every = json.loads(office.run("check", "--json").out)
    return [f"{one['level']}: {one['detail']}" for one in every if one["what"] == what]


def of_hosts(office: Office) -> list[str]:
    """What `check` says of hosts."""
    every = host_findings(load(office.folder / "config.toml"))
    return [f"{one.level} {one.what}: {one.detail}" for one in every]


def renew(pair: Pair, postgres: Server) -> str:
    """Have both hosts use a new database, as after one was lost; where it is."""
    database = postgres.database(tables)
    old = next(
        line for line in (pair.a.folder / "config.toml").read_text().splitlines() if "postgresql:" in line
    )
    pair.configure(old, f'database = "{database}"')
    return database


def test_what_one_does_the_other_sees(pair: Pair, rows: list[Recording]) -> None:
    a, b = pair.a, pair.b
    mine, others, _ = rows
    for office in (a, b):
        assert ids(rows) == [one["id"] for one in json.loads(done(office, "list", "--json"))]
        assert len(json.loads(done(office, "calls", "--json"))) == 3
        assert json.loads(done(office, "stats", "--json"))["calls"] == 3
        done(office, "verify", "--deep")
    out = pair.folder / "copy.flac"
    done(b, "export", mine.id, *USE, *pair.key(), "--out", out)
    assert (soundfile.read(out, dtype="int16")[0] == stereo()).all()
    (pair.folder / "sheet.txt").write_text("Handled well.")
    done(a, "note", mine.id, *BY, "--text-file", pair.folder / "sheet.txt", "--yes")
    assert "Handled well." in done(b, "show", mine.id)
    done(b, "hold", mine.id, *HOLD, *BY)
    assert mine.id in done(a, "holds") and "on hold" in a.fails(
        1, "delete", mine.id, *BY, "--reason", "asked", "--yes"
    )
    done(a, "release", mine.id, *BY)
    assert "Nothing is on hold" in done(b, "holds")
    done(a, "delete", others.id, *BY, "--reason", "asked", "--yes")
    assert json.loads(done(b, "show", others.id, "--json"))["status"] == "purged"
    assert rows[2].id in done(b, "purge", "--dry-run", "--json")
    assert rows[2].id in done(b, "purge", "--json") and "Nothing to purge" in done(a, "purge")
    uses = [one["action"] for one in json.loads(done(b, "accesses", "--json"))]
    assert {"export", "note", "hold", "release", "delete"} <= set(uses)
    for office in (a, b):
        done(office, "verify", "--deep")


def test_keys_are_rotated_once_for_all(pair: Pair, rows: list[Recording]) -> None:
    pair.configure("keys/recordings.pub", "keys/second.pub")
    told = json.loads(done(pair.b, "keys", "rotate", *pair.key(), *BY, "--json"))
    assert sorted(told["sealed"]) == sorted(ids(rows)) and told["failed"] == []
    told = json.loads(done(pair.a, "keys", "rotate", *pair.key(), *BY, "--json"))
    assert (told["sealed"], told["already"]) == ([], 3)
    out = pair.folder / "copy.wav"
    assert "is not for recordings" in pair.a.fails(1, "export", rows[1].id, *USE, *pair.key(), "--out", out)
    done(pair.a, "export", rows[1].id, *USE, *pair.key("second"), "--out", out)
    done(pair.a, "verify", "--deep")


def test_a_lost_database_comes_back_from_the_bucket(
    pair: Pair, rows: list[Recording], postgres: Server
) -> None:
    """On whichever host; what was deleted does not. Until then `check` and `verify` say what to do."""
    kept, deleted, _ = rows
    done(pair.a, "hold", kept.id, *HOLD, *BY)
    done(pair.a, "delete", deleted.id, *BY, "--reason", "asked", "--yes")
    assert found(pair.b, "objects")[0].startswith("ok: ")
    renew(pair, postgres)
    for path in pair.b.folder.glob("*.head"):
        path.unlink()  # as on a host that is new
    lost = "has recordings, and no row tells of any: see `sipagent rebuild`"
    assert lost in pair.b.run("verify").out
    assert any(lost in said for said in found(pair.b, "objects"))
    told = json.loads(done(pair.b, "rebuild", *pair.key(), "--json"))
    assert sorted(told["restored"]) == sorted(ids([kept, rows[2]])) and told["held"] == [kept.id]
    assert json.loads(done(pair.a, "show", kept.id, "--json"))["caller"] == kept.caller
    assert not any(lost in said for said in found(pair.b, "objects"))
    done(pair.b, "verify", "--deep")
    assert json.loads(done(pair.a, "rebuild", "--json"))["known"] == 2
    done(pair.a, "verify")


def test_a_stamp_is_of_all_hosts(pair: Pair, rows: list[Recording], tmp_path: Path) -> None:
    """Also where no agent has run yet; a backup by any host has them, and so has the way back."""
    assert json.loads(done(pair.b, "stamp", "--list", "--json")) == []
    stamp = json.loads(done(pair.b, "stamp", "--json"))["stamp"]
    assert json.loads(done(pair.a, "stamp", "--list", "--json")) == [stamp]
    assert json.loads(done(pair.a, "verify", "--json"))["counts"]["stamps"] == 1
    assert found(pair.a, "stamps")[0].startswith(f"ok: the newest, of entry {stamp['seq']}, is from")
    made = Path(json.loads(done(pair.a, "backup", tmp_path / "backups", "--json"))["backup"])
    assert [path.name for path in (made / "stamps").iterdir()] == [stamp["file"]]
    assert not (pair.a.folder / "stamps" / stamp["file"]).exists()
    done(pair.a, "migrate", "--to", pair.a.folder / "retention.db", "--json")
    (back,) = (pair.a.folder / "stamps").iterdir()
    assert back.read_bytes() == (pair.b.folder / "stamps" / stamp["file"]).read_bytes()


def test_a_host_that_has_not_started_is_well(pair: Pair, rows: list[Recording]) -> None:
    """`check` makes nothing there, and calls nothing missing that this host never had."""
    (pair.b.folder / "shared.head").unlink()
    before = {path.name for path in pair.b.folder.iterdir()}
    assert found(pair.b, "chain") == ["ok: 10 entries, none of them written by this host"]
    assert found(pair.b, "cluster.journal") == [f"ok: {pair.b.folder / 'journal.db'} will be made"]
    assert {path.name for path in pair.b.folder.iterdir()} == before
    done(pair.b, "verify")


def test_without_a_store_of_objects_several_hosts_are_told(pair: Pair) -> None:
    """And where it comes later, what to do about keys that are files."""
    pair.configure(pair.objects, "")
    row = shared_call(pair.a)
    assert of_hosts(pair.a) == []
    pair.configure("[cluster]\n", f"{pair.objects}[cluster]\n")
    assert json.loads(done(pair.a, "show", row.id, "--json"))["caller"] == row.caller
    start = "accepted: start the agent, which brings them to the store"
    assert of_hosts(pair.a) == [f"error objects: keys of rows are files of this host alone; {start}"]
    (away,) = of_hosts(pair.b)
    assert away.startswith("error objects: keys of rows of host a: s3://")
    assert away.endswith("accepted: start its agent, if they are files there")


def test_a_backup_tells_of_passwords_that_are_not_in_it(pair: Pair, tmp_path: Path) -> None:
    password = pair.a.folder / "database-password"
    password.write_text("secret")
    pair.configure("[retention]\n", f'[retention]\ndatabase_password_file = "{password}"\n')
    shared_call(pair.a)
    told = json.loads(done(pair.a, "backup", tmp_path / "backups", "--json"))
    assert {str(password), str(pair.folder / "credentials")} <= set(told["not_in_it"])


def test_a_store_that_does_not_answer_is_one_line(pair: Pair) -> None:
    """Rows of whose persons nothing is asked are told; nothing is taken for missing."""
    row = shared_call(pair.a)
    endpoint = next(line for line in pair.objects.splitlines() if line.startswith("endpoint"))
    pair.configure(endpoint, 'endpoint = "http://127.0.0.1:1"')
    for words in (
        *(["list"], ["show", row.id], ["verify"], ["rebuild"], ["keys", "list"]),
        ["export", row.id, *USE, *pair.key(), "--out", pair.folder / "copy.flac"],
        ["hold", row.id, *HOLD, *BY],
        ["delete", row.id, *BY, "--reason", "asked", "--yes"],
    ):
        assert "the object store does not answer" in pair.b.fails(1, *words)
    assert "Nothing is on hold" in done(pair.b, "holds")
    stamped = json.loads(done(pair.b, "stamp", "--json"))["stamp"]
    assert json.loads(done(pair.a, "stamp", "--list", "--json")) == [stamped]
