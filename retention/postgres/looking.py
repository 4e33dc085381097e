"""What a server says of itself: whether it takes writes, what it logs, how its clock goes."""

from dataclasses import dataclass
from datetime import datetime

from psycopg import conninfo as libpq

from retention.postgres.connection import Connection
from retention.postgres.database import NAME
from retention.postgres.faults import named
from retention.postgres.schema import STEPS

OLDEST = 150_000  # PostgreSQL 15
_SETTINGS = (
    *("log_statement", "log_min_duration_statement", "log_min_duration_sample", "log_parameter_max_length"),
    *("log_parameter_max_length_on_error", "synchronous_standby_names", "synchronous_commit"),
    *("fsync", "full_page_writes"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """`now`: by its clock. `steps`: those that the tables have taken, by number with their names; None where
    there are no tables. `standbys`: how many read from it."""

    version: int
    standby: bool
    now: datetime
    encrypted: bool
    settings: dict[str, str]
    steps: dict[int, str] | None
    standbys: int

    @property
    def release(self) -> str:
        """`17.4`."""
        return f"{self.version // 10_000}.{self.version % 10_000}"

    @property
    def is_old(self) -> bool:
        """Whether it is older than what the tables need."""
        return self.version < OLDEST

    @property
    def unknown_steps(self) -> list[str]:
        """What another program has changed in the tables, and this one does not know."""
        known = {step.number for step in STEPS}
        return [name for number, name in (self.steps or {}).items() if number not in known]

    @property
    def logs_values(self) -> str | None:
        """The setting by which values of statements are written into its log; None: it writes none."""
        of = self.settings
        if of["log_parameter_max_length_on_error"] != "0":
            return "log_parameter_max_length_on_error"
        if of["log_parameter_max_length"] == "0":
            return None
        if of["log_statement"] in ("mod", "all"):
            return "log_statement"
        slow = ("log_min_duration_statement", "log_min_duration_sample")
        return next((name for name in slow if of[name] != "-1"), None)

    @property
    def may_lose(self) -> str | None:
        """The setting by which what it has acknowledged may be lost; None: it may not."""
        of = self.settings
        for name in ("fsync", "full_page_writes"):
            if of[name] == "off":
                return name
        if of["synchronous_commit"] in ("off",):
            return "synchronous_commit"
        alone = not of["synchronous_standby_names"] or of["synchronous_commit"] == "local"
        return "synchronous_standby_names" if self.standbys and alone else None


def look_at(conninfo: str, password: str | None) -> Server:
    """What the server says. Raises TryAgain, StoreError."""
    with named(NAME):
        connection = Connection(conninfo, password)
        try:
            return _seen(connection)
        finally:
            connection.close()


def _seen(connection: Connection) -> Server:
    (row,) = connection.read(
        "SELECT current_setting('server_version_num')::int AS version, pg_is_in_recovery() AS standby, "
        "clock_timestamp() AS now, to_regclass('schema_steps') IS NOT NULL AS there, "
        "coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false) AS encrypted, "
        "(SELECT count(*) FROM pg_stat_replication) AS standbys"
    )
    steps = connection.read("SELECT number, name FROM schema_steps ORDER BY number") if row["there"] else None
    settings = connection.read(
        "SELECT name, current_setting(name) AS value FROM unnest(?::text[]) AS name", [[*_SETTINGS]]
    )
    return Server(
        version=row["version"],
        standby=row["standby"],
        now=row["now"],
        encrypted=row["encrypted"],
        settings={one["name"]: one["value"] for one in settings},
        steps=None if steps is None else {step["number"]: step["name"] for step in steps},
        standbys=row["standbys"],
    )


def is_local(conninfo: str) -> bool:
    """Whether it is reached by a socket of this machine, or by its own loopback."""
    hosts = str(libpq.conninfo_to_dict(conninfo).get("host") or "").split(",")
    here = ("", "localhost", "127.0.0.1", "::1")
    return all(host.startswith("/") or host in here for host in hosts)
