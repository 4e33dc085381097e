"""Who says what in a language: people's recordings, the plan of all utterances, and the files made from it.

People's recordings refuse nothing. They are from Debian's packages; a whole folder is of one split.

A plan is a list drawn with a seed, so that it is the same every time; a file that exists is not made
again. A file's path says what is known of it: `sounds/SPLIT/SYNTHESIZER/LABEL/NUMBER.wav`.
"""

import tomllib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Literal, Protocol

import soundfile

from media.frame import SAMPLE_RATE, Samples
from media.hearing.embedding import OTHER
from media.training import in_processes
from media.training.language import Language
from media.training.voices import RATE, Espeak, Festival, FestivalError, Kokoro, Manner, Pico

_ASTERISK = Path("/usr/share/asterisk/sounds")
_KTUBERLING = Path("/usr/share/ktuberling/sounds")
_FILLETS = Path("/usr/share/games/fillets-ng/sound")
_TEST = ("fr", "it", "pt", "wa", "en")
_TUNE = ("es", "ca", "da", "uk")


def people(split: str) -> list[Path]:
    """The recordings of a split, if asterisk-prompt-*, asterisk-core-sounds-*, ktuberling-data and
    fillets-ng-data-* are installed."""
    folders: dict[str, list[Path]] = {
        "train": [
            *(_ASTERISK / name for name in ("fr", "es_CO_f_Avatar", "it_IT_f_Menardi")),
            *(place for place in sorted(_KTUBERLING.glob("*/")) if place.name not in _TEST + _TUNE),
        ],
        "tune": [_ASTERISK / "de", *(_KTUBERLING / name for name in _TUNE)],
        "test": [_KTUBERLING / name for name in _TEST],
        "release": [_ASTERISK / name for name in ("fr_CA_f_June", "ru_RU_f_IvrvoiceRU")],
    }
    found = [path for place in folders[split] for path in sorted(place.rglob("*")) if _is_sound(path)]
    language = {"train": "cs", "test": "nl"}.get(split)
    return found + (sorted(_FILLETS.glob(f"*/{language}/*.ogg")) if language else [])


def copy_once(place: Path, copy: Callable[[Path], int]) -> Iterator[str]:
    """Have OTHER in `place` filled, if that folder is not there yet: one that is there is whole."""
    if not place.exists():
        begun = place.with_name(f".{place.name}")
        yield f"{place.parent.name}/{place.name}: {copy(begun / OTHER)} sounds"
        begun.rename(place)


def copy_people(found: Iterable[Path], out: Path) -> int:
    """Copy them to this folder as WAV, each cut to its first 8 s; how many, for the shortest are left out."""
    count = 0
    out.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(found):
        if path.suffix == ".gsm":
            sound, rate = soundfile.read(
                path, samplerate=SAMPLE_RATE, channels=1, subtype="GSM610", format="RAW", dtype="int16"
            )
        else:
            sound, rate = soundfile.read(path, dtype="int16")
        mono = sound if sound.ndim == 1 else sound[:, 0]
        if len(mono) > rate // 5:
            soundfile.write(out / f"{number:05d}.wav", mono[: 8 * rate], rate, "PCM_16")
            count += 1
    return count


def own_prompts(folder: Path, language: str) -> list[Path]:
    """What the agent says in a language, but for notices and details: these tell how to refuse, in words that
    refuse."""
    every = sorted((folder / language).glob("*.wav"))
    return [path for path in every if not path.stem.startswith(("notice", "details"))]


def copy_own_prompts(studio: "Studio") -> Iterator[str]:
    """Have them among what heads are trained on, where there are some."""
    if own := own_prompts(studio.prompts, studio.language.code):
        yield from copy_once(studio.sounds / "train" / "prompts", partial(copy_prompts, own))


def copy_prompts(prompts: Iterable[Path], out: Path) -> int:
    """Copy what the agent itself says to this folder, in pieces; how many.

    It comes back as echo, and must not refuse for the caller.
    """
    out.mkdir(parents=True, exist_ok=True)
    count = 0
    for path in prompts:
        if path.stem.endswith(".16k"):
            continue
        sound, rate = soundfile.read(path, dtype="int16")
        for start in range(0, len(sound), 2 * rate):  # pieces that begin anywhere in it
            soundfile.write(out / f"{count:05d}.wav", sound[start : start + 6 * rate], rate, "PCM_16")
            count += 1
    return count


def _is_sound(path: Path) -> bool:
    return path.suffix in (".gsm", ".wav", ".ogg") and path.is_file()


Split = Literal["train", "tune", "test", "release"]
"""`release` is looked at once a version: voices and sentences of no other split."""

Counts = Mapping[str, Mapping[Split, int]]
"""By synthesizer."""


def _table(name: str) -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name(f"{name}.toml").read_text(encoding="utf-8"))


