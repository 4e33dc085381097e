"""Who says what: the plan of all utterances, and the files made from it.

A plan is a list drawn with a seed, so that it is the same every time; a file that exists is not made again.
A file's path holds what is known of it: `sounds/SPLIT/SYNTHESIZER/LABEL/NUMBER.wav`.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Literal, Protocol

import soundfile

from media.frame import Samples
from media.training.texts import FRENCH, FRENCH_ACCEPTING, NEAR, TALK, made_up
from media.training.voices import RATE, Espeak, Kokoro, Manner, Pico

Split = Literal["train", "tune", "test"]

KOKORO: dict[Split, tuple[str, ...]] = {
    "train": (
        *("af_alloy", "af_aoede", "af_heart", "af_jessica", "af_kore", "af_nicole", "af_river", "af_sarah"),
        *("am_adam", "am_eric", "am_fenrir", "am_michael", "am_puck", "am_santa", "bf_emma", "bf_isabella"),
        *("bm_daniel", "bm_fable", "bm_george", "em_santa", "ff_siwis", "hf_alpha", "hm_omega", "hm_psi"),
        *("if_sara", "jf_gongitsune", "jf_nezumi", "jf_tebukuro", "jm_kumo", "pf_dora", "pm_santa"),
        *("zf_xiaobei", "zf_xiaoni", "zf_xiaoxiao", "zm_yunjian", "zm_yunxi", "zm_yunxia", "zm_yunyang"),
    ),
    "tune": ("af_sky", "am_liam", "bf_alice", "em_alex", "jf_alpha", "zf_xiaoyi"),
    "test": (
        *("af_bella", "af_nova", "am_echo", "am_onyx", "bf_lily", "bm_lewis", "ef_dora", "hf_beta"),
        *("im_nicola", "pm_alex"),
    ),
}
ACCENTS = ("fr", "fr-be", "fr-ch")
ESPEAK: dict[Split, tuple[str, ...]] = {
    "train": (
        *("Alex", "Alicia", "Andrea", "Andy", "Denis", "Diogo", "Gene", "Henrique", "Jacky", "Lee", "Mario"),
        *("Michael", "Mr serious", "Reed", "RicishayMax", "RicishayMax3", "Storm", "adam", "announcer"),
        *("antonio", "aunty", "belinda", "boris", "caleb", "david", "ed", "edward2", "f1", "f3", "f5"),
        *("grandma", "gustave", "iven", "iven3", "john", "kaukovalta", "klatt", "klatt3", "klatt5", "linda"),
        *("m1", "m3", "m5", "m7", "marcelo", "max", "michel", "mike2", "norbert", "pablo", "pedro", "rob"),
        *("sandro", "shelby", "steph", "steph3", "victor", "zac", "Hugo", "edward", "whisperf"),
    ),
    "tune": ("Annie", "Marco", "benjamin", "f2", "iven2", "klatt2", "m2", "m8", "robert", "travis", "ian"),
    "test": (
        *("Gene2", "Mike", "RicishayMax2", "anika", "f4", "grandpa", "iven4", "klatt4", "klatt6", "m4", "m6"),
        *("miguel", "paul", "quincy", "steph2"),
    ),
}

REFUSALS = {
    "kokoro": {"train": 150, "tune": 24, "test": 40},
    "espeak": {"train": 400, "tune": 33, "test": 60},
}
"""Utterances of each phrase."""
OTHERS = {
    "kokoro": {"train": 1500, "tune": 400, "test": 500},
    "espeak": {"train": 4000, "tune": 500, "test": 600},
}


@dataclass(frozen=True, slots=True)
class Utterance:
    """One file to make."""

    path: Path
    text: str
    manner: Manner


class _Synthesizer(Protocol):
    def say(self, text: str, manner: Manner) -> Samples: ...


def label(phrase: str) -> str:
    """A phrase as a name of a folder."""
    plain = unicodedata.normalize("NFKD", phrase).encode("ascii", "ignore").decode()
    return plain.replace("'", " ").replace(" ", "_").lower()


def plan(synthesizer: str, split: Split, words: list[str]) -> list[Utterance]:
    """What one synthesizer says for one split, in an order in which any beginning is a fair sample."""
    random = Random(f"{synthesizer}/{split}")
    phrases = FRENCH | FRENCH_ACCEPTING
    said: list[tuple[str, str]] = []
    for phrase, ways in phrases.items():
        said += [(label(phrase), random.choice(ways)) for _ in range(_many(synthesizer, split, phrase))]
    near, talk = _texts(NEAR, split), _texts(TALK, split)
    for _ in range(_others(synthesizer, split)):
        kind = random.random()
        text = random.choice(near if kind < 0.45 else talk) if kind < 0.7 else made_up(random, words)
        said.append(("other", text))
    random.shuffle(said)
    return [
        Utterance(
            Path(split, synthesizer, name, f"{number:05d}.wav"), text, _manner(synthesizer, split, random)
        )
        for number, (name, text) in enumerate(said)
    ]


def speak(synthesizer: str, split: Split, folder: Path, styles: Path, words: list[str]) -> Iterator[Path]:
    """Make the files of a plan that aren't there; each once it is."""
    voice = _load(synthesizer, folder, styles)
    for utterance in plan(synthesizer, split, words):
        path = folder / "sounds" / utterance.path
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part")
        soundfile.write(partial, voice.say(utterance.text, utterance.manner), RATE, "PCM_16", format="WAV")
        partial.replace(path)
        yield path


def _load(synthesizer: str, folder: Path, styles: Path) -> _Synthesizer:
    if synthesizer == "kokoro":
        return Kokoro(styles, folder / "styles")
    return Espeak() if synthesizer == "espeak" else Pico()


def _many(synthesizer: str, split: Split, phrase: str) -> int:
    if synthesizer == "pico":
        return 30
    return REFUSALS[synthesizer][split] // (1 if phrase in FRENCH else 2)


def _others(synthesizer: str, split: Split) -> int:
    return 400 if synthesizer == "pico" else OTHERS[synthesizer][split]


def _texts(texts: tuple[str, ...], split: Split) -> tuple[str, ...]:
    """Sentences are apart too, as far as they are many: every fourth one is kept for measuring."""
    return texts[3::4] if split == "test" else tuple(text for n, text in enumerate(texts) if n % 4 != 3)


def _manner(synthesizer: str, split: Split, random: Random) -> Manner:
    speed = random.uniform(0.8, 1.3)
    if synthesizer == "pico":
        return Manner("fr-FR", random.uniform(0.75, 1.25), random.uniform(0.75, 1.3))
    if synthesizer == "espeak":
        voice = f"{random.choice(ACCENTS)}+{random.choice(ESPEAK[split])}"
        return Manner(voice, speed, random.uniform(0.75, 1.35))
    voice = random.choice(KOKORO[split])
    kind = random.random()
    if split == "train" and kind < 0.45:
        voice = f"ff_siwis+{voice}:{random.choice((0.3, 0.5, 0.7))}"
    elif split == "train" and kind < 0.6:
        voice = f"{random.choice(KOKORO[split])}+{voice}:0.5"
    return Manner(voice, speed, random.uniform(0.9, 1.12) if split == "train" else 1.0)
