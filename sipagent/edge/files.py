"""The edge's files: what Kamailio reads, written from a plan, and what must outlive its restart.

These are the dialogs in progress, the key that hides workers' addresses, and the secret of the hop behind
the edge. They lead to callers, or past the edge, so only the agent's own user can read them (mode 0600).

The edge's certificate, its key and the roots that it trusts, read before Kamailio reads them.

Kamailio's errors about them are many lines without a key of config.toml. Here the first error is one
line.
"""

import hashlib
import os
import secrets
import shutil
import ssl
import tempfile
from collections.abc import Container
from datetime import UTC, datetime, timedelta
from pathlib import Path

from retention.files import make_folder, sync_folder, unlink, write_whole
from retention.records import parse_period
from retention.texts import Reason, strerror
from sipagent.config.errors import counted
from sipagent.config.load import Config, ConfigError
from sipagent.edge.configuration import (
    SYSTEM_CA,
    EdgePlaces,
    Secrets,
    configuration,
    source_list,
    tls_settings,
    worker_list,
)
from sipagent.edge.plan import HopTokens, Plan, Tls, new_tokens

SOON = timedelta(days=30)
CERTIFICATE, KEY, CA = "edge.certificate", "edge.private_key", "edge.ca"
ROOTS = "trunk.identity_roots"
PEM = Reason("a PEM file that this user may read")
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


def read_roots(roots: Path, file: Path) -> None:
    """Look whether the edge can read what callers' certificates must lead to. Raises ConfigError."""
    _load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ROOTS, roots, file)


def aged(until: datetime, now: datetime) -> str:
    """The report about its age; empty if there is none."""
    if now >= until:
        return Reason("has expired, on {0:%Y-%m-%d}", until)
    return (
        Reason("expires in {0}, on {1:%Y-%m-%d}", counted((until - now).days, "day"), until)
        if until - now <= SOON
        else ""
    )


def _load(reader: ssl.SSLContext, key: str, path: Path, file: Path) -> None:
    """Trust the certificates of a file. Raises ConfigError."""
    try:
        reader.load_verify_locations(path)
    except ssl.SSLError as problem:
        raise ConfigError(file, key, Reason("{0}: holds no certificate", path), PEM) from problem
    except OSError as problem:
        raise ConfigError(file, key, Reason("{0}: {1}", path, strerror(problem)), PEM) from problem


def _holder(tls: Tls, file: Path) -> ssl.SSLContext:
    """A server's context with the certificate and its key. Raises ConfigError."""
    holder = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        tls.private_key.read_bytes()
        holder.load_cert_chain(tls.certificate, tls.private_key, password=_nobody_to_ask)
    except ssl.SSLError as problem:
        if problem.reason in _WEAK:
            said = Reason("{0}: is too weak for TLS of today ({1})", tls.certificate, problem.reason)
            raise ConfigError(file, CERTIFICATE, said) from problem
        what = (
            Reason("is of another certificate")
            if problem.reason in _ANOTHER
            else Reason("holds no private key")
        )
        raise ConfigError(
            file, KEY, Reason("{0}: {1}", tls.private_key, what), Reason("the key of {0}", CERTIFICATE)
        ) from problem
    except OSError as problem:
        raise ConfigError(file, KEY, Reason("{0}: {1}", tls.private_key, strerror(problem)), PEM) from problem
    except _HasPassphrase as problem:
        said = Reason("{0}: has a passphrase, and nobody is there to type it", tls.private_key)
        raise ConfigError(file, KEY, said, "a key without one, mode 0600") from problem
    return holder


class _HasPassphrase(Exception):
    """The key has a passphrase."""


def _nobody_to_ask() -> str:
    raise _HasPassphrase


def _shown(holder: ssl.SSLContext, reader: ssl.SSLContext) -> dict[str, object]:
    """The facts that `ssl` gives about a server's certificate: both sides are in memory. Raises
    ssl.SSLError."""
    to_holder, to_reader = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = (reader.wrap_bio(to_reader, to_holder), holder.wrap_bio(to_holder, to_reader, server_side=True))
    for side in sides * 2:
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:  # the other side comes next
            continue
    return dict(sides[0].getpeercert() or {})


SCHEMA = Path("/usr/share/kamailio/dbtext/kamailio")  # Debian's empty tables
TABLES = ("dialog", "dialog_vars", "version")
UNREAD = ".unread"  # files that Kamailio could not read
SOCKET_LIMIT = 107  # bytes of a Unix socket's path (unix(7))


