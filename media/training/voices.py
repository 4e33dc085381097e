"""The synthesizers: words in, (n,) int16 at RATE out. `--help` tells what each needs installed.

- Kokoro-82M (Apache-2.0): 54 speakers, and blends of two. It was trained on British and American English,
  three speakers of Spanish and one of French, `ff_siwis`; it speaks no German.
- espeak-ng (GPL-3.0): each accent of a language by some hundred variants, formants and Klatt's synthesis.
- MBROLA's voices, each the diphones of a recorded speaker, by espeak-ng: Debian's `mbrola-*` in contrib and
  non-free, whose terms are in deploy/licences.md.
- festival's voices of other languages, each by its own recorded speaker.
- SVOX Pico (Apache-2.0): one voice a language, of statistical models. Only for measuring: no head was trained
  on it.

Festival's voices say French: each is asked for French sounds by the names of its own phones
(festival.toml).

    text ─espeak-ng─▶ clauses of syllables of sounds (IPA) ─▶ segments: phones, how long and how high

Each is a process, which goes on for the next sentence. One of diphones is told how long and how high each
phone is, in a French melody; one of statistical models, or of chosen units, gets a clause as a word of a
lexicon made for it, and has a melody of its own.
"""

import io
import os
import re
import shutil
import subprocess
import tempfile
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import soundfile

from media.frame import Samples
from prompts.speak import STYLE_WIDTH, Voice, VoiceError, phonemes

RATE = 16_000
MBROLA = Path("/usr/share/mbrola")
SPANISH = {"e/": "e", "o/": "o"}
RENAMED = {f"mb-{name}": SPANISH for name in ("es1", "es2", "mx1", "mx2", "vz1")}
"""By voice, phones of espeak-ng's for which the database has other names: it would be silent there."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a sentence is said: `speed` and `pitch` are factors of the voice's own."""

    voice: str
    speed: float
    pitch: float


class Kokoro:
    """`voices`: the folder of styles; a voice is a speaker's name, or `a+b:0.4` for 40 % of a."""

    def __init__(self, voices: Path, scratch: Path, language: str) -> None:
        self._language = language
        self._voices = voices
        self._scratch = scratch
        scratch.mkdir(parents=True, exist_ok=True)
        self._model = Voice(scratch)
        self._symbols = frozenset(self._model.symbols)

    def say(self, text: str, manner: Manner) -> Samples:
        """Speak the words. VoiceError or PhonemeError if the model cannot."""
        name = self._style(manner.voice)
        sound = self._model.say(_phonemes(text, self._language, self._symbols), name, manner.speed)
        return at_rate(sound, 24_000, manner.pitch)

    def _style(self, voice: str) -> str:
        name = voice.replace(":", "@")
        path = self._scratch / f"{name}.bin"
        if not path.exists():
            partial = path.with_suffix(f".{os.getpid()}")  # several processes may speak
            _blend(self._voices, voice).astype("<f4").tofile(partial)
            partial.replace(path)
        return name


def _blend(folder: Path, voice: str) -> Any:
    mix, _, share = voice.partition(":")
    styles = [
        np.fromfile(folder / f"{name}.bin", dtype="<f4").reshape(-1, STYLE_WIDTH) for name in mix.split("+")
    ]
    if len(styles) == 1:
        return styles[0]
    return float(share) * styles[0] + (1 - float(share)) * styles[1]


@cache
def _phonemes(text: str, language: str, symbols: frozenset[str]) -> str:
    return phonemes(text, language, {}, symbols)


class Espeak:
    """A voice is an accent and a variant, as in `fr-be+klatt3`, or one of MBROLA's, as in `mb-fr4`."""

    def say(self, text: str, manner: Manner) -> Samples:
        """Speak the words, the same each time. subprocess.CalledProcessError if the program fails."""
        command = ["espeak-ng", "-D", "--stdout", "-v", manner.voice, "-s", str(round(165 * manner.speed))]
        command += ["-p", str(int(np.clip(50 + 100 * (manner.pitch - 1), 0, 99))), "--", text]
        if manner.voice in RENAMED:
            return _by_phones(command, manner.voice)
        wav = subprocess.run(command, capture_output=True, check=True).stdout
        sound, rate = soundfile.read(io.BytesIO(wav), dtype="float64")
        return at_rate(sound, rate, 1.0)


