"""What the supervisor gives a child at its start: plain values, which know nothing of the engine."""

from dataclasses import dataclass

from retention.recording import Receipt
from sipagent.agent.admission import Admission
from sipagent.config.load import Config, uri_host
from sipagent.edge.hop import HopTokens
from sipagent.service.processes.remote_detector import DetectorAddress


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What a worker is, and where. `rules.calls` is how many calls it takes at a time.

    `listen`: where it receives SIP, host and port; `edge`: the SIP URI for all that it sends and receives;
    `tokens`: by which they know each other; `media_address`: where it receives RTP, on the UDP ports from the
    first to the last of `rtp_ports`; `players`: how many sounds its engine plays at once. `refused`: receipts
    of callers whose refusal was the last message of its predecessor. `detector`: the one to ask about speech;
    None: no detector.
    """

    index: int
    listen: tuple[str, int]
    edge: str
    tokens: HopTokens
    media_address: str
    rtp_ports: tuple[int, int]
    players: int
    config: Config
    rules: Admission
    log_json: bool
    drain_s: float
    refused: tuple[Receipt, ...] = ()
    detector: DetectorAddress | None = None

    @property
    def name(self) -> str:
        return worker_name(self.index)


@dataclass(frozen=True, slots=True)
class RegistrarSpec:
    """Where the trunk's account is, host and port; `edge`, `tokens`: as a worker's."""

    listen: tuple[str, int]
    edge: str
    tokens: HopTokens
    config: Config
    log_json: bool

    @property
    def name(self) -> str:
        return REGISTRAR


@dataclass(frozen=True, slots=True)
class DetectorSpec:
    """The address of the machine's detector, and the configuration whose words it listens for."""

    address: DetectorAddress
    config: Config
    log_json: bool
    drain_s: float

    @property
    def name(self) -> str:
        return DETECTOR


def address_of(edge: str) -> tuple[str, int]:
    """Host and port of the edge, as a spec names it."""
    host, port = uri_host(edge)
    assert port is not None
    return host, port


DETECTOR = "detector"
REGISTRAR = "registrar"


def worker_name(index: int) -> str:
    """What a worker is called in the log."""
    return f"worker-{index}"
