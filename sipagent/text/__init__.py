"""What is written for people: the entry of the register (GDPR article 30), the certificate of a deletion,
the page of statistics; and what a notice must say, and may promise.

The values are computed here; what is said stands beside, one file a language: `register.fr.txt`.

In such a file, above `---` stand words by their names, one a line; below it the paper. A line that begins
with `[name]`, or with `[name/how]` where there are several ways to say it, is said once for each fact of that
name; the lines right below belong to it, up to an empty one. All other lines, also those that begin with
`[]`, stand in every paper. Braces are for values.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeVar

FOLDER = Path(__file__).parent
LANGUAGES = ("fr", "en")


def language_of_papers(code: str) -> str:
    """That language where there are papers in it, else English."""
    return code if code in LANGUAGES else "en"


_LINE = re.compile(r"\[([\w.]*)(?:/(\w+))?\] (.*)")

Value = TypeVar("Value")
Fact = tuple[str, str, Value]
"""Its name, how it is said, and what is for the caller."""


@dataclass(frozen=True, slots=True)
class Template:
    """`places`: for each the name of its facts, and its text by the ways to say it; "" and "" for what
    stands in every paper."""

    words: Mapping[str, str]
    places: tuple[tuple[str, dict[str, str]], ...]

    def said(self, facts: Iterable[Fact[Value]]) -> Iterator[tuple[str, Value | None]]:
        """The texts in the order of the paper, braces unfilled, each with what is for the caller."""
        stated: dict[str, list[tuple[str, Value]]] = {}
        for name, how, value in facts:
            stated.setdefault(name, []).append((how, value))
        for name, ways in self.places:
            if not name:
                yield ways[""], None
            yield from ((ways[how], value) for how, value in stated.get(name, ()) if how in ways)


@cache
def template(paper: str) -> Template:
    """Read `register.fr.txt`. A file without `---` is words alone."""
    head, _, body = (FOLDER / paper).read_text(encoding="utf-8").partition("---\n")
    places: list[tuple[str, dict[str, str]]] = []
    how: str | None = None  # of the text that goes on
    for line in body.splitlines():
        if found := _LINE.fullmatch(line):
            name, how = found[1], found[2] or ""
            if not (name and places and places[-1][0] == name):
                places.append((name, {}))
            places[-1][1][how] = found[3]
        elif line and how is not None:
            places[-1][1][how] += f"\n{line}"
        else:
            places.append(("", {"": line}))
            how = "" if line else None
    return Template(dict(line.split(": ", 1) for line in head.splitlines()), tuple(places))
