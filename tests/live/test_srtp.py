"""Calls of which one side, or both, is encrypted (SDES, RFC 4568), with phones of others: baresip, linphone.

SIPp 3.7.3 as Debian builds it is none: it agrees on keys, but plays files in the clear, and of its patterns,
which alone it encrypts, no packet gets an authentication tag (`processOutgoingPacket() rc == -2`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from sipagent.softphone.loop import PATIENCE_S
from sipagent.softphone.rtp import RATE, tone
from tests.conftest import AgentFactory
from tests.live import calls
from tests.live.calls import MUSIC_HZ
from tests.peers.agent import NUMBER, RunningAgent, behind_edge
from tests.peers.baresip import Baresip
from tests.peers.linphone import Linphone
from tests.peers.tls import certified

pytestmark = pytest.mark.live

CALLER_HZ, DESK_HZ, COLLEAGUE_HZ = 700, 1300, 1000
MakePhone = Callable[..., Baresip]
TENTHS = 10  # of a tone: a second is long enough to know it by


@pytest.fixture
def baresip(tmp_path: Path) -> Iterator[MakePhone]:
    made: list[Baresip] = []

    def make(user: str, hz: float, **how: Any) -> Baresip:
        sound = tmp_path / f"{hz:g}.wav"
        soundfile.write(sound, tone(hz, 60), RATE, subtype="PCM_16")
        made.append(Baresip(tmp_path, sound, user, **how))
        return made[-1]

    yield make
    for phone in made:
        phone.stop()


def talks(
    agent: RunningAgent, to: str, caller: Baresip | Linphone, desk: Baresip, by: Baresip | Linphone
) -> None:
    """They hear each other before and after a hold `by` one of them, the other music meanwhile; the
    recording has both, and nothing of the hold."""
    caller.command("dial", to)
    desk.wait_event("CALL_INCOMING")
    desk.command("accept")
    desk.wait_event("CALL_ESTABLISHED")
    encrypted(caller, desk)
    other = desk if by is caller else caller
    for command in ("hold", "resume", "hangup"):
        hears(other, 1.5)
        by.command(command)
    desk.wait_event("CALL_CLOSED")
    (recording,) = agent.wait_recordings()
    sound = agent.sound(recording)
    for side, phone, hz in ((0, desk, CALLER_HZ), (1, caller, DESK_HZ)):
        assert heard(phone, hz) > TENTHS
        assert calls.tenths(calls.tones_of(sound[:, side]), hz) > TENTHS
    held = sum(not np.any(sound[at : at + RATE // 10]) for at in range(0, len(sound), RATE // 10))
    assert held > TENTHS
    if isinstance(by, Baresip):  # linphone sends music of its own, which here is its tone
        assert heard(other, MUSIC_HZ) > 3


def encrypted(*phones: Baresip | Linphone) -> None:
    """Wait until those do that should, and could do without. linphone takes no call in the clear."""
    for phone in phones:
        if isinstance(phone, Baresip) and phone.encrypts:
            phone.child.wait_line(lambda line: "SRTP is Enabled" in line)


def hears(phone: Baresip | Linphone, seconds: float) -> None:
    """Let so much sound come to a phone."""

    def size() -> int:
        return sum(one.stat().st_size for one in phone.directory.glob("dump-*-dec.wav"))

    enough, until = size() + 2 * RATE * seconds, time.monotonic() + PATIENCE_S
    while size() < enough:
        assert time.monotonic() < until, f"no {seconds} s of sound"
        time.sleep(0.05)


def heard(phone: Baresip | Linphone, hz: float) -> int:
    """How many tenths of a second of a tone came to a phone whose calls are over."""
    return sum(calls.tenths(calls.tones_of(sound), hz) for sound in phone.heard)


@pytest.mark.parametrize(("caller", "desk"), [("", "srtp"), ("srtp-mand", ""), ("srtp-mand", "srtp")])
def test_each_side_by_itself(agent_factory: AgentFactory, baresip: MakePhone, caller: str, desk: str) -> None:
    """Encrypted outside and plain inside, the other way round, and both."""
    one, phone = baresip("0612345678", CALLER_HZ, encrypts=caller), baresip("202", DESK_HZ, encrypts=desk)
    ours = ["optional" if encrypts else "off" for encrypts in (caller, desk)]
    operators = {"extensions": [phone.uri], "srtp": ours[1]}
    agent = agent_factory(trunk={"srtp": ours[0]}, operators=operators)
    talks(agent, agent.uri(), one, phone, by=phone)


def test_linphone_that_takes_nothing_else(
    agent_factory: AgentFactory, baresip: MakePhone, tmp_path: Path
) -> None:
    phone, sound = baresip("202", DESK_HZ, encrypts="srtp"), tmp_path / "linphone.wav"
    soundfile.write(sound, tone(CALLER_HZ, 60), RATE, subtype="PCM_16")
    operators = {"extensions": [phone.uri], "srtp": "optional"}
    agent = agent_factory(trunk={"srtp": "optional"}, operators=operators)
    with closing(Linphone(tmp_path, sound, "0612345678")) as caller:
        talks(agent, agent.uri(), caller, phone, by=caller)


def test_a_blind_transfer_to_a_colleague(agent_factory: AgentFactory, baresip: MakePhone) -> None:
    """One recording, of whom the caller spoke with."""
    caller = baresip("0612345678", CALLER_HZ, encrypts="srtp-mand")
    desk = baresip("202", DESK_HZ, encrypts="srtp", auto_answer=True)
    colleague = baresip("203", COLLEAGUE_HZ, encrypts="srtp", auto_answer=True)
    operators = {"extensions": [desk.uri], "transfer_targets": [colleague.uri], "srtp": "optional"}
    agent = agent_factory(trunk={"srtp": "optional"}, operators=operators)
    caller.command("dial", agent.uri())
    desk.wait_event("CALL_ESTABLISHED")
    hears(desk, 1.5)
    desk.command("transfer", colleague.uri)
    desk.wait_event("CALL_CLOSED")
    encrypted(caller, desk, colleague)
    hears(colleague, 1.5)
    colleague.command("hangup")
    caller.wait_event("CALL_CLOSED")
    (recording,) = agent.wait_recordings()
    assert calls.of(recording, "operator", "incomplete") == [colleague.uri, False]
    sound = agent.sound(recording)
    for phone, hz in ((desk, CALLER_HZ), (colleague, CALLER_HZ), (caller, DESK_HZ), (caller, COLLEAGUE_HZ)):
        assert heard(phone, hz) > TENTHS
    for side, hz in ((0, CALLER_HZ), (1, DESK_HZ), (1, COLLEAGUE_HZ)):
        assert calls.tenths(calls.tones_of(sound[:, side]), hz) > TENTHS


def test_the_trunk_takes_a_call_back(agent_factory: AgentFactory, baresip: MakePhone) -> None:
    """By our REFER; what is said then goes past us."""
    caller = baresip("0612345678", CALLER_HZ, encrypts="srtp-mand")
    target = baresip("301", COLLEAGUE_HZ, encrypts="srtp-mand", auto_answer=True)
    away = {"extensions": ["sip:202@127.0.0.1:9"], "transfer": "refer", "refer_targets": [target.uri]}
    agent = agent_factory(trunk={"srtp": "optional"}, operators=away, recording={"enabled": False})
    caller.command("dial", agent.uri())
    target.wait_event("CALL_ESTABLISHED")
    encrypted(caller)
    (receipt,) = agent.wait_receipts()
    assert calls.of(receipt, "outcome", "operator", "decision") == ["transferred", target.uri, "not_allowed"]
    hears(target, 1.5)
    target.command("hangup")
    target.wait_event("CALL_CLOSED")
    for phone, hz in ((target, CALLER_HZ), (caller, COLLEAGUE_HZ)):
        assert heard(phone, hz) > TENTHS


def test_required_over_tls(agent_factory: AgentFactory, baresip: MakePhone, tmp_path: Path) -> None:
    """By the edge, on both sides; phones that take nothing else."""
    files = certified(tmp_path, "all", "127.0.0.1")
    both = tmp_path / "both.pem"
    both.write_bytes(files.certificate.read_bytes() + files.key.read_bytes())
    one, phone = (
        baresip(user, hz, encrypts="srtp-mand", certificate=both)
        for user, hz in (("0612345678", CALLER_HZ), ("202", DESK_HZ))
    )
    tables = behind_edge(1)
    tables["edge"] |= {
        "certificate": str(files.certificate), "private_key": str(files.key), "ca": str(files.ca),
    }  # fmt: skip
    tables["trunk"] |= {"srtp": "required", "transport": "tls"}
    agent = agent_factory(**tables, operators={"extensions": [phone.uri]})
    # here the edge knows a peer by its port, too; baresip sends by another connection than it is called by
    talks(agent, f"sip:{NUMBER}@127.0.0.1:{agent.port};transport=tls", one, phone, by=one)
