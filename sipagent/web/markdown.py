"""The Markdown that `register` writes, as HTML: headings, lists, strong text and code, one line each.

Whatever is not of these is text, and all text is escaped.
"""

import re
from itertools import groupby

from markupsafe import Markup, escape

_HEADING = re.compile(r"(#{1,3}) (.*)")
_COMMENT = re.compile(r"<!--.*-->")
_MARK = re.compile(
    r"\\(?P<plain>[\\`*_\[\]<>#|~&])|(?P<strong>\*\*)|(?P<fence>`+)(?P<code>.+?)(?<!`)(?P=fence)(?!`)"
)


def html(text: str, below: int = 1) -> Markup:
    """The text; its first heading is of the level behind `below`."""
    found = (line for line in text.splitlines() if line.strip() and not _COMMENT.fullmatch(line.strip()))
    parts: list[Markup] = []
    for in_list, lines in groupby(found, lambda line: line.startswith("- ")):
        if in_list:
            items = (Markup("<li>{}</li>").format(inline(line.removeprefix("- "))) for line in lines)
            parts.append(Markup("<ul>{}</ul>").format(Markup("").join(items)))
        else:
            parts += (_block(line, below) for line in lines)
    return Markup("\n").join(parts)


def inline(line: str) -> Markup:
    """What stands in a line."""
    strong, parts, end = False, [], 0
    for mark in _MARK.finditer(line):
        parts.append(escape(line[end : mark.start()]))
        end = mark.end()
        if mark["plain"]:
            parts.append(escape(mark["plain"]))
        elif mark["strong"]:
            parts.append(Markup("</strong>" if strong else "<strong>"))
            strong = not strong
        else:
            parts.append(Markup("<code>{}</code>").format(_code(mark["code"])))
    return Markup("").join((*parts, escape(line[end:]), Markup("</strong>" if strong else "")))


def quoted(text: str) -> Markup:
    """A text that is not Markdown, in which commands and keys stand between backquotes."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return escape(text)
    marked = (Markup("<code>{}</code>").format(one) if n % 2 else escape(one) for n, one in enumerate(parts))
    return Markup("").join(marked)


def _code(text: str) -> str:
    """Without the spaces that keep backquotes apart from the fence (CommonMark 6.1)."""
    padded = text.startswith(" ") and text.endswith(" ") and text.strip()
    return text[1:-1] if padded else text


def _block(line: str, below: int) -> Markup:
    heading = _HEADING.fullmatch(line)
    if heading is None:
        return Markup("<p>{}</p>").format(inline(line))
    level = min(len(heading[1]) + below, 6)
    return Markup(f"<h{level}>{{}}</h{level}>").format(inline(heading[2]))
