"""What is on hold; to ask for a hold, its renewal, or its end; and what becomes of whatever was asked for.

Four eyes: what somebody asked for, another approves or refuses; who asked may withdraw it.
"""

from collections.abc import Callable, Iterator
from datetime import date
from http import HTTPStatus
from itertools import islice
from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from retention.actions import ApprovalError, approve, ask_approval, refuse_approval, withdraw_approval
from retention.holds import holds, same_person
from retention.records import Access, Approval, Asked
from retention.rows.rows import UnknownId
from sipagent.languages.labels import N_
from sipagent.languages.spoken import Reason
from sipagent.lookup.results import holds_json, rules_of
from sipagent.web.api import shapes
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

ASKED = Answer(
    said="It is asked for: somebody else has to approve it.",
    shape=Approval,
    headers={"Location": "Where it says what came of it."},
)


class FilteredApprovals(Numbered):
    """A page of what was asked for, the newest first."""

    pending: Annotated[bool, Field(description="Only what nobody has decided.")] = False


class Decision(Body):
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
    return person.may(Right.APPROVE) or same_person(person.name, asked.by)


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


def asked_for(request: Request, wanted: Approval) -> Response:
    """Ask for it: 202, and where it says what came of it. Raises Problem."""
    site = site_of(request)
    rules = rules_of(site.config, site.clock())
    try:
        kept = ask_approval(site.archive, wanted, trace_of(request, "ask"), rules)
    except ApprovalError as refusal:
        raise Problem(HTTPStatus.CONFLICT, str(refusal)) from refusal
    return given(kept.to_json(), HTTPStatus.ACCEPTED, {"Location": f"{VERSION}/approvals/{kept.id}"})


def _approved(site: Site, number: int, trace: Access, answer: str | None) -> Approval:
    return approve(site.archive, number, trace, rules_of(site.config, trace.at), answer)


def _refused(site: Site, number: int, trace: Access, answer: str | None) -> Approval:
    return refuse_approval(site.archive, number, trace, answer)


def _withdrawn(site: Site, number: int, trace: Access, answer: str | None) -> Approval:
    return withdraw_approval(site.archive, number, trace, answer)


def decided(
    decide: Callable[[Site, int, Access, str | None], Approval], *, by_who_asked: bool = False
) -> Act:
    """What answers to a decision, which is for somebody else, or for who asked."""

    def answer(request: Request, body: Decision) -> Response:
        site, found = site_of(request), _meant(request)
        trace = trace_of(request, "approve")
        try:
            return given(decide(site, found.id, trace, body.reason).to_json())
        except ApprovalError as refusal:
            fits = same_person(str(trace.login), found.by) == by_who_asked
            status = HTTPStatus.CONFLICT if fits else HTTPStatus.FORBIDDEN
            raise Problem(status, str(refusal)) from refusal

    return answer


def _decision(name: str, act: Act, summary: str) -> Operation:
    told = {HTTPStatus.OK: Answer(said="As it is now.", shape=Approval)}
    return post(f"/approvals/{{number:row}}/{name}", act, summary, told)


APPROVAL_ENTRIES = (
    get("/approvals", approvals, "What was asked for", list[Approval], "The newest first.", Link=NEXT),
    get("/approvals/{number:row}", approval, "One thing that was asked for", Approval, "As it is now."),
    _decision("approve", decided(_approved), "Approve what somebody else has asked for; it is done then"),
    _decision("refuse", decided(_refused), "Refuse what somebody else has asked for"),
    _decision("withdraw", decided(_withdrawn, by_who_asked=True), "Ask no longer"),
)


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


HOLD_ENTRIES = (
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
