"""Reads what a form of a page sends. Only one that carries the session's own `csrf` is read at all."""

from collections.abc import Iterable
from http import HTTPStatus
from urllib.parse import parse_qsl

from starlette.requests import Request

from sipagent.config.errors import plain_spaces
from sipagent.languages.reason import Reason
from sipagent.web.problems import Problem
from sipagent.web.received import received, refuse_others

WORDS = 500  # characters of a line that goes into the trace
_KIND = "application/x-www-form-urlencoded"
_FIELDS = 2000


class Form(dict[str, str]):
    """The fields by their names: of several with one name, the last."""

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._pairs = [*pairs]
        super().__init__(self._pairs)

    def all(self, name: str) -> list[str]:
        """Every field with this name, such as the boxes that were ticked."""
        return [text for one, text in self._pairs if one == name]

    def line(self, name: str, label: str = "") -> str:
        """A field that goes into the trace: one line, without spaces at its ends. `label`: its own on the
        page. Raises ValueError."""
        text = plain_spaces(self.get(name, "")).strip()
        label = label or name
        if not text:
            raise ValueError(Reason("“{name}” is empty", name=label))
        if not text.isprintable():
            raise ValueError(Reason("“{name}” is not one line of text", name=label))
        if len(text) > WORDS:
            raise ValueError(Reason("“{name}” is too long; accepted: {n} characters", name=label, n=WORDS))
        return text


def form_of(request: Request) -> Form:
    """The form. Raises Problem; one that is not from the session's own page is in the trace."""
    form = read_form(request)
    refuse_others(request, form.get("csrf", ""))
    return form


def is_form(request: Request) -> bool:
    """Whether it sends a form, by its own word."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == _KIND


def read_form(request: Request) -> Form:
    """The form of whoever sends it, read once. Raises Problem."""
    form = getattr(request.state, "form", None)
    if form is None:
        request.state.form = form = _read(request)
    assert isinstance(form, Form)
    return form


def _read(request: Request) -> Form:
    if not is_form(request):
        said = Reason("this is no form of this page; accepted: {kind}", kind=_KIND)
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, said)
    content = received(request)
    try:
        return Form(parse_qsl(content.decode(), keep_blank_values=True, max_num_fields=_FIELDS))
    except ValueError as error:  # UnicodeDecodeError, too
        raise Problem(HTTPStatus.BAD_REQUEST, Reason("this is no form of this page")) from error
