"""Which detectors the configuration asks for, what they listen for, and what is said of them at start."""

import sys
from collections.abc import Callable
from importlib import util
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from media.hearing import spotter
from media.hearing.embedding import Head
from media.hearing.second_opinion import SecondOpinion
from media.hearing.spotter import known_heads
from media.training.language import language
from sipagent.check.notice import prompt_findings
from sipagent.config import tables
from sipagent.config.load import Config, ConfigError
from sipagent.config.tables import WORDS, words_of
from sipagent.service.rules import detectors_of, listening, rules_of
from sipagent.voice.detectors import NOBODY_LISTENS, accept_keywords, detectors, voice_findings
from tests.configured import SMALL, read, with_keys
from tests.raising import raising
from tests.room import Room

HEARD = 'engine = "embedding"\nkeywords = ["je refuse", "pas d\'enregistrement"]'
ENGLISH = 'languages = { "+33323063007" = "en" }\n[prompts.en]\nnotice = "prompts/en/notice.wav"'


def configured(room: Room, keys: str) -> Config:
    room.set("refusal", keys)
    return room.config()


# --- what is listened for where no words are configured ---


@pytest.fixture
def heads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a head of each language."""
    for code in WORDS:
        (tmp_path / f"{code}.npz").touch()
    monkeypatch.setattr(tables, "_HEADS", tmp_path)
    return tmp_path


def test_the_words_are_those_of_the_languages_that_notices_are_in(heads: Path) -> None:
    french = read(SMALL).refusal
    assert french.keywords == ("ne m'enregistrez pas", "je refuse", "refuser", "pas d'enregistrement")
    both = with_keys("prompts", ENGLISH, SMALL)
    assert read(both).refusal.keywords == (*french.keywords, *WORDS["en"]["keywords"])
    assert read(both).refusal.accept_keywords == ("oui", "j'accepte", "yes", "I accept")
    assert read(both).refusal.in_call_keywords[-2:] == ("stop recording", "do not record me")
    assert read(with_keys("service", 'language = "es"', SMALL)).refusal.keywords == WORDS["es"]["keywords"]
    choosing = 'choose = "choose.wav"\nchoices = { "2" = "de" }\n[prompts.de]\nnotice = "de.wav"'
    assert "ich lehne ab" in read(with_keys("prompts", choosing, SMALL)).refusal.keywords
    written = read(with_keys("refusal", 'keywords = ["stop"]', both)).refusal  # is all there is
    assert (written.keywords, len(written.accept_keywords)) == (("stop",), 4)
    for codes in (["fr", "nl", "fr"], ["nl"]):
        assert words_of(codes, "keywords") == WORDS["fr"]["keywords"]
    (heads / "en.npz").unlink()  # without a head a language adds none
    assert words_of(["fr", "en"], "keywords") == WORDS["fr"]["keywords"]


@pytest.mark.parametrize("head", known_heads(), ids=lambda head: head.language)
def test_the_shipped_heads_hear_them_all(head: Head) -> None:
    spoken, words = language(head.language), WORDS[head.language]
    for kind, known in (
        ("keywords", spoken.refusing),
        ("accept_keywords", spoken.accepting),
        ("in_call_keywords", spoken.in_call),
    ):
        assert set(words[kind]) <= set(head.phrases) & set(known)


# --- the detectors ---


def broken_head(room: Room) -> None:
    (room.folder / "heads").mkdir()
    (room.folder / "heads/fr.npz").write_bytes(b"no head")


# Why the default engine cannot be loaded: what is done to it, what is said.
BROKEN: dict[str, tuple[Callable[[pytest.MonkeyPatch, Room], None], str]] = {
    "no onnxruntime": (lambda patch, _: patch.setitem(sys.modules, "onnxruntime", None), "pip install onnx"),
    "no network": (
        lambda patch, _: patch.setattr(util, "find_spec", lambda name: None),
        "pip install livekit",
    ),
    "no memory": (
        lambda patch, _: patch.setattr(spotter, "load_head", raising(MemoryError())),
        "not enough memory",
    ),
    "a broken head": (lambda _, room: broken_head(room), "fr.npz"),
    "no head for the words": (lambda _, room: room.set("refusal", 'keywords = ["bananes"]'), "no head for"),
    "no head of the language": (lambda _, room: room.set("service", 'language = "it"'), "no head for it"),
}


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
        if case == "no head of the language":  # has the French words then
            return
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


def test_who_listens_and_to_what_is_as_configured_and_told(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configured(room, 'engine = "none"')
    assert detectors(config) == NOBODY_LISTENS and voice_findings(config) == (config, [])
    found = detectors(configured(room, HEARD))
    assert found.before is not None and found.in_call is None  # nobody, unless asked to
    config = configured(room, f'{HEARD}\nin_call = "key+voice"')
    found = detectors(config)
    assert found.in_call is not None and found.in_call is not found.before
    _, (finding,) = voice_findings(config)
    heard = (
        "embedding hears 'je refuse', \"pas d'enregistrement\"; during the call "
        '"arrêtez l\'enregistrement", "ne m\'enregistrez pas"'
    )
    assert (finding.level, finding.what, finding.detail) == ("ok", "refusal.engine", heard)
    monkeypatch.setattr("media.hearing.second_opinion.Whisper", lambda *given: None)
    config = configured(room, f'{HEARD}\nin_call = "key+voice"\nsecond = "model"')
    found = detectors(config)
    assert isinstance(found.before, SecondOpinion) and not isinstance(found.in_call, SecondOpinion)
    told = [finding for finding in voice_findings(config)[1] if finding.what == "refusal.second"]
    assert [finding.level for finding in told] == ["ok"]
    assert accept_keywords(room.config()) == ()  # words that accept are for opt_in alone
    assert accept_keywords(configured(room, 'mode = "opt_in"')) == ("oui", "j'accepte")


NO_HEAD = "no head for .*; accepted: .*"


@pytest.mark.parametrize(
    ("keys", "key", "told"),
    [
        ('engine = "embedding"\nkeywords = ["je ne veux pas de ça"]', "engine", NO_HEAD),
        ('engine = "embedding"\nin_call = "key+voice"\nin_call_keywords = ["coupez"]', "engine", NO_HEAD),
        ('engine = "vosk"', "engine", r".*accepted: its folder in refusal\.vosk_model"),
        (f'{HEARD}\nsecond = "absent"', "second", ".*/absent: .*; accepted: a folder with .*"),
    ],
)
def test_what_cannot_be_listened_for_or_with_stops_check_and_run(
    room: Room, keys: str, key: str, told: str
) -> None:
    config = configured(room, keys)
    _, (finding,) = voice_findings(config)
    assert (finding.level, finding.what) == ("error", f"refusal.{key}")
    with pytest.raises(ConfigError, match=rf"config\.toml: refusal\.{key}: {told}$"):
        detectors_of(config)
