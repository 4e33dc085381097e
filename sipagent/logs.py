"""The log: on stderr, one JSON object a line, or for people.

Where many processes write to one stderr each line says whose it is, and stays a line of its own: it goes out
in one write of at most PIPE_BUF bytes, which a pipe takes whole (POSIX, write(2)).

Where stderr is systemd's journal, each line begins with its priority, `<3>`, which the journal takes off
(sd-daemon(3)): so `journalctl -p warning` finds what somebody has to see to.
"""

import io
import logging
import os
import select
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO, cast

import structlog

log = structlog.get_logger(__name__)

CUT = "…"
LONGEST = select.PIPE_BUF - len("<3>")  # bytes, with the end of the line
PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}  # of syslog(3)


def configure_log(as_json: bool, process: str = "") -> None:
    """Log to stderr: one JSON object a line, or for people. `process`: whose lines these are, if of many."""

    def named(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        return {**event, "process": process} if process else event

    shape: structlog.typing.Processor = (
        whole_line if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    if to_journal():
        shape = with_priority(shape)
    structlog.configure(
        processors=[
            told_of,
            named,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            shape,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: structlog.WriteLogger(STDERR),
    )


alerted: Callable[[str, str | None], None] | None = None
"""Called with the reason of each alert, and its call if it has one. On any thread; it waits for nothing."""


def told_of(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Pass on an alert."""
    if event["event"] == "alert" and alerted is not None:
        alerted(str(event["reason"]), event.get("call"))
    return event


class Stderr(io.TextIOBase):
    """Standard error, whichever it is by then. That nobody reads it any more must end no call."""

    def write(self, text: str) -> int:
        with suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()


STDERR = cast(TextIO, Stderr())
_as_json = structlog.processors.JSONRenderer()


def whole_line(logger: object, name: str, event: structlog.typing.EventDict) -> str:
    """JSON of less than LONGEST bytes: the longest texts are cut, and end with an ellipsis."""
    event = dict(event)
    while len(line := str(_as_json(logger, name, event))) >= LONGEST:  # its end of line counts too
        longest = max(event, key=lambda key: len(str(event[key])))
        text = str(event[longest]).removesuffix(CUT)
        event[longest] = text[: len(text) // 2] + CUT
    return line


def to_journal() -> bool:
    """Whether stderr goes to systemd's journal (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        stderr = os.fstat(sys.stderr.fileno())
    except OSError:  # no file at all
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stderr.st_dev}:{stderr.st_ino}"


def with_priority(shape: structlog.typing.Processor) -> structlog.typing.Processor:
    """A shape of lines with the priority before each, as the journal reads it (sd-daemon(3))."""

    def line(logger: object, name: str, event: structlog.typing.EventDict) -> str:
        priority = PRIORITIES[event["level"]]
        return f"<{priority}>{shape(logger, name, event)!s}"

    return line


def alert(reason: str) -> None:
    """Say what somebody has to see to."""
    log.error("alert", reason=reason)
