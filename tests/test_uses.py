"""Uses: who may for what, no sound without its line in the trace, no name in it, and where copies went."""

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from retention.archive import Archive
from retention.records import Access, Recording, Status
from retention.use import (
    ExportedCopy,
    hold_ground,
    known_copies,
    remaining_copies,
    told_of_download,
    told_of_export,
    what_goes,
    why_not,
    without_person,
)
from retention.verify import verify
from sipagent.operations.approvals import Rules
from sipagent.operations.uses import UseRefused, using
from tests.both import BOTH
from tests.kept import START, keep, recording, remove

DATABASES = BOTH

PURPOSES = ("statistics", "quality")
RULES = Rules(grounds=("criminal",), purposes=PURPOSES, period="6 months", today=START.date())
USE = Access(at=START, action="play", purpose="quality", by="M. Durand", login="durand", via="web")
CLOSED = recording(status=Status.CLOSED)
DUE = CLOSED.expires_at
LATE = DUE + timedelta(seconds=1)
HELD = replace(CLOSED, hold={"ground": "disciplinary", "reference": "2026-7"})
GONE = CLOSED.tombstone(Status.PURGED, START)
EARLY = START + timedelta(days=1)
LISTED = "accepted: statistics, quality, access_request"


@pytest.mark.parametrize(
    ("row", "at", "changes", "said"),
    [
        (CLOSED, EARLY, {}, ""),
        (CLOSED, EARLY, {"purpose": "access_request", "reference": "2026-118"}, ""),
        (CLOSED, EARLY, {"purpose": None}, f"a purpose is needed; {LISTED}"),
        (CLOSED, EARLY, {"purpose": ""}, f"a purpose is needed; {LISTED}"),
        (CLOSED, EARLY, {"purpose": "curiosity"}, f"purpose 'curiosity' is not listed; {LISTED}"),
        (CLOSED, EARLY, {"purpose": "disciplinary"}, f"purpose 'disciplinary' is not listed; {LISTED}"),
        (CLOSED, EARLY, {"by": None}, "the name of who uses it is needed (--by)"),
        (CLOSED, EARLY, {"by": "  "}, "the name of who uses it is needed (--by)"),
        (
            *(CLOSED, EARLY, {"purpose": "access_request", "reference": " "}),
            "purpose access_request needs the reference of the request (--reference)",
        ),
        (CLOSED, DUE - timedelta(seconds=1), {}, ""),
        (
            *(CLOSED, LATE, {}),
            "it has expired (2027-05-24T22:20:00.123Z) and awaits the purge; accepted: access_request",
        ),
        (CLOSED, LATE, {"purpose": "access_request", "reference": "2026-118"}, ""),
        (HELD, EARLY, {}, ""),
        (HELD, EARLY, {"purpose": "disciplinary"}, ""),
        (HELD, EARLY, {"purpose": "criminal"}, f"purpose 'criminal' is not listed; {LISTED}, disciplinary"),
        (
            *(HELD, DUE, {}),
            "it has expired (2027-05-24T22:20:00.123Z) and is kept by its hold alone; "
            "accepted: access_request, disciplinary",
        ),
        (HELD, LATE, {"purpose": "disciplinary"}, ""),
        (HELD, LATE, {"purpose": "access_request", "reference": "2026-118"}, ""),
        (GONE, EARLY, {}, "it is already purged (2026-11-24T22:20:00.123Z)"),
        (replace(CLOSED, status=Status.OPEN), EARLY, {}, "the call is still in progress"),
        (replace(CLOSED, status=Status.PURGING), EARLY, {}, "it is already purging"),
        (replace(CLOSED, status=Status.FAILED), EARLY, {}, "the recorder failed, nothing was kept"),
        (
            *(replace(CLOSED, status=Status.ERASED), EARLY, {}),
            "it was erased during the call: the caller refused, or the operator stopped it",
        ),
    ],
)
@pytest.mark.in_sqlite
def test_who_may_use_what_for_what(row: Recording, at: datetime, changes: dict[str, str], said: str) -> None:
    use = replace(USE, at=at, **changes)
    assert (why_not(row, use, PURPOSES, DUE) or "") == said
    assert hold_ground(row) == (None if row.hold is None else "disciplinary")


def outcomes(archive: Archive, row: Recording) -> list[str]:
    assert verify(archive).problems == []
    return [use.outcome for use in archive.store.accesses(row.id)]


def use(
    archive: Archive, row: Recording, use: Access = USE, obstacle: Callable[[], str | None] = lambda: None
) -> None:
    with using(archive, row, use, RULES, obstacle) as tell:
        tell("done", "both")


