"""What the library says of itself, without taking a port."""

import ctypes

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


def _tls() -> str:
    """The name that OpenSSL gives itself, by its new function or its old; `none` where there is neither."""
    for name in ("OpenSSL_version", "SSLeay_version"):
        version = getattr(setup.LIBRARY, name, None)
        if version is not None:
            version.restype = ctypes.c_char_p
            return str(version(0).decode())
    return "none"
