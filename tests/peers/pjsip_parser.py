"""Which messages a worker's parser cannot read: pjsip's own, in a process of its own.

unreadable(packets)          the packets that pjsip would drop without a word
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Iterable

from tests.peers.agent import ROOT

MOST = 4000  # bytes of a datagram (PJSIP_MAX_PKT_LEN)


def unreadable(packets: Iterable[bytes]) -> list[bytes]:
    """In another interpreter: the engine's library can be had once in a process, and an assertion ends it."""
    said = subprocess.run(
        [sys.executable, "-m", "tests.peers.pjsip_parser"],
        input="\n".join(packet.hex() for packet in packets),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    )
    return [bytes.fromhex(line) for line in said.stdout.split()]


class Parser:
    """`pjsip_parse_msg`, as `pjsip_tpmgr_receive_packet` calls it."""

    def __init__(self) -> None:
        import pjsua2 as pj  # noqa: TID251 - nothing else knows what it reads

        from sipagent.pjsip import library as setup

        setup.quieten()
        self._endpoint = pj.Endpoint()
        self._endpoint.libCreate()
        self._endpoint.libInit(setup.endpoint_config("test", 1))
        self._library = library = setup.LIBRARY
        library.pjsua_pool_create.restype = ctypes.c_void_p
        library.pjsua_pool_create.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_size_t]
        library.pj_pool_release.argtypes = [ctypes.c_void_p]
        library.pjsip_parse_msg.restype = ctypes.c_void_p
        library.pjsip_parse_msg.argtypes = [
            ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p,
        ]  # fmt: skip

    def reads(self, packet: bytes) -> bool:
        """Whether there is a message, and no header of it that cannot be read."""
        if len(packet) >= MOST:
            return False
        pool = self._library.pjsua_pool_create(b"test", 8000, 8000)
        errors = (ctypes.c_void_p * 16)()  # a list, empty where it leads to itself (pj/list.h)
        errors[0] = errors[1] = ctypes.addressof(errors)
        buffer = ctypes.create_string_buffer(packet, len(packet) + 1)
        message = self._library.pjsip_parse_msg(pool, buffer, len(packet), errors)
        read = bool(message) and errors[1] == ctypes.addressof(errors)
        self._library.pj_pool_release(pool)
        return read


if __name__ == "__main__":
    parser = Parser()
    for line in sys.stdin:
        if not parser.reads(bytes.fromhex(line)):
            print(line.strip())
    sys.stdout.flush()
    import os

    os._exit(0)  # the library is not ended: nothing of it is of use any more
