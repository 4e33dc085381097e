"""The page of persons' requests: what is kept of somebody, the package, and the erasure."""

import io
import json
import re
import zipfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from http import HTTPStatus
from typing import Any

import pytest
from httpx2 import Response

from retention.records import Access, Event, reference_of
from sipagent.languages.spoken import answering
from sipagent.web.pages.persons import period_in_words
from sipagent.web.rights import Role
from sipagent.web.site import MOST_PAPERS, PAPERS_KEPT, Drawer, Papers
from tests.kept import CALLER, Paths
from tests.office import Office
from tests.web.conftest import Asking

TYPED = "06 12 34 56 78"
HOSTILE = '"><script>alert(1)</script>\u202e'
HOLD = {"ground": "criminal", "reference": "2026/7", "by": "A", "approved_by": "B", "review": "2027-01-31"}
OTHER = "+33698765432"
DECIDED = {"request": "2026-118", "channel": "both", "names": "no"}


def post(asking: Asking, path: str = "", **form: Any) -> Response:
    fields = {"csrf": "csrf-claire", "caller": TYPED, "ticked": "yes"} | form
    return asking.client.post(f"/requests{path}", data=fields)


def told(answer: Response) -> str:
    """What is wrong, as the page says it."""
    assert answer.status_code == HTTPStatus.BAD_REQUEST, answer.status_code
    found = re.search(r'<p role="alert" id="fault">(.*?)</p>', answer.text)
    assert found is not None
    return found[1]


def files_of(answer: Response) -> dict[str, str]:
    assert answer.status_code == HTTPStatus.OK, answer.text
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as file:
        assert file.testzip() is None
        return {name: file.read(name).decode() for name in file.namelist()}


@pytest.fixture
def officer(asking: Asking) -> Asking:
    asking.login(Role.OFFICER)
    return asking


# --- who, and what is found ---


@pytest.mark.parametrize("role", Role)
def test_it_is_for_officers(asking: Asking, web_office: Office, role: Role) -> None:
    call = web_office.call()
    asking.login(role)
    status = HTTPStatus.OK if role is Role.OFFICER else HTTPStatus.FORBIDDEN
    assert asking.client.get("/requests").status_code == status
    assert post(asking).status_code == status
    for path in ("/package", "/erase"):
        assert post(asking, path, id=call.id, reason="x", **DECIDED).status_code == status
    erased = post(asking, "/erased", id=call.id, reason="x").status_code
    assert erased == (HTTPStatus.SEE_OTHER if role is Role.OFFICER else HTTPStatus.FORBIDDEN)


def test_all_that_is_kept_is_told_in_words(officer: Asking, web_office: Office) -> None:
    call = web_office.call()
    web_office.call(caller=OTHER)
    store = web_office.archive.store
    at = call.started_at
    events = (Event(at=at, what="bridged with sip:201@pbx.example.net", by="operator"),)
    store.update_receipt(replace(store.receipt(call.id), events=events, phase="window", decided_at=at))
    web_office.run(
        "export", call.id, "--purpose", "quality", "--by", "M. Durand", "--out", web_office.folder / "a.wav"
    )
    (web_office.folder / "sheet.txt").write_text("A calm call.")
    web_office.run("note", call.id, "--by", "M. Durand", "--text-file", web_office.folder / "sheet.txt")
    text = post(officer).text
    assert "1 call is kept" in text
    for said in (
        *(
            CALLER,
            reference_of(call.id),
            "+33323063006",
            "marie.durand",
            "allowed (no choice was made, after the notice)",
        ),
        *("bridged with sip:201@pbx.example.net", "A calm call.", "M. Durand", "quality", "a.wav", "0:02"),
    ):
        assert said in text, said
    assert OTHER not in text


