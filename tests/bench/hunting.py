"""The hunt: live from phones' sockets, and in a simulated clock where it takes minutes. ms, one a call."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import structlog

from sipagent.softphone.phone import Answering, Call
from sipagent.softphone.rtp import FRAME, LEVELS, RATE, decode
from tests.bench.latency import MS, answering
from tests.bench.office import CALLER_HZ, OPERATOR_HZ, Office
from tests.test_matrix import DECISIONS, OUTCOMES, STRATEGIES, one_call, twenty_callers

AUDIBLE = 1000  # of 32768


def answer_to_talk(office: Office, count: int) -> list[float]:
    """From the operator's 200 until the later of the two hears the other."""
    answering(office)
    caller, operator = office.callers[0], office.operators[0]
    took = []
    for _ in range(count):
        said = operator.count("200 INVITE sent")
        call = caller.call(office.agent.uri())
        call.wait_answered()
        other = operator.wait_call(15)
        call.rtp.wait_tone(OPERATOR_HZ)
        other.rtp.wait_tone(CALLER_HZ)
        answered = operator.at("200 INVITE sent", said)
        both = first_heard(call, OPERATOR_HZ, answered), first_heard(other, CALLER_HZ, answered)
        took.append((max(both) - answered) / MS)
        call.hang_up()
        other.wait_ended()
    return took


def first_heard(call: Call, hz: float, after_ns: int) -> int:
    """When the first frame that holds a tone had come, ns."""
    frame = np.exp(-2j * np.pi * hz * np.arange(FRAME) / RATE)
    for packet in call.rtp.heard:
        if packet.at_ns > after_ns and packet.payload_type in LEVELS:
            sound = decode(packet.payload, packet.payload_type)
            if 2 * np.abs(sound @ frame) / FRAME > AUDIBLE:
                return packet.at_ns
    raise AssertionError(f"no {hz:g} Hz was heard")


def busy_to_next(office: Office, count: int) -> list[float]:
    """From the first operator's 486 to the INVITE at the second one's phone."""
    caller, (first, second) = office.callers[0], office.operators
    first.answer = Answering(status=486)
    second.answer = Answering(after_s=0.05)
    took = []
    for _ in range(count):
        said, came = first.count("486 INVITE sent"), second.count("INVITE received")
        call = caller.call(office.agent.uri())
        call.wait_answered()
        rung = second.wait_at("INVITE received", came, timeout=15)
        took.append((rung - first.at("486 INVITE sent", said)) / MS)
        other = second.wait_call(15)
        call.rtp.wait_tone(OPERATOR_HZ)
        call.hang_up()
        other.wait_ended()
    return took


@contextmanager
def quiet() -> Iterator[None]:
    """Without the agent's log."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


def silences() -> list[float]:
    """The caller's longest silence after the decision in every row of the matrix, seconds."""
    found = []
    for outcome in OUTCOMES:
        for decision in DECISIONS:
            for strategy in STRATEGIES:
                with (
                    quiet(),
                    tempfile.TemporaryDirectory() as folder,
                    pytest.MonkeyPatch.context() as patch,
                    one_call(Path(folder), patch, outcome, decision, strategy) as (_, caller),
                ):
                    found.append(caller.longest_silence_s())
    return found


def queue() -> tuple[int, int]:
    """Of 20 callers for 2 operators: how many were served out of their turn, and how many were lost."""
    with quiet(), tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        served, lost, _ = twenty_callers(Path(folder), patch)
    return sum(number != turn for turn, number in enumerate(served)), lost
