"""The library: its settings, each with its reason, and calls for which pjsua2 has no way.

settings      of the endpoint, its transports, its accounts and its threads
functions     pjsip's own, by ctypes, as pjsua calls them: answers, headers, limits
memory        reads and writes in the library's own memory; each is tried at the start
negotiated    the SDP that the other side of a leg has agreed to, in any message: pjsua2 shows no ACK
              that answers an offer of ours within a call, but the negotiator knows that answer
RTP           its sockets, and the library's facts about a leg's stream; `index` is the section of the SDP
              that is used (RFC 4566 section 5.14). Of a call without a number the library knows nothing, and
              would end the process if it were asked
`tell`        sends the library's facts about itself from a process of its own, without taking a port
"""

import ctypes
import errno
import os
import re
import resource
import socket
import struct
import tempfile
import wave
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from multiprocessing.connection import Connection
from pathlib import Path
from typing import ParamSpec, TypeVar

import pjsua2 as pj

from media.frame import SAMPLE_RATE
from sipagent.agent.engine import EngineSettings, Headers
from sipagent.agent.quality import Stream
from sipagent.config.layout import FEWEST, EngineLimits
from sipagent.sip.packet_filter import Address, Place

P = ParamSpec("P")

LIBRARY = ctypes.CDLL(pj._pjsua2.__file__)  # for the few functions of pjsip's that pjsua2 doesn't hand on
LIBRARY.pjsip_tsx_get_dlg.restype = ctypes.c_void_p
LIBRARY.pjsua_get_pjsip_endpt.restype = ctypes.c_void_p
LIBRARY.pjsip_endpt_get_request_headers.restype = ctypes.c_void_p
LIBRARY.pj_log_get_log_func.restype = ctypes.c_void_p
LIBRARY.pj_ioqueue_name.restype = ctypes.c_char_p
LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_int)

CLOCK, MEDIA = (
    "clock",
    "media",
)  # its threads: one for the bridge's ticks, one that takes RTP from the sockets
SUCCESS = 0  # PJ_SUCCESS
REAL_TIME = 1  # the lowest such priority: before all normal threads, after the kernel's own
REGISTER_S = 120  # a registrar that lost its memory finds us again within this
REQUEST_TIMEOUT = 408
REQUEST_TERMINATED = 487
SLOTS_A_CALL, FEWEST_SLOTS = 16, 254  # of the bridge; each port has a word or two for each of them
SELECTED_FILES = 1024  # beyond, `select` reads and writes past its sets
MANY_FILES = 1 << 20  # without a limit
MANY = 4096  # more legs than any build has: the library lowers it to what it can do
SRTP = {
    "off": pj.PJMEDIA_SRTP_DISABLED,
    "optional": pj.PJMEDIA_SRTP_OPTIONAL,
    "required": pj.PJMEDIA_SRTP_MANDATORY,
}
TRANSPORTS = {"udp": pj.PJSIP_TRANSPORT_UDP, "tcp": pj.PJSIP_TRANSPORT_TCP}


def endpoint_config(user_agent: str, calls: int) -> pj.EpConfig:
    """For a process that takes so many calls."""
    config = pj.EpConfig()
    config.uaConfig.threadCnt = 0  # SIP is handled in `poll` alone
    config.uaConfig.mainThreadOnly = False  # the media's thread reports a key (RFC 4733) as it comes
    config.uaConfig.maxCalls = MANY
    config.uaConfig.userAgent = user_agent
    config.logConfig.level = config.logConfig.consoleLevel = 0
    media = config.medConfig
    media.clockRate = media.sndClockRate = SAMPLE_RATE  # no resampling for G.711
    media.audioFramePtime = 20
    media.maxMediaPorts = max(FEWEST_SLOTS, SLOTS_A_CALL * calls)
    media.hasIoqueue = True  # RTP has a thread of the library's own: polled with SIP, each packet woke Python
    media.threadCnt = 1
    media.noVad = True
    media.ecTailLen = 0
    return config


def transport_config(host: str, port: int, public_address: str) -> pj.TransportConfig:
    config = pj.TransportConfig()
    config.port = port
    if host != "0.0.0.0":
        config.boundAddress = host
    config.publicAddress = public_address
    return config


