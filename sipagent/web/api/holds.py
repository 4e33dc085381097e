"""What is on hold; to ask for a hold, its renewal, or its end; and what becomes of whatever was asked for.

Four eyes: what somebody asked for, another approves or refuses; who asked may withdraw it.
"""

from collections.abc import Iterator
from datetime import date
from http import HTTPStatus
from itertools import islice
from typing import Annotated, Any

from pydantic import Field, create_model
from starlette.requests import Request
from starlette.responses import Response

from retention.records import Approval, Asked, HoldTerms, terms
from retention.rows.rows import UnknownId
from retention.texts import Reason
from sipagent.languages.labels import N_
from sipagent.operations.approvals import ask_approval, decide, may_see, rules_of
from sipagent.operations.holds import HeldRecording, held
from sipagent.web.api.operation import (
    NEXT,
    VERSION,
    Act,
    Answer,
    Body,
    Line,
    Numbered,
    Operation,
    get,
    given,
    page,
    post,
    recording_meant,
)
from sipagent.web.problems import Problem
from sipagent.web.rights import Right
from sipagent.web.site import Person, Site, site_of, someone, trace_of

_ASKED, _WHERE = "It is asked for: somebody else has to approve it.", "Where it says what came of it."
_ACCEPTED = HTTPStatus.ACCEPTED
ASKED = Answer(said=_ASKED, shape=Approval, status=_ACCEPTED, headers={"Location": _WHERE})


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
    return (one for one in every if _may_see(person, one))


def _may_see(person: Person, asked: Approval) -> bool:
    return may_see(asked, person.name, decides=person.may(Right.APPROVE))


def approval(request: Request) -> Response:
    """One of them, for the same people."""
    found = _meant(request)
    if not _may_see(someone(request), found):
        raise _nothing()
    return given(found.to_json())


def _meant(request: Request) -> Approval:
    try:
        return site_of(request).store.approval(request.path_params["number"])
    except UnknownId:
        raise _nothing() from None


def _nothing() -> Problem:
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


ENTRIES = (
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
