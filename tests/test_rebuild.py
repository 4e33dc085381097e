import json
from datetime import timedelta
from pathlib import Path

from retention.archive import Archive
from retention.purge import Terms, purge
from retention.rebuild import rebuild
from retention.recording import Status, due_date
from tests.kept import SOUND, START, archive, keep, recording

TERMS = Terms(period="6 months", receipts_period="6 months", analysis_period="1 year")


def lost(kept: Archive) -> Archive:
    """The same archive without its database."""
    kept.store.close()
    Path(kept.store.path).unlink()
    return archive(kept.base)


def test_a_lost_database_comes_back(tmp_path: Path) -> None:
    kept = archive(tmp_path)
    rows = [keep(kept, recording(n, flagged=n == 1)) for n in range(3)]
    again = lost(kept)
    done = rebuild(again)
    assert done.restored == tuple(row.id for row in rows)
    assert done.problems == ()
    assert list(reversed(again.store.recordings())) == rows
    assert rebuild(again).restored == () and rebuild(again).known == 3


def test_rows_that_exist_are_left_alone(tmp_path: Path) -> None:
    kept = archive(tmp_path)
    row = keep(kept, recording())
    kept.metadata(row.id).write_text(json.dumps(row.to_json() | {"caller": "+1"}))
    assert rebuild(kept).known == 1
    assert kept.store.recording(row.id) == row


def test_what_cannot_be_recovered_is_said(tmp_path: Path) -> None:
    kept = archive(tmp_path)
    silent, changed, bare, broken, other, unhashed = (keep(kept, recording(n)) for n in range(6))
    kept.final(silent.id, "flac").unlink()
    kept.final(changed.id, "flac").write_bytes(b"another sound")
    kept.metadata(bare.id).unlink()
    kept.metadata(broken.id).write_text("{half")
    kept.metadata(other.id).write_text(json.dumps(silent.to_json()))
    kept.metadata(unhashed.id).write_text(json.dumps(unhashed.to_json() | {"sha256": None}))
    (kept.directory / "notes.txt").touch()
    again = lost(kept)
    done = rebuild(again)
    said = {problem.name: problem.problem for problem in done.problems}
    assert said[f"{silent.id}.json"] == "its recording is missing"
    assert said[f"{changed.id}.flac"] == "it is not the file that was recorded: its hash differs"
    assert said[f"{bare.id}.flac"] == "no metadata beside it: not recoverable"
    assert said[f"{broken.id}.json"].startswith("not readable: ")
    assert said[f"{other.id}.json"] == f"it is of another recording, {silent.id}"
    assert said[f"{unhashed.id}.flac"] == "its metadata has no hash to verify it by"
    assert said["notes.txt"] == "not a file of the agent"
    assert set(done.restored) == {silent.id, changed.id, unhashed.id}
    assert again.store.recording(changed.id).sha256 == changed.sha256


def test_metadata_without_its_sound_expires_too(tmp_path: Path) -> None:
    kept = archive(tmp_path)
    row = keep(kept, recording())
    kept.final(row.id, "flac").unlink()
    again = lost(kept)
    rebuild(again)
    assert again.store.recording(row.id).status is Status.FAILED
    purge(again, due_date(START, "6 months") + timedelta(days=1), TERMS)
    assert list(again.directory.iterdir()) == []


def test_a_path_in_the_metadata_is_not_believed(tmp_path: Path) -> None:
    kept = archive(tmp_path)
    row = keep(kept, recording())
    kept.metadata(row.id).write_text(
        json.dumps(row.to_json() | {"path": "../../etc/passwd", "status": "purged"})
    )
    again = lost(kept)
    rebuild(again)
    back = again.store.recording(row.id)
    assert (back.path, back.status) == (f"recordings/{row.id}.flac", Status.CLOSED)


def test_sound_of_a_call_cut_by_the_crash_is_not_adopted(tmp_path: Path) -> None:
    """Nobody knows whether its caller had refused."""
    kept = archive(tmp_path)
    row = recording()
    kept.open(row).write_bytes(SOUND)
    done = rebuild(lost(kept))
    assert done.restored == ()
    assert [problem.name for problem in done.problems] == [f"{row.id}.part"]
