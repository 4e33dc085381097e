from dataclasses import replace
from pathlib import Path

from retention.erase import erase_row
from retention.recording_files import FileKind, in_row
from retention.vault import Identity
from retention.verify import orphans
from tests.both import BOTH
from tests.kept import SOUND, START, Paths, archive, keep, recording

DATABASES = BOTH


def problems(folder: Path) -> dict[str, str]:
    return {orphan.name: orphan.problem for orphan in orphans(archive(folder))}


def test_nothing_to_say_of_a_healthy_archive(tmp_path: Path) -> None:
    kept = archive(tmp_path)
    keep(kept, recording(0))
    kept.open(recording(1)).write_bytes(SOUND)
    erased = recording(2)
    kept.open(erased)
    erase_row(kept, erased.id, START)
    assert problems(tmp_path) == {}


def test_no_directory_yet(tmp_path: Path) -> None:
    assert problems(tmp_path) == {}


def test_a_second_file_of_a_recording(tmp_path: Path) -> None:
    """In clear, say, beside the sealed one: whoever put it there would have it overlooked."""
    kept = archive(tmp_path)
    sealed, clear = keep(kept, recording()), recording(1)
    Paths(kept).final(sealed.id, "flac").rename(Paths(kept).final(sealed.id, "sealed"))
    kept.change(replace(sealed, path=in_row(kept.files, sealed.id, FileKind.SEALED)))
    kept.vault.create(sealed.id, [Identity(bytes([7]) * 32).public])
    keep(kept, clear)
    assert problems(tmp_path) == {}
    Paths(kept).final(sealed.id, "wav").write_bytes(SOUND)
    Paths(kept).final(clear.id, "wav").write_bytes(SOUND)
    assert problems(tmp_path) == {
        f"{sealed.id}.wav": f"not the file of its recording, {sealed.id}.sealed",
        f"{clear.id}.wav": f"not the file of its recording, {clear.id}.flac",
    }


def test_both_directions(tmp_path: Path) -> None:
    kept = archive(tmp_path)
    silent, bare, erased, untidy = (keep(kept, recording(n)) for n in range(4))
    Paths(kept).final(silent.id, "flac").unlink()
    Paths(kept).metadata(bare.id).unlink()
    erase_row(kept, erased.id, START)
    Paths(kept).final(erased.id, "flac").write_bytes(SOUND)
    Paths(kept).part(untidy.id).write_bytes(SOUND)
    Paths(kept).part("stranger").write_bytes(SOUND)
    (Paths(kept).recordings / "notes.txt").touch()
    assert problems(tmp_path) == {
        silent.id: "the file of a closed recording is missing",
        f"{bare.id}.json": "the metadata of a closed recording is missing",
        f"{erased.id}.flac": "the recording is erased; restored from a backup?",
        f"{untidy.id}.part": "left over from a crash; the recording is closed",
        "stranger.part": "no row in the database",
        "notes.txt": "not a file of the agent",
    }
