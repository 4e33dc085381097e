"""`python -m tests.bench`: how fast and how cheap the agent is, on this machine, against real sockets."""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping

import click
import numpy as np

from sipagent.agent.admission import SHIPPED
from sipagent.softphone.loop import FRAME_NS, MS, SECOND
from sipagent.softphone.phone import Answering, Call, Phone, Way
from sipagent.softphone.rtp import FRAME, LEVELS, RATE, decode
from tests.bench import mixes, report, waiting
from tests.bench.office import CALLER_HZ, NOTICE_S, OPERATOR_HZ, WINDOW_S, Office, office
from tests.bench.proc import Spent
from tests.bench.report import Row
from tests.live.calls import NOTICE_HZ, talk

STARTS = (  # of what, its words, seconds at most; the first tells how fast this machine is now
    ("`import click`", ("-c", "import click"), 0.25),
    ("`sipagent --version`", ("-m", "sipagent", "--version"), 0.25),
    ("`sipagent --help`", ("-m", "sipagent", "--help"), 0.35),
    ("`sipagent list`", ("-m", "sipagent", "--config", "config.toml", "list"), 0.45),
)
KEYS: tuple[tuple[Way, str, float], ...] = (
    ("rfc4733", "key → operator's INVITE, RFC 4733", 60),
    ("info", "key → operator's INVITE, INFO", 60),
    ("inband", "key → operator's INVITE, in-band 80 ms", 200),
)
RING_S = 1.5  # `operators.ring_s` where a caller's silence is measured
FIRST_PHONES: Mapping[str, Answering] = {
    "busy": Answering(status=486),
    "declines": Answering(status=603, after_s=0.7),
    "no answer": Answering(status=None),
    "unreachable": Answering(silent=True),
    "answers and sends nothing": Answering(after_s=0.3),
}
REFUSES_MS = (None, 200, round(NOTICE_S * 1000) + 150)  # never, in the notice, in the window
AUDIBLE = 1000  # of 32768
TALK_S = 10.0  # of each of the callers who wait
MIXES, MIXED_S = 50, 20.0  # of lines, and for how long each is heard


def starts(count: int) -> Iterator[Row]:
    for name, words, limit in STARTS:
        yield report.of(f"CPU of {name}", [_cpu_of(*words) for _ in range(count)], limit, "s")


def _cpu_of(*words: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *words], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


# --- latencies: ms, seen from the phones' sockets ---


def latencies(count: int) -> Iterator[Row]:
    with office() as place:
        place.answering(status=None)
        answers, windows = zip(*[_silent_caller(place) for _ in range(count)], strict=True)
        yield report.of("INVITE → 200", answers, 10)
        for way, name, limit in KEYS:
            moments = random.Random(1)
            yield report.of(name, [_key_to_invite(place, way, moments) for _ in range(count)], limit)
        yield report.of("window closed → operator's INVITE", windows, 40)
    with office() as place:
        took = []
        for _ in range(count):
            call, other = connect(place)
            left = call.hang_up()
            took.append((other.wait_ended() - left) / MS)
        yield report.of("caller's BYE → operator's BYE", took, 10)


def _silent_caller(place: Office) -> tuple[float, float]:
    """From INVITE to 200; from the close of the window, by the caller's ear, to the operator's INVITE."""
    (caller,), (operator,) = place.callers, place.operators
    rung, called = operator.count("INVITE received"), caller.count("INVITE sent")
    call = caller.call(place.agent.uri())
    answer = (call.wait_answered() - caller.at("INVITE sent", called)) / MS
    came = operator.wait_at("INVITE received", rung)
    window = (came - _notice_end(call, came)) / MS - WINDOW_S * 1000
    give_up(place, call)
    return answer, window


def _notice_end(call: Call, before_ns: int) -> int:
    """When the last frame of the notice had been heard, ns."""
    loud = [
        p.at_ns
        for p in call.rtp.heard
        if p.payload_type in LEVELS
        and p.at_ns < before_ns - int(WINDOW_S / 2 * 1000) * MS
        and np.abs(decode(p.payload, p.payload_type)).max() > AUDIBLE
    ]
    assert len(loud) >= NOTICE_S / 0.02 - 3, "the notice was not heard whole"
    return loud[-1] + FRAME_NS


