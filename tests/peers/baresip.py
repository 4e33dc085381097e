"""baresip as an operator's desk phone, without a sound card, driven through its control socket."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import soundfile

from media.frame import Samples
from sipagent.config.types import HostPort
from sipagent.softphone.loop import PATIENCE_S
from tests.peers.process import Child, PeerError, free_ports, wait_answer

_CONFIG = """sip_listen              {at}
net_interface           {host}
net_af                  {family}
call_local_timeout      120
call_max_calls          4
audio_player            aubridge,ear
audio_source            aufile,{sound}
audio_alert             aubridge,bell
ausrc_srate             8000
auplay_srate            8000
ausrc_channels          1
auplay_channels         1
audio_buffer            20-160
rtp_ports               {rtp}-{rtp_end}
rtp_stats               no
module_path             /usr/lib/baresip/modules
module                  g711.so
module                  aufile.so
module                  aubridge.so
module                  sndfile.so
module                  srtp.so
snd_path                .
module_app              account.so
module_app              menu.so
module_app              ctrl_tcp.so
ctrl_tcp_listen         127.0.0.1:{control}
"""


class Baresip:
    """A phone at `sip:USER@HOST:PORT` that says `sound` (a WAV) and answers when told to."""

    def __init__(
        self,
        directory: Path,
        sound: Path,
        user: str = "202",
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        auto_answer: bool = False,
        encrypts: str = "",
        certificate: Path | None = None,
    ) -> None:
        """`encrypts`: its `mediaenc`, such as `srtp-mand`; `certificate`, with its key: by TLS."""
        self.user, self.host, self.port = user, host, port or free_ports(2)
        self.at = str(HostPort(host, self.port))
        self.encrypts = encrypts
        self._tls = ";transport=tls" if certificate else ""
        self.directory = directory / f"baresip-{user}-{self.port}"
        self.directory.mkdir()
        control, rtp = free_ports(1), free_ports(20)
        (self.directory / "config").write_text(
            _CONFIG.format(
                at=self.at, host=host, family="ipv6" if ":" in host else "ipv4", control=control, rtp=rtp,
                rtp_end=rtp + 18, sound=sound,
            )
        )  # fmt: skip
        mode = "auto" if auto_answer else "manual"
        if certificate:
            with (self.directory / "config").open("a") as config:
                config.write(f"sip_certificate {certificate}\n")
        (self.directory / "accounts").write_text(
            f"<sip:{user}@{self.at}{self._tls}>;regint=0;answermode={mode};audio_codecs=PCMA"
            f"{';mediaenc=' * bool(encrypts)}{encrypts}\n"
        )
        (self.directory / "contacts").write_text("")
        self.child = Child(["/usr/bin/baresip", "-f", self.directory], self.directory)
        self.events: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        wait_answer((host, self.port))
        self._socket = socket.create_connection(("127.0.0.1", control), timeout=60)
        self._socket.settimeout(None)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.command("reginfo")  # it tells no event before it has accepted the connection

    @property
    def uri(self) -> str:
        port = self.port + bool(self._tls)  # which it listens on beside the other
        return f"sip:{self.user}@{HostPort(self.host, port)}{self._tls}"

    @property
    def heard(self) -> list[Samples]:
        """What came to it, by calls in their order: each a file that its module sndfile wrote."""
        files = sorted(self.directory.glob("dump-*-dec.wav"))
        return [soundfile.read(file, dtype="int16")[0] for file in files]

    def _read(self) -> None:
        """Netstrings of JSON, one an event or an answer."""
        buffer = b""
        while part := self._socket.recv(65536):
            buffer += part
            while (colon := buffer.find(b":")) > 0 and len(buffer) > (
                size := int(buffer[:colon])
            ) + colon + 1:
                said = json.loads(buffer[colon + 1 : colon + 1 + size])
                buffer = buffer[colon + size + 2 :]
                with self._changed:
                    self.events.append(said)
                    self._changed.notify_all()

    def command(self, name: str, parameters: str = "", timeout: float = PATIENCE_S) -> dict[str, Any]:
        """A command of its menu (`accept`, `hangup`, `hold`, `resume`); its answer."""
        token = f"t{len(self.events)}-{name}"
        words = json.dumps({"command": name, "params": parameters, "token": token}).encode()
        self._socket.sendall(b"%d:%s," % (len(words), words))
        return self._wait(lambda e: e.get("token") == token, timeout, f"answer to {name}")

    def wait_event(self, kind: str, timeout: float = 30, **fields: str) -> dict[str, Any]:
        """The first event of this type, such as CALL_INCOMING, CALL_ESTABLISHED, CALL_CLOSED."""

        def wanted(event: dict[str, Any]) -> bool:
            return event.get("type") == kind and all(event.get(k) == v for k, v in fields.items())

        return self._wait(wanted, timeout, f"{kind} {fields or ''}")

    def _wait(self, wanted: Callable[[dict[str, Any]], bool], timeout: float, what: str) -> dict[str, Any]:
        def found() -> dict[str, Any] | None:
            return next(filter(wanted, self.events), None)

        with self._changed:
            self._changed.wait_for(lambda: found() is not None, timeout)
            if one := found():
                return one
        raise PeerError(f"baresip: no {what} within {timeout:g} s; it said:\n{self.child.tail()}")

    def stop(self) -> None:
        self.child.stop()
        self._reader.join(5)
        self._socket.close()
