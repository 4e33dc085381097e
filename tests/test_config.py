"""config.toml: what loads, and what it becomes."""

import re
import tomllib
from datetime import date
from ipaddress import ip_network
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from sipagent.agent.admission import admission
from sipagent.config.load import ConfigError, HostPort, Login, PortRange, load
from sipagent.config.sampling import Shares, Window
from sipagent.config.tables import ROLES, WebTable, is_here
from sipagent.config.types import outlasts
from tests.configured import CONTRACT, SMALL, read, with_keys
from tests.loopback import ROOT
from tests.test_config_errors import SHARED, URL

SHIPPED = ROOT / "config.toml"
BASE = Path("/etc/sipagent")


def test_the_shipped_file_runs_on_this_machine_alone_and_says_the_defaults() -> None:
    shipped, small = load(SHIPPED), read(SMALL, SHIPPED)
    assert shipped.trunk.listen == HostPort("127.0.0.1", 5060) and shipped.trunk.listen.is_loopback
    assert shipped.trunk.registrar is None and shipped.hours is None
    assert shipped.trunk.allowed_sources == (ip_network("127.0.0.0/8"),)
    for table in ("refusal", "operators", "recording", "capacity", "retention", "metrics"):
        for key in type(getattr(shipped, table)).model_fields:
            assert getattr(getattr(shipped, table), key) == getattr(getattr(small, table), key), (table, key)
    assert shipped.web.listen == HostPort("127.0.0.1", 8443) and shipped.web.origin == "http://127.0.0.1:8443"
    assert shipped.web.model_copy(update={"listen": None}) == small.web


def test_a_commented_key_of_the_shipped_file_is_right_once_uncommented() -> None:
    text = re.sub(r"^# (?=\[|[a-z_]+ = )", "", SHIPPED.read_text(), flags=re.MULTILINE)
    text = text.replace('database = "retention.db"', f'database = "{URL}" #')
    config = read(text.replace("recipients = []", 'recipients = ["a.pub"]'))
    assert config.host == "a" and config.objects is not None
    assert config.hours is not None and config.hours.week is not None
    assert config.trunk.registrar == "sip:trunk.example.net"
    assert [one.language for one in config.prompt_sets()] == ["fr", "en"]


def test_the_file_of_the_contract_loads_whole() -> None:
    config = read(CONTRACT)
    for name, keys in tomllib.loads(CONTRACT).items():
        for key in keys:
            assert (name, key) == ("prompts", "en") or hasattr(getattr(config, name), key)
    assert config.trunk.password_file == BASE / "secrets/trunk-password"
    assert config.trunk.rtp_ports == PortRange(10000, 10999)
    assert config.operators.password_file is None and config.trunk.public_address is None
    assert config.retention.database == BASE / "retention.db" and config.operators.ring_s == 20.0
    assert config.web.origin == "https://ecoute.example.net" and config.web.oidc_issuer is None
    assert config.web.private_key == BASE / "keys/web.key"
    assert config.web.oidc_roles == {"ecoute-listeners": "listener", "ecoute-dpo": "officer"}
    with pytest.raises(ValueError, match="frozen"):
        config.recording.share = 0.5


