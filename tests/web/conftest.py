"""A page over a folder of its own, and somebody who asks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from retention.accounts import credentials
from sipagent.web import background
from sipagent.web.app import create_app
from sipagent.web.rights import Role
from sipagent.web.site import Person, Site
from tests.office import CONFIG, Office
from tests.sealing import QUICK
from tests.web.browser import chromium, driver, person
from tests.web.logging_in import Page, asked_by, opened

__all__ = ["chromium", "driver", "person"]  # fixtures


@pytest.fixture(autouse=True)
def quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password is hashed in no time: these tests do so a thousand times."""
    monkeypatch.setattr(credentials, "STRENGTH", QUICK)
    monkeypatch.setattr(credentials, "NOBODYS", credentials.hashed("nobody's"))


@pytest.fixture(autouse=True)
def quick_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command gives way to nobody: beside busy cores it would not come to its end."""
    monkeypatch.setattr(background, "LOWEST", 0)


@dataclass
class Asking:
    """Who asks in a test: whoever is set, without a login."""

    site: Site
    client: TestClient
    who: list[Person | None] = field(default_factory=list)

    def login(
        self, *roles: Role, name: str = "claire", via: str = "web", language: str | None = "en"
    ) -> Person:
        """From now on this person asks."""
        person = Person(name=name, roles=frozenset(roles), via=via, language=language, csrf=f"csrf-{name}")
        self.who[:] = [person]
        return person

    def logout(self) -> None:
        """From now on nobody who is logged in."""
        self.who.clear()


@pytest.fixture
def web_office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    """A configuration with no page of its own yet, and an empty archive."""
    (tmp_path / "config.toml").write_text(CONFIG, encoding="utf-8")
    return Office(tmp_path, capsys)


@pytest.fixture
def asking(web_office: Office) -> Iterator[Asking]:
    """Somebody at the page of `web_office`."""
    with asked_at(web_office) as asking:
        yield asking


@contextmanager
def asked_at(office: Office) -> Iterator[Asking]:
    """Somebody at the page of this office."""
    who: list[Person | None] = []
    site = asked_by(office.folder, who)
    with TestClient(create_app(site), follow_redirects=False, headers={"accept-language": "en"}) as client:
        yield Asking(site, client, who)
    site.store.close()


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """A page with logins of its own."""
    with opened(tmp_path) as page:
        yield page
