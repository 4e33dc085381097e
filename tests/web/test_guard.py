"""Who comes in where, by which way, what every answer is protected by, and how a refusal is told."""

import hashlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

import pytest
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from retention.accounts.file import TOLD_LIMIT
from retention.records import Access, RuleError
from retention.sqlite import Store
from retention.texts import Reason
from retention.vault import KeysError
from sipagent.config.tables import WebTable
from sipagent.languages.spoken import answering
from sipagent.operations.parsing import FieldError
from sipagent.web.guard import guarded
from sipagent.web.problems import Problem, RefusedRequests
from sipagent.web.rights import RIGHTS, SOUND, Right, Role, rights_of
from sipagent.web.serving import CSP, LARGEST, Protection
from sipagent.web.templating import FOLDER, number, seen, size
from tests.configured import SMALL, read
from tests.raising import raising
from tests.web.conftest import Asking
from tests.web.logging_in import Page

TLS = "certificate = 'a.pem'\nprivate_key = 'a.key'\n"
PROXY = (
    "[web]\nlisten = '0.0.0.0:8443'\nurl = 'https://ecoute.example.net'\n"
    "trusted_proxies = ['192.0.2.10', '198.51.100.0/24']\n"
)


def test_rights_grow_with_roles_but_an_administrator_never_listens() -> None:
    assert rights_of(RIGHTS) >= rights_of([]) == {Right.ANYBODY, Right.PERSON}
    assert rights_of([Role.SUPERVISOR]) > rights_of([Role.LISTENER])
    for role in Role:
        assert not rights_of([role, Role.ADMINISTRATOR]) & SOUND
        assert bool(rights_of([role]) & SOUND) == (role not in (Role.ADMINISTRATOR, Role.WALL))


@pytest.mark.parametrize(
    ("fault", "status", "said"),
    [
        (FieldError("since", "is no day"), HTTPStatus.UNPROCESSABLE_ENTITY, "since: is no day"),
        (ValueError(Reason("not so")), HTTPStatus.BAD_REQUEST, "not so"),
        (ValueError("secret"), HTTPStatus.BAD_REQUEST, "what was sent cannot be used"),
        (KeysError("no key fits"), HTTPStatus.INTERNAL_SERVER_ERROR, "no key fits"),
    ],
)
def test_whatever_is_refused_or_fails_is_told_in_one_line(
    asking: Asking, fault: Exception, status: HTTPStatus, said: str
) -> None:
    """To a program as a problem, to a person as a page; a form's own page shows it beside what was typed."""

    def again(request: Request, problem: Problem) -> Response:
        return PlainTextResponse(f"again: {problem}", int(problem.status))

    app = asking.client.app
    assert isinstance(app, Starlette)
    for path, way in (("/api/v1/fails", None), ("/fails", None), ("/form", again)):
        route = Route(path, guarded(raising(fault), Right.ANYBODY, way), methods=["POST"], name="fails")
        app.router.routes.insert(0, route)
    told = asking.client.post("/api/v1/fails")
    assert (told.status_code, told.json()["detail"]) == (status, said)
    assert told.headers["content-type"] == "application/problem+json"
    page, said = asking.client.post("/fails"), said.removeprefix("since: ")  # a person has its label
    plain = HTTPStatus.BAD_REQUEST if isinstance(fault, FieldError) else status
    assert page.status_code == plain and said in page.text
    form = asking.client.post("/form")
    typed = isinstance(fault, RuleError | ValueError)
    assert form.status_code == plain and (form.text == f"again: {said}") == typed and said in form.text


def test_a_fault_of_ours_says_nothing(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page.site, "identify", raising(RuntimeError("a secret of ours")))
    client = TestClient(page.app, base_url="http://127.0.0.1:8443", raise_server_exceptions=False)
    answer = client.get("/login")
    assert answer.status_code == HTTPStatus.INTERNAL_SERVER_ERROR and "secret" not in answer.text
    assert answer.headers["content-security-policy"] == CSP and answer.headers["cache-control"] == "no-store"


def test_no_address_but_those_that_are_there(asking: Asking) -> None:
    answer = asking.client.get("/nowhere")
    assert answer.status_code == HTTPStatus.NOT_FOUND and "nothing at this address" in answer.text
    told = asking.client.get("/api/v1/nowhere")
    assert told.headers["content-type"] == "application/problem+json"
    assert told.json()["status"] == HTTPStatus.NOT_FOUND
    for method in ("PUT", "DELETE", "PATCH", "TRACE", "OPTIONS"):
        assert asking.client.request(method, "/login").status_code == HTTPStatus.METHOD_NOT_ALLOWED


