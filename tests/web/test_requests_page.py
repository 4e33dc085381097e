"""The page of persons' requests: what is kept of somebody, the package, and the erasure.

What is found, deleted and traced: test_operations.
"""

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

from retention.records import Access, Event, Json, reference_of
from retention.roots import CallerReceipt, check_receipt, make_root
from sipagent.languages.choice import FOLDER, LANGUAGES
from sipagent.text import template
from sipagent.web.rights import Role
from sipagent.web.site import MOST_PAPERS, PAPERS_KEPT, Drawer, Papers
from tests.catalogues import codes
from tests.kept import CALLER, Paths
from tests.office import Office
from tests.web.conftest import Asking

TYPED = "06 12 34 56 78"
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


def ticked_in(text: str) -> list[str]:
    return re.findall(r'name="id" value="([^"]*)"[^>]* checked', text)


@pytest.fixture
def officer(asking: Asking) -> Asking:
    asking.login(Role.OFFICER)
    return asking


def used(office: Office, id: str) -> None:
    copy = ("--purpose", "quality", "--by", "M. Durand", "--out", office.folder / "a.wav")
    assert office.run("export", id, *copy).code == 0


def test_all_that_is_kept_is_told_in_words(officer: Asking, web_office: Office) -> None:
    assert "Nothing is kept of this person." in post(officer).text
    call = web_office.call()
    web_office.call(caller=OTHER)
    store, at = web_office.archive.store, call.started_at
    events = (Event(at=at, what="bridged with sip:201@pbx.example.net", by="operator"),)
    store.update_receipt(replace(store.receipt(call.id), events=events, phase="window", decided_at=at))
    used(web_office, call.id)
    (web_office.folder / "sheet.txt").write_text("A calm call.")
    web_office.run("note", call.id, "--by", "M. Durand", "--text-file", web_office.folder / "sheet.txt")
    text = post(officer).text
    assert "1 call is kept" in text and OTHER not in text
    for said in (
        *(CALLER, reference_of(call.id), "+33323063006", "marie.durand"),
        "allowed (you made no choice, after the notice)",
        *(f"{CALLER} (verified A)", "A number is no proof of identity"),
        *("you were put through to 201", "A calm call.", "M. Durand", "quality", "a.wav", "0:02"),
    ):
        assert said in text, said
    officer.login(Role.OFFICER, language="fr")
    text = post(officer).text
    assert "Un numéro ne prouve pas l’identité" in text and f"{CALLER} (vérifié A)" in text
    assert "1 appel conservé" in text and "Répondre par un dossier" in text and "autorisé" in text
    text = post(officer, "/erase", id=call.id, reason="x").text
    assert "Effacer 1 appel\u202f?" in text and "Ne rien effacer" in text


def test_a_caller_gets_a_receipt_from_the_day_after(officer: Asking, web_office: Office) -> None:
    call, other = web_office.call(), web_office.call(caller=OTHER)
    answer = post(officer, "/receipt", of=call.id)
    assert answer.status_code == HTTPStatus.CONFLICT and "ask again tomorrow" in unescape(answer.text)
    root = make_root(web_office.archive.store, datetime.now(UTC) + timedelta(days=1))
    assert root is not None
    answer = post(officer, "/receipt", of=call.id)
    assert answer.headers["content-disposition"] == f'attachment; filename="receipt-{call.id}.json"'
    check_receipt(CallerReceipt.from_json(answer.json()), root)
    assert answer.json()["personal"]["caller"] == CALLER
    last = web_office.archive.store.accesses(call.id)[-1]
    assert (last.action, last.outcome, last.login, last.via) == ("receipt", "done", "claire", "web")
    assert "no call is ticked" in told(post(officer, "/receipt", of=other.id)), "of another person"


def test_a_person_gets_a_vcon_of_a_call(officer: Asking, web_office: Office) -> None:
    call, other = web_office.call(), web_office.call(caller=OTHER)
    answer = post(officer, "/vcon", of=call.id, request="2026-118", channel="caller")
    assert (answer.status_code, answer.headers["content-type"]) == (HTTPStatus.OK, "application/vcon")
    assert answer.headers["content-disposition"] == f'attachment; filename="{call.id}.vcon"'
    assert json.loads(answer.content)["signatures"]
    last = web_office.archive.store.accesses(call.id)[-1]
    assert (last.action, last.purpose, last.reference, last.via) == (
        "export",
        "access_request",
        "2026-118",
        "web",
    )
    assert last.detail == f'caller, vCon without its sound to "{call.id}.vcon"'
    for fields, said in (
        ({"of": other.id, "request": "1", "channel": "both"}, "no call is ticked"),
        ({"of": call.id, "channel": "both"}, "Reference of the request"),
        ({"of": call.id, "request": "1"}, "Whose voice"),
    ):
        assert said in told(post(officer, "/vcon", **fields))


