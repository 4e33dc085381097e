"""Each command on two hosts that share database and store of objects: what one does the other sees."""

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import soundfile

from retention.records import Recording
from sipagent.check.hosts import host_findings
from sipagent.config.load import load
from sipagent.service.control import Orders
from sipagent.service.rules import today_read
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


def told(office: Office, *words: object) -> Any:
    return json.loads(done(office, *words, "--json"))


def found(office: Office, what: str) -> list[str]:
    """What `check` says of it."""
    every = json.loads(office.run("check", "--json").out)
    return [f"{one['level']}: {one['detail']}" for one in every if one["what"] == what]


def test_what_one_does_the_other_sees(pair: Pair, rows: list[Recording]) -> None:
    a, b = pair.a, pair.b
    mine, others, expired = rows
    for office in (a, b):
        assert ids(rows) == [one["id"] for one in told(office, "list")]
        assert (len(told(office, "calls")), told(office, "stats")["calls"]) == (3, 3)
        done(office, "verify", "--deep")
    out = pair.folder / "copy.flac"
    done(b, "export", mine.id, *USE, *pair.key(), "--out", out)
    assert (soundfile.read(out, dtype="int16")[0] == stereo()).all()
    (pair.folder / "sheet.txt").write_text("Handled well.")
    done(a, "note", mine.id, *BY, "--text-file", pair.folder / "sheet.txt", "--yes")
    assert "Handled well." in done(b, "show", mine.id)
    done(b, "hold", mine.id, *HOLD, *BY)
    assert mine.id in done(a, "holds")
    assert "on hold" in a.fails(1, "delete", mine.id, *BY, "--reason", "asked", "--yes")
    done(a, "release", mine.id, *BY)
    assert "Nothing is on hold" in done(b, "holds")
    done(a, "delete", others.id, *BY, "--reason", "asked", "--yes")
    assert told(b, "show", others.id)["status"] == "purged"
    assert expired.id in done(b, "purge", "--dry-run", "--json")
    assert expired.id in done(b, "purge", "--json") and "Nothing to purge" in done(a, "purge")
    assert {"export", "note", "hold", "release", "delete"} <= {one["action"] for one in told(b, "accesses")}
    for office in (a, b):
        done(office, "verify", "--deep")


