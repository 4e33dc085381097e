"""Every page for everybody: axe-core, wide and narrow, light and dark; no scrolling sideways; by keyboard."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, ViewportSize
from starlette.requests import Request

from retention.recording import Access, Event, Recording, Status, new_id
from sipagent.config.load import load
from sipagent.web.app import create_app
from sipagent.web.login.logins import Logins
from sipagent.web.rights import RIGHTS, ROUTES, Right, Role, rights_of
from sipagent.web.site import Person, Site
from tests.kept import receipt, recording
from tests.office import CONFIG, Office
from tests.web.axe import NARROW, REFLOW, WIDE, ZOOMED, too_wide, unreached, violations
from tests.web.browser import chromium, needs_chromium
from tests.web.logging_in import enrolled
from tests.web.serving import serving

__all__ = ["chromium"]
pytestmark = needs_chromium

PAGES = sorted(
    path
    for method, _, path in (asked.partition(" ") for asked in ROUTES)
    if method == "GET" and not re.search(r"[{.]|^/api/|^/(login|enrol|first)$", path)  # see test_first_login
)
ONE = ("recorded", "unrecorded", "purged")
ALL = [*PAGES, *(f"/recordings/{{{name}}}" for name in ONE)]
EVERYBODY = frozenset(RIGHTS) - {Role.ADMINISTRATOR}  # who would not listen
Scheme = Literal["light", "dark"]


class Served:
    """An office whose page is there for a browser, and who is at it."""

    def __init__(self, address: str, ids: dict[str, str], who: list[Person]) -> None:
        self.address, self.ids, self.who = address, ids, who

    def open(self, page: Page, path: str) -> None:
        """Go there, as somebody who may."""
        right = ROUTES.get(f"GET {path}", Right.LIST)
        roles = EVERYBODY if right in rights_of(EVERYBODY) else frozenset((Role.ADMINISTRATOR,))
        self.who[:] = [Person(name="claire", roles=roles, via="web", language="fr", csrf="c")]
        answer = page.goto(self.address + path.format(**self.ids))
        assert answer is not None and answer.ok, answer and answer.status
        page.wait_for_selector("main:not(:has([data-waiting]))")  # what is counted is there


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One with calls of all kinds."""
    folder = tmp_path_factory.mktemp("office")
    (folder / "config.toml").write_text(CONFIG, encoding="utf-8")
    ids = kept(Office(folder, None))  # type: ignore[arg-type]  # nothing is printed
    who: list[Person] = []

    def identify(request: Request) -> Person | None:
        return who[0] if who else None

    site = Site(config=load(folder / "config.toml"), identify=identify)
    logins = Logins(site.config)
    enrolled(logins.accounts, "claire", "listener")
    logins.accounts.add("paul", ["officer", "listener"])
    logins.accounts.add_token("robot", ["supervisor"])
    with logins.accounts, serving(create_app(site, logins)) as address:
        yield Served(address, ids, who)
    site.store.close()


def kept(office: Office) -> dict[str, str]:
    """Recordings, with and without a hold, an analysis, uses; a call without one; one that goes on."""
    hold = {
        "ground": "criminal",
        "reference": "2026-41",
        "by": "a",
        "approved_by": "b",
        "review": "2026-01-01",
    }
    for minutes in range(2, 58):
        _closed(office, minutes)
    row = office.call(timedelta(minutes=1), operator="sip:marie.durand@pbx.example.net", flagged=True)
    archive, now = office.archive, datetime.now(UTC)
    archive.change(replace(archive.store.recording(row.id), hold=hold))
    told = receipt(
        row,
        events=(Event(at=row.started_at, what="bridged with sip:201@127.0.0.1", by="operator"),),
        answered_at=row.started_at,
        connected_at=row.started_at,
    )
    archive.store.update_receipt(told)
    use = Access(at=now, action="export", recording_id=row.id, purpose="quality", by="M. Durand")
    archive.store.add_access(replace(use, detail='both to "/home/durand/call.wav"'))
    gone = _closed(office, 70)
    archive.store.update_recording(gone.tombstone(Status.PURGED, now))
    other = recording(id=new_id(now), started_at=now)
    archive.store.add_receipt(
        replace(receipt(other), recording_id=None, decision="refused", decided_by="dtmf")
    )
    live = recording(id=new_id(now), started_at=now)
    archive.store.add_receipt(
        replace(
            receipt(live), ended_at=None, outcome=None, connected_at=now, operator="sip:201@127.0.0.1:5070"
        )
    )
    archive.store.add_recording(live)
    return {"recorded": row.id, "unrecorded": other.id, "purged": gone.id}


def _closed(office: Office, minutes: int) -> Recording:
    """The row of a recording alone, for lists of some length."""
    at = datetime.now(UTC) - timedelta(minutes=minutes)
    row = recording(id=new_id(at), started_at=at, status=Status.CLOSED, duration_s=61.0, bytes=10**6)
    store = office.archive.store
    store.add_receipt(receipt(row))
    store.add_recording(row)
    return row


@pytest.fixture(scope="module")
def tabs(chromium: Browser) -> Iterator[dict[Scheme, Page]]:
    """Two browsers, one at a light screen, one at a dark one."""
    contexts = {
        scheme: chromium.new_context(locale="fr", color_scheme=scheme) for scheme in ("light", "dark")
    }
    yield {scheme: context.new_page() for scheme, context in contexts.items()}  # type: ignore[misc]
    for context in contexts.values():
        context.close()


def test_what_is_wrong_is_found(tabs: dict[Scheme, Page]) -> None:
    page = tabs["light"]
    page.set_viewport_size(NARROW)
    page.set_content(
        "<!doctype html><html lang=en><title>x</title><main><h1>x</h1><p style='color: #ccc'>pale</p>"
        "<p style='width: 600px'>wide</p><a href='#' style='outline: none'>seen</a><input>"
        "<button tabindex=-1>x</button></main>"
    )
    found = violations(page)
    assert {line.partition(":")[0] for line in found} == {"color-contrast", "label"}
    assert "wide" in too_wide(page)[0]
    assert [fault.partition(":")[0] for fault in unreached(page)] == ["no outline", "not reached"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("path", ALL)
def test_nothing_hinders_anybody(
    served: Served, tabs: dict[Scheme, Page], path: str, size: ViewportSize, scheme: Scheme
) -> None:
    page = tabs[scheme]
    page.set_viewport_size(size)
    served.open(page, path)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert violations(page) == []
    assert too_wide(page) == []


@pytest.mark.parametrize("size", [ZOOMED, REFLOW], ids=["200 %", "400 %"])
@pytest.mark.parametrize("path", ALL)
def test_a_page_fits_its_window_however_large_the_letters(
    served: Served, tabs: dict[Scheme, Page], path: str, size: ViewportSize
) -> None:
    page = tabs["light"]
    page.set_viewport_size(size)
    served.open(page, path)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert too_wide(page) == []


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
@pytest.mark.parametrize("path", ALL)
def test_all_of_a_page_is_reached_by_keyboard(
    served: Served, tabs: dict[Scheme, Page], path: str, size: ViewportSize
) -> None:
    page = tabs["light"]
    page.set_viewport_size(size)
    served.open(page, path)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert unreached(page) == []
