"""After a purge nothing of a call is found by searching the bytes: not in the directory, the database, the
vault, what lies beside them, or what is logged; however a number is written, or a name."""

import random
import re
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import structlog

from retention import outbox
from retention.archive import Archive
from retention.erase import delete, erase_row, fail
from retention.holds import place, release
from retention.purge import Terms, purge
from retention.records import Access, Event, Hold, Recording, due_date
from retention.vault import Identity
from retention.verify import verify
from sipagent.operations.uses import file_note
from sipagent.service.purging import tell
from tests.kept import START, Paths, archive, bytes_under, receipt, recording
from tests.tampering import HOLD

CALLS = 30
SOUND = random.Random(1).randbytes(20_000)
TERMS = Terms(period="6 months", receipts_period="1 year", analysis_period="18 months")
AFTER = {
    period: due_date(START, period) + timedelta(days=1) for period in ("6 months", "1 year", "18 months")
}
RECIPIENT = Identity(bytes([7]) * 32, "DPO").public
ANALYST, TEXT = "Hélène Martin", "the caller was rude, the operator was not"


def number_of(call: int) -> str:
    return f"+3361234{call:04d}"


def spellings(call: int) -> list[str]:
    """As people and machines write one number."""
    national = f"061234{call:04d}"
    pairs = " ".join(national[at : at + 2] for at in range(0, 10, 2))
    return [
        number_of(call),
        national,
        pairs,
        pairs.replace(" ", "."),
        f"0033-{national[1:]}",
        f"tel:+33{national[1:]}",
    ]


def name_of(call: int) -> str:
    return f"lucie.bernard{call:02d}"


def found(call: int, content: bytes) -> list[bytes]:
    """The number, however it is grouped or encoded, the operator, the Call-ID."""
    gap = rb"[\s.()\-/\x00]*"
    digits = gap.join(bytes([digit]) for digit in number_of(call)[3:].encode())
    letters = rb"[._\-\s\x00]*".join(bytes([letter]) for letter in name_of(call).replace(".", "").encode())
    patterns = [digits, rb"(?i)" + letters, f"call-{call}@192".encode()]
    return [match[0] for pattern in patterns for match in re.finditer(pattern, content)]


def sounds(content: bytes) -> int:
    """How many pieces of the sound are there."""
    return sum(SOUND[at : at + 16] in content for at in range(0, len(SOUND), 400))


def live(archive: Archive, call: int, *, sealed: bool) -> Recording:
    """One call, with all that can be kept of it, in all spellings."""
    row = recording(
        call,
        caller=number_of(call),
        operator=f"sip:{name_of(call)}@pbx.example.net",
        call_id=f"call-{call}@192.0.2.7",
    )
    if sealed:
        archive.vault.create(row.id, [RECIPIENT])
    archive.store.add_receipt(receipt(row))
    archive.open(row).write_bytes(SOUND)
    Paths(archive).part(row.id).rename(Paths(archive).final(row.id, "sealed" if sealed else "flac"))
    row = archive.close(row)
    spelt = [
        Event(at=START, what=f"forwarded from {spelling}", by=row.operator) for spelling in spellings(call)
    ]
    archive.store.update_receipt(receipt(row, events=tuple(spelt), keyword="je refuse"))
    by = Access(
        at=START, action="play", recording_id=row.id, purpose="quality", by=ANALYST, system_user="hmartin"
    )
    archive.store.add_access(by)
    file_note(
        archive, row.id, f"{TEXT}: {' '.join(spellings(call))} {name_of(call)}", by, "18 months", erase=False
    )
    if call % 5 == 0:
        place(archive, row.id, Hold(**HOLD | {"review": "2030-01-01"}), by)
        release(archive, row.id, by)
    return row


