"""What `check` can tell of several hosts: the database that they share, themselves, the store of objects.

Whether the database answers, loses nothing, and tells nobody what it was told; who lives, what waits in
the journals, what must still go; whether the store does what it says, and what it still has.
"""

from collections.abc import Generator, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from retention.journal import Journal
from retention.objects.erase import try_out
from retention.recording_files import Area, FileKind
from retention.rows.rows import StoreError, TryAgain
from retention.texts import Reason
from sipagent.agent import stored
from sipagent.check.keys import readable
from sipagent.config.errors import Finding, counted, error, ok, warning
from sipagent.config.load import Config, ConfigError
from sipagent.service.storing import LATE

if TYPE_CHECKING:
    from retention.postgres.database import Server
    from retention.postgres.store import SealedStore
    from retention.records import Host

_DATABASE = "retention.database"
CLOCK_OFF = timedelta(seconds=2)  # two clocks: then leases and dates are said by the wrong one
CLOCK_FAR_OFF = timedelta(seconds=30)


def shared_findings(config: Config) -> Iterator[Finding]:
    """Look at the server; no finding where this host has its own database."""
    if config.shared is None:
        return
    from retention.postgres.database import is_local, look_at_server  # slow to import; most hosts have a file

    try:
        server = look_at_server(config.shared, config.shared_password())
    except ConfigError as problem:
        yield error(problem.key, problem.problem)
    except StoreError as problem:
        yield error(_DATABASE, str(problem))
    else:
        yield from server_findings(server, datetime.now(UTC), local=is_local(config.shared))
        yield from _accounts(config)


def server_findings(server: "Server", now: datetime, *, local: bool) -> Iterator[Finding]:
    """What is to be said of a server. `now`: by the clock of this host; `local`: no network leads to it."""
    release = Reason("PostgreSQL {0}", server.release)
    if server.is_old:
        yield error(_DATABASE, "{0}: too old; accepted: 15 or newer", release)
    elif server.standby:
        yield error(_DATABASE, "{0} is a standby: it takes no writes; calls wait in the journal", release)
    else:
        yield ok(_DATABASE, "{0} answers, and takes writes", release)
    if server.steps is None:
        yield ok(_DATABASE, "there are no tables in it yet: they will be made")
    elif unknown := server.unknown_steps:
        yield warning(
            _DATABASE, "a newer sipagent has changed its tables ({0}): update this host", unknown[-1]
        )
    if not server.encrypted and not local:
        said = Reason("the connection is not encrypted, and nothing says who answers")
        yield warning(_DATABASE, "{0}; accepted: sslmode=verify-full in its URL", said)
    yield from _clock(server.now - now)
    if name := server.logs_values:
        said = Reason("{0}: values of statements are written into the server's log", name)
        yield warning(_DATABASE, "{0}; accepted: log_parameter_max_length = 0, also on_error", said)
    if name := server.may_lose:
        yield _losing(name)


def _accounts(config: Config) -> Iterator[Finding]:
    """Whether this host has the key that accounts of the page are under."""
    if config.web.listen is None:
        return
    try:
        fault = stored.accounts_fault(config)
    except StoreError as problem:
        yield error(_DATABASE, str(problem))
    else:
        if fault is not None:
            yield error("accounts.key", fault)
        elif config.places.accounts_key.exists():
            yield ok("accounts.key", "opens the accounts of the page that hosts share")


def _clock(off: timedelta) -> Iterator[Finding]:
    seconds = abs(off.total_seconds())
    if abs(off) > CLOCK_OFF:
        level = error if abs(off) > CLOCK_FAR_OFF else warning
        which = Reason("ahead of") if off > timedelta() else "behind"
        yield level(_DATABASE, Reason("its clock is {0:.0f} s {1} this host's", seconds, which))


def _losing(name: str) -> Finding:
    if name == "synchronous_standby_names":
        said = Reason("a standby that takes over may lack the newest rows, which no journal has any more")
        return warning(_DATABASE, "{0}; accepted: its name in synchronous_standby_names", said)
    return error(_DATABASE, "{0} is off: what it has acknowledged may be lost; accepted: on", name)


JOURNAL_LATE = timedelta(minutes=1)  # a journal is shipped within seconds
JOURNAL_FULL = 0.5  # of what a journal may take on the disk


def host_findings(config: Config) -> Iterator[Finding]:
    """Look at the hosts and their journals; no finding where there is one host, or no answer: that is told by
    `shared_findings`."""
    if config.shared is None:
        return
    from retention.postgres.store import SealedStore  # slow to import; most hosts have a file

    try:
        journal = yield from _waiting(config)
        with stored.store_of(config) as store:
            assert isinstance(store, SealedStore)
            hosts = store.hosts()
            yield from hosts_found(hosts, store.now(), config.host or "", journal)
            if config.objects is None:
                yield from apart_found(hosts, config.host or "")
            else:
                yield from _unreachable(store, config)
    except TryAgain:
        return
    except StoreError as problem:
        yield error("cluster", str(problem))


