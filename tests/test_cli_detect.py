"""`detect`: files in, verdicts out; of a detector that answers what it is told, and of the shipped one."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from media.frame import Samples
from media.hearing.keyword import DetectorError, Meaning, StreamPosition, Verdict
from sipagent.agent.admission import SHIPPED
from sipagent.cli import keyword
from sipagent.voice.detectors import UnreadableSound, hear, read_sound
from tests.office import Office
from tests.room import Room

REFUSAL = Verdict(Meaning.REFUSE, "je refuse", 0.97)
OTHER = Verdict(Meaning.OTHER, confidence=0.01)


class Answers:
    """Gives verdicts in turn, then the last one for ever."""

    every_ms = 100

    def __init__(self, *verdicts: Verdict) -> None:
        self.verdicts = list(verdicts)

    def judge(self, samples: Samples, place: StreamPosition | None = None) -> Verdict:
        return self.verdicts.pop(0) if len(self.verdicts) > 1 else self.verdicts[0]


class Broken:
    every_ms = 100

    def judge(self, samples: Samples, place: StreamPosition | None = None) -> Verdict:
        raise DetectorError("no memory")


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return Office(Room(tmp_path / "agent").folder, capsys)


@pytest.fixture
def speech(tmp_path: Path) -> Path:
    """1.2 s of a voice, and 0.3 s of quiet."""
    sound, rate = soundfile.read(SHIPPED / "fr/refused.wav", dtype="int16")
    path = tmp_path / "speech.wav"
    soundfile.write(path, np.concatenate([sound[: int(1.2 * rate)], np.zeros(2400, np.int16)]), rate)
    return path


def test_a_refusal_is_known_a_moment_after_the_voice_has_ended(speech: Path) -> None:
    heard = hear(Answers(*[OTHER] * 12, REFUSAL), read_sound(speech))
    assert heard.verdict == REFUSAL
    assert len(heard.verdicts) == 1
    assert heard.spotted_ms is not None and heard.speech_ms is not None
    assert 900 < heard.speech_ms <= 1210  # the words end where they end
    assert heard.latency_ms == heard.spotted_ms - heard.speech_ms
    assert heard.duration_s == pytest.approx(1.5)


def test_a_detector_that_fails_is_not_taken_for_silence(speech: Path) -> None:
    with pytest.raises(UnreadableSound, match="no memory"):
        hear(Broken(), read_sound(speech))


def test_a_table_and_json_and_what_cannot_be_read_after_the_others(
    office: Office, speech: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyword, "_detector", lambda work: Answers(REFUSAL))
    (found,) = json.loads(office.run("detect", "--json", str(speech)).out)
    assert found.pop("latency_ms") >= 0 and found.pop("cpu_s") >= 0
    said = {"file": str(speech), "verdict": "refuse", "keyword": "je refuse", "confidence": 0.97}
    assert found == said | {"utterances": 1, "duration_s": 1.5}
    assert "refuse   je refuse" in office.run("detect", str(speech)).out
    ran = office.run("detect", "--json", "none.wav", str(speech))
    assert ran.code == 1
    assert [found["verdict"] for found in json.loads(ran.out)] == ["refuse"]
    assert "none.wav" in ran.err and ran.err.count("\n") == 1


@pytest.mark.parametrize("file", ["fr/refused.wav", "fr/closed.wav", "en/welcome.wav"])
def test_the_shipped_head_hears_no_refusal_in_other_speech(office: Office, file: str) -> None:
    (found,) = json.loads(office.run("detect", "--json", str(SHIPPED / file)).out)
    assert found["verdict"] == "other"
    assert found["utterances"] >= 1
