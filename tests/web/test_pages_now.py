"""The calls of the moment: what is told of them, to whom, and when it changes."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import pytest
import structlog
from httpx2 import Response
from starlette.requests import Request

from retention.files import alone
from retention.records import Event, Receipt, Recording, Special, Status, new_id, to_text
from retention.rows.rows import StoreError
from sipagent.agent.admission import SHIPPED
from sipagent.web.moment import Looking, Moment, OperatorNow, Watching, ongoing, wall_of
from sipagent.web.pages.calls import stream
from sipagent.web.rights import Role
from tests.kept import CALLER, recording
from tests.office import Office
from tests.web.conftest import Asking

AT = datetime(2026, 11, 24, 22, 20, tzinfo=UTC)
OPERATOR = "sip:201@127.0.0.1:5070"


def call(ago_s: float = 60, **changes: Any) -> Receipt:
    """The receipt of one that goes on."""
    at = datetime.now(UTC) - timedelta(seconds=ago_s)
    fields: dict[str, Any] = {"id": new_id(at), "started_at": at, "caller": CALLER, "called": "3631"}
    return Receipt(**fields | changes)


def its_recording(receipt: Receipt, **changes: Any) -> Recording:
    return replace(recording(), id=receipt.id, started_at=receipt.started_at, **changes)


def talking(**changes: Any) -> Receipt:
    now = datetime.now(UTC)
    return call(connected_at=now, decided_at=now, decision="allowed", operator=OPERATOR, **changes)


TWICE = tuple(Event(at=AT + timedelta(seconds=n), what=f"bridged with {n}") for n in (20, 90))


@pytest.mark.parametrize(("fields", "state", "since"), [
    ({}, "notice", 0),
    ({"decision": "refused", "decided_at": AT + timedelta(seconds=9)}, "waits", 9),
    ({"decision": "not_allowed"}, "waits", 0),
    ({"decision": "allowed", "decided_at": AT, "connected_at": AT + timedelta(seconds=20)}, "talks", 20),
    ({"connected_at": AT, "events": TWICE}, "talks", 90),
])  # fmt: skip
def test_what_a_call_does_is_what_its_receipt_tells(fields: dict[str, Any], state: str, since: int) -> None:
    seen = ongoing(Receipt(id=new_id(AT), started_at=AT, **fields), recorded=False)
    assert (seen.state, (seen.since - AT).total_seconds()) == (state, since)


def test_the_page_tells_of_calls_and_operators(asking: Asking, web_office: Office) -> None:
    store = web_office.archive.store
    one, other = talking(), call(10)
    store.add_receipt(replace(one, recording_id=one.id))
    store.add_recording(its_recording(one))
    store.add_receipt(other)
    store.add_receipt(call(ended_at=datetime.now(UTC)))
    asking.login(Role.LISTENER)
    text = asking.client.get("/").text
    assert "2 calls, 1 recorded" in text
    assert "talks with 201" in text and "hears the notice, or chooses" in text and "not decided yet" in text
    assert f'href="/recordings/{one.id}"' in text
    assert "in a call" in text
    assert CALLER not in text and CALLER[-9:] not in text
    assert '<p id="stopped" role="alert">No agent is at work' in text
    places = asking.site.store.places
    assert places is not None
    with alone(places.lock):
        assert Looking(asking.site.store, lambda: (), asking.site.clock)().running
    asking.login(Role.ADMINISTRATOR)
    text = asking.client.get("/").text
    assert one.id[-6:] in text and "/recordings" not in text  # who may not list gets no way to a call


def test_a_recording_that_is_over_is_told_as_such(asking: Asking, web_office: Office) -> None:
    store = web_office.archive.store
    one = talking()
    asking.login(Role.LISTENER)
    assert "No call just now." in asking.client.get("/").text
    store.add_receipt(replace(one, recording_id=one.id))
    store.add_recording(its_recording(one))
    assert "1 call, 1 recorded" in asking.client.get("/").text
    store.update_recording(its_recording(one, status=Status.ERASED, purged_at=AT))
    store.update_receipt(replace(one, recording_id=one.id, decision="not_allowed", decided_by="operator"))
    assert "not allowed (operator)" in asking.client.get("/").text


def phone(n: int) -> str:
    return f"sip:20{n}@127.0.0.1:5070"


def ended(*lines: str, ago_s: float = 60, **changes: Any) -> Receipt:
    """The receipt of a call that is over, with these lines in its story, a second after another."""
    at = AT - timedelta(seconds=ago_s)
    events = tuple(Event(at=at + timedelta(seconds=n), what=line) for n, line in enumerate(lines))
    return Receipt(id=new_id(at), started_at=at, ended_at=at, events=events, **changes)


@pytest.mark.parametrize(("recent", "free", "busy", "away"), [
    ([], 3, 0, 0),
    ([ended(f"{phone(1)}: no answer")], 2, 0, 1),
    ([ended(f"{phone(1)}: unreachable: 7 times more"), ended(f"{phone(2)}: refused with 480")], 1, 0, 2),
    ([ended(f"{phone(1)}: no answer", ago_s=90), ended(f"bridged with {phone(1)}")], 3, 0, 0),
    ([ended(f"bridged with {phone(1)}", ago_s=90), ended(f"{phone(1)}: declined")], 2, 0, 1),
    ([ended(f"{phone(1)}: busy"), ended(f"{phone(2)}: given up for another caller")], 3, 0, 0),
    ([ended(connected_at=AT, operator=phone(2), ago_s=9)], 2, 1, 0),  # rests
    ([ended(connected_at=AT, operator=phone(2), ago_s=11)], 3, 0, 0),
    ([ended(operator=phone(2), ago_s=9)], 3, 0, 0),  # who did not talk does not rest
])  # fmt: skip
def test_who_is_free_is_told_by_the_last_calls(
    recent: list[Receipt], free: int, busy: int, away: int
) -> None:
    operators = tuple(OperatorNow(operator=phone(n)) for n in range(1, 4))
    told = wall_of(Moment(at=AT, operators=operators), recent, wrap_up_s=10)
    assert (told.free, told.busy, told.away) == (free, busy, away)


def test_the_wall_has_counts_and_nobody(asking: Asking, web_office: Office) -> None:
    store = web_office.archive.store
    waits = [
        call(seconds, decision="refused", decided_at=AT + timedelta(seconds=n))
        for n, seconds in enumerate((9, 5))
    ]
    for one in (*waits, talking(), call(3)):
        store.add_receipt(one)
    asking.login(Role.WALL, name="screen", via="api")
    answer = asking.client.get("/api/v1/wall")
    told = answer.json()
    assert {name: told[name] for name in ("calls", "waiting", "free", "busy", "away")} == {
        **{"calls": 4, "waiting": 2, "free": 0, "busy": 1, "away": 0}
    }
    assert told["first_since"] == to_text(AT) and told["closed_until"] is None
    for secret in (CALLER[-9:], OPERATOR, "201", *(one.id for one in waits), waits[0].id[-6:]):
        assert secret not in answer.text
    until = asking.site.clock() + timedelta(hours=1)
    store.keep_specials([Special(number=1, from_at=AT, until_at=until)])
    assert asking.client.get("/api/v1/wall").json()["closed_until"] == to_text(until)
    asking.logout()
    page = asking.client.get("/wall", headers={"accept-language": "en"}).text
    assert '<html lang="fr">' in page and "File d’attente" in page, "the service's language, if nobody asks"
    assert OPERATOR not in page and "sipagent token add wall --role wall" in page


async def told(events: AsyncIterator[str]) -> dict[str, Any]:
    """The next event that is no beat."""
    async for text in events:
        name, _, rest = text.removeprefix("event: ").partition("\ndata: ")
        if rest:
            return {"event": name, **json.loads(rest)}
    raise AssertionError("it has ended")


def request_of(asking: Asking) -> Request:
    scope = {"type": "http", "app": asking.client.app, "headers": [], "state": {"person": asking.who[0]}}
    return Request(scope)


def test_who_watches_is_told_of_each_change_and_of_the_end(
    asking: Asking, web_office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = web_office.archive.store
    asking.login(Role.LISTENER)
    asking.site.watching = Watching(asking.site.look, every_s=0.01)

    async def watch() -> None:
        events = stream(request_of(asking), asking.site, beat_s=0.05)
        assert await anext(events) == "retry: 3000\n\n"
        assert (await told(events))["calls"] == []
        store.add_receipt(one := call())
        seen = await told(events)
        assert [(each["reference"], each["state"]) for each in seen["calls"]] == [(one.id[-6:], "notice")]
        assert CALLER not in json.dumps(seen)
        asking.logout()
        assert await told(events) == {"event": "ended"}

    asyncio.run(watch())
    assert asking.site.watching.count == 0
    monkeypatch.setattr("sipagent.web.pages.calls.MOST_WATCHERS", 0)
    asking.login(Role.LISTENER)
    answer = asking.client.get("/api/v1/events")
    assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE and "0 watch already" in answer.text


def test_one_thread_looks_for_all_and_only_while_somebody_watches() -> None:
    threads: set[int] = set()

    def look() -> Moment:
        threads.add(threading.get_ident())
        return Moment(at=AT)

    async def watch() -> None:
        with watching.watcher() as one, watching.watcher() as other:
            assert await one.next(9) == await other.next(9) == Moment(at=AT)
            assert await one.next(0.05) is None, "nothing has changed"
        thread = watching._thread
        if thread is not None:
            await asyncio.to_thread(thread.join, 9)

    watching = Watching(look, every_s=0.01)
    asyncio.run(watch())
    assert len(threads) == 1 and watching._thread is None


@pytest.mark.parametrize(
    ("fault", "why", "logged"),
    [
        (StoreError("busy"), "busy", []),
        (RuntimeError("a number of a caller"), "the log of the page says why", ["RuntimeError"]),
    ],
)
def test_what_cannot_be_read_is_told_with_what_was_before(
    fault: Exception, why: str, logged: list[str]
) -> None:
    """An error that nobody foresaw freezes nothing, either."""
    faults: list[Exception] = []

    def look() -> Moment:
        if faults:
            raise faults[0]
        return Moment(at=AT, unreadable=1)

    async def watch() -> None:
        with watching.watcher() as one:
            assert (await one.next(9)) == Moment(at=AT, unreadable=1)
            faults.append(fault)
            seen = await one.next(9)
            assert seen is not None and seen == Moment(at=AT, unreadable=1, fault=seen.fault)
            assert str(seen.fault).endswith(why)
            faults.clear()
            assert (await one.next(9)) == Moment(at=AT, unreadable=1)

    watching = Watching(look, every_s=0.01)
    with structlog.testing.capture_logs() as lines:
        asyncio.run(watch())
    assert [one["kind"] for one in lines if one["event"] == "answer_failed"] == logged
    assert "caller" not in str(lines)


# --- what is different today ---


@pytest.fixture
def knows(asking: Asking) -> Asking:
    """A configuration with a message, whose words lie beside it."""
    folder = asking.site.config.base
    for suffix in (".wav", ".txt"):
        (folder / f"flood{suffix}").write_bytes((SHIPPED / f"fr/closed{suffix}").read_bytes())
    prompts = asking.site.config.prompts.model_copy(update={"messages": {"flood": folder / "flood.wav"}})
    asking.site.config = asking.site.config.model_copy(update={"prompts": prompts})
    return asking


def send(asking: Asking, path: str, **fields: str) -> Response:
    who = asking.who[0]
    assert who
    return asking.client.post(path, data={"csrf": who.csrf, **fields})


def test_a_supervisor_closes_and_has_a_message_heard_and_everybody_sees_it(knows: Asking) -> None:
    knows.login(Role.SUPERVISOR)
    later = knows.site.local(knows.site.clock() + timedelta(hours=3))
    text = knows.client.get("/").text
    assert (SHIPPED / "fr/closed.txt").read_text(encoding="utf-8").strip()[:40] in text
    assert "Nothing: the hours and the notice of every day." in text
    answer = send(knows, "/today", what="message flood", until=f"{later:%Y-%m-%dT%H:%M}")
    assert (answer.status_code, answer.headers["location"]) == (HTTPStatus.SEE_OTHER, "/")
    assert "It is set" in knows.client.get("/").text
    tomorrow = later + timedelta(days=1)
    times = {"from": f"{tomorrow:%Y-%m-%dT%H:%M}", "until": f"{tomorrow + timedelta(hours=1):%Y-%m-%dT%H:%M}"}
    send(knows, "/today", what="closed", **times)
    assert "It is set.</p>" in knows.client.get("/").text
    knows.login(Role.LISTENER)
    text = knows.client.get("/").text
    until = (
        f"{later:%H:%M}"
        if later.date() == knows.site.local(knows.site.clock()).date()
        else f"{later:%Y-%m-%d %H:%M}"
    )
    assert f"Until {until} callers hear the message “flood” before the notice." in text
    assert f"{tomorrow:%Y-%m-%d %H:%M}" in text and "to come" in text
    assert "Take it back" not in text and 'action="/today"' not in text
    assert [one["message"] for one in knows.site.look().to_json()["today"]] == ["flood", None]
    lines = [(one.action, one.by, one.login, one.via) for one in knows.site.store.accesses()]
    assert lines == [("today", "claire", "claire", "web")] * 2


def test_one_is_taken_back_and_what_cannot_be_is_said_beside_the_form(knows: Asking) -> None:
    knows.login(Role.SUPERVISOR)
    send(knows, "/today", what="closed", until="2h")
    assert "callers hear that it is" in knows.client.get("/").text
    assert send(knows, "/today/remove", number="1").status_code == HTTPStatus.SEE_OTHER
    assert knows.site.store.specials() == ()
    for number in ("1", "one", "9" * 30):
        assert send(knows, "/today/remove", number=number).status_code == HTTPStatus.NOT_FOUND
    for fields, said in (
        ({"what": "closed", "until": "2020-01-01T10:00"}, "&#39;2020-01-01T10:00&#39; is over already"),
        ({"what": "message fire", "until": "2h"}, "there is none named &#39;fire&#39;; accepted: flood"),
        ({"what": "", "until": "2h"}, "“What” is empty"),
    ):
        answer = send(knows, "/today", **fields)
        assert answer.status_code == HTTPStatus.BAD_REQUEST and said in answer.text
        assert f'value="{fields["until"]}"' in answer.text and '<details class="card" open>' in answer.text
    assert knows.site.store.specials() == ()
