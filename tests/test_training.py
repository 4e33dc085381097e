"""What heads are trained on: speakers and sentences apart, the same each time; lines as bad as they say."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from media.frame import SAMPLE_RATE, Samples
from media.hearing.embedding import HOP, REACH, SPAN, STRIDE, WARPS, WINDOW
from media.hearing.spotter import plain
from media.hearing.vad import UNHEARD
from media.training import own
from media.training.features import LONGEST, LineStage, SoundQuestions, questions, read, stretch, write
from media.training.language import LANGUAGES, language
from media.training.lines import Backgrounds, PhoneLine, active_rms, any_line, carry
from media.training.speech import (
    ESPEAK,
    KOKORO,
    SoundLabel,
    Split,
    SpokenFile,
    label,
    own_prompts,
    plan,
    told,
)
from media.training.speech import write as write_sound
from media.training.voices import Manner
from sipagent.agent.admission import SHIPPED

SPLITS: tuple[Split, ...] = ("train", "tune", "test")
RELEASE: Split = "release"
WORDS = ["gare", "maison", "soleil", "dossier", "courrier", "fenêtre"]
VOICE = SHIPPED / "fr/refused.wav"
AT = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
SPEECH = np.sin(2 * np.pi * 700 * AT) * (np.sin(2 * np.pi * 2 * AT) > 0)
NONE: Backgrounds = {}


@pytest.mark.parametrize("voices", [KOKORO, ESPEAK, *(language(code).mbrola for code in LANGUAGES)])
def test_a_voice_belongs_to_one_split(voices: Mapping[str, tuple[str, ...]]) -> None:
    every = [voice for names in voices.values() for voice in names]
    assert len(every) == len(set(every))
    assert all(voices[split] for split in SPLITS)


@pytest.mark.parametrize("code", LANGUAGES)
@pytest.mark.parametrize("synthesizer", ["kokoro", "espeak", "mbrola"])
def test_a_plan_is_the_same_each_time_and_keeps_speakers_and_sentences_apart(
    synthesizer: str, code: str
) -> None:
    spoken = language(code)
    plans = {split: plan(spoken, synthesizer, split, WORDS) for split in SPLITS}
    assert plans["test"] == plan(spoken, synthesizer, "test", WORDS)
    paths = [utterance.path for said in plans.values() for utterance in said]
    assert len(paths) == len(set(paths))
    for split in ("train", "tune"):
        texts = {utterance.text for utterance in plans[split]} & {*spoken.near, *spoken.talk}
        assert texts and not texts & {utterance.text for utterance in plans["test"]}


@pytest.mark.parametrize("code", LANGUAGES)
def test_what_is_said_once_a_version_is_said_nowhere_else(code: str) -> None:
    """Neither its sentences nor its ways of saying a phrase."""
    spoken = language(code)
    phrases = spoken.refusing | spoken.accepting
    elsewhere = {plain(text) for text in (*spoken.near, *spoken.talk, *sum(phrases.values(), ()))}
    elsewhere |= {plain(way.format(phrase)) for way in spoken.ways for phrase in phrases}
    own = [*spoken.release["near"], *spoken.release["talk"]]
    own += [way.format(phrase) for way in spoken.release["ways"] for phrase in phrases]
    assert not elsewhere & {plain(text) for text in own}
    said = {utterance.text for utterance in plan(spoken, "espeak", RELEASE, WORDS)}
    assert said >= {*spoken.release["near"], *spoken.release["talk"]}
    assert not said & {*spoken.near, *spoken.talk}


def test_a_file_tells_what_was_said_by_whom(tmp_path: Path) -> None:
    class Tone:
        def say(self, text: str, manner: Manner) -> Samples:
            return np.ones(160, dtype=np.int16)

    said = SpokenFile(tmp_path / "a.wav", "« Déjà » enregistrée !", Manner("fr-be+f4", 1.0, 1.25))
    write_sound(Tone(), said, said.path)
    assert told(said.path) == SoundLabel(said.text, "fr-be+f4", 1.25)
    assert told(VOICE) == SoundLabel("", "", None)


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_phrase_is_said_and_every_phrase_of_the_call_is_one_of_them(code: str) -> None:
    spoken = language(code)
    said = {utterance.path.parent.name for utterance in plan(spoken, "espeak", "test", WORDS)}
    assert said == {label(phrase) for phrase in spoken.phrases} | {"other"}
    assert len(said) == len(spoken.phrases) + 1  # no two of them are the same folder
    assert spoken.in_call and set(spoken.in_call) <= set(spoken.refusing)


@pytest.mark.parametrize("code", LANGUAGES)
def test_nothing_that_refuses_stands_among_what_does_not(code: str) -> None:
    spoken = language(code)
    ways = {plain(way) for ways in (spoken.refusing | spoken.accepting).values() for way in ways}
    assert not ways & {plain(text) for text in (*spoken.near, *spoken.talk)}


@pytest.mark.parametrize(
    ("code", "stem"), [("fr", "enregistr"), ("en", "record"), ("de", "aufzeichn"), ("es", "graba")]
)
def test_no_way_of_accepting_names_the_recording(code: str, stem: str) -> None:
    """A head that had learnt "j'accepte l'enregistrement" took a "je refuse l'enregistrement" for it."""
    said = {
        kind: " ".join(plain(way) for ways in phrases.values() for way in ways)
        for kind, phrases in (("no", language(code).refusing), ("yes", language(code).accepting))
    }
    assert stem in said["no"] and stem not in said["yes"]


def test_who_speaks_a_language_natively_speaks_it_alone_where_they_are_many() -> None:
    english = {said.manner.voice for said in plan(language("en"), "kokoro", "train", WORDS)}
    assert english and all(voice[0] in "ab" for voice in english)
    french = {said.manner.voice for said in plan(language("fr"), "kokoro", "train", WORDS)}
    assert "ff_siwis" in french and any(voice.startswith("ff_siwis+") for voice in french)


@pytest.mark.parametrize("code", LANGUAGES)
def test_two_recorded_speakers_of_each_language_are_for_figures_alone(code: str) -> None:
    """MBROLA's are installed one by one: with one missing, none is used, or a plan would end half-way."""
    spoken = language(code)
    of = {utterance.manner.voice for utterance in plan(spoken, "mbrola", "test", WORDS, 0.2)}
    assert of == {*spoken.mbrola["test"]} and len(of) >= 2


