"""Passkeys: added by who knows the password, a way in beside it, and what is refused of both."""

import json
from collections.abc import Iterator
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import cbor2
import httpx2 as httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retention.accounts.accounts import NewPasskey
from sipagent.web import sessions
from tests.web.authenticator import PRESENT, VERIFIED, SoftKey, bytes_of, text_of
from tests.web.logging_in import PASSWORD, SITE, Browser, Owner, Page, opened, said

WEB = '[web]\nlisten = "127.0.0.1:8443"\nurl = "http://localhost:8443"\n'
BAD, FORBIDDEN, OK, SEE_OTHER = (HTTPStatus[one] for one in ("BAD_REQUEST", "FORBIDDEN", "OK", "SEE_OTHER"))
NOT_RIGHT = "what the authenticator has sent is not right; accepted: once more"
UNKNOWN = "this passkey is not known here; it may have been removed; accepted: name, password, digits"
LATE = "this was begun too long ago, or in another browser, or was used; accepted: once more"
UNVERIFIED = "the authenticator has not asked who you are; accepted: one with a PIN, a finger or a face"
BACK = "the passkey's counter went back: somebody may have a copy of it; accepted: another one"


@pytest.fixture
def page(tmp_path: Path) -> Iterator[Page]:
    with opened(tmp_path, WEB) as page:
        yield page


@pytest.fixture
def claire(page: Page) -> Owner:
    return page.enrolled("Claire", "listener")


@pytest.fixture
def browser(page: Page, claire: Owner) -> Browser:
    return logged_in(page, claire)


def logged_in(page: Page, who: Owner, address: str = "127.0.0.7") -> Browser:
    browser = page.browser(address)
    assert browser.log_in(who).status_code == SEE_OTHER
    page.later(seconds=30)
    return browser


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


# --- adding one ---


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


def test_without_the_password_nothing_is_asked_of_an_authenticator(page: Page, browser: Browser) -> None:
    for _ in range(3):
        answer = asked(browser, password="x" * 12)
        assert (answer.status_code, answer.json()) == (BAD, {"error": "the password is wrong"})
    assert "too many refused attempts" in asked(browser).json()["error"]
    assert [row.outcome for row in page.trace("account")] == ["refused"] * 4


@pytest.mark.parametrize("name", ["", " \n", "x" * 65, "a\u202eb"])
def test_a_name_is_one_line(browser: Browser, name: str) -> None:
    answer = asked(browser, name)
    assert answer.status_code == BAD and "is not a name" in answer.json()["error"]


def test_a_name_is_of_one_passkey(browser: Browser) -> None:
    added(browser)
    assert asked(browser, "Telephone").json() == {"error": "'Telephone': there is a passkey of this name"}


def test_nobody_adds_what_somebody_has(page: Page, browser: Browser) -> None:
    key = added(browser)
    other = logged_in(page, page.enrolled("Bob"), "127.1.0.1")
    answer = send(other, key.made(asked(other).json()))
    assert (answer.status_code, said(answer)) == (BAD, "this passkey is there already")
    assert page.logins.accounts.passkeys_of(2) == []


def test_a_challenge_to_add_is_of_one_session_once_and_for_five_minutes(page: Page, browser: Browser) -> None:
    other = logged_in(page, page.enrolled("Bob"), "127.1.0.1")
    theirs = asked(other).json()
    first = asked(browser).json()
    assert send(browser, SoftKey().made(first)).status_code == SEE_OTHER
    late = asked(browser, "late").json()
    to_log_in = options(page.browser())
    page.later(seconds=sessions.CHALLENGE_GOOD_FOR_S)
    for one in (
        first,
        theirs,
        late,
        late | {"challenge": to_log_in["challenge"]},
        late | {"challenge": "AAAA"},
    ):
        answer = send(browser, SoftKey().made(one))
        assert (answer.status_code, said(answer)) == (BAD, LATE)
    assert len(page.logins.accounts.passkeys_of(1)) == 1
    kept = [row.detail for row in page.trace("account") if row.outcome == "refused"]
    assert kept == ["a new passkey: late, of another session, or used"] * 5


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"origin": "http://evil.localhost:8443"}, NOT_RIGHT),
        ({"origin": "http://localhost"}, NOT_RIGHT),
        ({"rp_id": "evil.example"}, NOT_RIGHT),
        ({"flags": PRESENT}, UNVERIFIED),
        ({"flags": VERIFIED}, NOT_RIGHT),
        ({"credential": b""}, NOT_RIGHT),
        ({"credential": b"x" * 1024}, NOT_RIGHT),
    ],
)
def test_what_is_not_for_this_page_or_proves_nobody_is_not_added(
    page: Page, browser: Browser, changed: dict[str, Any], reason: str
) -> None:
    answer = send(browser, SoftKey(**changed).made(asked(browser).json()))
    assert (answer.status_code, said(answer)) == (BAD, reason)
    assert page.logins.accounts.passkeys_of(1) == []


