"""A lost database comes back from the JSON beside the recordings, with every hold; nothing lives longer."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from nacl.pwhash import argon2id

from retention.archive import Archive, whole_hold
from retention.holds import place, release
from retention.marks import ArchiveError
from retention.purge import purge
from retention.rebuild import rebuild
from retention.records import Access, Hold, Recording, Status, due_date
from retention.rows.chain import read_head
from retention.rows.rows import Rows
from retention.vault import Identity, Strength, new_pair, read_identity, read_public
from retention.verify import verify
from tests.kept import CALLER, SOUND, START, TERMS, Paths, archive, keep, receipt, recording, remove

LATE = due_date(START, "6 months") + timedelta(days=1)
HOLD = Hold(ground="criminal", reference="2026-41", by="Durand", approved_by="Petit", review="2027-05-31")


@pytest.fixture
def kept(tmp_path: Path) -> Archive:
    return archive(tmp_path)


def lost(kept: Archive) -> Archive:
    """This archive without its database."""
    kept.store.close()
    Path(kept.store.path).unlink()
    return archive(Paths(kept).base)


def held(kept: Archive, row: Recording) -> Recording:
    return place(kept, row.id, HOLD, Access(at=START, action="hold", by="Durand"))


def segments(store: Rows) -> list[str]:
    rows = store._read("SELECT subject FROM chain WHERE kind = 'segment' ORDER BY seq", [])
    return [row["subject"] for row in rows]


REBUILT = "rebuilt from the files beside the recordings"


def rewrite(kept: Archive, row: Recording, **changes: Any) -> None:
    """Other values in the JSON beside it."""
    path = Paths(kept).metadata(row.id)
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_lost_database_comes_back_and_its_chain_goes_on_and_tells_what_is_lost(kept: Archive) -> None:
    rows = [keep(kept, recording(n, flagged=n == 1)) for n in range(3)]
    head = kept.store.head()
    again = lost(kept)
    seen: list[tuple[int, int]] = []
    done = rebuild(again, None, lambda done, total: seen.append((done, total)))
    assert done.restored == [row.id for row in rows]
    assert (done.problems, done.nameless, done.held, done.known) == ([], [], [], 0)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert list(reversed(again.store.recordings())) == rows
    assert again.store.knows(head)
    assert segments(again.store) == ["the database was lost", REBUILT]
    found, first = verify(again), again.store.entries([head.seq + 1])[head.seq + 1]
    told = f"entries 1 to {head.seq} are lost: the database was lost ({first.at})"
    assert ([one.problem for one in found.lost], found.problems) == ([told], [])
    rewrite(again, rows[0], caller="+1")
    twice = rebuild(again)
    assert (twice.restored, twice.known, twice.problems) == ([], 3, [])
    assert again.store.recording(rows[0].id) == rows[0]  # rows that exist are left alone
    assert segments(again.store)[2:] == []  # nothing to mark


def test_an_older_database_that_came_back(kept: Archive, tmp_path: Path) -> None:
    old, purged = keep(kept, recording(0)), keep(kept, recording(1))
    database = Path(kept.store.path)
    backup = database.read_bytes()
    young = keep(kept, recording(2))
    remove(kept, purged.id, START)
    kept.store.close()
    database.write_bytes(backup)
    again = archive(tmp_path)
    done = rebuild(again)
    assert (done.restored, done.known) == ([young.id], 1)
    assert segments(again.store) == ["a new database", REBUILT]
    missing = {f"{purged.id}.json", purged.id}
    assert {problem.name for problem in done.problems} == missing
    assert [one.where for one in verify(again).problems if one.where not in missing] == []
    assert again.store.recording(old.id) == old
    assert rebuild(again).restored == [] and len(segments(again.store)) == 2


@pytest.mark.parametrize("is_lost", [True, False])
def test_where_the_head_was_damaged_too_the_chain_says_that_nobody_knows_how_much_is_lost(
    kept: Archive, tmp_path: Path, is_lost: bool
) -> None:
    row = keep(kept, recording())
    (tmp_path / "retention.head").write_text("damaged")
    again = lost(kept) if is_lost else kept
    done = rebuild(again)
    assert (done.restored, done.problems) == ([row.id] * is_lost, [])
    begun = ["the database was lost" if is_lost else "a new database", REBUILT]
    assert segments(again.store) == begun
    found = verify(again)
    assert [one.problem.partition(":")[0] for one in found.lost] == [
        "what is lost before it, if anything, has no number"
    ]
    assert [one.where for one in found.problems] == ["retention.head.damaged"]
    assert read_head(tmp_path / "retention.head") == again.store.head()
    rebuild(again)
    assert segments(again.store) == begun


@pytest.mark.parametrize("damage", ["started_at = 'once'", "bytes = 'many'", "hold = 'no JSON'"])
@pytest.mark.parametrize("is_held", [True, False])
def test_a_row_that_cannot_be_read_is_written_anew(
    kept: Archive, tmp_path: Path, damage: str, is_held: bool
) -> None:
    row, other = keep(kept, recording()), keep(kept, recording(1))
    row = held(kept, row) if is_held else row
    spoil(tmp_path, damage, row.id)
    assert rebuild(kept).repaired == [row.id]
    again = kept.store.recording(row.id)
    hold = whole_hold({}) if "hold" in damage and not is_held else row.hold
    assert again == replace(row, hold=hold)
    assert kept.store.recording(other.id) == other
    (told,) = verify(kept).problems if hold == row.hold else verify(kept).problems[:1]
    assert (told.where, "had been altered" in told.problem) == (f"recording {row.id}", True)
    assert rebuild(kept).repaired == []
    gone = {removal.id for removal in purge(kept, LATE, TERMS).removed}
    assert gone == ({other.id} if hold else {row.id, other.id})


@pytest.mark.parametrize("rest", ["status = 'purging'", "purged_at = '2026-12-01T00:00:00.000Z'"])
def test_no_row_of_what_is_going_or_gone_is_written_anew(kept: Archive, tmp_path: Path, rest: str) -> None:
    row = keep(kept, recording())
    spoil(tmp_path, f"started_at = 'once', {rest}", row.id)
    done = rebuild(kept)
    assert done.repaired == [] and row.id in {problem.name for problem in done.problems}


def spoil(folder: Path, changes: str, id: str) -> None:
    with closing(sqlite3.connect(folder / "retention.db")) as connection, connection:
        connection.execute(f"UPDATE recordings SET {changes} WHERE id = ?", [id])


def test_what_cannot_be_recovered_is_said(kept: Archive) -> None:
    silent, changed, bare, broken, other, unhashed = (keep(kept, recording(n)) for n in range(6))
    Paths(kept).final(silent.id, "flac").unlink()
    Paths(kept).final(changed.id, "flac").write_bytes(b"another sound")
    Paths(kept).metadata(bare.id).unlink()
    Paths(kept).metadata(broken.id).write_text("{half")
    Paths(kept).metadata(other.id).write_text(json.dumps(silent.to_json()))
    Paths(kept).metadata(unhashed.id).write_text(json.dumps(unhashed.to_json() | {"sha256": None}))
    (Paths(kept).recordings / "notes.txt").touch()
    again = lost(kept)
    done = rebuild(again)
    said = {problem.name: problem.problem for problem in done.problems}
    assert len(said) == len(done.problems)
    assert said[f"{silent.id}.json"] == "its recording is missing"
    assert said[f"{changed.id}.flac"] == "it is not the file that was recorded: its hash differs"
    assert said[f"{bare.id}.flac"] == "no metadata beside it: not recoverable"
    assert said[f"{broken.id}.json"].startswith("not readable: ")
    assert said[f"{other.id}.json"] == f"it is of another recording, {silent.id}"
    assert said[f"{unhashed.id}.flac"] == "its metadata has no hash to verify it by"
    assert said["notes.txt"] == "not a file of the agent"
    assert done.restored == [silent.id, changed.id, unhashed.id]
    assert again.store.recording(changed.id).sha256 == changed.sha256


def test_metadata_without_its_sound_expires_too_or_gets_it_back(kept: Archive, tmp_path: Path) -> None:
    gone, copied = keep(kept, recording()), keep(kept, recording(1))
    Paths(kept).final(gone.id, "flac").unlink()
    Paths(kept).final(copied.id, "flac").rename(tmp_path / "backup")
    again = lost(kept)
    rebuild(again)
    assert again.store.recording(gone.id).status is Status.CLOSED
    (tmp_path / "backup").rename(Paths(again).final(copied.id, "flac"))
    assert purge(again, START, TERMS).unlinked == ()
    assert Paths(again).metadata(gone.id).exists() and Paths(again).file(copied.id) is not None
    assert [one.where for one in verify(again).problems] == [gone.id]
    purge(again, LATE, TERMS)
    assert list(Paths(again).recordings.iterdir()) == []


def test_a_path_in_the_metadata_is_not_believed(kept: Archive) -> None:
    row = keep(kept, recording())
    rewrite(kept, row, path="../../etc/passwd", status="purged")
    again = lost(kept)
    rebuild(again)
    back = again.store.recording(row.id)
    assert (back.path, back.status) == (f"recordings/{row.id}.flac", Status.CLOSED)


FAR = "9999-12-31T00:00:00.000Z"
NOT_READABLE: dict[str, dict[str, Any]] = {
    "year 1": {"started_at": "0001-01-01T00:00:00+14:00"},
    "more than an integer holds": {"bytes": 10**30},
    "no number": {"duration_s": float("nan")},
    "no text": {"called": "\ud800"},
    "no text in the hold": {"hold": {"ground": "\ud800"}},
    "no file": {},
}


@pytest.mark.parametrize("change", NOT_READABLE.values(), ids=NOT_READABLE.keys())
def test_one_json_that_cannot_be_read_keeps_no_other_from_coming_back(
    kept: Archive, change: dict[str, Any]
) -> None:
    bad, good = keep(kept, recording()), keep(kept, recording(1))
    if change:
        rewrite(kept, bad, **change)
    else:
        Paths(kept).metadata(bad.id).unlink()
        Paths(kept).metadata(bad.id).mkdir()
    done = rebuild(lost(kept))
    assert done.restored == [good.id]
    assert {problem.name for problem in done.problems} == {f"{bad.id}.json"}


@pytest.mark.parametrize("began", [FAR, "2027-05-01T00:00:00.000Z"])
def test_no_json_lengthens_a_life(kept: Archive, began: str) -> None:
    row = keep(kept, recording())
    rewrite(kept, row, started_at=began, expires_at=FAR)
    again = lost(kept)
    assert [problem.problem for problem in rebuild(again).problems] == [
        f"began at another time than its name says: {began}"
    ]
    assert again.store.recording(row.id).started_at == row.started_at
    assert [gone.id for gone in purge(again, LATE, TERMS).removed] == [row.id]


def test_sound_of_a_call_cut_by_the_crash_is_not_adopted(kept: Archive) -> None:
    """Nobody knows whether its caller had refused."""
    row = recording()
    kept.open(row).write_bytes(SOUND)
    again = lost(kept)
    done = rebuild(again)
    assert done.restored == []
    assert [problem.name for problem in done.problems] == [f"{row.id}.part"]
    assert segments(again.store) == ["the database was lost", REBUILT]


@pytest.mark.parametrize("has_sound", [True, False])
def test_what_is_held_stays_held_through_it_and_can_end(kept: Archive, has_sound: bool) -> None:
    row = held(kept, keep(kept, recording()))
    if not has_sound:
        Paths(kept).final(row.id, "flac").unlink()
    again = lost(kept)
    done = rebuild(again)
    assert (done.restored, done.held) == ([row.id], [row.id])
    assert [one.problem for one in done.problems] == ["its recording is missing"] * (not has_sound)
    assert again.store.recording(row.id) == replace(row, path=row.path if has_sound else None)
    assert not remove(again, row.id, LATE)
    assert [stay.id for stay in purge(again, LATE, TERMS).held] == [row.id]
    assert (Paths(again).file(row.id) is not None) is has_sound
    release(again, row.id, Access(at=LATE, action="release", by="Durand"))
    assert [gone.id for gone in purge(again, LATE, TERMS).removed] == [row.id]
    assert list(Paths(again).recordings.iterdir()) == []


@pytest.mark.parametrize(
    "hold", [{}, {"ground": 7}, {"review": ["x"], "by": None}, "yes", False, ["criminal"]]
)
def test_a_hold_that_cannot_be_read_is_one_all_the_same(kept: Archive, hold: object) -> None:
    row = keep(kept, recording())
    rewrite(kept, row, hold=hold)
    again = lost(kept)
    assert rebuild(again).held == [row.id]
    back = again.store.recording(row.id).hold
    assert back is not None and back["ground"] == "unknown" and back["approved_by"] is None
    assert [stay.id for stay in purge(again, LATE, TERMS).held] == [row.id]


QUICK = Strength(argon2id.OPSLIMIT_MIN, argon2id.MEMLIMIT_MIN)


def identity(folder: Path, name: str = "recordings") -> Identity:
    """A new pair's, without a passphrase."""
    _, private = new_pair(folder / name, None, name, strength=QUICK)
    return read_identity(private, lambda: "")


