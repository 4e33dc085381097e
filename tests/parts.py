"""Parts of recordings as a tap writes them, and chunks of them, for the tests of their format."""

import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from media.recording.chunks import Block, Chunk, ChunkNote, Kind, PartWriter, Sealer, create_part

RATE = 8000
KEY = bytes(range(32))
WELL = ChunkNote()


def noise(frames: int, seed: int = 0) -> Block:
    """Loud, with the extremes in it: nothing that an encoder could round, clip or shift unseen."""
    block = np.random.default_rng(seed).integers(-32768, 32768, (frames, 2), dtype=np.int16)
    block[:2] = np.array([[-32768, 32767], [32767, -32768]])[:frames]
    return block


def write_part(
    path: Path,
    blocks: Sequence[Block],
    rate: int = RATE,
    key: bytes | None = None,
    note: ChunkNote | None = WELL,
) -> bytes:
    """A chunk for each block and, unless `note` is None, its end; what was written."""
    writer = PartWriter(create_part(path), rate, Sealer(key).seal if key else None)
    for block in blocks:
        writer.write_audio(block)
    if note is not None:
        writer.write_note(note, Kind.END)
    writer.close()
    return path.read_bytes()


def audio(sequence: int, position: int = 0, frames: int = 4, rate: int = RATE) -> Chunk:
    """Every sample of it says its sequence."""
    payload = np.full((frames, 2), sequence + 1, dtype=np.int16).tobytes()
    return Chunk(
        kind=Kind.AUDIO, sequence=sequence, position=position, rate=rate, frames=frames, payload=payload
    )


def said(sequence: int, note: ChunkNote = WELL, kind: Kind = Kind.NOTE, position: int = 0) -> Chunk:
    payload = note.to_payload()
    return Chunk(kind=kind, sequence=sequence, position=position, rate=RATE, frames=0, payload=payload)


@contextmanager
def no_more_than(size: int) -> Iterator[None]:
    """No file may grow beyond it, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
