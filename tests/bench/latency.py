"""How long the agent takes, seen from the phones' sockets. Every function gives ms, one a call."""

from __future__ import annotations

import random

import numpy as np

from sipagent.softphone.loop import FRAME_NS
from sipagent.softphone.phone import Answering, Call, Way
from sipagent.softphone.rtp import LEVELS, decode
from tests.bench.office import CALLER_HZ, NOTICE_S, OPERATOR_HZ, WINDOW_S, Office
from tests.live.calls import NOTICE_HZ
from tests.peers.agent import PROMPTS

MS = 1_000_000


def ring_only(office: Office) -> None:
    """Operators ring and never answer."""
    for phone in office.operators:
        phone.answer = Answering(status=None)


def answering(office: Office) -> None:
    for phone in office.operators:
        phone.answer = Answering(after_s=0.05)


def give_up(office: Office, call: Call) -> None:
    """Hang up and wait until the operator's phone has been let go."""
    call.hang_up()
    for operator in office.operators:
        for one in operator.calls:
            one.wait_ended()
        operator.skip_calls()


def key_to_invite(office: Office, way: Way, count: int, ms: int = 80) -> list[float]:
    """From the key's first frame (or the INFO) to the operator's INVITE, keys at any moment of the notice."""
    ring_only(office)
    caller, operator = office.callers[0], office.operators[0]
    moments = random.Random(1)
    took = []
    for _ in range(count):
        rung = operator.count("INVITE received")
        call = caller.call(office.agent.uri())
        started = call.rtp.wait_tone(NOTICE_HZ)
        press = call.press("9", way, ms=ms, at_ns=started + int(moments.uniform(0, 300) * MS))
        came = operator.wait_at("INVITE received", rung)
        took.append((came - call.pressed_ns(press)) / MS)
        give_up(office, call)
    return took


def invite_to_answer_and_window_to_invite(office: Office, count: int) -> tuple[list[float], list[float]]:
    """From INVITE to 200; from the close of the window, by the caller's ear, to the operator's INVITE."""
    ring_only(office)
    caller, operator = office.callers[0], office.operators[0]
    answers, windows = [], []
    for _ in range(count):
        rung, called = operator.count("INVITE received"), caller.count("INVITE sent")
        call = caller.call(office.agent.uri())
        answers.append((call.wait_answered() - caller.at("INVITE sent", called)) / MS)
        came = operator.wait_at("INVITE received", rung)
        windows.append((came - notice_end(call, came)) / MS - WINDOW_S * 1000)
        give_up(office, call)
    return answers, windows


def notice_end(call: Call, before_ns: int) -> int:
    """When the last frame of the notice had been heard, ns."""
    loud = [
        p.at_ns
        for p in call.rtp.heard
        if p.payload_type in LEVELS
        and p.at_ns < before_ns - int(WINDOW_S / 2 * 1000) * MS
        and np.abs(decode(p.payload, p.payload_type)).max() > 1000
    ]
    assert len(loud) >= NOTICE_S / 0.02 - 3, "the notice was not heard whole"
    return loud[-1] + FRAME_NS


def bye_to_bye(office: Office, count: int) -> list[float]:
    """From the caller's BYE to the operator's."""
    answering(office)
    caller, operator = office.callers[0], office.operators[0]
    took = []
    for _ in range(count):
        call = caller.call(office.agent.uri())
        call.wait_answered()
        other = operator.wait_call(15)
        call.rtp.wait_tone(OPERATOR_HZ)
        other.rtp.wait_tone(CALLER_HZ)
        left = call.hang_up()
        took.append((other.wait_ended() - left) / MS)
    return took


assert PROMPTS["notice"][0] == NOTICE_HZ
