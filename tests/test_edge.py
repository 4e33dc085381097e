"""The edge without Kamailio: what a configuration makes of it, its files, its grammar, the lines it tells."""

import errno
import ipaddress
import os
import re
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given as of_any
from hypothesis import strategies as st

from sipagent.config.layout import EngineLimits
from sipagent.config.load import ConfigError, HostPort
from sipagent.edge import configuration as written_as
from sipagent.edge.configuration import (
    EdgePlaces,
    Secrets,
    configuration,
    source_list,
    tls_settings,
    worker_list,
)
from sipagent.edge.files import (
    TABLES,
    begin_anew,
    forget_dialogs,
    has_dialogs,
    kept_tokens,
    places,
    remove_socket,
    write_files,
)
from sipagent.edge.plan import (
    Addresses,
    HopTokens,
    Plan,
    Tls,
    is_local,
    media_addresses,
    needs_edge,
    new_tokens,
    plan,
)
from sipagent.edge.process import EdgeElsewhere, EdgeProcess, HeldPorts
from sipagent.edge.rpc import EdgeError, RejectedCall, given, rejected
from sipagent.service.edge import EdgeCare
from sipagent.sip.session_description import AUDIO_LINES
from tests.configured import CONTRACT, SMALL, read, with_keys, wrong
from tests.peers import edge as scene
from tests.peers.process import free_ports
from tests.posix import Pattern

