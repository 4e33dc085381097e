"""What the library says of itself, without taking a port: in a process of its own, which it ends."""

import ctypes
import os
import tempfile
import wave
from contextlib import suppress
from multiprocessing.connection import Connection

import pjsua2 as pj

from media.frame import SAMPLE_RATE
from sipagent.config.layout import EngineLimits
from sipagent.pjsip import setup

MANY_PLAYERS = 4096  # more than are asked for
MANY_CALLS = 1024


def tell(connection: "Connection[tuple[str, EngineLimits, str], None]") -> None:
    """Send over a pipe its version, what one process has, and its TLS library.

    The process is this, so the library can't end who asks. It ends without the second that the library takes.
    """
    endpoint = _begun()
    version = endpoint.libVersion()
    connection.send((version.full, _limits(endpoint), _tls()))
    os._exit(0)


def _begun() -> pj.Endpoint:
    setup.quieten()
    endpoint = pj.Endpoint()
    endpoint.libCreate()
    endpoint.libInit(setup.endpoint_config("sipagent", MANY_CALLS))
    return endpoint


def _limits(endpoint: pj.Endpoint) -> EngineLimits:
    """Counted: no function tells of players. The bridge has as many places as it is asked for (`setup`)."""
    files = setup.raise_files()
    endpoint.audDevManager().setNoDev()
    return setup.limits(_players(), files)


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
        version = getattr(setup.LIBRARY, name, None)
        if version is not None:
            version.restype = ctypes.c_char_p
            return str(version(0).decode())
    return "none"
