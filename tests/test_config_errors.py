"""The one line for whatever is wrong in config.toml."""

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

from sipagent.config.load import ConfigError, load
from tests.configured import CONTRACT, SMALL, read, with_keys, wrong

WRONG = [
    ("service", "name = ''", "service.name: '' is empty; accepted: the name of the service"),
    ("service", 'name = "a\\nb"', r"service.name: 'a\nb' has control or invisible characters"),
    ("service", "language = 'french'", "service.language: 'french' is not a language"),
    ("service", "timezone = 'Mars/Olympus'", "service.timezone: 'Mars/Olympus' is not a time zone"),
    ("service", "timezone = 'Europe'", "service.timezone: 'Europe' is not a time zone"),
    ("service", "timezone = '../../etc/passwd'", "service.timezone: '../../etc/passwd' is not a time zone"),
    ("service", "country = 'fr'", "service.country: 'fr' is not a country of two capital letters"),
    ("service", "controler = 'x'", "service.controler: unknown key; did you mean service.controller?"),
    (
        "trunk",
        "uri = 'agent@trunk'",
        "trunk.uri: 'agent@trunk' is not a SIP URI; accepted: a SIP URI such as sip:",
    ),
    ("trunk", "uri = 'sips:a@b'", "trunk.uri: 'sips:a@b' is not a SIP URI"),
    ("trunk", "uri = 'sip:a@b?Subject=x'", "trunk.uri: 'sip:a@b?Subject=x' is not a SIP URI"),
    ("trunk", "uri = 'sip:a b@c'", "trunk.uri: 'sip:a b@c' is not a SIP URI"),
    (
        "trunk",
        'uri = "sip:a@b\\r\\nX: y"',
        r"trunk.uri: 'sip:a@b\r\nX: y' has control or invisible characters",
    ),
    ("trunk", "uri = 'sip:a@300.1.1.1'", "trunk.uri: 'sip:a@300.1.1.1' is not an IP address"),
    ("trunk", "uri = 'sip:a@-b'", "trunk.uri: 'sip:a@-b' is not a host name or an IP address"),
    ("trunk", "uri = 'sip:a@[::1'", "trunk.uri: 'sip:a@[::1' is not a SIP URI"),
    ("trunk", "uri = 'sip:a@b:70000'", "trunk.uri: 'sip:a@b:70000' has a port outside 1 to 65535"),
    (
        "trunk",
        "uri = 'sip:a@b;transport=sctp'",
        "trunk.uri: 'sip:a@b;transport=sctp' asks for another transport",
    ),
    ("trunk", "uri = 'sip:%00@b'", "trunk.uri: 'sip:%00@b' is not a SIP URI"),
    ("trunk", "registrar = 'sip:a@b'", "trunk.registrar: 'sip:a@b' names a user where a server is meant"),
    ("trunk", "registrar = 5", "trunk.registrar: 5 is not a text in quotes; accepted: a SIP URI such as"),
    ("trunk", "transport = 'sctp'", "trunk.transport: 'sctp' is not one of the choices; accepted: udp | tcp"),
    (
        "trunk",
        "transport = 'tls'",
        "trunk.transport: means TLS, and there is no certificate; accepted: edge.certificate",
    ),
    (
        "trunk",
        "listen = 'x'",
        "trunk.listen: 'x' is not host:port; accepted: address:port such as 127.0.0.1:5060",
    ),
    ("trunk", "listen = 'localhost:5060'", "trunk.listen: 'localhost:5060' is not an IP address"),
    ("trunk", "listen = '127.0.0.1:0'", "trunk.listen: '127.0.0.1:0' has a port outside"),
    ("trunk", "public_address = 'a b'", "trunk.public_address: 'a b' is not a host name or an IP address"),
    (
        "trunk",
        "rtp_ports = '10000'",
        "trunk.rtp_ports: '10000' is not first-last; accepted: first-last such as",
    ),
    ("trunk", "rtp_ports = '10001-11000'", "trunk.rtp_ports: '10001-11000' begins with an odd port"),
    ("trunk", "rtp_ports = '11000-10000'", "trunk.rtp_ports: '11000-10000' ends before it begins"),
    ("trunk", "rtp_ports = '10999-10000'", "trunk.rtp_ports: '10999-10000' ends before it begins"),
    ("trunk", "rtp_ports = '10000-101'", "trunk.rtp_ports: '10000-101' ends before it begins"),
    ("edge", "worker_ports = '7999-7000'", "edge.worker_ports: '7999-7000' ends before it begins"),
    (
        "operators",
        "extensions = ['sip:201@a', 'sip:202@a', 'sip:201@A;transport=tcp']",
        "operators.extensions[2]: 'sip:201@A;transport=tcp' is there already, as operators.extensions[0]; "
        "accepted: each once",
    ),
    (
        "operators",
        "transfer_targets = ['sip:201@a', 'sip:201@a']",
        "operators.transfer_targets[1]: 'sip:201@a' is there already, as operators.transfer_targets[0]",
    ),
    (
        "trunk",
        "numbers = ['+33323063006', '+33323063006']",
        "trunk.numbers[1]: '+33323063006' is there already, as trunk.numbers[0]; accepted: each once",
    ),
    ("trunk", "codecs = ['PCMA', 'pcma']", "trunk.codecs[1]: 'PCMA' is there already, as trunk.codecs[0]"),
    ("trunk", "rtp_ports = '100-200'", "trunk.rtp_ports: '100-200' begins below 1024"),
    (
        "trunk",
        "rtp_ports = '10000-10007'",
        "trunk.rtp_ports: '10000-10007' holds 8 ports; accepted: 32 or more",
    ),
    ("trunk", "rtp_ports = '5000-6000'", "trunk.rtp_ports: '5000-6000' holds the port of trunk.listen"),
    ("trunk", "numbers = ['0323063006']", "trunk.numbers[0]: '0323063006' is not an E.164 number"),
    (
        "trunk",
        "numbers = '+33323063006'",
        "trunk.numbers: '+33323063006' is not a list; accepted: a list of num",
    ),
    ("trunk", "allowed_sources = ['192.0.2.1/24']", "trunk.allowed_sources[0]: '192.0.2.1/24' has bits set"),
    ("trunk", "allowed_sources = ['trunk']", "trunk.allowed_sources[0]: 'trunk' is not a network"),
    ("trunk", "allowed_sources = []", "trunk.allowed_sources: empty, and there is no registrar"),
    (
        "trunk",
        "codecs = ['speex']",
        "trunk.codecs[0]: 'speex' is not a codec of the agent; accepted: a list of PCMA",
    ),
    ("trunk", "codecs = []", "trunk.codecs: [] is too short"),
    (
        "trunk",
        "srtp = true",
        "trunk.srtp: true is not one of the choices; accepted: off | optional | required",
    ),
    ("trunk", "username = 'a'", "trunk.username: given without a password; accepted: password_file or"),
    (
        "trunk",
        "password_env = 'A'",
        "trunk.password_env: given without a user name; accepted: trunk.username",
    ),
    (
        "trunk",
        "username='a'\npassword_env='A'\npassword_file='b'",
        "trunk.password_env: given beside password_file",
    ),
    ("hours", "week = 'mon'", "hours.week: 'mon' is not a table of days"),
    ("hours", "week = { monday = '' }", "hours.week: has the day 'monday'; accepted: a table such as"),
    ("hours", "week = { mon = '' }", "hours.week: never opens"),
    ("hours", "week = { mon = '8:30-12:00' }", "hours.week: mon has '8:30-12:00', which is not HH"),
    ("hours", "week = { mon = 8 }", "hours.week: mon is not a text in quotes"),
    (
        "hours",
        "week = { tue = '08:00-12:00', fri = '08:30-12:00,11:00-13:00' }",
        "hours.week: fri has '08:30-12:00' and then '11:00-13:00', which overlap or are out of",
    ),
    (
        "hours",
        "week = { mon = '22:00-02:00' }",
        "hours.week: mon has '22:00-02:00', which does not end after it",
    ),
    ("hours", "holidays = 'ZZ'", "hours.holidays: 'ZZ' is not a country whose holidays are known"),
    ("hours", "holidays = 'HolidayBase'", "hours.holidays: 'HolidayBase' is not a country whose holidays"),
    (
        "hours",
        "holidays = 'country_holidays'",
        "hours.holidays: 'country_holidays' is not a country whose hol",
    ),
    ("hours", "holidays = 'utils'", "hours.holidays: 'utils' is not a country whose holidays are known"),
    ("hours", "holidays = 'FR-ZZ'", "hours.holidays: 'FR-ZZ' is not a country whose holidays are known"),
    (
        "hours",
        "holidays = ['2026-02-30']",
        "hours.holidays: ['2026-02-30'] has '2026-02-30', which is no date",
    ),
    (
        "hours",
        "closed = ['2027-01-02/2026-12-24']",
        "hours.closed[0]: '2027-01-02/2026-12-24' ends before it",
    ),
    ("prompts", "notice = 3", "prompts.notice: 3 is not a text in quotes; accepted: a WAV file"),
    ("prompts", "notise = 'x'", "prompts.notise: unknown key; did you mean prompts.notice?"),
    ("prompts.en", "notise = 'x'", "prompts.en.notise: unknown key; did you mean prompts.en.notice?"),
    (
        "prompts.english",
        "notice = 'x'",
        "prompts: has the table 'english'; accepted: a language such as [prompts.en]",
    ),
    ("prompts.fr", "notice = 'x'", "prompts.fr: is the default language; accepted: its files in [prompts]"),
    (
        "prompts",
        "languages = { '+33323063007' = 'en' }",
        "prompts.languages.+33323063007: 'en' has no table [prompts",
    ),
    ("prompts", "languages = { '0' = 'fr' }", "prompts.languages.0: '0' is not an E.164 number"),
    (
        "prompts",
        "choices = { '2' = 'fr' }",
        "prompts.choices: given without prompts.choose, which says the keys; accepted: a WAV file",
    ),
    ("prompts", "choose = 'c.wav'", "prompts.choose: given without prompts.choices; accepted: a table such"),
    (
        "prompts",
        "choose = 'c.wav'\nchoices = { '2' = 'en' }",
        "prompts.choices.2: 'en' has no table [prompts.en]; accepted: fr",
    ),
    (
        "prompts",
        "choose = 'c.wav'\nchoices = { '2' = 'en' }\nen = { welcome = 'w.wav' }",
        "prompts.en.notice: missing, and prompts.choices.2 chooses it; accepted: a WAV file",
    ),
    (
        "prompts",
        "choose = 'c.wav'\nchoices = { '9' = 'fr' }",
        "prompts.choices.9: '9' is refusal.digit too; accepted: another key of a telephone",
    ),
    (
        "prompts",
        "choose = 'c.wav'\nchoices = { '1' = 'fr' }",
        "prompts.choices.1: '1' is refusal.accept_digit too",
    ),
    ("prompts", "choices = { '22' = 'fr' }", "prompts.choices.22: '22' is not one key of a telephone"),
    ("prompts", "choices = { '2' = 'english' }", "prompts.choices.2: 'english' is not a language"),
    ("prompts", "choices = { '2' = 'fr', '2' = 'en' }", "line "),
    ("prompts", "choices = 'en'", "prompts.choices: 'en' is not a table; accepted: a table such as"),
    (
        "refusal",
        "mode = 'optin'",
        "refusal.mode: 'optin' is not one of the choices; accepted: objection | opt_in",
    ),
    ("refusal", "digit = '99'", "refusal.digit: '99' is not one key of a telephone"),
    ("refusal", "digit = 9", "refusal.digit: 9 is not a text in quotes; accepted: one key of a telephone"),
    ("refusal", "digit = '1'", "refusal.accept_digit: '1' is refusal.digit too"),
    (
        "refusal",
        "engine = 'x'",
        "refusal.engine: 'x' is not one of the choices; accepted: embedding | vosk | none",
    ),
    ("refusal", "in_call = 'voice'", "refusal.in_call: 'voice' is not one of the choices; accepted: key |"),
    ("refusal", "keywords = ['']", "refusal.keywords[0]: '' is empty; accepted: a list of words"),
    ("refusal", "window_s = 0", "refusal.window_s: 0 is out of range; accepted: seconds, 0.1 to 60"),
    ("refusal", "window_s = nan", "refusal.window_s: nan is not a number"),
    ("operators", "extensions = []", "operators.extensions: [] is too short; accepted: a list of SIP URIs"),
    ("operators", "extensions = ['201']", "operators.extensions[0]: '201' is not a SIP URI"),
    (
        "operators",
        "strategy = 'roundrobin'",
        "operators.strategy: 'roundrobin'",
    ),
    (
        "operators",
        "recording_header = 'From'",
        "operators.recording_header: 'From' is not a header's name that begins with X-; accepted: the name",
    ),
    (
        "operators",
        'alert_info_recorded = "<urn:alert:é>"',
        "operators.alert_info_recorded: '<urn:alert:é>' is not a line of up to 200 ASCII characters",
    ),
    (
        "operators",
        'alert_info_recorded = "a\\r\\nBcc: b"',
        "operators.alert_info_recorded",
    ),
    (
        "operators",
        "transfer = 'refer'",
        "operators.refer_targets: empty, where operators.transfer is 'refer'; accepted: a list of SIP URIs",
    ),
    ("operators", "transfer = 'blind'", "operators.transfer: 'blind' is not one of the choices; accepted: b"),
    ("operators", "refer_targets = ['203']", "operators.refer_targets[0]: '203' is not a SIP URI"),
    ("operators", "transfer_targets = ['tel:1']", "operators.transfer_targets[0]: 'tel:1' is not a SIP URI"),
    ("operators", "ring_s = 0", "operators.ring_s: 0 is out of range; accepted: seconds, 1 to 300"),
    ("operators", "ring_s = '20'", "operators.ring_s: '20' is not a number"),
    ("operators", "max_wait_s = -1", "operators.max_wait_s: -1 is out of range"),
    (
        "operators",
        "stop_code = '*6'",
        "operators.pause_code: '*6' cannot be told from operators.stop_code '*6'",
    ),
    (
        "operators",
        "stop_code = '*'",
        "operators.pause_code: '*6' cannot be told from operators.stop_code '*'",
    ),
    (
        "operators",
        "stop_code = '*5'\nflag_code = '1*52'",  # its third key is the end of a stop
        "operators.flag_code: '1*52' cannot be told from operators.stop_code '*5'",
    ),
    ("operators", "flag_code = '9'", "operators.flag_code: '9' cannot be told from refusal.digit '9'"),
    ("operators", "flag_code = ''", "operators.flag_code: '' is not a sequence of telephone keys"),
    ("operators", "stop_erases = 1", "operators.stop_erases: 1 is not true or false; accepted: true | false"),
    (
        "retention",
        'erase_after_note = "yes"',
        "retention.erase_after_note: 'yes' is not true or false; accepted: true | false",
    ),
    ("operators", "digit = '9'", "operators.digit: unknown key; did you mean refusal.digit?"),
    (
        "recording",
        "share = 1.5",
        "recording.share: 1.5 is out of range; accepted: a share of the calls, 0 to 1",
    ),
    *(
        ("recording", f"share = 0.1\nwindow = {window}", f"recording.window{line}")
        for window, line in (
            ("[{ share = 2 }]", "[0].share: 2 is out of range; accepted: a share of the calls, 0 to 1"),
            ("[{ share = nan }]", "[0].share: nan is not a number"),
            ("[{ share = '0.1' }]", "[0].share: '0.1' is not a number"),
            ("[{}]", "[0].share: missing; accepted: a share of the calls, 0 to 1"),
            ("{ share = 0.1 }", ": is not a list; accepted: tables [[recording.window]]"),
            ("[{ share = 1, day = 'mon' }]", "[0].day: unknown key; did you mean recording.window[0].days?"),
            (
                "[{ share = 1, days = 'monday' }]",
                "[0].days: 'monday' has 'monday', which is no day; accepted: days",
            ),
            (
                "[{ share = 1, days = 'fri-mon' }]",
                "[0].days: 'fri-mon' has 'fri-mon', which ends before it starts",
            ),
            ("[{ share = 1, days = ['mon', 'mon-tue'] }]", "[0].days: ['mon', 'mon-tue'] names a day twice"),
            ("[{ share = 1, days = [] }]", "[0].days: [] names no day"),
            ("[{ share = 1, days = '' }]", "[0].days: '' has '', which is no day"),
            ("[{ share = 1, days = 1 }]", "[0].days: 1 is not a text in quotes"),
            ("[{ share = 1, days = 'mon-' }]", "[0].days: 'mon-' has 'mon-', which is no day"),
            ("[{ share = 1, hours = '' }]", "[0].hours: '' is empty; accepted: times such as 09:00-10:00"),
            (
                "[{ share = 1, hours = '22:00-02:00' }]",
                "[0].hours: '22:00-02:00' has '22:00-02:00', which does",
            ),
            ("[{ share = 1, hours = '8-9' }]", "[0].hours: '8-9' has '8-9', which is not HH:MM-HH:MM"),
            (
                "[{ share = 1, days = 'mon' }, { share = 0, days = 'wed-fri' }, { share = 0, days = 'thu' }]",
                "[2]: overlaps recording.window[1] on thu; accepted: windows apart from each other",
            ),
            (
                "[{ share = 1, hours = '08:00-10:00' }, { share = 1, hours = '09:59-12:00' }]",
                "[1]: overlaps recording.window[0] on mon",
            ),
        )
    ),
    *(
        (
            "refusal",
            f"engine = '{engine}'\nkeywords = []",
            f"refusal.keywords: empty, where refusal.engine is '{engine}'; accepted: one word or more, or ",
        )
        for engine in ("embedding", "vosk")
    ),
    (
        "refusal",
        "engine = 'embedding'\nin_call = 'key+voice'\nin_call_keywords = []",
        "refusal.in_call_keywords: empty, where refusal.in_call is 'key+voice'; accepted: one word or more",
    ),
    (
        "recording",
        "window = [{ share = 0.1 }]",
        "recording.window: given without recording.share, so that every call outside it would be",
    ),
    ("recording", "directory = ''", "recording.directory: '' is empty; accepted: a directory"),
    (
        "recording",
        "format = 'mp3'",
        "recording.format: 'mp3' is not one of the choices; accepted: flac | wav",
    ),
    ("recording", "recipients = 'k.pub'", "recording.recipients: 'k.pub' is not a list; accepted: a list of"),
    ("recording", "recipients = ['k.pub', 5]", "recording.recipients[1]: 5 is not a text in quotes"),
    ("recording", "recipients = ['']", "recording.recipients[0]: '' is empty"),
    ("capacity", "calls = 0", "capacity.calls: 0 is out of range"),
    ("capacity", "calls = 1.5", "capacity.calls: 1.5 is not a whole number"),
    (
        "capacity",
        "full_status = 404",
        "capacity.full_status: 404 is not one of the choices; accepted: 486 | 503",
    ),
    ("metrics", "listen = 9464", "metrics.listen: 9464 is not "),
    ("metrics", "listen = 'localhost:9464'", "metrics.listen: 'localhost:9464' is not "),
    (
        "retention",
        "period = '7 months'",
        "retention.period: '7 months' is longer than six months (CNIL, deliberation",
    ),
    ("retention", "period = '26 weeks'", "retention.period: '26 weeks' is longer than six months"),
    (
        "retention",
        "period = 'half a year'",
        "retention.period: 'half a year' is not a period; accepted: a period such",
    ),
    ("retention", "period = '0 days'", "retention.period: '0 days' is not a period"),
    (
        "retention",
        "receipts_period = '9999 years'",
        "retention.receipts_period: '9999 years' is longer than 100 years",
    ),
    ("retention", "purposes = []", "retention.purposes: [] is too short; accepted: a list of purposes"),
    ("retention", "purposes = ['']", "retention.purposes[0]: '' is empty"),
    ("trunks", "a = 1", "trunks: unknown key; did you mean trunk?"),
]


