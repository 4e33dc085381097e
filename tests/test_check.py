"""`check`: each thing that can be wrong with a set-up, found and named."""

import json
import os
import re
import socket
import sqlite3
import threading
import tomllib
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, nullcontext
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path

import pytest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from retention.files import alone
from retention.sqlite import Store
from sipagent.check.check import EngineFacts, Finding, checks, configuration_findings
from sipagent.check.machine import answers_as_agent, priority_finding, python_finding
from sipagent.check.notice import VOCABULARIES, missing_words
from sipagent.config.layout import EngineLimits
from sipagent.config.load import Config, HostPort, load, parse
from sipagent.config.rules import SHIPPED_EXAMPLES
from sipagent.config.sampling import keep_seed
from sipagent.service.metrics import serving
from tests.configured import SMALL, init_examples, with_keys
from tests.kept import recording
from tests.loopback import ROOT
from tests.urgency import forbid_real_time, real_time_is_allowed

NOW = datetime(2026, 11, 24, 22, 20, tzinfo=UTC)
ENGINE = EngineFacts(version="2.15.1", limits=EngineLimits(legs=4), tls="OpenSSL 1.0.2k")


class SetUp:
    """A directory that `init` made, on ports of its own, and what `check` finds in it."""

    def __init__(self, directory: Path, port: int) -> None:
        init_examples(directory, None)
        self.directory = directory
        self.port = port
        self.text = (directory / "config.toml").read_text().replace("127.0.0.1:5060", f"127.0.0.1:{port}", 2)
        self.text = self.text.replace("10000-10999", "28000-28063")
        self.text = re.sub(r"^(\[\w+\])\s+#.*$", r"\1", self.text, flags=re.MULTILINE)

    def config(self, table: str = "", keys: str = "") -> Config:
        return parse(
            with_keys(table, keys, self.text) if table else self.text, self.directory / "config.toml"
        )

    def findings(self, what: str, config: Config | None = None) -> list[Finding]:
        found = checks(config or self.config(), lambda: ENGINE, NOW)
        return [finding for finding in found if finding.what.partition(" ")[0] == what]

    def one(self, what: str, config: Config | None = None) -> tuple[str, str]:
        (finding,) = self.findings(what, config)
        return finding.level, finding.detail


@pytest.fixture
def udp() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound


@pytest.fixture
def set_up(tmp_path: Path) -> SetUp:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return SetUp(tmp_path / "agent", port)


def test_what_init_wrote_has_no_error(set_up: SetUp) -> None:
    found = checks(set_up.config(), lambda: ENGINE, NOW)
    assert [finding for finding in found if finding.level == "error"] == []
    of_this_machine = {"real-time priority"}
    assert {finding.what for finding in found if finding.level == "warning"} - of_this_machine == {
        *(f"service.{key}" for key in SHIPPED_EXAMPLES),
        "hours",
        "prompts.closed (fr)",  # says hours
        "prompts.notice (fr)",  # names an example of where to read more
        "trunk.numbers",
        "private key",
    }


def test_it_leaves_nothing_behind(set_up: SetUp) -> None:
    before = sorted(set_up.directory.rglob("*"))
    checks(set_up.config(), lambda: ENGINE, NOW)
    assert sorted(set_up.directory.rglob("*")) == before


