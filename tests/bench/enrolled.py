"""Whether enrolled voices teach a sixth of their kind: python -m tests.bench.enrolled.

Six voices made of one that no head was trained on, SVOX Pico's, play the colleagues: each says the phrase
five times and the sentences that `sipagent enrol` asks for, over a line. One is left out in turn; what a head
that was trained on the others makes of it is set beside what the shipped head makes of it.
"""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import chain
from pathlib import Path
from random import Random

import click
import numpy as np
import soundfile
from numpy.random import Generator, default_rng
from scipy.signal import resample_poly

from media.frame import SAMPLE_RATE, Samples
from media.hearing.embedding import OTHER
from media.hearing.keyword import Meaning
from media.hearing.spotter import HEADS, Spotter
from media.training.enrolled import EnrolledPerson, Saying, enrolled, usable, write_person
from media.training.language import language
from media.training.lines import PhoneLine, Waveform, carry
from media.training.own import KEYWORD, NEAR, USUAL, PhraseMaterial
from media.training.speech import Amounts, texts_of
from media.training.voices import RATE, Manner, Pico
from sipagent.cli.terminal import steps
from sipagent.enrol.driver import script
from sipagent.voice.detectors import hear
from sipagent.voice.own_keyword import LINES, PROMPTS, CheckedUtterance, Rate, train
from tests.bench import report
from tests.bench.report import Row

