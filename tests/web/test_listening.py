"""A person listens in a real browser: what is heard is what was said, and nothing else is; and an officer
makes there the package of a person with its sounds."""

import io
import json
import time
import unicodedata
import zipfile
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect

from media.recording.chunks import ChunkNote, Coding, Kind, PartWriter, Sealer, create_part, read_part
from retention.records import MissingSound, Pause, Recording
from retention.use import known_copies
from retention.vault import read_public
from sipagent.web.app import create_app
from sipagent.web.rights import Role
from sipagent.web.site import Person
from tests.kept import CALLER, remove
from tests.office import RATE, Office, stereo
from tests.sealing import PASSPHRASE
from tests.web.browser import Unwatched, heard, needs_chromium, somebody, sounding
from tests.web.listening import (
    Listener,
    Sound,
    at_the_end,
    call,
    listening,
    make_listening_office,
    noise,
    open_key,
    play,
    seek,
    unfold,
)
from tests.web.logging_in import asked_by
from tests.web.served import serving

pytestmark = needs_chromium


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_listening_office(tmp_path, capsys)


@pytest.fixture
def claire(office: Office) -> Iterator[Listener]:
    with listening(office) as listener:
        yield listener


def opened(claire: Listener, person: BrowserContext, what: Sound | Recording) -> Page:
    """A page with key and purpose, and nothing played yet."""
    page = person.new_page()
    page.goto(claire.url(what if isinstance(what, Recording) else call(claire.office, what)))
    if page.locator("#key-file").count():
        open_key(page, claire.office)
    page.select_option("#purpose", "quality")
    return page


def paused(claire: Listener, person: BrowserContext, sound: Sound) -> Page:
    """A page that has played a little, and waits."""
    page = opened(claire, person, sound)
    play(page)
    page.click("#play")
    expect(page.locator("#play")).to_have_text("Play")
    return page


def goes_on(page: Page, second: str) -> Sound:
    """What is heard from there to the end."""
    page.locator("#position").fill(second)
    page.evaluate("window.captured.length = 0")
    page.click("#play")
    at_the_end(page)
    return sounding(heard(page))


def fails(page: Page, said: str) -> None:
    expect(page.locator("#listen-fault")).to_contain_text(said)


@pytest.mark.parametrize("kind", ["sealed", "16 kHz", "clear"])
def test_what_is_heard_is_what_was_said(
    claire: Listener, office: Office, person: BrowserContext, kind: str
) -> None:
    sound = noise(2.7)
    if kind == "clear":
        row = office.call(sound=sound, duration_s=2.7, sample_rate=RATE, pauses=())
    else:
        rate = 16_000 if kind == "16 kHz" else RATE
        row = call(office, sound, rate=rate, sample_rate=rate, duration_s=len(sound) / rate)
    page = opened(claire, person, row)
    assert page.locator("#key").count() == (kind != "clear")
    play(page)
    at_the_end(page)
    assert np.array_equal(sounding(heard(page)), sound)


def test_what_is_damaged_or_missing_is_silence_and_is_said(
    claire: Listener, office: Office, person: BrowserContext
) -> None:
    """Of the second chunk: what follows in its stream can't be opened either, until a new one begins."""
    sound = noise(12)

    def alter(content: bytes) -> bytes:
        at = 40_000 if len(content) > 300_000 else len(content) - 60  # not in the second stream
        return content[:at] + bytes(byte ^ 1 for byte in content[at : at + 1]) + content[at + 1 :]

    claire.alter = alter
    pauses = (Pause(from_s=1, to_s=2.5),)
    page = opened(claire, person, call(office, sound, pauses=pauses, incomplete=True))
    play(page)
    told = page.locator("#told-gaps")
    expect(told).to_contain_text("incomplete")
    expect(told.locator("li").first).to_have_text("0:01 to 0:02")
    at_the_end(page)
    for text in ("Missing or damaged", "0:01 to 0:10"):
        expect(told).to_contain_text(text)
    expected = sound.copy()
    expected[RATE : 10 * RATE] = 0
    assert np.array_equal(sounding(heard(page)), expected)
    claire.alter = lambda content: content[:-60]
    page = opened(claire, person, noise(3))
    play(page)
    at_the_end(page)
    expect(page.locator("#told-gaps")).to_contain_text("The end of the recording is missing.")
    assert np.array_equal(sounding(heard(page)), noise(3))


