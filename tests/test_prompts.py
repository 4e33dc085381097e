"""The shipped sounds are what an office can put on a line, and the scripts make them from the words."""

import sys
import wave
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from media.prompt import inspect_prompt, loudness
from media.training.language import language as spoken
from prompts import music, sound, speak
from sipagent.config.tables import WORDS, folder_name
from sipagent.enrol import saying
from sipagent.enrol.keeping import as_wav
from tests.each import each

PROMPTS = Path(music.__file__).parent
NAMES = (
    *("choose", "closed", "confirm", "details", "please_hold", "refused", "unavailable", "welcome"),
    *("notice", "notice_opt_in", "notice_opt_in_voice", "notice_voice"),
    *(f"position_{place}" for place in (*range(1, 11), "more")),
)
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
LANGUAGES = ["fr", "en"]
RATES = [8_000, 16_000]
TONES = ["flagged", "paused", "recording_off", "recording_on", "resumed", "your_turn"]
SPOKEN = [f"{language}/{name}" for language in LANGUAGES for name in NAMES]
DTMF_LOW = [697, 770, 852, 941]
DTMF_HIGH = [1209, 1336, 1477, 1633]


def wav(name: str, rate: int) -> Path:
    return PROMPTS / f"{name}{'.wav' if rate == 8_000 else '.16k.wav'}"


def read(path: Path) -> tuple[NDArray[np.float64], int]:
    """A sound that callers may hear, and its rate."""
    return np.asarray(soundfile.read(path)[0]), inspect_prompt(path).rate


def words(name: str) -> str:
    """A prompt's words as a reader compares them: small, straight apostrophes, plain spaces."""
    text = (PROMPTS / f"{name}.txt").read_text(encoding="utf-8")
    return " ".join(text.replace("’", "'").split()).lower()


