"""Makes the pages of their templates: in the language of who reads, with nothing in them that could act.

All that comes from outside is escaped, and what would turn the direction of writing, or is not to be seen
at all, is shown as its code. The Markdown that `register` writes becomes HTML; whatever is not Markdown
in it is text, and is escaped.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, datetime
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from retention.records import Receipt, Term, reference_of
from sipagent import __version__
from sipagent.languages import labels, spoken
from sipagent.languages.labels import label as label_of
from sipagent.languages.spoken import colon, shown
from sipagent.languages.typography import NARROW
from sipagent.text.papers import StatisticsWords
from sipagent.web.rights import Right
from sipagent.web.site import page_above, person_of, site_of


def markdown_html(text: str) -> Markup:
    """The text, each heading a level lower: it stands below that of a page. Comments, and any HTML, are left
    out."""
    reader = _markdown_reader()
    tokens = [_lower_heading(token) for token in reader.parse(text) if token.type != "html_block"]
    return Markup(reader.renderer.render(tokens, reader.options, {}))


def quoted(text: str) -> Markup:
    """A text that is not Markdown, in which commands and keys stand between backquotes."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    marked = (Markup("<code>{}</code>").format(one) if n % 2 else escape(one) for n, one in enumerate(parts))
    return Markup("").join(marked)


@lru_cache(maxsize=1)
def _markdown_reader() -> MarkdownIt:
    """Without links and pictures: nothing leads out of the page."""
    return MarkdownIt("commonmark").disable(["link", "image", "autolink", "html_inline"])


def _lower_heading(token: Token) -> Token:
    if token.type.startswith("heading"):
        token.tag = f"h{min(int(token.tag[1:]) + 1, 6)}"
    return token


FOLDER = Path(__file__).parent
_SPACES = r"[^\S\n\t \u00a0\u202f]"
_CONTROLS = r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ud800-\udfff]"
_UNSEEN = r"[\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]"  # among them those of direction
_HIDDEN = re.compile("|".join((_SPACES, _CONTROLS, _UNSEEN)))


def render(
    request: Request,
    template: str,
    status: HTTPStatus = HTTPStatus.OK,
    headers: Mapping[str, str] | None = None,
    **values: Any,
) -> Response:
    """The page of this template, for who asks."""
    site, person = site_of(request), person_of(request)

    def when(at: datetime) -> str:
        """`2026-11-24 23:20:00`, `24/11/2026 23:20:00`, in the service's time zone."""
        local = site.local(at)
        return f"{day(local)} {local:%H:%M:%S}"

    def clock(at: datetime) -> str:
        """`23:20:00`, with the day where it is not today."""
        local = site.local(at)
        return f"{local:%H:%M:%S}" if local.date() == site.local(site.clock()).date() else when(at)

    text = (
        _environment()
        .get_template(template)
        .render(
            request=request,
            path=request.url.path,
            service=site.config.service.name,
            page=page_above(request),
            person=person,
            csrf=person.csrf if person else "",
            language=spoken.language(),
            when=when,
            clock=clock,
            told=site.told(person),
            waiting=site.waiting_for(person),
            site=site,
            **values,
        )
    )
    return HTMLResponse(text, int(status), headers)


def written(template: str, **values: Any) -> str:
    """A text of its own, for a file: in the language that is spoken here."""
    return _environment().get_template(template).render(language=spoken.language(), **values)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=seen,
        extensions=["jinja2.ext.i18n"],
    )
    made.install_gettext_callables(  # type: ignore[attr-defined]
        spoken.gettext, spoken.ngettext, newstyle=False, pgettext=spoken.pgettext
    )
    made.globals |= {
        "label": label,
        "Right": Right,
        "version": __version__,
        "colon": colon,
        "fate": labels.fate_of_copy,
        "no_proof": lambda: spoken.gettext(labels.NO_PROOF),
        "detail_of": lambda use: happened(labels.detail_of(use), lambda line: line),
    }
    made.filters |= {
        "happening": happened,
        "shown": shown,
        "length": labels.length,
        "size": size,
        "user": user,
    }
    made.filters |= {"number": number, "length_of": len, "quoted": quoted, "cut": cut}
    made.filters |= {"decided": decided, "how_drawn": labels.how_drawn, "reference": reference_of}
    made.filters["missing_sound"] = labels.missing_sound
    made.filters["how_decided"] = lambda row: labels.how_decided(replace(row, dtmf_method=None))
    made.filters |= {"identity": labels.identity, "prompt": prompt_shown, "days": day_shown}
    made.filters["lines"] = labels.lines
    made.filters["operators"] = lambda row: labels.operators(row) or "–"
    made.filters |= {"of_term": lambda value, term: term_shown(term, value), "gettext": spoken.gettext}
    return made


