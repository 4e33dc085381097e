"""SIP over TLS from plain sockets: whoever calls the edge so, and whom it calls."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sipagent.softphone.sip import Message
from tests.peers.tsa import Holder

LONG = timedelta(days=90)


@dataclass(frozen=True)
class Certified:
    """A certificate with its key, and the root that it comes from; files."""

    certificate: Path
    key: Path
    ca: Path


def certified(directory: Path, name: str, *hosts: str, valid: timedelta = LONG) -> Certified:
    """Make a root, and a certificate of it for some addresses or names; expired where `valid` is negative."""
    root, holder = Holder(f"{name} root"), Holder(name)
    files = Certified(*(directory / f"{name}.{part}" for part in ("pem", "key", "ca")))
    own = root.certify(root, x509.BasicConstraints(ca=True, path_length=None), LONG)
    address = x509.SubjectAlternativeName(list(map(_alternative, hosts)))
    files.ca.write_bytes(own.public_bytes(Encoding.PEM))
    files.certificate.write_bytes(root.certify(holder, address, valid).public_bytes(Encoding.PEM))
    key = holder.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files.key.write_bytes(key)
    return files


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


class TlsPeer:
    """One connection; messages out and in."""

    def __init__(self, wire: ssl.SSLSocket) -> None:
        self._wire, self._buffer = wire, b""
        wire.settimeout(20)

    @classmethod
    def to(cls, address: tuple[str, int], ca: Path, ip: str, version: ssl.TLSVersion) -> TlsPeer:
        """Connect from `ip` by one version of TLS. Raises ssl.SSLError."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(ca)
        context.set_ciphers("DEFAULT@SECLEVEL=0")  # which alone lets us speak what is out of date
        context.minimum_version = context.maximum_version = version
        wire = socket.create_connection(address, 20, source_address=(ip, 0))
        return cls(context.wrap_socket(wire, server_hostname=address[0]))

    @property
    def address(self) -> tuple[str, int]:
        ip, port = self._wire.getsockname()
        return ip, port

    @property
    def version(self) -> str | None:
        return self._wire.version()

    def send(self, message: Message) -> None:
        self._wire.sendall(message.pack())

    def next(self) -> Message:
        """The next message; raises TimeoutError."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            self._more()
        head = Message.parse(self._buffer[: end + 4])
        whole = end + 4 + int(head.header("Content-Length") or 0)
        while len(self._buffer) < whole:
            self._more()
        packet, self._buffer = self._buffer[:whole], self._buffer[whole:]
        return Message.parse(packet)

    def final(self) -> Message:
        """The next final response."""
        while (message := self.next()).status is None or (message.status or 0) < 200:
            continue
        return message

    def request(self, method: str) -> Message:
        """The next request of a method."""
        while (message := self.next()).status is not None or message.method != method:
            continue
        return message

    def _more(self) -> None:
        if not (part := self._wire.recv(65536)):
            raise ConnectionError("the other side has closed")
        self._buffer += part

    def close(self) -> None:
        self._wire.close()


class TlsListener:
    """Somebody who can be called over TLS."""

    def __init__(self, ip: str, files: Certified) -> None:
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(files.certificate, files.key)
        self._socket = socket.create_server((ip, 0))
        self._socket.settimeout(20)
        self.address: tuple[str, int] = self._socket.getsockname()

    def accept(self) -> TlsPeer:
        """The next connection; raises ssl.SSLError where the other side does not trust us."""
        wire, _ = self._socket.accept()
        return TlsPeer(self._context.wrap_socket(wire, server_side=True))

    def close(self) -> None:
        self._socket.close()