def keep_sealed(kept: Archive, row: Recording, folder: Path) -> Recording:
    kept.store.add_receipt(receipt(row))
    kept.open(row)
    kept.vault.create(row.id, [read_public(folder / "recordings.pub")])
    Paths(kept).final(row.id, "sealed").write_bytes(SOUND)
    return kept.close(row)


@pytest.fixture
def opener(tmp_path: Path) -> Identity:
    return identity(tmp_path)


def test_who_was_recorded_comes_back_with_an_identity(
    kept: Archive, opener: Identity, tmp_path: Path
) -> None:
    row = held(kept, keep_sealed(kept, recording(), tmp_path))
    rewrite(kept, row, hold=None)  # one taken out of the open part comes back from the sealed one
    again = lost(kept)
    done = rebuild(again, opener)
    assert (done.restored, done.held, done.nameless, done.problems) == ([row.id], [row.id], [], [])
    assert again.store.recording(row.id) == row


def test_without_one_it_stays_sealed_and_the_recording_comes_back(
    kept: Archive, opener: Identity, tmp_path: Path
) -> None:
    row = held(kept, keep_sealed(kept, recording(), tmp_path))
    again = lost(kept)
    done = rebuild(again)
    assert (done.restored, done.nameless, done.held) == ([row.id], [row.id], [row.id])
    back = again.store.recording(row.id)
    hold = dict.fromkeys(HOLD.to_json()) | {"ground": "criminal", "review": "2027-05-31"}
    assert back == replace(row, call_id=None, caller=None, operator=None, hold=hold)
    assert verify(again).problems == []
    assert [stay.id for stay in purge(again, LATE, TERMS).held] == [row.id]
    # whoever can listen completes it later
    assert rebuild(again).nameless == [row.id]
    later = rebuild(again, opener)
    assert (later.completed, later.nameless, later.known) == ([row.id], [], 1)
    assert again.store.recording(row.id) == row
    assert rebuild(again, opener).completed == [] and verify(again).problems == []