def _key_to_invite(place: Office, way: Way, moments: random.Random) -> float:
    """From the key's first frame (or the INFO) to the operator's INVITE, at any moment of the notice."""
    (operator,) = place.operators
    rung = operator.count("INVITE received")
    call = place.callers[0].call(place.agent.uri())
    started = call.rtp.wait_tone(NOTICE_HZ)
    press = call.press("9", way, ms=80, at_ns=started + int(moments.uniform(0, 300) * MS))
    took = (operator.wait_at("INVITE received", rung) - call.pressed_ns(press)) / MS
    give_up(place, call)
    return took


def give_up(place: Office, call: Call) -> None:
    """Hang up and wait until the operators' phones have been let go."""
    call.hang_up()
    for operator in place.operators:
        for one in operator.calls:
            one.wait_ended()
        operator.skip_calls()


def connect(place: Office, index: int = 0) -> tuple[Call, Call]:
    """One caller with whichever operator is free; each hears the other."""
    known = {id(one) for phone in place.operators for one in phone.calls}
    call = place.callers[index].call(place.agent.uri())
    call.wait_answered()

    def new() -> list[Call]:
        return [one for p in place.operators for one in p.calls if id(one) not in known and one.answered_ns]

    place.loop.wait_for(lambda: bool(new()), 15, "operator")
    call.rtp.wait_tone(OPERATOR_HZ)
    new()[0].rtp.wait_tone(CALLER_HZ)
    return call, new()[0]


def waits(count: int) -> Iterator[Row]:
    """With the shipped notice and the window as it is by default: until an operator's phone rings."""
    shipped = {name: str(SHIPPED / f"fr/{name}.wav") for name in ("notice", "details")}
    with office(prompts=shipped, refusal={"window_s": 5.0}) as place:
        place.answering(status=None)
        for key, what, limit in ((None, "presses nothing", 17), ("1", "presses 1", 11)):
            took = [_invite_to_ring_s(place, key) for _ in range(count)]
            yield report.of(f"INVITE → operator's first ring, caller {what}", took, limit, "s")


def _invite_to_ring_s(place: Office, key: str | None) -> float:
    """`key`: pressed again and again, by one who does not know from when on it counts."""
    (caller,), (operator,) = place.callers, place.operators
    rung, called = operator.count("INVITE received"), caller.count("INVITE sent")
    call = caller.call(place.agent.uri())
    call.wait_answered()
    for _ in range(60):
        if operator.count("INVITE received") > rung:
            break
        if key:
            call.press(key, ms=80)
        talk(call, 0.3)
    took = (operator.wait_at("INVITE received", rung) - caller.at("INVITE sent", called)) / SECOND
    give_up(place, call)
    return took


# --- the hunt ---


def hunts(count: int) -> Iterator[Row]:
    with office() as place:
        took = [_answer_to_talk(place) for _ in range(count)]
        yield report.of("operator's 200 → both hear each other", took, 60)
    with office(2, 2, capacity={"calls": 1}) as place:
        took = [_busy_to_next(place) for _ in range(count)]
        yield report.of("486 → the next operator's INVITE", took, 50)
    ways = {"ring_s": RING_S, "max_wait_s": 60}
    with office(2, 2, capacity={"calls": 1}, operators=ways) as place:
        place.operators[0].sound = lambda: None  # also where it answers
        live = [_silence_s(place, first, ms) for first in FIRST_PHONES.values() for ms in REFUSES_MS]
    yield Row("longest silence after the decision, live", max(live), 2, "s", count=len(live))


def _answer_to_talk(place: Office) -> float:
    """From the operator's 200 until the later of the two hears the other, ms."""
    (operator,) = place.operators
    said = operator.count("200 INVITE sent")
    call, other = connect(place)
    answered = operator.at("200 INVITE sent", said)
    both = _first_heard(call, OPERATOR_HZ, answered), _first_heard(other, CALLER_HZ, answered)
    call.hang_up()
    other.wait_ended()
    return (max(both) - answered) / MS


