"""Lists of recordings and calls: what is searched for, page by page, and no number in an address. The page
of one call: what is told of it, who cannot hear it and why, and what is done with it.

What rules say: test_operations. Who may do what: test_every_address. What is refused: test_faces.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import pytest

from retention.records import Access, CallerIdentity, Event, Note, Recording, Status, new_id, reference_of
from retention.rows.rows import Rows
from sipagent.web.rights import Role
from tests.kept import CALLER, receipt, recording
from tests.office import Office
from tests.sealing import make_pair, sealed_call
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
    for told in ("2 calls on this page", "1:10", "refused", "(key)", "201 → 202", "(verified A)"):
        assert told in page.text, told
    assert "pbx.example.net" not in page.text and "201 → 202" in get(asking, f"/recordings/{row.id}").text
    asking.login(Role.LISTENER, language="fr")
    page = get(asking, "/recordings")
    assert page.language == "fr"
    for told in ("Enregistrements", "Référence de l’appel", "1 enregistrement sur cette page", "Rechercher"):
        assert told in page.text, told
    assert "Aucun appel" in get(asking, "/calls?since=2027-01-01").text


def test_no_list_says_that_who_refused_is_recorded_nor_that_nobody_claims_a_number(
    asking: Asking, store: Rows
) -> None:
    row = recording(id=new_id(DAY), started_at=DAY)  # which the refusal erased
    refused = replace(receipt(row), decision="refused", caller=None, caller_identity=CallerIdentity())
    store.add_receipt(refused)
    (line,) = [part for part in asking.client.get("/calls").text.split("<tr>") if row.id in part]
    assert ">REC<" not in line and "claimed" not in line
    store.add_receipt(replace(refused, id=(other := new_id(DAY)), decision="allowed"))
    (line,) = [part for part in asking.client.get("/calls").text.split("<tr>") if other in part]
    assert ">REC<" in line


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
        "since=2026-11-25&until=2026-11-25": [other],
        f"reference=%23{reference[:3]}+{reference[3:]}": [one],
        "operator=202": [other],
        "flagged=1": [other],
        "held=1": [],
    }.items():
        page = get(asking, f"/recordings?{asked}")
        assert listed(page) == [row.id for row in found], asked
        assert ("No recording matches." in page.text) == (not found)
    asking.site.clock = lambda: datetime(2026, 11, 25, 23, 30, tzinfo=UTC)  # in Paris it is the 26th
    for typed, day in (
        ("hier", "2026-11-25"),
        ("yesterday", "2026-11-25"),
        ("aujourd%E2%80%99hui", "2026-11-26"),
    ):
        for path in ("/recordings", "/calls", "/statistics"):
            fields = get(asking, f"{path}?since={typed}&until={typed}").fields("get")
            assert (fields["since"], fields["until"]) == (day, day), (path, typed)
    page = get(asking, "/recordings?since=2026-11-20&operator=%22%3E%3Cb%3E&status=purged&held=1")
    fields = page.fields("get")
    assert (fields["since"], fields["operator"]) == ("2026-11-20", '"><b>')
    assert (fields["status"], fields["held"], "flagged" in fields) == ("purged", "1", False)


def test_what_cannot_be_read_is_told_beside_its_field(asking: Asking, store: Rows) -> None:
    for asked, told in (
        ("since=soon", "'soon' is not a day"),
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


HOLD = {
    **{"ground": "criminal", "reference": "complaint 2026-41", "by": "M. Durand", "approved_by": "C. Petit"},
    "review": "2026-01-31",
}
WANTED = {"ground": "criminal", "reference": "complaint 2026-41", "review": "2099-01-31"}
OFFERED = {
    Role.LISTENER: {"note"},
    Role.SUPERVISOR: {"note", "hold"},
    Role.OFFICER: {"delete"},
}


def send(asking: Asking, id: str, form: str, **fields: str) -> Page:
    csrf = asking.who[0].csrf if asking.who[0] else ""
    answer = asking.client.post(f"/recordings/{id}/{form}", data={"csrf": csrf, **fields})
    if answer.status_code == HTTPStatus.SEE_OTHER:
        answer = asking.client.get(answer.headers["location"])
    return read(answer)


def heard(store: Rows, row: Recording, **more: Any) -> None:
    """Somebody has listened to it."""
    use = Access(at=datetime.now(UTC), action="play", recording_id=row.id, purpose="quality", by="M. Durand")
    store.add_access(replace(use, **more))


def held(office: Office, row: Recording) -> None:
    office.archive.change(replace(row, hold=HOLD))


def added(store: Rows, **changes: Any) -> Recording:
    """A recording in the rows alone."""
    row = recording(id=new_id(datetime.now(UTC)), **changes)
    store.add_receipt(receipt(row))
    store.add_recording(row)
    return row


def test_all_that_is_known_of_a_recording(asking: Asking, web_office: Office, store: Rows) -> None:
    row = web_office.call(operator="sip:marie.durand@pbx.example.net", flagged=True)
    held(web_office, row)
    at = row.started_at
    events = (
        Event(at=at + timedelta(seconds=14), what="decision: allowed (silence)", by="caller"),
        Event(at=at + timedelta(seconds=31), what="bridged with sip:marie.durand@x", by="operator"),
        Event(at=at + timedelta(seconds=70), what="paused", by="sip:marie.durand@pbx.example.net"),
    )
    known = receipt(row, answered_at=at + timedelta(seconds=1), connected_at=at + timedelta(seconds=31))
    store.update_receipt(replace(known, events=events, phase="window", confidence=0.93))
    for number in range(100):
        heard(store, row, by=f"person {number}.")
    heard(store, row, action="export", detail='both to "/home/durand/call.wav"')
    store.add_note(
        Note(recording_id=row.id, at=at, by="M. Durand", text="<b>Good</b>\n\n two", expires_at=at)
    )
    asking.login(Role.LISTENER)
    page = get(asking, f"/recordings/{row.id}")
    for told in (
        *(f"Call {reference_of(row.id)}", CALLER, "marie.durand", "flagged", "allowed (silence)"),
        *("0:14 decision: allowed (silence) (caller)", "0:31 bridged with", "1:10 paused (marie.durand)"),
        *("Line of the callerMOS 4.1", "One waynothing came from the operator"),
        *("the call is over", "confidence 93 %", "0:04 to 0:08", row.sha256 or "-"),
        *("complaint 2026-41", "C. Petit", "review overdue", "/home/durand/call.wav", "not there any more"),
        *("play quality person 99. done", "export quality M. Durand done", "<b>Good</b> two"),
        *("1 earlier use is not shown.", "person 1."),
    ):
        assert told in page.text, told
    assert "person 0." not in page.text
    asking.login(Role.LISTENER, language="fr")
    page = get(asking, f"/recordings/{row.id}")
    assert page.language == "fr"
    for told in (
        f"Appel {reference_of(row.id)}",
        "Conservation comme preuve",
        "l’appel arrive",
        "Usages",
        "gigue 2,1 ms",
    ):
        assert told in page.text, told


def test_a_call_without_a_recording_and_one_that_goes_on(asking: Asking, store: Rows) -> None:
    call = receipt(recording(id=new_id(datetime.now(UTC))), recording_id=None, decision="refused")
    store.add_receipt(replace(call, decided_by="dtmf"))
    asking.login(Role.LISTENER)
    page = get(asking, f"/recordings/{call.id}")
    assert "There is nothing to hear" in page.text and "refused (key)" in page.text and CALLER in page.text
    assert not page.elements("textarea") and "Hold" not in [h.text for h in page.elements("h2")]
    row = added(store, operator=None)
    store.update_receipt(replace(store.receipt(row.id), ended_at=None, outcome=None))
    page = get(asking, f"/recordings/{row.id}")
    assert "the call is still in progress" in page.text and "in progress" in page.text


def test_a_reference_or_a_beginning_leads_there(asking: Asking, web_office: Office, store: Rows) -> None:
    row = web_office.call()
    for id in (reference_of(row.id), row.id[:18], row.id[:-1]):
        answer = asking.client.get(f"/recordings/{id}")
        assert (answer.status_code, answer.headers["location"]) == (303, f"/recordings/{row.id}")
    web_office.call()
    for id, said in (("20", "several calls"), ("999999x", "no such call"), ("a'--", "no such call")):
        answer = asking.client.get(f"/recordings/{id}")
        assert answer.status_code == HTTPStatus.NOT_FOUND and said in answer.text


def test_what_each_role_is_offered(asking: Asking, web_office: Office, store: Rows) -> None:
    row = web_office.call()
    heard(store, row)
    for role, forms in OFFERED.items():
        asking.login(role)
        page = get(asking, f"/recordings/{row.id}")
        offered = {form.get("action", "").rpartition("/")[2] for form in page.elements("form")}
        assert offered & {"note", "hold", "release", "delete"} == forms
        purposes = [one.get("value") for one in page.elements("option") if one.get("value")]
        assert ("quality" in purposes) == (role is not Role.OFFICER) and "access_request" in purposes


def test_who_cannot_hear_it_is_told_why(asking: Asking, web_office: Office, store: Rows) -> None:
    keys = {name: make_pair(web_office, name) for name in ("claire", "eve")}
    row = sealed_call(web_office, ("claire",))
    for with_key, roles, told in (
        (None, (Role.LISTENER,), "your account has no key"),
        ("eve", (Role.LISTENER,), "not for your key (eve"),
        ("claire", (Role.LISTENER, Role.ADMINISTRATOR), "An administrator never listens"),
        ("claire", (Role.LISTENER,), ""),
        ("claire", (Role.OFFICER,), ""),
    ):
        asking.who[:] = [replace(asking.login(*roles), key=keys.get(with_key or ""))]
        page = get(asking, f"/recordings/{row.id}")
        assert ("You cannot hear it" in page.text) == bool(told) and told in page.text
        assert bool(page.having("id", "play")) == (not told) and "sealed" in page.text
    asking.login(Role.LISTENER)
    for status, told in (  # what is gone
        (Status.ERASED, "it was erased during the call"),
        (Status.FAILED, "the recorder failed"),
        (Status.PURGED, "it is already purged"),
        (Status.CLOSED, "Its file is not where it should be."),
    ):
        page = get(asking, f"/recordings/{added(store, status=status).id}")
        assert told in page.text and not page.having("id", "play")


def test_an_analysis_is_filed_once_what_would_be_cut_out_was_agreed_to(
    asking: Asking, web_office: Office, store: Rows
) -> None:
    row = web_office.call()
    asking.login(Role.LISTENER)
    assert "nobody has listened to it" in get(asking, f"/recordings/{row.id}").text
    assert "nobody has listened to it" in send(asking, row.id, "note", text="Good.").by_id("fault-note")
    heard(store, row)
    text = f"He gave his number,\r\n{CALLER}."
    page = send(asking, row.id, "note", text=text)
    assert "+336[12345678]." in page.text and not store.notes(row.id)
    fields = page.fields("post", button="File the analysis")
    assert fields["text"] == text.replace("\r", "")
    assert "agreed" not in fields, "nothing is agreed to before it was read"
    send(asking, row.id, "note", **fields | {"agreed": "1", "text": text.replace("He", "Mr 12345678")})
    assert not store.notes(row.id), "another text than the one that was agreed to"
    page = send(asking, row.id, "note", **fields | {"agreed": "1"})
    assert "The analysis is filed, and kept until" in page.text
    assert "The analysis is filed" not in get(asking, f"/recordings/{row.id}").text, "it is told once"
    (note,) = store.notes(row.id)
    assert (note.text, note.by) == ("He gave his number,\n+336….", "claire")
    told = store.accesses(row.id)[-1]
    assert (told.action, told.outcome, told.login, told.via) == ("note", "done", "claire", "web")


def test_a_hold_is_asked_for_and_waits_and_so_is_its_end(
    asking: Asking, web_office: Office, store: Rows
) -> None:
    row = web_office.call()
    asking.login(Role.SUPERVISOR)
    for changes, fault in (
        ({"review": "soon"}, "is not a day"),
        ({"reference": " "}, "not a name” is empty"),
    ):
        page = send(asking, row.id, "hold", **WANTED | changes)
        assert fault in page.by_id("fault-hold") and not store.approvals(row.id)
        assert page.fields("post", button="Ask for the hold")["review"] == (WANTED | changes)["review"]
    page = send(asking, row.id, "hold", **WANTED)
    assert "It is asked for. Somebody else must approve it." in page.text
    said = "Hold: criminal, reference complaint 2026-41, to be looked at again on 2099-01-31."
    assert f"{said} Asked on " in page.text and "by claire." in page.text
    (asked,) = store.approvals(row.id)
    assert (asked.action, asked.state, asked.by) == ("hold", "pending", "claire")
    assert f"/holds#approval-{asked.id}" in page.links
    asking.login(Role.OFFICER, name="paul")
    page = get(asking, f"/recordings/{row.id}")
    assert said in page.text and "Approve or refuse it" in page.text
    asking.login(Role.LISTENER, name="paul")
    assert said not in get(asking, f"/recordings/{row.id}").text, "it is seen by those who decide"
    other = web_office.call()
    held(web_office, other)
    asking.login(Role.SUPERVISOR)
    page = send(asking, other.id, "release", reason="complaint 2026-41 closed")
    assert "End of the hold: complaint 2026-41 closed." in page.text
    assert "The hold goes on: criminal" in send(asking, other.id, "hold", **WANTED).text
    assert [one.action for one in store.approvals(other.id)] == ["release", "renew"]


def test_a_call_is_deleted_once_that_was_agreed_to_and_certified(
    asking: Asking, web_office: Office, store: Rows
) -> None:
    row = web_office.call()
    asking.login(Role.OFFICER)
    assert send(asking, row.id, "delete", reason=" ", agreed="1").by_id("fault-delete")
    page = send(asking, row.id, "delete", reason="request 2026-118")
    assert "cannot be brought back" in page.text and "request 2026-118" in page.text
    assert store.recording(row.id).status is Status.CLOSED
    fields = page.fields("post", "Delete it for ever")
    del fields["csrf"]
    page = send(asking, row.id, "delete", **fields)
    for told in ("ATTESTATION D’EFFACEMENT", row.id, "request 2026-118", "claire", str(row.sha256)):
        assert told in page.text, told
    assert store.recording(row.id).status is Status.PURGED
    assert ("delete", "done", "web") in [(use.action, use.outcome, use.via) for use in store.accesses(row.id)]
    assert CALLER not in get(asking, f"/recordings/{row.id}").text
