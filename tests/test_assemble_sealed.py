"""A sealed part is given its name as it is, without its key; with it, its sound comes back."""

import hashlib
import os
import resource
import stat
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from media.recording.assemble import (
    AssemblyError,
    Finished,
    NothingRecorded,
    SoundReader,
    assemble,
    is_sealed,
    read_sound,
    settle,
)
from media.recording.chunks import (
    Block,
    ChunkNote,
    Coding,
    Kind,
    PartWriter,
    Sealer,
    create_part,
    pack,
    read_part,
)
from tests.crashing import killed_before
from tests.test_assemble import RATE, sound

KEY = bytes(range(32))
CHUNK = 4000


def write_sealed(path: Path, frames: int, note: ChunkNote | None = None, key: bytes | None = KEY) -> Block:
    """A part of half-second chunks and, unless `note` is None, its end; what it holds."""
    block = sound(frames)
    writer = PartWriter(create_part(path), RATE, Sealer(key).seal if key else None)
    for start in range(0, frames, CHUNK):
        writer.write_audio(block[start : start + CHUNK])
    if note is not None:
        writer.write_note(note, Kind.END)
    writer.close()
    return block


def heard(reading: SoundReader) -> Block:
    return np.concatenate([np.zeros((0, 2), dtype=np.int16), *reading.blocks()])


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "a.part"


@pytest.fixture
def final(tmp_path: Path) -> Path:
    return tmp_path / "a.sealed"


# --- its final name ---


def test_the_file_is_the_part_and_told_without_the_key(part: Path, final: Path) -> None:
    write_sealed(part, 21234, ChunkNote(pauses=((800, 1601), (12000, None))))
    content = part.read_bytes()
    finished = settle(part, final)
    assert [path.name for path in final.parent.iterdir()] == [final.name]
    assert final.read_bytes() == content
    assert finished == Finished(
        rate=RATE,
        samples=21234,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        complete=True,
        drops=0,
        pauses=((0.1, 0.2), (1.5, 2.654)),
    )
    assert stat.S_IMODE(final.stat().st_mode) == 0o600
    assert settle(part, final) == finished


@pytest.mark.parametrize("note", [None, ChunkNote(drops=1)])
def test_without_its_end_or_with_drops_it_is_incomplete(
    part: Path, final: Path, note: ChunkNote | None
) -> None:
    write_sealed(part, 10000, note)
    finished = settle(part, final)
    assert (finished.samples, finished.complete) == (10000, False)


def test_the_last_note_of_a_killed_tap_counts(part: Path, final: Path) -> None:
    writer = PartWriter(create_part(part), RATE, Sealer(KEY).seal)
    writer.write_audio(sound(CHUNK))
    writer.write_note(ChunkNote(pauses=((800, None),)))
    writer.write_audio(sound(CHUNK))
    writer.close()
    finished = settle(part, final)
    assert (finished.pauses, finished.complete) == (((0.1, 1.0),), False)


def test_whether_a_part_is_sealed_is_told_by_its_first_whole_chunk(part: Path, tmp_path: Path) -> None:
    assert not is_sealed(part)
    part.touch()
    assert not is_sealed(part)
    part.unlink()
    write_sealed(part, 8000)
    assert is_sealed(part)
    os.truncate(part, 30)
    assert not is_sealed(part)
    write_sealed(tmp_path / "b.part", 8000, key=None)
    assert not is_sealed(tmp_path / "b.part")


def test_no_sound_is_nothing_recorded(part: Path, final: Path) -> None:
    with pytest.raises(NothingRecorded, match=r"a\.part: does not exist, and neither does a\.sealed"):
        settle(part, final)
    write_sealed(part, 0, ChunkNote())
    with pytest.raises(NothingRecorded, match=r"a\.part: holds no whole chunk of sealed sound"):
        settle(part, final)
    assert [path.name for path in part.parent.iterdir()] == [part.name]