def test_a_number_never_stands_in_an_address(officer: Asking, web_office: Office) -> None:
    call = web_office.call()
    text = officer.client.get("/requests").text + post(officer).text
    text += post(officer, "/erase", id=call.id, reason="x").text
    for address in re.findall(r'(?:href|action|src)="([^"]*)"', text):
        assert not re.search(rf"{CALLER[-9:]}|caller|\?", address), address
    answer = post(officer, "/erased", id=call.id, reason="x")
    assert not re.search(r"612345678", answer.headers["location"])
    assert officer.client.get("/requests?caller=0612345678").text.count("0612345678") == 0


def test_who_hides_the_number_is_found_by_the_reference(officer: Asking, web_office: Office) -> None:
    at = datetime(2026, 11, 9, 22, 30, tzinfo=UTC)
    for day in range(2):
        begun = at + timedelta(days=day)
        web_office.call(id=f"{begun:%Y%m%dT%H%M%S}000-482913", started_at=begun, caller=None)
    text = post(officer, caller="", reference="#482 913").text
    assert "2 calls are kept" in text and "tick the one that is meant" in text and " checked>" not in text
    text = post(officer, caller="", reference="482913", day="2026-11-10").text
    assert "1 call is kept" in text and "20261110T223000000-482913" in text


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"caller": "", "reference": ""}, "neither is given"),
        ({"caller": TYPED, "reference": "482913"}, "both are given"),
        ({"caller": HOSTILE}, "is not a number"),
        ({"caller": "", "reference": HOSTILE}, "is not the reference of a call"),
        ({"day": HOSTILE}, "is not a day"),
    ],
)
def test_what_cannot_be_read_is_said(officer: Asking, form: dict[str, str], said: str) -> None:
    answer = post(officer, **form)
    assert said in told(answer)
    assert "<script>alert" not in answer.text and "\u202e" not in answer.text


def test_nobody_is_told_as_nobody(officer: Asking) -> None:
    answer = post(officer)
    assert answer.status_code == HTTPStatus.OK and "Nothing is kept of this person." in answer.text


def test_hostile_names_are_text(officer: Asking, web_office: Office) -> None:
    call = web_office.call(operator=f"sip:{HOSTILE}@pbx")
    store = web_office.archive.store
    events = (Event(at=call.started_at, what=HOSTILE, by=HOSTILE),)
    changed = replace(
        store.receipt(call.id), events=events, keyword=HOSTILE, call_id=HOSTILE, outcome=HOSTILE
    )
    store.update_receipt(changed)
    pages = [post(officer).text, post(officer, "/erase", id=call.id, reason=HOSTILE.strip("\u202e")).text]
    letter = files_of(post(officer, "/package", id=call.id, **DECIDED | {"names": "yes"}))["letter.html"]
    for text in (*pages, letter):
        assert "<script>alert" not in text and "\u202e" not in text and "&lt;script&gt;" in text


def test_no_style_and_no_script_of_its_own(officer: Asking, web_office: Office) -> None:
    call = web_office.call()
    erased = post(officer, "/erased", id=call.id, reason="x").headers["location"]
    web_office.call()
    for text in (
        post(officer).text,
        post(officer, "/erase", id=call.id, reason="x").text,
        officer.client.get(erased).text,
    ):
        assert "style=" not in text and "<style" not in text
        assert not re.search(r"<script(?![^>]*(src=|type=.application/json))|\son\w+=", text)


# --- the package ---


def test_the_package_can_be_read_by_people_and_programs(officer: Asking, web_office: Office) -> None:
    call = web_office.call()
    other = web_office.call(caller=OTHER)
    answer = post(officer, "/package", id=[call.id, other.id], **DECIDED)
    assert answer.headers["content-disposition"] == 'attachment; filename="access-2026-118.zip"'
    files = files_of(answer)
    assert set(files) == {"letter.html", "data.json"}
    letter = files["letter.html"]
    assert letter.startswith("<!doctype html>") and '<html lang="fr">' in letter, "the service's language"
    for said in (
        "2026-118",
        CALLER,
        "Finalités",
        "conservés 6\u00a0mois",
        "CNIL",
        "la touche 9",
        "article 17",
    ):
        assert said in letter.replace("6 mois", "6\u00a0mois"), said
    assert not re.search(r"<script|https?://|src=|@import|url\(", letter)
    data = json.loads(files["data.json"])
    assert data["request"] == "2026-118" and data["voices"] == "both"
    (one,) = data["calls"]
    assert (one["id"], one["call"]["caller"], one["sound"]) == (call.id, CALLER, None)
    assert OTHER not in files["data.json"] + letter and other.id not in letter


