"""What every answer is protected by: its headers, how much may be sent, and by which way it comes."""

import asyncio
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.testclient import TestClient
from starlette.types import Message

from sipagent.config.tables import WebTable
from sipagent.web import serving
from sipagent.web.serving import CSP, LARGEST, Protection
from tests.configured import SMALL, read
from tests.web.logging_in import WEB, Page, opened

TLS = "certificate = 'a.pem'\nprivate_key = 'a.key'\n"
PROXY = (
    "[web]\nlisten = '0.0.0.0:8443'\nurl = 'https://ecoute.example.net'\n"
    "trusted_proxies = ['192.0.2.10', '198.51.100.0/24']\n"
)


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with opened(tmp_path) as page:
        yield page


# --- headers ---


@pytest.mark.parametrize(
    "path",
    [
        "/login",
        "/",
        "/accounts",
        "/nowhere",
        "/api/v1/nowhere",
        "/api/v1/recordings",
        "/static/nothing.js",
        "/enrol",
    ],
)
def test_every_answer_has_them(page: Page, path: str) -> None:
    headers = page.browser().get(path).headers
    assert headers["content-security-policy"] == CSP
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["x-frame-options"] == "DENY"
    assert "microphone=()" in headers["permissions-policy"]
    assert "strict-transport-security" not in headers
    assert "server" not in headers


def test_the_policy_of_contents_is_strict() -> None:
    assert "unsafe" not in CSP and "http" not in CSP and "*" not in CSP
    assert CSP.startswith("default-src 'none'") and "frame-ancestors 'none'" in CSP


def test_files_of_the_page_have_them_too(page: Page) -> None:
    headers = page.browser().get("/static/style.css").headers
    assert headers["cache-control"] == "no-cache" and headers["content-security-policy"] == CSP


def test_by_https_it_is_to_stay_so(tmp_path: Path) -> None:
    with opened(tmp_path, WEB + "url = 'https://ecoute.example.net'\n" + TLS) as page:
        headers = page.browser().get("/login").headers
        assert headers["strict-transport-security"] == "max-age=31536000"


def test_a_fault_of_ours_has_them_and_says_nothing(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(request: Request) -> None:
        raise RuntimeError("a secret of ours")

    monkeypatch.setattr(page.site, "identify", fails)
    client = TestClient(page.app, base_url="http://127.0.0.1:8443", raise_server_exceptions=False)
    answer = client.get("/login")
    assert answer.status_code == HTTPStatus.INTERNAL_SERVER_ERROR and "secret" not in answer.text
    assert answer.headers["content-security-policy"] == CSP and answer.headers["cache-control"] == "no-store"


def test_only_the_ways_of_asking_that_there_are(page: Page) -> None:
    client = page.browser().client
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "OPTIONS"):
        assert client.request(method, "/login").status_code == HTTPStatus.METHOD_NOT_ALLOWED


# --- how much is sent ---


