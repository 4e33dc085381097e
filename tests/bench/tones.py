"""Keys pressed and keys imagined, without SIP: frames in and facts out.

    python -m tests.bench.tones [--count 5000] [--hours 10] [--json]

Presses come over bad lines (tests/bench/line.py) and are heard by a running Listener in the frames the bridge
hands over. Then it hears hours of speech and of music in which nobody presses anything.
"""

import json
import queue
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import soundfile
from rich.console import Console
from rich.progress import Progress, track
from rich.table import Table

from media.frame import FRAME_SAMPLES, SAMPLE_RATE, Samples
from media.hearing.dtmf import ToneDetector, ToneHeard, ToneStarted
from media.hearing.listener import Conclusion, Listener
from tests.bench.line import Press, Wave, dbm0, g711, random_press, rms
from tests.bench.speech import NoSpeech, music, recorded, spoken

NOTICE = Path(__file__).parents[2] / "prompts" / "fr" / "notice.wav"
FLUSH_FRAMES = 50


@dataclass(frozen=True, slots=True)
class Keys:
    """`late_ms`: from the tone's first sample to the end of the frame that settled it; `tone_ms` by 10 ms."""

    presses: int
    missed: int
    doubled: int
    wrong: int
    late_ms_p50: float
    late_ms_p95: float
    tone_ms_p50: float
    tone_ms_p95: float


