"""A text that is not TOML: on which line, of which key, what is wrong, what is accepted."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipagent.config.load import toml_fault
from tests.configured import CONTRACT, wrong

VALUE = "is no number and no text in quotes"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[a]\nb = 1\nb = 2", "line 3: a.b: is there already (line 2); accepted: each key once"),
        ("b = 1\n[a]\nb = 2\n\nb = 3\n\n", "line 5: a.b: is there already (line 3); accepted: each key once"),
        ("[a]\nb = 1\n[c]\n[a]\n", "line 4: [a]: is there already (line 1); accepted: each table once"),
        ("[a]\nb = 1\n[a.b]", "line 3: [a.b]: is there already; accepted: each table once"),
        (
            "[refusal]\ndigit = neuf",
            f"line 2: refusal.digit: neuf {VALUE}; accepted: one key of a telephone: 0-9, * or #",
        ),
        (
            "[refusal]\nwindow_s = 5,5 # five and a half",
            f"line 2: refusal.window_s: 5,5 {VALUE}; accepted: seconds, 0.1 to 60",
        ),
        ("[recording]\nenabled = True", f"line 2: recording.enabled: True {VALUE}; accepted: true | false"),
        (
            "[trunk]\nlisten = 127.0.0.1:5060",
            f"line 2: trunk.listen: 127.0.0.1:5060 {VALUE}; "
            "accepted: address:port such as 127.0.0.1:5060, IPv6 as [::1]:5060",
        ),
        (
            '[refusal]\nkeywords = [\n"a",\n  b]',
            f"line 4: refusal.keywords: b] {VALUE}; accepted: a list of words",
        ),
        ("[x]\ny = z", f"line 2: x.y: z {VALUE}; accepted: a number, true or false, or a text in quotes"),
        ("[service]\nname = ", "line 2: service.name: has no value; accepted: the name of the service, as "),
        ('[service]\nname = abc"', f'line 2: service.name: abc" {VALUE}; accepted: the name of the service'),
        *(
            (text, "line 2: service.name: its text has no closing quote; accepted: a text such as")
            for text in (
                '[service]\nname = "abc\nlanguage = "fr"',
                '[service]\nname = "abc',
                "[service]\nname = 'abc\nlanguage = 'fr'",
                "[service]\nname = 'abc\nlanguage = 5\n\n",
            )
        ),
        ('x = "a" "b"', "line 1: x: has more behind its closing quote; accepted: one text in quotes"),
        (
            "[operators]\nextensions = ['sip:201@a'\ntransfer = 'bridge'",
            "line 2: operators.extensions: its list has no closing ], or no comma between two; accepted",
        ),
        (
            "[hours]\nweek = { mon = '8'",
            "line 2: hours.week: its table has no closing }, or no comma between",
        ),
        ("[operators\nx = 1", "line 1: operators: has no closing ]; accepted: a table such as [operators]"),
        ("x 1", "line 1: is no line of TOML; accepted: key = value, [table], or # and a comment"),
        (
            "[service]\nété = 1",
            "line 2: 'été' has an accent, or another sign that no key has; "
            "accepted: letters from a to z, digits, _ and -",
        ),
        ("[service]\nprénom = é", "line 2: 'prénom' has an accent"),
        ('["é"]\n[préfixe]', "line 2: 'préfixe' has an accent"),
        *(
            (text, "line 2: has a no-break space; accepted: plain spaces")
            for text in (
                "[service]\nname\u00a0= 'a'",
                "[service]\nname =\u00a0'a'  # \u00e9",
                "[service]\n\u202fname = 'a'",
                "\n[service]\u00a0",
            )
        ),
        ("[a]\nb = 1\u200b", "line 2: has the invisible sign U+200B; accepted: the line without it"),
        ('[a]\nb = "é\u00a0!', "line 2: a.b: its text has no closing quote"),
        ("[a]\nb = '\u00a0é' \"c\"", "line 2: a.b: has more behind its closing quote"),
        (
            'x = "C:\\dir"',
            'line 1: x: a \\ in "…" begins an escape; accepted: \\\\ in its place, or a text in',
        ),
        ('x = "\x01"', "line 1: x: not TOML: Illegal character '\\x01'"),
    ],
)
def test_where_what_and_what_is_accepted(text: str, line: str) -> None:
    assert wrong(text).startswith(line)


def test_a_quote_that_is_missing_anywhere_is_found_on_its_line() -> None:
    lines = CONTRACT.splitlines()
    for place, line in enumerate(lines):
        if line.count('"') == 2 and line.endswith('"'):
            said = wrong("\n".join([*lines[:place], line[:-1], *lines[place + 1 :]]))
            key = line.partition(" = ")[0]
            assert said.startswith(f"line {place + 1}: ") and f".{key}: its text has no closing" in said


@given(st.text(alphabet="ab=[]{}'\"\\#,.\n \t1é\0", max_size=40))
def test_whatever_is_no_toml_is_explained(text: str) -> None:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = toml_fault(str(error), text)
        assert found.where.startswith("line ") and found.problem
        assert "\n" not in "".join(found)
