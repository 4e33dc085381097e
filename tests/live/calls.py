"""What the live tests do again and again: a call up to its bridge, and what a recording sounds like."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.request import urlopen

import numpy as np
from numpy.typing import NDArray

from sipagent.softphone.loop import PATIENCE_S
from sipagent.softphone.phone import Call, Phone
from sipagent.softphone.rtp import RATE, Silence, strongest
from tests.peers.agent import NOTICE_S, PROMPTS, RunningAgent

CALLER_HZ, OPERATOR_HZ = 440, 1000
NOTICE_HZ, REFUSED_HZ, MUSIC_HZ = (PROMPTS[name][0] for name in ("notice", "refused", "hold_music"))
NOTICE_MS = round(NOTICE_S * 1000)
WAYS = ("rfc4733", "info", "info-dtmf", "inband")
METHODS = {"rfc4733": "rfc4733", "info": "info", "info-dtmf": "info", "inband": "inband"}
MS = 1_000_000
SECOND = 1_000 * MS


@dataclass(frozen=True, slots=True)
class Bridge:
    """The two sides of a call that are speaking with each other."""

    caller: Call
    operator: Call

    def hang_up(self, side: str = "caller") -> None:
        """After a moment of talk: what was said in the window has been listened to by then."""
        talk(self.caller, 0.5)
        (self.caller if side == "caller" else self.operator).hang_up()
        self.caller.wait_ended()
        self.operator.wait_ended()


def connect(agent: RunningAgent, caller: Phone, desk: Phone, timeout: float = PATIENCE_S) -> Bridge:
    """A caller who says nothing until the operator is heard; each hears the other."""
    call = caller.call(agent.uri())
    call.wait_answered()
    return bridged(call, desk, timeout)


def bridged(call: Call, desk: Phone, timeout: float = PATIENCE_S) -> Bridge:
    """Wait until the call's two sides hear each other."""
    operator = desk.wait_call(timeout)
    call.rtp.wait_tone(OPERATOR_HZ, timeout)
    operator.rtp.wait_tone(CALLER_HZ, timeout)
    return Bridge(call, operator)


def talk(call: Call, seconds: float) -> None:
    """Let this much sound go out."""
    until = call.rtp.sent_frames + round(seconds / 0.02)
    call.loop.wait_for(lambda: call.rtp.sent_frames >= until, seconds + 10, f"{seconds:g} s of sound")


def hears_each_other(bridge: Bridge) -> None:
    """Wait until both do, perhaps again."""
    bridge.caller.rtp.wait_tone(OPERATOR_HZ)
    bridge.operator.rtp.wait_tone(CALLER_HZ)


def of(row: dict[str, Any], *names: str) -> list[Any]:
    """Some fields of a receipt or a recording."""
    return [row[name] for name in names]


def whats(receipt: dict[str, Any]) -> list[str]:
    """What happened in a call, by its receipt."""
    return [event["what"] for event in receipt["events"]]


def clicks(*sides: Call) -> int:
    """A chirp from each side in the same frame; when, ns."""
    at_ns = sides[0].loop.next_frame_ns() + SECOND // 5
    for side in sides:
        side.rtp.play(Silence())
        side.rtp.overlay(chirp(), at_ns)
    talk(sides[0], 0.6)
    return at_ns


def is_tone(hz: float | None, wanted: float) -> bool:
    return hz is not None and abs(hz - wanted) < 20


def tenths(tones: Sequence[float | None], wanted: float) -> int:
    """How many of these steps are of a tone."""
    return sum(is_tone(hz, wanted) for hz in tones)


def figures(port: int) -> dict[str, float]:
    """What Prometheus is told, by name and labels, as they are written."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    named = (line.rpartition(" ") for line in lines if line[0] != "#")
    return {name: float(value) for name, _, value in named}


class Punctuality:
    """When each frame of a phone was sent. On a busy machine phones send late, and are heard late."""

    def __init__(self) -> None:
        self._at_ns: list[int] = []

    def note(self) -> None:
        self._at_ns.append(time.monotonic_ns())

    @property
    def late_s(self) -> float:
        """The longest that a frame was late, beside the most punctual one."""
        lags = [at - number * 20 * MS for number, at in enumerate(self._at_ns)]
        return (max(lags) - min(lags)) / SECOND


def shown(operator: Call) -> str:
    """The name that the operator's phone shows."""
    assert operator.incoming is not None
    return operator.incoming.header("From").partition("<")[0].strip().strip('"')


def strength(samples: NDArray[np.int16], frequency: float) -> float:
    """How strong a frequency is, 1.0 for a sine of full scale: the median over every 50 ms.

    A frame that a jitter buffer dropped or made up shifts the phase; over longer spans that would cancel.
    """
    size = RATE // 20
    spans = samples[: len(samples) // size * size].reshape(-1, size)
    if not len(spans):
        return 0.0
    wave = np.exp(-2j * np.pi * frequency * np.arange(size) / RATE)
    return float(np.median(2 * np.abs(spans @ wave)) / size / 32768)


def rms(samples: NDArray[np.int16]) -> float:
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2))) if len(samples) else 0.0


def assert_both_heard(sound: NDArray[np.int16]) -> None:
    """Caller left, operator right, and nobody on the other's side."""
    for channel, own, other in ((0, CALLER_HZ, OPERATOR_HZ), (1, OPERATOR_HZ, CALLER_HZ)):
        middle = sound[RATE // 2 : 2 * RATE, channel]
        assert strength(middle, own) > 0.1 > 100 * strength(middle, other)


def tones_of(samples: NDArray[np.int16], step_s: float = 0.1) -> list[float | None]:
    """The strongest frequency of every step, None for silence."""
    size = int(step_s * RATE)
    return [strongest(samples[at : at + size]) for at in range(0, len(samples) - size + 1, size)]


def chirp(seconds: float = 0.2) -> NDArray[np.int16]:
    """A sweep from 300 to 3000 Hz: one sharp peak under cross-correlation."""
    at = np.arange(int(seconds * RATE)) / RATE
    wave: NDArray[np.float64] = np.sin(2 * np.pi * (300 * at + (3000 - 300) / (2 * seconds) * at**2))
    return (12000 * wave).astype(np.int16)


def place_of(sound: NDArray[np.int16], samples: NDArray[np.int16]) -> int:
    """The sample at which `sound` begins, by cross-correlation."""
    found = np.correlate(samples.astype(np.float64), sound.astype(np.float64), "valid")
    return int(np.argmax(np.abs(found)))
