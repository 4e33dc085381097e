"""Identifies the person behind a request, by the cookie of a session or by a token; begins and ends
sessions."""

import hmac
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from http import HTTPStatus
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from retention.accounts.accounts import Accounts, Session
from retention.accounts.credentials import Account, code_hash
from retention.texts import Reason
from sipagent.agent.stored import accounts_of
from sipagent.config.load import Config
from sipagent.languages.labels import N_
from sipagent.web.issuer import BACK, Issuer
from sipagent.web.problems import Problem
from sipagent.web.relying_party import RelyingParty, host_of
from sipagent.web.rights import Role
from sipagent.web.sessions import LoginPace, PasskeyChallenges, Seal, Sessions
from sipagent.web.site import Person, site_of, someone, trace_of

AT_ONCE = 8  # who wait for a password to be compared
SESSION = "/session"  # how long it goes on; by POST it does
OPEN = ("/api/v1/events", "/api/v1/wall")  # what a page that is left open reads for days
REMOVED = N_("the account was removed")
_T = TypeVar("_T")
ROLES = {role.value: role for role in Role}


@dataclass(frozen=True, slots=True)
class Cookies:
    """The names of our cookies. With `__Host-` a browser takes them from this host alone, by https."""

    session: str
    form: str  # of who is not logged in
    issuer: str  # of who was sent to the issuer
    secure: bool