def test_what_is_different_today_is_so_for_the_callers_of_both(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sipagent.service.rules.LOOK_S", 0.05)
    config, orders, woken = load(pair.b.folder / "config.toml"), Orders(0.0), threading.Event()
    with today_read(config, orders, woken.set):
        (one,) = told(pair.a, "today", "--closed", "--until", "2h", *BY)
        assert told(pair.b, "today") == [one]
        assert woken.wait(20) and [special.number for special in orders.specials] == [one["number"]]
        assert told(pair.b, "hours")["reason"] == "today"
        woken.clear()
        assert told(pair.b, "today", "--remove", one["number"]) == told(pair.a, "today") == []
        assert woken.wait(20) and not orders.specials
    assert [use["action"] for use in told(pair.b, "accesses")] == ["today", "today"]


def test_keys_are_rotated_once_for_all(pair: Pair, rows: list[Recording]) -> None:
    pair.configure("keys/recordings.pub", "keys/second.pub")
    rotated = told(pair.b, "keys", "rotate", *pair.key(), *BY)
    assert sorted(rotated["sealed"]) == sorted(ids(rows)) and rotated["failed"] == []
    rotated = told(pair.a, "keys", "rotate", *pair.key(), *BY)
    assert (rotated["sealed"], rotated["already"]) == ([], 3)
    out = pair.folder / "copy.wav"
    assert "is not for recordings" in pair.a.fails(1, "export", rows[1].id, *USE, *pair.key(), "--out", out)
    done(pair.a, "export", rows[1].id, *USE, *pair.key("second"), "--out", out)
    done(pair.a, "verify", "--deep")


def test_a_lost_database_comes_back_from_the_bucket(
    pair: Pair, rows: list[Recording], postgres: Server
) -> None:
    """On whichever host; what was deleted does not. Until then `check` and `verify` say what to do."""
    kept, deleted, expired = rows
    done(pair.a, "hold", kept.id, *HOLD, *BY)
    done(pair.a, "delete", deleted.id, *BY, "--reason", "asked", "--yes")
    assert found(pair.b, "objects")[0].startswith("ok: ")
    config = (pair.a.folder / "config.toml").read_text()
    before = next(line for line in config.splitlines() if "postgresql:" in line)
    pair.configure(before, f'database = "{postgres.database(tables)}"')
    for path in pair.b.folder.glob("*.head"):
        path.unlink()  # as on a host that is new
    lost = "has recordings, and no row tells of any: see `sipagent rebuild`"
    assert lost in pair.b.run("verify").out
    assert any(lost in said for said in found(pair.b, "objects"))
    rebuilt = told(pair.b, "rebuild", *pair.key())
    assert sorted(rebuilt["restored"]) == sorted(ids([kept, expired])) and rebuilt["held"] == [kept.id]
    assert told(pair.a, "show", kept.id)["caller"] == kept.caller
    assert not any(lost in said for said in found(pair.b, "objects"))
    done(pair.b, "verify", "--deep")
    assert told(pair.a, "rebuild")["known"] == 2
    done(pair.a, "verify")


def test_a_stamp_is_of_all_hosts(pair: Pair, rows: list[Recording], tmp_path: Path) -> None:
    """Also where no agent has run yet; a backup by any host has them, and so has the way back.

    The backup tells of passwords that are not in it.
    """
    (password := pair.a.folder / "database-password").write_text("secret")
    pair.configure("[retention]\n", f'[retention]\ndatabase_password_file = "{password}"\n')
    assert told(pair.b, "stamp", "--list") == []
    stamp = told(pair.b, "stamp")["stamp"]
    assert told(pair.a, "stamp", "--list") == [stamp]
    assert told(pair.a, "verify")["counts"]["stamps"] == 1
    assert found(pair.a, "stamps")[0].startswith(f"ok: the newest, of entry {stamp['seq']}, is from")
    made = told(pair.a, "backup", tmp_path / "backups")
    assert [path.name for path in Path(made["backup"], "stamps").iterdir()] == [stamp["file"]]
    assert {str(password), str(pair.folder / "credentials")} <= set(made["not_in_it"])
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

    def of_hosts(office: Office) -> list[str]:
        every = host_findings(load(office.folder / "config.toml"))
        return [f"{one.level} {one.what}: {one.detail}" for one in every]

    pair.configure(pair.objects, "")
    row = shared_call(pair.a)
    assert of_hosts(pair.a) == []
    pair.configure("[cluster]\n", f"{pair.objects}[cluster]\n")
    assert told(pair.a, "show", row.id)["caller"] == row.caller
    start = "accepted: start the agent, which brings them to the store"
    assert of_hosts(pair.a) == [f"error objects: keys of rows are files of this host alone; {start}"]
    (away,) = of_hosts(pair.b)
    assert away.startswith("error objects: keys of rows of host a: s3://")
    assert away.endswith("accepted: start its agent, if they are files there")


def test_a_store_that_does_not_answer_is_one_line(pair: Pair) -> None:
    """Rows of whose persons nothing is asked are told; nothing is taken for missing."""
    row = shared_call(pair.a)
    endpoint = next(line for line in pair.objects.splitlines() if line.startswith("endpoint"))
    pair.configure(endpoint, 'endpoint = "http://127.0.0.1:1"')
    for words in (
        *(["list"], ["show", row.id], ["verify"], ["rebuild"], ["keys", "list"]),
        *(["hold", row.id, *HOLD, *BY], ["delete", row.id, *BY, "--reason", "asked", "--yes"]),
        ["export", row.id, *USE, *pair.key(), "--out", pair.folder / "copy.flac"],
    ):
        assert "the object store does not answer" in pair.b.fails(1, *words)
    assert "Nothing is on hold" in done(pair.b, "holds")
    stamped = told(pair.b, "stamp")["stamp"]
    assert told(pair.a, "stamp", "--list") == [stamped]
