import json
from datetime import timedelta
from pathlib import Path

import pytest

from sipagent.lookup.parsing import call_reference, caller_forms
from tests.office import Office, make_office

BOTH = ("sip:202@127.0.0.1:5071", "sip:201@127.0.0.1:5070")  # the caller went on to 201


@pytest.fixture
def office(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Office:
    return make_office(tmp_path, capsys)


@pytest.mark.parametrize(
    ("typed", "forms"),
    [
        ("06 12 34 56 78", ("+33612345678",)),
        ("0612345678", ("+33612345678",)),
        ("+33 6 12 34 56 78", ("+33612345678",)),
        ("0033612345678", ("+33612345678",)),
        ("0612", ("+33612", "0612")),
        ("+336", ("+336",)),
        ("00336", ("+336", "00336")),
        ("5678", ("+5678", "5678")),
        ("201", ("+201", "201")),
    ],
)
def test_numbers_as_people_type_them(typed: str, forms: tuple[str, ...]) -> None:
    assert caller_forms(typed, "FR") == forms


@pytest.mark.parametrize("typed", ["", "+", "marie", "06%", "1" * 30])
def test_what_is_no_number(typed: str) -> None:
    with pytest.raises(ValueError, match="accepted: "):
        caller_forms(typed, "FR")


@pytest.mark.parametrize("typed", ["482913", "#482913", "482 913", "482-913", "-482913"])
def test_references_as_people_type_them(typed: str) -> None:
    assert call_reference(typed) == "482913"


@pytest.mark.parametrize("command", ["list", "calls"])
def test_who_hides_the_number_is_found_by_reference(office: Office, command: str) -> None:
    row, other = office.call(caller=None), office.call(timedelta(hours=2))
    assert other.id[-6:] != row.id[-6:]
    result = office.run(command, "--reference", f"#{row.id[-6:]}", "--json")
    assert [found["id"] for found in json.loads(result.out)] == [row.id]
    assert row.id in office.run(command, "--reference", row.id[-6:]).out


@pytest.mark.parametrize("command", ["list", "calls"])
@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], 3),
        (["--limit", "1"], 1),
        (["--since", "2d"], 2),
        (["--until", "2d"], 1),
        (["--caller", "06 12 34 56 78"], 2),
        (["--caller", "06"], 2),
        (["--caller", "+33612345678", "--flagged"], 1),
        (["--caller", "3001"], 1),
        (["--operator", "201"], 1),
        (["--operator", "202"], 1),
        (["--status", "closed"], 3),
        (["--status", "erased"], 0),
        (["--flagged"], 1),
        (["--held"], 0),
    ],
)
def test_both_commands_filter(office: Office, command: str, words: list[str], found: int) -> None:
    office.call(timedelta(days=3))
    office.call(timedelta(days=1), flagged=True, operator="sip:201@127.0.0.1:5070", operators=BOTH)
    office.call(caller="+33323063001")
    result = office.run(command, *words, "--json")
    assert (result.code, result.out.count('"call_id"')) == (0, found)
    assert office.run(command, *words).code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--since", "soon"], "--since: 'soon' is not a moment; accepted: 2026-11-24"),
        (["--until", "7"], "--until: '7' is not a moment"),
        (["--caller", "marie"], "--caller: 'marie' is not a number; accepted: 06 12"),
        (["--reference", "4829"], "--reference: '4829' is not the reference of a call; accepted: 482913"),
        (["--status", "melted"], "'closed'"),
        (["--limit", "0"], "--limit"),
        (["--nonsense"], "no such option"),
    ],
)
def test_wrong_filters_are_usage_errors(office: Office, words: list[str], said: str) -> None:
    line = office.fails(2, "list", *words)
    assert said.lower() in line.lower() and "sipagent list --help" in line
