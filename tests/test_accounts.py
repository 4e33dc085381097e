"""Accounts and tokens: made, enrolled, checked, changed and removed, by several at once."""

import stat
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyotp
import pytest
import sqlite_utils
from nacl.pwhash import argon2id

from retention.accounts import credentials
from retention.accounts.accounts import Accounts
from retention.accounts.credentials import Account, AccountError, folded, new_totp, tidy
from retention.accounts.file import FileAccounts
from retention.rows.rows import StoreError
from retention.vault import Identity
from tests.both import BOTH
from tests.both import accounts as opened

DATABASES = BOTH
PASSWORD = "a long walk by the sea"
BEGAN = datetime(2026, 11, 27, 20, 0, 0, tzinfo=UTC)
KEY = Identity(bytes([1]) * 32, "Ann").public


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
def file(tmp_path: Path, clock: Clock) -> Iterator[FileAccounts]:
    with FileAccounts(tmp_path / "accounts.db", clock) as accounts:
        yield accounts


def enrolled(accounts: Accounts, clock: Clock, name: str = "Ann") -> tuple[Account, pyotp.TOTP]:
    """An account with PASSWORD; its authenticator is a step behind, so that digits of now are new."""
    account, code = accounts.add(name, ["listener"])
    totp = pyotp.TOTP(new_totp())
    account = accounts.enrol(code, PASSWORD, totp.secret, totp.at(clock.now))
    clock.later(seconds=30)
    return account, totp


def raised(act: Callable[[], object]) -> str:
    with pytest.raises(AccountError) as error:
        act()
    return str(error.value)


# --- the file ---


@pytest.mark.in_sqlite
def test_it_is_private_and_opens_again(file: FileAccounts, tmp_path: Path) -> None:
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    file.add("Ann", ["listener"])
    with FileAccounts(file.path) as again:
        assert [one.name for one in again.all()] == ["Ann"]


@pytest.mark.in_sqlite
def test_no_secret_stands_in_it(file: FileAccounts, clock: Clock) -> None:
    account, code = file.add("Ann", ["listener"])
    _, token = file.add_token("Robot", ["listener"])
    assert code.encode() not in file.path.read_bytes() and token.encode() not in file.path.read_bytes()
    totp = pyotp.TOTP(new_totp())
    file.enrol(code, PASSWORD, totp.secret, totp.at(clock.now))
    assert PASSWORD.encode() not in file.path.read_bytes()
    file.remove(account.id)
    assert totp.secret.encode() not in file.path.read_bytes()  # secure_delete


@pytest.mark.in_sqlite
def test_one_of_a_newer_version_or_none_at_all_is_refused(file: FileAccounts, tmp_path: Path) -> None:
    db = sqlite_utils.Database(tmp_path / "accounts.db")
    db["_sqlite_migrations"].insert(  # type: ignore[union-attr]
        {"migration_set": "sipagent-accounts", "name": "0099_later", "applied_at": "2030-01-01"}
    )
    with pytest.raises(StoreError, match="written by a newer sipagent"):
        FileAccounts(tmp_path / "accounts.db")
    (tmp_path / "text.db").write_text("not a database at all, but longer than its header is " * 20)
    with pytest.raises(StoreError, match=r"text\.db: file is not a database"):
        FileAccounts(tmp_path / "text.db")
    with pytest.raises(StoreError, match="No such file"):
        FileAccounts(tmp_path / "nowhere" / "accounts.db")


def test_what_is_changed_is_undone_as_a_whole(accounts: Accounts) -> None:
    with pytest.raises(KeyError), accounts.write():
        accounts.add("Ann", ["listener"])
        raise KeyError
    assert accounts.all() == [] and not accounts.are_there()


# --- accounts ---


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
    assert accounts.all() == [made] and accounts.by_id(made.id) == made
    assert made.key is not None and made.key.comment == "Ann"
    assert accounts.of_code(code) == made


