"""Puts the page together: every address, what answers there, and who may ask."""

import gzip
import mimetypes
from functools import lru_cache
from hashlib import sha256
from http import HTTPStatus
from typing import NamedTuple

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from retention.texts import Reason, strerror
from sipagent.config.errors import ConfigError, accepted_of
from sipagent.config.load import Config
from sipagent.config.types import at_night
from sipagent.languages.labels import N_
from sipagent.languages.spoken import answering
from sipagent.text.papers import style
from sipagent.web.api import openapi
from sipagent.web.guard import Entry, answered, is_page
from sipagent.web.logins import Logins
from sipagent.web.pages import accounts, calls, compliance, holds, login, persons, recording
from sipagent.web.problems import Problem
from sipagent.web.serving import HEADERS, Protection
from sipagent.web.site import Site, language_of, page_above
from sipagent.web.templating import FOLDER

PAGES = (accounts, calls, compliance, holds, login, persons, recording)
_STATIC = FOLDER / "static"
NOTHING = Reason("there is nothing at this address")
_OPENER = "opener.js"  # the one script that may use WebAssembly, and may ask nothing of any server
_OPENER_POLICY = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'"


def static(request: Request) -> Response:
    """A file of the page itself: style, scripts. Compressed where the browser takes it.

    The browser keeps it, and asks each time whether it is still the same: so no two versions of the page mix.
    """
    name = request.path_params["name"]
    content = request.app.state.own.get(name) or _files().get(name)
    if content is None:
        raise Problem(HTTPStatus.NOT_FOUND, NOTHING)
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    headers = {"Cache-Control": "no-cache", "ETag": content.tag, "Vary": "Accept-Encoding"}
    if name == _OPENER:
        headers["Content-Security-Policy"] = _OPENER_POLICY
    if content.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(content.packed, headers=headers | {"Content-Encoding": "gzip"}, media_type=kind)
    return Response(content.plain, headers=headers, media_type=kind)


class _File(NamedTuple):
    plain: bytes
    packed: bytes
    tag: str  # weak: the same, compressed or not (RFC 9110, 8.8.1)


@lru_cache(maxsize=1)
def _files() -> dict[str, _File]:
    """Every file there is, plain and compressed: nothing else can be asked for."""
    paths = (path for path in _STATIC.rglob("*") if path.is_file())
    found = {path.relative_to(_STATIC).as_posix(): path.read_bytes() for path in paths}
    found["figures.css"] = style("figures").encode()
    return {name: _file(plain) for name, plain in found.items()}


def _file(plain: bytes) -> _File:
    return _File(plain, gzip.compress(plain, mtime=0), f'W/"{sha256(plain).hexdigest()[:32]}"')


_COLOUR = (
    "\n:root {{ --act: {0}; --act-ink: #fff; }}\n"
    "@media screen and (prefers-color-scheme: dark) {{ :root {{ --act: {1}; --act-ink: #0c1420; }} }}\n"
)
_LARGEST_LOGO = 50_000  # bytes


def _of_the_service(config: Config) -> dict[str, _File]:
    """The files that the configuration changes: the style, and a logo. Raises ConfigError."""
    web, found = config.web, dict[str, _File]()
    if web.colour is not None:
        found["style.css"] = _file(
            _files()["style.css"].plain + _COLOUR.format(web.colour, at_night(web.colour)).encode()
        )
    if web.logo is not None:
        try:
            content = web.logo.read_bytes()
        except OSError as error:
            raise _wrong_logo(config, strerror(error)) from error
        suffix = ".png" if content.startswith(b"\x89PNG\r\n") else ".svg" if b"<svg" in content else ""
        if not suffix:
            raise _wrong_logo(config, Reason("is neither SVG nor PNG"))
        if len(content) > _LARGEST_LOGO:
            raise _wrong_logo(config, Reason("is too large"))
        found[f"logo{suffix}"] = _file(content)
    return found


def _wrong_logo(config: Config, why: str) -> ConfigError:
    return ConfigError(
        config.file,
        "web.logo",
        Reason("{0}: {1}", config.web.logo, why),
        accepted_of(Config, ["web", "logo"]),
    )


ENTRIES: tuple[Entry, ...] = (
    Entry("GET /static/{name:path}", static),
    *(one for module in PAGES for one in module.ENTRIES),
    *openapi.ENTRIES,
)


def create_app(site: Site, logins: Logins | None = None) -> Starlette:
    """The page of a service. KeyError for an address without a right; raises ConfigError for its logo."""
    protected = Middleware(Protection, site.config.web)
    app = Starlette(routes=[entry.route() for entry in ENTRIES], middleware=[protected])
    app.state.site = site
    app.state.own = own = _of_the_service(site.config)
    site.logo = next((name for name in own if name.startswith("logo")), None)
    app.state.logins = known = logins or Logins(site.config, site.clock)
    if site.config.shared is not None:
        site.shared_memory = lambda: known.accounts.memory
    app.add_exception_handler(HTTPException, _other)
    app.add_exception_handler(Exception, _failed)
    return app


def _other(request: Request, error: Exception) -> Response:
    """No such address, or not in this way."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    with answering(language_of(request)):
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            if request.method == "GET" and is_page(request.url.path):  # of a form: the page that it is on
                return RedirectResponse(page_above(request), HTTPStatus.SEE_OTHER)
            allowed = (error.headers or {}).get("Allow", "")
            said = Reason(N_("this is not how it is asked for; accepted: {methods}"), methods=allowed)
            return answered(request, Problem(status, said, headers=error.headers))
        return answered(request, Problem(status, NOTHING))


def _failed(request: Request, error: Exception) -> Response:
    """A fault of ours, which whoever serves the page logs."""
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    return PlainTextResponse(f"{status.phrase}\n", int(status), headers=HEADERS)
