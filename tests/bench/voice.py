"""How well refusals that are spoken are heard: python -m tests.bench.voice [--lang LANG --folder FOLDER].

Speakers that no head was trained on say the phrases and everything else, over lines with noise and loss, and
people's recordings, which refuse nothing, come besides: FOLDER/sounds/test, which `python -m media.training`
makes. No person refuses in it: recall is that on synthetic callers.
"""

import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.random import default_rng
from rich.console import Console
from rich.progress import track
from rich.table import Table

from media.frame import SAMPLE_RATE, Samples
from media.hearing.detectors import load_detector
from media.hearing.head import OTHER
from media.hearing.keyword import Detector, Meaning, Verdict
from media.training.channel import Noise, PhoneLine, Sound, carry
from media.training.features import backgrounds, labelled, read
from media.training.language import LANGUAGES, Language, language
from media.training.speech import label
from sipagent.voice.detection import Detected, hear
from tests.bench.echoes import LOSSES_DB, Echoes

FRENCH_REST = ("arrêtez l'enregistrement", "je ne veux pas être enregistré")
"""What the French head hears beside the phrases that the figures to be reached are of."""
PROMPTS = Path(__file__).parents[2] / "prompts"
CONDITIONS: tuple[tuple[str, Noise, float | None, float], ...] = (
    ("clean", "pink", None, 0.0),
    ("20 dB", "pink", 20.0, 0.01),
    ("20 dB babble", "babble", 20.0, 0.0),
    ("10 dB", "pink", 10.0, 0.03),
    ("10 dB babble", "babble", 10.0, 0.01),
)
SAID_OVER = 3  # voices of each synthesizer that say each phrase over the notice
TAIL = int(0.8 * SAMPLE_RATE)
LOADING = """
import json, os, resource, sys, time
def resident():
    lines = open("/proc/self/smaps_rollup").read().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Rss")) / 1024
import numpy, media.keyword
before, since = resident(), time.perf_counter()
detector = media.hearing.detectors.load_detector("embedding", sys.argv[1:])
detector.judge(numpy.zeros(20000, dtype=numpy.int16))
print(json.dumps([time.perf_counter() - since, resident() - before]))
"""


@dataclass(frozen=True, slots=True)
class Case:
    """One utterance as it was heard; `said` is the label of its phrase, or other; `end_ms`: of its speech."""

    source: str
    said: str
    condition: str
    heard: Detected
    end_ms: int

    @property
    def meaning(self) -> Meaning:
        return self.heard.verdict.meaning

    @property
    def late_ms(self) -> int | None:
        """From the end of what was said to the refusal; None where none was heard."""
        if self.meaning is not Meaning.REFUSE or self.heard.spotted_ms is None:
            return None
        return self.heard.spotted_ms - self.end_ms


@dataclass(frozen=True, slots=True)
class Row:
    """A figure as a text, beside what is to be reached; `value` is the same for programs."""

    name: str
    value: float | None
    shown: str
    aim: str


