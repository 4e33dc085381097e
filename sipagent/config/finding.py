"""What a check finds."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `sipagent check`: `what` was checked (a key, a file, a part), `detail` is the result."""

    level: Level
    what: str
    detail: str


def ok(what: str, detail: str) -> Finding:
    """It is as it must be."""
    return Finding("ok", what, detail)


def warning(what: str, detail: str) -> Finding:
    """The agent runs, but somebody should look at it."""
    return Finding("warning", what, detail)


def error(what: str, detail: str) -> Finding:
    """The agent does not run well, or not lawfully."""
    return Finding("error", what, detail)
