"""What the library knows of a leg's RTP; `index` is the section of the SDP that is used (RFC 4566 5.14).

Of a call without a number the library knows nothing, and would end the process if it were asked.
"""

from collections.abc import Callable
from ipaddress import IPv4Address
from typing import TypeVar

import pjsua2 as pj

from sipagent.pjsip.memory import NO_CALL
from sipagent.sip.socket_filter import Address

Known = TypeVar("Known")


def counted(call: pj.Call, index: int) -> tuple[int, int]:
    """RTP packets and RTCP reports received on the stream that there is now; 0 where there is none."""
    stat = _asked(call, call.getStreamStat, index)
    if stat is None:
        return 0, 0
    rtcp = stat.rtcp
    received, sent = rtcp.rxStat, rtcp.txStat
    return received.pkt, sent.updateCount


def peer(call: pj.Call, index: int) -> Address | None:
    """Where SDP wants our sound; None where it goes nowhere (a hold by 0.0.0.0), or not over IPv4."""
    info = _asked(call, call.getStreamInfo, index)
    return ipv4(info.remoteRtpAddress) if info else None


def sender(call: pj.Call, index: int) -> Address | None:
    """Where the last packet has come from."""
    info = _asked(call, call.getMedTransportInfo, index)
    return ipv4(info.srcRtpName) if info else None


def port(call: pj.Call, index: int) -> int:
    """Where the leg's RTP comes to; 0 where there is none."""
    info = _asked(call, call.getMedTransportInfo, index)
    return int(info.localRtpName.rpartition(":")[2] or 0) if info else 0


def ipv4(text: str) -> Address | None:
    """Read the library's `192.0.2.1:4000`; None for no address, for any, and for one of another family."""
    host, _, number = text.rpartition(":")
    try:
        address, at = IPv4Address(host), int(number)
    except ValueError:
        return None
    return None if address.is_unspecified or not at else (host, at)


def _asked(call: pj.Call, question: Callable[[int], Known], index: int) -> Known | None:
    if call.getId() == NO_CALL:
        return None
    try:
        return question(index)
    except pj.Error:
        return None
