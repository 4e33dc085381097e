"""What is said of the cases of `make bench-voice`, row by row; shares have Wilson's interval of 95 %."""

import json
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from rich.console import Console
from rich.progress import track

from media.hearing.embedding import OTHER
from media.hearing.keyword import Detector, Meaning
from media.training.language import Language
from media.training.speech import label
from sipagent.config.tables import WORDS
from sipagent.voice.own_keyword import Rate
from tests.bench.voice_cases import LOSSES_DB, OLD_LINES, PEOPLE, PROMPTS, Case, Ground, window_phrases

NEVER_HEARD = ("mbrola", "pico")
"""The synthesizers whose voices of `test` no head learnt, nor any voice like theirs: recorded speakers."""
LOADING = """
import json, os, resource, sys, time
def resident():
    lines = open("/proc/self/smaps_rollup").read().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Rss")) / 1024
import numpy, media.hearing.detectors
before, since = resident(), time.perf_counter()
detector = media.hearing.detectors.load_detector("embedding", sys.argv[1:])
detector.judge(numpy.zeros(20000, dtype=numpy.int16))
print(json.dumps([time.perf_counter() - since, resident() - before]))
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A figure as a text, beside what is to be reached; `value` is the same for programs.

    `group`: what it is one part of, such as "line"; empty for a figure of its own. `column`: which of several
    figures of that part it is.
    """

    name: str
    value: float | None
    shown: str
    aim: str = ""
    group: str = ""
    column: str = ""

    @property
    def title(self) -> str:
        return f"{self.column}, by {self.group}: {self.name}" if self.group else self.name


class Share(Rate):
    """How many of how many; told in per cent, NaN of nothing."""

    __slots__ = ()

    @property
    def value(self) -> float:
        return float("nan") if self.share is None else 100 * self.share

    def __str__(self) -> str:
        if self.interval is None:
            return "none measured"
        low, high = self.interval
        return f"{self.value:.1f} % ({100 * low:.1f} to {100 * high:.1f}), {self.refused} of {self.count}"


@dataclass(frozen=True, slots=True)
class Listeners:
    """The detectors that are measured: for the window, the call, and both answers of the mode opt_in."""

    window: Detector
    in_call: Detector
    asked: Detector


@dataclass(frozen=True, slots=True)
class Measuring:
    """What every part of the table is made from; `cases`: all utterances, heard by the window's detector.

    `echoes`: how often the notice comes back.
    """

    spoken: Language
    ground: Ground
    listeners: Listeners
    cases: list[Case]
    echoes: int

    @property
    def phrases(self) -> dict[str, str]:
        """Those of the window, by their labels."""
        return {label(phrase): phrase for phrase in window_phrases(self.spoken)}

    @property
    def said(self) -> list[Case]:
        """In which the window's phrases were said."""
        return [case for case in self.cases if case.utterance.label in self.phrases]

    @property
    def others(self) -> list[Case]:
        """In which nothing was refused."""
        return [case for case in self.cases if case.utterance.label == OTHER]


def rows(measuring: Measuring, only: Iterable[str] = ()) -> Iterator[Row]:
    wanted = set(only) or PARTS.keys()
    for name, part in PARTS.items():
        if name in wanted:
            yield from part(measuring)


def heard(cases: Iterable[Case], *meanings: Meaning) -> Share:
    every = list(cases)
    return Share(sum(case.meaning in meanings for case in every), len(every))


def _percent(name: str, share: Share, aim: str = "", group: str = "", column: str = "") -> Row:
    return Row(name, share.value, str(share), aim, group, column)


def by(cases: Iterable[Case], key: Callable[[Case], str]) -> dict[str, list[Case]]:
    groups: dict[str, list[Case]] = defaultdict(list)
    for case in cases:
        groups[key(case)].append(case)
    return dict(sorted(groups.items()))


