"""Says beside a database that it has moved: where to, when, and until when what is left here must go.

`retention.moved` is JSON. It is there from the moment in which a move begins; once the move is `done`, no
row is written here any more, or calls would be told of in two places. What stays is a copy as a backup is
one: it outlives what is purged where the rows are now.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from retention.recording import RecordError, from_text, parse_json, to_text
from retention.storage.files import write_whole

_VERSION = "sipagent-moved-1"
_LIMIT = 1 << 16  # bytes; no note of ours is longer


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """`to`: a URL without a password, or a path. `until`: when the first recording here expires; null where
    none does. `database`: the file's name here, empty where it is none. Times are UTC."""

    to: str
    at: datetime
    until: datetime | None = None
    done: bool = False
    database: str = ""

    def text(self) -> str:
        """As it is written."""
        told = {
            "version": _VERSION,
            "to": self.to,
            "at": to_text(self.at),
            "until": self.until and to_text(self.until),
            "done": self.done,
            "database": self.database,
        }
        return json.dumps(told)

    def keep(self, path: Path) -> None:
        """Write it down. Raises OSError."""
        write_whole(path, self.text().encode() + b"\n")


def read_moved(path: Path) -> Moved | None:
    """What is written there; None without such a file. Raises RecordError for another one, OSError."""
    try:
        with path.open("rb") as file:
            told = parse_json(file.read(_LIMIT).decode())
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as wrong:
        raise RecordError(f"{path.name}: not readable") from wrong
    try:
        if told["version"] != _VERSION:
            raise ValueError("of another version")
        until = told["until"]
        return Moved(
            to=str(told["to"]),
            at=from_text(told["at"]),
            until=None if until is None else from_text(until),
            done=bool(told["done"]),
            database=str(told["database"]),
        )
    except (ValueError, KeyError, TypeError) as wrong:
        raise RecordError(f"{path.name}: not readable") from wrong
