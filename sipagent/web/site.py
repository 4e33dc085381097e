"""The parts that every answer needs: configuration, archive, and the person who asks.

Certificates of an erasure are held here for an hour, so that their page can be loaded again.
"""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property

from starlette.requests import Request
from starlette.routing import Match

from retention.accounts.accounts import Memory
from retention.accounts.file import in_memory
from retention.archive import Archive
from retention.holds import same_person
from retention.purge import Terms
from retention.records import Access, Approval
from retention.rows.rows import Rows, StoreError, TryAgain
from retention.vault import PublicKey, encode
from sipagent.agent.stored import archive_of, store_of, terms_of
from sipagent.config.load import Config
from sipagent.languages.choice import LANGUAGES
from sipagent.operations.approvals import pending_approvals
from sipagent.operations.uses import User
from sipagent.web.background import Commands, DueLook, FigureCounter, due_of
from sipagent.web.moment import Looking, Watching
from sipagent.web.problems import RefusedRequests
from sipagent.web.rights import Right, Role, rights_of, roles_with
from sipagent.web.sound import Sounds

PAPERS_KEPT = timedelta(hours=1)
MOST_PAPERS = 50


@dataclass(frozen=True, slots=True)
class Papers:
    """The result of an erasure: a certificate of each call, and each call that stays, with the reason."""

    at: datetime
    by: str
    certificates: tuple[str, ...]
    stays: tuple[tuple[str, str], ...]


class Drawer:
    """Any thread. In memory alone, for an hour, the newest of all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Papers] = OrderedDict()

    def put(self, papers: Papers) -> str:
        """The token under which they are found again."""
        token = secrets.token_urlsafe(18)
        with self._lock:
            self._kept[token] = papers
            while len(self._kept) > MOST_PAPERS:
                self._kept.popitem(last=False)
        return token

    def find(self, token: str, by: str, now: datetime) -> Papers | None:
        """This person's papers, while they are kept."""
        with self._lock:
            papers = self._kept.get(token)
        if papers is None or papers.by != by or now - papers.at > PAPERS_KEPT:
            return None
        return papers


BEGINNING = datetime.min.replace(tzinfo=UTC)
API = "/api/"  # what programs read


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """The person or program behind a request, by a session (`via` is `web`) or a token (`api`).

    `since`: when their account or token was made; what was done before under this name was somebody else's.
    `key`: what recordings are opened with. `csrf`: what forms of the session carry.
    `ends`: when the session does, and whether in any case.
    """

    name: str
    roles: frozenset[Role]
    via: str
    since: datetime = BEGINNING
    key: PublicKey | None = None
    language: str | None = None
    csrf: str = field(default="", repr=False)
    ends: tuple[datetime, bool] | None = None

    @property
    def rights(self) -> frozenset[Right]:
        """All that they may do."""
        return rights_of(self.roles)

    @property
    def key_text(self) -> str:
        """The key in base64; empty without one."""
        return "" if self.key is None else encode(self.key.raw)

    def may(self, right: Right) -> bool:
        """Whether they may do it."""
        return right in self.rights

    def may_see(self, asked: Approval) -> bool:
        """What others asked for is for those who decide."""
        return self.may(Right.APPROVE) or same_person(asked.by, self.name)


Identify = Callable[[Request], Person | None]


