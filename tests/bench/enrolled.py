"""Whether enrolled voices teach a sixth of their kind: python -m tests.bench.enrolled [--kind pico].

Voices of a kind that no head was trained on play the colleagues: each says the phrase five times and the
sentences that `sipagent enrol` asks for, over a line. One is left out in turn; what a head that was trained
on the others makes of it is set beside what the shipped head makes of it.
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import click
import numpy as np
import soundfile
from numpy.random import Generator, default_rng
from rich.console import Console
from rich.table import Table
from scipy.signal import resample_poly

from media.frame import SAMPLE_RATE, Samples
from media.hearing.embedding import OTHER
from media.hearing.keyword import Meaning
from media.hearing.spotter import HEADS, Spotter
from media.training.enrolled import EnrolledPerson, Saying, enrolled, usable, write_person
from media.training.language import Language, language
from media.training.lines import PhoneLine, Waveform, carry
from media.training.own import KEYWORD, NEAR, USUAL, PhraseMaterial
from media.training.speech import texts_of
from media.training.voices import RATE, Manner, Pico
from sipagent.cli.terminal import steps
from sipagent.enrol.script import script
from sipagent.voice.detectors import hear
from sipagent.voice.own_keyword import (
    LINES,
    PROMPTS,
    CheckedUtterance,
    Rate,
    figures,
    figures_of_strangers,
    train,
)

SAID = 5
ASKED, ASKED_NEAR = 20, 12
"""How often who is left out says the phrase besides, and how many sentences; how many that sound like it."""
QUIET = np.zeros(SAMPLE_RATE // 2)
PICO = (
    *((0.62, 0.86, 1.05), (0.75, 0.92, 0.9), (0.88, 0.97, 1.15)),
    *((1.0, 1.0, 1.0), (1.15, 1.06, 0.95), (1.35, 1.14, 1.1)),
)
"""Six persons of one voice: factors of pitch, vocal tract (more is a smaller head) and speed."""
FLITE = ("awb", "kal16", "rms", "slt")


@dataclass(frozen=True, slots=True)
class Kind:
    """Voices of one kind: `say` gives (n,) at RATE, of a text said by the person with a number, a little
    otherwise each time."""

    language: str
    phrase: str
    persons: int
    say: Callable[[str, int, Random], Waveform]


def _pico(text: str, person: int, random: Random) -> Waveform:
    pitch, tract, speed = PICO[person]
    manner = Manner(language("fr").pico, speed * random.uniform(0.92, 1.08), 1.0)
    return _other(Pico().say(text, manner) / 32768, pitch * random.uniform(0.94, 1.06), tract)


def _flite(text: str, person: int, random: Random) -> Waveform:
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        stretch = f"duration_stretch={random.uniform(0.9, 1.15):.3f}"
        command = ["flite", "-voice", FLITE[person], "--setf", stretch, "-t", text, "-o", file.name]
        subprocess.run(command, check=True, capture_output=True)
        sound, rate = soundfile.read(file.name, dtype="float64")
    return np.asarray(resample_poly(sound, RATE, rate))


KINDS = {
    "pico": Kind("fr", "je refuse", len(PICO), _pico),
    "flite": Kind("en", "i refuse", len(FLITE), _flite),
}


def _other(sound: Waveform, pitch: float, tract: float) -> Waveform:
    """A sound as somebody else would say it, made with the vocoder WORLD."""
    import pyworld

    melody, envelope, breath = pyworld.wav2world(np.ascontiguousarray(sound), RATE)
    bins = np.arange(envelope.shape[1])
    warped = np.stack([np.interp(bins / tract, bins, frame) for frame in np.log(envelope)])
    made = pyworld.synthesize(melody * pitch, np.ascontiguousarray(np.exp(warped)), breath, RATE)
    return np.asarray(made)


def _quiet_line(random: Generator) -> PhoneLine:
    """As from a desk, where somebody takes the time to enrol."""
    return PhoneLine(
        level_dbfs=random.uniform(-30, -16),
        noise="pink",
        snr_db=None if random.random() < 0.5 else random.uniform(20, 35),
        tilt_db=random.uniform(-2, 2),
        loss=0.0 if random.random() < 0.5 else random.uniform(0, 0.01),
    )


def _over(said: Waveform, line: PhoneLine, noise: Generator) -> Samples:
    sound = np.asarray(resample_poly(said, SAMPLE_RATE, RATE))
    return carry(np.concatenate([QUIET, sound, QUIET]), line, {}, noise)


def lend(kind: Kind, folder: Path) -> None:
    """A folder as `sipagent enrol` leaves it."""
    asked, now = script([kind.phrase], kind.language), datetime.now(UTC)
    for number in range(kind.persons):
        random, noise = Random(number), default_rng(number)
        place = folder / f"person_{number}"
        place.mkdir(parents=True)
        said: list[tuple[str, str | None]] = [(kind.phrase, kind.phrase)] * SAID
        said += [(step.text, None) for step in asked.steps if step.phrase is None]
        sayings = []
        for count, (text, phrase) in enumerate(said):
            sound = _over(kind.say(_sentence(text), number, random), _quiet_line(noise), noise)
            soundfile.write(place / f"{count:02d}.wav", sound, SAMPLE_RATE, "PCM_16")
            sayings.append(Saying(f"{count:02d}.wav", text, phrase))
        person = EnrolledPerson(
            place, place.name, kind.language, "200", now, now + timedelta(days=1), tuple(sayings)
        )
        write_person(place, person)


def _sentences(spoken: Language, split: Any) -> list[str]:
    """Of what callers say, without what is near to a refusal."""
    return list(texts_of(spoken.talk, split))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


By = tuple[CheckedUtterance, ...]
"""What detectors made of one utterance, by COLUMNS."""


def ask(name: str, folder: Path, number: int) -> list[By]:
    """Ask a person who was left out of the training of `folder/without/NUMBER`."""
    kind, own = KINDS[name], folder / "without" / str(number)
    random, noise = Random(f"asked {number}"), default_rng(1000 + number)
    detectors = (
        *(Spotter([kind.phrase], []), Spotter([kind.phrase], [], own)),
        Spotter([kind.phrase], [], HEADS, own=own),
    )
    spoken = language(kind.language)
    texts = [(kind.phrase, KEYWORD)] * ASKED
    for said, sentences, most in (
        (OTHER, _sentences(spoken, "test"), ASKED),
        (NEAR, list(texts_of(spoken.near, "test")), ASKED_NEAR),
    ):
        texts += [(text, said) for text in random.sample(sentences, min(most, len(sentences)))]
    found = []
    for count, (text, said) in enumerate(texts):
        line, snr_db = LINES[count % len(LINES)]
        sound = kind.say(_sentence(text), number, random)
        arrived = _over(sound, PhoneLine(noise="pink", snr_db=snr_db), noise)
        meanings = (hear(each, arrived).verdict.meaning for each in detectors)
        found.append(tuple(CheckedUtterance(said, name, line, meaning) for meaning in meanings))
    return found


COLUMNS = {"before": "shipped head", "alone": "head with the others' voices", "after": "both, as on a call"}
ROWS: tuple[tuple[str, str, str, set[Meaning]], ...] = (
    *(("recall", KEYWORD, "", {Meaning.REFUSE}), ("  clean", KEYWORD, "clean", {Meaning.REFUSE})),
    ("  20 dB", KEYWORD, "20 dB", {Meaning.REFUSE}),
    ("refuse or unclear", KEYWORD, "", {Meaning.REFUSE, Meaning.UNCLEAR}),
    ("other sentences that refuse", OTHER, "", {Meaning.REFUSE}),
    ("other sentences unclear", OTHER, "", {Meaning.UNCLEAR}),
    ("what sounds like it refuses", NEAR, "", {Meaning.REFUSE}),
)
"""The name of a row, what is said, over which line, and the meanings that count."""


def rate(heard: Iterable[CheckedUtterance], said: str, line: str, meanings: set[Meaning]) -> Rate:
    of = [each.meaning in meanings for each in heard if each.said == said and line in ("", each.line)]
    return Rate(sum(of), len(of))


@click.command()
@click.option("--kind", type=click.Choice(tuple(KINDS)), default="pico", show_default=True)
@click.option("--share", default=1.0, show_default=True, help="of the usual synthetic material")
@click.option("--rounds", type=int, help="batches of each training; else as usual for that share")
@click.option("--styles", type=click.Path(path_type=Path), default=Path("package/voices"))
@click.option("--json", "as_json", is_flag=True, help="one JSON object instead of a table")
def main(*, kind: str, share: float, rounds: int | None, styles: Path, as_json: bool) -> None:
    """Measure what a colleague reaches whom the head was not trained on."""
    chosen = KINDS[kind]
    if kind == "flite" and shutil.which("flite") is None:
        raise click.ClickException("--kind flite: needs flite (apt install flite)")
    spoken, amounts = language(chosen.language), USUAL.share(share)
    with tempfile.TemporaryDirectory(prefix="sipagent-bench-") as scratch, steps(many=1) as step:
        folder = Path(scratch)
        lend(chosen, folder / "lent")
        used, _ = usable(enrolled(folder / "lent"), chosen.phrase, spoken.code, datetime.now(UTC))
        prompts = tuple(sorted((PROMPTS / spoken.code).glob("notice.wav")))
        if rounds:
            amounts = replace(amounts, rounds=rounds)
        material = PhraseMaterial(styles, prompts, amounts, tuple(used))
        trained = train(chosen.phrase, spoken, folder, material, step)
        with ProcessPoolExecutor(1) as pool:
            asked = [
                each for part in pool.map(partial(ask, kind, folder), range(chosen.persons)) for each in part
            ]
    found = {
        column: {row: rate(heard, said, line, counts) for row, said, line, counts in ROWS}
        for column, heard in zip(COLUMNS, zip(*asked, strict=True), strict=True)
    }
    if as_json:
        told = {
            column: {
                row.strip(): {"share": rate.share, "interval": rate.interval, "count": rate.count}
                for row, rate in every.items()
            }
            for column, every in found.items()
        }
        others = {"enrolled": figures_of_strangers(trained.strangers), "check": figures(trained.check)}
        click.echo(json.dumps({"kind": kind, **told, **others}, indent=1))
        return
    table = Table(title=f"{chosen.persons} {kind} voices say {chosen.phrase!r}, each heard without it")
    for title in ("", *COLUMNS.values()):
        table.add_column(title)
    for row in found["before"]:
        table.add_row(row, *(_shown(found[column][row]) for column in COLUMNS))
    Console().print(table)
    check = trained.check
    click.echo(f"held-back synthetic voices: {check.recall:.1%} heard, {check.false_refusals:.2%} false")


def _shown(rate: Rate) -> str:
    if rate.share is None or rate.interval is None:
        return ""
    low, high = rate.interval
    return f"{rate.share:.0%} of {rate.count} ({low:.0%} to {high:.0%})"


if __name__ == "__main__":
    main()
