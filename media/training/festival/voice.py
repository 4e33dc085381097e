"""Festival's voices of other languages, asked for French sounds by the names of their own phones.

Each voice is a process, which goes on for the next sentence. One of diphones is told how long and how high
each phone is; one of statistical models, or of chosen units, gets a clause as a word of a lexicon made for
it, and has a melody of its own.
"""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import soundfile

from media.frame import Samples
from media.training.festival.phones import Clause, FestivalError, Kind, Segment, clauses, kinds, segments
from media.training.voices import RATE, Manner, at_rate

INSTALLED = Path("/usr/share/festival")
PAUSE_S = (0.12, 0.3)
"""The shortest and the longest after a comma."""
BETWEEN_S = 0.035
"""How long the vowel lasts that joins two phones."""
LENGTHS, LONGER_S = 6, 0.01
"""How many are tried, and by how many s the silence before is longer each time."""
_LACKING = re.compile(r"using default diphone \S+ for (\S+)")
_WORD = "said"


class Festival:
    """A voice is one of voices.toml, the last of which has a process; `accent`: of espeak-ng, which tells how
    the words sound."""

    def __init__(self, accent: str) -> None:
        self._accent = accent
        self._voice: _Voice | None = None

    def say(self, text: str, manner: Manner) -> Samples:
        """Speak the words, the same each time. FestivalError if the voice cannot."""
        if self._voice is None or self._voice.name != manner.voice:
            self.close()
            self._voice = _Voice(manner.voice)
        random = Random(f"{text}/{manner.voice}/{manner.speed:.3f}")
        pieces: list[Any] = []
        for clause in clauses(text, self._accent):
            if pieces:
                pieces.append(np.zeros(round(random.uniform(*PAUSE_S) * RATE / manner.speed)))
            pieces.append(self._voice.say(clause, manner.speed, random))
        if not pieces:
            raise FestivalError(f"{text!r}: nothing in it is said aloud")
        return at_rate(np.concatenate(pieces), RATE, manner.pitch)

    def close(self) -> None:
        """End its process."""
        if self._voice:
            self._voice.close()
            self._voice = None


def lacking(voices: Iterable[str]) -> list[str]:
    """Debian's packages that these voices need and that aren't installed."""
    there = {path.name for path in (*INSTALLED.glob("voices/*/*"), *INSTALLED.glob("*"))}
    wanted = [] if shutil.which("festival") else ["festival"]
    for voice in sorted(voices):
        kind = kinds()[voice]
        needed = {voice: kind.package} | kind.beside
        wanted += [package for name, package in needed.items() if name not in there]
    return wanted


class _Ended(FestivalError):
    """The process ended; `answer` is what it said last. It goes from process to process, as it is."""

    answer = ""


class _Voice:
    """A process of festival with one voice. FestivalError if it isn't installed."""

    def __init__(self, name: str) -> None:
        if packages := lacking([name]):
            raise FestivalError(f"the voice {name} needs {' and '.join(packages)}; apt install them")
        self.name = name
        self._kind: Kind = kinds()[name]
        self._unjoined: set[tuple[str, str]] = set()
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            ["festival", "--pipe"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
        self._ask(f"(voice_{self.name}) (defvar hts_engine_params nil) (set! usual_params hts_engine_params)")

    def close(self) -> None:
        """End the process."""
        if self._process.poll() is None and self._process.stdin:
            self._process.stdin.close()
        if self._process.stdout:
            self._process.stdout.close()
        self._process.wait()

    def say(self, clause: Clause, speed: float, random: Random) -> Samples:
        """At RATE."""
        with tempfile.TemporaryDirectory(prefix="festival") as folder:
            path = Path(folder, "said.wav")
            if self._kind.hertz:
                wanted = list(segments(clause, self._kind, speed, random))
                answer = self._say_segments(wanted, path)
            else:
                answer = self._say_word(clause, speed, path)
            if not path.exists():
                raise FestivalError(f"the voice {self.name} said nothing: {_line(answer)}")
            sound, rate = soundfile.read(path, dtype="float64")
        return at_rate(sound, rate, 1.0)

    def _say_segments(self, wanted: list[Segment], path: Path) -> str:
        """Two phones that the voice has no diphone for are joined by a short vowel. One utterance of a
        thousand ends festival by a segmentation fault: begun a little later, it does not."""
        for number in range(LENGTHS):
            later = [replace(wanted[0], seconds=wanted[0].seconds + number * LONGER_S), *wanted[1:]]
            ended = False
            while not ended:
                said = " ".join(map(_listed, _joined(later, self._unjoined, self._kind.between)))
                try:
                    answer = self._ask(_saved(f"(Utterance Segments ({said}))", path))
                except _Ended as wrong:
                    answer, ended = wrong.answer, True
                    self.close()
                    self._start()
                if found := self._lacking(answer, wanted):
                    self._unjoined |= found
                    ended = False
                elif not ended:
                    return answer
        raise FestivalError(f"the voice {self.name} ends at {said}")

    def _lacking(self, answer: str, wanted: Sequence[Segment]) -> set[tuple[str, str]]:
        """The pairs of phones for which festival had no diphone, and which it is not known of yet."""
        names = set(_LACKING.findall(answer))
        pairs = {(before.phone, after.phone) for before, after in pairwise(wanted)}
        return {pair for pair in pairs - self._unjoined if "-".join(pair) in names}

    def _say_word(self, clause: Clause, speed: float, path: Path) -> str:
        """As one word: at two, cmu_us_slt_arctic_hts ends by a segmentation fault."""
        phones, final = self._kind.phones, len(clause.syllables) - 1
        listed = " ".join(
            f"(({' '.join(phone for sound in each.sounds for phone in phones[sound])})"
            f" {int(each.stressed or number == final)})"
            for number, each in enumerate(clause.syllables)
        )
        return self._ask(
            f'(lex.create "{_WORD}") (lex.select "{_WORD}")'
            f'(lex.add.entry \'("{_WORD}" nil ({listed})))'
            f"(Param.set 'Duration_Stretch {1 / speed:.3f})"
            f'(set! hts_engine_params (append usual_params \'(("-r" {speed:.3f}))))'
            + _saved(f"(Utterance Words ({_WORD}))", path)
        )

    def _ask(self, asked: str) -> str:
        """What festival answers. _Ended if it ends."""
        to, answers = self._process.stdin, self._process.stdout
        assert to is not None and answers is not None
        to.write(f'{asked}\n(format t "\\n{_WORD}\\n")\n(fflush nil)\n')
        to.flush()
        lines: list[str] = []
        for line in answers:
            if line == f"{_WORD}\n":
                return "".join(lines)
            lines.append(line)
        ended = _Ended(f"the voice {self.name} ended: {_line(''.join(lines))}")
        ended.answer = "".join(lines)
        raise ended


def _joined(wanted: Sequence[Segment], unjoined: set[tuple[str, str]], between: str) -> Iterable[Segment]:
    yield wanted[0]
    for before, after in pairwise(wanted):
        if (before.phone, after.phone) in unjoined:
            yield Segment(between, BETWEEN_S)
        yield after


def _listed(segment: Segment) -> str:
    target = f" ({segment.seconds / 2:.3f} {segment.hertz:.0f})" if segment.hertz else ""
    return f"({segment.phone} {segment.seconds:.3f}{target})"


def _saved(utterance: str, path: Path) -> str:
    return f'(utt.save.wave (utt.synth {utterance}) "{path}" \'riff)'


def _line(answer: str) -> str:
    return " ".join(answer.split())[:200] or "without a word"
