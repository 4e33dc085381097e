"""`hold`, `release`, `holds`."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from retention.records import Access
from retention.verify import verify
from sipagent.cli import program
from tests.kept import Paths
from tests.office import Office, make_office

TOMORROW = (datetime.now(UTC) + timedelta(days=2)).date().isoformat()
SAID = ("--ground", "criminal", "--reference", "complaint 41", "--by", "Durand", "--approved-by", "Petit")


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_office(tmp_path, capsys)


def hold(*changes: str, review: str = TOMORROW) -> list[str]:
    """Options of a good hold, some changed."""
    options = dict(zip(SAID[::2], SAID[1::2], strict=True)) | {"--review": review}
    options |= dict(zip(changes[::2], changes[1::2], strict=True))
    return [word for option in options.items() for word in option]


def last(office: Office, id: str) -> Access:
    return office.archive.store.accesses(id)[-1]


def test_a_hold_survives_purge_until_it_is_released(office: Office) -> None:
    row = office.call(timedelta(days=200))
    result = office.run("hold", row.id, *hold())
    assert (result.code, result.out) == (0, f"{row.id}: on hold (criminal), to be reviewed {TOMORROW}\n")
    assert office.archive.store.recording(row.id).hold == {
        "ground": "criminal",
        "reference": "complaint 41",
        "by": "Durand",
        "approved_by": "Petit",
        "review": TOMORROW,
    }
    use = last(office, row.id)
    assert (use.action, use.outcome, use.by, use.reference) == ("hold", "done", "Durand", "complaint 41")
    assert office.run("purge").code == 0 and Paths(office.archive).file(row.id) is not None
    result = office.run("release", row.id, "--by", "Durand", "--reason", "case closed")
    assert result.code == 0 and f"{row.id}: released; it was due 20" in result.out
    assert "the next purge takes it" in result.out
    use = last(office, row.id)
    assert (use.action, use.outcome, use.reference, use.detail) == (
        "release",
        "done",
        "complaint 41",
        "case closed",
    )
    office.run("purge")
    assert Paths(office.archive).file(row.id) is None
    assert verify(office.archive).problems == []


def test_what_is_refused_is_said_and_traced(office: Office) -> None:
    row = office.call()
    assert "nothing to renew" in office.fails(1, "hold", row.id, *hold(), "--renew")
    problem = "ground 'curiosity' is not listed; accepted: disciplinary, criminal"
    assert f"{row.id}: {problem}" in office.fails(1, "hold", row.id, *hold("--ground", "curiosity"))
    use = last(office, row.id)
    assert (use.action, use.outcome, use.by, use.reference) == ("hold", "refused", "Durand", "complaint 41")
    assert use.detail == problem and office.archive.store.recording(row.id).hold is None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (("--review", "soon"), "--review: 'soon' is not a day; accepted: yyyy-mm-dd"),
        (("--review", "2027-02-30"), "'2027-02-30' is not a day"),
        (("--reference", " "), "'--reference': says nothing"),
        (("--by", "a\nb"), "'--by': is not one line of text"),
        (("--by", "a\udcff"), "'--by': is not one line of text"),
        (("--reference", "x" * 501), "'--reference': is too long; accepted: 500 characters"),
    ],
)
def test_what_cannot_be_read_is_usage(office: Office, changes: tuple[str, ...], problem: str) -> None:
    row = office.call()
    assert problem in office.fails(2, "hold", row.id, *hold(*changes)).lower()
    assert office.archive.store.accesses(row.id) == []


def test_a_no_break_space_is_a_space(office: Office) -> None:
    row = office.call()
    office.run("hold", row.id, *hold("--reference", "\u00a0dossier\u202f41"))
    assert last(office, row.id).reference == "dossier 41"


@pytest.mark.parametrize("option", ["--ground", "--reference", "--by", "--approved-by", "--review"])
def test_every_option_is_needed(office: Office, option: str) -> None:
    words = hold()
    place = words.index(option)
    assert f"missing option '{option}'" in office.fails(2, "hold", "x", *words[:place], *words[place + 2 :])


def test_release_of_what_is_not_held(office: Office) -> None:
    row = office.call()
    assert f"{row.id}: it is not on hold" in office.fails(1, "release", row.id, "--by", "Durand")
    use = last(office, row.id)
    assert (use.action, use.outcome) == ("release", "refused")
    assert "no such id" in office.fails(1, "release", "x", "--by", "Durand")
    office.run("hold", row.id, *hold())
    assert "; it is due 20" in office.run("release", row.id, "--by", "Durand").out


def test_no_word_of_the_two_enters_the_trace(office: Office) -> None:
    row = office.call()
    said = ("--reference", "threats of 06 12 34 56 78", "--by", "Durand for marie.durand")
    office.run("hold", row.id, *hold(*said))
    office.run("hold", row.id, *hold(*said))
    office.run("release", row.id, "--by", "Durand", "--reason", "+33612345678 agreed")
    uses = office.archive.store.accesses(row.id)
    assert [use.outcome for use in uses] == ["done", "refused", "done"]
    for use in uses:
        assert "…" in f"{use.reference} {use.detail}"
        assert "12 34 56 78" not in str(use) and "12345678" not in str(use) and "marie" not in str(use)


def test_holds_lists_overdue_reviews_first(office: Office) -> None:
    assert office.run("holds").out == "Nothing is on hold.\n"
    assert json.loads(office.run("holds", "--json").out) == []
    late, soon, unreadable, free = office.call(), office.call(), office.call(), office.call()
    kept = office.archive
    office.run("hold", soon.id, *hold())
    for row, review in ((late, "2026-01-31"), (unreadable, "some day")):
        office.run("hold", row.id, *hold())
        held = kept.store.recording(row.id)
        kept.change(replace(held, hold=(held.hold or {}) | {"review": review}))
    result = office.run("holds")
    ids = [line.split()[0] for line in result.out.splitlines()[1:4]]
    assert ids == [unreadable.id, late.id, soon.id] and free.id not in result.out
    assert "2026-01-31 OVERDUE" in result.out and f"{TOMORROW} OVERDUE" not in result.out
    assert "3 holds" in result.out and "2 reviews overdue" in result.out
    shown = json.loads(office.run("holds", "--json").out)
    assert [row["review_overdue"] for row in shown] == [True, True, False]
    assert shown[1]["hold"]["reference"] == "complaint 41" and shown[1]["id"] == late.id


def test_overdue_is_by_the_days_of_the_service(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 23:30 UTC it is the next day in Paris."""
    row = office.call(expires_at=datetime(2999, 1, 1, tzinfo=UTC))
    monkeypatch.setattr(program, "now", lambda: datetime(2026, 11, 24, 23, 30, tzinfo=UTC))
    assert "is not in the future" in office.fails(1, "hold", row.id, *hold(review="2026-11-25"))
    assert office.run("hold", row.id, *hold(review="2026-11-26")).code == 0
