"""Who comes in where, and what is shown of what comes from outside."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import pytest
from markupsafe import Markup

from retention.accounts.memory import TOLD_LIMIT
from retention.records import Access
from retention.sqlite import Store
from sipagent.web.problems import RefusedRequests
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
