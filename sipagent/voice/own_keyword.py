"""A head for the service's own keyword: made, checked on other voices as on a call, installed.

    train ──▶ media.training.own, in a scratch folder, by several processes ──▶ Trained ──▶ why_not, install
       └ with colleagues' voices: some of them left out at a time, and heard by a head that never knew them

A head that fails its check is never installed, nor half a head: its file is written last, and whole. What
the check found, and whether the head may be used (`Check`, `why_not`), is pure.
"""

import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from functools import partial
from math import sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

import prompts
from media.frame import SAMPLE_RATE
from media.hearing.embedding import OTHER, EmbeddingUnavailable, Head, save_head
from media.hearing.keyword import Meaning
from media.hearing.spotter import HEADS, Spotter, known_heads, plain
from media.training import processes
from prompts.speak import PhonemeError, VoiceError
from retention.texts import Reason, WithReason
from sipagent.voice.detectors import hear, read_sound

if TYPE_CHECKING:
    from media.training.language import Language
    from media.training.own import PhraseMaterial, PhraseQuestions
    from media.training.speech import Split, SpokenFile

LINES: tuple[tuple[str, float | None], ...] = (("clean", None), ("20 dB", 20.0))
SYNTHETIC = ("espeak", "kokoro", "festival", "mbrola")
"""Synthesizers with other voices used in training: the check is about their recall."""
SURE = 1.959964
"""Of the normal distribution, for intervals of 95 %."""


@dataclass(frozen=True, slots=True)
class CheckedUtterance:
    """One utterance of the check: `said` is KEYWORD, NEAR or OTHER, `source` whose voice it was.

    `together`: its meaning with the shipped head beside the new one, if that knows the phrase, too.
    """

    said: str
    source: str
    line: str
    meaning: Meaning
    together: Meaning | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """How many of some utterances refuse."""

    refused: int
    count: int

    @property
    def share(self) -> float | None:
        """0.0 to 1.0; None of nothing."""
        return self.refused / self.count if self.count else None

    def __format__(self, spec: str) -> str:
        """The share, 0 of nothing."""
        return format(self.share or 0.0, spec)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Within which the share of many more lies, with 95 % certainty, by Wilson's formula."""
        if (share := self.share) is None:
            return None
        size, spread = (
            1 + SURE**2 / self.count,
            share * (1 - share) / self.count + (SURE / self.count / 2) ** 2,
        )
        middle, reach = (share + SURE**2 / self.count / 2) / size, SURE * sqrt(spread) / size
        return max(0.0, middle - reach), min(1.0, middle + reach)


