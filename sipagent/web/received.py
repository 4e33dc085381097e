"""What a page of ours sends: its bytes, and whether it is of the session."""

from dataclasses import replace
from hmac import compare_digest
from http import HTTPStatus

import anyio.from_thread
from starlette.requests import Request

from sipagent.languages.labels import N_
from sipagent.languages.reason import Reason
from sipagent.web.problems import Problem
from sipagent.web.site import asked_of, site_of, someone, trace_of


def received(request: Request) -> bytes:
    """All that is sent: it has come already, and is not too long (`protection`)."""
    return anyio.from_thread.run(request.body)


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