def test_what_a_maker_says_of_it_is_not_wanted(page: Page, browser: Browser) -> None:
    key, told = SoftKey(), asked(browser).json()
    plain = cbor2.loads(bytes_of_response(key.made(told), "attestationObject"))
    for fmt, statement in (
        ("packed", {"alg": -7, "sig": b"x", "x5c": [b"x"]}),
        ("tpm", {}),
        ("none", {"sig": b"x"}),
    ):
        told = asked(browser).json()
        forged = cbor2.dumps({"fmt": fmt, "attStmt": statement, "authData": plain["authData"]})
        assert said(send(browser, key.made(told, attestationObject=text_of(forged)))) == NOT_RIGHT
    assert page.logins.accounts.passkeys_of(1) == []


def bytes_of_response(credential: str, name: str) -> bytes:
    return bytes_of(json.loads(credential)["response"][name])


def test_another_frame_adds_nothing(browser: Browser) -> None:
    key, told = SoftKey(), asked(browser).json()
    within = key.client_data("webauthn.create", told["challenge"], crossOrigin=True)
    assert said(send(browser, key.made(told, clientDataJSON=text_of(within)))) == NOT_RIGHT


def test_twenty_are_enough(page: Page, browser: Browser) -> None:
    made = NewPasskey(credential=b"", public_key=b"x", sign_count=0, transports=())
    for number in range(20):
        page.logins.accounts.add_passkey(1, f"key {number}", replace(made, credential=bytes([number])))
    assert "there are 20 passkeys already" in asked(browser).json()["error"]


# --- logging in ---


def test_a_passkey_lets_in_without_a_name(page: Page, browser: Browser) -> None:
    key = added(browser)
    other = page.browser("127.0.0.8")
    told = options(other)
    assert (told["rpId"], told["userVerification"], told["allowCredentials"]) == ("localhost", "required", [])
    answer = log_in(other, key.signed(told), next="/recordings")
    assert (answer.status_code, answer.headers["location"]) == (SEE_OTHER, "/recordings")
    assert other.is_in and "Claire" in other.get("/account").text
    row = page.trace("login")[-1]
    assert (row.login, row.outcome, row.detail) == ("Claire", "done", "by a passkey, from 127.0.0.8")
    account = page.logins.accounts.meant("Claire")
    assert account.last_login_at == page.now
    assert page.logins.accounts.passkeys_of(account.id)[0].last_used_at == page.now


def test_an_answer_lets_in_once(page: Page, browser: Browser) -> None:
    key = added(browser)
    other = page.browser()
    told = options(other)
    credential, form = key.signed(told), other.client.cookies["sipagent-form"]
    assert log_in(other, credential).status_code == SEE_OTHER
    thief = page.browser("127.1.0.1")
    thief.keep("sipagent-form", form)  # with all that the browser had
    refused(thief, credential, LATE)
    refused(thief, key.signed(told), LATE)


def test_an_answer_is_of_one_browser(page: Page, browser: Browser) -> None:
    key = added(browser)
    victim = page.browser()
    refused(page.browser("127.1.0.1"), key.signed(options(victim)), LATE)
    assert page.trace("login")[-1].detail == "a passkey: late, of another browser, or used, from 127.1.0.1"
    assert log_in(victim, key.signed(options(victim))).status_code == SEE_OTHER


def test_an_answer_is_good_for_five_minutes(page: Page, browser: Browser) -> None:
    key, other = added(browser), page.browser()
    told = options(other)
    page.later(seconds=sessions.CHALLENGE_GOOD_FOR_S)
    refused(other, key.signed(told), LATE)
    told = options(other)
    page.later(seconds=sessions.CHALLENGE_GOOD_FOR_S - 1)
    assert log_in(other, key.signed(told)).status_code == SEE_OTHER


def test_a_form_of_another_browser_is_not_read(page: Page, browser: Browser) -> None:
    key, other, theirs = added(browser), page.browser(), page.browser("127.1.0.1")
    form = {"credential": key.signed(options(other)), "csrf": theirs.token("/login")}
    answer = other.client.post("/login/passkey", data=form, headers=SITE)
    assert answer.status_code == FORBIDDEN and not other.is_in
    asked_without = other.client.post("/login/passkey/ask", data={"csrf": "x"}, headers=SITE)
    assert asked_without.status_code == FORBIDDEN and "open for too long" in asked_without.json()["error"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"origin": "http://localhost.evil.example:8443"}, NOT_RIGHT),
        ({"origin": "https://localhost:8443"}, NOT_RIGHT),
        ({"rp_id": "evil.example"}, NOT_RIGHT),
        ({"flags": PRESENT}, UNVERIFIED),
        ({"flags": VERIFIED}, NOT_RIGHT),
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
    row = page.trace("login")[-1]
    known = reason != UNKNOWN
    assert (row.outcome, row.login, row.by) == ("refused", "Claire" if known else None, None)
    assert page.logins.accounts.meant("Claire").failures == int(known)


