"""What is read and written in the library's own memory, where pjsua2 has no way. Each is tried at start."""

import ctypes
from collections.abc import Iterable
from typing import TypeVar

import numpy as np
import pjsua2 as pj

from media.frame import Samples
from sipagent.pjsip.setup import LIBRARY

CALL_ID = 16  # bytes before the number in a `pj::Call`: a virtual table, then its account (call.hpp)
NO_CALL = -1  # PJSUA_INVALID_ID

LIBRARY.pjsua_call_get_user_data.restype = ctypes.c_void_p


def samples_by_vector(frame: pj.MediaFrame) -> Samples:
    """Read the frame's `std::vector` in one go: its first two words are begin and end.

    1 µs, where walking it through SWIG costs 108; `ByteVector.copy_to_bytearray` exists from 2.16 on only.
    """
    buffer = frame.buf
    begin, end = (ctypes.c_void_p * 2).from_address(int(buffer.this))
    size = (end or 0) - (begin or 0)
    return np.frombuffer(ctypes.string_at(begin or 0, size) if size else b"", dtype="<i2")


def samples_by_walk(frame: pj.MediaFrame) -> Samples:
    """Read the frame's samples by pjsua2's own way, byte by byte."""
    return np.frombuffer(bytes(frame.buf), dtype="<i2")


def vector_can_be_read() -> bool:
    """Whether memory lies as `samples_by_vector` takes it to."""
    frame = pj.MediaFrame()
    for byte in (1, 2, 3, 250):
        frame.buf.append(byte)
    return samples_by_vector(frame).tobytes() == bytes((1, 2, 3, 250))


def let_go(call: pj.Call) -> None:
    """Have a call that is over forget its number, which the library may have given to another by now.

    Whatever is ordered of it afterwards, its destructor's own hanging up included, would meet that other call
    (pjproject issue 3856). It is as one that was never dialled then.
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


def lost(calls: Iterable[Known]) -> list[Known]:
    """Those that have a number under which the library has none, or another."""
    return [call for call in calls if call.getId() != NO_CALL and not is_known(call)]


def _number_of(call: pj.Call) -> ctypes.c_int:
    return ctypes.c_int.from_address(int(call.this) + CALL_ID)