def test_a_use_says_that_it_begins_and_how_it_ended(archive: Archive) -> None:
    row = keep(archive, recording())
    with using(archive, row, USE, RULES) as tell:
        assert outcomes(archive, row) == []
        tell("begun", "both")
        assert outcomes(archive, row) == ["begun"]
        remove(archive, row.id, row.expires_at)
        tell("done", "both")  # what is purged while it is heard was heard
    assert archive.store.accesses(row.id)[-1] == replace(USE, recording_id=row.id, detail="both")
    assert outcomes(archive, row) == ["begun", "done"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"purpose": "for Jane Roe"}, "purpose 'for Jane Roe' is not listed"),
        ({"by": " "}, "the name of who uses it is needed"),
        ({"at": LATE}, "awaits the purge"),
        ({}, "no key of yours opens it"),
    ],
)
def test_a_refusal_is_in_the_trace_and_its_purpose_in_the_detail(
    archive: Archive, changes: dict[str, object], said: str
) -> None:
    row = keep(archive, recording())
    with pytest.raises(UseRefused) as refusal:
        use(archive, row, replace(USE, **changes), lambda: "no key of yours opens it")  # type: ignore[arg-type]
    (told,) = archive.store.accesses(row.id)
    assert said in str(refusal.value) and (told.outcome, told.detail) == ("refused", str(refusal.value))
    assert told.purpose in ("quality", None) and (told.login, told.via) == ("durand", "web")
    assert refusal.value.about == row.id


@pytest.mark.parametrize("then", [None, FileNotFoundError(2, "No such file")])
def test_a_purge_that_comes_first_refuses_the_use_whatever_went_wrong_then(
    archive: Archive, then: OSError | None
) -> None:
    row = keep(archive, recording())
    with (
        pytest.raises(UseRefused, match="already purged") as refusal,
        using(archive, row, USE, RULES) as tell,
    ):
        assert remove(archive, row.id, row.expires_at)
        if then is not None:
            raise then
        tell("done", "both")
    assert refusal.value.gone and outcomes(archive, row) == ["refused"]


def test_what_fails_is_in_the_trace_before_and_after_it_began(archive: Archive) -> None:
    row = keep(archive, recording())
    for begins in (False, True):
        with pytest.raises(OSError, match="no sound card"), using(archive, row, USE, RULES) as tell:
            if begins:
                tell("begun", "both")
            raise OSError("no sound card")
    assert outcomes(archive, row) == ["failed", "begun", "failed"]


@pytest.mark.in_sqlite
@pytest.mark.parametrize(
    ("changes", "text", "cut"),
    [
        ({}, "/home/x/call-+33612345678.wav", "/home/x/call-+336….wav"),
        ({}, "/home/x/0612345678.wav", "/home/x/06….wav"),
        ({}, "/home/x/06 12 34 56 78.wav", "/home/x/06 ….wav"),
        ({}, "call 06.12.34-56_78 back", "call 06.… back"),
        ({}, "/home/x/call.wav", "/home/x/call.wav"),
        ({}, "06/12/34/56/78", "06/12/34/56/78"),  # folders
        ({}, None, None),
        ({}, "", ""),
        ({"caller": "3900"}, "3900 and 39001", "… and 39001"),
        ({"caller": "12"}, "12 and 12", "12 and 12"),
        ({"caller": None}, "anything", "anything"),
        ({}, "/home/marie.durand/call.wav", "/home/…/call.wav"),
        ({}, "Marie-Durand_2.wav", "…_2.wav"),
        ({}, "by mariedurand, M. Durand", "by …, M. Durand"),
        ({}, "annemarie.durande", "annemarie.durande"),
        (
            {"operator": "sip:201@pbx.example.net"},
            *("call_201.wav of 2011, request 2201", "call_….wav of 2011, request 2201"),
        ),
        ({"operator": "sip:201;x=y@pbx.example.net"}, "of 201", "of …"),
        ({"operator": "sip:201:secret@pbx.example.net"}, "of 201", "of …"),
        ({"operator": "sip:marie%20d@pbx.example.net"}, "of marie d", "of …"),
        ({"operator": "sip:+33699887766@pbx.example.net"}, "of 0699887766", "of 06…"),
        ({"operator": "201"}, "of 201", "of …"),
        ({"operator": "sip:20@pbx.example.net"}, "page 20", "page 20"),  # too short to be told from anything
        ({"operator": "sip:pbx.example.net"}, "/pbx.example.net/call.wav", "/pbx.example.net/call.wav"),
        ({"operator": "sip:...@pbx.example.net"}, "...", "..."),
        ({"operator": None}, "anything", "anything"),
    ],
)
def test_the_trace_outlives_caller_and_operator(changes: dict[str, str], text: str, cut: str) -> None:
    assert without_person(text, replace(CLOSED, **changes)) == cut  # type: ignore[arg-type]


