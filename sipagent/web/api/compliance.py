"""A person's request: all that is kept of them, and to forget it (GDPR articles 15 and 17); the register's
entry, what `verify` and `check` say, and the trace.

Register, `verify` and `check` are asked of a process of its own. The trace has every use of every recording,
and all that was done and refused.
"""

from dataclasses import replace
from http import HTTPStatus
from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from retention.records import Access
from retention.texts import Reason
from sipagent.languages.labels import N_
from sipagent.operations.persons import (
    DeletedOfPerson,
    PersonSearch,
    Shown,
    calls_of_person,
    forget_person,
    show,
)
from sipagent.web.api.operation import (
    NEXT,
    Body,
    Line,
    Numbered,
    Operation,
    get,
    given,
    given_one_by_one,
    page,
    post,
)
from sipagent.web.background import Report
from sipagent.web.problems import Problem
from sipagent.web.site import site_of, someone, trace_of

_SOON = {"Retry-After": "10"}


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
    calls = calls_of_person(site.store, body.search, site.config.service, site.clock())
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


def register(request: Request) -> Response:
    """As `register --json`."""
    answer = site_of(request).commands.recent("register", "--json")
    if answer.json is None:
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, answer.problem or answer.text)
    return given(answer.json)


def _get(name: str) -> Operation:
    def last(request: Request) -> Response:
        return given(site_of(request).commands.report(name).to_json())

    return get(f"/{name}", last, f"What `{name}` said last", Report, f"`last.said` is as `{name} --json`.")


def _post(name: str) -> Operation:
    """One command runs at a time."""

    def start(request: Request) -> Response:
        site = site_of(request)
        if not site.commands.start(name, someone(request).name) and site.commands.running not in (name, None):
            said = Reason(N_("`{command}` runs; ask again when it has ended"), command=site.commands.running)
            raise Problem(HTTPStatus.CONFLICT, said, headers=_SOON)
        return given(site.commands.report(name).to_json(), HTTPStatus.ACCEPTED)

    said = f"It runs: GET /{name} says how it ended."
    return post(f"/{name}", start, f"Have `{name}` run", Report, said, status=HTTPStatus.ACCEPTED)


def accesses(request: Request, query: Numbered) -> Response:
    """As `accesses --json`, a page of it."""
    rows = site_of(request).store.numbered_accesses(before=query.after, limit=query.limit + 1)
    return page(request, rows, query.limit, json=lambda row: row[1].to_json(), key=lambda row: row[0])


_SHOWN, _DELETED = "Of each call as `show --json`, oldest first.", "Of each call as `delete --json`."

ENTRIES = (
    post("/persons", kept, "All that is kept of a person", list[Shown], _SHOWN),
    post(
        "/persons/delete",
        forget,
        "Forget a person: all of their calls, before their time",
        DeletedOfPerson,
        _DELETED,
    ),
    get("/accesses", accesses, "The trace, newest first", list[Access], "As `accesses --json`.", Link=NEXT),
    get("/register", register, "The entry for the register", dict[str, object], "As `register --json`."),
    *(_get("verify"), _post("verify")),
    *(_get("check"), _post("check")),
)
