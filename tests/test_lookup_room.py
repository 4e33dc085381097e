"""What the commands ask for, asked without them: values in, values and errors out."""

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from retention.archive import Archive
from retention.erase import delete
from retention.records import Access, Status
from retention.rows.rows import UnknownId
from retention.rows.selection import Selection
from retention.statistics import Statistics
from sipagent.languages.spoken import answering, shown
from sipagent.lookup.parsing import NOTE_LIMIT, FieldError, note_text, selection
from sipagent.lookup.results import (
    calls_of_caller,
    calls_of_reference,
    deletion_json,
    figures_of,
    terms_of,
    whole_record,
)
from tests.configured import CONTRACT, read
from tests.kept import CALLER, START, keep, recording
from tests.loopback import ROOT

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
CONFIG = read(CONTRACT)


def test_filters_become_a_selection() -> None:
    chosen = selection(CONFIG, NOW, since="2026-11-24", until="2026-11-24", caller="06 12 34 56 78")
    assert chosen == Selection(
        since=datetime(2026, 11, 23, 23, tzinfo=UTC),
        until=datetime(2026, 11, 24, 23, tzinfo=UTC),
        number=CALLER,
    )
    assert selection(CONFIG, NOW, caller="0612").caller == ("+33612", "0612")
    assert selection(
        CONFIG, NOW, status="closed", outcome="connected", decision="allowed", limit=5
    ) == Selection(status=Status.CLOSED, outcome="connected", decision="allowed", limit=5)
    assert selection(CONFIG, NOW, reference="#482 913", after="20261124T222000123-482913") == Selection(
        reference="482913", after="20261124T222000123-482913"
    )


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
    assert "\n" not in str(error.value)


def test_it_is_said_in_the_language_of_who_asks() -> None:
    with pytest.raises(FieldError) as wrong:
        selection(CONFIG, NOW, caller="marie")
    with answering("fr"):
        assert shown(wrong.value.problem).startswith("'marie' n’est pas un numéro")


def test_all_calls_of_a_person(archive: Archive) -> None:
    mine = [keep(archive, recording(minutes)) for minutes in (5, 0)]
    other = keep(archive, recording(9, caller="+33699999999"))
    found = calls_of_caller(archive.store, "06 12 34 56 78", "FR")
    assert [call.id for call in found] == [mine[1].id, mine[0].id]
    assert calls_of_caller(archive.store, "0612", "FR") == []
    with pytest.raises(ValueError, match="is not a number"):
        calls_of_caller(archive.store, "marie", "FR")
    assert other.id in [call.id for call in calls_of_reference(archive.store, f"#{other.id[-6:]}")]
    with pytest.raises(ValueError, match="is not the reference"):
        calls_of_reference(archive.store, "4829")


def test_all_that_is_known_of_one(archive: Archive) -> None:
    row = keep(archive, recording())
    archive.store.add_access(Access(at=START, action="play", recording_id=row.id, by="Durand", via="web"))
    told = whole_record(archive, row.id).to_json("1 month")
    assert told["id"] == row.id and told["reference"] == row.id[-6:] and told["sealed_to"] is None
    assert told["due_at"] == "2026-12-24T22:20:00.123Z" and told["receipt"]["id"] == row.id
    assert [use["via"] for use in told["accesses"]] == ["web"] and told["copies"] == told["notes"] == []
    with pytest.raises(UnknownId):
        whole_record(archive, "nobody")


def test_what_was_deleted(archive: Archive) -> None:
    row = keep(archive, recording())
    asked = Access(at=START, action="delete", by="Durand", detail="request 2026-118")
    told = deletion_json(delete(archive, row.id, asked, lambda: NOW))
    assert (told["id"], told["by"], told["reason"]) == (row.id, "Durand", "request 2026-118")
    assert told["recording"]["sha256"] == row.sha256 and told["chain"]["seq"] > 0
    json.dumps(told)


def test_figures_with_what_the_chain_knows() -> None:
    figures = Statistics(CONFIG.service.timezone)
    told = figures_of(CONFIG, figures, Selection(since=START), {"receipts": (2, 3)}).to_json()
    assert told["since"] == "2026-11-24T22:20:00.123Z" and told["until"] is None
    assert told["reconciled"] == {"agrees": False, "receipts": {"rows": 2, "chain": 3}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"\xff", "is not UTF-8 text"),
        (b"a\x1b[1m", "holds control characters"),
        (b"x" * (NOTE_LIMIT + 1), "is longer than 64 KiB"),
    ],
)
def test_the_text_of_an_analysis(content: bytes, said: str) -> None:
    assert note_text(b"\xef\xbb\xbfPolite,\r\n\tclear. ") == "Polite,\n\tclear."
    with pytest.raises(ValueError, match=said):
        note_text(content)


def test_how_long_things_are_kept() -> None:
    kept = CONFIG.retention
    assert terms_of(CONFIG).period == kept.period and terms_of(CONFIG).receipts_period == kept.receipts_period
    assert terms_of(CONFIG).analysis_period == kept.analysis_period


def test_it_needs_no_engine_no_model_and_no_table_on_a_terminal() -> None:
    """The page has it all in memory: it must be small."""
    names = [path.stem for path in Path(ROOT / "sipagent/lookup").glob("*.py") if path.stem != "__init__"]
    loaded = "; ".join(f"import sipagent.lookup.{name}" for name in names)
    heavy = "{'onnxruntime', 'pjsua2', 'rich', 'soundfile', 'sipagent.cli'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", f"import sys; {loaded}; assert not {heavy}, {heavy}"], check=True)
