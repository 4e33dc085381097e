"""Accounts, tokens and passkeys in both databases, and what is kept of passwords, digits and codes."""

import inspect
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyotp
import pytest
import sqlite_utils
from nacl.pwhash import argon2id

from retention.accounts import credentials
from retention.accounts.accounts import Accounts, CountedBack, NewPasskey, Passkey
from retention.accounts.credentials import (
    NOBODYS,
    Account,
    AccountError,
    code_hash,
    fits,
    folded,
    hashed,
    new_code,
    new_token,
    new_totp,
    step_of,
    tidy,
    token_hash,
    why_not,
)
from retention.accounts.file import FileAccounts
from retention.rows.rows import StoreError
from retention.vault import Identity
from tests.both import BOTH
from tests.both import accounts as opened

DATABASES = BOTH
PASSWORD = "a long walk by the sea"
BEGAN = datetime(2026, 11, 27, 20, 0, 0, tzinfo=UTC)
KEY = Identity(bytes([1]) * 32, "Ann").public
MADE = NewPasskey(credential=b"credential", public_key=b"key", sign_count=5, transports=("usb", "nfc"))


class Clock:
    """One that a test sets."""

    def __init__(self) -> None:
        self.now = BEGAN

    def __call__(self) -> datetime:
        return self.now

    def later(self, **time: float) -> None:
        self.now += timedelta(**time)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def accounts(tmp_path: Path, clock: Clock) -> Iterator[Accounts]:
    with opened(tmp_path / "accounts.db", clock) as accounts:
        yield accounts


@pytest.fixture
def passkey(accounts: Accounts) -> Passkey:
    return accounts.add_passkey(accounts.add("Ann", ["listener"])[0].id, "usb key", MADE)


def enrolled(accounts: Accounts, clock: Clock, name: str = "Ann") -> tuple[Account, pyotp.TOTP]:
    """An account with PASSWORD; its authenticator is a step behind, so that digits of now are new."""
    _, code = accounts.add(name, ["listener"])
    totp = pyotp.TOTP(new_totp())
    account = accounts.enrol(code, PASSWORD, totp.secret, totp.at(clock.now))
    clock.later(seconds=30)
    return account, totp


def refused(said: str, act: Callable[..., object], *values: object) -> None:
    with pytest.raises(AccountError) as error:
        act(*values)
    assert said in str(error.value)


def together(act: Callable[[int], object], count: int = 4) -> list[object]:
    """What each of several threads gives, all begun at once."""
    gate = threading.Barrier(count)

    def run(number: int) -> object:
        gate.wait()
        return act(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(run, range(count)))


