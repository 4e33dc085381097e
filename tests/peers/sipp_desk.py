"""SIPp as an operator's desk phone: whatever a phone, or a PBX in front of it, may answer to an INVITE."""

from __future__ import annotations

from pathlib import Path

from sipagent.softphone.loop import PATIENCE_S
from sipagent.softphone.rtp import encode, tone
from tests.peers.process import Child, PeerError, free_ports

ELSEWHERE = 'SIP;cause=200;text="Call completed elsewhere"'  # RFC 3326 section 2
PCMA = 8
TONE_S = 30

_KEPT = ("Via", "CSeq", "To")  # of the INVITE, for all answers to it
_OF_REQUEST = "[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]"
_CONTACT = "Contact: <sip:[service]@[local_ip]:[local_port]>\n"
_SDP = """Content-Type: application/sdp
Content-Length: [len]

v=0
o=- 1 1 IN IP4 [local_ip]
s=-
c=IN IP4 [media_ip]
t=0 0
m=audio [rtpstream_audio_port] RTP/AVP 8
a=rtpmap:8 PCMA/8000
"""
_EMPTY = "Content-Length: 0\n\n"


class Behaviour:
    """A scenario for one INVITE, step by step, in the order of the calls."""

    def __init__(self) -> None:
        self.contact = _CONTACT
        kept = "".join(
            f'<ereg regexp=".+" search_in="hdr" header="{name}:" check_it="true" assign_to="{name}"/>'
            for name in _KEPT
        )
        self.steps = [f'<recv request="INVITE"><action>{kept}</action></recv>\n']

    def says(self, status: int, reason: str, fork: str = "a", *, sdp: bool = False) -> Behaviour:
        """A response to the INVITE, in the dialog of a branch."""
        kept = "\n".join(f"{name}:[${name}]" for name in _KEPT)
        headers = f"{kept};tag={fork}[call_number]\n[last_From:]\n[last_Call-ID:]"
        return self._send(f"SIP/2.0 {status} {reason}\n{headers}\n{self.contact}{_SDP if sdp else _EMPTY}")

    def moved(self, uri: str) -> Behaviour:
        """302 to another phone."""
        contact, self.contact = self.contact, f"Contact: <{uri}>\n"
        self.refuses(302, "Moved Temporarily")
        self.contact = contact
        return self

    def rings(self) -> Behaviour:
        return self.says(180, "Ringing")

    def refuses(self, status: int, reason: str) -> Behaviour:
        """A final answer, acknowledged."""
        return self.says(status, reason).acked()

    def answers(self, fork: str = "a") -> Behaviour:
        return self.says(200, "OK", fork, sdp=True)

    def acked(self) -> Behaviour:
        return self._step('<recv request="ACK"/>\n')

    def sends(self, sound: Path) -> Behaviour:
        """A-law over and over, from here to the end."""
        return self._step(f'<nop><action><exec rtp_stream="{sound},-1,{PCMA},PCMA/8000"/></action></nop>\n')

    def pauses(self, ms: int) -> Behaviour:
        return self._step(f'<pause milliseconds="{ms}"/>\n')

    def cancelled(self, reason: str = "") -> Behaviour:
        """The CANCEL is waited for; `reason`: what its Reason header must say, empty: that it has none."""
        return self._awaits("CANCEL", "Reason:", reason)._confirms().says(487, "Request Terminated").acked()

    def hung_up(self, fork: str = "a") -> Behaviour:
        """The BYE is waited for, in the dialog of a branch."""
        return self._awaits("BYE", "To:", f";tag={fork}[0-9]")._confirms()

    def xml(self) -> str:
        steps = "".join(self.steps)
        unread = '<Reference variables="found"/>\n' if '"found"' in steps else ""  # SIPp wants all be read
        head = '<?xml version="1.0" encoding="ISO-8859-1" ?>\n<scenario name="desk">\n'
        return f"{head}{steps}{unread}</scenario>\n"

    def _awaits(self, method: str, header: str, wanted: str) -> Behaviour:
        expected = wanted.replace('"', "&quot;").replace("(", "\\(")
        check = 'check_it="true"' if wanted else 'check_it_inverse="true"'
        return self._step(
            f'<recv request="{method}" timeout="30000"><action><ereg regexp="{expected or ".+"}"'
            f' search_in="hdr" header="{header}" {check} assign_to="found"/></action></recv>\n'
        )

    def _confirms(self) -> Behaviour:
        return self._send(f"SIP/2.0 200 OK\n{_OF_REQUEST}\n{_EMPTY}")

    def _send(self, text: str) -> Behaviour:
        return self._step(f"<send><![CDATA[\n{text}\n]]></send>\n")

    def _step(self, step: str) -> Behaviour:
        self.steps.append(step)
        return self


class Desk:
    """SIPp at `sip:USER@127.0.0.1:PORT`, for one call; it ends with that."""

    def __init__(self, directory: Path, user: str, behaviour: Behaviour) -> None:
        self.user, self.port, media = user, free_ports(1), free_ports(8)
        self.errors = directory / f"desk-{user}.log"
        path = directory / f"desk-{user}.xml"
        path.write_text(behaviour.xml())
        self.child = Child(
            [
                "/usr/bin/sipp", "-sf", path, "-s", user, "-i", "127.0.0.1", "-mi", "127.0.0.1",
                "-p", str(self.port), "-min_rtp_port", str(media), "-max_rtp_port", str(media + 7),
                "-m", "1", "-nostdin", "-trace_err", "-error_file", self.errors,
            ],
            directory,
        )  # fmt: skip
        self._wait_port()

    def _wait_port(self, timeout: float = PATIENCE_S) -> None:
        """Until it listens; an OPTIONS would be a call to it."""
        wanted = f":{self.port:04X} "
        for _ in range(int(timeout / 0.05)):
            if wanted in Path("/proc/net/udp").read_text():
                return
            with self.child.said:
                self.child.said.wait(0.05)
        raise PeerError(f"{self.user}: SIPp does not listen:\n{self.child.tail(25)}")

    @property
    def uri(self) -> str:
        return f"sip:{self.user}@127.0.0.1:{self.port}"

    def wait(self, timeout: float = 30) -> None:
        """Until its call went as it should; raises PeerError with SIPp's own words."""
        code = self.child.wait(timeout)
        if code:
            said = self.errors.read_text(errors="replace") if self.errors.exists() else ""
            raise PeerError(f"{self.user}: SIPp ended with {code}:\n{said[-3000:]}\n{self.child.tail(25)}")

    def stop(self) -> None:
        self.child.stop()


def write_tone(path: Path, hz: float) -> Path:
    """A tone as SIPp sends it."""
    path.write_bytes(encode(tone(hz, TONE_S), PCMA))
    return path
