"""What the other side of a leg has agreed to in SDP, whichever message it came in.

pjsua2 shows messages, but not the ACK that answers an offer of ours within a call; the library's negotiator
knows that answer, too. The functions are pjsip's own, as pjsua calls them.
"""

import ctypes
from collections.abc import Callable
from typing import TypeVar

from sipagent.pjsip.setup import LIBRARY

T = TypeVar("T")

LONGEST = 8192  # bytes of SDP
# Where the invite session names its dialog; the negotiator is the second word after that (sip_inv.h).
FIRST_WORD, LAST_WORD = 4, 32
POINTER = ctypes.sizeof(ctypes.c_void_p)
DONE = 4  # a negotiator's state: no offer waits for its answer (sdp_neg.h)

LIBRARY.pjsip_dlg_get_inv_session.restype = ctypes.c_void_p


def is_settled(call: int) -> bool:
    """Whether an offer may go out within a call: one after another ends the process (pjsua_media.c)."""
    return (
        call >= 0
        and _of(call, lambda negotiator: LIBRARY.pjmedia_sdp_neg_get_state(ctypes.c_void_p(negotiator)))
        == DONE
    )


def remote_sdp(call: int) -> str:
    """The other side's SDP of a call (pjsua's number) whose media have been agreed upon; empty if unknown.

    Never of a call without: the library ends the process where there is no such SDP yet.
    """
    return _of(call, _printed) or ""


def _of(call: int, ask: Callable[[int], T]) -> T | None:
    """What is asked of a call's negotiator; None where there is none."""
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
    text = ctypes.create_string_buffer(LONGEST)
    length = LIBRARY.pjmedia_sdp_print(sdp, text, LONGEST)
    return text.raw[: max(length, 0)].decode("utf-8", "replace")
