"""What chunks add up to: in order, with gaps, and with what is not of our writing."""

from dataclasses import replace

import numpy as np
import pytest

from media.recording.assemble import BLOCK_FRAMES, Walk
from media.recording.chunks import Chunk, ChunkNote, Kind

RATE = 8000


def audio(sequence: int, position: int, frames: int = 4) -> Chunk:
    payload = np.full((frames, 2), sequence + 1, dtype=np.int16).tobytes()
    return Chunk(
        kind=Kind.AUDIO, sequence=sequence, position=position, rate=RATE, frames=frames, payload=payload
    )


def said(sequence: int, position: int, note: ChunkNote, kind: Kind = Kind.NOTE) -> Chunk:
    payload = note.to_payload()
    return Chunk(kind=kind, sequence=sequence, position=position, rate=RATE, frames=0, payload=payload)


WHOLE = [audio(0, 0), said(1, 4, ChunkNote()), audio(2, 4), said(3, 8, ChunkNote(pauses=((0, 8),)), Kind.END)]


def heard(walk: Walk, chunks: list[Chunk]) -> list[int]:
    """The left channel."""
    return [int(sample) for block in walk.blocks(chunks) for sample in block[:, 0]]


def test_whole_it_is_complete() -> None:
    walk = Walk()
    assert heard(walk, WHOLE) == [1] * 4 + [3] * 4
    assert (walk.complete, walk.position, walk.rate, walk.pauses) == (True, 8, RATE, ((0.0, 0.001),))
    assert walk.note == ChunkNote(pauses=((0, 8),))


@pytest.mark.parametrize(
    ("left", "sound"),
    [
        (WHOLE[1:], [0] * 4 + [3] * 4),
        (WHOLE[:1] + WHOLE[2:], [1] * 4 + [3] * 4),
        (WHOLE[:2] + WHOLE[3:], [1] * 4 + [0] * 4),
        (WHOLE[:3], [1] * 4 + [3] * 4),
        (WHOLE[3:], [0] * 8),
    ],
)
def test_what_is_missing_is_silence_and_told(left: list[Chunk], sound: list[int]) -> None:
    """Also before the end: how long it was is known."""
    walk = Walk()
    assert heard(walk, left) == sound
    assert not walk.complete


def test_dropped_frames_make_it_incomplete() -> None:
    walk = Walk()
    heard(walk, [*WHOLE[:3], said(3, 8, ChunkNote(drops=1), Kind.END)])
    assert (walk.unbroken, walk.ended, walk.complete) == (True, True, False)


def test_a_long_silence_comes_in_blocks() -> None:
    blocks = list(Walk().blocks([audio(0, 2 * BLOCK_FRAMES + 5)]))
    assert [len(block) for block in blocks] == [BLOCK_FRAMES, BLOCK_FRAMES, 5, 4]


@pytest.mark.parametrize(
    "strange",
    [
        replace(audio(1, 4), rate=16000),
        audio(1, 3),
        replace(said(1, 4, ChunkNote()), payload=b"not json"),
        replace(said(1, 4, ChunkNote()), payload=b"[]"),
        replace(said(1, 4, ChunkNote()), payload=b"{}"),
    ],
)
def test_what_no_tap_writes_breaks_it_and_ends_nothing(strange: Chunk) -> None:
    walk = Walk()
    assert heard(walk, [WHOLE[0], strange, *WHOLE[2:]]) == [1] * 4 + [3] * 4
    assert (walk.unbroken, walk.complete) == (False, False)


def test_of_nothing_nothing_is_known() -> None:
    walk = Walk()
    assert heard(walk, []) == []
    assert (walk.complete, walk.rate, walk.pauses) == (False, 0, ())
