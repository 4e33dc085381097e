"""Passkeys: added by who knows the password, a way in beside it, and what is refused of both."""

import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import Any

import cbor2
import httpx2 as httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retention.accounts.accounts import NewPasskey
from sipagent.web import sessions
from tests.web.logging_in import PASSWORD, SITE, Browser, Page, opened, said

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40  # flags (WebAuthn level 2, section 6.1)


def text_of(content: bytes) -> str:
    """In base64url, without padding."""
    return urlsafe_b64encode(content).decode().rstrip("=")


def bytes_of(text: str) -> bytes:
    """The inverse."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


@dataclass
class SoftKey:
    """One passkey. What it says of where it is, and of whom it has verified, a test may change."""

    origin: str = "http://localhost:8443"
    rp_id: str = "localhost"
    flags: int = PRESENT | VERIFIED
    count: int = 0
    credential: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    handle: bytes = b""
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def client_data(self, kind: str, challenge: str, **more: Any) -> bytes:
        """What a browser says that it was asked."""
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.origin, **more}).encode()

    def data(self, flags: int, more: bytes = b"") -> bytes:
        """authenticatorData."""
        return sha256(self.rp_id.encode()).digest() + bytes([flags]) + self.count.to_bytes(4, "big") + more

    def made(self, options: dict[str, Any], **changed: Any) -> str:
        """The answer to creation options, without attestation; `changed`: of its response."""
        self.handle = bytes_of(options["user"]["id"])
        numbers = self.key.public_key().public_numbers()
        x, y = (one.to_bytes(32, "big") for one in (numbers.x, numbers.y))
        public = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: x, -3: y})
        attested = bytes(16) + len(self.credential).to_bytes(2, "big") + self.credential + public
        data = self.data(self.flags | ATTESTED, attested)
        response = {
            "clientDataJSON": text_of(self.client_data("webauthn.create", options["challenge"])),
            "attestationObject": text_of(cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})),
            "transports": ["internal", "flying"],
        }
        return self._credential(response | changed)

    def signed(self, options: dict[str, Any], **changed: Any) -> str:
        """The answer to request options; `changed`: of its response."""
        data = self.data(self.flags)
        client_data = self.client_data("webauthn.get", options["challenge"])
        signature = self.key.sign(data + sha256(client_data).digest(), ec.ECDSA(SHA256()))
        response = {
            "clientDataJSON": text_of(client_data),
            "authenticatorData": text_of(data),
            "signature": text_of(signature),
            "userHandle": text_of(self.handle),
        }
        return self._credential(response | changed)

    def _credential(self, response: dict[str, Any]) -> str:
        id = text_of(self.credential)
        return json.dumps({"id": id, "rawId": id, "type": "public-key", "response": response})


WEB = '[web]\nlisten = "127.0.0.1:8443"\nurl = "http://localhost:8443"\n'
BAD, FORBIDDEN, OK, SEE_OTHER = (HTTPStatus[one] for one in ("BAD_REQUEST", "FORBIDDEN", "OK", "SEE_OTHER"))
NOT_RIGHT = "what the authenticator has sent is not right; accepted: once more"
UNKNOWN = "this passkey is not known here; it may have been removed; accepted: name, password, digits"
LATE = "this was begun too long ago, or in another browser, or was used; accepted: once more"
UNVERIFIED = "the authenticator has not asked who you are; accepted: one with a PIN, a finger or a face"
BACK = "the passkey's counter went back: somebody may have a copy of it; accepted: another one"
GOOD_FOR_S = sessions.CHALLENGE_GOOD_FOR_S


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with opened(tmp_path, WEB) as page:
        yield page


@pytest.fixture
def browser(page: Page) -> Browser:
    """Claire's, who is logged in."""
    return page.logged_in(page.enrolled("Claire", "listener"))


@pytest.fixture
def bob(page: Page, browser: Browser) -> Browser:
    return page.logged_in(page.enrolled("Bob"), "127.1.0.1")


def asked(browser: Browser, name: str = "telephone", password: str = PASSWORD) -> httpx.Response:
    """What to make a passkey of."""
    return browser.post("/account/passkeys/ask", {"name": name, "password": password}, shown="/account")


