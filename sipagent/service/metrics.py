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

import itertools
import math
import shutil
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector, core, make_wsgi_app
from prometheus_client.registry import Collector

from retention.clock import ClockReading, read_clock, suspended
from retention.erase import to_erase
from retention.holds import reviews_overdue
from retention.purge import overdue
from retention.records import RecordError, Status, in_force
from retention.rows import counts
from retention.rows.rows import StoreError
from retention.shortfall import REASONS, not_recorded
from retention.stamps import proven
from sipagent import __version__
from sipagent.agent.admission import obstacles
from sipagent.agent.figures import LINE_EDGES, SIDES, SUM, Figures
from sipagent.agent.stored import archive_of, store_of
from sipagent.config.load import Config, HostPort
from sipagent.service.cluster import Shipping
from sipagent.service.purging import Purging
from sipagent.service.sending import Sending
from sipagent.service.storing import Storing

if TYPE_CHECKING:
    from sipagent.agent.agent import Agent
    from sipagent.service.cluster import HostBoard
    from sipagent.service.supervisor import Sharing

EVERY_S = 60.0
DAY = timedelta(days=1)
SHARE = 20  # at most one part in this many of the time is spent looking

log = structlog.get_logger(__name__)


COUNTS = {
    "calls": "Calls that have ended.",
    "calls_unheard": "Calls that were not recorded because nobody could judge what was said.",
    "calls_refused_late": "Calls that were refused because the machine did not keep up with those it had.",
    "calls_one_way": "Calls in which nothing came from one side, and something from the other.",
    "strangers_dropped": "Requests from sources that are not allowed.",
    "legs_lost": "Legs that the SIP engine had no more without a word.",
    "foreign_packets_dropped": "Packets that came to a call's sound from others than its parties.",
    "messages_refused": "Messages that the edge kept from workers.",
    "worker_crashes": "Workers that a fault of the engine ended.",
    "fatal_messages": "The last messages that workers were given before they crashed.",
    "operator_failures": "Operators who were rung in vain, by configured extension.",
    "recorder_faults": "What kept a call from being recorded, or kept.",
    "tap_frames_dropped": "Frames that are silence in a recording, because the disk was too slow.",
    "receipts_lost": "Receipts that could be kept nowhere; they are counted.",
    "board_losses": "How often the board of all hosts did not answer, and this host went on alone.",
    "purge_failures": "Purges that failed, and files that did not go.",
    "erasure_failures": "Attempts to erase what a call had wanted gone that failed.",
    "stamp_failures": "Time stamps that did not come.",
    "shipping_failures": "Attempts to ship that failed.",
    "uploaded_bytes": "What the object store has taken.",
    "upload_failures": "What it did not take.",
    "removal_failures": "What it did not remove.",
    "events_delivered": "Events that the receiver has taken.",
    "event_failures": "Attempts to send one that failed.",
    "watch_failures": "Looks at store and disk that failed.",
}
STATES = {
    "calls_in_progress": "Calls that are up.",
    "calls_limit": "Calls that may be up at a time.",
    "calls_not_recorded": "Calls of the last day that should have a recording, and have none, or less.",
    "processes_late": "Processes that were too late with something just now.",
    "registered": "Whether the trunk's registrar knows us.",
    "receipts_waiting": "Receipts that the database does not have yet.",
    "board_shared": "Whether the operators of all hosts are one board just now.",
    "purge_last_success_timestamp_seconds": "When the last purge by the agent ended, since the "
    "epoch; 0: none since it started.",
    "shared_database_up": "Whether the shared database answers this host.",
    "journal_rows_waiting": "Rows that the shared database does not have yet.",
    "journal_lag_seconds": "For how long the first of them has waited.",
    "journal_used_ratio": "The part of the room for the journal that is used.",
    "object_store_up": "Whether the object store took what was last sent.",
    "uploads_behind_seconds": "For how long what is not in the object store has waited.",
    "uploads_waiting_bytes": "What is not in the object store yet.",
    "removals_pending": "Recordings of which something should have gone from the object store a minute ago.",
    "events_waiting": "Events that the receiver has not taken yet.",
    "events_behind_seconds": "For how long the first of them has waited.",
    "events_given_up": "Events that it did not take within three days.",
    "recordings_kept": "Recordings on disk.",
    "recordings_held": "Of these, on legal hold.",
    "recordings_overdue": "Should have gone more than a day ago, and are not held.",
    "erasures_pending": "Recordings to be erased as their call wanted, and not yet gone.",
    "holds_review_overdue": "Holds whose review date has passed.",
    "today_until_timestamp_seconds": "Until when callers hear a message; without one they find it closed.",
    "purge_suspended": "Whether purging waits for a person to confirm the clock.",
    "chain_head_sequence": "Number of the chain's last entry.",
    "disk_free_bytes": "Where the recordings are.",
    "recording_obstacles": "What keeps every call from being recorded: keys, and folders that "
    "cannot be written to.",
    "watch_last_success_timestamp_seconds": "When store and disk were looked at, since the epoch.",
}
"""What each figure counts or says, by its name after `sipagent_`."""
LINE = {
    "mos": "What a leg's sound is worth, by the E-model: 1 to 4.5.",
    "loss_ratio": "Share of a leg's packets that were lost.",
    "jitter_seconds": "A leg's mean jitter.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One look: its fields are figures, see STATES."""

    watch_last_success_timestamp_seconds: float
    recordings_kept: int
    recordings_held: int
    recordings_overdue: int
    erasures_pending: int
    holds_review_overdue: int
    purge_suspended: bool
    chain_head_sequence: int
    disk_free_bytes: int
    recording_obstacles: int
    not_recorded: Mapping[str, int]  # by reason


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
                watch_last_success_timestamp_seconds=now.wall.timestamp(),
                recordings_kept=counts.recordings(store, Status.CLOSED),
                recordings_held=counts.held(store),
                recordings_overdue=overdue(store, now.wall, config.retention.period),
                erasures_pending=len(to_erase(archive_of(self._place, store))),
                holds_review_overdue=reviews_overdue(
                    store, now.wall.astimezone(config.service.timezone).date()
                ),
                purge_suspended=suspended(store, now, proven(store, config.retention.timestamp_ca))
                is not None,
                chain_head_sequence=store.head().seq,
                disk_free_bytes=_free(self._place.recording.directory),
                recording_obstacles=len(obstacles(config)),
                not_recorded=dict(Counter(why for _, why in not_recorded(store, now.wall - DAY))),
            )


