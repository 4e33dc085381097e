"""Lists of recordings and calls: who sees them, what is searched for, page by page, and no number in an
address."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import pytest

from retention.records import Recording, Status, new_id, reference_of
from retention.rows.rows import Rows
from sipagent.web.rights import Role
from tests.kept import CALLER, receipt, recording
from tests.office import Office
from tests.web.conftest import Asking
from tests.web.reading import Page, read

DAY = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.fixture
def store(web_office: Office) -> Iterator[Rows]:
    with web_office.archive.store as store:
        yield store


def add(store: Rows, minutes: int = 0, **changes: Any) -> Recording:
    """A recording that is closed, with its receipt; its sound is not looked for here."""
    at = DAY + timedelta(minutes=minutes)
    fields: dict[str, Any] = {
        **{"id": new_id(at), "started_at": at, "duration_s": 61.0, "bytes": 1_000_000},
        **{"status": Status.CLOSED, "expires_at": at + timedelta(days=200)},
    }
    row = replace(recording(), **fields | changes)
    store.add_receipt(receipt(row))
    store.add_recording(row)
    return row


def unrecorded(store: Rows, **changes: Any) -> str:
    """The id of a call that was not recorded."""
    row = recording(id=new_id(DAY), started_at=DAY)
    store.add_receipt(
        replace(receipt(row), recording_id=None, decision="refused", decided_by="dtmf", **changes)
    )
    return row.id


def get(asking: Asking, address: str) -> Page:
    return read(asking.client.get(address))


def listed(page: Page) -> list[str]:
    return [link.rpartition("/")[2] for link in page.links if link.startswith("/recordings/")]


@pytest.mark.parametrize("address", ["/recordings", "/calls"])
@pytest.mark.parametrize("role", Role)
def test_who_sees_lists(asking: Asking, address: str, role: Role) -> None:
    asking.login(role)
    status = asking.client.get(address).status_code
    assert status == (HTTPStatus.FORBIDDEN if role is Role.ADMINISTRATOR else HTTPStatus.OK)


def test_what_is_listed_of_a_recording(asking: Asking, store: Rows) -> None:
    hold = {"ground": "criminal", "reference": "x", "by": "a", "approved_by": "b", "review": "2027-01-01"}
    row = add(store, operator="sip:marie.durand@pbx.example.net", flagged=True, hold=hold)
    asking.login(Role.LISTENER)
    page = get(asking, "/recordings")
    assert listed(page) == [row.id]
    for told in (
        "2026-11-24 13:00:00",
        "1:01",
        CALLER,
        "marie.durand",
        "closed",
        "2027-06-12",
        "held",
        "flagged",
    ):
        assert told in page.text, told
    assert "1 recording on this page: 1:01, 1.0 MB" in page.text
    assert "pbx.example.net" not in page.text


def test_pages_go_through_all_once(asking: Asking, store: Rows) -> None:
    rows = [add(store, minutes) for minutes in range(120)]
    asking.login(Role.LISTENER)
    address, seen, pages = "/recordings?operator=marie.durand", list[str](), 0
    while address:
        page = get(asking, address)
        seen += listed(page)
        pages += 1
        older = [link for link in page.links if "after=" in link and page.name_of(link) == "Older"]
        address = older[0] if older else ""
        assert pages == 1 or "/recordings?operator=marie.durand" in page.links, "the way back to the newest"
    assert seen == [row.id for row in reversed(rows)]
    assert pages == 3


def test_what_is_searched_for(asking: Asking, store: Rows) -> None:
    one = add(store)
    other = add(store, 24 * 60, operator="sip:202@pbx.example.net", flagged=True)
    gone = add(store, 48 * 60, status=Status.PURGED, operator=None, caller=None, purged_at=DAY)
    asking.login(Role.LISTENER)
    for asked, found in {
        "since=2026-11-25": [gone, other],
        "until=2026-11-25": [other, one],
        "since=2026-11-25&until=2026-11-25": [other],
        f"reference={reference_of(one.id)}": [one],
        f"reference=%23{reference_of(one.id)[:3]}+{reference_of(one.id)[3:]}": [one],
        "operator=202": [other],
        "status=purged": [gone],
        "flagged=1": [other],
        "held=1": [],
    }.items():
        page = get(asking, f"/recordings?{asked}")
        assert listed(page) == [row.id for row in found], asked
        assert ("No recording matches." in page.text) == (not found)


def test_a_day_is_one_of_the_service(asking: Asking, store: Rows) -> None:
    """23:30 in London is the next day in Paris."""
    row = add(store, 11 * 60 + 30)
    asking.login(Role.LISTENER)
    assert listed(get(asking, "/recordings?since=2026-11-25")) == [row.id]
    assert listed(get(asking, "/recordings?until=2026-11-24")) == []


def test_what_was_asked_for_stands_in_the_form_again(asking: Asking) -> None:
    asking.login(Role.LISTENER)
    page = get(asking, "/recordings?since=2026-11-20&operator=%22%3E%3Cb%3E&status=purged&held=1")
    fields = page.fields("get")
    assert fields["since"] == "2026-11-20" and fields["operator"] == '"><b>'
    assert fields["status"] == "purged" and fields["held"] == "1" and "flagged" not in fields


@pytest.mark.parametrize(("asked", "told"), [
    ("since=yesterday", "'yesterday' is not a day"),
    ("since=9999-12-31", "is not a day"),
    ("since=2026-11-25&until=2026-11-24", "it is before the first day"),
    ("reference=12", "is not the reference of a call"),
    ("status=lost", "'lost' is none of these"),
])  # fmt: skip
def test_what_cannot_be_read_is_told_beside_its_field(asking: Asking, asked: str, told: str) -> None:
    asking.login(Role.LISTENER)
    answer = asking.client.get(f"/recordings?{asked}")
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    page = read(answer)
    assert told in page.text
    invalid = page.having("aria-invalid", "true")
    assert invalid and all(page.by_id(one["aria-describedby"]) for one in invalid)


@pytest.mark.parametrize("after", ["nothing", "..", "20261124T222000123-482913%27--"])
def test_a_page_that_does_not_exist(asking: Asking, after: str) -> None:
    asking.login(Role.LISTENER)
    for address in ("/recordings", "/calls"):
        assert asking.client.get(f"{address}?after={after}").is_client_error


# --- by number ---


def search(asking: Asking, address: str = "/recordings", **fields: str) -> Page:
    csrf = asking.who[0].csrf if asking.who[0] else ""
    answer = asking.client.post(address, data={"csrf": csrf, **fields})
    assert not answer.history and "location" not in answer.headers
    return read(answer)


@pytest.mark.parametrize("name", ["caller", "number"])
@pytest.mark.parametrize("address", ["/recordings", "/calls"])
def test_a_number_in_an_address_is_refused(asking: Asking, address: str, name: str) -> None:
    asking.login(Role.LISTENER)
    answer = asking.client.get(f"{address}?{name}=0612345678")
    assert answer.status_code == HTTPStatus.BAD_REQUEST
    assert "a number never stands in an address" in answer.text and "0612345678" not in answer.text


def test_a_number_is_searched_for_by_a_form_and_so_are_its_further_pages(asking: Asking, store: Rows) -> None:
    rows = [add(store, minutes) for minutes in range(60)]
    add(store, 61, caller="+33698765432")
    asking.login(Role.LISTENER)
    page = search(asking, caller="06 12 34 56 78")
    assert listed(page) == [row.id for row in reversed(rows)][:50]
    assert not [link for link in page.links if re.search(r"12.?34.?56", link)]
    older = page.fields("post", button="Older")
    assert older["caller"] == "06 12 34 56 78"
    rest = read(asking.client.post("/recordings", data=older))
    assert listed(rest) == [row.id for row in reversed(rows)][50:]
    first = rest.fields("post", button="Back to the newest")
    assert "after" not in first and first["caller"] == "06 12 34 56 78"


def test_part_of_a_number_and_days(asking: Asking, store: Rows) -> None:
    one, other = add(store), add(store, 24 * 60)
    asking.login(Role.LISTENER)
    assert listed(search(asking, caller="5678")) == [other.id, one.id]
    assert listed(search(asking, caller="5678", since="2026-11-25")) == [other.id]
    page = search(asking, caller="call me")
    assert "is not a number" in page.text and not listed(page)


def test_calls_of_a_person_without_a_recording_are_told_of(asking: Asking, store: Rows) -> None:
    id = unrecorded(store)
    asking.login(Role.OFFICER)
    page = search(asking, caller=CALLER)
    assert "No recording matches." in page.text and "1 call that matches was not recorded." in page.text
    all_calls = page.fields("post", button="Show all calls")
    assert listed(read(asking.client.post("/calls", data=all_calls))) == [id]
    page = get(asking, f"/recordings?reference={reference_of(id)}")
    assert f"/calls?reference={reference_of(id)}" in page.links


def test_a_form_of_another_session_is_refused_and_kept_in_the_trace(asking: Asking, store: Rows) -> None:
    asking.login(Role.LISTENER)
    for csrf in ("", "csrf-other"):
        answer = asking.client.post("/recordings", data={"csrf": csrf, "caller": CALLER})
        assert answer.status_code == HTTPStatus.FORBIDDEN
    rows = store.accesses()
    assert [(row.action, row.outcome, row.by) for row in rows] == [("right", "refused", "claire")] * 2
    assert CALLER[-9:] not in str(rows)


@pytest.mark.parametrize(("content", "kind", "status"), [
    (b"csrf=csrf-claire&caller=%ff", "application/x-www-form-urlencoded", HTTPStatus.BAD_REQUEST),
    (b"a=&" * 2100, "application/x-www-form-urlencoded", HTTPStatus.BAD_REQUEST),
    (b"x" * 600_000, "application/x-www-form-urlencoded", HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (b"{}", "application/json", HTTPStatus.FORBIDDEN),
])  # fmt: skip
def test_what_is_no_form_is_refused(asking: Asking, content: bytes, kind: str, status: HTTPStatus) -> None:
    asking.login(Role.LISTENER)
    answer = asking.client.post("/recordings", content=content, headers={"content-type": kind})
    assert answer.status_code == status


# --- all calls ---


def test_all_calls_recorded_or_not(asking: Asking, store: Rows) -> None:
    row, id = add(store, 1), unrecorded(store, answered_at=DAY, connected_at=DAY + timedelta(seconds=70))
    asking.login(Role.LISTENER)
    page = get(asking, "/calls")
    assert listed(page) == [row.id, id] and "2 calls on this page" in page.text
    assert "1:10" in page.text and "refused" in page.text and "(dtmf)" in page.text
    assert listed(get(asking, "/calls?decision=refused")) == [id]
    assert listed(get(asking, "/calls?outcome=abandoned")) == []


def test_a_transfer_shows_both_operators(asking: Asking, store: Rows) -> None:
    both = ("sip:201@pbx.example.net", "sip:202@pbx.example.net")
    row = add(store, operator=both[1], operators=both)
    asking.login(Role.SUPERVISOR)
    for address in ("/recordings", "/calls", f"/recordings/{row.id}"):
        assert "201 → 202" in get(asking, address).text, address
    for one in ("201", "202"):
        assert listed(get(asking, f"/recordings?operator={one}")) == [row.id]


# --- from outside ---

HOSTILE = [
    "<script>alert(1)</script>",
    "a\u202eb\u2066",
    "line\nline",
    "'\"><img src=x>",
    "A" * 100_000,
    "{{ 7777*7777 }}",
]


@pytest.mark.parametrize("text", HOSTILE, ids=["script", "bidi", "line", "quotes", "long", "template"])
@pytest.mark.parametrize("address", ["/recordings", "/calls"])
def test_what_comes_from_outside_is_only_shown(asking: Asking, store: Rows, address: str, text: str) -> None:
    add(store, operator=f"sip:{text}@pbx.example.net", caller=text)
    asking.login(Role.LISTENER)
    answer = asking.client.get(address)
    page = read(answer)
    assert not page.elements("script") and not page.elements("img") and not page.having("style")
    assert "\u202e" not in answer.text and "\u2066" not in answer.text
    assert len(answer.text) < 20_000
    assert "60481729" not in page.text  # nothing that came is computed


def test_in_french(asking: Asking, store: Rows) -> None:
    add(store)
    asking.login(Role.LISTENER, language="fr")
    page = get(asking, "/recordings")
    assert page.language == "fr"
    for told in ("Enregistrements", "Référence de l’appel", "1 enregistrement sur cette page", "Rechercher"):
        assert told in page.text, told
    assert "Aucun appel" in get(asking, "/calls?since=2027-01-01").text
