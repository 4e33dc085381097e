"""The first page: calls and operators just now. The browser is told of what changes by server-sent events."""

import json
from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from retention.rows.faults import StoreError
from sipagent.languages.labels import CODES
from sipagent.languages.reason import Reason
from sipagent.languages.spoken import gettext as _
from sipagent.languages.spoken import ngettext
from sipagent.web.guard import Entry
from sipagent.web.moment import Moment, Ongoing, State
from sipagent.web.problems import Problem
from sipagent.web.rights import Right
from sipagent.web.site import Site, site_of, someone
from sipagent.web.templating import label, render, user

BEAT_S = 10.0  # after which who watches is looked at again, and told that we are there
AGAIN_MS = 3000  # after which a browser tries again
MOST = 200  # who watch at a time


def page(request: Request) -> Response:
    """The calls of the moment, as it was when the page was asked for."""
    site = site_of(request)
    moment = site.look()
    return render(
        request,
        "now.html",
        moment=moment,
        words=words(),
        doing=doing,
        why=why,
        told_in_all=in_all(moment),
        zone=site.config.service.timezone.key,
    )


def doing(call: Ongoing) -> str:
    """`talks with 201`."""
    return _doing()[call.state].format(operator=user(call.operator))


def why(call: Ongoing) -> str:
    """Why it is not recorded just now; empty where it is."""
    if call.recorded or (call.decision, call.state) == ("allowed", "talks"):  # which is yet to be written
        return ""
    said = _undecided().get(call.decision)
    if said is not None:
        return said
    by = f" ({label('by', call.decided_by)})" if call.decided_by else ""
    return f"{label('decision', call.decision)}{by}"


def in_all(moment: Moment) -> str:
    """`2 calls, 1 recorded`."""
    calls = len(moment.calls)
    said = words()["none" if not calls else "call" if calls == 1 else "calls"]
    return said.format(n=calls, recorded=sum(call.recorded for call in moment.calls))


def words() -> Mapping[str, str]:
    """What the script says, in the language of who reads."""
    return {
        **_doing(),
        **_undecided(),
        **{f"decision {code}": label("decision", code) for code in CODES["decision"]},
        **{f"by {code}": label("by", code) for code in CODES["by"]},
        "none": _("No call just now."),
        "call": ngettext("{n} call, {recorded} recorded", "{n} calls, {recorded} recorded", 1),
        "calls": ngettext("{n} call, {recorded} recorded", "{n} calls, {recorded} recorded", 2),
        "free": _("free"),
        "in a call": _("in a call"),
        "live": _("This page follows what happens."),
        "lost": _("The connection is lost: what is shown is of {time}. It is tried again."),
        "ended": _("Your session has ended: what is shown is of {time}."),
        "still": _("This page does not follow what happens: it was left. It goes on when you come back."),
    }


def _doing() -> dict[State, str]:
    return {
        "notice": _("hears the notice, or chooses"),
        "waits": _("waits for an operator"),
        "talks": _("talks with {operator}"),
    }


def _undecided() -> dict[str, str]:
    return {"undecided": _("not decided yet"), "allowed": _("begins with the conversation")}


def events(request: Request) -> Response:
    """The moment as JSON, with every change of it, for as long as who asks may see it."""
    site = site_of(request)
    if site.watching.count >= MOST:
        most = Reason("{n} watch already; accepted: fewer", n=MOST)
        raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, most, headers={"Retry-After": "60"})
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}  # no proxy keeps it back
    return StreamingResponse(stream(request, site, BEAT_S), media_type="text/event-stream", headers=headers)


async def stream(request: Request, site: Site, beat_s: float) -> AsyncIterator[str]:
    """Server-sent events: `now` with the moment, at last `ended` where the session is over."""
    who = someone(request).name
    yield f"retry: {AGAIN_MS}\n\n"
    with site.watching.watcher() as watcher:
        try:
            while await run_in_threadpool(_may_see, request, site, who):
                moment = await watcher.next(beat_s)
                yield ": nothing new\n\n" if moment is None else event("now", moment.to_json())
        except StoreError:  # nobody knows who asks: the browser asks again
            return
    yield event("ended", {})


def event(name: str, told: object) -> str:
    """One server-sent event; JSON has no line end in it."""
    return f"event: {name}\ndata: {json.dumps(told, separators=(',', ':'))}\n\n"


def _may_see(request: Request, site: Site, who: str) -> bool:
    person = site.identify(request)
    return person is not None and person.name == who and person.may(Right.NOW)


ENTRIES = (Entry("GET /", page),)