def added(browser: Browser, name: str = "telephone", **of_key: Any) -> SoftKey:
    """A passkey of who is logged in."""
    key = SoftKey(**of_key)
    answer = send(browser, key.made(asked(browser, name).json()))
    assert answer.status_code == SEE_OTHER, answer.text
    return key


def send(browser: Browser, credential: str) -> httpx.Response:
    return browser.post("/account/passkeys", {"credential": credential}, shown="/account")


def not_added(browser: Browser, credential: str, reason: str) -> None:
    answer = send(browser, credential)
    assert (answer.status_code, said(answer)) == (BAD, reason)


def options(browser: Browser) -> dict[str, Any]:
    """What to sign for a login."""
    answer = browser.post("/login/passkey/ask", {}, shown="/login")
    assert answer.status_code == OK, answer.text
    told: dict[str, Any] = answer.json()
    return told


def log_in(browser: Browser, credential: str, **form: str) -> httpx.Response:
    return browser.post("/login/passkey", {"credential": credential} | form, shown="/login")


def refused(browser: Browser, credential: str, reason: str) -> None:
    answer = log_in(browser, credential)
    assert (answer.status_code, said(answer)) == (FORBIDDEN, reason)
    assert not browser.is_in


def remove(browser: Browser, id: int, password: str = PASSWORD) -> httpx.Response:
    form = {"passkey": str(id), "password": password}
    return browser.post("/account/passkeys/remove", form, shown="/account")


def test_a_passkey_is_added_by_who_knows_the_password(page: Page, browser: Browser) -> None:
    told = asked(browser).json()
    assert told["rp"] == {"id": "localhost", "name": page.site.config.service.name}
    assert told["authenticatorSelection"]["userVerification"] == "required"
    assert told["authenticatorSelection"]["residentKey"] == "required"
    assert told["attestation"] == "none" and told["excludeCredentials"] == []
    assert b"Claire" not in told["user"]["id"].encode() and len(told["user"]["id"]) == 43
    key = SoftKey()
    assert send(browser, key.made(told)).headers["location"] == "/account"
    shown = browser.get("/account")
    assert said(shown) == "Added: from now on you can log in with telephone."
    assert "never used" in shown.text and browser.is_in
    (row,) = page.trace("account")
    assert (row.login, row.outcome, row.detail) == ("Claire", "done", "a new passkey: telephone")
    (kept,) = page.logins.accounts.passkeys_of(1)
    assert (kept.credential, kept.transports, kept.sign_count) == (key.credential, ("internal",), 0)
    again = asked(browser, "key").json()["excludeCredentials"]
    assert again == [{"type": "public-key", "id": text_of(key.credential), "transports": ["internal"]}]
    assert asked(browser, "Telephone").json() == {"error": "'Telephone': there is a passkey of this name"}


def test_what_is_asked_in_vain(page: Page, browser: Browser) -> None:
    made = NewPasskey(credential=b"", public_key=b"x", sign_count=0, transports=())
    for name in ("", "x" * 65, "a\u202eb"):
        answer = asked(browser, name)
        assert answer.status_code == BAD and "is not a name" in answer.json()["error"]
    for number in range(20):
        page.logins.accounts.add_passkey(1, f"key {number}", replace(made, credential=bytes([number])))
    assert "there are 20 passkeys already" in asked(browser).json()["error"]
    page.logins.accounts.remove_passkey(1, page.logins.accounts.passkeys_of(1)[0].id)
    browser = page.logged_in(page.enrolled("Bob"), "127.1.0.1")
    for _ in range(3):
        answer = asked(browser, password="x" * 12)
        assert (answer.status_code, answer.json()) == (BAD, {"error": "the password is wrong"})
    assert "too many refused attempts" in asked(browser).json()["error"]
    assert [row.outcome for row in page.trace("account")] == ["refused"] * 4


