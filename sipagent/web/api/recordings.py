"""Recordings: lists of them, and all that is known of one."""

from starlette.requests import Request
from starlette.responses import Response

from retention.recording import Recording
from sipagent.lookup.whole import whole_record
from sipagent.web.api.document import shapes
from sipagent.web.api.document.operation import NEXT, get, search
from sipagent.web.api.giving import given
from sipagent.web.api.listing import Filtered, Search, Turned, page_of
from sipagent.web.api.meant import recording_meant
from sipagent.web.site import site_of


def recordings(request: Request, query: Filtered) -> Response:
    """As `list --json`, a page of it."""
    return page_of(request, query, None, site_of(request).store.recordings)


def searched(request: Request, query: Turned, body: Search) -> Response:
    """As `list --json --caller NUMBER`, a page of it."""
    return page_of(request, body, query, site_of(request).store.recordings)


def recording(request: Request) -> Response:
    """As `show --json`."""
    site = site_of(request)
    return given(whole_record(site.archive, recording_meant(request).id).to_json(site.terms.period))


_LISTED = "As `list --json`."
ENTRIES = (
    get("/recordings", recordings, "Recordings, newest first", list[Recording], _LISTED, Link=NEXT),
    search("/recordings/search", searched, "Recordings, also by their caller", list[Recording], _LISTED),
    get(
        "/recordings/{id}", recording, "All that is known of one", shapes.ShownRecording, "As `show --json`."
    ),
)
