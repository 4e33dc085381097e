"""What a check finds, and numbers of things as people read them."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `sipagent check`: `what` was checked (a key, a file, a part), `detail` is the result."""

    level: Level
    what: str
    detail: str


def counted(count: int, word: str, several: str = "") -> str:
    """`1 recording`, `2 recordings`; `several` where it is not the word with an s."""
    return f"{count} {word if count == 1 else several or word + 's'}"


def ok(what: str, detail: str) -> Finding:
    """It is as it must be."""
    return Finding("ok", what, detail)


def warning(what: str, detail: str) -> Finding:
    """The agent runs, but somebody should look at it."""
    return Finding("warning", what, detail)


def error(what: str, detail: str) -> Finding:
    """The agent does not run well, or not lawfully."""
    return Finding("error", what, detail)
