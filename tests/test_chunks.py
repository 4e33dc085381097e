"""The format of a part, in clear and sealed: its test vector, every way in which a file can be cut, damaged
or forged, and where the streams of a sealed one begin."""

import io
import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media.recording import chunks
from media.recording.assemble import Walk
from media.recording.chunks import (
    STREAM_S,
    Chunk,
    ChunkNote,
    Coding,
    FileStreams,
    Kind,
    Opener,
    PartWriter,
    Sealer,
    create_part,
    find_streams,
    open_all,
    pack,
    read_part,
)
from tests.parts import KEY, RATE, audio, noise, said, write_part

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
SIZES = (40, 1, 25, 60, 8, 33, 17)
SLOW = 6  # Hz: a stream holds 60 samples


def sequences(chunks: Sequence[Chunk]) -> list[int]:
    return [chunk.sequence for chunk in chunks]


def test_the_vector_is_written_and_read_as_documented(tmp_path: Path) -> None:
    payload = SAMPLES.astype("<i2").tobytes()
    chunk = Chunk(kind=Kind.AUDIO, sequence=3, position=8000, rate=8000, frames=2, payload=payload)
    assert pack(chunk).hex() == VECTOR.hex()
    (tmp_path / "a.part").write_bytes(VECTOR)
    [read] = read_part(tmp_path / "a.part")
    assert read == chunk and np.array_equal(read.samples, SAMPLES)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    path, note = tmp_path / "a.part", ChunkNote(drops=2, pauses=((80, 240), (800, None)))
    writer = PartWriter(create_part(path), 16000)
    assert list(read_part(path)) == [] and stat.S_IMODE(path.stat().st_mode) == 0o600
    writer.write_audio(noise(500, 1))
    writer.write_note(note)
    writer.write_audio(noise(300, 2))
    writer.write_note(ChunkNote(), Kind.END)
    chunks = list(read_part(path))
    assert [chunk.kind for chunk in chunks] == [Kind.AUDIO, Kind.NOTE, Kind.AUDIO, Kind.END]
    assert (sequences(chunks), [chunk.position for chunk in chunks]) == ([0, 1, 2, 3], [0, 500, 500, 800])
    assert {chunk.rate for chunk in chunks} == {16000} and chunks[1].note == note
    assert np.array_equal(chunks[2].samples, noise(300, 2)) and chunks[1].samples.shape == (0, 2)
    assert writer.is_linked()
    path.unlink()
    assert not writer.is_linked()
    writer.close()


def test_a_part_is_new_and_never_made_or_read_through_a_link(tmp_path: Path) -> None:
    link = tmp_path / "a.part"
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        create_part(link)
    assert not (tmp_path / "elsewhere").exists()
    (tmp_path / "elsewhere").write_bytes(VECTOR)
    with pytest.raises(OSError, match="symbolic links"):
        list(read_part(link))


def test_pauses_in_seconds_end_with_the_recording() -> None:
    note = ChunkNote(pauses=((801, 1600), (8000, None), (9000, 9100)))
    assert note.pauses_s(8000, 8800) == ((0.1, 0.2), (1.0, 1.1))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damage") / "a.part"


@pytest.fixture(scope="module", params=[None, KEY], ids=["clear", "sealed"])
def key(request: pytest.FixtureRequest) -> bytes | None:
    found: bytes | None = request.param
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, key: bytes | None) -> bytes:
    blocks = [noise(size, size) for size in SIZES]
    return write_part(tmp_path_factory.mktemp("whole") / "a.part", blocks, SLOW, key)


@pytest.fixture(scope="module")
def stored(whole: bytes, scratch: Path) -> list[Chunk]:
    scratch.write_bytes(whole)
    chunks = list(read_part(scratch))
    assert b"".join(pack(chunk) for chunk in chunks) == whole
    assert [chunk.coding for chunk in chunks] in ([0] * 8, [1, 2, 1, 1, 1, 2, 2, 2])
    return chunks


def ends(stored: list[Chunk]) -> list[int]:
    """Where each chunk ends in the file."""
    return list(accumulate(len(pack(chunk)) for chunk in stored))


