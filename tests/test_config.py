"""config.toml: what loads, and what it becomes."""

import re
import tomllib
from datetime import date
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from sipagent.config.load import ConfigError, HostPort, Login, PortRange, load
from sipagent.config.sampling import Shares, Window
from sipagent.config.types import outlasts, uri_host, uri_user
from tests.configured import CONTRACT, SMALL, read, with_keys

SHIPPED = Path(__file__).parent.parent / "config.toml"


def test_the_shipped_file_runs_on_this_machine_alone() -> None:
    config = load(SHIPPED)
    assert config.trunk.listen == HostPort("127.0.0.1", 5060)
    assert config.trunk.listen.is_loopback and config.trunk.registrar is None
    assert config.trunk.allowed_sources == (ip_network("127.0.0.0/8"),)
    assert config.recording.recipients == () and config.hours is None
    assert config.capacity.calls == 1


def test_every_key_of_the_shipped_file_is_the_default_where_there_is_one() -> None:
    small = read(SMALL, SHIPPED)
    shipped = load(SHIPPED)
    for table in ("refusal", "operators", "recording", "capacity", "retention", "metrics"):
        for key in type(getattr(shipped, table)).model_fields:
            assert getattr(getattr(shipped, table), key) == getattr(getattr(small, table), key), (table, key)


def test_a_commented_key_of_the_shipped_file_is_right_once_uncommented() -> None:
    text = re.sub(r"^# (?=\[|[a-z_]+ = )", "", SHIPPED.read_text(), flags=re.MULTILINE)
    shared = 'database = "postgresql://sipagent@db.example.net/sipagent" #'
    text = text.replace('database = "retention.db"', shared).replace(
        "recipients = []", 'recipients = ["a.pub"]'
    )
    config = read(text)
    assert config.host == "a" and config.objects is not None
    assert config.hours is not None and config.hours.week is not None
    assert config.trunk.registrar == "sip:trunk.example.net"
    assert [one.language for one in config.prompt_sets()] == ["fr", "en"]


def test_the_file_of_the_contract_loads_whole() -> None:
    config = read(CONTRACT)
    tables: dict[str, dict[str, Any]] = tomllib.loads(CONTRACT)
    for name, keys in tables.items():
        for key in keys:
            assert (name, key) == ("prompts", "en") or hasattr(getattr(config, name), key)
    assert config.trunk.password_file == Path("/etc/sipagent/secrets/trunk-password")
    assert config.trunk.rtp_ports == PortRange(10000, 10999)
    assert config.operators.password_file is None and config.trunk.public_address is None
    assert config.retention.database == Path("/etc/sipagent/retention.db")
    assert config.operators.ring_s == 20.0


def test_a_small_file_has_sensible_defaults() -> None:
    config = read(SMALL)
    assert config.prompts.notice == Path("/etc/sipagent/prompts/fr/notice.wav")
    assert config.schedule().week is None
    assert read(with_keys("service", 'language = "en"')).prompts.notice.parent.name == "en"
    opt_in = read(with_keys("refusal", 'mode = "opt_in"'))
    assert opt_in.prompts.notice.name == "notice_opt_in.wav" and opt_in.prompts.welcome.name == "welcome.wav"
    assert config.refusal.engine == "embedding" and not config.refusal.engine_written
    heard = read(with_keys("refusal", 'engine = "embedding"'))
    assert heard.prompts.notice.name == "notice.wav" and heard.refusal.engine_written


def test_it_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read(SMALL).recording.share = 0.5


def test_prompts_follow_the_dialled_number_and_fall_back_file_by_file() -> None:
    config = read(CONTRACT)
    french, english = config.prompt_sets()
    assert (english.language, english.notice.parent.name, english.welcome.parent.name) == ("en", "en", "fr")
    assert (french.language, french.notice.parent.name) == ("fr", "fr")


def test_prompts_of_a_language_that_a_key_chooses_are_in_use() -> None:
    config = read(
        with_keys("prompts", 'choose = "choose.wav"\nchoices = { "3" = "fr", "2" = "en" }', CONTRACT)
    )
    french, english = config.prompt_sets()
    assert (french.language, french.choose) == ("fr", Path("/etc/sipagent/choose.wav"))
    assert (english.language, english.choose, english.notice.parent.name) == ("en", None, "en")


def test_hours_become_a_schedule() -> None:
    schedule = read(CONTRACT).schedule()
    assert schedule.week is not None and schedule.week[1] == ((510, 1440),) and schedule.week[2] == ()
    assert schedule.holidays[date(2026, 7, 14)] == "Fête nationale"
    assert schedule.closed == ((date(2026, 12, 24), date(2027, 1, 2)),)
    dated = read(
        with_keys("hours", 'holidays = [2026-11-24, "2026-11-25"]\nclosed = [2026-12-24]')
    ).schedule()
    assert date(2026, 11, 24) in dated.holidays and date(2026, 11, 25) in dated.holidays
    assert dated.closed == ((date(2026, 12, 24), date(2026, 12, 24)),)
    assert date(2026, 12, 26) in read(with_keys("hours", 'holidays = "FR-57"')).schedule().holidays


