"""What the engine says of itself: for `sipagent check`, which makes no call."""

import ctypes

import pjsua2 as pj

from sipagent.pjsip.setup import call_limit, endpoint_config, quieten


def about() -> tuple[str, int, str]:
    """Version, how many legs one process has, and the TLS library.

    The library says how many legs only once it is initialised; no port is opened for it. To be asked before
    any engine has started. Raises ImportError where the library cannot be initialised.
    """
    library = ctypes.CDLL(pj._pjsua2.__file__)
    quieten()
    endpoint = pj.Endpoint()
    endpoint.libCreate()
    try:
        endpoint.libInit(endpoint_config("sipagent"))
        return f"pjsip {_text(library, 'pj_get_version')}", call_limit(), _tls(library)
    except pj.Error as error:
        raise ImportError(f"the engine does not start: {error.reason}") from error
    finally:
        endpoint.libDestroy()


def _tls(library: ctypes.CDLL) -> str:
    for name in ("SSLeay_version", "OpenSSL_version"):  # OpenSSL renamed it with 1.1.0
        if hasattr(library, name):
            return _text(library, name, 0)
    return "none"


def _text(library: ctypes.CDLL, name: str, *given: int) -> str:
    function = getattr(library, name)
    function.restype = ctypes.c_char_p
    return bytes(function(*given)).decode("ascii", "replace")
