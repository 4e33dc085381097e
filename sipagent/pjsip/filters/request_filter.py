"""A module of pjsip's that sees each message first, and says what becomes of a request (`request_rules`).

pjsua2 asks about an INVITE only once its sockets are open, and about other requests never. What is to wait is
cloned, as pjsip's own layers do it, and put to them later. Session descriptions, also those of responses, the
library sees as `session_description` writes them. The functions are pjsip's own (sip_module.h,
sip_endpoint.h).
"""

import ctypes
import time
from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from itertools import pairwise

from sipagent.agent.engine import Headers
from sipagent.pjsip.filters.received import Received
from sipagent.pjsip.setup import LIBRARY, Text
from sipagent.pjsip.stream import ipv4
from sipagent.sip.head_rules import can_be_written
from sipagent.sip.request_rules import LetGo, Pass, Refuse, Request, Verdict, Wait, read
from sipagent.sip.session_description import Described, NotAcceptable

FIRST = 9  # a priority behind that of transports (8), before transactions (16)
NAME = b"mod-sipagent"
TAKEN, LEFT = 1, 0  # what a module answers: nobody else sees the message, or the next one does

OnMessage = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)
LIBRARY.pjsip_generic_string_hdr_create.restype = ctypes.c_void_p
LIBRARY.pjsip_endpt_create_pool.restype = ctypes.c_void_p


class _Module(ctypes.Structure):
    """`pjsip_module`: a list's two pointers, then who it is and what it is asked."""

    _fields_ = (
        ("links", ctypes.c_void_p * 2),
        ("name", Text),
        ("id", ctypes.c_int),
        ("priority", ctypes.c_int),
        ("life", ctypes.c_void_p * 4),  # load, start, stop, unload
        ("on_rx_request", OnMessage),
        ("on_rx_response", OnMessage),
        ("others", ctypes.c_void_p * 3),  # on_tx_request, on_tx_response, on_tsx_state
    )


class _Start(ctypes.Structure):
    """`pjsip_process_rdata_param`: which module is the first to see a message."""

    _fields_ = (
        ("priority", ctypes.c_uint),
        ("module", ctypes.c_void_p),
        ("behind", ctypes.c_uint),
        ("silent", ctypes.c_int),
    )


class _Links(ctypes.Structure):
    """The two pointers that every header of pjsip's begins with, and a list of them is."""

    _fields_ = (("before", ctypes.c_void_p), ("next", ctypes.c_void_p))


@dataclass(frozen=True, slots=True)
class _Held:
    """A request that waits: `clone` is the library's memory, `due` monotonic s."""

    due: float
    clone: int
    request: Request