@pytest.mark.parametrize("language", ["fr", "en"])
def test_a_letter_has_words_and_no_codes(officer: Asking, web_office: Office, language: str) -> None:
    """Nothing of draw and seed, whoever reads it."""
    call, at = web_office.call(), datetime.now(UTC)
    lines = (
        *(f"drawn: 0.25 of seed 5eed5eed, share {share}" for share in ("0.5", "1.0")),
        *("drawn: no seed, share 1.0", "not drawn: 0.75 of seed 5eed5eed, share 0.5"),
        *("decision: allowed (silence)", "decision: not_allowed (notice_failed)", "decision: refused (dtmf)"),
        *("language: de", "no media", "sip:201@pbx: answered and sent nothing", "sip:201@pbx: hung up"),
        *("REFER refused with 603", "REFER could not be sent", "nobody took the call by REFER"),
        "no word of what became of REFER",
    )
    events = tuple(Event(at=at, what=line, by="agent") for line in lines)
    store = web_office.archive.store
    told = replace(store.receipt(call.id), events=events, decision="not_allowed", decided_by="sampling")
    store.update_receipt(replace(told, phase="window", outcome="unavailable"))
    speaks(officer, language)
    letter = files_of(post(officer, "/package", id=call.id, **DECIDED))["letter.html"]
    assert f'<html lang="{language}">' in letter
    text = unescape(re.sub(r"<style.*?</style>|<[^>]*>|sounds/\S+", " ", letter, flags=re.DOTALL))
    codes = re.compile(
        r"0\.25|5eed|\bseed\b|graine|\bshare\b|dtmf|sampling|not_|_failed|unavailable|: de\b|window"
    )
    assert codes.findall(text) == []
    english = re.compile(r"\bdrawn|REFER\b|answered|no media|hung up|decision:|language:|\(agent\)")
    assert (english.findall(text) == []) is (language == "fr")
    assert (
        "tirage au sort" if language == "fr" else "not to be recorded (by a draw, after the notice)"
    ) in text


def speaks(asking: Asking, language: str) -> None:
    """Have the service speak this language."""
    config = asking.site.config
    service = config.service.model_copy(update={"language": language})
    asking.site.config = config.model_copy(update={"service": service})


@pytest.mark.parametrize("names", ["yes", "no"])
def test_names_are_told_where_the_officer_says_so(officer: Asking, web_office: Office, names: str) -> None:
    call = web_office.call()
    store = web_office.archive.store
    events = (Event(at=call.started_at, what="ringing sip:zoe.petit@pbx.example.net", by="agent"),)
    store.update_receipt(replace(store.receipt(call.id), events=events))
    web_office.run(
        "export", call.id, "--purpose", "quality", "--by", "M. Durand", "--out", web_office.folder / "a.wav"
    )
    files = files_of(post(officer, "/package", id=call.id, **DECIDED | {"names": names}))
    for text in files.values():
        for name in ("marie.durand", "zoe.petit", "M. Durand"):
            assert (name in text) is (names == "yes"), name
        assert "a.wav" not in text, "where a copy lies is no data of the person"
    assert "qualité" in files["letter.html"] and json.loads(files["data.json"])["calls"][0]["uses"]


def test_an_answer_is_in_the_trace_of_each_call(officer: Asking, web_office: Office) -> None:
    calls = [web_office.call(), web_office.call()]
    post(officer, "/package", id=[call.id for call in calls], **DECIDED)
    store = web_office.archive.store
    for call in calls:
        (row,) = store.accesses(call.id)
        assert (row.action, row.outcome, row.by, row.login, row.via) == (
            "answer",
            "done",
            "claire",
            "claire",
            "web",
        )
        assert (row.purpose, row.reference) == ("access_request", "2026-118")
    assert web_office.run("verify").code == 0