def opened(scratch: Path, key: bytes | None) -> list[Chunk]:
    return list(read_part(scratch) if key is None else open_all(read_part(scratch), key))


def after_losing(stored: list[Chunk], hit: int) -> list[int]:
    """All but one chunk; of a sealed file also without the rest of its stream."""
    begins = (n for n, chunk in enumerate(stored) if n > hit and chunk.coding is not Coding.CONTINUED)
    return [*range(hit), *range(next(begins, len(stored)), len(stored))]


@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
@settings(deadline=None)
def test_any_changed_byte_costs_at_most_its_chunk_and_the_rest_of_its_stream(
    scratch: Path, whole: bytes, stored: list[Chunk], key: bytes | None, *, place: float, flip: int
) -> None:
    damaged, at = bytearray(whole), int(place * len(whole))
    damaged[at] ^= flip
    scratch.write_bytes(damaged)
    hit = next(n for n, end in enumerate(ends(stored)) if at < end)
    chunks = opened(scratch, key)
    assert sequences(chunks) == after_losing(stored, hit)
    for chunk in chunks:
        if chunk.kind is Kind.AUDIO:
            assert np.array_equal(chunk.samples, noise(SIZES[chunk.sequence], SIZES[chunk.sequence]))


@given(garbage=st.binary(max_size=300), place=st.integers(0, len(SIZES) + 1))
@settings(deadline=None)
def test_bytes_that_are_no_chunk_are_passed_over(
    scratch: Path, whole: bytes, stored: list[Chunk], key: bytes | None, *, garbage: bytes, place: int
) -> None:
    at = [0, *ends(stored)][place]
    scratch.write_bytes(whole[:at] + garbage + whole[at:])
    assert sequences(opened(scratch, key)) == sequences(stored)


@pytest.mark.parametrize("size", [65535, 65536, 65537, 200_001])
def test_a_large_hole_is_passed_over_and_what_comes_twice_is_read_once(scratch: Path, size: int) -> None:
    chunks = [pack(audio(n)) for n in range(3)]
    scratch.write_bytes(chunks[0] + bytes(size) + b"".join(chunks[1:]) + b"".join(chunks))
    assert sequences(list(read_part(scratch))) == [0, 1, 2]


@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
@settings(deadline=None)
def test_who_mends_the_crc_after_changing_a_byte_gains_nothing(
    scratch: Path, stored: list[Chunk], key: bytes | None, *, place: float, flip: int
) -> None:
    """A CRC is no seal: anyone can make it."""
    if key is None:
        return
    clear, hit = list(open_all(stored, key)), int(place * len(stored))
    payload = bytearray(stored[hit].payload)
    payload[int(place * 7919) % len(payload)] ^= flip
    forged = [*stored[:hit], replace(stored[hit], payload=bytes(payload)), *stored[hit + 1 :]]
    scratch.write_bytes(b"".join(pack(chunk) for chunk in forged))
    assert len(list(read_part(scratch))) == len(stored)
    chunks = opened(scratch, key)
    assert all(chunk == clear[chunk.sequence] for chunk in chunks) and hit not in sequences(chunks)


# kind, coding, rate, frames and length of the payload; whether it is a chunk
SHAPES = [
    ((Kind.AUDIO, 0, 8000, 2, 8), True),
    ((Kind.AUDIO, 0, 0, 2, 8), False),
    ((Kind.AUDIO, 0, 8000, 3, 8), False),
    ((Kind.AUDIO, 0, 8000, 2, 25), False),
    ((Kind.AUDIO, 1, 8000, 2, 49), True),
    ((Kind.AUDIO, 1, 8000, 2, 8), False),
    ((Kind.AUDIO, 2, 8000, 2, 25), True),
    ((Kind.AUDIO, 2, 8000, 2, 49), False),
    ((Kind.AUDIO, 3, 8000, 2, 8), False),
    *(((Kind.END, coding, 8000, 0, extra + 9), True) for coding, extra in ((0, 0), (1, 41), (2, 17))),
    *(((Kind.END, coding, 8000, 1, extra + 9), False) for coding, extra in ((0, 0), (1, 41), (2, 17))),
    *(((Kind.END, coding, 8000, 0, extra - 1), False) for coding, extra in ((1, 41), (2, 17))),
]


