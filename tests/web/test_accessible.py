"""Every page for everybody: axe-core, wide and narrow, light and dark, on paper; no scrolling sideways; by
keyboard. Of an office in which much has happened.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product, repeat
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, ViewportSize, expect

from retention.records import Special, Status, new_id
from sipagent.config.errors import ConfigError
from sipagent.config.types import PAPER, READABLE, at_night, contrast
from sipagent.languages.choice import LANGUAGES
from sipagent.web.app import create_app
from sipagent.web.background import CommandOutcome
from sipagent.web.rights import RIGHTS, ROUTES, Right, Role, rights_of
from sipagent.web.site import Site
from tests.kept import receipt, recording
from tests.office import Office
from tests.peers.process import free_ports
from tests.web.browser import (
    NARROW,
    REFLOW,
    TABLET,
    WIDE,
    ZOOMED,
    needs_chromium,
    too_wide,
    unreached,
    violations,
)
from tests.web.conftest import Asking
from tests.web.logging_in import opened
from tests.web.served import serving
from tests.web.test_every_address import hostile
from tests.web.test_holds_page import asked, held

pytestmark = needs_chromium

ROOT = Path(__file__).parents[2]
A4: ViewportSize = {"width": 794, "height": 1123}
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
# `/first` is there only before there is an account, and `/login/oidc` leads to an issuer
PAGES = sorted(
    path
    for method, _, path in (asked.partition(" ") for asked in ROUTES)
    if method == "GET" and not re.search(r"[{.]|^/api/|^/(first|session)$|^/login/oidc", path)
)
CALLS = ("/recordings/{recorded}", "/recordings/{unrecorded}", "/recordings/{purged}")
ROLES = {
    "claire": tuple(role.value for role in RIGHTS if role is not Role.ADMINISTRATOR),
    "anne": (Role.ADMINISTRATOR.value,),
}
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


@dataclass
class Served:
    """An office whose page is there for browsers, and the cookies of those who are logged in to it."""

    address: str
    ids: dict[str, str]
    cookies: dict[str, str]
    name: str

    def open(self, page: Page, path: str) -> None:
        """Go there, as somebody who may, or as nobody where anybody may; all of it is unfolded."""
        right = Right.WALL if path == "/wall" else ROUTES.get(f"GET {path}", Right.LIST)
        who = next(who for who, roles in ROLES.items() if right in rights_of([Role(one) for one in roles]))
        page.context.clear_cookies()
        if right is not Right.ANYBODY:
            page.context.add_cookies([{"name": self.name, "value": self.cookies[who], "url": self.address}])
        answer = page.goto(self.address + path.format(**self.ids))
        assert answer is not None and answer.ok, answer and answer.status
        page.wait_for_selector("main:not(:has([data-waiting]))")  # what is counted is there


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder, port = tmp_path_factory.mktemp("office"), free_ports(1)
    (folder / "prompts").symlink_to(ROOT / "prompts")
    with opened(folder, f'[web]\nlisten = "127.0.0.1:{port}"\n') as page:
        ids = fill(page.site, Office(folder, None))  # type: ignore[arg-type]  # nothing is printed
        cookies: dict[str, str] = {}
        for who, roles in ROLES.items():
            browser = page.browser()
            browser.log_in(page.enrolled(who, *roles))
            cookies[who] = str(browser.cookie)
        with serving(page.app, port) as address:
            yield Served(address, ids, cookies, page.logins.cookies.session)


def fill(site: Site, office: Office) -> dict[str, str]:
    """Calls of all kinds, one with a story; an analysis, uses; holds; what waits and what commands said."""
    now, store = datetime.now(UTC), site.store
    for minutes in range(2, 58):  # rows alone, for lists of some length
        at = now - timedelta(minutes=minutes)
        row = recording(id=new_id(at), started_at=at, status=Status.CLOSED, duration_s=61.0, bytes=10**6)
        store.add_receipt(receipt(row))
        store.add_recording(row)
    rows = [hostile(office, repeat("2026-01-31")), *(office.call(timedelta(hours=n)) for n in range(1, 5))]
    here = Asking(site, None)  # type: ignore[arg-type]  # nobody asks
    held(here, rows[1])
    for row, action, by in (
        (rows[2], "hold", "sonia"),
        (rows[0], "renew", "sonia"),
        (rows[1], "release", "claire"),
    ):
        asked(here, row, action, by)
    store.update_recording(rows[3].tombstone(Status.PURGED, now))
    refused, live = (recording(id=new_id(now), started_at=now) for _ in range(2))
    store.add_receipt(
        replace(receipt(refused), recording_id=None, decision="refused", decided_by="dtmf", caller=None)
    )
    ongoing = replace(receipt(live), ended_at=None, outcome=None, connected_at=now, caller=None)
    store.add_receipt(replace(ongoing, operator="sip:201@127.0.0.1:5070"))
    store.add_recording(replace(live, caller=None))
    later = now + timedelta(hours=2)
    store.keep_specials(
        [Special(number=n, message=one, from_at=now, until_at=later) for n, one in enumerate((None, "flood"))]
    )
    site.commands._last["check"] = CommandOutcome(now, "paul", 1, json=FINDINGS)
    site.commands._last["verify"] = CommandOutcome(now, "paul", 1, json=VERIFIED)
    return {"recorded": rows[0].id, "unrecorded": refused.id, "purged": rows[3].id}


def found(served: Served, page: Page, click: str = "", then: str = "#package") -> None:
    """What is kept of a person; and what comes of a button there."""
    served.open(page, "/requests")
    page.fill("#caller", "06 12 34 56 78")
    page.keyboard.press("Enter")
    page.wait_for_selector("#package")
    if click:
        page.fill("#reason", "demande 2026-118")
        page.click(click)
        page.wait_for_selector(then)


def letter(served: Served, page: Page) -> None:
    """The letter of a person's calls, as it is read before it goes."""
    found(served, page)
    page.fill("#request", "2026-118")
    for name in ("channel", "names", "evidence", "marks"):
        for choice in page.locator(f"[name={name}]").all()[:1]:
            choice.check()
    page.evaluate("document.getElementById('read').removeAttribute('formtarget')")
    page.click("#read")
    page.wait_for_selector("main:not([id]) article")


