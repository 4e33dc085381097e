"""The offices' pages with something on them, for everybody: axe-core, width, keyboard, paper."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, ViewportSize
from starlette.requests import Request

from retention.records import Access, Event, Note
from sipagent.config.load import load
from sipagent.web.app import create_app
from sipagent.web.background import CommandOutcome
from sipagent.web.rights import Role
from sipagent.web.site import Person, Site
from tests.office import CONFIG, Office
from tests.web.axe import NARROW, REFLOW, WIDE, too_wide, unreached, violations
from tests.web.browser import chromium, driver, needs_chromium
from tests.web.conftest import Asking
from tests.web.serving import serving
from tests.web.test_holds_page import asked, held

__all__ = ["chromium", "driver"]
pytestmark = needs_chromium

ROOT = Path(__file__).parent.parent.parent
EVERYBODY = frozenset((Role.SUPERVISOR, Role.OFFICER))
A4: ViewportSize = {"width": 794, "height": 1123}
FINDINGS = [
    {"level": level, "what": "holds", "detail": "2 whose review is overdue: see `sipagent holds`"}
    for level in ("ok", "warning", "error")
]
WRONG = [{"where": f"20261018T142827000-{n:06}", "problem": "the file is missing"} for n in range(3)]
VERIFIED = {
    "lost": WRONG,
    "problems": WRONG,
    "counts": {"files": 12},
    "head": {"seq": 1103, "hash": "ab" * 32},
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An office in which much has happened, and whose supervisor is its officer, too."""
    folder = tmp_path_factory.mktemp("office")
    (folder / "config.toml").write_text(CONFIG, encoding="utf-8")
    (folder / "prompts").symlink_to(ROOT / "prompts")
    claire = Person(name="claire", roles=EVERYBODY, via="web", language="fr", csrf="c")

    def identify(request: Request) -> Person:
        return claire

    site = Site(config=load(folder / "config.toml"), identify=identify)
    fill(site, Office(folder, None))  # type: ignore[arg-type]  # nothing is printed
    with serving(create_app(site)) as at:
        yield at
    site.store.close()


def fill(site: Site, office: Office) -> None:
    """Calls with a story, an analysis, uses; holds; what waits and what was decided; what commands said."""
    now = datetime.now(UTC)
    rows = [office.call(ago=timedelta(hours=n)) for n in range(1, 5)]
    store = site.store
    events = (Event(at=now, what="bridged with sip:201@pbx.example.net", by="operator"),)
    store.update_receipt(replace(store.receipt(rows[0].id), events=events, phase="window", decided_at=now))
    note = Note(recording_id=rows[0].id, at=now, by="x", text="Un appel calme.\nTrès.", expires_at=now)
    store.add_note(note)
    export = Access(at=now, action="export", recording_id=rows[0].id, purpose="quality", by="M. Durand")
    store.add_access(replace(export, detail='both to "a.wav"', login="durand", via="web"))
    store.add_access(replace(export, outcome="refused", detail="a purpose is needed; accepted: quality"))
    here = Asking(site, None)  # type: ignore[arg-type]  # nobody asks
    held(here, rows[1], "2026-01-31")
    held(here, rows[2])
    for row, action, by in (
        (rows[3], "hold", "sonia"),
        (rows[1], "renew", "sonia"),
        (rows[2], "release", "claire"),
    ):
        asked(here, row, action, by)
    site.commands._last["check"] = CommandOutcome(now, "paul", 1, json=FINDINGS)
    site.commands._last["verify"] = CommandOutcome(now, "paul", 1, json=VERIFIED)


def counted(page: Page, address: str) -> None:
    page.goto(f"{address}/statistics")
    page.wait_for_selector("#renewed:not([data-waiting]) table")


def found(page: Page, address: str) -> None:
    page.goto(f"{address}/requests")
    page.fill("#caller", "06 12 34 56 78")
    page.keyboard.press("Enter")
    page.wait_for_selector("#package")


def missing(page: Page, address: str) -> None:
    found(page, address)
    page.click("#make")
    page.wait_for_selector("#fault")


def to_erase(page: Page, address: str) -> None:
    found(page, address)
    page.fill("#reason", "demande 2026-118")
    page.click("#erase")
    page.wait_for_selector("#confirm")


def at(path: str) -> Callable[[Page, str], None]:
    def go(page: Page, address: str) -> None:
        answer = page.goto(address + path)
        assert answer is not None and answer.ok
        page.wait_for_selector("main:not(:has([data-waiting]))")

    return go


STATES: dict[str, Callable[[Page, str], None]] = {
    "statistics": counted,
    "requests": found,
    "something missing": missing,
    "erasing": to_erase,
    **{path: at(path) for path in ("/holds", "/compliance", "/accesses")},
    **{path: at(path) for path in ("/compliance/register", "/compliance/notice")},
}


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(locale="fr", reduced_motion="reduce")
    yield context.new_page()
    context.close()


@pytest.mark.parametrize("go", [*STATES.values()], ids=[*STATES])
def test_nothing_hinders_anybody(page: Page, address: str, go: Callable[[Page, str], None]) -> None:
    go(page, address)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    sizes: tuple[ViewportSize, ...] = (WIDE, NARROW, REFLOW)
    for size in sizes:
        page.set_viewport_size(size)
        assert too_wide(page) == [], size
        assert violations(page) == [], size
    page.emulate_media(color_scheme="dark")
    assert violations(page) == []
    page.emulate_media(color_scheme="light", media="print")
    page.set_viewport_size(A4)
    assert too_wide(page) == []
    assert page.locator("form:visible, button:visible, nav:visible").count() == 0, "paper has no buttons"


@pytest.mark.parametrize("go", [*STATES.values()], ids=[*STATES])
def test_all_of_it_is_reached_by_keyboard(page: Page, address: str, go: Callable[[Page, str], None]) -> None:
    go(page, address)
    assert unreached(page) == []


def test_an_erasure_by_keyboard_alone_and_its_certificate(page: Page, address: str) -> None:
    """The last one: it takes the one call that nothing holds, and nobody asks to hold."""
    to_erase(page, address)
    page.focus("#confirm")
    page.keyboard.press("Enter")
    page.wait_for_selector("pre")
    assert "ATTESTATION D’EFFACEMENT" in page.inner_text("pre >> nth=0")
    for size in (WIDE, NARROW):
        page.set_viewport_size(size)
        assert too_wide(page) == [] and violations(page) == []
    assert unreached(page) == []
    page.emulate_media(media="print")
    assert page.locator("h1:visible").count() == 0 and page.locator("pre:visible").count() >= 1