def test_the_passkey_of_another_person_is_that_persons(page: Page, browser: Browser) -> None:
    """Whoever has one account is in that account, whatever else an answer says."""
    key = added(browser)
    bob = logged_in(page, page.enrolled("Bob"), "127.1.0.1")
    bobs = added(bob)
    stolen = page.browser("127.1.0.2")
    refused(stolen, replace(bobs, credential=key.credential).signed(options(stolen)), NOT_RIGHT)
    refused(stolen, replace(bobs, handle=key.handle).signed(options(stolen)), NOT_RIGHT)
    assert log_in(stolen, bobs.signed(options(stolen))).status_code == SEE_OTHER
    assert "Bob" in stolen.get("/account").text


def test_a_counter_that_went_back_is_said(page: Page, browser: Browser) -> None:
    key, other = added(browser, count=7), page.browser()
    for count in (7, 3, 0):
        refused(other, replace(key, count=count).signed(options(other)), BACK)
        assert "a passkey: its counter went back, from " in (page.trace("login")[-1].detail or "")
        page.later(minutes=1)
    assert log_in(other, replace(key, count=8).signed(options(other))).status_code == SEE_OTHER
    assert said(other.get("/account")) == "3 logins with your name were refused since your last one."
    assert page.logins.accounts.passkeys_of(1)[0].sign_count == 8


def test_who_tries_fast_waits(page: Page, browser: Browser) -> None:
    key, other = added(browser), page.browser("127.0.0.8")
    for _ in range(3):
        refused(other, replace(key, key=SoftKey().key).signed(options(other)), NOT_RIGHT)
    answer = log_in(other, key.signed(options(other)))
    assert answer.status_code == HTTPStatus.TOO_MANY_REQUESTS and answer.headers["retry-after"] == "2"
    stranger = page.browser("127.0.0.9")
    for _ in range(3):
        refused(stranger, "{}", NOT_RIGHT)
    assert log_in(stranger, "{}").status_code == HTTPStatus.TOO_MANY_REQUESTS


def test_more_answers_than_can_be_kept_are_refused(
    page: Page, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "MOST_CHALLENGES", 2)
    key, other = added(browser), page.browser()
    assert log_in(other, key.signed(options(other))).status_code == SEE_OTHER
    third = page.browser()
    refused(third, key.signed(options(third)), LATE)
    page.later(seconds=sessions.CHALLENGE_GOOD_FOR_S)
    assert log_in(third, key.signed(options(third))).status_code == SEE_OTHER


# --- removing ---


def test_a_passkey_that_is_removed_lets_nobody_in(page: Page, browser: Browser) -> None:
    key, other = added(browser), page.browser("127.0.0.8")
    log_in(other, key.signed(options(other)))
    (kept,) = page.logins.accounts.passkeys_of(1)
    wrong = browser.post(
        "/account/passkeys/remove", {"passkey": str(kept.id), "password": "x"}, shown="/account"
    )
    assert (wrong.status_code, said(wrong)) == (BAD, "the password is wrong")
    form = {"passkey": str(kept.id), "password": PASSWORD}
    assert browser.post("/account/passkeys/remove", form, shown="/account").status_code == SEE_OTHER
    assert said(browser.get("/account")) == "Changed. All other sessions have ended."
    assert not other.is_in
    refused(other, key.signed(options(other)), UNKNOWN)
    assert page.trace("account")[-1].detail == "a passkey is removed: telephone"
    again = browser.post("/account/passkeys/remove", form, shown="/account")
    assert (again.status_code, said(again)) == (BAD, "the passkey was removed")


def test_nobody_removes_what_is_anothers(page: Page, browser: Browser) -> None:
    added(browser)
    bob = logged_in(page, page.enrolled("Bob"), "127.1.0.1")
    form = {"passkey": str(page.logins.accounts.passkeys_of(1)[0].id), "password": PASSWORD}
    assert said(bob.post("/account/passkeys/remove", form, shown="/account")) == "the passkey was removed"
    assert len(page.logins.accounts.passkeys_of(1)) == 1


