"""A person listens in a real browser: what is heard is what was said, and nothing else is."""

import json
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from retention.records import Pause
from retention.vault import read_public
from tests.kept import remove
from tests.office import RATE, Office
from tests.sealing import PASSPHRASE
from tests.web.browser import heard, needs_chromium, sounding
from tests.web.hearing import at_the_end, call, make_listening_office, noise, open_key, play, seek
from tests.web.listening import Listener, listening

pytestmark = needs_chromium


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_listening_office(tmp_path, capsys)


@pytest.fixture
def claire(office: Office) -> Iterator[Listener]:
    with listening(office, read_public(office.folder / "keys" / "claire.pub")) as listener:
        yield listener


def test_what_is_heard_is_what_was_said(claire: Listener, office: Office, person: BrowserContext) -> None:
    sound = noise(3.3)
    page = person.new_page()
    page.goto(claire.url(call(office, sound)))
    open_key(page, office)
    play(page)
    at_the_end(page)
    assert np.array_equal(sounding(heard(page)), sound)


def test_sound_at_16_khz_comes_out_as_it_is(claire: Listener, office: Office, person: BrowserContext) -> None:
    sound, page = noise(2), person.new_page()
    row = call(office, sound, rate=16_000, sample_rate=16_000, duration_s=len(sound) / 16_000)
    page.goto(claire.url(row))
    open_key(page, office)
    play(page)
    at_the_end(page)
    assert np.array_equal(sounding(heard(page)), sound)


def test_a_key_without_a_passphrase_opens_and_is_never_kept(office: Office, person: BrowserContext) -> None:
    sound = noise(1.5)
    with listening(office, read_public(office.folder / "keys" / "paul.pub")) as paul:
        page = person.new_page()
        page.goto(paul.url(call(office, sound)))
        open_key(page, office, "paul", "")
        page.check("#key-keep")
        page.click("#key-open")
        expect(page.locator("#listen-fault")).to_contain_text("no passphrase")
        page.uncheck("#key-keep")
        play(page)
        at_the_end(page)
        assert np.array_equal(sounding(heard(page)), sound)


def test_what_is_in_clear_plays_too(claire: Listener, office: Office, person: BrowserContext) -> None:
    sound, page = noise(2.7), person.new_page()
    page.goto(claire.url(office.call(sound=sound, duration_s=2.7, sample_rate=RATE, pauses=())))
    assert page.locator("#key").count() == 0
    play(page)
    at_the_end(page)
    assert np.array_equal(sounding(heard(page)), sound)


def test_without_a_purpose_nothing_is_asked_for(
    claire: Listener, office: Office, person: BrowserContext
) -> None:
    page = person.new_page()
    page.goto(claire.url(call(office, noise(1))))
    open_key(page, office)
    page.evaluate("document.getElementById('purpose').required = false")  # the browser's own check
    page.click("#play")
    expect(page.locator("#listen-fault")).to_have_text("Choose a purpose first.")
    assert claire.uses == [] and claire.spans == []


@pytest.mark.parametrize(
    ("file", "passphrase", "said"),
    [
        ("claire.key", "wrong", "Wrong passphrase"),
        ("claire.key", "", "Type the passphrase"),
        ("claire.pub", "x", "a public key, which opens nothing"),
        ("paul.key", "", "not the key of your account"),
        ("long.key", "", "longer than any key"),
        ("greedy.key", "x", "not an identity, or it is damaged"),
        ("other.key", "", "not an identity, or it is damaged"),
        ("mixed.key", "", "not an identity, or it is damaged"),
    ],
)
def test_what_opens_nothing_is_told_before_a_use_is_asked_for(
    claire: Listener, office: Office, person: BrowserContext, *, file: str, passphrase: str, said: str
) -> None:
    keys = office.folder / "keys"
    unprotected = json.loads((keys / "paul.key").read_text())
    sealed = json.loads((keys / "claire.key").read_text())
    (keys / "long.key").write_text(" " * 70_000)
    (keys / "greedy.key").write_text(json.dumps(sealed | {"kdf": sealed["kdf"] | {"memlimit": 1 << 31}}))
    (keys / "other.key").write_text(json.dumps(unprotected | {"version": "sipagent-identity-2"}))
    (keys / "mixed.key").write_text(json.dumps(unprotected | {"public": sealed["public"]}))
    page = person.new_page()
    page.goto(claire.url(call(office, noise(1))))
    page.set_input_files("#key-file", keys / file)
    page.fill("#passphrase", passphrase)
    page.select_option("#purpose", "quality")
    page.click("#play")
    expect(page.locator("#listen-fault")).to_contain_text(said)
    assert claire.uses == []


