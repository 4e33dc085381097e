"""The analysis of a recording that was listened to."""

from http import HTTPStatus
from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from retention.recording import Json, to_text
from retention.rules.attempts import NamesPerson, attempt_note
from retention.rules.note import Filed, NotFiled
from retention.rules.use import CUT
from sipagent.languages.labels import N_
from sipagent.languages.reason import Reason
from sipagent.lookup.note_text import LIMIT, note_text
from sipagent.web.api.document import shapes
from sipagent.web.api.document.operation import Answer, post
from sipagent.web.api.giving import given
from sipagent.web.api.meant import recording_meant
from sipagent.web.api.reading import Body
from sipagent.web.problems import Problem
from sipagent.web.site import site_of, trace_of


class NewNote(Body):
    """What somebody found who listened."""

    text: Annotated[str, Field(max_length=LIMIT, description=f"Up to {LIMIT // 1024} KiB, plain.")]
    agreed: Annotated[bool, Field(description="Whether what leads to a person is to be cut out of it.")] = (
        False
    )


def note(request: Request, body: NewNote) -> Response:
    """File it; 409 with what would be cut out of it, until that is agreed to."""
    site = site_of(request)
    recording = recording_meant(request)
    kept = site.config.retention
    try:
        text = note_text(body.text.encode())
    except ValueError as error:
        said = Reason(N_("{where}: {problem}"), where="text", problem=str(error))
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, said) from error
    try:
        filed = attempt_note(
            site.archive,
            recording,
            text,
            trace_of(request, "note"),
            period=kept.analysis_period,
            erase=kept.erase_after_note,
            agreed=body.agreed,
        )
    except NamesPerson as names:
        said = Reason(N_("{cut} would take the place of what is in brackets; accepted: `agreed`"), cut=CUT)
        raise Problem(HTTPStatus.CONFLICT, said, going=names.going) from names
    except NotFiled as refusal:
        raise Problem(HTTPStatus.CONFLICT, str(refusal)) from refusal
    return given(_told(filed), HTTPStatus.CREATED)


def _told(filed: Filed) -> Json:
    return {
        "note": filed.note.to_json(),
        "erased": filed.erased,
        "held": filed.held,
        "copies": [{"path": str(copy.path), "at": to_text(copy.at), "by": copy.by} for copy in filed.copies],
    }


ENTRIES = (
    post(
        "/recordings/{id}/notes",
        note,
        "File the analysis of a recording",
        {HTTPStatus.CREATED: Answer(said="It is filed.", shape=shapes.Filed)},
    ),
)
