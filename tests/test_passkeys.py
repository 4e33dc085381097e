"""Passkeys as they are kept: their counters, and whose they are."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from retention.accounts.accounts import Accounts, CountedBack, NewPasskey, Passkey
from retention.accounts.credentials import AccountError
from tests.both import BOTH
from tests.both import accounts as opened

NOW = datetime(2026, 11, 27, 20, 0, 0, tzinfo=UTC)
DATABASES = BOTH
MADE = NewPasskey(credential=b"credential", public_key=b"key", sign_count=5, transports=("usb", "nfc"))


@pytest.fixture
def accounts(tmp_path: Path) -> Iterator[Accounts]:
    with opened(tmp_path / "accounts.db", lambda: NOW) as accounts:
        yield accounts


@pytest.fixture
def passkey(accounts: Accounts) -> Passkey:
    return accounts.add_passkey(accounts.add("Ann", ["listener"])[0].id, "usb key", MADE)


def test_it_is_kept_as_it_was_made(accounts: Accounts, passkey: Passkey) -> None:
    assert accounts.passkeys_of(passkey.account) == [passkey] == [accounts.passkey(b"credential")]
    assert (passkey.credential, passkey.public_key, passkey.sign_count) == (b"credential", b"key", 5)
    assert (passkey.name, passkey.transports, passkey.created_at) == ("usb key", ("usb", "nfc"), NOW)
    assert passkey.last_used_at is None and accounts.passkey(b"another") is None
    ann = accounts.meant("Ann")
    assert ann.passkeys == ann.to_json()["passkeys"] == 1


def test_it_is_of_an_account_that_is_there(accounts: Accounts) -> None:
    with pytest.raises(AccountError, match="the account was removed"):
        accounts.add_passkey(7, "usb key", MADE)


def test_a_handle_says_nothing_and_is_of_one_account(accounts: Accounts) -> None:
    handles = {accounts.handle_of(accounts.add(name, ["listener"])[0].id) for name in ("Ann", "Bob")}
    assert len(handles) == 2 and {len(one) for one in handles} == {32}


def test_a_counter_goes_forward_alone(accounts: Accounts, passkey: Passkey) -> None:
    accounts.count_refused(passkey.account)
    let_in = accounts.let_in(passkey, 6)
    assert (let_in.name, let_in.failures) == ("Ann", 1)
    ann = accounts.meant("Ann")
    assert (ann.failures, ann.last_login_at) == (0, NOW)
    for count in (6, 5, 0):
        with pytest.raises(CountedBack, match="went back"):
            accounts.let_in(passkey, count)
    used = accounts.passkey(b"credential")
    assert used is not None and (used.sign_count, used.last_used_at) == (6, NOW)


def test_one_that_does_not_count_is_good_again_until_it_does(accounts: Accounts, passkey: Passkey) -> None:
    other = replace(MADE, credential=b"other", sign_count=0)
    plain = accounts.add_passkey(passkey.account, "telephone", other)
    for count in (0, 0, 1):
        assert accounts.let_in(plain, count)
    with pytest.raises(CountedBack):
        accounts.let_in(plain, 0)


def test_of_two_who_show_one_counter_at_once_one_comes_in(accounts: Accounts, passkey: Passkey) -> None:
    at_once, let_in = threading.Barrier(8), []

    def log_in() -> None:
        at_once.wait()
        try:
            let_in.append(accounts.let_in(passkey, 6))
        except CountedBack:
            return

    threads = [threading.Thread(target=log_in) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(let_in) == 1


def test_one_that_is_removed_signs_in_vain_and_all_sessions_end(accounts: Accounts, passkey: Passkey) -> None:
    epoch = accounts.meant("Ann").epoch
    bob, _ = accounts.add("Bob", ["listener"])
    with pytest.raises(AccountError, match="the passkey was removed"):
        accounts.remove_passkey(bob.id, passkey.id)
    assert accounts.remove_passkey(passkey.account, passkey.id) == passkey
    assert accounts.meant("Ann").epoch == epoch + 1
    with pytest.raises(AccountError, match="the passkey was removed"):
        accounts.let_in(passkey, 6)
    assert accounts.add_passkey(bob.id, "mine now", MADE).id != passkey.id


@pytest.mark.parametrize("way", ["reset", "remove"])
def test_it_goes_with_its_account_or_a_reset(accounts: Accounts, passkey: Passkey, way: str) -> None:
    getattr(accounts, way)(passkey.account)
    assert accounts.passkey(b"credential") is None and accounts.passkeys_of(passkey.account) == []
