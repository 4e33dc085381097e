"""A head for the service's own keyword: made, checked on other voices as on a call, installed.

    train ──▶ media.training.own, in a scratch folder, by several processes ──▶ Trained ──▶ why_not, install

A head that fails its check is never installed, nor half a head: its file is written last, and whole.
"""

import multiprocessing
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

import prompts
from media.frame import SAMPLE_RATE
from media.hearing.embedding import EmbeddingUnavailable
from media.hearing.head import OTHER, Head, save
from media.hearing.keyword import Meaning
from media.hearing.spotter import Spotter
from prompts.kokoro import VoiceError
from prompts.phonemes import PhonemeError
from sipagent.voice.detection import hear

if TYPE_CHECKING:
    from media.training.language import Language
    from media.training.own import Material
    from media.training.speech import Split, SpokenFile

Step = Callable[[str, int, int], None]  # what, done, total
Result = TypeVar("Result")

SPLITS: tuple["Split", ...] = ("train", "tune", "test")
PROMPTS = Path(prompts.__file__).parent
LINES: tuple[tuple[str, float | None], ...] = (("clean", None), ("20 dB", 20.0))
QUIET = SAMPLE_RATE // 2
SYNTHETIC = ("espeak", "kokoro")
"""Synthesizers with other voices used in training: the check is about their recall."""


class TrainingFailed(Exception):
    """A synthesizer or a process failed; str() is one line."""


@dataclass(frozen=True, slots=True)
class CheckedUtterance:
    """One utterance of the check: `said` is KEYWORD, NEAR or OTHER, `source` whose voice it was."""

    said: str
    source: str
    line: str
    meaning: Meaning


@dataclass(frozen=True, slots=True)
class Check:
    """The results of a head on voices not used in training; shares are 0.0 to 1.0, None without any."""

    heard: tuple[CheckedUtterance, ...] = field(repr=False)

    @property
    def recall(self) -> float | None:
        """The share of phrases heard, of voices by synthesizers that it was trained on."""
        return _share(self._counted())

    @property
    def said(self) -> int:
        """How often those voices say the phrase."""
        return len(list(self._counted()))

    @property
    def false_refusals(self) -> float | None:
        """The share of ordinary speech taken for the phrase, including people's."""
        return _share(self._of("other"))

    @property
    def near_misses(self) -> float | None:
        """The share taken for the phrase of its pieces, and of words that sound similar."""
        return _share(self._of("near"))

    @property
    def recalls(self) -> dict[str, float]:
        """The recall by synthesizer, and by line."""
        names = sorted({each.source for each in self._of("keyword")}) + [name for name, _ in LINES]
        found = {
            name: _share(each for each in self._of("keyword") if name in (each.source, each.line))
            for name in names
        }
        return {name: share for name, share in found.items() if share is not None}

    def count(self, said: str) -> int:
        """Utterances of a kind."""
        return len(list(self._of(said)))

    def _counted(self) -> Iterator[CheckedUtterance]:
        return (each for each in self._of("keyword") if each.source in SYNTHETIC)

    def _of(self, said: str) -> Iterator[CheckedUtterance]:
        return (each for each in self.heard if each.said == said)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a head must reach to be installed: shares, 0.0 to 1.0."""

    recall: float = 0.85
    false_refusals: float = 0.005


@dataclass(frozen=True, slots=True)
class Trained:
    """A head that isn't installed yet; `synthesizers` are those that spoke, `people` how many recordings."""

    head: Head
    check: Check
    synthesizers: tuple[str, ...]
    people: int
    rounds: int


def train(phrase: str, language: "Language", folder: Path, material: "Material", step: Step) -> Trained:
    """Make and check a head in `folder`, which has no other content.

    Raises media.training.own.Missing if something isn't installed, TrainingFailed.
    """
    from media.training import own

    speaking = own.synthesizers(language, material.styles)
    people = _copy(folder / "sounds", material)
    with _processes() as pool:
        shards = own.shards(phrase, language, speaking, material.amounts)
        speak = partial(_speak, language.code, folder, material.styles)
        _all([pool.submit(speak, shard) for shard in shards], "speak", step)
        _embed_all(pool, folder, step)
        head: Head | None = None
        for done, head in own.fit_own(phrase, language, folder / "features", material.amounts.rounds):  # noqa: B007
            step("train", done, material.amounts.rounds)
        assert head is not None
        save(folder / "own.npz", head)
        tests = sorted((folder / "sounds" / "test").glob("*"))
        heard = _all([pool.submit(_check, folder, phrase, place) for place in tests], "check", step)
    check = Check(tuple(each for part in heard for each in part))
    return Trained(head, check, tuple(speaking), people, material.amounts.rounds)


