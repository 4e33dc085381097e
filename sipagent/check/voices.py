"""What `check` can tell of the voices that colleagues have lent: dates, and who else may read them."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from media.prompt import PromptError
from media.training.enrolled import EnrolledError, Person
from sipagent.config.finding import Finding, counted, error, ok, warning
from sipagent.config.load import Config, ConfigError
from sipagent.enrol.keeping import expires_at, heads_of, voices
from sipagent.enrol.network import callers
from sipagent.enrol.script import LANGUAGES, ScriptError, default_phrases, script

SOON = timedelta(days=30)
WHAT = "enrol.folder"


def lent_voice_findings(config: Config, now: datetime) -> Iterator[Finding]:
    """Who may lend one; whether what must go has gone, can be read, and by nobody else. `now` is aware."""
    yield from _prompts(config)
    yield from _callers(config)
    try:
        yield from _voices(config, now)
    except OSError as problem:
        yield error(WHAT, f"{problem.filename}: {problem.strerror}")


def _prompts(config: Config) -> Iterator[Finding]:
    """Whether the phrases of the configuration can be asked for, in its language."""
    if config.enrol is None:
        return
    language = config.service.language
    if language not in LANGUAGES:
        spoken = " or ".join(LANGUAGES)
        yield warning("enrol", f"no prompts in {language}; accepted: `sipagent enrol --speech` {spoken}")
        return
    try:
        script(default_phrases(config.refusal.keywords, language), language, config.enrol.prompts)
    except ScriptError as wrong:
        yield warning("enrol", str(wrong))
    except PromptError as wrong:
        yield error("enrol.prompts", str(wrong))


def _callers(config: Config) -> Iterator[Finding]:
    """Whether calls from outside could be taken for a colleague's."""
    if config.enrol is None:
        return
    try:
        _, doubts = callers(config)
    except ConfigError as wrong:
        yield error(wrong.key, wrong.problem)
        return
    for doubt in doubts:
        yield warning("enrol.colleagues", doubt)


def _voices(config: Config, now: datetime) -> Iterator[Finding]:
    found = list(voices(config.voices))
    for place, person in found:
        if isinstance(person, EnrolledError):
            yield error(WHAT, str(person))
        until = expires_at(place, person, config.voices_days)
        if until <= now:
            yield error(WHAT, f"{place.name}: expired on {until:%Y-%m-%d}: see `sipagent purge`")
        elif until <= now + SOON and (heads := heads_of(config.refusal.heads, place.name)):
            named = ", ".join(head.name for head in heads)
            yield warning(WHAT, f"{place.name}: expires on {until:%Y-%m-%d}, and {named} with it")
    yield from _readable(config.voices, [place for place, _ in found])
    ends = [
        expires_at(place, person, config.voices_days) for place, person in found if isinstance(person, Person)
    ]
    if ends:
        yield ok(WHAT, f"{counted(len(ends), 'voice')}, the first until {min(ends):%Y-%m-%d}")
    elif config.enrol is not None and not found:
        yield ok(WHAT, "nobody has lent a voice")


def _readable(folder: Path, places: list[Path]) -> Iterator[Finding]:
    """A folder that others may enter, or a file that they may read; one is named, as all are made alike."""
    open_ones = [one for one in (folder, *places) if one.exists() and one.stat().st_mode & 0o077]
    files = [file for place in places for file in sorted(place.iterdir()) if file.stat().st_mode & 0o077]
    for path, right in [*((one, "0700") for one in open_ones), *((one, "0600") for one in files)][:1]:
        mode = path.stat().st_mode & 0o777
        yield warning(WHAT, f"others on this machine may read {path} (mode {mode:04o}); chmod {right}")
