"""The page behind nginx and Caddy as its document prints them: https outside, news at once, and who asks."""

from __future__ import annotations

import itertools
import json
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest

from tests.office import CONFIG
from tests.peers.process import Child, free_ports
from tests.peers.tls import certified
from tests.test_docs import examples, text_of

pytestmark = pytest.mark.live

PAGE = "docs/en/in-front.md"
HOST = "ecoute.example.net"
ELSEWHERE = "127.0.0.2"  # from where somebody asks the proxy
LIES = {
    "X-Forwarded-For": "203.0.113.9",
    "X-Forwarded-Proto": "http",
    "Forwarded": "for=203.0.113.9;proto=http",
}
PATIENCE_S = 30.0


def printed(kind: str) -> str:
    (block,) = re.findall(rf"^```{kind}\n(.*?)^```", text_of(PAGE), re.DOTALL | re.MULTILINE)
    return str(block)


class Service:
    """A folder with a page that a proxy stands before, as the page's own example has it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.outside = free_ports(2), free_ports(2)
        self.files = certified(folder, "ecoute", HOST)
        (web,) = (block for block in examples(PAGE) if "trusted_proxies" in block)
        (folder / "config.toml").write_text(CONFIG + self.moved(web), encoding="utf-8")

    def moved(self, text: str) -> str:
        files: dict[str, Path | str] = {
            "/etc/ssl/ecoute.pem": self.files.certificate,
            "/etc/ssl/private/ecoute.key": self.files.key,
            "127.0.0.1:8443": f"127.0.0.1:{self.port}",
        }
        for said, here in files.items():
            text = text.replace(said, str(here))
        return text

    def run(self, *words: str) -> str:
        return subprocess.run(self.command(*words), capture_output=True, text=True, check=True).stdout

    def command(self, *words: str) -> list[str]:
        program = [sys.executable, "-P", "-m", "sipagent", "--config", str(self.folder / "config.toml")]
        return [*program, *words]

    @contextmanager
    def ask(self, path: str, **headers: str) -> Iterator[HTTPResponse]:
        """By https, from elsewhere, with what a liar would say of that."""
        trusted = ssl.create_default_context(cafile=str(self.files.ca))
        wire = socket.create_connection(
            ("127.0.0.1", self.outside), PATIENCE_S, source_address=(ELSEWHERE, 0)
        )
        connection = HTTPConnection(HOST)
        connection.sock = trusted.wrap_socket(wire, server_hostname=HOST)
        connection.request("GET", path, headers=LIES | headers)
        yield connection.getresponse()
        connection.close()


def nginx(service: Service) -> list[str]:
    inner = service.moved(printed("nginx")).replace("listen 443", f"listen 127.0.0.1:{service.outside}")
    folders = "".join(
        f"{name}_temp_path {service.folder}/{name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (service.folder / "nginx.conf").write_text(
        f"daemon off;\npid {service.folder}/pid;\nerror_log stderr notice;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{folders}{inner}}}\n"
    )
    return ["nginx", "-e", "stderr", "-c", f"{service.folder}/nginx.conf"]


def caddy(service: Service) -> list[str]:
    inner = service.moved(printed("caddy")).replace(f"{HOST} {{", f"https://{HOST}:{service.outside} {{")
    (service.folder / "Caddyfile").write_text(f"{{\nadmin off\nauto_https disable_redirects\n}}\n{inner}")
    return ["caddy", "run", "--adapter", "caddyfile", "--config", f"{service.folder}/Caddyfile"]


STARTED = {"nginx": "start worker process", "caddy": "serving initial configuration"}


@pytest.fixture(params=[nginx, caddy], ids=lambda kind: kind.__name__)
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    service, started = Service(tmp_path), list[Child]()
    try:
        started.append(Child(service.command("web"), tmp_path))
        started[0].wait_line(lambda line: service_url(service) in line, PATIENCE_S, "address")
        home = {"XDG_DATA_HOME": str(tmp_path / "data"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
        started.append(Child(request.param(service), tmp_path, env=home))
        started[1].wait_line(lambda line: STARTED[request.param.__name__] in line, PATIENCE_S, "start")
        yield service
    finally:
        for child in reversed(started):
            child.stop()


def service_url(service: Service) -> str:
    return f"https://{HOST}"


def test_outside_it_is_https_and_nothing_else(service: Service) -> None:
    """Whatever the browser says of it: cookies go by https alone, and it is told to remember that."""
    with service.ask("/login") as answer:
        assert answer.status == 200
        assert "max-age=" in answer.headers["Strict-Transport-Security"]
        (cookie,) = answer.headers.get_all("Set-Cookie") or []
        assert cookie.startswith("__Host-") and {"Secure", "HttpOnly"} <= set(cookie.split("; "))


def test_who_asks_is_whom_the_proxy_sees(service: Service) -> None:
    with service.ask("/api/v1/recordings", Authorization="Bearer nobodys") as answer:
        assert answer.status == 401
    (refused,) = json.loads(service.run("accesses", "--json"))
    assert (refused["action"], refused["outcome"]) == ("login", "refused")
    assert refused["detail"].endswith(f"from {ELSEWHERE}")


def test_news_comes_at_once(service: Service) -> None:
    token = service.run("token", "add", "dashboard", "--role", "supervisor").strip()
    with service.ask("/api/v1/events", Authorization=f"Bearer {token}") as answer:
        assert (answer.status, answer.headers.get_content_type()) == (200, "text/event-stream")
        assert b"event: now\n" in itertools.islice(answer, 5)
        assert not answer.isclosed()


def test_who_says_nothing_to_it_from_one_address_keeps_nobody_else_out(service: Service) -> None:
    """600 of them, half with the beginning of a head; the page itself knows the proxy's address alone."""
    with ExitStack() as stack:
        for said in (b"", b"\x16\x03\x01") * 300:
            place = ("127.0.0.1", service.outside)
            one = socket.create_connection(place, PATIENCE_S, source_address=("127.0.0.3", 0))
            stack.enter_context(one).sendall(said)
        with service.ask("/login") as answer:
            assert answer.status == 200
