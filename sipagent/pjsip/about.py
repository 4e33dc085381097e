"""What the library says of itself, without taking a port."""

import ctypes
import os
from multiprocessing.connection import Connection

import pjsua2 as pj

from sipagent.pjsip import setup


def about() -> tuple[str, int, str]:
    """Its version, how many legs one process carries, and its TLS library."""
    setup.quieten()
    endpoint = pj.Endpoint()
    endpoint.libCreate()
    endpoint.libInit(setup.endpoint_config("sipagent"))
    version = endpoint.libVersion()
    told = version.full
    legs = setup.call_limit()
    endpoint.libDestroy()
    return told, legs, _tls()


def tell_legs(connection: "Connection[int, None]") -> None:
    """Send over a pipe how many legs one process carries: for a supervisor, which the library must not end.

    The process is this: it ends without the second that the library takes for its own end.
    """
    setup.quieten()
    endpoint = pj.Endpoint()
    endpoint.libCreate()
    endpoint.libInit(setup.endpoint_config("sipagent"))
    connection.send(setup.call_limit())
    os._exit(0)


def _tls() -> str:
    """The name that OpenSSL gives itself, by its new function or its old; `none` where there is neither."""
    for name in ("OpenSSL_version", "SSLeay_version"):
        version = getattr(setup.LIBRARY, name, None)
        if version is not None:
            version.restype = ctypes.c_char_p
            return str(version(0).decode())
    return "none"
