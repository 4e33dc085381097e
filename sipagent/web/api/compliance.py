"""The register's entry, what `verify` and `check` say, and the trace.

Each of the first three is asked of a process of its own. The trace has every use of every recording, and
all that was done and refused.
"""

from http import HTTPStatus

from starlette.requests import Request
from starlette.responses import Response

from retention.records import Access
from retention.texts import Reason
from sipagent.languages.labels import N_
from sipagent.web.api.operation import NEXT, Act, Answer, Numbered, Operation, get, given, page, post
from sipagent.web.background import Report
from sipagent.web.problems import Problem
from sipagent.web.site import site_of, someone

_SOON = {"Retry-After": "10"}


def register(request: Request) -> Response:
    """As `register --json`."""
    answer = site_of(request).commands.recent("register", "--json")
    if answer.json is None:
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, answer.problem or answer.text)
    return given(answer.json)


def last_of(name: str) -> Act:
    """What a command said last, and whether it runs."""

    def last(request: Request) -> Response:
        return given(site_of(request).commands.report(name).to_json())

    return last


def start_of(name: str) -> Act:
    """Have a command run, unless it does; one at a time."""

    def start(request: Request) -> Response:
        site = site_of(request)
        if not site.commands.start(name, someone(request).name) and site.commands.running not in (name, None):
            said = Reason(N_("`{command}` runs; ask again when it has ended"), command=site.commands.running)
            raise Problem(HTTPStatus.CONFLICT, said, headers=_SOON)
        return given(site.commands.report(name).to_json(), HTTPStatus.ACCEPTED)

    return start


def _get(name: str) -> Operation:
    said = f"`last.said` is as `{name} --json`."
    return get(f"/{name}", last_of(name), f"What `{name}` said last", Report, said)


def _post(name: str) -> Operation:
    begun = Answer(said=f"It runs: GET /{name} says how it ended.", shape=Report)
    return post(f"/{name}", start_of(name), f"Have `{name}` run", {HTTPStatus.ACCEPTED: begun})


COMPLIANCE_ENTRIES = (
    get("/register", register, "The entry for the register", dict[str, object], "As `register --json`."),
    *(_get("verify"), _post("verify")),
    *(_get("check"), _post("check")),
)


def accesses(request: Request, query: Numbered) -> Response:
    """As `accesses --json`, a page of it."""
    rows = site_of(request).store.numbered_accesses(before=query.after, limit=query.limit + 1)
    return page(request, rows, query.limit, json=lambda row: row[1].to_json(), key=lambda row: row[0])


ACCESS_ENTRIES = (
    get("/accesses", accesses, "The trace, newest first", list[Access], "As `accesses --json`.", Link=NEXT),
)
