"""The pages of two hosts that share a database: one login for both, and what ends it ends it everywhere."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path

import httpx2 as httpx
import pytest

from retention.accounts.accounts import NewPasskey
from retention.accounts.credentials import AccountError
from retention.rows.rows import StoreError, TryAgain
from retention.vault import Identity
from sipagent.agent.stored import accounts_fault, accounts_of
from sipagent.config.load import load
from tests.office import CONFIG
from tests.peers.agent import SEARCH_PATH
from tests.postgres import Server, primary
from tests.web.logging_in import (
    SITE,
    WEB,
    Browser,
    Owner,
    Page,
    enrolled,
    field_of,
    opened,
    said,
    sharing,
)
from tests.web.served import Served

SEE_OTHER, OK = HTTPStatus.SEE_OTHER, HTTPStatus.OK
KEY = Identity(bytes([1]) * 32, "Claire").public


class Hosts:
    """The pages of `a` and `b`, whose clocks go alike, and that have one key of accounts."""

    def __init__(self, folder: Path, database: str, stack: ExitStack) -> None:
        self.a = stack.enter_context(opened(made(folder / "a"), WEB, sharing(database, "a")))
        self.a.logins.accounts.are_there()  # which makes the key
        key = self.a.site.config.places.accounts_key
        shutil.copy(key, made(folder / "b") / key.name)
        for shared in ("vault", "recordings"):  # as a store of objects is
            (folder / "a" / shared).mkdir(exist_ok=True)
            (folder / "b" / shared).symlink_to(folder / "a" / shared)
        self.b = stack.enter_context(opened(folder / "b", WEB, sharing(database, "b")))

    def later(self, **time: float) -> None:
        self.a.later(**time)
        self.b.later(**time)

    def at(self, browser: Browser, page: Page) -> Browser:
        """That browser, led to the other host by the address that both have."""
        other = page.browser()
        for cookie in browser.client.cookies.jar:
            other.keep(cookie.name, cookie.value or "")
        return other


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.fixture
def hosts(tmp_path: Path, database: str) -> Iterator[Hosts]:
    with ExitStack() as stack:
        yield Hosts(tmp_path, database, stack)


@pytest.fixture
def claire(hosts: Hosts) -> Owner:
    return hosts.a.enrolled("Claire", "listener", key=KEY)


def logged_in(hosts: Hosts, page: Page, who: Owner) -> Browser:
    browser = page.browser()
    answer = browser.log_in(who)
    assert answer.status_code == SEE_OTHER, answer.text
    hosts.later(seconds=30)  # other digits
    return browser


def test_a_login_on_one_host_counts_on_the_other_and_ends_everywhere(hosts: Hosts, claire: Owner) -> None:
    digits = claire.totp.at(hosts.a.now)
    browser = logged_in(hosts, hosts.a, claire)
    there = hosts.at(browser, hosts.b)
    shown = there.get("/account")
    assert shown.status_code == OK and KEY.id in shown.text
    assert there.post("/account/language", {"language": "fr"}, shown="/account").status_code == SEE_OTHER
    assert hosts.a.logins.accounts.meant("Claire").language == "fr"
    assert hosts.b.browser().log_in(claire, digits).status_code == HTTPStatus.FORBIDDEN  # they count once
    minutes = hosts.a.site.config.web.session_minutes
    for acts in (there, browser):  # on either
        hosts.later(minutes=minutes - 2)
        assert acts.is_in
    browser.post("/logout", {}, shown="/account")
    assert not there.is_in
    browser = logged_in(hosts, hosts.a, claire)
    hosts.later(minutes=minutes)
    assert not hosts.at(browser, hosts.b).is_in and not browser.is_in


def test_what_is_changed_on_one_counts_at_once_on_the_other(hosts: Hosts, claire: Owner) -> None:
    there, accounts = logged_in(hosts, hosts.b, claire), hosts.a.logins.accounts
    id = accounts.meant("Claire").id
    with pytest.raises(AccountError, match="there is an account of this name"):
        hosts.b.logins.accounts.add("CLAIRE", ["officer"])
    assert there.get("/accounts").status_code == HTTPStatus.FORBIDDEN
    accounts.set_roles(id, ["administrator"])
    assert there.get("/accounts").status_code == OK
    accounts.remove(id)
    assert not there.is_in
    assert hosts.b.browser().log_in(claire).status_code == HTTPStatus.FORBIDDEN
    _, shown = accounts.add_token("robot", ["listener"])
    program = hosts.b.browser(authorization=f"Bearer {shown}")
    assert program.get("/api/v1/recordings").status_code == OK
    accounts.revoke("robot")
    assert program.get("/api/v1/recordings").status_code == HTTPStatus.UNAUTHORIZED


def test_a_challenge_is_answered_once_and_what_was_done_is_said_once_for_all_hosts(hosts: Hosts) -> None:
    """Else nobody would see the one-time code, which is shown once."""
    ours, theirs = hosts.a.logins.challenges, hosts.b.logins.challenges
    challenge = ours.new("log in", "browser")
    assert theirs.use(challenge, "log in", "browser") == (None,)
    assert ours.use(challenge, "log in", "browser") is None
    hosts.a.later(seconds=20)  # its clock goes ahead
    assert theirs.use(ours.new("x", "y"), "x", "y")
    boss = logged_in(hosts, hosts.a, hosts.a.enrolled("Boss", "administrator"))
    form = {"name": "Zoe", "role-listener": "on"}
    assert boss.post("/accounts/add", form, shown="/accounts").status_code == SEE_OTHER
    kept = hosts.a.logins.accounts._read("SELECT * FROM told")
    assert len(kept) == 1 and "Zoe" not in repr(kept)
    there = hosts.at(boss, hosts.b)
    assert said(there.get("/accounts")).startswith("The one-time code of Zoe, shown this once: ")
    assert "one-time code of Zoe" not in there.get("/accounts").text + boss.get("/accounts").text


def test_without_the_key_or_with_another_nobody_is_let_in(hosts: Hosts, claire: Owner) -> None:
    key = hosts.b.site.config.places.accounts_key
    config = hosts.b.site.config
    assert accounts_fault(config) is None
    kept = key.read_bytes()
    key.unlink()
    with pytest.raises(StoreError, match=r"accounts\.key: is missing; .*accepted: a copy of that file"):
        accounts_of(config)
    assert not key.exists() and "is missing" in str(accounts_fault(config))
    key.write_text("sipagent-accounts-1 " + "A" * 43 + "=\n")
    with pytest.raises(StoreError, match=r"accounts\.key: .* are under another key"):
        accounts_of(config)
    key.write_text("?")
    with pytest.raises(StoreError, match="not the key of accounts"):
        accounts_of(config)
    key.write_bytes(kept)
    with accounts_of(config) as accounts:
        assert accounts.meant("Claire").key == KEY


def test_the_database_shows_no_secret_and_no_name(
    hosts: Hosts, claire: Owner, postgres: Server, database: str
) -> None:
    accounts = hosts.a.logins.accounts
    account = accounts.vouched_for("https://issuer.example subject-7", "Jeanne", ["listener"])
    made = NewPasskey(credential=b"credential", public_key=b"key", sign_count=0, transports=())
    accounts.add_passkey(account.id, "Jeanne's phone", made)
    _, token = accounts.add_token("Robot", ["listener"])
    _, code = accounts.add("Marc", ["officer"])
    browser = logged_in(hosts, hosts.a, claire)
    hosts.a.browser("127.0.0.77").log_in(Owner("Nobody", claire.totp))
    with postgres.connect(database.rpartition("/")[2], "postgres") as connection:
        tables = [
            *("accounts", "codes", "tokens", "passkeys", "strangers", "accounts_key"),
            *("used_challenges", "sessions", "attempts", "told"),
        ]
        kept = repr([connection.execute(f"SELECT * FROM {table}").fetchall() for table in tables])
    for secret in (
        *("Claire", "claire", "Jeanne", "Robot", "Marc", "Nobody", "127.0.0.77", "subject-7", "$argon2id"),
        *(claire.totp.secret, token, code, code.replace("-", ""), browser.cookie or "", KEY.id, "phone"),
    ):
        assert secret and secret not in kept, secret
    again = accounts.vouched_for("https://issuer.example subject-7", "Jeanne", ["listener"])
    assert again.id == account.id


def test_a_database_that_is_gone_lets_nobody_in_and_says_so(tmp_path: Path) -> None:
    with primary() as server, ExitStack() as stack:
        hosts = Hosts(tmp_path, server.database(), stack)
        claire = hosts.a.enrolled("Claire", "listener")
        browser = logged_in(hosts, hosts.a, claire)
        _, token = hosts.a.logins.accounts.add_token("robot", ["listener"])
        server.kill()
        answer = browser.get("/recordings")
        assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE
        assert "the shared database does not answer" in answer.text and "Traceback" not in answer.text
        assert browser.get("/static/style.css").status_code == OK
        program = hosts.b.browser().get("/api/v1/recordings", authorization=f"Bearer {token}")
        assert program.status_code == HTTPStatus.SERVICE_UNAVAILABLE
        assert "does not answer" in program.json()["detail"]
        stranger = hosts.b.browser()
        refused = stranger.log_in(claire)
        assert refused.status_code == HTTPStatus.SERVICE_UNAVAILABLE
        assert "does not answer" in refused.text and not stranger.cookie
        with pytest.raises(TryAgain):
            hosts.b.logins.accounts.all()
        server.start()
        hosts.later(seconds=60)
        assert not browser.is_in  # what pages remember is in no log: a crash ends all sessions
        assert logged_in(hosts, hosts.b, claire).is_in


def test_processes_of_two_hosts(tmp_path: Path, database: str) -> None:
    """`sipagent web` on both, behind one address: a login, then `user remove` on the other host."""
    a, b = (Served(made(tmp_path / host), config=CONFIG + sharing(database, host)) for host in "ab")
    b.file.write_text(b.file.read_text() + f'url = "{a.origin}"\n')
    with a.running():
        shutil.copy(a.folder / "accounts.key", b.folder / "accounts.key")
        with accounts_of(load(a.file)) as accounts:
            claire = enrolled(accounts, "Claire")
        with b.running(), httpx.Client(base_url=a.origin) as browser:
            form = {"name": claire.name, "password": claire.password, "digits": claire.totp.now()}
            csrf = field_of(browser.get("/login").text, "csrf")
            answer = browser.post("/login", data=form | {"csrf": csrf}, headers=SITE)
            assert answer.status_code == SEE_OTHER, answer.text

            def at_b() -> int:
                there = {"host": f"127.0.0.1:{a.port}"}
                return httpx.get(f"{b.origin}/account", cookies=browser.cookies, headers=there).status_code

            assert at_b() == OK
            removed = b.command("user", "remove", "Claire")
            subprocess.run(removed, check=True, env={"PYTHONPATH": SEARCH_PATH}, capture_output=True)
            assert at_b() == SEE_OTHER and browser.get("/account").status_code == SEE_OTHER
