"""Which call or recording an address means: by its id, a unique beginning of it, or its reference."""

from http import HTTPStatus

from starlette.requests import Request

from retention.recording import Recording, is_id
from retention.rows.store import UnknownId
from retention.rules.lookup import ids_meant
from sipagent.languages.labels import N_
from sipagent.languages.reason import Reason
from sipagent.web.problems import Problem
from sipagent.web.site import site_of

_LISTED = 10


def id_meant(request: Request) -> str:
    """The id of the call. Raises Problem: 404 for none, 409 for several, with their `ids`."""
    typed = request.path_params["id"]
    found = ids_meant(site_of(request).store, typed, _LISTED + 1) if is_id(typed) else []
    if not found:
        raise Problem(HTTPStatus.NOT_FOUND, Reason(N_("there is no call with this id")))
    if len(found) > 1:
        said = N_("several calls are meant; accepted: the id of one of them")
        raise Problem(HTTPStatus.CONFLICT, Reason(said), ids=found[:_LISTED])
    return found[0]


def recording_meant(request: Request) -> Recording:
    """The recording of the call. Raises Problem."""
    id, store = id_meant(request), site_of(request).store
    try:
        return store.recording(id)
    except UnknownId:
        decision = store.receipt(id).decision
    said = N_("this call has no recording ({decision})")
    raise Problem(HTTPStatus.NOT_FOUND, Reason(said, decision=decision))
