"""`check`: each thing that can be wrong with a set-up, found and named."""

import json
import re
import shutil
import socket
import ssl
import threading
import tomllib
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import pytest

from retention.files import alone
from retention.rebuild import BEGUN_ANEW
from retention.sqlite import Store
from sipagent.check.check import checks, configuration_findings
from sipagent.check.machine import EngineFacts, answers_as_agent, known_holes
from sipagent.config.errors import Finding
from sipagent.config.layout import EngineLimits
from sipagent.config.load import Config, HostPort, parse
from sipagent.config.rules import SHIPPED_EXAMPLES
from sipagent.config.sampling import keep_seed
from tests.configured import init_examples, with_keys
from tests.each import each
from tests.kept import recording
from tests.loopback import ROOT
from tests.raising import raising
from tests.web.served import certificate

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

    def config(self, *tables: tuple[str, str]) -> Config:
        """With these keys in these tables."""
        text = self.text
        for table, keys in tables:
            text = with_keys(table, keys, text)
        return parse(text, self.directory / "config.toml")

    def findings(self, what: str, *tables: tuple[str, str]) -> list[Finding]:
        found = checks(self.config(*tables), lambda: ENGINE, NOW)
        return [finding for finding in found if finding.what.partition(" ")[0] == what]

    def one(self, what: str, *tables: tuple[str, str]) -> tuple[str, str]:
        (finding,) = self.findings(what, *tables)
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


def test_what_init_wrote_has_no_error_and_looking_leaves_nothing_behind(set_up: SetUp) -> None:
    before = sorted(set_up.directory.rglob("*"))
    found = checks(set_up.config(), lambda: ENGINE, NOW)
    assert [finding for finding in found if finding.level == "error"] == []
    of_this_machine = {"real-time priority", "engine"}  # what rights it gives, and which engine
    assert {finding.what for finding in found if finding.level == "warning"} - of_this_machine == {
        *(f"service.{key}" for key in SHIPPED_EXAMPLES),
        "hours",
        "prompts.closed (fr)",  # says hours
        "prompts.details (fr)",  # names an example of where to read more
        "trunk.numbers",
        "private key",
    }
    assert sorted(set_up.directory.rglob("*")) == before


# --- what loads, and deserves a thought ---

CHOOSING = ("prompts", 'choose = "prompts/fr/choose.wav"\nchoices = { "2" = "en" }')
ENGLISH = ("prompts.en", 'notice = "prompts/en/notice.wav"')
BY_NUMBER = ("prompts", f'{CHOOSING[1]}\nlanguages = {{ "+33323063007" = "en" }}')
WEEK = ("hours", 'week = { mon = "08:30-12:00", sat = "10:00-12:00" }')
WINDOWS = """share = 0.0
window = [{ share = 1, days = "mon", hours = "11:59-12:00" }, { share = 1, hours = "12:00-13:00" }]"""
TRUNK_LOGIN = 'username = "agent"\npassword_env = "TRUNK"'
PBX_LOGIN = 'username = "agent"\npassword_env = "TRUNK"\nextensions = ["sip:201@pbx.invalid"]'
EVERYBODY = ("recording", 'share = 1.0\nwindow = [{ days = "mon", share = 0.1 }]')