def pair_shares(samples: NDArray[np.float64], rate: int, window_ms: int = 40) -> NDArray[np.float64]:
    """For each window, what part of its energy the strongest low and high DTMF frequency carry together,
    where both are present within 10 dB of each other; else 0."""
    size = rate * window_ms // 1000
    windows = samples[: len(samples) // size * size].reshape(-1, size)
    turns = np.exp(-2j * np.pi * np.outer(DTMF_LOW + DTMF_HIGH, np.arange(size)) / rate)
    energy = 2 * np.abs(windows @ turns.T) ** 2 / size
    low, high = energy[:, :4].max(axis=1), energy[:, 4:].max(axis=1)
    whole = np.maximum(np.sum(windows**2, axis=1), 1e-6)
    both = np.minimum(low, high) * 10 > np.maximum(low, high)
    return np.where(both, (low + high) / whole, 0.0)


# --- what made them (AI Act, article 50(2)) ---

SOURCE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"


def source_of(path: Path) -> str:
    """IPTC's digital source type, out of the XMP of a WAV file; the words in it, for people, are SPOKEN's."""
    content, at, found = path.read_bytes(), 12, ""
    while content[at : at + 4] != b"data":  # before the sound, where every player skips it
        size = int.from_bytes(content[at + 4 : at + 8], "little")
        if content[at : at + 4] == b"_PMX":
            (said,) = ElementTree.fromstring(content[at + 8 : at + 8 + size]).iter("{" + RDF + "}Description")
            found = said.attrib[SOURCE].removeprefix("http://cv.iptc.org/newscodes/digitalsourcetype/")
        assert size % 2 == 0
        at += 8 + size
    with soundfile.SoundFile(path) as file:
        assert file.comment == sound.IN_WORDS[found] and file.software == "sipagent prompts"
    return found


def test_every_sound_says_that_it_is_synthetic_and_what_made_it() -> None:
    composed = {path.name for path in PROMPTS.rglob("tones/*.wav")} | {"hold.wav", "hold.16k.wav", "tone.wav"}
    every = sorted(PROMPTS.rglob("*.wav"))
    for path in every:
        assert source_of(path) == (sound.COMPOSED if path.name in composed else sound.SPOKEN), path
    assert len(every) > 150


def test_a_mark_leaves_the_sound_as_it_was_and_stands_there_once(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    sound.write_wav(path, np.sin(np.arange(801) / 5) / 2, 8_000, sound.SPOKEN)
    whole = path.read_bytes()
    with wave.open(str(path)) as file:
        assert file.readframes(900) == whole[-1602:] and file.getnframes() == 801
    assert sound.marked(whole, sound.SPOKEN) == whole
    path.write_bytes(sound.marked(whole, sound.COMPOSED))
    assert source_of(path) == sound.COMPOSED and path.read_bytes()[-1602:] == whole[-1602:]


# --- the spoken prompts ---


def fit_for_a_line(name: str, rate: int) -> NDArray[np.float64]:
    """-20 dBFS while it is audible, no peak above -3, silent at both ends: its samples."""
    samples, found = read(wav(name, rate))
    assert found == rate
    assert loudness(wav(name, rate)).level_dbfs == pytest.approx(-20, abs=1)
    assert np.abs(samples).max() < 10 ** (-3 / 20)
    silence = rate * 150 // 1000
    assert not samples[:silence].any() and not samples[-silence:].any()
    return samples


def sounds_like_a_key(samples: NDArray[np.float64]) -> bool:
    shares = pair_shares(samples, 8_000)
    return bool(((shares[1:] > 0.7) & (shares[:-1] > 0.7)).any())


@pytest.mark.parametrize("name", SPOKEN)
def test_a_spoken_prompt_is_fit_for_a_line_at_both_rates(name: str) -> None:
    """A sentence that was lost or garbled would show: people speak 2 to 4.5 words a second."""
    narrow, wide = (fit_for_a_line(name, rate) for rate in RATES)
    for samples, rate in ((narrow, 8_000), (wide, 16_000)):
        assert 1 < len(samples) / rate <= 60
        assert np.flatnonzero(np.abs(samples) > 0.01)[0] / rate < 0.25
    assert len(wide) / 16_000 == pytest.approx(len(narrow) / 8_000, abs=0.05)
    shapes = [sound.frame_rms(narrow, 8_000), sound.frame_rms(wide, 16_000)]
    shortest = min(map(len, shapes))
    assert np.corrcoef(shapes[0][:shortest], shapes[1][:shortest])[0, 1] > 0.8
    assert 1.8 <= len(words(name).split()) / (len(narrow) / 8_000 - 0.3) <= 4.5
    assert not sounds_like_a_key(narrow)


def test_no_prompt_is_missing_unknown_or_large() -> None:
    for language in LANGUAGES:
        found = {path.name for path in (PROMPTS / language).iterdir()}
        assert found == {f"{name}{end}" for name in NAMES for end in (".txt", ".wav", ".16k.wav")}
    assert sum(path.stat().st_size for path in PROMPTS.rglob("*.wav")) < 18_500_000


LAST = {
    language: last.format(place)
    for (language, last), place in zip(
        speak.CONTACT.items(), ("example point org", "example dot org"), strict=True
    )
}
"""The last sentence of the shipped details: a place that is to be put in."""
_NOTICE = {
    "fr": "agglo j'écoute / enregistré / qualité / statistiques / organisation / droits / touche 3",
    "en": "agglo j'écoute / recorded / quality / statistics / organisation / rights / press 3",
}
FRENCH_PLACES = [
    *("première", "deuxième", "troisième", "quatrième", "cinquième"),
    *("sixième", "septième", "huitième", "neuvième", "dixième"),
]
ENGLISH_PLACES = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
REQUIRED = {
    "fr/notice": f"{_NOTICE['fr']} / touche 9",
    "en/notice": f"{_NOTICE['en']} / press 9",
    "fr/notice_opt_in": f"{_NOTICE['fr']} / avec votre accord / touche 1",
    "en/notice_opt_in": f"{_NOTICE['en']} / if you agree / press 1",
    "fr/notice_voice": f"{_NOTICE['fr']} / touche 9 / dites « {WORDS['fr']['keywords'][0]} »",
    "en/notice_voice": f"{_NOTICE['en']} / press 9 / say “no thank you, no recording”",
    "fr/notice_opt_in_voice": f"{_NOTICE['fr']} / touche 1 / dites « j'accepte »",
    "en/notice_opt_in_voice": f"{_NOTICE['en']} / press 1 / say “i accept”",
    "fr/details": "six mois / intérêt public / accord / touche 9 / à tout moment de l'appel / copie"
    " / effacement / opposer / réclamation / cnil",
    "en/details": "six months / public interest / consent / pressing 9 / at any time during the call / copy"
    " / erasure / object / complain / authority",
    "fr/choose": "for english, press 2",
    "en/choose": "pour le français / touche 2",
    "fr/confirm": "touche 1 / sinon / ne sera pas enregistré",
    "en/confirm": "press 1 / otherwise / will not be recorded",
    "fr/refused": "ne sera pas enregistré / mettons en relation",
    "en/refused": "will not be recorded / putting you through",
    "fr/welcome": "agglo j'écoute / bienvenue / n'est pas enregistré / mettons en relation",
    "en/welcome": "agglo j'écoute / welcome / is not recorded / putting you through",
    "fr/closed": "agglo j'écoute / lundi au vendredi / 8 heures 30 à 12 / 13 heures 30 à 17 / rappeler",
    "en/closed": "agglo j'écoute / monday to friday / 8:30 and 12 / 1:30 and 5:30 / please call",
    "fr/unavailable": "personne / rappeler un peu plus tard",
    "en/unavailable": "nobody / call us again a little later",
    "fr/please_hold": "patienter",
    "en/please_hold": "please hold",
    **{f"fr/position_{place}": f"{said} position" for place, said in enumerate(FRENCH_PLACES, 1)},
    **{f"en/position_{place}": f"you are number {said}" for place, said in enumerate(ENGLISH_PLACES, 1)},
    **{"fr/position_more": "plus de dix", "en/position_more": "more than ten"},
    "enrol/fr/welcome": "gardées / refus / six mois / effacer / touche 1 / rien n'est gardé",
    "enrol/en/welcome": "kept / refuse / six months / erased / press 1 / nothing is kept",
}


def test_words_say_what_they_must_and_notices_are_short() -> None:
    assert {*SPOKEN} <= {*REQUIRED}
    for name, required in REQUIRED.items():
        assert [one for one in required.split(" / ") if one not in words(name)] == [], name
    for name in SPOKEN:
        if "/notice" in name:
            samples, rate = read(wav(name, 8_000))
            assert len(samples) / rate <= (13 if name.endswith("voice") else 11), name
            prompt = inspect_prompt(wav(name, 8_000))
            assert prompt.mark and prompt.essential_ms < prompt.duration_ms - 1000, name
            pause = samples[rate * prompt.essential_ms // 1000 :][: rate // 5]
            assert np.abs(pause).max() < 0.01, f"{name}: the line stands within a sentence"


# --- what colleagues hear who lend their voices: at 8 kHz alone ---

LENT = sorted(f"enrol/{path.parent.name}/{path.stem}" for path in (PROMPTS / "enrol").glob("*/*.txt"))


def test_no_prompt_for_colleagues_is_missing_or_unknown() -> None:
    there = (path for path in (PROMPTS / "enrol").rglob("*") if path.is_file())
    found = {path.relative_to(PROMPTS).as_posix() for path in there}
    assert found == {f"{name}{end}" for name in LENT for end in (".txt", ".wav")} | {"enrol/tone.wav"}
    for language in LANGUAGES:
        asked = {folder_name(phrase) for phrase in spoken(language).refusing}
        said = {name.rpartition("/say_")[2] for name in LENT if name.startswith(f"enrol/{language}/say_")}
        assert said == asked
    tone = PROMPTS / "enrol" / "tone.wav"  # after which to speak: the ear knows it
    assert tone.read_bytes() == sound.marked(as_wav(saying.tone()), sound.COMPOSED)
    assert pair_shares(*read(tone), 20).max() < 0.3


@each(LENT)
def test_a_prompt_for_colleagues_is_fit_for_a_line(name: str) -> None:
    samples = fit_for_a_line(name, 8_000)
    assert 1 <= len(words(name).split()) / (len(samples) / 8_000 - 0.3) <= 5.5
    assert not sounds_like_a_key(samples)


# --- hold music and tones ---


@pytest.mark.parametrize("rate", RATES)
def test_hold_music_is_calm_and_loops_without_a_click(rate: int) -> None:
    samples, found_rate = read(wav("hold", rate))
    assert found_rate == rate
    assert 30 <= len(samples) / rate <= 60
    assert loudness(wav("hold", rate)).level_dbfs == pytest.approx(-26, abs=1)
    steps = np.abs(np.diff(samples))
    assert abs(samples[0] - samples[-1]) <= np.percentile(steps, 99)
    turn = np.concatenate([samples[-200:], samples[:200]])
    bends = np.abs(np.diff(samples, n=2))  # a click is a bend, not only a step
    assert np.abs(np.diff(turn, n=2)).max() <= np.percentile(bends, 99.9)
    energy = np.abs(np.fft.rfft(samples)) ** 2
    hertz = np.fft.rfftfreq(len(samples), 1 / rate)
    assert energy[(hertz < 200) | (hertz > 3_600)].sum() < 1e-6 * energy.sum()
    assert pair_shares(samples, rate).max() < 0.7


def test_scripts_compose_the_shipped_sounds(tmp_path: Path) -> None:
    assert music.main(["--prompts", str(tmp_path)]) == 0
    for name in ["hold", *(f"tones/{tone}" for tone in TONES)]:
        for rate in RATES:
            made, _ = read(tmp_path / wav(name, rate).relative_to(PROMPTS))
            shipped, _ = read(wav(name, rate))
            assert len(made) == len(shipped) and np.abs(made - shipped).max() <= 2 / 32768


def test_the_sign_that_it_is_the_callers_turn_is_soft() -> None:
    for rate in RATES:
        samples, _ = read(wav("tones/your_turn", rate))
        assert loudness(wav("tones/your_turn", rate)).level_dbfs == pytest.approx(-36, abs=1.5)
        assert len(samples) / rate < 0.25 and pair_shares(samples, rate).max() < 0.1


# --- the speaking script, without its voice ---

LETTERS = "abcdefghijklmnopqrstuvwxyzɑ̃ʒʁˈ ,."


class Humming:
    """Stands in for the model: hums as long as the sentence, louder with each one."""

    def __init__(self) -> None:
        self.symbols = {symbol: number for number, symbol in enumerate(LETTERS)}
        self.heard: list[str] = []

    def say(self, spoken: str, speaker: str, speed: float) -> sound.Sound:
        self.heard.append(spoken)
        t = np.arange(len(spoken) * speak.RATE // 15) / speak.RATE
        return 0.02 * len(self.heard) * np.sin(2 * np.pi * 600 * t) * (1 + 0.5 * np.sin(2 * np.pi * 4 * t))


@pytest.fixture
def spelled(monkeypatch: pytest.MonkeyPatch) -> None:
    """No espeak-ng: words are said as they are written."""
    monkeypatch.setattr(speak, "_espeak", lambda text, language: text.strip().lower())


@pytest.mark.usefixtures("spelled")
def test_sentences_come_out_equally_loud_at_both_rates(tmp_path: Path) -> None:
    script = speak.Script(tmp_path / "fr" / "x.txt", "fr", "Bonjour tout le monde. Merci, et au revoir.")
    voice = Humming()
    (report,) = speak.speak([script], voice, {})  # type: ignore[arg-type]
    assert report.startswith("fr/x: ")
    assert script.path.read_text(encoding="utf-8") == f"{script.words}\n"
    assert voice.heard == ["bonjour tout le monde.", "merci, et au revoir."]
    for rate in RATES:
        samples, found = read(speak.wav_path(script.path, rate))
        assert found == rate and source_of(speak.wav_path(script.path, rate)) == sound.SPOKEN
        for half in np.array_split(samples, 2):
            assert sound.db(sound.active_rms(half, rate)) == pytest.approx(-20, abs=1)


@pytest.mark.usefixtures("spelled")
def test_words_become_phonemes_or_an_error_and_no_hole() -> None:
    said = speak.phonemes("Jean, jeanne.", "fr", {"Jean": "ʒɑ̃", "jean": "ʒɑ̃"}, frozenset(LETTERS))
    assert said == "ʒɑ̃, jeanne."  # whole words only
    with pytest.raises(speak.PhonemeError, match="no symbol for ß"):
        speak.phonemes("straße.", "fr", {}, frozenset(LETTERS))
    parts = speak.sentences("From 8:30 to 12.30. C’est noté\u00a0: merci !")
    assert parts == ["From 8:30 to 12.30.", "C’est noté : merci !"]


def test_a_place_ends_the_details_and_a_notice_that_has_none(tmp_path: Path) -> None:
    shipped = speak.read_scripts(PROMPTS, SPOKEN)
    for script, changed in zip(shipped, speak.with_read_more(shipped, "la mairie"), strict=True):
        if script.path.stem == "details":
            bare = script.words.removesuffix(f" {LAST[script.language]}")
            assert bare != script.words
            last = speak.CONTACT[script.language].format("la mairie")
            assert changed == replace(script, words=f"{bare} {last}")
            assert speak.with_read_more([replace(script, words=bare)], "la mairie") == [changed]
        else:
            assert changed == script  # a notice of two layers, too
    single = speak.Script(tmp_path / "fr" / "notice.txt", "fr", "Pour refuser, touche 9.")
    for words in (single.words, f"{single.words} {speak.READ_MORE['fr'].format('ailleurs')}"):
        (changed,) = speak.with_read_more([replace(single, words=words)], "la mairie")
        assert changed.words == f"{single.words} {speak.READ_MORE['fr'].format('la mairie')}"
    for name in ("fr/closed", "fr/notice"):
        with pytest.raises(speak.PromptsError, match="no details, and no notice without them"):
            speak.with_read_more(speak.read_scripts(PROMPTS, [name]), "la mairie")
    for place in ("", "agglo.fr", "a\nb"):
        with pytest.raises(speak.PromptsError, match="not said as it is written"):
            speak.with_read_more(shipped, place)


@pytest.mark.usefixtures("spelled")
@pytest.mark.parametrize("rest", ["\nMerci.", ""])
def test_the_line_of_the_essential_part_is_not_spoken_and_says_when_it_was_heard(
    tmp_path: Path, rest: str
) -> None:
    before = "Bonjour tout le monde. Au revoir."
    script = speak.Script(tmp_path / "fr" / "x.txt", "fr", f"{before}\n[essential 1 s]{rest}")
    voice = Humming()
    list(speak.speak([script], voice, {}))  # type: ignore[arg-type]
    assert voice.heard == ["bonjour tout le monde.", "au revoir.", *(["merci."] if rest else [])]
    prompt = inspect_prompt(speak.wav_path(script.path, 8_000))
    assert prompt.essential == before and prompt.words == f"{before}{rest}"
    spoken_s = speak.SILENCE_S + sum(len(one) / 15 for one in voice.heard[:2]) + speak.BETWEEN_SENTENCES_S
    assert prompt.essential_ms / 1000 == pytest.approx(spoken_s + 0.05, abs=0.1)


@pytest.fixture
def no_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)


@pytest.mark.usefixtures("no_onnxruntime")
@pytest.mark.parametrize(
    ("files", "names", "complaint"),
    [
        ({}, [], "no .txt"),
        ({"fr/x.txt": " \n"}, [], "no words"),
        ({"fr/x.txt": "Oui."}, ["fr/y"], "No such file"),
        ({"de/x.txt": "Ja."}, ["de/x"], "no voice for 'de'"),
        ({"fr/x.txt": "Oui.", "lexicon.toml": "fr ="}, [], "lexicon.toml"),
        ({"fr/x.txt": "Oui.", "lexicon.toml": "fr = 3"}, [], 'accepted: [fr] with lines "words" = "IPA"'),
        ({"fr/x.txt": "Oui."}, ["--voices", "nowhere"], "install: pip install onnxruntime"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(
    files: dict[str, str],
    names: list[str],
    complaint: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert speak.main(["--prompts", str(tmp_path), *names]) == 2
    error = capsys.readouterr().err
    assert complaint in error and error.count("\n") == 1


def test_a_sound_is_levelled_and_resampled() -> None:
    t = np.arange(8_000) / 8_000
    spiky = 0.05 * np.sin(2 * np.pi * 300 * t)
    spiky[2_000:2_020] *= 15
    evened = sound.levelled(spiky, 8_000, -20, -4)
    assert sound.db(np.abs(evened).max()) <= -4 + 0.01  # turned down without clipping
    assert sound.db(sound.active_rms(evened, 8_000)) == pytest.approx(-20, abs=0.5)
    t = np.arange(24_000) / 24_000
    both = np.sin(2 * np.pi * 1_000 * t) + np.sin(2 * np.pi * 5_000 * t)
    narrow = sound.resample(both, 24_000, 8_000, 120, 3_400)
    assert len(narrow) == 8_000  # the band stays, and nothing is folded back
    assert np.abs(narrow - np.sin(2 * np.pi * 1_000 * np.arange(8_000) / 8_000)).max() < 1e-6