def _by_phones(command: list[str], voice: str) -> Samples:
    """What espeak-ng would have MBROLA say, by phones that the database has."""
    command = [command[0], "-q", "--pho", *(word for word in command[1:] if word != "--stdout")]
    told = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    lines = [line.partition("\t") for line in told.splitlines()]
    phones = "".join(f"{RENAMED[voice].get(phone, phone)}{tab}{rest}\n" for phone, tab, rest in lines)
    database = MBROLA / voice.removeprefix("mb-") / voice.removeprefix("mb-")
    with tempfile.TemporaryDirectory(prefix="mbrola") as folder:
        path = Path(folder, "said.wav")
        speaking = ["mbrola", "-e", str(database), "-", str(path)]
        subprocess.run(speaking, input=phones, capture_output=True, check=True, text=True)
        sound, rate = soundfile.read(path, dtype="float64")
    return at_rate(sound, rate, 1.0)


class Pico:
    """A voice is a language, as in `fr-FR`."""

    def __init__(self) -> None:
        from py_nanotts import NanoTTS  # in the extra [train]

        self._engine: Any = NanoTTS()

    def say(self, text: str, manner: Manner) -> Samples:
        pcm = self._engine.speak(text, voice=manner.voice, speed=manner.speed, pitch=manner.pitch)
        return np.frombuffer(pcm, dtype=np.int16)


