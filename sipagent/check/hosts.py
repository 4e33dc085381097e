"""What `check` can tell of hosts that share a database: who lives, what waits, what must still go."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from retention.journal.journal import Journal
from retention.rows.faults import StoreError, TryAgain
from sipagent.agent.recorder.stored import row_key_files, store_of
from sipagent.config.finding import Finding, counted, error, ok, warning
from sipagent.config.load import Config

if TYPE_CHECKING:
    from retention.host import Host
    from retention.postgres.sealed_store import SealedStore

LATE = timedelta(minutes=1)  # a journal is shipped within seconds
FULL = 0.5  # of what a journal may take on the disk


def host_findings(config: Config) -> Iterator[Finding]:
    """Look at the hosts and their journals; no finding where there is one host, or no answer: that is told by
    `shared`."""
    if config.shared is None:
        return
    from retention.postgres.sealed_store import SealedStore  # slow to import; most hosts have a file

    try:
        yield from _waiting(config)
        with store_of(config) as store:
            assert isinstance(store, SealedStore)
            hosts = store.hosts()
            yield from hosts_found(hosts, store.now(), config.host or "", _journal(config))
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
    from retention.host import HostState

    for one in hosts:
        state = one.state(now)
        lives = state in (HostState.RUNNING, HostState.DRAINING)
        if one.host == mine and lives and journal != one.journal:
            yield error("cluster.host", f"{mine} is another machine that runs; accepted: a name of its own")
        elif state is HostState.LOST:
            waits = f", {counted(one.lag_rows, 'row')} in its journal" if one.lag_rows else ""
            yield error("cluster", f"host {one.host}: no word since {one.seen_at:%Y-%m-%d %H:%M} UTC{waits}")
        elif one.lag_s(now) > LATE.total_seconds():
            since = f"{counted(one.lag_rows, 'row')} in its journal, the first for {one.lag_s(now):.0f} s"
            yield error("cluster", f"host {one.host}: {since}")
    running = [one for one in hosts if one.state(now) is HostState.RUNNING]
    if running:
        yield ok("cluster", f"running: {', '.join(one.host for one in running)}")
    if len(versions := sorted({one.version for one in running})) > 1:
        yield warning("cluster", f"some hosts run {versions[0]}, others {versions[-1]}")


def apart_found(hosts: "list[Host]", mine: str) -> Iterator[Finding]:
    """What is to be said of several without a store of objects."""
    if len(names := sorted({mine, *(one.host for one in hosts)})) > 1:
        shared = f"absent, and {', '.join(names)} share the database"
        apart = "the others cannot read what one has on its disk: recordings, and keys of rows"
        yield error("objects", f"{shared}: {apart}; accepted: a store of objects")


def _unreachable(store: "SealedStore", config: Config) -> Iterator[Finding]:
    """Keys of rows that had been files before there was a store of objects. Raises StoreError."""
    from retention.postgres.sealed.bundles import BUNDLES

    if row_key_files(config).within(BUNDLES):
        said = "keys of rows are files of this host alone"
        yield error("objects", f"{said}; accepted: start the agent, which brings them to the store")
    for host, why in store.keys.out_of_reach().items():
        said = f"keys of rows of host {host}: {why}"
        yield error("objects", f"{said}; accepted: start its agent, if they are files there")


def _waiting(config: Config) -> Iterator[Finding]:
    """What the journal of this host has, whether the shared database answers or not."""
    if not config.database.exists():
        return
    with Journal(config.database) as journal:
        lag, used = journal.lag(), journal.used()
    if used > FULL:
        yield error("cluster.journal", f"is full to {used:.0%}: beyond that no call can be kept")
    elif lag.rows:
        waits = f"{counted(lag.rows, 'row')} in it, the first for {lag.seconds(datetime.now(UTC)):.0f} s"
        late = lag.seconds(datetime.now(UTC)) > LATE.total_seconds()
        yield (error if late else ok)("cluster.journal", waits)


def _journal(config: Config) -> str | None:
    if not config.database.exists():
        return None
    with Journal(config.database) as journal:
        return journal.identity