@pytest.fixture(scope="module", params=["clear", "sealed"])
def original(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """An office in which all of them have lived, and two more were erased, or failed."""
    kept = archive(folder := tmp_path_factory.mktemp("original"))
    outbox.collect(kept.store, START)
    for call in range(CALLS):
        row = live(kept, call, sealed=request.param == "sealed")
        outbox.tell_alert(kept.store, f"{row.operator} of {row.caller} in {row.id}", None, START, START)
        outbox.due(kept.store, START, CALLS)
    for call, end in ((CALLS, erase_row), (CALLS + 1, fail)):
        row = recording(call, caller=number_of(call), operator=f"sip:{name_of(call)}@pbx.example.net")
        kept.store.add_receipt(receipt(row))
        kept.open(row).write_bytes(SOUND)
        end(kept, row.id, START)
    kept.store.close()
    return folder


@pytest.fixture
def kept(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    shutil.copytree(original, tmp_path, dirs_exist_ok=True)
    (tmp_path / "tmp").mkdir()
    for name in ("TMPDIR", "SQLITE_TMPDIR"):  # would be found there
        monkeypatch.setenv(name, str(tmp_path / "tmp"))
    kept = archive(tmp_path)
    yield kept
    assert verify(kept).problems == []
    kept.store.close()


ALL = range(CALLS + 2)


def test_each_thing_goes_when_its_period_is_over(kept: Archive, tmp_path: Path) -> None:
    vault = b"".join(path.read_bytes() for path in tmp_path.glob("vault/*.key"))
    before = bytes_under(tmp_path)
    assert all(len(found(call, before)) > 9 for call in range(CALLS)) and sounds(before) == 50

    with structlog.testing.capture_logs() as logs:
        tell(purge(kept, AFTER["6 months"], TERMS))
    left = bytes_under(tmp_path)
    assert (
        sounds(left) == 0
        and not list(tmp_path.glob("vault/*"))
        and not list(Paths(kept).recordings.iterdir())
    )
    assert not [box for box in re.findall(rb'"key": "([^"]+)"', vault) if box in left]
    assert all(found(call, left) for call in ALL)  # of the receipts, which have a period of their own
    assert len(logs) == CALLS + 2 and not any(found(call, repr(logs).encode()) for call in ALL)

    tell(purge(kept, AFTER["1 year"], TERMS))
    left = bytes_under(tmp_path)
    assert [found(call, left) for call in ALL if found(call, left)] == []
    assert b"je refuse" not in left
    assert ANALYST.encode() in left and TEXT.encode() in left  # of the notes, likewise

    purge(kept, AFTER["18 months"], TERMS)
    left = bytes_under(tmp_path)
    assert [text for text in (ANALYST, "hmartin", TEXT, "B. Petit", "2026/7") if text.encode() in left] == []


def test_a_deletion_takes_one_call_and_no_other(kept: Archive, tmp_path: Path) -> None:
    rows = [row for row in kept.store.recordings() if row.status == "closed"]
    one = next(row for row in rows if row.caller == number_of(15))
    by = Access(
        at=START, action="delete", by="the DPO", detail=f"asked for by {spellings(15)[2]}, {name_of(15)}"
    )
    with structlog.testing.capture_logs() as logs:
        delete(kept, one.id, by, lambda: START)
    left = bytes_under(tmp_path)
    assert found(15, left) == [] and logs == []
    assert all(len(found(call, left)) > 9 for call in range(CALLS) if call != 15)
    assert left.count(TEXT.encode()) >= CALLS - 1
    assert b"asked for by" in left  # why it was done stays


def test_all_of_them_deleted_one_after_the_other(kept: Archive, tmp_path: Path) -> None:
    """Pages that are freed, split and filled again keep nothing."""
    chance = random.Random(3)
    rows = [row for row in kept.store.recordings() if row.status == "closed"]
    chance.shuffle(rows)
    for row in rows:
        delete(kept, row.id, Access(at=START, action="delete", by="the DPO"), lambda: START)
    left = bytes_under(tmp_path)
    assert not any(found(call, left) for call in range(CALLS)) and sounds(left) == 0
    assert TEXT.encode() not in left
