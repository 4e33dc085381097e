"""The automatic purge where hosts share a database: one at a time, and what a host's marks ask for."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from retention.clock import ClockReading
from retention.marks import Mark, Marks
from retention.records import Status
from sipagent.agent.recorder import recover
from sipagent.agent.stored import archive_of, journal_of, store_of
from sipagent.config.load import Config
from sipagent.service.purging import PURGING, Purging
from tests.kept import receipt, recording
from tests.test_among_hosts import config_of

NOBODY = "postgresql://nobody@127.0.0.1:9/none"


@pytest.fixture
def config(tmp_path: Path, database: str) -> Config:
    return config_of(tmp_path, database)


def purging_of(config: Config, alerts: list[str]) -> Purging:
    return Purging(config, alerts.append, lambda: ClockReading("boot", datetime.now(UTC), 1000.0, True))


def marked(config: Config) -> tuple[Marks, str]:
    """A refusal whose mark is on the disk of this host, and its id."""
    row = recording()
    marks = Marks(config.recording.directory)
    marks.sync(marks.make(Mark.of(receipt(row, decision="refused", decided_by="dtmf"), row.started_at)))
    return marks, row.id


def test_one_host_purges_at_a_time(config: Config, alerts: list[str]) -> None:
    purging = purging_of(config, alerts)
    with store_of(config) as other, other.alone(PURGING):
        purging._turn()
        assert purging.last_success == 0.0
    purging._turn()
    assert purging.last_success > 0.0 and alerts == []


def test_a_mark_whose_rows_have_left_the_journal_is_obeyed_in_the_shared_database(
    config: Config, alerts: list[str]
) -> None:
    marks, id = marked(config)
    row = replace(recording(), id=id, status=Status.CLOSED)
    with store_of(config) as shared:
        shared.keep_many([replace(receipt(row), id=id)], [row], ())
        with journal_of(config) as journal:  # a start asks the journal alone
            recover(archive_of(config, journal), "flac", datetime.now(UTC), alerts.append)
        assert marks.ids() == [id]
        purging_of(config, alerts)._erase()
        assert shared.recording(id).status is Status.ERASED and shared.receipt(id).decision == "refused"
        assert marks.ids() == []


def test_without_the_database_a_mark_waits(tmp_path: Path, alerts: list[str]) -> None:
    config = config_of(tmp_path, NOBODY)
    marks, id = marked(config)
    purging = purging_of(config, alerts)
    with journal_of(config) as journal:
        recover(archive_of(config, journal), "flac", datetime.now(UTC), alerts.append)
    purging._erase()
    assert marks.ids() == [id] and purging.failures == {}
