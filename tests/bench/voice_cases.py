"""What `make bench-voice` measures on: who says what over which line, the same for every detector.

Each utterance comes over one line, so that figures are of independent utterances. Which one, and what happens
on it, follows from the files alone: two heads are asked about the same samples.
"""

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path

import click
import numpy as np
import soundfile
from numpy.random import Generator, default_rng
from rich.console import Console
from rich.progress import track

from media.frame import SAMPLE_RATE, SILENCE, Samples
from media.hearing.embedding import OTHER
from media.hearing.keyword import Detector, Meaning, Verdict
from media.training.features import backgrounds, labelled, read, source_of
from media.training.language import LANGUAGES, Language
from media.training.lines import Backgrounds, Codec, PhoneLine, Waveform, active_rms, carry
from media.training.speech import Split, label, texts_of
from sipagent.voice.detectors import Detected, hear

PROMPTS = Path(__file__).parents[2] / "prompts"
PEOPLE = "people"
KNOWN = ("espeak", "festival", "kokoro", "mbrola")
"""The synthesizers that the shipped heads were trained on."""
FRENCH_REST = ("arrêtez l'enregistrement", "je ne veux pas être enregistré")
"""What the French head hears beside the phrases that the figures to be reached are of."""
OLD_LINES: dict[str, PhoneLine] = {
    "clean": PhoneLine(noise="pink"),
    "20 dB": PhoneLine(noise="pink", snr_db=20.0, loss=0.01),
    "20 dB babble": PhoneLine(noise="babble", snr_db=20.0),
    "10 dB": PhoneLine(noise="pink", snr_db=10.0, loss=0.03),
    "10 dB babble": PhoneLine(noise="babble", snr_db=10.0, loss=0.01),
}
"""Those of A-law alone, which every figure was measured on before there were others."""
NEWER_LINES: dict[str, PhoneLine] = {
    "mobile, AMR 7.95 kbit/s, street, suppressed": PhoneLine(
        codec="amrnb", kbits=7.95, noise="street", snr_db=15.0, suppression_db=12.0, loss=0.01, then="alaw"
    ),
    "mobile, AMR-WB 12.65 kbit/s, 3 % lost in bursts": PhoneLine(
        codec="amrwb", kbits=12.65, noise="pink", snr_db=20.0, loss=0.03, burst=0.75, then="alaw"
    ),
    "Opus 8 kbit/s, 5 % lost": PhoneLine(codec="opus", kbits=8.0, noise="pink", snr_db=20.0, loss=0.05),
    "coded twice, AMR 5.9 kbit/s and GSM": PhoneLine(
        codec="amrnb", kbits=5.9, noise="pink", snr_db=20.0, then="gsm"
    ),
    "DECT, G.726": PhoneLine(codec="g726", noise="pink", snr_db=20.0, loss=0.01, then="alaw"),
    "handsfree, a room of 0.6 s, direct sound −3 dB": PhoneLine(
        noise="pink", snr_db=20.0, reverberation_s=0.6, direct_db=-3.0
    ),
    "a television at 10 dB": PhoneLine(noise="television", snr_db=10.0),
}
LINES = OLD_LINES | NEWER_LINES
SAID_OVER = 3  # voices of each synthesizer that say each phrase over the notice
TAIL = int(0.8 * SAMPLE_RATE)
WOMEN = frozenset(
    {"Annie", "anika", "f2", "f4", "steph2", "mb-fr4", "mb-de5", "mb-de7", "mb-us1", "mb-sw2-en"}
)
OLD = frozenset({"croak", "grandma", "grandpa"})
UNTOLD = frozenset({"klatt2", "klatt4", "klatt6", "Tweaky", "fast", "whisper", "Demonic"})
"""espeak-ng's variants that don't sound like anybody; the others of `tune`, `test` and `release`, and of
MBROLA's voices, are men."""


lang_option = click.option("--lang", type=click.Choice(LANGUAGES), default="fr", show_default=True)
folder_option = click.option(
    "--folder", type=click.Path(path_type=Path), help="sounds of this language; voice-training/LANG"
)
second_option = click.option(
    "--second", type=click.Path(exists=True, path_type=Path), help="refusal.second: a Whisper model"
)


