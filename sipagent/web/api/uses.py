"""Uses of a recording, and the analysis of one that was listened to.

Of a use there is first the line in the trace, then its sealed key and where its stored sound is.
"""

from dataclasses import replace
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from retention.purge import due
from retention.recording_files import FileKind, finished
from retention.records import Access, Approval, Asked, Json, Recording, to_text
from retention.rows.rows import UnknownId
from retention.texts import Reason
from retention.use import (
    ACCESS_REQUEST,
    CUT,
    UseRefused,
    allowed,
    begin_use,
    nothing_to_use,
    told_of_download,
)
from retention.vault import KeysError, encode
from sipagent.languages.labels import N_
from sipagent.lookup.parsing import NOTE_LIMIT, note_text
from sipagent.operations.approvals import begin_approved, needs_approval, rules_of
from sipagent.operations.notes import Filed, NamesPerson, attempt_note
from sipagent.web.api import shapes
from sipagent.web.api.holds import ASKED, asked_for
from sipagent.web.api.operation import (
    VERSION,
    Answer,
    Body,
    Line,
    Operation,
    Query,
    Typed,
    given,
    post,
    recording_meant,
)
from sipagent.web.problems import Problem
from sipagent.web.rights import Right, roles_with
from sipagent.web.site import Person, Site, site_of, someone, trace_of
from sipagent.web.sound import SOUND_KIND, SPAN, sent

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


def use(request: Request, body: NewUse) -> Response:
    """201 with what is needed to hear it; 202 with what somebody else has to approve first."""
    site, person = site_of(request), someone(request)
    recording = recording_meant(request)
    kept = site.config.retention
    asked = replace(
        trace_of(request, body.action),
        purpose=body.purpose,
        reference=body.reference or None,
        detail=_detail(body, recording),
    )
    obstacles = _Obstacles(site, person, recording, body.purpose)
    due_at = due(recording, kept.period)
    try:
        if not needs_approval(asked, kept.hold_grounds):
            number = begin_use(
                site.archive, recording, asked, kept.purposes, due_at, obstacle=obstacles.first
            )
        elif body.approval is None:
            allowed(site.archive, recording, asked, kept.purposes, due_at, obstacle=obstacles.to_ask)
            return asked_for(request, _wanted(body, recording, asked))
        else:
            rules = rules_of(site.config, asked.at)
            number = begin_approved(
                *(site.archive, recording, asked, body.approval, rules),
                channel=body.channel,
                since=person.since,
                obstacle=obstacles.first,
            )
    except UseRefused as refusal:
        raise Problem(_status(site, recording, refusal, obstacles), refusal.args[0]) from refusal
    except UnknownId as error:
        said = Reason(N_("{where}: {problem}"), where="approval", problem=str(error))
        raise Problem(HTTPStatus.CONFLICT, said) from error
    told = _use_told(recording, number, body, obstacles)
    return given(told, HTTPStatus.CREATED, {"Location": told["sound"]})


def _wanted(body: NewUse, recording: Recording, asked: Access) -> Approval:
    return Approval(
        at=asked.at,
        action=Asked.EXPORT.value,
        recording_id=recording.id,
        by=None,
        purpose=body.purpose,
        reference=asked.reference,
        channel=body.channel,
    )


