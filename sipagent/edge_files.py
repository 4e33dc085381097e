"""The edge's files: what Kamailio reads, written from a plan, and what has to outlive its restart.

That is the dialogs in progress, and the key that hides workers' addresses.
"""

import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Container
from pathlib import Path

from retention.files import make_folder, write_whole
from sipagent.config import Config
from sipagent.edge import Places, Secrets, configuration, source_list, tls_settings, worker_list
from sipagent.edge_plan import Plan

SCHEMA = Path("/usr/share/kamailio/dbtext/kamailio")  # Debian's empty tables
TABLES = ("dialog", "dialog_vars", "version")
SOCKET_LIMIT = 107  # bytes of a Unix socket's path (unix(7))


def edge_directory(config: Config) -> Path:
    """Where the edge keeps its files: beside the database."""
    return config.retention.database.with_name("edge")


def places(directory: Path) -> Places:
    """Name the files. The socket moves to the folder for temporary ones where its path would be too long."""
    directory = directory.absolute()
    socket = directory / "rpc.sock"
    if len(os.fsencode(socket)) > SOCKET_LIMIT:
        name = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
        socket = Path(tempfile.gettempdir()) / f"sipagent-{os.getuid()}-{name}" / "rpc.sock"
    return Places(directory, socket)


def write_files(plan: Plan, where: Places, active: Container[int] = ()) -> None:
    """Write all that Kamailio reads; dialogs that are there stay. `active`: workers that get calls at once.

    Raises OSError; PermissionError also where somebody else has made the folder of the socket.
    """
    for folder in (where.directory, where.rpc.parent, where.dialogs):
        make_folder(folder)
    if where.rpc.parent.stat().st_uid != os.getuid():
        raise PermissionError(f"{where.rpc.parent} belongs to somebody else")
    for table in TABLES:
        if not (where.dialogs / table).exists():
            shutil.copyfile(SCHEMA / table, where.dialogs / table)
    write_whole(where.configuration, configuration(plan, _secrets(where), where).encode())
    write_whole(where.tls, tls_settings(plan).encode())
    write_lists(plan, where, active)


def remove_socket(where: Places) -> None:
    """Leave nothing in the folder for temporary files, once Kamailio has ended, whatever it has put there."""
    if where.rpc.parent != where.directory:
        shutil.rmtree(where.rpc.parent, ignore_errors=True)  # what cannot go is in nobody's way


def write_lists(plan: Plan, where: Places, active: Container[int]) -> None:
    """Write what a running Kamailio can read anew. Raises OSError."""
    write_whole(where.workers, worker_list(plan, active).encode())
    write_whole(where.sources, source_list(plan).encode())


def _secrets(where: Places) -> Secrets:
    """The mask's key is kept, for dialogs outlive a restart."""
    kept = where.directory / "mask.key"
    if not kept.exists():
        write_whole(kept, secrets.token_hex(16).encode())
    return Secrets(mask=kept.read_text(encoding="ascii").strip())


def has_dialogs(where: Places) -> bool:
    """Whether there were calls in progress when Kamailio ended."""
    return any((where.dialogs / table).read_bytes().count(b"\n") > 1 for table in TABLES[:2])


def put_dialogs_aside(where: Places) -> None:
    """Begin with none, and keep those that there were for whoever looks. Raises OSError."""
    for table in TABLES:
        (where.dialogs / table).replace(where.dialogs / f"{table}.unread")
        shutil.copyfile(SCHEMA / table, where.dialogs / table)
