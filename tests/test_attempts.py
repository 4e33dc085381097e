"""Whoever asks to hold, release, delete or file: what is refused or fails is in the trace."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from retention import erase as erase_module
from retention.archive import Archive
from retention.erase import NotDeleted
from retention.holds import HoldError
from retention.marks import ArchiveError
from retention.records import Access, Hold, Recording, Status
from retention.verify import verify
from sipagent.operations import holds
from sipagent.operations.approvals import Rules
from sipagent.operations.deletion import attempt_delete
from sipagent.operations.notes import NamesPerson, NotFiled, attempt_note, what_would_go
from tests.kept import CALLER, START, Paths, bytes_under, keep, recording

TODAY = date(2026, 11, 25)
RULES = Rules(grounds=("criminal",), purposes=(), period="6 months", today=TODAY)
HOLD = Hold(ground="criminal", reference="2026-41", by="durand", approved_by="petit", review="2027-05-31")
WHO = Access(at=START, action="", by="durand", login="durand", via="web")


def told(archive: Archive, row: Recording) -> list[tuple[str, str, str | None]]:
    assert verify(archive).problems == []
    for use in archive.store.accesses(row.id):
        assert (use.by, use.login, use.via) == ("durand", "durand", "web")
    return [(use.action, use.outcome, use.detail) for use in archive.store.accesses(row.id)]


def hold(archive: Archive, row: Recording, wanted: Hold = HOLD, *, renew: bool = False) -> Recording:
    return holds.hold(archive, row, wanted, WHO, RULES, renew=renew)


@contextmanager
def refused(archive: Archive, row: Recording, kind: type[Exception]) -> Iterator[None]:
    """What is raised is the newest line."""
    with pytest.raises(kind) as error:
        yield
    assert told(archive, row)[-1][1:] == ("refused", str(error.value))


def test_a_hold_and_its_end(archive: Archive) -> None:
    row = keep(archive, recording())
    held = hold(archive, row)
    with refused(archive, row, HoldError):
        hold(archive, held)
    hold(archive, held, replace(HOLD, review="2028-01-01"), renew=True)
    assert holds.end_hold(archive, held, replace(WHO, detail="closed")).hold is None
    with refused(archive, row, HoldError):
        holds.end_hold(archive, held, WHO)
    lines = told(archive, row)
    assert [line[:2] for line in lines] == [
        ("hold", "done"),
        ("hold", "refused"),
        ("hold", "done"),
        ("release", "done"),
        ("release", "refused"),
    ]
    assert lines[3][2] == "closed"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ground": "curiosity"}, "ground 'curiosity' is not listed; accepted: criminal"),
        ({"approved_by": "Durand "}, "'Durand ' cannot approve a hold of their own"),
        ({"review": str(TODAY)}, "is not in the future"),
    ],
)
def test_a_hold_that_may_not_be(archive: Archive, changes: dict[str, object], said: str) -> None:
    row = keep(archive, recording())
    with refused(archive, row, HoldError):
        hold(archive, row, replace(HOLD, **changes))  # type: ignore[arg-type]
    assert said in str(told(archive, row)[0][2]) and archive.store.recording(row.id).hold is None


def test_a_hold_that_fails(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    row = keep(archive, recording())

    def full(*_: object) -> None:
        raise ArchiveError("the disk is full")

    monkeypatch.setattr(archive, "rewrite", full)
    with pytest.raises(ArchiveError):
        hold(archive, row)
    assert told(archive, row) == [("hold", "failed", "the disk is full")]


def test_a_call_is_deleted_or_it_is_told_why_not(archive: Archive) -> None:
    row = keep(archive, recording())
    hold(archive, row)
    asked = replace(WHO, detail="request 2026-118")
    with refused(archive, row, NotDeleted):
        attempt_delete(archive, row.id, asked, lambda: START)
    holds.end_hold(archive, row, WHO)
    assert attempt_delete(archive, row.id, asked, lambda: START).call.id == row.id
    assert told(archive, row)[-1] == ("delete", "done", "request 2026-118")
    with refused(archive, row, NotDeleted):
        attempt_delete(archive, row.id, asked, lambda: START)


def test_what_is_deleted_and_does_not_go_has_failed(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = keep(archive, recording())

    def stuck(archive: Archive, ids: list[str]) -> dict[str, OSError]:
        return {ids[0]: OSError(5, "Input/output error", "x.flac")}

    monkeypatch.setattr(erase_module, "erase_files", stuck)
    with pytest.raises(OSError, match="Input/output error"):
        attempt_delete(archive, row.id, WHO, lambda: START)
    assert [line[:2] for line in told(archive, row)] == [("delete", "done"), ("delete", "failed")]
    assert archive.store.recording(row.id).status is Status.PURGING


def note(
    archive: Archive, row: Recording, text: str, *, agreed: bool = False, erase: bool = False
) -> str | None:
    done = attempt_note(archive, row, text, WHO, period="1 year", erase=erase, agreed=agreed)
    return done.note.text


def test_an_analysis_comes_after_listening(archive: Archive, tmp_path: Path) -> None:
    row = keep(archive, recording())
    text = f"Polite. Ask {CALLER} again."
    assert what_would_go(archive, row, text) == []  # it is not filed at all
    with refused(archive, row, NotFiled):
        note(archive, row, text)
    archive.store.add_access(replace(WHO, action="play", recording_id=row.id))
    assert what_would_go(archive, row, text) == ["Polite. Ask +336[12345678] again."]
    with refused(archive, row, NamesPerson):
        try:
            note(archive, row, text)
        except NamesPerson as error:
            assert error.going == what_would_go(archive, row, text)
            raise
    assert note(archive, row, "Polite.") == "Polite."
    assert note(archive, row, text, agreed=True, erase=True) == "Polite. Ask +336… again."
    assert Paths(archive).file(row.id) is None
    assert b"12345678 again" not in bytes_under(tmp_path)


def test_what_is_refused_names_nobody(archive: Archive) -> None:
    row = keep(archive, recording())
    with pytest.raises(HoldError):
        hold(archive, row, replace(HOLD, reference=f"call of {CALLER}", review="2026-11-24"))
    (use,) = archive.store.accesses(row.id)
    assert use.reference == "call of +336…"
