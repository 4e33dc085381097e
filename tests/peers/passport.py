"""Who signs calls: a carrier with a certificate and a key, and the Identity headers that it makes."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from datetime import timedelta
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from tests.peers.tls import LONG, certified
from tests.peers.tsa import Holder

PLACE = "cert.example.net/2026/a.pem"
CALLER, CALLED = "33612345678", "33323063006"


class Signer:
    """A carrier, and the root that its certificate leads to."""

    def __init__(self, place: str = PLACE, valid: timedelta = LONG) -> None:
        self.place, self.root, self.holder = place, Holder("root"), Holder("carrier")
        leaf = x509.BasicConstraints(ca=False, path_length=None)
        self.certificate = self.root.certify(self.holder, leaf, valid).public_bytes(Encoding.PEM)

    def at(self, place: str) -> Signer:
        """The same one, whose certificate lies elsewhere."""
        other = copy(self)
        other.place = place
        return other

    def root_certificate(self) -> bytes:
        own = self.root.certify(self.root, x509.BasicConstraints(ca=True, path_length=None), LONG)
        return own.public_bytes(Encoding.PEM)

    def lays(self, folder: Path, place: str = "") -> Path:
        """The certificate at its place in a folder, or at another one."""
        path = folder / (place or self.place)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.certificate)
        return path

    def identity(self, ppt: str = "shaken", more: str = "", **claims: Any) -> str:
        """The value of the header: of a call from CALLER to CALLED, A, of now, or as `claims` have it."""
        head = {"alg": "ES256", "ppt": ppt, "typ": "passport", "x5u": f"https://{self.place}"}
        usual = {
            "attest": "A", "dest": {"tn": [CALLED]}, "iat": int(time.time()), "orig": {"tn": CALLER},
            "origid": "123e4567-e89b-12d3-a456-426655440000",
        }  # fmt: skip
        signed = ".".join(map(_coded, (head, usual | claims)))
        r, s = decode_dss_signature(self.holder.key.sign(signed.encode(), ECDSA(SHA256())))
        signature = _base64(r.to_bytes(32, "big") + s.to_bytes(32, "big"))
        return f'{signed}.{signature};info=<https://{self.place}>;alg=ES256;ppt="{ppt}"{more}'


def _coded(value: object) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def published(folder: Path) -> Iterator[tuple[str, Path]]:
    """HOST:PORT of an https server of what lies in `folder`/HOST:PORT, and the root of its certificate."""
    files = certified(folder, "server", "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *asked: _Quiet(*asked, directory=str(folder / name))
    ) as running:
        running.socket = context.wrap_socket(running.socket, server_side=True)
        name = f"localhost:{running.server_port}"
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield name, files.ca
        running.shutdown()
        thread.join()