def test_windows_become_shares() -> None:
    week = '{ days = "mon-fri", hours = "09:00-10:00,16:00-24:00", share = 0.2 }'
    weekend = '{ days = ["sun", "sat"], share = 1 }'
    shares = read(with_keys("recording", f"share = 0.05\nwindow = [{week}, {weekend}]")).shares()
    assert shares == Shares(
        ZoneInfo("Europe/Paris"),
        0.05,
        (
            Window((0, 1, 2, 3, 4), ((540, 600), (960, 1440)), 0.2),
            Window((5, 6), ((0, 1440),), 1.0),
        ),
    )
    assert read(SMALL).shares() == Shares(ZoneInfo("Europe/Paris"), 1.0)


def test_windows_may_be_tables_of_their_own() -> None:
    text = with_keys("recording", "share = 0.0") + '\n[[recording.window]]\ndays = "tue"\nshare = 0.5\n'
    assert [
        window.days
        for window in read(text + "[[recording.window]]\ndays = 'wed'\nshare = 1").shares().windows
    ] == [
        (1,),
        (2,),
    ]


def test_a_longer_period_is_possible_with_its_reason() -> None:
    text = with_keys("retention", 'period = "1 year"\njustification = "a court asks for it"')
    assert read(text).retention.period == "1 year"


@pytest.mark.parametrize(
    ("period", "longer"),
    [("6 months", False), ("181 days", False), ("182 days", True), ("25 weeks", False), ("1 year", True)],
)
def test_six_months_are_six_of_the_calendar(period: str, longer: bool) -> None:
    assert outlasts(period, months=6, days=181) is longer


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("\ufeff" + SMALL.replace("\n", "\r\n"))
    assert load(path).base == tmp_path


def test_uris_that_are_right() -> None:
    for uri in (
        "sip:+33323063006@trunk.example.net;user=phone",
        "sip:trunk.example.net:5080;lr;transport=TCP",
        "sip:201@[2001:db8::1]:5060",
        "sip:a.b-c%20d@192.0.2.1",
    ):
        assert read(with_keys("trunk", f"uri = '{uri}'")).trunk.uri == uri
    assert uri_host("sip:201@[2001:db8::1]:5060") == ("2001:db8::1", 5060)
    assert uri_host("sip:trunk.example.net;lr") == ("trunk.example.net", None)
    assert (uri_user("sip:201@a"), uri_user("sip:a")) == ("201", None)


LOGIN = 'username = "agent"\npassword_file = "secret"'


def test_passwords_are_read_when_asked_for_and_never_shown(tmp_path: Path) -> None:
    config = read(with_keys("trunk", LOGIN), tmp_path / "config.toml")
    (tmp_path / "secret").write_text("s3cret é\n")
    login = config.trunk_login()
    assert login == Login("agent", "s3cret é") == config.operator_login()
    assert "s3cret" not in repr(login) + repr(config)
    from_env = read(with_keys("operators", 'username = "pbx"\npassword_env = "PBX"'))
    assert from_env.operator_login({"PBX": "x"}) == Login("pbx", "x")
    assert from_env.trunk_login({}) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "secret: No such file or directory"),
        (b"\n", "holds no password"),
        (b"a\nb\n", "holds more than one line or control characters"),
        (b"\xff", "is not UTF-8 text"),
    ],
)
def test_a_password_that_cannot_be_read_is_one_line(tmp_path: Path, content: bytes | None, said: str) -> None:
    config = read(with_keys("trunk", LOGIN), tmp_path / "config.toml")
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    with pytest.raises(ConfigError) as error:
        config.trunk_login()
    assert str(error.value).startswith(f"{tmp_path}/config.toml: trunk.password_file: ")
    assert str(error.value).endswith(said)


def test_an_environment_without_the_password_is_one_line() -> None:
    config = read(with_keys("trunk", 'username = "agent"\npassword_env = "TRUNK"'))
    with pytest.raises(ConfigError, match=r"trunk\.password_env: holds no password"):
        config.trunk_login({})


def test_who_need_not_listen_needs_no_words() -> None:
    assert read(with_keys("refusal", "keywords = []\nin_call_keywords = []", SMALL)).refusal.keywords == ()
    in_call = with_keys("refusal", 'engine = "embedding"\nin_call_keywords = []', SMALL)
    assert read(in_call).refusal.in_call_keywords == ()
