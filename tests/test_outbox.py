"""Events: one for each act, in order for each call, none lost or doubled by any kill; nobody's fields."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import count, product
from pathlib import Path
from typing import Any, cast

import pytest

from retention import outbox
from retention.archive import Archive
from retention.holds import place, release
from retention.outbox import EventType, NotFailed, OutboxEvent
from retention.purge import purge
from retention.records import Access, Event, Hold, Receipt, Record, Recording, Status, field_types
from retention.rows.rows import Rows, UnknownId
from retention.sqlite import Store
from retention.verify import what_is_left
from tests import tiers
from tests.both import BOTH, by_hand, opened, raw
from tests.crashing import deaths
from tests.each import each
from tests.kept import CALLER, OPERATOR, TERMS, archive, keep, receipt, recording, remove
from tests.two_hosts import World, call

DATABASES = BOTH
NOW = datetime(2026, 11, 25, 6, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOLD = Hold(ground="criminal", reference="PV 7", review="2027-01-31", by="Xaver Exact", approved_by="Yvonne")
WHO = Access(at=NOW, action="hold", by="Xaver Exact")
REASON = "{}: should have been recorded, and was not: no_key"
Told = tuple[str, str | None]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Archive]:
    """An archive of which events are told."""
    made = archive(tmp_path)
    outbox.collect(made.store, NOW)
    yield made
    made.store.close()


def told(store: Rows, now: datetime = NOW) -> list[Told]:
    """All that is due, delivered until nothing is."""
    every: list[Told] = []
    while events := outbox.due(store, now, 3):
        for event in events:
            every.append((event.type.value, event.call))
            outbox.delivered(store, event.id, now)
    return every


def of(call: str, every: list[Told]) -> list[str]:
    return [what for what, about in every if about == call]


# --- what is told ---


def test_each_act_is_told_once_and_in_its_order(kept: Archive) -> None:
    row, other = keep(kept, recording()), keep(kept, recording(1))
    missed = recording(2)
    kept.store.add_receipt(receipt(missed, recording_id=None, not_recorded_because="no_key"))
    place(kept, row.id, HOLD, WHO)
    place(kept, row.id, replace(HOLD, review="2027-02-28"), WHO, renew=True)
    release(kept, row.id, WHO)
    remove(kept, row.id, NOW)
    every = told(kept.store)
    assert of(row.id, every) == [
        *("call.ended", "recording.closed", "hold.placed", "hold.placed", "hold.released"),
        "recording.purged",
    ]
    assert of(other.id, every) == ["call.ended", "recording.closed"]
    assert of(missed.id, every) == ["call.ended", "call.not_recorded"]
    assert told(kept.store) == []


def test_what_was_there_before_is_not_told_and_without_anybody_to_tell_no_row_is_made(tmp_path: Path) -> None:
    store = opened(tmp_path / "retention.db")
    store.add_receipt(receipt(recording()))
    assert [raw(store, f"SELECT * FROM {table}") for table in ("outbox", "outbox_read")] == [[], []]
    assert outbox.tell_overdue(store, date(2030, 1, 1), NOW) == 0
    assert told(store) == []
    store.add_receipt(receipt(recording(1)))
    assert len(told(store)) == 1
    store.close()


def test_what_is_read_again_has_the_id_that_it_had(kept: Archive) -> None:
    """As where an older state of the database was put back."""
    begun = raw(kept.store, "SELECT seq FROM outbox_read")[0]["seq"]
    keep(kept, recording())
    told(kept.store)
    before = outbox.events(kept.store)
    by_hand(kept.store, "UPDATE outbox_read SET seq = ?", [begun])
    outbox.collect(kept.store, NOW)
    assert outbox.events(kept.store) == before
    by_hand(kept.store, "DELETE FROM outbox")
    by_hand(kept.store, "UPDATE outbox_read SET seq = ?", [begun])
    outbox.collect(kept.store, NOW)
    assert [one.id for one in outbox.events(kept.store)] == [one.id for one in before]


def test_a_row_that_a_rebuild_brings_back_is_told_of_by_what_becomes_of_it_then(kept: Archive) -> None:
    row = keep(kept, recording())
    kept.store.add_recording(replace(row, id=recording(1).id))
    assert of(row.id, told(kept.store)) == ["call.ended", "recording.closed"]
    (rebuilt,) = {one.id for one in kept.store.recordings()} - {row.id}
    kept.store.update_recording(replace(kept.store.recording(rebuilt), hold=HOLD.to_json()))
    assert told(kept.store) == [("hold.placed", rebuilt)]


def test_a_review_that_is_overdue_is_told_of_once(kept: Archive) -> None:
    row = keep(kept, recording())
    place(kept, row.id, HOLD, WHO)
    told(kept.store)
    days = [date(2027, 1, 31), date(2027, 2, 1), date(2027, 2, 1), date(2027, 2, 9)]
    assert [outbox.tell_overdue(kept.store, day, NOW) for day in days] == [0, 1, 0, 0]
    assert told(kept.store) == [("hold.due", row.id)]
    place(kept, row.id, replace(HOLD, review="2027-02-28"), WHO, renew=True)
    assert outbox.tell_overdue(kept.store, date(2027, 3, 5), NOW) == 1


# --- in which order ---


def test_what_fails_holds_up_its_own_call_until_it_is_given_up(kept: Archive) -> None:
    store, row, other = kept.store, keep(kept, recording()), keep(kept, recording(1))
    first, *others = outbox.due(store, NOW, 9)
    assert (first.type, first.call, [one.call for one in others]) == ("call.ended", row.id, [other.id])
    later = NOW + timedelta(minutes=5)
    outbox.failed(store, first.id, NOW, "500", later)
    assert [call for _, call in told(store)] == [other.id, other.id]
    assert [one.id for one in outbox.due(store, later, 9)] == [first.id]
    outbox.failed(store, first.id, later, "gone", None)
    assert of(row.id, told(store, later)) == ["recording.closed"]
    (gone,) = outbox.events(store, failed=True)
    assert (gone.id, gone.attempts, gone.why, gone.done_at) == (first.id, 2, "gone", later)
    again = Access(at=later, action="retry", by="Durand")
    with pytest.raises(NotFailed):
        outbox.put_back(store, others[0].id, again)
    with pytest.raises(UnknownId):
        outbox.put_back(store, "evt_0", again)
    outbox.put_back(store, first.id, again)
    assert (outbox.find(store, first.id).since, outbox.find(store, first.id).attempts) == (later, 0)
    assert store.accesses()[-1].detail == f"event {first.id} (call.ended)"
    assert told(store, later) == [("call.ended", row.id)]


def test_what_was_delivered_is_dropped_after_a_week_and_what_failed_with_its_receipt(kept: Archive) -> None:
    keep(kept, recording())
    first, *_ = outbox.due(kept.store, NOW, 9)
    outbox.failed(kept.store, first.id, NOW, "gone", None)
    told(kept.store)
    assert len(outbox.events(kept.store)) == 2
    for later, left in ((timedelta(days=7), 2), (timedelta(days=8), 1), (timedelta(days=200), 0)):
        outbox.sweep(kept.store, NOW + later, NOW + later - timedelta(days=180), told=True)
        assert len(outbox.events(kept.store)) == left


def test_where_nobody_is_told_any_more_what_waits_goes_after_three_days(kept: Archive) -> None:
    keep(kept, recording())
    now = datetime.now(UTC)
    outbox.due(kept.store, now, 9)
    keep(kept, recording(1))
    for days in (1, 4):
        outbox.sweep(kept.store, now + timedelta(days=days), NOW, told=False)
        assert (
            bool(outbox.events(kept.store))
            == bool(raw(kept.store, "SELECT * FROM outbox_read"))
            == (days < 3)
        )
    assert told(kept.store) == []


# --- of whom ---


def _nested(kind: type[Record]) -> Iterator[type[Record]]:
    yield kind
    for field in field_types(cast(Any, kind)).values():
        if isinstance(field.type, type) and issubclass(field.type, Record) and field.type is not kind:
            yield from _nested(field.type)


@each([Receipt, Recording])
@pytest.mark.in_sqlite
def test_of_each_field_it_is_decided_whether_it_leads_to_a_person(kind: type[Record]) -> None:
    for one in _nested(kind):
        if one is not Event:  # the story of a call, which is one field
            decided = [*outbox.OPEN.get(one, ()), *outbox.PERSONAL.get(one, ())]
            assert sorted(decided) == sorted(field_types(cast(Any, one))), one


PERSONAL = (CALLER, OPERATOR, "marie", "a84b4c", "+33323063006", "Xaver", "Yvonne", "PV 7", "refuser")


def bodies(kept: Archive, events: list[OutboxEvent], *, personal: bool = False) -> list[dict[str, Any]]:
    return [outbox.body(kept.store, event, personal) for event in events]


def test_no_field_of_a_person_is_sent_unless_it_is_asked_for(kept: Archive) -> None:
    row = keep(kept, recording())
    story = (Event(at=NOW, what=f"transferred to {OPERATOR}", by=OPERATOR),)
    ended = replace(kept.store.receipt(row.id), keyword="refuser", events=story)
    kept.store.update_receipt(ended)
    place(kept, row.id, HOLD, WHO)
    outbox.collect(kept.store, NOW)
    events = outbox.events(kept.store)
    text = json.dumps(bodies(kept, events))
    assert [one for one in PERSONAL if one in text] == []
    assert json.dumps(raw(kept.store, "SELECT * FROM outbox")).count(row.id) == 3
    assert [one for one in PERSONAL if one in json.dumps(raw(kept.store, "SELECT * FROM outbox"))] == []
    (sent, *_) = (one for one in bodies(kept, events) if one["type"] == "call.ended")
    assert sent["data"]["decision"] == "allowed" and sent["data"]["reference"] == row.id[-6:]
    assert sent["data"]["quality"]["caller"]["codec"] == "PCMA"
    (held, *_) = (one for one in bodies(kept, events) if one["type"] == "hold.placed")
    assert held["data"]["hold"] == {"ground": "criminal", "review": "2027-01-31"}
    text = json.dumps(bodies(kept, events, personal=True))
    assert [one for one in PERSONAL if one not in text] == []


def test_what_was_forgotten_meanwhile_is_not_sent(kept: Archive) -> None:
    row = keep(kept, recording())
    outbox.tell_alert(kept.store, REASON.format(row.id), None, NOW, NOW)
    outbox.collect(kept.store, NOW)
    assert REASON.format(row.id) in json.dumps(bodies(kept, outbox.events(kept.store)))
    remove(kept, row.id, NOW)
    assert "no_key" not in json.dumps(raw(kept.store, "SELECT * FROM outbox"))
    purge(kept, NOW + timedelta(days=400), TERMS, at=NOW)  # and the receipt
    outbox.tell_alert(kept.store, REASON.format(row.id), row.id, NOW, NOW)
    outbox.collect(kept.store, NOW)
    events = outbox.events(kept.store)
    text = json.dumps(bodies(kept, events, personal=True))
    assert [one for one in (CALLER, OPERATOR, "a84b4c", "no_key") if one in text] == []
    assert {one.type for one in events} >= {EventType.ALERT, EventType.RECORDING_PURGED}
    assert not [*what_is_left(kept, NOW)]
    by_hand(kept.store, "UPDATE outbox SET reason = 'x' WHERE type = 'alert'")
    assert [one.where for one in what_is_left(kept, NOW)] == [
        f"event {one.id}" for one in events[::-1] if one.type is EventType.ALERT
    ]


def test_an_alert_says_nothing_any_more_of_a_call_that_was_deleted(kept: Archive) -> None:
    told_of = receipt(recording(), recording_id=None)
    kept.store.add_receipt(told_of)
    outbox.tell_alert(kept.store, REASON.format(told_of.id), None, NOW, NOW)
    kept.store.update_receipt(kept.store.receipt(told_of.id).anonymous())
    assert [one.reason for one in outbox.events(kept.store)] == [None]


def test_of_a_call_that_is_in_no_row_its_id_is_sent(kept: Archive) -> None:
    event = OutboxEvent(id="evt_1", type=EventType.CALL_ENDED, at=NOW, call=recording().id, since=NOW)
    (sent,) = bodies(kept, [event], personal=True)
    assert sent == {
        "type": "call.ended",
        "timestamp": "2026-11-25T06:00:00.000Z",
        "data": {"id": event.call, "reference": str(event.call)[-6:]},
    }


@pytest.mark.in_sqlite
def test_an_alert_has_no_number_and_no_address(kept: Archive) -> None:
    said = f"leg of {CALLER} at sip:marie@pbx.example:5060 of 0612345678 failed in {recording().id}: 500"
    outbox.tell_alert(kept.store, said, None, NOW, NOW)
    (alert,) = outbox.due(kept.store, NOW, 9)
    assert alert.reason == f"leg of … at … of … failed in {alert.call}: 500"
    outbox.delivered(kept.store, alert.id, NOW)
    assert outbox.find(kept.store, alert.id).reason is None


# --- kills ---


class Killed(BaseException):
    """At any moment."""


class Life:
    """One database, whoever acts in it, and a receiver; all of it dies at a moment of this number."""

    def __init__(self, store: Store, fatal: int, *, hiccups: bool) -> None:
        self.store, self.fatal, self.hiccups, self.now = store, fatal, hiccups, NOW
        self.rows = sorted(store.recordings(), key=lambda row: row.id)
        self.wanted: dict[str, list[str]] = {row.id: [] for row in self.rows}
        self.received: dict[str, Told] = {}
        self.refused: set[str] = set()
        self.doing: list[tuple[str, str]] = []
        self.moments = count()
        self._write = partial(Store.write, store)
        store.write = self.write  # type: ignore[method-assign]

    def moment(self) -> None:
        if next(self.moments) == self.fatal:
            raise Killed

    @contextmanager
    def write(self) -> Iterator[None]:
        """A kill comes before a transaction, in it, before its end, or after it."""
        if self.store._connection.in_transaction:
            yield
            return
        self.moment()
        with self._write():
            yield
            self.moment()
        self.done()
        self.moment()

    def done(self) -> None:
        """What was committed counts from now on."""
        for id, what in self.doing:
            self.wanted[id].append(what)
        self.doing = []

    @contextmanager
    def _doing(self, id: str, events: list[str]) -> Iterator[None]:
        self.doing = [(id, one) for one in events]
        try:
            yield
        finally:
            self.doing = []

    def act(self, number: int, what: str) -> None:
        """One transaction; nothing where it cannot be."""
        row = self.store.recording(self.rows[number].id)
        told = self.store.receipt(row.id)
        with suppress(StopIteration), self._doing(row.id, next(_acts(row, told, what))):
            acts: dict[str, Callable[[], object]] = {
                "end": lambda: self.store.update_receipt(replace(told, ended_at=NOW)),
                "short": lambda: self.store.update_receipt(replace(told, not_recorded_because="short")),
                "close": lambda: self.store.update_recording(replace(row, status=Status.CLOSED)),
                "refuse": lambda: self.store.update_recording(replace(row, status=Status.ERASED)),
                "hold": lambda: self.store.update_recording(replace(row, hold=HOLD.to_json())),
                "release": lambda: self.store.update_recording(replace(row, hold=None)),
                "purge": lambda: self.store.update_recording(row.tombstone(Status.PURGED, NOW)),
            }
            acts[what]()

    def send(self) -> None:
        """What the sender does, until nothing is due."""
        while events := outbox.due(self.store, self.now, 2):
            for event in events:
                self.moment()
                if self.hiccups and event.id not in self.refused:
                    self.refused.add(event.id)
                    outbox.failed(self.store, event.id, self.now, "500", self.now + SECOND)
                    continue
                self.received.setdefault(event.id, (event.type.value, event.call))
                self.moment()
                outbox.delivered(self.store, event.id, self.now)
            self.now += SECOND


def _acts(row: Recording, told: Receipt, what: str) -> Iterator[list[str]]:
    """What is to be told of an act, if it can be."""
    open, closed = row.status is Status.OPEN, row.status is Status.CLOSED
    possible = {
        "end": (told.ended_at is None, ["call.ended"]),
        "short": (told.not_recorded_because is None, ["call.not_recorded"]),
        "close": (open, ["recording.closed"]),
        "refuse": (open or closed, ["recording.erased"]),
        "hold": (closed and row.hold is None, ["hold.placed"]),
        "release": (row.hold is not None, ["hold.released"]),
        "purge": (closed and row.hold is None, ["recording.purged"]),
    }
    can, events = possible[what]
    if can and not (what == "refuse" and row.hold is not None):
        yield events


ACTS = ("end", "short", "close", "refuse", "hold", "release", "purge")
HISTORIES = [
    history
    for length in range(1, tiers.depth(2, 3) + 1)
    for history in product(ACTS, repeat=length)
    if len({*history}) == length
]


def lives(store: Store, history: tuple[str, ...], fatal: int, *, hiccups: bool) -> Life:
    """Act and send by turns, in two calls; who is killed begins anew, and does what was not done."""
    life = Life(store, fatal, hiccups=hiccups)
    steps: list[Callable[[], None]] = []
    for number, what in enumerate(history):
        steps.append(partial(life.act, 0, what))
        steps += [partial(life.act, 1, what)] * (number == 0)
        steps.append(life.send)
    for step in steps:
        with suppress(Killed):
            step()
    for _ in range(2):  # the first may be killed
        life.now += timedelta(minutes=1)
        with suppress(Killed):
            life.send()
    return life


@pytest.mark.in_sqlite
@each([True, False][: tiers.depth(1, 2)])
def test_no_event_is_lost_or_doubled_by_a_kill_at_any_moment(hiccups: bool) -> None:
    every_other = tiers.depth(2, 1)
    with Store(":memory:") as store:
        outbox.collect(store, NOW)
        for row in (recording(0), recording(1)):
            store.add_receipt(receipt(row, ended_at=None))
            store.add_recording(row)
        begun = store._connection.serialize()
        for number, history in enumerate(HISTORIES):
            for fatal in count(number % every_other, every_other):
                store._connection.deserialize(begun)
                life = lives(store, history, fatal, hiccups=hiccups)
                every = [*life.received.values()]
                assert {id: of(id, every) for id in life.wanted} == life.wanted, (history, fatal)
                assert outbox.waiting(store).waiting == 0
                if next(life.moments) <= fatal:
                    break


def _deliver(folder: Path) -> None:
    """A sender whose receiver is a file: it has what was written, whoever is killed then."""
    with archive(folder).store as store:
        while events := outbox.due(store, NOW, 1):
            with (folder / "received").open("a") as received:
                received.write(f"{events[0].id} {events[0].type}\n")
            outbox.delivered(store, events[0].id, NOW)


@pytest.mark.in_sqlite
def test_none_is_lost_or_doubled_where_the_sender_is_killed_at_any_step(tmp_path: Path) -> None:
    folder = tmp_path / "office"
    folder.mkdir()
    with (made := archive(folder)).store:
        outbox.collect(made.store, NOW)
        keep(made, recording())
    for done in deaths(folder, partial(_deliver, folder)):
        _deliver(folder)
        received = (folder / "received").read_text().split("\n")[:-1]
        assert [line.split()[1] for line in dict.fromkeys(received)] == ["call.ended", "recording.closed"], (
            done
        )
    assert "commit" in done


# --- on several hosts ---


@pytest.mark.in_sqlite
def test_what_a_host_ships_is_told_once_also_where_it_was_taken_for_lost() -> None:
    world = World()
    outbox.collect(world.shared, NOW)
    for number in (1, 2):
        world.begin(number)
        world.allow(call(number))
    world.keep(call(1))
    world.end(call(1))
    assert told(world.shared) == []
    world.ship()
    assert sorted(of(call(1), told(world.shared))) == ["call.ended", "recording.closed"]
    world.lose()
    world.complete()
    world.complete()
    once = of(call(2), told(world.shared))
    assert once[:1] == ["call.ended"]
    world.keep(call(2))
    world.end(call(2))
    world.ship()
    assert "call.ended" not in of(call(2), told(world.shared))
    world.close()
