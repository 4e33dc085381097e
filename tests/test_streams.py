"""Where the streams of a sealed file begin, also of a damaged one."""

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media.recording.assemble import Walk
from media.recording.chunks import (
    Chunk,
    ChunkNote,
    FileStreams,
    Kind,
    PartWriter,
    Sealer,
    create_part,
    find_streams,
    open_all,
    read_part,
)

RATE = 8000
KEY = bytes(range(32))


def write(path: Path, seconds: float, chunk: int = 3200) -> Path:
    """A sealed file: its sound counts samples."""
    writer = PartWriter(create_part(path), RATE, Sealer(KEY).seal)
    count = np.arange(int(seconds * RATE))
    sound = np.stack([count % 30_000, -(count % 30_000)], axis=1).astype(np.int16)
    for first in range(0, len(sound), chunk):
        writer.write_audio(sound[first : first + chunk])
    writer.write_note(ChunkNote(), Kind.END)
    writer.close()
    return path


def found(path: Path) -> FileStreams:
    with io.FileIO(path) as file:
        return find_streams(file)


def opened(path: Path) -> list[Chunk]:
    return list(open_all(read_part(path), KEY))


@pytest.mark.parametrize("chunk", [3200, 8000, 7001])
def test_spans_follow_each_other_and_open_alone(tmp_path: Path, chunk: int) -> None:
    """Each span, cut out of the file, opens from its first chunk to its last; together they are all."""
    path = write(tmp_path / "a", 47, chunk)
    streams = found(path)
    content, chunks, at = path.read_bytes(), 0, 0
    assert (streams.rate, streams.samples, streams.size) == (RATE, 47 * RATE, len(content))
    while at < streams.samples:
        samples, offsets = streams.span(at, at + 1)
        part = tmp_path / "span"
        part.write_bytes(content[offsets.start : offsets.stop])
        here = opened(part)
        assert (samples.start, here[0].position) == (at, at)
        assert here[-1].position + here[-1].frames == samples.stop
        chunks, at = chunks + len(here), samples.stop
    assert chunks == len(opened(path))


def test_a_span_holds_what_is_asked_for_and_no_more_than_the_rest_of_its_streams(tmp_path: Path) -> None:
    streams = found(write(tmp_path / "a", 47))
    samples, _ = streams.span(12 * RATE, 31 * RATE)
    assert (samples.start, samples.stop) == (10 * RATE, 40 * RATE)
    samples, _ = streams.span(12 * RATE, 30 * RATE)
    assert samples.stop == 30 * RATE
    samples, _ = streams.span(46 * RATE, 10**12)
    assert samples.stop == 47 * RATE


@pytest.mark.parametrize("at", [0, 10**12])
def test_nothing_is_beyond_the_end_or_in_an_empty_file(tmp_path: Path, at: int) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    assert [len(span) for span in found(empty).span(at, at + 1)] == [0, 0]
    assert [len(span) for span in found(write(tmp_path / "a", 3)).span(10**12, 10**12 + 1)] == [0, 0]


@given(st.integers(0, 700_000), st.integers(1, 255), st.integers(0, 100_000))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_damaged_costs_no_more_than_it_does_a_reader(
    tmp_path: Path, at: int, change: int, cut: int
) -> None:
    """All spans together give what a reader of the whole file gets, in the same place."""
    path = tmp_path / "a"
    path.unlink(missing_ok=True)
    content = bytearray(write(path, 25).read_bytes())
    content[at % len(content)] ^= change
    del content[len(content) - cut % len(content) :]
    path.write_bytes(content)
    streams = found(path)
    whole = sound_of(opened(path), streams.samples)
    parts, place = [], 0
    while place < streams.samples:
        samples, offsets = streams.span(place, place + 1)
        part = tmp_path / "span"
        part.write_bytes(content[offsets.start : offsets.stop])
        parts += opened(part)
        assert samples.stop > place
        place = samples.stop
    assert np.array_equal(sound_of(parts, streams.samples), whole)


def sound_of(chunks: list[Chunk], samples: int) -> np.ndarray:
    walk = Walk(RATE)
    blocks = [np.zeros((0, 2), np.int16), *walk.blocks(iter(chunks))]
    sound = np.concatenate(blocks)
    return np.pad(sound, ((0, max(0, samples - len(sound))), (0, 0)))
