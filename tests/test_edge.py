"""The edge without Kamailio: what a configuration makes of it, and the lines that it tells."""

import ipaddress
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipagent.config.layout import EngineLimits
from sipagent.config.load import ConfigError, HostPort
from sipagent.edge.configuration import (
    EdgePlaces,
    Secrets,
    configuration,
    source_list,
    tls_settings,
    worker_list,
)
from sipagent.edge.files import places, remove_socket, write_files
from sipagent.edge.plan import Addresses, HopTokens, Plan, Tls, needs_edge, plan
from sipagent.edge.rpc import RejectedCall, rejected
from tests.configured import CONTRACT, SMALL, read, with_keys, wrong

TRUNK = (ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::/32"))
ADDRESSES = Addresses("198.51.100.7", TRUNK, (ipaddress.ip_network("198.51.100.9"),))
WHERE = EdgePlaces(Path("/var/lib/sipagent/edge"), Path("/var/lib/sipagent/edge/rpc.sock"))
TOKENS = HopTokens("0123456789abcdef" * 2)
WHEEL = EngineLimits(legs=4)


def engine(legs: int) -> EngineLimits:
    """One that has all else."""
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
    made = planned(with_keys("edge", 'worker_ports = "20000-20009"', CONTRACT))
    assert (made.inner.port, made.account.port) == (20000, 20001)
    assert [made.worker(index).port for index in range(3)] == [20002, 20003, 20004]
    assert made.proxy == "sip:127.0.0.1:20000;lr"


def test_too_few_ports_are_told_with_how_many_there_must_be() -> None:
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
        ("edge", 'tls_listen = "localhost:5061"', "edge.tls_listen: 'localhost:5061' is not an IP address"),
        ("edge", 'certificate = "e.pem"', "edge.certificate: given without edge.private_key; accepted: both"),
        ("edge", 'private_key = "e.key"', "edge.private_key: given without edge.certificate; accepted: both"),
        ("edge", 'tls_listen = "0.0.0.0:5061"', "edge.tls_listen: means TLS, and there is no certificate"),
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


def test_everything_is_filled_in() -> None:
    assert re.findall(r"@[A-Z_]+@", written(planned())) == []


def test_the_edge_says_where_the_network_reaches_it() -> None:
    behind_nat = with_keys("trunk", 'public_address = "203.0.113.7"', CONTRACT)
    text = written(planned(behind_nat))
    assert 'listen=udp:0.0.0.0:5060 advertise 203.0.113.7:5060 name "outer"' in text
    assert "Contact: <sip:agent@203.0.113.7:5060>" in text
    assert "Path: <sip:203.0.113.7:5060;lr>" in text
    assert "advertise 198.51.100.7:5060" in written(planned())
    v6 = replace(planned(), listen=HostPort("::", 5060), advertised="2001:db8::7")
    assert "listen=udp:[::]:5060 advertise [2001:db8::7]:5060" in written(v6)
    assert '"mask_ip", "[2001:db8::7]"' in written(v6)


def test_tls_takes_the_place_of_tcp_on_the_trunk_or_has_a_port_of_its_own() -> None:
    assert "WITH_TLS\n" not in written(planned()).partition("loadmodule")[0]
    trunk = written(planned(with_keys("trunk", 'transport = "tls"', CONTRACT)))
    assert "listen=tls:0.0.0.0:5060" in trunk and "listen=tcp:" not in trunk
    assert '$du = "sip:trunk.example.net;transport=tls"' in trunk
    phones = written(planned(with_keys("edge", 'tls_listen = "0.0.0.0:5061"', CONTRACT)))
    assert "listen=tls:0.0.0.0:5061 advertise 198.51.100.7:5061" in phones
    assert "listen=tcp:0.0.0.0:5060" in phones
    assert '$du = "sip:trunk.example.net"' in phones


def test_old_tls_is_not_spoken_and_whom_we_call_is_checked() -> None:
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


def test_anybody_may_call_where_it_says_so() -> None:
    """Kamailio takes `/0` for one address."""
    anybody = replace(ADDRESSES, trunk=(ipaddress.ip_network("0.0.0.0/0"),), operators=())
    assert source_list(replace(planned(), addresses=anybody)) == "1 0.0.0.0 1\n1 128.0.0.0 1\n"


def test_the_trunk_may_call_and_the_pbx_may_go_on() -> None:
    assert source_list(planned()) == "1 192.0.2.0 24\n1 2001:db8:: 32\n2 198.51.100.9 32\n"


@pytest.mark.parametrize(("rate", "gap_ms", "each", "burst_ms"), [(12, 83, 2, 415), (10, 100, 256, 900)])
def test_a_worker_is_given_no_more_than_it_survives(rate: int, gap_ms: int, each: int, burst_ms: int) -> None:
    """As many at once as half a second may bring, or as it has slots for; then one after the other."""
    text = written(replace(planned(), invites_per_s=rate, calls_per_worker=each))
    assert f"$sht(turn=>$du) = $var(due) + {gap_ms};" in text
    assert f"$var(due) - $var(now) <= {burst_ms})" in text


def test_secrets_are_in_no_representation() -> None:
    assert "mask0" not in repr(Secrets("mask0", TOKENS))
    assert TOKENS.secret not in repr(Secrets("mask0", TOKENS))


def test_a_socket_whose_path_would_be_too_long_goes_elsewhere(tmp_path: Path) -> None:
    short = places(Path("/var/lib/sipagent/edge"))
    assert short.rpc == Path("/var/lib/sipagent/edge/rpc.sock")
    long = places(tmp_path / ("d" * 100) / "edge")
    assert len(str(long.rpc)) < 108 and long.rpc.parent != long.directory
    assert long.rpc != places(tmp_path / ("e" * 100) / "edge").rpc


def test_nothing_of_a_socket_that_went_elsewhere_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(elsewhere))
    where = places(tmp_path / ("d" * 100) / "edge")
    write_files(planned(), where)
    where.rpc.touch()
    where.rpc.with_name("answer-that-nobody-read").touch()
    remove_socket(where)
    assert not [*elsewhere.iterdir()]
    remove_socket(where)  # somebody has tidied up before
    assert where.configuration.exists()


# --- what is told of a rejected call ---


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


@given(st.binary(), st.binary())
def test_whatever_a_caller_sends_comes_back_as_it_was(call_id: bytes, from_: bytes) -> None:
    read = rejected(told(call_id, from_))
    assert read.call_id == call_id.decode(errors="replace")
    assert read.from_ == from_.decode(errors="replace")


@given(st.text())
def test_anything_else_is_an_error_that_says_so(text: str) -> None:
    for said in (text, f"why=full {text}", f"{told(b'a', b'b')} why={text}x"):
        with pytest.raises(ValueError, match="not what the edge says"):
            rejected(said)
