"""What the detector hears in a file: `detect`."""

from pathlib import Path
from typing import Any

import click

from media.hearing.detectors import load_detector
from media.hearing.keyword import Detector, DetectorUnavailable, Meaning
from sipagent.cli.base import Failure, Workplace, json_option, print_json
from sipagent.cli.tables import Column, coded, console, show_table
from sipagent.cli.times import figure, in_seconds
from sipagent.languages.reason import shown
from sipagent.voice.detection import Detected, UnreadableSound, hear, read_sound
from sipagent.voice.detectors import detectors


@click.command("detect", short_help="What the voice gate and the detector make of sound files.")
@click.argument(
    "files", nargs=-1, required=True, metavar="WAV…", type=click.Path(path_type=Path, dir_okay=False)
)
@json_option
@click.pass_obj
def detect_command(work: Workplace, /, *, files: tuple[Path, ...], as_json: bool) -> None:
    """Listen to files as on a call before the bridge: any WAV or FLAC, of several channels the first.

    With the configured keywords; and where refusal.engine is "none", with the engine "embedding". Exit 0
    whatever is heard; 1 for a file that cannot be read.

    \b
    Examples:
      sipagent detect refusal.wav
      sipagent detect --json calls/*.wav
    """
    detector = _detector(work)
    heard: list[tuple[Path, Detected]] = []
    unreadable: list[str] = []
    for path in files:
        try:
            heard.append((path, hear(detector, read_sound(path))))
        except UnreadableSound as wrong:
            unreadable.append(shown(wrong))
    if as_json:
        print_json([_json(path, result) for path, result in heard])
    else:
        show_table(heard, _COLUMNS, console())
    if unreadable:
        raise Failure("; ".join(unreadable))


def _detector(work: Workplace) -> Detector:
    try:
        refusal = work.config.refusal
        heard = detectors(work.config).before
        detector = heard or load_detector(
            "embedding", refusal.keywords, heads=refusal.heads, second=refusal.second
        )
    except DetectorUnavailable as wrong:
        raise Failure(*wrong.args) from wrong
    assert detector is not None
    return detector


def _json(path: Path, heard: Detected) -> dict[str, Any]:
    """`latency_ms`: from the end of the speech to the verdict, CPU time included; null for `other`."""
    return {
        "file": str(path),
        "verdict": _verdict(heard),
        "keyword": heard.verdict.keyword,
        "confidence": heard.verdict.confidence,
        "utterances": len(heard.verdicts),
        "latency_ms": heard.latency_ms,
        "cpu_s": round(heard.cpu_s, 4),
        "duration_s": round(heard.duration_s, 3),
    }


def _verdict(heard: Detected) -> str:
    """The verdict in words; `accept` only exists in the mode opt_in."""
    return str(Meaning(heard.verdict.meaning))


_COLUMNS: list[Column[tuple[Path, Detected]]] = [
    Column("file", lambda row: str(row[0]), shrinks=True),
    Column("verdict", lambda row: coded("verdict", _verdict(row[1]))),
    Column("keyword", lambda row: row[1].verdict.keyword),
    Column("confidence", lambda row: _two(row[1].verdict.confidence), right=True),
    Column("utterances", lambda row: str(len(row[1].verdicts)), right=True),
    Column("latency", lambda row: _ms(row[1].latency_ms), right=True),
    Column("CPU", lambda row: _ms(round(row[1].cpu_s * 1000)), right=True),
    Column("length", lambda row: in_seconds(row[1].duration_s), right=True),
]


def _two(value: float | None) -> str | None:
    return None if value is None else figure(value, ".2f")


def _ms(value: int | None) -> str | None:
    return None if value is None else f"{value} ms"
