"""Events: one for each act, in order for each call, none lost or doubled by any kill; nobody's fields."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from retention import outbox
from retention.archive import Archive
from retention.holds import place, release
from retention.records import Access, Event, Hold, Receipt, Record, Recording, field_types
from tests.both import BOTH
from tests.each import each
from tests.kept import archive, keep, recording, remove

DATABASES = BOTH
NOW = datetime(2026, 11, 25, 6, 0, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
HOLD = Hold(ground="criminal", reference="PV 7", review="2027-01-31", by="Xaver Exact", approved_by="Yvonne")
WHO = Access(at=NOW, action="hold", by="Xaver Exact")


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Archive]:
    """An archive of which events are told."""
    made = archive(tmp_path)
    outbox.collect(made.store, NOW)
    yield made
    made.store.close()


def told(kept: Archive) -> list[tuple[str, str | None]]:
    """All that is due, delivered until nothing is."""
    every = []
    while events := outbox.due(kept.store, NOW, 100):
        for event in events:
            every.append((event.type.value, event.call))
            outbox.delivered(kept.store, event.id, NOW)
    return every


def _nested(of: type[Record]) -> Iterator[type[Record]]:
    yield of
    for field in field_types(cast(Any, of)).values():
        if isinstance(field.type, type) and issubclass(field.type, Record) and field.type is not of:
            yield from _nested(field.type)


@each([Receipt, Recording])
@pytest.mark.in_sqlite
def test_of_each_field_it_is_decided_whether_it_leads_to_a_person(of: type[Record]) -> None:
    for one in _nested(of):
        if one is not Event:  # the story of a call, which is one field
            decided = [*outbox.OPEN.get(one, ()), *outbox.PERSONAL.get(one, ())]
            assert sorted(decided) == sorted(field_types(cast(Any, one))), one


def test_each_act_is_told_once_and_in_its_order(kept: Archive) -> None:
    row = keep(kept, recording())
    other = keep(kept, recording(1))
    place(kept, row.id, HOLD, WHO)
    release(kept, row.id, WHO)
    remove(kept, row.id, NOW)
    every = told(kept)
    assert [what for what, call in every if call == row.id] == [
        "call.ended",
        "recording.closed",
        "hold.placed",
        "hold.released",
        "recording.purged",
    ]
    assert [what for what, call in every if call == other.id] == ["call.ended", "recording.closed"]
    assert told(kept) == []