@dataclass(frozen=True, slots=True)
class TalkOff:
    hours: float
    digits: int
    starts: int


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of CPU for 100 ms of one leg."""

    silence_us: float
    speech_us: float
    key_us: float
    feed_us: float


class Ear:
    """A running listener whose conclusions can be waited for."""

    def __init__(self) -> None:
        self._facts: queue.SimpleQueue[Conclusion] = queue.SimpleQueue()
        self._listener = Listener(lambda _, conclusion: self._facts.put(conclusion), None)
        self._listener.start()
        self._listener.open(0, tones=True, voice=False)

    def hear(self, samples: Samples, flush_frames: int = 1) -> Iterator[tuple[int, Conclusion]]:
        """(index of the frame, conclusion), fed as the bridge does, waiting every `flush_frames`."""
        for index in range(len(samples) // FRAME_SAMPLES):
            self._listener.feed(0, samples[index * FRAME_SAMPLES : (index + 1) * FRAME_SAMPLES])
            if index % flush_frames == 0:
                yield from ((index, fact) for fact in self._take())
        yield from ((len(samples) // FRAME_SAMPLES, fact) for fact in self._take())

    def _take(self) -> list[Conclusion]:
        self._listener.flush()
        return [self._facts.get() for _ in range(self._facts.qsize())]

    def close(self) -> None:
        self._listener.stop()
        assert self._listener.drops == 0, "the bench fed faster than it flushed"


def press_keys(count: int, seed: int, show: Callable[[Press, str], None], console: Console) -> Keys:
    """Press `count` random keys over the echo of the notice; `show` is told of each not heard as one."""
    played = soundfile.read(NOTICE, dtype="int16")[0].astype(np.float64)
    level = dbm0(played)
    rng = np.random.default_rng(seed)
    ear = Ear()
    heard: list[str] = []
    late: list[float] = []
    tone: list[float] = []
    pressed: list[str] = []
    for _ in track(range(count), "pressing keys", console=console):
        press = random_press(rng, level)
        sound = press.sound(played)
        digits = [(index, fact.digit) for index, fact in ear.hear(sound) if isinstance(fact, ToneHeard)]
        heard.append("".join(digit for _, digit in digits))
        pressed.append(press.key)
        if heard[-1] != press.key:
            show(press, heard[-1])
            continue
        late.append((digits[0][0] + 1) * 100 - press.onset_ms)
        tone.append(_settled_ms(sound) - press.onset_ms)
    ear.close()
    pairs = list(zip(pressed, heard, strict=True))
    return Keys(
        presses=count,
        missed=sum(key not in digits for key, digits in pairs),
        doubled=sum(digits.count(key) > 1 for key, digits in pairs),
        wrong=sum(bool(set(digits) - {key}) for key, digits in pairs),
        late_ms_p50=_percentile(late, 50),
        late_ms_p95=_percentile(late, 95),
        tone_ms_p50=_percentile(tone, 50),
        tone_ms_p95=_percentile(tone, 95),
    )


def _settled_ms(sound: Samples) -> float:
    """How much of `sound` a detector needs, in steps of 10 ms, before it hears a digit."""
    detector, step = ToneDetector(), SAMPLE_RATE // 100
    for at in range(0, len(sound), step):
        if any(isinstance(fact, ToneHeard) for fact in detector.feed(sound[at : at + step])):
            return (at + step) * 1000 / SAMPLE_RATE
    return float(len(sound))


def _percentile(values: list[float], percent: float) -> float:
    return round(float(np.percentile(values, percent)), 1) if values else float("nan")


def talk(
    source: Iterator[tuple[str, Wave]], hours: float, name: str, rng: np.random.Generator, console: Console
) -> TalkOff:
    """Let `source` talk for `hours` (or to its end), at -26 to -6 dBm0 through G.711."""
    ear = Ear()
    seconds, digits, starts = 0.0, 0, 0
    with Progress(console=console) as progress:
        task = progress.add_task(name, total=hours * 3600 if hours < float("inf") else None)
        for label, wave in source:
            scaled = wave * (rms(float(rng.uniform(-26, -6))) / max(rms(dbm0(wave)), 1.0))
            for index, fact in ear.hear(g711(scaled, "alaw" if rng.random() < 0.7 else "ulaw"), FLUSH_FRAMES):
                starts += isinstance(fact, ToneStarted)
                if isinstance(fact, ToneHeard):
                    digits += 1
                    progress.console.print(f"talked off: {fact.digit} at about {index / 10:.0f} s of {label}")
            seconds += len(wave) / SAMPLE_RATE
            progress.update(task, completed=seconds)
            if seconds >= hours * 3600:
                break
    ear.close()
    return TalkOff(round(seconds / 3600, 2), digits, starts)


def measure_cost(rng: np.random.Generator) -> Cost:
    """CPU for a minute each of silence, speech at -16 dBm0 and a key held down; for handing a frame over."""
    count = 600 * FRAME_SAMPLES
    _, speech = next(spoken(rng))
    speech = np.resize(speech * (rms(-16) / rms(dbm0(speech))), count)
    silence = rng.standard_normal(count) * rms(-60)
    at = np.arange(count) / SAMPLE_RATE
    key = rms(-9) * (np.sin(2 * np.pi * 852 * at) + np.sin(2 * np.pi * 1477 * at))
    listener = Listener(lambda _, conclusion: None, None)
    listener.open(0, tones=True, voice=False)
    frame = g711(silence[:FRAME_SAMPLES], "alaw")
    since = time.perf_counter()
    for _ in range(100):
        listener.feed(0, frame)
    feed_us = (time.perf_counter() - since) / 100 * 1e6
    return Cost(_cost(silence), _cost(speech), _cost(key), round(feed_us, 2))


def _cost(wave: Wave) -> float:
    detector = ToneDetector()
    frames = g711(wave, "alaw").reshape(-1, FRAME_SAMPLES)
    since = time.thread_time()
    for frame in frames:
        detector.feed(frame)
    return round((time.thread_time() - since) / len(frames) * 1e6, 1)


def _table(keys: Keys, off: dict[str, TalkOff], cost: Cost) -> Table:
    table = Table(title="Keys as tones: frames in, facts out")
    for title in ("", "measured", "to reach"):
        table.add_column(title)
    table.add_row("refusals missed", f"{keys.missed} of {keys.presses}", "0 of 5,000")
    table.add_row("heard twice, heard as another", f"{keys.doubled}, {keys.wrong}", "0, 0")
    table.add_row(
        "tone's first sample to the digit", f"{keys.tone_ms_p50} ms, 95 %: {keys.tone_ms_p95} ms", ""
    )
    table.add_row("the same, by 100 ms frames", f"{keys.late_ms_p50} ms, 95 %: {keys.late_ms_p95} ms", "")
    for name, result in off.items():
        limit = "" if name == "music" else "1 in 10 h at most"
        table.add_row(f"digits in {result.hours} h of {name}", str(result.digits), limit)
    table.add_row("CPU per 100 ms: silence", f"{cost.silence_us} µs", "")
    table.add_row("CPU per 100 ms: speech", f"{cost.speech_us} µs", "60 µs")
    table.add_row("CPU per 100 ms: a key held down", f"{cost.key_us} µs", "")
    table.add_row("Listener.feed, on the clock thread", f"{cost.feed_us} µs", "")
    return table


@click.command()
@click.option("--count", default=5000, show_default=True, help="presses")
@click.option("--hours", default=10.0, show_default=True, help="hours of synthetic speech")
@click.option("--music-hours", default=1.0, show_default=True, help="hours of synthetic music")
@click.option(
    "--speech", type=click.Path(exists=True, file_okay=False, path_type=Path), help="recordings, too"
)
@click.option("--seed", default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="one JSON object instead of a table")
def main(
    *, count: int, hours: float, music_hours: float, speech: Path | None, seed: int, as_json: bool
) -> None:
    """Press keys over bad lines, then listen to hours of speech without any.

    Example: python -m tests.bench.tones --count 500 --hours 1
    """
    console = Console(stderr=True)
    rng = np.random.default_rng(seed)
    try:
        cost = measure_cost(rng)
        keys = press_keys(
            count, seed, lambda press, heard: console.print(f"heard {heard!r}: {press}"), console
        )
        off = {"speech": talk(spoken(rng), hours, "speech", rng, console)}
        off["music"] = talk(music(rng), music_hours, "music", rng, console)
        if speech is not None:
            off["recordings"] = talk(recorded(speech), float("inf"), "recordings", rng, console)
    except NoSpeech as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        results = {"keys": asdict(keys), "cost": asdict(cost)}
        click.echo(json.dumps(results | {name: asdict(result) for name, result in off.items()}))
    else:
        Console().print(_table(keys, off, cost))


if __name__ == "__main__":
    main()