@pytest.mark.parametrize(("what", "detail", "tables"), [
    ("service.legal_basis", "empty; callers have a right to it", [("service", 'legal_basis = ""')]),
    ("service.legal_basis", "names consent, which silence is",
     [("service", 'legal_basis = "le consentement"')]),
    ("service.language", "fr: no number of trunk.numbers is answered in it",
     [BY_NUMBER, ENGLISH, ("trunk", 'numbers = ["+33323063007"]')]),
    ("hours.week", "absent: open day and night but for", [("hours", 'holidays = "FR"')]),
    ("trunk.allowed_sources", "0.0.0.0/0: anybody may call", [("trunk", 'allowed_sources = ["0.0.0.0/0"]')]),
    ("trunk.allowed_sources", "192.0.2.64/28: whoever is in it may call, in any name",
     [("trunk", 'listen = "192.0.2.5:5060"\nallowed_sources = ["192.0.2.10", "192.0.2.64/28"]')]),
    ("trunk.realm", "empty, and no registrar names it: nobody is ever given the password",
     [("trunk", TRUNK_LOGIN)]),
    ("operators.extensions", "pbx.invalid leads to no address: it is given no password",
     [("operators", PBX_LOGIN)]),
    ("operators.extensions", "pbx.invalid leads to no address: nobody is rung there",
     [("operators", 'extensions = ["sip:201@pbx.invalid"]')]),
    ("trunk.username", "absent: hardly any registrar takes who shows no password",
     [("trunk", 'registrar = "sip:127.0.0.1:5099"')]),
    ("trunk.srtp", "optional, but its keys go in clear with trunk.transport udp",
     [("trunk", 'srtp = "optional"')]),
    ("operators.srtp", "optional, but its keys go in clear: not every phone is called by TLS",
     [("operators", 'srtp = "optional"')]),
    ("trunk.allowed_sources", "2001:db8::/32: nothing listens on IPv6 here",
     [("trunk", 'allowed_sources = ["2001:db8::/32"]')]),
    ("recording.enabled", "false: nothing is recorded", [("recording", "enabled = false")]),
    ("recording.share", "0.0: nothing is recorded", [("recording", "share = 0.0")]),
    ("recording.share", "1.0: every call outside [[recording.window]]; say why", [EVERYBODY]),
    ("recording.window[1]", "without effect: never within hours.week", [WEEK, ("recording", WINDOWS)]),
    ("retention.analysis_period", "2 years: longer than a year",
     [("retention", 'analysis_period = "2 years"')]),
    ("refusal.keywords", "without effect while refusal.engine",
     [("refusal", 'engine = "none"\nkeywords = ["non"]')]),
    ("refusal.in_call", "key+voice: the key alone, while",
     [("refusal", 'engine = "none"\nin_call = "key+voice"')]),
    ("refusal.in_call_keywords", 'without effect while refusal.in_call is "key"',
     [("refusal", 'in_call_keywords = ["arrêtez l\'enregistrement"]')]),
    ("prompts.en", "without effect: no number", [ENGLISH]),
    ("prompts.choices", "without effect: prompts.languages decides for every number of trunk.numbers",
     [BY_NUMBER, ENGLISH, ("trunk", 'numbers = ["+33323063007"]')]),
])  # fmt: skip
def test_what_deserves_a_thought_is_a_warning(
    set_up: SetUp, monkeypatch: pytest.MonkeyPatch, what: str, detail: str, tables: list[tuple[str, str]]
) -> None:
    monkeypatch.setenv("TRUNK", "secret")
    level, said = set_up.one(what, *tables)
    assert level == "warning" and said.startswith(detail)


@pytest.mark.parametrize(("what", "tables"), [
    ("recording.share", [("recording", 'share = 1.0\njustification = "training"')]),
    ("recording.share", [("recording", 'share = 0.1\nwindow = [{ days = "mon", share = 1.0 }]')]),
    ("recording.window[0]", [WEEK, ("recording", WINDOWS)]),
    ("prompts.choices", [CHOOSING, ENGLISH]),
    ("prompts.choices", [BY_NUMBER, ENGLISH, ("trunk", 'numbers = ["+33323063006", "+33323063007"]')]),
    ("service.language", [BY_NUMBER, ENGLISH, ("trunk", 'numbers = ["+33323063006", "+33323063007"]')]),
    ("trunk.realm", [("trunk", f'{TRUNK_LOGIN}\nrealm = "trunk"')]),
    ("trunk.username", [("trunk", f'{TRUNK_LOGIN}\nregistrar = "sip:127.0.0.1:5099"')]),
    ("operators.extensions",
     [("operators", 'extensions = ["sip:201@a.invalid"]\noutbound_proxy = "sip:127.0.0.1"')]),
])  # fmt: skip
def test_what_needs_no_word(
    set_up: SetUp, monkeypatch: pytest.MonkeyPatch, what: str, tables: list[tuple[str, str]]
) -> None:
    monkeypatch.setenv("TRUNK", "secret")
    assert [one for one in set_up.findings(what, *tables) if "of its own" not in one.detail] == []