def test_a_flood_of_refusals_is_counted() -> None:
    """Some lines a minute, and then one that says how many more there were."""
    moment = [datetime(2026, 11, 24, tzinfo=UTC)]
    store = Store(":memory:")
    refusals = RefusedRequests(store, lambda: moment[0], most=3)
    for later in (*[0] * 10, 1):
        moment[0] += timedelta(minutes=later)
        refusals.keep(Access(at=moment[0], action="login", detail="wrong"))
    rows = store.accesses()
    assert [row.outcome for row in rows] == ["refused"] * 5 and "7 more" in str(rows[3].detail)


def test_what_nobody_comes_back_for_is_forgotten(asking: Asking) -> None:
    person = asking.login(Role.LISTENER)
    for n in range(TOLD_LIMIT + 1):
        asking.site.tell(replace(person, csrf=str(n)), "done")
    for csrf, told in (("0", None), (str(TOLD_LIMIT), "done"), (str(TOLD_LIMIT), None)):
        assert asking.site.told(replace(person, csrf=csrf)) == told


def test_every_answer_has_them(page: Page) -> None:
    assert "unsafe" not in CSP and "http" not in CSP and "*" not in CSP
    assert CSP.startswith("default-src 'none'") and "frame-ancestors 'none'" in CSP
    paths = ("/login", "/", "/accounts", "/nowhere", "/static/nothing.js", "/enrol")
    for path in (*paths, "/api/v1/nowhere", "/api/v1/recordings", "/api/v1/openapi.json"):
        headers = page.browser().get(path).headers
        assert "strict-transport-security" not in headers and "server" not in headers
        assert "microphone=()" in headers["permissions-policy"]
        for name, value in {
            "content-security-policy": CSP,
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            "referrer-policy": "same-origin",
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
            "x-frame-options": "DENY",
        }.items():
            assert headers[name] == value, path


STATIC = FOLDER / "static"
VENDOR = STATIC / "vendor"
SCRIPTS = sorted(STATIC.glob("*.js"))


def test_files_come_compressed_and_a_browser_asks_each_time_whether_one_is_the_same(asking: Asking) -> None:
    for name in ("style.css", "icon.svg"):
        packed = asking.client.get(f"/static/{name}")
        plain = asking.client.get(f"/static/{name}", headers={"accept-encoding": "identity"})
        assert packed.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
        assert packed.content == plain.content and packed.headers["cache-control"] == "no-cache"
        again = asking.client.get(f"/static/{name}", headers={"if-none-match": packed.headers["etag"]})
        assert (again.status_code, again.content) == (HTTPStatus.NOT_MODIFIED, b"")
        other = asking.client.get(f"/static/{name}", headers={"if-none-match": 'W/"0"'})
        assert other.content == packed.content
    for name in ("../app.py", "%2e%2e/app.py", "..%2fapp.py", "/etc/passwd", "vendor", ""):
        assert asking.client.get(f"/static/{name}").status_code == HTTPStatus.NOT_FOUND


