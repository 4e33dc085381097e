"""The seal of a part: what it hides, what it vouches for, and what a damaged byte costs."""

from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from media.recording.chunks import (
    STREAM_S,
    Block,
    Chunk,
    ChunkNote,
    Coding,
    Kind,
    Opener,
    PartWriter,
    Sealer,
    create_part,
    open_all,
    pack,
    read_part,
)

KEY, OTHER_KEY = bytes(range(32)), bytes(32)
RATE = 8000


def noise(frames: int, seed: int = 0) -> Block:
    return np.random.default_rng(seed).integers(-32768, 32768, (frames, 2), dtype=np.int16)


def audio(sequence: int, frames: int = 4, *, position: int = 0, rate: int = RATE) -> Chunk:
    payload = noise(frames, sequence).tobytes()
    return Chunk(
        kind=Kind.AUDIO, sequence=sequence, position=position, rate=rate, frames=frames, payload=payload
    )


def said(sequence: int, note: ChunkNote, kind: Kind = Kind.NOTE, *, position: int = 0) -> Chunk:
    payload = note.to_payload()
    return Chunk(kind=kind, sequence=sequence, position=position, rate=RATE, frames=0, payload=payload)


def in_streams(chunks: list[Chunk], key: bytes = KEY) -> list[Chunk]:
    """As they are stored."""
    sealer = Sealer(key)
    return [sealer.seal(chunk) for chunk in chunks]


# --- one chunk ---


def test_a_sealed_chunk_is_opened_by_its_key() -> None:
    chunks = [audio(0), audio(1, position=4), said(2, ChunkNote(drops=3), Kind.END, position=8)]
    stored = in_streams(chunks)
    assert [chunk.coding for chunk in stored] == [Coding.SEALED, Coding.CONTINUED, Coding.CONTINUED]
    assert [len(chunk.payload) - chunk.coding.extra for chunk in stored] == [16, 16, len(chunks[2].payload)]
    assert list(open_all(stored, KEY)) == chunks


def test_no_sound_is_left_in_clear() -> None:
    chunk = replace(audio(0), payload=b"a card number 16")
    stored = in_streams([chunk, replace(chunk, sequence=1)])
    assert b"card" not in b"".join(pack(one) for one in stored)
    assert stored[0].payload[24:] != stored[1].payload
    for one in stored:
        with pytest.raises(ValueError, match="is sealed"):
            _ = one.samples


def test_the_same_sound_never_looks_the_same() -> None:
    """Not in one file, and not in two under the same key."""
    sealed = [in_streams([audio(0), replace(audio(0), sequence=1)]) for _ in range(2)]
    messages = {chunk.payload[-chunk.frames * 4 :] for chunks in sealed for chunk in chunks}
    assert len(messages) == 4


def test_a_note_can_be_read_without_the_key_and_not_be_altered() -> None:
    note = ChunkNote(drops=2, pauses=((800, 1600),))
    [stored] = in_streams([said(0, note, Kind.END)])
    assert stored.note == note
    altered = stored.payload.replace(b"1600", b"9600")
    assert replace(stored, payload=altered).note.pauses == ((800, 9600),)
    assert Opener(KEY).open(replace(stored, payload=altered)) is None


def test_another_key_opens_nothing() -> None:
    assert list(open_all(in_streams([audio(0), audio(1), said(2, ChunkNote(), Kind.END)]), OTHER_KEY)) == []


@pytest.mark.parametrize(
    "change",
    [
        {"sequence": 7},
        {"position": 8},
        {"rate": 16000},
        {"kind": Kind.NOTE, "frames": 0},
        {"coding": Coding.CONTINUED},
        {"coding": Coding.CLEAR},
    ],
)
def test_a_chunk_put_elsewhere_or_called_otherwise_does_not_open(change: dict[str, object]) -> None:
    [stored] = in_streams([audio(0)])
    assert Opener(KEY).open(stored) is not None
    assert Opener(KEY).open(replace(stored, **change)) is None  # type: ignore[arg-type]


def test_no_note_can_be_made_an_end_nor_an_end_a_note() -> None:
    """A cut cannot be hidden: only who has the key can write an end."""
    [note], [end] = in_streams([said(0, ChunkNote())]), in_streams([said(0, ChunkNote(), Kind.END)])
    assert Opener(KEY).open(replace(note, kind=Kind.END)) is None
    assert Opener(KEY).open(replace(end, kind=Kind.NOTE)) is None


def test_an_end_that_is_not_final_is_none() -> None:
    """Whatever wrote it was not a tap."""
    sealer = Sealer(KEY)
    sealed = replace(said(0, ChunkNote()), coding=Coding.SEALED)
    posing = replace(sealed, kind=Kind.END)
    message = sealer.seal(said(0, ChunkNote())).payload
    assert Opener(KEY).open(replace(posing, payload=message)) is None


def test_what_was_never_sealed_is_not_taken_for_sealed() -> None:
    stored = [*in_streams([audio(0), audio(1)]), audio(2), *in_streams([audio(3)])]
    assert [chunk.sequence for chunk in open_all(stored, KEY)] == [0, 1, 3]


