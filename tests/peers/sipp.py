"""SIPp as the caller: scenarios with real RTP events from Debian's captures."""

from __future__ import annotations

from pathlib import Path
from textwrap import indent

from tests.peers.process import Child, PeerError, free_ports

PCAPS = Path("/usr/share/sip-tester")

_INVITE = """<send retrans="500"><![CDATA[
INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: "sipp" <sip:{number}@[local_ip]:[local_port]>;tag=[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:sipp@[local_ip]:[local_port]>
Max-Forwards: 70
Content-Type: application/sdp
Content-Length: [len]

v=0
o=- 1 1 IN IP[local_ip_type] [local_ip]
s=-
c=IN IP[media_ip_type] [media_ip]
t=0 0
m=audio [auto_media_port] RTP/AVP 8 101
a=rtpmap:8 PCMA/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
]]></send>
<recv response="100" optional="true"/>
<recv response="180" optional="true"/>
<recv response="183" optional="true"/>
"""
_REQUEST = """<send{retrans}><![CDATA[
{method} {target} SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch{back}]
{routes}From: "sipp" <sip:{number}@[local_ip]:[local_port]>;tag=[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: {cseq} {method}
Contact: <sip:sipp@[local_ip]:[local_port]>
Max-Forwards: 70
Content-Length: 0

]]></send>
"""
_OURS = "sip:[service]@[remote_ip]:[remote_port]"


def _answer(status: int) -> str:
    """The answer to the last request."""
    copied = "[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n[last_CSeq:]"
    contact = "Contact: <sip:sipp@[local_ip]:[local_port]>"
    head = f"SIP/2.0 {status} Answer\n{copied}\n{contact}\nContent-Length: 0"
    return f"<send><![CDATA[\n{head}\n\n]]></send>\n"


class Script:
    """A scenario, step by step, in the order of the calls."""

    def __init__(self, number: str = "+33699000001") -> None:
        self.number = number
        self.steps = [_INVITE.format(number=number)]
        self._cseq = 1

    def answered(self) -> Script:
        """Wait for the 200 and acknowledge it."""
        self.steps.append('<recv response="200" rrs="true"/>\n' + self._request("ACK", 1, "[next_url]"))
        return self

    def rejected(self, status: int) -> Script:
        self.steps.append(f'<recv response="{status}"/>\n' + self._request("ACK", 1, _OURS, back="-1"))
        return self

    def pause(self, ms: int) -> Script:
        self.steps.append(f'<pause milliseconds="{ms}"/>\n')
        return self

    def press(self, key: str) -> Script:
        """A key as RFC 4733 events (180 ms), from Debian's capture."""
        name = {"#": "pound", "*": "star"}.get(key, key)
        return self._exec(PCAPS / f"dtmf_2833_{name}.pcap").pause(400)

    def speak(self) -> Script:
        """Eight seconds of speech in A-law, in the background."""
        return self._exec(PCAPS / "g711a.pcap")

    def hang_up(self) -> Script:
        self.steps.append(self._request("BYE", self._next(), "[next_url]") + '<recv response="200"/>\n')
        return self

    def referred(self, status: int = 202, timeout_ms: int = 20_000) -> Script:
        """Wait for a REFER and answer it."""
        self.steps.append(f'<recv request="REFER" timeout="{timeout_ms}"/>\n{_answer(status)}')
        return self

    def notifies(self, fragment: str, state: str = "active;expires=60") -> Script:
        """NOTIFY what has become of it, such as `180 Ringing`."""
        headers = f"Event: refer\nSubscription-State: {state}\nContent-Type: message/sipfrag;version=2.0\n"
        notify = self._request("NOTIFY", self._next(), "[next_url]")
        body = f"Content-Length: [len]\n\nSIP/2.0 {fragment}\n]]>"
        self.steps.append(
            notify.replace("Content-Length: 0\n\n]]>", headers + body) + '<recv response="200"/>\n'
        )
        return self

    def hung_up(self, timeout_ms: int = 20_000) -> Script:
        """Wait for the other side's BYE."""
        self.steps.append(f'<recv request="BYE" timeout="{timeout_ms}"/>\n{_answer(200)}')
        return self

    def xml(self) -> str:
        return (
            '<?xml version="1.0" encoding="ISO-8859-1" ?>\n'
            f'<scenario name="caller">\n{indent("".join(self.steps), "")}</scenario>\n'
        )

    def _next(self) -> int:
        self._cseq += 1
        return self._cseq

    def _exec(self, pcap: Path) -> Script:
        self.steps.append(f'<nop><action><exec play_pcap_audio="{pcap}"/></action></nop>\n')
        return self

    def _request(self, method: str, cseq: int, target: str, back: str = "") -> str:
        routes = "" if target == _OURS else "[routes]\n"
        return _REQUEST.format(
            method=method, cseq=cseq, target=target, back=back, number=self.number, routes=routes,
            retrans=' retrans="500"' if method == "BYE" else "",
        )  # fmt: skip


class Sipp:
    """SIPp running a script against an address; `calls` of them at `rate` a second."""

    def __init__(
        self,
        directory: Path,
        script: Script,
        to: tuple[str, int],
        *,
        service: str = "0323063006",
        calls: int = 1,
        rate: float = 1,
        together: int = 10,
    ) -> None:
        self.errors = directory / f"sipp-{id(script)}.log"
        path = directory / f"sipp-{id(script)}.xml"
        path.write_text(script.xml())
        port, media = free_ports(1), free_ports(2 * together + 2)
        self.child = Child(
            [
                "/usr/bin/sipp", f"{to[0]}:{to[1]}", "-sf", path, "-s", service,
                "-i", "127.0.0.1", "-mi", "127.0.0.1",
                "-p", str(port), "-min_rtp_port", str(media), "-max_rtp_port", str(media + 2 * together),
                "-m", str(calls), "-r", str(rate), "-l", str(together), "-nostdin", "-timeout", "60",
                "-trace_err", "-error_file", self.errors,
            ],
            directory,
        )  # fmt: skip

    def wait(self, timeout: float = 60) -> None:
        """Until all its calls went as scripted; raises PeerError with SIPp's own words."""
        code = self.child.wait(timeout)
        if code:
            said = self.errors.read_text(errors="replace") if self.errors.exists() else ""
            raise PeerError(f"SIPp ended with {code}:\n{said[-3000:]}\n{self.child.tail(25)}")
