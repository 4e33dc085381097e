"""A person's request: all that is kept of them, and to forget it. (GDPR articles 15 and 17.)"""

from dataclasses import replace
from http import HTTPStatus
from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from sipagent.operations.persons import DeletedOfPerson, PersonSearch, calls_of_person, forget_person
from sipagent.operations.show import Shown, show
from sipagent.web.api.operation import Answer, Body, Line, given, given_one_by_one, post
from sipagent.web.site import site_of, trace_of


class DataSubject(Body):
    """Who asks: by the whole number, or by the reference that somebody without one was told."""

    caller: Annotated[str | None, Field(min_length=1, max_length=40, description="The whole number.")] = None
    reference: Annotated[
        str | None, Field(min_length=1, max_length=64, description="Of the call: 482913.")
    ] = None

    @property
    def search(self) -> PersonSearch:
        """Whose calls are meant."""
        return PersonSearch(caller=self.caller or "", reference=self.reference or "")


def kept(request: Request, body: DataSubject) -> Response:
    """Of each call as `show --json`, oldest first."""
    site = site_of(request)
    calls = calls_of_person(site.store, body.search, site.config.service)
    return given_one_by_one(show(site.archive, call.id, site.terms.period).to_json() for call in calls)


class Forgetting(DataSubject):
    """Of whom all is forgotten, and why."""

    reason: Annotated[Line, Field(description="E.g. the reference of the person's request.")]


def forget(request: Request, body: Forgetting) -> Response:
    """Forget each of their calls, as `delete` does one; what is on hold or in progress stays."""
    site, trace = site_of(request), replace(trace_of(request, "delete"), detail=body.reason)
    return given(
        forget_person(site.archive, body.search, site.config.service, trace, clock=site.clock).to_json()
    )


ENTRIES = (
    post(
        "/persons",
        kept,
        "All that is kept of a person",
        {HTTPStatus.OK: Answer(said="Of each call as `show --json`, oldest first.", shape=list[Shown])},
    ),
    post(
        "/persons/delete",
        forget,
        "Forget a person: all of their calls, before their time",
        {HTTPStatus.OK: Answer(said="Of each call as `delete --json`.", shape=DeletedOfPerson)},
    ),
)