def test_a_challenge_to_add_is_of_one_session_once_and_for_five_minutes(
    page: Page, browser: Browser, bob: Browser
) -> None:
    theirs, first = asked(bob).json(), asked(browser).json()
    key = SoftKey()
    assert send(browser, key.made(first)).status_code == SEE_OTHER
    not_added(bob, key.made(asked(bob).json()), "this passkey is there already")
    late, to_log_in = asked(browser, "late").json(), options(page.browser())
    page.later(seconds=GOOD_FOR_S)
    others = (to_log_in["challenge"], "AAAA")
    for one in (first, theirs, late, *(late | {"challenge": other} for other in others)):
        not_added(browser, SoftKey().made(one), LATE)
    assert [len(page.logins.accounts.passkeys_of(id)) for id in (1, 2)] == [1, 0]
    kept = [row.detail for row in page.trace("account") if row.outcome == "refused"]
    assert kept[1:] == ["a new passkey: late, of another session, or used"] * 5


NOT_HERE: list[tuple[dict[str, Any], str]] = [  # not for this page, or nobody was verified
    ({"origin": "http://localhost.evil.example:8443"}, NOT_RIGHT),
    ({"origin": "https://localhost:8443"}, NOT_RIGHT),
    ({"rp_id": "evil.example"}, NOT_RIGHT),
    ({"flags": PRESENT}, UNVERIFIED),
    ({"flags": VERIFIED}, NOT_RIGHT),
]


def test_what_is_not_for_this_page_or_proves_nobody_is_not_added(page: Page, browser: Browser) -> None:
    """Nor what a maker says of it, or what comes from another frame."""
    ids: list[tuple[dict[str, Any], str]] = [({"credential": id}, NOT_RIGHT) for id in (b"", b"x" * 1024)]
    for changed, reason in (*NOT_HERE, *ids):
        not_added(browser, SoftKey(**changed).made(asked(browser).json()), reason)
    key, told = SoftKey(), asked(browser).json()
    made = json.loads(key.made(told))["response"]["attestationObject"]
    data = cbor2.loads(bytes_of(made))["authData"]
    x5c = {"alg": -7, "sig": b"x", "x5c": [b"x"]}
    for fmt, statement in (("packed", x5c), ("tpm", {}), ("none", {"sig": b"x"})):
        told = asked(browser).json()
        forged = cbor2.dumps({"fmt": fmt, "attStmt": statement, "authData": data})
        not_added(browser, key.made(told, attestationObject=text_of(forged)), NOT_RIGHT)
    told = asked(browser).json()
    within = key.client_data("webauthn.create", told["challenge"], crossOrigin=True)
    not_added(browser, key.made(told, clientDataJSON=text_of(within)), NOT_RIGHT)
    assert page.logins.accounts.passkeys_of(1) == []


def test_a_passkey_lets_in_without_a_name_once_for_each_answer(page: Page, browser: Browser) -> None:
    """An answer is of one browser, and good for five minutes."""
    key, other, thief = added(browser), page.browser("127.0.0.8"), page.browser("127.1.0.1")
    told = options(other)
    assert (told["rpId"], told["userVerification"], told["allowCredentials"]) == ("localhost", "required", [])
    refused(thief, key.signed(told), LATE)
    assert page.trace("login")[-1].detail == "a passkey: late, of another browser, or used, from 127.1.0.1"
    form = {"credential": key.signed(told), "csrf": thief.token("/login")}
    answer = other.client.post("/login/passkey", data=form, headers=SITE)
    assert answer.status_code == FORBIDDEN and not other.is_in
    without = other.client.post("/login/passkey/ask", data={"csrf": "x"}, headers=SITE)
    assert without.status_code == FORBIDDEN and "open for too long" in without.json()["error"]
    page.later(seconds=GOOD_FOR_S)
    refused(other, key.signed(told), LATE)
    told, form_cookie = options(other), other.client.cookies["sipagent-form"]
    page.later(seconds=GOOD_FOR_S - 1)
    credential = key.signed(told)
    answer = log_in(other, credential, next="/recordings")
    assert (answer.status_code, answer.headers["location"]) == (SEE_OTHER, "/recordings")
    assert other.is_in and "Claire" in other.get("/account").text
    row = page.trace("login")[-1]
    assert (row.login, row.outcome, row.detail) == ("Claire", "done", "by a passkey, from 127.0.0.8")
    account = page.logins.accounts.meant("Claire")
    assert account.last_login_at == page.now
    assert page.logins.accounts.passkeys_of(account.id)[0].last_used_at == page.now
    thief.keep("sipagent-form", form_cookie)  # with all that the browser had
    refused(thief, credential, LATE)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        *NOT_HERE,
        ({"credential": b"another"}, UNKNOWN),
        ({"handle": b"another"}, NOT_RIGHT),
        ({"handle": b""}, NOT_RIGHT),
        ({"key": SoftKey().key}, NOT_RIGHT),
    ],
)
def test_what_is_not_for_this_page_or_of_another_lets_nobody_in(
    page: Page, browser: Browser, changed: dict[str, Any], reason: str
) -> None:
    key, other = added(browser), page.browser("127.0.0.8")
    refused(other, replace(key, **changed).signed(options(other)), reason)
    row, known = page.trace("login")[-1], reason != UNKNOWN
    assert (row.outcome, row.login, row.by) == ("refused", "Claire" if known else None, None)
    assert page.logins.accounts.meant("Claire").failures == int(known)


