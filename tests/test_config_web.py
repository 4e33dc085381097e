"""[web]: where the page is, what protects it, and what has to be there together."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from sipagent.config.load import HostPort, load
from sipagent.config.tables import ROLES, WebTable, is_here
from tests.configured import CONTRACT, SMALL, read, with_keys, wrong

SHIPPED = Path(__file__).parent.parent / "config.toml"
TLS = "certificate = 'keys/web.pem'\nprivate_key = 'keys/web.key'\n"
OIDC = "oidc_issuer = 'https://login.example.net/realms/a'\noidc_client_id = 'sipagent'\n"
OIDC += "oidc_client_secret_file = 'secrets/oidc'\noidc_roles = { dpo = 'officer' }\n"


def web(keys: str) -> str:
    return with_keys("web", keys)


def origin(keys: str) -> str:
    return read(web(keys)).web.origin


def test_without_the_table_there_is_no_page() -> None:
    none = read(SMALL).web
    assert none.listen is None and none.origin == "" and none.session_minutes == 30


def test_the_shipped_page_is_for_this_machine() -> None:
    shipped = load(SHIPPED).web
    assert shipped.listen == HostPort("127.0.0.1", 8443) and shipped.origin == "http://127.0.0.1:8443"
    assert shipped.model_copy(update={"listen": None}) == read(SMALL).web


def test_the_table_of_the_contract() -> None:
    there = read(CONTRACT).web
    assert there.origin == "https://ecoute.example.net" and there.oidc_issuer is None
    assert there.private_key == Path("/etc/sipagent/keys/web.key")
    assert there.oidc_roles == {"ecoute-listeners": "listener", "ecoute-dpo": "officer"}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("listen = '127.0.0.1:8443'", "http://127.0.0.1:8443"),
        ("listen = '[::1]:8443'", "http://[::1]:8443"),
        (f"listen = '192.0.2.1:443'\n{TLS}", "https://192.0.2.1"),
        (
            f"listen = '0.0.0.0:443'\n{TLS}url = 'https://Ecoute.Example.net:443/'",
            "https://ecoute.example.net",
        ),
        (f"listen = '0.0.0.0:443'\n{TLS}url = 'https://e.example.net:8443'", "https://e.example.net:8443"),
        ("listen = '127.0.0.1:80'\nurl = 'http://localhost:080'", "http://localhost"),
        (f"listen = '127.0.0.1:80'\n{TLS}url = 'https://[2001:DB8::0:1]'", "https://[2001:db8::1]"),
        (
            "listen = '0.0.0.0:80'\ntrusted_proxies = ['192.0.2.0/24']\nurl = 'https://e.example.net'",
            "https://e.example.net",
        ),
    ],
)
def test_what_people_type(keys: str, said: str) -> None:
    assert origin(keys) == said


LOOPBACK = "listen = '127.0.0.1:8443'\n"
FACING = "listen = '0.0.0.0:8443'\n"


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ("listen = 8443", "web.listen: 8443 is not "),
        (
            FACING + "url = 'https://e.example.net'",
            "web.listen: '0.0.0.0:8443' faces a network, and there is no certificate; accepted: 127.0.0.1,",
        ),
        (FACING + TLS, "web.url: missing, and '0.0.0.0:8443' is not what people type; accepted: a URL such"),
        (
            "listen = '192.0.2.1:80'\ntrusted_proxies = ['192.0.2.7']",
            "web.url: missing, and '192.0.2.1:80' is not what people type",
        ),
        (
            LOOPBACK + "url = 'https://e.example.net'",
            "web.url: is https, which nothing here speaks; accepted",
        ),
        (
            LOOPBACK + "trusted_proxies = ['127.0.0.1']\nurl = 'http://e.example.net'",
            "web.url: 'http://e.example.net' would have passwords sent in clear; accepted: an https URL",
        ),
        (
            LOOPBACK + TLS + "url = 'http://localhost'",
            "web.url: 'http://localhost' would have passwords sent",
        ),
        (LOOPBACK + "url = 'https://e.example.net/page'", "web.url: 'https://e.example.net/page' has a path"),
        (
            LOOPBACK + "url = 'ftp://e.example.net'",
            "web.url: 'ftp://e.example.net' is not an https or http URL",
        ),
        ("certificate = 'a.pem'", "web.certificate: given without web.private_key; accepted: both, or none"),
        ("private_key = 'a.key'", "web.private_key: given without web.certificate; accepted: both, or none"),
        ("trusted_proxies = ['proxy']", "web.trusted_proxies[0]: 'proxy' is not a network; accepted: a list"),
        ("session_minutes = 0", "web.session_minutes: 0 is out of range; accepted: minutes without a click"),
        (
            "oidc_roles = { dpo = 'auditor' }",
            "web.oidc_roles.dpo: 'auditor' is not one of the choices; accepted",
        ),
        (
            "oidc_client_id = 'a'",
            "web.oidc_client_id: given without web.oidc_issuer; accepted: oidc_issuer, ",
        ),
        (
            OIDC.replace("oidc_client_secret_file = 'secrets/oidc'\n", ""),
            "web.oidc_issuer: given without web.oidc_client_secret_file",
        ),
        (
            OIDC.replace("dpo = 'officer'", ""),
            "web.oidc_roles: empty, so that nobody could log in; accepted: a",
        ),
        (
            OIDC.replace("https", "http"),
            "web.oidc_issuer: 'http://login.example.net/realms/a' is not an https",
        ),
        ("sessions = 3", "web.sessions: unknown key; did you mean web.session_minutes?"),
    ],
)
def test_a_wrong_table_is_one_line(keys: str, line: str) -> None:
    said = wrong(web(keys))
    assert said.startswith(line)
    assert said.isprintable() and len(said) < 400


def test_calls_by_udp_may_have_the_port() -> None:
    text = web("listen = '127.0.0.1:5060'")
    assert read(text).web.listen == HostPort("127.0.0.1", 5060)
    said = wrong(with_keys("trunk", "transport = 'tcp'", text))
    assert said.startswith("web.listen: '127.0.0.1:5060' has the port of trunk.listen")


def test_figures_and_phones_have_ports_of_their_own() -> None:
    figures = with_keys("metrics", "listen = '127.0.0.1:9464'\n[web]\nlisten = '127.0.0.1:09464'")
    assert wrong(figures).startswith("web.listen: '127.0.0.1:9464' has the port of metrics.listen")
    edge = with_keys("edge", "tls_listen = '127.0.0.1:5061'\ncertificate = 'a.pem'\nprivate_key = 'a.key'")
    said = wrong(edge + "\n[web]\nlisten = '127.0.0.1:5061'")
    assert said.startswith("web.listen: '127.0.0.1:5061' has the port of edge.tls_listen")


def test_logins_by_others() -> None:
    there = read(web(LOOPBACK + OIDC + "trusted_proxies = ['127.0.0.1', '192.0.2.0/24']")).web
    assert there.oidc_issuer == "https://login.example.net/realms/a" and there.oidc_roles == {
        "dpo": "officer"
    }
    assert there.trusted_proxies == (ip_network("127.0.0.1/32"), ip_network("192.0.2.0/24"))
    assert read(web(OIDC.replace("https://login.example.net", "http://127.0.0.1:9"))).web.oidc_issuer


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:8443", True),
        ("http://127.1.2.3/a?b", True),
        ("http://[::1]:80", True),
        ("https://localhost", True),
        ("http://a.localhost:1", True),
        ("http://localhost.example.net", False),
        ("http://192.0.2.1:127", False),
    ],
)
def test_what_is_this_machine(url: str, here: bool) -> None:
    assert is_here(url) == here


def test_the_roles() -> None:
    assert ROLES == ("listener", "supervisor", "officer", "administrator")
    assert all(role in str(WebTable.model_fields["oidc_roles"].description) for role in ROLES)
