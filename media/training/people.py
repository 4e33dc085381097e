"""People's recordings that refuse nothing, from Debian's packages; a whole folder is of one split."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import soundfile

from media.frame import SAMPLE_RATE
from media.hearing.head import OTHER

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
    """What the agent says in a language, but for notices: these tell how to refuse, in words that refuse."""
    return [path for path in sorted((folder / language).glob("*.wav")) if not path.stem.startswith("notice")]


def copy_own_prompts(prompts: Path, language: str, sounds: Path) -> Iterator[str]:
    """Have them among what heads are trained on, where there are some; `sounds`: a folder of splits."""
    if own := own_prompts(prompts, language):
        yield from copy_once(sounds / "train" / "prompts", partial(copy_prompts, own))


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