def open_transports(endpoint: pj.Endpoint, settings: EngineSettings) -> tuple[int, tuple[str, int]]:
    """Open what the trunk uses: its id, and where a datagram ends a poll.

    That needs a UDP socket, on loopback where there is none.
    """
    host, port = settings.listen
    config = transport_config(host, port, "" if settings.media_address else settings.public_address)
    transport = endpoint.transportCreate(TRANSPORTS[settings.transport], config)
    if settings.transport == "udp":
        return transport, (host if host != "0.0.0.0" else "127.0.0.1", port)
    own = endpoint.transportCreate(TRANSPORTS["udp"], transport_config("127.0.0.1", 0, ""))
    info = endpoint.transportGetInfo(own)
    return transport, ("127.0.0.1", int(info.localName.rpartition(":")[2]))


def waking_socket() -> socket.socket:
    """A socket whose datagrams end a poll."""
    waking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    waking.bind(("127.0.0.1", 0))
    waking.setblocking(False)
    return waking


def account_config(
    settings: EngineSettings, transport: int, registrar: str, proxies: tuple[str, ...], srtp: str
) -> pj.AccountConfig:
    config = pj.AccountConfig()
    config.idUri = settings.uri
    config.sipConfig.transportId = transport
    for proxy in proxies:
        config.sipConfig.proxies.append(f"{proxy};lr" if ";lr" not in proxy else proxy)
    if registrar:
        config.regConfig.registrarUri = registrar
        config.regConfig.timeoutSec = REGISTER_S
        for name, value in settings.way_out:
            config.regConfig.headers.append(header(name, value))
    config.regConfig.registerOnAdd = False
    config.regConfig.retryIntervalSec = 0  # the agent backs off by itself
    config.regConfig.dropCallsOnFail = False
    config.natConfig.sipOutboundUse = 0  # no ;ob in Contact
    config.natConfig.contactRewriteUse = 0
    config.natConfig.viaRewriteUse = 0
    config.natConfig.sdpNatRewriteUse = 0
    config.natConfig.iceEnabled = False
    config.mwiConfig.enabled = False
    media = config.mediaConfig
    first, last = settings.rtp_ports
    media.transportConfig.port = first
    media.transportConfig.portRange = last - first
    host = settings.media_address or settings.listen[0]
    if host != "0.0.0.0":
        media.transportConfig.boundAddress = host
    media.transportConfig.publicAddress = settings.public_address  # of IPv6 neither: `ipv6_transport`
    media.srtpUse = SRTP[srtp]
    media.srtpSecureSignaling = 0
    media.lockCodecEnabled = False
    return config


def choose_codecs(endpoint: pj.Endpoint, wanted: tuple[str, ...]) -> None:
    """Only what the configuration names, in its order; everything else off (speex has a parser overflow)."""
    known = endpoint.codecEnum2()
    for index in range(len(known)):
        codec = known[index].codecId
        name = codec.split("/")[0].upper()
        endpoint.codecSetPriority(codec, 255 - wanted.index(name) if name in wanted else 0)


def quieten() -> None:
    """The library writes to standard output before it can be configured not to."""
    LIBRARY.pj_log_set_level(0)


class Text(ctypes.Structure):
    """The library's `pj_str_t`."""

    _fields_ = (("ptr", ctypes.c_char_p), ("slen", ctypes.c_long))


class ReceivedText(ctypes.Structure):
    """The same, in the library's memory, where it may hold any byte."""

    _fields_ = (("at", ctypes.c_void_p), ("length", ctypes.c_long))

    def read(self) -> bytes:
        return ctypes.string_at(self.at, self.length) if self.at and self.length > 0 else b""


class _NumberHeader(ctypes.Structure):
    """`pjsip_generic_int_hdr`: a list's two pointers, what it is, its two names, its functions, its value."""

    _fields_ = (
        ("before", ctypes.c_void_p),
        ("next", ctypes.c_void_p),
        ("type", ctypes.c_int),
        ("name", Text),
        ("short_name", Text),
        ("functions", ctypes.c_void_p),
        ("value", ctypes.c_uint32),
    )


