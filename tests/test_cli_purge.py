"""`purge`, `rebuild`: what they say of what went and what stays; the clock; what waits for no date."""

import fcntl
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest

from retention import reserve as reserve_module
from retention.clock import ClockReading, read_clock
from retention.files import Owner, Places, alone
from retention.records import Recording, Status, new_id
from retention.reserve import Reserve, is_running, read_reserve
from retention.rows.rows import Rows
from sipagent.cli import program, purge
from sipagent.cli.terminal import steps_of
from tests.kept import SOUND, START, Paths, bytes_under, receipt, recording
from tests.office import Office
from tests.read_only import read_only
from tests.sealing import PASSPHRASE, make_pair, make_sealed_office, sealed_call
from tests.tampering import sum_of

OLD = timedelta(days=200)
THEN = ("--now", "2999-01-01")
DONE = (*THEN, "--force", "--by", "Durand")
REVIEW = (datetime.now(UTC) + timedelta(days=30)).date()
HOLD = ("--ground", "criminal", "--reference", "41", "--by", "Durand", "--approved-by", "Petit")


def as_json(office: Office, *words: str) -> Any:
    return json.loads(office.run("purge", *words, "--json").out)


def test_a_purge_says_what_and_why_and_a_dry_run_changes_nothing(office: Office) -> None:
    old, young, held = office.call(OLD), office.call(), office.call(OLD)
    assert office.run("hold", held.id, *HOLD, "--review", REVIEW).code == 0
    (office.folder / "recordings" / "notes.txt").touch()
    before = bytes_under(office.folder)
    would = office.run("purge", "--dry-run")
    assert old.id in would.out and "1 would be purged" in would.out and "would lose" in would.out
    assert as_json(office, "--dry-run")["dry_run"] is True
    assert bytes_under(office.folder) == before
    shown = as_json(office)
    (gone,), (stay,) = shown["purged"], shown["held"]
    assert (gone["id"], gone["why"], gone["bytes"], gone["copies"]) == (old.id, "expired", old.bytes, [])
    assert stay["id"] == held.id and stay["why"].startswith("on hold (criminal), to be reviewed 20")
    assert stay["due_at"] == held.to_json()["expires_at"]
    assert (shown["receipts"], shown["failed"], shown["dry_run"]) == (2, [], False)
    assert shown["orphans"] == [{"name": "notes.txt", "problem": "not a file of the agent"}]
    assert shown["voices"] == [] and shown["suspended"] is None
    assert [office.archive.store.recording(one.id).status for one in (old, young)] == ["purged", "closed"]
    (office.folder / "recordings" / "notes.txt").unlink()
    out = office.run("purge").out
    assert "Nothing to purge." in out and "1 expired and held, kept:" in out and held.id in out
    older = office.call(OLD)
    out = office.run("purge").out
    assert older.id in out and "expired" in out and "1 purged" in out and "1 receipt lost" in out