def places(directory: Path) -> EdgePlaces:
    """Name the files. The socket moves to the folder for temporary files if its path would be too long."""
    directory = directory.absolute()
    socket = directory / "rpc.sock"
    if len(os.fsencode(socket)) > SOCKET_LIMIT:
        name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
        socket = Path(tempfile.gettempdir()) / f"sipagent-{os.getuid()}-{name}" / "rpc.sock"
    return EdgePlaces(directory, socket)


def write_files(
    plan: Plan, where: EdgePlaces, active: Container[int] = (), tokens: HopTokens | None = None
) -> None:
    """Write everything that Kamailio reads; existing dialogs stay. `active`: workers that get calls at once.

    `tokens`: those of the agent; None if they are kept here. Raises OSError; PermissionError also if another
    user has made the folder of the socket.
    """
    for folder in (where.directory, where.rpc.parent, where.dialogs):
        make_folder(folder)
    if where.rpc.parent.stat().st_uid != os.getuid():
        raise PermissionError(Reason("{0} belongs to somebody else", where.rpc.parent))
    for table in TABLES:
        _begin(where.dialogs / table)
    known = Secrets(mask=_mask(where), tokens=tokens or kept_tokens(where))
    write_whole(where.configuration, configuration(plan, known, where).encode())
    write_whole(where.tls, tls_settings(plan).encode())
    write_lists(plan, where, active)


def _begin(table: Path) -> None:
    """Make an empty table if it is missing: Kamailio writes into it, and so keeps its mode."""
    if table.exists():
        table.chmod(0o600)
    else:
        write_whole(table, (SCHEMA / table.name).read_bytes())


def remove_socket(where: EdgePlaces) -> None:
    """Remove everything of Kamailio in the folder for temporary files, once it has ended."""
    if where.rpc.parent != where.directory:
        shutil.rmtree(where.rpc.parent, ignore_errors=True)  # a file that cannot be removed does no harm


def write_lists(plan: Plan, where: EdgePlaces, active: Container[int]) -> None:
    """Write what a running Kamailio can read again. Raises OSError."""
    write_whole(where.workers, worker_list(plan, active).encode())
    write_whole(where.sources, source_list(plan).encode())


def _mask(where: EdgePlaces) -> str:
    """The key is kept, since dialogs outlive a restart."""
    kept = where.directory / "mask.key"
    if not kept.exists():
        write_whole(kept, secrets.token_hex(16).encode())
    return kept.read_text(encoding="ascii").strip()


def kept_tokens(where: EdgePlaces) -> HopTokens:
    """The secrets of the hop, made if there are none yet. Raises OSError."""
    kept = where.directory / "hop.key"
    make_folder(where.directory)
    try:
        return HopTokens(kept.read_text(encoding="ascii").strip())
    except (FileNotFoundError, ValueError):
        tokens = new_tokens()
        write_whole(kept, tokens.secret.encode())
        return tokens


def begin_anew(where: EdgePlaces) -> None:
    """Remove the dialogs and the secrets, which nothing needs any more. Raises OSError."""
    forget_dialogs(where.directory)
    unlink([where.directory / "hop.key"])


def forget_dialogs(directory: Path, before: float = float("inf")) -> tuple[Path, ...]:
    """Remove the tables in the edge's folder that name callers; returns those removed.

    `before`: in seconds since the epoch; what has been written since then stays. Raises OSError.
    """
    folder = directory / "dialogs"
    kept = [folder / name for table in TABLES for name in (table, f"{table}{UNREAD}")]
    gone = tuple(path for path in kept if path.exists() and path.stat().st_mtime < before)
    if unlink(gone):
        sync_folder(folder)
    return gone


def forget_old_dialogs(config: Config, period: str, now: datetime) -> tuple[Path, ...]:
    """Remove the tables that Kamailio left when everything was killed, once they are as old as receipts may
    be."""
    return forget_dialogs(config.places.edge, before=(now - parse_period(period)).timestamp())


def has_dialogs(where: EdgePlaces) -> bool:
    """Whether there were calls in progress when Kamailio ended."""
    return any((where.dialogs / table).read_bytes().count(b"\n") > 1 for table in TABLES[:2])


def put_dialogs_aside(where: EdgePlaces) -> None:
    """Begin without dialogs, and keep the old ones for a person to look at. Raises OSError."""
    for table in TABLES:
        (where.dialogs / table).replace(where.dialogs / f"{table}{UNREAD}")
        _begin(where.dialogs / table)
