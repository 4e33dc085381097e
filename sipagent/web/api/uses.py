"""What is done to a recording: it is used, an analysis is filed, it is held.

Of a use there is first the line in the trace, then its sealed key and where its stored sound is.

Four eyes: of a hold, its renewal, its end, and an export for a court, what somebody asked for, another
approves or refuses; who asked may withdraw it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from http import HTTPStatus
from itertools import islice
from typing import Annotated, Any, Literal

from pydantic import Field, create_model
from starlette.requests import Request
from starlette.responses import Response

from retention.records import Access, Approval, Asked, HoldTerms, terms
from retention.rows.rows import UnknownId
from retention.texts import Reason
from retention.use import ACCESS_REQUEST, gives_sound
from sipagent.languages.labels import N_
from sipagent.operations.approvals import HeldRecording, ask_approval, decide, held, rules_of
from sipagent.operations.parsing import NOTE_LIMIT, note_text
from sipagent.operations.uses import BegunUse, FiledAnalysis, UseWanted, attempt_note, begin_use
from sipagent.web.api.operation import (
    NEXT,
    VERSION,
    Act,
    Answer,
    Body,
    Channel,
    Line,
    Numbered,
    Operation,
    Purpose,
    Query,
    Reference,
    get,
    given,
    page,
    post,
    recording_meant,
)
from sipagent.web.problems import Problem
from sipagent.web.rights import Right
from sipagent.web.site import Person, Site, site_of, someone, trace_of, user_of
from sipagent.web.sound import SOUND_KIND, sent

GOOD_FOR = timedelta(hours=12)

_ASKED, _WHERE = "It is asked for: somebody else has to approve it.", "Where it says what came of it."
_ACCEPTED = HTTPStatus.ACCEPTED
ASKED = Answer(said=_ASKED, shape=Approval, status=_ACCEPTED, headers={"Location": _WHERE})

_THIS = "a use of yours, at most 12 h old"
_SECONDS = {"ge": 0, "le": 1e7, "allow_inf_nan": False}


class NewUse(Body):
    """What a recording is used for, and how."""

    purpose: Purpose = None
    reference: Reference = None
    action: Literal["play", "export"] = "play"
    channel: Channel = "both"
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
    begun = begin_use(
        *(site.archive, recording_meant(request), UseWanted(**body.model_dump()), trace),
        rules=rules_of(site.config, trace.at),
        user=user_of(person),
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
        raise no_use() from None
    if not _is_own(begun, id, site, someone(request)):
        raise no_use()
    return sent(request, site.sounds, recording)


def _is_own(begun: Access, id: str, site: Site, person: Person) -> bool:
    """Whether this is a use of theirs that still counts, for what they may still do."""
    return (
        begun.recording_id == id
        and gives_sound(begun)
        and (begun.login, begun.via) == (person.name, person.via)
        and person.since <= begun.at <= site.clock() < begun.at + GOOD_FOR
        and (begun.purpose == ACCESS_REQUEST or person.may(Right.USE))
    )


def no_use() -> Problem:
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


class FilteredApprovals(Numbered):
    """A page of what was asked for, the newest first."""

    pending: Annotated[bool, Field(description="Only what nobody has decided.")] = False


class HoldDecision(Body):
    """What is answered to who asked."""

    reason: Line | None = None


def approvals(request: Request, query: FilteredApprovals) -> Response:
    """All of them for who approves; for others those that they asked for themselves."""
    site, person = site_of(request), someone(request)
    rows = list(islice(_seen(site, person, query), query.limit + 1))
    return page(request, rows, query.limit, json=Approval.to_json, key=lambda row: row.id)


def _seen(site: Site, person: Person, query: FilteredApprovals) -> Iterator[Approval]:
    every = site.store.each_approval(pending=query.pending, before=query.after)
    return (one for one in every if person.may_see(one))


def approval(request: Request) -> Response:
    """One of them, for the same people."""
    found = _meant(request)
    if not someone(request).may_see(found):
        raise _not_asked()
    return given(found.to_json())


def _meant(request: Request) -> Approval:
    try:
        return site_of(request).store.approval(request.path_params["number"])
    except UnknownId:
        raise _not_asked() from None


def _not_asked() -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, Reason(N_("nothing with this number was asked for")))


def asked_for(kept: Approval) -> Response:
    """202, and where it says what came of it."""
    return given(kept.to_json(), HTTPStatus.ACCEPTED, {"Location": f"{VERSION}/approvals/{kept.id}"})


def _decision(how: str, summary: str) -> Operation:
    def decided(request: Request, body: HoldDecision) -> Response:
        site, trace, number = site_of(request), trace_of(request, how), _meant(request).id
        rules = rules_of(site.config, trace.at)
        return given(decide(site.archive, how, number, trace, rules, answer=body.reason).to_json())

    return post(f"/approvals/{{number:row}}/{how}", decided, summary, Approval, "As it is now.")


NewHold = create_model(
    "NewHold",
    __base__=Body,
    __doc__="Why a recording is to be kept beyond its date, and until when.",
    **{  # type: ignore[call-overload]  # pydantic cannot know these names
        name: (date if term.kind == "day" else Line, Field(description=term.help))
        for name, term in terms(HoldTerms).items()
    },
    renew=(bool, Field(False, description="In the place of the hold there is.")),
    reason=(Line | None, None),
)


class Release(Body):
    """Why a hold ends."""

    reason: Annotated[Line, Field(description="E.g. how the case ended.")]


def held_now(request: Request) -> Response:
    """As `holds --json`."""
    site = site_of(request)
    return given([row.to_json() for row in held(site.store, site.local(site.clock()).date())])


def hold(request: Request, body: Body) -> Response:
    """202: somebody else has to approve it."""
    said = body.model_dump(mode="json")
    return _wanted(request, Asked.RENEW if said.pop("renew") else Asked.HOLD, **said)


def release(request: Request, body: Release) -> Response:
    """202: somebody else has to approve it."""
    return _wanted(request, Asked.RELEASE, reason=body.reason)


def _wanted(request: Request, action: Asked, **said: Any) -> Response:
    site, trace, id = site_of(request), trace_of(request, "ask"), recording_meant(request).id
    wanted = Approval(at=trace.at, action=action.value, recording_id=id, by=None, **said)
    return asked_for(ask_approval(site.archive, wanted, trace, rules_of(site.config, trace.at)))


def _to_ask(how: str, act: Act, summary: str, **more: Any) -> Operation:
    path, status = f"/recordings/{{id}}/{how}", _ACCEPTED
    return post(path, act, summary, Approval, _ASKED, status=status, Location=_WHERE, **more)


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
    get("/approvals", approvals, "What was asked for", list[Approval], "The newest first.", Link=NEXT),
    get("/approvals/{number:row}", approval, "One thing that was asked for", Approval, "As it is now."),
    _decision("approve", "Approve what somebody else has asked for; it is done then"),
    _decision("refuse", "Refuse what somebody else has asked for"),
    _decision("withdraw", "Ask no longer"),
    get(
        "/holds",
        held_now,
        "What is on hold, overdue reviews first",
        list[HeldRecording],
        "As `holds --json`.",
    ),
    _to_ask("hold", hold, "Ask for a hold", sent=NewHold),
    _to_ask("release", release, "Ask for the end of a hold"),
)