def test_what_names_callers_at_the_edge_goes_too_and_no_line_is_said_beside_its_bar(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = office.folder / "edge/dialogs/dialog"
    table.parent.mkdir(parents=True)
    table.touch()
    os.utime(table, (0, 0))

    @contextmanager
    def told(what: str) -> Iterator[Callable[[int, int], None]]:
        with steps_of(what) as step:
            click.echo("bar", err=True)
            yield step
        click.echo("no bar", err=True)

    monkeypatch.setattr(purge, "steps_of", told)
    assert office.run("purge", "--dry-run").code == 0 and table.exists()
    lines = office.run("purge").err.splitlines()
    assert lines[lines.index("bar") + 1] == "no bar" and f"{table} removed: it named callers" in lines[-1]
    assert not table.exists()


def test_the_future_needs_more_and_a_moment_in_the_past_purges_less(office: Office) -> None:
    row = office.call()
    for words in ([], ["--force"], ["--by", "Durand"]):
        assert "--now is in the future" in office.fails(1, "purge", *THEN, *words)
    assert row.id in office.run("purge", *THEN, "--dry-run").out
    assert Paths(office.archive).file(row.id) is not None
    assert office.run("purge", *DONE).code == 0
    assert Paths(office.archive).file(row.id) is None
    (use,) = office.archive.store.accesses(row.id)
    assert (use.action, use.by) == ("purge", "Durand")
    purged_at = office.archive.store.recording(row.id).purged_at
    assert purged_at is not None and use.at <= purged_at <= datetime.now(UTC)  # when it was, not as if when
    office.call(OLD)
    assert office.run("purge", "--now", "30d").out == "Nothing to purge.\n"
    assert "--now: 'soon'" in office.fails(2, "purge", "--now", "soon")


def test_copies_that_remain_are_named(office: Office) -> None:
    rows = [office.call(), office.call()]
    there, gone = office.folder / "there.wav", office.folder / "gone.wav"
    use = ("--purpose", "quality", "--by", "Petit", "--out")
    for out in (there, gone):
        assert office.run("export", rows[0].id, *use, out).code == 0
    gone.unlink()
    shown = office.run("purge", *THEN, "--dry-run").out
    assert "Exported copies that remain; only you can remove them:" in shown
    assert str(there) in shown and "Petit" in shown and str(gone) not in shown
    (copies,) = (one["copies"] for one in as_json(office, *DONE)["purged"] if one["id"] == rows[0].id)
    assert [{**one, "at": ""} for one in copies] == [{"path": str(there), "at": "", "by": "Petit"}]
    assert there.exists()


def test_a_broken_database_is_one_line(office: Office) -> None:
    (office.folder / "retention.db").write_bytes(b"no database" * 1000)
    for words in (["list"], ["purge"], ["rebuild"], ["show", "x"]):
        assert "retention.db: file is not a database" in office.fails(1, *words)


def test_a_clock_that_stepped_suspends_until_somebody_says_that_it_is_right(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    wall = [datetime.now(UTC)]
    monkeypatch.setattr(program, "now", lambda: wall[0])
    monkeypatch.setattr(purge, "read_clock", lambda: ClockReading("boot", wall[0], 100.0, synchronised=True))
    row, said = office.call(), ("--clock-ok", "--by", "Durand")
    assert office.run("purge").code == 0
    wall[0] += timedelta(days=300)
    before = bytes_under(office.folder)
    shown = office.run("purge", "--dry-run")
    assert shown.code == 0 and row.id in shown.out and "purging is suspended: " in shown.err
    assert "the clock is ahead" in as_json(office, "--dry-run")["suspended"]
    assert bytes_under(office.folder) == before  # a dry run only looks
    for words in ((), (), DONE):
        line = office.fails(1, "purge", *words)
        assert "purging is suspended: the clock is ahead by 300 days" in line
        assert "--clock-ok --by WHO" in line
    assert Paths(office.archive).file(row.id) is not None
    for more, complaint in (
        (("--clock-ok",), "--clock-ok: --by is needed"),
        (("--clock-ok", "--by", " "), "--by"),
        ((*said, "--dry-run"), "--clock-ok: changes something, --dry-run nothing"),
    ):
        assert complaint in office.fails(2, "purge", *more)
    resumed = office.run("purge", *said, "--json")
    assert (resumed.code, resumed.err.split("\n")[0]) == (0, "purging resumes")
    assert [gone["id"] for gone in json.loads(resumed.out)["purged"]] == [row.id]
    doubted, first, second = office.archive.store.accesses()
    assert (doubted.action, doubted.by, doubted.outcome) == ("clock_doubt", "agent", "refused")
    assert (first.action, first.by, first.recording_id) == ("clock_ok", "Durand", None)
    assert first.detail is not None and first.detail.startswith("the clock is ahead by 300 days")
    assert (second.action, second.recording_id) == ("purge", row.id)
    again = office.run("purge", *said)
    assert (again.code, again.out) == (0, "Nothing to purge.\n")
    assert again.err.startswith("purging was not suspended\n") and len(office.archive.store.accesses()) == 3


# --- what waits for no date ---


def refused(office: Office) -> Recording:
    """A call whose caller had refused, and whose recording something has kept."""
    row = office.call()
    store = office.archive.store
    store.update_receipt(replace(store.receipt(row.id), decision="refused", decided_by="dtmf"))
    return row


def test_what_a_call_had_wanted_erased_goes_with_each_purge(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while purging is suspended."""
    row, archive = refused(office), office.archive
    with read_only(Paths(archive).recordings):
        result = office.run("purge")
        assert result.code == 1 and row.id in result.out and "the next purge tries again" in result.out
        assert office.run("verify").code == 1
    assert as_json(office, "--dry-run")["erased"] == [row.id]
    result = office.run("purge")
    assert f"{row.id} erased: its call had wanted it, and something kept it." in result.out
    assert archive.store.recording(row.id).status is Status.ERASED and archive.names() == []
    assert office.run("purge").out == "Nothing to purge.\n" and office.run("verify").code == 0
    now = read_clock()
    monkeypatch.setattr(purge, "read_clock", lambda: replace(now, wall=now.wall - timedelta(days=2)))
    row = refused(office)
    result = office.run("purge")
    assert result.code == 1 and f"{row.id} erased" in result.err and "purging is suspended" in result.err
    assert office.archive.store.recording(row.id).status is Status.ERASED


@pytest.mark.parametrize("owner", [None, 3, "edge"])
def test_what_an_agent_that_is_gone_could_not_write_is_written(
    office: Office, monkeypatch: pytest.MonkeyPatch, owner: Owner
) -> None:
    """And expires like the rest; of one that runs, it is the agent's to write. No agent starts meanwhile: it
    would have it emptied under its hands. Who only asks is told that none runs."""
    row, places = recording(), Places(office.folder / "retention.db")
    office.run("purge")
    reserve = Reserve(places.reserve(owner), 1)
    reserve.allocate()
    reserve.write([receipt(row), sum_of(12)])
    assert office.run("verify").code == 1
    taken_in: list[Path] = []

    def take_in(store: Rows, path: Path) -> list[str]:
        with places.lock.open("rb") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert not is_running(places)
        taken_in.append(path)
        return reserve_module.take_in(store, path)

    monkeypatch.setattr("sipagent.operations.purge.take_in", take_in)
    with alone(places.lock):
        office.run("purge")
        assert office.archive.store.receipts() == [] and taken_in == []
    office.run("purge")
    assert [one.id for one in office.archive.store.receipts()] == [row.id] and reserve.path in taken_in
    assert read_reserve(reserve.path) == [] and office.run("verify").code == 0
    reserve.close()
    with alone(places.lock):
        pass


def test_a_reserve_that_cannot_be_read_is_told_and_hinders_nothing(office: Office) -> None:
    old = office.call(OLD)
    (office.folder / "retention.reserve").write_bytes(b"nonsense")
    result = office.run("purge")
    assert result.code == 0 and old.id in result.out
    assert result.err.startswith("sipagent: retention.reserve: something is in it, and cannot be read\n")


# --- rebuild ---


def test_what_came_back_and_what_did_not(office: Office) -> None:
    rows = [office.call(timedelta(days=n)) for n in (200, 1)]
    assert office.run("hold", rows[0].id, *HOLD, "--review", REVIEW).code == 0
    (office.folder / "retention.db").unlink()
    result = office.run("rebuild")
    assert result.code == 0 and f"restored  {rows[0].id}, on hold\n" in result.out
    assert f"restored  {rows[1].id}\n" in result.out and "2 restored, 0 were known." in result.out
    assert f"{rows[0].id}  {REVIEW}  criminal  41" in office.run("holds").out
    assert "rebuild" in [use.action for use in office.archive.store.accesses()]
    none: dict[str, object] = {key: [] for key in ("restored", "held", "completed", "repaired", "nameless")}
    assert json.loads(office.run("rebuild", "--json").out) == none | {"known": 2, "problems": []}
    stray = Paths(office.archive).part(new_id(START))
    stray.write_bytes(SOUND)
    result = office.run("rebuild")
    assert result.code == 1 and stray.name in result.out and "not recoverable" in result.out
    assert json.loads(office.run("rebuild", "--json").out)["problems"][0]["name"] == stray.name


def test_what_is_sealed_comes_back_with_an_identity_now_or_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    office = make_sealed_office(tmp_path, capsys)
    make_pair(office, "dpo", PASSPHRASE)
    row = sealed_call(office, ["recordings", "dpo"])
    (office.folder / "retention.db").unlink()
    named = ("rebuild", "--identity", office.folder / "keys" / "dpo.key")
    assert "has a passphrase; accepted: --passphrase-file" in office.fails(1, *named)
    assert not (office.folder / "retention.db").exists()
    result = office.run("rebuild")
    assert result.code == 1 and f"restored  {row.id}" in result.out
    assert "Of 1 recording it is still sealed who called and who answered" in result.out
    assert office.archive.store.recording(row.id).caller is None
    assert json.loads(office.run("rebuild", "--json").out)["nameless"] == [row.id]
    (office.folder / "passphrase").write_text(PASSPHRASE)
    opened = office.run(*named, "--passphrase-file", office.folder / "passphrase")
    assert opened.code == 0 and f"completed {row.id}" in opened.out
    assert office.archive.store.recording(row.id).to_json() == row.to_json()
    details = [use.detail for use in office.archive.store.accesses()]
    assert details[0] == "1 recording restored, 1 still sealed as to whom they are of, 0 problems"
    assert details[-1] == "0 recordings restored, 1 completed, 0 problems"