def test_what_is_sealed_is_never_overwritten_by_what_is_not_known(
    kept: Archive, opener: Identity, tmp_path: Path
) -> None:
    row = keep_sealed(kept, recording(), tmp_path)
    again = lost(kept)
    rebuild(again)
    with pytest.raises(ArchiveError, match="accepted: first `sipagent rebuild --identity KEYFILE`"):
        held(again, again.store.recording(row.id))
    assert again.store.recording(row.id).hold is None and again.store.accesses() == []
    assert rebuild(again, opener).completed == [row.id]
    assert held(again, again.store.recording(row.id)).caller == CALLER


def test_another_identity_altered_texts_and_what_anybody_could_seal(
    kept: Archive, opener: Identity, tmp_path: Path
) -> None:
    other = identity(tmp_path, "other")
    whole, cut, none, forged = rows = [keep_sealed(kept, recording(n), tmp_path) for n in range(4)]
    sealed = json.loads(Paths(kept).metadata(cut.id).read_text())["sealed"]
    rewrite(kept, cut, sealed=dict.fromkeys(sealed, "AAAA"))
    rewrite(kept, none, sealed="x")
    rewrite(kept, forged, sealed=kept.vault.seal(forged.id, b'{"caller": 5}'))
    again = lost(kept)
    strange = rebuild(again, other)
    assert strange.restored == strange.nameless == [row.id for row in rows]
    said = [problem.problem for problem in strange.problems]
    assert len(said) == 4 and all(one.startswith("who was recorded stays sealed: ") for one in said)
    done = rebuild(again, opener)
    assert (done.completed, done.nameless, len(done.problems)) == ([whole.id], [cut.id, none.id], 2)
    assert again.store.recording(forged.id).caller is None


def test_a_sealed_recording_without_its_key_is_said(kept: Archive, opener: Identity, tmp_path: Path) -> None:
    row = keep_sealed(kept, recording(), tmp_path)
    Paths(kept).key(row.id).unlink()
    done = rebuild(lost(kept), opener)
    assert (done.restored, done.nameless) == ([row.id], [])
    assert done.problems[-1].problem == "its key is missing from the vault: nobody can open it"


def test_a_crash_in_the_middle_is_finished_by_the_next_run(kept: Archive, tmp_path: Path) -> None:
    rows = [held(kept, keep(kept, recording(n))) for n in range(3)]
    again = lost(kept)

    def dies(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild(again, None, dies)
    again.store.close()
    third = archive(tmp_path)
    assert (rebuild(third).restored, len(third.store.recordings())) == ([rows[2].id], 3)
    assert all(row.hold for row in third.store.recordings())
