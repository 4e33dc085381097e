"""Where the streams of a sealed file begin, so that a span of its sound can be given without the rest.

No key is needed, and little is read: of all chunks their headers, and whole only those that begin a stream.
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

from media.recording.chunks import HEADER_SIZE, Chunk, Coding, Readable, find_magic, read_chunk, read_header


@dataclass(frozen=True, slots=True)
class Streams:
    """The streams of one file: their first samples per channel and their first bytes, both rising.

    `samples` and `size` are where the last one ends; `rate`, in Hz, is 0 where there is no stream at all.
    """

    rate: int
    positions: tuple[int, ...]
    offsets: tuple[int, ...]
    samples: int
    size: int

    def span(self, first: int, last: int) -> tuple[range, range]:
        """The samples and the bytes of the streams that hold sample `first` up to `last`.

        What precedes the first stream belongs to it. Empty if `first` is at the end or beyond.
        """
        if first >= self.samples:
            return range(self.samples, self.samples), range(self.size, self.size)
        positions = (0, *self.positions[1:], self.samples)
        offsets = (0, *self.offsets[1:], self.size)
        begin = bisect_right(positions, first) - 1
        end = max(begin + 1, bisect_left(positions, min(last, self.samples)))
        return range(positions[begin], positions[end]), range(offsets[begin], offsets[end])


def find_streams(file: Readable) -> Streams:
    """The streams of a sealed file, as far as they can be found. Raises OSError.

    One whose first chunk is damaged is not found, and belongs to the one before it.
    """
    size = file.seek(0, 2)
    found: list[tuple[int, Chunk]] = []
    offset: int | None = 0
    doubtful: int | None = None  # a chunk of which only the header was read, right before `offset`
    while offset is not None and offset < size:
        file.seek(offset)
        header = read_header(file.read(HEADER_SIZE))
        begun = read_chunk(file, offset) if header and header.coding is Coding.SEALED else None
        if header is None or (header.coding is Coding.SEALED and begun is None):
            damaged, doubtful = offset if doubtful is None else doubtful, None
            offset = find_magic(file, damaged + 1)
            continue
        if begun is not None and _follows(begun, found):
            found.append((offset, begun))
        doubtful = offset if begun is None else None
        offset += HEADER_SIZE + header.length
    if not found:
        return Streams(0, (), (), 0, size)
    positions, offsets = tuple(chunk.position for _, chunk in found), tuple(at for at, _ in found)
    return Streams(found[0][1].rate, positions, offsets, _end(file, *found[-1]), size)


def _follows(chunk: Chunk, found: list[tuple[int, Chunk]]) -> bool:
    """Whether a stream goes on where the one before it can have ended."""
    if not found:
        return True
    last = found[-1][1]
    return (
        chunk.rate == last.rate
        and chunk.sequence > last.sequence
        and chunk.position >= last.position + last.frames
    )


def _end(file: Readable, offset: int, begun: Chunk) -> int:
    """The sample at which the last stream ends."""
    at: int | None = offset
    last = begun
    while at is not None:
        chunk = read_chunk(file, at)
        if chunk is None or chunk.sequence < last.sequence:
            at = find_magic(file, at + 1)
            continue
        if chunk.rate == last.rate and chunk.position >= last.position:
            last = chunk
        at += HEADER_SIZE + len(chunk.payload)
    return last.position + last.frames
