"""Events are sent: signed, in order, until they are taken; no receiver, however ill, costs or doubles one."""

import json
import socket
import threading
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from retention import outbox
from retention import post as post_module
from retention.archive import Archive
from retention.outbox import Delivery, OutboxEvent
from retention.post import NoAnswer
from retention.records import Json, Recording, Status
from retention.rows.rows import DamagedRow, Rows
from sipagent import logs
from sipagent.agent.stored import store_of
from sipagent.config.load import Config
from sipagent.service import sending as sending_module
from sipagent.service.sending import SENDING, EventFigures, Sending, asked_s, sending, signed
from tests import kept
from tests.configured import SMALL, read, with_keys
from tests.kept import keep, receipt, recording
from tests.peers.receiver import Answer, Received, Receiver, receiving, says
from tests.tapping import wait_for

SECRETS = [bytes(range(one, one + 32)) for one in (1, 2)]
MARKED = [f"whsec_{b64encode(secret).decode()}" for secret in SECRETS]
NOW = datetime.now(UTC)
CLOSED = ["call.ended", "recording.closed"]  # what `keep` makes happen, in this order


def told_at(port: int, folder: Path, text: str = SMALL, keys: str = "") -> Config:
    """A configuration whose events go to that port of this machine."""
    secret = folder / "secret"
    secret.write_text("\n".join(MARKED))
    where = (
        f'webhook = "http://127.0.0.1:{port}/events"\nsecret_file = "secret"\nallow_private = true\n{keys}'
    )
    return read(with_keys("events", where, text), folder / "config.toml")


@dataclass
class Office:
    """What is kept, who is told of it, and the thread that tells."""

    receiver: Receiver
    archive: Archive
    config: Config
    late: timedelta = timedelta()  # how far its clock is ahead
    alerts: list[str] = field(default_factory=list)

    def clock(self) -> datetime:
        return datetime.now(UTC) + self.late

    @contextmanager
    def running(self) -> Iterator[Sending]:
        thread = Sending(self.config, self.alerts.append, self.clock)
        thread.start()
        try:
            yield thread
        finally:
            thread.stop()
            assert not thread._thread.is_alive()

    def events(self) -> list[OutboxEvent]:
        """Oldest first."""
        return outbox.events(self.archive.store)[::-1]

    def arrived(self, count: int = 2) -> None:
        """Wait until there are so many events, and none waits."""
        wait_for(lambda: len(self.events()) == count and outbox.waiting(self.archive.store).waiting == 0)


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    """In a hurry."""
    for name, seconds in (("FIRST_S", 0.01), ("LONGEST_S", 0.02), ("LONGEST_REST_S", 0.02), ("HEAD_S", 0.01)):
        monkeypatch.setattr(sending_module, name, seconds)
    with receiving() as receiver:
        archive = kept.archive(tmp_path)
        outbox.collect(archive.store, NOW)
        yield Office(receiver, archive, told_at(receiver.port, tmp_path))
        archive.store.close()


def types(received: list[Received], call: str | None = None) -> list[str]:
    """Of each event once, in the order of their last arrival."""
    bodies = {one.headers["webhook-id"]: json.loads(one.body) for one in received}
    return [body["type"] for body in bodies.values() if call in (None, body["data"]["id"])]


def test_what_is_written_is_told_at_once_signed_and_whole(office: Office) -> None:
    with office.running() as thread:
        row = keep(office.archive, recording())
        first, second = office.receiver.wait_for(2)
        office.arrived()
        assert types(office.receiver.received) == CLOSED
        for got in (first, second):
            for secret in MARKED:  # either of them, as long as both count
                Webhook(secret).verify(got.body, dict(got.headers))
            with pytest.raises(WebhookVerificationError):
                Webhook(MARKED[0]).verify(got.body + b" ", dict(got.headers))
            assert got.headers["Content-Type"] == "application/json"
        told = json.loads(second.body)
        assert told["data"]["id"] == row.id and told["data"]["status"] == "closed"
        assert kept.CALLER not in repr(office.receiver.received)
        wait_for(lambda: thread.figures == EventFigures(events_delivered=2))
    with office.running():  # what has arrived is not told again
        keep(office.archive, recording(1))
        office.arrived(4)
    assert Counter(one.headers["webhook-id"] for one in office.receiver.received).most_common(1)[0][1] == 1


