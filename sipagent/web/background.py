"""Runs in the background what takes long, while the page answers: commands, figures, overdue duties.

    Commands       `check`, `verify`, `status`, `register`, `notice`: each a process of its own. A button
                   starts one at a time; its last output is remembered until the page ends.
    FigureCounter  counts the figures of a period: a million rows take a while. It takes one period at a
                   time, in the order in which they were asked for.
    DueLook        looks for duties that are overdue: it takes a while among many recordings.

Nobody waits for them; a result is given again for a minute.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from retention.archive import Archive
from retention.clock import read_clock, suspended
from retention.erase import stuck
from retention.holds import reviews_overdue
from retention.marks import ArchiveError
from retention.purge import overdue
from retention.records import Access, Record, from_text
from retention.rows.rows import Rows, StoreError
from retention.rows.selection import Selection
from retention.stamps import proven
from retention.statistics import Statistics
from retention.texts import APART, Reason, strerror, together
from sipagent.config.load import Config
from sipagent.languages.labels import N_
from sipagent.operations.statistics import Row, Through, count_period, no_figures
from sipagent.text.statistics import Tally

STARTED: Mapping[str, tuple[str, ...]] = {  # by a button: the command line of each
    "check": ("check", "--json"),
    "verify": ("verify", "--json"),
}
FRESH = timedelta(minutes=1)  # for so long an answer is given again
LONGEST = 8 << 20  # bytes of an answer that is read
LOWEST = 19  # see nice(1)
_NOT_RUN = Reason("it could not be run; the log of the page says why")
_LINE = 2000  # characters of what a command says on stderr


@dataclass(frozen=True, slots=True)
class CommandOutcome:
    """The output of a command: its `text`, and as `json` where it is some; `at`: when the command ended.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran(Record):
    """How a command ended: its exit code and its JSON, or in its place the line of a `problem`."""

    at: datetime
    by: str
    exit: int
    said: Any
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Record):
    """Whether a command runs, and how it ended last, since the page was started."""

    running: bool
    last: Ran | None


class Background:
    """Any thread asks; one of its own works, while there is something to do."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> str | None:
        """The name of what was begun and has not ended."""
        thread = self._thread
        return None if thread is None else thread.name

    def wait(self, timeout_s: float) -> bool:
        """Whether nothing runs any more, after so long at most."""
        with self._lock:
            thread = self._thread
        if thread is not None:
            thread.join(timeout_s)
        return self._thread is None

    def _begin(self, name: str, work: Callable[[], object]) -> bool:
        """False while something runs."""

        def run() -> None:
            try:
                work()
            finally:
                self._thread = None

        with self._lock:
            if self._thread is not None:
                return False
            self._thread = threading.Thread(target=run, name=name, daemon=True)
            self._thread.start()
        return True


class Commands(Background):
    """`file` is the configuration that the commands read."""

    def __init__(self, file: Path, clock: Callable[[], datetime]) -> None:
        super().__init__()
        self._file = file.absolute()
        self._clock = clock
        self._one = threading.Lock()  # of those that are not started: no more memory than one takes
        self._last: dict[str, CommandOutcome] = {}
        self._recent: dict[tuple[str, tuple[str, ...]], CommandOutcome] = {}

    def last(self, name: str) -> CommandOutcome | None:
        """The output of its last run since the page was started."""
        return self._last.get(name)

    def report(self, name: str) -> Report:
        """Whether it runs, and what it said last."""
        running = self.running == name  # first: it has ended since, at worst
        last = self.last(name)
        if last is None:
            return Report(running=running, last=None)
        ran = Ran(at=last.at, by=last.by, exit=last.code, said=last.json, problem=last.problem)
        return Report(running=running, last=ran)

    def start(self, name: str, by: str) -> bool:
        """Begin one of STARTED; false while one of them runs. Its answer is `last`, when it has ended."""

        def run() -> None:
            answer = CommandOutcome(self._clock(), by, 1, problem=_NOT_RUN)
            try:
                answer = self.answer(*STARTED[name], by=by)
            except OSError as fault:
                answer = replace(answer, problem=strerror(fault))
            finally:
                self._last[name] = answer

        return self._begin(name, run)

    def recent(self, *words: str, language: str = "en") -> CommandOutcome:
        """Its output, at most a minute old. `words` come from a fixed list, never from a person."""
        with self._one:
            known = self._recent.get((language, words))
            if known is None or self._clock() - known.at > FRESH:
                known = self._recent[language, words] = self.answer(*words, language=language)
            return known

    def answer(self, *words: str, by: str = "", language: str = "en") -> CommandOutcome:
        """Run a command to its end, and say what it said, to people in this language."""
        options = ("--config", str(self._file), "--lang", language)
        command = [sys.executable, "-m", "sipagent", *options, *words]
        is_shown = words in STARTED.values() or words == ("notice", "--lint", "--json")  # in a language
        environment = {**os.environ, APART: "1"} if is_shown else None
        with (
            TemporaryFile() as told,
            subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=told
            ) as process,
        ):
            assert process.stdout is not None
            os.setpriority(os.PRIO_PROCESS, process.pid, LOWEST)  # calls come first
            content = process.stdout.read(LONGEST + 1)
            if len(content) > LONGEST:
                process.kill()
            code = process.wait()
            told.seek(0)
            aside = told.read(_LINE * 4).decode(errors="replace").strip().rpartition("\n")[2][:_LINE]
        return self._read(words, by, code, content, aside.removeprefix("sipagent: "))

    def _read(self, words: tuple[str, ...], by: str, code: int, content: bytes, aside: str) -> CommandOutcome:
        made = CommandOutcome(self._clock(), by, code, content.decode(errors="replace"), aside=aside)
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
            return replace(made, json=json.loads(content, object_hook=together))
        except ValueError:
            said = Reason(
                "`sipagent {command}` ended with {code}, and what it said cannot be read",
                command=words[0],
                code=code,
            )
            return replace(made, problem=said)


MOST_PERIODS = 12  # periods that are remembered, and as many that wait


@dataclass(frozen=True, slots=True)
class CountedFigures:
    """The figures of a period, or the `problem` that kept them from being counted.

    `tally`: of each table, its rows and those that the chain knows of. `parts`: what was drawn of it, by
    language.
    """

    at: datetime
    figures: Statistics
    tally: Tally
    problem: str | None = None
    parts: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Progress(Record):
    """How far it is: rows that were counted, of how many at most."""

    done: int = 0
    total: int = 0

    def through(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The same rows, each counted."""
        for row in rows:
            self.done += 1
            yield row