class Logins:
    """Of one process. The accounts are opened when they are first needed. `seconds`: as for `accounts_of`.

    Where these cannot be used, all that needs them raises StoreError.
    """

    def __init__(
        self,
        config: Config,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        seconds: Callable[[], float] | None = None,
    ) -> None:
        self._config = config
        self._clock = clock
        self._seconds = seconds
        self._opening = threading.Lock()
        self._accounts: Accounts | None = None
        self._hashing = threading.BoundedSemaphore(AT_ONCE)
        self._first: str | None = None  # the hash of the code for the first account
        secure = config.web.origin.startswith("https:")
        prefix = "__Host-" if secure else ""
        self.cookies = Cookies(
            f"{prefix}sipagent", f"{prefix}sipagent-form", f"{prefix}sipagent-issuer", secure
        )

    @property
    def accounts(self) -> Accounts:
        """Of this host, or of all that share them. Raises StoreError."""
        with self._opening:
            if self._accounts is None:
                self._accounts = accounts_of(self._config, self._clock, self._seconds)
            return self._accounts

    @cached_property
    def seal(self) -> Seal:
        """Raises StoreError."""
        return Seal(self.accounts.secret)

    @cached_property
    def sessions(self) -> Sessions:
        """Raises StoreError."""
        idle = timedelta(minutes=self._config.web.session_minutes)
        return Sessions(idle, self._clock, self.accounts.memory)

    @cached_property
    def pace(self) -> LoginPace:
        """Raises StoreError."""
        return LoginPace(self.accounts.memory)

    @cached_property
    def challenges(self) -> PasskeyChallenges:
        """Raises StoreError."""
        return PasskeyChallenges(self.seal, self._clock, self.accounts.memory)

    @cached_property
    def issuer(self) -> Issuer | None:
        """The issuer that logs people in; None where accounts are our own. Raises ConfigError for its
        secret."""
        web = self._config.web
        if web.oidc_issuer is None:
            return None
        return Issuer(web.oidc_issuer, web.oidc_client_id, self._config.oidc_secret(), web.origin + BACK)

    @cached_property
    def relying_party(self) -> RelyingParty | None:
        """To whom passkeys belong; None where there can be none.

        That is where an issuer alone lets people in, or where the page's address has no name.
        """
        web = self._config.web
        host = host_of(web.origin)
        if web.oidc_issuer is not None or host is None:
            return None
        return RelyingParty(host, self._config.service.name, web.origin)

    def refuse_own(self) -> None:
        """Raises Problem where the issuer alone lets people in: with two logins one would be four eyes."""
        if self.issuer is not None:
            raise Problem(
                HTTPStatus.FORBIDDEN, Reason(N_("logins are by {issuer} alone"), issuer=self.issuer.host)
            )

    # --- who asks ---

    def identify(self, request: Request) -> Person | None:
        """The person behind a request; None without a login. For programs a token comes before a cookie."""
        if request.url.path.startswith("/api/") and "authorization" in request.headers:
            return self._program(request)
        found = self._session(request)
        if found is None:
            return None
        id, account, session = found
        return Person(
            name=account.name,
            roles=roles_of(account.roles),
            via="web",
            since=account.created_at,
            key=account.key,
            language=account.language,
            csrf=self.seal.form_token(id),
            ends=self.sessions.ends(session),
        )

    def _session(self, request: Request) -> tuple[bytes, Account, Session] | None:
        """Its account as it is now: what was changed, removed or reset counts at once."""
        id = self._id(request)
        session = None if id is None else self.sessions.find(id, acts=not _is_quiet(request))
        if id is None or session is None:
            return None
        account = self.accounts.by_id(session.account)
        if account is None or account.epoch != session.epoch:
            self.sessions.end(id)
            return None
        return id, account, session

    def _id(self, request: Request) -> bytes | None:
        return self.seal.open(request.cookies.get(self.cookies.session, ""))

    def _program(self, request: Request) -> Person | None:
        kind, _, shown = request.headers["authorization"].partition(" ")
        token = self.accounts.token(shown.strip()) if kind.lower() == "bearer" else None
        if token is None:
            told = f"a token, from {address_of(request)}"
            site_of(request).refusals.keep(replace(trace_of(request, "login"), detail=told))
            return None
        roles = roles_of(token.roles)
        return Person(name=token.name, roles=roles, via="api", since=token.created_at, key=token.key)

    def account_of(self, request: Request) -> Account:
        """The account of who is logged in. Raises Problem: there is none any more."""
        account = self.accounts.named(someone(request).name)
        if account is None:
            raise Problem(HTTPStatus.FORBIDDEN, Reason(REMOVED))
        return account

    # --- sessions ---

    def begin_session(
        self, request: Request, account_name: str, to: str = "/", say: str = "", how: str = ""
    ) -> Response:
        """Log in, however it was proved who asks: a new session, whose page `to` comes next and may `say`
        something. The login is in the trace, with `how`.

        Raises Problem: the account is gone.
        """
        account, site = self.accounts.named(account_name), site_of(request)
        if account is None:
            raise Problem(HTTPStatus.FORBIDDEN, Reason(REMOVED))
        told = ", ".join(filter(None, (how, f"from {address_of(request)}")))
        trace = trace_of(request, "login")
        site.store.add_access(replace(trace, by=account.name, login=account.name, via="web", detail=told))
        self._end(request)
        id = self.sessions.begin(account.id, account.epoch)
        if say:
            token = self.seal.form_token(id)
            person = Person(name=account.name, roles=roles_of(account.roles), via="web", csrf=token)
            site.tell(person, say)
        answer = RedirectResponse(to, HTTPStatus.SEE_OTHER)
        answer.set_cookie(self.cookies.session, self.seal.seal(id), **self._kept)
        answer.delete_cookie(self.cookies.form, **self._kept)
        return answer

    def end_session(self, request: Request, to: str = "/login") -> Response:
        """Log out."""
        self._end(request)
        answer = RedirectResponse(to, HTTPStatus.SEE_OTHER)
        answer.delete_cookie(self.cookies.session, **self._kept)
        return answer

    def _end(self, request: Request) -> None:
        if (id := self._id(request)) is not None:
            self.sessions.end(id)

    @property
    def _kept(self) -> dict[str, Any]:
        """How a browser has to keep a cookie."""
        return {"secure": self.cookies.secure, "httponly": True, "samesite": "strict"}

    # --- forms of who is not logged in ---

    def form_id(self, request: Request) -> bytes | None:
        """The id of a browser that is not logged in, from its cookie."""
        return self.seal.open(request.cookies.get(self.cookies.form, ""))

    def give_form_id(self, answer: Response, id: bytes) -> None:
        """Have the browser keep it."""
        answer.set_cookie(self.cookies.form, self.seal.seal(id), **self._kept)

    # --- the pace of those who try ---

    def check(self, request: Request, name: str, password: str, digits: str) -> Account | None:
        """The account, if all three fit. Raises Problem for who tries too fast."""
        return self._compared(request, name, lambda: self.accounts.check(name, password, digits))

    def knows_password(self, request: Request, account: Account, password: str) -> bool:
        """Whether who is logged in knows the password. Raises Problem for who tries too fast."""
        known = lambda: self.accounts.knows_password(account.id, password)  # noqa: E731
        return self._compared(request, account.name, known)

    def _compared(self, request: Request, name: str, compare: Callable[[], _T]) -> _T:
        """What was found, or nothing."""
        address = self.begin_to_try(request, name)
        with self.comparing():
            found = compare()
        if found:
            self.pace.passed(address, name)
        return found

    @contextmanager
    def comparing(self) -> Iterator[None]:
        """Held while a password is hashed. Raises Problem if too many wait for that."""
        if not self._hashing.acquire(blocking=False):
            said = Reason(N_("too many log in at this moment; accepted: once more, in a few seconds"))
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, said, headers={"Retry-After": "5"})
        try:
            yield
        finally:
            self._hashing.release()

    def begin_to_try(self, request: Request, name: str) -> str:
        """The address of who tries. Raises Problem for who tries too fast."""
        address = address_of(request)
        wait = self.pace.begin(address, name)
        if wait:
            seconds = int(wait) + 1
            said = Reason(N_("too many refused attempts; accepted: once more, in {n} s"), n=seconds)
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, said, headers={"Retry-After": str(seconds)})
        return address

    # --- the first account ---

    def offer_first(self, code: str) -> None:
        """Have the first account made by whoever has this code."""
        self._first = code_hash(code)

    @property
    def offers_first(self) -> bool:
        """Whether the first account can be made on the page."""
        return self.issuer is None and self._first is not None and not self.accounts.are_there()

    def is_first(self, code: str) -> bool:
        """Whether it is that code, while there is no account."""
        return self.offers_first and hmac.compare_digest(code_hash(code), self._first or "")

    def first_made(self) -> None:
        """There is one: the code is used."""
        self._first = None


def roles_of(names: tuple[str, ...]) -> frozenset[Role]:
    """The roles by these names; unknown names give nothing."""
    return frozenset(ROLES[name] for name in names if name in ROLES)


def address_of(request: Request) -> str:
    """The client's address; behind a trusted proxy the one that the proxy gives (see `serving`)."""
    return request.client.host if request.client else ""


def logins_of(request: Request) -> Logins:
    """The logins of the page that was asked."""
    logins = request.app.state.logins
    assert isinstance(logins, Logins)
    return logins


def _is_quiet(request: Request) -> bool:
    """Whether a page that is left open asks by itself: such requests keep no session alive."""
    if request.url.path in OPEN or (request.url.path == SESSION and request.method == "GET"):
        return True
    return request.url.path == "/" and request.headers.get("sec-fetch-dest") == "empty"
