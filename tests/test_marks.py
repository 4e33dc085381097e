"""What a refusal leaves first: what it says, what is believed of it, and what gets no name any more."""

import json
import os
import stat
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from media.recording.assemble import assemble, settle
from media.recording.tap import Tap
from retention.archive import Archive, rotate
from retention.files import write_whole
from retention.marks import ERASED, ArchiveError, Mark, Marks, MustGo
from retention.records import Event
from sipagent.call import machines
from tests.kept import ANN, BEN, CALLER, OPERATOR, START, Paths, keep, receipt, recording
from tests.tapping import RATE, feed

ROW, SEALED = recording(), recording(1)
DECIDED = START.replace(microsecond=0)
REFUSED = receipt(
    ROW,
    ended_at=None,
    decision="refused",
    decided_by="voice",
    decided_at=DECIDED,
    phase="call",
    keyword="ne m'enregistrez pas",
    confidence=0.8,
)
MARK = Mark.of(REFUSED, START)


def make(marks: Marks, mark: Mark) -> None:
    marks.sync(marks.make(mark))


def test_it_says_what_the_receipt_must_come_to_say_and_nothing_of_a_person(tmp_path: Path) -> None:
    """The folder is made where there is none, and the first word counts."""
    marks = Marks(tmp_path / "recordings")
    assert marks.read(ROW.id) is None and marks.ids() == []
    marks.remove(ROW.id)
    for mark in (MARK, replace(MARK, decided_by="dtmf")):
        make(marks, mark)
        assert marks.read(ROW.id) == MARK and marks.ids() == [ROW.id]
    path = marks.path(ROW.id)
    assert path.name == f"{ROW.id}.refused" and stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    text = path.read_text()
    assert not [secret for secret in (CALLER, OPERATOR, "192.0.2") if secret in text]
    told = json.loads(text)
    assert (told["decision"], told["decided_by"], told["phase"]) == ("refused", "voice", "call")
    assert (told["keyword"], told["confidence"]) == ("ne m'enregistrez pas", 0.8)


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(MARK.to_json()).encode()[:length] for length in (0, 1, 40, -2)
    ]  # the process died in its midst
    + [b"null", b"\xff\xfe", b'{"version": "sipagent-refused-2"}', b"[" * 70_000]
    + [json.dumps(MARK.to_json() | change).encode() for change in ({"id": "x"}, {"at": 7}, {"keyword": 7})],
)
def test_whatever_is_in_it_is_a_refusal(archive: Archive, content: bytes) -> None:
    make(archive.marks, replace(MARK, decision="not_allowed"))
    path = archive.marks.path(ROW.id)
    path.write_bytes(content)
    os.utime(path, (START.timestamp(), START.timestamp()))
    assert archive.marks.read(ROW.id) == Mark(id=ROW.id, at=START)


def test_only_what_is_one_is_one_and_no_link_in_its_place_is_followed(
    archive: Archive, tmp_path: Path
) -> None:
    Paths(archive).recordings.mkdir()
    for name in ("x y.refused", f"{ROW.id}.refused.tmp", f"{ROW.id}.json"):
        (Paths(archive).recordings / name).touch()
    assert archive.marks.ids() == []
    with pytest.raises(ArchiveError, match="not the id"):
        archive.marks.path("../x")
    archive.marks.path(ROW.id).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match=r"[Ss]ymbolic"), closing(os.fdopen(archive.marks.make(MARK))):
        pass
    assert not (tmp_path / "elsewhere").exists() and archive.marks.forbidden(ROW.id)