def _free(directory: Path) -> int:
    """Free bytes where the recordings lie, or will."""
    there = next(place for place in (directory, *directory.parents) if place.exists())
    return shutil.disk_usage(there).free


NOTHING = "nothing"  # decided it; an empty label would be no label


@dataclass(eq=False)
class Metrics(Collector):
    """The figures of a running service's parts. `counting`: the agent, or what all workers share; it is read
    on a thread that scrapes."""

    counting: "Agent | Sharing"
    purging: Purging
    watch: Watch
    board: "HostBoard | None" = None
    shipping: Shipping | None = None
    stored: Storing | None = None
    sending: Sending | None = None

    def collect(self) -> Iterable[core.Metric]:
        """All of it, as it is now."""
        figures = self.counting.figures()
        yield core.InfoMetricFamily("sipagent_build", "The program.", {"version": __version__})
        yield from self._labelled(figures)
        yield from _line(figures)
        yield from self._today()
        yield from self._not_recorded()
        for name, value in self._plain(figures).items():
            if name in COUNTS:
                yield core.CounterMetricFamily(f"sipagent_{name}", COUNTS[name], value=float(value))
            elif name in STATES:
                yield core.GaugeMetricFamily(f"sipagent_{name}", STATES[name], value=float(value))

    def _labelled(self, figures: Figures) -> Iterator[core.Metric]:
        ended = {(outcome, how, by or NOTHING): n for (outcome, how, by), n in figures.ended.items()}
        refused = {("malformed",): figures.malformed, ("unsupported",): figures.unsupported}
        faults = {(part,): count for part, count in figures.faults.items()}
        counted: tuple[tuple[str, tuple[str, ...], Mapping[Any, int]], ...] = (
            ("calls", ("outcome", "decision", "decided_by"), ended),
            ("messages_refused", ("reason",), refused),
            ("fatal_messages", ("message", "media", "size"), figures.fatal),
            ("operator_failures", ("extension", "problem"), figures.phones),
            ("recorder_faults", ("part",), faults),
        )
        for name, labels, of_each in counted:
            family = core.CounterMetricFamily(f"sipagent_{name}", COUNTS[name], labels=labels)
            for values, count in of_each.items():
                family.add_metric(values, count)
            if family.samples:
                yield family

    def _today(self) -> Iterator[core.Metric]:
        if special := in_force(self.counting.specials, datetime.now(UTC)):
            name = "today_until_timestamp_seconds"
            family = core.GaugeMetricFamily(f"sipagent_{name}", STATES[name], labels=("message",))
            family.add_metric([special.message or ""], special.until_at.timestamp())
            yield family

    def _not_recorded(self) -> Iterator[core.Metric]:
        """Every reason, so that each begins at 0."""
        if seen := self.watch.latest:
            name = "calls_not_recorded"
            family = core.GaugeMetricFamily(f"sipagent_{name}", STATES[name], labels=("because",))
            for why in REASONS:
                family.add_metric([why], seen.not_recorded.get(why, 0))
            yield family

    def _plain(self, figures: Figures) -> dict[str, float]:
        failures = self.purging.failures
        found: dict[str, float] = {
            "calls_in_progress": figures.calls,
            "calls_limit": self.counting.limit,
            "calls_unheard": figures.unheard,
            "calls_one_way": figures.one_way,
            "calls_refused_late": figures.refused_late,
            "processes_late": figures.late,
            "strangers_dropped": figures.strangers,
            "legs_lost": figures.lost_legs,
            "foreign_packets_dropped": figures.foreign_packets,
            "worker_crashes": figures.crashes,
            "tap_frames_dropped": figures.dropped_frames,
            "receipts_waiting": figures.waiting,
            "receipts_lost": figures.lost,
            "watch_failures": self.watch.failures,
            "purge_last_success_timestamp_seconds": self.purging.last_success,
            "purge_failures": failures["purge"],
            "erasure_failures": failures["erase"],
            "stamp_failures": failures["stamp"],
        }
        if (registered := self.counting.has_registered) is not None:
            found["registered"] = registered
        if self.board and self.board.shared is not None:
            found |= {"board_shared": self.board.shared, "board_losses": self.board.losses}
        events = self.sending if self.sending is not None and self.sending.is_on else None
        for part in (self.shipping, self.stored, events):
            found |= asdict(part.figures) if part is not None else {}
        seen = self.watch.latest  # read once: a look that fails takes it away
        return found if seen is None else found | asdict(seen)


def _line(figures: Figures) -> Iterator[core.Metric]:
    """A histogram of each figure, over the legs of calls that have ended."""
    for name, edges in LINE_EDGES.items():
        family = core.HistogramMetricFamily(f"sipagent_line_{name}", LINE[name], labels=("leg",))
        for side in SIDES:
            upper = (*edges, math.inf)
            counts = itertools.accumulate(figures.line.get((name, side, edge), 0) for edge in upper)
            buckets = [(_told(edge), n) for edge, n in zip(upper, counts, strict=True)]
            family.add_metric([side], buckets, figures.line.get((name, side, SUM), 0.0))
        yield family


def _told(edge: float) -> str:
    return "+Inf" if math.isinf(edge) else str(edge)


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
    """Serve figures, if configured. Raises OSError if nothing can listen there, or not yet."""
    listen = config.metrics.listen
    if listen is None:
        yield
        return
    with ExitStack() as stack:
        try:
            stack.enter_context(serving(listen, figures))
        except OSError as taken:
            raise OSError(taken.errno, taken.strerror, f"metrics.listen: {listen}") from taken
        watch.start()
        stack.callback(watch.stop)
        yield
