"""The edge's files: what Kamailio reads, written from a plan, and what must outlive its restart.

These are the dialogs in progress, the key that hides workers' addresses, and the secret of the hop behind the
edge. They lead to callers, or past the edge, so only the agent's own user can read them (mode 0600).
"""

import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Container
from datetime import datetime
from pathlib import Path

from retention.recording import parse_period
from retention.storage.files import make_folder, sync_folder, unlink, write_whole
from sipagent.config.load import Config
from sipagent.edge.configuration import (
    EdgePlaces,
    Secrets,
    configuration,
    source_list,
    tls_settings,
    worker_list,
)
from sipagent.edge.hop import HopTokens, new_tokens
from sipagent.edge.plan import Plan

SCHEMA = Path("/usr/share/kamailio/dbtext/kamailio")  # Debian's empty tables
TABLES = ("dialog", "dialog_vars", "version")
UNREAD = ".unread"  # what Kamailio could not read
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
        raise PermissionError(f"{where.rpc.parent} belongs to somebody else")
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
        shutil.rmtree(where.rpc.parent, ignore_errors=True)  # what cannot be removed does no harm


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
