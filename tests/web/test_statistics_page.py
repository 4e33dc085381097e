"""The page of statistics: what it shows to whom, and that nobody waits for it."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import pytest

from retention.records import Receipt
from retention.rows.rows import StoreError
from retention.rows.selection import Selection
from sipagent.web.background import MOST_PERIODS, CountedFigures, FigureCounter, Progress
from sipagent.web.rights import Role
from tests.office import Office
from tests.raising import raising
from tests.web.conftest import Asking


def shown(asking: Asking, query: str = "") -> str:
    """The page once it has counted."""
    asking.client.get(f"/statistics{query}")
    assert asking.site.counting.wait(20)
    answer = asking.client.get(f"/statistics{query}")
    assert answer.status_code == HTTPStatus.OK
    assert "data-waiting" not in answer.text
    return answer.text


def test_it_shows_what_the_command_draws(asking: Asking, web_office: Office) -> None:
    for _ in range(3):
        web_office.call()
    for role in (Role.OFFICER, Role.SUPERVISOR, Role.LISTENER):
        asking.login(role)
        text = shown(asking)
        assert ("marie.durand" in text) is ("By operator" in text) is (role is Role.SUPERVISOR)
    assert "These figures agree with the chain (call receipts 3; recordings 3" in text
    assert text.count("<svg") >= 3 and text.count("<table") >= 3 and "Outcomes" in text
    assert "+33" not in text and "pbx.example.net" not in text
    assert ".tiles" in asking.client.get("/static/figures.css").text
    today = asking.site.local(asking.site.clock()).date()
    assert f'href="/statistics?since={today}&amp;until={today}"' in text


def test_a_period_is_whole_days_of_the_service(asking: Asking, web_office: Office) -> None:
    kept = web_office.archive.store
    for hour in (22, 23):  # in Paris the last hour of the 9th, and the first of the 10th
        at = datetime(2026, 11, 9, hour, 30, tzinfo=UTC)
        id = f"20261109T{hour}3000000-482913"
        kept.add_receipt(Receipt(id=id, started_at=at, ended_at=at, decision="allowed", outcome="connected"))
    asking.login(Role.LISTENER)
    for query, calls in (
        ("?since=2026-11-10&until=2026-11-10", 1),
        ("?since=2026-11-09&until=2026-11-10", 2),
        ("?since=&until=2026-11-09", 1),
        ("?since=2026-11-11&until=", 0),
    ):
        assert f"<dt>Calls</dt><dd>{calls}</dd>" in shown(asking, query), query


def test_what_is_no_period_is_said_beside_it(asking: Asking) -> None:
    asking.login(Role.LISTENER)
    for query in ("since=soon&until=", "until=9999-12-31", "since=2026-11-02&until=2026-11-01"):
        answer = asking.client.get(f"/statistics?{query}")
        assert answer.status_code == HTTPStatus.BAD_REQUEST
        assert 'aria-invalid="true"' in answer.text and "This is no period" in answer.text


class Slow:
    """A store whose rows come when they may."""

    def __init__(self, asking: Asking) -> None:
        self.store, self.reads = asking.site.store, 0
        self.may, self.begun = threading.Event(), threading.Event()
        asking.site.counting = FigureCounter(lambda: self, asking.site.config, asking.site.clock)  # type: ignore[arg-type, return-value]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    def each_receipt(self, period: Selection) -> Iterator[Receipt]:
        self.reads += 1
        self.begun.set()
        assert self.may.wait(20)
        return self.store.each_receipt(period)


def test_nobody_waits_for_a_count(asking: Asking, web_office: Office) -> None:
    web_office.call()
    slow = Slow(asking)
    asking.login(Role.LISTENER)
    text = asking.client.get("/statistics").text
    assert "data-waiting" in text and "Counting" in text and "/static/waiting.js" in text
    assert slow.begun.wait(20)
    slow.may.set()
    text = shown(asking)
    assert "<svg" in text and "waiting.js" not in text
    shown(asking)
    assert slow.reads == 1, "it is remembered"


def test_what_is_remembered_and_what_waits_are_few(asking: Asking) -> None:
    slow, counting = Slow(asking), asking.site.counting
    periods = [Selection(since=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=n)) for n in range(40)]
    assert all(isinstance(counting.of(period), Progress) for period in periods)
    slow.may.set()
    assert counting.wait(20)
    assert slow.reads == MOST_PERIODS
    assert isinstance(counting.of(periods[0]), CountedFigures)
    assert isinstance(counting.of(periods[-1]), Progress), "who asks again gets its turn"
    assert counting.wait(20) and isinstance(counting.of(periods[-1]), CountedFigures)


def test_a_fault_of_the_database_is_said(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking.site.store, "each_receipt", raising(StoreError("the disk is gone")))
    asking.login(Role.LISTENER)
    text = shown(asking)
    assert "the disk is gone" in text and "<svg" not in text
