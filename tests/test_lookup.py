"""What people type: moments, numbers, references, filters, analyses, ids; and how moments and sizes read."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from retention.records import Status
from retention.rows.rows import Rows, ids_beginning, ids_meant
from retention.rows.selection import Selection
from retention.sqlite import Store
from sipagent.cli.terminal import distance, full, short, size
from sipagent.languages.labels import length
from sipagent.languages.spoken import answering, shown
from sipagent.operations.parsing import (
    NOTE_LIMIT,
    FieldError,
    call_reference,
    caller_forms,
    note_text,
    parse_moment,
    selection,
)
from tests.both import BOTH, opened, raw
from tests.configured import CONTRACT, read
from tests.kept import CALLER, receipt, recording
from tests.office import PARIS, Office

DATABASES = BOTH

NOW = datetime(2026, 11, 24, 23, 30, tzinfo=UTC)  # already the 25th in Paris
CONFIG = read(CONTRACT)


def test_moments() -> None:
    for text, moment, as_end in (
        ("2026-11-24", "2026-11-23T23:00", "2026-11-24T23:00"),
        ("2026-07-14", "2026-07-13T22:00", "2026-07-14T22:00"),  # daylight saving
        ("today", "2026-11-24T23:00", "2026-11-25T23:00"),
        ("yesterday", "2026-11-23T23:00", "2026-11-24T23:00"),
        ("hier", "2026-11-23T23:00", "2026-11-24T23:00"),
        ("aujourd’hui", "2026-11-24T23:00", "2026-11-25T23:00"),
        ("2026-11-24T10:00", "2026-11-24T09:00", None),
        ("2026-11-24T22:20:00.123Z", "2026-11-24T22:20:00.123", None),
        ("2026-11-24T10:00+05:00", "2026-11-24T05:00", None),
        ("now", "2026-11-24T23:30", None),
        (" 2w ", "2026-11-10T23:30", None),
    ):
        assert parse_moment(text, NOW, PARIS) == datetime.fromisoformat(f"{moment}+00:00")
        end = datetime.fromisoformat(f"{as_end or moment}+00:00")
        assert parse_moment(text, NOW, PARIS, end=True) == end
    for text in (
        *("", "soon", "2026-13-01", "24/11/2026", "20261124", "2026-W48-2", "-7d", "7", "99999w", "٧d"),
        "10:00",
    ):
        with pytest.raises(ValueError, match="accepted: 2026-11-24, "):
            parse_moment(text, NOW, PARIS)


def test_numbers_and_references_as_people_type_them() -> None:
    for typed, forms in (
        *((typed, (CALLER,)) for typed in ("06 12 34 56 78", "0612345678", "+33 6 12 34 56 78")),
        ("0033612345678", (CALLER,)),
        *(("0612", ("+33612", "0612")), ("+336", ("+336",)), ("00336", ("+336", "00336"))),
        ("5678", ("+5678", "5678")),
    ):
        assert caller_forms(typed, "FR") == forms
    for typed in ("", "+", "marie", "06%", "1" * 30):
        with pytest.raises(ValueError, match="is not a number; accepted: "):
            caller_forms(typed, "FR")
    for typed in ("482913", "#482913", "482 913", "482-913", "-482913"):
        assert call_reference(typed) == "482913"


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        (
            {"since": "2026-11-24", "until": "2026-11-24", "caller": "06 12 34 56 78"},
            Selection(
                since=datetime(2026, 11, 23, 23, tzinfo=UTC),
                until=datetime(2026, 11, 24, 23, tzinfo=UTC),
                number=CALLER,
            ),
        ),
        (
            {"status": "closed", "outcome": "connected", "decision": "allowed", "caller": "0612"},
            Selection(
                status=Status.CLOSED, outcome="connected", decision="allowed", caller=("+33612", "0612")
            ),
        ),
        (
            {"reference": "#482 913", "after": "20261124T222000123-482913", "held": True, "flagged": True},
            Selection(reference="482913", after="20261124T222000123-482913", held=True, flagged=True),
        ),
    ],
)
def test_filters_become_a_selection(asked: dict[str, Any], chosen: Selection) -> None:
    assert selection(CONFIG, NOW, **asked) == chosen


@pytest.mark.parametrize(
    ("name", "typed", "said"),
    [
        ("since", "soon", "'soon' is not a moment; accepted: 2026-11-24"),
        ("until", "", "'' is not a moment"),
        ("caller", "marie", "'marie' is not a number"),
        ("reference", "4829", "'4829' is not the reference of a call"),
        ("status", "melted", "'melted' is none of these: open, closed"),
        ("outcome", "gone", "'gone' is none of these: connected"),
        ("decision", "maybe", "'maybe' is none of these: allowed"),
        ("after", "../x", "'../x' is not an id"),
    ],
)
def test_a_filter_that_cannot_be_read_is_named(name: str, typed: str, said: str) -> None:
    with pytest.raises(FieldError) as error:
        selection(CONFIG, NOW, **{name: typed})  # type: ignore[arg-type]
    assert error.value.name == name and error.value.problem.startswith(said)
    assert str(error.value) == f"{name}: {error.value.problem}" and "\n" not in str(error.value)
    with pytest.raises(FieldError) as error:
        selection(CONFIG, NOW, caller="marie")
    with answering("fr"):
        assert shown(error.value.problem).startswith("'marie' n’est pas un numéro")


def test_the_text_of_an_analysis() -> None:
    assert note_text(b"\xef\xbb\xbfPolite,\r\n\tclear. ") == "Polite,\n\tclear."
    for content, said in (
        *((nothing, "is empty") for nothing in (b"", b" \n", b"\xef\xbb\xbf \n\t\r\n")),
        (b"caf\xe9", "is not UTF-8 text"),
        *((odd, "holds control characters") for odd in (b"a\x1b[1m", b"a\0b")),
        (b"x" * (NOTE_LIMIT + 1), "is longer than 64 KiB"),
    ):
        with pytest.raises(FieldError, match=said) as error:
            note_text(content)
        assert error.value.name == "text"


def test_how_moments_lengths_and_sizes_read() -> None:
    for said, text in (
        (short(NOW.astimezone(PARIS)), "25 Nov 00:30"),
        (full(NOW.astimezone(PARIS)), "2026-11-25 00:30:00"),
        *((length(None), "–"), (length(0), "0:00"), (length(59.6), "1:00"), (length(245.2), "4:05")),
        (distance(NOW + timedelta(days=181), NOW), "in 181 days"),
        (distance(NOW - timedelta(days=1, hours=3), NOW), "1 day ago"),
        *((distance(NOW + timedelta(seconds=3), NOW), "now"), (distance(NOW, NOW), "now")),
        *((size(None), "–"), (size(0), "0 B"), (size(999), "999 B"), (size(1000), "1.0 kB")),
        *((size(999_949), "999.9 kB"), (size(999_950), "1.0 MB"), (size(4_200_000), "4.2 MB")),
        (size(10**16), "10000.0 TB"),
    ):
        assert said == text


# --- ids: by themselves, by a beginning that no other has, or by a reference ---


def add(store: Rows, *ids: str) -> None:
    for minutes, id in enumerate(ids):
        store.add_receipt(receipt(recording(minutes, id=id)))


def test_which_ids_are_meant() -> None:
    store, first = opened(), "20261124T222000123-482913"
    add(store, "20261124", first, "20261124T222000123-482914", "20261125T222000123-w3-482913")
    add(store, "20261224T222000123-202611")
    store.add_recording(recording(id="20261123T222000123-482915"))
    for typed, meant in (
        ("20261124", ["20261124"]),  # itself, before those that begin so
        ("20261124T2220", [first, "20261124T222000123-482914"]),
        ("20261124T222000123-482914", ["20261124T222000123-482914"]),
        ("482913", ["20261125T222000123-w3-482913", first]),  # a reference is the end
        ("482915", ["20261123T222000123-482915"]),
        ("202612", ["20261224T222000123-202611"]),
        *(("2027", []), ("48291", [])),
    ):
        assert ids_meant(store, typed, 10) == meant, typed
    assert ids_meant(store, "482913", 1) == ["20261125T222000123-w3-482913"]
    assert ids_meant(store, "202611", 10)[0] == "20261224T222000123-202611"  # a reference, and a beginning
    assert first in ids_meant(store, "202611", 10)


def test_a_beginning_reads_no_more_than_it_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    store, ids = opened(), [f"20261124T222000{n:03}-482913" for n in range(300)]
    with store.write():
        for minutes, id in enumerate(ids):
            store.add_recording(recording(minutes, id=id))
    read, rows = store._read, []

    def counted(sql: str, values: Sequence[object], *, anyhow: bool = False) -> list[dict[str, Any]]:
        rows.extend(found := read(sql, values, anyhow=anyhow))
        return found

    monkeypatch.setattr(store, "_read", counted)
    assert [*ids_beginning(store, "recordings", "", 50, newest=True)] == ids[:-51:-1]
    assert [*ids_beginning(store, "recordings", "20261124T222000", 50)] == ids[:50]
    assert [*ids_beginning(store, "recordings", "20261124T22200029", 50)] == ids[290:]
    assert len(rows) <= 3 * 51
    if isinstance(store, Store):
        plan = raw(store, "EXPLAIN QUERY PLAN SELECT id FROM recordings WHERE id >= 'a' ORDER BY id")
        assert "USING COVERING INDEX" in str(plan)


SAID = ("--reason", "request 2026-118", "--by", "Durand")
USE = ("--purpose", "quality", "--by", "Durand")
HOLD = ("--ground", "criminal", "--reference", "R1", "--by", "A", "--approved-by", "B")


@pytest.mark.in_sqlite
def test_every_command_takes_a_reference_and_a_beginning(office: Office) -> None:
    row = office.call(id="20261124T222000123-w3-747736")
    office.call(id="20261125T222000123-w3-747737")
    sheet, copy = office.folder / "sheet.txt", office.folder / "copy.wav"
    sheet.write_text("Polite.")
    for words in (
        ("show", "747736"),
        ("show", "#747 736"),
        ("show", "20261124"),
        ("export", "747736", *USE, "--out", copy),
        ("accesses", "747736"),
        ("note", "20261124", "--by", "Durand", "--text-file", sheet),
        ("hold", "747736", *HOLD, "--review", "2999-01-01"),
        ("release", "747736", "--by", "A"),
        ("delete", "747736", *SAID),
    ):
        result = office.run(*words)
        assert (result.code, result.faults) == (0, []), words
        if words[0] != "export":
            assert row.id in result.out
    used = [use.action for use in office.archive.store.accesses(row.id)]
    assert used == ["export", "note", "hold", "release", "delete"]
    assert "it is already purged" in office.fails(1, "play", "747736", *USE)


@pytest.mark.in_sqlite
def test_what_is_meant_by_nothing_or_by_several(office: Office) -> None:
    ids = [f"20261124T2220{n:02}123-747736" for n in range(12)]
    for minutes, id in enumerate(ids):
        office.archive.store.add_recording(recording(minutes, id=id))
    line = office.fails(1, "export", "20261124T", *USE, "--out", office.folder / "copy.wav")
    assert f"20261124T: may be {', '.join(ids[:10])}, …; accepted: one of them" in line
    line = office.fails(1, "delete", "20261124T222000", *SAID[:2], "--by", "Durand")
    assert "still in progress" in line  # one alone
    call = receipt(recording(id="20261124T222000123-747737"), recording_id=None, decision="refused")
    office.archive.store.add_receipt(call)
    assert f"{call.id}: this call has no recording (refused)" in office.fails(1, "play", "747737", *USE)
    for typed in ("747738", "2999", "zz", "../config", "\udcff", "é"):
        for command in (("show",), ("accesses",), ("delete", *SAID), ("play", *USE)):
            line = office.fails(1, command[0], typed, *command[1:])
            assert "no such id" in line, typed