def test_a_passphrase_counts_however_it_is_composed(
    claire: Listener, office: Office, person: BrowserContext
) -> None:
    page = person.new_page()
    page.goto(claire.url(call(office, noise(1))))
    open_key(page, office, passphrase=unicodedata.normalize("NFD", PASSPHRASE))
    page.click("#key-open")
    expect(page.locator("#key-name")).to_have_text("claire")
    assert page.input_value("#passphrase") == ""


def test_a_sealed_key_of_something_else_opens_nothing(
    claire: Listener, office: Office, person: BrowserContext
) -> None:
    first, second = call(office, noise(1)), call(office, noise(1, 2))
    vault, key = claire.site.archive.vault, claire.person.key
    assert key is not None
    for given, said in (
        (vault.box(second.id, key), "was sealed for something else"),
        (vault.box(first.id, read_public(office.folder / "keys" / "paul.pub")), "is not sealed to your key"),
    ):
        claire.alter_key = lambda box, given=given: given
        page = person.new_page()
        page.goto(claire.url(first))
        open_key(page, office)
        page.select_option("#purpose", "quality")
        page.click("#play")
        expect(page.locator("#listen-fault")).to_contain_text(said)
    assert claire.spans == []


def test_an_altered_byte_is_silence_and_is_said(
    claire: Listener, office: Office, person: BrowserContext
) -> None:
    """Of the second chunk: what follows in its stream can't be opened either, until a new one begins."""
    sound = noise(12)

    def alter(content: bytes) -> bytes:
        at = 40_000 if len(content) > 300_000 else len(content)  # not in the second stream
        return content[:at] + bytes(byte ^ 1 for byte in content[at : at + 1]) + content[at + 1 :]

    claire.alter = alter
    row, page = call(office, sound), person.new_page()
    page.goto(claire.url(row))
    open_key(page, office)
    play(page)
    at_the_end(page)
    expect(page.locator("#told-gaps")).to_contain_text("Missing or damaged")
    expect(page.locator("#told-gaps")).to_contain_text("0:01 to 0:10")
    expected = sound.copy()
    expected[RATE : 10 * RATE] = 0
    assert np.array_equal(sounding(heard(page)), expected)


def test_an_end_that_is_missing_is_said(claire: Listener, office: Office, person: BrowserContext) -> None:
    sound, page = noise(3), person.new_page()
    claire.alter = lambda content: content[:-60]
    page.goto(claire.url(call(office, sound)))
    open_key(page, office)
    play(page)
    at_the_end(page)
    expect(page.locator("#told-gaps")).to_contain_text("The end of the recording is missing.")
    assert np.array_equal(sounding(heard(page)), sound)


def test_pauses_and_what_is_incomplete_are_said(
    claire: Listener, office: Office, person: BrowserContext
) -> None:
    page = person.new_page()
    pauses = (Pause(from_s=1, to_s=2.5),)
    page.goto(claire.url(call(office, noise(4), pauses=pauses, incomplete=True)))
    open_key(page, office)
    play(page)
    told = page.locator("#told-gaps")
    expect(told).to_contain_text("incomplete")
    expect(told.locator("li")).to_have_text("0:01 to 0:02")


@pytest.mark.parametrize(
    ("status", "said", "open"),
    [
        (HTTPStatus.GONE, "removed meanwhile", True),
        (HTTPStatus.UNAUTHORIZED, "session has ended", False),
        (HTTPStatus.FORBIDDEN, "as the test wants it", True),
    ],
)
def test_what_ends_meanwhile_ends_clearly(
    claire: Listener, office: Office, person: BrowserContext, *, status: HTTPStatus, said: str, open: bool
) -> None:
    page = person.new_page()
    page.goto(claire.url(call(office, noise(45))))
    open_key(page, office)
    play(page)
    expect(page.locator("#waveform-caller")).to_be_visible()
    claire.refuse = status
    seek(page, 35)
    expect(page.locator("#listen-fault")).to_contain_text(said)
    expect(page.locator("#key-opened")).to_be_visible(visible=open)
    if status != HTTPStatus.FORBIDDEN:
        expect(page.locator("#listening")).to_be_hidden()


