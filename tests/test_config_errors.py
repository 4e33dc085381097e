"""The one line for whatever is wrong in config.toml: where, what, and what is accepted."""

import json
import re
import tomllib
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipagent.config.load import ConfigError, load, toml_fault
from tests.configured import CONTRACT, SMALL, read, with_keys, wrong


def wrong_keys() -> Iterator[tuple[str, str, str]]:
    """Table, keys and the beginning of the line, of each case in the file."""
    table, keys = "", list[str]()
    for line in Path(__file__).with_name("wrong_configuration.txt").read_text("utf-8").splitlines()[1:]:
        if line.startswith("    "):
            yield table, "\n".join(keys), line.strip()
            keys = []
        elif line.startswith("["):
            table = line[1:-1]
        elif line:
            keys.append(line)


@pytest.mark.parametrize(("table", "keys", "line"), [*wrong_keys()])
def test_a_wrong_value_is_one_line_with_what_is_accepted(table: str, keys: str, line: str) -> None:
    said = wrong(with_keys(table, keys))
    assert said.startswith(line)
    assert said.isprintable() and len(said) < 400


URL = "postgresql://sipagent@db.example.net/sipagent"
SHARED = with_keys("retention", f'database = "{URL}"', with_keys("cluster", 'host = "a"'))
SEALED = with_keys("recording", 'recipients = ["keys/quality.pub"]')
BY_TCP = with_keys("trunk", "transport = 'tcp'")
EDGE = with_keys("edge", "tls_listen = '127.0.0.1:5061'\ncertificate = 'a.pem'\nprivate_key = 'a.key'")
NO_DATABASE = "; accepted: a file, or postgresql://user@host/database"


@pytest.mark.parametrize(("table", "keys", "text", "line"), [
    ("edge", "start = false", with_keys("trunk", "verify_identity = true\nidentity_hosts = ['a.org']"),
     "trunk.identity_hosts: given where edge.start is false"),
    ("cluster", 'host = "a"', SMALL, "cluster.host: given without a database that hosts share"),
    ("retention", f'database = "{URL}"', SMALL, "cluster.host: absent, where hosts share a database"),
    ("retention", 'database_password_file = "p"', SMALL,
     "retention.database_password_file: given without a database that asks for one"),
    ("cluster", 'host = "Host A"', SHARED, "cluster.host: 'Host A' is not a short name"),
    ("retention", 'database = "postgresql://u:secret@h/d"', SHARED,  # which is not shown
     "retention.database: 'postgresql://u:…@h/d' has a password, which belongs in "
     f"retention.database_password_file{NO_DATABASE}"),
    ("retention", 'database = "postgresql://h/"', SHARED,
     f"retention.database: 'postgresql://h/' names no database{NO_DATABASE}"),
    ("retention", 'database = "postgresql://h/d?no_such=1"', SHARED,
     f"retention.database: 'postgresql://h/d?no_such=1' is not a postgresql URL{NO_DATABASE}"),
    ("retention", 'database = "mysql://h/d"', SHARED, "retention.database: 'mysql://h/d' is not a postgres"),
    ("objects", 'url = "s3://calls"', SMALL, "objects.url: recordings would leave this host in clear"),
    ("objects", 'url = "https://b/p"', SEALED, "objects.url: 'https://b/p' is not the URL of a bucket"),
    ("objects", 'url = "s3://B/p"', SEALED, "objects.url: 's3://B/p' is not the URL of a bucket"),
    ("metrics", 'listen = "127.0.0.1:5060"', BY_TCP, "metrics.listen: '127.0.0.1:5060' has the port of trun"),
    ("web", "listen = '127.0.0.1:5060'", BY_TCP, "web.listen: '127.0.0.1:5060' has the port of trunk.listen"),
    ("web", "listen = '127.0.0.1:09464'", with_keys("metrics", "listen = '127.0.0.1:9464'"),
     "web.listen: '127.0.0.1:9464' has the port of metrics.listen"),
    ("web", "listen = '127.0.0.1:5061'", EDGE, "web.listen: '127.0.0.1:5061' has the port of edge.tls"),
])  # fmt: skip
def test_what_has_to_be_there_together_or_apart(table: str, keys: str, text: str, line: str) -> None:
    assert wrong(with_keys(table, keys, text)).startswith(line)


@pytest.mark.parametrize("table", ["service", "trunk", "operators"])
def test_a_table_that_must_be_there_is_named(table: str) -> None:
    said = wrong(SMALL.replace(f"[{table}]", f"[{table}s]"))
    assert said.startswith(f"{table}s: unknown key; did you mean")
    said = wrong(re.sub(rf"\[{table}\][^\[]*(\[\"[^\[]*)?", "", SMALL))
    assert said.startswith(f"{table}: missing; accepted: ")


