"""`sipagent web` as a user runs it: a process of its own, with certificates of a test's making; and an
application that is served on loopback, for a browser."""

import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from tests.office import CONFIG
from tests.peers.agent import SEARCH_PATH
from tests.peers.process import Child, free_ports

READY = "The page is at"


def certificate(folder: Path, name: str = "web") -> tuple[Path, Path]:
    """One of its own signing for 127.0.0.1, and its key."""
    pem, key = folder / f"{name}.pem", folder / f"{name}.key"
    asked = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    named = ["-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    made = [*asked, *named, "-keyout", str(key), "-out", str(pem)]
    subprocess.run(made, check=True, capture_output=True)
    return pem, key


class Served:
    """The page of a folder, on a port of loopback."""

    def __init__(self, folder: Path, *, tls: bool = False, config: str = CONFIG) -> None:
        self.folder, self.port = folder, free_ports(1)
        self.scheme = "https" if tls else "http"
        keys = ""
        if tls:
            pem, key = certificate(folder)
            keys = f'certificate = "{pem}"\nprivate_key = "{key}"\n'
        web = f'[web]\nlisten = "127.0.0.1:{self.port}"\n{keys}'
        self.file = folder / "config.toml"
        self.file.write_text(config + web, encoding="utf-8")

    @property
    def origin(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def context(self) -> ssl.SSLContext:
        """What believes its certificate."""
        return ssl.create_default_context(cafile=self.folder / "web.pem")

    def command(self, *words: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            "sipagent",
            "--config",
            str(self.file),
            *(words or ("web", "--log-json")),
        ]

    @contextmanager
    def running(self, *words: str, **environment: str) -> Iterator[Child]:
        """Until the end, by SIGTERM at the latest; it answers from the beginning."""
        env = {"PYTHONPATH": SEARCH_PATH, "LANGUAGE": "C", **environment}
        child = Child(self.command(*words), self.folder, env=env)
        try:
            child.wait_line(lambda line: READY in line, 30, "page")
            yield child
        finally:
            child.stop()


@contextmanager
def serving(app: ASGIApp, port: int = 0) -> Iterator[str]:
    """Its address, `http://127.0.0.1:43210`, until the end; `port`: an unused one, or this."""
    with socket.create_server(("127.0.0.1", port)) as place:
        settings = uvicorn.Config(
            app,
            log_config=None,  # it would close every log handler there is, and pytest's streams with one
            log_level="warning",
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(settings)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{place.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