def at_rate(sound: Any, rate: int, pitch: float) -> Samples:
    """At RATE, with pitch and formants moved together by the factor `pitch`: a smaller or a larger head."""
    from scipy.signal import resample_poly  # takes a second, and 60 MB: only sounds that are made want it

    steps = round(100 * pitch)
    common = np.gcd(RATE * 100, rate * steps)
    heard = resample_poly(sound, RATE * 100 // common, rate * steps // common)
    peak = np.abs(heard).max() if heard.size else 0.0
    return np.asarray(heard * (20_000 / max(peak, 1e-9)), dtype=np.int16)


VOWELS = frozenset("aeɛəøœiyoɔu") | {"ɛ̃", "ɑ̃", "ɔ̃"}
GLIDING = frozenset("jwlʁ")
"""Consonants that follow another one in a syllable, as in "bleu"."""
NASAL = "\N{COMBINING TILDE}"
SCHWA = "ə"
SCHWA_S, VOWEL_S, NASAL_S, GLIDING_S, OTHER_S = 0.055, 0.085, 0.105, 0.06, 0.085
"""How long a sound lasts in s; those of the last syllable last longer."""
SILENCE_S = 0.1
"""Before and after a clause."""
SHARES = {1: (1.0,), 2: (0.75, 0.5)}
"""Of a sound's length, what each of its phones has: two last a quarter longer than one."""
_CLAUSE = re.compile(r"[^,;:.!?…]+[,;:.!?…]*")


class FestivalError(VoiceError):
    """A voice cannot say this; str() is one line that tells which, and what is needed."""


@dataclass(frozen=True, slots=True)
class FestivalKind:
    """A voice as festival.toml tells of it; `hertz` is 0 where its melody is its own.

    `beside`: folders that it needs, and the packages that have them.
    """

    package: str
    beside: dict[str, str]
    phones: dict[str, tuple[str, ...]]
    silence: str
    between: str
    hertz: float


@dataclass(frozen=True, slots=True)
class Syllable:
    """Sounds of IPA; `stressed` as espeak-ng says."""

    sounds: tuple[str, ...]
    stressed: bool


@dataclass(frozen=True, slots=True)
class Clause:
    """What is said up to a comma or an end, and the `mark` that ends it, a letter if none does."""

    syllables: tuple[Syllable, ...]
    mark: str


@dataclass(frozen=True, slots=True)
class Segment:
    """A phone, how long it lasts, and how high it is in its middle; 0 for any pitch."""

    phone: str
    seconds: float
    hertz: float = 0.0


def clauses(text: str, accent: str) -> list[Clause]:
    """What espeak-ng says of a text in this accent. FestivalError if a sound has no phone."""
    found = []
    for part in _CLAUSE.findall(text):
        if syllables := [each for word in _ipa(part, accent).split() for each in _syllables(word)]:
            found.append(Clause(tuple(syllables), part.strip()[-1]))
    return found


def segments(clause: Clause, kind: FestivalKind, speed: float, random: Random) -> Iterator[Segment]:
    """The phones of a clause. Its melody sinks, is higher where words are stressed, and at the end falls
    after a full stop and rises after a comma; how much is drawn."""
    width, slope = random.uniform(0.6, 1.5), random.uniform(1.0, 3.5)
    rises = clause.mark in "?," or random.random() < 0.15
    height = random.uniform(-1.5, 2.0)
    yield Segment(kind.silence, SILENCE_S)
    final = len(clause.syllables) - 1
    for number, syllable in enumerate(clause.syllables):
        semitones = (
            height + slope * (0.5 - number / max(1, final)) + width * (1.5 if syllable.stressed else 0)
        )
        if number == final:
            semitones = height + width * (4.0 if rises else -3.5)
        semitones += random.uniform(-0.4, 0.4)
        for sound in syllable.sounds:
            seconds = _length(sound, final=number == final) * random.uniform(0.88, 1.12) / speed
            yield from _said(sound, kind, seconds, kind.hertz * 2 ** (semitones / 12))
    yield Segment(kind.silence, SILENCE_S)


def _said(sound: str, kind: FestivalKind, seconds: float, hertz: float) -> Iterator[Segment]:
    """Only the first phone of a vowel has a pitch: between them it glides."""
    phones = kind.phones[sound]
    for number, (phone, share) in enumerate(zip(phones, SHARES[len(phones)], strict=True)):
        yield Segment(phone, share * seconds, hertz if sound in VOWELS and not number else 0.0)


def _length(sound: str, *, final: bool) -> float:
    """In seconds."""
    if sound not in VOWELS:
        return (GLIDING_S if sound in GLIDING else OTHER_S) * (1.2 if final else 1.0)
    usual = SCHWA_S if sound == SCHWA else NASAL_S if sound.endswith(NASAL) else VOWEL_S
    return usual * (1.6 if final else 1.0)


@cache
def _ipa(text: str, accent: str) -> str:
    """Without the marks of words in another language."""
    command = ["espeak-ng", "-q", "--ipa", "-v", accent, "--", text.strip()]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return re.sub(r"\([a-z-]+\)", "", said)


def _syllables(word: str) -> Iterator[Syllable]:
    """Each has a vowel, after one consonant, or two if the second is gliding; the last has all that is
    left."""
    sounds, stressed_at = _sounds(word)
    vowels = [at for at, sound in enumerate(sounds) if sound in VOWELS]
    begins = [0]
    for before, at in pairwise(vowels):
        begin = max(before + 1, at - 1)
        if begin - 1 > before and sounds[begin] in GLIDING and sounds[begin - 1] not in GLIDING:
            begin -= 1
        begins.append(begin)
    for begin, end in zip(begins, [*begins[1:], len(sounds)], strict=True):
        if begin < end:
            yield Syllable(tuple(sounds[begin:end]), begin <= stressed_at < end)


def _sounds(word: str) -> tuple[list[str], int]:
    """Those that French has, and the number of the one after the mark of stress; -1 without."""
    sounds: list[str] = []
    stressed_at = -1
    for letter in unicodedata.normalize("NFD", word):
        if letter == "ˈ":
            stressed_at = len(sounds)
        elif letter == NASAL and sounds:
            sounds[-1] += letter
        elif letter.isalpha() and letter not in "ːˌ":
            sounds.append(letter)
    found = [nearest_sounds().get(sound, sound) for sound in sounds]
    if unknown := sorted(set(found) - french_sounds()):
        raise FestivalError(
            f"{word!r}: no phone for {' '.join(unknown)}; accepted: {' '.join(sorted(french_sounds()))}"
        )
    return found, stressed_at


@cache
def _told() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("festival.toml").read_text(encoding="utf-8"))