@pytest.mark.parametrize(
    ("table", "keys", "what", "detail"),
    [
        ("service", 'legal_basis = ""', "service.legal_basis", "empty; callers have a right to it"),
        ("service", 'legal_basis = "…"', "service.legal_basis", "empty; callers have a right to it"),
        (
            "service",
            'legal_basis = "le consentement"',
            "service.legal_basis",
            "names consent, which silence is",
        ),
        ("service", 'legal_basis = "6(1)(a) GDPR"', "service.legal_basis", "names consent, which silence is"),
        ("hours", 'holidays = "FR"', "hours.week", "absent: open day and night but for"),
        ("trunk", 'allowed_sources = ["0.0.0.0/0"]', "trunk.allowed_sources", "0.0.0.0/0: anybody may call"),
        (
            "trunk",
            'listen = "192.0.2.5:5060"\nallowed_sources = ["192.0.2.10", "192.0.2.64/28"]',
            "trunk.allowed_sources",
            "192.0.2.64/28: whoever is in it may call, in any name",
        ),
        ("recording", "enabled = false", "recording.enabled", "false: nothing is recorded"),
        ("recording", "share = 0.0", "recording.share", "0.0: nothing is recorded"),
        (
            "retention",
            'analysis_period = "2 years"',
            "retention.analysis_period",
            "2 years: longer than a year",
        ),
        (
            "refusal",
            'engine = "none"\nkeywords = ["non"]',
            "refusal.keywords",
            "without effect while refusal.engine",
        ),
        ("refusal", 'engine = "none"\nsecond = "a"', "refusal.second", "without effect while refusal.engine"),
        ("prompts.en", 'notice = "prompts/en/notice.wav"', "prompts.en", "without effect: no number"),
        (
            "refusal",
            'engine = "none"\nin_call = "key+voice"',
            "refusal.in_call",
            "key+voice: the key alone, while",
        ),
        (
            "refusal",
            'in_call_keywords = ["arrêtez l\'enregistrement"]',
            "refusal.in_call_keywords",
            'without effect while refusal.in_call is "key"',
        ),
    ],
)
def test_what_deserves_a_thought_is_a_warning(
    set_up: SetUp, table: str, keys: str, what: str, detail: str
) -> None:
    level, said = set_up.one(what, set_up.config(table, keys))
    assert level == "warning" and said.startswith(detail)


def test_the_examples_are_those_of_the_shipped_file() -> None:
    service = tomllib.loads((ROOT / "config.toml").read_text(encoding="utf-8"))["service"]
    assert {key: service[key] for key in SHIPPED_EXAMPLES} == SHIPPED_EXAMPLES


@pytest.mark.parametrize(("listen", "level"), [("127.0.0.1:5060", "warning"), ("0.0.0.0:5060", "error")])
@pytest.mark.parametrize("key", [*SHIPPED_EXAMPLES])
def test_an_example_that_is_left_in_place(tmp_path: Path, listen: str, level: str, key: str) -> None:
    """On a network it would be told to callers."""
    own = {key: f"our {key}" for key in SHIPPED_EXAMPLES}

    def found(**service: str) -> list[Finding]:
        keys = "\n".join(f"{name} = {json.dumps(value)}" for name, value in {**own, **service}.items())
        text = with_keys("trunk", f'listen = "{listen}"', with_keys("service", keys))
        config = parse(text, tmp_path / "config.toml")
        return [one for one in configuration_findings(config) if one.what == f"service.{key}"]

    assert found() == []
    for value in (SHIPPED_EXAMPLES[key], f" {SHIPPED_EXAMPLES[key]} ", "somebody@example.com"):
        (finding,) = found(**{key: value})
        assert finding.level == level and "is the shipped example" in finding.detail


CHOOSING = 'choose = "prompts/fr/choose.wav"\nchoices = { "2" = "en" }'


def test_a_language_that_a_key_leads_to_has_its_effect(set_up: SetUp) -> None:
    text = with_keys("prompts", CHOOSING, set_up.text)
    text = with_keys("prompts.en", 'notice = "prompts/en/notice.wav"', text)
    config = parse(text, set_up.directory / "config.toml")
    found = [*set_up.findings("prompts.en", config), *set_up.findings("prompts.choices", config)]
    assert not [finding for finding in found if "without effect" in finding.detail]
    assert [found.level for found in set_up.findings("prompts.choose", config)] == ["ok"]


