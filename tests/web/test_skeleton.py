"""Who comes in where, and what is shown of what comes from outside."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from types import MappingProxyType

import pytest
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from retention.accounts.credentials import AccountError
from retention.accounts.memory import TOLD_LIMIT
from retention.records import Access, RuleError
from retention.rows.rows import StoreError, TryAgain, UnknownId
from retention.sqlite import Store
from retention.texts import Reason
from retention.vault import KeysError
from sipagent.lookup.parsing import FieldError
from sipagent.web.guard import guarded
from sipagent.web.problems import Problem, RefusedRequests
from sipagent.web.rights import RIGHTS, SOUND, Right, Role, rights_of
from sipagent.web.templating import seen
from tests.web.conftest import Asking


def test_an_administrator_never_listens() -> None:
    for role in Role:
        assert not rights_of([role, Role.ADMINISTRATOR]) & SOUND
    assert all(rights_of([role]) & SOUND for role in Role if role is not Role.ADMINISTRATOR)


def test_rights_grow_with_roles() -> None:
    assert rights_of(RIGHTS) >= rights_of([]) == {Right.ANYBODY, Right.PERSON}
    assert rights_of([Role.SUPERVISOR]) > rights_of([Role.LISTENER])


@pytest.mark.parametrize("mark", ["\u202e", "\u2066", "\u200b", "\x1b", "\x00", "\ud800", "\u2028", "\ufeff"])
def test_what_is_not_seen_is_shown_as_its_code(mark: str) -> None:
    assert seen(f"a{mark}b") == f"a{ascii(mark)[1:-1]}b"
    assert seen(Markup(f"<b>a{mark}b</b>")) == Markup(f"<b>a{ascii(mark)[1:-1]}b</b>")


def test_plain_text_stays() -> None:
    assert (
        seen("élève 6\u00a0Mo\u202f; «\u00a0a\u00a0»\n\tb") == "élève 6\u00a0Mo\u202f; «\u00a0a\u00a0»\n\tb"
    )


def test_no_address_but_those_that_are_there(asking: Asking) -> None:
    answer = asking.client.get("/nowhere")
    assert answer.status_code == HTTPStatus.NOT_FOUND
    assert "nothing at this address" in answer.text
    told = asking.client.get("/api/v1/nowhere")
    assert told.headers["content-type"] == "application/problem+json"
    assert told.json()["status"] == HTTPStatus.NOT_FOUND


class _Gone(RuleError):
    gone = True


class _OthersMay(RuleError):
    others_may = True


class _More(RuleError):
    more = MappingProxyType({"ids": ["a", "b"]})


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        (RuleError("it is on hold"), HTTPStatus.CONFLICT, "it is on hold"),
        (_Gone("it is purged"), HTTPStatus.GONE, "it is purged"),
        (_OthersMay("you asked for it"), HTTPStatus.FORBIDDEN, "you asked for it"),
        (_More("several are meant"), HTTPStatus.CONFLICT, "several are meant"),
        (AccountError("the name is taken"), HTTPStatus.CONFLICT, "the name is taken"),
        (FieldError("since", "is no day"), HTTPStatus.UNPROCESSABLE_ENTITY, "since: is no day"),
        (ValueError(Reason("not so")), HTTPStatus.BAD_REQUEST, "not so"),
        (ValueError("secret"), HTTPStatus.BAD_REQUEST, "what was sent cannot be used"),
        (UnknownId("x: no such id"), HTTPStatus.NOT_FOUND, "x: no such id"),
        (TryAgain("busy"), HTTPStatus.SERVICE_UNAVAILABLE, "busy"),
        (StoreError("the disk is full"), HTTPStatus.INTERNAL_SERVER_ERROR, "the disk is full"),
        (KeysError("no key fits"), HTTPStatus.INTERNAL_SERVER_ERROR, "no key fits"),
        (OSError(28, "No space left", "/a/path"), HTTPStatus.INTERNAL_SERVER_ERROR, "No space left"),
    ],
)
def test_whatever_is_refused_or_fails_is_told_in_one_line(
    asking: Asking, fault: Exception, status: HTTPStatus, said: str
) -> None:
    """To a program as a problem, to a person as a page; a form's own page shows it beside what was typed."""

    def fails(request: Request) -> Response:
        raise fault

    def again(request: Request, problem: Problem) -> Response:
        return PlainTextResponse(f"again: {problem.detail}", int(problem.status))

    app = asking.client.app
    assert isinstance(app, Starlette)
    for path, way in (("/api/v1/fails", None), ("/fails", None), ("/form", again)):
        route = Route(path, guarded(fails, Right.ANYBODY, way), methods=["POST"], name="fails")
        app.router.routes.insert(0, route)
    told = asking.client.post("/api/v1/fails")
    assert (told.status_code, told.json()["detail"], told.json().get("ids")) == (
        status,
        said,
        getattr(fault, "more", {}).get("ids"),
    )
    assert told.headers["content-type"] == "application/problem+json"
    page = asking.client.post("/fails")
    said = said.removeprefix("since: ")  # where a person has the field's label
    plain = HTTPStatus.BAD_REQUEST if isinstance(fault, FieldError) else status
    assert page.status_code == plain and said in page.text
    form = asking.client.post("/form")
    typed = isinstance(fault, RuleError | ValueError)
    assert form.status_code == plain and form.text.startswith("again: ") == typed and said in form.text


@pytest.mark.parametrize("name", ["style.css", "icon.svg"])
def test_files_come_compressed_to_who_takes_it(asking: Asking, name: str) -> None:
    packed = asking.client.get(f"/static/{name}")
    plain = asking.client.get(f"/static/{name}", headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content


def test_a_browser_asks_each_time_whether_a_file_is_still_the_same(asking: Asking) -> None:
    first = asking.client.get("/static/style.css")
    assert first.headers["cache-control"] == "no-cache"
    again = asking.client.get("/static/style.css", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (HTTPStatus.NOT_MODIFIED, b"")
    other = asking.client.get("/static/style.css", headers={"if-none-match": 'W/"0"'})
    assert other.content == first.content


@pytest.mark.parametrize("name", ["../app.py", "%2e%2e/app.py", "..%2fapp.py", "/etc/passwd", "vendor", ""])
def test_only_files_of_the_page_are_given(asking: Asking, name: str) -> None:
    assert asking.client.get(f"/static/{name}").status_code == HTTPStatus.NOT_FOUND


def test_a_flood_of_refusals_is_counted() -> None:
    """Thirty lines a minute, and then one that says how many more there were."""
    store, now = Store(":memory:"), datetime(2026, 11, 24, tzinfo=UTC)
    moment = [now]
    refusals = RefusedRequests(store, lambda: moment[0], most=3)
    for _ in range(10):
        refusals.keep(Access(at=moment[0], action="login", detail="wrong"))
    assert [row.outcome for row in store.accesses()] == ["refused"] * 3
    moment[0] += timedelta(minutes=1)
    refusals.keep(Access(at=moment[0], action="login", detail="wrong"))
    assert "7 more" in str(store.accesses()[3].detail)
    assert len(store.accesses()) == 5


def test_what_nobody_comes_back_for_is_forgotten(asking: Asking) -> None:
    person = asking.login(Role.LISTENER)
    for number in range(TOLD_LIMIT + 1):
        asking.site.tell(replace(person, csrf=str(number)), "done")
    assert asking.site.told(replace(person, csrf="0")) is None
    assert asking.site.told(replace(person, csrf=str(TOLD_LIMIT))) == "done"
    assert asking.site.told(replace(person, csrf=str(TOLD_LIMIT))) is None
