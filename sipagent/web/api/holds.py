"""What is on hold; to ask for a hold or a release."""

from starlette.requests import Request
from starlette.responses import Response

from retention.rules.hold import holds
from sipagent.lookup.as_json import holds_json
from sipagent.web.api.document import shapes
from sipagent.web.api.document.operation import get
from sipagent.web.api.giving import given
from sipagent.web.site import site_of


def held(request: Request) -> Response:
    """As `holds --json`."""
    site = site_of(request)
    today = site.local(site.clock()).date()
    return given(holds_json(holds(site.store), today))


ENTRIES = (
    get(
        "/holds",
        held,
        "What is on hold, overdue reviews first",
        list[shapes.HeldRecording],
        "As `holds --json`.",
    ),
)