def promised(measuring: Measuring) -> Iterator[Row]:
    """The phrase that a notice should promise, and the shortest, by voices that no head heard; and both as
    who answers callers would count them."""
    best, short = WORDS[measuring.spoken.code]["keywords"][:2]
    never = [case for case in measuring.said if case.utterance.source in NEVER_HEARD]
    said = [case for case in never if measuring.phrases[case.utterance.label] == best]
    name = f"the promised phrase, “{best}”, voices never heard"
    yield from _recall(name, said, "≥ 95 %; ≥ 99 % or unclear", "")
    of = [case for case in never if case.utterance.source == "mbrola"]
    of = [case for case in of if measuring.phrases[case.utterance.label] == short]
    yield from _recall(f"“{short}”, MBROLA's voices", of, "≥ 80 %; ≥ 95 % or unclear", "")
    if said:
        missed = 100 - heard(said, Meaning.REFUSE, Meaning.UNCLEAR).value
        name = "of a hundred callers who say the promised phrase, recorded all the same"
        yield Row(name, missed, f"{missed:.1f}")
    lost, asked = (heard(measuring.others, meaning).value for meaning in (Meaning.REFUSE, Meaning.UNCLEAR))
    name = "of a hundred who say something else, not recorded for it"
    yield Row(name, lost, f"{lost:.1f}, and {asked:.1f} are asked once more")


def recalls(measuring: Measuring) -> Iterator[Row]:
    """All, by kind of voice, then by line, synthesizer, phrase and speaker."""
    said = measuring.said
    yield from _recall("recall, all kinds and lines", said, "", "")
    kinds = by(said, lambda case: case.utterance.kind)
    yield from _recall("recall, other voices of known kinds", kinds.get("known", []), "≥ 97 %", "")
    yield from _recall(
        "recall, kinds of voice never trained on", kinds.get("unknown", []), "≥ 75 %; ≥ 90 % or unclear", ""
    )
    for name, old in (("the five lines of A-law", True), ("the seven of today", False)):
        of = [case for case in said if (case.line in OLD_LINES) is old]
        yield from _recall(f"recall, {name}", of, "", "")
    for kind, of in kinds.items():
        babble = [case for case in of if case.line == "10 dB babble"]
        yield from _recall(f"recall, babble at 10 dB, {kind} kinds", babble, "≥ 80 %", "")
    for group, key in (
        ("line", lambda case: case.line),
        ("synthesizer", lambda case: case.utterance.source),
        ("phrase", lambda case: measuring.phrases[case.utterance.label]),
        ("speaker", lambda case: case.utterance.speaker),
    ):  # type: tuple[str, Callable[[Case], str]]
        for name, of in by(said, key).items():
            yield from _recall(name, of, "", group)


def _recall(name: str, cases: list[Case], aim: str, group: str) -> Iterator[Row]:
    """Refused, and what is at least asked about again; of nothing no row."""
    if cases:
        either = heard(cases, Meaning.REFUSE, Meaning.UNCLEAR)
        row = _percent(name, heard(cases, Meaning.REFUSE), aim, group, "recall")
        yield replace(row, shown=f"{row.shown}; or unclear {either.value:.1f} %")


def false_refusals(measuring: Measuring) -> Iterator[Row]:
    others = measuring.others
    people = [case for case in others if case.utterance.source == PEOPLE]
    near = [case for case in others if case.utterance.said.text in measuring.ground.near]
    rest = [case for case in others if case not in people and case not in near]
    for name, cases, aim in (
        ("people", people, "≤ 0.2 %"),
        ("near sentences", near, "≤ 0.5 %"),
        ("other synthetic sentences", rest, ""),
    ):
        yield _percent(f"false refusals per utterance, {name}", heard(cases, Meaning.REFUSE), aim)
    yield _percent("unclear, of what does not refuse", heard(others, Meaning.UNCLEAR), "≤ 2 %")
    for name, cases in by(others, lambda case: case.line).items():
        yield _percent(name, heard(cases, Meaning.REFUSE), "", "line", "false refusals")


def talk(measuring: Measuring) -> Iterator[Row]:
    """Of everything that refuses nothing, as one call of each source."""
    of = measuring.listeners
    for name, detector, aim in (("window", of.window, "≤ 1"), ("in-call", of.in_call, "≤ 0.1")):
        talks = [measuring.ground.conversation(detector, source) for source in measuring.ground.sources]
        hours, count = (
            sum(one.duration_s for one in talks) / 3600,
            sum(v.meaning is Meaning.REFUSE for one in talks for v in one.verdicts),
        )
        shown = f"{count / hours:.2f} ({count} in {hours:.2f} h)"
        yield Row(f"false refusals per hour of talk, {name} keywords", count / hours, shown, aim)