@dataclass(frozen=True, slots=True)
class Check:
    """What a head made of voices that it was not trained on: of synthesizers, or of colleagues."""

    heard: tuple[CheckedUtterance, ...] = field(repr=False)

    def rate(self, said: str, *names: str) -> Rate:
        """Of all that is said of a kind; or of what these synthesizers say, or comes over these lines."""
        of = [each for each in self.heard if each.said == said]
        found = [each.meaning for each in of if not names or {each.source, each.line} & {*names}]
        return Rate(found.count(Meaning.REFUSE), len(found))

    @property
    def recall(self) -> Rate:
        """Of the phrase, by synthesizers that it was trained on."""
        return self.rate("keyword", *SYNTHETIC)

    @property
    def false_refusals(self) -> Rate:
        """Of ordinary speech, including people's."""
        return self.rate("other")

    @property
    def near_misses(self) -> Rate:
        """Of pieces of the phrase, and of words that sound similar."""
        return self.rate("near")

    @property
    def recalls(self) -> dict[str, float]:
        """The recall by synthesizer, and by line."""
        names = sorted({each.source for each in self.heard if each.said == "keyword"})
        found = {name: self.rate("keyword", name).share for name in (*names, *(name for name, _ in LINES))}
        return {name: share for name, share in found.items() if share is not None}

    @property
    def together(self) -> "Check | None":
        """The results with the shipped head beside the new one; None if that does not know the phrase."""
        both = [replace(each, meaning=each.together) for each in self.heard if each.together is not None]
        return Check(tuple(both)) if both else None


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a head must reach to be installed: shares, 0.0 to 1.0."""

    recall: float = 0.85
    false_refusals: float = 0.005


def why_not(check: Check, bounds: Bounds) -> str | None:
    """Why this head must not be used, in one line; None if it may."""
    recall, falsely = check.recall.share or 0.0, check.false_refusals.share
    if recall < bounds.recall:
        return Reason("it hears {0:.1%} of those who say it, and {1:.1%} is the least", recall, bounds.recall)
    if falsely is None or falsely > bounds.false_refusals:
        said = (
            Reason("nothing else was said")
            if falsely is None
            else Reason("it takes {0:.2%} of other speech for it", falsely)
        )
        return Reason("{0}, and {1:.2%} is the most", said, bounds.false_refusals)
    return None


def figures(check: Check) -> dict[str, Any]:
    """The figures as JSON for programs."""
    return {
        "recall": check.recall.share,
        "recalls": check.recalls,
        "false_refusals": check.false_refusals.share,
        "near_misses": check.near_misses.share,
        "said": check.recall.count,
        "others": check.false_refusals.count,
        "with_shipped": (both := check.together)
        and {
            "recall": both.recall.share,
            "false_refusals": both.false_refusals.share,
            "recalls": both.recalls,
        },
    }


def figures_of_strangers(strangers: Check | None) -> dict[str, Any] | None:
    """The figures of colleagues who were left out, as JSON; None if nobody was."""
    if strangers is None:
        return None
    said, others = strangers.rate("keyword"), strangers.rate("other")
    return {
        "said": said.count,
        "recall": said.share,
        "recall_interval": said.interval,
        "others": others.count,
        "false_refusals": others.share,
        "false_refusals_interval": others.interval,
    }


Step = Callable[[str, int, int], None]  # what, done, total
Result = TypeVar("Result")

LEFT_OUT_SHARE, LEFT_OUT_LEAST = 0.5, 200
"""Of the batches: trainings without somebody are only for figures, and there are several."""
SPLITS: tuple["Split", ...] = ("train", "tune", "test")
PROMPTS = Path(prompts.__file__).parent
QUIET = SAMPLE_RATE // 2


class TrainingFailed(WithReason):
    """A synthesizer or a process failed; str() is one line."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A head that isn't installed yet; `synthesizers` are those that spoke, `people` how many recordings.

    `strangers`: colleagues, each heard by a head without them; None if they were too few for that.
    """

    head: Head
    check: Check
    synthesizers: tuple[str, ...]
    people: int
    rounds: int
    strangers: Check | None = None


def train(phrase: str, language: "Language", folder: Path, material: "PhraseMaterial", step: Step) -> Trained:
    """Make and check a head in `folder`, which has no other content.

    Raises media.training.own.Missing if something isn't installed, TrainingFailed.
    """
    from media.training import own
    from media.training.features import make

    speaking, rounds = own.synthesizers(language, material.styles), material.amounts.rounds
    people = _copy(folder / "sounds", material)
    own.link_voices(material.voices, phrase, folder / "sounds")
    with processes() as pool:
        shards = own.shards(phrase, language, speaking, material.amounts)
        speak = partial(_speak, language.code, folder, material.styles)
        _all([pool.submit(speak, shard) for shard in shards], "speak", step)
        spoken = [  # the check hears the other sounds as they come
            (split, place.name)
            for split in SPLITS[:2]
            for place in sorted((folder / "sounds" / split).glob("*"))
        ]
        _all([pool.submit(make, folder, *shard, 1, PROMPTS) for shard in spoken], "hear", step)
        heard = own.load_heard(language, folder / "features")
        strangers = _left_out(pool, phrase, heard, folder, material=material, step=step)
        head = own.fit_own(phrase, heard, rounds, (), partial(step, "train"))
        head = replace(head, voices=tuple(person.folder.name for person in material.voices))
        save_head(folder / "own.npz", head)
        tests = sorted((folder / "sounds" / "test").glob("*"))
        check = _checked([pool.submit(_check, folder, phrase, place) for place in tests], "check", step)
    return Trained(head, check, tuple(speaking), people, rounds, strangers)


def _checked(parts: Sequence["Future[list[CheckedUtterance]]"], what: str, step: Step) -> Check:
    return Check(tuple(each for part in _all(parts, what, step) for each in part))


def _left_out(
    pool: ProcessPoolExecutor,
    phrase: str,
    heard: "PhraseQuestions",
    folder: Path,
    *,
    material: "PhraseMaterial",
    step: Step,
) -> Check | None:
    """Each colleague heard by a head that was trained on all but them and a few others.

    The heads are in `without/N`, by the number of the first who is left out.
    """
    from media.training.enrolled import left_out
    from media.training.own import fit_own, shard_of

    usual = material.amounts.rounds
    rounds = min(usual, max(LEFT_OUT_LEAST, round(LEFT_OUT_SHARE * usual)))
    leaving, checks = left_out(len(material.voices)), []
    for turn, numbers in enumerate(leaving):
        shards = [shard_of(number) for number in numbers]
        place = folder / "without" / str(numbers[0])
        place.mkdir(parents=True)

        def told(done: int, total: int, before: int = turn) -> None:
            step("without", before * total + done, len(leaving) * total)

        save_head(place / "own.npz", fit_own(phrase, heard, rounds, shards, told))
        sounds = folder / "sounds" / "train"
        checks += [pool.submit(_check, place, phrase, sounds / shard, came=True) for shard in shards]
    return _checked(checks, "strangers", step) if checks else None


def _copy(sounds: Path, material: "PhraseMaterial") -> int:
    """Copy what needs no synthesizer; how many recordings of people."""
    from media.training.own import SHARD
    from media.training.speech import copy_people, copy_prompts, some_people

    people = 0
    for split in SPLITS:
        found = some_people(split, material.amounts)
        for shard, start in enumerate(range(0, len(found), SHARD)):
            place = sounds / split / f"people-{shard}" / OTHER
            people += copy_people(found[start : start + SHARD], place)
    copy_prompts(material.prompts, sounds / "train" / "prompts-0" / OTHER)
    return people


def install(head: Head, card: str, folder: Path, name: str) -> Path:
    """Put a head and its card where the service looks for them; its path. The head's file comes last."""
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{name}.npz"
    with tempfile.TemporaryDirectory(dir=folder, prefix=".") as scratch:  # no detector looks for heads there
        partial = Path(scratch, place.name)
        save_head(partial, head)
        folder.joinpath(f"{name}.md").write_text(card, encoding="utf-8")
        partial.replace(place)
    return place