@contextmanager
def max_forwards_of(hops: int) -> Iterator[None]:
    """Requests that the library makes meanwhile, on this thread, have this Max-Forwards; else 70.

    They are copies of what it keeps for all; a header of the same name among ours would be a second one.
    """
    endpoint = ctypes.c_void_p(LIBRARY.pjsua_get_pjsip_endpt())
    kept = _NumberHeader.from_address(LIBRARY.pjsip_endpt_get_request_headers(endpoint))
    while kept.name.ptr is None or not kept.name.ptr.startswith(b"Max-Forwards"):
        kept = _NumberHeader.from_address(kept.next)
    before, kept.value = kept.value, hops
    try:
        yield
    finally:
        kept.value = before


def serve(extension: str) -> None:
    """Take requests that require a SIP extension; the library answers 420 to those of any other.

    It says in `Supported`, too, that we understand it (RFC 3261 sections 8.2.2.3 and 20.37).
    """
    name = Text(extension.encode(), len(extension))
    endpoint = ctypes.c_void_p(LIBRARY.pjsua_get_pjsip_endpt())
    LIBRARY.pjsip_endpt_add_capability(endpoint, None, pj.PJSIP_H_SUPPORTED, None, 1, ctypes.byref(name))


def call_limit() -> int:
    """How many calls this build can have: what is left of `MANY` once the library has lowered it."""
    return int(LIBRARY.pjsua_call_get_max_count())


def limits(players: int, files: int) -> EngineLimits:
    """The library's limits in this process, once begun; `players` and `files` are known elsewhere."""
    slots = int(LIBRARY.pjsua_conf_get_max_ports())
    return EngineLimits(call_limit(), players, _handles(), slots, files)


def _handles() -> int:
    """How many sockets the build's queue takes."""
    return _constant(LIBRARY.pj_dump_config, rb"PJ_IOQUEUE_MAX_HANDLES") or FEWEST.handles


def packet_size() -> int:
    """How many bytes of a datagram the build reads. Raises LookupError where it does not say."""
    if size := _constant(LIBRARY.pjsip_dump_config, rb"PJSIP_MAX_PKT_LEN"):
        return size
    raise LookupError("the library does not say how much of a message it reads")


def _constant(dump: Callable[[], object], name: bytes) -> int:
    """One of a build's constants, which the library tells in its log alone; 0 where it does not."""
    said: list[bytes] = []
    log, level = LOG(lambda _, text, __: said.append(text)), LIBRARY.pj_log_get_level()
    before = LIBRARY.pj_log_get_log_func()
    LIBRARY.pj_log_set_log_func(log)
    LIBRARY.pj_log_set_level(3)
    dump()
    LIBRARY.pj_log_set_level(level)
    LIBRARY.pj_log_set_log_func(ctypes.c_void_p(before))
    found = re.search(name + rb"\s*:\s*(\d+)", b"".join(said))
    return int(found[1]) if found else 0


