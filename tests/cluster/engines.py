"""What the hosts share: a database with its standby, an object store, and each host's own lines to them.

The standby is a synchronous one, as Patroni's `synchronous_mode` has it: what was committed is on both, and a
primary whose standby is gone is told to go on alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.postgres import Server, database_of, primary
from tests.relay import Relay
from tests.s3 import Weed

DATABASES, STORE = ("127.0.0.11", "127.0.0.12"), "127.0.0.13"


class Lines:
    """One host's: to the first database, to the second, and to the object store. Any may be cut, or stall."""

    def __init__(self, engines: Engines, address: str, stack: ExitStack) -> None:
        def relay(target: tuple[str, int]) -> Relay:
            made = Relay(target, address)
            stack.callback(made.close)
            return made

        self.databases = [relay((server.host, server.port)) for server in engines.servers]
        self.store = relay((engines.store.host, engines.store.port))

    @property
    def all(self) -> list[Relay]:
        return [*self.databases, self.store]

    def flow(self) -> None:
        for relay in self.all:
            relay.flow()

    def cut_databases(self) -> None:
        for relay in self.databases:
            relay.cut()

    def stall_databases(self) -> None:
        for relay in self.databases:
            relay.stall()

    def conninfo(self, database: str) -> str:
        """As `retention.database` has it: whichever of the two lets itself be written."""
        hosts = ",".join("{}:{}".format(*relay.address) for relay in self.databases)
        return f"postgresql://sipagent@{hosts}/{database}?target_session_attrs=read-write"

    @property
    def endpoint(self) -> str:
        return "http://{}:{}".format(*self.store.address)


class Engines:
    """A primary, perhaps its standby, a store with one bucket; `servers[leading]` is the primary."""

    def __init__(
        self,
        folder: Path,
        stack: ExitStack,
        *,
        standby: bool = True,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._stack = stack
        self.leading = 0
        self.servers: list[Server] = [primary(DATABASES[0], settings)]
        stack.callback(self._close)
        self.database = database_of(self.servers[0].database())
        if standby:
            self.servers.append(self.servers[0].standby(DATABASES[1]))
            self._wait_for_standby(True)
        self.store = stack.enter_context(Weed(folder / "weed", STORE)).start()
        self.bucket = self.store.bucket("recordings")
        self.lines: list[Lines] = []

    def _close(self) -> None:
        for server in self.servers:
            server.close()

    def line(self, address: str) -> Lines:
        lines = Lines(self, address, self._stack)
        self.lines.append(lines)
        return lines

    @property
    def first(self) -> Server:
        """The one that takes writes."""
        return self.servers[self.leading]

    @property
    def second(self) -> Server:
        return self.servers[1 - self.leading]

    def fail_over(self) -> None:
        """Kill the primary; the standby takes its place."""
        self.first.kill()
        self.second.promote()
        self.leading = 1 - self.leading
        self._wait_for_standby(False)

    def lose_standby(self) -> None:
        """Kill the standby; the primary goes on alone."""
        self.second.kill()
        self._wait_for_standby(False)

    def _wait_for_standby(self, waits: bool) -> None:
        """Whether a commit waits until the standby has it."""
        names = "*" if waits else ""
        self.first.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        self.first.execute("SELECT pg_reload_conf()")

    def heal(self) -> None:
        """All run again, all lines flow, and there is a standby."""
        for server in (self.first, self.second):
            if server.running:
                server.resume()
        if not self.first.running:
            self.first.start()
        if not self.second.running:
            self._replace_second()
        if self.store.running:
            self.store.resume()
        else:
            self.store.start()
        for lines in self.lines:
            lines.flow()

    def _replace_second(self) -> None:
        """A new standby in the place of the one that was lost."""
        at = 1 - self.leading
        self.servers[at].close()
        self.servers[at] = self.first.standby(DATABASES[at])
        self._wait_for_standby(True)
        for lines in self.lines:
            lines.databases[at].target = (self.servers[at].host, self.servers[at].port)