def test_the_map_of_what_is_missing_is_drawn_on_its_side_and_said(
    claire: Listener, office: Office, person: BrowserContext
) -> None:
    missing = (
        MissingSound(channel="caller", from_s=0.5, to_s=1.02, why="concealed"),
        MissingSound(channel="both", from_s=2.0, to_s=2.5, why="hold"),
    )
    page = opened(claire, person, call(office, noise(3), missing=missing))
    play(page)
    at_the_end(page)
    told = page.locator("#told-gaps")
    expect(told).to_contain_text("because nothing came in time (caller):")
    expect(told.locator("li")).to_have_text(["0:00.50 to 0:01.02"])
    facts = page.locator("dl.facts").filter(has_text="Paused")
    expect(facts).to_contain_text("1 time, 0.52 s: 0:00.50 to 0:01.02")
    at = "canvas => { const p = canvas.getContext('2d'); const x = Math.round(canvas.width * 0.25);"
    coloured = f"{at} return [...p.getImageData(x, canvas.height - 2, 1, 1).data].join() }}"
    alarm, none = (page.locator(f"#waveform-{side}").evaluate(coloured) for side in ("caller", "operator"))
    assert alarm != none


CUT = """let cuts = %d; const whole = Response.prototype.arrayBuffer; Response.prototype.arrayBuffer =
function () { return cuts-- > 0 ? Promise.reject(new TypeError("cut")) : whole.call(this); };"""


@pytest.mark.parametrize("times", [1, 99])
def test_an_answer_that_was_cut_short_is_asked_for_again(
    claire: Listener, person: BrowserContext, times: int
) -> None:
    person.add_init_script(CUT % times)
    page = opened(claire, person, noise(5))
    page.click("#play")
    if times > 1:
        fails(page, "does not answer")
        return
    at_the_end(page)
    assert np.array_equal(sounding(heard(page)), noise(5))


@pytest.mark.parametrize(
    ("file", "passphrase", "said"),
    [
        ("claire.key", "wrong", "Wrong passphrase"),
        ("claire.key", "", "Type the passphrase"),
        ("claire.pub", "x", "a public key, which opens nothing"),
        ("paul.key", "", "not the key of your account"),
        ("long.key", "", "longer than any key"),
        *((f"{name}.key", "x", "not an identity, or it is damaged") for name in ("greedy", "other", "mixed")),
    ],
)
def test_what_opens_nothing_is_told_before_a_use_is_asked_for(
    claire: Listener, office: Office, person: BrowserContext, *, file: str, passphrase: str, said: str
) -> None:
    keys = office.folder / "keys"
    unprotected, sealed = (json.loads((keys / f"{name}.key").read_text()) for name in ("paul", "claire"))
    (keys / "long.key").write_text(" " * 70_000)
    (keys / "greedy.key").write_text(json.dumps(sealed | {"kdf": sealed["kdf"] | {"memlimit": 1 << 31}}))
    (keys / "other.key").write_text(json.dumps(unprotected | {"version": "sipagent-identity-2"}))
    (keys / "mixed.key").write_text(json.dumps(unprotected | {"public": sealed["public"]}))
    page = opened(claire, person, noise(1))
    page.set_input_files("#key-file", keys / file)
    page.fill("#passphrase", passphrase)
    page.evaluate("document.getElementById('key').open = false")
    page.click("#play")
    fails(page, said)
    expect(page.locator("#key")).to_have_attribute("open", "")  # what is wrong is shown
    assert claire.uses == []