def test_what_is_foreign_is_what_was_published() -> None:
    manifest = json.loads((VENDOR / "manifest.json").read_text())
    for entry in manifest:
        assert hashlib.sha256((VENDOR / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]
        assert "Permission to use, copy, modify" in (VENDOR / entry["license_file"]).read_text()
    listed = {name for entry in manifest for name in (entry["file"], entry["license_file"])}
    assert {path.name for path in VENDOR.iterdir()} == listed | {"manifest.json"}


def test_the_worker_that_has_the_key_can_ask_nothing_of_a_server_and_no_other_makes_code(
    asking: Asking,
) -> None:
    for path in SCRIPTS:
        text, headers = path.read_text(), asking.client.get(f"/static/{path.name}").headers
        assert not re.search(r"https?://|\beval\(|new Function|innerHTML|document\.write", text), path
        of_its_own = headers.get("content-security-policy")
        strict = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'"
        assert of_its_own == (strict if path.name == "opener.js" else CSP)


def test_every_code_of_a_script_has_words() -> None:
    templates = [path.read_text() for path in (FOLDER / "templates").glob("*.html")]
    words = {code for text in templates for code in re.findall(r'^  "(\w+)": _\(', text, re.M)}
    text = "\n".join(path.read_text() for path in SCRIPTS)
    said = set(re.findall(r'(?:say|new Fault)\("(\w+)"', text)) - {"closed"}
    assert said <= words and len(said) > 20


def test_what_is_not_seen_is_shown_as_its_code() -> None:
    for mark in ("\u202e", "\u2066", "\u200b", "\x1b", "\x00", "\ud800", "\u2028", "\ufeff"):
        assert seen(f"a{mark}b") == f"a{ascii(mark)[1:-1]}b"
        assert seen(Markup(f"<b>a{mark}b</b>")) == Markup(f"<b>a{ascii(mark)[1:-1]}b</b>")
    plain = "élève 6\u00a0Mo\u202f; «\u00a0a\u00a0»\n\tb"
    assert seen(plain) == plain


def test_numbers_and_sizes_are_written_as_each_language_does() -> None:
    for language, many, large, small in (
        ("en", "12,345", "8.4\u00a0MB", "2.0\u00a0kB"),
        ("fr", "12\u202f345", "8,4\u00a0Mo", "2,0\u00a0ko"),
    ):
        with answering(language):
            assert (number(12_345), size(8_400_000), size(2000), size(None)) == (many, large, small, "–")


def table(web: str) -> WebTable:
    return read(f"{SMALL}\n{web}").web


def client(web: str = "", peer: str = "192.0.2.1", base: str = "http://ecoute.example.net") -> TestClient:
    """Of an application that says what it was asked."""

    async def echo(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        told = {
            "client": request.client.host if request.client else None,
            "scheme": request.url.scheme,
            "bytes": len(await request.body()),
            "forwarded": [name for name in request.headers if "forward" in name],
        }
        await JSONResponse(told)(scope, receive, send)

    app = Protection(echo, table(web))
    return TestClient(app, base_url=base, client=(peer, 5000), follow_redirects=False)


def test_giant_bodies_are_refused_by_their_word_and_by_their_length() -> None:
    asking, too_large = client(), HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    assert asking.post("/", content=b"x" * LARGEST).json()["bytes"] == LARGEST
    for content in (b"x" * (LARGEST + 1), iter([b"x" * (1 << 16)] * 8)):
        answer = asking.post("/", content=content)
        assert answer.status_code == too_large and answer.headers["content-security-policy"] == CSP
    for word in ("-1", "1e3", "9" * 400, ""):
        refused = asking.post("/", content=iter([b"x"]), headers={"content-length": word})
        assert refused.status_code in (HTTPStatus.OK, too_large)
    told = asking.post("/api/v1/persons", content=b"x" * (LARGEST + 1))
    assert told.headers["content-type"] == "application/problem+json"
    assert told.json()["status"] == told.status_code == too_large


def test_behind_a_proxy_that_is_trusted_its_word_counts() -> None:
    for forwarded, client_is in (
        (["203.0.113.5"], "203.0.113.5"),
        (["6.6.6.6, 203.0.113.5"], "203.0.113.5"),  # the first was sent by the browser
        (["6.6.6.6", "203.0.113.5"], "203.0.113.5"),
        (["203.0.113.5, 198.51.100.7"], "203.0.113.5"),  # two proxies of ours
        (["198.51.100.7"], "198.51.100.7"),
        (["203.0.113.5:4711"], "203.0.113.5"),
        (["[2001:db8::5]:4711"], "2001:db8::5"),
        (["::ffff:203.0.113.5"], "203.0.113.5"),
        (["nonsense"], "192.0.2.10"),
        (["203.0.113.5, nonsense"], "192.0.2.10"),
        ([], "192.0.2.10"),
    ):
        headers = [("x-forwarded-for", one) for one in forwarded]
        headers += [("x-forwarded-proto", "https")] if forwarded else []
        told = client(PROXY, "192.0.2.10").get("/", headers=headers).json()
        assert (told["client"], told["forwarded"]) == (client_is, []), forwarded
        assert told["scheme"] == ("https" if forwarded else "http")


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


def test_no_other_name_leads_here() -> None:
    """A page of another site that has its name lead to this address (DNS rebinding) reads nothing."""
    local, own = "listen = '127.0.0.1:8443'", f"listen = '192.0.2.9:443'\n{TLS}url = 'https://e.example.net'"
    for web, base, let in (
        (local, "http://127.0.0.1:8443", True),
        (local, "http://LOCALHOST:8443", True),
        (local, "http://evil.example:8443", False),
        (local, "http://127.0.0.1", False),
        ("listen = '[::1]:8443'", "http://[::1]:8443", True),
        ("listen = '127.0.0.1:80'", "http://localhost", True),
        (own, "https://e.example.net", True),
        (own, "https://192.0.2.9", True),
        (own, "https://localhost", False),
        (own.replace("192.0.2.9", "0.0.0.0"), "https://0.0.0.0", False),
    ):
        asking, misdirected = client(f"[web]\n{web}", "127.0.0.1", base), HTTPStatus.MISDIRECTED_REQUEST
        assert asking.get("/").status_code == (HTTPStatus.OK if let else misdirected), (web, base)
        assert asking.get("/", headers={"host": ""}).status_code == misdirected