def test_what_was_never_sealed_gets_no_name_that_says_so(part: Path, final: Path) -> None:
    write_sealed(part, 8000, ChunkNote(), key=None)
    with pytest.raises(NothingRecorded):
        settle(part, final)
    assert not final.exists()


def test_a_link_is_not_followed(part: Path, final: Path) -> None:
    write_sealed(part.with_name("b.part"), 8000)
    part.symlink_to("b.part")
    with pytest.raises(AssemblyError, match=r"a\.part: Too many levels of symbolic links"):
        settle(part, final)
    assert not final.exists()


def test_a_crash_at_any_step_is_made_good_by_the_next_run(tmp_path: Path) -> None:
    write_sealed(tmp_path / "whole", 8000, ChunkNote(drops=1))
    whole = (tmp_path / "whole").read_bytes()
    step, reached = 0, True
    while reached:
        directory = tmp_path / str(step)
        directory.mkdir()
        part, final = directory / "a.part", directory / "a.sealed"
        part.write_bytes(whole)
        reached = killed_before(step, partial(settle, part, final)) is not None
        assert part.exists() is not final.exists()
        assert settle(part, final).sha256 == hashlib.sha256(whole).hexdigest()
        assert [(path.name, path.read_bytes()) for path in directory.iterdir()] == [("a.sealed", whole)]
        step += 1
    assert step == 4  # sync, replace, sync, and beyond


def test_each_step_is_on_the_disk_before_the_next(
    part: Path, final: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def noting(name: str, call: Callable[..., None]) -> Callable[..., None]:
        def noted(first: int | Path, *rest: object, **named: object) -> None:
            target = Path(f"/proc/self/fd/{first}").readlink() if isinstance(first, int) else Path(first)
            call(first, *rest, **named)
            steps.append(f"{name} {target.name if target != part.parent else 'directory'}")

        return noted

    write_sealed(part, 8000)
    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, noting(name, getattr(os, name)))
    settle(part, final)
    assert steps == ["fsync a.part", "replace a.part", "fsync directory"]


