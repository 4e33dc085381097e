"""The engine "vosk", with a stub of its package: what it is given, and what is made of what it says."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from media.hearing.detectors import load_detector
from media.hearing.keyword import Detector, DetectorError, DetectorUnavailable, Meaning, Verdict

KNOWN = {"je", "refuse", "pas", "d'enregistrement", "oui"}
SOUND = np.zeros(8000, dtype=np.int16)


class Vosk:
    """Says what it is told to say, as (word, confidence); remembers the grammar."""

    def __init__(self) -> None:
        self.says: list[tuple[str, float]] = []
        self.grammar: list[str] = []
        self.broken = False
        self.SetLogLevel = lambda level: None

    def Model(self, path: str) -> Any:
        if not Path(path).is_dir():
            raise Exception("Failed to create a model")
        return SimpleNamespace(vosk_model_find_word=lambda word: 1 if word in KNOWN else -1)

    def KaldiRecognizer(self, model: Any, rate: int, grammar: str) -> Any:
        assert rate == 8000
        self.grammar = json.loads(grammar)
        words = [{"word": word, "conf": sure} for word, sure in self.says]
        return SimpleNamespace(
            SetWords=lambda on: None,
            AcceptWaveform=self._accept,
            FinalResult=lambda: json.dumps({"result": words}),
        )

    def _accept(self, pcm: bytes) -> int:
        if self.broken:
            raise Exception("Failed to process waveform")
        assert len(pcm) == 2 * len(SOUND)
        return 0


@pytest.fixture
def vosk(monkeypatch: pytest.MonkeyPatch) -> Vosk:
    stub = Vosk()
    monkeypatch.setitem(sys.modules, "vosk", stub)
    return stub


@pytest.fixture
def detector(vosk: Vosk, tmp_path: Path) -> Detector:
    found = load_detector("vosk", ["Je refuse", "pas d’enregistrement"], ["oui"], model=tmp_path)
    assert found is not None
    return found


def test_the_phrases_are_the_whole_grammar(detector: Detector, vosk: Vosk) -> None:
    detector.judge(SOUND)
    assert sorted(vosk.grammar) == ["[unk]", "je refuse", "oui", "pas d'enregistrement"]


@pytest.mark.parametrize(
    ("says", "verdict"),
    [
        ([("je", 1.0), ("refuse", 0.9)], Verdict(Meaning.REFUSE, "Je refuse", 0.9)),
        ([("[unk]", 0.2), ("je", 1.0), ("refuse", 0.8)], Verdict(Meaning.REFUSE, "Je refuse", 0.8)),
        ([("je", 1.0), ("refuse", 0.5)], Verdict(Meaning.UNCLEAR, "Je refuse", 0.5)),
        ([("oui", 0.9)], Verdict(Meaning.ACCEPT, "oui", 0.9)),
        ([("oui", 0.5)], Verdict(Meaning.OTHER, "oui", 0.5)),
        ([("oui", 1.0), ("je", 1.0), ("refuse", 1.0)], Verdict(Meaning.REFUSE, "Je refuse", 1.0)),
        ([("refuse", 1.0)], Verdict(Meaning.OTHER)),
        ([("[unk]", 1.0)], Verdict(Meaning.OTHER)),
        ([], Verdict(Meaning.OTHER)),
    ],
)
def test_what_is_made_of_words(
    detector: Detector, vosk: Vosk, says: list[tuple[str, float]], verdict: Verdict
) -> None:
    vosk.says = says
    assert detector.judge(SOUND) == verdict


def test_a_failure_is_one_of_that_utterance(detector: Detector, vosk: Vosk) -> None:
    vosk.broken = True
    with pytest.raises(DetectorError, match="Failed to process waveform"):
        detector.judge(SOUND)


def test_a_word_that_the_model_does_not_know_is_an_error_at_start(vosk: Vosk, tmp_path: Path) -> None:
    with pytest.raises(DetectorUnavailable, match="does not know 'nein'"):
        load_detector("vosk", ["je refuse", "nein"], [], model=tmp_path)


def test_no_model_is_an_error_at_start(vosk: Vosk, tmp_path: Path) -> None:
    with pytest.raises(DetectorUnavailable, match=r"accepted: its folder in refusal\.vosk_model"):
        load_detector("vosk", ["je refuse"])
    with pytest.raises(DetectorUnavailable, match="not a model of Vosk's"):
        load_detector("vosk", ["je refuse"], [], model=tmp_path / "none")


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "vosk", None)
    with pytest.raises(DetectorUnavailable, match=r"pip install 'sipagent\[vosk\]'"):
        load_detector("vosk", ["je refuse"], [], model=tmp_path)