def test_a_small_file_has_sensible_defaults_however_it_is_typed(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("\ufeff" + SMALL.replace("\n", "\r\n"))
    assert load(tmp_path / "config.toml").base == tmp_path
    config = read(SMALL)
    assert config.prompts.notice == BASE / "prompts/fr/notice.wav" and config.schedule().week is None
    assert read(with_keys("service", 'language = "en"')).prompts.notice.parent.name == "en"
    opt_in = read(with_keys("refusal", 'mode = "opt_in"'))
    assert opt_in.prompts.notice.name == "notice_opt_in.wav" and opt_in.prompts.welcome.name == "welcome.wav"
    assert config.refusal.engine == "embedding" and not config.refusal.engine_written
    heard = read(with_keys("refusal", 'engine = "embedding"\nin_call_keywords = []'))
    assert heard.prompts.notice.name == "notice.wav" and heard.refusal.engine_written
    assert heard.refusal.in_call_keywords == ()
    assert read(with_keys("refusal", "keywords = []\nin_call_keywords = []")).refusal.keywords == ()
    assert (config.shared, config.host, config.cluster, config.objects) == (None, None, None, None)
    assert config.database == config.places.database == BASE / "retention.db"
    assert config.web.listen is None and config.web.origin == "" and config.web.session_minutes == 30


def test_prompts_follow_the_dialled_number_or_a_key_and_fall_back_file_by_file() -> None:
    chosen = with_keys("prompts", 'choose = "choose.wav"\nchoices = { "3" = "fr", "2" = "en" }', CONTRACT)
    for text, first in ((CONTRACT, None), (chosen, BASE / "choose.wav")):
        french, english = read(text).prompt_sets()
        assert (french.language, french.notice.parent.name, french.choose) == ("fr", "fr", first)
        assert (english.language, english.notice.parent.name, english.choose) == ("en", "en", None)
        assert english.welcome.parent.name == "fr"


def test_hours_become_a_schedule() -> None:
    schedule = read(CONTRACT).schedule()
    assert schedule.week is not None and schedule.week[1] == ((510, 1440),) and schedule.week[2] == ()
    assert schedule.holidays[date(2026, 7, 14)] == "Fête nationale"
    assert schedule.closed == ((date(2026, 12, 24), date(2027, 1, 2)),)
    dates = 'holidays = [2026-11-24, "2026-11-25"]\nclosed = [2026-12-24]'
    dated = read(with_keys("hours", dates)).schedule()
    assert {*dated.holidays} == {date(2026, 11, 24), date(2026, 11, 25)}
    assert dated.closed == ((date(2026, 12, 24), date(2026, 12, 24)),)
    assert date(2026, 12, 26) in read(with_keys("hours", 'holidays = "FR-57"')).schedule().holidays


def test_windows_become_shares_however_their_tables_are_written() -> None:
    first = 'days = "mon-fri"\nhours = "09:00-10:00,16:00-24:00"\nshare = 0.2'
    second = 'days = ["sun", "sat"]\nshare = 1'
    inline = ", ".join(f"{{ {keys} }}".replace("\n", ", ") for keys in (first, second))
    apart = "".join(f"\n[[recording.window]]\n{keys}" for keys in (first, second))
    windows = (Window((0, 1, 2, 3, 4), ((540, 600), (960, 1440)), 0.2), Window((5, 6), ((0, 1440),), 1.0))
    for text in (
        with_keys("recording", f"share = 0.05\nwindow = [{inline}]"),
        with_keys("recording", "share = 0.05") + apart,
    ):
        assert read(text).shares() == Shares(ZoneInfo("Europe/Paris"), 0.05, windows)
    assert read(SMALL).shares() == Shares(ZoneInfo("Europe/Paris"), 1.0)


@pytest.mark.parametrize(
    ("period", "longer"),
    [("6 months", False), ("181 days", False), ("182 days", True), ("25 weeks", False), ("1 year", True)],
)
def test_six_months_are_six_of_the_calendar_and_more_needs_a_reason(period: str, longer: bool) -> None:
    assert outlasts(period, months=6, days=181) is longer
    text = with_keys("retention", f'period = "{period}"\njustification = "a court asks for it"')
    assert read(text).retention.period == period


LOGIN = with_keys("trunk", 'username = "agent"\npassword_file = "secret"')


def test_passwords_are_read_when_asked_for_and_never_shown(tmp_path: Path) -> None:
    config = read(LOGIN, tmp_path / "config.toml")
    (tmp_path / "secret").write_text("s3cret é\n")
    login = config.trunk_login()
    assert login == Login("agent", "s3cret é") == config.operator_login()
    assert "s3cret" not in repr(login) + repr(config)
    from_env = read(with_keys("operators", 'username = "pbx"\npassword_env = "PBX"'))
    assert from_env.operator_login({"PBX": "x"}) == Login("pbx", "x") and from_env.trunk_login({}) is None
    shared = with_keys("retention", f'database = "{URL}"\ndatabase_password_file = "secret"', SHARED)
    assert read(shared, tmp_path / "config.toml").shared_password() == "s3cret é"
    assert read(SHARED).shared_password() is None


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
    config = read(LOGIN, tmp_path / "config.toml")
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    with pytest.raises(ConfigError) as error:
        config.trunk_login()
    assert str(error.value).startswith(f"{tmp_path}/config.toml: trunk.password_file: ")
    assert str(error.value).endswith(said)
    config = read(with_keys("trunk", 'username = "agent"\npassword_env = "TRUNK"'))
    with pytest.raises(ConfigError, match=r"trunk\.password_env: holds no password"):
        config.trunk_login({})


TLS = "certificate = 'keys/web.pem'\nprivate_key = 'keys/web.key'\n"


@pytest.mark.parametrize(("keys", "said"), [
    ("listen = '127.0.0.1:8443'", "http://127.0.0.1:8443"),
    ("listen = '[::1]:8443'", "http://[::1]:8443"),
    (f"listen = '192.0.2.1:443'\n{TLS}", "https://192.0.2.1"),
    (f"listen = '0.0.0.0:443'\n{TLS}url = 'https://Ecoute.Example.net:443/'", "https://ecoute.example.net"),
    (f"listen = '0.0.0.0:443'\n{TLS}url = 'https://e.example.net:8443'", "https://e.example.net:8443"),
    ("listen = '127.0.0.1:80'\nurl = 'http://localhost:080'", "http://localhost"),
    (f"listen = '127.0.0.1:80'\n{TLS}url = 'https://[2001:DB8::0:1]'", "https://[2001:db8::1]"),
    ("listen = '0.0.0.0:80'\ntrusted_proxies = ['192.0.2.0/24']\nurl = 'https://e.example.net'",
     "https://e.example.net"),
    ("listen = '127.0.0.1:5060'", "http://127.0.0.1:5060"),  # calls by UDP may have the port
])  # fmt: skip
def test_what_people_type(keys: str, said: str) -> None:
    assert read(with_keys("web", keys)).web.origin == said


def test_logins_by_others() -> None:
    keys = """listen = '127.0.0.1:8443'
        trusted_proxies = ['127.0.0.1', '192.0.2.0/24']
        oidc_issuer = 'https://login.example.net/realms/a'
        oidc_client_id = 'sipagent'
        oidc_client_secret_file = 'secrets/oidc'
        oidc_roles = { dpo = 'officer' }"""
    there = read(with_keys("web", keys)).web
    assert there.oidc_issuer == "https://login.example.net/realms/a" and there.oidc_roles == {
        "dpo": "officer"
    }
    assert there.trusted_proxies == (ip_network("127.0.0.1/32"), ip_network("192.0.2.0/24"))
    here = with_keys("web", keys.replace("https://login.example.net", "http://127.0.0.1:9"))
    assert read(here).web.oidc_issuer
    assert ROLES == ("listener", "supervisor", "officer", "administrator")
    assert all(role in str(WebTable.model_fields["oidc_roles"].description) for role in ROLES)


@pytest.mark.parametrize(("url", "here"), [
    ("http://127.0.0.1:8443", True), ("http://127.1.2.3/a?b", True), ("http://[::1]:80", True),
    ("https://localhost", True), ("http://a.localhost:1", True),
    ("http://localhost.example.net", False), ("http://192.0.2.1:127", False),
])  # fmt: skip
def test_what_is_this_machine(url: str, here: bool) -> None:
    assert is_here(url) == here


@pytest.mark.parametrize("url", [URL, "postgres://h/d", "postgresql://a,b:5433/d?target_session_attrs=any"])
def test_hosts_share_a_database_and_each_has_its_journal(url: str) -> None:
    config = read(with_keys("retention", f'database = "{url}"', SHARED))
    assert (config.shared, config.host) == (url, "a")
    assert config.places.database == config.database == BASE / "journal.db"
    assert config.cluster is not None and config.cluster.lease_s == 12.0
    moved = read(with_keys("cluster", 'host = "b2"\njournal = "state/j.db"\nlease_s = 30.0', SHARED))
    assert moved.database == BASE / "state/j.db" and moved.host == "b2"
    assert [admission(read(text, SHIPPED)).host for text in (SHARED, SMALL)] == ["a", None]
