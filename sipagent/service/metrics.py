"""Names and serves the figures for Prometheus; other modules count them.

Watch      looks at the store and the disk every minute. A look reads the store in pages, over its own
           connection: it blocks no one, however many rows there are. If that takes long, it is done less
           often.
Metrics    copies plain counts of other threads and the latest look of `Watch`: it waits for no lock, no
           disk and no call. Nothing in it leads to a person. Counts start at zero with the process. The
           figures of `Watch` are of all hosts that share a database, but for disk and obstacles; all
           others are of this host. (Names: Prometheus, "Metric and label naming".)
serving    the port that Prometheus scrapes: HTTP without a login for anyone who can reach it; so keep it
           on loopback. A request costs the agent at most one short thread, of which there are few.
           Clients that ask too often, or read too slowly, are dropped; calls are not affected.
"""

import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from retention.clock import ClockReading, read_clock, suspended
from retention.erase import to_erase
from retention.holds import reviews_overdue
from retention.purge import overdue
from retention.records import RecordError, Status
from retention.rows import counts
from retention.rows.rows import StoreError
from retention.stamps import proven
from sipagent import __version__
from sipagent.agent.admission import obstacles
from sipagent.agent.figures import Figures
from sipagent.agent.stored import archive_of, store_of
from sipagent.config.load import Config, ConfigError, HostPort
from sipagent.service.cluster import Shipping, ShippingFigures
from sipagent.service.purging import Purging
from sipagent.service.storing import Storing, StoringFigures

EVERY_S = 60.0
SHARE = 20  # at most one part in this many of the time is spent looking

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One look, `at` s since the epoch. `overdue`: by more than a day; `head`: seq of the last entry.

    `unerased`: recordings that should have been erased in their call, and were not. `obstacles`: how many
    things keep every call from being recorded.
    """

    at: float
    kept: int
    held: int
    overdue: int
    unerased: int
    reviews_overdue: int
    suspended: bool
    head: int
    free_bytes: int
    obstacles: int


class Watch:
    """The thread `watch`. `latest` is its last look; None if it could not look, or has not yet.

    `config` gives the present configuration; the places of files stay as they were at the start.
    """

    def __init__(
        self, config: Callable[[], Config], read_clock: Callable[[], ClockReading] = read_clock
    ) -> None:
        self.latest: Observation | None = None
        self.failures = 0
        self._config = config
        self._place = config()
        self._read_clock = read_clock
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch")

    def start(self) -> None:
        """Look now, and then every minute."""
        self._thread.start()

    def stop(self) -> None:
        """End it, and wait for a look in progress."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            while not self._over.is_set():
                began = time.monotonic()
                self._try()
                self._over.wait(max(EVERY_S, SHARE * (time.monotonic() - began)))
        finally:
            self.latest = None  # it no longer looks: no figure is better than an old one

    def _try(self) -> None:
        try:
            self.latest = self.look()
        except (OSError, StoreError, RecordError) as fault:
            if self.latest is not None or not self.failures:
                log.error("watch_failed", reason=str(fault))
            self.latest = None
            self.failures += 1

    def look(self) -> Observation:
        """Raises OSError, StoreError, RecordError."""
        config, now = self._config(), self._read_clock()
        database = self._place.database
        if not database.exists():  # opening it would create a new database
            raise StoreError("{0}: is missing", database)
        with store_of(self._place) as store:
            return Observation(
                at=now.wall.timestamp(),
                kept=counts.recordings(store, Status.CLOSED),
                held=counts.held(store),
                overdue=overdue(store, now.wall, config.retention.period),
                unerased=len(to_erase(archive_of(self._place, store))),
                reviews_overdue=reviews_overdue(store, now.wall.astimezone(config.service.timezone).date()),
                suspended=suspended(store, now, proven(store, config.retention.timestamp_ca)) is not None,
                head=store.head().seq,
                free_bytes=_free(self._place.recording.directory),
                obstacles=len(obstacles(config)),
            )


def _free(directory: Path) -> int:
    """Free bytes where the recordings lie, or will."""
    there = next(place for place in (directory, *directory.parents) if place.exists())
    return shutil.disk_usage(there).free


NOTHING = "nothing"  # decided it; an empty label would be no label


class CallCounts(Protocol):
    """The agent, or what all workers share. Read on a thread that scrapes."""

    def figures(self) -> Figures: ...

    @property
    def limit(self) -> int:
        """Calls that may be up at a time."""

    @property
    def has_registered(self) -> bool | None:
        """Whether the trunk's registrar knows us; None without a registrar."""