def echo(web: str = "") -> Protection:
    """What it protects says what it was asked."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        body = await request.body()
        answer = JSONResponse(
            {
                "client": request.client.host if request.client else None,
                "scheme": request.url.scheme,
                "bytes": len(body),
                "forwarded": [name for name in request.headers if "forward" in name],
            }
        )
        await answer(scope, receive, send)

    return Protection(app, table(web))


def table(web: str) -> WebTable:
    return read(f"{SMALL}\n{web}").web


def client(web: str = "", peer: str = "192.0.2.1", base: str = "http://ecoute.example.net") -> TestClient:
    return TestClient(echo(web), base_url=base, client=(peer, 5000), follow_redirects=False)


def test_giant_bodies_are_refused_by_their_word_and_by_their_length() -> None:
    asking = client()
    assert asking.post("/", content=b"x" * LARGEST).json()["bytes"] == LARGEST
    answer = asking.post("/", content=b"x" * (LARGEST + 1))
    assert answer.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    chunked = asking.post("/", content=iter([b"x" * (1 << 16)] * 8))
    assert chunked.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    for word in ("-1", "1e3", "9" * 400, ""):
        refused = asking.post("/", content=iter([b"x"]), headers={"content-length": word})
        assert refused.status_code in (HTTPStatus.OK, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    assert answer.headers["content-security-policy"] == CSP
    told = asking.post("/api/v1/persons", content=b"x" * (LARGEST + 1))
    assert (
        told.headers["content-type"] == "application/problem+json"
        and told.json()["status"] == told.status_code
    )


def test_nobody_who_sends_slowly_holds_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """The body is read before an address answers at all."""
    monkeypatch.setattr(serving, "WITHIN_S", 0.05)
    sent: list[Message] = []
    asked: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        asked.append("the page")

    async def never() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "headers": [],
        "scheme": "http",
        "client": None,
    }
    asyncio.run(Protection(app, table(""))(scope, never, send))
    assert sent[0]["status"] == HTTPStatus.REQUEST_TIMEOUT and asked == []


# --- by which way ---


@pytest.mark.parametrize(
    ("peer", "forwarded", "client_is"),
    [
        ("192.0.2.10", "203.0.113.5", "203.0.113.5"),
        ("192.0.2.10", "6.6.6.6, 203.0.113.5", "203.0.113.5"),  # the first was sent by the browser
        ("192.0.2.10", "203.0.113.5, 198.51.100.7", "203.0.113.5"),  # two proxies of ours
        ("192.0.2.10", "198.51.100.7", "198.51.100.7"),
        ("192.0.2.10", "203.0.113.5:4711", "203.0.113.5"),
        ("192.0.2.10", "[2001:db8::5]:4711", "2001:db8::5"),
        ("192.0.2.10", "::ffff:203.0.113.5", "203.0.113.5"),
        ("192.0.2.10", "nonsense", "192.0.2.10"),
        ("192.0.2.10", "203.0.113.5, nonsense", "192.0.2.10"),
        ("192.0.2.10", "", "192.0.2.10"),
    ],
)
def test_behind_a_proxy_that_is_trusted_its_word_counts(peer: str, forwarded: str, client_is: str) -> None:
    headers = {"x-forwarded-for": forwarded, "x-forwarded-proto": "https"} if forwarded else {}
    told = client(PROXY, peer).get("/", headers=headers).json()
    assert told["client"] == client_is and told["forwarded"] == []
    assert told["scheme"] == ("https" if forwarded else "http")


def test_two_lines_count_as_one() -> None:
    headers = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "203.0.113.5")]
    assert client(PROXY, "192.0.2.10").get("/", headers=headers).json()["client"] == "203.0.113.5"


def test_nobody_else_says_who_they_are() -> None:
    """Where no proxy is trusted, and from another address where one is."""
    spoofed = {"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "https", "forwarded": "for=127.0.0.1"}
    local = client("[web]\nlisten = '127.0.0.1:8443'", "127.0.0.1", "http://127.0.0.1:8443")
    told = local.get("/", headers=spoofed | {"x-forwarded-host": "evil.example"}).json()
    assert (told["client"], told["scheme"], told["forwarded"]) == ("127.0.0.1", "http", [])
    other = client(PROXY, "192.0.2.66").get("/", headers=spoofed)
    assert other.status_code == HTTPStatus.FORBIDDEN  # no password crosses a network in clear


def test_who_comes_to_the_proxy_in_clear_is_led_to_https() -> None:
    asking = client(PROXY, "192.0.2.10")
    headers = {"x-forwarded-for": "203.0.113.5", "x-forwarded-proto": "http"}
    led = asking.get("/recordings/x?limit=3", headers=headers)
    assert led.status_code == HTTPStatus.PERMANENT_REDIRECT
    assert led.headers["location"] == "https://ecoute.example.net/recordings/x?limit=3"
    assert asking.post("/login", headers=headers).status_code == HTTPStatus.FORBIDDEN


@pytest.mark.parametrize(
    ("web", "base", "let"),
    [
        ("listen = '127.0.0.1:8443'", "http://127.0.0.1:8443", True),
        ("listen = '127.0.0.1:8443'", "http://localhost:8443", True),
        ("listen = '127.0.0.1:8443'", "http://LOCALHOST:8443", True),
        ("listen = '127.0.0.1:8443'", "http://evil.example:8443", False),
        ("listen = '127.0.0.1:8443'", "http://127.0.0.1", False),
        ("listen = '[::1]:8443'", "http://[::1]:8443", True),
        ("listen = '127.0.0.1:80'", "http://localhost", True),
        (f"listen = '192.0.2.9:443'\n{TLS}url = 'https://e.example.net'", "https://e.example.net", True),
        (f"listen = '192.0.2.9:443'\n{TLS}url = 'https://e.example.net'", "https://192.0.2.9", True),
        (f"listen = '192.0.2.9:443'\n{TLS}url = 'https://e.example.net'", "https://localhost", False),
        (f"listen = '0.0.0.0:443'\n{TLS}url = 'https://e.example.net'", "https://0.0.0.0", False),
    ],
)
def test_no_other_name_leads_here(web: str, base: str, let: bool) -> None:
    """A page of another site that has its name lead to this address (DNS rebinding) reads nothing."""
    answer = client(f"[web]\n{web}", "127.0.0.1", base).get("/")
    assert answer.status_code == (HTTPStatus.OK if let else HTTPStatus.MISDIRECTED_REQUEST)


def test_a_request_without_a_name_is_refused() -> None:
    answer = client("[web]\nlisten = '127.0.0.1:8443'", "127.0.0.1").get("/", headers={"host": ""})
    assert answer.status_code == HTTPStatus.MISDIRECTED_REQUEST