def test_a_sealed_key_of_something_else_opens_nothing_nor_is_sound_sent_after_its_time(
    claire: Listener, office: Office, person: BrowserContext
) -> None:
    first, second = call(office, noise(1)), call(office, noise(1, 2))
    vault, key = claire.site.archive.vault, claire.person.key
    assert key is not None
    for box, said in (
        (vault.box(second.id, key), "was sealed for something else"),
        (vault.box(first.id, read_public(office.folder / "keys" / "paul.pub")), "is not sealed to your key"),
    ):
        claire.alter_key = lambda _, box=box: box
        page = opened(claire, person, first)
        page.click("#play")
        fails(page, said)
    claire.alter_key = None
    late = call(office, noise(1), ago=timedelta(days=400))
    page = opened(claire, person, late)
    page.click("#play")
    fails(page, "it has expired")
    (refused,) = claire.site.store.accesses(late.id)
    assert (refused.outcome, refused.login, refused.via) == ("refused", "claire", "web")
    assert claire.spans == []


@pytest.mark.parametrize(
    ("status", "said"),
    [(None, "removed meanwhile"), (HTTPStatus.FORBIDDEN, "as the test wants it")],
    ids=["a purge", "a refusal"],
)
def test_what_ends_meanwhile_ends_clearly(
    claire: Listener, office: Office, person: BrowserContext, status: HTTPStatus | None, said: str
) -> None:
    """The end of a session: live/test_web."""
    row = call(office, noise(45))
    page = opened(claire, person, row)
    play(page)
    expect(page.locator("#waveform-caller")).to_be_visible()
    claire.refuse = status
    if status is None:
        remove(office.archive, row.id, datetime.now(UTC))
    seek(page, 35)
    fails(page, said)
    expect(page.locator("#key-opened")).to_be_visible()
    expect(page.locator("#listening")).to_be_visible(visible=status is not None)


def test_the_browser_keeps_a_key_only_if_asked_and_only_sealed(
    claire: Listener, office: Office, person: BrowserContext
) -> None:
    page = opened(claire, person, noise(1))
    name, kept = page.locator("#key-name"), page.locator("#key-kept")
    open_key(page, office, passphrase=unicodedata.normalize("NFD", PASSPHRASE))
    page.click("#key-open")
    expect(name).to_have_text("claire")
    assert page.input_value("#passphrase") == ""
    page.reload()
    unfold(page)
    expect(page.locator("#key-closed")).to_be_visible()
    expect(kept).to_be_hidden()
    open_key(page, office)
    page.check("#key-keep")
    page.click("#key-open")
    expect(name).to_have_text("claire")
    page.reload()
    unfold(page)
    expect(page.locator("#key-kept-name")).to_have_text("claire")
    page.fill("#passphrase", PASSPHRASE)
    play(page)
    at_the_end(page)
    page.click("#key-close")
    page.click("#key-forget")
    expect(kept).to_be_hidden()
    page.reload()
    unfold(page)
    expect(kept).to_be_hidden()
    blocked = page.evaluate(
        """async () => {
            const { keep, kept } = await import("/static/kept.js");
            IDBFactory.prototype.open = () => { throw new DOMException("", "SecurityError"); };
            return [await kept(), await keep(new Uint8Array(1)).catch(({ code }) => code)];
        }"""
    )
    assert blocked == [None, "key_not_kept"]  # a browser that keeps nothing says so
    with listening(office, "paul") as paul:  # whose key has no passphrase: it opens, and is never kept
        page = opened(paul, person, noise(1.5))
        open_key(page, office, "paul", "")
        page.check("#key-keep")
        page.click("#key-open")
        fails(page, "no passphrase")
        page.uncheck("#key-keep")
        play(page)
        at_the_end(page)
        assert np.array_equal(sounding(heard(page)), noise(1.5))


