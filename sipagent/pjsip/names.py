"""Host names, looked up where nobody waits for it: on a thread of their own.

The library itself would look a name up on the SIP thread. Where no name server answers, that takes ten
seconds a name, and until then no message is read and no key is heard, in no call of this process. A peer
can put a name into any Via, Contact or Record-Route. So pjsip asks us where each message goes
(`pjsip_ext_resolver`), and sends it when there is an answer. The structures are pjsip's own (sip_types.h,
sip_resolve.h). What comes out of them has another layout in each version, so the library itself makes it,
of an address.

Signalling goes over IPv4 alone: a name leads to the first such address that `getaddrinfo` finds, also in
/etc/hosts.
"""

import ctypes
import ipaddress
import queue
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from sipagent.config.load import uri_host
from sipagent.pjsip.library import LIBRARY, ReceivedText

MOST = 16  # names of messages that are looked up at a time: each has a thread, and a peer can name many
NOT_RESOLVED = 70018  # PJ_ERESOLVE

Then = Callable[[tuple[str, ...]], None]


def name_in(uri: str) -> str:
    """The host name of a SIP URI; empty where it is an address, or no URI."""
    try:
        host, _ = uri_host(uri)
    except ValueError:
        return ""
    return "" if _is_address(host) else host


def address_in(uri: str) -> tuple[str, ...]:
    """The address of a SIP URI; none if it names a host, or is no URI."""
    try:
        host, _ = uri_host(uri)
    except ValueError:
        return ()
    return (str(ipaddress.ip_address(host)),) if _is_address(host) else ()


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class _HostInfo(ctypes.Structure):
    """`pjsip_host_info`."""

    _fields_ = (
        ("flags", ctypes.c_uint),
        ("type", ctypes.c_int),
        ("host", ReceivedText),
        ("port", ctypes.c_int),
    )


_Then = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
_Resolve = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(_HostInfo), ctypes.c_void_p, ctypes.c_void_p
)


class Names:
    """On the SIP thread; `wake` is called, on another thread, when there is an answer."""

    def __init__(self, wake: Callable[[], None], failed: Callable[[str], None]) -> None:
        self._wake, self._failed = wake, failed
        self._answers: queue.SimpleQueue[tuple[str, tuple[str, ...]]] = queue.SimpleQueue()
        self._waiting: dict[str, list[Then]] = {}
        self._ours: set[str] = set()  # of the configuration: these are looked up however many others are
        self._resolve = _Resolve(self._asked)  # kept: the library uses both as long as it lives
        self._endpoint = ctypes.c_void_p()
        self._served = (ctypes.c_void_p * 1)(ctypes.cast(self._resolve, ctypes.c_void_p))

    @property
    def waiting(self) -> int:
        """How many names have no answer yet."""
        return len(self._waiting)

    def serve(self) -> None:
        """Be asked by the library from now on. To be called between its creation and its start."""
        self._endpoint = ctypes.c_void_p(LIBRARY.pjsua_get_pjsip_endpt())
        LIBRARY.pjsip_endpt_set_ext_resolver(self._endpoint, ctypes.byref(self._served))

    def look_up(self, name: str, then: Then) -> None:
        """Return at once; a later `poll` calls `then` with the host's addresses, none if it is not found."""
        self._ours.add(name)
        self._begin(name, then)

    def _begin(self, name: str, then: Then) -> None:
        if name in self._waiting:
            self._waiting[name].append(then)
            return
        self._waiting[name] = [then]
        try:
            threading.Thread(target=self._look_up, args=(name,), name="names", daemon=True).start()
        except RuntimeError:  # the system has no thread left
            self._answers.put((name, ()))

    def _look_up(self, name: str) -> None:
        try:
            found = tuple(str(one[4][0]) for one in socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM))
        except (OSError, ValueError):  # no such host, no server; no name at all
            found = ()
        self._answers.put((name, found))
        with suppress(OSError):  # the engine has stopped meanwhile
            self._wake()

    def poll(self) -> None:
        """Hand on the answers that have come since."""
        while not self._answers.empty():
            name, found = self._answers.get()
            for then in self._waiting.pop(name, ()):
                then(found)

    # --- the library ---

    def _asked(
        self, _resolver: int, _pool: int, target: "ctypes._Pointer[_HostInfo]", token: int, then: int
    ) -> None:
        """Where a message goes. The library waits for a call of `then`, here or in a later `poll`."""
        try:
            info = _HostInfo.from_buffer_copy(target.contents)
            host = info.host.read().decode("latin-1")
            answer = partial(self._answer, info, token, _Then(then))
            if _is_address(host):
                answer((host,))
            elif host in self._ours or host in self._waiting or len(self._waiting) < MOST:
                self._begin(host, answer)
            else:
                answer(())
        except Exception as failure:  # noqa: BLE001 - nothing may escape into native code
            self._failed(f"names: {failure!r}")

    def _answer(self, info: _HostInfo, token: int, then: Callable[..., None], found: tuple[str, ...]) -> None:
        """Have the library read an address, and go on with it: it asks us again for what it sends then."""
        address = next((one for one in found if ":" not in one), None)
        if address is None:
            then(NOT_RESOLVED, token, None)
            return
        text = ctypes.create_string_buffer(address.encode())
        info.host = ReceivedText(ctypes.addressof(text), len(address))

        def read(status: int, token: int, addresses: int) -> None:
            LIBRARY.pjsip_endpt_set_ext_resolver(self._endpoint, ctypes.byref(self._served))
            then(status, token, addresses)

        LIBRARY.pjsip_endpt_set_ext_resolver(self._endpoint, None)
        LIBRARY.pjsip_endpt_resolve(
            self._endpoint, None, ctypes.byref(info), ctypes.c_void_p(token), _Then(read)
        )
