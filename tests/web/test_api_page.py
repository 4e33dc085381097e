"""What the pages for programs print: each request is asked as printed, by a token of its own."""

import re
import shlex
from datetime import UTC, datetime
from http import HTTPStatus
from urllib.parse import urlsplit

import pytest
from httpx2 import Response

from retention.records import new_id
from sipagent.web.rights import Role
from tests.office import Office
from tests.test_docs import text_of
from tests.web.conftest import Asking

PAGES = ("docs/en/api.md", "docs/fr/api.md")
TOKEN = "@token"  # the file with the header


def printed(page: str) -> list[list[str]]:
    """Its requests, as words."""
    return [shlex.split(line) for line in re.findall(r"^curl .*$", text_of(page), re.MULTILINE)]


def ask(asking: Asking, words: list[str]) -> Response:
    """As curl would."""
    *said, address = words[1:]
    options = dict(zip(said[::2], said[1::2], strict=True))
    assert options.pop("--header") == TOKEN
    url = urlsplit(address)
    assert (url.scheme, url.netloc) == ("https", "ecoute.example.net")
    path, body = f"{url.path}?{url.query}".rstrip("?"), options.pop("--json", None)
    assert not options
    if body is None:
        return asking.client.get(path)
    return asking.client.post(path, content=body, headers={"content-type": "application/json"})


@pytest.mark.parametrize("page", PAGES)
def test_each_request_is_answered_as_printed(page: str, asking: Asking, web_office: Office) -> None:
    asking.login(Role.SUPERVISOR, via="api")
    web_office.call(id=f"{new_id(datetime.now(UTC))[:-6]}482913")
    requests = printed(page)
    assert len(requests) >= 6
    for words in requests:
        answer = ask(asking, words)
        made = HTTPStatus.CREATED if words[-1].endswith("/uses") else HTTPStatus.OK
        assert answer.status_code == made, (words, answer.text)