def _first_heard(call: Call, hz: float, after_ns: int) -> int:
    """When the first frame that holds a tone had come, ns."""
    frame = np.exp(-2j * np.pi * hz * np.arange(FRAME) / RATE)
    for packet in call.rtp.heard:
        if packet.at_ns > after_ns and packet.payload_type in LEVELS:
            sound = decode(packet.payload, packet.payload_type)
            if 2 * np.abs(sound @ frame) / FRAME > AUDIBLE:
                return packet.at_ns
    raise AssertionError(f"no {hz:g} Hz was heard")


def _busy_to_next(place: Office) -> float:
    """From the first operator's 486 to the INVITE at the second one's phone, ms."""
    first, second = place.operators
    first.answer = Answering(status=486)
    said, came = first.count("486 INVITE sent"), second.count("INVITE received")
    call = place.callers[0].call(place.agent.uri())
    call.wait_answered()
    rung = second.wait_at("INVITE received", came, timeout=15)
    took = (rung - first.at("486 INVITE sent", said)) / MS
    other = second.wait_call(15)
    call.rtp.wait_tone(OPERATOR_HZ)
    call.hang_up()
    other.wait_ended()
    return took


def _silence_s(place: Office, first_does: Answering, refuses_ms: int | None) -> float:
    """The caller's longest silence after the decision; the second operator's phone is answered."""
    first, second = place.operators
    first.answer, second.answer = first_does, Answering(after_s=0.5)
    earlier = set(_rung(first))
    call = place.callers[0].call(place.agent.uri())
    started = call.rtp.wait_tone(NOTICE_HZ)
    if refuses_ms is not None:
        call.press("9", at_ns=started + refuses_ms * MS)
    call.loop.wait_for(lambda: len(_rung(first)) > len(earlier), 15, "INVITE")
    (decided,) = (at for id, at in _rung(first).items() if id not in earlier)
    other = second.wait_call(20)
    call.rtp.wait_tone(OPERATOR_HZ, 20)
    talk(call, 0.5)
    ended = call.hang_up()
    other.wait_ended()
    return call.rtp.listen(decided, ended).longest_silence_s()


def _rung(phone: Phone) -> dict[str, int]:
    """When each call came to a phone first: those that it does not answer come again and again. ns."""
    came = [one for one in phone.seen if one.describe() == "INVITE received"]
    return {one.message.header("Call-ID"): one.at_ns for one in reversed(came)}


def idle(seconds: float) -> Iterator[Row]:
    with office(registered=True, trunk={"allowed_sources": ["127.0.0.1/32"]}) as place:
        began, before = time.monotonic(), Spent.now(place.agent.pid)
        time.sleep(seconds)
        spent = Spent.now(place.agent.pid).since(before)
        share = spent / (time.monotonic() - began) * 100
    yield Row("CPU idle, registered, no call", share, 0.3, "%")


@click.command()
@click.option("--calls", default=20, show_default=True, help="Calls per latency.")
@click.option("--seconds", default=60.0, show_default=True, help="For which an idle one is looked at.")
@click.option(
    "--only",
    type=click.Choice(["start", "latency", "notice", "hunt", "queue", "line", "cpu"]),
    multiple=True,
    help="One part of it, or some.",
)
@report.as_json_option
def main(calls: int, seconds: float, only: tuple[str, ...], as_json: bool) -> None:
    """Measure the agent against its targets; exit 1 where one is missed."""
    parts = {
        "start": lambda: starts(calls),
        "latency": lambda: latencies(calls),
        "notice": lambda: waits(min(calls, 5)),
        "hunt": lambda: hunts(calls),
        "queue": lambda: waiting.rows(TALK_S),
        "line": lambda: mixes.rows(MIXES, MIXED_S),
        "cpu": lambda: idle(seconds),
    }
    report.finish("sipagent, measured live", as_json, parts, only)


if __name__ == "__main__":
    main()
