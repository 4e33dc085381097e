"""Logins by OpenID Connect: a real issuer on this machine, and one that lies."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from joserfc import jwt
from joserfc.jwk import KeySet, OctKey, RSAKey
from oidc_provider_mock import User, run_server_in_thread  # type: ignore[import-untyped]

from sipagent.web.issuer import Issuer, IssuerError
from sipagent.web.pages.login import names_in, roles_in
from tests.web.logging_in import Browser, Page, opened

BACK = "/login/oidc/back"
PEOPLE = (
    User(sub="c-1", claims={"preferred_username": "Claire", "groups": ["/listeners"]}),
    User(sub="d-1", claims={"preferred_username": "Denis", "email": "d@example.org", "email_verified": True}),
    User(sub="x-1", claims={"preferred_username": "Xavier", "groups": ["others"]}),
    User(sub="y-1", claims={"preferred_username": "claire", "groups": ["listeners"]}),
    User(sub="o-1", claims={"preferred_username": "Omar", "email": "d@example.org"}),
    User(sub="z-1", claims={"preferred_username": "Zoe", "email": "d@example.org", "email_verified": False}),
)
CONFIG = """
[web]
listen = "127.0.0.1:8443"
oidc_issuer = "{issuer}"
oidc_client_id = "sipagent"
oidc_client_secret_file = "secret"
oidc_roles = {{ "listeners" = "listener", "d@example.org" = "officer" }}
"""


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    """A page whose issuer is a real one."""
    with served(tmp_path) as page:
        yield page


@contextmanager
def served(folder: Path, more: str = "") -> Iterator[Page]:
    (folder / "secret").write_text("s3cret\n", encoding="utf-8")
    with run_server_in_thread(user_claims=PEOPLE, require_nonce=True) as server:
        config = CONFIG.format(issuer=f"http://localhost:{server.server_port}")
        with opened(folder, config + more) as page:
            yield page


def sent(browser: Browser, to: str = "/recordings") -> str:
    """Where a browser is sent that wants to log in."""
    answer = browser.get(f"/login/oidc?next={to}")
    assert answer.status_code == HTTPStatus.SEE_OTHER
    return answer.headers["location"]


def returned(address: str, person: str) -> str:
    """Where the issuer sends the browser once this person has logged in there."""
    answer = httpx2.post(address, data={"sub": person})
    assert answer.status_code == HTTPStatus.FOUND, answer.text
    back = urlsplit(answer.headers["location"])
    assert back.path == BACK
    return f"{back.path}?{back.query}"


def entered(page: Page, person: str) -> tuple[Browser, httpx2.Response]:
    """A browser of somebody who went to the issuer and came back."""
    browser = page.browser()
    return browser, browser.get(returned(sent(browser), person))


def test_who_has_a_role_comes_in(page: Page) -> None:
    browser, answer = entered(page, "c-1")
    assert (answer.status_code, answer.headers["location"]) == (HTTPStatus.SEE_OTHER, "/recordings")
    assert "SameSite=strict" in "".join(answer.headers.get_list("set-cookie"))
    assert browser.get("/recordings").status_code == HTTPStatus.OK
    assert browser.get("/holds").status_code == HTTPStatus.OK
    assert browser.get("/accounts").status_code == HTTPStatus.FORBIDDEN
    (login,) = page.trace("login")
    assert (login.login, login.via, login.outcome) == ("Claire", "web", "done")
    (made,) = page.trace("account")
    assert "listener, by the issuer" in str(made.detail)


def test_an_issuer_that_gives_only_proved_addresses_need_not_say_so(tmp_path: Path) -> None:
    """As ProConnect, which says no `email_verified`; where one is said, it counts."""
    with served(tmp_path, "oidc_email_proved = true\n") as page:
        assert entered(page, "o-1")[1].status_code == HTTPStatus.SEE_OTHER
        assert entered(page, "z-1")[1].status_code == HTTPStatus.FORBIDDEN


def test_without_a_role_nobody_comes_in(page: Page) -> None:
    """An address gives one only where it is proved."""
    for person in ("x-1", "z-1", "o-1"):
        browser, answer = entered(page, person)
        assert answer.status_code == HTTPStatus.FORBIDDEN and "no role here" in answer.text
        assert browser.get("/recordings").status_code == HTTPStatus.SEE_OTHER
    assert page.logins.accounts.all() == []
    assert [row.outcome for row in page.trace("login")] == ["refused"] * 3
    assert entered(page, "d-1")[0].get("/requests").status_code == HTTPStatus.OK


def test_only_the_issuer_lets_in(page: Page) -> None:
    page.logins.offer_first("code")
    shown = page.browser().get("/login").text
    assert 'id="by-issuer"' in shown and 'name="password"' not in shown
    assert page.browser().get("/first").status_code == HTTPStatus.NOT_FOUND
    owner = page.enrolled("Eve", "listener")
    answer = page.browser().client.post("/login", data={"name": owner.name, "password": owner.password})
    assert answer.status_code == HTTPStatus.FORBIDDEN
    assert "passkey" not in shown and page.logins.relying_party is None
    for path in ("/login/passkey", "/login/passkey/ask"):
        answer = page.browser().post(path, {"credential": "{}"}, shown="/enrol")
        assert answer.status_code == HTTPStatus.FORBIDDEN and "alone" in answer.text


def test_what_was_begun_in_another_browser_ends_in_none(page: Page) -> None:
    """An attacker's own login, whose end somebody else is made to open (RFC 6749, 10.12)."""
    back = returned(sent(page.browser()), "c-1")
    fresh, begun, faking = page.browser(), page.browser(), page.browser()
    sent(begun)
    for browser in (fresh, begun):
        answer = browser.get(back)
        assert answer.status_code == HTTPStatus.FORBIDDEN and "in another browser" in answer.text
    faking.get("/login")
    for sealed in (faking.client.cookies[page.logins.cookies.form], page.logins.seal.seal(b"s" * 32)):
        faking.keep(page.logins.cookies.issuer, sealed)  # another cookie of ours
        answer = faking.get(f"{BACK}?state=x&code=y")
        assert answer.status_code == HTTPStatus.FORBIDDEN and "in another browser" in answer.text


