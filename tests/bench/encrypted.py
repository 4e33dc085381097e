"""`python -m tests.bench.encrypted`: what SRTP on both legs costs a recorded call, by turns with plain RTP.

The phones are engines of our own, each a process with two callers and two operators: what the other benches
have encrypts nothing. CPU is that of the agent with all its processes.
"""

from __future__ import annotations

import queue
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import click

from sipagent.agent.engine import EngineSettings, Incoming, OfLeg, Report
from sipagent.call import events as e
from sipagent.pjsip import PjsipEngine, library
from tests.bench import report
from tests.bench.load_site import SOUND, until
from tests.bench.proc import Spent
from tests.bench.report import Row
from tests.peers.agent import RunningAgent, behind_edge
from tests.peers.process import Child, free_ports

CALLS_EACH = 2
SETTLE_S, PATIENCE_S = 3.0, 60.0
MODES = ("off", "optional")


def phones(srtp: str, to: str, port: int, rtp: int) -> None:
    """A process: two operators, and two callers once a line says so; another line ends it.

    Says how many legs are up, and how many of them encrypted.
    """
    inbox: queue.SimpleQueue[Report] = queue.SimpleQueue()
    settings = EngineSettings(
        report=inbox.put,
        audio=lambda *_: None,
        listen=("127.0.0.1", port),
        uri=f"sip:phone@127.0.0.1:{port}",
        rtp_ports=(rtp, rtp + 31),
        codecs=("PCMA",),
        srtp=srtp,
        operators_srtp=srtp,
    )
    engine, said = PjsipEngine(settings), queue.SimpleQueue[str]()
    engine.start()

    def hear() -> None:
        for line in sys.stdin:
            said.put(line)

    threading.Thread(target=hear, daemon=True).start()
    print("ready", flush=True)
    up: list[int] = []
    while True:
        engine.poll(0.1)
        if not said.empty():
            if said.get() != "call\n":
                engine.stop()
                return
            for _ in range(CALLS_EACH):
                engine.dial(to, '"0612345678"')
        while not inbox.empty():
            match inbox.get():
                case Incoming(leg):
                    engine.answer(leg)
                case OfLeg(leg, e.CallConfirmed() | e.OperatorAnswered()):
                    engine.play(leg, SOUND, loop=True)
                    up.append(leg)
                    sdp = [library.remote_sdp(engine._legs[one].getId()) for one in up]
                    print(len(up), sum("a=crypto:" in one for one in sdp), flush=True)


def a_minute(calls: int, seconds: float, srtp: str) -> float:
    """CPU seconds of a recorded call-minute."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        there = [(free_ports(1), free_ports(32)) for _ in range(calls // CALLS_EACH)]
        uris = [f"sip:{200 + n}@127.0.0.1:{port}" for port, _ in there for n in range(CALLS_EACH)]
        tables = behind_edge(calls)
        tables["trunk"] |= {"srtp": srtp, "codecs": ["PCMA"]}
        operators = {"extensions": uris, "srtp": srtp}
        agent = RunningAgent(Path(folder) / "agent", tables | {"operators": operators})
        stack.callback(agent.close)
        agent.start()
        command = [sys.executable, "-m", "tests.bench.encrypted", "phones", srtp, agent.uri()]
        peers = [Child([*command, *map(str, one)], Path.cwd(), talks=True) for one in there]
        for peer in peers:
            stack.callback(peer.stop)
            peer.wait_line(lambda line: line == "ready")
        for peer in peers:
            peer.say("call")
        all_up = f"{2 * CALLS_EACH} {0 if srtp == 'off' else 2 * CALLS_EACH}"
        until(lambda: all(all_up in [line for _, line in one.lines] for one in peers), PATIENCE_S, "calls up")
        time.sleep(SETTLE_S)
        before = Spent.now(agent.pid)
        time.sleep(seconds)
        spent = Spent.now(agent.pid).since(before)
        for peer in peers:
            peer.say("end")
        agent.wait_ended(calls)
        return spent * 60 / seconds / calls


def compared(calls: int, seconds: float, turns: int) -> list[Row]:
    """Plain and encrypted by turns, on the same machine."""
    found: dict[str, list[float]] = {mode: [] for mode in MODES}
    for _ in range(turns):
        for mode, taken in found.items():
            taken.append(a_minute(calls, seconds, mode))
    plain, encrypted = (median(found[mode]) for mode in MODES)
    return [
        Row("CPU per recorded call-minute, plain", plain, unit="s", worst=max(found["off"]), count=calls),
        Row("with SRTP on both legs", encrypted, unit="s", worst=max(found["optional"]), count=calls),
        Row("more with SRTP", (encrypted / plain - 1) * 100, 20, "%", count=turns),
    ]


@click.command()
@click.option("--calls", default=10, show_default=True, help="Calls at once, an even number.")
@click.option("--seconds", default=30.0, show_default=True, help="How long all of them are up.")
@click.option("--turns", default=3, show_default=True, help="Of plain and encrypted.")
@report.as_json_option
def main(calls: int, seconds: float, turns: int, as_json: bool) -> None:
    """What encryption costs; exit 1 where that is too much."""
    report.finish("sipagent, SRTP", as_json, {"calls": lambda: compared(calls, seconds, turns)})


if __name__ == "__main__":
    if sys.argv[1:2] == ["phones"]:
        phones(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    else:
        main()