def raise_files() -> int:
    """Let this process have all the descriptors that it may have, and the library can watch; how many."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MANY_FILES if most == resource.RLIM_INFINITY else most
    if LIBRARY.pj_ioqueue_name().startswith(b"select"):
        most = min(most, SELECTED_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return most


def call_count() -> int:
    """How many calls the library has, ending ones included."""
    return int(LIBRARY.pjsua_call_get_count())


def respond(event: pj.SipEvent, status: int) -> None:
    """Answer the request of a transaction's event, before the library does it in its own way.

    That would be 500, or a call to whatever a REFER names.

    pjsua2 has no way to answer within a dialog; the two functions are pjsip's own, as pjsua calls them.
    """
    body = event.body
    state = body.tsxState
    source, transaction = state.src, state.tsx
    rdata = source.rdata
    LIBRARY.pjsip_dlg_respond(
        ctypes.c_void_p(LIBRARY.pjsip_tsx_get_dlg(ctypes.c_void_p(int(transaction.pjTransaction)))),
        ctypes.c_void_p(int(rdata.pjRxData)),
        status,
        None,
        None,
        None,
    )


def order(call: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> bool:
    """Give an order that may cross the leg's end; False where the library won't take it any more."""
    try:
        call(*args, **kwargs)
    except pj.Error:
        return False
    return True


def header(name: str, value: str) -> pj.SipHeader:
    one = pj.SipHeader()
    one.hName, one.hValue = name, value
    return one


def request(method: str, *headers: tuple[str, str]) -> pj.CallSendRequestParam:
    """A request within a dialog."""
    param = pj.CallSendRequestParam()
    param.method = method
    for name, value in headers:
        param.txOption.headers.append(header(name, value))
    return param


def with_status(status: int) -> pj.CallOpParam:
    param = pj.CallOpParam()
    param.statusCode = status
    return param


def of_sound(status: int = 0) -> pj.CallOpParam:
    """An INVITE of ours, or an answer; what it offers is sound alone, also to whose INVITE offers nothing."""
    param = pj.CallOpParam(True)
    param.statusCode = status
    param.opt.audioCount = 1
    for others in ("videoCount", "textCount"):  # the latter, of T.140, from 2.16 on; before it is nothing
        setattr(param.opt, others, 0)
    return param


def with_headers(param: pj.CallOpParam, headers: Headers) -> pj.CallOpParam:
    for name, value in headers:
        param.txOption.headers.append(header(name, value))
    return param


def give_up(transaction: int, status: int) -> None:
    """Wait no longer for an answer to a request of ours, as if this were it; it must not have ended yet."""
    LIBRARY.pjsip_tsx_terminate(ctypes.c_void_p(transaction), status)


def hurry(name: str, real_time: bool = True) -> bool:
    """Put threads of this process before all else that the machine does; False where none has that name yet.

    Without `real_time` they are as all others: where very many processes come first, nobody else gets a turn.
    From 2.16 on the library asks real-time priority for its clock alone. Where processors are short such a
    clock finds the jitter buffers empty: silence is sent and recorded, and later packets are left out.

    It takes CAP_SYS_NICE or RLIMIT_RTPRIO. Without them all keep the priority of the process.
    """
    found = [int(task.name) for task in Path("/proc/self/task").iterdir() if _thread_name(task) == name]
    for thread in found:
        try:
            policy, priority = (os.SCHED_RR, REAL_TIME) if real_time else (os.SCHED_OTHER, 0)
            os.sched_setscheduler(thread, policy, os.sched_param(priority))
        except (PermissionError, ProcessLookupError):  # not allowed, or the thread has ended
            continue
    return bool(found)


def _thread_name(task: Path) -> str:
    try:
        return (task / "comm").read_text().rstrip("\n")
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return ""


CALL_NUMBER_AT = 16  # bytes before the number in a `pj::Call`: a virtual table, then its account (call.hpp)
NO_CALL = -1  # PJSUA_INVALID_ID

LIBRARY.pjsua_call_get_user_data.restype = ctypes.c_void_p


def let_go(call: pj.Call) -> None:
    """Have a call that is over forget its number, which the library may have given to another by now.

    Any later order to it, its destructor's own hanging up included, would meet that other call (pjproject
    issue 3856). Without a number it is like a call that was never dialled.
    """
    _number_of(call).value = NO_CALL


def call_can_be_let_go(account: pj.Account) -> bool:
    """Whether memory lies as `let_go` takes it to."""
    call = pj.Call(account)
    number = _number_of(call)
    if number.value != NO_CALL:
        return False
    number.value = 1
    follows = call.getId() == 1
    number.value = NO_CALL  # before its destructor looks
    return follows and call.getId() == NO_CALL


def is_known(call: pj.Call) -> bool:
    """Whether the library still has this very call under its number."""
    number = call.getId()
    return number != NO_CALL and LIBRARY.pjsua_call_get_user_data(number) == int(call.this)


Known = TypeVar("Known", bound=pj.Call)


def lost_calls(calls: Iterable[Known]) -> list[Known]:
    """Those that have a number under which the library has none, or another."""
    return [call for call in calls if call.getId() != NO_CALL and not is_known(call)]


def _number_of(call: pj.Call) -> ctypes.c_int:
    return ctypes.c_int.from_address(int(call.this) + CALL_NUMBER_AT)


T = TypeVar("T")

LONGEST_SDP = 8192  # bytes of SDP
# The offset of the dialog in the invite session; the negotiator is the second word after that (sip_inv.h).
FIRST_WORD, LAST_WORD = 4, 32
POINTER = ctypes.sizeof(ctypes.c_void_p)
NEGOTIATED = 4  # a negotiator's state: no offer waits for its answer (sdp_neg.h)

LIBRARY.pjsip_dlg_get_inv_session.restype = ctypes.c_void_p


def is_settled(call: int) -> bool:
    """Whether an offer may go out within a call: one after another ends the process (pjsua_media.c)."""
    return (
        call >= 0
        and _of_negotiator(
            call, lambda negotiator: LIBRARY.pjmedia_sdp_neg_get_state(ctypes.c_void_p(negotiator))
        )
        == NEGOTIATED
    )


def remote_sdp(call: int) -> str:
    """The other side's SDP of a call (pjsua's number) whose media have been agreed upon; empty if unknown.

    Never of a call without: the library ends the process where there is no such SDP yet.
    """
    return _of_negotiator(call, _printed) or ""


def _of_negotiator(call: int, ask: Callable[[int], T]) -> T | None:
    """The answer of a call's negotiator; None without one."""
    pjsua_call, dialog = ctypes.c_void_p(), ctypes.c_void_p()
    if LIBRARY.acquire_call(b"sdp", call, ctypes.byref(pjsua_call), ctypes.byref(dialog)):
        return None
    try:
        negotiator = _negotiator(dialog)
        return ask(negotiator) if negotiator else None
    finally:
        LIBRARY.pjsip_dlg_dec_lock(dialog)