def test_the_passkey_of_another_person_is_that_persons(page: Page, browser: Browser, bob: Browser) -> None:
    """Whoever has one account is in that account, whatever else an answer says, and removes its own alone."""
    key, bobs, stolen = added(browser), added(bob), page.browser("127.1.0.2")
    refused(stolen, replace(bobs, credential=key.credential).signed(options(stolen)), NOT_RIGHT)
    refused(stolen, replace(bobs, handle=key.handle).signed(options(stolen)), NOT_RIGHT)
    assert log_in(stolen, bobs.signed(options(stolen))).status_code == SEE_OTHER
    assert "Bob" in stolen.get("/account").text
    (kept,) = page.logins.accounts.passkeys_of(1)
    assert said(remove(bob, kept.id)) == "the passkey was removed"
    assert page.logins.accounts.passkeys_of(1) == [kept]


def test_a_counter_that_went_back_is_said(page: Page, browser: Browser) -> None:
    key, other = added(browser, count=7), page.browser()
    for count in (7, 3, 0):
        refused(other, replace(key, count=count).signed(options(other)), BACK)
        assert "a passkey: its counter went back, from " in (page.trace("login")[-1].detail or "")
        page.later(minutes=1)
    assert log_in(other, replace(key, count=8).signed(options(other))).status_code == SEE_OTHER
    assert said(other.get("/account")) == "3 logins with your name were refused since your last one."
    assert page.logins.accounts.passkeys_of(1)[0].sign_count == 8