def test_a_choice_that_no_number_leaves_open_has_none(set_up: SetUp) -> None:
    text = with_keys("prompts", f'{CHOOSING}\nlanguages = {{ "+33323063007" = "en" }}', set_up.text)
    text = with_keys("prompts.en", 'notice = "prompts/en/notice.wav"', text)
    for numbers, found in (
        ('["+33323063007"]', ["without effect: prompts.languages decides for every number of trunk.numbers"]),
        ('["+33323063006", "+33323063007"]', []),
        ("[]", []),
    ):
        both = parse(with_keys("trunk", f"numbers = {numbers}", text), set_up.directory / "config.toml")
        assert [finding.detail for finding in set_up.findings("prompts.choices", both)] == found
        unheard = ["fr: no number of trunk.numbers is answered in it"] if found else []
        assert [finding.detail for finding in set_up.findings("service.language", both)] == unheard


def test_a_share_with_its_reason_is_silent(set_up: SetUp) -> None:
    everybody = 'share = 1.0\njustification = "training"'
    assert set_up.findings("recording.share", set_up.config("recording", everybody)) == []
    assert set_up.findings("recording.share", set_up.config("recording", "share = 0.2")) == []


@pytest.mark.parametrize(
    ("share", "window", "warned"),
    [
        ("1.0", '[{ days = "mon", share = 0.1 }]', "1.0: every call outside [[recording.window]]; say why"),
        ("0.1", '[{ days = "mon", share = 1.0 }]', None),
        ("0.1", "[{ share = 1.0 }]", "0.1: every call outside"),
    ],
)
def test_every_call_but_those_of_a_window(set_up: SetUp, share: str, window: str, warned: str | None) -> None:
    found = set_up.findings(
        "recording.share", set_up.config("recording", f"share = {share}\nwindow = {window}")
    )
    assert [finding.level for finding in found] == ([] if warned is None else ["warning"])
    assert all(finding.detail.startswith(warned or "") for finding in found)


def test_the_seed_of_the_draws(set_up: SetUp) -> None:
    config = set_up.config()
    path = set_up.directory / "retention.seed"
    assert set_up.findings("seed") == []  # made at the first start
    Store(config.retention.database).close()
    level, detail = set_up.one("seed")
    assert level == "warning" and "retention.seed is missing" in detail
    seed = keep_seed(path)
    assert set_up.one("seed") == ("ok", f"{path}: {seed.name}")
    path.chmod(0o640)
    level, detail = set_up.one("seed")
    assert level == "error" and "mode 0640" in detail
    path.write_text("sipagent-seed-1")
    level, detail = set_up.one("seed")
    assert level == "error" and "no call is drawn where recording.share is below 1" in detail
    path.unlink()
    path.mkdir()
    level, detail = set_up.one("seed")
    assert level == "error" and "Is a directory" in detail


def test_a_window_in_which_nobody_can_call(set_up: SetUp) -> None:
    text = with_keys("hours", 'week = { mon = "08:30-12:00", sat = "10:00-12:00" }', set_up.text)
    windows = '{ share = 1, days = "mon", hours = "11:59-12:00" }, { share = 1, hours = "12:00-13:00" }'
    text = with_keys("recording", f"share = 0.0\nwindow = [{windows}]", text)
    config = parse(text, set_up.directory / "config.toml")
    assert set_up.findings("recording.window[0]", config) == []
    assert set_up.one("recording.window[1]", config)[1] == "without effect: never within hours.week"


def test_an_operator_that_is_the_agent_is_an_error(set_up: SetUp) -> None:
    config = set_up.config("operators", f'extensions = ["sip:201@127.0.0.1:{set_up.port}"]')
    assert set_up.one("operators.extensions", config) == (
        "error",
        f"sip:201@127.0.0.1:{set_up.port} is the agent itself",
    )


def test_prompts_are_read(set_up: SetUp) -> None:
    notice, welcome = (set_up.directory / "prompts" / "fr" / name for name in ("notice.wav", "welcome.wav"))
    welcome.write_bytes(b"RIFF")
    notice.unlink()
    level, detail = set_up.one("prompts.welcome")
    assert level == "error" and detail.startswith(f"{welcome}: is not a readable sound file")
    assert set_up.one("prompts.notice")[1].startswith(f"{notice}: does not exist")


