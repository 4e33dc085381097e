"""Keys pressed and keys imagined, without SIP: frames in and facts out.

    python -m tests.bench.tones [--count 5000] [--hours 10] [--json]

Presses come over bad lines (tests/bench/line.py) and are heard by a running Listener in the frames the bridge
hands over. Then it hears hours of speech and of music in which nobody presses anything.
"""

import json
import queue
import time
from collections.abc import Iterator
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
from tests.bench.line import Wave, dbm0, g711, random_press, rms
from tests.bench.speech import NoSpeech, music, recorded, spoken

NOTICE = Path(__file__).parents[2] / "prompts" / "fr" / "notice.wav"
FLUSH_FRAMES = 50
Figures = dict[str, float]


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


def press_keys(count: int, seed: int, console: Console) -> Figures:
    """Press `count` random keys over the echo of the notice.

    `late_ms`: from the tone's first sample to the end of the frame that settled it; `tone_ms` by 10 ms.
    """
    played = soundfile.read(NOTICE, dtype="int16")[0].astype(np.float64)
    rng, ear, level = np.random.default_rng(seed), Ear(), dbm0(played)
    found: dict[str, int] = dict.fromkeys(("missed", "doubled", "wrong"), 0)
    late, tone = list[float](), list[float]()
    for _ in track(range(count), "pressing keys", console=console):
        press = random_press(rng, level)
        sound = press.sound(played)
        digits = [(index, fact.digit) for index, fact in ear.hear(sound) if isinstance(fact, ToneHeard)]
        heard = "".join(digit for _, digit in digits)
        found["missed"] += press.key not in heard
        found["doubled"] += heard.count(press.key) > 1
        found["wrong"] += bool(set(heard) - {press.key})
        if heard != press.key:
            console.print(f"heard {heard!r}: {press}")
            continue
        late.append((digits[0][0] + 1) * 100 - press.onset_ms)
        tone.append(_settled_ms(sound) - press.onset_ms)
    ear.close()
    late_and_tone = {
        f"{name}_p{percent}": round(float(np.percentile(values, percent)), 1) if values else float("nan")
        for name, values in (("late_ms", late), ("tone_ms", tone))
        for percent in (50, 95)
    }
    return {"presses": count, **found, **late_and_tone}


def _settled_ms(sound: Samples) -> float:
    """How much of `sound` a detector needs, in steps of 10 ms, before it hears a digit."""
    detector, step = ToneDetector(), SAMPLE_RATE // 100
    for at in range(0, len(sound), step):
        if any(isinstance(fact, ToneHeard) for fact in detector.feed(sound[at : at + step])):
            return (at + step) * 1000 / SAMPLE_RATE
    return float(len(sound))


def talk(
    source: Iterator[tuple[str, Wave]], hours: float, name: str, rng: np.random.Generator, console: Console
) -> Figures:
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
    return {"hours": round(seconds / 3600, 2), "digits": digits, "starts": starts}


def measure_cost(rng: np.random.Generator) -> Figures:
    """CPU of 100 ms of a leg, µs: of a minute of silence, of speech at -16 dBm0, of a key held down; and of
    handing a frame over."""
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
    return {
        "silence_us": _cost(silence), "speech_us": _cost(speech), "key_us": _cost(key),
        "feed_us": round(feed_us, 2),
    }  # fmt: skip


def _cost(wave: Wave) -> float:
    detector = ToneDetector()
    frames = g711(wave, "alaw").reshape(-1, FRAME_SAMPLES)
    since = time.thread_time()
    for frame in frames:
        detector.feed(frame)
    return round((time.thread_time() - since) / len(frames) * 1e6, 1)


def _table(keys: Figures, off: dict[str, Figures], cost: Figures) -> Table:
    table = Table("", "measured", "to reach", title="Keys as tones: frames in, facts out")
    for name, shown, aim in (
        ("refusals missed", f"{keys['missed']} of {keys['presses']}", "0 of 5,000"),
        ("heard twice, heard as another", f"{keys['doubled']}, {keys['wrong']}", "0, 0"),
        ("tone's first sample to the digit", _late(keys, "tone_ms"), ""),
        ("the same, by 100 ms frames", _late(keys, "late_ms"), ""),
        *(
            (
                f"digits in {of['hours']} h of {name}",
                f"{of['digits']}",
                "" if name == "music" else "1 in 10 h",
            )
            for name, of in off.items()
        ),
        ("CPU per 100 ms: silence", f"{cost['silence_us']} µs", ""),
        ("CPU per 100 ms: speech", f"{cost['speech_us']} µs", "60 µs"),
        ("CPU per 100 ms: a key held down", f"{cost['key_us']} µs", ""),
        ("Listener.feed, on the clock thread", f"{cost['feed_us']} µs", ""),
    ):
        table.add_row(name, shown, aim)
    return table


def _late(keys: Figures, name: str) -> str:
    return f"{keys[f'{name}_p50']} ms, 95 %: {keys[f'{name}_p95']} ms"


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
        keys = press_keys(count, seed, console)
        off = {"speech": talk(spoken(rng), hours, "speech", rng, console)}
        off["music"] = talk(music(rng), music_hours, "music", rng, console)
        if speech is not None:
            off["recordings"] = talk(recorded(speech), float("inf"), "recordings", rng, console)
    except NoSpeech as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps({"keys": keys, "cost": cost, **off}))
    else:
        Console().print(_table(keys, off, cost))


if __name__ == "__main__":
    main()
