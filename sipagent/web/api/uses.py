"""Uses of a recording, and the analysis of one that was listened to.

Of a use there is first the line in the trace, then its sealed key and where its stored sound is.
"""

from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from retention.records import Access, Approval
from retention.rows.rows import UnknownId
from retention.texts import Reason
from retention.use import ACCESS_REQUEST
from sipagent.languages.labels import N_
from sipagent.operations.approvals import rules_of
from sipagent.operations.notes import FiledAnalysis, attempt_note
from sipagent.operations.parsing import NOTE_LIMIT, note_text
from sipagent.operations.uses import BegunUse, User, UseWanted, begin_use
from sipagent.web.api.holds import ASKED, asked_for
from sipagent.web.api.operation import (
    VERSION,
    Answer,
    Body,
    Line,
    Query,
    Typed,
    get,
    given,
    post,
    recording_meant,
)
from sipagent.web.problems import Problem
from sipagent.web.rights import Right, roles_with
from sipagent.web.site import Person, Site, site_of, someone, trace_of
from sipagent.web.sound import SOUND_KIND, sent

GOOD_FOR = timedelta(hours=12)

_THIS = "a use of yours, at most 12 h old"
_SECONDS = {"ge": 0, "le": 1e7, "allow_inf_nan": False}


class NewUse(Body):
    """What a recording is used for, and how."""

    purpose: Annotated[
        Typed | None,
        Field(description=f"One of retention.purposes, {ACCESS_REQUEST}, or the ground of its hold."),
    ] = None
    reference: Annotated[Typed | None, Field(description="Of the request or the file that asks for it.")] = (
        None
    )
    action: Literal["play", "export"] = "play"
    channel: Annotated[Literal["both", "caller", "operator"], Field(description="Which side.")] = "both"
    file: Annotated[
        Line | None,
        Field(pattern="^[^/]+$", description="How a copy is named: its name goes into the trace."),
    ] = None
    approval: Annotated[
        int | None, Field(ge=1, lt=10**18, description="That somebody else has approved: see /approvals.")
    ] = None


class SoundPart(Query):
    """Which part of the sound, in s; without both the stored bytes, whole or by Range."""

    first: Annotated[float | None, Field(alias="from", **_SECONDS)] = None
    to: Annotated[float | None, Field(**_SECONDS)] = None


@dataclass(frozen=True, kw_only=True)
class Use(BegunUse):
    """A use that is in the trace, what is needed to hear it, and where its sound is."""

    sound: str


def use(request: Request, body: NewUse) -> Response:
    """201 with what is needed to hear it; 202 with what somebody else has to approve first."""
    site, person, trace = site_of(request), someone(request), trace_of(request, body.action)
    user = User(
        any_purpose=person.may(Right.USE),
        may_ask=person.may(Right.ASK),
        askers=roles_with(Right.ASK),
        key=person.key,
        since=person.since,
    )
    begun = begin_use(
        *(site.archive, recording_meant(request), UseWanted(**body.model_dump()), trace),
        rules=rules_of(site.config, trace.at),
        user=user,
        sound_problem=site.sounds.obstacle,
    )
    if isinstance(begun, Approval):
        return asked_for(begun)
    told = Use.of(begun, sound=f"{VERSION}/recordings/{begun.recording}/uses/{begun.id}/sound")
    return given(told.to_json(), HTTPStatus.CREATED, {"Location": told.sound})


def sound(request: Request, query: SoundPart) -> Response:
    """The stored bytes, or chunks of a span, for who has begun this use."""
    site = site_of(request)
    id, number = request.path_params["id"], request.path_params["number"]
    try:
        begun = site.store.access(number)
        recording = site.store.recording(id)
    except UnknownId:
        raise nothing() from None
    if not _is_own(begun, id, site, someone(request)):
        raise nothing()
    return sent(request, site.sounds, recording)


def _is_own(begun: Access, id: str, site: Site, person: Person) -> bool:
    """Whether this is a use of theirs that still counts, for what they may still do."""
    return (
        begun.recording_id == id
        and begun.action in ("play", "export")
        and begun.outcome == "done"
        and (begun.login, begun.via) == (person.name, person.via)
        and person.since <= begun.at <= site.clock() < begun.at + GOOD_FOR
        and (begun.purpose == ACCESS_REQUEST or person.may(Right.USE))
    )


def nothing() -> Problem:
    """Nothing of theirs is here, whether or not there is something of somebody else's."""
    return Problem(HTTPStatus.NOT_FOUND, Reason(N_("there is no such use; accepted: {this}"), this=_THIS))


_BYTES = "The bytes as they are stored; of a span, chunks as they are in a file (media/recording/chunks.py)."


class NewNote(Body):
    """What somebody found who listened."""

    text: Annotated[str, Field(max_length=NOTE_LIMIT, description=f"Up to {NOTE_LIMIT // 1024} KiB, plain.")]
    agreed: Annotated[bool, Field(description="Whether what leads to a person is to be cut out of it.")] = (
        False
    )


def note(request: Request, body: NewNote) -> Response:
    """File it; 409 with what would be cut out of it, until that is agreed to."""
    site = site_of(request)
    kept = site.config.retention
    filed = attempt_note(
        site.archive,
        recording_meant(request),
        note_text(body.text.encode()),
        trace_of(request, "note"),
        period=kept.analysis_period,
        erase=kept.erase_after_note,
        agreed=body.agreed,
    )
    return given(filed.to_json(), HTTPStatus.CREATED)


_PART = Answer(said="A range of the stored bytes.", status=HTTPStatus.PARTIAL_CONTENT, media=SOUND_KIND)

ENTRIES = (
    post(
        "/recordings/{id}/uses",
        use,
        "Use a recording for a purpose",
        Use,
        "It is in the trace; here is what is needed.",
        ASKED,
        status=HTTPStatus.CREATED,
        Location="Where its sound is.",
    ),
    get(
        "/recordings/{id}/uses/{number:row}/sound",
        sound,
        "The sound of a use",
        None,
        _BYTES,
        _PART,
        media=SOUND_KIND,
        Sound_Span="`FIRST-END/ALL`, in samples.",
    ),
    post(
        "/recordings/{id}/notes",
        note,
        "File the analysis of a recording",
        FiledAnalysis,
        "It is filed.",
        status=HTTPStatus.CREATED,
    ),
)