def test_the_key_stays_open_from_page_to_page(
    claire: Listener, office: Office, person: BrowserContext
) -> None:
    """The list, another recording, the calls of the moment, and back; not into another tab."""
    first, second = call(office, noise(1)), call(office, noise(1.5, 2), ago=timedelta(hours=2))
    page = opened(claire, person, first)
    name = page.locator("#key-name")
    page.click("#key-open")
    expect(name).to_have_text("claire")
    other = opened(claire, person, first)
    expect(other.locator("#key-closed")).to_be_visible()
    other.close()
    page.click("nav >> text=Recordings")
    page.wait_for_url("**/recordings")
    expect(page.locator("nav [aria-current]")).to_have_text("Recordings")
    page.click(f"main a[href='/recordings/{second.id}']")
    page.wait_for_url(f"**/recordings/{second.id}")
    expect(page.locator("main")).to_be_focused()
    expect(name).to_have_text("claire")
    play(page)
    at_the_end(page)
    assert np.array_equal(sounding(heard(page)), noise(1.5, 2))
    page.click("nav >> text=Now")
    expect(page.locator("#calls-table, #in-all").first).to_be_attached()
    page.go_back()
    expect(name).to_have_text("claire")
    expect(page.locator("#key-is-open")).to_be_visible()
    unfold(page)
    page.click("#key-close")
    page.go_back()
    page.wait_for_url("**/recordings")
    page.click(f"main a[href='/recordings/{first.id}']")
    expect(page.locator("#key-closed")).to_be_attached()
    unfold(page)
    expect(page.locator("#key-closed")).to_be_visible()
    (use,) = claire.uses
    assert (use.recording_id, use.purpose, use.by) == (second.id, "quality", "claire")


def test_position_side_and_silence(claire: Listener, person: BrowserContext) -> None:
    sound = noise(25)
    page = paused(claire, person, sound)
    assert np.array_equal(goes_on(page, "23"), sound[23 * RATE :])
    box = page.locator("#waveform-operator").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 0.92, box["y"] + box["height"] / 2)
    expect(page.locator("#time-now")).to_have_text("0:23")
    assert "0:23 of 0:25" in str(page.locator("#position").get_attribute("aria-valuetext"))
    page.click("#mute-caller")
    taken = goes_on(page, "23")
    assert not taken[:, 0].any() and np.array_equal(taken[:, 1], sound[23 * RATE :, 1])
    quiet = np.zeros((6 * RATE, 2), np.int16)
    page = paused(claire, person, np.concatenate([noise(1), quiet, noise(1, 2)]))
    page.click("#skip")
    taken = goes_on(page, "0")
    assert len(taken) < 2.6 * RATE
    assert np.array_equal(taken[:RATE], noise(1)) and np.array_equal(taken[-RATE:], noise(1, 2))


@pytest.mark.parametrize("speed", ["0.5", "2"])
def test_another_speed_keeps_the_voice(claire: Listener, person: BrowserContext, speed: str) -> None:
    one = np.sin(2 * np.pi * 440 * np.arange(4 * RATE) / RATE) * 8000
    page = paused(claire, person, np.stack([one, one], axis=1).astype(np.int16))
    page.select_option("#speed", speed)
    taken = goes_on(page, "1")
    assert len(taken) == pytest.approx(3 * RATE / float(speed), rel=0.03)
    strongest = np.argmax(np.abs(np.fft.rfft(taken[:, 0])))
    assert float(strongest * RATE / len(taken)) == pytest.approx(440, abs=4)
    assert np.abs(taken).max() < 8400  # nothing is laid over itself louder than it is