def _speak(code: str, folder: Path, styles: Path, shard: tuple[str, list["SpokenFile"]]) -> None:
    from media.training.language import language
    from media.training.speech import Studio, speak

    list(speak(Studio(language(code), folder, styles, PROMPTS), *shard))


def _check(folder: Path, phrase: str, place: Path, came: bool = False) -> list[CheckedUtterance]:
    """Check the sounds of one source, with quiet around them: the phrase is said over each line, others over
    one. Those of a colleague `came` over a line: they are heard as they are."""
    from media.training.features import labelled, read
    from media.training.lines import PhoneLine, carry

    detector, together = Spotter([phrase], [], folder), None
    if any(phrase == plain(one) for head in known_heads() for one in head.phrases):
        together = Spotter([phrase], [], HEADS, own=folder)
    random = np.random.default_rng(sum(map(ord, place.name)))
    source, own = (place.name, (("own", None),)) if came else (place.name.rpartition("-")[0], None)
    heard = []
    for number, (said, path) in enumerate(labelled(place)):
        sound: Any = np.pad(read_sound(path) if came else read(path), QUIET)
        for name, noise in own or (LINES if said == "keyword" else LINES[number % 2 :][:1]):
            arrived = sound if came else carry(sound, PhoneLine(noise="pink", snr_db=noise), {}, random)
            meaning = hear(detector, arrived).verdict.meaning
            both = hear(together, arrived).verdict.meaning if together else None
            heard.append(CheckedUtterance(said, source, name, meaning, both))
    return heard


def _all(futures: Sequence["Future[Result]"], what: str, step: Step) -> list[Result]:
    step(what, 0, len(futures))
    try:
        for done, future in enumerate(as_completed(futures), start=1):
            future.result()
            step(what, done, len(futures))
    except BrokenProcessPool as wrong:
        raise TrainingFailed("{0}: a process was ended; is there enough memory?", what) from wrong
    except (VoiceError, PhonemeError, EmbeddingUnavailable, subprocess.CalledProcessError) as wrong:
        raise TrainingFailed("{0}: {1}", what, wrong) from wrong
    return [future.result() for future in futures]