@pytest.mark.parametrize("same", ["ann", "ANN", " Ann ", "\uff21nn"])
def test_a_name_is_given_once(accounts: Accounts, same: str) -> None:
    accounts.add("Ann", ["listener"])
    assert raised(lambda: accounts.add(same, ["listener"])).endswith("there is an account of this name")
    assert raised(lambda: accounts.add_token(same, ["listener"])).endswith("there is an account of this name")
    assert accounts.meant(same).name == "Ann"
    accounts.add_token("Robot", ["listener"])
    assert raised(lambda: accounts.add("robot", ["listener"])) == "'robot': there is a token of this name"
    accounts.revoke("ROBOT")
    accounts.add("robot", ["listener"])


@pytest.mark.parametrize("name", ["", "  ", "a\x00b", "a\u202eb", "a\u200bb", "x" * 65])
def test_what_is_no_name(accounts: Accounts, name: str) -> None:
    assert "is not a name; accepted: one line of 1 to 64 characters" in raised(lambda: tidy(name))
    assert accounts.named(name) is None


def test_forms_of_one_name_are_one() -> None:
    assert folded("STRASSE") == folded("stra\u00dfe") and folded("e\u0301a") == folded("\u00c9A")
    assert tidy("e\u0301 \t a") == "\u00e9 a"


def test_nobody_is_without_a_role(accounts: Accounts) -> None:
    assert raised(lambda: accounts.add("Ann", [])) == "no role: it could do nothing"
    assert raised(lambda: accounts.add_token("Robot", [])) == "no role: it could do nothing"
    account, _ = accounts.add("Ann", ["listener"])
    assert raised(lambda: accounts.set_roles(account.id, [])) == "no role: it could do nothing"


def test_what_can_be_changed(accounts: Accounts) -> None:
    account, _ = accounts.add("Ann", ["listener"])
    accounts.set_roles(account.id, ["officer", "listener"])
    accounts.set_key(account.id, KEY)
    accounts.set_language(account.id, "fr")
    there = accounts.meant("ann")
    assert (there.roles, there.key, there.language) == (("officer", "listener"), KEY, "fr")
    accounts.set_key(account.id, None)
    accounts.set_language(account.id, None)
    assert accounts.meant("ann").key is None and accounts.meant("ann").language is None


def test_who_was_removed_never_comes_back_as_another(accounts: Accounts) -> None:
    account, code = accounts.add("Ann", ["listener"])
    accounts.remove(account.id)
    assert accounts.named("Ann") is None and accounts.of_code(code) is None
    assert raised(lambda: accounts.meant("Ann")) == "'Ann': no such account"
    again, _ = accounts.add("Ann", ["listener"])
    assert again.id != account.id
    for gone in (accounts.remove, accounts.reset):
        assert raised(lambda gone=gone: gone(account.id)) == "the account was removed"  # type: ignore[misc]


def test_the_first_account_comes_first_alone(accounts: Accounts, clock: Clock) -> None:
    totp = pyotp.TOTP(new_totp())
    first = ["administrator"], PASSWORD, totp.secret
    assert raised(lambda: accounts.add_first("Ann", *first, "000000x")) == (
        "the authenticator shows other digits now"
    )
    account = accounts.add_first("Ann", *first, totp.at(clock.now))
    assert account.enrolled and account.roles == ("administrator",) and account.code_until is None
    said = raised(lambda: accounts.add_first("Bob", *first, totp.at(clock.now)))
    assert said == "there is an account already"
    clock.later(seconds=30)
    assert accounts.check("ann", PASSWORD, totp.at(clock.now))


# --- enrolment ---


def test_a_code_gives_a_password_once(accounts: Accounts, clock: Clock) -> None:
    _account, code = accounts.add("Ann", ["listener"])
    totp = pyotp.TOTP(new_totp())
    digits = totp.at(clock.now)
    assert accounts.enrol(code.lower(), PASSWORD, totp.secret, digits).enrolled
    again = raised(lambda: accounts.enrol(code, PASSWORD, totp.secret, digits))
    assert again == "the code is not good, or no longer"
    assert accounts.meant("Ann").code_until is None
    assert accounts.check("Ann", PASSWORD, digits) is None  # they were used to enrol


