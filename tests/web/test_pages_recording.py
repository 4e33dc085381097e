"""The page of one call: what is told of it, who cannot hear it and why, and what is done with it."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import pytest

from retention.records import Access, Event, Note, Recording, Status, new_id, reference_of
from retention.rows.rows import Rows
from sipagent.web.rights import RIGHTS, Role
from tests.kept import CALLER, receipt, recording, remove
from tests.office import Office
from tests.sealing import make_pair, sealed_call
from tests.web.conftest import Asking
from tests.web.reading import Page, read

HOLD = {
    **{"ground": "criminal", "reference": "complaint 2026-41", "by": "M. Durand", "approved_by": "C. Petit"},
    "review": "2026-01-31",
}
FORMS = {
    "note": {Role.LISTENER, Role.SUPERVISOR},
    "delete": {Role.OFFICER},
    **{name: {Role.SUPERVISOR} for name in ("hold", "release")},
}
WANTED = {"ground": "criminal", "reference": "complaint 2026-41", "review": "2099-01-31"}


@pytest.fixture
def store(web_office: Office) -> Iterator[Rows]:
    with web_office.archive.store as store:
        yield store


def get(asking: Asking, id: str) -> Page:
    answer = asking.client.get(f"/recordings/{id}")
    assert answer.status_code == HTTPStatus.OK
    return read(answer)


def send(asking: Asking, id: str, form: str, **fields: str) -> Page:
    csrf = asking.who[0].csrf if asking.who[0] else ""
    answer = asking.client.post(f"/recordings/{id}/{form}", data={"csrf": csrf, **fields})
    if answer.status_code == HTTPStatus.SEE_OTHER:
        answer = asking.client.get(answer.headers["location"])
    return read(answer)


def heard(store: Rows, row: Recording) -> None:
    """Somebody has listened to it."""
    at = datetime.now(UTC)
    store.add_access(Access(at=at, action="play", recording_id=row.id, purpose="quality", by="M. Durand"))


def held(office: Office, row: Recording, **changes: str) -> None:
    """It is on hold."""
    office.archive.change(replace(row, hold=HOLD | changes))


def unrecorded(store: Rows, **changes: object) -> str:
    """A call that was not recorded."""
    row = recording(id=new_id(datetime.now(UTC)))
    told = replace(receipt(row), recording_id=None, decision="refused", decided_by="dtmf")
    store.add_receipt(replace(told, **changes))  # type: ignore[arg-type]
    return row.id


# --- what is told ---


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
    heard(store, row)
    store.add_access(
        Access(
            at=at,
            action="export",
            recording_id=row.id,
            purpose="quality",
            by="M. Durand",
            detail='both to "/home/durand/call.wav"',
        )
    )
    asking.login(Role.LISTENER)
    page = get(asking, row.id)
    for told in (
        *(f"Call {reference_of(row.id)}", CALLER, "marie.durand", "flagged", "allowed (silence)"),
        *("0:14 decision: allowed (silence) (caller)", "0:31 bridged with", "1:10 paused (marie.durand)"),
        *("the call is over", "confidence 93 %", "0:04 to 0:08", row.sha256 or "-"),
        *("complaint 2026-41", "C. Petit", "review overdue", "/home/durand/call.wav", "not there any more"),
        *("play quality M. Durand done", "export quality M. Durand done"),
    ):
        assert told in page.text, told


def test_in_french(asking: Asking, web_office: Office, store: Rows) -> None:
    row = web_office.call()
    asking.login(Role.LISTENER, language="fr")
    page = get(asking, row.id)
    assert page.language == "fr"
    for told in (f"Appel {reference_of(row.id)}", "Conservation comme preuve", "l’appel arrive", "Usages"):
        assert told in page.text, told


def test_a_call_without_a_recording_shows_its_receipt(asking: Asking, store: Rows) -> None:
    id = unrecorded(store)
    asking.login(Role.LISTENER)
    page = get(asking, id)
    assert "There is nothing to hear" in page.text and "refused (dtmf)" in page.text and CALLER in page.text
    assert not page.elements("textarea") and "Hold" not in [h.text for h in page.elements("h2")]


def test_a_call_that_goes_on(asking: Asking, web_office: Office, store: Rows) -> None:
    row = recording(id=new_id(datetime.now(UTC)), operator=None)
    store.add_receipt(receipt(row, ended_at=None, outcome=None))
    store.add_recording(row)
    asking.login(Role.LISTENER)
    page = get(asking, row.id)
    assert "the call is still in progress" in page.text and "in progress" in page.text


def test_many_uses_are_not_all_shown(asking: Asking, web_office: Office, store: Rows) -> None:
    row = web_office.call()
    for number in range(102):
        told = Access(at=datetime.now(UTC), action="play", recording_id=row.id, by=f"person {number}.")
        store.add_access(told)
    asking.login(Role.LISTENER)
    page = get(asking, row.id)
    assert "2 earlier uses are not shown." in page.text
    assert "person 101." in page.text and "person 2." in page.text and "person 1." not in page.text


@pytest.mark.parametrize("how", [reference_of, lambda id: id[:18], lambda id: id[:-1]])
def test_a_reference_or_a_beginning_leads_there(asking: Asking, web_office: Office, how) -> None:  # type: ignore[no-untyped-def]
    row = web_office.call()
    asking.login(Role.LISTENER)
    answer = asking.client.get(f"/recordings/{how(row.id)}")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/recordings/{row.id}")


def test_what_means_several_or_none(asking: Asking, web_office: Office) -> None:
    web_office.call(), web_office.call()
    asking.login(Role.LISTENER)
    for id, said in {
        "20": "several calls are meant",
        "999999x": "no such call",
        "a'--": "no such call",
    }.items():
        answer = asking.client.get(f"/recordings/{id}")
        assert answer.status_code == HTTPStatus.NOT_FOUND and said in answer.text


# --- from outside ---

HOSTILE = [
    "<script>alert(1)</script>",
    "a\u202eb\u2066c",
    "line\nline",
    "'\"><img src=x>",
    "A" * 100_000,
    "{{ 7*7 }}",
]


@pytest.mark.parametrize("text", HOSTILE, ids=["script", "bidi", "line", "quotes", "long", "template"])
def test_what_comes_from_outside_is_only_shown(
    asking: Asking, web_office: Office, store: Rows, text: str
) -> None:
    operator = f"sip:{text}@pbx.example.net"
    row = web_office.call(operator=operator, caller=text, call_id=text)
    held(web_office, row, reference=text, by=text, review=text)
    event = Event(at=row.started_at, what=f"bridged with {text}", by=text)
    store.update_receipt(replace(receipt(row), events=(event,), keyword=text, dtmf_method=text, outcome=text))
    use = Access(at=row.started_at, action=text, recording_id=row.id, purpose=text, by=text, reference=text)
    store.add_access(replace(use, system_user=text, detail=text, outcome=text))
    store.add_access(replace(use, action="export", outcome="done", detail=f"both to /x/{text[:80]}"))
    asking.login(*(set(RIGHTS) - {Role.ADMINISTRATOR}))
    answer = asking.client.get(f"/recordings/{row.id}")
    page = read(answer)
    assert {one.get("type") for one in page.elements("script")} == {"application/json"}
    assert not page.elements("img") and not page.having("style")
    assert "\u202e" not in answer.text and "\u2066" not in answer.text
    assert len(answer.text) < 80_000
    if text.startswith(("<", "'", "{")):
        assert text in page.text


def test_an_analysis_is_shown_as_it_was_written(asking: Asking, web_office: Office, store: Rows) -> None:
    row, at = web_office.call(), datetime.now(UTC)
    text = "<b>Good</b>\n\n  two\u202e"
    store.add_note(Note(recording_id=row.id, at=at, by="M. Durand", text=text, expires_at=at))
    asking.login(Role.LISTENER)
    page = get(asking, row.id)
    assert "<b>Good</b> two\\u202e" in page.text and not page.elements("b")


# --- who may what ---


@pytest.mark.parametrize("role", Role)
def test_what_each_role_is_offered(asking: Asking, web_office: Office, store: Rows, role: Role) -> None:
    row = web_office.call()
    heard(store, row)
    asking.login(role)
    answer = asking.client.get(f"/recordings/{row.id}")
    if role is Role.ADMINISTRATOR:
        assert answer.status_code == HTTPStatus.FORBIDDEN
        return
    page = read(answer)
    offered = {form.get("action", "").rpartition("/")[2] for form in page.elements("form")}
    for form in ("note", "delete", "hold"):
        assert (form in offered) == (role in FORMS[form]), form
    assert "release" not in offered, "there is nothing to release"
    purposes = [one.get("value") for one in page.elements("option") if one.get("value")]
    assert ("quality" in purposes) == (role is not Role.OFFICER) and "access_request" in purposes


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("role", Role)
def test_what_each_role_may_send(
    asking: Asking, web_office: Office, store: Rows, role: Role, form: str
) -> None:
    row = web_office.call()
    person = asking.login(role)
    answer = asking.client.post(f"/recordings/{row.id}/{form}", data={"csrf": person.csrf})
    may = role in FORMS[form]
    assert (answer.status_code == HTTPStatus.FORBIDDEN) == (not may)
    assert [use.outcome for use in store.accesses()] == ([] if may else ["refused"])


@pytest.mark.parametrize("form", FORMS)
def test_a_form_of_another_session_does_nothing(
    asking: Asking, web_office: Office, store: Rows, form: str
) -> None:
    row = web_office.call()
    heard(store, row)
    asking.login(Role.SUPERVISOR, Role.OFFICER)
    fields = WANTED | {"csrf": "other", "text": "x", "reason": "x", "agreed": "1"}
    answer = asking.client.post(f"/recordings/{row.id}/{form}", data=fields)
    assert answer.status_code == HTTPStatus.FORBIDDEN
    assert store.recording(row.id).status is Status.CLOSED and not store.notes(row.id)


# --- who cannot hear it ---


@pytest.mark.parametrize(("with_key", "roles", "told"), [
    (None, (Role.LISTENER,), "your account has no key"),
    ("eve", (Role.LISTENER,), "not for your key (eve"),
    ("claire", (Role.LISTENER, Role.ADMINISTRATOR), "An administrator never listens"),
    ("claire", (Role.LISTENER,), ""),
    ("claire", (Role.OFFICER,), ""),
])  # fmt: skip
def test_who_cannot_hear_it_is_told_why(
    asking: Asking, web_office: Office, with_key: str | None, roles: tuple[Role, ...], told: str
) -> None:
    keys = {name: make_pair(web_office, name) for name in ("claire", "eve")}
    row = sealed_call(web_office, ("claire",))
    person = asking.login(*roles)
    asking.who[:] = [replace(person, key=keys.get(with_key or ""))]
    page = get(asking, row.id)
    assert ("You cannot hear it" in page.text) == bool(told)
    assert told in page.text
    assert bool(page.having("id", "play")) == (not told)
    assert "sealed" in page.text


@pytest.mark.parametrize(("status", "told"), [
    (Status.ERASED, "it was erased during the call"),
    (Status.FAILED, "the recorder failed"),
    (Status.PURGED, "it is already purged"),
])  # fmt: skip
def test_what_is_gone_cannot_be_heard(asking: Asking, store: Rows, status: Status, told: str) -> None:
    row = recording(id=new_id(datetime.now(UTC)), status=status)
    store.add_receipt(receipt(row))
    store.add_recording(row)
    asking.login(Role.LISTENER)
    page = get(asking, row.id)
    assert told in page.text and not page.having("id", "play")


def test_a_file_that_is_not_there(asking: Asking, store: Rows) -> None:
    row = recording(id=new_id(datetime.now(UTC)), status=Status.CLOSED)
    store.add_receipt(receipt(row))
    store.add_recording(row)
    asking.login(Role.LISTENER)
    assert "Its file is not where it should be." in get(asking, row.id).text


@pytest.mark.parametrize(("hold", "told"), [
    (None, "the next purge removes it"),
    (HOLD, "only its hold keeps it: it can be heard for criminal"),
])  # fmt: skip
def test_what_has_expired_is_for_few_purposes(
    asking: Asking, web_office: Office, hold: dict[str, str] | None, told: str
) -> None:
    row = web_office.call(timedelta(days=300), expires_at=datetime.now(UTC) - timedelta(days=1))
    if hold:
        held(web_office, row)
    asking.login(Role.LISTENER)
    assert told in get(asking, row.id).text


# --- an analysis ---


def test_an_analysis_is_filed(asking: Asking, web_office: Office, store: Rows) -> None:
    row = web_office.call()
    asking.login(Role.LISTENER)
    assert "nobody has listened to it" in get(asking, row.id).text
    heard(store, row)
    page = send(asking, row.id, "note", text="Calm and\r\nclear.")
    assert "The analysis is filed, and kept until" in page.text and "Calm and clear." in page.text
    assert "The analysis is filed" not in get(asking, row.id).text, "it is told once"
    (note,) = store.notes(row.id)
    assert (note.text, note.by) == ("Calm and\nclear.", "claire")
    told = store.accesses(row.id)[-1]
    assert (told.action, told.outcome, told.login, told.via) == ("note", "done", "claire", "web")


def test_what_would_be_cut_out_is_shown_and_agreed_to(
    asking: Asking, web_office: Office, store: Rows
) -> None:
    row = web_office.call()
    heard(store, row)
    asking.login(Role.LISTENER)
    text = f"He gave his number, {CALLER}."
    page = send(asking, row.id, "note", text=text)
    assert "He gave his number, +336[12345678]." in page.text and not store.notes(row.id)
    fields = page.fields("post", button="File the analysis")
    assert fields["text"] == text
    assert "agreed" not in fields, "nothing is agreed to before it was read"
    other = text.replace("He", "Mr 12345678")
    page = send(asking, row.id, "note", **fields | {"agreed": "1", "text": other})
    assert not store.notes(row.id), "another text than the one that was agreed to"
    send(asking, row.id, "note", **fields | {"agreed": "1"})
    assert [note.text for note in store.notes(row.id)] == ["He gave his number, +336…."]


@pytest.mark.parametrize("text", ["", "   ", "a\x00b", "x" * 65537])
def test_what_is_no_analysis(asking: Asking, web_office: Office, store: Rows, text: str) -> None:
    row = web_office.call()
    heard(store, row)
    person = asking.login(Role.LISTENER)
    answer = asking.client.post(f"/recordings/{row.id}/note", data={"csrf": person.csrf, "text": text})
    assert answer.status_code == HTTPStatus.BAD_REQUEST and read(answer).having("role", "alert")
    assert not store.notes(row.id)


def test_an_analysis_before_it_was_heard_is_refused_and_in_the_trace(
    asking: Asking, web_office: Office, store: Rows
) -> None:
    row = web_office.call()
    asking.login(Role.LISTENER)
    page = send(asking, row.id, "note", text="Good.")
    assert "nobody has listened to it" in page.text
    assert [(use.action, use.outcome) for use in store.accesses(row.id)] == [("note", "refused")]


# --- a hold, which another approves ---


def test_a_hold_is_asked_for_and_waits(asking: Asking, web_office: Office, store: Rows) -> None:
    row = web_office.call()
    asking.login(Role.SUPERVISOR)
    page = send(asking, row.id, "hold", **WANTED)
    assert "It is asked for. Somebody else must approve it." in page.text
    said = "Hold: criminal, reference complaint 2026-41, to be looked at again on 2099-01-31."
    assert said in page.text and "by claire." in page.text
    assert store.recording(row.id).hold is None
    (asked,) = store.approvals(row.id)
    assert (asked.action, asked.state, asked.by) == ("hold", "pending", "claire")
    told = store.accesses(row.id)[-1]
    assert (told.action, told.outcome, told.login, told.via) == ("ask", "done", "claire", "web")
    assert f"/holds#approval-{asked.id}" in page.links
    asking.login(Role.OFFICER, name="paul")
    page = get(asking, row.id)
    assert said in page.text and "Approve or refuse it" in page.text
    asking.login(Role.LISTENER, name="paul")
    assert said not in get(asking, row.id).text, "it is seen by those who decide"


@pytest.mark.parametrize(("changes", "told"), [
    ({"review": "2020-01-31"}, "is not in the future"),
    ({"review": "soon"}, "is not a day"),
    ({"ground": "curiosity"}, "is not listed"),
    ({"reference": " "}, "not a name” is empty"),
])  # fmt: skip
def test_a_hold_that_cannot_be(
    asking: Asking, web_office: Office, store: Rows, changes: dict[str, str], told: str
) -> None:
    row = web_office.call()
    person = asking.login(Role.SUPERVISOR)
    fields = {"csrf": person.csrf} | WANTED | changes
    answer = asking.client.post(f"/recordings/{row.id}/hold", data=fields)
    assert answer.is_client_error
    page = read(answer)
    assert told in page.by_id("fault-hold")
    assert page.fields("post", button="Ask for the hold")["review"] == fields["review"]
    assert not store.approvals(row.id)
    refused = [(use.action, use.outcome) for use in store.accesses(row.id)]
    assert refused == ([] if "reference" in changes else [("ask", "refused")])


def test_the_end_of_a_hold_or_that_it_goes_on_is_asked_for(
    asking: Asking, web_office: Office, store: Rows
) -> None:
    row = web_office.call()
    held(web_office, row)
    asking.login(Role.SUPERVISOR)
    page = send(asking, row.id, "release", reason="complaint 2026-41 closed")
    assert "End of the hold: complaint 2026-41 closed." in page.text
    page = send(asking, row.id, "hold", **WANTED)
    assert "The hold goes on: criminal" in page.text
    assert [one.action for one in store.approvals(row.id)] == ["release", "renew"]
    assert store.recording(row.id).hold is not None


# --- deleted before its time ---


def test_a_call_is_deleted_once_that_was_agreed_to_and_certified(
    asking: Asking, web_office: Office, store: Rows
) -> None:
    row = web_office.call()
    asking.login(Role.OFFICER)
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
    assert CALLER not in get(asking, row.id).text


def test_what_is_on_hold_is_not_deleted(asking: Asking, web_office: Office, store: Rows) -> None:
    row = web_office.call()
    held(web_office, row)
    asking.login(Role.OFFICER)
    page = send(asking, row.id, "delete", reason="request 2026-118", agreed="1")
    assert "on hold" in page.by_id("fault-delete")
    assert store.recording(row.id).status is Status.CLOSED
    assert [(use.action, use.outcome) for use in store.accesses(row.id)] == [("delete", "refused")]


def test_a_deletion_needs_a_reason(asking: Asking, web_office: Office, store: Rows) -> None:
    row = web_office.call()
    asking.login(Role.OFFICER)
    page = send(asking, row.id, "delete", reason=" ", agreed="1")
    assert page.by_id("fault-delete") and store.recording(row.id).status is Status.CLOSED


def test_a_call_without_a_recording_is_deleted_too(asking: Asking, store: Rows) -> None:
    id = unrecorded(store)
    asking.login(Role.OFFICER)
    assert "ATTESTATION" in send(asking, id, "delete", reason="request 2026-118", agreed="1").text
    assert store.receipt(id).caller is None


def test_what_was_purged_meanwhile_has_nothing_to_file(
    asking: Asking, web_office: Office, store: Rows
) -> None:
    row = web_office.call()
    heard(store, row)
    asking.login(Role.LISTENER)
    assert remove(web_office.archive, row.id, datetime.now(UTC))
    assert "it is already purged" in send(asking, row.id, "note", text="Good.").by_id("fault-note")


@pytest.mark.parametrize("form", FORMS)
def test_a_call_that_does_not_exist(asking: Asking, form: str) -> None:
    person = asking.login(Role.SUPERVISOR, Role.OFFICER)
    fields = WANTED | {"csrf": person.csrf, "text": "x", "reason": "x"}
    assert asking.client.post(f"/recordings/nothing/{form}", data=fields).status_code == HTTPStatus.NOT_FOUND
