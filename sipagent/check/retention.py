"""What `check` can tell of what is kept: whether it is removed in time, holds are reviewed, the chain is
whole, time stamps still come, a copy that `migrate` left outlives what is purged, and voices that
colleagues have lent go when they must and are read by nobody else.

Reads the database and changes nothing in it; only `verify` reads every entry and every file.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from media.prompt import PromptError
from media.training.enrolled import EnrolledError, EnrolledPerson
from retention import stamps
from retention.archive import Archive
from retention.clock import ClockReading, read_clock, suspended
from retention.erase import stuck
from retention.files import Moved, Places, read_moved
from retention.holds import reviews_overdue
from retention.outbox import waiting
from retention.purge import OVERDUE, ahead_of, due, plan
from retention.rebuild import BEGUN_ANEW, is_lost
from retention.records import RecordError
from retention.reserve import lasting_problems
from retention.rows.chain import DAMAGED, ChainHead, ChainHeadError, damaged_path, read_head
from retention.rows.rows import Rows, StoreError, TryAgain
from retention.shortfall import not_recorded
from retention.stamps import FolderStamps, StampError, newest, proven, stamps_beside
from retention.texts import Reason, joined, reason_of, strerror
from sipagent.agent.stored import archive_of, is_here, is_there, store_of
from sipagent.config.errors import Finding, counted, error, ok, warning
from sipagent.config.load import Config, ConfigError
from sipagent.enrol.driver import LANGUAGES, ScriptError, callers, default_phrases, script
from sipagent.enrol.keeping import expires_at, heads_of, voices
from sipagent.service.purging import RESUMES

NOT_RECORDED = timedelta(days=7)
EVENTS_LATE = timedelta(hours=1)
STAMP_LATE = timedelta(days=1)  # the agent stamps every hour


def stamp_findings(config: Config, now: datetime) -> Iterator[Finding]:
    """Look at library, certificates and newest stamp; no finding if none are configured. `now` is aware."""
    url, ca = config.retention.timestamp_url, config.retention.timestamp_ca
    if ca is None:  # then there is no url, either
        return
    if not stamps.library_installed():
        yield error("retention.timestamp_url" if url else "retention.timestamp_ca", stamps.NO_LIBRARY)
        return
    if url:
        yield ok("retention.timestamp_url", url)
    yield _certificates(ca)
    if url and is_there(config):
        yield from _stamps_kept(config, now)


def _certificates(file: Path) -> Finding:
    what = "retention.timestamp_ca"
    try:
        found = stamps.certificates(file)
    except StampError as wrong:
        return error(what, str(wrong))
    roots = [certificate for certificate in found if certificate.issuer == certificate.subject]
    if not roots:
        return error(what, "{0}: no root among its certificates, so no stamp can be trusted", file)
    return ok(what, "{0} vouches by {1}", file, ", ".join(root.subject.rfc4514_string() for root in roots))


def _stamps_kept(config: Config, now: datetime) -> Iterator[Finding]:
    """Those of this host, or of all; where these do not answer, that has been said."""
    try:
        if is_here(config):
            yield _newest(FolderStamps(config.places.stamps), read_head(config.places.head), now)
            return
        with store_of(config) as store:
            yield _newest(stamps_beside(store), store.head(), now)
    except TryAgain:
        return
    except (StampError, ChainHeadError, StoreError, OSError) as wrong:
        yield error("stamps", str(wrong))


def _newest(kept: FolderStamps, head: ChainHead | None, now: datetime) -> Finding:
    """If the head moves but no stamp comes, no third party has seen it. Raises StampError, OSError."""
    last = newest(kept)
    if last is None:
        return warning("stamps", "none yet: see `sipagent stamp`")
    detail = Reason("the newest, of entry {0}, is from {1:%Y-%m-%d %H:%M} UTC", last.seq, last.at)
    if head is not None and head.seq > last.seq and now - last.at > STAMP_LATE:
        return warning("stamps", "{0}, and more was written since: see `sipagent stamp`", detail)
    return ok("stamps", detail)


_MIGRATE = "migrate"


def moved_findings(places: Places, now: datetime) -> Iterator[Finding]:
    """Look for databases whose rows are elsewhere by now, in the folder of the present one. `now` is aware.
    Raises OSError."""
    for path in places.notes_of_moves():
        try:
            note = read_moved(path)
        except RecordError as problem:
            yield error(_MIGRATE, str(problem))
            continue
        if note is not None and (file := path.with_name(note.database)).exists():
            yield _moved(file, note, now, used=file == places.database)


def _moved(file: Path, note: Moved, now: datetime, *, used: bool) -> Finding:
    if not note.done:
        begun = Reason(
            "{0}: moving to {1} was begun at {2:%Y-%m-%d %H:%M} UTC, and not ended", file, note.to, note.at
        )
        return error(_MIGRATE, "{0}: what is there is a copy; see `sipagent migrate`", begun)
    if used:
        return error(
            _MIGRATE, "{0}: its rows have moved to {1}, and nothing is written here any more", file, note.to
        )
    said = Reason("{0} is still there, its rows have moved to {1}", file, note.to)
    if note.until is not None and note.until <= now:
        return error(_MIGRATE, "{0}: remove it with its recordings, the first have expired", said)
    until = "" if note.until is None else Reason(" by {0:%Y-%m-%d}", note.until)
    return warning(_MIGRATE, "{0}: remove it{1}, once all goes well", said, until)


VOICES_SOON = timedelta(days=30)
VOICES = "enrol.folder"


def lent_voice_findings(config: Config, now: datetime) -> Iterator[Finding]:
    """Who may lend one; whether what must go has gone, can be read, and by nobody else. `now` is aware."""
    yield from _lending_prompts(config)
    yield from _lending_callers(config)
    try:
        yield from _voices(config, now)
    except OSError as problem:
        yield error(VOICES, "{0}: {1}", problem.filename, strerror(problem))


def _lending_prompts(config: Config) -> Iterator[Finding]:
    """Whether the phrases of the configuration can be asked for, in its language."""
    if config.enrol is None:
        return
    language = config.service.language
    if language not in LANGUAGES:
        spoken = " or ".join(LANGUAGES)
        yield warning("enrol", "no prompts in {0}; accepted: `sipagent enrol --speech` {1}", language, spoken)
        return
    try:
        script(default_phrases(config.refusal.keywords, language), language, config.enrol.prompts)
    except ScriptError as wrong:
        yield warning("enrol", str(wrong))
    except PromptError as wrong:
        yield error("enrol.prompts", reason_of(wrong))


def _lending_callers(config: Config) -> Iterator[Finding]:
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
            yield error(VOICES, reason_of(person))
        until = expires_at(place, person, config.voices_days)
        if until <= now:
            yield error(VOICES, "{0}: expired on {1:%Y-%m-%d}: see `sipagent purge`", place.name, until)
        elif until <= now + VOICES_SOON and (heads := heads_of(config.refusal.heads, place.name)):
            named = ", ".join(head.name for head in heads)
            yield warning(VOICES, "{0}: expires on {1:%Y-%m-%d}, and {2} with it", place.name, until, named)
    yield from _voices_readable(config.voices, [place for place, _ in found])
    ends = [
        expires_at(place, person, config.voices_days)
        for place, person in found
        if isinstance(person, EnrolledPerson)
    ]
    if ends:
        yield ok(VOICES, "{0}, the first until {1:%Y-%m-%d}", counted(len(ends), "voice"), min(ends))
    elif config.enrol is not None and not found:
        yield ok(VOICES, "nobody has lent a voice")


def _voices_readable(folder: Path, places: list[Path]) -> Iterator[Finding]:
    """A folder that others may enter, or a file that they may read; one is named, as all are made alike."""
    open_ones = [one for one in (folder, *places) if one.exists() and one.stat().st_mode & 0o077]
    files = [file for place in places for file in sorted(place.iterdir()) if file.stat().st_mode & 0o077]
    for path, right in [*((one, "0700") for one in open_ones), *((one, "0600") for one in files)][:1]:
        mode = path.stat().st_mode & 0o777
        yield warning(
            VOICES, "others on this machine may read {0} (mode {1:04o}); chmod {2}", path, mode, right
        )


def retention_findings(
    config: Config, now: datetime, read_clock: Callable[[], ClockReading] = read_clock
) -> Iterator[Finding]:
    """Look into an existing database. `now` is aware. Raises OSError."""
    try:
        with store_of(config) as store:
            yield _purge(config, store, now, read_clock)
            yield from _keys(store)
            yield from _events(store, now)
            yield _reserves(config.places)
            yield _erasures(archive_of(config, store))
            yield _not_recorded(store, now)
            yield _holds(store, now.astimezone(config.service.timezone))
            yield _lost(archive_of(config, store)) or _chain(store, config.kept_places.head)
    except StoreError as problem:
        if is_here(config) or not isinstance(problem, TryAgain):  # that it does not answer has been said
            yield error("retention.database", str(problem))


def _purge(config: Config, store: Rows, now: datetime, read_clock: Callable[[], ClockReading]) -> Finding:
    try:
        why = suspended(store, read_clock(), proven(store, config.retention.timestamp_ca))
    except OSError as problem:
        return error("purge", "the clock cannot be looked at: {0}: {1}", problem.filename, strerror(problem))
    if why is not None:
        return error("purge", "suspended: {0}; {1}", why, RESUMES)
    period, late = config.retention.period, now - OVERDUE
    dates = [due(row, period) for row in plan(store, late, period) if row.hold is None]
    overdue = [at for at in dates if at <= late]
    if early := ahead_of(store, now):
        return error(
            "purge", "{0} began after now, by a wrong clock, and will stay too long: `delete` them", early
        )
    if not overdue:
        return ok("purge", "nothing is overdue")
    since = f"{min(overdue):%Y-%m-%d %H:%M} UTC"
    return error("purge", "{0} overdue, the first since {1}: see `sipagent purge`", len(overdue), since)


def _keys(store: Rows) -> Iterator[Finding]:
    """Silent where nothing is left, as it always is without a shared database."""
    if left := store.keys_left():
        yield error(
            "purge", "{0} keys of what was forgotten are still in the vault: see `sipagent purge`", left
        )


def _events(store: Rows, now: datetime) -> Iterator[Finding]:
    """Silent where none fails, as always where none is told."""
    seen = waiting(store)
    if seen.failed:
        yield error("events", "{0} were given up: see `sipagent events --failed`", seen.failed)
    elif seen.since is not None and now - seen.since > EVENTS_LATE:
        said = "{0} wait, the first since {1}: see `sipagent events`"
        yield warning("events", said, seen.waiting, f"{seen.since:%Y-%m-%d %H:%M} UTC")


def _erasures(archive: Archive) -> Finding:
    left = stuck(archive)
    if left:
        return error("erasures", "{0} not done, the first of {1}: see `sipagent purge`", len(left), left[0])
    return ok("erasures", "all that had to be erased in its call is gone")


def _not_recorded(store: Rows, now: datetime) -> Finding:
    """Of those of a week: older ones have been told often enough."""
    found = list(not_recorded(store, now - NOT_RECORDED))
    if found:
        said = "{0} of the last {1} should have been recorded, and not all was; the last: {2} ({3})"
        calls = counted(len(found), "call")
        return error("recordings", said, calls, counted(NOT_RECORDED.days, "day"), *found[-1])
    return ok("recordings", "every call that should have been recorded was")


def _reserves(places: Places) -> Finding:
    found = lasting_problems(places)
    if found:
        return error("reserves", joined(Reason("{0}: {1}", *one) for one in found.items()))
    if not places.reserves():
        return ok("reserves", "are made at the start")
    return ok("reserves", "allocated, and nothing waits in them")


def _holds(store: Rows, local: datetime) -> Finding:
    late = reviews_overdue(store, local.date())
    if late:
        return error("holds", "{0} whose review is overdue: see `sipagent holds`", late)
    return ok("holds", "no review is overdue")


def _lost(archive: Archive) -> Finding | None:
    return error("chain", BEGUN_ANEW) if is_lost(archive) else None


def _chain(store: Rows, file: Path) -> Finding:
    """A head that the chain does not know: a tail was cut off, or an older database was restored."""
    try:
        head = read_head(file)
    except ChainHeadError as problem:
        return error("chain", "{0}, so a tail cut off would not show: see `sipagent verify`", problem)
    if head is None and store.shared:  # other hosts may have written all that there is
        entries = counted(store.head().seq, "entry", "entries")
        return ok("chain", "{0}, none of them written by this host", entries)
    if head is None:
        return error("chain", "{0} is missing: a tail cut off would not show", file.name)
    if (damaged := damaged_path(file)).exists():
        return error("chain", "{0} {1}", damaged.name, DAMAGED)
    if not store.knows(head):
        return error(
            "chain",
            "has no entry {0} as {1} says: its tail was cut off, or an older database came back: "
            "see `sipagent verify`",
            head.seq,
            file.name,
        )
    return ok("chain", "{0}, and {1} names one", counted(store.head().seq, "entry", "entries"), file.name)