class _Obstacles:
    """What is in the way of a use besides the rules; `key` is found on the way."""

    def __init__(self, site: Site, person: Person, recording: Recording, purpose: str | None) -> None:
        self._site, self._person = site, person
        self._recording, self._purpose = recording, purpose
        self.status = HTTPStatus.FORBIDDEN
        self.sealed = False
        self.key: Json | None = None

    def first(self) -> str | None:
        """The first one, in one line; None if there is none."""
        if self._purpose != ACCESS_REQUEST and not self._person.may(Right.USE):
            said = N_("purpose {purpose} is not for your role; accepted: {accepted}")
            return Reason(said, purpose=repr(self._purpose), accepted=ACCESS_REQUEST)
        self.status = HTTPStatus.CONFLICT
        archive, id = self._site.archive, self._recording.id
        self.sealed = finished(archive.files, id) is FileKind.SEALED
        return self._no_key() if self.sealed else self._site.sounds.obstacle(self._recording)

    def to_ask(self) -> str | None:
        """Why this person cannot ask for it."""
        if self._person.may(Right.ASK):
            return None
        roles = ", ".join(roles_with(Right.ASK))
        said = N_("an export for {purpose} has to be approved; accepted: to be asked for by {roles}")
        return Reason(said, purpose=repr(self._purpose), roles=roles)

    def _no_key(self) -> str | None:
        vault, id, own = self._site.archive.vault, self._recording.id, self._person.key
        try:
            recipients = vault.recipients(id)
            who = " or ".join(map(str, recipients))
            if own is None:
                said = N_(
                    "it is sealed, and this login has no key; accepted: one with the public key of {who}"
                )
                return Reason(said, who=who)
            if own not in recipients:
                said = N_("it is not sealed to the key of this login, {own}; accepted: the key of {who}")
                return Reason(said, own=str(own), who=who)
            self.key = {"public": encode(own.raw), "sealed": encode(vault.box(id, own))}
        except KeysError as error:
            return str(error)
        return self._site.sounds.obstacle(self._recording)


def _status(site: Site, recording: Recording, refusal: UseRefused, obstacles: _Obstacles) -> HTTPStatus:
    """Gone, if that is why."""
    gone = nothing_to_use(site.store.recording(recording.id))
    return HTTPStatus.GONE if gone is not None and str(refusal) == gone else obstacles.status


def _detail(body: NewUse, recording: Recording) -> str:
    """What the trace says of it besides."""
    if body.action == "play":
        return body.channel
    return told_of_download(body.channel, body.file or f"{recording.id}-{body.channel}", recording)


def _use_told(recording: Recording, number: int, body: NewUse, obstacles: _Obstacles) -> Json:
    row = recording.to_json()
    return {
        "id": number,
        "recording": recording.id,
        "action": body.action,
        "purpose": body.purpose,
        "sealed": obstacles.sealed,
        "key": obstacles.key,
        "sound": f"{VERSION}/recordings/{recording.id}/uses/{number}/sound",
        **{
            name: row[name]
            for name in (
                *("bytes", "sha256", "sample_rate", "channels", "duration_s"),
                *("pauses", "incomplete"),
            )
        },
    }


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
USE_ENTRIES = (
    post(
        "/recordings/{id}/uses",
        use,
        "Use a recording for a purpose",
        {
            HTTPStatus.CREATED: Answer(
                said="It is in the trace; here is what is needed.",
                shape=shapes.Use,
                headers={"Location": "Where its sound is."},
            ),
            HTTPStatus.ACCEPTED: ASKED,
        },
    ),
    Operation(
        f"GET {VERSION}/recordings/{{id}}/uses/{{number:row}}/sound",
        sound,
        summary="The sound of a use",
        answers={
            HTTPStatus.OK: Answer(
                said=_BYTES, media=SOUND_KIND, headers={SPAN: "`FIRST-END/ALL`, in samples."}
            ),
            HTTPStatus.PARTIAL_CONTENT: Answer(said="A range of the stored bytes.", media=SOUND_KIND),
        },
    ),
)


class NewNote(Body):
    """What somebody found who listened."""

    text: Annotated[str, Field(max_length=NOTE_LIMIT, description=f"Up to {NOTE_LIMIT // 1024} KiB, plain.")]
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
    return given(_note_told(filed), HTTPStatus.CREATED)


def _note_told(filed: Filed) -> Json:
    return {
        "note": filed.note.to_json(),
        "erased": filed.erased,
        "held": filed.held,
        "copies": [{"path": str(copy.path), "at": to_text(copy.at), "by": copy.by} for copy in filed.copies],
    }


NOTE_ENTRIES = (
    post(
        "/recordings/{id}/notes",
        note,
        "File the analysis of a recording",
        {HTTPStatus.CREATED: Answer(said="It is filed.", shape=shapes.FiledAnalysis)},
    ),
)
