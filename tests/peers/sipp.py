"""SIPp as a caller who refuses by real RTP events, from Debian's captures."""

from __future__ import annotations

from pathlib import Path

from sipagent.config.types import HostPort
from tests.peers.process import Child, free_ports

DIALOG = """\
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
{routes}From: "sipp" <sip:+33699000001@[local_ip]:[local_port]>;tag=[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>{to}
Call-ID: [call_id]
CSeq: {cseq}
Contact: <sip:sipp@[local_ip]:[local_port]>
Max-Forwards: 70
"""
WITHIN = "[routes]\n", "[peer_tag_param]"
SDP = """\
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
"""


def request(method: str, cseq: int, routes: str = "", to: str = "", more: str = "Content-Length: 0\n") -> str:
    target = "[next_url]" if to else "sip:[service]@[remote_ip]:[remote_port]"
    head = DIALOG.format(routes=routes, to=to, cseq=f"{cseq} {method}")
    again = "" if method == "ACK" else ' retrans="500"'
    return f"<send{again}><![CDATA[\n{method} {target} SIP/2.0\n{head}{more}\n]]></send>\n"


SCENARIO = f"""\
<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="caller">
{request("INVITE", 1, more=SDP)}
<recv response="100" optional="true"/>
<recv response="180" optional="true"/>
<recv response="200" rrs="true"/>
{request("ACK", 1, *WITHIN)}
<pause milliseconds="300"/>
<nop><action><exec play_pcap_audio="/usr/share/sip-tester/dtmf_2833_9.pcap"/></action></nop>
<pause milliseconds="2400"/>
{request("BYE", 2, *WITHIN)}
<recv response="200"/>
</scenario>
"""


def refuses(directory: Path, to: tuple[str, int]) -> Child:
    """A caller who presses 9 after the answer, and hangs up two seconds later."""
    here = "::1" if ":" in to[0] else "127.0.0.1"
    path = directory / "sipp.xml"
    path.write_text(SCENARIO)
    port, media = free_ports(1), free_ports(4)
    return Child(
        [
            "/usr/bin/sipp", str(HostPort(*to)), "-sf", path, "-s", "0323063006",
            "-i", here, "-mi", here, "-p", str(port),
            "-min_rtp_port", str(media), "-max_rtp_port", str(media + 2),
            "-m", "1", "-nostdin", "-timeout", "60",
        ],
        directory,
    )  # fmt: skip