def test_everything_can_be_done_by_keyboard(claire: Listener, person: BrowserContext) -> None:
    page = opened(claire, person, noise(50))
    page.focus("#play")
    for said in ("Pause", "Play"):
        page.keyboard.press("Space")
        expect(page.locator("#play")).to_have_text(said)
    page.focus("#position")
    page.locator("#position").fill("2")
    now = page.locator("#time-now")
    for key, then in (("ArrowRight", "0:07"), ("Shift+ArrowRight", "0:37"), ("ArrowLeft", "0:32")):
        page.keyboard.press(key)
        expect(now).to_have_text(then)
    for key, speed in (("+", "1.25"), ("+", "1.5"), ("-", "1.25")):
        page.keyboard.press(key)
        expect(page.locator("#speed")).to_have_value(speed)
    for caller, operator in (("true", "false"), ("false", "true"), ("false", "false")):
        page.keyboard.press("m")
        expect(page.locator("#mute-caller")).to_have_attribute("aria-pressed", caller)
        expect(page.locator("#mute-operator")).to_have_attribute("aria-pressed", operator)
    page.keyboard.press("s")
    expect(page.locator("#skip")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Space")
    expect(page.locator("#play")).to_have_text("Pause")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Space")
    expect(page.locator("#play")).to_have_text("Play")
    page.keyboard.press("s")  # a letter counts in the player alone
    expect(page.locator("#skip")).to_have_attribute("aria-pressed", "true")
    page.focus("#reference")
    page.keyboard.type("m s+-")
    assert page.input_value("#reference") == "m s+-"


def test_what_is_drawn_is_what_is_there(claire: Listener, person: BrowserContext) -> None:
    """The caller speaks in the first half, the operator in the second."""
    sound = noise(20)
    sound[10 * RATE :, 0] = 0
    sound[: 10 * RATE, 1] = 0
    page = paused(claire, person, sound)
    page.locator("#position").fill("0")
    page.wait_for_timeout(300)
    heights = page.evaluate(
        """() => ["caller", "operator"].map((side) => {
            const canvas = document.getElementById(`waveform-${side}`), { width, height } = canvas;
            const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
            return [0.25, 0.75].map((part) => {
                const x = Math.round(part * width);
                let ink = 0;
                for (let y = 0; y < height; y++) if (data[4 * (y * width + x) + 3] > 0) ink++;
                return ink / height;
            });
        })"""
    )
    (caller, no_caller), (no_operator, operator) = heights
    assert min(caller, operator) > 0.6 and max(no_caller, no_operator) < 0.1


def test_a_copy_is_what_export_gives(
    claire: Listener, person: BrowserContext, office: Office, tmp_path: Path
) -> None:
    """Of one side; of both: live/test_web."""
    channel = "operator"
    page = opened(claire, person, noise(12.5))
    for leave in ("Escape", None):  # one that is not wanted is not asked for
        page.click("#export")
        expect(page.locator("#export-dialog")).to_be_visible()
        page.keyboard.press(leave) if leave else page.click("text=Cancel")
        expect(page.locator("#export-dialog")).to_be_hidden()
    assert claire.uses == []
    page.fill("#reference", "2026-118")
    page.click("#export")
    page.select_option("#export-channel", channel)
    with page.expect_download() as download:
        page.click("#export-copy")
    name, id = download.value.suggested_filename, claire.site.store.recordings()[0].id
    assert name == f"{id}-operator.wav"
    (use,) = claire.uses
    assert (use.action, use.purpose, use.reference) == ("export", "quality", "2026-118")
    assert (use.login, use.via) == ("claire", "web") and name in str(use.detail)
    download.value.save_as(tmp_path / "page.wav")
    command = ("--purpose", "quality", "--by", "Claire", "--channel", channel, "--out", tmp_path / "cli.wav")
    office.run("export", id, *command, "--identity", office.folder / "keys" / "paul.key")
    (theirs, rate), (ours, our_rate) = (
        soundfile.read(tmp_path / f"{who}.wav", dtype="int16") for who in ("page", "cli")
    )
    assert rate == our_rate and np.array_equal(theirs, ours)


MORE_MIB = 150  # that an hour may take, which has 110 MiB, and as much again opened


def test_no_more_of_an_hour_is_held_than_a_window(
    claire: Listener, office: Office, driver: Playwright, tmp_path: Path
) -> None:
    row, most = call(office, np.tile(noise(60), (60, 1))), 0
    browser = Unwatched(driver, tmp_path / "profile")
    try:
        with browser.visit() as page:
            page.goto(claire.url(row))
            open_key(page, office)
            page.click("#key-open")
            expect(page.locator("#key-name")).to_have_text("claire")
            page.select_option("#purpose", "quality")
            before = browser.memory_mib()
            page.evaluate("setTimeout(() => document.getElementById('play').click(), 1000)")
        end = time.monotonic() + 120
        while not any(float(parse_qs(span)["from"][0]) > 3500 for span in claire.spans):
            assert time.monotonic() < end
            most = max(most, browser.memory_mib())
            time.sleep(0.1)
    finally:
        browser.close()
    print(f"an hour takes {most - before} MiB at most")
    assert most - before < MORE_MIB


_READ = """async (text) => {
    const { chunksOf } = await import("/static/chunks.js");
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return [...chunksOf(bytes)].map(({ kind, coding, sequence, position, rate, frames, payload }) =>
        [kind, coding, sequence, position, rate, frames, payload.length]);
}"""


@pytest.fixture(scope="module")
def reader(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    office = make_listening_office(tmp_path_factory.mktemp("office"), None)  # type: ignore[arg-type]
    with listening(office, None) as listener, somebody(chromium) as person:
        page = person.new_page()
        page.goto(f"{listener.address}/login")
        yield page


def stored(folder: Path, sealed: bool) -> bytes:
    """Some chunks of every kind."""
    path = folder / "stored"
    path.unlink(missing_ok=True)
    writer = PartWriter(create_part(path), 8000, Sealer(bytes(32)).seal if sealed else None)
    for seed in range(3):
        writer.write_audio(noise(0.01, seed))
    writer.write_note(ChunkNote(pauses=((3, 9),)))
    writer.write_audio(noise(0.02))
    writer.write_note(ChunkNote(), Kind.END)
    writer.close()
    return path.read_bytes()


def both(page: Page, content: bytes, folder: Path) -> list[Any]:
    """What both readers find."""
    (folder / "content").write_bytes(content)
    ours = [
        [c.kind, c.coding, c.sequence, c.position, c.rate, c.frames, len(c.payload)]
        for c in read_part(folder / "content")
    ]
    assert page.evaluate(_READ, b64encode(content).decode()) == ours
    return ours


_quiet = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
_place = st.integers(0, 1 << 12)
_PIECES = st.sampled_from([b"\xf6SIP", b"\x01\x00\x00\x02", b"\xff" * 8, bytes(8)])


@given(
    sealed=st.booleans(),
    changes=st.lists(st.tuples(_place, st.integers(0, 255)), max_size=4),
    cut=_place,
    more=st.binary(max_size=60) | st.lists(_PIECES | st.binary(), max_size=20).map(b"".join),
)
@_quiet
def test_damage_costs_what_it_costs_our_own_reader(
    reader: Page, tmp_path: Path, *, sealed: bool, changes: list[tuple[int, int]], cut: int, more: bytes
) -> None:
    content = bytearray(stored(tmp_path, sealed))
    codings = {Coding.SEALED, Coding.CONTINUED} if sealed else {Coding.CLEAR}
    assert [row[1] in codings for row in both(reader, bytes(content), tmp_path)] == [True] * 6
    for place, byte in changes:
        content[place % len(content)] = byte
    at = cut % len(content)
    content[at:at] = more
    both(reader, bytes(content[: len(content) - cut % 97]), tmp_path)
    both(reader, more, tmp_path)


@pytest.fixture
def address(office: Office) -> Iterator[str]:
    """The page, at which an officer with the key `claire` is logged in."""
    key = read_public(office.folder / "keys" / "claire.pub")
    claire = Person(
        name="claire", roles=frozenset((Role.OFFICER,)), via="web", key=key, language="en", csrf="csrf-claire"
    )
    site = asked_by(office.folder, [claire])
    with serving(create_app(site)) as at:
        yield at
    site.store.close()


def found(person: BrowserContext, address: str) -> Page:
    """The page with what is kept, and everything decided."""
    page = person.new_page()
    page.goto(f"{address}/requests")
    page.fill("#caller", "06 12 34 56 78")
    page.keyboard.press("Enter")
    page.fill("#request", "2026-118")
    page.check("input[name=channel][value=both]")
    page.check("input[name=names][value=no]")
    return page


def made(page: Page) -> zipfile.ZipFile:
    with page.expect_download() as download:
        page.click("#make-with-sounds")
    expect(page.locator("#listen-state")).to_contain_text("access-2026-118.zip")
    assert download.value.suggested_filename == "access-2026-118.zip"
    file = zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes()))
    assert file.testzip() is None
    return file


