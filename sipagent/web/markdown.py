"""The Markdown that `register` writes, as HTML; whatever is not Markdown in it is text, and is escaped."""

from functools import lru_cache

from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup, escape


def html(text: str, below: int = 1) -> Markup:
    """The text; its first heading is of the level behind `below`. Comments, and any HTML, are left out."""
    reader = _reader()
    tokens = [_lower(token, below) for token in reader.parse(text) if token.type != "html_block"]
    return Markup(reader.renderer.render(tokens, reader.options, {}))


def quoted(text: str) -> Markup:
    """A text that is not Markdown, in which commands and keys stand between backquotes."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    marked = (Markup("<code>{}</code>").format(one) if n % 2 else escape(one) for n, one in enumerate(parts))
    return Markup("").join(marked)


@lru_cache(maxsize=1)
def _reader() -> MarkdownIt:
    """Without links and pictures: nothing leads out of the page."""
    return MarkdownIt("commonmark").disable(["link", "image", "autolink", "html_inline"])


def _lower(token: Token, below: int) -> Token:
    if token.type.startswith("heading"):
        token.tag = f"h{min(int(token.tag[1:]) + below, 6)}"
    return token