def _negotiator(dialog: ctypes.c_void_p) -> int:
    session = LIBRARY.pjsip_dlg_get_inv_session(dialog)
    if not session:
        return 0
    words = (ctypes.c_void_p * (LAST_WORD + 2)).from_address(session)
    places = [at for at in range(FIRST_WORD, LAST_WORD) if words[at] == dialog.value]
    return words[places[0] + 2] or 0 if places else 0


def _printed(negotiator: int) -> str:
    sdp = ctypes.c_void_p()
    if LIBRARY.pjmedia_sdp_neg_get_active_remote(ctypes.c_void_p(negotiator), ctypes.byref(sdp)):
        return ""
    text = ctypes.create_string_buffer(LONGEST_SDP)
    length = LIBRARY.pjmedia_sdp_print(sdp, text, LONGEST_SDP)
    return text.raw[: max(length, 0)].decode("utf-8", "replace")


Answer = TypeVar("Answer")


def rtp_counted(call: pj.Call, index: int) -> tuple[int, int]:
    """RTP packets and RTCP reports received on the stream that there is now; 0 where there is none."""
    stat = _of_call(call, call.getStreamStat, index)
    if stat is None:
        return 0, 0
    rtcp = stat.rtcp
    received, sent = rtcp.rxStat, rtcp.txStat
    return received.pkt, sent.updateCount


def sound_sent_ms(call: pj.Call, index: int) -> float:
    """How much sound has been sent on the stream that there is now, by the packets that left."""
    stat = _of_call(call, call.getStreamStat, index)
    stream = _of_call(call, call.getStreamInfo, index)
    if stat is None or stream is None:
        return 0.0
    rtcp, codec = stat.rtcp, stream.audCodecParam
    sent, rate = rtcp.txStat, codec.info
    return sent.bytes * 8000 / rate.avgBps if rate.avgBps else 0.0


TICK_MS = 20.0  # of the bridge


