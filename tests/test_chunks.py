"""The format of a part: its test vector, and every way in which a file can be cut or damaged."""

import os
import stat
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.recording.chunks import (
    Block,
    Chunk,
    ChunkNote,
    Coding,
    Kind,
    PartWriter,
    create_part,
    pack,
    read_part,
)

VECTOR = bytes.fromhex(
    "f6534950"  # magic
    "01000002"  # version, audio, in clear, two channels
    "03000000"  # sequence
    "401f000000000000"  # position: one second
    "401f0000"  # 8000 Hz
    "02000000"  # two samples per channel
    "08000000"  # eight bytes
    "c9854bed"  # CRC-32
    "0100ffff0080ff7f"  # left 1, right -1; left -32768, right 32767
)
SAMPLES = np.array([[1, -1], [-32768, 32767]], dtype=np.int16)


def noise(frames: int, seed: int = 0) -> Block:
    return np.random.default_rng(seed).integers(-32768, 32768, (frames, 2), dtype=np.int16)


def write_part(path: Path, blocks: list[Block], *, ended: bool = True) -> None:
    writer = PartWriter(create_part(path), 8000)
    for block in blocks:
        writer.write_audio(block)
    if ended:
        writer.write_note(ChunkNote(), Kind.END)
    writer.close()


def test_vector_is_written_as_documented() -> None:
    chunk = Chunk(
        kind=Kind.AUDIO,
        sequence=3,
        position=8000,
        rate=8000,
        frames=2,
        payload=SAMPLES.astype("<i2").tobytes(),
    )
    assert pack(chunk).hex() == VECTOR.hex()


def test_vector_is_read_as_documented(tmp_path: Path) -> None:
    path = tmp_path / "a.part"
    path.write_bytes(VECTOR)
    [chunk] = read_part(path)
    assert (chunk.kind, chunk.sequence, chunk.position, chunk.rate, chunk.frames) == (
        Kind.AUDIO,
        3,
        8000,
        8000,
        2,
    )
    assert np.array_equal(chunk.samples, SAMPLES)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.part"
    note = ChunkNote(drops=2, pauses=((80, 240), (800, None)))
    writer = PartWriter(create_part(path), 16000)
    writer.write_audio(noise(500, 1))
    writer.write_note(note)
    writer.write_audio(noise(300, 2))
    writer.write_note(ChunkNote(), Kind.END)
    writer.close()
    chunks = list(read_part(path))
    assert [chunk.kind for chunk in chunks] == [Kind.AUDIO, Kind.NOTE, Kind.AUDIO, Kind.END]
    assert [chunk.sequence for chunk in chunks] == [0, 1, 2, 3]
    assert [chunk.position for chunk in chunks] == [0, 500, 500, 800]
    assert {chunk.rate for chunk in chunks} == {16000}
    assert np.array_equal(chunks[2].samples, noise(300, 2))
    assert chunks[1].note == note
    assert chunks[1].samples.shape == (0, 2)


def test_an_empty_part_has_no_chunks(tmp_path: Path) -> None:
    path = tmp_path / "a.part"
    path.touch()
    assert list(read_part(path)) == []


