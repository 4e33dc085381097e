"""From a part to the file that is kept: bit-exact, sealed or in clear, and safe against a crash at any step.

A sealed part is given its name as it is, without its key; with it, its sound comes back.
"""

import os
import stat
import wave
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from media.recording.assemble import (
    BLOCK_FRAMES,
    AssemblyError,
    Format,
    NothingRecorded,
    SoundReader,
    Walk,
    assemble,
    is_sealed,
    read_sound,
    settle,
)
from media.recording.chunks import (
    BOTH,
    Block,
    Chunk,
    ChunkNote,
    Finished,
    Kind,
    MissingSeconds,
    PartWriter,
    Sealer,
    create_part,
    pack,
    read_part,
)
from tests.crashing import deaths
from tests.parts import KEY, RATE, WELL, audio, no_more_than, noise, said, write_part

CHUNK, HEADER = 4000, 36
PAUSED = ChunkNote(drops=3, pauses=((800, 1601), (12000, None)))
FORMATS: tuple[Format, ...] = ("flac", "wav")
Make = Callable[[Path, Path], Finished]


def made(path: Path, frames: int, note: ChunkNote | None = WELL, key: bytes | None = None) -> Block:
    """A part of half-second chunks; what it holds."""
    block = noise(frames)
    write_part(path, [block[start : start + CHUNK] for start in range(0, frames, CHUNK)], RATE, key, note)
    return block


def heard(reading: SoundReader) -> Block:
    return np.concatenate([np.zeros((0, 2), dtype=np.int16), *reading.blocks()])


def decoded(path: Path, key: bytes | None = None) -> Block:
    """As any player has it; what is sealed by its key."""
    if key is not None:
        return heard(read_sound(path, key))
    samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
    assert rate == RATE
    return np.asarray(samples)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "a.part"


@pytest.fixture(params=[*FORMATS, "sealed"])
def how(request: pytest.FixtureRequest) -> tuple[str, bytes | None, Make]:
    """What becomes of a part, the key that it is sealed with, and what makes it."""
    chosen: Format = request.param
    if request.param == "sealed":
        return "sealed", KEY, settle
    return chosen, None, partial(assemble, format=chosen)


How = tuple[str, bytes | None, Make]


def test_the_file_holds_every_bit_of_the_part(part: Path, how: How) -> None:
    suffix, key, make = how
    block, final = made(part, 21234, PAUSED, key=key), part.with_suffix(f".{suffix}")
    content = part.read_bytes()
    finished = make(part, final)
    assert np.array_equal(decoded(final, key), block) and names(final.parent) == [final.name]
    pauses = ((0.1, 0.2), (1.5, 2.654))
    missing = tuple(MissingSeconds(BOTH, *pause, "paused") for pause in pauses)
    assert finished == Finished(
        rate=RATE, samples=21234, complete=False, drops=3, pauses=pauses, missing=missing
    )
    assert finished.duration_s == 21234 / RATE and stat.S_IMODE(final.stat().st_mode) == 0o600
    assert make(part, final) == finished
    assert key is None or final.read_bytes() == content


def test_what_the_tap_had_not_ended_is_incomplete_and_its_last_note_counts(part: Path, how: How) -> None:
    suffix, key, make = how
    writer = PartWriter(create_part(part), RATE, Sealer(key).seal if key else None)
    writer.write_audio(noise(CHUNK))
    writer.write_note(ChunkNote(pauses=((800, None),)))
    writer.write_audio(noise(CHUNK))
    writer.close()
    finished = make(part, part.with_suffix(f".{suffix}"))
    assert (finished.samples, finished.pauses, finished.complete) == (2 * CHUNK, ((0.1, 1.0),), False)