def test_a_number_never_stands_in_an_address(officer: Asking, web_office: Office) -> None:
    call = web_office.call()
    text = officer.client.get("/requests").text + post(officer).text
    text += post(officer, "/erase", id=call.id, reason="x").text
    for address in re.findall(r'(?:href|action|src)="([^"]*)"', text):
        assert not re.search(rf"{CALLER[-9:]}|caller|\?", address), address
    answer = post(officer, "/erased", id=call.id, reason="x")
    assert not re.search(r"612345678", answer.headers["location"])
    assert officer.client.get("/requests?caller=0612345678").text.count("0612345678") == 0


def test_whose_number_is_masked_is_found_by_the_reference(officer: Asking, web_office: Office) -> None:
    at = datetime(2026, 11, 9, 22, 30, tzinfo=UTC)
    for day in range(2):
        begun = at + timedelta(days=day)
        web_office.call(id=f"{begun:%Y%m%dT%H%M%S}000-482913", started_at=begun, caller=None)
    text = post(officer, caller="", reference="#482 913").text
    assert "2 calls are kept" in text and "tick the one that is meant" in text and not ticked_in(text)
    text = post(officer, caller="", reference="482913", day="2026-11-10").text
    assert "1 call is kept" in text and "20261110T223000000-482913" in text
    assert "neither is given" in told(post(officer, caller="", reference=""))
    assert "is not a day" in told(post(officer, day="soon"))


def test_the_package_can_be_read_by_people_and_programs(officer: Asking, web_office: Office) -> None:
    call, other = web_office.call(), web_office.call(caller=OTHER)
    answer = post(officer, "/package", id=[call.id, other.id], **DECIDED)
    assert answer.headers["content-disposition"] == 'attachment; filename="access-2026-118.zip"'
    files = files_of(answer)
    assert set(files) == {"letter.html", "data.json"}
    letter = files["letter.html"]
    assert letter.startswith("<!doctype html>") and '<html lang="fr">' in letter, "the service's language"
    for said in ("2026-118", CALLER, "Finalités", "conservés 6 mois", "CNIL", "la touche 9", "article 17"):
        assert said in letter.replace("\u00a0", " "), said
    assert not re.search(r"<script|https?://|src=|@import|url\(", letter)
    data = json.loads(files["data.json"])
    assert data["request"] == "2026-118" and data["voices"] == "both"
    (one,) = data["calls"]
    assert (one["id"], one["call"]["caller"], one["sound"]) == (call.id, CALLER, None)
    assert OTHER not in files["data.json"] + letter and other.id not in letter
    (row,) = web_office.archive.store.accesses(call.id)
    assert (row.action, row.outcome, row.login, row.via) == ("answer", "done", "claire", "web")
    assert (row.purpose, row.reference) == ("access_request", "2026-118")


@pytest.mark.parametrize("language", ["fr", "en"])
def test_a_letter_has_words_and_no_codes(officer: Asking, web_office: Office, language: str) -> None:
    """How it was drawn stands folded at the end; elsewhere is nothing of lot and seed."""
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
    changed = replace(store.receipt(call.id), events=events, decision="not_allowed", decided_by="sampling")
    store.update_receipt(replace(changed, phase="window", outcome="unavailable"))
    config = officer.site.config
    service = config.service.model_copy(update={"language": language})
    officer.site.config = config.model_copy(update={"service": service})
    letter = files_of(post(officer, "/package", id=call.id, **DECIDED))["letter.html"]
    assert f'<html lang="{language}">' in letter
    folded = re.findall(r"<details><summary>.*?</details>", letter, flags=re.DOTALL)
    assert len([one for one in folded if re.search(r"0\.25.*seed 5eed|0\.25.*graine 5eed", one)]) == 2
    parts = r"<style.*?</style>|<details><summary>.*?</details>|<[^>]*>|sounds/\S+"
    text = unescape(re.sub(parts, " ", letter, flags=re.DOTALL))
    codes = re.compile(
        r"0\.25|5eed|\bseed\b|graine|\bshare\b|dtmf|sampling|not_|_failed|unavailable|: de\b|window"
    )
    assert codes.findall(text) == []
    english = re.compile(r"\bdrawn|REFER\b|answered|no media|hung up|decision:|language:|\(agent\)")
    assert (english.findall(text) == []) is (language == "fr")
    said = "exclu (par tirage au sort" if language == "fr" else "left out (by a draw, after the notice)"
    assert said in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_line_of_a_story_has_words_in_the_letter(language: str) -> None:
    words = template(f"letter.{language}.txt").words
    of_stories = (FOLDER / "kept.txt").read_text().partition("# details of the trace")[0].splitlines()[2:]
    lines = {*codes()["happening"], *(line.replace(": ", ":") for line in of_stories)}
    assert lines - {name.removeprefix("line.") for name in words} == {"language:{language}"}


