"""Takes what is sent, if it is not too long and comes soon; and only from a page of the session itself."""

from dataclasses import replace
from hmac import compare_digest
from http import HTTPStatus

import anyio
import anyio.from_thread
from starlette.requests import ClientDisconnect, Request

from sipagent.languages.labels import N_
from sipagent.languages.reason import Reason
from sipagent.web.problems import Problem
from sipagent.web.site import asked_of, site_of, someone, trace_of

WITHIN_S = 10
"""How long it may take to come: a thread waits for it."""


def received(request: Request, largest: int) -> bytes:
    """What is sent, `largest` bytes of it at most. Raises Problem: 413, 408."""
    return anyio.from_thread.run(_received, request, largest)


async def _received(request: Request, largest: int) -> bytes:
    content = bytearray()
    try:
        with anyio.fail_after(WITHIN_S):
            async for piece in request.stream():
                content += piece
                if len(content) > largest:
                    said = N_("what is sent is too long; accepted: {limit} bytes")
                    raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, Reason(said, limit=largest))
    except (TimeoutError, ClientDisconnect) as error:
        said = N_("what is sent did not come within {limit} s")
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, Reason(said, limit=WITHIN_S)) from error
    return bytes(content)


def refuse_others(request: Request, carried: str) -> None:
    """Raises Problem where what is sent does not carry the session's own `csrf`: it is of another page, or of
    an earlier session. That is in the trace."""
    if is_same(carried, someone(request).csrf):
        return
    told = replace(trace_of(request, "right"), detail=f"{asked_of(request)}: the form is not of this session")
    site_of(request).refusals.keep(told)
    said = N_("this form is not of this session; accepted: the page once more, and the form in it")
    raise Problem(HTTPStatus.FORBIDDEN, Reason(said))


def is_same(carried: str, own: str) -> bool:
    """Compare two tokens in constant time; nothing is the same as an empty one."""
    return bool(own) and compare_digest(carried.encode("utf-8", "replace"), own.encode("utf-8", "replace"))