@pytest.mark.parametrize(
    ("words", "missing"),
    [
        ("Agglo J’écoute. Votre appel est enregistré. Pour refuser, touche 9.", []),
        ("AGGLO J'ECOUTE, appel enregistré, refus : touche neuf", []),
        ("Communauté d’agglomération du Saint-Quentinois : enregistrement, vous refusez par le 9", []),
        ("Bonjour, votre appel est enregistré. Pour refuser, touche 9.", ["who records (Agglo J'écoute)"]),
        ("Agglo J’écoute. Pour refuser, touche 9.", ["that the call is recorded"]),
        ("Agglo J’écoute. Votre appel est enregistré.", ["that one may refuse", "the key that refuses (9)"]),
        ("Agglo J’écoute, appel enregistré. Pour refuser, touche 19.", ["the key that refuses (9)"]),
        ("Agglo J’écoute, appel enregistré. Pour refuser, le neuvième.", ["the key that refuses (9)"]),
    ],
)
def test_the_notice_must_say_who_what_and_how_to_refuse(
    set_up: SetUp, words: str, missing: list[str]
) -> None:
    assert missing_words(set_up.config(), words, VOCABULARIES["fr"]) == missing


def test_the_notice_of_opt_in_must_say_how_to_accept(set_up: SetUp) -> None:
    config = set_up.config("refusal", 'mode = "opt_in"\naccept_digit = "*"')
    said = "Agglo J'écoute records this call. To refuse, press 9."
    assert missing_words(config, said, VOCABULARIES["en"]) == [
        "that one may accept",
        "the key that accepts (*)",
    ]
    assert missing_words(config, f"{said} If you agree, press star.", VOCABULARIES["en"]) == []
    assert missing_words(config, f"{said} To accept, press *.", VOCABULARIES["en"]) == []


def test_a_notice_of_the_other_mode_or_without_words_is_an_error(set_up: SetUp) -> None:
    config = set_up.config("refusal", 'digit = "5"')
    found = set_up.findings("prompts.notice", config)
    assert [finding.level for finding in found] == ["ok", "error", "warning"]
    assert found[1].detail == "its words do not say the key that refuses (5)"
    (set_up.directory / "prompts" / "fr" / "notice.txt").unlink()
    assert "so nobody can check them" in set_up.findings("prompts.notice")[1].detail


def test_what_prompts_must_say_and_had_better_say(set_up: SetUp) -> None:
    words = set_up.directory / "prompts" / "fr" / "notice.txt"
    words.write_text("Agglo J'écoute. Votre appel est enregistré. Pour refuser, touche 9.")
    found = set_up.findings("prompts.notice")[-2]
    assert found == Finding(
        "error",
        "prompts.notice (fr)",
        "its words do not say how long recordings are kept, nor where to read more",
    )
    other = set_up.config("refusal", 'accept_digit = "3"')
    assert (
        set_up.findings("prompts.confirm", other)[-1].detail == "its words do not name refusal.accept_digit 3"
    )
    breton = with_keys("service", 'language = "br"', set_up.text)
    breton = breton.replace("# notice = ", "notice = ", 1)
    config = parse(breton, set_up.directory / "config.toml")
    assert set_up.findings("prompts.notice", config)[-1].level == "warning"


def test_the_shipped_notices_pass_in_both_modes_and_languages(set_up: SetUp) -> None:
    for language in ("fr", "en"):
        for mode, digit in (("objection", "9"), ("opt_in", "1")):
            name = "notice" if mode == "objection" else "notice_opt_in"
            words = (set_up.directory / "prompts" / language / f"{name}.txt").read_text()
            config = set_up.config("refusal", f'mode = "{mode}"')
            assert missing_words(config, words, VOCABULARIES[language]) == [], (language, digit)


