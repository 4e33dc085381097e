"""What is shown to be let in: passwords, codes of an authenticator, one-time codes, tokens.

Of a password an Argon2id hash is kept; of one-time codes and tokens, which are random and long enough that
nobody tries them all, their SHA-256.
"""

import hmac
import re
import secrets
import threading
import unicodedata
from base64 import b64encode
from datetime import datetime
from hashlib import sha256

import pyotp
from nacl.exceptions import InvalidkeyError
from nacl.pwhash import argon2id

from retention.accounts.account import folded
from retention.storage.keys import Strength

STRENGTH = Strength(4, 32 << 20)
"""More than OWASP asks for (two passes over 19 MiB), and less memory than libsodium's own: it is taken beside
all that the page does."""

SHORTEST, LONGEST = 12, 256  # characters of a password
STEP_S = 30  # of an authenticator (RFC 6238)
AROUND = 1  # steps by which a clock may be wrong (RFC 6238 section 5.2)
TOKEN_PREFIX = "sipagent_"  # so that it is known where it was left by mistake

_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: none is taken for another
_CODE_LETTERS, _GROUP = 20, 5  # 100 bits
_MEANT = str.maketrans("OIL", "011")
_COMMON = ("123456789012", "1234567890123", "password1234", "motdepasse12", "motdepasse123", "azertyuiop12")
_DIFFERENT = 5  # characters, at least
_ONE_AT_A_TIME = threading.Lock()  # so that many logins at once take the memory of one


def hashed(password: str) -> str:
    """What is kept of a password."""
    with _ONE_AT_A_TIME:
        raw = argon2id.str(_typed(password), opslimit=STRENGTH.opslimit, memlimit=STRENGTH.memlimit)
    return raw.decode("ascii")


def _nobodys() -> str:
    """A hash that nothing fits, and that takes as long to compare as anybody's."""
    salt, digest = (b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in (16, 32))
    return f"$argon2id$v=19$m={STRENGTH.memlimit >> 10},t={STRENGTH.opslimit},p=1${salt}${digest}"


NOBODYS = _nobodys()


def fits(password: str, kept: str | None) -> bool:
    """Whether it is the password that was `hashed`; takes its time also for None, an account without one."""
    typed = _typed(password)
    with _ONE_AT_A_TIME:
        try:
            argon2id.verify((kept or NOBODYS).encode("ascii"), typed)
        except InvalidkeyError:
            return False
    return kept is not None


def why_not(password: str, name: str) -> str | None:
    """Why somebody of that name cannot have it as a password; None if they can. Length is what counts."""
    if not SHORTEST <= len(unicodedata.normalize("NFKC", password)) <= LONGEST:
        return f"the password has to have {SHORTEST} to {LONGEST} characters"
    told, of_name = (re.sub(r"[\W_]", "", folded(text)) for text in (password, name))
    if of_name and of_name in told and not told.replace(of_name, "").strip("0123456789"):
        return "the password is the name, or hardly more"
    if told in _COMMON or len(set(password)) < _DIFFERENT:
        return "the password is one of those that are tried first"
    return None


def _typed(password: str) -> bytes:
    """Its bytes, however the keyboard composes letters."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


# --- an authenticator (TOTP, RFC 6238) ---


def new_totp() -> str:
    """A secret to share with an authenticator, in base32: 160 bits."""
    return pyotp.random_base32()


def step_of(digits: str, secret: str, now: datetime) -> int | None:
    """The time step whose code these digits are, None if of none around now.

    That it comes once is for who keeps the last one.
    """
    typed = re.sub(r"\s", "", digits)
    totp = pyotp.TOTP(secret, interval=STEP_S)
    present = int(now.timestamp()) // STEP_S
    found = None
    for step in range(present - AROUND, present + AROUND + 1):  # always all of them
        if hmac.compare_digest(totp.generate_otp(step).encode(), typed.encode("utf-8", "surrogatepass")):
            found = step
    return found


# --- one-time codes and tokens ---


def new_code() -> str:
    """`7K3MF-…`: what a person types once, read from a paper or over a telephone."""
    letters = "".join(secrets.choice(_LETTERS) for _ in range(_CODE_LETTERS))
    return "-".join(letters[at : at + _GROUP] for at in range(0, _CODE_LETTERS, _GROUP))


def code_hash(typed: str) -> str:
    """What is kept of a code, in whatever case, with whatever between its letters."""
    meant = re.sub(r"[\W_]", "", typed.upper()).translate(_MEANT)
    return sha256(meant.encode("utf-8", "surrogatepass")).hexdigest()


def new_token() -> str:
    """256 random bits, in letters that a header may have."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def token_hash(shown: str) -> str:
    """What is kept of a token."""
    return sha256(shown.encode("utf-8", "surrogatepass")).hexdigest()
