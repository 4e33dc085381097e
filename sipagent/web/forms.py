"""Reads what a form of a page sends. Only one that carries the session's own `csrf` is read at all."""

from collections.abc import Mapping
from dataclasses import replace
from hmac import compare_digest
from http import HTTPStatus
from urllib.parse import parse_qsl

import anyio
import anyio.from_thread
from starlette.requests import ClientDisconnect, Request

from sipagent.languages.labels import N_
from sipagent.languages.reason import Reason
from sipagent.web.problems import Problem
from sipagent.web.site import site_of, someone, trace_of

LARGEST = 1 << 18  # bytes of a form; an analysis is the longest
WITHIN_S = 10
"""How long it may take to come: a thread waits for it."""
WORDS = 500  # characters of a line that goes into the trace
_KIND = "application/x-www-form-urlencoded"
_FIELDS = 50


class Form(dict[str, str]):
    """The fields by their names: of several with one name, the last."""

    def line(self, name: str) -> str:
        """A field that goes into the trace: one line, without spaces at its ends. Raises ValueError."""
        text = self.get(name, "").strip()
        if not text:
            raise ValueError(Reason("{name} is empty", name=name))
        if not text.isprintable():
            raise ValueError(Reason("{name} is not one line of text", name=name))
        if len(text) > WORDS:
            raise ValueError(Reason("{name} is too long; accepted: {n} characters", name=name, n=WORDS))
        return text


def form_of(request: Request) -> Form:
    """The form. Raises Problem; one that is not from the session's own page is in the trace."""
    form = read_form(request)
    _refuse_others(request, form)
    return form


def is_form(request: Request) -> bool:
    """Whether it sends a form, by its own word."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == _KIND


def read_form(request: Request) -> Form:
    """The form of whoever sends it, read once. Raises Problem."""
    form = getattr(request.state, "form", None)
    if form is None:
        request.state.form = form = _read(request)
    assert isinstance(form, Form)
    return form


def _read(request: Request) -> Form:
    if not is_form(request):
        said = Reason("this is no form of this page; accepted: {kind}", kind=_KIND)
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, said)
    content = anyio.from_thread.run(_received, request)
    try:
        return Form(parse_qsl(content.decode(), keep_blank_values=True, max_num_fields=_FIELDS))
    except ValueError as error:  # UnicodeDecodeError, too
        raise Problem(HTTPStatus.BAD_REQUEST, Reason("this is no form of this page")) from error


def _refuse_others(request: Request, form: Mapping[str, str]) -> None:
    """Raises Problem for a form that another page has sent, or one of an earlier session."""
    if is_same(form.get("csrf", ""), someone(request).csrf):
        return
    asked = f"{request.method} {request.scope['path']}"
    told = replace(trace_of(request, "right"), detail=f"{asked}: the form is not of this session")
    site_of(request).refusals.keep(told)
    said = N_("this form is not of this session; accepted: the page once more, and the form in it")
    raise Problem(HTTPStatus.FORBIDDEN, Reason(said))


def is_same(sent: str, own: str) -> bool:
    """Compare two tokens in constant time; nothing is the same as an empty one."""
    return bool(own) and compare_digest(sent.encode("utf-8", "replace"), own.encode("utf-8", "replace"))


async def _received(request: Request) -> bytes:
    content = bytearray()
    try:
        with anyio.fail_after(WITHIN_S):
            async for piece in request.stream():
                content += piece
                if len(content) > LARGEST:
                    said = Reason("the form is too long; accepted: {limit} bytes", limit=LARGEST)
                    raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, said)
    except (TimeoutError, ClientDisconnect) as error:
        said = Reason("the form did not come within {limit} s", limit=WITHIN_S)
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, said) from error
    return bytes(content)