def test_passwords_are_tried_and_their_modes_seen(set_up: SetUp) -> None:
    secret = set_up.directory / "secret"
    config = set_up.config("trunk", 'username = "agent"\npassword_file = "secret"')
    assert set_up.one("trunk.password_file", config) == ("error", f"{secret}: No such file or directory")
    secret.write_text("s3cret\n")
    secret.chmod(0o644)
    level, detail = set_up.one("trunk.password_file", config)
    assert level == "warning" and "mode 0644" in detail and "s3cret" not in detail
    secret.chmod(0o600)
    assert set_up.one("trunk.password_file", config)[0] == "ok"


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to another group")
@pytest.mark.parametrize(("mode", "level"), [(0o640, "ok"), (0o660, "warning"), (0o644, "warning")])
def test_a_password_that_root_gave_to_the_services_group(set_up: SetUp, mode: int, level: str) -> None:
    """As `init` writes it in /etc/sipagent."""
    secret = set_up.directory / "secret"
    secret.write_text("s3cret\n")
    os.chown(secret, 0, 4322)
    secret.chmod(mode)
    config = set_up.config("trunk", 'username = "agent"\npassword_file = "secret"')
    assert set_up.one("trunk.password_file", config)[0] == level


def test_the_directory_of_recordings_is_tried(set_up: SetUp) -> None:
    recordings = set_up.directory / "recordings"
    assert set_up.one("recording.directory")[1].startswith(f"{recordings} writable, ")
    recordings.chmod(0o755)
    assert "mode 0755" in set_up.findings("recording.directory")[1].detail
    recordings.rmdir()
    assert "will be made" in set_up.one("recording.directory")[1]
    recordings.write_text("")
    assert set_up.one("recording.directory") == ("error", f"{recordings} is not a directory")
    behind = set_up.config("recording", 'directory = "config.toml/recordings"')
    assert set_up.findings("recording.directory", behind)[0].level == "error"
    nowhere = set_up.config("recording", 'directory = "/proc/self/recordings"')  # where nobody makes a file
    (finding,) = set_up.findings("recording.directory", nowhere)
    assert re.fullmatch(r"/proc/self: .*; accepted: a directory that this user may write", finding.detail), (
        finding
    )


def test_the_database_is_read_whole(set_up: SetUp) -> None:
    database = set_up.directory / "retention.db"
    assert set_up.one("retention.database") == ("ok", f"{database} will be made")
    Store(database).close()
    assert set_up.one("retention.database") == ("ok", f"{database} is whole")
    assert set_up.one("purge") == ("ok", "nothing is overdue")
    database.chmod(0o644)
    assert "mode 0644" in set_up.findings("retention.database")[1].detail
    database.write_bytes(b"no database at all" * 100)
    assert set_up.one("retention.database") == (
        "error",
        f"{database}: file is not a database; see `sipagent rebuild --help`",
    )


def test_a_damaged_database_is_an_error(set_up: SetUp) -> None:
    database = set_up.directory / "retention.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE kept (name TEXT)")
        connection.executemany("INSERT INTO kept VALUES (?)", [(f"{number:0500}",) for number in range(500)])
        connection.execute("CREATE INDEX by_name ON kept (name)")
    content = bytearray(database.read_bytes())
    content[40 * 1024 : 60 * 1024] = bytes(20 * 1024)
    database.write_bytes(content)
    level, detail = (
        set_up.findings("retention.database")[0].level,
        set_up.findings("retention.database")[0].detail,
    )
    assert level == "error" and detail.isprintable()


def test_a_lost_database_beside_recordings_is_an_error(set_up: SetUp) -> None:
    (set_up.directory / "recordings" / "20261124T222000123-4f2a9c.json").write_text("{}")
    level, detail = set_up.one("retention.database")
    assert level == "error" and "sipagent rebuild" in detail


def test_what_is_kept_and_its_time_stamps_are_looked_at(set_up: SetUp) -> None:
    with Store(set_up.directory / "retention.db") as store:
        store.add_recording(recording(expires_at=NOW - timedelta(days=2)))
    assert set_up.one("purge")[0] == "error"
    assert (set_up.one("holds")[0], set_up.one("chain")[0]) == ("ok", "ok")
    assert set_up.findings("stamps") == set_up.findings("retention.timestamp_ca") == []
    stamped = set_up.config("retention", 'timestamp_ca = "absent.pem"')
    assert set_up.one("retention.timestamp_ca", stamped)[0] == "error"