def test_recorded_speakers_are_used_where_all_of_a_language_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own, "MBROLA", tmp_path)
    monkeypatch.setattr(own, "NEEDED", ())
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    names = ("fr1", "fr2", "fr3", "fr4", "fr5", "fr6", "fr7", "ca1", "ca2")
    found = []
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
        found.append("mbrola" in own.synthesizers(language("fr"), tmp_path))
    assert found == [False] * 8 + [True]


@pytest.mark.parametrize("code", ["fr", "en"])
def test_no_head_learns_that_our_own_notice_refuses_nothing(code: str) -> None:
    """It says "je refuse", and a head that takes this for nothing misses it of callers, too."""
    found = own_prompts(SHIPPED, code)
    refusing = [plain(phrase) for phrase in language(code).refusing]
    words = {
        path: plain(path.with_suffix(".txt").read_text(encoding="utf-8"))
        for path in found
        if path.with_suffix(".txt").exists()
    }
    assert SHIPPED / code / "confirm.wav" in words
    assert not [path for path, said in words.items() if any(phrase in said for phrase in refusing)]


def test_a_share_of_a_plan_is_that_much_of_each_phrase() -> None:
    said = [u.path.parent.name for u in plan(language("de"), "espeak", "train", WORDS, share=0.1)]
    assert (said.count("ich_lehne_ab"), said.count("ja"), said.count("other")) == (40, 20, 400)


def test_a_phrase_is_a_folder() -> None:
    assert label("arrêtez l'enregistrement") == "arretez_l_enregistrement"


def test_a_clean_line_carries_the_voice_at_its_level() -> None:
    heard = carry(SPEECH, PhoneLine(level_dbfs=-20.0, band=None), NONE, np.random.default_rng(1))
    assert len(heard) == len(SPEECH)
    assert 20 * np.log10(active_rms(heard / 32768.0)) == pytest.approx(-20, abs=0.5)


@pytest.mark.parametrize("noise", ["white", "pink", "hum", "street"])
def test_noise_is_so_loud_as_it_says(noise: str) -> None:
    line = replace(PhoneLine(band=None), noise=noise, snr_db=10.0)  # type: ignore[arg-type]
    heard = carry(SPEECH, line, NONE, np.random.default_rng(1)) / 32768.0
    silent = np.flatnonzero(np.abs(SPEECH) == 0)
    level = 20 * np.log10(np.sqrt(np.mean(heard[silent] ** 2)))
    assert level == pytest.approx(-30, abs=2.5)


@pytest.mark.parametrize("codec", ["alaw", "mulaw", "gsm", "g722", "linear"])
def test_a_codec_keeps_length_and_voice(codec: str) -> None:
    if codec == "g722":
        pytest.importorskip("G722", reason="the extra [train] is not installed")
    line = replace(PhoneLine(band=None), codec=codec)  # type: ignore[arg-type]
    heard = carry(SPEECH, line, NONE, np.random.default_rng(1))
    assert len(heard) == len(SPEECH)
    late = {"g722": 11}.get(codec, 0)  # its filters take 22 samples of 16 kHz
    assert np.corrcoef(heard[late:], SPEECH[: len(SPEECH) - late])[0, 1] > 0.9