def test_chunks_of_two_files_under_one_key_do_not_mix() -> None:
    one, other = in_streams([audio(0), audio(1)]), in_streams([audio(0), audio(1)])
    assert [chunk.sequence for chunk in open_all([one[0], other[1]], KEY)] == [0]


def test_a_key_is_32_bytes() -> None:
    for make in (Sealer, Opener):
        with pytest.raises(ValueError, match="a key of 31 bytes; accepted: 32"):
            make(bytes(31))


# --- streams ---


def minute_of(seconds: float) -> list[Chunk]:
    """A minute in chunks of so many seconds, then its end."""
    frames = round(seconds * RATE)
    places = range(0, 60 * RATE, frames)
    chunks = [audio(n, min(frames, 60 * RATE - at), position=at) for n, at in enumerate(places)]
    return [*chunks, said(len(chunks), ChunkNote(), Kind.END, position=60 * RATE)]


@pytest.mark.parametrize("seconds", [0.3, 0.4, 1.0])
def test_no_stream_holds_more_sound_than_it_may(seconds: float) -> None:
    stored = in_streams(minute_of(seconds))
    begins = [chunk.position for chunk in stored if chunk.coding is Coding.SEALED]
    spans = np.diff([*begins, 60 * RATE]) / RATE
    assert begins[0] == 0
    assert spans.max() <= STREAM_S <= 60
    assert spans[:-1].min() > STREAM_S - seconds
    assert stored[-1].coding is Coding.CONTINUED


def test_a_missing_chunk_costs_the_rest_of_its_stream() -> None:
    stored = in_streams(minute_of(1.0))
    begins = [n for n, chunk in enumerate(stored) if chunk.coding is Coding.SEALED]
    for lost in (0, 1, 15, 59):
        left = [chunk.sequence for chunk in open_all(stored[:lost] + stored[lost + 1 :], KEY)]
        again = min((n for n in begins if n > lost), default=len(stored))
        assert left == [*range(lost), *range(again, len(stored))]


# --- files ---


SIZES = (40, 1, 25, 60, 8, 33, 17)
SLOW = 6  # Hz: a stream holds 60 samples


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sealed") / "a.part"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file of several short streams."""
    path = tmp_path_factory.mktemp("whole") / "a.part"
    writer = PartWriter(create_part(path), SLOW, Sealer(KEY).seal)
    for size in SIZES:
        writer.write_audio(noise(size, size))
    writer.write_note(ChunkNote(), Kind.END)
    writer.close()
    return path.read_bytes()


@pytest.fixture(scope="module")
def stored(whole: bytes, scratch: Path) -> list[Chunk]:
    scratch.write_bytes(whole)
    return list(read_part(scratch))


def ends(stored: list[Chunk]) -> list[int]:
    """Where each chunk ends in the file."""
    return list(accumulate(len(pack(chunk)) for chunk in stored))


def test_the_file_has_several_streams(stored: list[Chunk], whole: bytes) -> None:
    assert b"".join(pack(chunk) for chunk in stored) == whole
    assert [chunk.coding for chunk in stored] == [1, 2, 1, 1, 1, 2, 2, 2]


def test_cut_at_any_byte_all_whole_chunks_before_the_cut_are_read(
    scratch: Path, whole: bytes, stored: list[Chunk]
) -> None:
    for cut in range(len(whole) + 1):
        scratch.write_bytes(whole[:cut])
        opened = [chunk.sequence for chunk in open_all(read_part(scratch), KEY)]
        assert opened == [sequence for sequence, end in enumerate(ends(stored)) if end <= cut]


@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
@settings(deadline=None)
def test_any_changed_byte_costs_at_most_the_rest_of_its_stream(
    scratch: Path, whole: bytes, stored: list[Chunk], place: float, flip: int
) -> None:
    damaged, at = bytearray(whole), int(place * len(whole))
    damaged[at] ^= flip
    scratch.write_bytes(damaged)
    hit = next(sequence for sequence, end in enumerate(ends(stored)) if at < end)
    after = (n for n, chunk in enumerate(stored) if n > hit and chunk.coding is Coding.SEALED)
    again = next(after, len(stored))
    opened = list(open_all(read_part(scratch), KEY))
    assert [chunk.sequence for chunk in opened] == [*range(hit), *range(again, len(stored))]
    for chunk in opened[: len(SIZES)]:
        if chunk.kind is Kind.AUDIO:
            assert np.array_equal(chunk.samples, noise(SIZES[chunk.sequence], SIZES[chunk.sequence]))


@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
@settings(deadline=None)
def test_who_mends_the_crc_after_changing_a_byte_gains_nothing(
    scratch: Path, stored: list[Chunk], place: float, flip: int
) -> None:
    """A CRC is no seal: anyone can make it."""
    clear = list(open_all(stored, KEY))
    hit = int(place * len(stored))
    payload = bytearray(stored[hit].payload)
    payload[int(place * 7919) % len(payload)] ^= flip
    forged = [*stored[:hit], replace(stored[hit], payload=bytes(payload)), *stored[hit + 1 :]]
    scratch.write_bytes(b"".join(pack(chunk) for chunk in forged))
    assert len(list(read_part(scratch))) == len(stored)
    opened = list(open_all(read_part(scratch), KEY))
    assert all(chunk == clear[chunk.sequence] for chunk in opened)
    assert hit not in [chunk.sequence for chunk in opened]
