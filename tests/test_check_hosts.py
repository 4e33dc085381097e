"""What `check` says of hosts that share a database, of that database, and of what a move has left."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retention.files import Moved, Places
from retention.postgres.database import Server as Seen
from retention.postgres.database import look_at_server
from retention.records import Host
from sipagent.check.hosts import apart_found, host_findings, hosts_found, server_findings, shared_findings
from sipagent.check.retention import moved_findings
from sipagent.config.load import Config, load
from tests.office import CONFIG
from tests.shared import shared_store

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
A = Host(host="a", version="1.0", journal="ja", seen_at=NOW, lease_until=NOW + timedelta(seconds=12))
B = replace(A, host="b", journal="jb")
LOST = replace(B, lease_until=NOW - timedelta(seconds=1), lag_rows=3)
NOWHERE = "postgresql://127.0.0.1:1/x"


def sharing(folder: Path, database: str | None, more: str = "") -> Config:
    """A host of several, or one with a database of its own."""
    shared = f'[retention]\ndatabase = "{database}"\n[cluster]\nhost = "a"\n' if database else ""
    (folder / "config.toml").write_text(CONFIG + shared + more)
    return load(folder / "config.toml")


@pytest.mark.parametrize(("hosts", "journal", "says"), [
    ((), "ja", []),
    ((A, B), "ja", ["ok cluster: running: a, b"]),
    ((A, LOST), "ja", [
        "error cluster: host b: no word since 2026-11-27 12:00 UTC, 3 rows in its journal",
        "ok cluster: running: a",
    ]),
    *(((replace(A, journal="other"),), journal, [  # it has another one, or none yet
        "error cluster.host: a is another machine that runs; accepted: a name of its own",
        "ok cluster: running: a",
    ]) for journal in ("ja", None)),
    ((replace(A, lag_rows=1, oldest_at=NOW - timedelta(seconds=90)),), "ja", [
        "error cluster: host a: 1 row in its journal, the first for 90 s",
        "ok cluster: running: a",
    ]),
    ((A, replace(B, version="1.1")), "ja", [
        "ok cluster: running: a, b",
        "warning cluster: some hosts run 1.0, others 1.1",
    ]),
])  # fmt: skip
def test_what_is_said_of_hosts(hosts: tuple[Host, ...], journal: str | None, says: list[str]) -> None:
    found = hosts_found([*hosts], NOW, "a", journal)
    assert [f"{one.level} {one.what}: {one.detail}" for one in found] == says


def test_several_hosts_need_a_store_of_objects() -> None:
    assert [*apart_found([], "a")] == [*apart_found([A], "a")] == []
    for hosts, mine in (([A, B], "a"), ([A], "b"), ([replace(A, lease_until=None), LOST], "b")):
        (found,) = apart_found([*hosts], mine)
        assert (found.level, found.what) == ("error", "objects")
        assert found.detail.startswith("absent, and a, b share the database: the others cannot read")
        assert found.detail.endswith("accepted: a store of objects")


SETTINGS = {
    "log_statement": "none",
    **dict.fromkeys(("log_min_duration_statement", "log_min_duration_sample"), "-1"),
    "log_parameter_max_length": "-1",
    "log_parameter_max_length_on_error": "0",
    "synchronous_standby_names": "",
    **dict.fromkeys(("synchronous_commit", "fsync", "full_page_writes"), "on"),
}
GOOD = Seen(
    version=170_004, standby=False, now=NOW, encrypted=True, settings=SETTINGS, steps={1: "rows"}, standbys=0
)  # fmt: skip


def set_to(**settings: str) -> Seen:
    return replace(GOOD, settings=SETTINGS | settings)


@pytest.mark.parametrize(("seen", "says"), [
    (replace(GOOD, standby=True), "error: PostgreSQL 17.4 is a standby: it takes no writes; calls wait in"),
    (replace(GOOD, version=140_011), "error: PostgreSQL 14.11: too old; accepted: 15 or newer"),
    (replace(GOOD, steps=None), "ok: there are no tables in it yet"),
    (replace(GOOD, steps={1: "rows", 9000: "later"}), "warning: a newer sipagent has changed its tables"),
    (replace(GOOD, encrypted=False), "warning: the connection is not encrypted, and nothing says"),
    (replace(GOOD, now=NOW + timedelta(seconds=3)), "warning: its clock is 3 s ahead of this host's"),
    (replace(GOOD, now=NOW - timedelta(seconds=31)), "error: its clock is 31 s behind this host's"),
    (set_to(log_statement="all"), "warning: log_statement: values of statements are written"),
    (set_to(log_parameter_max_length_on_error="-1"), "warning: log_parameter_max_length_on_error: values"),
    (replace(GOOD, standbys=1), "warning: a standby that takes over may lack the newest rows"),
    (set_to(fsync="off"), "error: fsync is off: what it has acknowledged may be lost"),
    (GOOD, ""),
    (set_to(log_statement="all", log_parameter_max_length="0"), ""),
    (replace(set_to(synchronous_standby_names="*"), standbys=1), ""),
    (replace(GOOD, now=NOW + timedelta(seconds=2)), ""),
])  # fmt: skip
def test_what_is_said_of_a_server(seen: Seen, says: str) -> None:
    found = [f"{one.level}: {one.detail}" for one in server_findings(seen, NOW, local=False)]
    well = "ok: PostgreSQL 17.4 answers, and takes writes"
    if says:
        assert [line for line in found if line.startswith(says)] and len(found) <= 2
    else:
        assert found == [well]
        unencrypted = server_findings(replace(seen, encrypted=False), NOW, local=True)  # a socket needs none
        assert [f"{one.level}: {one.detail}" for one in unencrypted] == [well]


def test_a_database_that_answers_and_one_that_does_not(tmp_path: Path, database: str) -> None:
    seen = look_at_server(database, None)
    assert (seen.steps, seen.standby, seen.is_old, seen.encrypted) == (None, False, False, False)
    assert abs(seen.now - datetime.now(UTC)) < timedelta(seconds=2)
    assert (seen.settings["fsync"], seen.logs_values) == ("off", None)
    shared_store(database).close()
    again = look_at_server(database, None)
    assert again.steps and not again.unknown_steps
    for url in (database, NOWHERE, None):
        assert [*host_findings(sharing(tmp_path, url))] == []
    (finding,) = shared_findings(sharing(tmp_path, NOWHERE))
    assert (finding.level, finding.what) == ("error", "retention.database")
    assert finding.detail.startswith("the shared database does not answer; ")
    assert [*shared_findings(sharing(tmp_path, None))] == []


MOVED = Moved(to="pg", at=NOW, done=True, database="retention.db")


@pytest.mark.parametrize(("note", "used", "says"), [
    (replace(MOVED, until=NOW + timedelta(days=2)), "journal.db",
     "warning: {file} is still there, its rows have moved to pg: remove it by 2026-11-29, once"),
    (MOVED, "retention.db",
     "error: {file}: its rows have moved to pg, and nothing is written here any more"),
    (replace(MOVED, done=False), "retention.db",
     "error: {file}: moving to pg was begun at 2026-11-27 12:00 UTC, and not ended: what is there is a copy"),
])  # fmt: skip
def test_what_a_move_has_left(tmp_path: Path, note: Moved, used: str, says: str) -> None:
    left = Places(tmp_path / "retention.db")
    note.keep(left.moved)
    assert [*moved_findings(Places(tmp_path / used), NOW)] == []
    left.database.touch()
    (finding,) = moved_findings(Places(tmp_path / used), NOW)
    assert f"{finding.level}: {finding.detail}".startswith(says.format(file=left.database))
    left.moved.write_text("?")
    assert [one.level for one in moved_findings(Places(tmp_path / "journal.db"), NOW)] == ["error"]
