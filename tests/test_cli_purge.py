import json
from datetime import timedelta
from pathlib import Path

import pytest

from retention.recording import Status, new_id
from tests.kept import SOUND, START, bytes_under
from tests.office import Office, make_office


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_office(tmp_path, capsys)


OLD = timedelta(days=200)


def test_nothing_to_purge(office: Office) -> None:
    office.call()
    result = office.run("purge")
    assert (result.code, result.out) == (0, "Nothing to purge.\n")


def test_a_purge_says_what_and_why(office: Office) -> None:
    old, young = office.call(OLD), office.call()
    result = office.run("purge")
    assert result.code == 0 and old.id in result.out and "expired" in result.out
    assert young.id not in result.out and "1 purged" in result.out and "1 receipt lost" in result.out
    store = office.archive.store
    assert store.recording(old.id).status is Status.PURGED
    assert store.recording(young.id).status is Status.CLOSED


def test_a_purge_as_json(office: Office) -> None:
    old = office.call(OLD)
    (office.folder / "recordings" / "notes.txt").touch()
    shown = json.loads(office.run("purge", "--json").out)
    (gone,) = shown["purged"]
    assert (gone["id"], gone["why"], gone["bytes"]) == (old.id, "expired", old.bytes)
    assert (shown["receipts"], shown["failed"], shown["dry_run"]) == (1, [], False)
    assert shown["orphans"] == [{"name": "notes.txt", "problem": "not a file of the agent"}]
    assert json.loads(office.run("purge", "--json").out)["purged"] == []


def test_a_dry_run_changes_nothing(office: Office) -> None:
    old = office.call(OLD)
    before = bytes_under(office.folder)
    result = office.run("purge", "--dry-run")
    assert old.id in result.out and "1 would be purged" in result.out and "would lose" in result.out
    assert bytes_under(office.folder) == before
    assert json.loads(office.run("purge", "--dry-run", "--json").out)["dry_run"] is True


def test_the_future_needs_more(office: Office) -> None:
    row = office.call()
    for words in ([], ["--force"], ["--by", "Durand"]):
        assert "--now is in the future" in office.fails(1, "purge", "--now", "2999-01-01", *words)
    assert row.id in office.run("purge", "--now", "2999-01-01", "--dry-run").out
    assert office.archive.file(row.id) is not None
    assert office.run("purge", "--now", "2999-01-01", "--force", "--by", "Durand").code == 0
    assert office.archive.file(row.id) is None
    (use,) = office.archive.store.accesses(row.id)
    assert (use.action, use.by) == ("purge", "Durand")


def test_a_moment_in_the_past_purges_less(office: Office) -> None:
    office.call(OLD)
    assert office.run("purge", "--now", "30d").out == "Nothing to purge.\n"
    assert "--now: 'soon'" in office.fails(2, "purge", "--now", "soon")


def test_a_shorter_period_in_the_configuration_counts(office: Office) -> None:
    row = office.call(timedelta(days=40))
    with (office.folder / "config.toml").open("a") as file:
        file.write('[retention]\nperiod = "1 month"\n')
    out = office.run("purge").out
    assert row.id in out and "the period was shortened to 1 month" in out


def test_what_cannot_be_removed_is_an_error(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    row = office.call(OLD)

    def stuck(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(1, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", stuck)
        result = office.run("purge")
    assert result.code == 1 and row.id in result.out and "the next purge tries again" in result.out
    assert office.run("purge").code == 0


def test_rebuild(office: Office) -> None:
    rows = [office.call(timedelta(days=n)) for n in (2, 1)]
    (office.folder / "retention.db").unlink()
    result = office.run("rebuild")
    assert result.code == 0 and all(f"restored  {row.id}" in result.out for row in rows)
    assert [row.id for row in office.archive.store.recordings()] == [rows[1].id, rows[0].id]
    assert office.archive.store.accesses()[0].action == "rebuild"
    shown = json.loads(office.run("rebuild", "--json").out)
    assert shown == {"restored": [], "known": 2, "problems": []}


def test_rebuild_says_what_it_could_not(office: Office) -> None:
    office.call()
    (office.folder / "retention.db").unlink()
    stray = office.archive.part(new_id(START))
    stray.write_bytes(SOUND)
    result = office.run("rebuild")
    assert result.code == 1 and stray.name in result.out and "not recoverable" in result.out
    assert json.loads(office.run("rebuild", "--json").out)["problems"][0]["name"] == stray.name


def test_a_broken_database_is_one_line(office: Office) -> None:
    (office.folder / "retention.db").write_bytes(b"no database" * 1000)
    for words in (["list"], ["purge"], ["rebuild"], ["show", "x"]):
        assert "retention.db: file is not a database" in office.fails(1, *words)