def test_the_receipt_comes_to_say_it() -> None:
    told = MARK.onto(receipt(ROW, ended_at=None))
    assert replace(told, events=()) == REFUSED
    assert [(event.at, event.what, event.by) for event in told.events] == [
        (DECIDED, "decision: refused (voice)", "caller"),
        (DECIDED, machines.ERASED, "agent"),
    ]
    assert MARK.onto(told) == told and machines.ERASED == ERASED
    stopped = Mark.of(replace(REFUSED, decision="not_allowed", decided_by="operator"), START)
    assert [event.by for event in stopped.onto(receipt(ROW)).events] == ["operator", "agent"]
    failed = receipt(ROW, decision="not_allowed", decided_by="recorder_fault")
    fault = Mark.of(failed, START)
    assert (fault.decision, fault.at) == ("not_allowed", START)
    assert [line.what for line in fault.onto(failed).events] == [ERASED]


def test_what_says_more_already_stays() -> None:
    """A refusal, and what was forgotten of a call since."""
    told = replace(REFUSED, decided_by="dtmf", keyword=None, events=(Event(at=START, what=ERASED),))
    assert replace(MARK, decision="not_allowed").onto(told) == told == MARK.onto(told)
    forgotten = MARK.onto(receipt(ROW).anonymous())
    assert (forgotten.decision, forgotten.keyword, forgotten.events) == ("refused", None, ())


def test_from_the_word_on_no_name_of_it_appears(archive: Archive, tmp_path: Path) -> None:
    """Neither in this process nor, by the mark, in another."""
    marks, other = archive.marks, Marks(Paths(archive).recordings)
    with marks.naming(ROW.id):
        pass
    marks.forbid(ROW.id)
    with pytest.raises(MustGo, match="is being erased"), marks.naming(ROW.id):
        pass
    with other.naming(ROW.id):
        pass
    make(marks, MARK)
    for one in (marks, other):
        assert one.forbidden(ROW.id)
        with pytest.raises(MustGo):
            write_whole(tmp_path / "new", b"", partial(one.naming, ROW.id))
    assert not list(tmp_path.glob("new*"))
    marks.remove(ROW.id)
    assert not marks.forbidden(ROW.id) and not other.forbidden(ROW.id)


def record(part: Path, key: bytes | None) -> None:
    tap = Tap(part, pytest.fail)
    tap.start(key)
    feed(tap, 0, RATE)
    tap.finish()


def test_neither_key_nor_part_nor_sound_nor_metadata_appears(archive: Archive) -> None:
    part, sealed, final = archive.open(ROW), Paths(archive).part(SEALED.id), Paths(archive).final
    record(part, None)
    record(sealed, archive.vault.create(SEALED.id, [ANN.public]))
    for row in (ROW, SEALED):
        make(archive.marks, replace(MARK, id=row.id))
    naming, of_sealed = (partial(archive.marks.naming, row.id) for row in (ROW, SEALED))
    made: tuple[Callable[[], object], ...] = (
        partial(archive.vault.create, ROW.id, [ANN.public], naming),
        partial(Tap(Paths(archive).recordings / "other.part", pytest.fail).start, None, naming),
        partial(assemble, part, final(ROW.id, "flac"), "flac", naming),
        partial(settle, sealed, final(SEALED.id, "sealed"), of_sealed),
    )
    for makes in made:
        with pytest.raises(MustGo):
            makes()
    part.rename(final(ROW.id, "flac"))
    with pytest.raises(MustGo):
        archive.close(ROW)
    assert {name.partition(".")[2] for name, _ in archive.names()} == {"flac", "part", "refused"}
    assert archive.vault.ids() == [SEALED.id]


def test_nobody_rewrites_what_is_to_go(archive: Archive) -> None:
    """A hold, a flag, other recipients: the JSON or the key would come back after they were unlinked."""
    row = keep(archive, recording(1))
    archive.vault.create(row.id, [ANN.public])
    make(archive.marks, replace(MARK, id=row.id))
    with pytest.raises(MustGo):
        archive.change(replace(row, flagged=True))
    assert [id for id, _ in rotate(archive, ANN, [BEN.public]).failed] == [row.id]
    assert archive.vault.recipients(row.id) == (ANN.public,)
