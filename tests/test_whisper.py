"""The second opinion's model: what it is given, its vocabulary, and a real one."""

import json
import math
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import resample_poly

from media.frame import SAMPLE_RATE, Samples
from media.hearing.detectors import load_detector
from media.hearing.keyword import DetectorError, SecondUnavailable
from media.hearing.second_opinion import (
    HOP,
    RATE,
    WINDOW,
    SecondOpinion,
    TokenVocabulary,
    VocabularyError,
    Weights,
    Whisper,
    log_mel,
    read_vocabulary,
    read_weights,
    twice_the_rate,
)
from media.training.voices import Espeak, Manner
from tests.whisper_model import whisper_base

PHRASES = ("je refuse", "refuser", "pas d'enregistrement")
EVERYDAY = ("surtout pas", "je ne suis pas d'accord")
# as OpenAI's tiktoken says with the multilingual vocabulary
SPELT = {
    " Je refuse.": [2588, 16791, 13],
    " Refuser.": [16957, 18088, 13],
    " Pas d'enregistrement.": [14199, 274, 6, 268, 48933, 37934, 13],
    " I refuse.": [286, 16791, 13],
}


# --- spectra ---


def tone(hz: float, count: int, rate: int = SAMPLE_RATE, level: float = 0.3) -> Samples:
    return np.asarray(level * 32767 * np.sin(2 * np.pi * hz * np.arange(count) / rate), dtype=np.int16)


