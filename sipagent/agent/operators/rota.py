"""Whose turn it is among the operators, kept over a restart: one small file beside the database.

It only says where a round begins. Whatever is wrong with it, the round begins at the first operator.
"""

import json
from pathlib import Path

from retention.storage.files import write_whole

SIZE_LIMIT = 4096  # bytes; a file of ours is not larger


class Rota:
    """Not for the SIP thread: both wait for the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def last(self) -> str | None:
        """The SIP URI of who was rung last; None where nothing readable says it."""
        try:
            with self.path.open("rb") as file:
                kept = json.loads(file.read(SIZE_LIMIT))
        except (OSError, ValueError, RecursionError):  # missing, unreadable, cut off, not JSON, not UTF-8
            return None
        last = kept.get("last") if isinstance(kept, dict) else None
        return last if isinstance(last, str) else None

    def keep(self, last: str) -> None:
        """Raises OSError."""
        write_whole(self.path, json.dumps({"last": last}).encode() + b"\n")