def test_a_mistake_leaves_the_code_good(accounts: Accounts, clock: Clock) -> None:
    _, code = accounts.add("Ann", ["listener"])
    totp = pyotp.TOTP(new_totp())
    wrong = pyotp.TOTP(new_totp()).at(clock.now)
    assert "12 to 256 characters" in raised(
        lambda: accounts.enrol(code, "short", totp.secret, totp.at(clock.now))
    )
    assert "other digits" in raised(lambda: accounts.enrol(code, PASSWORD, totp.secret, wrong))
    assert not accounts.meant("Ann").enrolled
    assert accounts.enrol(code, PASSWORD, totp.secret, totp.at(clock.now)).enrolled


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
    outcomes, gate = list[str](), threading.Barrier(4)

    def use(number: int) -> None:
        with opened(tmp_path / "accounts.db", clock) as own:
            gate.wait()
            try:
                own.enrol(code, f"{PASSWORD} {number}", totp.secret, totp.at(clock.now))
                outcomes.append(f"{PASSWORD} {number}")
            except AccountError as error:
                outcomes.append(str(error))

    together([lambda number=number: use(number) for number in range(4)])  # type: ignore[misc]
    (password,) = [one for one in outcomes if one.startswith(PASSWORD)]
    assert outcomes.count("the code is not good, or no longer") == 3
    clock.later(seconds=30)
    assert accounts.check("Ann", password, totp.at(clock.now))