STATES: dict[str, Callable[[Served, Page], None]] = {
    **{path: partial(Served.open, path=path) for path in (*PAGES, *CALLS)},
    "found": found,
    "letter": letter,
    "something missing": partial(found, click="#make", then="#fault"),
    "erasing": partial(found, click="#erase", then="#confirm"),
}


@pytest.fixture
def tab(chromium: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """One in French, or in the language of the parameter."""
    language = getattr(request, "param", "fr")
    context = chromium.new_context(locale=language, reduced_motion="reduce")  # no colour is on its way
    yield context.new_page()
    context.close()


def hinders_nobody(tab: Page, *, keys: bool = True) -> None:
    """However large the letters, by axe-core, and by `keys`; all of it is unfolded."""
    tab.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    for size in (WIDE, ZOOMED, NARROW, REFLOW):
        tab.set_viewport_size(size)
        assert too_wide(tab) == [], size
    for size, scheme in product((WIDE, TABLET, NARROW), SCHEMES):
        tab.set_viewport_size(size)
        tab.emulate_media(color_scheme=scheme)
        assert violations(tab) == [], (size, scheme)
    for size in (NARROW, WIDE) if keys else ():
        tab.set_viewport_size(size)
        assert unreached(tab) == [], size


@pytest.mark.parametrize("tab", LANGUAGES, indirect=True)
@pytest.mark.parametrize("state", STATES)
def test_nothing_hinders_anybody(served: Served, tab: Page, state: str) -> None:
    STATES[state](served, tab)
    hinders_nobody(tab, keys=tab.locator("html").get_attribute("lang") == "fr")


def test_the_menu_is_one_line_and_folds_away(served: Served, tab: Page) -> None:
    served.open(tab, "/recordings")
    links, header = tab.locator(".menu nav a"), tab.locator("header")
    tab.set_viewport_size(WIDE)
    tops = {box["y"] for one in links.all() if (box := one.bounding_box())}
    assert links.count() == 6 and len(tops) == 1
    assert "Conservations 2 vous attendent" in " ".join(tab.inner_text(".menu nav").split())
    tab.set_viewport_size(NARROW)
    box = header.bounding_box()
    assert box is not None and box["height"] <= 60  # an inch is 96 px
    assert not links.first.is_visible()
    tab.focus(".fold")
    tab.keyboard.press("Enter")
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "En ce moment"
    assert violations(tab) == []
    tab.keyboard.press("Escape")
    assert not links.first.is_visible()
    assert "fold" in tab.evaluate("document.activeElement.className")


def test_statistics_are_one_screen_and_type_has_one_scale(served: Served, tab: Page) -> None:
    served.open(tab, "/statistics")
    tab.set_viewport_size(WIDE)
    box = tab.locator(".charts").bounding_box()
    assert box is not None and box["y"] + box["height"] <= WIDE["height"]
    assert tab.locator(".charts svg[role=img][aria-label]").count() >= 3
    styles = [ROOT / "sipagent/web/static" / name for name in ("style.css", "player.css")]
    for style in (*styles, ROOT / "sipagent/text/figures.css"):
        sizes = re.findall(r"font(?:-size)?: ([^ /;}]+)", style.read_text())
        assert set(sizes) <= {"var(--s)", "var(--m)", "var(--l)", "var(--xl)", "inherit", "12px"}, style


@pytest.mark.parametrize("tab", ["en"], indirect=True)
def test_a_list_is_sorted_by_the_heading_that_is_pressed(served: Served, tab: Page) -> None:
    served.open(tab, "/recordings")

    def column(place: int) -> list[str]:
        cells = "(at) => [...document.querySelectorAll('tbody tr')].map((row) => row.cells[at].dataset.sort)"
        return list(tab.evaluate(cells, place))

    newest = column(1)
    for place, name, key in ((1, "Began", str), (2, "Length", float)):
        heading = tab.get_by_role("columnheader", name=name)
        for way in ("ascending", "descending"):
            heading.get_by_role("button").press("Enter")
            expect(heading).to_have_attribute("aria-sort", way)
            told = [key(one) for one in column(place)]
            assert told == sorted(told, reverse=way == "descending") and len(set(told)) > 1
    assert sorted(column(1)) == sorted(newest) and tab.locator("[aria-sort]").count() == 1
    hinders_nobody(tab, keys=False)


def test_a_service_has_its_colour_and_its_logo(tmp_path: Path, tab: Page) -> None:
    """Any colour that is accepted can be read, by day and by night."""
    for red, green, blue in product(range(0, 256, 51), repeat=3):
        one = f"#{red:02x}{green:02x}{blue:02x}"
        if contrast(one, PAPER) >= READABLE:
            assert contrast("#0c1420", at_night(one)) >= READABLE
    port = free_ports(1)
    (tmp_path / "logo.svg").write_text((ROOT / "sipagent/web/static/icon.svg").read_text())
    web = f'[web]\nlisten = "127.0.0.1:{port}"\ncolour = "#7a1f5c"\nlogo = "logo.svg"\n'
    with opened(tmp_path, web) as page, serving(page.app, port) as address:
        for scheme, colour in (("light", "rgb(122, 31, 92)"), ("dark", "rgb(188, 143, 173)")):
            tab.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            tab.goto(f"{address}/login")
            assert (
                tab.locator("main button").evaluate("(one) => getComputedStyle(one).backgroundColor")
                == colour
            )
            assert tab.locator("header img").evaluate("(one) => one.naturalWidth") > 0
            assert violations(tab) == []
        (tmp_path / "logo.svg").write_text("GIF89a")
        with pytest.raises(
            ConfigError, match=r"web\.logo: .*is neither SVG nor PNG; accepted: an SVG or PNG"
        ):
            create_app(page.site)


@pytest.mark.parametrize(
    "state", ["/statistics", "found", "erasing", "/holds", "/compliance", "/compliance/register"]
)
def test_paper_has_no_buttons(served: Served, tab: Page, state: str) -> None:
    STATES[state](served, tab)
    tab.emulate_media(color_scheme="light", media="print")
    tab.set_viewport_size(A4)
    assert too_wide(tab) == []
    assert tab.locator("form:visible, button:visible, nav:visible").count() == 0


def test_an_erasure_by_keyboard_alone_and_its_certificate(served: Served, tab: Page) -> None:
    """The last one: it takes all calls that nothing holds, and nobody asks to hold."""
    STATES["erasing"](served, tab)
    tab.focus("#confirm")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("pre")
    assert "ATTESTATION D’EFFACEMENT" in tab.inner_text("pre >> nth=0")
    hinders_nobody(tab)
    tab.emulate_media(media="print")
    assert tab.locator("h1:visible").count() == 0 and tab.locator("pre:visible").count() >= 1
