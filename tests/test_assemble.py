"""From a part to a sound file: bit-exact, and safe against a crash after every single step."""

import hashlib
import os
import resource
import stat
import wave
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from media.recording.assemble import AssemblyError, Finished, Format, NothingRecorded, assemble, read_sound
from media.recording.chunks import Block, ChunkNote, Kind, PartWriter, Sealer, create_part
from tests.crashing import killed_before

RATE = 8000
FORMATS: tuple[Format, ...] = ("flac", "wav")
HEADER = 36
WELL = ChunkNote()


def sound(frames: int, seed: int = 0) -> Block:
    """Loud noise with the extremes in it: nothing that an encoder could round, clip or shift unseen."""
    block = np.random.default_rng(seed).integers(-32768, 32768, (frames, 2), dtype=np.int16)
    block[:2] = np.array([[-32768, 32767], [32767, -32768]])[:frames]
    return block


def write_part(path: Path, frames: int, note: ChunkNote | None = WELL, rate: int = RATE) -> Block:
    """A part of half-second chunks and, unless `note` is None, its end; what it holds."""
    block = sound(frames)
    writer = PartWriter(create_part(path), rate)
    for start in range(0, frames, 4000):
        writer.write_audio(block[start : start + 4000])
    if note is not None:
        writer.write_note(note, Kind.END)
    writer.close()
    return block


def decoded(path: Path) -> Block:
    samples, rate = soundfile.read(path, dtype="int16", always_2d=True)
    assert rate == RATE
    return np.asarray(samples)


@pytest.fixture(params=FORMATS)
def format(request: pytest.FixtureRequest) -> Format:
    chosen: Format = request.param
    return chosen


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "a.part"


@pytest.fixture
def final(tmp_path: Path, format: Format) -> Path:
    return tmp_path / f"a.{format}"


def test_the_file_holds_every_bit_of_the_part(part: Path, final: Path, format: Format) -> None:
    block = write_part(part, 21234)
    finished = assemble(part, final, format)
    assert np.array_equal(decoded(final), block)
    assert [path.name for path in final.parent.iterdir()] == [final.name]
    content = final.read_bytes()
    assert finished == Finished(
        rate=RATE,
        samples=21234,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        complete=True,
        drops=0,
        pauses=(),
    )
    assert finished.duration_s == 21234 / RATE
    assert stat.S_IMODE(final.stat().st_mode) == 0o600