@pytest.mark.parametrize(("listen", "level"), [("127.0.0.1:5060", "warning"), ("0.0.0.0:5060", "error")])
@pytest.mark.parametrize("key", [*SHIPPED_EXAMPLES])
def test_an_example_that_is_left_in_place(tmp_path: Path, listen: str, level: str, key: str) -> None:
    own = {key: f"our {key}" for key in SHIPPED_EXAMPLES}
    shipped = tomllib.loads((ROOT / "config.toml").read_text("utf-8"))["service"]
    assert shipped[key] == SHIPPED_EXAMPLES[key]

    def found(**service: str) -> list[Finding]:
        keys = "\n".join(f"{name} = {json.dumps(value)}" for name, value in {**own, **service}.items())
        text = with_keys("trunk", f'listen = "{listen}"', with_keys("service", keys))
        config = parse(text, tmp_path / "config.toml")
        return [one for one in configuration_findings(config) if one.what == f"service.{key}"]

    assert found() == []
    for value in (SHIPPED_EXAMPLES[key], f" {SHIPPED_EXAMPLES[key]} ", "somebody@example.com"):
        (finding,) = found(**{key: value})
        assert finding.level == level and "is the shipped example" in finding.detail


def test_an_operator_that_is_the_agent_is_an_error(set_up: SetUp) -> None:
    agent = f"sip:201@127.0.0.1:{set_up.port}"
    found = set_up.one("operators.extensions", ("operators", f'extensions = ["{agent}"]'))
    assert found == ("error", f"{agent} is the agent itself")
    trunk = (
        ("trunk", 'uri = "sip:agent@127.0.0.9"'),
        ("operators", 'extensions = ["sip:agent@127.0.0.9:5070"]'),
    )
    level, said = set_up.one("operators.extensions", *trunk)
    assert level == "error" and said.endswith("is the trunk's account: the call would come back")


# --- files ---


def test_the_seed_of_the_draws(set_up: SetUp) -> None:
    path = set_up.directory / "retention.seed"
    assert set_up.findings("seed") == []  # made at the first start
    Store(set_up.directory / "retention.db").close()
    assert "retention.seed is missing" in set_up.one("seed")[1]
    seed = keep_seed(path)
    assert set_up.one("seed") == ("ok", f"{path}: {seed.name}")
    path.chmod(0o640)
    level, detail = set_up.one("seed")
    assert level == "error" and "mode 0640" in detail
    path.write_text("sipagent-seed-1")
    level, detail = set_up.one("seed")
    assert level == "error" and "no call is drawn where recording.share is below 1" in detail


def test_passwords_are_tried_and_their_modes_seen(set_up: SetUp) -> None:
    secret = set_up.directory / "secret"
    login = ("trunk", 'username = "agent"\npassword_file = "secret"')
    assert set_up.one("trunk.password_file", login) == ("error", f"{secret}: No such file or directory")
    secret.write_text("s3cret\n")
    secret.chmod(0o644)
    level, detail = set_up.one("trunk.password_file", login)
    assert level == "warning" and "mode 0644" in detail and "s3cret" not in detail
    secret.chmod(0o600)
    assert set_up.one("trunk.password_file", login)[0] == "ok"


def test_the_directory_of_recordings_is_tried(set_up: SetUp) -> None:
    recordings = set_up.directory / "recordings"
    assert set_up.one("recording.directory")[1].startswith(f"{recordings} writable, ")
    recordings.chmod(0o755)
    assert "mode 0755" in set_up.findings("recording.directory")[1].detail
    recordings.rmdir()
    assert "will be made" in set_up.one("recording.directory")[1]
    recordings.write_text("")
    assert set_up.one("recording.directory") == ("error", f"{recordings} is not a directory")
    behind = set_up.findings("recording.directory", ("recording", 'directory = "config.toml/recordings"'))
    assert behind[0].level == "error"
    nowhere = ("recording", 'directory = "/proc/self/recordings"')  # where nobody makes a file
    (finding,) = set_up.findings("recording.directory", nowhere)
    said = r"/proc/self: .*; accepted: a directory that this user may write"
    assert re.fullmatch(said, finding.detail), finding