def test_a_sound_is_named_where_the_trace_has_its_copy(officer: Asking, web_office: Office) -> None:
    calls = [web_office.call(), web_office.call()]
    ids = [call.id for call in calls]
    copied = Access(
        at=datetime.now(UTC), action="export", recording_id=ids[0], purpose="access_request", by="claire",
        reference="2026-118", detail=f'both to "{ids[0]}.wav"', login="claire", via="web",
    )  # fmt: skip
    web_office.archive.store.add_access(copied)
    answer = post(officer, "/package", id=ids, sound=ids, parts="yes", **DECIDED)
    given = answer.json()
    assert given["name"] == "access-2026-118.zip" and set(given["files"]) == {"letter.html", "data.json"}
    sounds = {call["id"]: call["sound"] for call in json.loads(given["files"]["data.json"])["calls"]}
    assert sounds == {ids[0]: f"sounds/{ids[0]}.wav", ids[1]: None}
    assert f"sounds/{ids[0]}.wav" in given["files"]["letter.html"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"request": " "}, "Reference of the request"),
        ({"request": "a\nb"}, "one line"),
        ({"request": "a" * 501}, "too long"),
        ({"channel": ""}, "Whose voice"),
        ({"channel": "operator"}, "Whose voice"),
        ({"names": ""}, "Names"),
        ({"id": []}, "no call is ticked"),
        ({"id": "20261124T222000123-482913"}, "no call is ticked"),
    ],
)
def test_what_is_not_decided_is_asked_again(
    officer: Asking, web_office: Office, changed: dict[str, Any], said: str
) -> None:
    call = web_office.call()
    answer = post(officer, "/package", **{"id": call.id} | DECIDED | changed)
    assert said in told(answer)
    assert "1 call is kept" in answer.text, "what was found stays there"
    assert web_office.archive.store.accesses() == []


def test_what_was_typed_stays_where_something_is_missing(officer: Asking, web_office: Office) -> None:
    ids = [web_office.call().id for _ in range(2)]
    text = post(officer, "/package", id=ids[0], request="2026-118", channel="caller").text
    assert 'value="2026-118"' in text and re.search(r'value="caller" checked', text)
    assert len(re.findall(r'name="id" value="[^"]*"[^>]* checked', text)) == 1


@pytest.mark.parametrize(
    ("period", "french"), [("6 months", "6 mois"), ("1 year", "1 an"), ("2 weeks", "2 semaines"), ("x", "x")]
)
def test_periods_in_words(period: str, french: str) -> None:
    with answering("fr"):
        assert period_in_words(period) == french
    with answering("en"):
        assert period_in_words(period) == period


# --- erasure ---


def test_what_goes_and_what_stays_is_shown_first(officer: Asking, web_office: Office) -> None:
    call, held = web_office.call(), web_office.call(ago=timedelta(hours=2))
    web_office.archive.change(replace(held, hold=HOLD))
    running = web_office.call(ago=timedelta(hours=3))
    store = web_office.archive.store
    store.update_receipt(replace(store.receipt(running.id), ended_at=None))
    ids = [call.id, held.id, running.id]
    text = post(officer, "/erase", id=ids, reason="request 2026-118").text
    assert "Erase 1 call?" in text and "request 2026-118" in text
    goes, _, stays = text.partition("What stays")
    assert reference_of(call.id) in goes and reference_of(call.id) not in stays.partition("<form")[0]
    assert "held" in stays or "hold" in stays
    assert "the call is still in progress" in stays
    assert re.findall(r'name="id" value="([^"]*)"', text) == [call.id]
    assert store.accesses() == [], "nothing has been done"


