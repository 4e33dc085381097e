"""Which detectors the configuration asks for, and what is said of them before any call."""

import subprocess
import sys
from collections.abc import Callable
from importlib import util
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from media.hearing import spotter
from media.hearing.second_opinion import SecondOpinion
from media.hearing.spotter import known_heads
from sipagent.check.notice import prompt_findings
from sipagent.config.load import Config, ConfigError
from sipagent.service.rules import detectors_of, listening, rules_of
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
    config = configured(room, 'engine = "none"')
    assert detectors(config) == NOBODY_LISTENS
    assert voice_findings(config) == (config, [])


# Why the default engine cannot be loaded: what is done to it, what is said.
BROKEN: dict[str, tuple[Callable[[pytest.MonkeyPatch, Room], None], str]] = {
    "no onnxruntime": (
        lambda patch, room: patch.setitem(sys.modules, "onnxruntime", None),
        "pip install onnx",
    ),
    "no network": (
        lambda patch, room: patch.setattr(util, "find_spec", lambda name: None),
        "pip install livekit",
    ),
    "no memory": (
        lambda patch, room: patch.setattr(spotter, "load_head", out_of_memory),
        "not enough memory",
    ),
    "a broken head": (lambda patch, room: broken_head(room), "fr.npz"),
    "no head for the words": (
        lambda patch, room: room.set("refusal", 'keywords = ["bananes"]'),
        "no head for",
    ),
}


def out_of_memory(path: Path) -> None:
    raise MemoryError


def broken_head(room: Room) -> None:
    (room.folder / "heads").mkdir()
    (room.folder / "heads/fr.npz").write_bytes(b"no head")


@pytest.mark.parametrize("written", [False, True])
@pytest.mark.parametrize("case", BROKEN)
def test_the_default_engine_that_cannot_be_loaded_leaves_the_key(
    room: Room, monkeypatch: pytest.MonkeyPatch, case: str, written: bool
) -> None:
    """An administrator sees why. One that the file names must be loaded."""
    spotter.shared_streams.cache_clear()
    breaks, why = BROKEN[case]
    breaks(monkeypatch, room)
    if written:
        room.set("refusal", 'engine = "embedding"')
    config = room.config()
    in_force, (finding,) = voice_findings(config)
    assert (finding.level, finding.what) == ("error" if written else "warning", "refusal.engine")
    assert why in finding.detail
    if written:
        with pytest.raises(ConfigError, match=r"config\.toml: refusal\.engine: "):
            listening(config)
        return
    assert "only keys are heard" in finding.detail
    with capture_logs() as logs:
        assert listening(config) == (in_force, NOBODY_LISTENS)
    assert [(one["event"], one["reason"]) for one in logs] == [("alert", f"refusal.engine: {finding.detail}")]
    assert in_force.refusal.engine == "none" and not in_force.refusal.engine_written


def test_in_a_language_without_a_head_the_default_engine_stays_away(room: Room) -> None:
    room.set("service", 'language = "it"')
    in_force, (finding,) = voice_findings(room.config())
    assert in_force.refusal.engine == "none" and "no head for it" in finding.detail


def test_a_phrase_that_is_promised_and_that_nothing_hears_stops_check_and_run(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    spotter.shared_streams.cache_clear()
    room.set("prompts", 'notice = "prompts/fr/notice_voice.wav"')
    in_force, _ = voice_findings(room.config())
    errors = [finding.detail for finding in prompt_findings(in_force) if finding.level == "error"]
    assert errors == [
        "promises a spoken refusal, which nobody hears: refusal.engine is absent, and nothing can listen here"
    ]
    with pytest.raises(ConfigError, match="promises a spoken refusal, which nobody hears"):
        rules_of(listening(room.config())[0])


def test_an_agent_that_hears_no_voice_carries_no_network() -> None:
    both = "sipagent.service.one_process, sipagent.service.worker"
    asked = f"import sys, {both}; print('onnxruntime' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True).stdout
    assert said == "False\n"


def test_in_the_call_nobody_listens_unless_asked_to(room: Room) -> None:
    found = detectors(configured(room, HEARD))
    assert found.before is not None and found.in_call is None
    found = detectors(configured(room, f'{HEARD}\nin_call = "key+voice"'))
    assert found.in_call is not None and found.in_call is not found.before


def test_what_is_heard_is_told(room: Room) -> None:
    _, (finding,) = voice_findings(configured(room, f'{HEARD}\nin_call = "key+voice"'))
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
    _, (finding,) = voice_findings(config)
    assert finding.level == "error" and finding.detail.startswith("no head for ")
    with pytest.raises(ConfigError, match=r"config\.toml: refusal\.engine: no head for .*; accepted: "):
        detectors_of(config)


def test_a_phrase_that_nothing_hears_is_answered_in_the_callers_languages(room: Room) -> None:
    _, (finding,) = voice_findings(configured(room, 'engine = "embedding"\nkeywords = ["bananes"]'))
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
    _, (finding,) = voice_findings(configured(room, 'engine = "vosk"'))
    assert finding.level == "error" and finding.detail.endswith("accepted: its folder in refusal.vosk_model")


def test_a_second_opinion_that_is_no_model_stops_check_and_run(room: Room) -> None:
    config = configured(room, f'{HEARD}\nsecond = "absent"')
    _, (finding,) = voice_findings(config)
    assert (finding.level, finding.what) == ("error", "refusal.second")
    assert finding.detail.startswith(str(room.config().base / "absent"))
    with pytest.raises(ConfigError, match=r"config\.toml: refusal\.second: [^\n]*; accepted: a folder with "):
        detectors_of(config)


def test_a_second_opinion_is_told_and_asked_before_the_bridge(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("media.hearing.second_opinion.Whisper", lambda *given: None)
    config = configured(room, f'{HEARD}\nin_call = "key+voice"\nsecond = "model"')
    found = detectors(config)
    assert isinstance(found.before, SecondOpinion) and not isinstance(found.in_call, SecondOpinion)
    told = [finding for finding in voice_findings(config)[1] if finding.what == "refusal.second"]
    assert [finding.level for finding in told] == ["ok"]