@pytest.mark.in_sqlite
def test_the_file_is_private_opens_again_and_shows_no_secret(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "accounts.db"
    totp = pyotp.TOTP(new_totp())
    with FileAccounts(path, clock) as file:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        account, code = file.add("Ann", ["listener"])
        _, token = file.add_token("Robot", ["listener"])
        file.enrol(code, PASSWORD, totp.secret, totp.at(clock.now))
        assert not [one for one in (code, token, PASSWORD) if one.encode() in path.read_bytes()]
        file.remove(account.id)
        assert totp.secret.encode() not in path.read_bytes()  # secure_delete
    with FileAccounts(path) as again:
        assert [one.name for one in again.tokens()] == ["Robot"]


@pytest.mark.in_sqlite
def test_one_of_a_newer_version_or_none_at_all_is_refused(tmp_path: Path) -> None:
    FileAccounts(tmp_path / "accounts.db").close()
    db = sqlite_utils.Database(tmp_path / "accounts.db")
    db["_sqlite_migrations"].insert(  # type: ignore[union-attr]
        {"migration_set": "sipagent-accounts", "name": "0099_later", "applied_at": "2030-01-01"}
    )
    (tmp_path / "text.db").write_text("not a database at all, but longer than its header is " * 20)
    for path, said in (
        ("accounts.db", "written by a newer sipagent"),
        ("text.db", r"text\.db: file is not a database"),
        ("nowhere/accounts.db", "No such file"),
    ):
        with pytest.raises(StoreError, match=said):
            FileAccounts(tmp_path / path)


def test_what_is_changed_is_undone_as_a_whole(accounts: Accounts) -> None:
    with pytest.raises(KeyError), accounts.write():
        accounts.add("Ann", ["listener"])
        raise KeyError
    assert accounts.all() == [] and not accounts.are_there()


def test_a_new_account_has_roles_a_key_and_a_code(accounts: Accounts) -> None:
    made, code = accounts.add("  M.  Durand ", ["listener", "officer", "listener"], KEY)
    assert made.to_json() == {
        "name": "M. Durand",
        "roles": ["listener", "officer"],
        "enrolled": False,
        "code_until": "2026-11-30T20:00:00.000Z",
        "key": KEY.id,
        "language": None,
        "created_at": "2026-11-27T20:00:00.000Z",
        "last_login_at": None,
        "failures": 0,
        "passkeys": 0,
    }
    assert [accounts.by_id(made.id), accounts.of_code(code)] == [made] * 2 and accounts.all() == [made]
    assert made.key is not None and made.key.comment == "Ann"
    accounts.set_roles(made.id, ["officer"])
    accounts.set_key(made.id, None)
    accounts.set_language(made.id, "fr")
    there = accounts.meant("m. durand")
    assert (there.roles, there.key, there.language) == (("officer",), None, "fr")


@pytest.mark.parametrize("same", ["ann", " Ann ", "\uff21nn"])
def test_a_name_is_given_once(accounts: Accounts, same: str) -> None:
    accounts.add("Ann", ["listener"])
    for add in (accounts.add, accounts.add_token):
        refused("there is an account of this name", add, same, ["listener"])
    assert accounts.meant(same).name == "Ann"
    accounts.add_token("Robot", ["listener"])
    refused("'robot': there is a token of this name", accounts.add, "robot", ["listener"])
    accounts.revoke("ROBOT")
    accounts.add("robot", ["listener"])


@pytest.mark.parametrize("name", ["", "  ", "a\x00b", "a\u202eb", "a\u200bb", "x" * 65])
def test_what_is_no_name(accounts: Accounts, name: str) -> None:
    refused("is not a name; accepted: one line of 1 to 64 characters", tidy, name)
    assert accounts.named(name) is None
    assert folded("STRASSE") == folded("stra\u00dfe") and folded("e\u0301a") == folded("\u00c9A")
    assert tidy("e\u0301 \t a") == "\u00e9 a"


def test_nobody_is_without_a_role(accounts: Accounts) -> None:
    account, _ = accounts.add("Ann", ["listener"])
    for act, who in ((accounts.add, "Bob"), (accounts.add_token, "Robot"), (accounts.set_roles, account.id)):
        refused("no role: it could do nothing", act, who, [])


def test_who_was_removed_never_comes_back_as_another(accounts: Accounts) -> None:
    account, code = accounts.add("Ann", ["listener"])
    accounts.remove(account.id)
    assert accounts.named("Ann") is None and accounts.of_code(code) is None
    refused("'Ann': no such account", accounts.meant, "Ann")
    assert accounts.add("Ann", ["listener"])[0].id != account.id
    for gone in (accounts.remove, accounts.reset):
        refused("the account was removed", gone, account.id)


def test_the_first_account_comes_first_alone(accounts: Accounts, clock: Clock) -> None:
    totp = pyotp.TOTP(new_totp())
    first = ["administrator"], PASSWORD, totp.secret
    refused("the authenticator shows other digits now", accounts.add_first, "Ann", *first, "000000x")
    account = accounts.add_first("Ann", *first, totp.at(clock.now))
    assert account.enrolled and account.roles == ("administrator",) and account.code_until is None
    refused("there is an account already", accounts.add_first, "Bob", *first, totp.at(clock.now))
    clock.later(seconds=30)
    assert accounts.check("ann", PASSWORD, totp.at(clock.now))


def test_a_code_gives_a_password_once_and_a_mistake_leaves_it_good(accounts: Accounts, clock: Clock) -> None:
    _, code = accounts.add("Ann", ["listener"])
    totp = pyotp.TOTP(new_totp())
    digits = totp.at(clock.now)
    refused("12 to 256 characters", accounts.enrol, code, "short", totp.secret, digits)
    refused("other digits", accounts.enrol, code, PASSWORD, totp.secret, "12345")
    assert not accounts.meant("Ann").enrolled
    assert accounts.enrol(code.lower(), PASSWORD, totp.secret, digits).enrolled
    refused("the code is not good, or no longer", accounts.enrol, code, PASSWORD, totp.secret, digits)
    assert accounts.meant("Ann").code_until is None
    assert accounts.check("Ann", PASSWORD, digits) is None  # they were used to enrol


def test_a_code_ends_after_three_days_or_by_another(accounts: Accounts, clock: Clock) -> None:
    account, code = accounts.add("Ann", ["listener"])
    clock.later(days=3, seconds=-1)
    assert accounts.of_code(code)
    clock.later(seconds=1)
    assert accounts.of_code(code) is None
    _, second = accounts.reset(account.id)
    _, third = accounts.reset(account.id)
    assert accounts.of_code(second) is None and accounts.of_code(third)


def test_of_many_who_use_a_code_at_once_one_comes_in(
    accounts: Accounts, clock: Clock, tmp_path: Path
) -> None:
    """Each over a connection of its own, as another process has."""
    _, code = accounts.add("Ann", ["listener"])
    totp = pyotp.TOTP(new_totp())

    def use(number: int) -> str:
        with opened(tmp_path / "accounts.db", clock) as own:
            try:
                own.enrol(code, f"{PASSWORD} {number}", totp.secret, totp.at(clock.now))
            except AccountError as error:
                return str(error)
            return f"{PASSWORD} {number}"

    outcomes = together(use)
    (password,) = [str(one) for one in outcomes if str(one).startswith(PASSWORD)]
    assert outcomes.count("the code is not good, or no longer") == 3
    clock.later(seconds=30)
    assert accounts.check("Ann", password, totp.at(clock.now))


def test_a_reset_takes_password_and_authenticator_away(accounts: Accounts, clock: Clock) -> None:
    account, totp = enrolled(accounts, clock)
    reset, code = accounts.reset(account.id)
    assert not reset.enrolled and reset.epoch > account.epoch and reset.code_until
    assert accounts.check("Ann", PASSWORD, totp.at(clock.now)) is None
    other = pyotp.TOTP(new_totp())
    accounts.enrol(code, PASSWORD + "!", other.secret, other.at(clock.now))
    clock.later(seconds=30)
    assert accounts.check("Ann", PASSWORD + "!", other.at(clock.now))


def test_who_can_log_in_has_something_to_do_it_with(
    accounts: Accounts, clock: Clock, passkey: Passkey
) -> None:
    """Not one who has only a code."""
    accounts.add("Waiting", ["listener"])
    able = {passkey.account, enrolled(accounts, clock, "Bob")[0].id}
    able.add(accounts.vouched_for("https://id.example x", "Claire", ["listener"]).id)
    assert accounts.who_can_log_in() == able
    accounts.reset(passkey.account)
    assert accounts.who_can_log_in() == able - {passkey.account}


def test_all_three_must_fit(accounts: Accounts, clock: Clock) -> None:
    account, totp = enrolled(accounts, clock)
    digits = totp.at(clock.now)
    for name, password, shown in (
        ("Ann", PASSWORD + "x", digits),
        ("Ann", PASSWORD, "000000" if digits != "000000" else "000001"),
        ("Bob", PASSWORD, digits),
        ("Ann", "", ""),
        ("", "", ""),
        ("\ud800", "\ud800", "\ud800"),
    ):
        assert accounts.check(name, password, shown) is None
    let_in = accounts.check("ANN", PASSWORD, digits)
    assert let_in is not None and let_in.id == account.id
    assert let_in.failures == 3 and let_in.last_login_at == clock.now
    assert accounts.meant("Ann").failures == 0
    accounts.add("Bea", ["listener"])  # without a password
    assert accounts.check("Bea", "", "") is None and accounts.meant("Bea").failures == 1
    assert not accounts.knows_password(accounts.meant("Bea").id, "")


def test_digits_are_good_once_and_never_backwards(accounts: Accounts, clock: Clock, tmp_path: Path) -> None:
    _, totp = enrolled(accounts, clock)
    ahead = totp.at(clock.now + timedelta(seconds=30))
    assert accounts.check("Ann", PASSWORD, ahead)
    assert accounts.check("Ann", PASSWORD, ahead) is None
    assert accounts.check("Ann", PASSWORD, totp.at(clock.now)) is None  # seen over a shoulder, not yet used
    clock.later(seconds=60)
    digits = totp.at(clock.now)

    def log_in(number: int) -> bool:
        with opened(tmp_path / "accounts.db", clock) as own:
            return own.check("Ann", PASSWORD, digits) is not None

    assert together(log_in).count(True) == 1


def test_an_unknown_name_takes_as_long_as_a_known_one(
    accounts: Accounts, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what takes the time, for a busy machine falsifies clocks: one hash each, of the same costs."""
    enrolled(accounts, clock)
    accounts.add("Bea", ["listener"])
    costs: list[bytes] = []
    verify = argon2id.verify

    def counted(kept: bytes, typed: bytes) -> bool:
        costs.append(kept.rsplit(b"$", 2)[0])
        return bool(verify(kept, typed))

    monkeypatch.setattr(argon2id, "verify", counted)
    for name in ("Ann", "Bea", "Nobody"):
        assert accounts.check(name, PASSWORD + "x", "123456") is None
    assert costs == [hashed("x").rsplit("$", 2)[0].encode()] * 3


def test_who_changes_password_or_authenticator_ends_all_sessions(accounts: Accounts, clock: Clock) -> None:
    account, totp = enrolled(accounts, clock)
    assert accounts.set_password(account.id, "another long password").epoch == account.epoch + 1
    refused("12 to 256", accounts.set_password, account.id, "short")
    other = pyotp.TOTP(new_totp())
    refused("other digits", accounts.set_totp, account.id, other.secret, "1")
    assert accounts.set_totp(account.id, other.secret, other.at(clock.now)).epoch == account.epoch + 2
    clock.later(seconds=30)
    assert accounts.check("Ann", "another long password", totp.at(clock.now)) is None
    assert accounts.check("Ann", "another long password", other.at(clock.now))


def test_who_is_vouched_for_is_known_by_the_subject(accounts: Accounts, clock: Clock) -> None:
    made = accounts.vouched_for("https://id 1", "Ann", ["listener"])
    assert (made.name, made.roles, made.last_login_at) == ("Ann", ("listener",), clock.now)
    later = accounts.vouched_for("https://id 1", "Ann Lee", ["officer"])
    assert (later.id, later.name, later.roles) == (made.id, "Ann", ("officer",))
    enrolled(accounts, clock, "Bob")
    for name in ("ANN", "Bob"):
        refused("of this name", accounts.vouched_for, "https://id 2", name, ["listener"])
    prepared, _ = accounts.add("Eve", ["administrator"], KEY)
    taken = accounts.vouched_for("https://id 4", "eve", ["listener"])
    assert (taken.id, taken.key, taken.roles) == (prepared.id, KEY, ("listener",))


def test_a_token_is_shown_once_and_good_until_its_end(accounts: Accounts, clock: Clock) -> None:
    made, shown = accounts.add_token("Robot", ["officer"], BEGAN + timedelta(days=1), KEY)
    assert made.to_json() == {
        "name": "Robot",
        "roles": ["officer"],
        "key": KEY.id,
        "created_at": "2026-11-27T20:00:00.000Z",
        "until": "2026-11-28T20:00:00.000Z",
        "last_used_at": None,
        "revoked_at": None,
    }
    assert accounts.token(shown) == made and accounts.token(shown + "x") is None
    for later, noted in ((59, BEGAN), (1, BEGAN + timedelta(minutes=1))):  # not each time
        clock.later(seconds=later)
        assert accounts.token(shown) and accounts.tokens()[0].last_used_at == noted
    clock.later(days=1)
    assert accounts.token(shown) is None
    refused("a token has to end in the future", accounts.add_token, "Other", ["listener"], BEGAN)


def test_a_token_is_revoked_and_stays_in_the_list(accounts: Accounts, clock: Clock) -> None:
    _, shown = accounts.add_token("Robot", ["officer"])
    accounts.revoke("robot")
    refused("'robot': no such token", accounts.revoke, "robot")
    _, other = accounts.add_token("Robot", ["listener"])
    assert accounts.token(other) and accounts.token(shown) is None
    assert [one.revoked_at for one in accounts.tokens()] == [clock.now, None]


def test_a_passkey_is_kept_as_it_was_made(accounts: Accounts, passkey: Passkey) -> None:
    assert accounts.passkeys_of(passkey.account) == [passkey] == [accounts.passkey(b"credential")]
    assert {name: getattr(passkey, name) for name in ("credential", "public_key", "sign_count")} == {
        "credential": b"credential",
        "public_key": b"key",
        "sign_count": 5,
    }
    assert (passkey.name, passkey.transports, passkey.created_at) == ("usb key", ("usb", "nfc"), BEGAN)
    assert passkey.last_used_at is None and accounts.passkey(b"another") is None
    assert accounts.meant("Ann").to_json()["passkeys"] == 1
    refused("the account was removed", accounts.add_passkey, 7, "usb key", MADE)
    handles = {accounts.handle_of(id) for id in (passkey.account, accounts.add("Bob", ["listener"])[0].id)}
    assert len(handles) == 2 and {len(one) for one in handles} == {32}


def test_its_counter_goes_forward_alone(accounts: Accounts, passkey: Passkey) -> None:
    accounts.count_refused(passkey.account)
    let_in = accounts.let_in(passkey, 6)
    assert (let_in.name, let_in.failures) == ("Ann", 1)
    ann = accounts.meant("Ann")
    assert (ann.failures, ann.last_login_at) == (0, BEGAN)
    for count in (6, 5, 0):
        refused("went back", accounts.let_in, passkey, count)
    used = accounts.passkey(b"credential")
    assert used is not None and (used.sign_count, used.last_used_at) == (6, BEGAN)
    other = replace(MADE, credential=b"other", sign_count=0)
    plain = accounts.add_passkey(passkey.account, "telephone", other)
    for count in (0, 0, 1):  # it does not count, until it does
        assert accounts.let_in(plain, count)
    refused("went back", accounts.let_in, plain, 0)


def test_of_two_who_show_one_counter_at_once_one_comes_in(accounts: Accounts, passkey: Passkey) -> None:
    def log_in(number: int) -> bool:
        try:
            return bool(accounts.let_in(passkey, 6))
        except CountedBack:
            return False

    assert together(log_in, 8).count(True) == 1


def test_one_that_is_removed_signs_in_vain_and_all_sessions_end(accounts: Accounts, passkey: Passkey) -> None:
    epoch = accounts.meant("Ann").epoch
    bob, _ = accounts.add("Bob", ["listener"])
    refused("the passkey was removed", accounts.remove_passkey, bob.id, passkey.id)
    assert accounts.remove_passkey(passkey.account, passkey.id) == passkey
    assert accounts.meant("Ann").epoch == epoch + 1
    refused("the passkey was removed", accounts.let_in, passkey, 6)
    assert accounts.add_passkey(bob.id, "mine now", MADE).id != passkey.id


@pytest.mark.parametrize("way", ["reset", "remove"])
def test_it_goes_with_its_account_or_a_reset(accounts: Accounts, passkey: Passkey, way: str) -> None:
    getattr(accounts, way)(passkey.account)
    assert accounts.passkey(b"credential") is None and accounts.passkeys_of(passkey.account) == []


def test_a_password_is_hashed_by_argon2id_with_a_salt() -> None:
    kept = hashed(PASSWORD)
    assert kept.startswith("$argon2id$v=19$m=32768,t=4,p=1$") and PASSWORD not in kept
    assert hashed(PASSWORD) != kept
    assert fits(PASSWORD, kept) and not fits(PASSWORD + " ", kept) and not fits("", kept)
    assert not fits("\ud800 half of a pair", kept)
    assert fits("de\u0301jeuner sur l\u2019herbe", hashed("d\u00e9jeuner sur l\u2019herbe"))
    assert not fits(PASSWORD, None) and not fits("", None)
    assert [len(part) for part in NOBODYS.split("$")] == [len(part) for part in kept.split("$")]
    assert NOBODYS.rsplit("$", 2)[0] == kept.rsplit("$", 2)[0]  # so that it takes as long


COMMON = "the password is one of those that are tried first"
LENGTH = "the password has to have 12 to 256 characters"
NAME = "the password is the name, or hardly more"


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        *((one, None) for one in (PASSWORD, "correcthorse", "marie durand aime la mer")),
        *((one, COMMON) for one in ("123456789 012", "abababababab", "MotDePasse123")),
        *((one, LENGTH) for one in ("short", "a1b2c3d4e5f", "ab" * 129)),
        *((one, NAME) for one in ("Marie Durand", "mariedurand2026", "marie.durandmariedurand")),
    ],
)
def test_which_passwords_will_do(password: str, reason: str | None) -> None:
    assert why_not(password, "Marie Durand") == reason


def test_digits_of_now_and_of_the_steps_beside_it() -> None:
    secret, now = new_totp(), BEGAN + timedelta(seconds=10)
    totp = pyotp.TOTP(secret)
    assert len(secret) == 32 and new_totp() != secret
    present = int(now.timestamp()) // 30
    for away, step in ((0, present), (-30, present - 1), (30, present + 1), (-60, None), (60, None)):
        assert step_of(totp.at(now + timedelta(seconds=away)), secret, now) == step
    spaced = totp.at(now)
    assert step_of(f" {spaced[:3]} {spaced[3:]} ", secret, now) == present
    assert step_of("", secret, now) is None and step_of("12345é", secret, now) is None


def test_codes_and_tokens_are_random_and_kept_as_hashes() -> None:
    code, token = new_code(), new_token()
    assert len(code) == 23 and code.count("-") == 3 and new_code() != code
    assert code_hash(code) == code_hash(code.lower().replace("-", " "))
    assert code_hash("O0I1-Ll") == code_hash("00 11 11")  # as it is heard
    assert token.startswith("sipagent_") and len(token) > 50 and new_token() != token
    assert token_hash(token) != token_hash(token.upper())
    assert len(code_hash(code)) == len(token_hash(token)) == 64


def test_secrets_are_compared_in_constant_time() -> None:
    """By Argon2's own verification and by hmac; what is looked up is a hash of 100 bits and more."""
    assert "hmac.compare_digest" in inspect.getsource(credentials.step_of)
    assert "==" not in inspect.getsource(credentials.fits)
