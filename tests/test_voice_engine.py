"""Which detectors the configuration asks for, and what is said of them before any call."""

import subprocess
import sys
from pathlib import Path

import pytest

from media.hearing.second.opinion import SecondOpinion
from media.hearing.spotter import known_heads
from sipagent.config.load import Config, ConfigError
from sipagent.service.rules import detectors_of
from sipagent.voice.detectors import NOBODY_LISTENS, Detectors, accept_keywords, detectors, voice_findings
from tests.room import Room

HEARD = 'engine = "embedding"\nkeywords = ["je refuse", "pas d\'enregistrement"]'


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path / "agent")


def configured(room: Room, keys: str) -> Config:
    room.set("refusal", keys)
    return room.config()


def test_without_an_engine_nobody_listens_and_nothing_is_said(room: Room) -> None:
    assert detectors(room.config()) == NOBODY_LISTENS
    assert list(voice_findings(room.config())) == []


def test_an_agent_that_hears_no_voice_carries_no_network() -> None:
    both = "sipagent.service.one_process, sipagent.service.processes.worker"
    asked = f"import sys, {both}; print('onnxruntime' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout
    assert said == "False\n"


def test_in_the_call_nobody_listens_unless_asked_to(room: Room) -> None:
    found = detectors(configured(room, HEARD))
    assert found.before is not None and found.in_call is None
    found = detectors(configured(room, f'{HEARD}\nin_call = "key+voice"'))
    assert found.in_call is not None and found.in_call is not found.before


def test_what_is_heard_is_told(room: Room) -> None:
    (finding,) = voice_findings(configured(room, f'{HEARD}\nin_call = "key+voice"'))
    assert (finding.level, finding.what, finding.detail) == (
        "ok",
        "refusal.engine",
        "embedding hears 'je refuse', \"pas d'enregistrement\"; during the call "
        '"arrêtez l\'enregistrement", "ne m\'enregistrez pas"',
    )


@pytest.mark.parametrize(
    "keys", ['keywords = ["je ne veux pas de ça"]', 'in_call = "key+voice"\nin_call_keywords = ["coupez"]']
)
def test_a_phrase_that_nothing_hears_stops_check_and_run(room: Room, keys: str) -> None:
    config = configured(room, f'engine = "embedding"\n{keys}')
    (finding,) = voice_findings(config)
    assert finding.level == "error" and finding.detail.startswith("no head for ")
    with pytest.raises(ConfigError, match=r"config\.toml: refusal\.engine: no head for .*; accepted: "):
        detectors_of(config)


def test_a_phrase_that_nothing_hears_is_answered_in_the_callers_languages(room: Room) -> None:
    (finding,) = voice_findings(configured(room, 'engine = "embedding"\nkeywords = ["bananes"]'))
    offered = {*finding.detail.partition("accepted: ")[2].split(", ")}
    (french,) = (head for head in known_heads() if head.language == "fr" and not head.everyday)
    assert offered <= {*french.phrases} and len(offered) > 5


def test_words_that_accept_are_for_opt_in_alone(room: Room) -> None:
    assert accept_keywords(room.config()) == ()
    assert accept_keywords(configured(room, 'mode = "opt_in"')) == ("oui", "j'accepte")


def test_the_shipped_head_hears_all_default_keywords(room: Room) -> None:
    every = detectors(configured(room, 'engine = "embedding"\nmode = "opt_in"\nin_call = "key+voice"'))
    assert isinstance(every, Detectors)
    assert every.before is not None and every.in_call is not None


def test_vosk_without_a_model_is_told(room: Room) -> None:
    (finding,) = voice_findings(configured(room, 'engine = "vosk"'))
    assert finding.level == "error" and finding.detail.endswith("accepted: its folder in refusal.vosk_model")


def test_a_second_opinion_that_is_no_model_stops_check_and_run(room: Room) -> None:
    config = configured(room, f'{HEARD}\nsecond = "absent"')
    (finding,) = voice_findings(config)
    assert (finding.level, finding.what) == ("error", "refusal.second")
    assert finding.detail.startswith(str(room.config().base / "absent"))
    with pytest.raises(ConfigError, match=r"config\.toml: refusal\.second: [^\n]*; accepted: a folder with "):
        detectors_of(config)


def test_a_second_opinion_is_told_and_asked_before_the_bridge(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media.hearing.second.whisper.Whisper", lambda *given: None)
    config = configured(room, f'{HEARD}\nin_call = "key+voice"\nsecond = "model"')
    found = detectors(config)
    assert isinstance(found.before, SecondOpinion) and not isinstance(found.in_call, SecondOpinion)
    told = [finding for finding in voice_findings(config) if finding.what == "refusal.second"]
    assert [finding.level for finding in told] == ["ok"]
