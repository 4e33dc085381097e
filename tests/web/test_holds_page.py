"""The page of holds: four eyes are two logins, reviews that are due come first, and who sees what."""

import re
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import pytest
from httpx2 import Response

from retention.holds import place
from retention.records import Access, Approval, Hold, Recording
from sipagent.operations.approvals import Rules, ask_approval, rules_of
from sipagent.web.rights import Role
from tests.kept import remove
from tests.office import Office
from tests.web.conftest import Asking

HOSTILE = '"><script>alert(1)</script>\u202e'
SOON = (datetime.now(UTC) + timedelta(days=90)).date().isoformat()


def rules(asking: Asking) -> Rules:
    return rules_of(asking.site.config, datetime.now(UTC))


def asked(asking: Asking, row: Recording, action: str = "hold", by: str = "sonia", **fields: Any) -> Approval:
    """What a supervisor asks for."""
    given: dict[str, Any] = {
        "hold": {"ground": "criminal", "reference": "2026-41", "review": SOON},
        "renew": {"ground": "criminal", "reference": "2026-41", "review": SOON},
        "release": {"reason": "the case is closed"},
        "export": {"purpose": "criminal", "reference": "2026-41", "channel": "both"},
    }[action]
    at = datetime.now(UTC)
    wanted = Approval(at=at, action=action, recording_id=row.id, by=by, **given | fields)
    trace = Access(at=at, action="ask", by=by, login=by, via="web")
    return ask_approval(asking.site.archive, wanted, trace, rules(asking))


def held(asking: Asking, row: Recording, review: str = SOON, reference: str = "2026-41") -> None:
    """Already on hold."""
    hold = Hold(ground="criminal", reference=reference, by="sonia", approved_by="paul", review=review)
    place(asking.site.archive, row.id, hold, Access(at=datetime.now(UTC), action="hold"))


def post(asking: Asking, number: int, how: str, **form: str) -> Response:
    csrf = asking.who[0].csrf if asking.who and asking.who[0] else ""
    return asking.client.post(f"/holds/{number}/{how}", data={"csrf": csrf} | form)


def page(asking: Asking) -> str:
    answer = asking.client.get("/holds")
    assert answer.status_code == HTTPStatus.OK
    return answer.text


# --- two logins ---


def test_one_asks_and_another_approves(asking: Asking, web_office: Office) -> None:
    row = web_office.call()
    number = asked(asking, row).id
    asking.login(Role.SUPERVISOR, name="sonia")
    text = page(asking)
    assert "You asked for it, so somebody else decides." in text and "Withdraw it" in text
    assert 'id="approve"' not in text and 'id="refuse"' not in text
    asking.login(Role.OFFICER, name="paul")
    text = page(asking)
    assert f"Hold: criminal, reference 2026-41, to be looked at again on {SOON}." in text
    assert 'id="approve"' in text and 'id="refuse"' in text and f'id="approval-{number}"' in text
    answer = post(asking, number, "approve", answer="seen")
    assert (answer.status_code, answer.headers["location"]) == (HTTPStatus.SEE_OTHER, "/holds")
    hold = web_office.archive.store.recording(row.id).hold
    assert hold is not None and (hold["by"], hold["approved_by"]) == ("sonia", "paul")
    text = page(asking)
    assert "Approved: the recording is on hold from now on." in text and "Nothing waits." in text
    assert "seen" in text.partition('id="decided"')[2]
    assert web_office.run("verify").code == 0


@pytest.mark.parametrize("how", ["approve", "refuse"])
def test_who_asked_cannot_decide_whatever_else_they_are(asking: Asking, web_office: Office, how: str) -> None:
    row = web_office.call()
    number = asked(asking, row, by="Sonia").id
    asking.login(Role.SUPERVISOR, Role.OFFICER, name="sonia")
    assert 'id="approve"' not in page(asking)
    answer = post(asking, number, how)
    assert answer.status_code == HTTPStatus.FORBIDDEN
    assert "asked for it; accepted: " in answer.text
    store = web_office.archive.store
    assert store.recording(row.id).hold is None and store.approval(number).state == "pending"
    last = store.accesses(row.id)[-1]
    assert (last.action, last.outcome, last.login) == (how, "refused", "sonia")


@pytest.mark.parametrize("role", Role)
def test_who_may_do_what(asking: Asking, web_office: Office, role: Role) -> None:
    number = asked(asking, web_office.call()).id
    asking.login(role, name="paul")
    sees = role is not Role.ADMINISTRATOR
    status = asking.client.get("/holds").status_code
    assert status == (HTTPStatus.OK if sees else HTTPStatus.FORBIDDEN)
    if sees:
        assert ("2026-41" in page(asking)) is (role is Role.OFFICER), "what others ask for is for who decides"
    refused = post(asking, number, "refuse", answer="no").status_code
    assert refused == (HTTPStatus.SEE_OTHER if role is Role.OFFICER else HTTPStatus.FORBIDDEN)
    withdrawn = post(asking, number, "withdraw").status_code
    assert withdrawn == HTTPStatus.FORBIDDEN


