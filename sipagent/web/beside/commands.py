"""What takes long, or much memory, runs as a command in a process of its own: `check`, `verify`, `notice`.

One at a time is started by a button; what it said last is remembered until the page ends.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from sipagent.languages.reason import Reason

STARTED: Mapping[str, tuple[str, ...]] = {  # by a button: the command line of each
    "check": ("check", "--json"),
    "verify": ("verify", "--json"),
}
FRESH = timedelta(minutes=1)  # for so long an answer is given again
LONGEST = 8 << 20  # bytes of an answer that is read
_LOWEST = 19  # see nice(1)
_NOT_RUN = Reason("it could not be run; the log of the page says why")
_LINE = 2000  # characters of what a command says on stderr


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said: its `text`, and as `json` where it is some; `at`: its end.

    `code` is its exit code: 1 where it found something that is wrong. `aside`: its line on stderr; where it
    said nothing else, the `problem`.
    """

    at: datetime
    by: str
    code: int
    text: str = ""
    json: Any = None
    aside: str = ""
    problem: str | None = None


class Commands:
    """Any thread. `file` is the configuration that the commands read."""

    def __init__(self, file: Path, clock: Callable[[], datetime]) -> None:
        self._file = file.absolute()
        self._clock = clock
        self._lock = threading.Lock()
        self._one = threading.Lock()  # of those that are not started: no more memory than one takes
        self._last: dict[str, Answer] = {}
        self._recent: dict[tuple[str, tuple[str, ...]], Answer] = {}
        self._running: tuple[str, threading.Thread] | None = None

    @property
    def running(self) -> str | None:
        """The name of what was started and has not ended."""
        running = self._running
        return None if running is None else running[0]

    def last(self, name: str) -> Answer | None:
        """What it said when it ran last, since the page was started."""
        return self._last.get(name)

    def start(self, name: str, by: str) -> bool:
        """Begin one of STARTED; false while one of them runs. Its answer is `last`, when it has ended."""
        words = STARTED[name]
        with self._lock:
            if self._running is not None:
                return False
            thread = threading.Thread(target=self._run, args=(name, words, by), name=name, daemon=True)
            self._running = name, thread
        thread.start()
        return True

    def wait(self, timeout_s: float) -> bool:
        """Whether nothing that was started is running any more, after so long at most."""
        running = self._running
        if running is not None:
            running[1].join(timeout_s)
        return self._running is None

    def recent(self, *words: str, language: str = "en") -> Answer:
        """What a command says, or said less than a minute ago; the words are of a few, not of a person's."""
        with self._one:
            known = self._recent.get((language, words))
            if known is None or self._clock() - known.at > FRESH:
                known = self._recent[language, words] = self.answer(*words, language=language)
            return known

    def answer(self, *words: str, by: str = "", language: str = "en") -> Answer:
        """Run a command to its end, and say what it said, to people in this language."""
        options = ("--config", str(self._file), "--lang", language)
        command = [sys.executable, "-m", "sipagent", *options, *words]
        with (
            TemporaryFile() as told,
            subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=told
            ) as process,
        ):
            assert process.stdout is not None
            os.setpriority(os.PRIO_PROCESS, process.pid, _LOWEST)  # calls come first
            content = process.stdout.read(LONGEST + 1)
            if len(content) > LONGEST:
                process.kill()
            code = process.wait()
            told.seek(0)
            aside = told.read(_LINE * 4).decode(errors="replace").strip().rpartition("\n")[2][:_LINE]
        return self._read(words, by, code, content, aside.removeprefix("sipagent: "))

    def _read(self, words: tuple[str, ...], by: str, code: int, content: bytes, aside: str) -> Answer:
        made = Answer(self._clock(), by, code, content.decode(errors="replace"), aside=aside)
        if len(content) > LONGEST:
            said = Reason("its answer is too long for a page; see `sipagent {command}`", command=words[0])
            return replace(made, text="", problem=said)
        if not content:
            said = Reason(
                "`sipagent {command}` ended with {code}, and said nothing", command=words[0], code=code
            )
            return replace(made, problem=aside or said)
        if "--json" not in words:
            return made
        try:
            return replace(made, json=json.loads(content))
        except ValueError:
            said = Reason(
                "`sipagent {command}` ended with {code}, and what it said cannot be read",
                command=words[0],
                code=code,
            )
            return replace(made, problem=said)

    def _run(self, name: str, words: tuple[str, ...], by: str) -> None:
        answer = None
        try:
            answer = self.answer(*words, by=by)
        except OSError as fault:
            answer = Answer(self._clock(), by, 1, problem=fault.strerror)
        finally:
            self._last[name] = answer or Answer(self._clock(), by, 1, problem=_NOT_RUN)
            self._running = None