@pytest.mark.parametrize(
    ("table", "keys", "line"), WRONG, ids=[f"{table}:{keys}" for table, keys, _ in WRONG]
)
def test_a_wrong_value_is_one_line_with_what_is_accepted(table: str, keys: str, line: str) -> None:
    said = wrong(with_keys(table, keys))
    assert said.startswith(line)
    assert said.isprintable()
    assert len(said) < 400


@pytest.mark.parametrize("table", ["service", "trunk", "operators"])
def test_a_table_that_must_be_there_is_named(table: str) -> None:
    assert wrong(SMALL.replace(f"[{table}]", f"[{table}s]")).startswith(
        f"{table}s: unknown key; did you mean"
    )
    assert wrong(re.sub(rf"\[{table}\][^\[]*(\[\"[^\[]*)?", "", SMALL)).startswith(
        f"{table}: missing; accepted: "
    )


def test_figures_and_calls_cannot_share_a_port_of_one_protocol() -> None:
    text = with_keys("metrics", 'listen = "127.0.0.1:5060"')
    read(text)  # calls by UDP
    assert wrong(with_keys("trunk", 'transport = "tcp"', text)).startswith(
        "metrics.listen: '127.0.0.1:5060' has the port of trunk.listen"
    )


def test_a_misspelt_key_comes_before_the_one_that_is_missing_for_it() -> None:
    text = SMALL.replace("extensions", "extension")
    assert wrong(text) == "operators.extension: unknown key; did you mean operators.extensions?"
    assert wrong(SMALL.replace('uri = "sip:agent@127.0.0.1"', "")).startswith(
        "trunk.uri: missing; accepted: a SIP"
    )