@cache
def nearest_sounds() -> dict[str, str]:
    """Sounds of foreign words, and the French ones that are said instead."""
    return {_decomposed(sound): _decomposed(said) for sound, said in _told()["nearest"].items()}


@cache
def french_sounds() -> frozenset[str]:
    """All sounds that a voice must have phones for."""
    return frozenset.union(*(frozenset(kind.phones) for kind in festival_kinds().values()))


@cache
def festival_kinds() -> dict[str, FestivalKind]:
    """All voices by name."""
    found = {}
    for name, voice in _told()["voices"].items():
        phones = _told()["phones"][voice["phones"]] | voice.get("but", {})
        silence, between = phones.pop("silence"), phones.pop("between")
        said = {_decomposed(sound): tuple(each.split()) for sound, each in phones.items()}
        beside, hertz = voice.get("beside", {}), float(voice.get("hertz", 0))
        found[name] = FestivalKind(voice["package"], beside, said, silence, between, hertz)
    return found


def _decomposed(sound: str) -> str:
    return unicodedata.normalize("NFD", sound)


INSTALLED = Path("/usr/share/festival")
PAUSE_S = (0.12, 0.3)
"""The shortest and the longest after a comma."""
BETWEEN_S = 0.035
"""How long the vowel lasts that joins two phones."""
LENGTHS, LONGER_S = 6, 0.01
"""How many are tried, and by how many s the silence before is longer each time."""
_LACKING = re.compile(r"using default diphone \S+ for (\S+)")
_WORD = "said"


class Festival:
    """A voice is one of festival.toml, the last of which has a process.

    `accent`: of espeak-ng, which tells how the words sound.
    """

    def __init__(self, accent: str) -> None:
        self._accent = accent
        self._voice: _Voice | None = None

    def say(self, text: str, manner: Manner) -> Samples:
        """Speak the words, the same each time. FestivalError if the voice cannot."""
        if self._voice is None or self._voice.name != manner.voice:
            self.close()
            self._voice = _Voice(manner.voice)
        random = Random(f"{text}/{manner.voice}/{manner.speed:.3f}")
        pieces: list[Any] = []
        for clause in clauses(text, self._accent):
            if pieces:
                pieces.append(np.zeros(round(random.uniform(*PAUSE_S) * RATE / manner.speed)))
            pieces.append(self._voice.say(clause, manner.speed, random))
        if not pieces:
            raise FestivalError(f"{text!r}: nothing in it is said aloud")
        return at_rate(np.concatenate(pieces), RATE, manner.pitch)

    def close(self) -> None:
        """End its process."""
        if self._voice:
            self._voice.close()
            self._voice = None


def lacking_packages(voices: Iterable[str]) -> list[str]:
    """Debian's packages that these voices need and that aren't installed."""
    there = {path.name for path in (*INSTALLED.glob("voices/*/*"), *INSTALLED.glob("*"))}
    wanted = [] if shutil.which("festival") else ["festival"]
    for voice in sorted(voices):
        kind = festival_kinds()[voice]
        needed = {voice: kind.package} | kind.beside
        wanted += [package for name, package in needed.items() if name not in there]
    return wanted


class _Ended(FestivalError):
    """The process ended; `answer` is what it said last. It goes from process to process, as it is."""

    answer = ""


