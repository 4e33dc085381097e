"""What the load is put on: `sipagent run`, with as many processes as so many calls take, and all phones.

SIPp is all callers at once, and all operators (caller.xml, operators.xml); their SDP names the generator's
sockets.
"""

from __future__ import annotations

import csv
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM

import soundfile

from sipagent.softphone.rtp import RATE, tone
from tests.bench.load_rtp import Generator
from tests.bench.office import NOTICE_S, START_S, WINDOW_S
from tests.peers.agent import NUMBER, PROMPTS, ROOT, RunningAgent
from tests.peers.process import Child, PeerError, free_ports

IP = "127.0.0.1"
SOUND = ROOT / "prompts/fr/notice.wav"
SET_UP_S = NOTICE_S + WINDOW_S + 2  # from INVITE to the bridge, with room
ANSWER_AFTER_MS, LONGEST_S, LOOK_S = 100, 600, 0.2
CALL_PORTS = 16  # of RTP, for each call
FEWEST_PORTS, MOST_PORTS = 32, 4200
CALLS_A_SECOND = 8.0


def until(happened: Callable[[], object], seconds: float, what: str = "", look_s: float = LOOK_S) -> bool:
    """Wait for it; whether it has happened. Raises PeerError where it has not and `what` names it."""
    deadline = time.monotonic() + seconds
    while not happened():
        if time.monotonic() > deadline:
            if what:
                raise PeerError(f"no {what} within {seconds:g} s")
            return False
        time.sleep(look_s)  # nothing tells
    return True


def sipp(  # noqa: PLR0917 - as SIPp has them
    scenario: str, folder: Path, ip: str, port: int, media: int, ms: int, *more: str | Path
) -> Child:
    """SIPp at an address; `media`: the port in its SDP, `ms`: its pause."""
    return Child(
        [
            "/usr/bin/sipp", "-sf", Path(__file__).with_name(scenario), "-i", ip, "-p", str(port),
            "-key", "media", str(media), "-d", str(ms), "-nostdin", "-timeout", str(LONGEST_S), *more,
        ],
        folder,
    )  # fmt: skip


class Callers:
    """SIPp making `calls` calls of `seconds` each to an address, at `rate` a second, from `source`.

    `again`: whether an INVITE that nothing answers is sent again.
    """

    def __init__(  # noqa: PLR0917
        self, folder: Path, to: tuple[str, int], media: int, calls: int, seconds: float, rate: float,
        source: str = IP, again: bool = True,
    ) -> None:  # fmt: skip
        self._folder = folder
        self.calls = calls
        port = free_ports(1, source)
        self._errors = folder / f"callers{port}.log"
        self.child = sipp(
            "caller.xml", folder, source, port, media, round(seconds * 1000), f"{to[0]}:{to[1]}",
            "-s", NUMBER, "-m", str(calls), "-r", str(rate), "-l", str(calls),
            "-trace_err", "-error_file", self._errors,
            "-trace_counts", "-fd", "1", "-trace_rtt", "-rtt_freq", "1", *([] if again else ["-nr"]),
        )  # fmt: skip

    def wait(self, timeout: float) -> int:
        """Until all calls are over; 0, or 1 where any of them did not go as scripted."""
        return self.child.wait(timeout)

    def counts(self, end: str = "_Recv") -> dict[str, int]:
        """How many of each status have come so far: `503`, …; of `200` those to an INVITE alone."""
        files = sorted(self._folder.glob(f"caller_{self.child.pid}_counts.csv"))
        rows = list(csv.DictReader(files[-1].open(), delimiter=";")) if files else []
        found: dict[str, int] = {}
        for name, value in rows[-1].items() if rows else ():
            _, _, rest = (name or "").partition("_")
            if rest.endswith(end):
                found.setdefault(rest.removesuffix(end), int(value))
        return found

    def times_ms(self, end: str) -> list[float]:
        """From the INVITE to its 200 (`answer`) or its 503 (`refusal`), of each call that had one."""
        files = sorted(self._folder.glob(f"caller_{self.child.pid}_rtt.csv"))
        rows = csv.reader(files[-1].open(), delimiter=";") if files else ()
        return [float(row[1]) for row in rows if len(row) > 2 and row[2] == end]

    @property
    def invited(self) -> int:
        """How many INVITEs have gone out."""
        return self.counts("_Sent").get("INVITE", 0)

    @property
    def answered(self) -> int:
        """How many INVITEs have had their final answer."""
        return sum(n for status, n in self.counts().items() if status.isdecimal() and int(status) >= 200)

    def said(self) -> str:
        return self._errors.read_text(errors="replace")[-2000:] if self._errors.exists() else ""


