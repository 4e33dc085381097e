"""A time stamping authority on loopback (RFC 3161 section 3.4); it answers with `openssl ts -reply`."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NAME = "Test authority 1"
LONG = timedelta(days=3650)
_CONFIG = """
[tsa]
default_tsa = it
[it]
serial = {folder}/serial
signer_cert = {folder}/signer.pem
signer_key = {folder}/signer.key
certs = {folder}/middle.pem
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = {digests}
accuracy = secs:1
tsa_name = yes
"""


@dataclass(frozen=True)
class Answer:
    """What goes back over HTTP."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(
        default_factory=lambda: {"Content-Type": "application/timestamp-reply"}
    )
    length: int | None = None  # that is announced; by default the body's
    before_end: Callable[[], object] | None = None  # between the body's first half and its second


class Authority:
    """Keys, certificates and answers in `folder`; `url` and `ca` are what a client is told."""

    def __init__(
        self, folder: Path, *, valid: timedelta = timedelta(days=3650), purpose: bool = True
    ) -> None:
        folder.mkdir()
        self.folder, self.ca = folder, folder / "ca.pem"
        self.queries: list[bytes] = []
        self.headers: Mapping[str, str] = {}  # of the last one
        self.answer: Callable[[bytes], Answer] = lambda query: Answer(self.reply(query))
        self.port = 0
        self._one_at_a_time = threading.Lock()  # the serial is a file
        (folder / "serial").write_text("01\n")
        self._certificates(valid)
        self.accept("sha256")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/tsa"

    def accept(self, digests: str) -> None:
        """Which hashes it stamps; it rejects the others."""
        (self.folder / "tsa.cnf").write_text(_CONFIG.format(folder=self.folder, digests=digests))

    def reply(self, query: bytes) -> bytes:
        """The response to a query, DER."""
        with self._one_at_a_time:
            (self.folder / "query").write_bytes(query)
            self._openssl("ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query", "-out", "reply")
            return (self.folder / "reply").read_bytes()

    def query_text(self, query: bytes) -> str:
        """A query in the words of openssl."""
        (self.folder / "shown").write_bytes(query)
        return self._openssl("ts", "-query", "-in", "shown", "-text")

    def verify(self, response: Path, digest: str) -> str:
        """Whether openssl accepts a response for a hash, in its words; raises CalledProcessError if not."""
        return self._openssl(
            "ts", "-verify", "-digest", digest, "-in", str(response), "-CAfile", str(self.ca)
        )

    def _openssl(self, *words: str) -> str:
        done = subprocess.run(
            ["openssl", *words], cwd=self.folder, capture_output=True, text=True, check=True
        )
        return done.stdout

    def _certificates(self, valid: timedelta) -> None:
        """A root, what it signs, and what that signs: the signer, expired where `valid` is negative."""
        root, middle, signer = (Holder(name) for name in ("Test root", "Test middle", NAME))
        issuer = x509.BasicConstraints(ca=True, path_length=None)
        stamper = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING])
        made = {
            "ca": root.certify(root, issuer, LONG),
            "middle": root.certify(middle, issuer, LONG),
            "signer": middle.certify(signer, stamper, valid),
        }
        for name, certificate in made.items():
            (self.folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
        key = signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self.folder / "signer.key").write_bytes(key)


class Holder:
    """Who has a name and a key."""

    def __init__(self, name: str) -> None:
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.key = ec.generate_private_key(ec.SECP256R1())

    def certify(self, other: Holder, extension: x509.ExtensionType, valid: timedelta) -> x509.Certificate:
        """The other's certificate, signed by this one."""
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(other.name)
            .issuer_name(self.name)
            .public_key(other.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=30))
            .not_valid_after(now + valid)
            .add_extension(extension, critical=True)
            .sign(self.key, hashes.SHA256())
        )


class _Post(BaseHTTPRequestHandler):
    authority: Authority

    def do_POST(self) -> None:
        query = self.rfile.read(int(self.headers["Content-Length"]))
        self.authority.queries.append(query)
        self.authority.headers = dict(self.headers)
        answer = self.authority.answer(query)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body) if answer.length is None else answer.length))
        self.end_headers()
        half = len(answer.body) // 2
        self.wfile.write(answer.body[:half])
        if answer.before_end is not None:
            answer.before_end()
        self.wfile.write(answer.body[half:])

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving(authority: Authority) -> Iterator[Authority]:
    """Answer at `authority.url` until the end of the block."""
    kind = type("Post", (_Post,), {"authority": authority})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    authority.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, name="tsa")
    thread.start()
    try:
        yield authority
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