def sound_of(file: zipfile.ZipFile, row: Recording) -> tuple[NDArray[np.int16], int]:
    samples, rate = soundfile.read(io.BytesIO(file.read(f"sounds/{row.id}.wav")), dtype="int16")
    return samples, rate


def test_the_package_has_what_was_said(office: Office, address: str, person: BrowserContext) -> None:
    sound = noise(3.3)
    sealed = call(office, sound, caller=CALLER)
    clear = office.call(sound=stereo(), sample_rate=RATE)
    page = found(person, address)
    open_key(page, office)
    with page.expect_popup() as letter:
        page.click("#read")
    expect(letter.value.locator("h1")).to_have_text("Ce que Test conserve de vos appels")
    expect(page.locator("h1")).to_have_text("Persons’ requests")
    with made(page) as file:
        heard, rate = sound_of(file, sealed)
        assert rate == RATE and np.array_equal(heard, sound)
        assert np.array_equal(sound_of(file, clear)[0], stereo())
        data = json.loads(file.read("data.json"))
        assert {one["sound"] for one in data["calls"]} == {f"sounds/{row.id}.wav" for row in (sealed, clear)}
        assert f"sounds/{sealed.id}.wav" in file.read("letter.html").decode()
    store = office.archive.store
    for row in (sealed, clear):
        uses = store.accesses(row.id)
        assert [use.action for use in uses] == ["export", "answer"]
        assert {(use.purpose, use.reference, use.login, use.outcome) for use in uses} == {
            ("access_request", "2026-118", "claire", "done")
        }
    (copy,) = known_copies(store, sealed.id)
    assert (str(copy.path), copy.by, copy.exists) == (f"{sealed.id}.wav", "claire", None), "it is remembered"