def _copy(sounds: Path, material: "Material") -> int:
    """Copy what needs no synthesizer; how many recordings of people."""
    from media.training.own import SHARD, people_of
    from media.training.people import copy_people, copy_prompts

    people = 0
    for split in SPLITS:
        found = people_of(split, material.amounts)
        for shard, start in enumerate(range(0, len(found), SHARD)):
            place = sounds / split / f"people-{shard}" / OTHER
            people += sum(1 for _ in copy_people(found[start : start + SHARD], place))
    copy_prompts(material.prompts, sounds / "train" / "prompts-0" / OTHER)
    return people


def why_not(check: Check, bounds: Bounds) -> str | None:
    """Why this head must not be used, in one line; None if it may."""
    recall, falsely = check.recall or 0.0, check.false_refusals
    if recall < bounds.recall:
        return f"it hears {recall:.1%} of those who say it, and {bounds.recall:.1%} is the least"
    if falsely is None or falsely > bounds.false_refusals:
        said = (
            "nothing else was said" if falsely is None else f"it takes {falsely:.2%} of other speech for it"
        )
        return f"{said}, and {bounds.false_refusals:.2%} is the most"
    return None


def install(head: Head, card: str, folder: Path, name: str) -> Path:
    """Put a head and its card where the service looks for them; its path. The head's file comes last."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{name}.npz"
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as scratch:  # no detector looks for heads there
        partial = Path(scratch, place.name)
        save(partial, head)
        folder.joinpath(f"{name}.md").write_text(card, encoding="utf-8")
        partial.replace(place)
    return place


def _embed_all(pool: ProcessPoolExecutor, folder: Path, step: Step) -> None:
    shards = [
        (split, place.name)
        for split in SPLITS[:2]  # the check hears the other sounds as they come
        for place in sorted((folder / "sounds" / split).glob("*"))
    ]
    _all([pool.submit(_embed, folder, *shard) for shard in shards], "hear", step)


def _speak(code: str, folder: Path, styles: Path, shard: tuple[str, list["SpokenFile"]]) -> None:
    from media.training.language import language
    from media.training.speech import load_voice, write

    synthesizer, utterances = shard
    voice = load_voice(language(code), synthesizer, folder, styles)
    for utterance in utterances:
        write(voice, utterance, folder / "sounds" / utterance.path)


def _embed(folder: Path, split: str, source: str) -> None:
    from media.training.features import make

    make(folder, split, source, 1, PROMPTS)


def _check(folder: Path, phrase: str, place: Path) -> list[CheckedUtterance]:
    """Check the sounds of one source; the phrase is said over each line, others over one."""
    from media.training.channel import PhoneLine, carry
    from media.training.features import labelled, read

    detector = Spotter([phrase], [], folder)
    random = np.random.default_rng(sum(map(ord, place.name)))
    source = place.name.rpartition("-")[0]
    heard = []
    for number, (said, path) in enumerate(labelled(place)):
        sound = np.concatenate([np.zeros(QUIET), read(path), np.zeros(QUIET)])
        for name, noise in LINES if said == "keyword" else LINES[number % 2 :][:1]:
            arrived = carry(sound, PhoneLine(noise="pink", snr_db=noise), {}, random)
            heard.append(CheckedUtterance(said, source, name, hear(detector, arrived).verdict.meaning))
    return heard


def _share(heard: "Iterator[CheckedUtterance]") -> float | None:
    refused = [each.meaning is Meaning.REFUSE for each in heard]
    return sum(refused) / len(refused) if refused else None


def _all(futures: Sequence["Future[Result]"], what: str, step: Step) -> list[Result]:
    step(what, 0, len(futures))
    try:
        for done, future in enumerate(as_completed(futures), start=1):
            future.result()
            step(what, done, len(futures))
    except BrokenProcessPool as wrong:
        raise TrainingFailed(f"{what}: a process was ended; is there enough memory?") from wrong
    except (VoiceError, PhonemeError, EmbeddingUnavailable, subprocess.CalledProcessError) as wrong:
        raise TrainingFailed(f"{what}: {wrong}") from wrong
    return [future.result() for future in futures]


@contextmanager
def _processes() -> Iterator[ProcessPoolExecutor]:
    """Processes, one for each core, each with one thread; they end at once if this process is ended."""
    narrow = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    before = {name: os.environ.get(name) for name in narrow}
    os.environ.update(narrow)  # they read it when they start
    context, others = multiprocessing.get_context("spawn"), multiprocessing.active_children()
    pool = ProcessPoolExecutor(len(os.sched_getaffinity(0)), context, initializer=_ignore_interrupts)
    try:
        yield pool
    except BaseException:
        for child in multiprocessing.active_children():
            if child not in others:
                child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _ignore_interrupts() -> None:
    """Ctrl-C is for the parent process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def figures(check: Check) -> dict[str, Any]:
    """The figures as JSON for programs."""
    return {
        "recall": check.recall,
        "recalls": check.recalls,
        "false_refusals": check.false_refusals,
        "near_misses": check.near_misses,
        "said": check.said,
        "others": check.count("other"),
    }
