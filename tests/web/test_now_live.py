"""The first page in a browser: it follows what happens, and finds a server that was away."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from retention.files import alone
from retention.records import Receipt, Special, new_id
from retention.sqlite import Store
from sipagent.web.app import create_app
from sipagent.web.rights import Role
from sipagent.web.site import Person, Site
from tests.kept import CALLER, recording
from tests.office import CONFIG
from tests.peers.process import free_ports
from tests.web.browser import chromium, needs_chromium, person
from tests.web.logging_in import asked_by, opened
from tests.web.served import serving

__all__ = ["chromium", "person"]
pytestmark = needs_chromium

OPERATOR = "sip:201@127.0.0.1:5070"


@pytest.fixture
def who() -> list[Person]:
    """Whoever is in it is logged in."""
    return [Person(name="claire", roles=frozenset([Role.LISTENER]), via="web", language="en", csrf="c")]


@pytest.fixture
def site(tmp_path: Path, who: list[Person], monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A service whose agent runs."""
    monkeypatch.setattr("sipagent.web.pages.calls.BEAT_S", 0.2)
    (tmp_path / "config.toml").write_text(CONFIG, encoding="utf-8")
    site = asked_by(tmp_path, who)
    with site.store as store:
        assert store.places is not None
        with alone(store.places.lock):
            yield site


@pytest.fixture
def store(site: Site) -> Iterator[Store]:
    """The agent's own."""
    with Store(site.config.places.database) as store:
        yield store


def test_what_is_set_meanwhile_is_seen_until_it_ends(
    person: BrowserContext, site: Site, store: Store
) -> None:
    with serving(create_app(site)) as address:
        page = following(person, address)
        expect(page.locator("#today-now")).to_be_hidden()
        now = datetime.now(UTC)
        ends = now + timedelta(seconds=3)
        store.keep_specials([Special(number=1, from_at=now, until_at=ends)])
        expect(page.locator("#today-now")).to_contain_text("callers hear that it is")
        expect(page.locator("#today-list tbody tr")).to_contain_text("in force")
        expect(page.locator("#today-now")).to_be_hidden()
        expect(page.locator("#today-list")).to_have_text("Nothing: the hours and the notice of every day.")


def call() -> Receipt:
    at = datetime.now(UTC)
    return Receipt(id=new_id(at), started_at=at, caller=CALLER, called="3631")


def following(person: BrowserContext, address: str) -> Page:
    """The page, once it follows."""
    page = person.new_page()
    page.goto(address)
    expect(page.locator("#following")).to_have_text("This page follows what happens.")
    return page


def test_the_table_changes_in_place(person: BrowserContext, site: Site, store: Store) -> None:
    with serving(create_app(site)) as address:
        page = following(person, address)
        expect(page.locator("#in-all")).to_have_text("No call just now.")
        expect(page.locator("#operators tr")).to_contain_text("free")
        store.add_receipt(one := call())
        row = page.locator("#calls tr")
        expect(row).to_contain_text(one.id[-6:])
        expect(row).to_contain_text("hears the notice, or chooses")
        expect(row).to_contain_text("NO REC not decided yet")
        row.locator("a").focus()
        now = datetime.now(UTC)
        talking = replace(one, decision="allowed", decided_at=now, connected_at=now, operator=OPERATOR)
        store.update_receipt(replace(talking, recording_id=one.id))
        store.add_recording(replace(recording(), id=one.id, started_at=now))
        expect(row).to_contain_text("talks with 201")
        expect(row.get_by_text("REC", exact=True)).to_be_visible()
        expect(row.get_by_text("NO REC", exact=True)).to_be_hidden()
        expect(row.locator("a")).to_be_focused()
        expect(page.locator("#operators tr")).to_contain_text(one.id[-6:])
        expect(page.locator("#in-all")).to_have_text("1 call, 1 recorded")
        expect(page.locator("#said")).to_have_text("1 call, 0 recorded")  # not one after the other
        store.update_receipt(replace(talking, ended_at=now, outcome="connected"))
        expect(page.locator("#in-all")).to_have_text("No call just now.")
        expect(row).to_have_count(0)
        assert CALLER[-8:] not in page.content()


def test_what_the_script_shows_is_what_the_server_shows(
    person: BrowserContext, site: Site, store: Store
) -> None:
    """Every kind of row: told by the template, and then by the script."""
    now = datetime.now(UTC)
    for fields in (
        {},
        {"decision": "allowed", "decided_by": "silence", "decided_at": now},
        {"decision": "not_allowed", "decided_by": "sampling", "decided_at": now},
        {"decision": "refused", "decided_by": "dtmf", "connected_at": now, "operator": OPERATOR},
    ):
        store.add_receipt(replace(call(), **fields))  # type: ignore[arg-type]
    with serving(create_app(site)) as address:
        page = following(person, address)
        words = """[...document.querySelectorAll('tbody tr')]
          .map((row) => row.innerText.replace(/\\d+:\\d\\d\\b/g, ''))"""
        scripted = page.evaluate(words)
        assert len(scripted) == 5
        page.evaluate(
            """async () => {
              const text = await (await fetch("/")).text();
              const told = new DOMParser().parseFromString(text, "text/html");
              for (const id of ["calls", "operators"])
                document.getElementById(id).replaceWith(told.getElementById(id));
            }"""
        )
        assert page.evaluate(words) == scripted


def test_a_screen_on_the_wall_needs_no_login_but_its_token(person: BrowserContext, tmp_path: Path) -> None:
    """It follows what happens, and forgets what it has shown once the token is revoked."""
    port = free_ports(1)
    with (
        opened(tmp_path, f'[web]\nlisten = "127.0.0.1:{port}"\n') as there,
        serving(there.app, port) as address,
    ):
        store = there.site.store
        _, token = there.logins.accounts.add_token("screen", ["wall"])
        page = person.new_page()
        page.goto(f"{address}/wall")
        expect(page.locator("#said")).to_contain_text("sipagent token add wall --role wall")
        page.goto(f"{address}/wall#{token}")
        page.reload()
        expect(page.locator("#waiting dd")).to_have_text("0")
        expect(page.locator("#free dd")).to_have_text("1")
        one = replace(call(), decision="allowed", decided_at=there.now - timedelta(seconds=65))
        store.add_receipt(one)
        expect(page.locator("#waiting dd")).to_have_text("1")
        expect(page.locator("#first dd")).to_have_text(re.compile(r"1:0\d"))
        assert one.id[-6:] not in page.content() and CALLER[-8:] not in page.content()
        there.logins.accounts.revoke("screen")
        expect(page.locator("#waiting dd")).to_have_text("–")
        expect(page.locator("#said")).to_contain_text("sipagent token add wall --role wall")


@pytest.mark.parametrize("ended", [False, True], ids=["the session goes on", "the session has ended"])
def test_it_finds_a_server_that_was_away(
    person: BrowserContext, site: Site, store: Store, who: list[Person], ended: bool
) -> None:
    with serving(create_app(site)) as address:
        page = following(person, address)
    told = page.locator("#following")
    expect(told).to_contain_text("The connection is lost")
    expect(page.locator("#renew")).to_be_visible()
    store.add_receipt(one := call())
    if ended:
        who.clear()
    with serving(create_app(site), urlsplit(address).port or 0):
        if ended:
            expect(told).to_contain_text("Your session has ended")
            return
        expect(told).to_have_text("This page follows what happens.")
        expect(page.locator("#calls tr")).to_contain_text(one.id[-6:])
        who.clear()
        expect(told).to_contain_text("Your session has ended")
        expect(page.locator("#renew")).to_be_visible()