SAID = 5
ASKED, ASKED_NEAR = 20, 12
"""How often who is left out says the phrase besides, and how many sentences; how many that sound like it."""
QUIET = np.zeros(SAMPLE_RATE // 2)
PICO = (
    *((0.62, 0.86, 1.05), (0.75, 0.92, 0.9), (0.88, 0.97, 1.15)),
    *((1.0, 1.0, 1.0), (1.15, 1.06, 0.95), (1.35, 1.14, 1.1)),
)
"""Six persons of one voice: factors of pitch, vocal tract (more is a smaller head) and speed."""
FRENCH, PHRASE = language("fr"), "je refuse"


def say(text: str, person: int, random: Random) -> Waveform:
    """(n,) at RATE, of a text said by the person with a number, a little otherwise each time."""
    pitch, tract, speed = PICO[person]
    manner = Manner(FRENCH.pico, speed * random.uniform(0.92, 1.08), 1.0)
    return _other(Pico().say(text, manner) / 32768, pitch * random.uniform(0.94, 1.06), tract)


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


def lend(folder: Path) -> None:
    """A folder as `sipagent enrol` leaves it."""
    asked, now = script([PHRASE], FRENCH.code), datetime.now(UTC)
    for number in range(len(PICO)):
        random, noise = Random(number), default_rng(number)
        place = folder / f"person_{number}"
        place.mkdir(parents=True)
        said: list[tuple[str, str | None]] = [(PHRASE, PHRASE)] * SAID
        said += [(step.text, None) for step in asked.steps if step.phrase is None]
        sayings = []
        for count, (text, phrase) in enumerate(said):
            sound = _over(say(_sentence(text), number, random), _quiet_line(noise), noise)
            soundfile.write(place / f"{count:02d}.wav", sound, SAMPLE_RATE, "PCM_16")
            sayings.append(Saying(f"{count:02d}.wav", text, phrase))
        person = EnrolledPerson(
            place, place.name, FRENCH.code, "200", now, now + timedelta(days=1), tuple(sayings)
        )
        write_person(place, person)


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


By = tuple[CheckedUtterance, ...]
"""What detectors made of one utterance, by COLUMNS."""


def ask(folder: Path, number: int) -> list[By]:
    """Ask a person who was left out of the training of `folder/without/NUMBER`."""
    own = folder / "without" / str(number)
    random, noise = Random(f"asked {number}"), default_rng(1000 + number)
    detectors = (
        *(Spotter([PHRASE], []), Spotter([PHRASE], [], own)),
        Spotter([PHRASE], [], HEADS, own=own),
    )
    texts = [(PHRASE, KEYWORD)] * ASKED
    for said, sentences, most in (
        (OTHER, list(texts_of(FRENCH.talk, "test")), ASKED),
        (NEAR, list(texts_of(FRENCH.near, "test")), ASKED_NEAR),
    ):
        texts += [(text, said) for text in random.sample(sentences, min(most, len(sentences)))]
    found = []
    for count, (text, said) in enumerate(texts):
        line, snr_db = LINES[count % len(LINES)]
        sound = say(_sentence(text), number, random)
        arrived = _over(sound, PhoneLine(noise="pink", snr_db=snr_db), noise)
        meanings = (hear(each, arrived).verdict.meaning for each in detectors)
        found.append(tuple(CheckedUtterance(said, "pico", line, meaning) for meaning in meanings))
    return found


COLUMNS = ("shipped head", "head with the others' voices", "both, as on a call")
ROWS: tuple[tuple[str, str, str, set[Meaning]], ...] = (
    *(("recall", KEYWORD, "", {Meaning.REFUSE}), ("recall, clean", KEYWORD, "clean", {Meaning.REFUSE})),
    ("recall, 20 dB", KEYWORD, "20 dB", {Meaning.REFUSE}),
    ("refuse or unclear", KEYWORD, "", {Meaning.REFUSE, Meaning.UNCLEAR}),
    ("other sentences that refuse", OTHER, "", {Meaning.REFUSE}),
    ("other sentences unclear", OTHER, "", {Meaning.UNCLEAR}),
    ("what sounds like it refuses", NEAR, "", {Meaning.REFUSE}),
)
"""The name of a row, what is said, over which line, and the meanings that count."""


def rows(amounts: Amounts, styles: Path) -> Iterator[Row]:
    """In per cent, by which head; Wilson's interval of 95 % is in the name."""
    with tempfile.TemporaryDirectory(prefix="sipagent-bench-") as scratch, steps(many=1) as step:
        folder = Path(scratch)
        lend(folder / "lent")
        used, _ = usable(enrolled(folder / "lent"), PHRASE, FRENCH.code, datetime.now(UTC))
        prompts = tuple(sorted((PROMPTS / FRENCH.code).glob("notice.wav")))
        trained = train(PHRASE, FRENCH, folder, PhraseMaterial(styles, prompts, amounts, tuple(used)), step)
        with ProcessPoolExecutor(1) as pool:
            parts = list(pool.map(partial(ask, folder), range(len(PICO))))
    for column, heard in zip(COLUMNS, zip(*chain(*parts), strict=True), strict=True):
        for name, said, line, counts in ROWS:
            of = [one.meaning in counts for one in heard if one.said == said and line in ("", one.line)]
            yield _row(f"{column}: {name}", Rate(sum(of), len(of)))
    check = trained.check
    yield _row("held-back synthetic voices: recall", check.recall)
    yield _row("held-back synthetic voices: false refusals", check.false_refusals)


def _row(name: str, rate: Rate) -> Row:
    low, high = rate.interval or (0.0, 1.0)
    return Row(f"{name} ({low:.0%} to {high:.0%})", 100 * (rate.share or 0.0), None, "%", count=rate.count)


@click.command()
@click.option("--share", default=1.0, show_default=True, help="of the usual synthetic material")
@click.option("--rounds", type=int, help="batches of each training; else as usual for that share")
@click.option("--styles", type=click.Path(path_type=Path), default=Path("package/voices"))
@report.as_json_option
def main(*, share: float, rounds: int | None, styles: Path, as_json: bool) -> None:
    """Measure what a colleague reaches whom the head was not trained on."""
    amounts = USUAL.share(share)
    if rounds:
        amounts = replace(amounts, rounds=rounds)
    title = f"{len(PICO)} voices say {PHRASE!r}, each heard without it"
    report.finish(title, as_json, {"pico": lambda: rows(amounts, styles)})


if __name__ == "__main__":
    main()
