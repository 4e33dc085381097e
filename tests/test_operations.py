"""Calls that are shown, told to a person, analysed, deleted: each act once, whoever asks for it.

Holds: test_hold, test_approval. Uses: test_uses. What faces make of it: web/test_faces, and each face's own.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from retention.archive import Archive
from retention.erase import Deletion, NotDeleted
from retention.holds import place
from retention.purge import Terms, purge
from retention.records import Access, Hold, Note, Recording, Status, due_date
from retention.rows.rows import UnknownId
from retention.verify import verify
from sipagent.operations import Unfinished
from sipagent.operations.parsing import FieldError
from sipagent.operations.persons import (
    PersonSearch,
    SeveralCalls,
    ShownCall,
    Stays,
    answer_person,
    calls_of_person,
    delete_call,
    delete_calls,
    forget_person,
    show,
)
from sipagent.operations.uses import FiledAnalysis, NamesPerson, NotFiled, attempt_note, what_would_go
from tests.configured import CONTRACT, read
from tests.kept import CALLER, START, Paths, bytes_under, keep, receipt, recording
from tests.loopback import ROOT
from tests.raising import raising

WHO = Access(at=START, action="", by="durand", login="durand", via="web")
ASKED = replace(WHO, detail="request 2026-118")
HOLD = Hold(ground="criminal", reference="2026-41", by="durand", approved_by="petit", review="2099-05-31")
TERMS = Terms(period="6 months", receipts_period="9 years", analysis_period="1 year")
SERVICE = read(CONTRACT).service
LATER = START + timedelta(days=2)


@pytest.fixture
def row(archive: Archive) -> Iterator[Recording]:
    yield keep(archive, recording(operator="sip:201@pbx.example.net"))
    assert verify(archive).problems == []


def told(archive: Archive, id: str) -> list[tuple[str, str]]:
    return [(use.action, use.outcome) for use in archive.store.accesses(id)]


@contextmanager
def refused(archive: Archive, id: str, kind: type[Exception], said: str) -> Iterator[None]:
    """What is raised is the newest line."""
    with pytest.raises(kind, match=said) as error:
        yield
    last = archive.store.accesses(id)[-1]
    assert (last.outcome, last.detail, last.login) == ("refused", str(error.value), "durand")


@contextmanager
def stuck(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No file goes."""

    def unlink(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        yield


# --- delete ---


def delete(archive: Archive, id: str) -> Deletion:
    return delete_call(archive, id, ASKED, lambda: LATER)


def test_a_call_is_deleted_and_nothing_of_the_person_is_left_in_any_byte(
    archive: Archive, row: Recording, tmp_path: Path
) -> None:
    other = keep(archive, recording(1))
    note = Note(recording_id=row.id, at=START, by="Durand", text="SECRET", expires_at=row.expires_at)
    archive.store.add_note(note)
    copies = [tmp_path / name for name in ("there.wav", "gone.wav")]
    for path in copies:
        used = replace(WHO, action="export", recording_id=row.id, detail=f'both to "{path}"')
        archive.store.add_access(used)
    copies[0].touch()
    done = delete_call(archive, row.id, replace(ASKED, detail="asked by 06 12 34 56 78"), lambda: LATER)
    head = archive.store.head()
    assert done.to_json() == {
        "id": row.id,
        "deleted_at": "2026-11-24T22:20:00.123Z",
        "by": "durand",
        "reason": "asked by 06 …",
        "started_at": "2026-11-24T22:20:00.123Z",
        "recording": {
            "ended_at": None,
            "duration_s": None,
            "status": "closed",
            "bytes": row.bytes,
            "sha256": row.sha256,
            "purged_at": None,
        },
        "receipt": True,
        "notes": 1,
        "copies": [{"path": str(copies[0]), "at": "2026-11-24T22:20:00.123Z", "by": "durand"}],
        "chain": {"seq": head.seq, "hash": head.hash},
    }
    assert archive.store.recording(row.id).purged_at == LATER and Paths(archive).file(row.id) is None
    assert archive.store.accesses(row.id)[-1].detail == "asked by 06 …"
    assert archive.store.receipt(other.id).caller == CALLER and Paths(archive).file(other.id) is not None
    with refused(archive, row.id, NotDeleted, "it is already purged"):
        delete(archive, row.id)
    delete(archive, other.id)
    left = bytes_under(tmp_path)
    assert not [word for word in (b"612345678", b"marie", b"192.0.2.7", b"SECRET") if word in left]


def test_what_is_on_hold_or_goes_on_stays_and_the_others_go(archive: Archive, row: Recording) -> None:
    held, running = keep(archive, recording(1)), recording(2)
    place(archive, held.id, HOLD, WHO)
    archive.store.add_note(
        Note(recording_id=held.id, at=START, by="Durand", text="sheet", expires_at=row.expires_at)
    )
    archive.open(running)
    unended = replace(receipt(recording(3)), ended_at=None, recording_id=None)
    archive.store.add_receipt(unended)
    ids = [held.id, running.id, unended.id, row.id]
    *stay, gone = delete_calls(archive, ids, ASKED, lambda: LATER)
    assert [one.to_json() for one in stay] == [
        {"id": held.id, "why": "it is on hold (criminal), to be reviewed 2099-05-31; see `release`"},
        {"id": running.id, "why": "the call is still in progress"},
        {"id": unended.id, "why": "the call is still in progress"},
    ]
    assert gone.id == row.id and isinstance(gone, Deletion)
    assert told(archive, held.id)[-1] == told(archive, unended.id)[-1] == ("delete", "refused")
    assert archive.store.receipt(held.id).caller == CALLER and archive.store.notes(held.id)[0].text == "sheet"
    assert Paths(archive).file(held.id) is not None
    with pytest.raises(UnknownId):
        delete(archive, "nobody")


def test_what_has_no_recording_or_none_any_more_is_forgotten_too(archive: Archive, row: Recording) -> None:
    call = replace(receipt(recording(1)), recording_id=None, decision="refused")
    archive.store.add_receipt(call)
    assert delete(archive, call.id).recording is None
    assert archive.store.receipt(call.id) == call.anonymous()
    with refused(archive, call.id, NotDeleted, "this call has no recording, and its receipt leads to nobody"):
        delete(archive, call.id)
    purge(archive, row.expires_at, TERMS)
    assert archive.store.receipt(row.id).caller == CALLER  # it has a date of its own
    done = delete(archive, row.id)
    assert done.recording and done.recording.purged_at == row.expires_at
    assert archive.store.receipt(row.id).caller is None


def test_a_file_that_does_not_go_is_tried_again(
    archive: Archive, row: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stuck(monkeypatch):
        with pytest.raises(Unfinished, match="Operation not permitted; the next purge tries again") as left:
            delete(archive, row.id)
        (again,) = delete_calls(archive, [row.id], ASKED, lambda: LATER)
    assert row.id in left.value.about
    assert isinstance(again, Stays) and "tries again" in again.why
    assert told(archive, row.id) == [("delete", "done"), ("delete", "failed")] * 2
    assert archive.store.recording(row.id).status is Status.PURGING
    assert delete(archive, row.id).id == row.id
    assert archive.store.recording(row.id).status is Status.PURGED


# --- analyses ---


def heard(archive: Archive, row: Recording, action: str = "play", outcome: str = "done") -> None:
    archive.store.add_access(replace(WHO, action=action, recording_id=row.id, outcome=outcome))


def file(
    archive: Archive, row: Recording, text: str = "Polite.", *, agreed: bool = False, erase: bool = False
) -> FiledAnalysis:
    return attempt_note(archive, row, text, WHO, period="1 year", erase=erase, agreed=agreed)


def test_an_analysis_comes_after_listening_and_is_kept_for_its_period(
    archive: Archive, row: Recording, tmp_path: Path
) -> None:
    for action, outcome in (("play", "begun"), ("play", "refused"), ("export", "failed"), ("hold", "done")):
        heard(archive, row, action, outcome)
        with refused(archive, row.id, NotFiled, "nobody has listened to it: an analysis comes after"):
            file(archive, row)
    heard(archive, row)
    done = file(archive, row)
    assert done.to_json() == {
        "note": {
            "recording_id": row.id,
            "at": "2026-11-24T22:20:00.123Z",
            "by": "durand",
            "text": "Polite.",
            "expires_at": "2027-11-24T22:20:00.123Z",
        },
        "erased": False,
        "held": None,
        "copies": [],
    }
    assert told(archive, row.id)[-1] == ("note", "done") and Paths(archive).file(row.id) is not None
    file(archive, row, "GREETING")
    assert len(archive.store.notes(row.id)) == 2
    purge(archive, due_date(START, "2 years"), TERMS)
    assert [(note.by, note.text) for note in archive.store.notes(row.id)] == [(None, None)] * 2
    assert b"GREETING" not in bytes_under(tmp_path)
    with refused(archive, row.id, NotFiled, "it is already purged"):
        file(archive, row)


def test_what_names_a_person_is_cut_out_once_that_is_agreed_to(archive: Archive, row: Recording) -> None:
    text = f"Cites article 201. Ask {CALLER} again."
    assert what_would_go(archive, row, text) == []  # it would not be filed at all
    heard(archive, row)
    going = what_would_go(archive, row, text)
    assert [line.count("[") for line in going] == [1, 1] and "article [201]" in going[0]
    with refused(archive, row.id, NamesPerson, "its text names the caller or the operator"):
        try:
            file(archive, row, text)
        except NamesPerson as names:
            assert names.more == {"going": going}
            raise
    assert archive.store.notes(row.id) == []
    assert file(archive, row, text, agreed=True).note.text == "Cites article …. Ask +336… again."


def test_the_audio_goes_with_its_analysis_unless_it_is_held(archive: Archive, row: Recording) -> None:
    held = keep(archive, recording(1))
    place(archive, held.id, HOLD, WHO)
    for one in (row, held):
        heard(archive, one)
        heard(archive, one, "export")
    gone, stays = file(archive, row, erase=True), file(archive, held, erase=True)
    assert (gone.erased, gone.held) == (True, None) and Paths(archive).file(row.id) is None
    assert told(archive, row.id)[-2:] == [("note", "done"), ("purge", "done")]
    assert (stays.erased, stays.held) == (False, "on hold (criminal), to be reviewed 2099-05-31")
    assert Paths(archive).file(held.id) is not None
    detail = archive.store.accesses(held.id)[-1].detail
    assert detail == "the audio stays, it is on hold (criminal), to be reviewed 2099-05-31"


@pytest.mark.parametrize("step", ["add_note", "add_access", "erase_files", "end_purge"])
def test_a_crash_erases_nothing_that_has_no_note(
    archive: Archive, row: Recording, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Whatever the step: either nothing has happened, or there is a note and the next purge erases."""
    heard(archive, row)
    where = "retention.sqlite.Store" if step.startswith("add") else "retention.erase"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(f"{where}.{step}", raising(KeyboardInterrupt()))
        file(archive, row, erase=True)
    filed = len(archive.store.notes(row.id))
    assert filed == (0 if step.startswith("add") else 1)
    assert archive.store.recording(row.id).status is (Status.PURGING if filed else Status.CLOSED)
    purge(archive, LATER, TERMS)
    assert (Paths(archive).file(row.id) is None) == bool(filed)


# --- show; a person's request ---


def test_all_that_is_known_of_one(archive: Archive, row: Recording) -> None:
    heard(archive, row)
    call = replace(receipt(recording(1)), recording_id=None, decision="refused")
    archive.store.add_receipt(call)
    shown = show(archive, row.id, "1 month")
    assert shown.recording is shown and shown.receipt == archive.store.receipt(row.id)
    assert shown.to_json() == row.to_json() | {
        "reference": row.id[-6:],
        "due_at": "2026-12-24T22:20:00.123Z",  # by the period of today
        "sealed_to": None,
        "receipt": archive.store.receipt(row.id).to_json(),
        "notes": [],
        "copies": [],
        "accesses": [archive.store.accesses(row.id)[0].to_json()],
    }
    unrecorded = show(archive, call.id, "1 month")
    assert isinstance(unrecorded, ShownCall) and unrecorded.recording is None
    assert unrecorded.to_json() == {
        **{"id": call.id, "status": None, "reference": call.id[-6:], "due_at": None, "sealed_to": None},
        **{"receipt": call.to_json(), "notes": [], "copies": [], "accesses": []},
    }
    with pytest.raises(UnknownId):
        show(archive, "nobody", "1 month")


def test_the_calls_of_a_person_and_of_nobody_else(archive: Archive, row: Recording) -> None:
    later = keep(archive, recording(60, id=f"20261125T222000123-{row.id[-6:]}"))
    other = keep(archive, recording(9, caller="+33699999999"))

    def found(**asked: str) -> list[str]:
        return [call.id for call in calls_of_person(archive.store, PersonSearch(**asked), SERVICE, LATER)]

    assert found(caller="06 12 34 56 78") == [row.id, later.id]
    assert [found(caller=part) for part in ("0612", "345678", "+3361234567")] == [[]] * 3
    assert found(reference=f"#{row.id[-6:]}") == [row.id, later.id]
    assert found(reference=row.id[-6:], day="2026-11-25") == [later.id]  # 23:20 UTC the day before
    assert found(reference=row.id[-6:], day="hier") == [later.id]
    assert found(caller="+33699999999") == [other.id] and not PersonSearch()
    wrong: tuple[tuple[dict[str, str], str, str], ...] = (
        ({}, "caller", "neither is given; accepted: a number, or the reference of a call"),
        ({"caller": CALLER, "reference": "482913"}, "caller", "both are given"),
        ({"caller": "marie"}, "caller", "'marie' is not a number"),
        ({"reference": "4829"}, "reference", "'4829' is not the reference of a call"),
        ({"caller": CALLER, "day": "soon"}, "day", "'soon' is not a day; accepted: 2026-11-24, today"),
    )
    for asked, field, said in wrong:
        with pytest.raises(FieldError) as error:
            found(**asked)
        assert error.value.name == field and error.value.problem.startswith(said)


def test_a_person_is_told_and_forgotten(archive: Archive, row: Recording) -> None:
    held = keep(archive, recording(1))
    place(archive, held.id, HOLD, WHO)
    same = keep(archive, recording(2, id=f"20261126T222000123-{row.id[-6:]}", caller="+33699999999"))
    calls = calls_of_person(archive.store, PersonSearch(caller=CALLER), SERVICE, LATER)
    answer_person(archive, calls, replace(WHO, action="answer", reference=f"of {CALLER}"))
    last = archive.store.accesses(row.id)[-1]
    assert (last.action, last.reference) == ("answer", "of +336…")

    def forget(asked: PersonSearch) -> object:
        return forget_person(archive, asked, SERVICE, ASKED, clock=lambda: LATER).to_json()

    with pytest.raises(SeveralCalls) as several:
        forget(PersonSearch(reference=row.id[-6:]))
    assert several.value.more == {"ids": [row.id, same.id]}
    done = forget(PersonSearch(caller=CALLER))
    assert isinstance(done, dict) and [one["id"] for one in done["deleted"]] == [row.id]
    assert [one["id"] for one in done["stays"]] == [held.id]
    json.dumps(done)
    assert archive.store.receipt(same.id).caller == "+33699999999"


def test_the_page_needs_no_engine_no_model_and_no_sound_in_memory() -> None:
    """It has what it imports in memory all the time: it must be small."""
    heavy = "{'numpy', 'onnxruntime', 'pjsua2', 'soundfile', 'sipagent.cli'} & set(sys.modules)"
    code = f"import sys, sipagent.web.app; assert not {heavy}, {heavy}"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
