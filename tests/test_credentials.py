"""Passwords, codes of an authenticator, one-time codes and tokens: what fits, and what is kept of them."""

import inspect
from datetime import UTC, datetime, timedelta

import pyotp
import pytest

from retention.accounts import credentials
from retention.accounts.credentials import (
    NOBODYS,
    code_hash,
    fits,
    hashed,
    new_code,
    new_token,
    new_totp,
    step_of,
    token_hash,
    why_not,
)

PASSWORD = "a long walk by the sea"
NOW = datetime(2026, 11, 27, 20, 0, 10, tzinfo=UTC)


def test_a_password_is_hashed_by_argon2id_with_a_salt() -> None:
    kept = hashed(PASSWORD)
    assert kept.startswith("$argon2id$v=19$m=32768,t=4,p=1$") and PASSWORD not in kept
    assert hashed(PASSWORD) != kept
    assert fits(PASSWORD, kept) and not fits(PASSWORD + " ", kept) and not fits("", kept)


def test_nothing_fits_where_nothing_is_kept_though_it_is_compared() -> None:
    """With a hash of the same strength, so that it takes as long."""
    assert NOBODYS.rpartition("$")[0].rpartition("$")[0] == hashed("x").rpartition("$")[0].rpartition("$")[0]
    assert [len(part) for part in NOBODYS.split("$")] == [len(part) for part in hashed("x").split("$")]
    assert not fits(PASSWORD, None) and not fits("", None)


def test_a_password_is_the_same_however_the_keyboard_composes_it() -> None:
    assert fits("de\u0301jeuner sur l\u2019herbe", hashed("d\u00e9jeuner sur l\u2019herbe"))
    assert not fits("\ud800 half of a pair", hashed(PASSWORD))


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        (PASSWORD, None),
        ("correcthorse", None),
        ("marie durand aime la mer", None),
        ("123456789 012", "the password is one of those that are tried first"),
        ("short", "the password has to have 12 to 256 characters"),
        ("a1b2c3d4e5f", "the password has to have 12 to 256 characters"),
        ("ab" * 129, "the password has to have 12 to 256 characters"),
        ("Marie Durand", "the password is the name, or hardly more"),
        ("mariedurand2026", "the password is the name, or hardly more"),
        ("marie.durandmariedurand", "the password is the name, or hardly more"),
        ("abababababab", "the password is one of those that are tried first"),
        ("MotDePasse123", "the password is one of those that are tried first"),
    ],
)
def test_which_passwords_will_do(password: str, reason: str | None) -> None:
    assert why_not(password, "Marie Durand") == reason


def test_digits_of_now_and_of_the_steps_beside_it() -> None:
    secret = new_totp()
    totp = pyotp.TOTP(secret)
    assert len(secret) == 32 and new_totp() != secret
    present = int(NOW.timestamp()) // 30
    for away, step in ((0, present), (-30, present - 1), (30, present + 1), (-60, None), (60, None)):
        assert step_of(totp.at(NOW + timedelta(seconds=away)), secret, NOW) == step
    spaced = totp.at(NOW)
    assert step_of(f" {spaced[:3]} {spaced[3:]} ", secret, NOW) == present
    assert step_of("", secret, NOW) is None and step_of("12345é", secret, NOW) is None


def test_a_code_is_typed_as_it_is_heard() -> None:
    code = new_code()
    assert len(code) == 23 and code.count("-") == 3 and new_code() != code
    assert code_hash(code) == code_hash(code.lower().replace("-", " "))
    assert code_hash("O0I1-Ll") == code_hash("00 11 11")
    assert code not in code_hash(code) and len(code_hash(code)) == 64


def test_a_token_is_random_and_known_by_how_it_begins() -> None:
    token = new_token()
    assert token.startswith("sipagent_") and len(token) > 50 and new_token() != token
    assert token_hash(token) != token_hash(token.upper()) and len(token_hash(token)) == 64


def test_secrets_are_compared_in_constant_time() -> None:
    """By Argon2's own verification and by hmac; what is looked up is a hash of 100 bits and more."""
    assert "hmac.compare_digest" in inspect.getsource(credentials.step_of)
    assert "==" not in inspect.getsource(credentials.fits)