_VOICES: dict[str, dict[Split, tuple[str, ...]]] = {
    name: {split: tuple(voices) for split, voices in splits.items()}
    for name, splits in _table("voices").items()
}
KOKORO, ESPEAK, FESTIVAL = (_VOICES[name] for name in ("kokoro", "espeak", "festival"))
_AMOUNTS = _table("amounts")


@dataclass(frozen=True, slots=True)
class Amounts:
    """What a head is made of: `counts` of utterances by kind, recordings of people, batches of training."""

    counts: Mapping[str, Counts]
    people: Mapping[Split, int]
    rounds: int

    def count(self, kind: str, synthesizer: str, split: Split) -> int:
        """How many utterances of a kind."""
        return self.counts[kind].get(synthesizer, {}).get(split, 0)

    def share(self, share: float) -> "Amounts":
        """This share of each, one at least."""

        def part(counts: Mapping[Split, int]) -> dict[Split, int]:
            return {split: max(1, round(share * count)) for split, count in counts.items()}

        counts = {kind: {name: part(each) for name, each in of.items()} for kind, of in self.counts.items()}
        return Amounts(counts, part(self.people), max(1, round(share * self.rounds)))


def usual_amounts(head: str) -> Amounts:
    """Those of amounts.toml."""
    return Amounts(**_AMOUNTS[head])


def some_people(split: Split, amounts: Amounts) -> list[Path]:
    """Of the recordings of a split as many as are wanted, if there are."""
    found = people(split)
    return Random(split).sample(found, min(amounts.people[split], len(found)))


PART = 250
"""How many sounds a process speaks at a time."""
LEAST_NATIVE = 5
NATIVE, WITH_NATIVE, FOREIGN = 0.3, 0.35, 0.1
"""Of the utterances to train on, where native speakers are fewer: by one of them, by a blend with one, by a
blend of two others. Blends of others alone are hardly of the language."""


@dataclass(frozen=True, slots=True)
class SpokenFile:
    """One file to make."""

    path: Path
    text: str
    manner: Manner


class Synthesizer(Protocol):
    """One of media.training.voices."""

    def say(self, text: str, manner: Manner) -> Samples: ...


def label(phrase: str) -> str:
    """A phrase as the name of a folder."""
    plain = unicodedata.normalize("NFKD", phrase).encode("ascii", "ignore").decode()
    return plain.replace("'", " ").replace(" ", "_").lower()


