"""Walks through the chunks of a recording: its sound, in its place, and whether anything is missing."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from media.recording.chunks import CHANNELS, Block, Chunk, ChunkNote, Kind

BLOCK_FRAMES = 1 << 15  # that are held at once


@dataclass(slots=True)
class Walk:
    """What has been read of a part so far."""

    rate: int = 0  # 0: the first sound decides
    chunks: int = 0
    position: int = 0
    note: ChunkNote = field(default_factory=ChunkNote)
    unbroken: bool = True
    ended: bool = False

    @property
    def complete(self) -> bool:
        return self.ended and self.unbroken and self.note.drops == 0

    @property
    def pauses(self) -> tuple[tuple[float, float], ...]:
        return self.note.pauses_s(self.rate, self.position) if self.rate else ()

    def follow(self, chunks: Iterable[Chunk]) -> Iterator[tuple[int, Chunk]]:
        """The chunks that continue the recording, each with the number of samples missing before it."""
        for chunk in chunks:
            self.unbroken &= chunk.sequence == self.chunks
            self.chunks = chunk.sequence + 1
            self.ended = chunk.kind is Kind.END
            self.rate = self.rate or chunk.rate
            if chunk.rate != self.rate or chunk.position < self.position:
                self.unbroken = False
                continue
            if chunk.kind is not Kind.AUDIO:
                self._learn(chunk)
            missing = chunk.position - self.position
            self.position = chunk.position + chunk.frames
            yield missing, chunk

    def blocks(self, chunks: Iterable[Chunk]) -> Iterator[Block]:
        """The sound of chunks in clear, each in its place."""
        for missing, chunk in self.follow(chunks):
            for start in range(0, missing, BLOCK_FRAMES):
                yield np.zeros((min(missing - start, BLOCK_FRAMES), CHANNELS), dtype=np.int16)
            if chunk.frames:
                yield chunk.samples

    def _learn(self, chunk: Chunk) -> None:
        try:
            self.note = chunk.note
        except (ValueError, KeyError, TypeError):  # not of our writing
            self.unbroken = False
