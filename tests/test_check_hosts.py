"""What `check` says of hosts that share a database, and of what a move has left."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retention.files import Moved, Places
from retention.records import Host
from sipagent.check.check import page_findings
from sipagent.check.hosts import apart_found, host_findings, hosts_found
from sipagent.check.retention import moved_findings
from sipagent.config.load import load
from tests.office import CONFIG

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
A = Host(host="a", version="1.0", journal="ja", seen_at=NOW, lease_until=NOW + timedelta(seconds=12))
B = replace(A, host="b", journal="jb")
LOST = replace(B, lease_until=NOW - timedelta(seconds=1), lag_rows=3)


def said(*hosts: Host, journal: str | None = "ja") -> list[str]:
    found = hosts_found([*hosts], NOW, "a", journal)
    return [f"{one.level} {one.what}: {one.detail}" for one in found]


@pytest.mark.parametrize(("hosts", "says"), [
    ((), []),
    ((A, B), ["ok cluster: running: a, b"]),
    ((replace(A, lease_until=None),), []),
    ((A, LOST), [
        "error cluster: host b: no word since 2026-11-27 12:00 UTC, 3 rows in its journal",
        "ok cluster: running: a",
    ]),
    ((replace(A, journal="other"),), [
        "error cluster.host: a is another machine that runs; accepted: a name of its own",
        "ok cluster: running: a",
    ]),
    ((replace(A, lag_rows=1, oldest_at=NOW - timedelta(seconds=90)),), [
        "error cluster: host a: 1 row in its journal, the first for 90 s",
        "ok cluster: running: a",
    ]),
    ((A, replace(B, version="1.1")), [
        "ok cluster: running: a, b",
        "warning cluster: some hosts run 1.0, others 1.1",
    ]),
])  # fmt: skip
def test_what_is_said_of_hosts(hosts: tuple[Host, ...], says: list[str]) -> None:
    assert said(*hosts) == says


def test_a_host_that_has_no_journal_yet_finds_its_name_taken() -> None:
    assert said(A, journal=None)[0].startswith("error cluster.host: a is another machine")


def test_a_database_that_answers_and_one_that_does_not(tmp_path: Path, database: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'{CONFIG}[retention]\ndatabase = "{database}"\n[cluster]\nhost = "a"\n')
    assert [*host_findings(load(file))] == []
    file.write_text(f'{CONFIG}[retention]\ndatabase = "postgresql://127.0.0.1:1/x"\n[cluster]\nhost = "a"\n')
    assert [*host_findings(load(file))] == []
    file.write_text(CONFIG)
    assert [*host_findings(load(file))] == []


def test_several_hosts_need_a_store_of_objects() -> None:
    """One alone does not, whatever it was called before it had any row here."""
    assert [*apart_found([], "a")] == [*apart_found([A], "a")] == []
    for hosts, mine in (([A, B], "a"), ([A], "b"), ([replace(A, lease_until=None), LOST], "b")):
        (found,) = apart_found([*hosts], mine)
        assert (found.level, found.what) == ("error", "objects")
        assert found.detail.startswith("absent, and a, b share the database: the others cannot read")
        assert found.detail.endswith("accepted: a store of objects")


@pytest.mark.parametrize(("note", "used", "says"), [
    (Moved(to="pg", at=NOW, until=NOW + timedelta(days=2), done=True, database="retention.db"), "journal.db",
     "warning: {file} is still there, its rows have moved to pg: remove it by 2026-11-29, once"),
    (Moved(to="pg", at=NOW, done=True, database="retention.db"), "journal.db",
     "warning: {file} is still there, its rows have moved to pg: remove it, once all goes well"),
    (Moved(to="pg", at=NOW, until=NOW, done=True, database="retention.db"), "journal.db",
     "error: {file} is still there, its rows have moved to pg: remove it with its recordings"),
    (Moved(to="pg", at=NOW, done=True, database="retention.db"), "retention.db",
     "error: {file}: its rows have moved to pg, and nothing is written here any more"),
    (Moved(to="pg", at=NOW, database="retention.db"), "retention.db",
     "error: {file}: moving to pg was begun at 2026-11-27 12:00 UTC, and not ended: what is there is a copy"),
])  # fmt: skip
def test_what_a_move_has_left(tmp_path: Path, note: Moved, used: str, says: str) -> None:
    left = Places(tmp_path / "retention.db")
    note.keep(left.moved)
    assert [*moved_findings(Places(tmp_path / used), NOW)] == []
    left.database.touch()
    (finding,) = moved_findings(Places(tmp_path / used), NOW)
    assert f"{finding.level}: {finding.detail}".startswith(says.format(file=left.database))


def test_a_note_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "retention.moved").write_text("?")
    (finding,) = moved_findings(Places(tmp_path / "journal.db"), NOW)
    assert finding.level == "error"


def test_accounts_of_one_host_that_are_left_are_told(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    shared = '[retention]\ndatabase = "postgresql://127.0.0.1:1/x"\n[cluster]\nhost = "a"\n'
    file.write_text(f'{CONFIG}{shared}[web]\nlisten = "127.0.0.1:8080"\n')
    assert [*page_findings(load(file))] == []
    (tmp_path / "accounts.db").touch(0o600)
    (finding,) = page_findings(load(file))
    assert finding.detail == (
        "not used any more: who may log in is in the database that hosts share; accepted: removed"
    )
