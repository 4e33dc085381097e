"""A page as a browser would take it: parsed strictly, so that what is not well formed fails."""

from collections.abc import Iterator
from xml.etree.ElementTree import Element

import html5lib
from httpx2 import Response

_HTML = "{http://www.w3.org/1999/xhtml}"


class Page:
    """What is on a page."""

    def __init__(self, text: str) -> None:
        parser = html5lib.HTMLParser(strict=True)
        self.root: Element = parser.parse(text)
        self.language = self.root.get("lang")
        ids = [one.get("id") for one in self.root.iter() if one.get("id")]
        assert len(ids) == len(set(ids)), "an id is there twice"

    @property
    def text(self) -> str:
        """What is read, spaces made one."""
        return " ".join("".join(_texts(self.root)).split())

    @property
    def links(self) -> list[str]:
        """Where links lead."""
        return [one.get("href", "") for one in self.elements("a")]

    def name_of(self, link: str) -> str:
        """What a link is called."""
        return next("".join(one.itertext()).strip() for one in self.elements("a") if one.get("href") == link)

    def elements(self, name: str) -> list[Element]:
        """Those in the body with this name."""
        return list(_body(self.root).iter(f"{_HTML}{name}"))

    def having(self, attribute: str, value: str | None = None) -> list[dict[str, str]]:
        """The attributes of the elements that have this one."""
        return [
            dict(one.attrib)
            for one in self.root.iter()
            if attribute in one.attrib and value in (None, one.get(attribute))
        ]

    def by_id(self, ids: str) -> str:
        """What stands in the elements with these ids."""
        found = {one.get("id"): one for one in self.root.iter()}
        return " ".join("".join(found[id].itertext()) for id in ids.split())

    def fields(self, method: str, button: str | None = None) -> dict[str, str]:
        """What the one form with this method, or with this button, would send as it stands."""
        forms = [
            form
            for form in self.elements("form")
            if form.get("method") == method and "logout" not in form.get("action", "")
            if button is None or any(_text(one) == button for one in form.iter(f"{_HTML}button"))
        ]
        if button is None:
            forms = forms[:1]
        (form,) = forms
        return dict(_sent(form))


def read(answer: Response) -> Page:
    """The page of an answer. Raises html5lib's ParseError."""
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return Page(answer.text)


def _body(root: Element) -> Element:
    body = root.find(f"{_HTML}body")
    assert body is not None
    return body


def _text(one: Element) -> str:
    return "".join(one.itertext()).strip()


def _texts(one: Element) -> Iterator[str]:
    if one.tag in (f"{_HTML}script", f"{_HTML}style", f"{_HTML}template") or one.get("hidden") is not None:
        return
    yield one.text or ""
    for child in one:
        yield from _texts(child)
        yield child.tail or ""


def _sent(form: Element) -> Iterator[tuple[str, str]]:
    for one in form.iter():
        name = one.get("name")
        if name is None:
            continue
        if one.tag == f"{_HTML}select":
            chosen = [option for option in one if option.get("selected") is not None] or list(one)[:1]
            yield name, chosen[0].get("value", "")
        elif one.tag == f"{_HTML}textarea":
            yield name, one.text or ""
        elif one.get("type") not in ("checkbox", "radio") or one.get("checked") is not None:
            yield name, one.get("value", "")
