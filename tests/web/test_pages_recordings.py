"""Lists of recordings and calls: what is searched for, page by page, and no number in an address."""

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
BOTH = ("sip:201@pbx.example.net", "sip:202@pbx.example.net")


@pytest.fixture
def store(web_office: Office, asking: Asking) -> Iterator[Rows]:
    asking.login(Role.LISTENER)
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
    row = receipt(recording(id=new_id(DAY), started_at=DAY), recording_id=None, decision="refused")
    store.add_receipt(replace(row, decided_by="dtmf", **changes))
    return row.id


def get(asking: Asking, address: str) -> Page:
    return read(asking.client.get(address))


def search(asking: Asking, address: str = "/recordings", **fields: str) -> Page:
    answer = asking.client.post(address, data={"csrf": "csrf-claire", **fields})
    assert not answer.history and "location" not in answer.headers
    return read(answer)


def listed(page: Page) -> list[str]:
    return [link.rpartition("/")[2] for link in page.links if link.startswith("/recordings/")]


def test_what_is_listed_of_recordings_and_calls(asking: Asking, store: Rows) -> None:
    hold = {"ground": "criminal", "reference": "x", "by": "a", "approved_by": "b", "review": "2027-01-01"}
    id = unrecorded(store, answered_at=DAY, connected_at=DAY + timedelta(seconds=70))
    row = add(store, 1, operator=BOTH[1], operators=BOTH, flagged=True, hold=hold)
    page = get(asking, "/recordings")
    assert listed(page) == [row.id]
    for told in (
        *("2026-11-24 13:01:00", "1:01", CALLER, "201 → 202", "closed", "2027-06-12", "held", "flagged"),
        "1 recording on this page: 1:01, 1.0 MB",
    ):
        assert told in page.text, told
    page = get(asking, "/calls")
    assert listed(page) == [row.id, id]
    for told in ("2 calls on this page", "1:10", "refused", "(dtmf)", "201 → 202"):
        assert told in page.text, told
    assert "pbx.example.net" not in page.text and "201 → 202" in get(asking, f"/recordings/{row.id}").text
    asking.login(Role.LISTENER, language="fr")
    page = get(asking, "/recordings")
    assert page.language == "fr"
    for told in ("Enregistrements", "Référence de l’appel", "1 enregistrement sur cette page", "Rechercher"):
        assert told in page.text, told
    assert "Aucun appel" in get(asking, "/calls?since=2027-01-01").text


def test_pages_go_through_all_once(asking: Asking, store: Rows) -> None:
    with store.write():
        rows = [add(store, minutes) for minutes in range(120)]
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
    late = add(store, 35 * 60 + 30)  # 23:30 in London is the next day in Paris
    gone = add(store, 48 * 60, status=Status.PURGED, operator=None, caller=None, purged_at=DAY)
    reference = reference_of(one.id)
    for asked, found in {
        "since=2026-11-26": [gone, late],
        "until=2026-11-25": [other, one],
        "since=2026-11-25&until=2026-11-25": [other],
        f"reference={reference}": [one],
        f"reference=%23{reference[:3]}+{reference[3:]}": [one],
        "operator=202": [other],
        "status=purged": [gone],
        "flagged=1": [other],
        "held=1": [],
    }.items():
        page = get(asking, f"/recordings?{asked}")
        assert listed(page) == [row.id for row in found], asked
        assert ("No recording matches." in page.text) == (not found)
    for asked, found in {
        "decision=allowed&outcome=connected&until=2026-11-24": [one],
        "outcome=abandoned": [],
    }.items():
        assert listed(get(asking, f"/calls?{asked}")) == [row.id for row in found], asked
    page = get(asking, "/recordings?since=2026-11-20&operator=%22%3E%3Cb%3E&status=purged&held=1")
    fields = page.fields("get")
    assert (fields["since"], fields["operator"]) == ("2026-11-20", '"><b>')
    assert (fields["status"], fields["held"], "flagged" in fields) == ("purged", "1", False)


def test_what_cannot_be_read_is_told_beside_its_field(asking: Asking, store: Rows) -> None:
    for asked, told in (
        ("since=yesterday", "'yesterday' is not a day"),
        ("since=0001-01-01", "is not a day"),
        ("since=9999-12-31", "is not a day"),
        ("since=2026-11-25&until=2026-11-24", "it is before the first day"),
        ("reference=12", "is not the reference of a call"),
        ("status=lost", "'lost' is none of these"),
    ):
        answer = asking.client.get(f"/recordings?{asked}")
        assert answer.status_code == HTTPStatus.BAD_REQUEST
        page = read(answer)
        assert told in page.text
        invalid = page.having("aria-invalid", "true")
        assert invalid and all(page.by_id(one["aria-describedby"]) for one in invalid)


def test_what_no_address_may_say(asking: Asking, store: Rows) -> None:
    for asked in ("/recordings?caller", "/calls?caller", "/calls?number"):
        answer = asking.client.get(f"{asked}=0612345678")
        assert answer.status_code == HTTPStatus.BAD_REQUEST
        assert "a number never stands in an address" in answer.text and "0612345678" not in answer.text
    for after in ("nothing", "20261124T222000123-482913%27--"):
        assert asking.client.get(f"/calls?after={after}").is_client_error


def test_a_number_is_searched_for_by_a_form_and_so_are_its_further_pages(asking: Asking, store: Rows) -> None:
    with store.write():
        rows = [add(store, minutes) for minutes in range(60)]
        add(store, 61, caller="+33698765432")
        later = add(store, 24 * 60, caller="+33698765678")
    page = search(asking, caller="06 12 34 56 78")
    assert listed(page) == [row.id for row in reversed(rows)][:50]
    assert not [link for link in page.links if re.search(r"12.?34.?56", link)]
    older = page.fields("post", button="Older")
    assert older["caller"] == "06 12 34 56 78"
    rest = read(asking.client.post("/recordings", data=older))
    assert listed(rest) == [row.id for row in reversed(rows)][50:]
    first = rest.fields("post", button="Back to the newest")
    assert "after" not in first and first["caller"] == "06 12 34 56 78"
    assert listed(search(asking, caller="5678"))[:2] == [later.id, rows[-1].id]  # a part of it
    assert listed(search(asking, caller="5678", since="2026-11-25")) == [later.id]
    page = search(asking, caller="call me")
    assert "is not a number" in page.text and not listed(page)


def test_calls_of_a_person_without_a_recording_are_told_of(asking: Asking, store: Rows) -> None:
    id = unrecorded(store)
    page = search(asking, caller=CALLER)
    assert "No recording matches." in page.text and "1 call that matches was not recorded." in page.text
    all_calls = page.fields("post", button="Show all calls")
    assert listed(read(asking.client.post("/calls", data=all_calls))) == [id]
    page = get(asking, f"/recordings?reference={reference_of(id)}")
    assert f"/calls?reference={reference_of(id)}" in page.links