@dataclass(frozen=True, slots=True)
class SoundLabel:
    """What a file tells of itself; texts are empty and `pitch` None for one that `write` did not make.

    `pitch`: a factor of the voice's own, as in Manner.
    """

    text: str
    voice: str
    pitch: float | None


def told(path: Path) -> SoundLabel:
    """By the file's own words."""
    with soundfile.SoundFile(path) as sound:
        named, _, pitch = sound.comment.partition(" ")
        return SoundLabel(sound.title, sound.artist, float(pitch) if named == "pitch" else None)


@dataclass(frozen=True, slots=True)
class Utterance:
    """One file: whose (a synthesizer, or people), the label of its phrase, or other, and what it tells."""

    path: Path
    source: str
    label: str
    said: SoundLabel

    @property
    def kind(self) -> str:
        """Of the voice, for a head that was trained on some synthesizers."""
        if self.source == PEOPLE:
            return PEOPLE
        return "known" if self.source in KNOWN else "unknown"

    @property
    def speaker(self) -> str:
        """Women or men, old people, or a group of its own where sex isn't told; of Pico by its pitch."""
        source, said = self.source, self.said
        if source == PEOPLE or not said.voice:
            return "not told"
        if source == "pico":
            return "Pico, lowered" if (said.pitch or 1.0) < 1 else "Pico, raised"
        if source == "kokoro":
            sexes = {name[1:2] for name in said.voice.partition(":")[0].split("+")}
            return {"f": "women", "m": "men"}["".join(sexes)] if len(sexes) == 1 else "of a woman and a man"
        variant = said.voice if source == "mbrola" else said.voice.partition("+")[2]
        if variant in OLD:
            return "old people"
        if variant in UNTOLD or source not in ("espeak", "mbrola"):
            return "not told"
        return "women" if variant in WOMEN else "men"

    def random(self, line: str) -> Generator:
        """What happens on this line: by names alone."""
        return default_rng([zlib.crc32("/".join(self.path.parts[-4:]).encode()), zlib.crc32(line.encode())])


@dataclass(frozen=True, slots=True)
class Case:
    """One utterance over a line, as it was heard; `end_ms`: of its speech."""

    utterance: Utterance
    line: str
    heard: Detected
    end_ms: int

    @property
    def meaning(self) -> Meaning:
        return self.heard.verdict.meaning

    @property
    def late_ms(self) -> int | None:
        """From the end of what was said to the refusal; None where none was heard."""
        if self.meaning is not Meaning.REFUSE or self.heard.spotted_ms is None:
            return None
        return self.heard.spotted_ms - self.end_ms


