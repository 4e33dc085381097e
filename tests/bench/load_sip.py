"""SIPp as all callers at once, and as all operators; their SDP names the generator's sockets."""

from __future__ import annotations

import csv
from pathlib import Path

from tests.peers.agent import NUMBER
from tests.peers.process import Child, free_ports

IP = "127.0.0.1"
ANSWER_AFTER_MS = 100
LONGEST_S = 600

_SDP = """v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=audio {media} RTP/AVP 8 101
a=rtpmap:8 PCMA/8000
a=rtpmap:101 telephone-event/8000
a=fmtp:101 0-15
"""
_FROM = '"load" <sip:+3361[call_number]@[local_ip]:[local_port]>;tag=[pid]t[call_number]'
_REQUEST = """<send{retrans}><![CDATA[
{method} {target} SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch={branch}
{routes}From: {sender}
To: <sip:[service]@[remote_ip]:[remote_port]>{tag}
Call-ID: [call_id]
CSeq: {cseq} {method}
Contact: <sip:load@[local_ip]:[local_port]>
Max-Forwards: 70
{body}]]></send>
"""
_RESPONSE = """<send{retrans}><![CDATA[
SIP/2.0 {status}
[last_Via:]
[last_Record-Route:]
[last_From:]
[last_To:]{tag}
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:op@[local_ip]:[local_port]>
{body}]]></send>
"""
_OURS = "sip:[service]@[remote_ip]:[remote_port]"
_BRANCH = "z9hG4bK-[pid]-[call_number]-first"  # the ACK of a refusal has that of its INVITE
_EMPTY = "Content-Length: 0\n\n"
_SCENARIO = '<?xml version="1.0" encoding="ISO-8859-1" ?>\n<scenario name="{name}">\n{steps}</scenario>\n'


def _with_sdp(media: int) -> str:
    return "Content-Type: application/sdp\nContent-Length: [len]\n\n" + _SDP.format(media=media)


def _request(method: str, cseq: int, target: str, *, branch: str = "[branch]", body: str = _EMPTY) -> str:
    inside = target != _OURS
    return _REQUEST.format(
        method=method, cseq=cseq, target=target, branch=branch, sender=_FROM, body=body,
        routes="[routes]\n" if inside else "", tag="" if method == "INVITE" else "[peer_tag_param]",
        retrans="" if method == "ACK" else ' retrans="500"',
    )  # fmt: skip


def caller_scenario(media: int, pause_ms: int) -> str:
    """Call, talk for so long, hang up; who is refused acknowledges it."""
    steps = [
        _request("INVITE", 1, _OURS, branch=_BRANCH, body=_with_sdp(media)),
        *(f'<recv response="{status}" optional="true"/>\n' for status in (100, 180, 183)),
        *(f'<recv response="{status}" optional="true" next="1"/>\n' for status in (403, 486, 488, 500, 503)),
        '<recv response="200" rrs="true"/>\n',
        _request("ACK", 1, "[next_url]"),
        f'<pause milliseconds="{pause_ms}"/>\n',
        _request("BYE", 2, "[next_url]"),
        '<recv response="200"/>\n<nop next="2"/>\n<label id="1"/>\n',
        _request("ACK", 1, _OURS, branch=_BRANCH),
        '<label id="2"/>\n',
    ]
    return _SCENARIO.format(name="caller", steps="".join(steps))


def operator_scenario(media: int) -> str:
    """Ring, answer, and wait for the end."""
    steps = [
        '<recv request="INVITE"/>\n',
        _RESPONSE.format(status="180 Ringing", tag=";tag=[pid]o[call_number]", body=_EMPTY, retrans=""),
        f'<pause milliseconds="{ANSWER_AFTER_MS}"/>\n',
        _RESPONSE.format(
            status="200 OK", tag=";tag=[pid]o[call_number]", body=_with_sdp(media), retrans=' retrans="500"'
        ),
        '<recv request="ACK"/>\n<recv request="BYE"/>\n',
        _RESPONSE.format(status="200 OK", tag="", body=_EMPTY, retrans=""),
    ]
    return _SCENARIO.format(name="operator", steps="".join(steps))


class Operators:
    """SIPp as every operator's phone, at one address."""

    def __init__(self, folder: Path, media: int) -> None:
        self.port = free_ports(1)
        path = folder / "operators.xml"
        path.write_text(operator_scenario(media))
        place = ["-i", IP, "-p", str(self.port)]
        command: list[str | Path] = [
            "/usr/bin/sipp",
            "-sf",
            path,
            *place,
            "-nostdin",
            "-timeout",
            str(LONGEST_S),
            "-l",
            "5000",
        ]
        self.child = Child(command, folder)

    def uris(self, count: int, first: int = 0) -> list[str]:
        return [f"sip:op{first + i:04}@{IP}:{self.port}" for i in range(count)]

    def close(self) -> None:
        self.child.stop()


class Callers:
    """SIPp making `calls` calls of `seconds` each to an address, at `rate` a second."""

    def __init__(
        self,
        folder: Path,
        to: tuple[str, int],
        media: int,
        *,
        calls: int,
        rate: float,
        seconds: float,
        source: str = IP,
        again: bool = True,
    ) -> None:
        """`source`: whose address; `again`: whether an INVITE that nothing answers is sent again."""
        self._folder = folder
        port = free_ports(1, source)
        self._name = f"callers{port}"
        path = folder / f"{self._name}.xml"
        path.write_text(caller_scenario(media, round(seconds * 1000)))
        self._errors = folder / f"{self._name}.log"
        self.child = Child(
            [
                "/usr/bin/sipp", f"{to[0]}:{to[1]}", "-sf", path, "-s", NUMBER, "-i", source, "-p", str(port),
                "-m", str(calls), "-r", str(rate), "-l", str(calls), "-nostdin", "-timeout", str(LONGEST_S),
                "-trace_err", "-error_file", self._errors, "-trace_counts", "-fd", "1",
                *([] if again else ["-nr"]),
            ],
            folder,
        )  # fmt: skip

    def wait(self, timeout: float) -> int:
        """Until all calls are over; 0, or 1 where any of them did not go as scripted."""
        return self.child.wait(timeout)

    def counts(self) -> dict[str, int]:
        """How many of each status have come so far: `503`, …; of `200` those to an INVITE alone."""
        return self._counts("_Recv")

    @property
    def invited(self) -> int:
        """How many INVITEs have gone out."""
        return self._counts("_Sent").get("INVITE", 0)

    def _counts(self, end: str) -> dict[str, int]:
        files = sorted(self._folder.glob(f"{self._name}_*_counts.csv"))
        rows = list(csv.DictReader(files[-1].open(), delimiter=";")) if files else []
        if not rows:
            return {}
        found: dict[str, int] = {}
        for name, value in rows[-1].items():
            _, _, rest = (name or "").partition("_")
            if rest.endswith(end):
                found.setdefault(rest.removesuffix(end), int(value))
        return found

    def said(self) -> str:
        """What SIPp found wrong."""
        return self._errors.read_text(errors="replace")[-2000:] if self._errors.exists() else ""

    def close(self) -> None:
        self.child.stop()