class _Voice:
    """A process of festival with one voice. FestivalError if it isn't installed."""

    def __init__(self, name: str) -> None:
        if packages := lacking_packages([name]):
            raise FestivalError(f"the voice {name} needs {' and '.join(packages)}; apt install them")
        self.name = name
        self._kind: FestivalKind = festival_kinds()[name]
        self._unjoined: set[tuple[str, str]] = set()
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            ["festival", "--pipe"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
        self._ask(f"(voice_{self.name}) (defvar hts_engine_params nil) (set! usual_params hts_engine_params)")

    def close(self) -> None:
        """End the process."""
        if self._process.poll() is None and self._process.stdin:
            self._process.stdin.close()
        if self._process.stdout:
            self._process.stdout.close()
        self._process.wait()

    def say(self, clause: Clause, speed: float, random: Random) -> Samples:
        """At RATE."""
        with tempfile.TemporaryDirectory(prefix="festival") as folder:
            path = Path(folder, "said.wav")
            if self._kind.hertz:
                wanted = list(segments(clause, self._kind, speed, random))
                answer = self._say_segments(wanted, path)
            else:
                answer = self._say_word(clause, speed, path)
            if not path.exists():
                raise FestivalError(f"the voice {self.name} said nothing: {_line(answer)}")
            sound, rate = soundfile.read(path, dtype="float64")
        return at_rate(sound, rate, 1.0)

    def _say_segments(self, wanted: list[Segment], path: Path) -> str:
        """Two phones that the voice has no diphone for are joined by a short vowel. One utterance of a
        thousand ends festival by a segmentation fault: begun a little later, it does not."""
        for number in range(LENGTHS):
            later = [replace(wanted[0], seconds=wanted[0].seconds + number * LONGER_S), *wanted[1:]]
            ended = False
            while not ended:
                said = " ".join(map(_listed, _joined(later, self._unjoined, self._kind.between)))
                try:
                    answer = self._ask(_saved(f"(Utterance Segments ({said}))", path))
                except _Ended as wrong:
                    answer, ended = wrong.answer, True
                    self.close()
                    self._start()
                if found := self._lacking(answer, wanted):
                    self._unjoined |= found
                    ended = False
                elif not ended:
                    return answer
        raise FestivalError(f"the voice {self.name} ends at {said}")

    def _lacking(self, answer: str, wanted: Sequence[Segment]) -> set[tuple[str, str]]:
        """The pairs of phones for which festival had no diphone, and which it is not known of yet."""
        names = set(_LACKING.findall(answer))
        pairs = {(before.phone, after.phone) for before, after in pairwise(wanted)}
        return {pair for pair in pairs - self._unjoined if "-".join(pair) in names}

    def _say_word(self, clause: Clause, speed: float, path: Path) -> str:
        """As one word: at two, cmu_us_slt_arctic_hts ends by a segmentation fault."""
        phones, final = self._kind.phones, len(clause.syllables) - 1
        listed = " ".join(
            f"(({' '.join(phone for sound in each.sounds for phone in phones[sound])})"
            f" {int(each.stressed or number == final)})"
            for number, each in enumerate(clause.syllables)
        )
        return self._ask(
            f'(lex.create "{_WORD}") (lex.select "{_WORD}")'
            f'(lex.add.entry \'("{_WORD}" nil ({listed})))'
            f"(Param.set 'Duration_Stretch {1 / speed:.3f})"
            f'(set! hts_engine_params (append usual_params \'(("-r" {speed:.3f}))))'
            + _saved(f"(Utterance Words ({_WORD}))", path)
        )

    def _ask(self, asked: str) -> str:
        """What festival answers. _Ended if it ends."""
        to, answers = self._process.stdin, self._process.stdout
        assert to is not None and answers is not None
        to.write(f'{asked}\n(format t "\\n{_WORD}\\n")\n(fflush nil)\n')
        to.flush()
        lines: list[str] = []
        for line in answers:
            if line == f"{_WORD}\n":
                return "".join(lines)
            lines.append(line)
        ended = _Ended(f"the voice {self.name} ended: {_line(''.join(lines))}")
        ended.answer = "".join(lines)
        raise ended


def _joined(wanted: Sequence[Segment], unjoined: set[tuple[str, str]], between: str) -> Iterable[Segment]:
    yield wanted[0]
    for before, after in pairwise(wanted):
        if (before.phone, after.phone) in unjoined:
            yield Segment(between, BETWEEN_S)
        yield after


def _listed(segment: Segment) -> str:
    target = f" ({segment.seconds / 2:.3f} {segment.hertz:.0f})" if segment.hertz else ""
    return f"({segment.phone} {segment.seconds:.3f}{target})"


def _saved(utterance: str, path: Path) -> str:
    return f'(utt.save.wave (utt.synth {utterance}) "{path}" \'riff)'


def _line(answer: str) -> str:
    return " ".join(answer.split())[:200] or "without a word"
