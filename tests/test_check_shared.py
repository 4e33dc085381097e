"""What `check` says of a database that hosts share."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retention.postgres.database import Server as Seen
from retention.postgres.database import look_at_server
from sipagent.check.hosts import server_findings, shared_findings
from sipagent.config.load import load
from tests.office import CONFIG
from tests.postgres import Server
from tests.shared import shared_store

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
GOOD = Seen(
    version=170_004,
    standby=False,
    now=NOW,
    encrypted=True,
    settings={
        "log_statement": "none",
        "log_min_duration_statement": "-1",
        "log_min_duration_sample": "-1",
        "log_parameter_max_length": "-1",
        "log_parameter_max_length_on_error": "0",
        "synchronous_standby_names": "",
        "synchronous_commit": "on",
        "fsync": "on",
        "full_page_writes": "on",
    },
    steps={1: "rows"},
    standbys=0,
)


def said(seen: Seen, now: datetime = NOW, *, local: bool = False) -> list[str]:
    return [f"{one.level}: {one.detail}" for one in server_findings(seen, now, local=local)]


def set_to(**settings: str) -> Seen:
    return replace(GOOD, settings=GOOD.settings | settings)


def test_a_good_one() -> None:
    assert said(GOOD) == ["ok: PostgreSQL 17.4 answers, and takes writes"]


@pytest.mark.parametrize(("seen", "says"), [
    (replace(GOOD, standby=True), "error: PostgreSQL 17.4 is a standby: it takes no writes; calls wait in"),
    (replace(GOOD, version=140_011), "error: PostgreSQL 14.11: too old; accepted: 15 or newer"),
    (replace(GOOD, steps=None), "ok: there are no tables in it yet"),
    (replace(GOOD, steps={1: "rows", 9000: "later"}), "warning: a newer sipagent has changed its tables"),
    (replace(GOOD, encrypted=False), "warning: the connection is not encrypted, and nothing says"),
    (replace(GOOD, now=NOW + timedelta(seconds=3)), "warning: its clock is 3 s ahead of this host's"),
    (replace(GOOD, now=NOW - timedelta(seconds=31)), "error: its clock is 31 s behind this host's"),
    (set_to(log_statement="all"), "warning: log_statement: values of statements are written"),
    (set_to(log_min_duration_statement="1s"), "warning: log_min_duration_statement: values of statements"),
    (set_to(log_parameter_max_length_on_error="-1"), "warning: log_parameter_max_length_on_error: values"),
    (replace(GOOD, standbys=1), "warning: a standby that takes over may lack the newest rows"),
    (set_to(fsync="off"), "error: fsync is off: what it has acknowledged may be lost"),
    (set_to(synchronous_commit="off"), "error: synchronous_commit is off"),
])  # fmt: skip
def test_what_is_said(seen: Seen, says: str) -> None:
    assert [line for line in said(seen) if line.startswith(says)]
    assert len(said(seen)) <= 2


@pytest.mark.parametrize("seen", [
    set_to(log_statement="all", log_parameter_max_length="0"),
    set_to(log_statement="ddl"),
    replace(set_to(synchronous_standby_names="*"), standbys=1),
    replace(GOOD, now=NOW + timedelta(seconds=2)),
])  # fmt: skip
def test_what_is_no_fault(seen: Seen) -> None:
    assert said(seen) == said(GOOD)


def test_a_socket_of_this_machine_needs_no_encryption() -> None:
    assert said(replace(GOOD, encrypted=False), local=True) == said(GOOD)


def test_a_real_one(postgres: Server, database: str) -> None:
    seen = look_at_server(database, None)
    assert (seen.steps, seen.standby, seen.is_old, seen.encrypted) == (None, False, False, False)
    assert abs(seen.now - datetime.now(UTC)) < timedelta(seconds=2)
    assert (seen.settings["fsync"], seen.logs_values) == ("off", None)
    shared_store(database).close()
    again = look_at_server(database, None)
    assert again.steps and not again.unknown_steps


def test_one_that_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    shared = '[retention]\ndatabase = "postgresql://127.0.0.1:1/none"\n[cluster]\nhost = "a"\n'
    file.write_text(CONFIG + shared)
    (finding,) = shared_findings(load(file))
    assert (finding.level, finding.what) == ("error", "retention.database")
    assert finding.detail.startswith("the shared database does not answer; ")


def test_a_host_with_its_own_has_nothing_to_look_at(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(CONFIG)
    assert [*shared_findings(load(file))] == []
