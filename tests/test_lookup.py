"""An id is meant by itself, by a beginning that no other has, or by its reference."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import pytest

from retention.rows.rows import Rows, ids_beginning, ids_meant
from retention.sqlite import Store
from sipagent.cli.program import _complete_id
from tests.both import BOTH, opened, raw
from tests.kept import receipt, recording
from tests.office import Office, make_office

DATABASES = BOTH

SAID = ("--reason", "request 2026-118", "--by", "Durand")
USE = ("--purpose", "quality", "--by", "Durand")
HOLD = ("--ground", "criminal", "--reference", "R1", "--by", "A", "--approved-by", "B")


def add(store: Rows, *ids: str) -> None:
    for minutes, id in enumerate(ids):
        store.add_receipt(receipt(recording(minutes, id=id)))


def test_the_one_that_it_is_comes_before_those_that_begin_so() -> None:
    store = opened()
    add(store, "20261124", "20261124T222000123-482913", "20261124T222000123-482914")
    assert ids_meant(store, "20261124", 10) == ["20261124"]
    assert ids_meant(store, "20261124T2220", 10) == ["20261124T222000123-482913", "20261124T222000123-482914"]
    assert ids_meant(store, "20261124T222000123-482914", 10) == ["20261124T222000123-482914"]
    assert ids_meant(store, "2027", 10) == [] and ids_meant(store, "48291", 10) == []


def test_a_reference_is_the_end_of_an_id() -> None:
    store = opened()
    add(store, "20261124T222000123-482913", "20261125T222000123-w3-482913")
    store.add_recording(recording(id="20261123T222000123-482914"))
    assert ids_meant(store, "482914", 10) == ["20261123T222000123-482914"]
    assert ids_meant(store, "482913", 10) == ["20261125T222000123-w3-482913", "20261124T222000123-482913"]
    assert ids_meant(store, "482913", 1) == ["20261125T222000123-w3-482913"]


def test_what_is_a_reference_and_a_beginning_is_both() -> None:
    store = opened()
    add(store, "20261124T222000123-482913", "20261224T222000123-202611")
    assert ids_meant(store, "202611", 10) == ["20261224T222000123-202611", "20261124T222000123-482913"]


def test_a_beginning_reads_no_more_than_it_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    store, ids = opened(), [f"20261124T222000{n:03}-482913" for n in range(300)]
    for minutes, id in enumerate(ids):
        store.add_recording(recording(minutes, id=id))
    read, rows = store._read, []

    def counted(sql: str, values: Sequence[object], *, anyhow: bool = False) -> list[dict[str, Any]]:
        rows.extend(found := read(sql, values, anyhow=anyhow))
        return found

    monkeypatch.setattr(store, "_read", counted)
    assert [*ids_beginning(store, "recordings", "", 50, newest=True)] == ids[:-51:-1]
    assert [*ids_beginning(store, "recordings", "20261124T222000", 50)] == ids[:50]
    assert [*ids_beginning(store, "recordings", "20261124T22200029", 50)] == ids[290:]
    assert len(rows) <= 3 * 51
    if isinstance(store, Store):
        plan = raw(store, "EXPLAIN QUERY PLAN SELECT id FROM recordings WHERE id >= 'a' ORDER BY id")
        assert "USING COVERING INDEX" in str(plan)


# --- on the command line ---


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_office(tmp_path, capsys)


@pytest.mark.in_sqlite
def test_every_command_takes_a_reference_and_a_beginning(office: Office) -> None:
    row = office.call(id="20261124T222000123-w3-747736")
    office.call(id="20261125T222000123-w3-747737")
    sheet, copy = office.folder / "sheet.txt", office.folder / "copy.wav"
    sheet.write_text("Polite.")
    for words in (
        ("show", "747736"),
        ("show", "#747 736"),
        ("show", "20261124"),
        ("export", "747736", *USE, "--out", copy),
        ("accesses", "747736"),
        ("note", "20261124", "--by", "Durand", "--text-file", sheet),
        ("hold", "747736", *HOLD, "--review", "2999-01-01"),
        ("release", "747736", "--by", "A"),
        ("delete", "747736", *SAID),
    ):
        result = office.run(*words)
        assert (result.code, result.faults) == (0, []), words
        if words[0] != "export":
            assert row.id in result.out
    used = [use.action for use in office.archive.store.accesses(row.id)]
    assert used == ["export", "note", "hold", "release", "delete"]
    assert "it is already purged" in office.fails(1, "play", "747736", *USE)


@pytest.mark.in_sqlite
def test_what_may_be_several_is_listed(office: Office) -> None:
    ids = [f"20261124T2220{n:02}123-747736" for n in range(12)]
    for id in ids[:2]:
        office.call(id=id)
    line = office.fails(1, "delete", "747736", *SAID)
    assert line == f"sipagent: 747736: may be {ids[1]}, {ids[0]}; accepted: one of them\n"
    for id in ids[2:]:
        office.call(id=id)
    line = office.fails(1, "export", "20261124T", *USE, "--out", office.folder / "copy.wav")
    assert f"may be {', '.join(ids[:10])}, …; accepted" in line
    assert [office.archive.store.accesses(id) for id in ids] == [[]] * 12


@pytest.mark.in_sqlite
def test_what_nothing_has(office: Office) -> None:
    office.call(timedelta(hours=1))
    for typed in ("747736", "2999", "zz"):
        for command in (("show",), ("accesses",), ("delete", *SAID), ("play", *USE)):
            assert f"{typed}: no such id" in office.fails(1, command[0], typed, *command[1:])


@pytest.mark.in_sqlite
def test_a_call_without_recording_is_named_as_such(office: Office) -> None:
    row = receipt(recording(id="20261124T222000123-747736"), recording_id=None, decision="refused")
    office.archive.store.add_receipt(row)
    assert "20261124T222000123-747736: this call has no recording (refused)" in office.fails(
        1, "play", "747736", *USE
    )


@pytest.mark.in_sqlite
def test_the_shell_is_offered_a_page(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = office.archive
    ids = [f"2026112{n % 10}T222000{n:03}-482913" for n in range(120)]
    for minutes, id in enumerate(ids):
        kept.store.add_recording(recording(minutes, id=id))
    monkeypatch.setattr(Store, "each_recording", None)  # all of them
    command = click.Command("x", params=[click.Argument(["id"])])
    root = click.Context(click.Group("sipagent"))
    root.params["config_path"] = office.folder / "config.toml"
    ctx = click.Context(command, parent=root)
    assert _complete_id(ctx, command.params[0], "") == sorted(ids)[:-51:-1]
    assert _complete_id(ctx, command.params[0], "20261123T") == sorted(ids)[47:35:-1]
    assert _complete_id(ctx, command.params[0], "2027") == []
    root.params["config_path"] = office.folder / "none.toml"
    assert _complete_id(ctx, command.params[0], "") == []
