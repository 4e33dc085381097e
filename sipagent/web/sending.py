"""Sends sound to who asked for it: a span as chunks, or the stored bytes, whole or by Range (RFC 9110)."""

import math
import re
from contextlib import suppress
from http import HTTPStatus

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from retention.recording import Recording
from sipagent.languages.reason import Reason
from sipagent.web.problems import Problem
from sipagent.web.sound import Sound, SoundError, SoundGone, Sounds

KIND = "application/octet-stream"
SPAN = "Sound-Span"
"""The header that says what a span holds: `FIRST-END/ALL`, in samples per channel."""

_LONGEST_S = 1e7
_DIGITS = 18  # of a position; more lie behind the end of any file
_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)


class _Streamed(StreamingResponse):
    """Sound that is removed while it is sent ends there: who listens is cut off, and asks again."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with suppress(SoundGone):
            await super().__call__(scope, receive, send)


def sent(request: Request, sounds: Sounds, recording: Recording) -> Response:
    """The answer to a request for `…/sound`, or `…/sound?from=S&to=S`.

    Raises Problem: 410 for sound that was removed, 409 for a file that is not the recorded one, 400 for a
    span that is none, 416 for a range that is not there.
    """
    span = _span(request.query_params)
    try:
        sound = sounds.open(recording)
    except SoundGone as error:
        raise Problem(HTTPStatus.GONE, error.why) from error
    except SoundError as error:
        raise Problem(HTTPStatus.CONFLICT, error.why) from error
    try:
        return _stored(request, sound) if span is None else _chunks(sound, *span)
    except BaseException:
        sound.close()
        raise


def _chunks(sound: Sound, from_s: float, to_s: float) -> Response:
    try:
        span = sound.span(from_s, to_s)
    except SoundError as error:
        raise Problem(HTTPStatus.CONFLICT, error.why) from error
    headers = {"Cache-Control": "no-store", SPAN: f"{span.first}-{span.last}/{span.samples}"}
    if span.size is not None:
        headers["Content-Length"] = str(span.size)
    return _Streamed(span.pieces, headers=headers, media_type=KIND)


def _stored(request: Request, sound: Sound) -> Response:
    first, end, status = 0, sound.size, HTTPStatus.OK
    headers = {"Cache-Control": "no-store", "Accept-Ranges": "bytes"}
    asked = _RANGE.fullmatch(request.headers.get("range", "").strip())
    if asked and asked[0] != "bytes=-":  # others, and several ranges, may be ignored
        first, end = _range(asked[1], asked[2], sound.size)
        if first >= end:
            said = Reason("the range is not there; accepted: bytes 0 to {last}", last=sound.size - 1)
            unsatisfied = {"Content-Range": f"bytes */{sound.size}"}
            raise Problem(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, said, headers=unsatisfied)
        headers["Content-Range"] = f"bytes {first}-{end - 1}/{sound.size}"
        status = HTTPStatus.PARTIAL_CONTENT
    headers["Content-Length"] = str(end - first)
    return _Streamed(sound.whole(first, end), int(status), headers, KIND)


def _range(first: str, last: str, size: int) -> tuple[int, int]:
    """The bytes from and up to which; empty if they are not there."""
    at, to = (int(text or 0) if len(text) <= _DIGITS else size for text in (first, last))
    if not first:
        return max(0, size - to), size
    return at, size if not last else min(size, to + 1)


def _span(query: QueryParams) -> tuple[float, float] | None:
    """The span that is asked for, in s; None: the stored bytes. Raises Problem."""
    if "from" not in query and "to" not in query:
        return None
    try:
        first, last = float(query.get("from", "0")), float(query.get("to", "inf"))
    except ValueError:
        first = last = math.nan
    if not 0 <= first < min(last, _LONGEST_S):
        said = Reason(
            "from and to are no span; accepted: two numbers of seconds, the first less than the second"
        )
        raise Problem(HTTPStatus.BAD_REQUEST, said)
    return first, last