def test_a_code_counts_once_and_leads_to_a_page_of_ours(page: Page) -> None:
    browser = page.browser()
    back = returned(sent(browser, "//evil.example"), "c-1")
    assert browser.get(back).headers["location"] == "/"
    assert browser.get(back).status_code == HTTPStatus.FORBIDDEN
    for odd in ("code=wrong", "error=access_denied"):
        state = parse_qs(urlsplit(sent(browser)).query)["state"][0]
        answer = browser.get(f"{BACK}?state={state}&{odd}")
        assert answer.status_code == HTTPStatus.FORBIDDEN
    assert "access_denied" in answer.text


def test_an_issuer_that_is_away_is_said(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret", encoding="utf-8")
    with opened(tmp_path, CONFIG.format(issuer="http://127.0.0.1:9")) as page:
        answer = page.browser().get("/login/oidc")
        assert answer.status_code == HTTPStatus.BAD_GATEWAY
        assert "does not answer as it should" in answer.text


ENDPOINTS = {"authorization_endpoint": "https://id.example/a", "token_endpoint": "https://id.example/t"}


def test_it_is_asked_for_what_it_publishes() -> None:
    """Some refuse a request with anything else in it: ProConnect, Keycloak, and what publishes little."""
    known = {"response_type", "client_id", "redirect_uri", "scope", "state", "nonce"}
    ways = ["private_key_jwt", "client_secret_basic", "client_secret_post"]
    for scopes, by, proofs, scope in (
        (["openid", "given_name", "usual_name", "email", "siret"], ways[2:], [], "openid email"),
        (["openid", "roles", "profile", "email"], ways, ["plain", "S256"], "openid email profile"),
        (7, None, None, "openid email profile"),
    ):
        published: dict[str, object] = ENDPOINTS | {
            "scopes_supported": scopes,
            "token_endpoint_auth_methods_supported": by,
            "code_challenge_methods_supported": proofs,
        }
        issuer = liar(published)
        asked = parse_qs(urlsplit(issuer.begin().address).query)
        assert asked["scope"] == [scope] and ("code_challenge" in asked) is bool(proofs)
        assert asked.keys() - {"code_challenge", "code_challenge_method"} == known
        way = "client_secret_post" if by == ways[2:] else "client_secret_basic"
        assert issuer._session(published).token_endpoint_auth_method == way


KEY, OTHER = RSAKey.generate_key(2048), RSAKey.generate_key(2048)
GOOD = {"iss": "https://id.example", "aud": "sipagent", "sub": "1", "nonce": "n", "azp": "sipagent"}


def liar(published: dict[str, object] | None = None) -> Issuer:
    issuer = Issuer("https://id.example", "sipagent", "secret", "https://x/back")
    keys = KeySet([RSAKey.import_key(KEY.as_dict(private=False))])
    issuer._known = time.monotonic(), {"issuer": issuer.url}, keys
    issuer._published = lambda *, anew=False: (published or {}, keys)  # type: ignore[method-assign]
    return issuer


def token(key: RSAKey | OctKey = KEY, alg: str = "RS256", **claims: object) -> str:
    now = int(time.time())
    return jwt.encode({"alg": alg}, GOOD | {"iat": now, "exp": now + 60} | claims, key, algorithms=[alg])


def test_a_good_token_is_believed_and_no_other() -> None:
    assert liar()._claims(token(), "n")["sub"] == "1"
    now = int(time.time())
    claims: tuple[dict[str, Any], ...] = (
        {"iss": "https://evil.example"}, {"aud": "another"}, {"aud": ["another"]}, {"azp": "another"},
        {"nonce": "m"}, {"sub": None}, {"sub": 7}, {"exp": now - 3600}, {"iat": now + 3600},
    )  # fmt: skip
    for wrong in claims:
        with pytest.raises(IssuerError):
            liar()._claims(token(**wrong), "n")
    short, long = (OctKey.import_key(one) for one in ("x", "a secret of thirty-two characters"))
    signed = (token(OTHER), token(long, "HS256"), token(short, "none"), token()[:-4] + "AAAA")
    for said in (*signed, "", "a.b.c", None):
        with pytest.raises(IssuerError):
            liar()._claims(said, "n")


def test_roles_by_all_that_issuers_say() -> None:
    claims = {
        "groups": ["/a", 7],
        "roles": "b",
        "realm_access": {"roles": ["c"]},
        "resource_access": {"sipagent": {"roles": ["d"]}, "x": None},
        "email": "e",
        "email_verified": True,
    }
    assert [*names_in(claims)] == ["a", "b", "c", "d", "e"]
    assert [*names_in({"email": "e", "email_verified": "true", "realm_access": []})] == []
    assert roles_in(claims, {"a": "listener", "c": "officer", "d": "listener"}) == ["listener", "officer"]