@dataclass
class Site:
    """One service's page. `identify` tells who asks; None: nobody who is logged in. `shared_memory`: of all
    hosts' pages, for what the next page of a session says; it may raise StoreError."""

    config: Config
    identify: Identify
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    shared_memory: Callable[[], Memory] | None = None
    logo: str | None = None  # the name of its file, once the page is put together
    papers: Drawer = field(default_factory=Drawer)  # certificates that were just made
    _memory: Memory = field(default_factory=in_memory)

    @cached_property
    def store(self) -> Rows:
        """The rows, for all threads. Raises StoreError."""
        return store_of(self.config)

    @cached_property
    def archive(self) -> Archive:
        """Rows and recordings. Raises StoreError."""
        return archive_of(self.config, self.store)

    @cached_property
    def refusals(self) -> RefusedRequests:
        """Writes refusals into the trace, though never too many."""
        return RefusedRequests(self.store, self.clock)

    @cached_property
    def sounds(self) -> Sounds:
        """The stored sound of recordings."""
        return Sounds(self.archive.files)

    @cached_property
    def look(self) -> Looking:
        """Reads the calls of the moment."""
        return Looking(self.store, lambda: self.config.operators.extensions, self.clock)

    @cached_property
    def watching(self) -> Watching:
        """The browsers that watch these calls."""
        return Watching(self.look)

    @cached_property
    def commands(self) -> Commands:
        """Runs commands as processes of their own."""
        return Commands(self.config.file, self.clock)

    @cached_property
    def counting(self) -> FigureCounter:
        """Counts the figures of a period."""
        return FigureCounter(lambda: self.store, self.config, self.clock)

    @cached_property
    def due(self) -> DueLook:
        """Looks for overdue duties."""
        return DueLook(lambda: due_of(self.archive, self.config, self.commands, self.clock()), self.clock)

    @property
    def terms(self) -> Terms:
        """How long things are kept."""
        return terms_of(self.config)

    def tell(self, person: Person, text: str) -> None:
        """Have the next page of this session say this, e.g. that something was done."""
        self._remembering().tell(person.csrf, text)

    def told(self, person: Person | None) -> str | None:
        """The message for this session's next page; it is given once."""
        try:
            return None if person is None else self._remembering().told(person.csrf)
        except TryAgain:
            return None  # it waits for a later page

    def waiting_for(self, person: Person | None) -> int:
        """How many requests of others this person may approve; none where that cannot be read."""
        if person is None or not person.may(Right.APPROVE):
            return 0
        try:
            return sum(not same_person(one.by, person.name) for one in pending_approvals(self.store))
        except StoreError:
            return 0  # what the page itself reads says why

    def _remembering(self) -> Memory:
        return self._memory if self.shared_memory is None else self.shared_memory()

    def local(self, at: datetime) -> datetime:
        """The moment in the service's time zone."""
        return at.astimezone(self.config.service.timezone)


def site_of(request: Request) -> Site:
    """The page that was asked."""
    site = request.app.state.site
    assert isinstance(site, Site)
    return site


def person_of(request: Request) -> Person | None:
    """The person who asks; None without a login."""
    person = getattr(request.state, "person", None)
    assert person is None or isinstance(person, Person)
    return person


def someone(request: Request) -> Person:
    """The person who asks, at an address that needs a login."""
    person = person_of(request)
    assert person is not None, "the guard lets nobody in without a login here"
    return person


def page_above(request: Request) -> str:
    """The nearest page that can be asked for by GET: `/holds` for a form that goes to `/holds/3/approve`."""
    path, routes = request.url.path, request.app.routes
    while path and not any(
        route.matches({**request.scope, "path": path, "method": "GET"})[0] is Match.FULL for route in routes
    ):
        path = path.rpartition("/")[0]
    return path or "/"


def language_of(request: Request) -> str:
    """The language of the answer: the account's, or else what the browser wishes, or the service's; English
    for a program."""
    person = person_of(request)
    if request.url.path.startswith(API) and (person is None or person.via != "web"):
        return "en"
    if person is not None and person.language in LANGUAGES:
        return str(person.language)
    for wish in request.headers.get("accept-language", "").split(","):
        code = wish.split(";")[0].split("-")[0].strip().lower()
        if code in LANGUAGES:
            return code
    service = site_of(request).config.service.language
    return service if service in LANGUAGES else "en"


def asked_of(request: Request) -> str:
    """`GET /recordings/{id}`: what the trace says was asked for, whatever somebody has put in its place."""
    return str(request.scope["route"].name)


def trace_of(request: Request, action: str) -> Access:
    """The line for the trace of what this request does."""
    person = person_of(request)
    at = site_of(request).clock()
    if person is None:
        via = "api" if request.url.path.startswith(API) else "web"
        return Access(at=at, action=action, via=via)
    return Access(at=at, action=action, by=person.name, login=person.name, via=person.via)


def user_of(person: Person) -> User:
    """What they may use."""
    return User(
        any_purpose=person.may(Right.USE),
        may_ask=person.may(Right.ASK),
        askers=roles_with(Right.ASK),
        key=person.key,
        since=person.since,
    )