class Ground:
    """The sounds that are measured on, and the lines that they come over."""

    def __init__(self, folder: Path, sources: list[str], limit: int) -> None:
        self.sounds = {source: labelled(folder / "sounds" / "test" / source)[:limit] for source in sources}
        others = [path for found in self.sounds.values() for said, path in found if said == OTHER]
        if not others:
            raise click.ClickException(
                f"{folder}: no sounds to measure on; see python -m media.training --help"
            )
        self._backgrounds = backgrounds(others[:300], PROMPTS, default_rng(3))
        self._random = default_rng(7)

    def arrives(self, sound: Sound, line: PhoneLine) -> Samples:
        return carry(sound, line, self._backgrounds, self._random)

    def cases(self, detector: Detector, only: Iterable[str] = ()) -> Iterator[Case]:
        """Every utterance once, or those of some labels, each over the next of the conditions."""
        conditions, labels = _lines(), set(only)
        for source, every in self.sounds.items():
            found = [(said, path) for said, path in every if said in labels or not labels]
            for said, path in track(found, source, console=Console(stderr=True)):
                name, line = next(conditions)
                sound = np.concatenate([np.zeros(SAMPLE_RATE // 2), read(path), np.zeros(TAIL)])
                end = (len(sound) - TAIL - 240) * 1000 // SAMPLE_RATE
                yield Case(source, said, name, hear(detector, self.arrives(sound, line)), end)

    def unbroken(self, detector: Detector) -> float:
        """CPU s per second of somebody who talks for some minutes without a pause."""
        found = [read(path) for said, path in self.sounds[next(iter(self.sounds))] if said == OTHER]
        talk = np.concatenate(found)[: 180 * SAMPLE_RATE]
        heard = hear(detector, self.arrives(talk, PhoneLine(noise="babble", snr_db=15.0)))
        return heard.cpu_s / heard.duration_s

    def conversation(self, detector: Detector, source: str) -> Detected:
        """All that doesn't refuse, in one long call with short pauses."""
        pieces: list[Sound] = []
        for said, path in self.sounds[source]:
            if said == OTHER:
                pieces += [read(path), np.zeros(int(self._random.uniform(0.2, 1.2) * SAMPLE_RATE))]
        return hear(detector, self.arrives(np.concatenate(pieces), PhoneLine(noise="pink", snr_db=20.0)))

    def echoes(self, spoken: Language) -> tuple[Echoes, list[Path]]:
        """Of the language's notices; and refusals of several voices to say over them."""
        found = [
            path
            for source in self.sounds
            for phrase in _window(spoken)
            for path in [path for said, path in self.sounds[source] if said == label(phrase)][:SAID_OVER]
        ]
        first = {path.parent.name: path for path in found}
        return Echoes(PROMPTS / spoken.code, list(first.values()), self.arrives), found


def _lines() -> Iterator[tuple[str, PhoneLine]]:
    while True:
        for name, noise, snr, loss in CONDITIONS:
            yield name, PhoneLine(noise=noise, snr_db=snr, loss=loss, codec="alaw")


def _window(spoken: Language) -> tuple[str, ...]:
    """What is listened for before the bridge: what would be configured."""
    return tuple(phrase for phrase in spoken.refusing if spoken.code != "fr" or phrase not in FRENCH_REST)


def _loads(window: Iterable[str]) -> tuple[float, float]:
    """Seconds, and MB of memory, of which processes share the libraries' code."""
    command = [sys.executable, "-c", LOADING, *window]
    seconds, megabytes = json.loads(
        subprocess.run(command, capture_output=True, text=True, check=True).stdout
    )
    return float(seconds), float(megabytes)


def _share(part: Iterable[Any], whole: Iterable[Any]) -> float:
    """In per cent; NaN of nothing."""
    found, all_of = len(list(part)), len(list(whole))
    return 100 * found / all_of if all_of else float("nan")


def _recall(cases: list[Case]) -> float:
    return _share([case for case in cases if case.meaning is Meaning.REFUSE], cases)


def _by(cases: list[Case], key: str) -> dict[str, list[Case]]:
    groups: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        groups[getattr(case, key)].append(case)
    return groups


def _refused(verdicts: Iterable[Verdict]) -> int:
    return sum(verdict.meaning is Meaning.REFUSE for verdict in verdicts)


def rows(spoken: Language, ground: Ground, window: Detector, in_call: Detector, echoes: int) -> Iterator[Row]:
    """The figures, in the order of the table."""
    phrases = _window(spoken)
    cases = list(ground.cases(window))
    wanted = {label(phrase): phrase for phrase in phrases}
    said = [case for case in cases if case.said in wanted]
    others = [case for case in cases if case.said == OTHER]
    people = [case for case in others if case.source == "people"]
    yield _percent(f"recall, {spoken.name} configured phrases", _recall(said), f"≥ 95 % ({len(said)})")
    for key in ("condition", "source"):
        for name, group in sorted(_by(said, key).items()):
            yield _percent(f"  {name}", _recall(group), f"({len(group)})")
    by_phrase = {wanted[name]: _recall(group) for name, group in _by(said, "said").items()}
    for phrase, recall in sorted(by_phrase.items(), key=lambda pair: pair[1]):
        yield _percent(f"  {phrase}", recall, "≥ 88 %")
    wrong = [case for case in people if case.meaning is Meaning.REFUSE]
    yield _percent("false refusals per utterance, people", _share(wrong, people), f"≤ 0.5 % ({len(people)})")
    synthetic = [case for case in others if case.source != "people"]
    wrong = [case for case in synthetic if case.meaning is Meaning.REFUSE]
    yield _percent("  synthetic callers", _share(wrong, synthetic), f"({len(synthetic)})")
    unclear = [case for case in others if case.meaning is Meaning.UNCLEAR]
    yield _percent("unclear, of what doesn't refuse", _share(unclear, others), "≤ 3 %")
    for name, detector, aim in (("window", window, "≤ 1"), ("in-call", in_call, "≤ 0.1")):
        talks = [ground.conversation(detector, source) for source in ground.sounds]
        hours = sum(talk.duration_s for talk in talks) / 3600
        count = sum(_refused(talk.verdicts) for talk in talks)
        shown = f"{count / hours:.2f} ({count} in {hours:.2f} h)"
        yield Row(f"false refusals per hour of talk, {name} keywords", count / hours, shown, aim)
    yield from _other_words(spoken, ground, in_call)
    yield from _latencies("end of utterance to the refusal, p95", said, "≤ 250 ms")
    for name, group in sorted(_by(said, "condition").items()):
        yield from _latencies(f"  {name}", group, "")
    cpu = ground.unbroken(window)
    yield Row("CPU per second of somebody who never pauses", cpu, f"{cpu:.4f} s", "≤ 0.02 s")
    cpu = 60 * ground.unbroken(in_call)
    yield Row("  the same in the call, per minute", cpu, f"{cpu:.2f} s", "≤ 0.25 s")
    seconds, megabytes = _loads(phrases)
    yield Row("loading", seconds, f"{seconds:.2f} s", "≤ 2 s")
    yield Row("memory", megabytes, f"{megabytes:.0f} MB", "≤ 150 MB")
    yield from _echoes(spoken, ground, window, echoes)


def _other_words(spoken: Language, ground: Ground, in_call: Detector) -> Iterator[Row]:
    """Those that refuse during the call, and those that accept in the mode "opt_in"."""
    named = list(ground.cases(in_call, map(label, spoken.in_call)))
    yield _percent("recall in the call, phrases that name the recording", _recall(named), f"({len(named)})")
    asked = load_detector("embedding", _window(spoken), tuple(spoken.accepting))
    assert asked is not None
    for name, phrases in (
        ("acceptance heard, in the mode opt_in", spoken.accepting),
        ("  a refusal taken for it", spoken.refusing),
    ):
        cases = list(ground.cases(asked, map(label, phrases)))
        accepted = [case for case in cases if case.meaning is Meaning.ACCEPT]
        yield _percent(name, _share(accepted, cases), f"({len(cases)})")


def _echoes(spoken: Language, ground: Ground, window: Detector, count: int) -> Iterator[Row]:
    """Where there are notices in the language."""
    if not (PROMPTS / spoken.code / "notice_voice.wav").exists():
        return
    echoes, refusals = ground.echoes(spoken)
    alone = track(echoes.alone(window, count), "echo", count, console=Console(stderr=True))
    means = Counter(verdict.meaning for verdict in alone)
    fooled = means[Meaning.REFUSE]
    shown = f"{fooled} of {count}, {means[Meaning.UNCLEAR]} unclear"
    yield Row("the notice's own echo, 6 to 40 dB", float(fooled), shown, "0 of 200")
    for loss_db in (None, *LOSSES_DB):
        over = echoes.over_it(window, refusals, loss_db)
        name = "refusals said over the notice" + (f", its echo at {loss_db} dB" if loss_db else ", no echo")
        share, unclear, raw = (100 * n / over.count for n in (over.heard, over.unclear, over.heard_raw))
        shown = f"{share:.0f} %, {unclear:.0f} % unclear ({raw:.0f} % if the echo were left)"
        yield Row(name, share, shown, f"({over.count})")


def _latencies(name: str, cases: list[Case], aim: str) -> Iterator[Row]:
    """Of those that were heard, if any were."""
    late = [case.late_ms for case in cases if case.late_ms is not None]
    if late:
        p50, p95 = np.percentile(late, (50, 95))
        yield Row(name, float(p95), f"{p95:.0f} ms (median {p50:.0f} of {len(late)})", aim)


def _percent(name: str, value: float, aim: str) -> Row:
    return Row(name, value, f"{value:.2f} %", aim)


@click.command()
@click.option("--lang", type=click.Choice(LANGUAGES), default="fr", show_default=True)
@click.option(
    "--folder", type=click.Path(path_type=Path), help="sounds of this language; voice-training/LANG"
)
@click.option("--limit", default=100_000, help="at most so many utterances of a source")
@click.option("--echoes", default=200, show_default=True, help="how often the notice comes back")
@click.option("--json", "as_json", is_flag=True, help="one JSON object instead of a table")
def main(*, lang: str, folder: Path | None, limit: int, echoes: int, as_json: bool) -> None:
    """Measure the engine "embedding" on speakers that it never heard."""
    spoken, folder = language(lang), folder or Path("voice-training", lang)
    window = load_detector("embedding", _window(spoken))
    in_call = load_detector("embedding", spoken.in_call, in_call=True)
    assert window is not None and in_call is not None
    sources = sorted(path.name for path in (folder / "sounds" / "test").glob("*"))
    found: list[Row] = []
    for row in rows(spoken, Ground(folder, sources, limit), window, in_call, echoes):
        click.echo(f"{row.name}: {row.shown}", err=True)  # it takes minutes
        found.append(row)
    if as_json:
        click.echo(json.dumps({row.name.strip(): row.value for row in found}, ensure_ascii=False, indent=1))
        return
    table = Table(title="Refusals by voice, on speakers never heard before")
    for title in ("", "measured", "to reach"):
        table.add_column(title)
    for row in found:
        table.add_row(row.name, row.shown, row.aim)
    Console().print(table)


if __name__ == "__main__":
    main()
