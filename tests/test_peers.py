"""The programs of others, each against our phone: when a live test fails, these tell whose fault it is."""

from __future__ import annotations

import socket
import tomllib
from pathlib import Path

import pytest
import soundfile

from sipagent.softphone.loop import PATIENCE_S
from sipagent.softphone.phone import Answering, Phone
from sipagent.softphone.rtp import tone
from tests.peers.agent import toml
from tests.peers.baresip import Baresip
from tests.peers.kamailio import Kamailio
from tests.peers.process import Child, PeerError, free_ports, wait_answer
from tests.peers.sipp import Script, Sipp

live = pytest.mark.live


def test_configurations_are_read_back_as_they_were_meant() -> None:
    tables = {"a": {"s": 'é "x"', "n": 1.5, "b": True, "l": ["x"], "t": {"+33": "en"}}}
    assert tomllib.loads(toml(tables)) == tables


def test_ports_are_given_once_and_free() -> None:
    first, second = free_ports(10), free_ports(10)
    assert abs(first - second) >= 10
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", first + 9))


def test_a_program_that_says_nothing_of_it_is_told_with_its_last_words(tmp_path: Path) -> None:
    child = Child(["/bin/sh", "-c", "echo one; pwd; exit 3"], tmp_path)
    assert child.wait_line(lambda line: line == "one") == "one"
    with pytest.raises(PeerError, match="two") as error:
        child.wait_line(lambda line: line == "two", what="two")
    assert str(tmp_path) in str(error.value)
    assert child.wait() == 3


def test_nobody_there_is_an_error() -> None:
    with pytest.raises(PeerError, match="nobody answers"):
        wait_answer(("127.0.0.1", free_ports(1)), timeout=0.2)


@live
def test_kamailio_forwards_and_challenges(
    tmp_path: Path, caller_phone: Phone, operator_phone: Phone, registrar: Kamailio
) -> None:
    registrar.phones = {"201": operator_phone.address}
    registrar.start()
    call = caller_phone.call(f"sip:201@127.0.0.1:{registrar.port}")
    call.rtp.wait_tone(1000)
    call.hang_up()
    operator_phone.wait_call().wait_ended()
    assert caller_phone.call(f"sip:0123@127.0.0.1:{registrar.port}").wait_status() == 404
    registrar.stop()
    registrar.pbx_login = ("agent", "secret")
    registrar.start()
    assert caller_phone.call(f"sip:201@127.0.0.1:{registrar.port}").wait_status() == 407


@live
def test_sipp_sends_real_events_hangs_up_and_cancels(tmp_path: Path, operator_phone: Phone) -> None:
    sipp = Sipp(tmp_path, Script().answered().press("9").hang_up(), operator_phone.address)
    call = operator_phone.wait_call()
    sipp.wait()
    call.wait_ended()
    events = [p.payload[0] for p in call.rtp.heard if p.payload_type == 101]
    assert set(events) == {9}
    operator_phone.answer = Answering(status=None)
    Sipp(tmp_path, Script().cancelled(), operator_phone.address).wait()
    operator_phone.answer = Answering(status=486)
    with pytest.raises(PeerError, match="SIPp ended with 1"):
        Sipp(tmp_path, Script().answered(), operator_phone.address).wait()


@live
def test_baresip_answers_holds_and_resumes(tmp_path: Path, caller_phone: Phone) -> None:
    soundfile.write(tmp_path / "desk.wav", tone(1300, 20), 8000, subtype="PCM_16")
    desk = Baresip(tmp_path, tmp_path / "desk.wav")
    try:
        call = caller_phone.call(desk.uri)
        desk.wait_event("CALL_INCOMING")
        desk.command("accept")
        call.rtp.wait_tone(1300)
        desk.command("hold")
        call.loop.wait_for(lambda: call.directions[-1] == "sendonly", PATIENCE_S, "hold")
        desk.command("resume")
        call.loop.wait_for(lambda: call.directions[-1] == "sendrecv", PATIENCE_S, "end of the hold")
        desk.command("hangup")
        call.wait_ended()
        assert call.ended_by == "them"
    finally:
        desk.stop()
