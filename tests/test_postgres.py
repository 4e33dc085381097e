"""The tests' own PostgreSQL: what the tests of more than one host build upon."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator

import psycopg
import pytest

from tests.postgres import LOCKED, PASSWORD, Server, database_of, fresh, primary, programs
from tests.relay import relayed


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One that may be killed."""
    with primary("127.0.0.9") as server:
        yield server


def fill(conninfo: str) -> None:
    with psycopg.connect(conninfo) as connection:
        connection.execute('CREATE TABLE said (word text COLLATE "C")')
        connection.execute("INSERT INTO said VALUES ('é'), ('z'), ('Z')")


def words(conninfo: str) -> list[str]:
    with psycopg.connect(conninfo, connect_timeout=3) as connection:
        return [row[0] for row in connection.execute("SELECT word FROM said ORDER BY word")]


def test_a_database_is_empty_and_its_own(postgres: Server, database: str) -> None:
    with psycopg.connect(database) as connection:
        version, encoding, collation = connection.execute(
            "SELECT current_setting('server_version_num')::int / 10000, getdatabaseencoding(),"
            " (SELECT datcollate FROM pg_database WHERE datname = current_database())"
        ).fetchone() or (0, "", "")
        assert (str(version), encoding, collation) == (programs().parent.name, "UTF8", "C")
        connection.execute("CREATE TABLE mine (n int)")
    with fresh(postgres) as other, psycopg.connect(other) as connection:
        assert connection.execute("SELECT to_regclass('mine')").fetchone() == (None,)


def test_copies_of_what_was_filled_once_are_made_soon(postgres: Server) -> None:
    with fresh(postgres, fill):
        pass
    before = time.monotonic()
    with fresh(postgres, fill) as conninfo:
        taken = time.monotonic() - before
        assert words(conninfo) == ["Z", "z", "é"]
    assert taken < 2, "a copy is to take some 50 ms"


def test_a_password_is_asked_of_one_role(postgres: Server, database: str) -> None:
    asking = postgres.conninfo(database_of(database), LOCKED)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(asking)
    psycopg.connect(asking, password=PASSWORD).close()


def test_what_was_committed_outlives_a_kill(server: Server) -> None:
    with fresh(server, fill) as conninfo:
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            words(conninfo)
        server.start()
        assert words(conninfo) == ["Z", "z", "é"]
        server.restart()
        assert words(conninfo) == ["Z", "z", "é"]


def test_a_paused_server_takes_connections_and_says_nothing(server: Server) -> None:
    with fresh(server, fill) as conninfo:
        server.pause()
        with pytest.raises(psycopg.OperationalError, match="timeout"):
            psycopg.connect(conninfo, connect_timeout=2)
        server.resume()
        assert len(words(conninfo)) == 3


def test_a_standby_follows_and_takes_over(server: Server) -> None:
    with fresh(server) as conninfo, server.standby("127.0.0.10") as standby:
        fill(conninfo)
        standby.wait_replayed(server)
        there = standby.conninfo(database_of(conninfo))
        both = (
            f"postgresql://sipagent@{server.host}:{server.port},{standby.host}:{standby.port}/"
            f"{database_of(conninfo)}?target_session_attrs=read-write"
        )
        assert words(there) == ["Z", "z", "é"]
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            fill(there)
        server.kill()
        standby.promote()
        with psycopg.connect(both) as connection:
            connection.execute("INSERT INTO said VALUES ('a')")
        assert words(there) == ["Z", "a", "z", "é"]
        server.start()


def test_a_base_backup_holds_what_the_server_holds(server: Server) -> None:
    with fresh(server, fill) as conninfo:
        with psycopg.connect(conninfo) as connection:
            connection.execute("INSERT INTO said VALUES ('a word that is looked for')")
        copy = server.base_backup()
        try:
            found = [
                p for p in copy.rglob("*") if p.is_file() and b"a word that is looked for" in p.read_bytes()
            ]
            assert found
        finally:
            shutil.rmtree(copy)


def test_a_line_is_cut_or_falls_silent(server: Server) -> None:
    with fresh(server, fill) as conninfo, relayed((server.host, server.port)) as relay:
        via = conninfo.replace(f"{server.host}:{server.port}", "{}:{}".format(*relay.address))
        with psycopg.connect(via, autocommit=True) as connection:
            assert len(words(via)) == 3
            relay.stall()
            with pytest.raises(psycopg.OperationalError, match="timeout"):
                psycopg.connect(via, connect_timeout=2)
            relay.flow()
            assert connection.execute("SELECT 1").fetchone() == (1,)
            relay.cut()
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
            with pytest.raises(psycopg.OperationalError, match="refused"):
                psycopg.connect(via)
            relay.flow()
            assert len(words(via)) == 3
