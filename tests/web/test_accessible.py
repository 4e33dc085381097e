"""Every page for everybody: axe-core, wide and narrow, light and dark; no scrolling sideways; by keyboard."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page

from retention.records import Access, Approval, Asked, Event, Note, Recording, Status, new_id
from sipagent.web.rights import RIGHTS, ROUTES, Right, Role, rights_of
from tests.kept import receipt, recording
from tests.office import Office
from tests.peers.process import free_ports
from tests.web.axe import NARROW, REFLOW, WIDE, ZOOMED, too_wide, unreached, violations
from tests.web.browser import chromium, needs_chromium
from tests.web.logging_in import opened
from tests.web.serving import serving

__all__ = ["chromium"]
pytestmark = needs_chromium

# `/first` is there only before there is an account, and `/login/oidc` leads to an issuer
PAGES = sorted(
    path
    for method, _, path in (asked.partition(" ") for asked in ROUTES)
    if method == "GET" and not re.search(r"[{.]|^/api/|^/first$|^/login/oidc", path)
)
ONE = ("recorded", "unrecorded", "purged")
ALL = [*PAGES, *(f"/recordings/{{{name}}}" for name in ONE)]
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")
ROLES = {
    "claire": tuple(role.value for role in RIGHTS if role is not Role.ADMINISTRATOR),
    "anne": (Role.ADMINISTRATOR.value,),
}


class Served:
    """An office whose page is there for browsers, and the cookies of those who are logged in to it."""

    def __init__(self, address: str, ids: dict[str, str], cookies: dict[str, str], name: str) -> None:
        self.address, self.ids, self.cookies, self.name = address, ids, cookies, name

    def open(self, page: Page, path: str) -> None:
        """Go there, as somebody who may, or as nobody where anybody may; all of it is unfolded."""
        right = ROUTES.get(f"GET {path}", Right.LIST)
        who = next(who for who, roles in ROLES.items() if right in rights_of([Role(one) for one in roles]))
        page.context.clear_cookies()
        if right is not Right.ANYBODY:
            page.context.add_cookies([{"name": self.name, "value": self.cookies[who], "url": self.address}])
        answer = page.goto(self.address + path.format(**self.ids))
        assert answer is not None and answer.ok, answer and answer.status
        page.wait_for_selector("main:not(:has([data-waiting]))")  # what is counted is there
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One with calls of all kinds, and two who are logged in."""
    folder, port = tmp_path_factory.mktemp("office"), free_ports(1)
    with opened(folder, f'[web]\nlisten = "127.0.0.1:{port}"\n') as page:
        ids = kept(Office(folder, None))  # type: ignore[arg-type]  # nothing is printed
        cookies: dict[str, str] = {}
        for who, roles in ROLES.items():
            browser = page.browser()
            browser.log_in(page.enrolled(who, *roles))
            cookies[who] = str(browser.cookie)
        with serving(page.app, port) as address:
            yield Served(address, ids, cookies, page.logins.cookies.session)


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
    wanted = Approval(at=now, action=Asked.RELEASE.value, recording_id=row.id, by="marc", reason="closed")
    archive.store.add_approval(wanted)
    archive.store.add_note(
        Note(recording_id=row.id, at=now, by="marc", text="Calm.", expires_at=now + timedelta(days=9))
    )
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
def tab(chromium: Browser) -> Iterator[Page]:
    """One in French."""
    context = chromium.new_context(locale="fr", reduced_motion="reduce")  # no colour is on its way
    yield context.new_page()
    context.close()


def test_what_is_wrong_is_found(tab: Page) -> None:
    tab.set_viewport_size(NARROW)
    tab.set_content(
        "<!doctype html><html lang=en><title>x</title><main><h1>x</h1><p style='color: #ccc'>pale</p>"
        "<p style='width: 600px'>wide</p><a href='#' style='outline: none'>seen</a><input autofocus>"
        "<button tabindex=-1>x</button></main>"
    )
    assert {line.partition(":")[0] for line in violations(tab)} == {"color-contrast", "label"}
    assert "wide" in too_wide(tab)[0]
    assert [fault.partition(":")[0] for fault in unreached(tab)] == ["no outline", "not reached"]


@pytest.mark.parametrize("path", ALL)
def test_nothing_hinders_anybody(served: Served, tab: Page, path: str) -> None:
    served.open(tab, path)
    for size, scheme in product((WIDE, NARROW), SCHEMES):
        tab.set_viewport_size(size)
        tab.emulate_media(color_scheme=scheme)
        assert violations(tab) == [], (size, scheme)


@pytest.mark.parametrize("path", ALL)
def test_a_page_fits_its_window_however_large_the_letters(served: Served, tab: Page, path: str) -> None:
    served.open(tab, path)
    for size in (WIDE, ZOOMED, NARROW, REFLOW):
        tab.set_viewport_size(size)
        assert too_wide(tab) == [], size


@pytest.mark.parametrize("path", ALL)
def test_all_of_a_page_is_reached_by_keyboard(served: Served, tab: Page, path: str) -> None:
    served.open(tab, path)
    for size in (WIDE, NARROW):
        tab.set_viewport_size(size)
        assert unreached(tab) == [], size
