"""A person's request: all that is kept of them, and to forget it. (GDPR articles 15 and 17.)"""

from collections.abc import Iterator
from dataclasses import replace
from http import HTTPStatus
from typing import Annotated, Self

from pydantic import Field, model_validator
from starlette.requests import Request
from starlette.responses import Response

from retention.erase import KeptCall, NotDeleted
from retention.records import Json
from retention.texts import Reason
from sipagent.languages.labels import N_
from sipagent.lookup.results import calls_of_caller, calls_of_reference, deletion_json, whole_record
from sipagent.operations.deletion import attempt_delete
from sipagent.web.api import shapes
from sipagent.web.api.operation import Answer, Body, Line, given, given_one_by_one, post
from sipagent.web.problems import Problem
from sipagent.web.site import Site, site_of, trace_of


class DataSubject(Body):
    """Who asks: by the whole number, or by the reference that somebody without one was told."""

    caller: Annotated[str | None, Field(min_length=1, max_length=40, description="The whole number.")] = None
    reference: Annotated[
        str | None, Field(min_length=1, max_length=64, description="Of the call: 482913.")
    ] = None

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Self:
        if (self.caller is None) == (self.reference is None):
            raise ValueError("one of the two is needed; accepted: caller, or reference")
        return self


def kept(request: Request, body: DataSubject) -> Response:
    """Of each call as `show --json`, oldest first."""
    site = site_of(request)
    return given_one_by_one(_each(site, calls_of(site, body)))


def _each(site: Site, calls: list[KeptCall]) -> Iterator[Json]:
    period = site.terms.period
    return (whole_record(site.archive, call.id).to_json(period) for call in calls)


class Forgetting(DataSubject):
    """Of whom all is forgotten, and why."""

    reason: Annotated[Line, Field(description="E.g. the reference of the person's request.")]


def forget(request: Request, body: Forgetting) -> Response:
    """Forget each of their calls, as `delete` does one; what is on hold or in progress stays."""
    site = site_of(request)
    calls = calls_of(site, body)
    if body.caller is None and len(calls) > 1:
        said = N_("several calls have this reference; accepted: each by its id, POST /calls/ID/delete")
        raise Problem(HTTPStatus.CONFLICT, Reason(said), ids=[call.id for call in calls])
    trace = replace(trace_of(request, "delete"), detail=body.reason)
    deleted: list[Json] = []
    stays: list[Json] = []
    for call in calls:
        try:
            deleted.append(deletion_json(attempt_delete(site.archive, call.id, trace, site.clock)))
        except (NotDeleted, OSError) as why:
            stays.append({"id": call.id, "why": str(why)})
    return given({"deleted": deleted, "stays": stays})


def calls_of(site: Site, person: DataSubject) -> list[KeptCall]:
    """What is kept of the calls of a person, oldest first. Raises Problem."""
    name = "reference" if person.caller is None else "caller"
    try:
        if person.caller is None:
            return calls_of_reference(site.store, str(person.reference))
        return calls_of_caller(site.store, person.caller, site.config.service.country)
    except ValueError as error:
        said = Reason(N_("{where}: {problem}"), where=name, problem=str(error))
        raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, said) from error


ENTRIES = (
    post(
        "/persons",
        kept,
        "All that is kept of a person",
        {
            HTTPStatus.OK: Answer(
                said="Of each call as `show --json`, oldest first.", shape=list[shapes.Shown]
            )
        },
    ),
    post(
        "/persons/delete",
        forget,
        "Forget a person: all of their calls, before their time",
        {HTTPStatus.OK: Answer(said="Of each call as `delete --json`.", shape=shapes.DeletedOfPerson)},
    ),
)
