"""Enrolments for real: the engine, and phones that call, press keys and say things."""

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import soundfile

from media.prompt import inspect_prompt
from media.training.enrolled import EnrolledPerson, enrolled
from sipagent.call import events as e
from sipagent.config.load import parse
from sipagent.edge.process import EdgeProcess
from sipagent.enrol import driver
from sipagent.enrol import flow as f
from sipagent.enrol.driver import Enrolments, EnrolScript, script
from sipagent.enrol.keeping import Colleague, keep
from sipagent.softphone.phone import Call, Phone
from sipagent.softphone.rtp import Playback, tone
from sipagent.softphone.sip import Message
from sipagent.voice.detectors import read_sound
from tests.loopback import Loopback, scene
from tests.peers.process import free_ports
from tests.test_enrol_keeping import TAKES

VOICE = read_sound(Path(__file__).parent / "live" / "je_refuse.flac")
PROMPT_S = 0.2
PBX, TRUNK = "127.0.0.4", "127.0.0.2"
CONFIG = """
[service]
name = "Office"
controller = "Town"
[trunk]
uri = "sip:agent@{trunk}"
listen = "{listen}:5060"
rtp_ports = "{rtp}-{last_rtp}"
allowed_sources = ["{trunk}"]
[operators]
extensions = ["sip:201@{pbx}:5070"]
[edge]
worker_ports = "{inner}-{last_inner}"
[enrol]
extension = "900"
colleagues = {{ "201" = "Ann Martin", "202" = "Zoé" }}
keep_days = 30
"""


def short(asked: EnrolScript, folder: Path) -> EnrolScript:
    """Each phrase once and one sentence; every prompt a tone of its own, but the one after which to speak."""
    sounds = dict(asked.sounds)
    for nth, name in enumerate(sorted(set(sounds) - {f.TONE})):
        soundfile.write(folder / f"{name}.wav", tone(1200 + 30 * nth, PROMPT_S), 8000, subtype="PCM_16")
        sounds[name] = inspect_prompt(folder / f"{name}.wav")
    return replace(asked, steps=(asked.steps[0], asked.steps[3]), sounds=sounds)


class Room:
    """Enrolments on an engine, two colleagues' phones, and one outside that shows a colleague's number.

    `behind`: on a network, so that Kamailio stands in front.
    """

    def __init__(self, stack: ExitStack, behind: bool = False, replaces: str = "") -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.kept: list[EnrolledPerson] = []
        self.declined: list[str] = []
        self.failed: list[str] = []
        self.port, rtp, inner = free_ports(1), free_ports(48), free_ports(8)
        ports = {
            "rtp": rtp + rtp % 2,
            "last_rtp": rtp + 46,
            "inner": inner + inner % 2,
            "last_inner": inner + 6,
        }
        listen = "0.0.0.0" if behind else "127.0.0.1"
        text = CONFIG.format(listen=listen, pbx=PBX, trunk=TRUNK, **ports)
        config = parse(text, folder / "config.toml")
        assert config.enrol
        self.folder = config.enrol.folder
        asked = short(script(["je refuse"], "fr", times=1), folder)
        self.enrolments = Enrolments(
            config,
            asked,
            {replaces},
            kept=self.kept.append,
            declined=self.declined.append,
            failed=self.failed.append,
        )
        found, doubts = driver.callers(config)
        assert not doubts
        self.front = None
        if behind:
            self.front = EdgeProcess(driver.plan(config, self.port, found), folder / "front", print)
            stack.callback(self.front.stop)
            self.front.start()
        settings = driver.engine_settings(config, self.enrolments, self.port, found, self.front)
        changes = {field.name: getattr(settings, field.name) for field in fields(settings)}
        self.office = Loopback(stack, **changes)
        self.engine = self.office.engine
        if self.front:
            self.front.rpc.activate(0)
        self.ann, self.zoe, self.stranger = (self.phone(user) for user in ("201", "202", "203"))
        self.outside = self.phone("201", TRUNK)

    def phone(self, user: str, ip: str = PBX) -> Phone:
        phone = self.office.phone(user, 300.0, ip=ip)
        phone.sound = None
        return phone

    @property
    def strangers(self) -> int:
        return self.front.rpc.statistics().strangers if self.front else self.engine.strangers

    def until(self, happened: Callable[[], object], what: str) -> None:
        patience = time.monotonic() + 30
        while not happened():
            assert time.monotonic() < patience, f"no {what}; {self.phases} {self.failed}"
            self.enrolments.turn(self.engine)

    @property
    def phases(self) -> list[f.EnrolPhase]:
        return [call.flow.phase for call in self.enrolments._calls.values()]

    @property
    def taken(self) -> int:
        return sum(len(call.taken) for call in self.enrolments._calls.values())

    def takes(self, count: int) -> None:
        self.until(lambda: self.taken == count or self.kept, "saying")

    def stands(self, phase: f.EnrolPhase) -> None:
        self.until(lambda: phase in self.phases, phase.value)

    def calls(self, phone: Phone, user: str = "900") -> Call:
        call = phone.call(f"sip:{user}@127.0.0.1:{self.port}")
        self.until(lambda: call.status is not None, "answer")
        return call

    def over(self, call: Call) -> None:
        self.until(lambda: call.ended_ns is not None and not self.phases, "end")

    def lends(self, phone: Phone) -> None:
        """A whole session."""
        call = self.calls(phone)
        self.stands(f.EnrolPhase.CONSENT)
        call.press("1", "inband")
        for taken in (1, 2):
            self.stands(f.EnrolPhase.HEARING)
            call.rtp.play(Playback(VOICE))
            self.takes(taken)
        self.over(call)