def test_a_purge_ends_what_is_listened_to(claire: Listener, office: Office, person: BrowserContext) -> None:
    row, page = call(office, noise(45)), person.new_page()
    page.goto(claire.url(row))
    open_key(page, office)
    play(page)
    remove(office.archive, row.id, datetime.now(UTC))
    seek(page, 35)
    expect(page.locator("#listen-fault")).to_contain_text("removed meanwhile")


CUT = """let cuts = %d; const whole = Response.prototype.arrayBuffer; Response.prototype.arrayBuffer =
function () { return cuts-- > 0 ? Promise.reject(new TypeError("cut")) : whole.call(this); };"""


def where_answers_are_cut(times: int, claire: Listener, office: Office, person: BrowserContext) -> Page:
    """Before a recording of `noise(5)`, with the key open; so many answers end too soon."""
    page = person.new_page()
    page.add_init_script(CUT % times)
    page.goto(claire.url(call(office, noise(5))))
    open_key(page, office)
    return page


def test_an_answer_that_was_cut_short_is_asked_for_again(
    claire: Listener, office: Office, person: BrowserContext
) -> None:
    page = where_answers_are_cut(1, claire, office, person)
    play(page)
    at_the_end(page)
    assert np.array_equal(sounding(heard(page)), noise(5))


def test_one_that_is_cut_short_again_and_again_is_told_of(
    claire: Listener, office: Office, person: BrowserContext
) -> None:
    page = where_answers_are_cut(99, claire, office, person)
    page.select_option("#purpose", "quality")
    page.click("#play")
    expect(page.locator("#listen-fault")).to_contain_text("does not answer")


def test_a_refused_use_says_why(claire: Listener, office: Office, person: BrowserContext) -> None:
    row = call(office, noise(1), ago=timedelta(days=400))
    page = person.new_page()
    page.goto(claire.url(row))
    open_key(page, office)
    page.select_option("#purpose", "quality")
    page.click("#play")
    expect(page.locator("#listen-fault")).to_contain_text("it has expired")
    assert claire.spans == []
    (refused,) = claire.site.store.accesses()
    assert (refused.outcome, refused.login, refused.via) == ("refused", "claire", "web")


def test_two_tabs_have_a_key_each(claire: Listener, office: Office, person: BrowserContext) -> None:
    row, pages = call(office, noise(5)), [person.new_page(), person.new_page()]
    for page in pages:
        page.goto(claire.url(row))
    open_key(pages[0], office)
    play(pages[0])
    expect(pages[1].locator("#key-closed")).to_be_visible()
    open_key(pages[1], office)
    play(pages[1])
    pages[0].click("#key-close")
    expect(pages[0].locator("#listening")).to_be_hidden()
    at_the_end(pages[1])
    assert np.array_equal(sounding(heard(pages[1])), noise(5))


def test_the_browser_keeps_a_key_only_if_asked_and_only_sealed(
    claire: Listener, office: Office, person: BrowserContext
) -> None:
    row, page = call(office, noise(1)), person.new_page()
    page.goto(claire.url(row))
    open_key(page, office)
    page.click("#key-open")
    expect(page.locator("#key-name")).to_have_text("claire")
    page.reload()
    expect(page.locator("#key-closed")).to_be_visible()
    expect(page.locator("#key-kept")).to_be_hidden()
    open_key(page, office)
    page.check("#key-keep")
    page.click("#key-open")
    expect(page.locator("#key-name")).to_have_text("claire")
    page.reload()
    expect(page.locator("#key-kept-name")).to_have_text("claire")
    page.fill("#passphrase", PASSPHRASE)
    play(page)
    at_the_end(page)
    page.click("#key-close")
    page.click("#key-forget")
    expect(page.locator("#key-kept")).to_be_hidden()
    page.reload()
    expect(page.locator("#key-kept")).to_be_hidden()


def test_a_browser_that_keeps_nothing_says_so(
    claire: Listener, office: Office, person: BrowserContext
) -> None:
    row, page = call(office, noise(1)), person.new_page()
    page.goto(claire.url(row))
    blocked = page.evaluate(
        """async () => {
            const { keep, kept } = await import("/static/kept.js");
            IDBFactory.prototype.open = () => { throw new DOMException("", "SecurityError"); };
            return [await kept(), await keep(new Uint8Array(1)).catch(({ code }) => code)];
        }"""
    )
    assert blocked == [None, "key_not_kept"]