def test_an_erasure_leaves_what_is_held_and_certifies_the_rest(officer: Asking, web_office: Office) -> None:
    calls = [web_office.call(ago=timedelta(hours=n + 1)) for n in range(2)]
    held = web_office.call(ago=timedelta(hours=9))
    web_office.archive.change(replace(held, hold=HOLD))
    ids = [*(call.id for call in calls), held.id]
    answer = post(officer, "/erased", id=ids, reason="request 2026-118")
    assert answer.status_code == HTTPStatus.SEE_OTHER
    page = officer.client.get(answer.headers["location"])
    assert page.text.count("ATTESTATION D’EFFACEMENT") == 2 and "2 calls are erased" in page.text
    assert "request 2026-118" in page.text and held.id in page.text
    text = officer.client.get(f"{answer.headers['location']}/certificates.txt")
    assert text.text.count("\f") == 1 and text.headers["content-disposition"].startswith("attachment")
    archive = web_office.archive
    for call in calls:
        assert Paths(archive).file(call.id) is None
        assert archive.store.receipt(call.id).caller is None
        rows = {(row.action, row.outcome): row for row in archive.store.accesses(call.id)}
        assert (
            rows["delete", "done"].detail == "request 2026-118" and rows["delete", "done"].login == "claire"
        )
    assert Paths(archive).file(held.id) is not None and archive.store.receipt(held.id).caller == CALLER
    (refused,) = archive.store.accesses(held.id)
    assert (refused.action, refused.outcome, refused.via) == ("delete", "refused", "web")
    assert web_office.run("verify").code == 0


def test_only_calls_of_the_person_are_erased(officer: Asking, web_office: Office) -> None:
    other = web_office.call(caller=OTHER)
    web_office.call()
    assert "no call is ticked" in told(post(officer, "/erased", id=other.id, reason="x"))
    assert Paths(web_office.archive).file(other.id) is not None


def test_an_erasure_needs_a_reason(officer: Asking, web_office: Office) -> None:
    call = web_office.call()
    for path in ("/erase", "/erased"):
        assert "Reason" in told(post(officer, path, id=call.id, reason="  "))
    assert Paths(web_office.archive).file(call.id) is not None


def test_a_form_from_elsewhere_erases_nothing(officer: Asking, web_office: Office) -> None:
    call = web_office.call()
    for path in ("", "/package", "/erase", "/erased"):
        answer = post(officer, path, id=call.id, reason="x", csrf="csrf-paul", **DECIDED)
        assert answer.status_code == HTTPStatus.FORBIDDEN
    assert Paths(web_office.archive).file(call.id) is not None


def test_certificates_are_for_who_made_them_and_for_an_hour(officer: Asking, web_office: Office) -> None:
    call = web_office.call()
    path = post(officer, "/erased", id=call.id, reason="x").headers["location"]
    officer.login(Role.OFFICER, name="paul")
    assert officer.client.get(path).status_code == HTTPStatus.NOT_FOUND
    officer.login(Role.OFFICER)
    assert officer.client.get(path).status_code == HTTPStatus.OK
    officer.site.clock = lambda: datetime.now(UTC) + PAPERS_KEPT + timedelta(minutes=1)
    assert officer.client.get(path).status_code == HTTPStatus.NOT_FOUND


def test_the_drawer_holds_few() -> None:
    drawer, now = Drawer(), datetime(2026, 11, 27, tzinfo=UTC)
    tokens = [drawer.put(Papers(now, "claire", (str(n),), ())) for n in range(MOST_PAPERS + 1)]
    assert drawer.find(tokens[0], "claire", now) is None
    assert drawer.find(tokens[1], "claire", now) is not None


def test_it_is_french_for_the_french(asking: Asking, web_office: Office) -> None:
    call = web_office.call()
    asking.login(Role.OFFICER, language="fr")
    text = post(asking).text
    assert "1 appel conservé" in text and "Répondre par un dossier" in text and "autorisé" in text
    text = post(asking, "/erase", id=call.id, reason="x").text
    assert "Effacer 1 appel\u202f?" in text and "Ne rien effacer" in text