def test_the_spectra_are_those_of_the_formulas() -> None:
    samples = tone(440, 800) + tone(1900, 800, level=0.05)
    padded = np.pad(twice_the_rate(samples), WINDOW // 2, mode="reflect")
    expected = np.zeros((4, 80))
    for frame in range(4):
        part = padded[frame * HOP : frame * HOP + WINDOW]
        window = [0.5 - 0.5 * math.cos(2 * math.pi * n / WINDOW) for n in range(WINDOW)]
        turns = np.exp(-2j * np.pi * np.outer(np.arange(WINDOW // 2 + 1), np.arange(WINDOW)) / WINDOW)
        power = np.abs(turns @ (part * window)) ** 2
        for band in range(80):
            low, middle, high = (hz_of((band + n) * TOP / 81) for n in range(3))
            total = 0.0
            for bin_, loud in enumerate(power):
                hz = bin_ * RATE / WINDOW
                height = min((hz - low) / (middle - low), (high - hz) / (high - middle))
                total += max(0.0, height) * 2 / (high - low) * loud
            expected[frame, band] = math.log10(max(total, 1e-10))
    expected = (np.maximum(expected, expected.max() - 8) + 4) / 4
    found = log_mel(samples, 10, 80)[:, :4]
    whole = log_mel(samples, 10, 80).max()
    assert found.shape == (80, 4) and found.dtype == np.float32
    assert whole == pytest.approx(expected.max(), abs=0.05)
    np.testing.assert_allclose(found, expected.T, atol=1e-4)


def hz_of(mel: float) -> float:
    return mel * 200 / 3 if mel < 15 else 1000 * math.exp((mel - 15) * math.log(6.4) / 27)


TOP = 15 + math.log(8) / (math.log(6.4) / 27)
"""8 kHz in Slaney's mels."""


def test_sound_keeps_its_end_and_silence_follows_what_is_short() -> None:
    np.testing.assert_allclose(twice_the_rate(tone(1000, 800)), tone(1000, 1600, RATE) / 32768, atol=1e-4)
    loud, soft = tone(500, SAMPLE_RATE), tone(500, SAMPLE_RATE, level=0.1)
    both = log_mel(np.concatenate([loud, soft]), 100, 80)
    np.testing.assert_allclose(both[:, 5:-5], log_mel(soft, 100, 80)[:, 5:-5], atol=0.02)
    assert log_mel(soft, 200, 80)[:, 150:].max() == log_mel(soft, 200, 80).min()
    silent = log_mel(loud[:0], 300, 80)
    assert silent.shape == (80, 300) and len(np.unique(silent)) == 1


# --- the vocabulary ---


def test_the_two_that_come_first_are_joined_first() -> None:
    tokens = [*"abcé", "Ã", "©", "Ġ", "bc", "ab", "Ġabc", "Ã©"]
    vocabulary = TokenVocabulary(tokens)
    assert vocabulary.encode("abc") == [tokens.index("a"), tokens.index("bc")]
    assert vocabulary.encode("é") == [tokens.index("Ã©")]
    with pytest.raises(VocabularyError, match=r"^there is no z in its vocabulary$"):
        vocabulary.encode("z")


# --- a real model ---


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    made = whisper_base(tmp_path_factory.mktemp("whisper") / "base")
    yield made
    shutil.rmtree(made)  # 145 MB


@pytest.fixture(scope="module")
def whisper(folder: Path) -> Whisper:
    return Whisper(folder, {"fr": PHRASES}, {"fr": EVERYDAY, "de": ["lieber nicht"]})


def said(text: str) -> Samples:
    quiet = np.zeros(SAMPLE_RATE // 2, dtype=np.int16)
    spoken = resample_poly(Espeak().say(text, Manner("fr", 1.0, 1.0)).astype(float), 1, 2)
    return np.concatenate([quiet, spoken.astype(np.int16), quiet])


def test_phrases_have_the_tokens_that_the_model_was_trained_with(folder: Path) -> None:
    vocabulary = read_vocabulary(folder)
    assert {text: vocabulary.encode(text) for text in SPELT} == SPELT
    listed = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
    spelt = "".join(listed[number] for number in vocabulary.encode(" Don't - 12 ?"))
    assert spelt == "ĠDon'tĠ-Ġ12Ġ?"
    assert vocabulary.special("<|fr|>") == 50265


def test_a_phrase_and_everyday_words_are_likelier_where_they_are_said(whisper: Whisper) -> None:
    assert whisper.phrases == [*PHRASES, *EVERYDAY]
    for phrase in ("Je refuse.", "Pas d'enregistrement."):
        refusing = whisper.likeness(said(phrase))
        for text in ("Quelle heure est-il ?", "Bonjour madame."):
            assert whisper.likeness(said(text)).gain < refusing.gain - 1
    doubted = whisper.likeness(said("Je ne suis pas d'accord."))
    assert doubted.everyday == "je ne suis pas d'accord" and doubted.phrase in PHRASES
    assert doubted.doubt > refusing.doubt + 1
    silence = np.zeros(0, dtype=np.int16)  # makes no phrase likelier
    assert list(whisper.gains(silence)) == [0.0] * len(whisper.phrases)
    usual = read_weights().usual
    found = whisper.likeness(silence)
    assert found.gain == pytest.approx(-min(map(usual, PHRASES)))
    assert found.doubt == pytest.approx(-min(map(usual, EVERYDAY)))
    # a phrase that was not measured gains what the others do
    weights = Weights(0, 1, 1, 0, 1, 0.9, 0.5, 1, ["Non merci"], {"je refuse": 1.0, "refuser": 2.0})
    assert [weights.usual(phrase) for phrase in ("Je refuse !", "refuser", "pas de bande")] == [1, 2, 1.5]


def test_a_model_that_fails_says_so(whisper: Whisper, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(samples: Samples, frames: int, bands: int) -> object:
        return np.zeros((1, 1), dtype=np.float32)  # which the model does not take

    monkeypatch.setattr("media.hearing.second_opinion.log_mel", out_of_memory)
    with pytest.raises(DetectorError, match=r"^second opinion: [^\n]+$"):
        whisper.likeness(said("Bonjour."))


def test_each_phrase_is_asked_for_in_its_language_and_before_the_bridge_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded: list[tuple[Path, Mapping[str, Sequence[str]], Mapping[str, Sequence[str]]]] = []
    monkeypatch.setattr(f"{Whisper.__module__}.Whisper", lambda *given: loaded.append(given))
    before = load_detector("embedding", [*PHRASES, "I refuse"], second=Path("there"))
    assert isinstance(before, SecondOpinion) and before.every_ms == 100
    (place, refusing, everyday), *others = loaded
    assert (place, refusing, others) == (Path("there"), {"fr": list(PHRASES), "en": ["I refuse"]}, [])
    assert set(everyday) == {"fr", "en"} and "pas question" in everyday["fr"]
    assert (
        not {*PHRASES, *read_weights().left_out} & set(everyday["fr"])
        and "je refuse l'enregistrement" in everyday["fr"]
    )
    in_call = load_detector("embedding", ["arrêtez l'enregistrement"], second=Path("there"), in_call=True)
    assert in_call is not None and not isinstance(in_call, SecondOpinion)
    assert len(loaded) == 1


# --- what is no model ---


def test_without_the_package_or_the_language_it_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SecondUnavailable, match=r"there is no <\|xx\|> in its vocabulary; accepted: "):
        Whisper(folder, {"xx": PHRASES})
    monkeypatch.setitem(sys.modules, "ctranslate2", None)
    with pytest.raises(SecondUnavailable, match=r"^[^\n]*; pip install 'sipagent\[second\]'$"):
        Whisper(folder, {"fr": PHRASES})


def test_a_folder_that_is_no_model_is_told_in_a_line(folder: Path, tmp_path: Path) -> None:
    for number, (name, content, why) in enumerate(
        (
            ("", "", "No such file or directory"),
            ("vocabulary.json", "[]", r"there is no <\|startoftranscript\|> in its vocabulary"),
            ("vocabulary.json", "{", r"Expecting property name[^\n]*"),
            ("vocabulary.json", '{"a": 1}', r"vocabulary\.json is not a list of tokens"),
            ("vocabulary.json", "[1]", r"vocabulary\.json is not a list of tokens"),
            ("model.bin", "no model", "no such model"),
        )
    ):
        place = tmp_path / f"model {number}"
        place.mkdir()
        if name:
            (place / name).write_text(content)
        if name == "model.bin":
            (place / "vocabulary.json").symlink_to(folder / "vocabulary.json")
        told = (
            f"^{re.escape(str(place))}: {why}; accepted: a folder with a multilingual Whisper model [^\n]*$"
        )
        with pytest.raises(SecondUnavailable, match=told):
            Whisper(place, {"fr": PHRASES})