def test_the_engine_is_asked(set_up: SetUp) -> None:
    assert set_up.one("engine") == (
        "ok",
        "2.15.1, TLS: OpenSSL 1.0.2k; 4 legs, 32 players, 64 sockets, 1024 files: "
        "2 calls a process, for its legs",
    )

    def absent() -> EngineFacts:
        raise ImportError("No module named 'pjsua2'")

    found = checks(set_up.config(), absent, NOW)
    assert Finding("error", "engine", "cannot be loaded: No module named 'pjsua2'") in found


def test_whether_there_are_workers_and_ports_for_them(set_up: SetUp) -> None:
    assert set_up.findings("capacity.calls") == []
    five = set_up.config("capacity", "calls = 5")
    assert set_up.one("capacity.calls", five) == ("ok", "5: 3 workers of 2 behind the edge")
    set_up.text = set_up.text.replace("28000-28063", "28000-28041")
    (wrong,) = (
        one
        for one in set_up.findings("trunk.rtp_ports", set_up.config("capacity", "calls = 5"))
        if one.level == "error"
    )
    assert wrong.detail == "'28000-28041' holds 42 ports; accepted: 48 or more: 16 for each of 3 workers"
    set_up.text = with_keys("capacity", "calls = 5", set_up.text.replace("28000-28041", "28000-28063"))
    (wrong,) = set_up.findings("edge.worker_ports", set_up.config("edge", "worker_ports = '16000-16003'"))
    assert wrong.level == "error" and "5 or more" in wrong.detail


def test_the_python_is_one_that_the_engine_exists_for() -> None:
    assert python_finding((3, 11)).level == python_finding((3, 12)).level == "ok"
    assert python_finding((3, 13)) == Finding(
        "error", "python", "3.13; accepted: 3.11 or 3.12, the engine exists for no other"
    )


def found_on_priority(allowed: bool) -> tuple[Finding, bool]:
    """In a process of its own: the finding, and whether that process was as urgent as before."""
    if not allowed:
        forbid_real_time()
    return priority_finding(), os.sched_getscheduler(0) == os.SCHED_OTHER


@pytest.mark.parametrize("allowed", [True, False])
def test_whether_sound_may_be_urgent(set_up: SetUp, allowed: bool) -> None:
    if allowed and not real_time_is_allowed():
        pytest.skip("not on this machine")
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        finding, as_before = process.submit(found_on_priority, allowed).result()
    level = "ok" if allowed else "warning"
    assert (finding.level, finding.what, as_before) == (level, "real-time priority", True)
    assert allowed or all(what in finding.detail for what in ("LimitRTPRIO=1", "limits.conf"))
    assert len(set_up.findings("real-time")) == 1


def test_a_port_that_is_taken_is_an_error(set_up: SetUp, udp: socket.socket) -> None:
    taken = set_up.config("trunk", f'listen = "127.0.0.1:{udp.getsockname()[1]}"')
    level, detail = set_up.one("trunk.listen", taken)
    assert level == "error" and detail.endswith("is in use, and no agent answers there")
    elsewhere = set_up.config("trunk", 'listen = "192.0.2.1:5060"')
    assert (
        set_up.findings("trunk.listen", elsewhere)[-1].detail
        == "192.0.2.1:5060 is not an address of this machine"
    )


def test_rtp_ports_that_are_taken_are_an_error(set_up: SetUp, udp: socket.socket) -> None:
    port = udp.getsockname()[1]
    first = port - port % 2
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as even:
        if port % 2:
            even.bind(("127.0.0.1", first))
        config = set_up.config("trunk", f'rtp_ports = "{first}-{min(first + 63, 65535)}"')
        level, detail = set_up.one("trunk.rtp_ports", config)
    assert level == "error" and detail == f"127.0.0.1:{first} is in use, and no agent answers there"