class FigureCounter(Background):
    """Counts one period after the other."""

    def __init__(self, store: Callable[[], Rows], config: Config, clock: Callable[[], datetime]) -> None:
        super().__init__()
        self._store = store
        self._config = config
        self._clock = clock
        self._counted: OrderedDict[Selection, tuple[float, CountedFigures]] = OrderedDict()
        self._asked: OrderedDict[Selection, Progress] = OrderedDict()

    def of(self, period: Selection) -> CountedFigures | Progress:
        """The figures; or how far they are, for who asks again. A period may have to ask twice to wait."""
        with self._lock:
            known = self._counted.get(period)
            if known is not None and time.monotonic() - known[0] < FRESH.total_seconds():
                return known[1]
            if period not in self._asked and len(self._asked) < MOST_PERIODS:
                self._asked[period] = Progress()
            progress = self._asked.get(period) or Progress()
        self._begin("counting", self._count)
        return progress

    def _count(self) -> None:
        while asked := self._next():
            period, progress = asked

            def through(total: int, progress: Progress = progress) -> Through:
                progress.total = total
                return progress.through

            try:
                counted = CountedFigures(
                    self._clock(), *count_period(self._config, self._store(), period, through)
                )
            except StoreError as error:
                counted = CountedFigures(self._clock(), no_figures(self._config), {}, str(error))
            with self._lock:
                self._counted[period] = time.monotonic(), counted
                self._counted.move_to_end(period)
                while len(self._counted) > MOST_PERIODS:
                    self._counted.popitem(last=False)
                del self._asked[period]

    def _next(self) -> tuple[Selection, Progress] | None:
        with self._lock:
            return next(iter(self._asked.items()), None)


_FAILED = Reason(N_("this could not be looked at; the log of the page says why"))
_LOOKED_AT = 2000  # of the newest lines of the trace, for a purge among them


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """The duties of the service and their state `at` a time, or the `problem` that hides it.

    `purged`: when the last purge ended, as the running agent says, or `unknown`: why nobody knows. `removed`:
    the last line of the trace that tells of one. `suspended`: why purging waits. `late`: recordings that
    should have been gone for a day. `unerased`: ids of what its call had wanted erased.
    """

    at: datetime
    purged: datetime | None = None
    unknown: str | None = None
    removed: Access | None = None
    suspended: str | None = None
    late: int = 0
    unerased: tuple[str, ...] = ()
    reviews: int = 0
    problem: str | None = None


class DueLook(Background):
    """Looks when what it saw last is older than a minute."""

    def __init__(self, look: Callable[[], Due], clock: Callable[[], datetime]) -> None:
        super().__init__()
        self._look = look
        self._clock = clock
        self._seen: Due | None = None

    def seen(self) -> Due | None:
        """The last look; an old one starts the next look in the background. None before the first."""

        def run() -> None:
            looked = Due(at=self._clock(), problem=_FAILED)
            try:
                looked = self._look()
            finally:
                self._seen = looked

        seen = self._seen
        if seen is None or self._clock() - seen.at > FRESH:
            self._begin("due", run)
        return seen


def due_of(archive: Archive, config: Config, commands: Commands, now: datetime) -> Due:
    """Look at all of it; a fault of the database or a disk is its problem."""
    try:
        return _due_of(archive, config, commands, now)
    except (StoreError, ArchiveError, OSError) as error:
        return Due(at=now, problem=str(error))


def _due_of(archive: Archive, config: Config, commands: Commands, now: datetime) -> Due:
    store, kept = archive.store, config.retention
    status = commands.recent("status", "--json")
    purged = status.json and status.json["last_purge"]
    newest = islice(store.each_access(newest=True), _LOOKED_AT)
    return Due(
        at=now,
        purged=from_text(purged) if purged else None,
        unknown=_unknown(config, status),
        removed=next((use for use in newest if use.action == "purge" and use.outcome == "done"), None),
        suspended=suspended(store, read_clock(), proven(store, kept.timestamp_ca)),
        late=overdue(store, now, kept.period),
        unerased=tuple(stuck(archive)),
        reviews=reviews_overdue(store, now.astimezone(config.service.timezone).date()),
    )


def _unknown(config: Config, status: CommandOutcome) -> str | None:
    """Why nobody knows how the agent is; None: it has said it."""
    if config.metrics.listen is None:
        return Reason(N_("not known: the agent is set to tell nobody"))
    return None if status.problem is None else Reason(N_("not known: the agent does not answer"))