def test_flac_is_smaller_and_a_wav_has_the_plain_header(part: Path, tmp_path: Path) -> None:
    quiet = (noise(20 * CHUNK) // 1024).astype(np.int16)
    for path in (part, tmp_path / "b.part"):
        write_part(path, [quiet[start : start + CHUNK] for start in range(0, len(quiet), CHUNK)])
    flac, wav = tmp_path / "a.flac", tmp_path / "b.wav"
    assemble(part, flac, "flac")
    assert soundfile.info(flac).format == "FLAC" and flac.stat().st_size < quiet.nbytes * 0.7
    assemble(tmp_path / "b.part", wav, "wav")
    content = wav.read_bytes()
    assert int.from_bytes(content[4:8], "little") == len(content) - 8
    assert (content[36:40], content[44 : 44 + quiet.nbytes]) == (b"data", quiet.tobytes())
    with wave.open(str(wav)) as file:
        assert file.getparams()[:4] == (2, 2, RATE, len(quiet))


@pytest.mark.parametrize("damaged", [[0], [1, 2], [3], [4]])
def test_damaged_chunks_are_silence_in_their_place(part: Path, damaged: list[int]) -> None:
    """Also the last one: the end still says how long it was."""
    block, content = made(part, 20000), bytearray(part.read_bytes())
    for chunk in damaged:
        content[chunk * (HEADER + CHUNK * 4) + 100] ^= 1
        block[chunk * CHUNK : (chunk + 1) * CHUNK] = 0
    part.write_bytes(content)
    assert not assemble(part, part.with_suffix(".flac"), "flac").complete
    assert np.array_equal(decoded(part.with_suffix(".flac")), block)


@given(cut=st.integers(0, 3 * (HEADER + 41 + 4 * CHUNK) + 40), key=st.sampled_from([None, KEY]))
@settings(deadline=None, max_examples=40)
def test_cut_anywhere_all_whole_chunks_are_kept(
    tmp_path_factory: pytest.TempPathFactory, cut: int, key: bytes | None
) -> None:
    part = tmp_path_factory.mktemp("cut") / "a.part"
    final = part.with_suffix(".sealed" if key else ".flac")
    make: Make = settle if key else partial(assemble, format="flac")
    block = made(part, 3 * CHUNK, key=key)
    whole = part.stat().st_size
    ends = np.cumsum([len(pack(chunk)) for chunk in read_part(part)])[:3]
    os.truncate(part, min(cut, whole))
    if not (chunks := int((ends <= cut).sum())):
        with pytest.raises(NothingRecorded):
            make(part, final)
        assert names(part.parent) == ["a.part"]
        return
    finished = make(part, final)
    reading = read_sound(final, key)
    assert np.array_equal(heard(reading), block[: chunks * CHUNK])
    assert finished.complete is reading.complete is (cut >= whole)
    assert finished.samples == chunks * CHUNK


def test_no_sound_is_nothing_recorded(part: Path, how: How) -> None:
    suffix, key, make = how
    final = part.with_suffix(f".{suffix}")
    with pytest.raises(NothingRecorded, match=r"a\.part: does not exist, and neither does a\."):
        make(part, final)
    made(part, 0, key=key)
    with pytest.raises(NothingRecorded, match=r"a\.part: holds no whole chunk of"):
        make(part, final)
    assert names(part.parent) == ["a.part"]


def test_neither_is_taken_for_the_other(part: Path) -> None:
    """Whether a part is sealed is told by its first whole chunk."""
    assert not is_sealed(part)
    made(part, 8000)
    assert not is_sealed(part)
    with pytest.raises(NothingRecorded):
        settle(part, part.with_suffix(".sealed"))
    part.unlink()
    made(part, 8000, key=KEY)
    assert is_sealed(part)
    with pytest.raises(AssemblyError, match=r"a\.part: is sealed$"):
        assemble(part, part.with_suffix(".flac"), "flac")
    os.truncate(part, 30)
    assert not is_sealed(part) and names(part.parent) == ["a.part"]


COMMENTS = [
    *("{}", "[]", "5", "null", '"text"', "[" * 100_000),
    '{"complete": 1, "drops": 0, "pauses": []}',
    '{"complete": true, "drops": "none", "pauses": []}',
    '{"complete": true, "drops": 0, "pauses": [[1]]}',
    '{"complete": true, "drops": 0, "pauses": [[1, "two"]]}',
    '{"complete": true, "drops": 0, "pauses": [3]}',
    '{"complete": true, "drops": 0, "pauses": [[0, NaN]]}',
    '{"complete": true, "drops": 0, "pauses": [[0, 1' + "0" * 400 + "]]}",
]


@pytest.mark.parametrize("comment", COMMENTS)
def test_a_file_of_others_is_not_taken_for_ours(tmp_path: Path, comment: str) -> None:
    """Whoever tags a file may write JSON there."""
    final = tmp_path / "a.flac"
    with soundfile.SoundFile(final, "w", RATE, 2, "PCM_16", format="FLAC") as file:
        file.comment = comment
        file.write(noise(100))
    with pytest.raises(AssemblyError, match="was not made from a part"):
        assemble(tmp_path / "a.part", final, "flac")
    reading = read_sound(final, None)
    with pytest.raises(AssemblyError, match="was not made from a part"):
        list(reading.blocks())
    assert not reading.complete


def test_no_link_in_the_way_is_followed(part: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"other")
    (tmp_path / "a.flac.tmp").symlink_to("other")
    made(part, CHUNK)
    assemble(part, tmp_path / "a.flac", "flac")
    assert (tmp_path / "other").read_bytes() == b"other" and not (tmp_path / "a.flac").is_symlink()
    made(tmp_path / "b.part", 8000, key=KEY)
    part.symlink_to("b.part")
    with pytest.raises(AssemblyError, match=r"a\.part: Too many levels of symbolic links"):
        settle(part, tmp_path / "a.sealed")


SETTLED = ["sync a.part", "replace a.part", "sync office"]


def assembled(suffix: str) -> list[str]:
    made = f"a.{suffix}.tmp"
    encoded = [f"encode {made}", f"half of {made}"] * 2
    return [
        f"create {made}",
        *encoded,
        f"sync {made}",
        f"replace {made}",
        *("sync office", "unlink a.part", "sync office"),
    ]


def test_a_crash_at_any_step_is_made_good_by_the_next_run(tmp_path: Path, how: How) -> None:
    """Each step is on the disk before the next."""
    suffix, key, make = how
    office = tmp_path / "office"
    part, final = office / "a.part", office / f"a.{suffix}"
    office.mkdir()
    block = made(part, 8000, ChunkNote(drops=1, pauses=((80, 160),)), key=key)
    wanted = SETTLED if key else assembled(suffix)
    for done in deaths(office, partial(make, part, final)):
        assert done == wanted[: len(done)]
        assert part.exists() or np.array_equal(decoded(final, key), block)
        finished = make(part, final)
        assert (finished.samples, finished.drops, finished.pauses) == (8000, 1, ((0.01, 0.02),))
        assert names(office) == [final.name]
    assert done == wanted


def test_a_full_disk_leaves_the_part_and_is_no_obstacle_to_what_is_sealed(part: Path, how: How) -> None:
    suffix, key, make = how
    block, final = made(part, 16000, key=key), part.with_suffix(f".{suffix}")
    with no_more_than(0 if key else 20_000):
        if key is None:
            with pytest.raises(AssemblyError, match=rf"a\.{suffix}: could not be written"):
                make(part, final)
            assert names(part.parent) == [part.name]
        else:
            make(part, final)
    make(part, final)
    assert np.array_equal(decoded(final, key), block)


@pytest.mark.parametrize("format", FORMATS)
def test_what_does_not_decode_to_the_same_is_not_kept(
    part: Path, format: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(part, 8000)
    with pytest.raises(AssemblyError, match=r"gone/a\.x\.tmp: No such file or directory"):
        assemble(part, part.parent / "gone" / "a.x", format)
    honest = soundfile.SoundFile.write
    monkeypatch.setattr(soundfile.SoundFile, "write", lambda self, block: honest(self, block // 2))
    with pytest.raises(AssemblyError, match="does not give back what was written"):
        assemble(part, part.with_suffix(f".{format}"), format)
    assert names(part.parent) == [part.name]


def test_the_sound_is_every_bit_of_what_was_recorded(part: Path) -> None:
    """No more than a block of it is held; it is complete once its end has been read."""
    block = made(part, 25 * RATE + 17, key=KEY)
    reading = read_sound(part, KEY)
    assert (reading.rate, reading.complete) == (RATE, False)
    for _ in range(2):
        blocks = reading.blocks()
        next(blocks)
        assert not reading.complete
        list(blocks)
        assert reading.complete
        assert np.array_equal(heard(reading), block)
    sizes = [len(one) for one in reading.blocks()]
    assert max(sizes) == CHUNK and all(one == other for one, other in pairwise(sizes[:-1]))


def test_a_file_whose_end_was_taken_away_is_incomplete_whatever_else_is_said(part: Path) -> None:
    """Cut at a chunk, with an end in clear put in its place: whoever has the key sees it."""
    made(part, 16000, key=KEY)
    cut = b"".join(pack(chunk) for chunk in list(read_part(part))[:2])
    part.write_bytes(cut + pack(said(2, WELL, Kind.END, 8000)))
    reading = read_sound(part, KEY)
    assert len(heard(reading)) == 8000 and not reading.complete


def test_what_cannot_be_read_is_one_line(part: Path, tmp_path: Path) -> None:
    made(part, 8000, key=KEY)
    soundfile.write(tmp_path / "b.flac", noise(100), RATE)
    (tmp_path / "c.flac").write_bytes(b"fLaC")
    for path, key, problem in (
        (part, None, "a.part: is sealed, and no key was given"),
        (part, bytes(32), "a.part: not a chunk can be opened with this key"),
        (tmp_path / "b.flac", KEY, "b.flac: is not sealed, or damaged throughout"),
        (tmp_path / "c.flac", None, "c.flac: "),
        (tmp_path / "none", KEY, "none: No such file or directory"),
        (tmp_path, KEY, "Is a directory"),
    ):
        with pytest.raises(AssemblyError) as wrong:
            read_sound(path, key)
        assert problem in str(wrong.value) and "\n" not in str(wrong.value)
    reading = read_sound(part, KEY)
    part.unlink()
    with pytest.raises(AssemblyError, match=r"a\.part: No such file or directory$"):
        heard(reading)


WHOLE = [audio(0), said(1, position=4), audio(2, 4), said(3, ChunkNote(pauses=((0, 8),)), Kind.END, 8)]
STRANGE = [
    replace(audio(1, 4), rate=16000),
    audio(1, 3),
    *(replace(said(1, position=4), payload=payload) for payload in (b"not json", b"[]", b"{}")),
]


@pytest.mark.parametrize(
    ("chunks", "sound"),
    [
        (WHOLE[1:], [0] * 4 + [3] * 4),
        (WHOLE[:1] + WHOLE[2:], [1] * 4 + [3] * 4),
        (WHOLE[:2] + WHOLE[3:], [1] * 4 + [0] * 4),
        (WHOLE[:3], [1] * 4 + [3] * 4),
        (WHOLE[3:], [0] * 8),
        ([*WHOLE[:3], said(3, ChunkNote(drops=1), Kind.END, 8)], [1] * 4 + [3] * 4),
        *(([WHOLE[0], strange, *WHOLE[2:]], [1] * 4 + [3] * 4) for strange in STRANGE),
        ([], []),
    ],
)
def test_what_is_missing_or_strange_is_silence_and_makes_it_incomplete(
    chunks: list[Chunk], sound: list[int]
) -> None:
    walk = Walk()
    assert [int(sample) for block in walk.blocks(chunks) for sample in block[:, 0]] == sound
    assert not walk.complete


def test_whole_it_is_complete_and_a_long_silence_comes_in_blocks() -> None:
    walk = Walk()
    assert [len(block) for block in walk.blocks(WHOLE)] == [4, 4]
    assert (walk.complete, walk.position, walk.rate, walk.pauses) == (True, 8, RATE, ((0.0, 0.001),))
    blocks = list(Walk().blocks([audio(0, 2 * BLOCK_FRAMES + 5)]))
    assert [len(block) for block in blocks] == [BLOCK_FRAMES, BLOCK_FRAMES, 5, 4]