@pytest.mark.parametrize(("shape", "accepted"), SHAPES)
def test_what_is_a_chunk_and_what_is_none(
    scratch: Path, shape: tuple[Kind, int, int, int, int], accepted: bool
) -> None:
    """It is walked over, and its CRC checked, by whoever has no key."""
    kind, coding, rate, frames, length = shape
    odd = Chunk(
        kind=kind,
        coding=coding,  # type: ignore[arg-type]
        sequence=0,
        position=0,
        rate=rate,
        frames=frames,
        payload=bytes(length),
    )
    scratch.write_bytes(pack(odd) + pack(audio(1)))
    chunks = list(read_part(scratch))
    assert sequences(chunks) == [*([0] if accepted else []), 1]
    assert chunks[0].sealed is (accepted and coding > 0)


def in_streams(*chunks: Chunk, key: bytes = KEY) -> list[Chunk]:
    """As they are stored."""
    sealer = Sealer(key)
    return [sealer.seal(chunk) for chunk in chunks]


def test_a_sealed_chunk_is_opened_by_its_key_alone() -> None:
    chunks = [audio(0), audio(1, position=4), said(2, ChunkNote(drops=3), Kind.END, position=8)]
    stored = in_streams(*chunks)
    assert [chunk.coding for chunk in stored] == [Coding.SEALED, Coding.CONTINUED, Coding.CONTINUED]
    assert [len(chunk.payload) - chunk.coding.extra for chunk in stored] == [16, 16, len(chunks[2].payload)]
    assert [chunk.head for chunk in stored] == [pack(chunk)[:24] for chunk in stored]
    assert list(open_all(stored, KEY)) == chunks and list(open_all(stored, bytes(32))) == []
    for make in (Sealer, Opener):
        with pytest.raises(ValueError, match="a key of 31 bytes; accepted: 32"):
            make(bytes(31))


def test_no_sound_is_left_in_clear_and_the_same_never_looks_the_same() -> None:
    """Not in one file, and not in two under the same key."""
    chunk = replace(audio(0), payload=b"a card number 16")
    files = [in_streams(chunk, replace(chunk, sequence=1)) for _ in range(2)]
    assert b"card" not in b"".join(pack(one) for file in files for one in file)
    assert len({one.payload[-16:] for file in files for one in file}) == 4
    for one in files[0]:
        with pytest.raises(ValueError, match="is sealed"):
            _ = one.samples


def test_a_note_can_be_read_without_the_key_and_not_be_altered() -> None:
    note = ChunkNote(drops=2, pauses=((800, 1600),))
    [stored] = in_streams(said(0, note, Kind.END))
    assert stored.note == note
    altered = replace(stored, payload=stored.payload.replace(b"1600", b"9600"))
    assert altered.note.pauses == ((800, 9600),) and Opener(KEY).open(altered) is None


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
    [stored] = in_streams(audio(0))
    assert Opener(KEY).open(stored) is not None
    assert Opener(KEY).open(replace(stored, **change)) is None  # type: ignore[arg-type]