@pytest.mark.in_sqlite
@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("nothing of theirs", []),
        ("see article 201 of it", ["see article [201] of it"]),
        ("rang 06 12 34 56 78\nfrom 201", ["rang 06 [12 34 56 78]", "from [201]"]),
        ("a" * 100 + " 201 " + "b" * 100, ["a" * 23 + " [201] " + "b" * 23]),
        ("call 0612\n345678 at 201", ["call 06[12 345678] at 201", "345678 at [201]"]),
    ],
)
def test_what_would_be_cut_out_is_shown_in_its_line(text: str, shown: list[str]) -> None:
    call = replace(CLOSED, operator="sip:201@pbx.example.net")
    assert what_goes(text, call) == shown
    assert (without_person(text, call) == text) == (shown == [])


ROW = recording()


def export(archive: Archive, detail: str | None, minutes: int = 0, **fields: str) -> None:
    at = START + timedelta(minutes=minutes)
    told = {"action": "export", "by": "Durand", "detail": detail, "recording_id": ROW.id} | fields
    archive.store.add_access(Access(at=at, **told))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name", ["call.wav", 'a "b" to c.wav', "a\nb\\ to .wav", "é\u202e.wav", os.fsdecode(b"\xff80.wav"), " "]
)
def test_a_copy_is_found_by_what_was_told(archive: Archive, tmp_path: Path, name: str) -> None:
    keep(archive, ROW)
    path = tmp_path / name
    told = told_of_export("both", path, ROW)
    assert told.encode().decode().isprintable() or "\u202e" in told
    export(archive, told)
    expected = ExportedCopy(path=str(path), at=START, by="Durand", exists=False)
    assert known_copies(archive.store, ROW.id) == (expected,)
    path.touch()
    assert known_copies(archive.store, ROW.id)[0].exists


def test_a_copy_named_after_a_person_is_still_found(archive: Archive, tmp_path: Path) -> None:
    keep(archive, ROW)
    folder = tmp_path / "marie.durand"
    folder.mkdir()
    export(archive, told_of_export("both", folder / "0612345678.wav", ROW))
    (copy,) = known_copies(archive.store, ROW.id)
    assert (copy.path, copy.exists) == (str(tmp_path / "…" / "06….wav"), False)
    (folder / "another.wav").touch()
    assert not known_copies(archive.store, ROW.id)[0].exists
    (folder / "0612345678.wav").touch()
    assert known_copies(archive.store, ROW.id)[0].exists


def test_each_place_once_and_only_what_was_done(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(archive, ROW)
    monkeypatch.chdir(tmp_path)
    one, two = tmp_path / "1.wav", tmp_path / "2.wav"
    export(archive, told_of_export("both", Path("1.wav"), ROW))  # told from the root
    export(archive, told_of_export("both", two, ROW), 1)
    export(archive, told_of_export("caller", one, ROW), 2, by="Petit")
    export(archive, "it exists", 3, outcome="refused")
    export(archive, "both", 4, action="play")
    export(archive, None, 5)
    found = known_copies(archive.store, ROW.id)
    assert [(copy.path, copy.by) for copy in found] == [(str(two), "Durand"), (str(one), "Petit")]
    assert known_copies(archive.store, recording(1).id) == ()


@pytest.mark.parametrize("path", ["/home/durand/a to b.wav", '"/home/durand', "7"])
def test_a_detail_that_was_altered_ends_no_purge(archive: Archive, path: str) -> None:
    export(archive, f"both to {path}")
    assert known_copies(archive.store, ROW.id)[0].path == path


def test_where_we_may_not_look_a_copy_may_remain(
    archive: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(archive, told_of_export("both", tmp_path / "folder" / "call.wav", ROW))
    (tmp_path / "folder").touch()
    assert not known_copies(archive.store, ROW.id)[0].exists  # in a file there is none

    def forbidden(path: Path) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "lstat", forbidden)
    (copy,) = known_copies(archive.store, ROW.id)
    assert copy.exists is None and remaining_copies(archive.store, ROW.id), "somebody has to look"


def test_of_a_download_only_its_name_is_known_and_who_has_it(archive: Archive) -> None:
    keep(archive, ROW)
    for minutes, who in enumerate(("Durand", "Petit", "Durand")):
        export(archive, told_of_download("both", "482913.flac", ROW), minutes, by=who)
    found = known_copies(archive.store, ROW.id)
    assert [(copy.path, copy.by, copy.exists, copy.elsewhere) for copy in found] == [
        ("482913.flac", "Petit", None, True),
        ("482913.flac", "Durand", None, True),
    ]
    assert len(remaining_copies(archive.store, ROW.id)) == 2
    assert "12345678" not in told_of_download("both", "0612345678.flac", ROW)
    for path in ("/home/durand/call.wav", "", "../call.wav"):
        with pytest.raises(ValueError, match="not the name of a file"):
            told_of_download("both", path, ROW)