def test_the_database_is_read_whole(set_up: SetUp) -> None:
    database = set_up.directory / "retention.db"
    assert set_up.one("retention.database") == ("ok", f"{database} will be made")
    (set_up.directory / "recordings" / "20261124T222000123-4f2a9c.json").write_text("{}")
    level, detail = set_up.one("retention.database")
    assert level == "error" and "sipagent rebuild" in detail  # it is lost: recordings are there
    Store(database).close()
    assert set_up.one("chain") == ("error", BEGUN_ANEW)
    database.unlink()
    shutil.rmtree(set_up.directory / "recordings")
    assert "sipagent rebuild" in set_up.one("retention.database")[1]  # the head tells of it, too
    Store(database).close()
    assert set_up.one("retention.database") == ("ok", f"{database} is whole")
    assert set_up.one("purge") == ("ok", "nothing is overdue")
    database.chmod(0o644)
    assert "mode 0644" in set_up.findings("retention.database")[1].detail
    content = bytearray(database.read_bytes())
    content[20 * 1024 : 60 * 1024] = bytes(40 * 1024)
    database.write_bytes(content)
    damaged = set_up.findings("retention.database")[0]
    assert damaged.level == "error" and damaged.detail.isprintable()
    database.write_bytes(b"no database at all" * 100)
    said = f"{database}: file is not a database; see `sipagent rebuild --help`"
    assert set_up.one("retention.database") == ("error", said)


def test_what_is_kept_and_its_time_stamps_are_looked_at(set_up: SetUp) -> None:
    with Store(set_up.directory / "retention.db") as store:
        store.add_recording(recording(expires_at=NOW - timedelta(days=2)))
    assert set_up.one("purge")[0] == "error"
    assert (set_up.one("holds")[0], set_up.one("chain")[0]) == ("ok", "ok")
    assert set_up.findings("stamps") == set_up.findings("retention.timestamp_ca") == []
    stamped = ("retention", 'timestamp_ca = "absent.pem"')
    assert set_up.one("retention.timestamp_ca", stamped)[0] == "error"


# --- the machine ---


def test_the_engine_is_asked(set_up: SetUp) -> None:
    told, holes = set_up.findings("engine")
    assert (told.level, told.detail) == (
        "ok",
        "2.15.1, TLS: OpenSSL 1.0.2k; 4 legs, 32 players, 64 sockets, 1024 files: "
        "2 calls a process, for its legs",
    )
    assert holes.level == "warning" and holes.detail.startswith("known holes: CVE-2026-41416, CVE-2026-28799")
    found = checks(set_up.config(), raising(ImportError("No module named 'pjsua2'")), NOW)
    assert Finding("error", "engine", "cannot be loaded: No module named 'pjsua2'") in found


@each(
    product(
        ["2.15.1", "2.16", "2.17", "2.17+sipagent.99"],
        ["OpenSSL 1.0.2k-fips  26 Jan 2017", "OpenSSL 3.5.9 29 Sep 2026", "none"],
    ),
    str,
)
def test_an_engine_has_the_holes_that_a_later_version_mended(engine: tuple[str, str]) -> None:
    version, tls = engine
    found = known_holes(EngineFacts(version, EngineLimits(legs=4), tls))
    assert ("OpenSSL < 3" in found) == ("1.0.2k" in tls)
    assert ("CVE-2026-28799" in found) == (version in {"2.15.1", "2.16"})
    assert ("upstream 4661" in found) == (version == "2.15.1")
    assert ("upstream 5103" in found) == ("sipagent" not in version)
    assert "CVE-2026-26203" not in " ".join(found)  # no video
    assert "99" not in version or set(found) <= {"OpenSSL < 3"}


