"""Two tables: the rights of each role, and the right that each address needs.

An address that is not in ROUTES does not exist: the page refuses to start with one.
"""

from collections.abc import Collection, Mapping
from enum import StrEnum


class Role(StrEnum):
    """A person's work for the service; a person may have several roles."""

    LISTENER = "listener"
    SUPERVISOR = "supervisor"
    OFFICER = "officer"  # of data protection
    ADMINISTRATOR = "administrator"
    WALL = "wall"  # of a token alone: a screen that everybody in a room sees


class Right(StrEnum):
    """A permission. No role gives the first two."""

    ANYBODY = "anybody"  # without a login
    PERSON = "person"  # whoever is logged in
    NOW = "now"  # to see the calls of the moment
    WALL = "wall"  # to see how many wait, and how many operators are free
    LIST = "list"  # to list and search recordings and calls
    USE = "use"  # to listen and to export, for a purpose
    ACCESS_REQUEST = "access_request"  # to use for the purpose access_request
    NOTE = "note"  # to file the analysis of what was listened to
    STATISTICS = "statistics"
    OPERATORS = "operators"  # statistics by operator
    TODAY = "today"  # to close for a while, and to have callers hear a message
    ASK = "ask"  # to ask for a hold, a release, an export for a court
    APPROVE = "approve"  # to approve or refuse what somebody else asked for
    PERSONS = "persons"  # to answer a person's request, and to delete
    COMPLIANCE = "compliance"  # the register, the notice, verify
    ACCESSES = "accesses"  # every use of every recording
    CHECK = "check"  # what `check` says
    ACCOUNTS = "accounts"  # accounts and tokens


_LISTENER = frozenset(
    (*(Right.NOW, Right.WALL, Right.LIST), *(Right.USE, Right.ACCESS_REQUEST, Right.NOTE, Right.STATISTICS))
)

RIGHTS: Mapping[Role, frozenset[Right]] = {
    Role.LISTENER: _LISTENER,
    Role.SUPERVISOR: _LISTENER | {Right.OPERATORS, Right.ASK, Right.TODAY},
    Role.OFFICER: frozenset(
        (
            *(
                Right.NOW,
                Right.WALL,
                Right.LIST,
                Right.ACCESS_REQUEST,
                Right.STATISTICS,
                Right.APPROVE,
                Right.PERSONS,
            ),
            *(Right.COMPLIANCE, Right.ACCESSES, Right.CHECK),
        )
    ),
    Role.ADMINISTRATOR: frozenset((Right.NOW, Right.WALL, Right.CHECK, Right.ACCOUNTS)),
    Role.WALL: frozenset((Right.WALL,)),
}
SOUND = frozenset((Right.USE, Right.ACCESS_REQUEST))  # what an administrator never has, whatever else

