"""What a host tells the shared database of its objects, and what that has of it then."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from retention.journal import Journal
from retention.objects.uploads import tell_objects
from retention.records import Recording, Status
from retention.rows.object_rows import ObjectRow, State, new_put
from retention.rows.rows import Rows
from retention.sqlite import Store
from tests import tiers
from tests.kept import recording
from tests.shared import shared_store

AT = datetime(2026, 11, 27, 23, 0, tzinfo=UTC)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.db") as journal:
        yield journal


@pytest.fixture(params=tiers.first("sqlite", "postgres"))
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rows]:
    if request.param == "sqlite":
        with Store(tmp_path / "shared.db") as store:
            yield store
        return
    with shared_store(request.getfixturevalue("database")) as store:
        yield store


def row(of: Recording, kind: str = "sealed", state: State = State.PUTTING) -> ObjectRow:
    name = f"recordings/{of.id}.{kind}"
    return ObjectRow(put=new_put(), name=name, id=of.id, kind=kind, state=state, at=AT, bytes=5, sha256="ab")


def told(rows: Rows, of: Recording) -> list[tuple[State, str | None]]:
    return [(one.state, one.version) for one in rows.objects.of([of.id])]


def test_all_know_what_one_has_put(journal: Journal, shared: Rows) -> None:
    call = recording()
    put = row(call)
    journal.objects.intend([put])
    assert tell_objects(journal, shared) == 1 and told(shared, call) == [(State.PUTTING, None)]
    journal.objects.done([(put, "v1")])
    assert tell_objects(journal, shared) == 1 and told(shared, call) == [(State.THERE, "v1")]
    assert tell_objects(journal, shared) == 0
    journal.objects.remove([call.id])
    assert tell_objects(journal, shared) == 1 and told(shared, call) == [(State.REMOVING, "v1")]
    assert shared.objects.removing() == [call.id]
    journal.objects.forget([put.put])
    assert told(journal, call) == []
    assert tell_objects(journal, shared) == 1 and told(shared, call) == []
    assert tell_objects(journal, shared) == 0


def test_what_others_have_decided_stays(journal: Journal, shared: Rows) -> None:
    call = recording()
    put = row(call)
    journal.objects.intend([put])
    tell_objects(journal, shared)
    shared.objects.set_held([put.put], held=True)
    journal.objects.done([(put, "v1")])
    tell_objects(journal, shared)
    assert [one.held for one in shared.objects.of([call.id])] == [True]
    assert shared.objects.held_of([call.id]) == {call.id}
    shared.objects.remove([call.id])
    assert told(shared, call) == [(State.THERE, "v1")]  # held
    shared.objects.remove([call.id], anyhow=True)
    journal.objects.done([(put, "v1")])
    tell_objects(journal, shared)
    assert told(shared, call) == [(State.REMOVING, "v1")]


def test_what_is_told_of_a_recording_that_is_gone_must_go(journal: Journal, shared: Rows) -> None:
    call = recording()
    gone = replace(call, status=Status.PURGED, purged_at=AT, call_id=None, caller=None, operator=None)
    shared.add_recording(gone)
    journal.objects.intend([row(call)])
    tell_objects(journal, shared)
    assert told(shared, call) == [(State.REMOVING, None)]


def test_what_was_told_leaves_the_journal_once_its_call_is_over(journal: Journal, shared: Rows) -> None:
    call, on = recording(), recording(1)
    journal.add_recording(on)
    for one in (call, on):
        put = row(one)
        journal.objects.intend([put])
        journal.objects.done([(put, "v1")])
    journal.objects.drop_told([])
    assert told(journal, call) == [(State.THERE, "v1")]  # nobody else knows yet
    tell_objects(journal, shared)
    journal.objects.drop_told([call.id])
    assert told(journal, call) == [(State.THERE, "v1")]  # its files are here still
    journal.objects.drop_told([])
    assert told(journal, call) == [] and told(journal, on) == [(State.THERE, "v1")]
    assert told(shared, call) == told(shared, on) == [(State.THERE, "v1")]