def together(acts: list[Callable[[], Any]]) -> None:
    threads = [threading.Thread(target=act) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_reset_takes_password_and_authenticator_away(accounts: Accounts, clock: Clock) -> None:
    account, totp = enrolled(accounts, clock)
    assert accounts.check("Ann", PASSWORD, totp.at(clock.now))
    before = accounts.meant("Ann").epoch
    reset, code = accounts.reset(account.id)
    assert not reset.enrolled and reset.epoch > before and reset.code_until
    clock.later(seconds=30)
    assert accounts.check("Ann", PASSWORD, totp.at(clock.now)) is None
    other = pyotp.TOTP(new_totp())
    accounts.enrol(code, PASSWORD + "!", other.secret, other.at(clock.now))
    clock.later(seconds=30)
    assert accounts.check("Ann", PASSWORD + "!", other.at(clock.now))


# --- logging in ---


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


def test_digits_are_good_once_and_never_backwards(accounts: Accounts, clock: Clock) -> None:
    _, totp = enrolled(accounts, clock)
    ahead = totp.at(clock.now + timedelta(seconds=30))
    assert accounts.check("Ann", PASSWORD, ahead)
    assert accounts.check("Ann", PASSWORD, ahead) is None
    assert accounts.check("Ann", PASSWORD, totp.at(clock.now)) is None  # seen over a shoulder, not yet used
    clock.later(seconds=60)
    assert accounts.check("Ann", PASSWORD, totp.at(clock.now))


def test_of_many_who_show_the_same_digits_at_once_one_comes_in(
    accounts: Accounts, clock: Clock, tmp_path: Path
) -> None:
    _, totp = enrolled(accounts, clock)
    digits, let_in, gate = totp.at(clock.now), list[bool](), threading.Barrier(4)

    def log_in() -> None:
        with opened(tmp_path / "accounts.db", clock) as own:
            gate.wait()
            let_in.append(own.check("Ann", PASSWORD, digits) is not None)

    together([log_in] * 4)
    assert sorted(let_in) == [False, False, False, True]


def test_an_account_without_a_password_lets_nobody_in(accounts: Accounts) -> None:
    accounts.add("Ann", ["listener"])
    assert accounts.check("Ann", "", "") is None and accounts.meant("Ann").failures == 1
    assert not accounts.knows_password(accounts.meant("Ann").id, "")


def test_an_unknown_name_takes_as_long_as_a_known_one(
    accounts: Accounts, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what takes the time, for a busy machine falsifies clocks: one hash each, of the same costs."""
    enrolled(accounts, clock)
    accounts.add("Bea", ["listener"])
    costs: list[bytes] = []

    def counted(kept: bytes, typed: bytes) -> bool:
        costs.append(kept.rsplit(b"$", 2)[0])
        return bool(verify(kept, typed))

    verify = argon2id.verify
    monkeypatch.setattr(argon2id, "verify", counted)
    for name in ("Ann", "Bea", "Nobody"):
        assert accounts.check(name, PASSWORD + "x", "123456") is None
    own = b"$argon2id$v=19$m=%d,t=%d,p=1" % (
        credentials.STRENGTH.memlimit >> 10,
        credentials.STRENGTH.opslimit,
    )
    assert costs == [own] * 3


def test_who_changes_password_or_authenticator_ends_all_sessions(accounts: Accounts, clock: Clock) -> None:
    account, totp = enrolled(accounts, clock)
    changed = accounts.set_password(account.id, "another long password")
    assert changed.epoch == account.epoch + 1
    assert accounts.knows_password(account.id, "another long password")
    assert "12 to 256" in raised(lambda: accounts.set_password(account.id, "short"))
    other = pyotp.TOTP(new_totp())
    assert "other digits" in raised(lambda: accounts.set_totp(account.id, other.secret, "1"))
    assert accounts.set_totp(account.id, other.secret, other.at(clock.now)).epoch == account.epoch + 2
    clock.later(seconds=30)
    assert accounts.check("Ann", "another long password", totp.at(clock.now)) is None
    assert accounts.check("Ann", "another long password", other.at(clock.now))


def test_who_is_vouched_for_is_known_by_the_subject(accounts: Accounts, clock: Clock) -> None:
    made = accounts.vouched_for("https://id 1", "Ann", ["listener"])
    assert (made.name, made.roles, made.last_login_at) == ("Ann", ("listener",), clock.now)
    later = accounts.vouched_for("https://id 1", "Ann Lee", ["officer"])
    assert (later.id, later.name, later.roles) == (made.id, "Ann", ("officer",))
    assert "of this name" in raised(lambda: accounts.vouched_for("https://id 2", "ANN", ["listener"]))
    enrolled(accounts, clock, "Bob")
    assert "of this name" in raised(lambda: accounts.vouched_for("https://id 3", "Bob", ["listener"]))
    prepared, _ = accounts.add("Eve", ["administrator"], KEY)
    taken = accounts.vouched_for("https://id 4", "eve", ["listener"])
    assert (taken.id, taken.key, taken.roles) == (prepared.id, KEY, ("listener",))


# --- tokens ---


def test_a_token_is_shown_once_and_used(accounts: Accounts, clock: Clock) -> None:
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
    assert accounts.tokens()[0].last_used_at == BEGAN
    clock.later(seconds=59)
    assert accounts.token(shown)
    assert accounts.tokens()[0].last_used_at == BEGAN  # not each time
    clock.later(seconds=1)
    accounts.token(shown)
    assert accounts.tokens()[0].last_used_at == clock.now
    clock.later(days=1)
    assert accounts.token(shown) is None


def test_a_token_is_revoked_and_stays_in_the_list(accounts: Accounts, clock: Clock) -> None:
    _, shown = accounts.add_token("Robot", ["officer"])
    accounts.revoke("robot")
    assert accounts.token(shown) is None
    assert raised(lambda: accounts.revoke("robot")) == "'robot': no such token"
    _, other = accounts.add_token("Robot", ["listener"])
    assert accounts.token(other) and accounts.token(shown) is None
    assert [one.revoked_at for one in accounts.tokens()] == [clock.now, None]


def test_a_token_ends_in_the_future(accounts: Accounts) -> None:
    assert raised(lambda: accounts.add_token("Robot", ["listener"], BEGAN)) == (
        "a token has to end in the future"
    )