def test_flac_is_flac_and_smaller(tmp_path: Path, part: Path) -> None:
    writer = PartWriter(create_part(part), RATE)
    for _ in range(20):
        writer.write_audio((sound(4000) // 1024).astype(np.int16))
    writer.close()
    size = part.stat().st_size
    finished = assemble(part, tmp_path / "a.flac", "flac")
    assert soundfile.info(tmp_path / "a.flac").format == "FLAC"
    assert finished.bytes < size * 0.7


def test_the_wav_header_is_the_plain_one(tmp_path: Path, part: Path) -> None:
    block = write_part(part, 10001)
    assemble(part, tmp_path / "a.wav", "wav")
    content = (tmp_path / "a.wav").read_bytes()
    assert int.from_bytes(content[4:8], "little") == len(content) - 8
    assert content[36:40] == b"data"
    assert content[44 : 44 + block.nbytes] == block.tobytes()
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert file.getparams()[:4] == (2, 2, RATE, 10001)


def test_the_rate_is_that_of_the_part(part: Path, final: Path, format: Format) -> None:
    write_part(part, 16000, rate=16000)
    finished = assemble(part, final, format)
    assert (finished.rate, finished.duration_s, soundfile.info(final).samplerate) == (16000, 1.0, 16000)


def test_what_the_tap_noted_is_reported(part: Path, final: Path, format: Format) -> None:
    write_part(part, 16000, ChunkNote(drops=3, pauses=((800, 1601), (12000, None))))
    finished = assemble(part, final, format)
    assert (finished.drops, finished.complete) == (3, False)
    assert finished.pauses == ((0.1, 0.2), (1.5, 2.0))


def test_a_part_without_its_end_is_incomplete(part: Path, final: Path, format: Format) -> None:
    block = write_part(part, 10000, None)
    finished = assemble(part, final, format)
    assert (finished.samples, finished.complete) == (10000, False)
    assert np.array_equal(decoded(final), block)


def test_the_last_note_of_a_killed_tap_counts(part: Path, final: Path, format: Format) -> None:
    writer = PartWriter(create_part(part), RATE)
    writer.write_audio(sound(4000))
    writer.write_note(ChunkNote(pauses=((800, None),)))
    writer.write_audio(sound(4000))
    writer.close()
    finished = assemble(part, final, format)
    assert (finished.pauses, finished.complete) == (((0.1, 1.0),), False)


def test_damaged_chunks_are_silence_in_their_place(part: Path, final: Path, format: Format) -> None:
    size = HEADER + 4000 * 4
    for damaged in ([0], [1, 2], [3]):
        block = write_part(part, 20000)
        content = bytearray(part.read_bytes())
        for chunk in damaged:
            content[chunk * size + 100] ^= 1
            block[chunk * 4000 : (chunk + 1) * 4000] = 0
        part.write_bytes(content)
        finished = assemble(part, final, format)
        assert not finished.complete
        assert np.array_equal(decoded(final), block)


@given(cut=st.integers(0, 3 * (HEADER + 16000) + HEADER + 40))
@settings(deadline=None, max_examples=40)
def test_cut_anywhere_all_whole_chunks_are_kept(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    directory = tmp_path_factory.mktemp("cut")
    part, final = directory / "a.part", directory / "a.flac"
    block = write_part(part, 12000)
    whole = part.stat().st_size
    os.truncate(part, min(cut, whole))
    chunks = min(3, cut // (HEADER + 16000))
    if chunks == 0:
        with pytest.raises(NothingRecorded):
            assemble(part, final, "flac")
        assert [path.name for path in directory.iterdir()] == ["a.part"]
    else:
        finished = assemble(part, final, "flac")
        assert (finished.samples, finished.complete) == (chunks * 4000, cut >= whole)
        assert np.array_equal(decoded(final), block[: chunks * 4000])


def test_no_sound_is_nothing_recorded(part: Path, final: Path, format: Format) -> None:
    write_part(part, 0)
    with pytest.raises(NothingRecorded, match=r"a\.part: holds no whole chunk of sound"):
        assemble(part, final, format)
    assert part.exists()


def test_no_part_is_nothing_recorded(part: Path, final: Path, format: Format) -> None:
    with pytest.raises(NothingRecorded, match=r"a\.part: does not exist, and neither does a\."):
        assemble(part, final, format)


def test_done_before_it_says_the_same_again(part: Path, final: Path, format: Format) -> None:
    write_part(part, 16000, ChunkNote(drops=1, pauses=((80, 160),)))
    assert assemble(part, final, format) == assemble(part, final, format)


def test_a_strangers_file_is_not_taken_for_ours(part: Path, final: Path, format: Format) -> None:
    soundfile.write(final, sound(100), RATE)
    with pytest.raises(AssemblyError, match="was not made from a part"):
        assemble(part, final, format)


@pytest.mark.parametrize(
    "comment",
    [
        *("{}", "[]", "5", "null", '"text"', "[" * 100_000),
        '{"complete": 1, "drops": 0, "pauses": []}',
        '{"complete": true, "drops": "none", "pauses": []}',
        '{"complete": true, "drops": 0, "pauses": [[1]]}',
        '{"complete": true, "drops": 0, "pauses": [[1, "two"]]}',
        '{"complete": true, "drops": 0, "pauses": [3]}',
        '{"complete": true, "drops": 0, "pauses": [[0, NaN]]}',
        '{"complete": true, "drops": 0, "pauses": [[0, 1' + "0" * 400 + "]]}",
    ],
)
def test_json_of_others_in_the_comment_is_not_taken_for_ours(tmp_path: Path, comment: str) -> None:
    """Whoever tags a file may write JSON there."""
    final = tmp_path / "a.flac"
    with soundfile.SoundFile(final, "w", RATE, 2, "PCM_16", format="FLAC") as file:
        file.comment = comment
        file.write(sound(100))
    with pytest.raises(AssemblyError, match="was not made from a part"):
        assemble(tmp_path / "a.part", final, "flac")
    reading = read_sound(final, None)
    with pytest.raises(AssemblyError, match="was not made from a part"):
        list(reading.blocks())
    assert not reading.complete


def test_a_link_in_the_way_is_replaced_not_followed(part: Path, final: Path, format: Format) -> None:
    other = final.parent / "other"
    other.write_bytes(b"other")
    final.with_name(final.name + ".tmp").symlink_to(other)
    write_part(part, 4000)
    assemble(part, final, format)
    assert other.read_bytes() == b"other"
    assert not final.is_symlink()


def test_a_crash_at_any_step_is_made_good_by_the_next_run(tmp_path: Path, format: Format) -> None:
    note = ChunkNote(drops=1, pauses=((80, 160),))
    reference = tmp_path / "reference"
    reference.mkdir()
    block = write_part(reference / "a.part", 8000, note)
    wanted = assemble(reference / "a.part", reference / f"a.{format}", format)
    step, reached = 0, True
    while reached:
        directory = tmp_path / str(step)
        directory.mkdir()
        part, final = directory / "a.part", directory / f"a.{format}"
        write_part(part, 8000, note)
        reached = killed_before(step, partial(assemble, part, final, format)) is not None
        assert part.exists() or np.array_equal(decoded(final), block)
        assert assemble(part, final, format) == wanted
        assert [path.name for path in directory.iterdir()] == [final.name]
        step += 1
    assert step > 10


def test_each_step_is_on_the_disk_before_the_next(
    part: Path, final: Path, format: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def noting(name: str, call: Callable[..., None]) -> Callable[..., None]:
        def noted(first: int | Path, *rest: object, **named: object) -> None:
            target = Path(f"/proc/self/fd/{first}").readlink() if isinstance(first, int) else Path(first)
            call(first, *rest, **named)
            steps.append(f"{name} {target.name if target != part.parent else 'directory'}")

        return noted

    write_part(part, 8000)
    for name in ("fsync", "replace", "unlink"):
        monkeypatch.setattr(os, name, noting(name, getattr(os, name)))
    assemble(part, final, format)
    assert steps == [
        f"fsync {final.name}.tmp",
        f"replace {final.name}.tmp",
        "fsync directory",
        "unlink a.part",
        "fsync directory",
    ]


def test_a_full_disk_leaves_the_part_and_nothing_else(part: Path, final: Path, format: Format) -> None:
    block = write_part(part, 16000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(AssemblyError, match=rf"a\.{format}: could not be written"):
            assemble(part, final, format)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in part.parent.iterdir()] == [part.name]
    assemble(part, final, format)
    assert np.array_equal(decoded(final), block)


def test_no_directory_is_a_clear_error(part: Path, tmp_path: Path, format: Format) -> None:
    write_part(part, 4000)
    with pytest.raises(AssemblyError, match=r"gone/a\.x\.tmp: No such file or directory"):
        assemble(part, tmp_path / "gone" / "a.x", format)
    assert part.exists()


def test_what_does_not_decode_to_the_same_is_not_kept(
    part: Path, final: Path, format: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_part(part, 8000)
    honest = soundfile.SoundFile.write
    monkeypatch.setattr(soundfile.SoundFile, "write", lambda self, block: honest(self, block // 2))
    with pytest.raises(AssemblyError, match="does not give back what was written"):
        assemble(part, final, format)
    assert [path.name for path in part.parent.iterdir()] == [part.name]


def test_a_sealed_part_is_never_made_a_sound_file(part: Path, final: Path, format: Format) -> None:
    writer = PartWriter(create_part(part), RATE, Sealer(bytes(32)).seal)
    writer.write_audio(sound(100))
    writer.close()
    with pytest.raises(AssemblyError, match=r"a\.part: is sealed$"):
        assemble(part, final, format)
    assert [path.name for path in part.parent.iterdir()] == [part.name]


def test_sound_that_was_damaged_before_the_end_is_silence(part: Path, final: Path, format: Format) -> None:
    """The end still says how long it was."""
    block = write_part(part, 8000)
    content = bytearray(part.read_bytes())
    content[HEADER + 16000 + 100] ^= 1
    part.write_bytes(content)
    block[4000:] = 0
    assert assemble(part, final, format).samples == 8000
    assert np.array_equal(decoded(final), block)
