"""All that programs may ask for, and the document that says so."""

from functools import lru_cache

from starlette.requests import Request
from starlette.responses import Response

from retention.recording import Json
from sipagent.web.api import (
    accesses,
    approvals,
    calls,
    compliance,
    events,
    holds,
    notes,
    persons,
    recordings,
    stats,
    uses,
)
from sipagent.web.api.document.description import description
from sipagent.web.api.document.operation import Operation, get
from sipagent.web.api.giving import given

COOKIE = "__Host-sipagent"  # without TLS, on loopback: `sipagent`


def openapi(request: Request) -> Response:
    """The document."""
    return given(document())


@lru_cache(maxsize=1)
def document() -> Json:
    """What there is, as OpenAPI 3.1."""
    return description(ENTRIES, COOKIE)


ENTRIES: tuple[Operation, ...] = (
    *recordings.ENTRIES,
    *uses.ENTRIES,
    *notes.ENTRIES,
    *calls.ENTRIES,
    *holds.ENTRIES,
    *approvals.ENTRIES,
    *persons.ENTRIES,
    *accesses.ENTRIES,
    *stats.ENTRIES,
    *events.ENTRIES,
    *compliance.ENTRIES,
    get("/openapi.json", openapi, "This document", dict[str, object], "OpenAPI 3.1."),
)