def test_the_signature_is_that_of_the_standard() -> None:
    at = datetime.fromtimestamp(1614265330, UTC)
    ours = signed(SECRETS, "evt_1", 1614265330, b'{"a": "\xc3\xa9"}')["webhook-signature"]
    assert ours.split() == [Webhook(one).sign("evt_1", at, '{"a": "é"}') for one in MARKED]


def test_with_personal_the_person_is_told_too(office: Office, tmp_path: Path) -> None:
    office.config = told_at(office.receiver.port, tmp_path, keys="personal = true")
    with office.running():
        keep(office.archive, recording())
        assert json.loads(office.receiver.wait_for(1)[0].body)["data"]["caller"] == kept.CALLER


# --- receivers that are ill ---


def raw(text: bytes) -> Answer:
    return lambda _, connection: connection.sendall(text)


def drip(_: Received, connection: socket.socket) -> None:
    """One byte at a time, for ever: each comes soon enough."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while True:
        connection.sendall(b"x")


def resets(_: Received, connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


ILL: dict[str, tuple[Answer, str]] = {
    "fails": (says(500), "HTTP 500"),
    "wants no more": (says(410), "HTTP 410"),
    "redirects": (
        says(307, "Location: http://127.0.0.1:1/"),
        "HTTP 307, a redirect to http://127.0.0.1:1/, which is not followed",
    ),
    "says nothing": (raw(b""), "Remote end closed connection without response"),
    "closes in the middle": (raw(b"HTTP/1.1 2"), "no HTTP: HTTP/1.1 2"),
    "resets": (resets, "Connection reset by peer"),
    "is no web server": (raw(b"220 mail ESMTP\r\n"), "no HTTP: 220 mail ESMTP"),
    "sends headers for ever": (drip, "no HTTP: got more than 65536 bytes when reading header line"),
    "sends too many": (
        raw(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 200 + b"\r\n"),
        "no HTTP: got more than 100 headers",
    ),
}


@pytest.mark.parametrize("how", ILL)
def test_a_receiver_that_is_ill_costs_and_doubles_nothing(office: Office, how: str) -> None:
    ill, why = ILL[how]
    left, seen = [3], list[str]()

    def answer(got: Received, connection: socket.socket) -> None:
        if left[0]:
            left[0] -= 1
            ill(got, connection)
        else:
            seen.extend(event.why for event in office.events() if event.why)
            says(204)(got, connection)

    office.receiver.answer = answer
    with office.running() as thread:
        rows = [keep(office.archive, recording(minute)) for minute in range(3)]
        office.arrived(6)
        wait_for(lambda: thread.figures.events_delivered == 6)
        assert thread.figures.event_failures == 3
    assert {*seen} == {why}
    for row in rows:
        assert types(office.receiver.received, row.id) == CLOSED


def test_a_length_that_lies_and_a_body_without_end_are_not_read(office: Office) -> None:
    over = threading.Event()

    def answer(_: Received, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nhalf")
        with suppress(OSError):
            while not over.is_set():
                connection.sendall(b"x" * 1000)

    office.receiver.answer = answer
    with office.running():
        keep(office.archive, recording())
        office.arrived()
    over.set()
    assert types(office.receiver.received) == CLOSED


def test_one_that_hangs_is_left_and_no_end_waits_for_it(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    def hang(*_: object) -> None:
        over.wait()

    office.receiver.answer = hang
    with monkeypatch.context() as hurried:
        hurried.setattr(post_module, "SILENCE_S", 0.05)
        with office.running():
            keep(office.archive, recording())
            wait_for(lambda: [one.why for one in office.events()] == ["no answer within 0.05 s", None])
    before, attempts = len(office.receiver.received), office.events()[0].attempts
    for number in (1, 2):
        with office.running():
            office.receiver.wait_for(before + number)
        assert office.events()[0].attempts == attempts, "what was cut counts as no attempt"
    office.receiver.answer = says(200)
    over.set()
    with office.running():
        office.arrived()
    assert types(office.receiver.received) == CLOSED


def test_what_becomes_due_while_nothing_is_found_due_waits_no_turn(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its moment passes between the look for what is due and that for what is due next."""
    due = outbox.due

    def looked(store: Rows, now: datetime, limit: int) -> list[OutboxEvent]:
        found = due(store, now, limit)
        if not found and office.receiver.received:
            office.late += timedelta(minutes=1)
        return found

    for name in ("FIRST_S", "LONGEST_S"):
        monkeypatch.setattr(sending_module, name, 30.0)
    monkeypatch.setattr(sending_module, "EVERY_S", 3600.0)
    monkeypatch.setattr(outbox, "due", looked)
    office.receiver.answer = says(500)
    keep(office.archive, recording())
    with office.running():
        office.receiver.wait_for(2)