ROUTES: Mapping[str, Right] = {
    "GET /static/{name:path}": Right.ANYBODY,
    "GET /login": Right.ANYBODY,
    "POST /login": Right.ANYBODY,
    "GET /login/oidc": Right.ANYBODY,
    "GET /login/oidc/back": Right.ANYBODY,
    "POST /login/passkey/ask": Right.ANYBODY,
    "POST /login/passkey": Right.ANYBODY,
    "POST /logout": Right.PERSON,
    "GET /session": Right.PERSON,
    "POST /session": Right.PERSON,
    "GET /enrol": Right.ANYBODY,
    "POST /enrol": Right.ANYBODY,
    "GET /first": Right.ANYBODY,
    "POST /first": Right.ANYBODY,
    "GET /account": Right.PERSON,
    "POST /account/password": Right.PERSON,
    "POST /account/authenticator": Right.PERSON,
    "POST /account/key": Right.PERSON,
    "POST /account/language": Right.PERSON,
    "POST /account/passkeys/ask": Right.PERSON,
    "POST /account/passkeys": Right.PERSON,
    "POST /account/passkeys/remove": Right.PERSON,
    "GET /accounts": Right.ACCOUNTS,
    "POST /accounts/add": Right.ACCOUNTS,
    "POST /accounts/reset": Right.ACCOUNTS,
    "POST /accounts/remove": Right.ACCOUNTS,
    "POST /accounts/roles": Right.ACCOUNTS,
    "POST /accounts/tokens/add": Right.ACCOUNTS,
    "POST /accounts/tokens/revoke": Right.ACCOUNTS,
    "GET /": Right.NOW,
    "GET /wall": Right.ANYBODY,  # empty: what is on it comes from /api/v1/wall
    "POST /today": Right.TODAY,
    "POST /today/remove": Right.TODAY,
    "GET /recordings": Right.LIST,
    "POST /recordings": Right.LIST,
    "GET /calls": Right.LIST,
    "POST /calls": Right.LIST,
    "GET /recordings/{id}": Right.LIST,
    "POST /recordings/{id}/note": Right.NOTE,
    "POST /recordings/{id}/hold": Right.ASK,
    "POST /recordings/{id}/release": Right.ASK,
    "POST /recordings/{id}/delete": Right.PERSONS,
    "GET /statistics": Right.STATISTICS,
    "GET /requests": Right.PERSONS,
    "POST /requests": Right.PERSONS,
    "POST /requests/package": Right.PERSONS,
    "POST /requests/letter": Right.PERSONS,
    "POST /requests/receipt": Right.PERSONS,
    "POST /requests/vcon": Right.PERSONS,
    "POST /requests/erase": Right.PERSONS,
    "POST /requests/erased": Right.PERSONS,
    "GET /requests/erased/{token}": Right.PERSONS,
    "GET /requests/erased/{token}/certificates.txt": Right.PERSONS,
    "GET /api/v1/openapi.json": Right.ANYBODY,
    "GET /api/v1/recordings": Right.LIST,
    "POST /api/v1/recordings/search": Right.LIST,
    "GET /api/v1/recordings/{id}": Right.LIST,
    "POST /api/v1/recordings/{id}/uses": Right.ACCESS_REQUEST,  # for any other purpose: USE
    "GET /api/v1/recordings/{id}/uses/{number:row}/sound": Right.ACCESS_REQUEST,  # the same
    "POST /api/v1/recordings/{id}/notes": Right.NOTE,
    "POST /api/v1/recordings/{id}/hold": Right.ASK,
    "POST /api/v1/recordings/{id}/release": Right.ASK,
    "GET /api/v1/calls": Right.LIST,
    "POST /api/v1/calls/search": Right.LIST,
    "GET /api/v1/calls/{id}": Right.LIST,
    "POST /api/v1/calls/{id}/delete": Right.PERSONS,
    "POST /api/v1/calls/{id}/vcon": Right.ACCESS_REQUEST,  # for any other purpose: USE
    "GET /api/v1/holds": Right.LIST,
    "GET /api/v1/approvals": Right.LIST,  # of others: APPROVE
    "GET /api/v1/approvals/{number:row}": Right.LIST,  # the same
    "POST /api/v1/approvals/{number:row}/approve": Right.APPROVE,
    "POST /api/v1/approvals/{number:row}/refuse": Right.APPROVE,
    "POST /api/v1/approvals/{number:row}/withdraw": Right.ASK,
    "GET /api/v1/accesses": Right.ACCESSES,
    "GET /api/v1/events": Right.NOW,
    "GET /api/v1/today": Right.NOW,
    "POST /api/v1/today": Right.TODAY,
    "POST /api/v1/today/{number:row}/remove": Right.TODAY,
    "GET /api/v1/wall": Right.WALL,
    "GET /api/v1/stats": Right.STATISTICS,  # by operator: OPERATORS
    "POST /api/v1/persons": Right.PERSONS,
    "POST /api/v1/persons/delete": Right.PERSONS,
    "GET /api/v1/register": Right.COMPLIANCE,
    "GET /api/v1/verify": Right.COMPLIANCE,
    "POST /api/v1/verify": Right.COMPLIANCE,
    "GET /api/v1/check": Right.CHECK,
    "POST /api/v1/check": Right.CHECK,
    "GET /accesses": Right.ACCESSES,
    "GET /holds": Right.LIST,  # what others asked for: APPROVE
    "POST /holds/{number:row}/approve": Right.APPROVE,
    "POST /holds/{number:row}/refuse": Right.APPROVE,
    "POST /holds/{number:row}/withdraw": Right.ASK,
    "GET /compliance": Right.CHECK,
    "POST /compliance/check": Right.CHECK,
    "POST /compliance/verify": Right.COMPLIANCE,
    "GET /compliance/register": Right.COMPLIANCE,
    "GET /compliance/register.md": Right.COMPLIANCE,
    "GET /compliance/register.json": Right.COMPLIANCE,
    "GET /compliance/notice": Right.COMPLIANCE,
}


def rights_of(roles: Collection[Role]) -> frozenset[Right]:
    """All that these roles may do together."""
    rights = frozenset((Right.ANYBODY, Right.PERSON)).union(*(RIGHTS[role] for role in roles))
    return rights - SOUND if Role.ADMINISTRATOR in roles else rights


def roles_with(right: Right) -> tuple[Role, ...]:
    """The roles that give this right by themselves."""
    return tuple(role for role in Role if right in rights_of([role]))