def seen(value: Any) -> Any:
    r"""What a template shows: a text without hidden marks, which become `\u202e`; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, str):
        shown = _HIDDEN.sub(lambda mark: ascii(mark[0])[1:-1], value)
        return Markup(shown) if isinstance(value, Markup) else shown
    return value


def day(day: date) -> str:
    """`2026-11-24`, `24/11/2026`: the one form of all pages."""
    return StatisticsWords(spoken.language()).day(day)


def day_shown(text: str) -> str:
    """The days in a text, which are kept as `2026-11-24`, in that form."""
    words = StatisticsWords(spoken.language())
    return re.sub(r"\b\d{4}-\d\d-\d\d\b", lambda found: words.written_day(found[0]), text)


def happened(what: str, worded: Callable[[str], str] = labels.happening) -> str:
    """A line of a story or of the trace in words, with `201` in the place of a whole address."""
    return re.sub(r"\bsips?:([^\s@;]+)@[^\s,;)]+", r"\1", day_shown(worded(what)))


_NAMED = ("by", "decision", "moment", "outcome")  # whose codes have words in English, too


def label(kind: labels.Kind, code: str) -> str:
    """The words for a code; where they are the code itself, its beginning without underscores."""
    named = label_of(kind, code)
    if named == code and kind in _NAMED:
        named = StatisticsWords("en")(code)
    return cut(code.replace("_", " ")) if named == code else named


def decided(row: Receipt) -> str:
    """`refused (key)`."""
    decision = label("decision", row.decision)
    return f"{decision} ({label('by', row.decided_by)})" if row.decided_by else decision


_PROMPTS = {
    "notice": labels.N_("the notice"),
    "details": labels.N_("the details of the notice"),
    "welcome": labels.N_("the greeting of calls that are not recorded"),
    "refused": labels.N_("what callers hear after a refusal"),
    "confirm": labels.N_("the question after an unclear answer"),
    "closed": labels.N_("what callers hear outside hours"),
    "unavailable": labels.N_("what callers hear when nobody is free"),
    "hold_music": labels.N_("the music"),
    "please_hold": labels.N_("what callers hear on hold"),
    "choose": labels.N_("the choice of a language"),
}


def prompt_shown(what: str) -> str:
    """`the notice (fr)` for `prompts.notice (fr)`, the key of a sound; anything else as it is."""
    found = re.fullmatch(r"prompts\.(?:\w\w\.)?(\w+)(.*)", what)
    return spoken.gettext(_PROMPTS[found[1]]) + found[2] if found and found[1] in _PROMPTS else shown(what)


def term_shown(term: Term, value: object) -> str:
    """The value of a field of a hold, as people read it; a dash for none."""
    text = day_shown(cut(str(value or "–")))
    return label("ground", text) if term.kind == "ground" else text


def size(count: int | None) -> str:
    """`8.4 MB`, `8,4 Mo`, `8.4 kB`; a dash if unknown."""
    if count is None:
        return "–"
    amount, unit = (count / 1e6, "M") if count >= 999_950 else (count / 1000, "k")
    french = spoken.language() == "fr"
    return f"{amount:.1f}\u00a0{unit}o".replace(".", ",") if french else f"{amount:.1f}\u00a0{unit}B"


def user(address: str | None) -> str:
    """`201` of `sip:201@pbx.example.net`."""
    return labels.user_part(address) or "–"


def cut(text: str, most: int = 200) -> str:
    """The beginning of a long text, with a sign that it goes on."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def number(count: int) -> str:
    """`12,345`, `12 345`."""
    return f"{count:,}".replace(",", NARROW if spoken.language() == "fr" else ",")
