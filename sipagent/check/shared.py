"""What `check` can tell of a database that hosts share: whether it answers, loses nothing, and tells nobody
what it was told."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from retention.rows.store import StoreError
from sipagent.agent.recorder.stored import accounts_fault
from sipagent.config.finding import Finding, error, ok, warning
from sipagent.config.load import Config, ConfigError

if TYPE_CHECKING:
    from retention.postgres.looking import Server

_WHAT = "retention.database"
OFF = timedelta(seconds=2)  # two clocks: then leases and dates are said by the wrong one
FAR_OFF = timedelta(seconds=30)


def shared_findings(config: Config) -> Iterator[Finding]:
    """Look at the server; no finding where this host has its own database."""
    if config.shared is None:
        return
    from retention.postgres.looking import is_local, look_at  # slow to import; most hosts have a file

    try:
        server = look_at(config.shared, config.shared_password())
    except ConfigError as problem:
        yield error(problem.key, problem.problem)
    except StoreError as problem:
        yield error(_WHAT, str(problem))
    else:
        yield from server_findings(server, datetime.now(UTC), local=is_local(config.shared))
        yield from _accounts(config)


def server_findings(server: "Server", now: datetime, *, local: bool) -> Iterator[Finding]:
    """What is to be said of a server. `now`: by the clock of this host; `local`: no network leads to it."""
    release = f"PostgreSQL {server.release}"
    if server.is_old:
        yield error(_WHAT, f"{release}: too old; accepted: 15 or newer")
    elif server.standby:
        yield error(_WHAT, f"{release} is a standby: it takes no writes; calls wait in the journal")
    else:
        yield ok(_WHAT, f"{release} answers, and takes writes")
    if server.steps is None:
        yield ok(_WHAT, "there are no tables in it yet: they will be made")
    elif unknown := server.unknown_steps:
        yield warning(_WHAT, f"a newer sipagent has changed its tables ({unknown[-1]}): update this host")
    if not server.encrypted and not local:
        said = "the connection is not encrypted, and nothing says who answers"
        yield warning(_WHAT, f"{said}; accepted: sslmode=verify-full in its URL")
    yield from _clock(server.now - now)
    if name := server.logs_values:
        said = f"{name}: values of statements are written into the server's log"
        yield warning(_WHAT, f"{said}; accepted: log_parameter_max_length = 0, also on_error")
    if name := server.may_lose:
        yield _losing(name)


def _accounts(config: Config) -> Iterator[Finding]:
    """Whether this host has the key that accounts of the page are under."""
    if config.web.listen is None:
        return
    try:
        fault = accounts_fault(config)
    except StoreError as problem:
        yield error(_WHAT, str(problem))
    else:
        if fault is not None:
            yield error("accounts.key", fault)
        elif config.places.accounts_key.exists():
            yield ok("accounts.key", "opens the accounts of the page that hosts share")


def _clock(off: timedelta) -> Iterator[Finding]:
    seconds = abs(off.total_seconds())
    if abs(off) > OFF:
        level = error if abs(off) > FAR_OFF else warning
        which = "ahead of" if off > timedelta() else "behind"
        yield level(_WHAT, f"its clock is {seconds:.0f} s {which} this host's")


def _losing(name: str) -> Finding:
    if name == "synchronous_standby_names":
        said = "a standby that takes over may lack the newest rows, which no journal has any more"
        return warning(_WHAT, f"{said}; accepted: its name in synchronous_standby_names")
    return error(_WHAT, f"{name} is off: what it has acknowledged may be lost; accepted: on")
