"""A PostgreSQL of the tests' own: a server below the folder for temporary files, databases made from
templates, a standby that streams, and what may happen to them.
"""

from __future__ import annotations

import functools
import itertools
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

import psycopg
from psycopg import sql

from tests.peers.process import Child, PeerError, free_ports

OLDEST, PREFERRED = 15, 17
OWNER = "sipagent"  # of every database that is made here; no superuser
LOCKED, PASSWORD = "locked", "n0t/clear:@"  # a role of its rights that is asked for a password
_HBA = f"""
local all all trust
local replication all trust
host all {LOCKED} all scram-sha-256
host all all 127.0.0.0/8 trust
host replication all 127.0.0.0/8 trust
"""
_SETTINGS: Mapping[str, str] = {
    "fsync": "off",  # the machine doesn't fail, the programs on it do
    "synchronous_commit": "on",
    "full_page_writes": "off",
    "shared_buffers": "8MB",  # a worker of a test run has up to three of these servers
    "min_wal_size": "2MB",
    "max_connections": "120",
    "wal_level": "replica",
    "max_wal_senders": "8",
    "wal_keep_size": "256MB",
    "wal_init_zero": "off",
    "hot_standby_feedback": "off",
    "autovacuum_naptime": "10s",
    "log_min_messages": "warning",
    "log_statement": "none",
    "jit": "off",
    "timezone": "UTC",
    "lc_messages": "C",
}


@functools.cache
def programs() -> Path:
    """The folder of initdb, postgres, pg_basebackup; raises PeerError where no version will do."""
    for version in (PREFERRED, *range(99, OLDEST - 1, -1)):
        if (folder := Path(f"/usr/lib/postgresql/{version}/bin")).is_dir():
            return folder
    raise PeerError(f"no PostgreSQL {OLDEST} or newer in /usr/lib/postgresql: apt install postgresql-17")


@functools.cache
def _unprivileged() -> pwd.struct_passwd | None:
    """Who runs the server where we are root, whom it would refuse."""
    if os.geteuid():
        return None
    known = {one.pw_name: one for one in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]


def _as_user() -> dict[str, Any]:
    user = _unprivileged()
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}