TRUNK = (ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::/32"))
ADDRESSES = Addresses("198.51.100.7", TRUNK, (ipaddress.ip_network("198.51.100.9"),))
WHERE = EdgePlaces(Path("/var/lib/sipagent/edge"), Path("/var/lib/sipagent/edge/rpc.sock"))
TOKENS = HopTokens("0123456789abcdef" * 2)
WHEEL = EngineLimits(legs=4)


def engine(legs: int) -> EngineLimits:
    return EngineLimits(legs, players=4096, handles=4096, slots=8192, files=65536)


CERTIFIED = 'certificate = "e.pem"\nprivate_key = "e.key"'


def planned(text: str = CONTRACT, limits: EngineLimits = WHEEL) -> Plan:
    return plan(read(text), limits, ADDRESSES)


def written(plan: Plan) -> str:
    return configuration(plan, Secrets("mask0", TOKENS), WHERE)


# --- how many, where ---


@pytest.mark.parametrize(
    ("calls", "legs", "workers", "each"),
    [(1, 4, 1, 1), (2, 4, 1, 2), (3, 4, 2, 2), (100, 4, 50, 2), (100, 512, 4, 25), (120, 32, 8, 16)],
)
def test_there_are_as_many_workers_as_the_calls_need(calls: int, legs: int, workers: int, each: int) -> None:
    made = planned(with_keys("capacity", f"calls = {calls}", CONTRACT), engine(legs))
    assert (made.workers, made.calls_per_worker, made.calls) == (workers, each, calls)


def test_each_worker_has_a_port_of_its_own_after_the_edge_and_the_account() -> None:
    """Too few are told with how many there must be."""
    made = planned(with_keys("edge", 'worker_ports = "20000-20009"', CONTRACT))
    assert (made.inner.port, made.account.port) == (20000, 20001)
    assert [made.worker(index).port for index in range(3)] == [20002, 20003, 20004]
    assert made.proxy == "sip:127.0.0.1:20000;lr"
    text = with_keys("capacity", "calls = 20", with_keys("edge", 'worker_ports = "20000-20009"', CONTRACT))
    with pytest.raises(ConfigError) as error:
        planned(text)
    assert str(error.value).endswith(
        "edge.worker_ports: '20000-20009' holds 10 ports; "
        "accepted: 12 or more: 2 and one for each of 10 workers"
    )
    assert planned(text, EngineLimits(8)).workers == 5


@pytest.mark.parametrize(
    ("table", "keys", "needed"),
    [
        ("trunk", 'listen = "127.0.0.1:5060"', False),
        ("trunk", 'listen = "0.0.0.0:5060"', True),
        ("trunk", 'transport = "tls"\nlisten = "127.0.0.1:5061"', True),
        ("edge", 'tls_listen = "127.0.0.1:5061"', True),
        ("trunk", 'shared_address = "127.0.0.9"', True),
        ("trunk", 'listen = "[::1]:5060"', True),
        ("trunk", 'listen_ipv6 = "[::1]:5060"', True),
        ("capacity", "calls = 2", True),
        ("capacity", "calls = 1", False),
    ],
)
def test_one_bare_process_is_for_one_machine_and_few_calls(table: str, keys: str, needed: bool) -> None:
    small = with_keys("edge", CERTIFIED, SMALL)
    assert needs_edge(read(with_keys(table, keys, small)), WHEEL) is needed


def test_an_address_that_moves_takes_calls_and_what_follows_stays() -> None:
    """A registrar, too, sends calls to it; whoever ends leaves that Contact to the next host."""
    keys = 'listen = "198.51.100.7:5060"\nshared_address = "192.0.2.10"\nregistrar = "sip:trunk.example.net"'
    made = planned(with_keys("trunk", keys, CONTRACT))
    assert (made.advertised, made.shared) == ("198.51.100.7", "192.0.2.10")
    assert made.contact == "sip:agent@192.0.2.10:5060" and made.path == "sip:192.0.2.10:5060;lr"
    heads = [line for line in written(made).splitlines() if re.match(r"listen=|ip_free|#!define", line)]
    assert heads == [
        "#!define WITH_REGISTRAR",
        'listen=udp:198.51.100.7:5060 advertise 198.51.100.7:5060 name "outer"',
        "listen=tcp:198.51.100.7:5060 advertise 198.51.100.7:5060",
        "#!define WITH_SHARED_ADDRESS",
        "ip_free_bind=yes",
        "listen=udp:192.0.2.10:5060 advertise 198.51.100.7:5060",
        "listen=tcp:192.0.2.10:5060 advertise 198.51.100.7:5060",
        'listen=udp:127.0.0.1:7000 name "inner"',
    ]
    assert "ip_free_bind" not in written(planned())


# --- what is wrong ---


@pytest.mark.parametrize(
    ("table", "keys", "said"),
    [
        ("edge", "worker_port = 1", "edge.worker_port: unknown key; did you mean edge.worker_ports?"),
        ("edge", 'worker_ports = "16001-16999"', "edge.worker_ports: '16001-16999' begins with an odd port"),
        ("edge", "invites_per_s = 0", "edge.invites_per_s: 0 is out of range; accepted: INVITEs a second"),
        ("edge", 'start = "yes"', "edge.start: 'yes' is not true or false"),
        ("trunk", 'shared_address = "a.example"', "trunk.shared_address: 'a.example' is not an IP address; "
         "accepted: an IP address that moves between hosts"),
        ("trunk", 'listen = "0.0.0.0:5060"\nshared_address = "192.0.2.10"',
         "trunk.listen: '0.0.0.0:5060' is every address, where trunk.shared_address is given; accepted: the"),
        ("trunk", 'listen = "192.0.2.10:5060"\nshared_address = "192.0.2.10"',
         "trunk.shared_address: '192.0.2.10' is that of trunk.listen, or of another kind; accepted: another"),
        ("trunk", 'listen = "[::1]:5060"\nshared_address = "192.0.2.10"',
         "trunk.shared_address: '192.0.2.10' is that of trunk.listen, or of another kind"),
        ("trunk", 'listen_ipv6 = "0.0.0.0:5060"', "trunk.listen_ipv6: '0.0.0.0:5060' is not an address"),
        ("trunk", 'public_address_ipv6 = "192.0.2.1"', "trunk.public_address_ipv6: '192.0.2.1' is not an"),
        ("trunk", 'listen = "[::]:5060"\nlisten_ipv6 = "[::1]:5060"',
         "trunk.listen: '[::]:5060' is IPv6 already; accepted: an IPv4 address, beside trunk.listen_ipv6"),
        ("trunk", 'listen = "[::]:5060"\npublic_address = "sip.example.net"',
         "trunk.public_address: 'sip.example.net' is no IPv6 address, where trunk.listen is one; accepted:"),
        ("trunk", 'listen_ipv6 = "[::]:10010"',
         "trunk.rtp_ports: '10000-10999' holds the port of trunk.listen_ipv6"),
        ("edge", 'tls_listen = "localhost:5061"', "edge.tls_listen: 'localhost:5061' is not an IP address"),
        ("edge", 'certificate = "e.pem"', "edge.certificate: given without edge.private_key; accepted: both"),
        ("edge", 'private_key = "e.key"', "edge.private_key: given without edge.certificate; accepted: both"),
        ("edge", 'tls_listen = "0.0.0.0:5061"', "edge.tls_listen: means TLS, and there is no certificate"),
        ("trunk", 'srtp = "required"',
         "trunk.srtp: 'required' sends its keys in clear with trunk.transport udp; accepted: trunk.transpo"),
        ("operators", 'srtp = "required"',
         "operators.srtp: 'required' sends its keys in clear: not every phone is called by TLS"),
        ("trunk", 'transport = "tls"', "trunk.transport: means TLS, and there is no certificate"),
        ("operators", 'extensions = ["sip:201@pbx.example.net;transport=tls"]',
         "operators.extensions: asks for TLS, which nothing here speaks; accepted: edge.tls_listen"),
        ("operators", 'outbound_proxy = "sip:pbx.example.net;transport=tls;lr"',
         "operators.outbound_proxy: asks for TLS"),
        ("edge", 'worker_ports = "5060-5099"',
         "edge.worker_ports: '5060-5099' holds the port of trunk.listen"),
        ("edge", 'worker_ports = "10998-11999"', "edge.worker_ports: '10998-11999' overlaps trunk.rtp_ports"),
        ("edge", f'worker_ports = "9000-9999"\ntls_listen = "0.0.0.0:9500"\n{CERTIFIED}',
         "edge.worker_ports: '9000-9999' holds the port of edge.tls_listen"),
        ("edge", f'tls_listen = "0.0.0.0:5060"\n{CERTIFIED}',
         "edge.tls_listen: '0.0.0.0:5060' has the port of trunk.listen"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line(table: str, keys: str, said: str) -> None:
    assert wrong(with_keys(table, keys, SMALL)).startswith(said)


# --- the texts ---


def test_the_edge_says_where_the_network_reaches_it() -> None:
    behind_nat = with_keys("trunk", 'public_address = "203.0.113.7"', CONTRACT)
    text = written(planned(behind_nat))
    assert re.findall(r"@[A-Z_]+@", text) == []  # everything is filled in
    assert 'listen=udp:0.0.0.0:5060 advertise 203.0.113.7:5060 name "outer"' in text
    assert "Contact: <sip:agent@203.0.113.7:5060>" in text
    assert "Path: <sip:203.0.113.7:5060;lr>" in text
    assert "advertise 198.51.100.7:5060" in written(planned())
    v6 = replace(planned(), listen=HostPort("::", 5060), advertised="2001:db8::7")
    assert "listen=udp:[::]:5060 advertise [2001:db8::7]:5060" in written(v6)
    assert '"mask_ip", "[2001:db8::7]"' in written(v6)


def test_both_versions_of_ip_have_the_same_sockets() -> None:
    """A registrar of IPv6 alone is given that address; media are heard over both, or over IPv6 alone."""
    keys = 'listen_ipv6 = "[::]:5062"\nregistrar = "sip:trunk.example.net"'
    config = read(
        with_keys("trunk", keys, with_keys("edge", f'tls_listen = "0.0.0.0:5061"\n{CERTIFIED}', CONTRACT))
    )
    found = replace(ADDRESSES, own_ipv6="2001:db8::7")
    made = plan(config, WHEEL, found)
    lines = written(made).splitlines()
    for line in (
        "listen=udp:[::]:5062 advertise [2001:db8::7]:5062",
        "listen=tcp:[::]:5062 advertise [2001:db8::7]:5062",
        "listen=tls:[::]:5061 advertise [2001:db8::7]:5061", 'alias="[2001:db8::7]:5062"', "dns_try_ipv6=yes",
    ):  # fmt: skip
        assert line in lines
    assert '$var(host) == "198.51.100.7" || $var(host) == "2001:db8::7"' in written(made)
    assert made.contact == "sip:agent@198.51.100.7:5060"
    assert (
        plan(config, WHEEL, replace(found, registrar=(TRUNK[1],))).contact == "sip:agent@[2001:db8::7]:5062"
    )
    assert media_addresses(config, found) == ("198.51.100.7", "", True, ("2001:db8::7", ""))
    alone = read(with_keys("trunk", 'listen = "[::]:5060"\npublic_address = "2001:db8::9"', CONTRACT))
    only = media_addresses(alone, replace(ADDRESSES, own="2001:db8::7"))
    assert only == ("127.0.0.1", "", False, ("2001:db8::7", "2001:db8::9"))


def test_tls_takes_the_place_of_tcp_on_the_trunk_or_has_a_port_of_its_own() -> None:
    """Old TLS is not spoken, and whom we call is checked."""
    assert "WITH_TLS\n" not in written(planned()).partition("loadmodule")[0]
    trunk = written(planned(with_keys("trunk", 'transport = "tls"', CONTRACT)))
    assert "listen=tls:0.0.0.0:5060" in trunk and "listen=tcp:" not in trunk
    assert '$du = "sip:trunk.example.net;transport=tls"' in trunk
    phones = written(planned(with_keys("edge", 'tls_listen = "0.0.0.0:5061"', CONTRACT)))
    assert "listen=tls:0.0.0.0:5061 advertise 198.51.100.7:5061" in phones
    assert "listen=tcp:0.0.0.0:5060" in phones
    assert '$du = "sip:trunk.example.net"' in phones
    made = replace(
        planned(), tls=Tls(HostPort("0.0.0.0", 5061), Path("/e.pem"), Path("/e.key"), Path("/ca.pem"))
    )
    server, client = tls_settings(made).split("\n\n")
    assert "method = TLSv1.2+" in server and "method = TLSv1.2+" in client
    assert "verify_certificate = yes" in client and "ca_list = /ca.pem" in client


def test_workers_get_no_calls_before_they_are_ready() -> None:
    ports = with_keys("edge", f'worker_ports = "16000-16099"\n{CERTIFIED}', CONTRACT)
    made = planned(with_keys("capacity", "calls = 6", ports))
    assert worker_list(made) == "".join(f"1 sip:127.0.0.1:{16002 + index} 4\n" for index in range(3))
    assert worker_list(made, active={1}).splitlines()[1] == "1 sip:127.0.0.1:16003 0"


def test_the_trunk_may_call_and_the_pbx_may_go_on() -> None:
    """Anybody, where it says so: Kamailio takes `/0` for one address."""
    assert source_list(planned()) == "1 192.0.2.0 24\n1 2001:db8:: 32\n2 198.51.100.9 32\n"
    anybody = replace(ADDRESSES, trunk=(ipaddress.ip_network("0.0.0.0/0"),), operators=())
    assert source_list(replace(planned(), addresses=anybody)) == "1 0.0.0.0 1\n1 128.0.0.0 1\n"


@pytest.mark.parametrize(("rate", "gap_ms", "each", "burst_ms"), [(12, 83, 2, 415), (10, 100, 256, 900)])
def test_a_worker_is_given_no_more_than_it_survives(rate: int, gap_ms: int, each: int, burst_ms: int) -> None:
    """As many at once as half a second may bring, or as it has slots for; then one after the other."""
    text = written(replace(planned(), invites_per_s=rate, calls_per_worker=each))
    assert f"$sht(turn=>$du) = $var(due) + {gap_ms};" in text
    assert f"$var(due) - $var(now) <= {burst_ms})" in text


# --- the files: who may read them, and when they go ---

live = pytest.mark.live  # it copies the tables that Kamailio comes with


@pytest.fixture
def where(tmp_path: Path) -> Iterator[EdgePlaces]:
    before = os.umask(0)
    where = places(tmp_path / "edge")
    write_files(planned(), where)
    yield where
    os.umask(before)


def modes(folder: Path) -> set[int]:
    return {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()}


@live
def test_what_names_callers_or_holds_a_secret_is_for_nobody_else(where: EdgePlaces) -> None:
    assert modes(where.directory) == {0o600}
    assert where.directory.stat().st_mode & 0o777 == where.dialogs.stat().st_mode & 0o777 == 0o700
    (where.dialogs / "dialog").write_text("a call\n")
    (where.dialogs / "dialog").chmod(0o644)
    write_files(planned(), where)
    assert (where.dialogs / "dialog").read_text() == "a call\n" and modes(where.dialogs) == {0o600}


@live
def test_dialogs_go_that_have_lain_there_too_long(where: EdgePlaces, tmp_path: Path) -> None:
    """As receipts lose their persons: what has been written since stays."""
    old, unread = where.dialogs / "dialog", where.dialogs / "dialog.unread"
    assert not has_dialogs(where)  # a line that names the columns is none
    with old.open("a") as rows:
        rows.write("a call\n")
    assert has_dialogs(where)
    unread.write_text("a call\n")
    for path in (old, unread):
        os.utime(path, (1000, 1000))
    assert forget_dialogs(where.directory, before=1000) == ()
    assert {*forget_dialogs(where.directory, before=1001)} == {old, unread}
    assert sorted(path.name for path in where.dialogs.iterdir()) == ["dialog_vars", "version"]
    assert forget_dialogs(tmp_path / "nowhere", before=1001) == ()


@live
def test_an_edge_that_begins_anew_has_neither_dialogs_nor_the_same_secret(
    where: EdgePlaces, tmp_path: Path
) -> None:
    tokens, mask = kept_tokens(where), (where.directory / "mask.key").read_text()
    begin_anew(where)
    assert not [*where.dialogs.iterdir()]
    write_files(planned(), where)
    assert sorted(path.name for path in where.dialogs.iterdir()) == sorted(TABLES)
    assert kept_tokens(where) != tokens and (where.directory / "mask.key").read_text() == mask
    (where.directory / "hop.key").write_text("nonsense")
    others = kept_tokens(where)
    assert others != tokens and kept_tokens(where) == others
    begin_anew(places(tmp_path / "nowhere"))


@live
def test_why_it_does_not_start_is_said_of_this_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dialogs that it cannot read are put aside, once; what others of its processes say is not told."""
    said: list[object] = []
    edge = EdgeProcess(scene.plan(), tmp_path / "edge", said.append)
    where = places(edge.directory)
    write_files(edge.plan, where)
    (where.dialogs / "dialog").write_text("columns\na call\n")
    for why, aside in (("ERROR: one", False), ("ERROR: db_text", True), ("ERROR: db_text", True)):
        assert (edge.pid, edge.sentinel, edge.lines) == (-1, -1, 0)
        words = f": >made; echo ' 1('$$') 1st' >&2; echo ' 0('$$') {why}' >&2"
        monkeypatch.setattr("sipagent.edge.process.command", lambda _, words=words: ["sh", "-c", words])
        with pytest.raises(EdgeError, match=rf"kamailio does not start: 0\(\d+\) {why}"):
            edge.start()
        assert (where.dialogs / "dialog.unread").exists() is aside and has_dialogs(where) is not aside
    assert modes(edge.directory) == {0o600}, "whatever it makes"
    assert len(said) == 5 and ["put aside" in str(one) for one in said].count(True) == 1


@live
def test_a_socket_whose_path_would_be_too_long_goes_elsewhere_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(str(places(tmp_path / ("d" * 100) / "edge").rpc)) < 108
    assert places(WHERE.directory).rpc == WHERE.rpc
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    where, other = (places(tmp_path / (letter * 100) / "edge") for letter in "de")
    assert where.rpc.parent != where.directory and where.rpc != other.rpc
    write_files(planned(), where)
    where.rpc.touch()
    where.rpc.with_name("answer-that-nobody-read").touch()
    remove_socket(where)
    assert not [*elsewhere.iterdir()]
    remove_socket(where)  # somebody has tidied up before
    assert where.configuration.exists()


@pytest.mark.parametrize("wrong", ["", "0" * 31, "0" * 33, "g" * 32, "A" * 32, "0" * 31 + "\n"])
def test_what_is_no_secret_is_none(wrong: str) -> None:
    with pytest.raises(ValueError, match="not 32 hexadecimal digits"):
        HopTokens(wrong)


def test_each_way_has_a_secret_of_its_own() -> None:
    """And none is in a representation, which a log could tell."""
    tokens = new_tokens()
    assert tokens != new_tokens() and {len(tokens.to_edge), len(tokens.from_edge)} == {32}
    assert tokens.to_edge != tokens.from_edge != HopTokens("0" * 32).from_edge
    said = repr(Secrets("mask0", tokens))
    assert tokens.secret not in repr(tokens) and "mask0" not in said and tokens.secret not in said


# --- the grammar of a call, and what is counted in a description ---

HEAD = "\nv=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\n"  # as the edge has it, behind an end of line


@pytest.mark.parametrize(
    ("line", "audio"),
    [
        ("m=audio 40000 RTP/AVP 8", True),
        ("M=Audio 40000 RTP/AVP 8", True),
        ("m= audio  40000 RTP/AVP 8", True),
        ("m=\taudio\t1 RTP/AVP 8", True),
        ("m=audio 00001 RTP/AVP 8", True),  # and whatever else begins with a 0
        ("m=audio 00 RTP/AVP 8", True),
        ("m=audio 0/2 RTP/AVP 8", False),
        ("m=audio 0 RTP/AVP 8", False),
        ("m=audio  0 RTP/AVP 8", False),
        ("m=audio/40000 RTP/AVP 8", True),
        ("m=video 40000 RTP/AVP 31", False),
        ("m=application 40000 TCP/BFCP *", False),
    ],
)
def test_lines_of_media_are_counted(line: str, audio: bool) -> None:
    assert written_as.MOST_AUDIO == AUDIO_LINES
    for end in ("\r\n", "\n", "\r"):
        for count in (0, 1, 2, 4, 8):
            body = HEAD + "a=m=audio 1\r\ni=m=audio 1\r\na=x m=audio 1\r\n" + f"{line}{end}a=x{end}" * count
            for limit in range(1, 10):
                assert Pattern(written_as.media_lines(limit)).matches(body) is (count >= limit)
                assert Pattern(written_as.audio_lines(limit)).matches(body) is (audio and count >= limit)


MOST = ", ".join(["timer"] * written_as.MOST_VALUES)
NUMBERS = (0, 1, 999_999_999, 1 << 30, 2_099_999_999, 2_146_999_999, (1 << 31) - 1)
LARGER = (1 << 31, 2147483650, 2200000000, 3000000000, 21474836470)


@pytest.mark.parametrize(
    ("pattern", "takes", "refuses"),
    [
        (
            written_as.CSEQ,
            [f"{zeros}{n}" for n in NUMBERS for zeros in ("", "000")],
            ["", "-1", "x", *LARGER],
        ),
        (
            written_as.REQUEST_URI,
            [f"sip:a@h:{port}" for port in (1, 5060, 9999, 10_000, 59_999, 60_000, 65_535)],
            [f"sip:a@h:{port}" for port in ("", 65536, 66000, 70000, 100000)],
        ),
        (
            written_as.REQUEST_URI,  # `ttl` is of a multicast
            [f"sip:a@h;{name}=1" for name in ("t", "tt", "ttls", "xttl", "transport", "tl", "lr", "T", "Tt")],
            [f"sip:a@h;{name}=1" for name in ("ttl", "TTL", "tTl")],
        ),
        (
            written_as.LIST,
            ["", "timer", "timer, timer", MOST],
            [MOST + ", timer", ",", "a,", ",a", "a,,b", "a, ,b"],
        ),
        (
            written_as.BAD_HEAD,  # a NUL stands as `\\0` by then, and a backslash as two
            ["a: b\n", "a: b\rc\r\n", "a\r", r"\0", r"a: \\\0" + "\r\n", "a: \x01\r\n", "a: \x7f\r\n"],
            ["a: b\r\n", "a: b\r\n c\r\n", r"a: \\0" + "\r\n", r"a: \\\\0" + "\r\n", "a: é\tb\r\n"],
        ),
        *(
            (pattern, [], ["", " ", "*", "\r\n", "<>", "sip:", "<sip:>", "<sip:a@>", "é"])
            for pattern in (
                written_as.REQUEST_URI, written_as.FROM_TO, written_as.CONTACT, written_as.RECORD_ROUTE,
                written_as.CONTENT_TYPE, written_as.SECONDS,
            )
        ),
    ],
)  # fmt: skip
def test_what_a_header_may_be(pattern: str, takes: list[str], refuses: list[object]) -> None:
    assert [one for one in takes if not Pattern(pattern).matches(one)] == []
    assert [one for one in refuses if Pattern(pattern).matches(str(one))] == []


def test_a_pattern_is_written_as_kamailio_reads_it() -> None:
    assert written_as.quoted('a\\"\r\n\t\x01z') == 'a\\\\\\"\\x0d\\x0a\\x09\\x01z'


# --- its ports, held against other programs of this machine; and a Kamailio that is not ours ---

OUT_OF_HERE = "192.0.2.10"  # RFC 5737: no address of this machine


def test_a_port_that_is_held_is_nobody_elses() -> None:
    """Also at an address that this machine has at times: Kamailio holds it in the same way (ip_free_bind)."""
    ours = HostPort("127.0.0.1", free_ports(1))
    held, again = HeldPorts([ours], OUT_OF_HERE), HeldPorts([HostPort(OUT_OF_HERE, ours.port)])
    held.take()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        with pytest.raises(OSError, match="in use") as taken:
            other.bind(ours)
        assert taken.value.errno == errno.EADDRINUSE
        with pytest.raises(OSError, match=r"192\.0\.2\.10:\d+: Cannot assign"):
            again.take()
        held.release()
        other.bind(ours)
    assert is_local("127.0.0.1") and not is_local(OUT_OF_HERE) and not is_local("2001:db8::1")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_once_kamailio_is_up_nobody_else_shares_its_port(host: str) -> None:
    """It alone hears what comes; what shared the port before is told of."""
    address = HostPort(host, free_ports(1))
    family = socket.AF_INET6 if ":" in host else socket.AF_INET

    def sharer() -> socket.socket:
        one = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
        return one

    for sharers, said in (
        (0, "gives Kamailio's datagrams to somebody else"),
        (2, "has bound it, too"),
        (1, ""),
    ):
        with ExitStack() as stack:
            held = HeldPorts([address])
            held.take()
            stack.callback(held.release)
            there = [sharer() for _ in range(sharers)]
            with pytest.raises(OSError, match=said) if said else nullcontext():
                held.shut()
            if not said:
                assert there[0].recv(9) == b"\r\n\r\n"
                with pytest.raises(OSError, match="in use"):
                    sharer()


def test_an_edge_that_is_not_ours_is_told_everything_and_never_ends() -> None:
    edge = EdgeElsewhere()
    care = EdgeCare(edge)
    care.start(0.0)
    care.worker_ready(1)
    care.drain()
    care.change("plan")
    care.tick(1.0)
    care.worker_died(1, crashed=True)
    care.tick(1.0)
    assert care.up and care.due is None
    assert not select.select([edge.sentinel], [], [], 0)[0]
    edge.stop()


# --- what is told of the last message before a crash, and of a rejected call ---


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("call=1f method=INVITE status=<null> body=217 media=1 size=608", ("INVITE", "1", "1000")),
        ("call= method=INVITE within=1 body=900 media=12 size=1500", ("re-INVITE", "9", "1500")),
        ("call= method=INVITE status=200 body=300 media=2 size=901", ("2xx of INVITE", "2", "1000")),
        ("call= method=ACK status=<null> within=1 body=0 media=0 size=1", ("ACK", "none", "500")),
        ("call= method=x{y} status=<null> body=<null> media=<null> size=-4", ("other", "none", "0")),
        ("", ("other", "none", "0")),
    ],
)
def test_the_last_message_is_told_by_its_shape_without_its_content(
    text: str, shape: tuple[str, str, str]
) -> None:
    assert given(text).shape == shape
    said = given("call=1f method=ACK within=1 body=<null> media=0 size=400 source=[2001:db8::1]:5060")
    assert str(said) == "ACK, no body, 400 bytes, from [2001:db8::1]:5060"


def told(call_id: bytes, from_: bytes, **fields: str) -> str:
    said = {
        "why": "full", "status": "503", "s": "1764025200", "us": "250000", "call_id": call_id.hex(),
        "called": b"sip:1@h".hex(), "from": from_.hex(), "asserted": "<null>", "privacy": "", **fields,
    }  # fmt: skip
    return " ".join(f"{name}={value}" for name, value in said.items())


def test_a_rejected_call_is_read() -> None:
    assert rejected(told(b"abc@h", b'"A" <sip:1@h>;tag=2', privacy=b"id".hex())) == RejectedCall(
        at=datetime(2025, 11, 24, 23, 0, 0, 250_000, UTC),
        why="full",
        status=503,
        call_id="abc@h",
        called="sip:1@h",
        from_='"A" <sip:1@h>;tag=2',
        asserted="",
        privacy="id",
    )


@of_any(st.binary(), st.binary())
def test_whatever_a_caller_sends_comes_back_as_it_was(call_id: bytes, from_: bytes) -> None:
    read = rejected(told(call_id, from_))
    assert read.call_id == call_id.decode(errors="replace")
    assert read.from_ == from_.decode(errors="replace")


@of_any(st.text())
def test_anything_else_is_an_error_that_says_so(text: str) -> None:
    for said in (text, f"why=full {text}", f"{told(b'a', b'b')} why={text}x"):
        with pytest.raises(ValueError, match="not what the edge says"):
            rejected(said)