@dataclass(frozen=True, slots=True)
class Site:
    """A running agent for `calls`, everybody's phones, and their sound."""

    agent: RunningAgent
    generator: Generator
    calls: int
    _stack: ExitStack
    _folder: Path

    def call(self, calls: int, seconds: float, rate: float, source: str = IP, again: bool = True) -> Callers:
        """So many calls of `seconds` each, `rate` new ones a second."""
        media = self.generator.ports[0]
        callers = Callers(self._folder, self.agent.address, media, calls, seconds, rate, source, again)
        self._stack.callback(callers.child.stop)
        return callers

    def call_all(self, seconds: float) -> tuple[Callers, int]:
        """As many calls as it takes, all of them up for `seconds`; how many recordings are in progress.

        It waits until all are, or no more come.
        """
        callers = self.call(self.calls, self.calls / CALLS_A_SECOND + SET_UP_S + seconds, CALLS_A_SECOND)
        up = 0
        while up < self.calls and until(lambda: self.recorded > up, SET_UP_S + 5):  # noqa: B023
            up = self.recorded
        return callers, up

    @property
    def recorded(self) -> int:
        """How many recordings are in progress."""
        return sum(one.endswith(".part") for one in self.agent.files())

    def events(self, event: str) -> int:
        return sum(one.get("event") == event for one in self.agent.log_events)

    def dropped(self) -> int:
        """RTP for which there was no room in a socket of the agent's."""
        first, _, last = self.agent.tables["trunk"]["rtp_ports"].partition("-")
        rows = [row.split() for row in Path("/proc/net/udp").read_text().splitlines()[1:]]
        ours = range(int(first), int(last) + 1)
        return sum(int(row[12]) for row in rows if int(row[1].partition(":")[2], 16) in ours)


@contextmanager
def site(
    calls: int,
    voice: str | None = None,
    per_process: int | None = None,
    more: Mapping[str, Mapping[str, object]] | None = None,
    real_time: bool = True,
) -> Iterator[Site]:
    """Start it all, and end it all. `voice`: `refusal.in_call`, with a detector that hears speech.

    `per_process`: `capacity.calls_per_process`. `more`: other tables of the configuration. `real_time`:
    whether the agent may have threads of real-time priority.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sipagent-load-")))
        ports = min(max(FEWEST_PORTS, CALL_PORTS * (calls + 1)), MOST_PORTS)
        rtp, workers = free_ports(ports), free_ports(calls + 4)  # before all others: so many in a row
        # who spoke in the window might have refused: the bridge would wait for what the detector says
        generator = Generator(SOUND, folder, SET_UP_S if voice else 0.0)
        stack.callback(generator.close)
        port = free_ports(1)
        desks = sipp("operators.xml", folder, IP, port, generator.ports[1], ANSWER_AFTER_MS, "-l", "5000")
        stack.callback(desks.stop)
        agent = RunningAgent(
            folder / "agent",
            {
                "operators": {"extensions": [f"sip:op{i:04}@{IP}:{port}" for i in range(calls)]},
                "refusal": {"window_s": WINDOW_S}
                | ({"engine": "embedding", "in_call": voice} if voice else {}),
                "capacity": {"calls": calls} | ({"calls_per_process": per_process} if per_process else {}),
                "trunk": {"rtp_ports": f"{rtp}-{rtp + ports - 1}"},
                "edge": {"worker_ports": f"{workers}-{workers + calls + 3}"},
                **(more or {}),
            },
        )
        if not real_time:
            agent.program = ("setpriv", "--bounding-set=-sys_nice", *agent.program)
        sound = tone(PROMPTS["notice"][0], NOTICE_S)
        soundfile.write(folder / "agent/prompts/notice.wav", sound, RATE, subtype="PCM_16")
        stack.callback(_end, agent)
        agent.start(wait=None).wait_for("ready", START_S)
        yield Site(agent, generator, calls, stack, folder)


def _end(agent: RunningAgent) -> None:
    """Calls that are still up are not waited for: a second SIGTERM, which `close` sends, says so."""
    if agent.started and agent.child.running:
        agent.child.signal(SIGTERM)
        agent.wait_for("draining")
        agent.close()
