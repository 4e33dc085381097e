"""What is on hold; to ask for a hold, its renewal, or its end."""

from datetime import date
from http import HTTPStatus
from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from retention.approval import Approval, Asked
from retention.rules.hold import holds
from sipagent.lookup.as_json import holds_json
from sipagent.web.api.approvals import ASKED, asked_for
from sipagent.web.api.document import shapes
from sipagent.web.api.document.operation import get, post
from sipagent.web.api.giving import given
from sipagent.web.api.meant import recording_meant
from sipagent.web.api.reading import Body, Line
from sipagent.web.site import site_of


class NewHold(Body):
    """Why a recording is to be kept beyond its date, and until when."""

    ground: Annotated[Line, Field(description="One of retention.hold_grounds.")]
    reference: Annotated[Line, Field(description="Of the file that it serves, not a name.")]
    review: Annotated[date, Field(description="The day on which the hold is looked at again.")]
    renew: Annotated[bool, Field(description="In the place of the hold there is.")] = False
    reason: Line | None = None


class Release(Body):
    """Why a hold ends."""

    reason: Annotated[Line, Field(description="E.g. how the case ended.")]


def held(request: Request) -> Response:
    """As `holds --json`."""
    site = site_of(request)
    return given(holds_json(holds(site.store), site.local(site.clock()).date()))


def hold(request: Request, body: NewHold) -> Response:
    """202: somebody else has to approve it."""
    wanted = Approval(
        at=site_of(request).clock(),
        action=(Asked.RENEW if body.renew else Asked.HOLD).value,
        recording_id=recording_meant(request).id,
        by=None,
        ground=body.ground,
        reference=body.reference,
        review=body.review.isoformat(),
        reason=body.reason,
    )
    return asked_for(request, wanted)


def release(request: Request, body: Release) -> Response:
    """202: somebody else has to approve it."""
    wanted = Approval(
        at=site_of(request).clock(),
        action=Asked.RELEASE.value,
        recording_id=recording_meant(request).id,
        by=None,
        reason=body.reason,
    )
    return asked_for(request, wanted)


ENTRIES = (
    get(
        "/holds",
        held,
        "What is on hold, overdue reviews first",
        list[shapes.HeldRecording],
        "As `holds --json`.",
    ),
    post("/recordings/{id}/hold", hold, "Ask for a hold", {HTTPStatus.ACCEPTED: ASKED}),
    post("/recordings/{id}/release", release, "Ask for the end of a hold", {HTTPStatus.ACCEPTED: ASKED}),
)