EVIDENCE: dict[str, tuple[bool, bool, Json | None]] = {  # whether it is told, with the ground; and in JSON
    "ground": (True, True, {"ground": "criminal", "review": "2027-01-31"}),
    "held": (True, False, {"ground": None, "review": "2027-01-31"}),
    "nothing": (False, False, None),
}


@pytest.mark.parametrize("evidence", EVIDENCE)
@pytest.mark.parametrize("marks", ["yes", "no"])
def test_what_concerns_others_is_told_as_the_officer_decides(
    officer: Asking, web_office: Office, evidence: str, marks: str
) -> None:
    """Of a hold, of the uses for it, and of the operator's mark; in letter and data alike."""
    call, store = web_office.call(), web_office.archive.store
    web_office.archive.change(replace(call, hold=HOLD, flagged=True))
    events = (Event(at=call.started_at, what="flagged", by="operator"),)
    store.update_receipt(replace(store.receipt(call.id), events=events))
    for action, purpose in (("play", "quality"), ("export", "criminal")):
        use = Access(
            at=datetime.now(UTC), action=action, recording_id=call.id, purpose=purpose, by="M. Durand"
        )
        store.add_access(use)
    for missing in ("evidence", "marks"):
        decided = DECIDED | {"evidence": evidence, "marks": marks, missing: ""}
        assert "is not decided" in told(post(officer, "/package", id=call.id, **decided))
    decided = DECIDED | {"evidence": evidence, "marks": marks, "remark": "Un motif <b>propre</b>."}
    before = len(store.accesses(call.id))
    read = post(officer, "/letter", id=call.id, **decided)
    assert read.headers["content-security-policy"].startswith("default-src 'none'; style-src 'unsafe-inline'")
    assert len(store.accesses(call.id)) == before, "it is read, and nothing is answered"
    files = files_of(post(officer, "/package", id=call.id, **decided))
    letter, data = unescape(files["letter.html"]), json.loads(files["data.json"])["calls"][0]
    assert letter.partition("<main>")[2] == unescape(read.text).partition("<main>")[2]
    is_held, has_ground, in_json = EVIDENCE[evidence]
    of_call = letter.partition("Vos appels")[2].partition("Pourquoi, et pendant")[0]
    assert ("Conservé comme preuve" in of_call, "pénal" in of_call) == (is_held, has_ground)
    assert ("copié, " in of_call) is is_held and "écouté, pour la qualité" in of_call
    assert data["held_as_evidence"] == in_json
    purposes = {"ground": ["quality", "criminal"], "held": ["quality", "evidence"], "nothing": ["quality"]}
    assert [use["purpose"] for use in data["uses"]] == purposes[evidence]
    assert ("signalé" in of_call, data["flagged"], bool(data["events"])) == ((marks == "yes",) * 3)
    assert "Un motif <b>propre</b>." in letter and "&lt;b&gt;propre" in files["letter.html"]
    answered = store.accesses(call.id)[-1]
    assert answered.detail == f"voices both, names no, evidence {evidence}, marks {marks}"


@pytest.mark.parametrize("because", ["yes", ""])
def test_why_one_voice_is_alone_is_said_where_the_officer_says_so(
    officer: Asking, web_office: Office, because: str
) -> None:
    id = web_office.call().id
    use = Access(
        at=datetime.now(UTC), action="export", recording_id=id, purpose="access_request", by="claire",
        reference="2026-118", login="claire", via="web",
    )  # fmt: skip
    web_office.archive.store.add_access(use)
    decided = DECIDED | {"channel": "caller", "because": because}
    letter = files_of(post(officer, "/package", id=id, sound=id, **decided))["letter.html"]
    assert "On n’y entend que vous" in letter and ("l’ont emporté" in letter) is bool(because)


def test_names_are_told_where_the_officer_says_so(officer: Asking, web_office: Office) -> None:
    call, store = web_office.call(), web_office.archive.store
    events = (Event(at=call.started_at, what="ringing sip:zoe.petit@pbx.example.net", by="agent"),)
    store.update_receipt(replace(store.receipt(call.id), events=events))
    used(web_office, call.id)
    for names in ("yes", "no"):
        files = files_of(post(officer, "/package", id=call.id, **DECIDED | {"names": names}))
        for text in files.values():
            for name in ("marie.durand", "zoe.petit", "M. Durand"):
                assert (name in text) is (names == "yes"), name
            assert "a.wav" not in text, "where a copy lies is no data of the person"
        assert (
            "qualité du service" in files["letter.html"]
            and json.loads(files["data.json"])["calls"][0]["uses"]
        )