def test_a_part_is_its_owners_alone_and_new(tmp_path: Path) -> None:
    path = tmp_path / "a.part"
    os.close(create_part(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        create_part(path)


def test_a_part_is_never_made_or_read_through_a_link(tmp_path: Path) -> None:
    link = tmp_path / "a.part"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        create_part(link)
    assert not (tmp_path / "elsewhere").exists()
    (tmp_path / "elsewhere").write_bytes(VECTOR)
    with pytest.raises(OSError, match="symbolic links"):
        list(read_part(link))


def test_a_deleted_part_is_noticed(tmp_path: Path) -> None:
    writer = PartWriter(create_part(tmp_path / "a.part"), 8000)
    assert writer.is_linked()
    (tmp_path / "a.part").unlink()
    assert not writer.is_linked()
    writer.close()


def test_a_full_disk_is_an_error() -> None:
    writer = PartWriter(os.open("/dev/full", os.O_WRONLY), 8000)
    with pytest.raises(OSError, match="No space left"):
        writer.write_audio(noise(8000))
    writer.close()


def test_pauses_in_seconds_end_with_the_recording() -> None:
    note = ChunkNote(pauses=((801, 1600), (8000, None), (9000, 9100)))
    assert note.pauses_s(8000, 8800) == ((0.1, 0.2), (1.0, 1.1))


BLOCKS = [noise(size, size) for size in (40, 1, 25, 60, 8)]
WHOLE = b"".join(
    pack(
        Chunk(
            kind=Kind.AUDIO,
            sequence=sequence,
            position=sum(len(earlier) for earlier in BLOCKS[:sequence]),
            rate=8000,
            frames=len(block),
            payload=block.tobytes(),
        )
    )
    for sequence, block in enumerate(BLOCKS)
)
ENDS = list(accumulate(36 + block.nbytes for block in BLOCKS))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damage") / "a.part"


def test_the_writer_writes_what_the_damage_is_done_to(tmp_path: Path) -> None:
    write_part(tmp_path / "a.part", BLOCKS, ended=False)
    assert (tmp_path / "a.part").read_bytes() == WHOLE


def test_cut_at_any_byte_all_whole_chunks_before_the_cut_are_read(scratch: Path) -> None:
    for cut in range(len(WHOLE) + 1):
        scratch.write_bytes(WHOLE[:cut])
        assert [chunk.sequence for chunk in read_part(scratch)] == [
            sequence for sequence, end in enumerate(ENDS) if end <= cut
        ]


@given(place=st.integers(0, len(WHOLE) - 1), flip=st.integers(1, 255))
@settings(deadline=None)
def test_any_changed_byte_costs_its_chunk_and_no_other(scratch: Path, place: int, flip: int) -> None:
    damaged = bytearray(WHOLE)
    damaged[place] ^= flip
    scratch.write_bytes(damaged)
    hit = next(sequence for sequence, end in enumerate(ENDS) if place < end)
    chunks = list(read_part(scratch))
    assert [chunk.sequence for chunk in chunks] == [n for n in range(len(BLOCKS)) if n != hit]
    assert all(np.array_equal(chunk.samples, BLOCKS[chunk.sequence]) for chunk in chunks)


@given(garbage=st.binary(max_size=300), place=st.integers(0, len(BLOCKS)))
@settings(deadline=None)
def test_bytes_that_are_no_chunk_are_passed_over(scratch: Path, garbage: bytes, place: int) -> None:
    at = ENDS[place - 1] if place else 0
    scratch.write_bytes(WHOLE[:at] + garbage + WHOLE[at:])
    assert [chunk.sequence for chunk in read_part(scratch)] == list(range(len(BLOCKS)))


def test_a_large_hole_is_passed_over(scratch: Path) -> None:
    for size in (65535, 65536, 65537, 200_001):
        scratch.write_bytes(WHOLE[: ENDS[0]] + bytes(size) + WHOLE[ENDS[0] :])
        assert len(list(read_part(scratch))) == len(BLOCKS)


def test_a_chunk_that_comes_twice_is_read_once(scratch: Path) -> None:
    scratch.write_bytes(WHOLE + WHOLE)
    assert [chunk.sequence for chunk in read_part(scratch)] == list(range(len(BLOCKS)))


def test_sound_without_a_rate_is_no_audio(scratch: Path) -> None:
    """Nothing of ours has none, and whoever divides by it must not meet it."""
    scratch.write_bytes(
        pack(Chunk(kind=Kind.AUDIO, sequence=0, position=0, rate=0, frames=2, payload=bytes(8)))
    )
    assert list(read_part(scratch)) == []


def test_a_payload_of_the_wrong_length_is_no_audio(scratch: Path) -> None:
    scratch.write_bytes(
        pack(Chunk(kind=Kind.AUDIO, sequence=0, position=0, rate=8000, frames=3, payload=bytes(8)))
    )
    assert list(read_part(scratch)) == []


@pytest.mark.parametrize(
    ("coding", "length", "accepted"),
    [
        (0, 8, True),
        (0, 25, False),
        (1, 49, True),
        (1, 8, False),
        (2, 25, True),
        (2, 49, False),
        (3, 8, False),
    ],
)
def test_a_sealed_payload_is_longer_by_its_seal(
    scratch: Path, coding: int, length: int, accepted: bool
) -> None:
    """It is walked over, and its CRC checked, by whoever has no key."""
    content = pack(
        Chunk(
            kind=Kind.AUDIO,
            coding=coding,  # type: ignore[arg-type]
            sequence=0,
            position=0,
            rate=8000,
            frames=2,
            payload=bytes(length),
        )
    )
    scratch.write_bytes(content + WHOLE[ENDS[0] :])
    chunks = list(read_part(scratch))
    assert [chunk.sequence for chunk in chunks] == [*([0] if accepted else []), 1, 2, 3, 4]
    assert chunks[0].sealed is (accepted and coding > 0)


@pytest.mark.parametrize(("coding", "extra"), [(0, 0), (1, 41), (2, 17)])
def test_a_note_is_told_from_its_seal(scratch: Path, coding: int, extra: int) -> None:
    said = Chunk(
        kind=Kind.END,
        coding=coding,  # type: ignore[arg-type]
        sequence=0,
        position=0,
        rate=8000,
        frames=0,
        payload=bytes(extra) + ChunkNote(drops=1).to_payload(),
    )
    scratch.write_bytes(pack(said))
    assert [chunk.note for chunk in read_part(scratch)] == [ChunkNote(drops=1)]
    scratch.write_bytes(pack(replace(said, frames=1)))
    assert list(read_part(scratch)) == []
    if extra:
        scratch.write_bytes(pack(replace(said, payload=bytes(extra - 1))))
        assert list(read_part(scratch)) == []


def test_whoever_seals_gets_every_chunk_and_is_written_in_its_place(tmp_path: Path) -> None:
    asked: list[Chunk] = []

    def seal(chunk: Chunk) -> Chunk:
        asked.append(chunk)
        return replace(chunk, coding=Coding.CONTINUED, payload=bytes(17) + chunk.payload)

    writer = PartWriter(create_part(tmp_path / "a.part"), 8000, seal)
    writer.write_audio(SAMPLES)
    writer.write_note(ChunkNote(), Kind.END)
    writer.close()
    stored = list(read_part(tmp_path / "a.part"))
    assert [chunk.coding for chunk in stored] == [2, 2]
    assert [replace(chunk, coding=Coding.CLEAR, payload=chunk.payload[17:]) for chunk in stored] == asked
    assert [chunk.head for chunk in stored] == [pack(chunk)[:24] for chunk in stored]