def test_the_key_goes_with_its_person_from_one_recording_to_the_next(
    claire: Listener, office: Office, person: BrowserContext
) -> None:
    first, second = call(office, noise(1)), call(office, noise(1.5, 2))
    page = person.new_page()
    page.goto(claire.url(first))
    open_key(page, office)
    page.click("#key-open")
    expect(page.locator("#key-name")).to_have_text("claire")
    page.click(f"text={second.id}")
    expect(page.locator("h1")).to_have_text(second.id)
    expect(page.locator("main")).to_be_focused()
    assert page.url == claire.url(second) and second.id in page.title()
    expect(page.locator("#key-name")).to_have_text("claire")
    play(page)
    at_the_end(page)
    assert np.array_equal(sounding(heard(page)), noise(1.5, 2))
    page.go_back()
    expect(page.locator("h1")).to_have_text(first.id)
    expect(page.locator("#key-name")).to_have_text("claire")
    page.fill("#q", "x")
    page.click("text=go")
    page.wait_for_url("**?q=x")
    expect(page.locator("#key-name")).to_have_text("claire")
    page.click("text=send")
    page.wait_for_url("**?sent")
    expect(page.locator("#key-name")).to_have_text("claire")
    assert claire.sent == [b"csrf=csrf-claire"]
    page.click("#key-close")
    page.click(f"text={second.id}")
    expect(page.locator("h1")).to_have_text(second.id)
    expect(page.locator("#key-closed")).to_be_visible()


def test_the_key_stays_open_through_the_real_pages(
    claire: Listener, office: Office, person: BrowserContext
) -> None:
    """The list, another recording, the calls of the moment, and back; not through a login."""
    first, second = call(office, noise(1)), call(office, noise(1.5, 2), ago=timedelta(hours=2))
    page = person.new_page()
    page.goto(f"{claire.address}/recordings/{first.id}")
    open_key(page, office)
    page.click("#key-open")
    expect(page.locator("#key-name")).to_have_text("claire")
    page.click("nav >> text=Recordings")
    page.wait_for_url("**/recordings")
    expect(page.locator("nav [aria-current]")).to_have_text("Recordings")
    page.click(f"main a[href='/recordings/{second.id}']")
    page.wait_for_url(f"**/recordings/{second.id}")
    expect(page.locator("#key-name")).to_have_text("claire")
    play(page)
    at_the_end(page)
    assert np.array_equal(sounding(heard(page)), noise(1.5, 2))
    page.click("nav >> text=Now")
    expect(page.locator("#calls-table, #in-all").first).to_be_attached()
    page.go_back()
    expect(page.locator("#key-name")).to_have_text("claire")
    page.go_back()
    page.wait_for_url("**/recordings")
    (use,) = claire.uses
    assert (use.recording_id, use.purpose, use.by) == (second.id, "quality", "claire")


def test_who_is_faster_than_a_script_breaks_nothing(
    claire: Listener, office: Office, person: BrowserContext
) -> None:
    """Back before the script of the page between has come: it finds its page first."""
    row, page, held = call(office, noise(1)), person.new_page(), list[Route]()
    page.goto(f"{claire.address}/recordings/{row.id}")
    open_key(page, office)
    page.click("#key-open")
    expect(page.locator("#key-name")).to_have_text("claire")
    person.route("**/static/now.js*", lambda route: held.append(route))  # noqa: PLW0108  # playwright marks it
    with page.expect_request("**/static/now.js*"):
        page.click("nav >> text=Now")
    with page.expect_response(f"**/recordings/{row.id}") as back:
        page.go_back(wait_until="commit")
    back.value.finished()
    drawn = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
    page.evaluate(f"{drawn}.then(() => {drawn})")  # what came may be shown by now
    with page.expect_response("**/static/now.js*") as script:
        held[0].continue_()
    script.value.finished()
    page.evaluate(f"{drawn}.then(() => {drawn})")
    expect(page.locator("#key-name")).to_have_text("claire")
    expect(page.locator("nav [aria-current]")).to_have_text("Recordings")
