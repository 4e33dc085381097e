"""A page with logins of its own, and browsers without a screen that log in to it."""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from html import unescape
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pyotp
from starlette.testclient import TestClient

from retention.accounts.accounts import Accounts
from retention.accounts.credentials import new_totp
from retention.records import Access
from retention.vault import PublicKey
from sipagent.config.load import load
from sipagent.web.app import create_app
from sipagent.web.logins import Logins
from sipagent.web.site import Person, Site
from tests.office import CONFIG

ORIGIN = "http://127.0.0.1:8443"
WEB = '[web]\nlisten = "127.0.0.1:8443"\n'
PASSWORD = "a long walk by the sea"
SITE = {"sec-fetch-site": "same-origin"}


@dataclass
class Owner:
    """A person with a password and an authenticator."""

    name: str
    totp: pyotp.TOTP
    password: str = PASSWORD


def enrolled(
    accounts: Accounts, name: str, *roles: str, key: PublicKey | None = None, now: datetime | None = None
) -> Owner:
    """An account whose authenticator's digits of now are not used yet."""
    _, code = accounts.add(name, roles or ("listener",), key)
    totp = pyotp.TOTP(new_totp())
    before = (now or datetime.now(UTC)) - timedelta(seconds=30)
    accounts.enrol(code, PASSWORD, totp.secret, totp.at(before))
    return Owner(name, totp)


@dataclass
class Page:
    """The page over a folder, by a clock that a test sets; `seconds` is the monotonic one."""

    folder: Path
    site: Site
    logins: Logins
    app: Any
    now: datetime
    seconds: float = 1000.0
    _open: list[TestClient] = field(default_factory=list)

    def later(self, **time: float) -> None:
        """Let time pass."""
        self.now += timedelta(**time)
        self.seconds += timedelta(**time).total_seconds()

    def enrolled(self, name: str = "Claire", *roles: str, key: PublicKey | None = None) -> Owner:
        """Somebody who can log in."""
        return enrolled(self.logins.accounts, name, *roles, key=key, now=self.now)

    def browser(self, address: str = "127.0.0.7", **headers: str) -> "Browser":
        """One that has no cookie yet."""
        client = TestClient(
            self.app,
            base_url=self.site.config.web.origin,
            follow_redirects=False,
            headers={"accept-language": "en", **headers},
            client=(address, 50000),
            raise_server_exceptions=True,
        )
        return Browser(self, client)

    def logged_in(self, who: Owner, address: str = "127.0.0.7") -> "Browser":
        """The browser of somebody who has just logged in; the next digits are new."""
        browser = self.browser(address)
        answer = browser.log_in(who)
        assert answer.status_code == HTTPStatus.SEE_OTHER, answer.text
        self.later(seconds=30)
        return browser

    def trace(self, action: str | None = None) -> list[Access]:
        """The trace, or what of it is about this."""
        return [row for row in self.site.store.accesses() if action in (None, row.action)]


@dataclass
class Browser:
    """It keeps cookies, and sends the forms that it was shown."""

    page: Page
    client: TestClient

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.client.get(path, headers=headers)

    def token(self, path: str) -> str:
        """The `csrf` of the forms on a page."""
        return field_of(self.get(path).text, "csrf")

    def post(
        self, path: str, form: dict[str, str], *, shown: str | None = None, **headers: str
    ) -> httpx.Response:
        """Send a form of the page at `shown`, by default that at the same address."""
        form = {"csrf": self.token(shown or path)} | form
        return self.client.post(path, data=form, headers={**SITE, **headers})

    def log_in(self, who: Owner, digits: str | None = None, **form: str) -> httpx.Response:
        """With the digits of now, if no others are given."""
        digits = who.totp.at(self.page.now) if digits is None else digits
        return self.post("/login", {"name": who.name, "password": who.password, "digits": digits} | form)

    @property
    def is_in(self) -> bool:
        """Whether somebody is logged in."""
        return self.get("/account").status_code == 200

    @property
    def cookie(self) -> str | None:
        """That of the session."""
        return self.client.cookies.get(self.page.logins.cookies.session)

    def keep(self, name: str, value: str) -> None:
        """Have a cookie, wherever it is from."""
        for one in [one for one in self.client.cookies.jar if one.name == name]:
            self.client.cookies.jar.clear(one.domain, one.path, one.name)
        self.client.cookies.set(name, value, domain=self.client.base_url.host)


def field_of(text: str, name: str) -> str:
    """The value of a hidden field, of several the last: that of logging out comes first."""
    found = re.findall(rf'name="{name}" value="([^"]*)"', text)
    assert found, text
    return unescape(found[-1])


def said(answer: httpx.Response) -> str:
    """What the page says is wrong, or that it has done."""
    found = re.search(r'role="(?:alert|status)"[^>]*>\s*(?:<p>)?([^<\s][^<]*)<', answer.text)
    assert found, answer.text
    return unescape(found[1])


def sharing(database: str, host: str) -> str:
    """The configuration of one of several hosts."""
    return f'[retention]\ndatabase = "{database}"\n[cluster]\nhost = "{host}"\n'


def asked_by(folder: Path, who: Sequence[Person | None]) -> Site:
    """The site of a folder, asked by the first of these without a login."""
    return Site(config=load(folder / "config.toml"), identify=lambda request: who[0] if who else None)


@contextmanager
def opened(folder: Path, web: str = WEB, shared: str = "", config: str = CONFIG) -> Iterator[Page]:
    """A page, not served by a port. `shared`: as `sharing` gives it."""
    (folder / "config.toml").write_text(config + web + shared, encoding="utf-8")
    loaded = load(folder / "config.toml")
    holder: list[Page] = []
    clock: Callable[[], datetime] = lambda: holder[0].now if holder else datetime.now(UTC)  # noqa: E731
    logins = Logins(loaded, clock, lambda: holder[0].seconds)
    site = Site(config=loaded, identify=logins.identify, clock=clock)
    page = Page(folder, site, logins, create_app(site, logins), datetime.now(UTC).replace(microsecond=0))
    holder.append(page)
    with site.store, logins.accounts:
        yield page