def _run(program: str, *arguments: str | Path) -> str:
    done: subprocess.CompletedProcess[str] = subprocess.run(
        [programs() / program, *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "HOME": "/"},
        **_as_user(),
    )
    if done.returncode:
        raise PeerError(f"{program}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def _own_folder(prefix: str) -> Path:
    """A new folder that the server's user owns; short, since a socket's path may have 107 bytes."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    user = _unprivileged()
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    return folder


class Server:
    """One server, with its data in `data` and its socket in `folder`. Made by `primary` or `standby_of`."""

    def __init__(self, host: str = "127.0.0.1", settings: Mapping[str, str] | None = None) -> None:
        self.folder = _own_folder("pg")
        self.data = self.folder / "data"
        self.host = host
        self.port = free_ports(1, host)
        self.settings = {**_SETTINGS, **(settings or {})}
        self._child: Child | None = None
        self._numbers = itertools.count(1)
        self._templates: dict[Callable[[str], None], str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def make(self) -> Self:
        """initdb, C collation and UTF-8, the superuser is `postgres`."""
        _run(
            *("initdb", "-D", self.data, "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync"),
            *("--auth=trust", "--no-instructions", "--wal-segsize=1"),  # MB: all of it lies in memory
        )
        (self.data / "pg_hba.conf").write_text(_HBA)
        return self

    @property
    def child(self) -> Child:
        assert self._child is not None, "not started"
        return self._child

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.running

    def start(self, timeout: float = 30) -> Self:
        """Run it, also after `stop` or `kill`, on the same port; until it answers."""
        options = {
            **self.settings,
            "listen_addresses": self.host,
            "port": str(self.port),
            "unix_socket_directories": str(self.folder),
        }
        command: list[str | Path] = [
            *("setpriv", "--pdeathsig", "QUIT"),  # it doesn't outlive a test run that was killed
            *(programs() / "postgres", "-D", self.data),
            *(f"--{key}={value}" for key, value in options.items()),
        ]
        self._child = Child(command, self.folder, env={"LC_ALL": "C", "HOME": "/"}, **_as_user())
        deadline = time.monotonic() + timeout
        while True:
            try:
                self.connect("postgres", "postgres").close()
                return self
            except psycopg.OperationalError as error:
                if not self.child.running or time.monotonic() > deadline:
                    raise PeerError(f"postgres: {error}\n{self.child.tail()}") from error
                with self.child.said:
                    self.child.said.wait(0.03)

    def stop(self) -> None:
        """What goes on is ended, and a checkpoint written."""
        if self.running:
            self.child.signal(signal.SIGINT)
            self.child.wait(30)

    def restart(self) -> Self:
        self.stop()
        return self.start()

    def kill(self) -> None:
        """kill -9 of the server and of every backend, as a power cut does."""
        pids = self.pids()
        for pid in pids:
            _signal(pid, signal.SIGSTOP)  # none starts another meanwhile
        for pid in pids | self.pids():
            _signal(pid, signal.SIGKILL)
        self.child.wait()
        (self.data / "postmaster.pid").unlink(missing_ok=True)  # what a machine's own start would do

    def pause(self) -> None:
        """Let it and every backend stand still: it takes connections and never answers."""
        for pid in self.pids():
            _signal(pid, signal.SIGSTOP)

    def resume(self) -> None:
        for pid in self.pids():
            _signal(pid, signal.SIGCONT)

    def pids(self) -> set[int]:
        """The server and its backends."""
        if not self.running:
            return set()
        pid = self.child.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return {pid, *map(int, children)}

    def promote(self, timeout: float = 30) -> None:
        """A standby becomes a primary."""
        with self.connect("postgres", "postgres") as connection:
            row = connection.execute("SELECT pg_promote(true, %s)", [int(timeout)]).fetchone()
        if row is None or not row[0]:
            raise PeerError(f"not promoted within {timeout:g} s\n{self.child.tail()}")

    def close(self) -> None:
        """End it, whatever its state, and remove all that it has written."""
        if self.running:
            self.resume()
            self.child.signal(signal.SIGQUIT)
            self.child.stop()
        shutil.rmtree(self.folder)

    def conninfo(self, database: str, user: str = OWNER) -> str:
        """`postgresql://…` over TCP, without a password: none is asked but of `LOCKED`."""
        return f"postgresql://{quote(user)}@{self.host}:{self.port}/{quote(database)}"

    def connect(self, database: str, user: str = OWNER) -> psycopg.Connection:
        """A connection over the socket, in autocommit."""
        where: dict[str, Any] = {"host": str(self.folder), "port": self.port}
        return psycopg.connect(**where, dbname=database, user=user, autocommit=True, connect_timeout=60)

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run it as superuser; its rows."""
        with self.connect(database, "postgres") as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def database(self, prepare: Callable[[str], None] | None = None) -> str:
        """The conninfo of a new database. `prepare(conninfo)` fills one once, others are copies of it."""
        template = "template0" if prepare is None else self._template(prepare)
        name = f"db{next(self._numbers)}"
        self._create(name, template)
        return self.conninfo(name)

    def drop(self, conninfo: str) -> None:
        """Remove a database, whoever is connected."""
        name = sql.Identifier(conninfo.rpartition("/")[2])
        with self.connect("postgres", "postgres") as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))

    def _template(self, prepare: Callable[[str], None]) -> str:
        if prepare not in self._templates:
            name = f"template{len(self._templates) + 2}"
            self._create(name, "template0")
            prepare(self.conninfo(name))
            self._templates[prepare] = name
        return self._templates[prepare]

    def _create(self, name: str, template: str) -> None:
        with self.connect("postgres", "postgres") as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {} STRATEGY wal_log").format(
                    sql.Identifier(name), sql.Identifier(OWNER), sql.Identifier(template)
                )
            )

    def checkpoint(self) -> None:
        """Until all that is in memory lies in the data directory."""
        self.execute("CHECKPOINT")

    def wait_replayed(self, primary: Server, timeout: float = 30) -> None:
        """Until this standby has what the primary has now."""
        wanted = primary.execute("SELECT pg_current_wal_lsn()")[0][0]
        deadline = time.monotonic() + timeout
        while not self.execute(f"SELECT pg_last_wal_replay_lsn() >= '{wanted}'")[0][0]:
            if time.monotonic() > deadline:
                raise PeerError(f"not at {wanted} within {timeout:g} s\n{self.child.tail()}")
            time.sleep(0.02)  # nothing tells

    def dump(self, database: str) -> str:
        """All of its rows, as SQL."""
        return _run("pg_dump", "-h", self.folder, "-p", str(self.port), "-U", "postgres", database)

    def base_backup(self) -> Path:
        """A copy of all that the server has, with its WAL, in a folder of its own; the caller removes it."""
        folder = _own_folder("pgbackup")
        try:
            self._copy_to(folder, "--no-sync")
        except BaseException:
            shutil.rmtree(folder)
            raise
        return folder

    def _copy_to(self, folder: Path, *options: str) -> None:
        source = f"host={self.folder} port={self.port} user=postgres"
        _run("pg_basebackup", "-d", source, "-D", folder, "-X", "stream", "-c", "fast", *options)

    def standby(self, host: str | None = None) -> Server:
        """A standby that streams from this server; it runs."""
        other = Server(host or self.host, self.settings)
        try:
            self._copy_to(other.data, "-R", "--no-sync")
            return other.start()
        except BaseException:
            other.close()
            raise


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:  # a backend that has ended meanwhile
        return


def primary(host: str = "127.0.0.1", settings: Mapping[str, str] | None = None) -> Server:
    """A new server that runs, with its roles; the caller closes it."""
    server = Server(host, settings)
    try:
        server.make().start()
        server.execute(f"CREATE ROLE {OWNER} LOGIN")
        server.execute(f"CREATE ROLE {LOCKED} LOGIN PASSWORD '{PASSWORD}' IN ROLE {OWNER}")
    except BaseException:
        server.close()
        raise
    return server


def database_of(conninfo: str) -> str:
    """The name of the database that a conninfo of ours leads to."""
    return re.sub(r".*/", "", conninfo)


@contextmanager
def fresh(server: Server, prepare: Callable[[str], None] | None = None) -> Iterator[str]:
    """The conninfo of a database, and its end."""
    conninfo = server.database(prepare)
    try:
        yield conninfo
    finally:
        server.drop(conninfo)