def test_a_misspelt_key_comes_before_the_one_that_is_missing_for_it() -> None:
    said = wrong(SMALL.replace("extensions", "extension"))
    assert said == "operators.extension: unknown key; did you mean operators.extensions?"
    said = wrong(SMALL + '"a\\nb\\u202e" = 1\n')  # a key cannot break the line
    assert said.startswith(r"operators.'a\nb\u202e': unknown key; accepted: ")


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.toml"

    def said(content: bytes) -> str:
        path.write_bytes(content)
        with pytest.raises(ConfigError) as error:
            load(path)
        return str(error.value).removeprefix(f"{path}: ")

    for nothing in (b"", b"# nothing\n"):
        assert said(nothing) == "says nothing; accepted: a file that `sipagent init` wrote"
    (tmp_path / "recordings").mkdir()
    folder = said(SMALL.encode() + b'[retention]\ndatabase = "recordings"')
    assert folder == f"retention.database: {tmp_path}/recordings is a folder; accepted: a file"
    assert (
        said("[service]\nname = 'é'".encode("latin-1")) == "line 2: not UTF-8; accepted: a TOML file in UTF-8"
    )
    assert said(b"#" * (1 << 21)).startswith("larger than 1 MiB")
    for where, problem in (
        (tmp_path / "absent.toml", "no such file; accepted: a file that `sipagent init` wrote"),
        (tmp_path, "is a folder; accepted: a file that `sipagent init` wrote"),
        (Path("a\0b"), "not a path"),
    ):
        with pytest.raises(ConfigError, match=problem):
            load(where)

    def forbidden(path: Path, mode: str) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", forbidden)  # root reads everything
    with pytest.raises(ConfigError, match="may not be read by this user; accepted: root, or the service's"):
        load(path)


NO_VALUE = "is no number and no text in quotes"
ADDRESS = "accepted: address:port such as 127.0.0.1:5060, IPv6 as [::1]:5060"


@pytest.mark.parametrize(("text", "line"), [
    (SMALL + "x = \n", "line 10: operators.x: has no value; accepted: "),
    ("a = " + "[" * 10_000, "nested too deeply"),
    ("[a]\nb = 1\nb = 2", "line 3: a.b: is there already (line 2); accepted: each key once"),
    ("[a]\nb = 1\n[c]\n[a]\n", "line 4: [a]: is there already (line 1); accepted: each table once"),
    ("[a]\nb = 1\n[a.b]", "line 3: [a.b]: is there already; accepted: each table once"),
    ("[refusal]\ndigit = neuf", f"line 2: refusal.digit: neuf {NO_VALUE}; accepted: one key of a telephone"),
    ("[trunk]\nlisten = 127.0.0.1:5060", f"line 2: trunk.listen: 127.0.0.1:5060 {NO_VALUE}; {ADDRESS}"),
    ('[refusal]\nkeywords = [\n"a",\n  b]', f"line 4: refusal.keywords: b] {NO_VALUE}; accepted: a list of"),
    *((f"[service]\nname = {value}", "line 2: service.name: its text has no closing quote; accepted: a text")
      for value in ('"abc\nlanguage = "fr"', '"abc', "'abc\nlanguage = 'fr'", "'abc\nlanguage = 5\n\n")),
    ('x = "a" "b"', "line 1: x: has more behind its closing quote; accepted: one text in quotes"),
    ("[operators]\nextensions = ['sip:201@a'\ntransfer = 'bridge'",
     "line 2: operators.extensions: its list has no closing ], or no comma between two; accepted"),
    ("[hours]\nweek = { mon = '8'", "line 2: hours.week: its table has no closing }, or no comma between"),
    ("[operators\nx = 1", "line 1: operators: has no closing ]; accepted: a table such as [operators]"),
    ("x 1", "line 1: is no line of TOML; accepted: key = value, [table], or # and a comment"),
    ("[service]\nété = 1", "line 2: 'été' has an accent, or another sign that no key has; "
     "accepted: letters from a to z, digits, _ and -"),
    *((text, "line 2: has a no-break space; accepted: plain spaces") for text in (
        "[service]\nname\u00a0= 'a'", "[service]\nname =\u00a0'a'  # \u00e9", "[service]\n\u202fname = 'a'",
        "\n[service]\u00a0")),
    ("[a]\nb = 1\u200b", "line 2: has the invisible sign U+200B; accepted: the line without it"),
    ('x = "C:\\dir"', 'line 1: x: a \\ in "…" begins an escape; accepted: \\\\ in its place, or a text in'),
    ('x = "\x01"', "line 1: x: not TOML: Illegal character '\\x01'"),
])  # fmt: skip
def test_where_it_is_no_toml(text: str, line: str) -> None:
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
        assert found.where.startswith("line ") and found.problem and "\n" not in "".join(found)


def _places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    yield from (place for key, item in inner for place in _places(item, (*path, key)))
    if path and not isinstance(value, dict):
        yield path


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, date):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _replaced(value: Any, path: tuple[str | int, ...], new: object) -> Any:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = _replaced(value[path[0]], path[1:], new)
    return copy


def _same_kind(old: object, new: object) -> bool:
    kinds = [(int, float) if type(one) in (int, float) else type(one) for one in (old, new)]
    return kinds[0] == kinds[1]


WHOLE = tomllib.loads(CONTRACT)
WHOLE["recording"]["window"] = [
    {"days": ["mon", "wed-fri"], "hours": "09:00-10:00", "share": 0.2},
    {"days": "sat", "share": 0.1},
]
ANY = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=30),
    st.integers(-(10**18), 10**18),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.dates(),
    st.sampled_from([[], {}, [[{"a": 1}]], "\x7f".join("../" * 40)]),
)


@settings(deadline=None)
@given(st.sampled_from(list(_places(WHOLE))), ANY)
def test_any_value_replaced_loads_or_is_one_line(place: tuple[str | int, ...], new: object) -> None:
    text = "\n".join(f"{_toml(key)} = {_toml(value)}" for key, value in _replaced(WHOLE, place, new).items())
    try:
        read(text)
    except ConfigError as error:
        assert str(error).isprintable()
        assert error.key.partition(".")[0] in WHOLE  # a rule may name the other of two keys: ports, calls
    else:
        old: Any = WHOLE
        for key in place:
            old = old[key]
        dated = place[:2] in {("hours", "holidays"), ("hours", "closed")}
        assert _same_kind(old, new) or dated