def test_whether_there_are_workers_and_ports_for_them(set_up: SetUp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sipagent.check.machine._started", lambda _: Finding("ok", "edge", ""))
    five = ("capacity", "calls = 5")
    assert set_up.findings("capacity.calls") == []
    assert set_up.one("capacity.calls", five) == ("ok", "5: 3 workers of 2 behind the edge")
    found = set_up.findings("trunk.rtp_ports", five, ("trunk", 'rtp_ports = "28000-28041"'))
    (wrong,) = (one for one in found if one.level == "error")
    assert wrong.detail == "'28000-28041' holds 42 ports; accepted: 48 or more: 16 for each of 3 workers"
    level, detail = set_up.one("edge.worker_ports", five, ("edge", "worker_ports = '16000-16003'"))
    assert level == "error" and "5 or more" in detail


def test_a_port_that_is_taken_is_an_error(set_up: SetUp, udp: socket.socket) -> None:
    port = udp.getsockname()[1]
    first = port - port % 2
    level, detail = set_up.one("trunk.listen", ("trunk", f'listen = "127.0.0.1:{port}"'))
    assert level == "error" and detail.endswith("is in use, and no agent answers there")
    assert not answers_as_agent(HostPort("127.0.0.1", port))
    *_, foreign = set_up.findings("trunk.listen", ("trunk", 'listen = "192.0.2.1:5060"'))
    assert foreign.detail == "192.0.2.1:5060 is not an address of this machine"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as even:
        if port % 2:
            even.bind(("127.0.0.1", first))
        ports = ("trunk", f'rtp_ports = "{first}-{min(first + 63, 65535)}"')
        elsewhere = ("trunk", 'listen = "127.0.0.1:5060"')  # the one that was found free may be among these
        taken = set_up.one("trunk.rtp_ports", ports, elsewhere)
    assert taken == ("error", f"127.0.0.1:{first} is in use, and no agent answers there")


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_a_second_instance_is_seen_by_tcp_and_tls_too(set_up: SetUp, tmp_path: Path, transport: str) -> None:
    pem, key = certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem, key)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listen = HostPort("127.0.0.1", listening.getsockname()[1])

        def answer() -> None:
            plain, _ = listening.accept()
            with context.wrap_socket(plain, server_side=True) if transport == "tls" else plain as asked:
                assert asked.recv(65536).startswith(b"OPTIONS ")
                asked.sendall(b"SIP/2.0 200 OK\r\nServer: sipagent/0.1.0\r\n\r\n")

        agent = threading.Thread(target=answer)
        agent.start()
        keys = ("edge", f'certificate = "{pem}"\nprivate_key = "{key}"')
        found = set_up.one("trunk.listen", ("trunk", f'listen = "{listen}"\ntransport = "{transport}"'), keys)
        agent.join()
    assert found == ("error", f"{listen} is in use by an agent that has another configuration")


def test_a_port_that_our_own_agent_holds_is_fine_and_another_instances_is_not(
    set_up: SetUp, udp: socket.socket
) -> None:
    asked: list[bytes] = []

    def answer() -> None:
        message, sender = udp.recvfrom(65536)
        asked.append(message)
        udp.sendto(b"SIP/2.0 200 OK\r\nUser-Agent: sipagent/0.1.0\r\n\r\n", sender)

    listen = HostPort("127.0.0.1", udp.getsockname()[1])
    at = ("trunk", f'listen = "{listen}"')
    ours = ("ok", f"{listen} is taken by a running agent")
    theirs = ("error", f"{listen} is in use by an agent that has another configuration")
    for runs in (True, False):
        agent = threading.Thread(target=answer)
        agent.start()
        with alone(set_up.config().places.lock) if runs else nullcontext():
            assert set_up.one("trunk.listen", at) == (ours if runs else theirs)
        agent.join()
    assert asked[0].startswith(f"OPTIONS sip:{listen} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:".encode())