class SharedBoard(Protocol):
    """The board of all hosts; implemented by `sipagent.service.cluster.HostBoard`."""

    @property
    def shared(self) -> bool | None:
        """Whether all have one just now; None where there is one host."""

    @property
    def losses(self) -> int:
        """How often it did not answer."""


class Metrics(Collector):
    """The counts of a running service's parts."""

    def __init__(
        self,
        counting: CallCounts,
        purging: Purging,
        watch: Watch,
        *,
        board: SharedBoard | None = None,
        shipping: Shipping | None = None,
        stored: Storing | None = None,
    ) -> None:
        self._counting = counting
        self._purging = purging
        self._watch = watch
        self._board = board
        self._shipping = shipping
        self._stored = stored

    def collect(self) -> Iterable[Metric]:
        """All of it, as it is now."""
        figures = self._counting.figures()
        yield InfoMetricFamily("sipagent_build", "The program.", {"version": __version__})
        yield from self._calls(figures)
        yield from self._faults(figures)
        if self._board and self._board.shared is not None:
            yield _gauge(
                "sipagent_board_shared",
                "Whether the operators of all hosts are one board just now.",
                self._board.shared,
            )
            yield _counter(
                "sipagent_board_losses",
                "How often the board of all hosts did not answer, and this host went on alone.",
                self._board.losses,
            )
        yield from self._purges()
        if self._shipping is not None:
            yield from _shipped(self._shipping.figures)
        if self._stored is not None:
            yield from _stored(self._stored.figures)
        if (seen := self._watch.latest) is not None:
            yield from _seen(seen)

    def _calls(self, figures: Figures) -> Iterator[Metric]:
        ended = CounterMetricFamily(
            "sipagent_calls", "Calls that have ended.", labels=("outcome", "decision", "decided_by")
        )
        for (outcome, decision, by), count in figures.ended.items():
            ended.add_metric((outcome, decision, by or NOTHING), count)
        yield ended
        yield _counter(
            "sipagent_calls_unheard",
            "Calls that were not recorded because nobody could judge what was said.",
            figures.unheard,
        )
        yield _gauge("sipagent_calls_in_progress", "Calls that are up.", figures.calls)
        yield _gauge("sipagent_calls_limit", "Calls that may be up at a time.", self._counting.limit)
        yield _counter(
            "sipagent_strangers_dropped", "Requests from sources that are not allowed.", figures.strangers
        )
        yield _counter(
            "sipagent_legs_lost", "Legs that the SIP engine had no more without a word.", figures.lost_legs
        )
        yield _counter(
            "sipagent_foreign_packets_dropped",
            "Packets that came to a call's sound from others than its parties.",
            figures.foreign_packets,
        )
        refused = CounterMetricFamily(
            "sipagent_messages_refused", "Messages that the edge kept from workers.", labels=("reason",)
        )
        refused.add_metric(("malformed",), figures.malformed)
        refused.add_metric(("unsupported",), figures.unsupported)
        yield refused
        yield _counter(
            "sipagent_worker_crashes", "Workers that a fault of the engine ended.", figures.crashes
        )
        fatal = CounterMetricFamily(
            "sipagent_fatal_messages",
            "The last messages that workers were given before they crashed.",
            labels=("message", "media", "size"),
        )
        for shape, count in figures.fatal.items():
            fatal.add_metric(shape, count)
        if fatal.samples:
            yield fatal
        missed = CounterMetricFamily(
            "sipagent_operator_failures",
            "Operators who were rung in vain, by configured extension.",
            labels=("extension", "problem"),
        )
        for labels, count in figures.phones.items():
            missed.add_metric(labels, count)
        if missed.samples:
            yield missed
        if (registered := self._counting.has_registered) is not None:
            yield _gauge("sipagent_registered", "Whether the trunk's registrar knows us.", registered)

    def _faults(self, figures: Figures) -> Iterator[Metric]:
        faults = CounterMetricFamily(
            "sipagent_recorder_faults", "What kept a call from being recorded, or kept.", labels=("part",)
        )
        for part, count in figures.faults.items():
            faults.add_metric((part,), count)
        yield faults
        yield _counter(
            "sipagent_tap_frames_dropped",
            "Frames that are silence in a recording, because the disk was too slow.",
            figures.dropped_frames,
        )
        yield _gauge(
            "sipagent_receipts_waiting", "Receipts that the database does not have yet.", figures.waiting
        )
        yield _counter(
            "sipagent_receipts_lost", "Receipts that could be kept nowhere; they are counted.", figures.lost
        )
        yield _counter(
            "sipagent_watch_failures", "Looks at store and disk that failed.", self._watch.failures
        )

    def _purges(self) -> Iterator[Metric]:
        failures = self._purging.failures
        yield _counter(
            "sipagent_purge_failures", "Purges that failed, and files that did not go.", failures["purge"]
        )
        yield _counter(
            "sipagent_erasure_failures",
            "Attempts to erase what a call had wanted gone that failed.",
            failures["erase"],
        )
        yield _counter("sipagent_stamp_failures", "Time stamps that did not come.", failures["stamp"])
        yield _gauge(
            "sipagent_purge_last_success_timestamp_seconds",
            "When the last purge by the agent ended, since the epoch; 0: none since it started.",
            self._purging.last_success,
        )


