"""One exchange with a server that is not ours: it may be slow, silent, send too much, or be an impostor.

The answer's size and the wait for it are limited; no redirect is followed. The system's proxies are used.
"""

import http.client
import threading
import urllib.error
import urllib.request
from queue import Empty, SimpleQueue

from retention.texts import Reason, WithReason

SILENCE_S = 10.0  # between two pieces of an answer
WHOLE_S = 30.0  # from the question to the end of the answer
_SHOWN = 200  # characters shown of the server's text


class NoAnswer(WithReason):
    """Unreachable, refused, redirected, too long or too slow; `str()` is one line that says which."""


def post(url: str, content: bytes, kind: str, limit: int) -> bytes:
    """The answer to `content` of the media type `kind`, at most `limit` bytes. Raises NoAnswer."""
    headers = {"Content-Type": kind, "User-Agent": "sipagent"}
    return _answer(urllib.request.Request(url, content, headers), limit, WHOLE_S)


def get(url: str, limit: int, whole_s: float) -> bytes:
    """What lies there, at most `limit` bytes, within `whole_s`. Raises NoAnswer."""
    return _answer(urllib.request.Request(url, headers={"User-Agent": "sipagent"}), limit, whole_s)


def _answer(request: urllib.request.Request, limit: int, whole_s: float) -> bytes:
    """It runs in a separate thread: only this limits a silent name server or a header sent very slowly."""
    outcome: SimpleQueue[bytes | NoAnswer] = SimpleQueue()

    def exchange() -> None:
        outcome.put(_exchange(request, limit))

    threading.Thread(target=exchange, name="post", daemon=True).start()
    try:
        answer = outcome.get(timeout=whole_s)
    except Empty:
        raise NoAnswer("{0}: no whole answer within {1:g} s", request.full_url, whole_s) from None
    if isinstance(answer, NoAnswer):
        raise answer
    return answer


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Only the configured server may answer."""

    def redirect_request(self, *_: object) -> None:
        """Follow none."""


def _exchange(request: urllib.request.Request, limit: int) -> bytes | NoAnswer:
    url = request.full_url
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=SILENCE_S) as response:
            answer: bytes = response.read(limit + 1)
    except urllib.error.HTTPError as error:
        error.close()
        return NoAnswer("{0}: HTTP {1}{2}", url, error.code, _elsewhere(error))
    except (OSError, http.client.HTTPException, ValueError) as error:
        return NoAnswer("{0}: {1}", url, _reason(error))
    return answer if len(answer) <= limit else NoAnswer("{0}: answers with more than {1} bytes", url, limit)


def _shown(text: str) -> str:
    """Safe in a line: escapes what controls a terminal."""
    return repr(text.strip()[:_SHOWN])[1:-1]


def _elsewhere(error: urllib.error.HTTPError) -> str:
    target = error.headers.get("Location")
    return Reason(", a redirect to {0}, which is not followed", _shown(target)) if target else ""


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return Reason("no answer within {0:g} s", SILENCE_S)
    if isinstance(cause, OSError):
        return Reason(_shown(cause.strerror or str(cause)))
    return Reason("no HTTP: {0}", _shown(str(cause) or type(cause).__name__))