def plan(
    language: Language, synthesizer: str, split: Split, words: list[str], share: float = 1.0
) -> list[SpokenFile]:
    """What one synthesizer says for one split, in an order whose every beginning is a fair sample.

    `share`: of the counts above. Nothing where it has no voice for the split.
    """
    if synthesizer == "mbrola" and not language.mbrola.get(split):
        return []
    random = Random(f"{synthesizer}/{split}")
    said: list[tuple[str, str]] = []
    refusing, other = (_AMOUNTS["shipped"][kind][synthesizer].get(split, 0) for kind in ("refusing", "other"))
    many = round(share * refusing)
    for phrase, usual in (language.refusing | language.accepting).items():
        ways = usual if split != "release" else tuple(way.format(phrase) for way in language.release["ways"])
        halved = synthesizer != "pico" and phrase in language.accepting
        said += [(label(phrase), random.choice(ways)) for _ in range(many // 2 if halved else many)]
    said += [(OTHER, text) for text in others(language, split, words, random, share * other)]
    return spoken_files(said, language, synthesizer, split, random)


def spoken_files(
    said: list[tuple[str, str]],
    language: Language,
    synthesizer: str,
    split: Split,
    random: Random,
    *,
    shard: int | None = None,
) -> list[SpokenFile]:
    """These labels and texts by any voices, shuffled; so many are in a `shard`, if they lie in shards."""
    random.shuffle(said)
    return [
        SpokenFile(
            Path(split, f"{synthesizer}-{n // shard}" if shard else synthesizer, name, f"{n:05d}.wav"),
            text,
            manner(language, synthesizer, split, random),
        )
        for n, (name, text) in enumerate(said)
    ]


def others(language: Language, split: Split, words: list[str], random: Random, count: float) -> Iterator[str]:
    """This many sentences without any of the phrases: similar to one, ordinary, or made up."""
    near, talk = texts_of(language.near, split), texts_of(language.talk, split)
    if split == "release":
        near, talk = language.release["near"], language.release["talk"]
    for _ in range(round(count)):
        kind = random.random()
        text = random.choice(near if kind < 0.45 else talk) if kind < 0.7 else language.made_up(random, words)
        yield text


@dataclass(frozen=True, slots=True)
class Studio:
    """Where a language is spoken: `folder` has its sounds and features, `styles` Kokoro's speakers,
    `prompts` what the agent itself says, by language."""

    language: Language
    folder: Path
    styles: Path
    prompts: Path

    @property
    def sounds(self) -> Path:
        return self.folder / "sounds"


def speak(studio: Studio, synthesizer: str, planned: Sequence[SpokenFile]) -> Iterator[Path]:
    """Make the missing files of a plan; yields each when it is written."""
    voice = load_voice(studio.language, synthesizer, studio.folder, studio.styles)
    for utterance in planned:
        path = studio.sounds / utterance.path
        if not path.exists():
            write(voice, utterance, path)
            yield path
    if isinstance(voice, Festival):
        voice.close()


def speak_all(studio: Studio, plans: Mapping[str, Sequence[SpokenFile]]) -> Iterator[str]:
    """Make the missing files of each synthesizer's plan, in parts, on all cores; reports progress.

    One voice after the other: a process of festival with one takes half a GB.
    """
    slowest_first = sorted(plans, key=lambda name: name != "kokoro")
    by_voice = {name: sorted(plans[name], key=lambda one: one.manner.voice) for name in slowest_first}
    parts = [
        (studio, name, planned[at : at + PART])
        for name, planned in by_voice.items()
        for at in range(0, len(planned), PART)
    ]
    yield from in_processes(_spoken, parts)


def _spoken(studio: Studio, synthesizer: str, planned: Sequence[SpokenFile]) -> str:
    made = sum(1 for _ in speak(studio, synthesizer, planned))
    first, last = planned[0], planned[-1]
    voices = " to ".join(dict.fromkeys((first.manner.voice, last.manner.voice)))
    return f"{first.path.parent.parent} {voices}: {made} new sounds"


def write(voice: Synthesizer, utterance: SpokenFile, path: Path) -> None:
    """Speak it into its file, which tells text and manner; a file that exists is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    sound = voice.say(utterance.text, utterance.manner)
    with soundfile.SoundFile(partial, "w", RATE, 1, "PCM_16", format="WAV") as out:
        out.title, out.artist = utterance.text, utterance.manner.voice
        out.comment = f"pitch {utterance.manner.pitch:.3f}"
        out.write(sound)
    partial.replace(path)


def sources_of(sounds: Mapping[str, Iterable[str]]) -> str:
    """The rows of a card: by split and source, how many sounds, how many questions."""
    rows = []
    for split, asked in sounds.items():
        names = Counter("/".join(Path(sound).parts[-4:-2]) for sound in asked)
        distinct = Counter("/".join(Path(sound).parts[-4:-2]) for sound in {*asked})
        rows += [f"| {name or split} | {distinct[name]} | {count} |" for name, count in sorted(names.items())]
    return "\n".join(rows)


def load_voice(language: Language, synthesizer: str, folder: Path, styles: Path) -> Synthesizer:
    """VoiceError, FestivalError or ImportError for one that isn't installed."""
    if synthesizer == "kokoro":
        return Kokoro(styles, folder / "styles", language.code)
    if synthesizer == "festival":
        if not language.festival:
            raise FestivalError(f"{language.name}: festival's voices have no phones for it; accepted: French")
        return Festival(language.accents[0])
    return Pico() if synthesizer == "pico" else Espeak()


def texts_of(texts: tuple[str, ...], split: Split) -> tuple[str, ...]:
    """The texts of a split. Where there are many sentences, every fourth is only for measuring."""
    return texts[3::4] if split == "test" else tuple(text for n, text in enumerate(texts) if n % 4 != 3)


def manner(language: Language, synthesizer: str, split: Split, random: Random) -> Manner:
    """Any voice of the split, at any speed and pitch that people have."""
    speed = random.uniform(0.8, 1.3)
    if synthesizer == "pico":
        return Manner(language.pico, random.uniform(0.75, 1.25), random.uniform(0.75, 1.3))
    if synthesizer == "espeak":
        voice = f"{random.choice(language.accents)}+{random.choice(ESPEAK[split])}"
        return Manner(voice, speed, random.uniform(0.75, 1.35))
    if synthesizer == "mbrola":
        return Manner(random.choice(language.mbrola[split]), speed, random.uniform(0.75, 1.35))
    if synthesizer == "festival":
        return Manner(random.choice(FESTIVAL[split]), speed, random.uniform(0.85, 1.2))
    voice = _speaker(language, split, random)
    return Manner(voice, speed, random.uniform(0.9, 1.12) if split == "train" else 1.0)


def _speaker(language: Language, split: Split, random: Random) -> str:
    """One of the native speakers; if they are few, also others, and blends with them."""
    native = [name for name in KOKORO[split] if name.startswith(language.kokoro)]
    if len(native) >= LEAST_NATIVE:
        return random.choice(native)
    voice = random.choice(KOKORO[split])
    if split != "train":
        return voice
    kind = random.random()
    if native and kind < NATIVE:
        return random.choice(native)
    if native and kind < NATIVE + WITH_NATIVE:
        return f"{random.choice(native)}+{voice}:{random.choice((0.3, 0.5, 0.7))}"
    if kind < NATIVE + WITH_NATIVE + FOREIGN:
        return f"{random.choice(KOKORO[split])}+{voice}:0.5"
    return voice