def test_an_event_that_is_not_taken_holds_up_its_own_call_alone(office: Office) -> None:
    def answer(got: Received, connection: socket.socket) -> None:
        says(422 if bad.id.encode() in got.body else 204)(got, connection)

    office.receiver.answer = answer
    bad = keep(office.archive, recording())
    good = [keep(office.archive, recording(minute)) for minute in range(1, 4)]
    with office.running():
        wait_for(lambda: sum(one.state is Delivery.DELIVERED for one in office.events()) == 6)
    received = office.receiver.received
    assert {*types(received, bad.id)} == {"call.ended"}
    assert all(types(received, row.id) == CLOSED for row in good)


def test_a_row_that_cannot_be_read_holds_up_its_own_call_alone(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = outbox.body
    bad, good = (keep(office.archive, recording(minute)) for minute in range(2))

    def body(store: Rows, event: OutboxEvent, personal: bool) -> Json:
        if event.call == bad.id:
            raise DamagedRow("{0}: damaged", event.call)
        return made(store, event, personal)

    monkeypatch.setattr(outbox, "body", body)
    with office.running():
        wait_for(lambda: types(office.receiver.received) == CLOSED)
        wait_for(lambda: f"{bad.id}: damaged" in [event.why for event in office.events()])
    assert types(office.receiver.received, good.id) == CLOSED


def test_after_three_days_it_is_given_up_and_the_next_one_tried(office: Office) -> None:
    def answer(got: Received, connection: socket.socket) -> None:
        says(500 if got.headers["webhook-id"] == office.events()[0].id else 204)(got, connection)

    office.receiver.answer = answer
    with office.running():
        keep(office.archive, recording())
        office.receiver.wait_for(2)
        office.late = timedelta(days=3)
        office.arrived()
    first, second = office.events()
    assert (first.why, second.state) == ("HTTP 500", Delivery.DELIVERED)
    assert office.alerts[0] == f"event {first.id} is given up: HTTP 500; see `sipagent events`"


def test_one_that_takes_nothing_for_minutes_is_told_of_once(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending_module, "LATE_S", 0.05)
    office.receiver.answer = says(503)
    with office.running():
        keep(office.archive, recording())
        wait_for(lambda: len(office.alerts) == 1)
        office.receiver.wait_for(len(office.receiver.received) + 3)
        assert office.alerts == ["events are not taken: HTTP 503; each is tried for three days"]


@pytest.mark.parametrize(("status", "header", "seconds"), [
    (429, "120", 120), (503, format_datetime(NOW + timedelta(minutes=5)), 300),
    (429, "86400", 3600), (503, format_datetime(NOW + timedelta(days=9)), 3600),
    (503, format_datetime(NOW - timedelta(days=9)), 0), (429, "-5", 0), (429, "soon", 0), (500, "120", 0),
    (503, "Tue, 01 Dec 2026 10:00:00", 0), (503, None, 0),
], ids=range(10))  # fmt: skip
def test_a_receiver_may_ask_for_a_while_and_not_for_ever(
    status: int, header: str | None, seconds: float
) -> None:
    said = NoAnswer("url", "HTTP {0}{1}", status, "", status=status, retry_after=header)
    assert asked_s(said, NOW) == pytest.approx(seconds, abs=1)


def test_what_is_asked_for_is_heeded(office: Office) -> None:
    office.receiver.answer = says(429, "Retry-After: 120")
    with office.running():
        keep(office.archive, recording())
        wait_for(lambda: bool(office.events() and office.events()[0].why))
        keep(office.archive, recording(1))
        wait_for(lambda: len(office.events()) == 4)
        assert len(office.receiver.received) == 1, "nor is it asked for another call's event"
        next_at = office.events()[0].next_at
        assert next_at is not None and next_at - office.clock() > timedelta(seconds=60)


# --- who is told what ---


def test_an_alert_of_the_log_is_told(office: Office) -> None:
    logs.configure_log(as_json=True)
    row: Recording = recording()
    with sending(office.config, office.alerts.append):
        logs.alert("disk of +33612345678 is full")
        logs.log.error("alert", call=row.id, reason="a leg is lost")
        office.receiver.wait_for(2)
        office.arrived()
    bodies = [json.loads(one.body) for one in office.receiver.received]
    assert {(one["type"], one["data"]["id"], one["data"]["reason"]) for one in bodies} == {
        ("alert", None, "disk of … is full"),
        ("alert", row.id, "a leg is lost"),
    }
    assert logs.alerted is None


def test_a_reload_tells_another_or_nobody_and_a_wrong_secret_is_waited_for(
    office: Office, tmp_path: Path
) -> None:
    nobody = read(SMALL, tmp_path / "config.toml")
    with receiving() as other, office.running() as thread:
        thread.reload(nobody)
        wait_for(lambda: not thread._due.is_set())
        keep(office.archive, recording())
        told = told_at(other.port, tmp_path)
        (tmp_path / "secret").write_text("nonsense")
        thread.reload(told)
        wait_for(lambda: bool(office.alerts))
        assert "events wait: " in office.alerts[0] and "line 1 is no secret" in office.alerts[0]
        (tmp_path / "secret").write_text(MARKED[0])
        thread.reload(told)
        other.wait_for(2)
        office.arrived()
    assert types(other.received) == CLOSED and office.receiver.received == []


def test_one_host_sends_and_another_goes_on_when_it_is_gone(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch, alerts: list[str]
) -> None:
    for name in ("SHARED_S", "HEAD_S"):
        monkeypatch.setattr(sending_module, name, 0.02)
    shared_by = f'[retention]\ndatabase = "{database}"\n[cluster]\n'
    with receiving() as receiver, ExitStack() as stack:
        hosts = [
            Sending(told_at(receiver.port, tmp_path, f'{SMALL}{shared_by}host = "{name}"'), alerts.append)
            for name in "ab"
        ]
        with store_of(hosts[0]._place) as gone:
            outbox.collect(gone, NOW)
            with gone.alone(SENDING):  # it has its turn, until its connection ends
                for host in hosts:
                    host.start()
                    stack.callback(host.stop)
                rows = [recording(minute, status=Status.CLOSED) for minute in range(10)]
                gone.keep_many([receipt(row) for row in rows], rows, ())
                assert len(outbox.due(gone, datetime.now(UTC), 100)) == 10
                wait_for(lambda: all(host.figures.events_waiting == 20 for host in hosts))
                assert receiver.received == []
        received = receiver.wait_for(20)
        wait_for(lambda: hosts[0].figures.events_waiting == 0)
        assert len({one.headers["webhook-id"] for one in received}) == len(receiver.received) == 20
        assert all(types(received, row.id) == CLOSED for row in rows)
    assert alerts == []