@scene
def test_only_who_consents_after_the_welcome_and_says_it_all_is_kept(stack: ExitStack) -> None:
    room = Room(stack)
    assert room.calls(room.stranger).status == 403
    assert room.calls(room.ann, "901").status == 404

    away = room.calls(room.ann)
    away.press("1")  # during the welcome: no consent
    assert room.calls(room.zoe).status == 486
    room.stands(f.EnrolPhase.CONSENT)
    away.press("1")
    room.stands(f.EnrolPhase.HEARING)
    away.rtp.play(Playback(VOICE))
    room.until(lambda: room.taken, "saying")
    assert not room.folder.exists()
    away.hang_up()
    room.over(away)
    assert not room.folder.exists() and not room.kept and not room.failed

    room.lends(room.ann)
    (person,) = enrolled(room.folder)
    assert room.kept == [person] and not room.failed
    assert (person.name, person.language, person.number) == ("Ann Martin", "fr", "201")
    assert person.folder == room.folder / "ann_martin"
    assert person.expires_at - person.consented_at == timedelta(days=30)
    assert [(one.text, one.phrase) for one in person.sayings] == [
        ("je refuse", "je refuse"),
        ("C'est pour un rendez-vous.", None),
    ]
    for saying in person.sayings:
        sound, rate = soundfile.read(person.folder / saying.file, dtype="int16")
        assert rate == 8000 and sound.ndim == 1 and len(VOICE) * 0.8 < len(sound) < len(VOICE) + 8000
        assert np.abs(sound).max() > 5000

    later = room.calls(room.zoe)
    room.enrolments.run(room.engine, lambda: f.EnrolPhase.CONSENT in room.phases)
    room.over(later)
    assert len(enrolled(room.folder)) == 1


def only_from_the_operators(room: Room) -> None:
    """Whoever shows a colleague's number from elsewhere gets no answer, and nothing begins."""
    before = room.strangers
    forged = room.outside.call(f"sip:900@127.0.0.1:{room.port}")
    room.until(lambda: room.strangers > before, "stranger")
    assert forged.status is None and not room.phases
    assert room.calls(room.ann).status == 200


@scene
def test_only_the_operators_own_addresses_may_call(stack: ExitStack) -> None:
    only_from_the_operators(Room(stack))


@scene
def test_on_a_network_kamailio_stands_in_front(stack: ExitStack) -> None:
    """So nothing reaches the engine but what every other call may: an ACK without a call would end it."""
    room = Room(stack, behind=True)
    only_from_the_operators(room)
    room.ann.calls[0].hang_up()
    room.over(room.ann.calls[0])
    ip, port = room.zoe.address
    headers = (
        ("Via", f"SIP/2.0/UDP {ip}:{port};branch=z9hG4bK1"),
        ("From", f"<{room.zoe.uri}>;tag=1"),
        *(("To", f"<sip:900@127.0.0.1:{room.port}>"),) * 2,
        *(("Call-ID", "1"), ("CSeq", "1 ACK"), ("Max-Forwards", "70")),
    )
    room.zoe.send(Message(f"ACK sip:900@127.0.0.1:{room.port} SIP/2.0", headers), ("127.0.0.1", room.port))
    room.lends(room.zoe)
    assert [person.name for person in room.kept] == ["Zoé"] and not room.failed


@scene
def test_a_voice_that_is_kept_is_replaced_once_and_only_where_that_is_allowed(stack: ExitStack) -> None:
    room = Room(stack, replaces="ann_martin")
    for name, number in (("Ann Martin", "201"), ("Zoé", "202")):
        keep(room.folder, Colleague(name, number, "fr"), datetime.now(UTC), 30, TAKES)
    ann, zoe = enrolled(room.folder)
    assert room.calls(room.zoe).status == 603 and room.declined == ["Zoé"]
    room.lends(room.ann)
    assert room.calls(room.ann).status == 603 and room.declined == ["Zoé", "Ann Martin"]
    (replaced, same) = enrolled(room.folder)
    assert [replaced] == room.kept and replaced != ann and same == zoe


def test_what_a_held_call_or_one_without_sound_means() -> None:
    from sipagent.enrol.driver import _meaning

    assert _meaning(e.LegHeld(1, sends=True)) == _meaning(e.MediaLost(1)) == f.Broken()
    assert _meaning(e.MediaFoundElsewhere(1)) == f.Unheard()
    assert _meaning(e.MediaArrived(1)) is None