def test_the_callers_side_alone_and_what_is_gone_is_told(
    office: Office, address: str, person: BrowserContext
) -> None:
    sound = noise(1.5)
    stays, goes = call(office, sound, caller=CALLER), call(office, noise(1), caller=CALLER)
    page = found(person, address)
    remove(office.archive, goes.id, goes.started_at)
    store = office.archive.store
    store.update_receipt(replace(store.receipt(goes.id), caller=CALLER))
    page.check("input[name=channel][value=caller]")
    open_key(page, office)
    with made(page) as file:
        heard, _ = sound_of(file, stays)
        assert np.array_equal(heard, sound[:, 0])
        assert f"sounds/{goes.id}.wav" not in file.namelist()
    expect(page.locator("#listen-fault")).to_contain_text("Without the sound of")


def test_nothing_is_copied_before_all_is_decided(
    office: Office, address: str, person: BrowserContext
) -> None:
    row = call(office, noise(1), caller=CALLER)
    page = found(person, address)
    page.fill("#request", "")
    page.click("#make-with-sounds")
    expect(page.locator("#listen-fault")).to_contain_text("under which reference")
    page.fill("#request", "2026-118")
    page.click("#make-with-sounds")
    expect(page.locator("#listen-fault")).to_contain_text("key file")
    page.focus("#reason")
    page.keyboard.press("Enter")
    assert page.url.endswith("/requests"), "the Enter key does neither of the two things"
    assert office.archive.store.accesses(row.id) == []
