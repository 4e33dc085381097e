"""Lists by pages: as the commands give them, each row once, whatever is added meanwhile."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from retention.records import Access, Status
from sipagent.web.rights import Role
from tests.kept import receipt, recording
from tests.office import Office
from tests.web.conftest import Asking
from tests.web.program import API, Program

AT = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
COMMANDS = {"recordings": "list", "calls": "calls"}
CALLER, OTHER = "+33612345678", "+33687654321"


@pytest.fixture
def listener(asking: Asking) -> Program:
    asking.login(Role.LISTENER, via="api")
    return Program(asking.client)


def add(asking: Asking, number: int, at: datetime = AT, **changes: Any) -> str:
    """A call with a recording, in the rows alone."""
    row = replace(
        recording(), id=f"20261120T090000000-{number:06}", started_at=at, status=Status.CLOSED, **changes
    )
    asking.site.store.add_receipt(receipt(row))
    asking.site.store.add_recording(row)
    return row.id


def pages(program: Program, path: str, **body: Any) -> Iterator[list[Any]]:
    """One after the other, by what Link says."""
    ask = (lambda at: program.post(at, body)) if body else program.get
    while path:
        answer = ask(path)
        assert answer.status_code == HTTPStatus.OK, answer.text
        yield answer.json()
        found = re.fullmatch(r"<(.*)>; rel=\"next\"", answer.headers.get("link", ""))
        path = found[1].removeprefix(API) if found else ""


@pytest.mark.parametrize("what", ["recordings", "calls"])
def test_each_row_once_though_all_began_at_one_time_and_more_come(
    asking: Asking, listener: Program, what: str
) -> None:
    ids = [add(asking, number) for number in range(25)]
    seen: list[str] = []
    for count, rows in enumerate(pages(listener, f"/{what}?limit=4")):
        seen += [row["id"] for row in rows]
        add(asking, 100 + count)  # newer than all, and a call that began with them
        add(asking, 200 + count, AT + timedelta(hours=1))
    assert [id for id in seen if id in ids] == sorted(ids, reverse=True)
    assert len(seen) == len(set(seen))


def test_no_link_where_all_is_told(asking: Asking, listener: Program) -> None:
    for number in range(4):
        add(asking, number)
    assert "link" not in listener.get("/recordings?limit=4").headers
    assert "link" in listener.get("/recordings?limit=3").headers
    assert listener.get("/recordings").headers["cache-control"] == "no-store"


def test_filters_stay_in_the_link(asking: Asking, listener: Program) -> None:
    for number in range(3):
        add(asking, number, flagged=True)
        add(asking, 10 + number, flagged=False)
    link = listener.get("/recordings?flagged=true&since=2026-11-19&limit=2").headers["link"]
    asked = dict(parse_qsl(urlsplit(link[1:].partition(">")[0]).query))
    assert (asked["flagged"], asked["since"], asked["limit"]) == ("true", "2026-11-19", "2")
    rows = [row for page in pages(listener, "/recordings?flagged=true&limit=2") for row in page]
    assert len(rows) == 3 and all(row["flagged"] for row in rows)


@pytest.mark.parametrize("what", COMMANDS)
@pytest.mark.parametrize(
    ("asked", "options"),
    [
        ("", ()),
        ("?since=7d", ("--since", "7d")),
        ("?operator=201", ("--operator", "201")),
        ("?flagged=true", ("--flagged",)),
        ("?held=true", ("--held",)),
        ("?status=closed&until=today", ("--status", "closed", "--until", "today")),
    ],
)
def test_it_is_what_the_command_prints(
    web_office: Office, listener: Program, what: str, asked: str, options: tuple[str, ...]
) -> None:
    web_office.call(timedelta(hours=3))
    web_office.call(timedelta(days=9), flagged=True)
    assert listener.get(f"/{what}{asked}").text == web_office.run(COMMANDS[what], "--json", *options).out


def test_holds_are_what_the_command_prints(web_office: Office, listener: Program) -> None:
    row = web_office.call()
    hold = ("--ground", "criminal", "--reference", "2026-41", "--review", "2030-01-01")
    assert web_office.run("hold", row.id, *hold, "--by", "A. Roux", "--approved-by", "B. Petit").code == 0
    told = listener.get("/holds")
    assert told.text == web_office.run("holds", "--json").out
    assert told.json()[0]["review_overdue"] is False


@pytest.mark.parametrize("what", ["recordings", "calls"])
def test_by_caller_it_is_asked_in_a_body(web_office: Office, listener: Program, what: str) -> None:
    mine = [web_office.call(timedelta(hours=hours), caller=CALLER) for hours in range(1, 6)]
    web_office.call(caller=OTHER)
    for typed in ("06 12 34 56 78", CALLER, "0612"):
        answer = listener.post(f"/{what}/search", {"caller": typed})
        assert [row["id"] for row in answer.json()] == [row.id for row in mine]
    told = [page for page in pages(listener, f"/{what}/search", caller=CALLER, limit=2)]
    assert [len(page) for page in told] == [2, 2, 1]
    assert [row["id"] for page in told for row in page] == [row.id for row in mine]
    printed = web_office.run(COMMANDS[what], "--json", "--caller", CALLER).out
    assert listener.post(f"/{what}/search", {"caller": CALLER}).text == printed


@pytest.mark.parametrize("path", ["/recordings", "/calls", "/holds", "/recordings/search", "/accesses"])
def test_a_number_never_stands_in_an_address(asking: Asking, path: str) -> None:
    asking.login(Role.LISTENER, Role.OFFICER, via="api")
    program = Program(asking.client)
    ask = program.post if path.endswith("/search") else program.get
    said = program.refused(
        HTTPStatus.BAD_REQUEST,
        ask(f"{path}?caller=0612345678", json={})
        if ask is program.post
        else ask(f"{path}?caller=0612345678"),
    )
    assert "0612345678" not in said and "search" in said


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("limit=many", "limit"),
        ("limit=2&limit=3", "twice"),
        ("status=gone", "status"),
        ("since=soon", "2026-11-24"),
        ("since=0001-01-01T00:00%2B14:00", "since"),
        ("until=99999-01-01", "until"),
        ("reference=%00", "reference"),
        ("held=perhaps", "held"),
        ("colour=red", "since, until, operator, reference, status, held, flagged, limit, after"),
        ("operator=" + "2" * 300, "operator"),
        ("after=" + "2" * 65, "after"),
        ("after=nobody", "after"),
    ],
)
def test_what_cannot_be_read_is_told(listener: Program, asked: str, word: str) -> None:
    said = listener.refused(HTTPStatus.BAD_REQUEST, listener.get(f"/recordings?{asked}"))
    assert word in said


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ('{"limit": 0}', HTTPStatus.UNPROCESSABLE_ENTITY, "limit"),
        ('{"limit": "5"}', HTTPStatus.UNPROCESSABLE_ENTITY, "limit"),
        ('{"number": "0612345678"}', HTTPStatus.UNPROCESSABLE_ENTITY, "accepted: since, until"),
        ('{"caller": 612345678}', HTTPStatus.UNPROCESSABLE_ENTITY, "caller"),
        ('{"caller": "x"}', HTTPStatus.UNPROCESSABLE_ENTITY, "06 12 34 56 78"),
        ('{"caller": "\\u0000"}', HTTPStatus.UNPROCESSABLE_ENTITY, "caller"),
        ('{"caller": "\\ud800"}', HTTPStatus.UNPROCESSABLE_ENTITY, ""),
        ("[]", HTTPStatus.UNPROCESSABLE_ENTITY, ""),
        ("{", HTTPStatus.UNPROCESSABLE_ENTITY, ""),
        ("[" * 100_000, HTTPStatus.UNPROCESSABLE_ENTITY, ""),
        ("", HTTPStatus.UNPROCESSABLE_ENTITY, ""),
        (
            '{"caller": "' + "0" * (1 << 20) + '"}',
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "too long; accepted: ",
        ),
    ],
)
def test_what_is_sent_and_cannot_be_read_is_told(
    listener: Program, body: str, status: HTTPStatus, word: str
) -> None:
    answer = listener.ask(
        "POST", "/recordings/search", content=body, headers={"content-type": "application/json"}
    )
    assert word in listener.refused(status, answer)


def test_what_is_sent_is_json(listener: Program) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = listener.ask("POST", "/recordings/search", content="{}", headers={"content-type": kind})
        listener.refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, answer)


def test_the_trace_by_pages(asking: Asking, web_office: Office) -> None:
    asking.login(Role.OFFICER, via="api")
    program = Program(asking.client)
    for number in range(7):
        asking.site.store.add_access(Access(at=AT, action="play", detail=f"use {number}"))
    seen: list[str] = []
    for rows in pages(program, "/accesses?limit=3"):
        seen += [row["detail"] for row in rows]
        asking.site.store.add_access(Access(at=AT, action="play", detail="later"))
    assert seen == [f"use {number}" for number in range(6, -1, -1)]
    assert program.get("/accesses?limit=500").text == web_office.run("accesses", "--json").out


def test_figures_are_what_the_command_prints(asking: Asking, web_office: Office) -> None:
    for days in (1, 2, 40):
        web_office.call(timedelta(days=days))
    asking.login(Role.SUPERVISOR, via="api")
    program = Program(asking.client)
    for asked, options in (("", ()), ("since=2026-11-01&", ("--since", "2026-11-01"))):
        assert (
            program.get(f"/stats?{asked}by=operator").text == web_office.run("stats", "--json", *options).out
        )
    without = program.get("/stats").json()
    assert "operators" not in without
    told = program.get("/stats?by=operator").json()
    assert without | {"operators": told["operators"]} == told


def test_figures_by_operator_are_for_a_supervisor(asking: Asking, listener: Program) -> None:
    listener.refused(HTTPStatus.FORBIDDEN, listener.get("/stats?by=operator"))
    (row,) = asking.site.store.accesses()
    assert (row.action, row.outcome, row.login, row.via) == ("right", "refused", "claire", "api")
    assert "supervisor" in str(row.detail)