def _shipped(figures: ShippingFigures) -> Iterator[Metric]:
    yield _gauge("sipagent_shared_database_up", "Whether the shared database answers this host.", figures.up)
    yield _gauge(
        "sipagent_journal_rows_waiting", "Rows that the shared database does not have yet.", figures.rows
    )
    yield _gauge("sipagent_journal_lag_seconds", "For how long the first of them has waited.", figures.lag_s)
    yield _gauge(
        "sipagent_journal_used_ratio", "The part of the room for the journal that is used.", figures.used
    )
    yield _counter("sipagent_shipping_failures", "Attempts to ship that failed.", figures.failures)


def _stored(figures: StoringFigures) -> Iterator[Metric]:
    yield _gauge(
        "sipagent_object_store_up", "Whether the object store took what was last sent.", not figures.away
    )
    yield _gauge(
        "sipagent_uploads_behind_seconds",
        "For how long what is not in the object store has waited.",
        figures.behind_s,
    )
    yield _gauge("sipagent_uploads_waiting_bytes", "What is not in the object store yet.", figures.waiting)
    yield _counter("sipagent_uploaded_bytes", "What the object store has taken.", figures.sent)
    yield _counter("sipagent_upload_failures", "What it did not take.", figures.upload_failures)
    yield _gauge(
        "sipagent_removals_pending",
        "Recordings of which something should have gone from the object store a minute ago.",
        figures.unremoved,
    )
    yield _counter("sipagent_removal_failures", "What it did not remove.", figures.removal_failures)


def _seen(seen: Observation) -> Iterator[Metric]:
    for name, said, value in (
        ("recordings_kept", "Recordings on disk.", seen.kept),
        ("recordings_held", "Of these, on legal hold.", seen.held),
        ("recordings_overdue", "Should have gone more than a day ago, and are not held.", seen.overdue),
        (
            "erasures_pending",
            "Recordings to be erased as their call wanted, and not yet gone.",
            seen.unerased,
        ),
        ("holds_review_overdue", "Holds whose review date has passed.", seen.reviews_overdue),
        ("purge_suspended", "Whether purging waits for a person to confirm the clock.", seen.suspended),
        ("chain_head_sequence", "Number of the chain's last entry.", seen.head),
        ("disk_free_bytes", "Where the recordings are.", seen.free_bytes),
        (
            "recording_obstacles",
            "What keeps every call from being recorded: keys, and folders that cannot be written to.",
            seen.obstacles,
        ),
        (
            "watch_last_success_timestamp_seconds",
            "When store and disk were looked at, since the epoch.",
            seen.at,
        ),
    ):
        yield _gauge(f"sipagent_{name}", said, value)


def _gauge(name: str, said: str, value: float) -> Metric:
    return GaugeMetricFamily(name, said, value=float(value))


def _counter(name: str, said: str, value: float) -> Metric:
    return CounterMetricFamily(name, said, value=float(value))


AT_ONCE = 4  # requests
PATIENCE_S = 5.0  # for a client that says nothing, or does not read
TURN_S = 0.1  # how soon it notices that it must end


class _Request(WSGIRequestHandler):
    timeout = PATIENCE_S

    def log_message(self, format: str, *args: Any) -> None:
        """Do nothing: a scrape is not worth a line of the log."""


class _ScrapeServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def __init__(self, listen: HostPort, collector: Collector) -> None:
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self.address_family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
        super().__init__((listen.host, listen.port), _Request)
        registry = CollectorRegistry()
        registry.register(collector)
        ProcessCollector(registry=registry)
        self.set_app(make_wsgi_app(registry))

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's own would ask a name server for our name
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        return self._slots.acquire(blocking=False)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], OSError):  # a client that went away, or said nothing
            super().handle_error(request, client_address)


@contextmanager
def serving(listen: HostPort, collector: Collector) -> Iterator[HostPort]:
    """Answer scrapes in the thread `metrics`; yields its address. Raises OSError if it cannot."""
    with _ScrapeServer(listen, collector) as server:
        thread = threading.Thread(target=server.serve_forever, args=(TURN_S,), name="metrics", daemon=True)
        thread.start()
        try:
            yield HostPort(listen.host, server.server_port)
        finally:
            server.shutdown()
            thread.join()


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
