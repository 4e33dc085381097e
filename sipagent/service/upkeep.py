"""What the service has only once, in one process or several: the lock of its database, and the figures."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from prometheus_client.registry import Collector

from retention.rows.store import StoreError
from retention.storage.files import alone
from sipagent.config.load import Config, ConfigError
from sipagent.service.scrape import serving
from sipagent.service.watch import Watch


@contextmanager
def alone_on(config: Config) -> Iterator[None]:
    """Hold the database's lock: what is open in it is ours, or of a dead agent. Raises StoreError: another
    agent runs."""
    places = config.places
    with ExitStack() as stack:
        try:
            stack.enter_context(alone(places.lock))
        except BlockingIOError as taken:
            raise StoreError(f"{places.database}: another agent is at work on it") from taken
        yield


@contextmanager
def figures_told(config: Config, figures: Collector, watch: Watch) -> Iterator[None]:
    """Serve figures, if configured. Raises ConfigError if the port is taken."""
    listen = config.metrics.listen
    if listen is None:
        yield
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(serving(listen, figures))
        except OSError as taken:
            problem = f"{listen}: {taken.strerror}"
            raise ConfigError(
                config.file, "metrics.listen", problem, "a free port of this machine"
            ) from taken
        watch.start()
        stack.callback(watch.stop)
        yield
