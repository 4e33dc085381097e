"""Keys pressed and keys imagined, without SIP: frames in and facts out. `python -m tests.bench.tones`.

Presses come over bad lines (tests/bench/line.py) and are heard by a running Listener in the frames the bridge
hands over. Then it hears hours of espeak-ng's speech in which nobody presses anything.
"""

import pydoc_data.topics
import queue
import re
import shutil
import subprocess
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import click
import numpy as np
import soundfile
from rich.console import Console
from rich.progress import Progress, track
from scipy.signal import resample_poly

from media.frame import FRAME_SAMPLES, SAMPLE_RATE, Samples
from media.hearing.dtmf import ToneDetector, ToneHeard
from media.hearing.listener import Conclusion, Listener
from tests.bench import report
from tests.bench.line import Wave, dbm0, g711, random_press, rms
from tests.bench.report import Row

NOTICE = Path(__file__).parents[2] / "prompts" / "fr" / "notice.wav"
FLUSH_FRAMES = 50
TEXT = re.sub(r"[^A-Za-z0-9,.;:?!' ]+", " ", " ".join(pydoc_data.topics.topics.values()))
TEXT_CHARACTERS = 1500
HALF = ("fr", "fr-be", "fr-ch", "en-gb", "en-us", "de", "es", "it", "pt", "nl")
"""Every other voice speaks one of these; the others any language there is."""
CONSOLE = Console(stderr=True)


class Ear:
    """A running listener whose conclusions can be waited for."""

    def __init__(self) -> None:
        self._facts: queue.SimpleQueue[Conclusion] = queue.SimpleQueue()
        self._listener = Listener(lambda _, conclusion: self._facts.put(conclusion), None)
        self._listener.start()
        self._listener.open(0, tones=True, voice=False)

    def digits(self, samples: Samples, flush_frames: int = 1) -> list[tuple[int, str]]:
        """(index of the frame, digit), fed as the bridge does, waiting every `flush_frames`."""
        found = []
        frames = len(samples) // FRAME_SAMPLES
        for index in range(frames + 1):
            if index < frames:
                self._listener.feed(0, samples[index * FRAME_SAMPLES : (index + 1) * FRAME_SAMPLES])
            if index == frames or index % flush_frames == 0:
                self._listener.flush()
                facts = [self._facts.get() for _ in range(self._facts.qsize())]
                found += [(index, fact.digit) for fact in facts if isinstance(fact, ToneHeard)]
        return found

    def close(self) -> None:
        self._listener.stop()
        assert self._listener.drops == 0, "the bench fed faster than it flushed"


def press_keys(count: int, seed: int) -> Iterator[Row]:
    """Random keys over the echo of the notice; late from the tone's first sample on."""
    played = soundfile.read(NOTICE, dtype="int16")[0].astype(np.float64)
    rng, ear, level = np.random.default_rng(seed), Ear(), dbm0(played)
    missed, wrong = 0, 0
    late, tone = list[float](), list[float]()
    for _ in track(range(count), "pressing keys", console=CONSOLE):
        press = random_press(rng, level)
        sound = press.sound(played)
        digits = ear.digits(sound)
        heard = "".join(digit for _, digit in digits)
        missed += press.key not in heard
        wrong += heard.count(press.key) > 1 or bool(set(heard) - {press.key})
        if heard != press.key:
            CONSOLE.print(f"heard {heard!r}: {press}")
            continue
        late.append((digits[0][0] + 1) * 100 - press.onset_ms)
        tone.append(_settled_ms(sound) - press.onset_ms)
    ear.close()
    yield Row("keys missed", missed, 0, count=count)
    yield Row("heard twice, or another heard", wrong, 0, count=count)
    yield report.of("tone's first sample to the digit", tone, None)
    yield report.of("the same, by frames of 100 ms", late, None)


def _settled_ms(sound: Samples) -> float:
    """How much of `sound` a detector needs, in steps of 10 ms, before it hears a digit."""
    detector, step = ToneDetector(), SAMPLE_RATE // 100
    for at in range(0, len(sound), step):
        if any(isinstance(fact, ToneHeard) for fact in detector.feed(sound[at : at + step])):
            return (at + step) * 1000 / SAMPLE_RATE
    return float(len(sound))


def spoken(rng: np.random.Generator) -> Iterator[tuple[str, Wave]]:
    """Without end: which voice, and about a minute and a half of it, at 8 kHz."""
    if shutil.which("espeak-ng") is None:
        raise click.ClickException("espeak-ng is not installed")
    languages, variants = (
        [row.split()[column].split("/")[-1] for row in _lines(kind)]
        for kind, column in (("--voices", 1), ("--voices=variant", 4))
    )
    while True:
        language = str(rng.choice(HALF if rng.random() < 0.5 else languages))
        voice = f"{language}+{rng.choice(variants)}"
        at = int(rng.integers(len(TEXT) - TEXT_CHARACTERS))
        speed, pitch = rng.integers(90, 320), rng.integers(100)
        command = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", "--stdin"]
        text = TEXT[at : at + TEXT_CHARACTERS]
        run = subprocess.run(command, input=text.encode(), capture_output=True, check=False)
        if run.returncode == 0 and len(run.stdout) > 20_000:  # some voices listed are not installed
            sound, rate = soundfile.read(BytesIO(run.stdout), dtype="float64")
            yield f"{voice} {speed} wpm, pitch {pitch}", resample_poly(sound * 32768, SAMPLE_RATE, rate)


def _lines(kind: str) -> list[str]:
    listed = subprocess.run(["espeak-ng", kind], capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()[1:]


def talk(hours: float, rng: np.random.Generator) -> Iterator[Row]:
    """Let voices talk at -26 to -6 dBm0 through G.711."""
    ear, seconds, digits = Ear(), 0.0, 0
    with Progress(console=CONSOLE) as progress:
        task = progress.add_task("speech", total=hours * 3600)
        for label, wave in spoken(rng):
            scaled = wave * (rms(float(rng.uniform(-26, -6))) / max(rms(dbm0(wave)), 1.0))
            sound = g711(scaled, "alaw" if rng.random() < 0.7 else "ulaw")
            for index, digit in ear.digits(sound, FLUSH_FRAMES):
                digits += 1
                CONSOLE.print(f"talked off: {digit} at about {index / 10:.0f} s of {label}")
            seconds += len(wave) / SAMPLE_RATE
            progress.update(task, completed=seconds)
            if seconds >= hours * 3600:
                break
    ear.close()
    yield Row(f"digits in {seconds / 3600:.1f} h of speech", digits, max(1.0, hours / 10))


@click.command()
@click.option("--count", default=5000, show_default=True, help="presses")
@click.option("--hours", default=10.0, show_default=True, help="hours of synthetic speech")
@click.option("--seed", default=1, show_default=True)
@report.as_json_option
def main(count: int, hours: float, seed: int, as_json: bool) -> None:
    """Press keys over bad lines, then listen to hours of speech without any; exit 1 where a target is missed.

    Example: python -m tests.bench.tones --count 500 --hours 1
    """
    rng = np.random.default_rng(seed)
    parts = {
        "keys": lambda: press_keys(count, seed),
        "talk": lambda: talk(hours, rng),
    }
    report.finish("Keys as tones: frames in, facts out", as_json, parts)


if __name__ == "__main__":
    main()
