"""One text that several hosts change in turn, and words from one to the others: table `board_state`.

    take the turn, read     one round trip: an advisory lock, which ends with the transaction
    decide                  here; a host that stands still meanwhile loses its turn after `TURN_MS`
    write, tell, commit     one more: a row with the next revision; the one before it goes; `NOTIFY`

Nothing waits longer than its caller says, whatever the network does with packets.

The table is unlogged. What is in it is of now, and each host can tell its own part anew: after a crash, or on
a standby that becomes the primary, it is empty. So no log, no standby and no base backup ever holds it. Rows
are found from the newest revision on, so dead ones that a long transaction elsewhere keeps cost nothing.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Escaping

from retention.postgres.connection import TimedConnection

TABLE = """
CREATE UNLOGGED TABLE IF NOT EXISTS board_state (revision bigint PRIMARY KEY, state text NOT NULL)
WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000)
"""
TURN = 0x5349, 0x424F  # the advisory lock's key
TURN_MS = 300  # for one host to decide in
CHANNEL = "sipagent_board"
LONGEST_WORD = 7900  # bytes; NOTIFY takes less than 8000
CONNECT_S = 3
_DEFAULTS = {
    "target_session_attrs": "read-write",
    "connect_timeout": str(CONNECT_S),
    "tcp_user_timeout": "2000",
    "keepalives_idle": "2",
    "keepalives_interval": "1",
    "keepalives_count": "3",
    "application_name": "sipagent board",
}
_BEGIN = f"""
BEGIN ISOLATION LEVEL READ COMMITTED;
SELECT pg_advisory_xact_lock({TURN[0]}, {TURN[1]});
SELECT extract(epoch FROM clock_timestamp()), latest.revision, latest.state
FROM (SELECT) AS one
LEFT JOIN LATERAL (SELECT * FROM board_state ORDER BY revision DESC LIMIT 1) AS latest ON true
"""

Answer = TypeVar("Answer")
Change = Callable[[str | None, float], tuple[str, list[str], Answer]]
"""From the text, None where there is none, and the database's clock, seconds since the epoch: the next text,
words for all hosts, and what is answered."""


class BoardAway(Exception):
    """The shared database does not answer, or not in time; `str()` is one line that says why."""


class BoardRows:
    """A connection, for one thread. Raises BoardAway wherever it cannot go on; then it is to be closed."""

    def __init__(self, url: str, password: str | None = None) -> None:
        """Connect, within `CONNECT_S` for each host of the URL."""
        self._words: list[str] = []  # of notices that have come
        try:
            given = conninfo_to_dict(url)
            defaults = {name: value for name, value in _DEFAULTS.items() if name not in given}
            if password is not None:
                defaults["password"] = password
            self._connection = TimedConnection.connect(make_conninfo(url, **defaults), autocommit=True)
        except psycopg.Error as error:
            raise BoardAway(_one_line(str(error))) from error
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        until = time.monotonic() + CONNECT_S
        settings = {
            "idle_in_transaction_session_timeout": TURN_MS,
            "lock_timeout": 2 * TURN_MS,
            "statement_timeout": 2 * TURN_MS,
            "synchronous_commit": "off",
        }
        sets = "; ".join(f"SET {name} = {value}" for name, value in settings.items())
        self._connection.add_notify_handler(lambda told: self._words.extend(told.payload.split()))
        if self._ask("SELECT to_regclass('board_state')", until) == (None,):
            self._ask(TABLE, until)
        self._ask(f"{sets}; LISTEN {CHANNEL}", until)

    def fileno(self) -> int:
        """Readable where `heard` has something."""
        return self._connection.fileno()

    def close(self) -> None:
        """Let go of the connection, and of the turn with it."""
        self._connection.close()

    def change(self, change: Change[Answer], until: float) -> Answer:
        """Take a turn. `until` (monotonic seconds): after that BoardAway, and nobody knows whether it counts.

        What `change` raises goes through, and nothing is changed.
        """
        clock, revision, state = self._ask(_BEGIN, until)
        before = int(revision or 0)
        try:
            after, words, answer = change(state, float(clock))
        except BaseException:
            self._ask("ROLLBACK", until)
            raise
        writing = [
            f"INSERT INTO board_state VALUES ({before + 1}, {self._quoted(after)})",
            f"DELETE FROM board_state WHERE revision = {before}",
            *(f"NOTIFY {CHANNEL}, {self._quoted(text)}" for text in _joined(words)),
            "COMMIT",
        ]
        self._ask("; ".join(writing), until)
        return answer

    def heard(self) -> list[str]:
        """The words that have come from other hosts, and from here."""
        try:
            self._connection.pgconn.consume_input()
            while (told := self._connection.pgconn.notifies()) is not None:
                self._words += told.extra.decode().split()
        except psycopg.Error as error:
            raise BoardAway(_one_line(str(error))) from error
        words, self._words = self._words, []
        return words

    def _quoted(self, text: str) -> str:
        try:
            return Escaping(self._connection.pgconn).escape_literal(text.encode()).decode()
        except psycopg.Error as error:
            raise BoardAway(_one_line(str(error))) from error

    def _ask(self, statements: str, until: float) -> tuple[Any, ...]:
        """The first row that the last of the statements gives, empty without one."""
        self._connection.answer_s = max(0.0, until - time.monotonic())
        try:
            cursor = self._connection.execute(statements.encode())
            while cursor.nextset():
                pass
            return (cursor.fetchone() or ()) if cursor.description else ()
        except psycopg.Error as error:
            raise BoardAway(_one_line(str(error))) from error


def _joined(words: list[str]) -> Iterator[str]:
    """The words, as few texts as may be; none of them is longer than a few dozen bytes."""
    text = ""
    for word in words:
        if len(text) + 1 + len(word) > LONGEST_WORD:
            yield text
            text = ""
        text = f"{text} {word}" if text else word
    if text:
        yield text


def _one_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0] if lines else "the connection is lost"
