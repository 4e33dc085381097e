"""linphonec as a caller, with files in place of a sound card, driven by what is typed."""

from __future__ import annotations

from pathlib import Path

import soundfile

from media.frame import Samples
from sipagent.softphone.loop import PATIENCE_S
from tests.peers.process import Child, free_ports, wait_answer

_CONFIG = """[sip]
contact=<sip:{user}@127.0.0.1>
sip_port={port}
sip_tcp_port=0
sip_tls_port=0
media_encryption=srtp
media_encryption_mandatory=1
[rtp]
audio_rtp_port={rtp}
[sound]
hold_music={sound}
"""
# Each prompt a line of its own: what is typed before the one that is asked for would be lost.
_LINES = 'exec linphonec "$@" > >(exec stdbuf -o0 tr ">" "\\n")'
_NAMED = {"dial": "call", "hold": "pause", "hangup": "terminate"}


class Linphone:
    """A phone that takes nothing but SRTP, and says `sound` (a WAV)."""

    def __init__(self, directory: Path, sound: Path, user: str) -> None:
        self.directory = directory / "linphone"
        (self.directory / ".local/share/linphone").mkdir(parents=True)  # else it opens no port
        port, rtp = free_ports(1), free_ports(2)
        config = self.directory / "linphonerc"
        config.write_text(_CONFIG.format(user=user, port=port, rtp=rtp, sound=sound))
        command: list[str | Path] = ["bash", "-c", _LINES, "linphonec", "-c", config]
        self.child = Child(command, self.directory, env={"HOME": str(self.directory)}, talks=True)
        self._commands = 0
        wait_answer(("127.0.0.1", port))
        self.child.wait_line(self._asks, PATIENCE_S, "prompt")
        self.command("soundcard", "use files")
        self.command("record", str(self.directory / "dump-1-dec.wav"))

    @property
    def heard(self) -> list[Samples]:
        """What came to it, by files."""
        files = sorted(self.directory.glob("dump-*-dec.wav"))
        return [soundfile.read(file, dtype="int16")[0] for file in files]

    def command(self, name: str, parameters: str = "") -> None:
        """A command by its name here or at baresip (`dial`, `hold`, `resume`, `hangup`)."""
        self._commands += 1
        self.child.say(f"{_NAMED.get(name, name)} {parameters}")
        self.child.wait_line(self._asks, PATIENCE_S, f"prompt after {name}")

    def _asks(self, _: str) -> bool:
        return sum(line.endswith("linphonec") for _, line in self.child.lines) > self._commands

    def close(self) -> None:
        self.child.stop()