def other_words(measuring: Measuring) -> Iterator[Row]:
    """Those that refuse during the call, and those that accept in the mode "opt_in"."""
    spoken, ground, of = measuring.spoken, measuring.ground, measuring.listeners
    named = ground.cases(of.in_call, map(label, spoken.in_call), "in the call")
    yield _percent("recall in the call, phrases that name the recording", heard(named, Meaning.REFUSE))
    for name, phrases in (
        ("acceptance heard, in the mode opt_in", spoken.accepting),
        ("a refusal taken for acceptance", spoken.refusing),
    ):
        yield _percent(name, heard(ground.cases(of.asked, map(label, phrases), name), Meaning.ACCEPT))


def latencies(measuring: Measuring) -> Iterator[Row]:
    yield from _late("end of the utterance to the refusal, 95 % within", measuring.said, "≤ 250 ms")
    for name, cases in by(measuring.said, lambda case: case.line).items():
        yield from _late(name, cases, "", "line")


def _late(name: str, cases: list[Case], aim: str, group: str = "") -> Iterator[Row]:
    late = [case.late_ms for case in cases if case.late_ms is not None]
    if late:
        p50, p95 = np.percentile(late, (50, 95))
        shown = f"{p95:.0f} ms (median {p50:.0f} of {len(late)})"
        yield Row(name, float(p95), shown, aim, group, "end to refusal, 95 % within")


def costs(measuring: Measuring) -> Iterator[Row]:
    cpu = measuring.ground.unbroken(measuring.listeners.window)
    yield Row("CPU per second of somebody who never pauses", cpu, f"{cpu:.4f} s", "≤ 0.02 s")
    cpu = 60 * measuring.ground.unbroken(measuring.listeners.in_call)
    yield Row("the same in the call, per minute", cpu, f"{cpu:.2f} s", "≤ 0.15 s")
    command = [sys.executable, "-c", LOADING, *measuring.phrases.values()]
    seconds, megabytes = json.loads(subprocess.check_output(command))  # processes share the libraries' code
    yield Row("loading", seconds, f"{seconds:.2f} s", "≤ 2 s")
    yield Row("memory, for the machine", megabytes, f"{megabytes:.0f} MB", "≤ 150 MB")


def echoed(measuring: Measuring) -> Iterator[Row]:
    """Where there are notices in the language."""
    if not measuring.echoes or not (PROMPTS / measuring.spoken.code / "notice_voice.wav").exists():
        return
    count, window = measuring.echoes, measuring.listeners.window
    echoes = measuring.ground.echoes()
    alone = track(echoes.alone(window, count), "echo", count, console=Console(stderr=True))
    means: Counter[Meaning] = Counter(verdict.meaning for verdict in alone)
    fooled = means[Meaning.REFUSE]
    shown = f"{fooled} of {count}, {means[Meaning.UNCLEAR]} unclear"
    yield Row("the notice's own echo taken for a refusal, 6 to 40 dB", float(fooled), shown, "0")
    for loss_db in (None, *LOSSES_DB):
        over, raw = echoes.over_it(window, loss_db)
        name = "refusals said over the notice, " + (f"its echo at {loss_db} dB" if loss_db else "no echo")
        share = Share(over[Meaning.REFUSE], over.total())
        either = Share(share.refused + over[Meaning.UNCLEAR], share.count)
        left = 100 * raw[Meaning.REFUSE] / share.count
        yield Row(
            name, share.value, f"{share}; or unclear {either.value:.1f} %; {left:.0f} % if the echo were left"
        )


PARTS: dict[str, Callable[[Measuring], Iterator[Row]]] = {
    "promised": promised,
    "recall": recalls,
    "false": false_refusals,
    "talk": talk,
    "words": other_words,
    "latency": latencies,
    "cost": costs,
    "echo": echoed,
}