def test_a_syntax_error_names_its_line() -> None:
    assert wrong(SMALL + "x = \n").startswith("line 10: operators.x: has no value; accepted: ")
    assert wrong("[service]\nname = 'a").startswith("line 2: service.name: its text has no closing quote")
    assert wrong("a = 1\na = 2\n") == "line 2: a: is there already (line 1); accepted: each key once"
    assert wrong("a = " + "[" * 10_000).startswith("nested too deeply")


def test_a_no_break_space_within_a_text_is_a_space() -> None:
    text = SMALL.replace("[service]", '[service]\ndpo_contact = "Mme\u00a0Roux\u202f: dpo@example.org"')
    assert read(text).service.dpo_contact == "Mme Roux : dpo@example.org"


def test_a_key_cannot_break_the_line() -> None:
    assert wrong(SMALL + '"a\\nb\\u202e" = 1\n').startswith(
        r"operators.'a\nb\u202e': unknown key; accepted: "
    )


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    def said(path: Path) -> str:
        with pytest.raises(ConfigError) as error:
            load(path)
        return str(error.value).removeprefix(f"{path}: ")

    latin = tmp_path / "latin.toml"
    latin.write_bytes("[service]\nname = 'é'".encode("latin-1"))
    large = tmp_path / "large.toml"
    large.write_text("#" * (1 << 21))
    assert said(tmp_path / "absent.toml") == "no such file; accepted: a file that `sipagent init` wrote"
    assert said(tmp_path) == "is a folder; accepted: a file that `sipagent init` wrote"
    (tmp_path / "recordings").mkdir()
    folder = tmp_path / "folder.toml"
    folder.write_text(SMALL + '[retention]\ndatabase = "recordings"')
    assert said(folder) == f"retention.database: {tmp_path}/recordings is a folder; accepted: a file"
    assert said(latin) == "line 2: not UTF-8; accepted: a TOML file in UTF-8"
    assert said(large).startswith("larger than 1 MiB")
    empty = tmp_path / "empty.toml"
    for text in ("", "# nothing\n"):
        empty.write_text(text)
        assert said(empty) == "says nothing; accepted: a file that `sipagent init` wrote"
    with pytest.raises(ConfigError, match="not a path"):
        load(Path("a\0b"))


