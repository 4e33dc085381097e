"""The page of holds: four eyes are two logins, reviews that are due come first, and who sees what."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from httpx2 import Response

from retention.holds import place
from retention.records import Access, Approval, Event, Hold, Recording
from sipagent.operations.approvals import ask_approval, rules_of
from sipagent.web.rights import Role
from tests.office import Office
from tests.web.conftest import Asking

SOON = (datetime.now(UTC) + timedelta(days=90)).date().isoformat()
GIVEN: dict[str, dict[str, Any]] = {
    "hold": {"ground": "criminal", "reference": "2026-41", "review": SOON},
    "renew": {"ground": "criminal", "reference": "2026-41", "review": SOON},
    "release": {"reason": "the case is closed"},
    "export": {"purpose": "criminal", "reference": "2026-41", "channel": "both"},
}


def asked(asking: Asking, row: Recording, action: str = "hold", by: str = "sonia") -> int:
    """The number of what a supervisor asks for."""
    at, archive = datetime.now(UTC), asking.site.archive
    wanted = Approval(at=at, action=action, recording_id=row.id, by=by, **GIVEN[action])
    trace = Access(at=at, action="ask", by=by, login=by, via="web")
    return ask_approval(archive, wanted, trace, rules_of(asking.site.config, at)).id


def held(asking: Asking, row: Recording, review: str = SOON) -> None:
    hold = Hold(ground="criminal", reference="2026-41", by="sonia", approved_by="paul", review=review)
    place(asking.site.archive, row.id, hold, Access(at=datetime.now(UTC), action="hold"))


def post(asking: Asking, number: object, how: str, **form: str) -> Response:
    csrf = asking.who[0].csrf if asking.who and asking.who[0] else ""
    return asking.client.post(f"/holds/{number}/{how}", data={"csrf": csrf} | form)


def page(asking: Asking) -> str:
    answer = asking.client.get("/holds")
    assert answer.status_code == HTTPStatus.OK
    return answer.text


def test_one_asks_and_another_approves(asking: Asking, web_office: Office) -> None:
    row = web_office.call()
    number = asked(asking, row)
    asking.login(Role.SUPERVISOR, Role.OFFICER, name="sonia")
    text = page(asking)
    assert "You asked for it, so somebody else decides." in text and "Withdraw it" in text
    assert 'id="approve"' not in text and 'id="refuse"' not in text
    for how in ("approve", "refuse"):
        answer = post(asking, number, how)
        assert answer.status_code == HTTPStatus.FORBIDDEN and "asked for it; accepted: " in answer.text
    asking.login(Role.OFFICER, name="paul")
    text = page(asking)
    assert f"Hold: criminal, reference 2026-41, to be looked at again on {SOON}." in text
    assert 'id="approve"' in text and 'id="refuse"' in text and f'id="approval-{number}"' in text
    answer = post(asking, number, "approve", answer="a\x07b")
    assert answer.status_code == HTTPStatus.BAD_REQUEST and "is not one line of text" in answer.text
    answer = post(asking, number, "approve", answer="seen")
    assert (answer.status_code, answer.headers["location"]) == (HTTPStatus.SEE_OTHER, "/holds")
    hold = web_office.archive.store.recording(row.id).hold
    assert hold is not None and (hold["by"], hold["approved_by"]) == ("sonia", "paul")
    text = page(asking)
    assert "Approved: the recording is on hold from now on." in text and "Nothing waits." in text
    assert "seen" in text.partition('id="decided"')[2]
    for unknown in (4711, "x"):
        assert post(asking, unknown, "approve").status_code == HTTPStatus.NOT_FOUND


def test_what_others_ask_for_is_for_who_decides(asking: Asking, web_office: Office) -> None:
    number = asked(asking, web_office.call())
    for role in (Role.LISTENER, Role.OFFICER, Role.SUPERVISOR):
        asking.login(role, name="paul")
        assert ("2026-41" in page(asking)) is (role is Role.OFFICER)
    assert post(asking, number, "withdraw").status_code == HTTPStatus.FORBIDDEN


def test_a_renewal_a_release_and_a_copy_wait_too(asking: Asking, web_office: Office) -> None:
    first, second = web_office.call(), web_office.call()
    held(asking, first)
    held(asking, second)
    numbers = [asked(asking, *one) for one in ((first, "renew"), (second, "release"), (first, "export"))]
    asking.login(Role.OFFICER, name="paul")
    text = page(asking)
    for said in ("The hold goes on: ", "End of the hold: the case is closed", "Export for criminal"):
        assert said in text, said
    assert "both voices" in text
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(ids) == len(set(ids)), "each id once"
    for number in numbers:
        assert post(asking, number, "approve").status_code == HTTPStatus.SEE_OTHER
    store = web_office.archive.store
    assert store.recording(first.id).hold is not None and store.recording(second.id).hold is None
    asking.login(Role.SUPERVISOR, name="sonia")
    assert f'<a href="/recordings/{first.id}">make the copy</a>' in page(asking)


def test_reviews_that_are_due_come_first_and_are_marked(asking: Asking, web_office: Office) -> None:
    late, next_, last = (web_office.call(ago=timedelta(hours=n)) for n in (1, 2, 3))
    for row, review in ((last, "2098-01-01"), (late, "2026-01-31"), (next_, SOON)):
        held(asking, row, review)
    asking.login(Role.LISTENER)
    text = page(asking)
    places = [text.index(f"/recordings/{row.id}#") for row in (late, next_, last)]
    assert places == sorted(places)
    assert "1 review is overdue" in text and text.count("overdue</span>") == 1


def test_dates_have_one_form_and_no_code_is_read(asking: Asking, web_office: Office) -> None:
    """But for what is folded as technical."""
    row, store = web_office.call(operator="sip:201@pbx.example.net"), web_office.archive.store
    held(asking, row)
    asked(asking, web_office.call(), "hold")
    told = replace(store.receipt(row.id), decision="refused", decided_by="dtmf", dtmf_method="rfc4733")
    ringing = Event(at=row.started_at, what="ringing sip:201@pbx.example.net")
    store.update_receipt(replace(told, phase="window", events=(ringing,)))
    paths = ("/recordings", "/calls", f"/recordings/{row.id}", "/holds", "/accesses", "/statistics")
    asking.login(Role.OFFICER, Role.SUPERVISOR)
    asking.client.get("/statistics")
    assert asking.site.counting.wait(20)
    for language, form in (("en", r"\d{4}-\d\d-\d\d"), ("fr", r"\d\d/\d\d/\d{4}")):
        asking.login(Role.OFFICER, Role.SUPERVISOR, language=language)
        for path in paths:
            page = asking.client.get(path).text.partition("</header>")[2]
            page = re.sub(
                r'(?s)<details class="technical">.*?</details>|<(select|datalist).*?</\1>|<[^>]*>', " ", page
            )
            days = re.findall(r"\d{4}-\d\d-\d\d|\d\d/\d\d/\d{4}", page)
            assert days and all(re.fullmatch(form, day) for day in days), path
            codes = r"\d{8}T\d{6}|sip:|rfc4733|dtmf|not_allowed|in_progress|\((web|cli)\)"
            assert not re.search(codes, page), (path, re.search(codes, page))