def hosts_found(hosts: "list[Host]", now: datetime, mine: str, journal: str | None) -> Iterator[Finding]:
    """What is to be said of them. `now`: by the database's clock; `journal`: the identity of this host's."""
    from retention.records import HostState

    for one in hosts:
        state = one.state(now)
        lives = state in (HostState.RUNNING, HostState.DRAINING)
        if one.host == mine and lives and journal != one.journal:
            yield error("cluster.host", "{0} is another machine that runs; accepted: a name of its own", mine)
        elif state is HostState.LOST:
            waits = Reason(", {0} in its journal", counted(one.lag_rows, "row")) if one.lag_rows else ""
            yield error(
                "cluster", "host {0}: no word since {1:%Y-%m-%d %H:%M} UTC{2}", one.host, one.seen_at, waits
            )
        elif one.lag_s(now) > JOURNAL_LATE.total_seconds():
            since = Reason(
                "{0} in its journal, the first for {1:.0f} s", counted(one.lag_rows, "row"), one.lag_s(now)
            )
            yield error("cluster", "host {0}: {1}", one.host, since)
    running = [one for one in hosts if one.state(now) is HostState.RUNNING]
    if running:
        yield ok("cluster", "running: {0}", ", ".join(one.host for one in running))
    if len(versions := sorted({one.version for one in running})) > 1:
        yield warning("cluster", "some hosts run {0}, others {1}", versions[0], versions[-1])


def apart_found(hosts: "list[Host]", mine: str) -> Iterator[Finding]:
    """What is to be said of several without a store of objects."""
    if len(names := sorted({mine, *(one.host for one in hosts)})) > 1:
        shared = Reason("absent, and {0} share the database", ", ".join(names))
        apart = Reason("the others cannot read what one has on its disk: recordings, and keys of rows")
        yield error("objects", "{0}: {1}; accepted: a store of objects", shared, apart)


def _unreachable(store: "SealedStore", config: Config) -> Iterator[Finding]:
    """Keys of rows that had been files before there was a store of objects. Raises StoreError."""
    from retention.postgres.row_keys import BUNDLES

    if stored.row_key_files(config).within(BUNDLES):
        said = Reason("keys of rows are files of this host alone")
        yield error("objects", "{0}; accepted: start the agent, which brings them to the store", said)
    for host, why in store.keys.out_of_reach().items():
        said = Reason("keys of rows of host {0}: {1}", host, why)
        yield error("objects", "{0}; accepted: start its agent, if they are files there", said)


def _waiting(config: Config) -> Generator[Finding, None, str | None]:
    """What the journal of this host has, whether the shared database answers or not; its identity."""
    if not config.database.exists():
        return None
    with Journal(config.database) as journal:
        lag, used = journal.lag(), journal.used()
        late_s = lag.seconds(datetime.now(UTC))
        if used > JOURNAL_FULL:
            yield error("cluster.journal", "is full to {0:.0%}: beyond that no call can be kept", used)
        elif lag.rows:
            waits = Reason("{0} in it, the first for {1:.0f} s", counted(lag.rows, "row"), late_s)
            yield (error if late_s > JOURNAL_LATE.total_seconds() else ok)("cluster.journal", waits)
        return journal.identity


_OBJECTS = "objects"
_LEVELS = {"ok": ok, "warning": warning, "error": error}


def object_findings(config: Config, now: datetime) -> Iterator[Finding]:
    """Try out the bucket, if there is one. `now` is aware. Raises OSError."""
    bucket, told = stored.bucket_of(config), config.objects
    if bucket is None or told is None:
        return
    yield from readable("objects.credentials_file", told.credentials_file)
    for trial in try_out(bucket):
        yield _LEVELS[trial.level](
            _OBJECTS, f"{told.url} {trial.said}" if trial.level == "ok" else trial.said
        )
    if config.database.exists() or config.shared is not None:
        yield from _removals(config, now)
        yield from _rows(config, told.url)
    yield _spool(config)


def _removals(config: Config, now: datetime) -> Iterator[Finding]:
    """Of this host, and of all."""
    where, late = "objects.removals", now - LATE
    found = []
    try:
        if config.database.exists():  # else the agent makes its journal
            with stored.journal_of(config) as journal:
                found.append(journal.objects.removals(late))
        if config.shared is not None:
            with stored.store_of(config) as store:
                found.append(store.objects.removals(late))
    except TryAgain:  # that has been said
        return
    except StoreError as problem:
        yield error(where, str(problem))
        return
    worst = max(found, key=lambda one: one.recordings)
    if not worst.recordings or worst.since is None:
        yield ok(where, "all that had to go is gone")
        return
    since = f"{worst.since:%Y-%m-%d %H:%M} UTC"
    said = counted(worst.recordings, "recording")
    yield error(where, "of {0} not all is removed, the first since {1}; it is tried again", said, since)


def _rows(config: Config, url: str) -> Iterator[Finding]:
    """Recordings that nobody would ever remove. What does not answer has been said."""
    if not stored.is_there(config):
        return
    with suppress(StoreError, OSError), stored.store_of(config) as store:
        if stored.lacks_rows(config, store):
            yield error(_OBJECTS, "{0} has recordings, and no row tells of any: see `sipagent rebuild`", url)


def _spool(config: Config) -> Finding:
    """What is not up yet; while calls are on there is always something."""
    names = stored.spool_of(config).names(Area.RECORDINGS)
    waiting = sum(name.endswith(f".{FileKind.SEALED}") for name, _ in names)
    return ok("objects.spool", "{0} not up yet", counted(waiting, "finished recording"))
