"""The page of holds: what waits for a second person, what is on hold, and what was decided lately.

Who asked for something cannot approve it; they are two logins.
"""

from http import HTTPStatus
from itertools import islice

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from retention.holds import same_person
from retention.purge import due
from retention.records import Approval, ApprovalState, Asked, Hold, HoldTerms, terms
from sipagent.languages.spoken import colon, gettext
from sipagent.languages.spoken import gettext as _
from sipagent.operations.approvals import decide, held, pending_approvals, rules_of
from sipagent.web.guard import Entry, form_of
from sipagent.web.problems import Problem
from sipagent.web.rights import Right
from sipagent.web.site import site_of, someone, trace_of
from sipagent.web.templating import cut, label, render, term_shown


def asked_in_words(asked: Approval) -> str:
    """`Hold: criminal, reference complaint 2026-41, to be looked at again on 2027-05-31.`"""
    if asked.action == Asked.EXPORT:
        channels = {
            "both": _("both voices"),
            "caller": _("the caller’s voice"),
            "operator": _("the operator’s voice"),
        }
        said = _("Export for {purpose}, {channel}, reference {reference}.")
        return said.format(
            purpose=label("purpose", asked.purpose or "–"),
            channel=channels.get(asked.channel or "", cut(asked.channel or "–")),
            reference=cut(asked.reference or "–"),
        )
    if asked.action == Asked.RELEASE:
        return _("End of the hold: {reason}.").format(reason=cut((asked.reason or "–").rstrip(".")))
    said = _("Hold: {ground}, reference {reference}, to be looked at again on {review}.")
    if asked.action == Asked.RENEW:
        said = _("The hold goes on: {ground}, reference {reference}, to be looked at again on {review}.")
    values = {name: term_shown(term, getattr(asked, name)) for name, term in terms(HoldTerms).items()}
    more = (
        f" {gettext(term.label)}{colon()}{values[name]}."
        for name, term in terms(HoldTerms).items()
        if f"{{{name}}}" not in said
    )
    return said.format(**values) + "".join(more)


_HOLDS = 1000  # that are shown, those whose review comes first
_DECIDED = 30  # that are shown, the latest
_LOOKED_AT = 200  # of what was asked for, for what was decided


def decided(request: Request) -> Response:
    """Approve or refuse what somebody else asked for, or ask no longer."""
    form, site = form_of(request), site_of(request)
    number, how = request.path_params["number"], request.url.path.rpartition("/")[2]
    trace = trace_of(request, how)
    answer = (form.get("answer", "").strip() and form.line("answer", _("Answer"))) or None
    done = decide(site.archive, how, number, trace, rules_of(site.config, trace.at), answer=answer)
    site.tell(someone(request), _done(done))
    return RedirectResponse("/holds", HTTPStatus.SEE_OTHER)


def _shown(request: Request, problem: Problem | None = None) -> Response:
    """What waits, what is held, what was decided; once more, with why a form is refused."""
    site, person = site_of(request), someone(request)
    rows = held(site.store, site.local(site.clock()).date())
    asked = site.store.each_approval(limit=_LOOKED_AT)
    lately = (one for one in asked if one.state != ApprovalState.PENDING and person.may_see(one))
    return render(
        request,
        "holds.html",
        HTTPStatus.OK if problem is None else problem.status,
        fault=problem and problem.detail,
        faulty=request.path_params.get("number"),
        typed=form_of(request) if problem else {},
        pending=[*filter(person.may_see, pending_approvals(site.store))],
        decided=list(islice(lately, _DECIDED)),
        held=[(row, due(row, site.config.retention.period)) for row in rows[:_HOLDS]],
        parts=sorted(terms(Hold).items(), key=lambda one: one[1].kind != "day"),
        all_held=len(rows),
        overdue=sum(row.review_overdue for row in rows),
        may_ask=person.may(Right.ASK),
        own=lambda asked: same_person(asked.by, person.name),
        in_words=asked_in_words,
    )


def _done(done: Approval) -> str:
    """What the next page says."""
    if done.state == ApprovalState.REFUSED:
        return _("Refused, and who asked can see why.")
    if done.state == ApprovalState.WITHDRAWN:
        return _("Withdrawn.")
    return {
        Asked.HOLD: _("Approved: the recording is on hold from now on."),
        Asked.RENEW: _("Approved: the hold goes on."),
        Asked.RELEASE: _("Approved: the hold has ended, and the recording goes when it is due."),
        Asked.EXPORT: _("Approved: who asked can make one copy."),
    }[Asked(done.action)]


ENTRIES = (
    Entry("GET /holds", _shown),
    *(
        Entry(f"POST /holds/{{number:row}}/{how}", decided, _shown)
        for how in ("approve", "refuse", "withdraw")
    ),
)
