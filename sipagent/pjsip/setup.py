"""The settings of the library, each with its reason."""

import ctypes
import os
import re
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ParamSpec

import pjsua2 as pj

from media.frame import SAMPLE_RATE
from sipagent.agent.engine import EngineSettings, Headers
from sipagent.config.layout import FEWEST, EngineLimits

P = ParamSpec("P")

LIBRARY = ctypes.CDLL(pj._pjsua2.__file__)  # for the few functions of pjsip's that pjsua2 doesn't hand on
LIBRARY.pjsip_tsx_get_dlg.restype = ctypes.c_void_p
LIBRARY.pjsua_get_pjsip_endpt.restype = ctypes.c_void_p
LIBRARY.pjsip_endpt_get_request_headers.restype = ctypes.c_void_p
LIBRARY.pj_log_get_log_func.restype = ctypes.c_void_p
LIBRARY.pj_ioqueue_name.restype = ctypes.c_char_p
LOG = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_int)

CLOCK, MEDIA = "clock", "media"  # its threads: the bridge's ticks, and who takes RTP from the sockets
REAL_TIME = 1  # the lowest such priority: before all normal threads, after the kernel's own
REGISTER_S = 120  # a registrar that lost its memory finds us again within this
REQUEST_TIMEOUT = 408
REQUEST_TERMINATED = 487
SLOTS_A_CALL, FEWEST_SLOTS = 16, 254  # of the bridge; each port has a word or two for each of them
SELECTED_FILES = 1024  # beyond, `select` reads and writes past its sets
MANY_FILES = 1 << 20  # where there is no limit
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
    config.uaConfig.mainThreadOnly = False  # a key (RFC 4733) is told by the media's thread, as it comes
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
    """Whose datagrams end a poll."""
    waking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    waking.bind(("127.0.0.1", 0))
    waking.setblocking(False)
    return waking


def account_config(
    settings: EngineSettings, transport: int, registrar: str, proxies: tuple[str, ...]
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
    media.transportConfig.publicAddress = settings.public_address
    media.srtpUse = SRTP[settings.srtp]
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
    """What this process has, once the library is begun; `players` and `files` are known elsewhere."""
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


def with_headers(param: pj.CallOpParam, headers: Headers) -> pj.CallOpParam:
    for name, value in headers:
        param.txOption.headers.append(header(name, value))
    return param


def give_up(transaction: int, status: int) -> None:
    """Wait no longer for an answer to a request of ours, as if this were it; it must not have ended yet."""
    LIBRARY.pjsip_tsx_terminate(ctypes.c_void_p(transaction), status)


def hurry(name: str) -> bool:
    """Put threads of this process before all else that the machine does; False where none has that name yet.

    From 2.16 on the library asks real-time priority for its clock alone. Where processors are short such a
    clock finds the jitter buffers empty: silence is sent and recorded, and what comes later is left out.

    It takes CAP_SYS_NICE or RLIMIT_RTPRIO. Without them all keep the priority of the process.
    """
    found = [int(task.name) for task in Path("/proc/self/task").iterdir() if _name(task) == name]
    for thread in found:
        try:
            os.sched_setscheduler(thread, os.SCHED_RR, os.sched_param(REAL_TIME))
        except (PermissionError, ProcessLookupError):  # not allowed, or the thread has ended
            continue
    return bool(found)


def _name(task: Path) -> str:
    try:
        return (task / "comm").read_text().rstrip("\n")
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return ""
