"""The interface behind a real server: what comes slowly, what is too long, and what the server's log says."""

import logging
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import numpy as np
import pytest
import uvicorn
from httpx2 import Client, ReadError, RemoteProtocolError
from starlette.requests import Request

from retention.purge import purge
from sipagent.config.load import load
from sipagent.web import serving
from sipagent.web.app import create_app
from sipagent.web.rights import Role
from sipagent.web.site import Person, Site
from tests.office import RATE, Office

API = "/api/v1"
ROLES = frozenset((Role.LISTENER, Role.SUPERVISOR, Role.OFFICER))


@pytest.fixture
def site(web_office: Office) -> Iterator[Site]:
    def identify(request: Request) -> Person:
        return Person(name="claire", roles=ROLES, via="api")

    site = Site(config=load(web_office.folder / "config.toml"), identify=identify)
    yield site
    site.store.close()


@pytest.fixture
def port(site: Site) -> Iterator[int]:
    """A server on loopback, until the end."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(create_app(site), log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    yield listening.getsockname()[1]
    server.should_exit = True
    thread.join()


@pytest.fixture
def client(port: int) -> Iterator[Client]:
    with Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
        yield client


def faults(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Tracebacks, and what the server calls an exception."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.exc_info or "Exception" in record.getMessage()
    ]


def test_a_body_that_does_not_come_is_not_waited_for(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "WITHIN_S", 0.2)
    head = f"POST {API}/persons HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", port), 10) as peer:
        peer.sendall(f"{head}Content-Length: 50\r\n\r\n{{".encode())
        assert peer.recv(1 << 16).startswith(b"HTTP/1.1 408 ")


def test_a_body_without_an_end_is_cut_off(client: Client) -> None:
    def endless() -> Iterator[bytes]:
        yield b'{"caller": "'
        for _ in range(64):
            yield b"0" * (1 << 16)

    headers = {"content-type": "application/json"}
    try:
        answer = client.post(f"{API}/persons", content=endless(), headers=headers)
    except (ReadError, RemoteProtocolError):
        return  # it was cut off while it was still being sent
    assert answer.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE


def test_sound_that_is_removed_is_cut_off_and_no_log_has_a_traceback(
    client: Client, site: Site, web_office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    noise = np.random.default_rng(1).integers(-9000, 9000, (600 * RATE, 2)).astype(np.int16)
    row = web_office.call(sound=noise, duration_s=600.0)
    told = client.post(f"{API}/recordings/{row.id}/uses", json={"purpose": "quality"}).json()
    got = 0
    with pytest.raises(RemoteProtocolError), client.stream("GET", told["sound"]) as answer:
        for number, piece in enumerate(answer.iter_raw()):
            if number == 0:
                later = datetime.now(UTC) + timedelta(days=400)
                assert purge(site.archive, later, site.terms).removed
            got += len(piece)
    assert 0 < got < told["bytes"]
    assert client.get(told["sound"]).status_code == HTTPStatus.GONE
    assert faults(caplog) == []


def test_no_number_in_what_the_server_logs(
    client: Client, web_office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    web_office.call(caller="+33612345678")
    for path in ("recordings/search", "calls/search", "persons"):
        assert client.post(f"{API}/{path}", json={"caller": "0612345678"}).json()
    assert not [record for record in caplog.records if "12345678" in record.getMessage()]


def test_many_ask_at_once(client: Client, port: int, web_office: Office) -> None:
    """More than there are threads; each is answered."""
    row = web_office.call()
    found: list[int] = []

    def ask() -> None:
        with Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as one:
            for path in ("recordings", f"recordings/{row.id}", "stats"):
                found.append(one.get(f"{API}/{path}").status_code)
            answer = one.post(f"{API}/recordings/{row.id}/uses", json={"purpose": "quality"})
            found.append(one.get(answer.json()["sound"]).status_code)

    threads = [threading.Thread(target=ask) for _ in range(60)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 240 and set(found) <= {HTTPStatus.OK, HTTPStatus.ACCEPTED}
    assert time.monotonic() - begun < 60
