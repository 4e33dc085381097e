"""retention/FORMATS.md says how to read a sealed recording: its example, and a reader made from its words."""

import json
import re
import subprocess
import sys
import wave
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from media.recording import chunks
from media.recording.assemble import NothingRecorded, read_sound, settle
from media.recording.chunks import ChunkNote, Kind, PartWriter, Sealer, create_part, pack, read_part
from media.recording.tap import Tap
from retention.recording_files import LocalFiles
from retention.vault import Identity, Vault, read_identity
from tests import sealed_reader
from tests.parts import KEY, noise, write_part
from tests.tapping import expected, feed
from tests.test_structure import packages

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    """The fenced block that holds a file with all that leads to its sound."""
    blocks = re.findall(r"```json\n(.*?)```", (ROOT / "retention/FORMATS.md").read_text("utf-8"), re.DOTALL)
    (found,) = (json.loads(block) for block in blocks if '"vault"' in block)
    assert isinstance(found, dict)
    return found | {"file": b64decode("".join(found["file"])), "key": b64decode(found["key"])}


@pytest.fixture
def on_disk(example: dict[str, Any], tmp_path: Path) -> tuple[Path, Path, Path]:
    """The identity, the vault's file and the sealed one."""
    id = example["vault"]["id"]
    paths = (tmp_path / "a.key", tmp_path / "vault" / f"{id}.key", tmp_path / f"{id}.sealed")
    paths[1].parent.mkdir()
    for path, fields in zip(paths, (example["identity"], example["vault"]), strict=False):
        path.write_text(json.dumps(fields))
    paths[2].write_bytes(example["file"])
    return paths


def test_the_example_is_read_by_the_words_of_the_page(example: dict[str, Any]) -> None:
    private = sealed_reader.private_key(example["identity"], lambda: str(example["passphrase"]))
    assert sealed_reader.file_key(example["vault"], private) == example["key"]
    sound = sealed_reader.read(example["file"], example["key"])
    samples = np.frombuffer(sound.pcm, "<i2").reshape(-1, 2).tolist()
    assert (sound.rate, samples) == (example["rate"], example["samples"])
    assert (sound.note, sound.complete) == (example["note"], True)


def test_the_example_is_read_by_us(example: dict[str, Any], on_disk: tuple[Path, Path, Path]) -> None:
    folder = on_disk[0].parent
    identity = read_identity(on_disk[0], lambda: str(example["passphrase"]))
    key = Vault(LocalFiles(folder, folder / "vault", folder)).key(example["vault"]["id"], identity)
    assert key == example["key"]
    reading = read_sound(on_disk[2], key)
    assert reading.rate == example["rate"]
    assert np.concatenate(list(reading.blocks())).tolist() == example["samples"]
    assert reading.complete


def test_the_example_is_what_we_write(
    example: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the header of its stream, which is random: pulling begins with the same state as pushing."""
    header = example["file"][36:60]

    def begin(stream: chunks.Stream, key: bytes) -> bytes:
        chunks._init_pull(stream, header, key)
        return bytes(header)

    monkeypatch.setattr(chunks, "_init_push", begin)
    samples = np.array(example["samples"], dtype=np.int16)
    (start, stop) = example["note"]["pauses"][0]
    writer = PartWriter(create_part(tmp_path / "a.part"), example["rate"], Sealer(example["key"]).seal)
    writer.write_audio(samples[:start])
    writer.write_note(ChunkNote(pauses=((start, None),)))
    writer.write_audio(samples[start:stop])
    writer.write_note(ChunkNote(pauses=((start, stop),)), Kind.END)
    writer.close()
    assert (tmp_path / "a.part").read_bytes() == example["file"]


def test_the_reader_knows_nothing_of_ours() -> None:
    assert packages(Path(sealed_reader.__file__)) - sys.stdlib_module_names == {"nacl"}


def test_the_reader_reads_what_a_tap_writes_whole_cut_and_damaged(tmp_path: Path) -> None:
    key, path = KEY, tmp_path / "a.part"
    tap = Tap(path, pytest.fail, queue_s=60.0)
    tap.start(key)
    feed(tap, 0, 25 * 8000)
    tap.finish()
    whole = path.read_bytes()
    assert sealed_reader.read(whole, key).complete
    assert sealed_reader.read(whole, key).pcm == expected(25 * 8000).tobytes()
    for change in range(12):
        content = bytearray(whole[: len(whole) - change * 50_001] if change % 2 else whole)
        content[change * len(content) // 13] ^= 0x40 if change else 0
        path.write_bytes(content)
        sound, reading = sealed_reader.read(bytes(content), key), read_sound(path, key)
        assert sound.pcm == b"".join(block.tobytes() for block in reading.blocks())
        assert sound.complete is reading.complete is (change == 0)
        assert len(sound.pcm) > 1_000_000 / 25


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), seconds=st.integers(1, 25))
def test_cut_at_any_byte_it_gives_every_whole_chunk_and_says_that_more_is_missing(
    tmp_path: Path, data: st.DataObject, seconds: int
) -> None:
    key, path = KEY, tmp_path / "a.part"
    path.unlink(missing_ok=True)
    rate = 100  # so few samples a second that a stream of 10 s is short
    content = write_part(path, blocks := [noise(rate, second) for second in range(seconds)], rate, key)
    cut = data.draw(st.integers(0, len(content)))
    ends = np.cumsum([len(pack(chunk)) for chunk in read_part(path)])
    wanted = b"".join(block.tobytes() for end, block in zip(ends, blocks, strict=False) if end <= cut)
    theirs = sealed_reader.read(content[:cut], key)
    assert (theirs.pcm, theirs.complete) == (wanted, cut == len(content))
    path.write_bytes(content[:cut])
    final = path.with_suffix(".sealed")
    if not wanted:
        with pytest.raises(NothingRecorded):
            settle(path, final)
        return
    told = settle(path, final)
    assert (told.samples, told.complete) == (len(wanted) // 4, cut == len(content))
    ours = read_sound(final, key)
    assert b"".join(block.tobytes() for block in ours.blocks()) == wanted
    assert ours.complete is (cut == len(content))


def test_the_reader_is_a_program(on_disk: tuple[Path, Path, Path], example: dict[str, Any]) -> None:
    unprotected = example["identity"] | {"kdf": None}
    private = sealed_reader.private_key(example["identity"], lambda: str(example["passphrase"]))
    unprotected["secret"] = b64encode(private).decode()
    assert Identity(private).public.raw == b64decode(unprotected["public"])
    on_disk[0].write_text(json.dumps(unprotected))
    out = on_disk[0].with_name("out.wav")
    done = subprocess.run(
        [sys.executable, sealed_reader.__file__, *on_disk, out], capture_output=True, text=True, check=True
    )
    assert done.stderr == f"complete, {json.dumps(example['note'])}\n"
    with wave.open(str(out)) as file:
        assert file.getparams()[:4] == (2, 2, example["rate"], len(example["samples"]))