def test_a_full_disk_is_no_obstacle(part: Path, final: Path) -> None:
    """Nothing is written: what was recorded up to then gets its name."""
    write_sealed(part, 16000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        settle(part, final)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert final.exists()


# --- its sound ---


def test_the_sound_is_every_bit_of_what_was_recorded(part: Path, final: Path) -> None:
    block = write_sealed(part, 25 * RATE + 17, ChunkNote())
    settle(part, final)
    reading = read_sound(final, KEY)
    assert (reading.rate, reading.complete) == (RATE, False)
    for _ in range(2):
        assert np.array_equal(heard(reading), block)
        assert reading.complete
    assert all(stop.dtype == np.int16 for stop in reading.blocks())


def test_it_is_not_complete_before_its_end_has_been_read(part: Path) -> None:
    write_sealed(part, 8000, ChunkNote())
    reading = read_sound(part, KEY)
    heard(reading)
    blocks = reading.blocks()
    next(blocks)
    assert not reading.complete
    list(blocks)
    assert reading.complete


def test_what_is_damaged_is_silence_until_the_next_stream(part: Path) -> None:
    block = write_sealed(part, 25 * RATE, ChunkNote())
    begins = [chunk.position for chunk in read_part(part) if chunk.coding is Coding.SEALED] + [25 * RATE]
    content = bytearray(part.read_bytes())
    content[60_000] ^= 1
    part.write_bytes(content)
    reading = read_sound(part, KEY)
    samples = heard(reading)
    lost = np.flatnonzero(~samples.any(axis=1) & block.any(axis=1))
    assert not reading.complete
    assert len(samples) == len(block)
    assert (lost[0], lost[-1] + 1) == (12000, begins[1])
    assert np.array_equal(np.delete(samples, lost, axis=0), np.delete(block, lost, axis=0))
    assert len(lost) <= 10 * RATE


def test_a_file_whose_end_was_taken_away_is_incomplete_whatever_else_is_said(part: Path) -> None:
    """Cut at a chunk, with an end in clear put in its place: whoever has the key sees it."""
    write_sealed(part, 16000, ChunkNote())
    kept = list(read_part(part))[:2]
    cut = b"".join(pack(chunk) for chunk in kept)
    part.unlink()
    writer = PartWriter(create_part(part), RATE)
    writer._sequence, writer.position = 2, 8000
    writer.write_note(ChunkNote(), Kind.END)
    writer.close()
    part.write_bytes(cut + part.read_bytes())
    reading = read_sound(part, KEY)
    assert len(heard(reading)) == 8000
    assert not reading.complete


@given(cut=st.integers(0, 4 * (36 + 41 + 4 * CHUNK)))
@settings(deadline=None, max_examples=40)
def test_cut_anywhere_all_whole_chunks_are_heard(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    part = tmp_path_factory.mktemp("cut") / "a.part"
    block = write_sealed(part, 3 * CHUNK, ChunkNote())
    whole = part.stat().st_size
    ends = np.cumsum([len(pack(chunk)) for chunk in read_part(part)])[:3]
    os.truncate(part, min(cut, whole))
    chunks = int((ends <= cut).sum())
    if chunks == 0:
        with pytest.raises(AssemblyError, match="is not sealed, or damaged throughout"):
            read_sound(part, KEY)
        with pytest.raises(NothingRecorded):
            settle(part, part.with_suffix(".sealed"))
    else:
        finished = settle(part, part.with_suffix(".sealed"))
        reading = read_sound(part.with_suffix(".sealed"), KEY)
        assert np.array_equal(heard(reading), block[: chunks * CHUNK])
        assert reading.complete is finished.complete is (cut >= whole)
        assert finished.samples == chunks * CHUNK


@pytest.mark.parametrize("format", ["flac", "wav"])
def test_what_is_kept_in_clear_is_read_without_a_key(part: Path, format: str) -> None:
    for note in (ChunkNote(), ChunkNote(drops=1)):
        block = write_sealed(part, 40000, note, key=None)
        final = part.with_suffix(f".{format}")
        assemble(part, final, "flac" if format == "flac" else "wav")
        reading = read_sound(final, None)
        assert reading.rate == RATE
        assert np.array_equal(heard(reading), block)
        assert reading.complete is (note.drops == 0)
        final.unlink()


def test_what_cannot_be_read_is_one_line(part: Path, tmp_path: Path) -> None:
    write_sealed(part, 8000, ChunkNote())
    soundfile.write(tmp_path / "b.flac", sound(100), RATE)
    (tmp_path / "c.flac").write_bytes(b"fLaC")
    cases = (
        (part, None, "a.part: is sealed, and no key was given"),
        (part, bytes(32), "a.part: not a chunk can be opened with this key"),
        (tmp_path / "b.flac", KEY, "b.flac: is not sealed, or damaged throughout"),
        (tmp_path / "c.flac", None, "c.flac: "),
        (tmp_path / "none", KEY, "none: No such file or directory"),
        (tmp_path, KEY, "Is a directory"),
    )
    for path, key, problem in cases:
        with pytest.raises(AssemblyError) as wrong:
            read_sound(path, key)
        assert problem in str(wrong.value)
        assert "\n" not in str(wrong.value)
    strange = read_sound(tmp_path / "b.flac", None)
    with pytest.raises(AssemblyError, match="was not made from a part"):
        heard(strange)
    assert not strange.complete


def test_a_disk_that_fails_halfway_is_one_line(part: Path) -> None:
    write_sealed(part, 8000, ChunkNote())
    reading = read_sound(part, KEY)
    part.unlink()
    with pytest.raises(AssemblyError, match=r"a\.part: No such file or directory$"):
        heard(reading)


def test_no_more_than_a_block_is_held(part: Path) -> None:
    write_sealed(part, 25 * RATE, ChunkNote())
    sizes = [len(block) for block in read_sound(part, KEY).blocks()]
    assert max(sizes) == CHUNK
    assert all(one == other for one, other in pairwise(sizes))
