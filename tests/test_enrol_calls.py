"""Enrolments for real: the engine, and phones that call, press keys and say things."""

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import soundfile

from media.prompt import inspect_prompt
from media.training.enrolled import Person, enrolled
from sipagent.call import events as e
from sipagent.enrol import flow as f
from sipagent.enrol.driver import Enrolments, Terms
from sipagent.enrol.script import Script, script
from sipagent.softphone.phone import Call, Phone
from sipagent.softphone.rtp import Playback, tone
from sipagent.voice.detection import read_sound
from tests.loopback import Loopback, scene

VOICE = read_sound(Path(__file__).parent / "live" / "je_refuse.flac")
PROMPT_S = 0.2


def short(asked: Script, folder: Path) -> Script:
    """Each phrase once and one sentence; every prompt a tone of its own, but the one after which to speak."""
    sounds = dict(asked.sounds)
    for nth, name in enumerate(sorted(set(sounds) - {f.TONE})):
        soundfile.write(folder / f"{name}.wav", tone(1200 + 30 * nth, PROMPT_S), 8000, subtype="PCM_16")
        sounds[name] = inspect_prompt(folder / f"{name}.wav")
    return replace(asked, steps=(asked.steps[0], asked.steps[3]), sounds=sounds)


class Room:
    """Enrolments on an engine, and two colleagues' phones."""

    def __init__(self, stack: ExitStack) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self.kept: list[Person] = []
        self.failed: list[str] = []
        self.folder = folder / "voices"
        terms = Terms("900", {"201": "Ann Martin", "202": "Zoé"}, self.folder, 30, "FR")
        asked = short(script(["je refuse"], "fr", times=1), folder)
        self.enrolments = Enrolments(terms, asked, kept=self.kept.append, failed=self.failed.append)
        office = Loopback(stack, report=self.enrolments.post, audio=self.enrolments.hear)
        self.engine, self.port = office.engine, office.port
        self.ann, self.zoe, self.stranger = (office.phone(user, 300.0) for user in ("201", "202", "203"))
        for phone in (self.ann, self.zoe, self.stranger):
            phone.sound = None

    def until(self, happened: Callable[[], object], what: str) -> None:
        patience = time.monotonic() + 30
        while not happened():
            assert time.monotonic() < patience, f"no {what}; {self.phases} {self.failed}"
            self.enrolments.turn(self.engine)

    @property
    def phases(self) -> list[f.Phase]:
        return [call.flow.phase for call in self.enrolments._calls.values()]

    @property
    def taken(self) -> int:
        return sum(len(call.taken) for call in self.enrolments._calls.values())

    def takes(self, count: int) -> None:
        self.until(lambda: self.taken == count or self.kept, "saying")

    def stands(self, phase: f.Phase) -> None:
        self.until(lambda: phase in self.phases, phase.value)

    def calls(self, phone: Phone, user: str = "900") -> Call:
        call = phone.call(f"sip:{user}@127.0.0.1:{self.port}")
        self.until(lambda: call.status is not None, "answer")
        return call

    def over(self, call: Call) -> None:
        self.until(lambda: call.ended_ns is not None and not self.phases, "end")


@scene
def test_only_who_consents_after_the_welcome_and_says_it_all_is_kept(stack: ExitStack) -> None:
    room = Room(stack)
    assert room.calls(room.stranger).status == 403
    assert room.calls(room.ann, "901").status == 404

    away = room.calls(room.ann)
    away.press("1")  # during the welcome: no consent
    assert room.calls(room.zoe).status == 486
    room.stands(f.Phase.CONSENT)
    away.press("1")
    room.stands(f.Phase.HEARING)
    away.rtp.play(Playback(VOICE))
    room.until(lambda: room.taken, "saying")
    assert not room.folder.exists()
    away.hang_up()
    room.over(away)
    assert not room.folder.exists() and not room.kept and not room.failed

    call = room.calls(room.ann)
    room.stands(f.Phase.CONSENT)
    call.press("1", "inband")
    for taken in (1, 2):
        room.stands(f.Phase.HEARING)
        call.rtp.play(Playback(VOICE))
        room.takes(taken)
    room.over(call)
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
    room.enrolments.run(room.engine, lambda: f.Phase.CONSENT in room.phases)
    assert later.ended_ns is not None and len(enrolled(room.folder)) == 1


def test_what_a_held_call_or_one_without_sound_means() -> None:
    from sipagent.enrol.driver import _meaning

    assert _meaning(e.LegHeld(1, sends=True)) == _meaning(e.MediaLost(1)) == f.Broken()
    assert _meaning(e.MediaFoundElsewhere(1)) == f.Unheard()
    assert _meaning(e.MediaArrived(1)) is None