class RequestFilter:
    """On the SIP thread `judge(request)` is asked, `took` told what came of it, and `failed` of a fault.

    `responds` is given the text of a response and what it describes, and says what the library is to see.
    `heeds(text, source)`: whether it may ask for a password. `codecs`: those that may be described.
    """

    def __init__(
        self,
        judge: Callable[[Request], Verdict],
        took: Callable[[Request, Verdict], None],
        responds: Callable[[str, Described | NotAcceptable | None], Described | None],
        failed: Callable[[str], None],
        *,
        codecs: Container[str],
        heeds: Callable[[str, str], bool],
        transport: str,
    ) -> None:
        self._judge, self._took, self._responds, self._failed = judge, took, responds, failed
        self._codecs, self._heeds, self._transport = codecs, heeds, transport
        self._held: list[_Held] = []
        self._module = _Module(  # kept, with its callbacks: the library uses it as long as it lives
            name=Text(NAME, len(NAME)),
            id=-1,
            priority=FIRST,
            on_rx_request=OnMessage(self._guarded(self._decided)),
            on_rx_response=OnMessage(self._guarded(self._answered)),
        )
        self._endpoint = ctypes.c_void_p()

    def start(self) -> None:
        """Be asked from now on. To be called between the library's creation and its start."""
        self._endpoint = ctypes.c_void_p(LIBRARY.pjsua_get_pjsip_endpt())
        LIBRARY.pjsip_endpt_register_module(self._endpoint, ctypes.byref(self._module))

    def poll(self, now: float) -> None:
        """Judge again what has waited."""
        due = [one for one in self._held if one.due <= now]
        self._held = [one for one in self._held if one.due > now]
        for one in due:
            self._again(one, now)

    @property
    def due(self) -> float | None:
        """When `poll` has something to do (monotonic s)."""
        return min((one.due for one in self._held), default=None)

    @property
    def waiting(self) -> int:
        """How many requests are held back."""
        return len(self._held)

    def stop(self) -> None:
        """Let go of what waits, while the library lives."""
        for one in self._held:
            LIBRARY.pjsip_rx_data_free_cloned(ctypes.c_void_p(one.clone))
        self._held.clear()

    # --- steps ---

    def _guarded(self, decide: Callable[[Received], int]) -> Callable[[int], int]:
        """Nothing may escape into native code; what fails is taken for a stranger's."""

        def on_message(rdata: int) -> int:
            try:
                received = Received(rdata, self._codecs)
                return decide(received) if can_be_written(received.text) else TAKEN
            except Exception as failure:  # noqa: BLE001
                self._failed(f"a message could not be judged: {failure!r}")
                return TAKEN

        return on_message

    def _answered(self, response: Received) -> int:
        if not response.is_clear or response.answers_in_no_dialog:
            return TAKEN
        response.leave_out_unreachable(self._transport)
        if not self._heeds(response.text, response.source):
            response.ask_nothing()
        response.show(self._responds(response.text, response.sdp))
        return LEFT

    def _decided(self, received: Received) -> int:
        source = ipv4(received.source)
        if source is None:
            return TAKEN  # not over IPv4, which is all that there is, or from port 0
        request = read(received.text, source, received.sdp)
        if received.wants_answers_elsewhere or (request.to_tag and not received.is_clear):
            return TAKEN
        verdict = self._judge(request)
        self._took(request, verdict)
        match verdict:
            case Pass():
                if request.to_tag:
                    received.leave_out_unreachable(self._transport)
                _show(received)
                return LEFT
            case Refuse():
                self._refuse(received.rdata, verdict)
            case Wait(seconds):
                self._hold(received.rdata, request, seconds)
            case LetGo():
                self._let_go(request)
        return TAKEN

    def _hold(self, rdata: int, request: Request, seconds: float) -> None:
        clone = ctypes.c_void_p()
        LIBRARY.pjsip_rx_data_clone(ctypes.c_void_p(rdata), 0, ctypes.byref(clone))
        waits = replace(request, waited_s=request.waited_s + seconds)
        self._held.append(_Held(time.monotonic() + seconds, clone.value or 0, waits))

    def _let_go(self, of: Request) -> None:
        """What is held back of this dialog."""
        for one in [one for one in self._held if one.request.dialog == of.dialog]:
            self._held.remove(one)
            LIBRARY.pjsip_rx_data_free_cloned(ctypes.c_void_p(one.clone))

    def _again(self, held: _Held, now: float) -> None:
        verdict = self._judge(held.request)
        self._took(held.request, verdict)
        if isinstance(verdict, Wait):
            waits = replace(held.request, waited_s=held.request.waited_s + verdict.seconds)
            self._held.append(_Held(now + verdict.seconds, held.clone, waits))
            return
        if isinstance(verdict, Pass):
            _show(Received(held.clone, self._codecs))
            start = _Start(priority=FIRST + 1)
            LIBRARY.pjsip_endpt_process_rx_data(
                self._endpoint, ctypes.c_void_p(held.clone), ctypes.byref(start), None
            )
        elif isinstance(verdict, Refuse):
            self._refuse(held.clone, verdict)
        LIBRARY.pjsip_rx_data_free_cloned(ctypes.c_void_p(held.clone))

    def _refuse(self, rdata: int, refusal: Refuse) -> None:
        """Without a transaction: whoever repeats the request is answered again."""
        size = ctypes.c_size_t(512)
        pool = ctypes.c_void_p(LIBRARY.pjsip_endpt_create_pool(self._endpoint, NAME, size, size))
        headers = _List(pool, refusal.headers)
        LIBRARY.pjsip_endpt_respond_stateless(
            self._endpoint, ctypes.c_void_p(rdata), refusal.status, None, headers.head, None
        )
        LIBRARY.pjsip_endpt_release_pool(self._endpoint, pool)


def _show(request: Received) -> None:
    """Have the library see what it may of the description in a request that passes."""
    request.show(request.sdp if isinstance(request.sdp, Described) else None)


class _List:
    """A list of headers in a pool of the library's; it lives as long as both."""

    def __init__(self, pool: ctypes.c_void_p, headers: Headers) -> None:
        self._links = _Links()
        self.head = ctypes.c_void_p(ctypes.addressof(self._links))
        chain = [self.head.value, *(_header(pool, *one) for one in headers), self.head.value]
        for before, here in pairwise(chain):
            _Links.from_address(before or 0).next = here
            _Links.from_address(here or 0).before = before


def _header(pool: ctypes.c_void_p, name: str, value: str) -> int:
    texts = [Text(text.encode(), len(text.encode())) for text in (name, value)]
    made: int = LIBRARY.pjsip_generic_string_hdr_create(pool, *(ctypes.byref(text) for text in texts))
    return made