def test_who_tries_fast_waits_and_what_cannot_be_kept_is_refused(
    page: Page, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, other, stranger = added(browser), page.browser("127.0.0.8"), page.browser("127.0.0.9")
    for _ in range(3):
        refused(other, replace(key, key=SoftKey().key).signed(options(other)), NOT_RIGHT)
        refused(stranger, "{}", NOT_RIGHT)
    answer = log_in(other, key.signed(options(other)))
    assert answer.status_code == HTTPStatus.TOO_MANY_REQUESTS and answer.headers["retry-after"] == "2"
    assert log_in(stranger, "{}").status_code == HTTPStatus.TOO_MANY_REQUESTS
    page.later(seconds=GOOD_FOR_S)
    monkeypatch.setattr(sessions, "MOST_CHALLENGES", 1)
    assert log_in(other, key.signed(options(other))).status_code == SEE_OTHER
    third = page.browser()
    refused(third, key.signed(options(third)), LATE)
    page.later(seconds=GOOD_FOR_S)
    assert log_in(third, key.signed(options(third))).status_code == SEE_OTHER


def test_a_passkey_that_is_removed_lets_nobody_in(page: Page, browser: Browser) -> None:
    key, other = added(browser), page.browser("127.0.0.8")
    log_in(other, key.signed(options(other)))
    (kept,) = page.logins.accounts.passkeys_of(1)
    wrong = remove(browser, kept.id, "x")
    assert (wrong.status_code, said(wrong)) == (BAD, "the password is wrong")
    assert remove(browser, kept.id).status_code == SEE_OTHER
    assert said(browser.get("/account")) == "Changed. All other sessions have ended."
    assert not other.is_in
    refused(other, key.signed(options(other)), UNKNOWN)
    assert page.trace("account")[-1].detail == "a passkey is removed: telephone"
    again = remove(browser, kept.id)
    assert (again.status_code, said(again)) == (BAD, "the passkey was removed")


def test_an_address_without_a_name_has_none_and_says_why(tmp_path: Path) -> None:
    url = "https://ecoute.example.net"
    tls = f'[web]\nlisten = "127.0.0.1:8443"\nurl = "{url}"\ntrusted_proxies = ["192.0.2.1"]\n'
    with opened(tmp_path, tls) as page:
        party = page.logins.relying_party
        assert party is not None and (party.id, party.origin) == ("ecoute.example.net", url)
    for listen in ("127.0.0.1:8443", "[::1]:8443"):
        with opened(tmp_path, f'[web]\nlisten = "{listen}"\n') as page:
            browser = page.browser()
            assert "passkey" not in browser.get("/login").text
            answer = browser.post("/login/passkey/ask", {}, shown="/login")
            assert answer.status_code == HTTPStatus.NOT_FOUND and "has no name" in answer.json()["error"]
            assert log_in(browser, "{}").status_code == HTTPStatus.NOT_FOUND
            browser.log_in(page.enrolled(f"Claire {len(listen)}"))
            shown = browser.get("/account").text
            assert "a passkey belongs to a name" in shown and page.site.config.web.origin in shown
            assert "/account/passkeys" not in shown and "passkey.js" not in shown
            assert asked(browser).status_code == HTTPStatus.NOT_FOUND


_TEXT = st.one_of(st.text(max_size=200), st.binary(max_size=200).map(text_of))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
_KEYS = st.integers(-5, 5) | st.text(max_size=8)
_CBOR = st.recursive(
    st.none() | st.integers() | st.binary(max_size=40) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner),
    max_leaves=6,
).map(cbor2.dumps)
_HEAD = (
    *("authData", "authenticatorData", "clientDataJSON", "signature", "userHandle"),
    *("attestationObject", "transports"),
)
_PUBLIC = st.dictionaries(st.sampled_from([1, 3, -1, -2, -3]), _JSON, max_size=5).map(cbor2.dumps)
_FEW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@_FEW
@given(data=st.data())
def test_whatever_a_stranger_sends_is_refused(page: Page, browser: Browser, data: st.DataObject) -> None:
    key, other = SoftKey(), page.browser("127.0.0.8")
    told = data.draw(st.sampled_from((options(other), {"challenge": "AAAA"})))
    odd = st.dictionaries(st.sampled_from(_HEAD), _JSON | _TEXT | _CBOR.map(text_of), max_size=3)
    signed = st.just(key.signed(told, **data.draw(odd)))
    long = st.sampled_from(("[" * 15_000, json.dumps({"id": "a" * 20_000})))
    answer = log_in(other, data.draw(st.text(max_size=300) | _JSON.map(json.dumps) | signed | long))
    assert answer.status_code in (FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS), answer.text
    page.later(minutes=1)


@_FEW
@given(data=st.data())
def test_whatever_is_sent_in_a_passkeys_place_is_none(
    page: Page, browser: Browser, data: st.DataObject
) -> None:
    """By who knows the password, even."""
    key, csrf, party = SoftKey(), browser.token("/account"), page.logins.relying_party
    assert party is not None
    challenge = page.logins.challenges.new("add", csrf, [1, "x"])
    told = party.to_register(challenge, (page.logins.accounts.handle_of(1), "Claire"), [])
    attested = bytes(16) + b"\x00\x20" + key.credential + data.draw(_CBOR | _PUBLIC)
    odd = st.dictionaries(st.text(max_size=4), st.integers() | st.binary(max_size=9))
    parts = {
        "fmt": data.draw(st.sampled_from(["none", "packed", "tpm", "apple", "fido-u2f", "", 7, None])),
        "attStmt": data.draw(st.just({}) | odd),
        "authData": data.draw(st.just(key.data(0x45, attested)) | st.binary(max_size=80)),
    }
    whole = data.draw(st.just(cbor2.dumps(parts)) | st.binary(max_size=90) | _CBOR)
    form = {"csrf": csrf, "credential": key.made(told, attestationObject=text_of(whole))}
    answer = browser.client.post("/account/passkeys", data=form, headers=SITE)
    assert answer.status_code == BAD, answer.text
    assert page.logins.accounts.passkeys_of(1) == []