def test_a_file_of_another_user_says_who_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: Path, mode: str) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", forbidden)  # root reads everything
    with pytest.raises(ConfigError, match="may not be read by this user; accepted: root, or the service's"):
        load(Path("config.toml"))


def _places(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    yield from (place for key, item in inner for place in _places(item, (*path, key)))
    if path and not isinstance(value, dict):
        yield path


def _quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return value.isoformat() if isinstance(value, date) else _quoted(value)


def _replaced(value: Any, path: tuple[str | int, ...], new: object) -> Any:
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = _replaced(value[path[0]], path[1:], new)
    return copy


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
    st.just([]),
    st.just({}),
    st.just([[{"a": 1}]]),
    st.just("\x7f".join("../" * 40)),
)


def _same_kind(old: object, new: object) -> bool:
    number = (int, float)
    if isinstance(old, number) and not isinstance(old, bool):
        return isinstance(new, number) and not isinstance(new, bool)
    return isinstance(new, type(old))


@settings(deadline=None)
@given(st.sampled_from(list(_places(WHOLE))), ANY)
def test_any_value_replaced_loads_or_is_one_line(place: tuple[str | int, ...], new: object) -> None:
    text = "\n".join(
        f"{_quoted(key)} = {_toml(value)}" for key, value in _replaced(WHOLE, place, new).items()
    )
    dated = place[:2] in {("hours", "holidays"), ("hours", "closed")}
    try:
        read(text)
    except ConfigError as error:
        assert str(error).isprintable()
        assert error.key.partition(".")[0] in WHOLE  # a rule may name the other of two keys: ports, calls
    else:
        old: Any = WHOLE
        for key in place:
            old = old[key]
        assert _same_kind(old, new) or dated
