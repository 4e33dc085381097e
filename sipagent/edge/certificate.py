"""The edge's certificate, its key and the roots that it trusts, read before Kamailio reads them.

Kamailio's errors about them are many lines without a key of config.toml. Here the first error is one line.
"""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sipagent.config.finding import counted
from sipagent.config.load import ConfigError
from sipagent.edge.configuration import SYSTEM_CA
from sipagent.edge.plan import Tls

SOON = timedelta(days=30)
CERTIFICATE, KEY, CA = "edge.certificate", "edge.private_key", "edge.ca"
PEM = "a PEM file that this user may read"
_WEAK = {"EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK"}
_ANOTHER = {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"}
_AT_ANY_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, which has no name in `ssl`


def expiry(tls: Tls, file: Path) -> datetime:
    """Until when the certificate is valid, UTC. Raises ConfigError, on `file`, if it cannot be used."""
    reader = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _load(reader, CA, tls.ca or SYSTEM_CA, file)
    reader = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    reader.check_hostname = False
    reader.verify_flags = ssl.VerifyFlags(ssl.VERIFY_X509_PARTIAL_CHAIN | _AT_ANY_TIME)
    _load(reader, CERTIFICATE, tls.certificate, file)
    holder = _holder(tls, file)
    try:
        until = _shown(holder, reader)["notAfter"]
    except ssl.SSLCertVerificationError as problem:
        said = f"{tls.certificate}: {problem.verify_message}"
        raise ConfigError(file, CERTIFICATE, said, "the certificate of a server") from problem
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(until)), UTC)


def aged(until: datetime, now: datetime) -> str:
    """What to report about its age; empty if nothing."""
    if now >= until:
        return f"has expired, on {until:%Y-%m-%d}"
    return (
        f"expires in {counted((until - now).days, 'day')}, on {until:%Y-%m-%d}" if until - now <= SOON else ""
    )


def _load(reader: ssl.SSLContext, key: str, path: Path, file: Path) -> None:
    """Trust the certificates of a file. Raises ConfigError."""
    try:
        reader.load_verify_locations(path)
    except ssl.SSLError as problem:
        raise ConfigError(file, key, f"{path}: holds no certificate", PEM) from problem
    except OSError as problem:
        raise ConfigError(file, key, f"{path}: {problem.strerror}", PEM) from problem


def _holder(tls: Tls, file: Path) -> ssl.SSLContext:
    """A server's context with the certificate and its key. Raises ConfigError."""
    holder = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        tls.private_key.read_bytes()
        holder.load_cert_chain(tls.certificate, tls.private_key, password=_nobody_to_ask)
    except ssl.SSLError as problem:
        if problem.reason in _WEAK:
            said = f"{tls.certificate}: is too weak for TLS of today ({problem.reason})"
            raise ConfigError(file, CERTIFICATE, said) from problem
        what = "is of another certificate" if problem.reason in _ANOTHER else "holds no private key"
        raise ConfigError(file, KEY, f"{tls.private_key}: {what}", f"the key of {CERTIFICATE}") from problem
    except OSError as problem:
        raise ConfigError(file, KEY, f"{tls.private_key}: {problem.strerror}", PEM) from problem
    except _HasPassphrase as problem:
        said = f"{tls.private_key}: has a passphrase, and nobody is there to type it"
        raise ConfigError(file, KEY, said, "a key without one, mode 0600") from problem
    return holder


class _HasPassphrase(Exception):
    """The key has a passphrase."""


def _nobody_to_ask() -> str:
    raise _HasPassphrase


def _shown(holder: ssl.SSLContext, reader: ssl.SSLContext) -> dict[str, object]:
    """What `ssl` says of the certificate that a server shows: both sides are in memory. Raises
    ssl.SSLError."""
    to_holder, to_reader = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (reader.wrap_bio(to_reader, to_holder), holder.wrap_bio(to_holder, to_reader, server_side=True))
    for side in sides * 2:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:  # the other side comes next
            continue
    return dict(sides[0].getpeercert() or {})