class Ground:
    """The sounds of a split that are measured on, and the lines that they come over."""

    def __init__(
        self, folder: Path, spoken: Language, split: Split, limit: int, lines: Mapping[str, PhoneLine] = LINES
    ) -> None:
        """`limit`: at most so many utterances of a source that say a phrase, and as many that don't."""
        self.spoken, self.split, self.lines = spoken, split, lines
        places = sorted(place for place in (folder / "sounds" / split).glob("*") if place.is_dir())
        self.utterances = [one for place in places for one in _limited(place, limit)]
        if not any(one.label == OTHER for one in self.utterances):
            raise click.ClickException(
                f"{folder}: no sounds to measure on; see python -m media.training --help"
            )
        texts = spoken.release["near"] if split == "release" else texts_of(spoken.near, split)
        self.near = frozenset(texts)
        self._random = default_rng(7)

    @cached_property
    def _backgrounds(self) -> Backgrounds:
        others = [one.path for one in self.utterances if one.label == OTHER]
        return backgrounds(others[:300], PROMPTS, default_rng(3))

    @property
    def sources(self) -> list[str]:
        return sorted({one.source for one in self.utterances})

    def make_ready(self) -> None:
        """MissingCoder where one of the lines can't be had here; otherwise nothing."""
        for line in self.lines.values():
            self.arrives(np.zeros(800), line, default_rng(0))

    def arrives(self, sound: Waveform, line: PhoneLine, random: Generator | None = None) -> Samples:
        return carry(sound, line, self._backgrounds, random or self._random)

    def planned(self, only: Iterable[str] = ()) -> list[tuple[Utterance, str]]:
        """Every utterance, or those of some labels, over a line: a source's of one label by turns."""
        labels, turns = set(only), Counter[tuple[str, str]]()
        found = []
        for one in self.utterances:
            if not labels or one.label in labels:
                turn = turns[one.source, one.label] + zlib.crc32(one.label.encode())
                turns[one.source, one.label] += 1
                found.append((one, [*self.lines][turn % len(self.lines)]))
        return found

    def cases(self, detector: Detector, only: Iterable[str] = (), what: str = "utterances") -> list[Case]:
        planned = track(self.planned(only), what, console=Console(stderr=True))
        return [self._case(detector, one, line) for one, line in planned]

    def _case(self, detector: Detector, one: Utterance, line: str) -> Case:
        heard = self.heard(one, line)
        end = (len(heard) - TAIL - 240) * 1000 // SAMPLE_RATE
        return Case(one, line, hear(detector, heard), end)

    def heard(self, one: Utterance, line: str) -> Samples:
        """It, with quiet around it, over this line. MissingCoder."""
        sound = np.concatenate([np.zeros(SAMPLE_RATE // 2), read(one.path), np.zeros(TAIL)])
        return self.arrives(sound, self.lines[line], one.random(line))

    def unbroken(self, detector: Detector) -> float:
        """CPU s per second of somebody who talks for some minutes without a pause."""
        found = [read(one.path) for one in self._of(self.sources[0], OTHER)]
        talk = np.concatenate(found)[: 180 * SAMPLE_RATE]
        heard = hear(detector, self.arrives(talk, PhoneLine(noise="babble", snr_db=15.0)))
        return heard.cpu_s / heard.duration_s

    def conversation(self, detector: Detector, source: str) -> Detected:
        """All that doesn't refuse, in one long call with short pauses."""
        random = default_rng(zlib.crc32(source.encode()))
        pieces: list[Waveform] = []
        for one in self._of(source, OTHER):
            pieces += [read(one.path), np.zeros(int(random.uniform(0.2, 1.2) * SAMPLE_RATE))]
        line = PhoneLine(noise="pink", snr_db=20.0)
        return hear(detector, self.arrives(np.concatenate(pieces), line, random))

    def echoes(self) -> "Echoes":
        """Of the language's notices, with refusals of several voices to say over them."""
        over = [
            one.path
            for source in self.sources
            for phrase in window_phrases(self.spoken)
            for one in self._of(source, label(phrase))[:SAID_OVER]
        ]
        return Echoes(self, PROMPTS / self.spoken.code, over)

    def _of(self, source: str, said: str) -> list[Utterance]:
        return [one for one in self.utterances if (one.source, one.label) == (source, said)]


def window_phrases(spoken: Language) -> tuple[str, ...]:
    """What is listened for before the bridge: what would be configured."""
    return tuple(phrase for phrase in spoken.refusing if spoken.code != "fr" or phrase not in FRENCH_REST)


def _limited(place: Path, limit: int) -> Iterator[Utterance]:
    """Of one source, whose order is as good as drawn; people's files tell nothing."""
    every = labelled(place)
    some = chain(
        [pair for pair in every if pair[0] != OTHER][:limit],
        [pair for pair in every if pair[0] == OTHER][:limit],
    )
    for said, path in some:
        yield Utterance(path, source_of(path), said, told(path))


# --- the notice that comes back, from a trunk or a room, also with speech over it ---

NOTICES = ("notice_voice", "notice_opt_in_voice", "confirm")
LOSSES_DB = (6, 12, 20, 30)
PLAYED_DBFS, QUIET_DBFS = -20.0, -62.0
NEAR_DBFS = (-32.0, -18.0)
AROUND = 3 * SAMPLE_RATE  # of the notice before and after what is said over it
CODECS: tuple[Codec, ...] = ("alaw", "alaw", "gsm")


class Echoes:
    """Of the notices of a folder, and of one that says each phrase; in the order of a generator's draws."""

    def __init__(self, ground: Ground, folder: Path, over: list[Path]) -> None:
        self._ground, self._over, self._random = ground, over, default_rng(17)
        self.notices = [read(folder / f"{name}.wav") for name in NOTICES if (folder / f"{name}.wav").exists()]
        before = self.notices[0][: 3 * SAMPLE_RATE]
        phrases = {path.parent.name: path for path in over}
        said = [np.concatenate([before, _loud(read(path), PLAYED_DBFS), before]) for path in phrases.values()]
        self._asking = [*self.notices, *said]

    def alone(self, detector: Detector, count: int) -> Iterator[Verdict]:
        """Callers who say nothing, 6 to 40 dB of loss."""
        for number, loss_db in enumerate(np.linspace(6, 40, count)):
            notice = self._asking[number % len(self._asking)]
            echo = self._comes_back(notice, float(loss_db), number)
            yield self._heard(detector, notice, echo, True)

    def over_it(self, detector: Detector, loss_db: int | None) -> tuple[Counter[Meaning], Counter[Meaning]]:
        """Callers who refuse at any moment of the notice, over it: what is heard, and if no echo were taken
        off."""
        heard, raw = Counter[Meaning](), Counter[Meaning]()
        for number, path in enumerate(self._over):
            near = _loud(read(path), self._random.uniform(*NEAR_DBFS))
            whole = self.notices[0]
            start = int(self._random.integers(max(1, len(whole) - 2 * AROUND - len(near))))
            notice = whole[start : start + 2 * AROUND + len(near)]
            mixed = np.zeros(len(notice) + SAMPLE_RATE)
            mixed[AROUND : AROUND + len(near)] = near
            if loss_db is not None:
                echo = self._comes_back(notice, loss_db, number)[: len(mixed)]
                mixed[: len(echo)] += echo
            for known, found in ((True, heard), (False, raw)):
                found[self._heard(detector, notice, mixed, known).meaning] += 1
        return heard, raw

    def _heard(self, detector: Detector, notice: Waveform, came: Waveform, known: bool) -> Verdict:
        """What a listener makes of it who knows, or does not, what is played."""
        level = 20 * np.log10(max(active_rms(came), 1e-5))
        line = PhoneLine(level_dbfs=level, noise="pink", snr_db=level - QUIET_DBFS)
        played = np.asarray(notice * 32767, dtype=np.int16) if known else SILENCE
        return hear(detector, self._ground.arrives(came, line), played).verdict

    def _comes_back(self, notice: Waveform, loss_db: float, number: int) -> Waveform:
        """Through the line, a trunk's hybrid or a room by turns, and 20 to 600 ms later."""
        way = (_hybrid, _room)[number % 2](self._random)
        line = PhoneLine(level_dbfs=PLAYED_DBFS, band=None, codec=CODECS[number % len(CODECS)])
        sound = np.convolve(self._ground.arrives(notice, line) / 32768, way)
        late = np.zeros(int(self._random.integers(20, 600)) * SAMPLE_RATE // 1000)
        return np.concatenate([late, _loud(sound, PLAYED_DBFS - loss_db)])


def _hybrid(random: Generator) -> Waveform:
    way = 0.3 * random.normal(size=20) * np.exp(-np.arange(20) / 5)
    way[0] = 1.0
    return way


def _room(random: Generator) -> Waveform:
    count = int(random.uniform(0.08, 0.35) * SAMPLE_RATE)
    way = random.normal(size=count) * np.exp(-6.9 * np.arange(count) / count)
    way *= random.uniform(0.2, 0.8) / np.sqrt(np.sum(way**2))
    way[0] = 1.0
    return np.asarray(way)


def _loud(sound: Waveform, dbfs: float) -> Waveform:
    return np.asarray(sound * (10 ** (dbfs / 20) / max(active_rms(sound), 1e-6)))