def test_lost_packets_are_the_last_one_again_but_softer() -> None:
    whole = carry(SPEECH, PhoneLine(codec="linear"), NONE, np.random.default_rng(1)).reshape(-1, 160)
    holed = carry(SPEECH, PhoneLine(codec="linear", loss=0.3), NONE, np.random.default_rng(1)).reshape(
        -1, 160
    )
    lost = [n for n in range(1, len(whole)) if not np.array_equal(whole[n], holed[n])]
    assert 0.1 < len(lost) / len(whole) < 0.5
    for number in lost:
        assert np.array_equal(holed[number], (holed[number - 1] * 0.6).astype(np.int16))


def test_lines_are_of_all_kinds() -> None:
    random = np.random.default_rng(3)
    lines = [any_line(random) for _ in range(300)]
    assert {line.codec for line in lines} == {"alaw", "mulaw", "gsm", "g722", "linear"}
    assert {line.noise for line in lines} == {"white", "pink", "hum", "street", "babble", "music", "echo"}
    assert all(-40 <= line.level_dbfs <= -13 for line in lines)


def test_a_question_is_the_speech_so_far_each_100_ms() -> None:
    sound = np.concatenate([np.zeros(4000), read(VOICE), np.zeros(8000)])
    asked = list(questions(np.asarray(sound * 32767, dtype=np.int16)))
    times = [at for at, *_ in asked]
    assert np.diff(times)[:-1] == pytest.approx(0.1)
    assert len(times) > 10
    for at, start, stop in asked:
        assert REACH < stop - start <= LONGEST
        last_ends = ((stop - 1) * STRIDE + SPAN - 1) * HOP + WINDOW
        assert 0 <= round(at * SAMPLE_RATE) + UNHEARD - last_ends < STRIDE * HOP


def test_of_a_phrase_only_what_is_asked_once_it_was_said_counts() -> None:
    stage = LineStage([VOICE], [VOICE], SHIPPED, np.random.default_rng(1))
    said = stage.asked("je_refuse", VOICE, PhoneLine(), changed=False)
    other = stage.asked("other", VOICE, PhoneLine(), changed=False)
    assert 0 < len(said.questions) <= 9 < len(other.questions)
    assert max(stop for _, stop in said.questions) <= len(said.steps)
    assert said.warped is not None and said.warped.shape == (len(WARPS), *said.steps.shape)
    assert stage.asked("je_refuse", VOICE).warped is None  # it is trained on, by a random tract


def test_features_are_kept_as_they_are_read(tmp_path: Path) -> None:
    steps = np.ones((20, 288), dtype=np.float32)
    calls = [
        SoundQuestions("oui", steps, [(0, 15), (2, 18)], "a.wav"),
        SoundQuestions("other", 2 * steps, [(1, 16)], "b.wav"),
    ]
    assert write(tmp_path / "features" / "train.x.npz", calls) == 3
    with np.load(tmp_path / "features" / "train.x.npz") as held:
        assert held["steps"].shape == (40, 288)
        assert held["starts"].tolist() == [0, 2, 21] and held["stops"].tolist() == [15, 18, 36]
        assert held["labels"].tolist() == ["oui", "oui", "other"]


def test_another_voice_says_the_same_as_long_and_as_loud() -> None:
    pytest.importorskip("pyworld", reason="the extra [train] is not installed")
    from media.training.features import revoiced

    sound = read(VOICE)
    random = np.random.default_rng(3)
    for _ in range(3):
        other = revoiced(sound, SAMPLE_RATE, random)
        assert 0.5 < len(other) / len(sound) < 2
        assert np.isfinite(other).all() and np.abs(other).max() == pytest.approx(np.abs(sound).max())


def test_many_people_talk_all_the_time(tmp_path: Path) -> None:
    crowd = stretch([VOICE], 5, 4, np.random.default_rng(2)).reshape(-1, SAMPLE_RATE)
    assert len(crowd) == 5
    assert (np.sqrt(np.mean(crowd**2, axis=1)) > 0.1).all()


def test_a_statistical_voice_has_fewer_details() -> None:
    pytest.importorskip("pyworld", reason="the extra [train] is not installed")
    from media.training.features import _averaged

    random = np.random.default_rng(2)
    detailed = random.normal(size=(80, 513))
    averaged = _averaged(detailed, random)
    assert averaged.shape == detailed.shape
    assert averaged.std() < 0.6 * detailed.std()
    assert averaged.mean() == pytest.approx(detailed.mean(), abs=0.05)