def test_who_asked_sees_why_it_was_refused(asking: Asking, web_office: Office) -> None:
    row = web_office.call()
    number = asked(asking, row).id
    asking.login(Role.OFFICER, name="paul")
    assert post(asking, number, "refuse", answer="no such file").status_code == HTTPStatus.SEE_OTHER
    assert web_office.archive.store.recording(row.id).hold is None
    asking.login(Role.SUPERVISOR, name="sonia")
    text = page(asking)
    assert "no such file" in text and "refused" in text and "paul" in text


def test_who_asked_may_withdraw_it(asking: Asking, web_office: Office) -> None:
    number = asked(asking, web_office.call()).id
    asking.login(Role.SUPERVISOR, name="sonia")
    assert post(asking, number, "withdraw").status_code == HTTPStatus.SEE_OTHER
    assert "Withdrawn." in page(asking)
    assert web_office.archive.store.approval(number).state == "withdrawn"
    asking.login(Role.OFFICER, name="paul")
    answer = post(asking, number, "approve")
    assert answer.status_code == HTTPStatus.CONFLICT and "withdrawn already" in answer.text


def test_a_renewal_a_release_and_a_copy_wait_too(asking: Asking, web_office: Office) -> None:
    first, second = web_office.call(), web_office.call()
    held(asking, first)
    held(asking, second)
    numbers = [asked(asking, first, "renew").id, asked(asking, second, "release").id]
    numbers.append(asked(asking, first, "export").id)
    asking.login(Role.OFFICER, name="paul")
    text = page(asking)
    for said in (
        "The hold goes on: ",
        "End of the hold: the case is closed",
        "Export for criminal",
        "both voices",
    ):
        assert said in text, said
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(ids) == len(set(ids)), "each id once"
    for number in numbers:
        assert post(asking, number, "approve").status_code == HTTPStatus.SEE_OTHER
    store = web_office.archive.store
    assert store.recording(first.id).hold is not None and store.recording(second.id).hold is None
    asking.login(Role.SUPERVISOR, name="sonia")
    assert f'<a href="/recordings/{first.id}">make the copy</a>' in page(asking)


def test_what_no_longer_can_be_done_stays_undone(asking: Asking, web_office: Office) -> None:
    row = web_office.call()
    number = asked(asking, row).id
    remove(web_office.archive, row.id, datetime.now(UTC))
    asking.login(Role.OFFICER, name="paul")
    answer = post(asking, number, "approve", answer="yes")
    assert answer.status_code == HTTPStatus.CONFLICT and "already purged" in answer.text
    assert web_office.archive.store.approval(number).state == "pending"


def test_nothing_under_a_number_is_told(asking: Asking) -> None:
    asking.login(Role.OFFICER)
    assert post(asking, 4711, "approve").status_code == HTTPStatus.NOT_FOUND
    assert asking.client.post("/holds/x/approve", data={}).status_code == HTTPStatus.NOT_FOUND


def test_a_form_from_elsewhere_decides_nothing(asking: Asking, web_office: Office) -> None:
    number = asked(asking, web_office.call()).id
    asking.login(Role.OFFICER, name="paul")
    for how in ("approve", "refuse"):
        assert post(asking, number, how, csrf="csrf-sonia").status_code == HTTPStatus.FORBIDDEN
    assert web_office.archive.store.approval(number).state == "pending"


# --- what is on hold ---


def test_reviews_that_are_due_come_first_and_are_marked(asking: Asking, web_office: Office) -> None:
    late, next_, last = (web_office.call(ago=timedelta(hours=n)) for n in (1, 2, 3))
    held(asking, last, "2098-01-01")
    held(asking, late, "2026-01-31")
    held(asking, next_, SOON)
    asking.login(Role.LISTENER)
    text = page(asking)
    places = [text.index(f"/recordings/{row.id}#") for row in (late, next_, last)]
    assert places == sorted(places)
    assert "1 review is overdue" in text and text.count("overdue</span>") == 1


def test_nothing_is_told_as_nothing(asking: Asking) -> None:
    asking.login(Role.OFFICER, language="fr")
    text = page(asking)
    assert "Rien n’attend." in text and "Rien encore." in text and "Conservations" in text


def test_hostile_texts_are_text(asking: Asking, web_office: Office) -> None:
    row, other = web_office.call(), web_office.call()
    asked(asking, row, reference=HOSTILE)
    held(asking, other, reference=HOSTILE)
    number = asked(asking, other, "release", reason=HOSTILE).id
    asking.login(Role.OFFICER, name="paul")
    text = page(asking)
    post(asking, number, "refuse", answer="<script>alert(2)</script>")
    for shown in (text, page(asking)):
        assert "<script>alert" not in shown and "\u202e" not in shown and "&lt;script&gt;" in shown
    assert (
        "style=" not in text
        and "<style" not in text
        and not re.search(r"<script(?![^>]*src=)|\son\w+=", text)
    )


def test_it_is_french_for_the_french(asking: Asking, web_office: Office) -> None:
    asked(asking, web_office.call())
    asking.login(Role.OFFICER, name="paul", language="fr")
    text = page(asking)
    assert "Conservation comme preuve\u00a0: pénal, référence 2026-41" in text and "Approuver" in text