def test_a_port_that_our_own_agent_holds_is_fine_and_another_instances_is_not(
    set_up: SetUp, udp: socket.socket
) -> None:
    asked: list[bytes] = []

    def answer() -> None:
        message, sender = udp.recvfrom(65536)
        asked.append(message)
        udp.sendto(b"SIP/2.0 200 OK\r\nUser-Agent: sipagent/0.1.0\r\n\r\n", sender)

    listen = HostPort("127.0.0.1", udp.getsockname()[1])
    config = set_up.config("trunk", f'listen = "{listen}"')
    for runs in (True, False):
        agent = threading.Thread(target=answer)
        agent.start()
        with alone(config.places.lock) if runs else nullcontext():
            told = set_up.one("trunk.listen", config)
        agent.join()
        assert told == (
            ("ok", f"{listen} is taken by a running agent")
            if runs
            else ("error", f"{listen} is in use by an agent that has another configuration")
        )
    assert asked[0].startswith(f"OPTIONS sip:{listen} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:".encode())


@pytest.mark.parametrize(("address", "where"), [("127.0.0.9", "at this host"), ("192.0.2.10", "elsewhere")])
def test_where_the_address_that_moves_is(set_up: SetUp, address: str, where: str) -> None:
    config = set_up.config("trunk", f'shared_address = "{address}"')
    assert set_up.one("trunk.shared_address", config) == ("ok", f"{address} is {where} now")


class Figure(Collector):
    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("sipagent_calls_in_progress", "A test.", value=0)


def test_the_port_of_the_figures(set_up: SetUp) -> None:
    assert set_up.findings("metrics.listen") == []
    with serving(HostPort("127.0.0.1", 0), Figure()) as listen:
        config = set_up.config("metrics", f'listen = "{listen}"')
        with alone(config.places.lock):
            assert set_up.one("metrics.listen", config) == ("ok", f"{listen} is taken by a running agent")
        said = f"{listen} is in use by an agent that has another configuration"
        assert set_up.one("metrics.listen", config) == ("error", said)
    assert set_up.one("metrics.listen", config) == ("ok", f"{listen} is free")
    with socket.create_server(listen):
        level, detail = set_up.one("metrics.listen", config)
        assert (level, detail) == ("error", f"{listen} is in use, and no agent answers there")


def test_figures_for_everybody_are_a_warning(set_up: SetUp) -> None:
    config = set_up.config("metrics", 'listen = "0.0.0.0:9464"')
    levels = {finding.level: finding.detail for finding in set_up.findings("metrics.listen", config)}
    assert "without a login" in levels["warning"]


def test_a_pbx_that_no_name_leads_to_is_given_no_password(
    set_up: SetUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PBX", "secret")
    login = 'username = "agent"\npassword_env = "PBX"\nextensions = ["sip:201@pbx.invalid"]'
    said = set_up.one("operators.extensions", set_up.config("operators", login))
    assert said == ("warning", "pbx.invalid leads to no address: it is given no password")


def test_a_password_that_nobody_will_be_given(set_up: SetUp, monkeypatch: pytest.MonkeyPatch) -> None:
    """The realm is the registrar's to name, or the administrator's: never that of whoever asks."""
    monkeypatch.setenv("TRUNK", "secret")
    login = 'username = "agent"\npassword_env = "TRUNK"'
    level, detail = set_up.one("trunk.realm", set_up.config("trunk", login))
    assert (level, "nobody is ever given the password" in detail) == ("warning", True)
    for more in ('realm = "trunk"', 'registrar = "sip:127.0.0.9"'):
        assert set_up.findings("trunk.realm", set_up.config("trunk", f"{login}\n{more}")) == []


def test_nobody_is_no_agent(udp: socket.socket) -> None:
    assert not answers_as_agent(HostPort("127.0.0.1", udp.getsockname()[1]))


def test_a_small_file_can_be_checked(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(SMALL)
    found = checks(load(tmp_path / "config.toml"), lambda: ENGINE, NOW)
    assert {finding.what for finding in found if finding.level == "error"} >= {"prompts.notice (fr)"}