def stream_counted(call: pj.Call, index: int) -> Stream | None:
    """What the library has counted of what comes in on a stream; None where there is none.

    On 2.15.1: times are in µs. `lossPeriodUsec` counts gaps, also such as a packet that was overtaken fills
    later; `loss` doesn't. `discard` and `reorder` of RTCP are no use: the one stays 0, the other repeats
    `loss`; the jitter buffer counts what is late and what was lost, in frames of the codec, and how often
    it was empty when the bridge asked it for a tick. The round trip is known once a report of the other side
    names one of ours and its own delay (RFC 3550 section 6.4.1), 5 s on.
    """
    info = _of_call(call, call.getStreamInfo, index)
    if info is None or info.type != pj.PJMEDIA_TYPE_AUDIO:
        return None  # of another kind; asking for what it counts may end the process
    stat = _of_call(call, call.getStreamStat, index)
    if stat is None:
        return None
    rtcp, buffer, codec = stat.rtcp, stat.jbuf, info.audCodecParam
    received, round_trip, rate = rtcp.rxStat, rtcp.rttUsec, codec.info
    gaps, jitter, packets, lost = received.lossPeriodUsec, received.jitterUsec, received.pkt, received.loss
    a_byte_ms = 8000 / rate.avgBps if rate.avgBps else 0.0
    packet_ms = received.bytes * a_byte_ms / packets if packets and received.bytes and a_byte_ms else 20.0
    frame_ms = buffer.frameSize * a_byte_ms
    filled = max(0, round(gaps.n * gaps.mean / 1000 / packet_ms) - lost)
    return Stream(
        codec=info.codecName,
        packets=packets,
        lost=lost,
        bursts=min(lost, max(1, gaps.n - filled)),
        late=round(buffer.discard * frame_ms / packet_ms),
        concealed_ms=buffer.lost * frame_ms + buffer.empty * max(frame_ms, TICK_MS),
        jitter_ms=jitter.mean / 1000,
        rtt_ms=round_trip.mean / 1000 if round_trip.n else None,
        buffer_ms=buffer.avgDelayMsec,
    )


def rtp_peer(call: pj.Call, index: int) -> Address | None:
    """The address to which SDP wants our sound; None if there is none (a hold by 0.0.0.0 or ::)."""
    info = _of_call(call, call.getStreamInfo, index)
    return address(info.remoteRtpAddress) if info else None


OPERATIONS_AT = 40  # bytes before what a `pjmedia_transport` can do; the first of that tells its sockets
CLOSE_AT = 11  # and this closes it (transport.h)
TELL = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
CLOSE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
TRANSPORT_AT = 8  # bytes before the transport in pjsua2's `OnCreateMediaTransportParam` (call.hpp)


_SocketAddress = ctypes.c_ubyte * 28  # a `pj_sockaddr`, of either version of IP


class _Sockets(ctypes.Structure):
    """`pjmedia_transport_info`, which begins with both sockets, each with its address (transport.h)."""

    _fields_ = (
        ("rtp", ctypes.c_long),
        ("rtp_address", _SocketAddress),
        ("rtcp", ctypes.c_long),
        ("rtcp_address", _SocketAddress),
        ("rest", ctypes.c_byte * 8192),
    )


def sockets_of(transport: int) -> tuple[int, int]:
    """The descriptors of a `pjmedia_transport` over UDP, RTP's and RTCP's."""
    info = _Sockets()
    TELL(_word(_operations(transport)))(transport, ctypes.byref(info))
    return info.rtp, info.rtcp


def _operations(transport: int) -> int:
    return _word(transport + OPERATIONS_AT)


def _word(at: int) -> int:
    return ctypes.c_void_p.from_address(at).value or 0


LIBRARY.pjsua_get_pjmedia_endpt.restype = ctypes.c_void_p
LONGEST_SETTING = 4096  # bytes; a `pjmedia_srtp_setting` has less than 1,000


def use_ipv6(
    prm: pj.OnCreateMediaTransportParam, pair: tuple[socket.socket, socket.socket], shown: str
) -> None:
    """Have a line use these sockets in the place of those just made; SDP names the address `shown`.

    pjsua makes none for IPv6 where it is built without PJ_HAS_IPV6, as the wheel is, though all that it puts
    upon a transport takes IPv6. And an account's media have one address. Raises OSError.
    """
    made = int(prm.mediaTp)
    rtp, rtcp = pair
    port: int = rtp.getsockname()[1]
    sockets = _Sockets(rtp.fileno(), _ipv6(shown, port), rtcp.fileno(), _ipv6(shown, port + 1))
    endpoint = ctypes.c_void_p(LIBRARY.pjsua_get_pjmedia_endpt())
    ours = ctypes.c_void_p()
    if LIBRARY.pjmedia_transport_udp_attach(endpoint, None, ctypes.byref(sockets), 0, ctypes.byref(ours)):
        raise OSError(errno.ENOBUFS, "the library has no place for a socket")
    rtp.detach()
    rtcp.detach()
    if _operations(made) != _operations(ours.value or 0):  # SRTP's, around the sockets, even where it is off
        setting, plain = ctypes.create_string_buffer(LONGEST_SETTING), ctypes.c_void_p(ours.value)
        LIBRARY.pjmedia_transport_srtp_get_setting(ctypes.c_void_p(made), setting)
        LIBRARY.pjmedia_transport_srtp_create(endpoint, plain, setting, ctypes.byref(ours))
    ctypes.c_void_p.from_address(int(prm.this) + TRANSPORT_AT).value = ours.value
    CLOSE(_word(_operations(made) + CLOSE_AT * POINTER))(made)