def test_a_sound_is_named_where_the_trace_has_its_copy(officer: Asking, web_office: Office) -> None:
    ids = [web_office.call().id for _ in range(2)]
    copied = Access(
        at=datetime.now(UTC), action="export", recording_id=ids[0], purpose="access_request", by="claire",
        reference="2026-118", detail=f'both to "{ids[0]}.wav"', login="claire", via="web",
    )  # fmt: skip
    web_office.archive.store.add_access(copied)
    given = post(officer, "/package", id=ids, sound=ids, parts="yes", **DECIDED).json()
    assert given["name"] == "access-2026-118.zip" and set(given["files"]) == {"letter.html", "data.json"}
    sounds = {call["id"]: call["sound"] for call in json.loads(given["files"]["data.json"])["calls"]}
    assert sounds == {ids[0]: f"sounds/{ids[0]}.wav", ids[1]: None}
    assert f"sounds/{ids[0]}.wav" in given["files"]["letter.html"]


def test_what_is_not_decided_is_asked_again(officer: Asking, web_office: Office) -> None:
    ids = [web_office.call().id for _ in range(2)]
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"request": " "}, "Reference of the request"),
        ({"channel": "operator"}, "Whose voice"),
        ({"names": ""}, "Names"),
        ({"id": []}, "no call is ticked"),
        ({"id": "20261124T222000123-482913"}, "no call is ticked"),
    ]
    for changed, said in wrong:
        answer = post(officer, "/package", **{"id": ids[0]} | DECIDED | changed)
        assert said in told(answer)
        assert "2 calls are kept" in answer.text, "what was found stays there"
        assert ('value="2026-118"' in answer.text) is ("request" not in changed), "and what was typed"
        assert ticked_in(answer.text) == ([] if "id" in changed else [ids[0]])
    assert web_office.archive.store.accesses() == []


def test_what_goes_is_shown_first_then_erased_and_certified(officer: Asking, web_office: Office) -> None:
    """Each call on a page of its own; what is held stays."""
    archive = web_office.archive
    calls = [web_office.call(ago=timedelta(hours=n + 1)) for n in range(2)]
    held, other = web_office.call(ago=timedelta(hours=9)), web_office.call(caller=OTHER)
    archive.change(replace(held, hold=HOLD))
    ids = [*(call.id for call in calls), held.id]
    for path in ("/erase", "/erased"):
        assert "Reason" in told(post(officer, path, id=ids, reason="  "))
        assert "no call is ticked" in told(post(officer, path, id=other.id, reason="x"))
    text = post(officer, "/erase", id=ids, reason="request 2026-118").text
    assert "Erase 2 calls?" in text and "request 2026-118" in text
    goes, _, stays = text.partition("What stays")
    assert all(reference_of(call.id) in goes for call in calls) and "on hold" in stays
    assert sorted(re.findall(r'name="id" value="([^"]*)"', text)) == sorted(call.id for call in calls)
    assert archive.store.accesses() == [], "nothing has been done"
    answer = post(officer, "/erased", id=ids, reason="request 2026-118")
    assert answer.status_code == HTTPStatus.SEE_OTHER
    page = officer.client.get(answer.headers["location"])
    assert page.text.count("ATTESTATION D’EFFACEMENT") == 2 and "2 calls are erased" in page.text
    assert "request 2026-118" in page.text and held.id[-6:] in page.text
    paper = officer.client.get(f"{answer.headers['location']}/certificates.txt")
    assert paper.text.count("\f") == 1 and paper.headers["content-disposition"].startswith("attachment")
    assert [Paths(archive).file(call.id) for call in calls] == [None, None]
    assert Paths(archive).file(held.id) is not None and Paths(archive).file(other.id) is not None
    use = archive.store.accesses(held.id)[-1]
    assert (use.action, use.outcome, use.via, use.login) == ("delete", "refused", "web", "claire")


def test_certificates_are_for_who_made_them_and_for_an_hour(officer: Asking, web_office: Office) -> None:
    path = post(officer, "/erased", id=web_office.call().id, reason="x").headers["location"]
    officer.login(Role.OFFICER, name="paul")
    assert officer.client.get(path).status_code == HTTPStatus.NOT_FOUND
    officer.login(Role.OFFICER)
    assert officer.client.get(path).status_code == HTTPStatus.OK
    officer.site.clock = lambda: datetime.now(UTC) + PAPERS_KEPT + timedelta(minutes=1)
    assert officer.client.get(path).status_code == HTTPStatus.NOT_FOUND
    drawer, now = Drawer(), datetime(2026, 11, 27, tzinfo=UTC)
    tokens = [drawer.put(Papers(now, "claire", (str(n),), ())) for n in range(MOST_PAPERS + 1)]
    assert [drawer.find(token, "claire", now) is None for token in tokens[:2]] == [True, False]