@pytest.mark.parametrize("way", ["reset", "remove"])
def test_with_a_reset_or_a_removal_go_its_passkeys(page: Page, browser: Browser, way: str) -> None:
    key, other, accounts = added(browser), page.browser("127.0.0.8"), page.logins.accounts
    getattr(accounts, way)(1)
    assert accounts.passkeys_of(1) == [] and accounts.passkey(key.credential) is None
    refused(other, key.signed(options(other)), UNKNOWN)


# --- where there are none ---


@pytest.mark.parametrize("web", ['[web]\nlisten = "127.0.0.1:8443"\n', '[web]\nlisten = "[::1]:8443"\n'])
def test_an_address_without_a_name_has_none_and_says_why(tmp_path: Path, web: str) -> None:
    with opened(tmp_path, web) as page:
        browser = page.browser()
        assert "passkey" not in browser.get("/login").text
        answer = browser.post("/login/passkey/ask", {}, shown="/login")
        assert answer.status_code == HTTPStatus.NOT_FOUND and "has no name" in answer.json()["error"]
        assert log_in(browser, "{}").status_code == HTTPStatus.NOT_FOUND
        browser.log_in(page.enrolled())
        shown = browser.get("/account").text
        assert "a passkey belongs to a name" in shown and page.site.config.web.origin in shown
        assert "/account/passkeys" not in shown and "passkey.js" not in shown
        assert asked(browser).status_code == HTTPStatus.NOT_FOUND


def test_by_https_they_belong_to_the_name(tmp_path: Path) -> None:
    tls = 'listen = "127.0.0.1:8443"\nurl = "https://ecoute.example.net"\ntrusted_proxies = ["192.0.2.1"]\n'
    with opened(tmp_path, f"[web]\n{tls}") as page:
        party = page.logins.relying_party
        assert party is not None and (party.id, party.origin) == (
            "ecoute.example.net",
            "https://ecoute.example.net",
        )


# --- what strangers send ---

_TEXT = st.one_of(st.text(max_size=200), st.binary(max_size=200).map(text_of))
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
_CBOR = st.recursive(
    st.none() | st.integers() | st.binary(max_size=40) | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.integers(-5, 5) | st.text(max_size=8), inner)
    ),
    max_leaves=6,
).map(cbor2.dumps)
_HEAD = (
    "authData",
    "authenticatorData",
    "clientDataJSON",
    "signature",
    "userHandle",
    "attestationObject",
    "transports",
)
_PUBLIC = st.dictionaries(st.sampled_from([1, 3, -1, -2, -3]), _JSON, max_size=5).map(cbor2.dumps)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_whatever_a_stranger_sends_is_refused(page: Page, browser: Browser, data: st.DataObject) -> None:
    key, other = SoftKey(), page.browser("127.0.0.8")
    told = data.draw(st.sampled_from((options(other), {"challenge": "AAAA"})))
    changed = data.draw(
        st.dictionaries(st.sampled_from(_HEAD), _JSON | _TEXT | _CBOR.map(text_of), max_size=3)
    )
    sent = data.draw(
        st.one_of(
            st.text(max_size=300),
            _JSON.map(json.dumps),
            st.just(key.signed(told, **changed)),
            st.just("[" * 15_000),
            st.just(json.dumps({"id": "a" * 20_000})),
        )
    )
    answer = log_in(other, sent)
    assert answer.status_code in (FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS), answer.text
    page.later(minutes=1)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_whatever_is_sent_in_a_passkeys_place_is_none(
    page: Page, browser: Browser, data: st.DataObject
) -> None:
    """By who knows the password, even."""
    user = page.logins.accounts.handle_of(1), "Claire"
    csrf = browser.token("/account")
    party = page.logins.relying_party
    assert party is not None
    told = party.to_register(page.logins.challenges.new("add", csrf, [1, "x"]), user, [])
    key = SoftKey()
    public = data.draw(_CBOR | _PUBLIC)
    attested = bytes(16) + b"\x00\x20" + key.credential + public
    auth_data = data.draw(st.just(key.data(0x45, attested)) | st.binary(max_size=80))
    statement = data.draw(
        st.just({}) | st.dictionaries(st.text(max_size=4), st.integers() | st.binary(max_size=9))
    )
    fmt = data.draw(st.sampled_from(["none", "packed", "tpm", "apple", "fido-u2f", "", 7, None]))
    forged = cbor2.dumps({"fmt": fmt, "attStmt": statement, "authData": auth_data})
    whole = data.draw(st.just(forged) | st.binary(max_size=90) | _CBOR)
    form = {"csrf": csrf, "credential": key.made(told, attestationObject=text_of(whole))}
    answer = browser.client.post("/account/passkeys", data=form, headers=SITE)
    assert answer.status_code == BAD, answer.text
    assert page.logins.accounts.passkeys_of(1) == []