def test_no_note_can_be_made_an_end_nor_an_end_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut cannot be hidden: only who has the key can write an end, and an end that is not final is none."""
    [note], [end] = in_streams(said(0, ChunkNote())), in_streams(said(0, ChunkNote(), Kind.END))
    assert Opener(KEY).open(replace(note, kind=Kind.END)) is None
    assert Opener(KEY).open(replace(end, kind=Kind.NOTE)) is None
    with monkeypatch.context() as patch:
        patch.setattr(chunks, "_FINAL", chunks._MESSAGE)
        [posing] = in_streams(said(0, ChunkNote(), Kind.END))
    assert Opener(KEY).open(posing) is None


def test_chunks_in_clear_or_of_another_file_do_not_mix() -> None:
    stored = [*in_streams(audio(0), audio(1)), audio(2), *in_streams(audio(3))]
    assert sequences(list(open_all(stored, KEY))) == [0, 1, 3]
    one, other = in_streams(audio(0), audio(1)), in_streams(audio(0), audio(1))
    assert sequences(list(open_all([one[0], other[1]], KEY))) == [0]


@pytest.mark.parametrize("seconds", [0.3, 0.4, 1.0])
def test_no_stream_holds_more_sound_than_it_may(seconds: float) -> None:
    """A minute in chunks of so many seconds; a missing one costs the rest of its stream."""
    frames, end = round(seconds * RATE), 60 * RATE
    clear = [audio(n, at, min(frames, end - at)) for n, at in enumerate(range(0, end, frames))]
    stored = in_streams(*clear, said(len(clear), ChunkNote(), Kind.END, position=end))
    begins = [chunk.position for chunk in stored if chunk.coding is Coding.SEALED]
    spans = np.diff([*begins, end]) / RATE
    assert begins[0] == 0 and stored[-1].coding is Coding.CONTINUED
    assert spans.max() <= STREAM_S <= 60 and spans[:-1].min() > STREAM_S - seconds
    for lost in (0, 1, 15, len(stored) - 2):
        left = sequences(list(open_all(stored[:lost] + stored[lost + 1 :], KEY)))
        assert left == after_losing(stored, lost)


def write_counting(path: Path, seconds: float, chunk: int = 3200) -> Path:
    """A sealed file: its sound counts samples."""
    count = np.arange(int(seconds * RATE))
    sound = np.stack([count % 30_000, -(count % 30_000)], axis=1).astype(np.int16)
    write_part(path, [sound[first : first + chunk] for first in range(0, len(sound), chunk)], RATE, KEY)
    return path


def found(path: Path) -> FileStreams:
    with io.FileIO(path) as file:
        return find_streams(file)


def in_spans(path: Path, streams: FileStreams) -> list[Chunk]:
    """Of each span, cut out of the file, the chunks that open; each begins where the one before it ended."""
    content, chunks, at = path.read_bytes(), list[Chunk](), 0
    while at < streams.samples:
        samples, offsets = streams.span(at, at + 1)
        assert samples.start == at < samples.stop
        span = path.with_name("span")
        span.write_bytes(content[offsets.start : offsets.stop])
        chunks += opened(span, KEY)
        at = samples.stop
    return chunks


def test_a_span_holds_what_is_asked_for_and_no_more_than_the_rest_of_its_streams(tmp_path: Path) -> None:
    path = write_counting(tmp_path / "a", 47)
    end = len(pack(list(read_part(path))[-1]))
    os.truncate(path, path.stat().st_size - end)  # it was killed: what there is of it counts
    streams = found(path)
    for first, last, wanted in ((12, 31, (10, 40)), (12, 30, (10, 30)), (46, 10**9, (40, 47))):
        samples, _ = streams.span(first * RATE, last * RATE)
        assert (samples.start, samples.stop) == (wanted[0] * RATE, wanted[1] * RATE)
    (tmp_path / "empty").touch()
    for of, at in ((found(tmp_path / "empty"), 0), (found(tmp_path / "empty"), 10**12), (streams, 10**12)):
        assert [len(span) for span in of.span(at, at + 1)] == [0, 0]


@given(st.integers(0, 700_000), st.integers(1, 255), st.integers(0, 100_000))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_damaged_costs_no_more_than_it_does_a_reader(
    tmp_path: Path, at: int, change: int, cut: int
) -> None:
    """All spans together give what a reader of the whole file gets, in the same place."""
    path, original = tmp_path / "a", tmp_path / "original"
    content = bytearray((original if original.exists() else write_counting(original, 25)).read_bytes())
    content[at % len(content)] ^= change
    del content[len(content) - cut % len(content) :]
    path.write_bytes(content)
    streams = found(path)
    whole, parts = opened(path, KEY), in_spans(path, streams)
    assert np.array_equal(sound_of(parts, streams.samples), sound_of(whole, streams.samples))


def sound_of(chunks: list[Chunk], samples: int) -> np.ndarray:
    blocks = [np.zeros((0, 2), np.int16), *Walk(RATE).blocks(iter(chunks))]
    sound = np.concatenate(blocks)
    return np.pad(sound, ((0, max(0, samples - len(sound))), (0, 0)))