def _ipv6(host: str, port: int) -> ctypes.Array[ctypes.c_ubyte]:
    """A `sockaddr_in6`."""
    family = struct.pack("=H", socket.AF_INET6)
    packed = struct.pack("!HI16sI", port, 0, IPv6Address(host).packed, 0)
    return _SocketAddress.from_buffer_copy(family + packed)


def rtp_sender(call: pj.Call, index: int) -> Address | None:
    """The source of the last packet."""
    info = _of_call(call, call.getMedTransportInfo, index)
    return address(info.srcRtpName) if info else None


def rtp_place(call: pj.Call, index: int) -> Place | None:
    """The socket to which the leg's RTP comes."""
    info = _of_call(call, call.getMedTransportInfo, index)
    name = info.localRtpName if info else ""
    port = int(name.rpartition(":")[2] or 0)
    return ((6 if name.startswith("[") else 4), port) if port else None


@lru_cache(maxsize=1024)  # the same few, in each message
def address(text: str) -> Address | None:
    """Read the library's `192.0.2.1:4000` or `[2001:db8::1]:4000`; None for no address, and for any."""
    host, _, number = text.rpartition(":")
    try:
        found, at = ip_address(host.removeprefix("[").removesuffix("]")), int(number)
    except ValueError:
        return None
    return None if found.is_unspecified or not at else (str(found), at)


def _of_call(call: pj.Call, question: Callable[[int], Answer], index: int) -> Answer | None:
    if call.getId() == NO_CALL:
        return None
    try:
        return question(index)
    except pj.Error:
        return None


MANY_PLAYERS = 4096  # more than are asked for
MANY_CALLS = 1024


def tell(connection: "Connection[tuple[str, EngineLimits, str], None]") -> None:
    """Send over a pipe its version, what one process has, and its TLS library.

    A process of its own does this, so the library can't end the asker. It skips the second that the library
    takes to end.
    """
    endpoint = _begun()
    version = endpoint.libVersion()
    connection.send((version.full, _limits(endpoint), _tls()))
    os._exit(0)


def _begun() -> pj.Endpoint:
    quieten()
    endpoint = pj.Endpoint()
    endpoint.libCreate()
    endpoint.libInit(endpoint_config("sipagent", MANY_CALLS))
    return endpoint


def _limits(endpoint: pj.Endpoint) -> EngineLimits:
    """Count players by making them: no function tells their limit. The bridge has as many places as it is
    asked for (`setup`)."""
    files = raise_files()
    endpoint.audDevManager().setNoDev()
    return limits(_players(), files)


def _players() -> int:
    """How many sounds can be played at once: they are begun until one more is refused."""
    playing: list[pj.AudioMediaPlayer] = []
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        with wave.open(file.name, "wb") as sound:
            sound.setparams((1, 2, SAMPLE_RATE, 0, "NONE", ""))
            sound.writeframes(bytes(2 * SAMPLE_RATE))
        with suppress(pj.Error):
            while len(playing) < MANY_PLAYERS:
                player = pj.AudioMediaPlayer()
                player.createPlayer(file.name)
                playing.append(player)
    return len(playing)


def _tls() -> str:
    """The name that OpenSSL gives itself, by its new function or its old; `none` where there is neither."""
    for name in ("OpenSSL_version", "SSLeay_version"):
        version = getattr(LIBRARY, name, None)
        if version is not None:
            version.restype = ctypes.c_char_p
            return str(version(0).decode())
    return "none"
